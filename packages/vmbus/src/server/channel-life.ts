// Opening and closing of channels: rings, event port and device come and go together, and a device has the time that it needs to let go.

import type { VmbusChannelHandler, VmbusDevice } from '@partita/interface'
import { EVENT_CONNECTION_BASE, MAX_RELID, NO_TARGET_VP, STATUS } from '../protocol/constants.ts'
import { FEATURE } from '../protocol/features.ts'
import { OpenChannel, OpenChannel2 } from '../protocol/messages.ts'
import type { Bus } from './bus.ts'
import type { Channel, OpenRequest } from './channel.ts'
import { ChannelIo, type ChannelIoPort } from './channel-io.ts'
import type { GpadlRequests } from './gpadl-requests.ts'
import type { Offers } from './offers.ts'
import { openRings, type RingPositions } from './open-rings.ts'
import { openResultMessage } from './replies.ts'

/** Who is told what happens. */
export interface ChannelLifeEvents {
  /** A device has let go of a closed channel. */
  closed(): void
  /** A device threw. */
  deviceFailed(device: VmbusDevice, error: unknown): void
}

export class ChannelLife {
  readonly #bus: Bus
  readonly #offers: Offers
  readonly #gpadls: GpadlRequests
  readonly #events: ChannelLifeEvents

  constructor(bus: Bus, offers: Offers, gpadls: GpadlRequests, events: ChannelLifeEvents) {
    this.#bus = bus
    this.#offers = offers
    this.#gpadls = gpadls
    this.#events = events
  }

  // Opening.

  /** OPEN_CHANNEL. */
  openRequested(view: DataView): void {
    const { relid } = new OpenChannel(view)
    const request = this.#request(view)
    const channel = this.#bus.byRelid.get(relid)
    if (channel === undefined || channel.revoked || channel.guestOpen || channel.reopen !== undefined)
      this.#result(relid, request.openId, STATUS.UNSUCCESSFUL)
    // Close has no reply, so this is no mistake of the guest.
    else if (channel.state === 'closing') channel.reopen = request
    else this.#open(channel, request)
  }

  #request(view: DataView): OpenRequest {
    const message = new OpenChannel(view)
    const { relid } = message
    // From 6.0 on the guest may choose the numbers that it and the host signal each other by.
    const chosen = this.#bus.has(FEATURE.GUEST_SPECIFIED_SIGNAL_PARAMETERS) ? new OpenChannel2(view) : undefined
    return {
      openId: message.openId,
      gpadlId: message.ringGpadlId,
      downstreamPageOffset: message.downstreamPageOffset,
      userData: message.userData.slice(),
      connectionId: chosen?.connectionId ?? EVENT_CONNECTION_BASE + relid,
      eventFlag: chosen?.eventFlag ?? relid,
      targetVp: message.targetVp,
    }
  }

  #open(channel: Channel, request: OpenRequest): void {
    const status = this.setUp(channel, request)
    if (status === STATUS.SUCCESS) channel.guestOpen = true
    this.#result(channel.relid, request.openId, status)
  }

  #result(relid: number, openId: number, status: number): void {
    const { connection } = this.#bus
    const message = openResultMessage(relid, openId, status)
    if (status !== STATUS.SUCCESS) {
      this.#bus.fault(`open of channel ${relid} refused`)
      this.#bus.reply(message)
    } else if (connection !== undefined) this.#bus.send(connection, message, relid)
  }

  /** Rings, port, device; `saved`: where reading and writing go on. Returns the status of the open. */
  setUp(channel: Channel, request: OpenRequest, saved?: RingPositions): number {
    const { host, gpadls, monitored, trace } = this.#bus
    const { device, relid } = channel
    const gpadl = gpadls.gpadls.get(request.gpadlId)
    if (gpadl === undefined || gpadl.relid !== relid || gpadl.tearingDown) return STATUS.INVALID_PARAMETER
    if (!this.#signalsAreFree(request)) return STATUS.INVALID_PARAMETER
    const rings = openRings(host.memory, gpadl.pieces, request.downstreamPageOffset, saved)
    if (rings === undefined || channel.revoked) return STATUS.INVALID_PARAMETER
    const { subChannelIndex } = channel
    const place = {
      offer: device.offer,
      subChannelIndex,
      openData: request.userData,
      restored: saved !== undefined,
      starved: saved?.starved === true,
    }
    const io = new ChannelIo(this.#ioPort(channel, request), place, rings)
    channel.state = 'open'
    channel.request = request
    channel.io = io
    channel.counters.opens++
    // The port comes first: a signal that arrives while the device opens is then seen when packets begin to flow.
    channel.port = host.createEventPort(request.connectionId, () => io.signalled())
    monitored.add(channel)
    monitored.watch(this.#bus.running)
    let handler: VmbusChannelHandler | undefined
    try {
      handler = device.open(io)
    } catch (error) {
      this.deviceFailed(channel, error)
    }
    if (channel.io !== io) {
      // The device gave up, or its offer was taken back, meanwhile.
      this.#letGo(channel, handler)
      return STATUS.UNSUCCESSFUL
    }
    if (handler === undefined) {
      this.close(channel)
      return STATUS.UNSUCCESSFUL
    }
    channel.handler = handler
    io.attach(handler)
    trace?.event(relid, `open, rings of ${rings.reader.memory.size} and ${rings.writer.memory.size} bytes`)
    return STATUS.SUCCESS
  }

  /** Whether what the guest chose to signal by are numbers of events, and no other channel's. */
  #signalsAreFree({ connectionId, eventFlag }: OpenRequest): boolean {
    if (eventFlag > MAX_RELID || connectionId < EVENT_CONNECTION_BASE) return false
    for (const { port, request } of this.#bus.channels)
      if (port !== undefined && request?.connectionId === connectionId) return false
    return true
  }

  #ioPort(channel: Channel, request: OpenRequest): ChannelIoPort {
    const { relid } = channel
    const bus = this.#bus
    const { sint } = bus
    return {
      memory: bus.host.memory,
      version: bus.connection?.version ?? 0,
      counters: channel.counters,
      get targetVp() {
        return request.targetVp
      },
      signalGuest: () => {
        if (request.targetVp !== NO_TARGET_VP) bus.host.signalEvent(request.targetVp, sint, request.eventFlag)
      },
      defer: (run) => bus.host.defer(run),
      gpadl: (id) => {
        const gpadl = bus.gpadls.gpadls.get(id)
        return gpadl === undefined || gpadl.relid !== relid || gpadl.tearingDown ? undefined : gpadl.pieces
      },
      offerSubChannels: (count) => this.#offers.offerSubChannels(channel, count),
      broken: (reason) => {
        bus.fault(`channel ${relid}: ${reason}`)
        this.close(channel)
      },
      deviceFailed: (error) => this.deviceFailed(channel, error),
    }
  }

  // Closing.

  /** CLOSE_CHANNEL. */
  closeRequested(relid: number): void {
    const channel = this.#bus.byRelid.get(relid)
    if (channel === undefined) this.#bus.fault(`there is no channel ${relid}`)
    else if (channel.reopen !== undefined) {
      // Closed before its open was looked at: that is answered all the same.
      const { openId } = channel.reopen
      channel.reopen = undefined
      this.#result(relid, openId, STATUS.UNSUCCESSFUL)
    } else if (channel.guestOpen) {
      channel.guestOpen = false
      if (channel.state === 'failed') this.closed(channel)
      else this.close(channel)
    } else this.#bus.fault(`channel ${relid} is not open`)
  }

  /** Stop a channel, if it is open, and let its device finish. */
  close(channel: Channel): void {
    const { io, handler, port } = channel
    if (io === undefined) return
    const { monitored, running, trace } = this.#bus
    trace?.event(channel.relid, 'closed')
    port?.[Symbol.dispose]()
    io.detach()
    monitored.delete(channel)
    monitored.watch(running)
    channel.port = undefined
    channel.io = undefined
    channel.handler = undefined
    channel.state = 'closing'
    for (const subChannel of [...channel.subChannels]) this.#offers.revoke(subChannel)
    this.#letGo(channel, handler)
  }

  /** Tell a handler that its channel is closed, and wait for it. */
  #letGo(channel: Channel, handler: VmbusChannelHandler | undefined): void {
    let waiting: Promise<void> | undefined
    try {
      waiting = handler?.close?.() ?? undefined
    } catch (error) {
      this.deviceFailed(channel, error)
    }
    if (waiting === undefined) this.closed(channel)
    else waiting.catch((error: unknown) => this.deviceFailed(channel, error)).then(() => this.closed(channel))
  }

  /** The device has let go of everything. */
  closed(channel: Channel): void {
    // A handler that came too late has nothing to wait for.
    if (channel.io !== undefined) return
    channel.state = channel.guestOpen ? 'failed' : 'closed'
    channel.request = undefined
    this.#gpadls.channelClosed(channel.relid)
    this.#offers.settle(channel)
    const { reopen } = channel
    if (reopen !== undefined && this.#bus.connection !== undefined && !channel.guestOpen) {
      channel.reopen = undefined
      this.#open(channel, reopen)
    }
    this.#events.closed()
  }

  /** The connection ends: all channels close, whatever the guest asked for them. */
  disconnect(): void {
    for (const channel of [...this.#bus.channels]) {
      channel.reopen = undefined
      channel.guestOpen = false
      channel.declined = false
      this.close(channel)
      if (channel.state === 'failed') channel.state = 'closed'
    }
    this.#offers.disconnected()
  }

  /** A device that throws is taken away, so that the others live. */
  deviceFailed(channel: Channel, error: unknown): void {
    this.#events.deviceFailed(channel.device, error)
    this.#offers.revoke(channel.primary ?? channel)
  }
}
