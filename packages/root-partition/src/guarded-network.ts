// A network between the plug-in that provides it and the one whose adapter is at a port of it. Either may throw in the middle of a frame: a provider that does is an unplugged
// cable, an adapter that does takes no frames any more. A frame goes through one more call and allocates nothing.

import {
  type Network,
  type NetworkAdapter,
  type NetworkConnection,
  type NetworkFrame,
  type NetworkPort,
  PartitaError,
} from '@partita/interface'
import { isThenable, type PluginGuard } from './plugin-guard.ts'

/** What a port says that never was there. */
const DEFAULT_MTU = 1500
const DEFAULT_LINK_SPEED = 1e9

/** A network, provided by the plug-in of `provider` (or the host) to the plug-in of `user` (or the host). */
export function guardedNetwork(
  network: Network,
  provider: PluginGuard | undefined,
  user: PluginGuard | undefined,
): Network {
  return {
    connect(adapter: NetworkAdapter, connection: NetworkConnection): NetworkPort {
      user?.mustLive()
      const port = new GuardedPort(adapter, provider, user)
      port.connect(network, connection)
      return port
    },
  }
}

/** Not what the contract says: the plug-in that returned it fails, with what its promise was rejected with if it is one. */
function notBoolean(guard: PluginGuard, where: string, result: unknown): void {
  const wrong = (): void =>
    guard.fail(where, new PartitaError('ERR_PLUGIN_INVALID', 'what it returned is neither true nor false'))
  if (isThenable(result)) result.then(wrong, (error: unknown) => guard.threw(where, error))
  else wrong()
}

class GuardedPort implements NetworkPort {
  readonly #provider: PluginGuard | undefined
  readonly #adapter: GuardedAdapter
  readonly #user: PluginGuard | undefined
  readonly #losing: Disposable = { [Symbol.dispose]: () => this.#lose() }
  readonly #leaving: Disposable = { [Symbol.dispose]: () => void this[Symbol.asyncDispose]() }
  #port: NetworkPort | undefined
  // What is told when nobody is there any more to ask.
  #accepts = 0
  #mtu = DEFAULT_MTU
  #linkSpeed = DEFAULT_LINK_SPEED
  #disposing: Promise<void> | undefined

  constructor(adapter: NetworkAdapter, provider: PluginGuard | undefined, user: PluginGuard | undefined) {
    this.#provider = provider
    this.#user = user
    this.#adapter = new GuardedAdapter(adapter, user)
    user?.own(this.#leaving)
    provider?.own(this.#losing)
  }

  connect(network: Network, connection: NetworkConnection): void {
    const where = 'when an adapter was connected'
    const provider = this.#provider
    if (provider === undefined) {
      this.#port = network.connect(this.#adapter, connection)
      return
    }
    let port: unknown
    try {
      port = provider.serve<unknown, NetworkAdapter, NetworkConnection>(
        where,
        undefined,
        network.connect,
        network,
        this.#adapter,
        connection,
      )
    } catch (error) {
      this.#release()
      throw error
    }
    if (isPort(port)) this.#port = port
    else if (isThenable(port)) this.#notPort(where, port)
    else provider.fail(where, new PartitaError('ERR_PLUGIN_INVALID', 'what it returned is no port of a network'))
  }

  /** A promise is no port; what it is rejected with says more. Until then the cable is unplugged. */
  #notPort(where: string, promise: PromiseLike<unknown>): void {
    const provider = this.#provider as PluginGuard
    promise.then(
      () => provider.fail(where, new PartitaError('ERR_PLUGIN_INVALID', 'what it returned is a promise, and no port')),
      (error: unknown) => provider.threw(where, error),
    )
  }

  get accepts(): number {
    const port = this.#port
    if (port === undefined) return this.#accepts
    try {
      this.#accepts = port.accepts
    } catch (error) {
      this.#threw('when it was asked what its port accepts', error)
    }
    return this.#accepts
  }

  get mtu(): number {
    const port = this.#port
    if (port === undefined) return this.#mtu
    try {
      this.#mtu = port.mtu
    } catch (error) {
      this.#threw('when it was asked for its MTU', error)
    }
    return this.#mtu
  }

  get linkUp(): boolean {
    const port = this.#port
    if (port === undefined) return false
    try {
      return port.linkUp
    } catch (error) {
      this.#threw('when it was asked for its link', error)
      return false
    }
  }

  get linkSpeed(): number {
    const port = this.#port
    if (port === undefined) return this.#linkSpeed
    try {
      this.#linkSpeed = port.linkSpeed
    } catch (error) {
      this.#threw('when it was asked for its speed', error)
    }
    return this.#linkSpeed
  }

  send(frame: NetworkFrame): boolean {
    const port = this.#port
    if (port === undefined) return true
    const provider = this.#provider
    if (provider === undefined) return port.send(frame)
    try {
      const taken = provider.scope.call(port.send, port, frame, undefined, undefined)
      if (typeof taken === 'boolean') return taken
      notBoolean(provider, 'in a frame of the guest', taken)
    } catch (error) {
      provider.threw('in a frame of the guest', error)
    }
    return true
  }

  sendEnd(): void {
    const port = this.#port
    if (port !== undefined) this.#tell('at the end of a batch of frames', port.sendEnd, port)
  }

  resume(): void {
    const port = this.#port
    if (port !== undefined) this.#tell('when an adapter had room', port.resume, port)
  }

  adapterChanged(): void {
    const port = this.#port
    if (port !== undefined) this.#tell('when the address of an adapter had changed', port.adapterChanged, port)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose()
    return this.#disposing
  }

  async #dispose(): Promise<void> {
    const port = this.#port
    const provider = this.#provider
    this.#release()
    if (port === undefined) return
    if (provider === undefined) await port[Symbol.asyncDispose]()
    else {
      const disposing = provider.callAsync('when an adapter was disconnected', () => port[Symbol.asyncDispose]())
      if (disposing === undefined) return
      this.#user?.waitsFor(provider)
      await provider.orGone(disposing)
      this.#user?.hasAnswer(provider)
    }
  }

  #tell(where: string, fn: () => void, port: NetworkPort): void {
    const provider = this.#provider
    if (provider === undefined) fn.call(port)
    else void provider.watch(where, provider.call<unknown>(where, undefined, fn, port))
  }

  /** Of a property. What the host provides throws at whoever asked. */
  #threw(where: string, error: unknown): void {
    if (this.#provider === undefined) throw error
    this.#provider.threw(where, error)
  }

  /** Nobody calls anybody any more. */
  #release(): void {
    this.#port = undefined
    this.#adapter.closed = true
    this.#user?.disown(this.#leaving)
    this.#provider?.disown(this.#losing)
  }

  /** The provider is gone: the cable is unplugged, and what the adapter holds back goes nowhere. Not inside of the call that failed. */
  #lose(): void {
    if (this.#port === undefined) return
    this.#port = undefined
    queueMicrotask(() => {
      if (this.#disposing !== undefined) return
      this.#adapter.portChanged()
      this.#adapter.writable()
      this.#adapter.closed = true
    })
  }
}

function isPort(port: unknown): port is NetworkPort {
  const { send, sendEnd, resume, adapterChanged } = (port ?? {}) as Partial<NetworkPort>
  return [send, sendEnd, resume, adapterChanged].every((method) => typeof method === 'function')
}

/** The adapter as the network sees it. */
class GuardedAdapter implements NetworkAdapter {
  /** The port was disposed of, or its network is gone: nothing is called any more. */
  closed = false
  readonly name: string
  readonly #adapter: NetworkAdapter
  readonly #user: PluginGuard | undefined

  constructor(adapter: NetworkAdapter, user: PluginGuard | undefined) {
    this.#adapter = adapter
    this.#user = user
    this.name = adapter.name
  }

  get macAddress(): string {
    try {
      return this.#adapter.macAddress
    } catch (error) {
      this.#threw('when it was asked for its address', error)
      return '00:00:00:00:00:00'
    }
  }

  get accepts(): number {
    try {
      return this.#adapter.accepts
    } catch (error) {
      this.#threw('when it was asked what its adapter accepts', error)
      return 0
    }
  }

  receive(frame: NetworkFrame): boolean {
    if (this.closed) return true
    const adapter = this.#adapter
    const user = this.#user
    if (user === undefined) return adapter.receive(frame)
    if (user.failed) return true
    try {
      const taken = user.scope.call(adapter.receive, adapter, frame, undefined, undefined)
      if (typeof taken === 'boolean') return taken
      notBoolean(user, 'in a frame of the network', taken)
    } catch (error) {
      user.threw('in a frame of the network', error)
    }
    return true
  }

  receiveEnd(): void {
    this.#tell('at the end of a batch of frames of the network', this.#adapter.receiveEnd)
  }

  writable(): void {
    this.#tell('when its network had room', this.#adapter.writable)
  }

  portChanged(): void {
    this.#tell('when its network had changed', this.#adapter.portChanged)
  }

  #threw(where: string, error: unknown): void {
    if (this.#user === undefined) throw error
    this.#user.threw(where, error)
  }

  #tell(where: string, fn: () => void): void {
    if (this.closed) return
    const user = this.#user
    if (user === undefined) fn.call(this.#adapter)
    else void user.watch(where, user.call<unknown>(where, undefined, fn, this.#adapter))
  }
}
