// The VMBus with a guard around the devices that a plug-in offers: one that throws takes its offers along, and its channels close. And with one around the plug-in that the bus is.

import type {
  GuestBuffer,
  GuestMemory,
  Vmbus,
  VmbusChannel,
  VmbusChannelHandler,
  VmbusCounters,
  VmbusDevice,
  VmbusOffer,
  VmbusOffered,
} from '@partita/interface'
import { type Claims, collision } from './claims.ts'
import { isObject, notThere, servedDisposable } from './guarded-devices.ts'
import type { PluginGuard } from './plugin-guard.ts'

/** The bus of `provider` (or of the host) as one plug-in sees it. */
export function guardedVmbus(bus: Vmbus, guard: PluginGuard, claims: Claims, provider: PluginGuard | undefined): Vmbus {
  return {
    offer: (device) => offerGuarded(bus, device, guard, claims, provider),
    onConnectRequest: (callback) => {
      guard.mustLive()
      return guard.own(
        bus.onConnectRequest(
          (request) => guard.call('in a connection request', false, callback, undefined, request) === true,
        ),
      )
    },
    channels: () => bus.channels(),
  }
}

function offerGuarded(
  bus: Vmbus,
  device: VmbusDevice,
  guard: PluginGuard,
  claims: Claims,
  provider: PluginGuard | undefined,
): VmbusOffered {
  guard.mustLive()
  // It stays as it is. What the bus finds wrong in it has a code; other types would be faults of the bus.
  const offer = { ...device.offer }
  const { interfaceId, instanceId, userDefined } = offer
  if (typeof interfaceId !== 'string' || typeof instanceId !== 'string')
    throw new TypeError('the GUIDs of an offer are text')
  if (userDefined !== undefined && !(userDefined instanceof Uint8Array))
    throw new TypeError('what an offer tells the driver is a Uint8Array')
  const name = `the VMBus device ${instanceId} of interface ${interfaceId}`
  // Guests name a device by its instance alone.
  const other = claims.find('vmbus', 0, 0, instanceId.toLowerCase())
  if (other !== undefined) throw collision('ERR_VMBUS_OFFER', guard.id, name, other)
  const offered = bus.offer({ offer, open: (channel) => open(device, channel, guard, provider) })
  const claim = claims.add('vmbus', guard.id, name, 0, 0, instanceId.toLowerCase())
  let gone: PromiseLike<void> | undefined
  const release = guard.own({
    [Symbol.dispose]: () => {
      claim[Symbol.dispose]()
      gone = offered[Symbol.asyncDispose]()
    },
  })
  return {
    get offer() {
      return offered.offer
    },
    async [Symbol.asyncDispose]() {
      release[Symbol.dispose]()
      await gone
    },
  }
}

function open(
  device: VmbusDevice,
  channel: VmbusChannel,
  guard: PluginGuard,
  provider: PluginGuard | undefined,
): VmbusChannelHandler | undefined {
  const where = 'when a channel was opened'
  const opened = guard.call(where, undefined, () => {
    const handler: unknown = device.open(channel)
    if (handler === undefined || handler === null) return undefined
    return { handler, receives: typeof (handler as Partial<VmbusChannelHandler>).receive === 'function' }
  })
  if (opened === undefined) return undefined
  const { handler, receives } = opened
  if (receives) return new GuardedChannelHandler(handler as VmbusChannelHandler, guard, provider)
  guard.returned(where, handler, 'an object without a function receive')
  return undefined
}

/** `receive` is on the way of each packet: one more call, and nothing allocated. */
class GuardedChannelHandler implements VmbusChannelHandler {
  readonly #handler: VmbusChannelHandler
  readonly #guard: PluginGuard
  readonly #bus: PluginGuard | undefined

  constructor(handler: VmbusChannelHandler, guard: PluginGuard, bus: PluginGuard | undefined) {
    this.#handler = handler
    this.#guard = guard
    this.#bus = bus
  }

  receive(packet: Parameters<VmbusChannelHandler['receive']>[0]): boolean {
    const guard = this.#guard
    if (guard.failed) return true
    const handler = this.#handler
    const where = 'in a packet of the guest'
    try {
      const taken: unknown = guard.scope.call(handler.receive, handler, packet, undefined, undefined)
      if (typeof taken === 'boolean') return taken
      guard.returned(where, taken, 'neither true nor false')
    } catch (error) {
      guard.threw(where, error)
    }
    return true
  }

  batchEnd(): void {
    this.#tell('at the end of a batch of packets', 'batchEnd')
  }

  writable(): void {
    this.#tell('when a ring had room', 'writable')
  }

  gpadlTeardown(gpadlId: number): Promise<void> | undefined {
    return this.#wait('when a GPADL was taken back', () => this.#handler.gpadlTeardown?.(gpadlId))
  }

  close(): Promise<void> | undefined {
    return this.#wait('when a channel was closed', () => this.#handler.close?.())
  }

  #tell(where: string, what: 'batchEnd' | 'writable'): void {
    const guard = this.#guard
    if (guard.failed) return
    const handler = this.#handler
    try {
      const tell: (() => void) | undefined = handler[what]
      if (tell === undefined) return
      const result: unknown = guard.scope.call(tell, handler, undefined, undefined, undefined)
      if (result !== undefined) void guard.watch(where, result)
    } catch (error) {
      guard.threw(where, error)
    }
  }

  /** The guest waits for it, and may wait for nothing else: not for ever. */
  #wait(where: string, run: () => unknown): Promise<void> | undefined {
    const guard = this.#guard
    const work = guard.callAsync(where, run)
    if (work === undefined) return undefined
    return guard.inTime(where, guard.answers(this.#bus, work))
  }
}

/** The bus that a plug-in provides to the plug-in of `user` (or the host). */
export function servedVmbus(bus: Vmbus, provider: PluginGuard, user: PluginGuard | undefined): Vmbus {
  return {
    offer: (device) => {
      const where = 'when a device was offered'
      const { offer } = device
      const offered = provider.serve<VmbusOffered | undefined>(where, undefined, () =>
        bus.offer({ offer, open: (channel) => device.open(new ServedChannel(channel, provider)) }),
      )
      if (!isObject(offered)) throw notThere(provider, where, offered)
      return {
        offer,
        async [Symbol.asyncDispose]() {
          const leaving = provider.callAsync('when an offer was taken back', () => offered[Symbol.asyncDispose]())
          if (leaving !== undefined) await provider.answers(user, leaving)
        },
      }
    },
    onConnectRequest: (callback) => {
      const where = 'when somebody asked for connection requests'
      const asking = provider.serve<Disposable | undefined>(where, undefined, () => bus.onConnectRequest(callback))
      if (!isObject(asking)) throw notThere(provider, where, asking)
      return servedDisposable(asking, provider, where)
    },
    // As they are now.
    channels: () =>
      provider.serve('when its channels were listed', [], () =>
        bus.channels().map((channel) => ({ ...channel, counters: { ...channel.counters } })),
      ),
  }
}

const LOOKED_AT = 'when a channel was looked at'
/** Of a channel whose bus is gone. */
const NO_COUNTERS: Readonly<VmbusCounters> = {
  packetsIn: 0,
  packetsOut: 0,
  bytesIn: 0,
  bytesOut: 0,
  signalsIn: 0,
  signalsOut: 0,
  signalsSpared: 0,
  ringFull: 0,
  opens: 0,
}

// Called for requests of the guest: no closures.
const cork = (channel: VmbusChannel): void => channel.cork()
const uncork = (channel: VmbusChannel): void => channel.uncork()
const resume = (channel: VmbusChannel): void => channel.resume()
const gpadl = (channel: VmbusChannel, gpadlId: number): GuestBuffer | undefined => channel.gpadl(gpadlId)

/** What is sent is bytes: a bus that is given something else would be to blame for what comes of it. */
function mustBeBytes(payload: unknown): void {
  if (!(payload instanceof Uint8Array)) throw new TypeError('the payload of a packet is a Uint8Array')
}

/** As {@link mustBeBytes}, of the numbers of a packet. */
function mustBeNumber(value: unknown): void {
  if (value !== undefined && typeof value !== 'number') throw new TypeError('what describes a packet are numbers')
}

/**
 * A channel of a bus that may throw: then it takes what is sent, as a closed one does. An error with a code is an answer, of sending too much. Nothing that sending leaves to the event loop
 * is followed.
 */
class ServedChannel implements VmbusChannel {
  readonly offer: VmbusOffer
  readonly subChannelIndex: number
  readonly openData: Uint8Array
  readonly version: number
  readonly restored: boolean
  readonly memory: GuestMemory
  readonly maxPayload: number
  readonly #channel: VmbusChannel
  readonly #provider: PluginGuard

  constructor(channel: VmbusChannel, provider: PluginGuard) {
    this.#channel = channel
    this.#provider = provider
    this.offer = channel.offer
    this.subChannelIndex = channel.subChannelIndex
    this.openData = channel.openData
    this.version = channel.version
    this.restored = channel.restored
    this.memory = channel.memory
    this.maxPayload = channel.maxPayload
  }

  get counters(): Readonly<VmbusCounters> {
    const channel = this.#channel
    return this.#provider.call(LOOKED_AT, NO_COUNTERS, () => channel.counters)
  }

  get targetVp(): number {
    const channel = this.#channel
    return this.#provider.call(LOOKED_AT, 0, () => channel.targetVp)
  }

  get isOpen(): boolean {
    const provider = this.#provider
    if (provider.failed) return false
    try {
      return this.#channel.isOpen
    } catch (error) {
      provider.threw(LOOKED_AT, error)
      return false
    }
  }

  send(
    payload: Uint8Array,
    start?: number,
    end?: number,
    transactionLow?: number,
    transactionHigh?: number,
    flags?: number,
  ): boolean {
    const provider = this.#provider
    if (provider.failed) return true
    mustBeBytes(payload)
    mustBeNumber(start)
    mustBeNumber(end)
    mustBeNumber(transactionLow)
    mustBeNumber(transactionHigh)
    mustBeNumber(flags)
    try {
      return this.#channel.send(payload, start, end, transactionLow, transactionHigh, flags)
    } catch (error) {
      provider.served('in a packet to the guest', error)
      return true
    }
  }

  complete(
    transactionLow: number,
    transactionHigh: number,
    payload?: Uint8Array,
    start?: number,
    end?: number,
  ): boolean {
    const provider = this.#provider
    if (provider.failed) return true
    mustBeNumber(transactionLow)
    mustBeNumber(transactionHigh)
    if (payload !== undefined) mustBeBytes(payload)
    mustBeNumber(start)
    mustBeNumber(end)
    try {
      return this.#channel.complete(transactionLow, transactionHigh, payload, start, end)
    } catch (error) {
      provider.served('in a completion to the guest', error)
      return true
    }
  }

  sendTransferPages(
    pageSet: number,
    ranges: Uint32Array,
    payload: Uint8Array,
    transactionLow?: number,
    transactionHigh?: number,
    flags?: number,
  ): boolean {
    const provider = this.#provider
    if (provider.failed) return true
    mustBeNumber(pageSet)
    if (!(ranges instanceof Uint32Array)) throw new TypeError('the ranges of a packet are a Uint32Array')
    mustBeBytes(payload)
    mustBeNumber(transactionLow)
    mustBeNumber(transactionHigh)
    mustBeNumber(flags)
    try {
      return this.#channel.sendTransferPages(pageSet, ranges, payload, transactionLow, transactionHigh, flags)
    } catch (error) {
      provider.served('in transfer pages to the guest', error)
      return true
    }
  }

  cork(): void {
    this.#provider.serve('when packets were collected', undefined, cork, undefined, this.#channel)
  }

  uncork(): void {
    this.#provider.serve('when packets were sent out', undefined, uncork, undefined, this.#channel)
  }

  resume(): void {
    this.#provider.serve('when a channel was resumed', undefined, resume, undefined, this.#channel)
  }

  gpadl(gpadlId: number): GuestBuffer | undefined {
    return this.#provider.serve('when it was asked for a GPADL', undefined, gpadl, undefined, this.#channel, gpadlId)
  }

  createBuffer(): GuestBuffer {
    const where = 'when it was asked for a buffer'
    const buffer = this.#provider.serve<GuestBuffer | undefined>(where, undefined, () => this.#channel.createBuffer())
    if (!isObject(buffer)) throw notThere(this.#provider, where, buffer)
    return buffer
  }

  offerSubChannels(count: number): number {
    mustBeNumber(count)
    const where = 'when sub-channels were offered'
    return this.#provider.serve(where, 0, () => this.#channel.offerSubChannels(count))
  }

  fail(reason: string): void {
    const text = String(reason)
    this.#provider.serve('when a channel was stopped', undefined, () => this.#channel.fail(text))
  }
}
