// Starts planned plug-ins one after the other, hands each the services that it declared and nothing else, and disposes of them in reverse. One that fails is
// taken away with what needs it; the others live.

import type { Logger, PartitaError, Plugin, PluginContext, PluginInstance, ServiceToken } from '@partita/interface'
import { Claims } from './claims.ts'
import { RootPartitionError } from './error.ts'
import { guardService } from './guarded-services.ts'
import { type HostTimer, hostTimer, inTime, slowNotice } from './patience.ts'
import { IN_THE_EVENT_LOOP, type PluginFailure, PluginGuard, type PluginTracker } from './plugin-guard.ts'
import type { PlannedPlugin } from './plugin-plan.ts'
import { faultOf, isAnswer, messageOf, nameIn, stackOf } from './thrown.ts'

/** A plug-in that was created. */
export interface StartedPlugin {
  /** Its id in the VM. */
  readonly id: string
  /** What it was made of. */
  readonly plugin: Plugin
  /** What `create` has returned. */
  readonly instance: PluginInstance
  /** Through which everything calls it. */
  readonly guard: PluginGuard
}

/** Options of {@link PluginHost.start}. */
export interface PluginHostOptions {
  /** Gets a child for each plug-in, and tells of plug-ins that fail. */
  readonly logger: Logger
  /** Follows what plug-ins leave to the event loop. */
  readonly tracker?: PluginTracker | undefined
  /** Ids of plug-ins without which there is no machine: an error of theirs is the machine's. */
  readonly essential?: ReadonlySet<string>
  /** Ends the patience with plug-ins that never are disposed of. Default: the host's. */
  readonly timer?: HostTimer | undefined
  /** Told of each plug-in that was taken away. */
  readonly onFailure?: ((failure: PluginFailure) => void) | undefined
}

/** Where an instance is on its way. */
interface Entry extends StartedPlugin {
  dispose(): Promise<void>
}

/** The plug-ins of a VM, in order of need. */
export class PluginHost implements AsyncDisposable {
  readonly #services: Map<string, unknown>
  readonly #options: PluginHostOptions
  readonly #entries: Entry[] = []
  readonly #claims = new Claims()
  /** The guards of those who provide what. The host's services, and those of essential plug-ins, have none. */
  readonly #providers = new Map<string, PluginGuard>()
  /** Who provided what, and failed. */
  readonly #lost = new Map<string, string>()
  readonly #leaving = new Set<Promise<void>>()
  /** What {@link PluginHost.find} has given out. */
  readonly #found = new Map<string, unknown>()

  private constructor(services: Iterable<readonly [string, unknown]>, options: PluginHostOptions) {
    this.#services = new Map(services)
    this.#options = options
  }

  /**
   * Create all of `planned`. A PartitaError of one says that the configuration cannot be: those before it are disposed of in reverse, and the error goes on. Anything
   * else is a fault of the plug-in: it and what needs it are left out.
   * @throws PartitaError of a plug-in; RootPartitionError `ERR_PLUGIN_FAILED`, `ERR_PLUGIN_UNDECLARED`, `ERR_PLUGIN_INVALID`
   */
  static async start(
    planned: readonly PlannedPlugin[],
    services: Iterable<readonly [string, unknown]>,
    options: PluginHostOptions,
  ): Promise<PluginHost> {
    const host = new PluginHost(services, options)
    try {
      for (const entry of planned) await host.#create(entry)
    } catch (error) {
      try {
        await host[Symbol.asyncDispose]()
      } catch (disposal) {
        options.logger.log('error', 'A plug-in failed to clean up after another had failed', {
          error: messageOf(disposal),
        })
      }
      throw error
    }
    return host
  }

  /** Those that live, in order of need. */
  get plugins(): readonly StartedPlugin[] {
    return this.#entries.filter(({ guard }) => !guard.failed)
  }

  /** A service by its token, for the root partition itself and whoever embeds it; nothing when its plug-in is gone. */
  find<T>(token: ServiceToken<T>): T | undefined {
    const { name } = token
    const provider = this.#providers.get(name)
    if (provider === undefined) return this.#services.get(name) as T | undefined
    if (provider.failed) return undefined
    if (!this.#found.has(name)) this.#found.set(name, this.#guarded(name, undefined))
    return this.#found.get(name) as T
  }

  /** Disposes of all in reverse. The first PartitaError is thrown when all are gone; anything else is the failure of a plug-in. */
  async [Symbol.asyncDispose](): Promise<void> {
    let first: { readonly error: unknown } | undefined
    for (const entry of this.#entries.splice(0).reverse()) {
      try {
        await entry.dispose()
      } catch (error) {
        first ??= { error }
      }
    }
    await Promise.all(this.#leaving)
    if (first !== undefined) throw first.error
  }

  async #create({ id, plugin, options, strays }: PlannedPlugin): Promise<void> {
    const { logger, tracker, essential, timer } = this.#options
    const trusted = essential?.has(id) === true
    const guard = new PluginGuard(id, {
      tracker: trusted ? undefined : tracker,
      timer,
      onFailure: (where, error) => this.#failed(id, plugin, where, error),
      onSlow: (slow, where) => logger.log('warn', slowNotice(slow, where), { plugin: slow }),
    })
    if (strays !== undefined) {
      strays.blame = (error) => guard.fail(IN_THE_EVENT_LOOP, error)
      if (strays.first !== undefined) strays.blame(strays.first.error)
      if (guard.failed) return
    }
    const lost = plugin.needs.find(({ name }) => this.#lost.has(name))
    if (lost !== undefined) {
      guard.fail(`because it needs ${this.#lost.get(lost.name)}`, new Error(`${lost.name} is gone`))
      return
    }
    const given = new Map<string, unknown>()
    const service = (name: string): unknown => {
      if (trusted) return this.#services.get(name)
      if (!given.has(name) && !this.#lost.has(name)) given.set(name, this.#guarded(name, guard))
      return given.get(name)
    }
    const context: PluginContext = {
      options,
      id,
      logger: logger.child({ plugin: id }),
      get: <T>(token: ServiceToken<T>): T => {
        const declared = isIn(plugin.needs, token) || (isIn(plugin.uses ?? [], token) && this.#services.has(token.name))
        if (!declared) throw undeclared(id, token.name)
        if (this.#lost.has(token.name)) throw this.#providers.get(token.name)?.goneError() ?? undeclared(id, token.name)
        return service(token.name) as T
      },
      find: <T>(token: ServiceToken<T>): T | undefined => {
        if (!isIn(plugin.uses ?? [], token) && !isIn(plugin.needs, token)) throw undeclared(id, token.name)
        return service(token.name) as T | undefined
      },
    }
    let instance: PluginInstance | undefined
    let creating: Promise<PluginInstance> | undefined
    const where = 'when it was created'
    try {
      creating = Promise.resolve(guard.scope.call(plugin.create, plugin, context, undefined, undefined))
      instance = await guard.inTime(where, creating)
    } catch (error) {
      if (trusted || (isAnswer(error) && faultOf(error) === undefined))
        throw pluginFailure(id, 'could not be created', error)
      guard.threw(where, error, true)
    }
    // What it needs may have failed while it was made.
    const gone = plugin.needs.find(({ name }) => this.#lost.has(name))
    if (gone !== undefined && !guard.failed)
      guard.fail(`because it needs ${this.#lost.get(gone.name)}`, new Error(`${gone.name} is gone`))
    const made = guard.failed ? undefined : guard.call(where, undefined, lookAt, undefined, instance, plugin)
    if (made === undefined) {
      // What comes late, or came after all, goes again. Nobody waits for it.
      const end = (late: PluginInstance | undefined): unknown => late?.[Symbol.asyncDispose]?.()
      creating
        ?.then((late) => guard.scope.call(end, undefined, late, undefined, undefined))
        .catch((error: unknown) => this.#failedLeaving(id, error))
      return
    }
    if (!made.isDisposable)
      throw new RootPartitionError('ERR_PLUGIN_INVALID', `What ${id} created cannot be disposed of`)
    const dispose = once(() => this.#dispose(instance as PluginInstance, guard, trusted))
    this.#entries.push({ id, plugin, instance: instance as PluginInstance, guard, dispose })
    for (const [name, provided] of made.services) {
      if (provided === undefined)
        throw new RootPartitionError('ERR_PLUGIN_INVALID', `${id} does not provide ${name}, as it promised`)
      this.#services.set(name, provided)
      if (!trusted) this.#providers.set(name, guard)
    }
  }

  async #dispose(instance: PluginInstance, guard: PluginGuard, trusted: boolean): Promise<void> {
    const where = 'when it was disposed of'
    const dispose = async (): Promise<void> => instance[Symbol.asyncDispose]()
    const disposing = guard.scope.call(dispose, undefined, undefined, undefined, undefined)
    try {
      // One that is gone already is waited for in the same way, but nothing more can happen to it.
      if (guard.failed) await inTime(disposing, this.#options.timer ?? hostTimer)
      else await guard.inTime(where, disposing)
    } catch (error) {
      if (trusted || guard.failed || (isAnswer(error) && faultOf(error) === undefined)) throw error
      guard.threw(where, error)
    }
  }

  #guarded(name: string, user: PluginGuard | undefined): unknown {
    return guardService(name, this.#services.get(name), {
      provider: this.#providers.get(name),
      user,
      claims: this.#claims,
      isOfHost: (value) => this.#isOfHost(value),
    })
  }

  /** Services of the host, and what is in its maps. */
  #isOfHost(value: object): boolean {
    for (const [name, service] of this.#services) {
      if (this.#providers.has(name)) continue
      if (service === value) return true
      if (service instanceof Map) for (const inner of service.values()) if (inner === value) return true
    }
    return false
  }

  #failedLeaving(id: string, error: unknown): void {
    this.#options.logger.log('debug', `The plug-in ${id} failed to clean up: ${messageOf(error)}`)
  }

  /** What a plug-in has claimed is gone by now. */
  #failed(id: string, plugin: Plugin, where: string, error: unknown): void {
    const message = `The plug-in ${id} failed ${where}: ${messageOf(error)}`
    const stack = stackOf(error)
    const end = this.#options.essential?.has(id) ? '' : '; its device is taken away'
    this.#options.logger.log('error', `${message}${end}`, { id, ...(stack && { stack }) })
    this.#options.onFailure?.({ id, where, error, message })
    for (const { name } of plugin.provides) this.#lost.set(name, id)
    // Others go while this goes on.
    for (const other of [...this.#entries]) {
      if (other.plugin.needs.some(({ name }) => plugin.provides.some((token) => token.name === name)))
        other.guard.fail(`because it needs ${id}`, error)
    }
    const index = this.#entries.findIndex((entry) => entry.id === id)
    const [entry] = index < 0 ? [] : this.#entries.splice(index, 1)
    if (entry === undefined) return
    // Not inside of the call that failed.
    const leaving = Promise.resolve()
      .then(() => entry.dispose())
      .catch((disposal: unknown) => this.#failedLeaving(id, disposal))
      .finally(() => this.#leaving.delete(leaving))
    this.#leaving.add(leaving)
  }
}

function once(run: () => PromiseLike<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  return () => {
    running ??= Promise.resolve().then(run)
    return running
  }
}

/** What there is of an instance. Its properties may be code. */
function lookAt(
  instance: PluginInstance | undefined,
  { provides }: Plugin,
): { readonly isDisposable: boolean; readonly services: readonly (readonly [string, unknown])[] } {
  const services = instance?.services
  return {
    isDisposable: typeof instance?.[Symbol.asyncDispose] === 'function',
    services: provides.map(({ name }) => [name, services?.[name]]),
  }
}

/** The error for something that a plug-in threw: its own if it has a code, with a message that names the plug-in. */
export function pluginFailure(id: string, what: string, cause: unknown): PartitaError {
  if (isAnswer(cause)) return nameIn(cause, id)
  return new RootPartitionError('ERR_PLUGIN_FAILED', `The plug-in ${id} ${what}: ${messageOf(cause)}`, {
    cause,
    data: { id },
  })
}

function isIn(tokens: readonly ServiceToken<unknown>[], token: ServiceToken<unknown>): boolean {
  return tokens.some(({ name }) => name === token.name)
}

function undeclared(id: string, service: string): RootPartitionError {
  return new RootPartitionError('ERR_PLUGIN_UNDECLARED', `${id}: it asked for ${service}, which it did not declare`, {
    hint: 'A plug-in lists what it needs under `needs`, and what it uses where present under `uses`.',
    data: { id, service },
  })
}
