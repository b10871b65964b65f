// The VMBus with a guard around the devices that a plug-in offers: one that throws takes its offers along, and its channels close. And with one around the plug-in that the bus is.

import {
  type GuestBuffer,
  type GuestMemory,
  PartitaError,
  type Vmbus,
  type VmbusChannel,
  type VmbusChannelHandler,
  type VmbusCounters,
  type VmbusDevice,
  type VmbusOffer,
  type VmbusOffered,
} from '@partita/interface'
import { type Claims, collision } from './claims.ts'
import type { PluginGuard } from './plugin-guard.ts'

/** The bus as one plug-in sees it. */
export function guardedVmbus(bus: Vmbus, guard: PluginGuard, claims: Claims): Vmbus {
  return {
    offer: (device) => offerGuarded(bus, device, guard, claims),
    onConnectRequest: (callback) =>
      guard.own(
        bus.onConnectRequest((request) => guard.call('in a connection request', false, callback, undefined, request)),
      ),
    channels: () => bus.channels(),
  }
}

function offerGuarded(bus: Vmbus, device: VmbusDevice, guard: PluginGuard, claims: Claims): VmbusOffered {
  guard.mustLive()
  const { interfaceId, instanceId } = device.offer
  const name = `the VMBus device ${instanceId} of interface ${interfaceId}`
  // Guests name a device by its instance alone.
  const other = claims.find('vmbus', 0, 0, instanceId.toLowerCase())
  if (other !== undefined) throw collision('ERR_VMBUS_OFFER', guard.id, name, other)
  const offered = bus.offer(guardedDevice(device, guard))
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

function guardedDevice(device: VmbusDevice, guard: PluginGuard): VmbusDevice {
  return {
    get offer() {
      return device.offer
    },
    open(channel: VmbusChannel): VmbusChannelHandler | undefined {
      const handler = guard.call('when a channel was opened', undefined, device.open, device, channel)
      if (handler !== undefined && typeof handler.receive !== 'function') {
        guard.fail(
          'when a channel was opened',
          new PartitaError('ERR_PLUGIN_INVALID', 'what it returned has no function receive'),
        )
        return undefined
      }
      return handler === undefined ? undefined : new GuardedChannelHandler(handler, guard)
    },
  }
}

/** `receive` is on the way of each packet: one more call, and nothing allocated. */
class GuardedChannelHandler implements VmbusChannelHandler {
  readonly #handler: VmbusChannelHandler
  readonly #guard: PluginGuard

  constructor(handler: VmbusChannelHandler, guard: PluginGuard) {
    this.#handler = handler
    this.#guard = guard
  }

  receive(packet: Parameters<VmbusChannelHandler['receive']>[0]): boolean {
    const handler = this.#handler
    return this.#guard.call('in a packet of the guest', true, handler.receive, handler, packet)
  }

  batchEnd(): void {
    const handler = this.#handler
    if (handler.batchEnd !== undefined)
      this.#guard.call('at the end of a batch of packets', undefined, handler.batchEnd, handler)
  }

  writable(): void {
    const handler = this.#handler
    if (handler.writable !== undefined) this.#guard.call('when a ring had room', undefined, handler.writable, handler)
  }

  gpadlTeardown(gpadlId: number): Promise<void> | undefined {
    return this.#guard.callAsync('when a GPADL was taken back', () => this.#handler.gpadlTeardown?.(gpadlId))
  }

  close(): Promise<void> | undefined {
    return this.#guard.callAsync('when a channel was closed', () => this.#handler.close?.())
  }
}

/** The bus that a plug-in provides. */
export function servedVmbus(bus: Vmbus, provider: PluginGuard): Vmbus {
  return {
    offer: (device) => {
      const offered = provider.serve<VmbusOffered | undefined, VmbusDevice>(
        'when a device was offered',
        undefined,
        bus.offer,
        bus,
        {
          get offer() {
            return device.offer
          },
          open: (channel) => device.open(new ServedChannel(channel, provider)),
        },
      )
      if (offered === undefined) throw provider.goneError()
      const { offer } = device
      return {
        offer,
        async [Symbol.asyncDispose]() {
          const where = 'when an offer was taken back'
          const leaving = provider.callAsync(where, () => offered[Symbol.asyncDispose]())
          if (leaving !== undefined) await provider.orGone(leaving)
        },
      }
    },
    onConnectRequest: (callback) => {
      const where = 'when somebody asked for connection requests'
      const asking = provider.serve<Disposable | undefined, typeof callback>(
        where,
        undefined,
        bus.onConnectRequest,
        bus,
        callback,
      )
      if (asking === undefined) throw provider.goneError()
      return { [Symbol.dispose]: () => provider.call(where, undefined, asking[Symbol.dispose], asking) }
    },
    channels: () => provider.serve('when its channels were listed', [], bus.channels, bus),
  }
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
    return this.#channel.counters
  }

  get targetVp(): number {
    return this.#channel.targetVp
  }

  get isOpen(): boolean {
    const provider = this.#provider
    if (provider.failed) return false
    try {
      return this.#channel.isOpen
    } catch (error) {
      provider.served('when a channel was looked at', error)
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
    try {
      return this.#channel.sendTransferPages(pageSet, ranges, payload, transactionLow, transactionHigh, flags)
    } catch (error) {
      provider.served('in transfer pages to the guest', error)
      return true
    }
  }

  cork(): void {
    this.#provider.serve('when packets were collected', undefined, this.#channel.cork, this.#channel)
  }

  uncork(): void {
    this.#provider.serve('when packets were sent out', undefined, this.#channel.uncork, this.#channel)
  }

  resume(): void {
    this.#provider.serve('when a channel was resumed', undefined, this.#channel.resume, this.#channel)
  }

  gpadl(gpadlId: number): GuestBuffer | undefined {
    const channel = this.#channel
    return this.#provider.serve<GuestBuffer | undefined, number>(
      'when it was asked for a GPADL',
      undefined,
      channel.gpadl,
      channel,
      gpadlId,
    )
  }

  createBuffer(): GuestBuffer {
    const channel = this.#channel
    const buffer = this.#provider.serve('when it was asked for a buffer', undefined, channel.createBuffer, channel)
    if (buffer === undefined) throw this.#provider.goneError()
    return buffer
  }

  offerSubChannels(count: number): number {
    const channel = this.#channel
    const where = 'when sub-channels were offered'
    return this.#provider.serve(where, 0, channel.offerSubChannels, channel, count)
  }

  fail(reason: string): void {
    const channel = this.#channel
    this.#provider.serve<void, string>('when a channel was stopped', undefined, channel.fail, channel, reason)
  }
}
