// A network between the plug-in that provides it and the one whose adapter is at a port of it. Either may throw in the middle of a frame: a provider that does is an unplugged
// cable, an adapter that does takes no frames any more. A frame goes through one more call and allocates nothing.

import type { Network, NetworkAdapter, NetworkConnection, NetworkFrame, NetworkPort } from '@partita/interface'
import type { PluginGuard } from './plugin-guard.ts'
import { isThenable } from './thrown.ts'

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
      if (typeof connection !== 'object' || connection === null) throw new TypeError('a connection is an object')
      const port = new GuardedPort(adapter, provider, user)
      port.connect(network, connection)
      return port
    },
  }
}

const NOT_BOOLEAN = 'neither true nor false'

/** What is no frame is the fault of whoever sends it, and not of who looks into it. */
function isFrame(frame: NetworkFrame): boolean {
  const { bytes, start, end } = frame
  return bytes instanceof Uint8Array && start >= 0 && start <= end && end <= bytes.length
}

/** What `connect` of a plug-in returned. */
interface Made {
  readonly port: unknown
  readonly isPort: boolean
  readonly isPromise: boolean
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
    let made: Made | undefined
    try {
      made = provider.serve<Made | undefined>(where, undefined, () => {
        const port: unknown = network.connect(this.#adapter, connection)
        return { port, isPort: isPort(port), isPromise: isThenable(port) }
      })
    } catch (error) {
      this.#release()
      throw error
    }
    if (made === undefined) return
    if (made.isPort) this.#port = made.port as NetworkPort
    // Until it is known what a promise is rejected with, the cable is unplugged.
    else provider.returned(where, made.port, made.isPromise ? 'a promise, and no port' : 'no port of a network')
  }

  get accepts(): number {
    const port = this.#port
    if (port === undefined) return this.#accepts
    try {
      this.#accepts = mustBeNumber(port.accepts)
    } catch (error) {
      this.#threw('when it was asked what its port accepts', error)
    }
    return this.#accepts
  }

  get mtu(): number {
    const port = this.#port
    if (port === undefined) return this.#mtu
    try {
      this.#mtu = mustBeNumber(port.mtu)
    } catch (error) {
      this.#threw('when it was asked for its MTU', error)
    }
    return this.#mtu
  }

  get linkUp(): boolean {
    const port = this.#port
    if (port === undefined) return false
    try {
      return port.linkUp === true
    } catch (error) {
      this.#threw('when it was asked for its link', error)
      return false
    }
  }

  get linkSpeed(): number {
    const port = this.#port
    if (port === undefined) return this.#linkSpeed
    try {
      this.#linkSpeed = mustBeNumber(port.linkSpeed)
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
    if (!isFrame(frame)) throw new TypeError('what was sent is no frame')
    try {
      const taken: unknown = provider.scope.call(port.send, port, frame, undefined, undefined)
      if (typeof taken === 'boolean') return taken
      provider.returned('in a frame of the guest', taken, NOT_BOOLEAN)
    } catch (error) {
      provider.threw('in a frame of the guest', error)
    }
    return true
  }

  sendEnd(): void {
    this.#tell('at the end of a batch of frames', sendEnd)
  }

  resume(): void {
    this.#tell('when an adapter had room', resume)
  }

  adapterChanged(): void {
    this.#tell('when the address of an adapter had changed', adapterChanged)
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
      if (disposing !== undefined) await provider.answers(this.#user, disposing)
    }
  }

  #tell(where: string, tell: (port: NetworkPort) => void): void {
    const port = this.#port
    if (port === undefined) return
    const provider = this.#provider
    if (provider === undefined) tell(port)
    else provider.call(where, undefined, tell, undefined, port)
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

// Called for batches of frames: no closures.
const sendEnd = (port: NetworkPort): void => port.sendEnd()
const resume = (port: NetworkPort): void => port.resume()
const adapterChanged = (port: NetworkPort): void => port.adapterChanged()
const receiveEnd = (adapter: NetworkAdapter): void => adapter.receiveEnd()
const writable = (adapter: NetworkAdapter): void => adapter.writable()
const portChanged = (adapter: NetworkAdapter): void => adapter.portChanged()

function mustBeNumber(value: unknown): number {
  if (typeof value === 'number') return value
  throw new TypeError('what it has there is no number')
}

function mustBeText(value: unknown): string {
  if (typeof value === 'string') return value
  throw new TypeError('what it has there is no text')
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
      return mustBeText(this.#adapter.macAddress)
    } catch (error) {
      this.#threw('when it was asked for its address', error)
      return '00:00:00:00:00:00'
    }
  }

  get accepts(): number {
    try {
      return mustBeNumber(this.#adapter.accepts)
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
    if (!isFrame(frame)) throw new TypeError('what was sent is no frame')
    try {
      const taken: unknown = user.scope.call(adapter.receive, adapter, frame, undefined, undefined)
      if (typeof taken === 'boolean') return taken
      user.returned('in a frame of the network', taken, NOT_BOOLEAN)
    } catch (error) {
      user.threw('in a frame of the network', error)
    }
    return true
  }

  receiveEnd(): void {
    this.#tell('at the end of a batch of frames of the network', receiveEnd)
  }

  writable(): void {
    this.#tell('when its network had room', writable)
  }

  portChanged(): void {
    this.#tell('when its network had changed', portChanged)
  }

  #threw(where: string, error: unknown): void {
    if (this.#user === undefined) throw error
    this.#user.threw(where, error)
  }

  #tell(where: string, tell: (adapter: NetworkAdapter) => void): void {
    if (this.closed) return
    const user = this.#user
    if (user === undefined) tell(this.#adapter)
    else user.call(where, undefined, tell, undefined, this.#adapter)
  }
}
