// The plug-in registry: knows plug-ins by their packages' manifests, and loads a plug-in's module only when a VM uses it.

import {
  PLUGIN_CONTRACT,
  type Plugin,
  type PluginGuid,
  type PluginKind,
  type PluginOptionManifest,
} from '@partita/interface'
import * as v from 'valibot'
import { BUILT_IN_PACKAGES } from './built-in.ts'
import { RootPartitionError } from './error.ts'
import { type FoundPackage, MODULE_ABSENT, type PackageSource } from './package-source.ts'
import { type PackageManifest, PLUGIN_KINDS, parsePackageManifest, word } from './plugin-manifest.ts'
import { didYouMean } from './suggestion.ts'
import { messageOf } from './thrown.ts'

/** One line of a listing. */
export interface PluginListing {
  /** The plug-in's name, by which a configuration asks for it. */
  readonly name: string
  /** What it is for. */
  readonly kind: PluginKind
  /** The version of the contract that it was written for. */
  readonly contract: number
  /** One line for people. */
  readonly description: string
  /** The npm name of its package; the plug-in's own name for one that was given. */
  readonly package: string
  /** The version of its package; empty for one that was given. */
  readonly version: string
  /** Where it came from: a package that belongs to Partita, one that was found by its npm name, a path, or the embedder. */
  readonly origin: 'built-in' | 'package' | 'path' | 'given'
  /** The place of its package; empty for one that was given. */
  readonly location: string
  /** VMBus interfaces that it offers. */
  readonly guids: readonly PluginGuid[]
  /** Its options, as its manifest tells of them. */
  readonly options: Readonly<Record<string, PluginOptionManifest>>
  /** False for one that was written for another version of the contract. */
  readonly usable: boolean
}

/** A plug-in that is known by its manifest. */
interface KnownPlugin extends PluginListing {
  readonly export: string
  /** Whether its manifest says anything of options. */
  readonly hasOptions: boolean
  readonly found: FoundPackage
}

/** Options of {@link PluginRegistry}. */
export interface PluginRegistryOptions {
  /** Where packages are found. */
  readonly source: PackageSource
  /** Packages that are listed, and found by the short names of their plug-ins. {@link BUILT_IN_PACKAGES} where omitted. */
  readonly packages?: readonly string[]
  /** Plug-ins that are there already, without a package: an embedder's own, or a test's. */
  readonly plugins?: readonly Plugin<never>[]
}

// `create` and the schema's validate cannot be looked into before they are called.
const isFunction = v.function()
const tokens = v.array(v.object({ name: v.pipe(v.string(), v.nonEmpty()) }))
const pluginSchema = v.object({
  name: word,
  kind: v.picklist(PLUGIN_KINDS),
  contract: v.number(),
  description: v.string(),
  options: v.custom<Plugin['options']>(isStandardSchema, 'must be a Standard Schema'),
  needs: tokens,
  uses: v.optional(tokens),
  provides: tokens,
  create: isFunction,
})

/**
 * Finds plug-ins.
 *
 * @example
 * ```ts
 * const registry = new PluginRegistry({ source: new NodePackageSource({ directory: process.cwd() }) })
 * for (const { name, description } of await registry.list()) console.log(name, description)
 * ```
 */
export class PluginRegistry {
  readonly #source: PackageSource
  readonly #packages: readonly string[]
  readonly #given: ReadonlyMap<string, Plugin>
  readonly #manifests = new Map<string, Promise<readonly KnownPlugin[] | undefined>>()

  constructor(options: PluginRegistryOptions) {
    this.#source = options.source
    this.#packages = options.packages ?? BUILT_IN_PACKAGES
    this.#given = new Map((options.plugins ?? []).map((plugin) => [plugin.name, plugin as unknown as Plugin]))
  }

  /**
   * The plug-ins of the built-in packages, and of `packages`: npm names, paths of packages, or paths of modules in packages. Runs none of them.
   * @throws RootPartitionError `ERR_PLUGIN_UNKNOWN`, `ERR_PLUGIN_INVALID` for `packages`
   */
  async list(packages: readonly string[] = []): Promise<PluginListing[]> {
    const listings: PluginListing[] = [...this.#given.values()].map((plugin) => ({
      name: plugin.name,
      kind: plugin.kind,
      contract: plugin.contract,
      description: plugin.description,
      package: plugin.name,
      version: '',
      origin: 'given',
      location: '',
      guids: [],
      options: {},
      usable: plugin.contract === PLUGIN_CONTRACT,
    }))
    for (const name of this.#packages) listings.push(...((await this.#known(name)) ?? []))
    for (const name of packages) listings.push(...(await this.#listStranger(name)))
    return listings.map((listing) => {
      const { export: _export, found: _found, hasOptions: _hasOptions, ...plain } = listing as KnownPlugin
      return plain
    })
  }

  async #listStranger(reference: string): Promise<readonly KnownPlugin[]> {
    if (isModule(reference)) {
      const known = await this.#knownModule(reference)
      if (known !== undefined) return [known]
      throw new RootPartitionError(
        'ERR_PLUGIN_INVALID',
        `${reference} is a module that no plug-in package has: it cannot be listed without running it`,
        { hint: 'Name the package, or the directory with its package.json.', data: { reference } },
      )
    }
    const known = await this.#known(reference)
    if (known === undefined) throw await this.#unknown(reference)
    return known
  }

  /** The options that a plug-in's manifest tells of; `undefined` where nothing is known of them. */
  async options(reference: string): Promise<Readonly<Record<string, PluginOptionManifest>> | undefined> {
    try {
      const known = isModule(reference) ? await this.#knownModule(reference) : await this.#locate(reference)
      return known?.found.json === undefined || !known.hasOptions ? undefined : known.options
    } catch {
      return undefined
    }
  }

  /**
   * Load the plug-in that `reference` names: a plug-in's name (for built-in ones also without `@partita/`), the npm name of a package with one plug-in,
   * the path of such a package's directory, or the path or the URL of a module.
   * @throws RootPartitionError `ERR_PLUGIN_UNKNOWN`, `ERR_PLUGIN_CONTRACT`, `ERR_PLUGIN_INVALID`, `ERR_PLUGIN_LOAD` when the module throws
   */
  async load(reference: string): Promise<Plugin> {
    const given = this.#given.get(reference)
    if (given !== undefined) {
      checkContract(
        reference,
        lookAt(reference, () => given.contract),
      )
      return checkPlugin(() => given, reference)
    }
    if (isModule(reference)) {
      const known = await this.#knownModule(reference)
      return known === undefined ? this.#loadFile(reference) : this.#loadKnown(known)
    }
    return this.#loadKnown(await this.#locate(reference))
  }

  async #loadKnown(known: KnownPlugin): Promise<Plugin> {
    checkContract(known.name, known.contract)
    let module: Readonly<Record<string, unknown>>
    try {
      module = await known.found.load(known.export)
    } catch (cause) {
      throw new RootPartitionError(
        isAbsent(cause) ? 'ERR_PLUGIN_INVALID' : 'ERR_PLUGIN_LOAD',
        `The plug-in ${known.name} cannot be loaded: ${messageOf(cause)}`,
        { cause, ...(isAbsent(cause) && { hint: 'Build its package first, where it has to be: npm run build.' }) },
      )
    }
    const plugin = checkPlugin(() => module['default'], known.name)
    for (const key of ['name', 'kind', 'contract'] as const) {
      if (plugin[key] !== known[key]) {
        throw new RootPartitionError(
          'ERR_PLUGIN_INVALID',
          `The plug-in ${known.name} is not what its manifest says: ${key} is ${plugin[key]}, not ${known[key]}`,
          { hint: 'Build its package anew, or have its package.json say the same under "partita".' },
        )
      }
    }
    return plugin
  }

  async #loadFile(path: string): Promise<Plugin> {
    let module: Readonly<Record<string, unknown>>
    try {
      module = await this.#source.loadFile(path)
    } catch (cause) {
      throw new RootPartitionError(
        isAbsent(cause) ? 'ERR_PLUGIN_UNKNOWN' : 'ERR_PLUGIN_LOAD',
        `The plug-in ${path} cannot be loaded: ${messageOf(cause)}`,
        { cause },
      )
    }
    const contract = lookAt(path, () => (module['default'] as { contract?: unknown } | undefined | null)?.contract)
    if (typeof contract === 'number') checkContract(path, contract)
    return checkPlugin(() => module['default'], path)
  }

  /** The plug-in of a package whose export a module file is. */
  async #knownModule(reference: string): Promise<KnownPlugin | undefined> {
    if (/^(https?|data):/i.test(reference)) return undefined
    const file = await this.#source.findFile?.(reference)
    const json = file?.found.json
    if (file === undefined || typeof json !== 'object' || json === null || !('partita' in json)) return undefined
    return this.#describe(file.found, reference).find((plugin) => plugin.export === file.export)
  }

  async #locate(reference: string): Promise<KnownPlugin> {
    const builtIn = await this.#builtIn()
    const match = builtIn.find(({ name }) => name === reference || name === `@partita/${reference}`)
    if (match !== undefined) return match
    return this.#locateStranger(reference)
  }

  async #locateStranger(reference: string): Promise<KnownPlugin> {
    const packageName = isPathOrUrl(reference) ? reference : /^(@[^/]+\/)?[^/]+/.exec(reference)?.[0]
    const known = packageName === undefined ? undefined : await this.#known(packageName)
    if (known === undefined) throw await this.#unknown(reference)
    const match =
      known.find((plugin) => plugin.name === reference) ??
      (packageName === reference && known.length === 1 ? known[0] : undefined)
    if (match === undefined) throw await this.#unknown(reference, known)
    return match
  }

  /** What the built-in packages have; one that cannot be read must not be in the way of the others. */
  async #builtIn(): Promise<KnownPlugin[]> {
    const known = await Promise.all(this.#packages.map((name) => this.#known(name).catch(() => undefined)))
    return known.flatMap((plugins) => plugins ?? [])
  }

  /** The plug-ins of a package by its manifest; `undefined` when there is no such package. */
  #known(packageName: string): Promise<readonly KnownPlugin[] | undefined> {
    let known = this.#manifests.get(packageName)
    if (known === undefined) {
      known = this.#read(packageName)
      this.#manifests.set(packageName, known)
    }
    return known
  }

  async #read(packageName: string): Promise<readonly KnownPlugin[] | undefined> {
    let found: FoundPackage | undefined
    try {
      found = await this.#source.find(packageName)
    } catch (cause) {
      throw new RootPartitionError(
        'ERR_PLUGIN_INVALID',
        `The package ${packageName} cannot be read: ${messageOf(cause)}`,
        { cause },
      )
    }
    return found === undefined ? undefined : this.#describe(found, packageName)
  }

  #describe(found: FoundPackage, reference: string): readonly KnownPlugin[] {
    const manifest: PackageManifest = parsePackageManifest(found.json, reference)
    const origin = this.#packages.includes(reference) ? 'built-in' : isPathOrUrl(reference) ? 'path' : 'package'
    return manifest.plugins.map(({ guids = [], options, ...plugin }) => ({
      ...plugin,
      package: manifest.name,
      version: manifest.version,
      origin,
      location: found.location,
      guids,
      options: options ?? {},
      usable: plugin.contract === PLUGIN_CONTRACT,
      hasOptions: options !== undefined,
      found,
    }))
  }

  async #unknown(reference: string, siblings: readonly KnownPlugin[] = []): Promise<RootPartitionError> {
    const names = [...this.#given.keys(), ...[...(await this.#builtIn()), ...siblings].map(({ name }) => name)]
    const hint =
      didYouMean(reference, names) ??
      (siblings.length > 0
        ? `That package has ${siblings.map(({ name }) => name).join(', ')}.`
        : isPathOrUrl(reference)
          ? 'A path leads to a directory with a package.json, or to a module: a file that ends with .js or .ts.'
          : '`partita plugins` lists the built-in ones; another needs its npm package installed, or a path that starts with "./".')
    return new RootPartitionError('ERR_PLUGIN_UNKNOWN', `There is no plug-in ${reference}`, {
      hint,
      data: { reference },
    })
  }
}

function isAbsent(cause: unknown): boolean {
  try {
    return (cause as { code?: unknown } | undefined | null)?.code === MODULE_ABSENT
  } catch {
    return false
  }
}

/** Whether a reference names a module and not a package. */
function isModule(reference: string): boolean {
  return /^((\.{0,2}[\\/]|[A-Za-z]:[\\/]|file:).*\.[cm]?[jt]s$|(https?|data):)/is.test(reference)
}

function isPathOrUrl(reference: string): boolean {
  return /^(\.{0,2}[\\/]|\.{1,2}$|[A-Za-z]:[\\/]|(file|data|https?):)/i.test(reference)
}

function checkContract(name: string, contract: number): void {
  if (contract === PLUGIN_CONTRACT) return
  const older = contract < PLUGIN_CONTRACT
  throw new RootPartitionError(
    'ERR_PLUGIN_CONTRACT',
    `The plug-in ${name} is written for version ${contract} of the plug-in contract, this is version ${PLUGIN_CONTRACT}`,
    {
      hint: older
        ? 'Look for a newer version of the plug-in.'
        : 'Update Partita, or take an older version of the plug-in.',
      data: { plugin: name, contract },
    },
  )
}

/**
 * What is read of a plug-in, once: what it says later, or throws when somebody asks again, changes nothing. `create` is called on the plug-in itself.
 * @throws RootPartitionError `ERR_PLUGIN_LOAD`, `ERR_PLUGIN_INVALID`
 */
export function checkPlugin(get: () => unknown, name: string): Plugin {
  const result = lookAt(name, () => {
    const value = get()
    const { success, output, issues } = v.safeParse(pluginSchema, value)
    if (!success) return { where: v.getDotPath(issues[0]), message: messageOf(issues[0].message) }
    const create: Plugin['create'] = (context) => Reflect.apply(output.create as Plugin['create'], value, [context])
    return { plugin: { ...output, create } as Plugin }
  })
  if (result.plugin !== undefined) return result.plugin
  const { where, message } = result
  throw new RootPartitionError(
    'ERR_PLUGIN_INVALID',
    where === null
      ? `The default export of ${name} is not a plug-in`
      : `The plug-in ${name} is wrong at ${where}: ${message}`,
  )
}

/** Look at what a module exports, whose properties may be code. @throws RootPartitionError `ERR_PLUGIN_LOAD` */
function lookAt<T>(name: string, look: () => T): T {
  try {
    return look()
  } catch (cause) {
    throw new RootPartitionError(
      'ERR_PLUGIN_LOAD',
      `The plug-in ${name} failed when it was looked at: ${messageOf(cause)}`,
      { cause },
    )
  }
}

function isStandardSchema(value: unknown): boolean {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  const standard = (value as { '~standard'?: { version?: unknown; validate?: unknown } })['~standard']
  return standard?.version === 1 && typeof standard.validate === 'function'
}
