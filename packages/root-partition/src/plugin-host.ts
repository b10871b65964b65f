// Starts planned plug-ins one after the other, hands each the services that it declared and nothing else, and disposes of them in reverse, also
// when one fails half-way.

import type { Logger, Plugin, PluginContext, PluginInstance, ServiceToken } from '@partita/interface'
import { PartitaError } from '@partita/interface'
import { RootPartitionError } from './error.ts'
import type { PlannedPlugin } from './plugin-plan.ts'

/** A plug-in that was created. */
export interface StartedPlugin {
  readonly id: string
  readonly plugin: Plugin
  readonly instance: PluginInstance
}

/** The plug-ins of a VM, in order of need. */
export class PluginHost implements AsyncDisposable {
  readonly #services: Map<string, unknown>
  readonly #started: StartedPlugin[] = []
  readonly #stack = new AsyncDisposableStack()

  private constructor(services: Iterable<readonly [string, unknown]>) {
    this.#services = new Map(services)
  }

  /**
   * Create all of `planned`. When one fails, those before it are disposed of in reverse, and the error goes on.
   * @throws PartitaError of the plug-in; RootPartitionError `ERR_PLUGIN_FAILED`, `ERR_PLUGIN_UNDECLARED`, `ERR_PLUGIN_INVALID`
   */
  static async start(
    planned: readonly PlannedPlugin[],
    services: Iterable<readonly [string, unknown]>,
    logger: Logger,
  ): Promise<PluginHost> {
    const host = new PluginHost(services)
    try {
      for (const entry of planned) await host.#create(entry, logger)
    } catch (error) {
      try {
        await host[Symbol.asyncDispose]()
      } catch (disposal) {
        logger.log('error', 'A plug-in failed to clean up after another had failed', { error: String(disposal) })
      }
      throw error
    }
    return host
  }

  /** In order of need. */
  get plugins(): readonly StartedPlugin[] {
    return this.#started
  }

  /** A service by its token, for the root partition itself. */
  find<T>(token: ServiceToken<T>): T | undefined {
    return this.#services.get(token.name) as T | undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }

  async #create({ id, plugin, options }: PlannedPlugin, logger: Logger): Promise<void> {
    const context: PluginContext = {
      options,
      id,
      logger: logger.child({ plugin: id }),
      get: <T>(token: ServiceToken<T>): T => {
        const declared = isIn(plugin.needs, token) || (isIn(plugin.uses ?? [], token) && this.#services.has(token.name))
        if (!declared) throw undeclared(id, token.name)
        return this.#services.get(token.name) as T
      },
      find: <T>(token: ServiceToken<T>): T | undefined => {
        if (!isIn(plugin.uses ?? [], token) && !isIn(plugin.needs, token)) throw undeclared(id, token.name)
        return this.#services.get(token.name) as T | undefined
      },
    }
    let instance: PluginInstance
    try {
      instance = await plugin.create(context)
    } catch (cause) {
      throw pluginFailure(id, 'could not be created', cause)
    }
    if (typeof instance?.[Symbol.asyncDispose] !== 'function') {
      throw new RootPartitionError('ERR_PLUGIN_INVALID', `What ${id} created cannot be disposed of`)
    }
    this.#stack.use(instance)
    this.#started.push({ id, plugin, instance })
    for (const { name } of plugin.provides) {
      const service = instance.services?.[name]
      if (service === undefined)
        throw new RootPartitionError('ERR_PLUGIN_INVALID', `${id} does not provide ${name}, as it promised`)
      this.#services.set(name, service)
    }
  }
}

/** The error for something that a plug-in threw: its own if it has a code. */
export function pluginFailure(id: string, what: string, cause: unknown): PartitaError {
  if (cause instanceof PartitaError) return cause
  const message = cause instanceof Error ? cause.message : String(cause)
  return new RootPartitionError('ERR_PLUGIN_FAILED', `The plug-in ${id} ${what}: ${message}`, { cause, data: { id } })
}

function isIn(tokens: readonly ServiceToken<unknown>[], token: ServiceToken<unknown>): boolean {
  return tokens.some(({ name }) => name === token.name)
}

function undeclared(id: string, service: string): RootPartitionError {
  return new RootPartitionError('ERR_PLUGIN_UNDECLARED', `${id} asked for ${service}, which it did not declare`, {
    hint: 'A plug-in lists what it needs under `needs`, and what it uses where present under `uses`.',
    data: { id, service },
  })
}
