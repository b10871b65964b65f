// Resolves the plug-ins of a VM before any of them starts: loads them, checks kinds and options, matches needs with what is provided, and
// orders them so that each comes after what it needs.

import { type Logger, type Plugin, type PluginKind, silentLogger } from '@partita/interface'
import { RootPartitionError } from './error.ts'
import { type HostTimer, hostTimer, inTime, LATE, lateError, slowNotice } from './patience.ts'
import type { PluginScope, PluginTracker } from './plugin-guard.ts'
import { checkPlugin, type PluginRegistry } from './plugin-registry.ts'
import { didYouMean } from './suggestion.ts'
import { attempt, messageOf } from './thrown.ts'

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

/** Failures of a plug-in's own code, and of those that need it. */
const TOLERATED: ReadonlySet<string> = new Set(['ERR_PLUGIN_LOAD', 'ERR_PLUGIN_NEEDS'])

/** Options of {@link planPlugins}. */
export interface PluginPlanOptions {
  /**
   * Told of a plug-in whose own code throws, or is never done, while it is loaded or looks at its options: it is left out, and so is what then has not what it needs. Without this, that is
   * an error as any other.
   */
  readonly onLoadFailure?: ((reference: string, error: RootPartitionError) => void) | undefined
  /** Follows what modules leave to the event loop. */
  readonly tracker?: PluginTracker | undefined
  /** Ends the patience with plug-ins that are never loaded. Default: the host's. */
  readonly timer?: HostTimer | undefined
  /** Told of plug-ins that are waited for. */
  readonly logger?: Logger | undefined
}

/** A plug-in on its way. */
interface LoadedPlugin {
  readonly request: PluginRequest
  readonly plugin: Plugin
  readonly id: string
  readonly strays: Strays
  readonly scope: PluginScope | undefined
}

/**
 * Check all requests and put them in order of need; among equals the order of the requests stays.
 *
 * @param services names of the services that are there already
 * @throws RootPartitionError any of the `ERR_PLUGIN_…` codes
 */
export async function planPlugins(
  registry: PluginRegistry,
  requests: readonly PluginRequest[],
  services: Iterable<string>,
  options: PluginPlanOptions = {},
): Promise<PlannedPlugin[]> {
  const { onLoadFailure, tracker } = options
  const failed: string[] = []
  const tolerate = (name: string, { kinds }: PluginRequest, error: unknown): void => {
    const own = error instanceof RootPartitionError && TOLERATED.has(error.code)
    if (onLoadFailure === undefined || !own || kinds?.includes('processor')) throw error
    failed.push(name)
    onLoadFailure(name, error)
  }
  const loaded: LoadedPlugin[] = []
  const ids = new Set<string>()
  for (const request of requests) {
    try {
      const strays: Strays = {}
      const scope = tracker?.scope((error) => {
        if (strays.blame !== undefined) strays.blame(error)
        else strays.first ??= { error }
      })
      const plugin = await loadOne(registry, request, scope, options)
      checkKind(plugin, request)
      loaded.push({ request, plugin, id: chooseId(plugin, request, ids), strays, scope })
    } catch (error) {
      tolerate(nameOf(request), request, error)
    }
  }
  const planned: PlannedPlugin[] = []
  for (const { request, plugin, id, strays, scope } of loaded) {
    try {
      const own = await checkOptions(registry, plugin, id, request, scope, options)
      planned.push({ id, plugin, options: own, ...(tracker && { strays }) })
    } catch (error) {
      tolerate(id, request, error)
    }
  }
  const present = new Set(services)
  if (onLoadFailure !== undefined && failed.length > 0) leaveOut(planned, loaded, present, failed, tolerate)
  return order(planned, present, failed)
}

/** Where some could not be loaded, nobody knows what they would have provided: whoever needs what is not there goes with them. */
function leaveOut(
  planned: PlannedPlugin[],
  loaded: readonly LoadedPlugin[],
  present: ReadonlySet<string>,
  failed: readonly string[],
  tolerate: (name: string, request: PluginRequest, error: unknown) => void,
): void {
  for (;;) {
    const provided = new Set([...present, ...planned.flatMap(({ plugin }) => plugin.provides.map(({ name }) => name))])
    const index = planned.findIndex(({ plugin }) => plugin.needs.some(({ name }) => !provided.has(name)))
    if (index < 0) return
    const [{ id, plugin }] = planned.splice(index, 1) as [PlannedPlugin]
    const missing = plugin.needs.find(({ name }) => !provided.has(name))?.name
    const error = new RootPartitionError(
      'ERR_PLUGIN_NEEDS',
      `${id} needs ${missing}, which nothing provides; ${failed.join(' and ')} could not be loaded`,
      { data: { id, service: missing } },
    )
    const request = loaded.find((entry) => entry.id === id)?.request as PluginRequest
    tolerate(id, request, error)
  }
}

/** What to call a plug-in of which nothing is known yet. */
function nameOf({ id, plugin }: PluginRequest): string {
  return id ?? (typeof plugin === 'string' ? plugin : messageOf(attempt(() => plugin.name) ?? 'without a name'))
}

async function loadOne(
  registry: PluginRegistry,
  request: PluginRequest,
  scope: PluginScope | undefined,
  options: PluginPlanOptions,
): Promise<Plugin> {
  const { plugin: reference } = request
  const load = async (): Promise<Plugin> =>
    typeof reference === 'string' ? registry.load(reference) : checkPlugin(() => reference, nameOf(request))
  const loading = scope === undefined ? load() : scope.call(load, undefined, undefined, undefined, undefined)
  const plugin = await patiently(loading, nameOf(request), 'when it was loaded', options)
  if (plugin !== LATE) return plugin
  const cause = lateError()
  throw new RootPartitionError('ERR_PLUGIN_LOAD', `The plug-in ${nameOf(request)} cannot be loaded: ${cause.message}`, {
    cause,
  })
}

function patiently<T>(
  work: PromiseLike<T>,
  id: string,
  where: string,
  { timer = hostTimer, logger = silentLogger }: PluginPlanOptions,
): Promise<T | typeof LATE> {
  return inTime(work, timer, () => logger.log('warn', slowNotice(id, where), { plugin: id }))
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
  scope: PluginScope | undefined,
  options: PluginPlanOptions,
): Promise<unknown> {
  // All of what the schema gives may be code of the plug-in.
  const check = async (): Promise<Checked> => {
    const result = await plugin.options['~standard'].validate(request.options ?? {})
    const { issues } = result
    return issues === undefined
      ? { value: result.value }
      : { value: undefined, issues: issues.map(describeIssue), keys: issues.map(({ path }) => keysOf(path)[0]) }
  }
  let checked: Checked
  try {
    const checking = scope === undefined ? check() : scope.call(check, undefined, undefined, undefined, undefined)
    const done = await patiently(checking, id, 'when it looked at its options', options)
    if (done === LATE) throw lateError()
    checked = done
  } catch (cause) {
    throw new RootPartitionError(
      'ERR_PLUGIN_LOAD',
      `The plug-in ${id} failed when it looked at its options: ${messageOf(cause)}`,
      { cause },
    )
  }
  const { value, issues, keys = [] } = checked
  if (issues === undefined) return value
  const known = typeof request.plugin === 'string' ? await registry.options(request.plugin) : undefined
  throw new RootPartitionError(
    'ERR_PLUGIN_OPTIONS',
    `The options of ${id} are wrong: ${messageOf(issues.join('; '))}`,
    {
      data: { plugin: plugin.name, id, issues },
      ...(known !== undefined && { hint: optionsHint(Object.keys(known), keys) }),
    },
  )
}

/** What a schema says of options. */
interface Checked {
  readonly value: unknown
  /** What is wrong, in words. */
  readonly issues?: readonly string[]
  /** The options that are wrong. */
  readonly keys?: readonly (string | undefined)[]
}

function optionsHint(names: readonly string[], keys: readonly (string | undefined)[]): string {
  if (names.length === 0) return 'It takes no options.'
  const strange = keys.find((key) => key !== undefined && !names.includes(key))
  const meant = strange === undefined ? undefined : didYouMean(strange, names)
  return `${meant === undefined ? '' : `${meant} `}Its options are ${names.join(', ')}.`
}

function describeIssue({ message, path }: SchemaIssue): string {
  const keys = keysOf(path)
  return messageOf(keys.length === 0 ? message : `${keys.join('.')}: ${message}`)
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
