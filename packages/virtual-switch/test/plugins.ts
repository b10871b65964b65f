// Plug-ins of the network, started as the root partition starts them: each has the services of those before it.

import {
  clockToken,
  type Network,
  networkToken,
  type Plugin,
  type ServiceToken,
  silentLogger,
} from '@partita/interface'
import { FakeClock } from '@partita/testkit'
import { type SwitchReport, switchControlToken } from '../src/index.ts'

/** Plug-ins that have started. */
export class StartedPlugins implements AsyncDisposable {
  readonly clock: FakeClock = new FakeClock()
  readonly #services: Map<string, unknown> = new Map<string, unknown>([[clockToken.name, this.clock]])
  readonly #owning: AsyncDisposableStack = new AsyncDisposableStack()

  /** @throws what the schema or `create` says, the schema's issues as an error */
  async start<T>(plugin: Plugin<T>, options: unknown = {}): Promise<void> {
    const result = await plugin.options['~standard'].validate(options)
    if (result.issues !== undefined) throw new Error(result.issues.map(({ message }) => message).join('; '))
    const get = <S>({ name }: ServiceToken<S>): S => this.#services.get(name) as S
    const missing = plugin.needs.find(({ name }) => !this.#services.has(name))
    if (missing !== undefined) throw new Error(`${plugin.name} needs ${missing.name}`)
    const instance = await plugin.create({
      options: result.value,
      logger: silentLogger,
      id: plugin.name,
      get,
      find: get,
    })
    this.#owning.use(instance)
    for (const { name } of plugin.provides) {
      if (this.#services.has(name)) throw new Error(`two provide ${name}`)
      if (instance.services?.[name] === undefined) throw new Error(`${plugin.name} does not provide ${name}`)
      this.#services.set(name, instance.services[name])
    }
  }

  /** A service of theirs. */
  get<T>({ name }: ServiceToken<T>): T {
    return this.#services.get(name) as T
  }

  get network(): Network {
    return this.get(networkToken)
  }

  report(): SwitchReport[] {
    return this.get(switchControlToken).report()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owning.disposeAsync()
  }
}
