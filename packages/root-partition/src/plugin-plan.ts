// Resolves the plug-ins of a VM before any of them starts: loads them, checks kinds and options, matches needs with what is provided, and
// orders them so that each comes after what it needs.

import type { Plugin, PluginKind } from '@partita/interface'
import { RootPartitionError } from './error.ts'
import { messageOf, type PluginScope, type PluginTracker } from './plugin-guard.ts'
import type { PluginRegistry } from './plugin-registry.ts'
import { didYouMean } from './suggestion.ts'

/** An issue of a Standard Schema. */
interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** A plug-in that a configuration asks for. */
export interface PluginRequest {
  /** Its reference, as {@link PluginRegistry.load} takes it, or the plug-in itself. */
  readonly plugin: string | Plugin
  /** What the plug-in's own schema takes; `{}` where omitted. */
  readonly options?: unknown
  /** Its id in the VM; its name, or `name#2`, … where omitted. */
  readonly id?: string | undefined
  /** The kinds that belong in this place; any where omitted. */
  readonly kinds?: readonly PluginKind[]
}

/** A plug-in that is ready to start. */
export interface PlannedPlugin {
  /** Its id in the VM, unlike any other's. */
  readonly id: string
  /** The plug-in, loaded and checked. */
  readonly plugin: Plugin
  /** The schema's output. */
  readonly options: unknown
  /** What its module leaves to the event loop. @internal */
  readonly strays?: Strays | undefined
}

/** Errors of a module that come up in the event loop, from before there is anybody to blame. */
interface Strays {
  first?: { readonly error: unknown }
  blame?: (error: unknown) => void
}

/**
 * Check all requests and put them in order of need; among equals the order of the requests stays.
 *
 * @param services names of the services that are there already
 * @param onLoadFailure told of a plug-in whose own code throws while it is loaded or looks at its options: it is left out. Without it, that is an error as any other
 * @param tracker follows what modules leave to the event loop
 * @throws RootPartitionError any of the `ERR_PLUGIN_…` codes
 */
export async function planPlugins(
  registry: PluginRegistry,
  requests: readonly PluginRequest[],
  services: Iterable<string>,
  onLoadFailure?: (reference: string, error: RootPartitionError) => void,
  tracker?: PluginTracker,
): Promise<PlannedPlugin[]> {
  const failed: string[] = []
  const tolerate = (name: string, { kinds }: PluginRequest, error: unknown): void => {
    const own = error instanceof RootPartitionError && error.code === 'ERR_PLUGIN_LOAD'
    if (onLoadFailure === undefined || !own || kinds?.includes('processor')) throw error
    failed.push(name)
    onLoadFailure(name, error)
  }
  const loaded: { request: PluginRequest; plugin: Plugin; id: string; strays: Strays | undefined }[] = []
  const ids = new Set<string>()
  for (const request of requests) {
    try {
      const strays: Strays | undefined = tracker === undefined ? undefined : {}
      const scope = tracker?.scope((error) => {
        if (strays?.blame !== undefined) strays.blame(error)
        else if (strays !== undefined) strays.first ??= { error }
      })
      const plugin = await loadOne(registry, request.plugin, scope)
      checkKind(plugin, request)
      loaded.push({ request, plugin, id: chooseId(plugin, request, ids), strays })
    } catch (error) {
      tolerate(request.id ?? String(request.plugin), request, error)
    }
  }
  const planned: PlannedPlugin[] = []
  for (const { request, plugin, id, strays } of loaded) {
    try {
      planned.push({ id, plugin, options: await checkOptions(registry, plugin, id, request), strays })
    } catch (error) {
      tolerate(id, request, error)
    }
  }
  return order(planned, new Set(services), failed)
}

async function loadOne(
  registry: PluginRegistry,
  reference: string | Plugin,
  scope: PluginScope | undefined,
): Promise<Plugin> {
  if (typeof reference !== 'string') return reference
  if (scope === undefined) return registry.load(reference)
  return scope.call(registry.load, registry, reference, undefined, undefined)
}

function checkKind(plugin: Plugin, { kinds }: PluginRequest): void {
  if (kinds === undefined || kinds.includes(plugin.kind)) return
  throw new RootPartitionError(
    'ERR_PLUGIN_INVALID',
    `The plug-in ${plugin.name} is of kind ${plugin.kind}; ${kinds.join(' or ')} is wanted here`,
    {
      data: { plugin: plugin.name, kind: plugin.kind },
    },
  )
}

function chooseId(plugin: Plugin, request: PluginRequest, ids: Set<string>): string {
  let id = request.id ?? plugin.name
  if (request.id === undefined) {
    for (let instance = 2; ids.has(id); instance++) id = `${plugin.name}#${instance}`
  } else if (ids.has(id)) {
    throw new RootPartitionError('ERR_PLUGIN_DUPLICATE', `Two plug-ins have the id ${id}`, { data: { id } })
  }
  ids.add(id)
  return id
}

async function checkOptions(
  registry: PluginRegistry,
  plugin: Plugin,
  id: string,
  request: PluginRequest,
): Promise<unknown> {
  let result: Awaited<ReturnType<Plugin['options']['~standard']['validate']>>
  try {
    result = await plugin.options['~standard'].validate(request.options ?? {})
  } catch (cause) {
    throw new RootPartitionError(
      'ERR_PLUGIN_LOAD',
      `The plug-in ${id} failed when it looked at its options: ${messageOf(cause)}`,
      { cause },
    )
  }
  if (result.issues === undefined) return result.value
  const issues = result.issues.map(describeIssue)
  const known = typeof request.plugin === 'string' ? await registry.options(request.plugin) : undefined
  throw new RootPartitionError('ERR_PLUGIN_OPTIONS', `The options of ${id} are wrong: ${issues.join('; ')}`, {
    data: { plugin: plugin.name, id, issues },
    ...(known !== undefined && { hint: optionsHint(Object.keys(known), result.issues) }),
  })
}

function optionsHint(names: readonly string[], issues: readonly SchemaIssue[]): string {
  if (names.length === 0) return 'It takes no options.'
  const strange = issues.map(({ path }) => keysOf(path)[0]).find((key) => key !== undefined && !names.includes(key))
  const meant = strange === undefined ? undefined : didYouMean(strange, names)
  return `${meant === undefined ? '' : `${meant} `}Its options are ${names.join(', ')}.`
}

function describeIssue({ message, path }: SchemaIssue): string {
  const keys = keysOf(path)
  return keys.length === 0 ? message : `${keys.join('.')}: ${message}`
}

function keysOf(path: SchemaIssue['path']): string[] {
  return (path ?? []).map((segment) => String(typeof segment === 'object' ? segment.key : segment))
}

function order(
  planned: readonly PlannedPlugin[],
  present: ReadonlySet<string>,
  failed: readonly string[],
): PlannedPlugin[] {
  const providers = new Map<string, PlannedPlugin>()
  for (const entry of planned) {
    for (const { name } of entry.plugin.provides) {
      const other = providers.get(name)?.id ?? (present.has(name) ? 'the host' : undefined)
      if (other !== undefined) {
        throw new RootPartitionError('ERR_PLUGIN_DUPLICATE', `Both ${other} and ${entry.id} provide ${name}`, {
          hint: 'Leave one of them out of the configuration.',
          data: { service: name, providers: [other, entry.id] },
        })
      }
      providers.set(name, entry)
    }
  }
  for (const { id, plugin } of planned) {
    const missing = plugin.needs.find(({ name }) => !providers.has(name) && !present.has(name))
    if (missing === undefined) continue
    const near =
      failed.length > 0
        ? `${failed.join(' and ')} could not be loaded, and may be what provides it.`
        : didYouMean(missing.name, [...providers.keys(), ...present])
    throw new RootPartitionError('ERR_PLUGIN_NEEDS', `${id} needs ${missing.name}, which nothing provides`, {
      hint: near ?? `Add a plug-in that provides ${missing.name} to the configuration.`,
      data: { id, service: missing.name },
    })
  }

  const ordered: PlannedPlugin[] = []
  const done = new Set<PlannedPlugin>()
  const trail: PlannedPlugin[] = []
  const visit = (entry: PlannedPlugin): void => {
    if (done.has(entry)) return
    const index = trail.indexOf(entry)
    if (index >= 0) {
      const circle = [...trail.slice(index), entry].map(({ id }) => id)
      throw new RootPartitionError('ERR_PLUGIN_CYCLE', `Plug-ins need one another: ${circle.join(' → ')}`, {
        data: { circle },
      })
    }
    trail.push(entry)
    for (const { name } of [...entry.plugin.needs, ...(entry.plugin.uses ?? [])]) {
      const provider = providers.get(name)
      if (provider !== undefined) visit(provider)
    }
    trail.pop()
    done.add(entry)
    ordered.push(entry)
  }
  for (const entry of planned) visit(entry)
  return ordered
}
