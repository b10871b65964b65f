// The offers of a server: which channels the guest knows, under which numbers, and how they are taken back.

import type { VmbusDevice, VmbusOffered } from '@partita/interface'
import { MAX_RELID } from '../protocol/constants.ts'
import { VmbusError } from '../vmbus-error.ts'
import type { Bus } from './bus.ts'
import { type Channel, createChannel } from './channel.ts'
import { isMonitorPage, MONITOR_IDS } from './monitor.ts'
import { channelKey, checkOffer, compareOffers, offerMessage } from './offer.ts'
import { offeredRelid, rescindMessage } from './replies.ts'

export class Offers {
  readonly #bus: Bus
  readonly #close: (channel: Channel) => void

  /** `close` stops a channel, if it is open, and lets its device finish. */
  constructor(bus: Bus, close: (channel: Channel) => void) {
    this.#bus = bus
    this.#close = close
  }

  /** @throws VmbusError `ERR_VMBUS_OFFER` */
  add(device: VmbusDevice): VmbusOffered {
    const { channels } = this.#bus
    checkOffer(device.offer)
    const key = channelKey(device.offer, 0)
    for (const channel of channels)
      if (channel.key === key && !channel.revoked)
        throw new VmbusError('ERR_VMBUS_OFFER', 'A device with these GUIDs is offered already', {
          data: { interfaceId: device.offer.interfaceId, instanceId: device.offer.instanceId },
        })
    const channel = createChannel(device, key)
    channels.add(channel)
    this.send()
    return {
      offer: device.offer,
      [Symbol.asyncDispose]: () => {
        this.revoke(channel)
        return channel.gone.promise
      },
    }
  }

  /** Offer what the guest does not know yet, in order. */
  send(): void {
    const { connection, channels, byRelid } = this.#bus
    if (connection === undefined || !connection.offersRequested) return
    const revoked = new Set([...channels].filter((channel) => channel.revoked).map(({ key }) => key))
    const fresh = [...channels].filter(
      // A guest that still has the old device of that name would take the new one for it.
      (channel) => channel.relid === 0 && !channel.revoked && !channel.declined && !revoked.has(channel.key),
    )
    fresh.sort((a, b) => compareOffers(a.device.offer, b.device.offer) || a.subChannelIndex - b.subChannelIndex)
    let relid = 0
    for (const channel of fresh) {
      do relid++
      while (byRelid.has(relid))
      // The rest waits until a number is free.
      if (relid > MAX_RELID) return
      channel.relid = relid
      byRelid.set(relid, channel)
      channel.monitorId = this.#monitorIdFor(channel, connection.monitorPage)
      this.#bus.send(connection, offerMessage(channel.device.offer, channel.subChannelIndex, relid, channel.monitorId))
    }
  }

  /** A bit that no channel has; none for a channel that asks for none, or when all are taken. */
  #monitorIdFor(channel: Channel, monitorPage: number): number | undefined {
    const { byRelid, host } = this.#bus
    if (channel.device.offer.monitored !== true || host.pollMonitors === undefined) return undefined
    if (!isMonitorPage(host.memory, monitorPage)) return undefined
    const taken = new Set([...byRelid.values()].map(({ monitorId }) => monitorId))
    for (let id = 0; id < MONITOR_IDS; id++) if (!taken.has(id)) return id
    return undefined
  }

  /** Offer sub-channels, so that there are `count`. Returns how many there are. */
  offerSubChannels(channel: Channel, count: number): number {
    if (channel.primary !== undefined || channel.revoked) return 0
    const { device, subChannels } = channel
    while (subChannels.length < Math.min(count, MAX_RELID)) {
      const index = subChannels.length + 1
      const subChannel = createChannel(device, channelKey(device.offer, index), index, channel)
      subChannels.push(subChannel)
      this.#bus.channels.add(subChannel)
    }
    this.send()
    return subChannels.length
  }

  /** Take back an offer: sub-channels first. */
  revoke(channel: Channel): void {
    if (channel.revoked) return
    for (const subChannel of [...channel.subChannels]) this.revoke(subChannel)
    channel.revoked = true
    channel.reopen = undefined
    const siblings = channel.primary?.subChannels
    siblings?.splice(siblings.indexOf(channel), 1)
    this.#close(channel)
    const { relid } = channel
    const { connection, outbox, trace } = this.#bus
    if (relid !== 0 && connection !== undefined) {
      trace?.event(relid, 'offer taken back')
      // The guest may not have seen it yet, or else has to say that it is done with it.
      if (outbox.remove(({ payload }) => offeredRelid(payload) === relid) > 0) this.#release(channel)
      else this.#bus.send(connection, rescindMessage(relid))
    }
    this.settle(channel)
  }

  /** The number of a channel is free again. */
  #release(channel: Channel): void {
    this.#bus.gpadls.deleteOf(channel.relid)
    this.#bus.byRelid.delete(channel.relid)
    channel.relid = 0
    channel.monitorId = undefined
    this.settle(channel)
  }

  /** See whether a revoked channel is done with, on the host's side and on the guest's. */
  settle(channel: Channel): void {
    if (!channel.revoked || channel.state === 'closing') return
    channel.gone.resolve()
    if (channel.relid === 0) this.#bus.channels.delete(channel)
  }

  /** REL_ID_RELEASED. */
  released(relid: number): void {
    const channel = this.#bus.byRelid.get(relid)
    if (channel === undefined || (!channel.revoked && (channel.state !== 'closed' || channel.subChannels.length > 0))) {
      this.#bus.fault(`channel ${relid} cannot be released`)
      return
    }
    // Without a rescind: the guest has no use for the offer.
    channel.declined = true
    this.#release(channel)
    this.send()
  }

  /** The connection ended, and all channels were told to close: numbers are given anew on the next one, sub-channels are gone. */
  disconnected(): void {
    const { byRelid, gpadls, channels } = this.#bus
    byRelid.clear()
    gpadls.clear()
    for (const channel of [...channels]) {
      channel.relid = 0
      channel.monitorId = undefined
      if (channel.primary !== undefined) this.revoke(channel)
      this.settle(channel)
    }
  }
}
