// The VMBus with a guard around the devices that a plug-in offers: one that throws takes its offers along, and its channels close.

import {
  PartitaError,
  type Vmbus,
  type VmbusChannel,
  type VmbusChannelHandler,
  type VmbusDevice,
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
