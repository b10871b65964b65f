// The plug-in contract. A plug-in is a module whose default export is a Plugin. The root partition checks its contract version, options
// and needs before any plug-in starts, starts plug-ins in order of need, and disposes of them in reverse.

import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Logger } from './logger.ts'
import type { Saveable } from './saved-state.ts'

/** The version of this contract. A plug-in names the one that it was written for. */
export const PLUGIN_CONTRACT = 1

/** What a plug-in is for. */
export type PluginKind =
  | 'processor'
  | 'emulated-device'
  | 'vsp'
  | 'firmware'
  | 'disk-format'
  | 'network-backend'
  | 'service'

/** Names a service and carries its type. Two tokens are the same service when their names are equal. */
export interface ServiceToken<T> {
  /** `package/service`: what plug-ins are matched by, and what errors about needs name. */
  readonly name: string
  /** Never set: carries the type. */
  readonly type?: T
}

/** Make a token. Name it `package/service`. */
export function serviceToken<T>(name: string): ServiceToken<T> {
  return { name }
}

/** What `create` is given. */
export interface PluginContext<Options = unknown> {
  /** The validated options (the schema's output). */
  readonly options: Options
  /** For what people should know; its lines tell the plug-in's id. */
  readonly logger: Logger
  /** The plug-in's id in the VM's configuration: its name, or `name#2`, … for further instances. */
  readonly id: string
  /** A service that the plug-in declared in `needs` (or that is present and declared in `uses`). @throws PartitaError `ERR_PLUGIN_UNDECLARED` for any other */
  get<T>(token: ServiceToken<T>): T
  /** A service declared in `uses`, if some plug-in provides it. */
  find<T>(token: ServiceToken<T>): T | undefined
}

/** A started plug-in. It is a state unit: stopped, saved, restored, reset and disposed of with the partition. */
export interface PluginInstance extends Partial<Saveable>, AsyncDisposable {
  /** The services promised in `provides`, by token name. */
  readonly services?: Readonly<Record<string, unknown>>
  /** Back to the power-on state, at once: nobody waits. */
  reset?(): void
  /** The partition is about to run (again). It waits for a minute. */
  start?(): void | Promise<void>
  /** The partition has stopped running: complete what is in flight, start nothing new. There is a minute for it. */
  stop?(): void | Promise<void>
}

/** A plug-in: the default export of its module. */
export interface Plugin<Options = unknown> {
  /** The npm package's name and, where it has several, the export: `@partita/emulated-serial`, `@partita/emulated-chipset/pit`. */
  readonly name: string
  /** In which places of a VM's configuration it may stand. The manifest has to say the same. */
  readonly kind: PluginKind
  /** The {@link PLUGIN_CONTRACT} it was written for. */
  readonly contract: number
  /** One line for a listing. */
  readonly description: string
  /** Checks and completes the options of the VM's configuration. */
  readonly options: StandardSchemaV1<unknown, Options>
  /** Services that must be there before `create`. */
  readonly needs: readonly ServiceToken<unknown>[]
  /** Services that are used where present; they too start first. */
  readonly uses?: readonly ServiceToken<unknown>[]
  /** Services that the instance offers. */
  readonly provides: readonly ServiceToken<unknown>[]
  /**
   * Make an instance. A PartitaError that it throws is a refusal: it ends the start of the VM, and plug-ins that started before are disposed of. Anything else is a failure: the plug-in is left
   * out, and so it is when it is not done after a minute.
   */
  create(context: PluginContext<Options>): PluginInstance | Promise<PluginInstance>
}

/**
 * The manifest in a plug-in package's `package.json` under the key `partita`, with which plug-ins are listed without running them.
 */
export interface PluginManifest {
  /** All plug-ins of the package. */
  readonly plugins: readonly {
    /** The plug-in's own `name`, by which a configuration asks for it. */
    readonly name: string
    /** The plug-in's own `kind`. */
    readonly kind: PluginKind
    /** The plug-in's own `contract`; it is looked at before the module is loaded. */
    readonly contract: number
    /** The plug-in's own `description`, for listings. */
    readonly description: string
    /** The export of the package that holds the plug-in, `.` or `./pit`. */
    readonly export: string
    /** The interfaces of the devices that it offers on the VMBus. */
    readonly guids?: readonly PluginGuid[]
    /** Its options by name; nothing said where there are none to tell of. */
    readonly options?: Readonly<Record<string, PluginOptionManifest>>
  }[]
}

/** A VMBus interface in a manifest. */
export interface PluginGuid {
  /** The GUID by which a guest finds its driver. */
  readonly interfaceId: string
  /** What the interface is, a few words for a listing. */
  readonly description: string
}

/** An option in a manifest, for a reader; the plug-in's schema checks. */
export interface PluginOptionManifest {
  /** `number`, `string`, `boolean`, `string[]`, or the values that there are: `'a' | 'b'`. */
  readonly type: string
  /** What the option does, one line for a listing. */
  readonly description: string
  /** What it is where omitted. */
  readonly default?: unknown
  /** Whether the plug-in refuses to start without it. Default: false. */
  readonly required?: boolean
}

/** Type-checks a plug-in and gives it back. */
export function definePlugin<Options>(plugin: Plugin<Options>): Plugin<Options> {
  return plugin
}
