// The root partition's side of the VMBus: a state machine that takes the guest's messages and signals, and answers through a VmbusHost.
// What the guest does wrong is ignored or refused with a status; it never throws, waits, or grows without bound.

import type {
  Saveable,
  SavedState,
  Vmbus,
  VmbusChannelHandler,
  VmbusChannelInfo,
  VmbusConnectRequest,
  VmbusDevice,
  VmbusOffered,
} from '@partita/interface'
import { EVENT_CONNECTION_BASE, HV_STATUS, MAX_RELID, NO_TARGET_VP, STATUS, VMBUS_SINT } from '../protocol/constants.ts'
import { checkMessage, MESSAGE_TYPE } from '../protocol/message-type.ts'
import {
  CloseChannel,
  GpadlHeader,
  GpadlTeardown,
  ModifyChannel,
  OpenChannel,
  RelIdReleased,
  TlConnectRequest,
} from '../protocol/messages.ts'
import { formatVersion, SUPPORTED_VERSIONS, VMBUS_VERSION } from '../protocol/version.ts'
import { VmbusError } from '../vmbus-error.ts'
import { type Channel, createChannel, type OpenRequest } from './channel.ts'
import { ChannelIo, type ChannelIoPort } from './channel-io.ts'
import { type Contact, parseContact, versionResponse } from './contact.ts'
import { type Gpadl, type GpadlProgress, GpadlTable } from './gpadl.ts'
import type { VmbusHost, VmbusTrace } from './host.ts'
import { isMonitorPage, MONITOR_IDS, takePending } from './monitor.ts'
import { channelKey, checkOffer, compareOffers, offerMessage } from './offer.ts'
import { openRings, type RingPositions } from './open-rings.ts'
import { Outbox, type OutgoingMessage } from './outbox.ts'
import {
  bareMessage,
  gpadlCreatedMessage,
  gpadlTorndownMessage,
  modifyResponseMessage,
  offeredRelid,
  openResultMessage,
  rescindMessage,
  tlConnectResultMessage,
} from './replies.ts'
import { restoreServer, type ServerParts, saveServer } from './save-restore.ts'

/** Options of a {@link VmbusServer}. */
export interface VmbusServerOptions {
  /** The versions to accept. Default: all that there are from 2.4 to 6.0. */
  readonly versions?: readonly number[]
  readonly trace?: VmbusTrace
  /** Told when a device throws. Its channels are then closed, and its offer is rescinded. */
  readonly onDeviceError?: (device: VmbusDevice, error: unknown) => void
}

/** Where messages go. */
type Target = Pick<Contact, 'targetVp' | 'sint'>

/**
 * The server. Give it the guest's messages with {@link VmbusServer.receiveMessage}; it runs between {@link VmbusServer.start} and
 * {@link VmbusServer.stop}.
 */
export class VmbusServer implements Vmbus, Saveable {
  readonly #host: VmbusHost
  readonly #options: VmbusServerOptions
  readonly #trace: VmbusTrace | undefined
  readonly #outbox: Outbox
  readonly #parts: ServerParts
  readonly #gpadls: GpadlTable
  /** Every channel that is offered or about to be, and revoked ones that the guest has not released. */
  readonly #channels: Set<Channel>
  readonly #byRelid: Map<number, Channel> = new Map()
  /** Open channels with a bit in the monitor page. */
  readonly #monitored: Map<number, Channel> = new Map()
  #running = false
  #receiving = false
  #connectRequests: ((request: VmbusConnectRequest) => boolean) | undefined
  #faults = 0

  constructor(host: VmbusHost, options: VmbusServerOptions = {}) {
    this.#host = host
    this.#options = options
    this.#trace = options.trace
    this.#outbox = new Outbox((message) => this.#post(message))
    this.#gpadls = new GpadlTable(host.memory)
    this.#channels = new Set()
    this.#parts = {
      connection: undefined,
      after: undefined,
      channels: this.#channels,
      gpadls: this.#gpadls,
      outbox: this.#outbox,
    }
  }

  /** The version that the guest and the server agreed on; 0 while there is none. */
  get version(): number {
    return this.#parts.connection?.version ?? 0
  }

  /** How often the guest sent what makes no sense, or was refused. */
  get faults(): number {
    return this.#faults
  }

  /** Messages that wait for the guest. */
  get queuedMessages(): number {
    return this.#outbox.length
  }

  /** GPADLs that the guest has announced, complete or not. */
  get gpadlCount(): number {
    return this.#gpadls.count
  }

  /** The channels, for an inspector. */
  channels(): VmbusChannelInfo[] {
    return [...this.#channels].map(({ device, subChannelIndex, relid, state, revoked, counters }) => ({
      interfaceId: device.offer.interfaceId,
      instanceId: device.offer.instanceId,
      subChannelIndex,
      relid,
      state,
      revoked,
      counters: { ...counters },
    }))
  }

  // The VM.

  /** The VM runs: messages, packets and signals flow. After a restore every open channel is signalled, so that nobody waits for a signal that was lost. */
  start(): void {
    this.#running = true
    this.#outbox.pump()
    for (const channel of [...this.#channels])
      if (channel.io !== undefined && !this.#openResultWaits(channel.relid)) channel.io.start(channel.io.restored)
    this.#watchMonitors()
  }

  /** The VM stands: nothing is delivered to devices or to the guest. */
  stop(): void {
    this.#running = false
    for (const channel of this.#channels) channel.io?.stop()
    this.#watchMonitors()
  }

  /** Back to power-on: no connection. Offers stay. */
  reset(): void {
    this.#outbox.clear()
    this.#parts.after = undefined
    this.#parts.connection = undefined
    this.#disconnectChannels()
  }

  /** Look for signals in the guest's monitor page. */
  pollMonitors(): void {
    const page = this.#parts.connection?.monitorPage ?? 0
    if (page !== 0) takePending(this.#host.memory, page, (id) => this.#monitored.get(id)?.io?.signalled())
  }

  /** A slot for messages is free again. */
  messageSlotFree(): void {
    this.#outbox.pump()
  }

  /** The state, without that of the devices. Stop the VM first. */
  save(): SavedState {
    return saveServer(this.#parts)
  }

  /**
   * Take over a state. The devices have been offered by now; those of the state that are missing are rescinded, and new ones are offered.
   * @throws VmbusError `ERR_STATE_INVALID` when it is not a state of a VMBus, or not of this memory
   */
  restore(state: SavedState): void {
    this.reset()
    const restored = restoreServer(this.#parts, state)
    for (const channel of this.#channels) if (channel.relid !== 0) this.#byRelid.set(channel.relid, channel)
    const lost: Channel[] = [...restored.absent]
    // No guest runs yet; a message now would find half a state.
    this.#receiving = true
    for (const { channel, request, positions } of restored.open)
      if (this.#setUp(channel, request, positions) !== STATUS.SUCCESS) lost.push(channel)
    this.#receiving = false
    lost.sort((a, b) => b.subChannelIndex - a.subChannelIndex)
    for (const channel of lost) this.#revoke(channel)
    for (const channel of [...this.#channels]) if (channel.state === 'closed') this.#closed(channel)
    this.#finishDisconnect()
    this.#sendOffers()
  }

  // Offers.

  offer(device: VmbusDevice): VmbusOffered {
    checkOffer(device.offer)
    const key = channelKey(device.offer, 0)
    for (const channel of this.#channels)
      if (channel.key === key && !channel.revoked)
        throw new VmbusError('ERR_VMBUS_OFFER', 'A device with these GUIDs is offered already', {
          data: { interfaceId: device.offer.interfaceId, instanceId: device.offer.instanceId },
        })
    const channel = createChannel(device, key)
    this.#channels.add(channel)
    this.#sendOffers()
    return {
      offer: device.offer,
      [Symbol.asyncDispose]: () => {
        this.#revoke(channel)
        return channel.gone.promise
      },
    }
  }

  onConnectRequest(callback: (request: VmbusConnectRequest) => boolean): Disposable {
    this.#connectRequests = callback
    return {
      [Symbol.dispose]: () => {
        if (this.#connectRequests === callback) this.#connectRequests = undefined
      },
    }
  }

  /** Offer what the guest does not know yet, in order. */
  #sendOffers(): void {
    const { connection } = this.#parts
    if (connection === undefined || !connection.offersRequested) return
    const revoked = new Set([...this.#channels].filter((channel) => channel.revoked).map(({ key }) => key))
    const fresh = [...this.#channels].filter(
      // A guest that still has the old device of that name would take the new one for it.
      (channel) => channel.relid === 0 && !channel.revoked && !channel.declined && !revoked.has(channel.key),
    )
    fresh.sort((a, b) => compareOffers(a.device.offer, b.device.offer) || a.subChannelIndex - b.subChannelIndex)
    let relid = 0
    for (const channel of fresh) {
      do relid++
      while (this.#byRelid.has(relid))
      // The rest waits until a number is free.
      if (relid > MAX_RELID) return
      channel.relid = relid
      this.#byRelid.set(relid, channel)
      channel.monitorId = this.#monitorIdFor(channel, connection.monitorPage)
      this.#send(connection, offerMessage(channel.device.offer, channel.subChannelIndex, relid, channel.monitorId))
    }
  }

  /** A bit that no channel has; none for a channel that asks for none, or when all are taken. */
  #monitorIdFor(channel: Channel, monitorPage: number): number | undefined {
    const { memory, pollMonitors } = this.#host
    if (channel.device.offer.monitored !== true || pollMonitors === undefined) return undefined
    if (!isMonitorPage(memory, monitorPage)) return undefined
    const taken = new Set([...this.#byRelid.values()].map(({ monitorId }) => monitorId))
    for (let id = 0; id < MONITOR_IDS; id++) if (!taken.has(id)) return id
    return undefined
  }

  /** Have the monitor page looked at while a channel is open that it is for. */
  #watchMonitors(): void {
    this.#host.pollMonitors?.(this.#running && this.#monitored.size > 0)
  }

  #offerSubChannels(channel: Channel, count: number): number {
    if (channel.primary !== undefined || channel.revoked) return 0
    const { device, subChannels } = channel
    while (subChannels.length < Math.min(count, MAX_RELID)) {
      const index = subChannels.length + 1
      const subChannel = createChannel(device, channelKey(device.offer, index), index, channel)
      subChannels.push(subChannel)
      this.#channels.add(subChannel)
    }
    this.#sendOffers()
    return subChannels.length
  }

  /** Take back an offer: sub-channels first. */
  #revoke(channel: Channel): void {
    if (channel.revoked) return
    for (const subChannel of [...channel.subChannels]) this.#revoke(subChannel)
    channel.revoked = true
    channel.reopen = undefined
    const siblings = channel.primary?.subChannels
    siblings?.splice(siblings.indexOf(channel), 1)
    this.#close(channel)
    const { relid } = channel
    const { connection } = this.#parts
    if (relid !== 0 && connection !== undefined) {
      this.#trace?.event(relid, 'offer taken back')
      // The guest may not have seen it yet, or else has to say that it is done with it.
      if (this.#outbox.remove(({ payload }) => offeredRelid(payload) === relid) > 0) this.#release(channel)
      else this.#send(connection, rescindMessage(relid))
    }
    this.#settle(channel)
  }

  /** The number of a channel is free again. */
  #release(channel: Channel): void {
    this.#gpadls.deleteOf(channel.relid)
    this.#byRelid.delete(channel.relid)
    channel.relid = 0
    channel.monitorId = undefined
    this.#settle(channel)
  }

  /** See whether a revoked channel is done with, on the host's side and on the guest's. */
  #settle(channel: Channel): void {
    if (!channel.revoked || channel.state === 'closing') return
    channel.gone.resolve()
    if (channel.relid === 0) this.#channels.delete(channel)
  }

  #relidReleased(relid: number): void {
    const channel = this.#byRelid.get(relid)
    if (channel === undefined || (!channel.revoked && (channel.state !== 'closed' || channel.subChannels.length > 0))) {
      this.#fault(`channel ${relid} cannot be released`)
      return
    }
    // Without a rescind: the guest has no use for the offer.
    channel.declined = true
    this.#release(channel)
    this.#sendOffers()
  }

  // Messages.

  /**
   * A message that the guest posted. Returns an HV_STATUS for it: 0, or INSUFFICIENT_BUFFERS when too many answers wait for the guest and it is to try
   * again.
   */
  receiveMessage(payload: Uint8Array): number {
    if (this.#receiving) return HV_STATUS.INSUFFICIENT_BUFFERS
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
    const rule = checkMessage(view, 'client', this.version)
    const type = typeof rule === 'string' ? 0 : view.getUint32(0, true)
    // Contact and unload discard what waits, so they need no room. Nonsense needs none either.
    const roomless = type === 0 || type === MESSAGE_TYPE.INITIATE_CONTACT || type === MESSAGE_TYPE.UNLOAD
    if (this.#outbox.full && !roomless) return HV_STATUS.INSUFFICIENT_BUFFERS
    this.#trace?.message('in', payload)
    if (typeof rule === 'string') {
      this.#fault(`${rule} message`)
      return HV_STATUS.SUCCESS
    }
    this.#receiving = true
    try {
      this.#dispatch(type, view)
    } finally {
      this.#receiving = false
    }
    return HV_STATUS.SUCCESS
  }

  #dispatch(type: number, view: DataView): void {
    if (type === MESSAGE_TYPE.INITIATE_CONTACT) {
      this.#disconnect({ type: 'contact', contact: parseContact(view) })
      return
    }
    const { connection } = this.#parts
    // The version's check lets nothing else through.
    if (connection === undefined) return
    switch (type) {
      case MESSAGE_TYPE.REQUEST_OFFERS:
        if (connection.offersRequested) {
          this.#fault('offers requested again')
          return
        }
        connection.offersRequested = true
        this.#sendOffers()
        this.#send(connection, bareMessage(MESSAGE_TYPE.ALL_OFFERS_DELIVERED))
        break
      case MESSAGE_TYPE.OPEN_CHANNEL:
        this.#openChannel(connection, new OpenChannel(view))
        break
      case MESSAGE_TYPE.CLOSE_CHANNEL:
        this.#closeChannel(new CloseChannel(view).relid)
        break
      case MESSAGE_TYPE.GPADL_HEADER: {
        const { relid, gpadlId } = new GpadlHeader(view)
        // Those of a revoked channel too: Linux does not take a refusal well.
        if (this.#byRelid.has(relid)) this.#gpadlProgress(connection, this.#gpadls.header(view))
        else this.#gpadlProgress(connection, { type: 'refused', relid, id: gpadlId, status: STATUS.INVALID_PARAMETER })
        break
      }
      case MESSAGE_TYPE.GPADL_BODY:
        this.#gpadlProgress(connection, this.#gpadls.body(view))
        break
      case MESSAGE_TYPE.GPADL_TEARDOWN:
        this.#gpadlTeardown(new GpadlTeardown(view).gpadlId)
        break
      case MESSAGE_TYPE.REL_ID_RELEASED:
        this.#relidReleased(new RelIdReleased(view).relid)
        break
      case MESSAGE_TYPE.MODIFY_CHANNEL:
        this.#modifyChannel(connection, new ModifyChannel(view))
        break
      case MESSAGE_TYPE.TL_CONNECT_REQUEST:
        this.#tlConnect(connection, new TlConnectRequest(view))
        break
      case MESSAGE_TYPE.UNLOAD:
        this.#disconnect({ type: 'unload', contact: connection })
        break
    }
  }

  #modifyChannel(connection: Contact, { relid, targetVp }: ModifyChannel): void {
    const request = this.#byRelid.get(relid)?.request
    if (request === undefined) this.#fault(`channel ${relid} is not open`)
    else {
      request.targetVp = targetVp
      this.#trace?.event(relid, `interrupts go to virtual processor ${targetVp}`)
    }
    if (connection.version >= VMBUS_VERSION.V5_3)
      this.#send(connection, modifyResponseMessage(relid, request === undefined ? STATUS.UNSUCCESSFUL : STATUS.SUCCESS))
  }

  #tlConnect(connection: Contact, { endpointId, serviceId }: TlConnectRequest): void {
    if (this.#connectRequests?.({ endpointId, serviceId }) === true) return
    if (connection.version >= VMBUS_VERSION.V4_1)
      this.#send(connection, tlConnectResultMessage(endpointId, serviceId, STATUS.CONNECTION_REFUSED))
  }

  // Connection.

  /** Close all channels and forget all GPADLs, then go on with what the guest asked for. */
  #disconnect(after: NonNullable<ServerParts['after']>): void {
    // What waits is of the old connection. Whoever asks now does not know what it means.
    this.#outbox.clear()
    this.#parts.after = after
    if (this.#parts.connection !== undefined) {
      this.#parts.connection = undefined
      this.#trace?.event(0, 'disconnected')
      this.#disconnectChannels()
    }
    this.#finishDisconnect()
  }

  #disconnectChannels(): void {
    for (const channel of [...this.#channels]) {
      channel.reopen = undefined
      channel.guestOpen = false
      channel.declined = false
      this.#close(channel)
      if (channel.state === 'failed') channel.state = 'closed'
    }
    // Numbers are given anew on the next connection; this one's are released all together.
    this.#byRelid.clear()
    this.#gpadls.clear()
    for (const channel of [...this.#channels]) {
      channel.relid = 0
      channel.monitorId = undefined
      if (channel.primary !== undefined) this.#revoke(channel)
      this.#settle(channel)
    }
  }

  /** When all devices have let go: answer. */
  #finishDisconnect(): void {
    const { after } = this.#parts
    if (after === undefined) return
    for (const channel of this.#channels) if (channel.state === 'closing') return
    this.#parts.after = undefined
    const { contact } = after
    if (after.type === 'unload') {
      this.#send(contact, bareMessage(MESSAGE_TYPE.UNLOAD_COMPLETE))
      return
    }
    const versions = this.#options.versions ?? SUPPORTED_VERSIONS
    const accepted = versions.includes(contact.version) && contact.sint === VMBUS_SINT
    this.#trace?.event(0, `version ${formatVersion(contact.version)} ${accepted ? 'accepted' : 'refused'}`)
    if (accepted) this.#parts.connection = { ...contact, offersRequested: false }
    // The guest waits for this without a time limit.
    this.#send({ targetVp: contact.targetVp, sint: VMBUS_SINT }, versionResponse(contact.version, accepted))
  }

  // GPADLs.

  #gpadlProgress(connection: Target, progress: GpadlProgress): void {
    switch (progress.type) {
      case 'complete': {
        const { relid, id, pieces } = progress.gpadl
        this.#trace?.event(
          relid,
          `GPADL 0x${id.toString(16)}: ${pieces.byteLength} bytes in ${pieces.pieceCount} pieces`,
        )
        this.#send(connection, gpadlCreatedMessage(relid, id, STATUS.SUCCESS))
        break
      }
      case 'refused':
        this.#fault(`GPADL 0x${progress.id.toString(16)} refused`)
        this.#send(connection, gpadlCreatedMessage(progress.relid, progress.id, progress.status))
        break
      case 'ignored':
        this.#fault(progress.reason)
        break
      case 'partial':
        break
    }
  }

  #gpadlTeardown(id: number): void {
    if (this.#gpadls.partial.has(id)) {
      this.#gpadls.delete(id)
      this.#sendTorndown(id)
      return
    }
    const gpadl = this.#gpadls.gpadls.get(id)
    if (gpadl === undefined || gpadl.tearingDown) {
      this.#fault(`GPADL 0x${id.toString(16)} is not there to be torn down`)
      return
    }
    gpadl.tearingDown = true
    const channel = this.#byRelid.get(gpadl.relid)
    // A channel that is closing, or stands on this GPADL, lets go of it at its end.
    if (channel?.state === 'closing' || (channel?.state === 'open' && channel.request?.gpadlId === id)) return
    const waiting = channel?.handler === undefined ? undefined : this.#askForGpadl(channel, channel.handler, id)
    if (waiting === undefined) this.#tornDown(gpadl)
    else void waiting.then(() => this.#tornDown(gpadl))
  }

  /** Resolves in any case. */
  #askForGpadl(channel: Channel, handler: VmbusChannelHandler, id: number): Promise<void> | undefined {
    try {
      return handler.gpadlTeardown?.(id)?.catch((error: unknown) => this.#deviceFailed(channel, error))
    } catch (error) {
      this.#deviceFailed(channel, error)
      return undefined
    }
  }

  #tornDown(gpadl: Gpadl): void {
    // The connection that it was of may be gone meanwhile, and its number be another's.
    if (this.#gpadls.gpadls.get(gpadl.id) !== gpadl) return
    this.#gpadls.delete(gpadl.id)
    this.#sendTorndown(gpadl.id)
  }

  #sendTorndown(id: number): void {
    if (this.#parts.connection !== undefined) this.#send(this.#parts.connection, gpadlTorndownMessage(id))
  }

  // Opening and closing.

  #openChannel(connection: Target, message: OpenChannel): void {
    const { relid, openId } = message
    const request: OpenRequest = {
      openId,
      gpadlId: message.ringGpadlId,
      downstreamPageOffset: message.downstreamPageOffset,
      userData: message.userData.slice(),
      targetVp: message.targetVp,
    }
    const channel = this.#byRelid.get(relid)
    if (channel === undefined || channel.revoked || channel.guestOpen || channel.reopen !== undefined)
      this.#sendOpenResult(connection, relid, openId, STATUS.UNSUCCESSFUL)
    // Close has no reply, so this is no mistake of the guest.
    else if (channel.state === 'closing') channel.reopen = request
    else this.#open(connection, channel, request)
  }

  #open(connection: Target, channel: Channel, request: OpenRequest): void {
    const { relid } = channel
    const status = this.#setUp(channel, request)
    if (status === STATUS.SUCCESS) channel.guestOpen = true
    this.#sendOpenResult(connection, relid, request.openId, status)
  }

  /** Rings, port, device. Returns the status of the open. */
  #setUp(channel: Channel, request: OpenRequest, saved?: RingPositions): number {
    const { memory } = this.#host
    const { device, relid } = channel
    const gpadl = this.#gpadls.gpadls.get(request.gpadlId)
    if (gpadl === undefined || gpadl.relid !== relid || gpadl.tearingDown) return STATUS.INVALID_PARAMETER
    const rings = openRings(memory, gpadl.pieces, request.downstreamPageOffset, saved)
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
    channel.port = this.#host.createEventPort(EVENT_CONNECTION_BASE + relid, () => io.signalled())
    if (channel.monitorId !== undefined) {
      this.#monitored.set(channel.monitorId, channel)
      this.#watchMonitors()
    }
    let handler: VmbusChannelHandler | undefined
    try {
      handler = device.open(io)
    } catch (error) {
      this.#deviceFailed(channel, error)
    }
    if (channel.io !== io) {
      // The device gave up, or its offer was taken back, meanwhile.
      this.#letGo(channel, handler)
      return STATUS.UNSUCCESSFUL
    }
    if (handler === undefined) {
      this.#close(channel)
      return STATUS.UNSUCCESSFUL
    }
    channel.handler = handler
    io.attach(handler)
    this.#trace?.event(relid, `open, rings of ${rings.reader.memory.size} and ${rings.writer.memory.size} bytes`)
    return STATUS.SUCCESS
  }

  #ioPort(channel: Channel, request: OpenRequest): ChannelIoPort {
    const { relid } = channel
    const { version = 0, sint = VMBUS_SINT } = this.#parts.connection ?? {}
    return {
      memory: this.#host.memory,
      version,
      counters: channel.counters,
      get targetVp() {
        return request.targetVp
      },
      signalGuest: () => {
        if (request.targetVp !== NO_TARGET_VP) this.#host.signalEvent(request.targetVp, sint, relid)
      },
      defer: (run) => this.#host.defer(run),
      gpadl: (id) => {
        const gpadl = this.#gpadls.gpadls.get(id)
        return gpadl === undefined || gpadl.relid !== relid || gpadl.tearingDown ? undefined : gpadl.pieces
      },
      offerSubChannels: (count) => this.#offerSubChannels(channel, count),
      broken: (reason) => {
        this.#fault(`channel ${relid}: ${reason}`)
        this.#close(channel)
      },
      deviceFailed: (error) => this.#deviceFailed(channel, error),
    }
  }

  #closeChannel(relid: number): void {
    const channel = this.#byRelid.get(relid)
    const { connection } = this.#parts
    if (channel === undefined || connection === undefined) this.#fault(`there is no channel ${relid}`)
    else if (channel.reopen !== undefined) {
      // Closed before its open was looked at: that is answered all the same.
      const { openId } = channel.reopen
      channel.reopen = undefined
      this.#sendOpenResult(connection, relid, openId, STATUS.UNSUCCESSFUL)
    } else if (channel.guestOpen) {
      channel.guestOpen = false
      if (channel.state === 'failed') this.#closed(channel)
      else this.#close(channel)
    } else this.#fault(`channel ${relid} is not open`)
  }

  /** Stop a channel and let its device finish. */
  #close(channel: Channel): void {
    const { io, handler, port } = channel
    if (io === undefined) return
    this.#trace?.event(channel.relid, 'closed')
    port?.[Symbol.dispose]()
    io.detach()
    if (channel.monitorId !== undefined) {
      this.#monitored.delete(channel.monitorId)
      this.#watchMonitors()
    }
    channel.port = undefined
    channel.io = undefined
    channel.handler = undefined
    channel.state = 'closing'
    for (const subChannel of [...channel.subChannels]) this.#revoke(subChannel)
    this.#letGo(channel, handler)
  }

  /** Tell a handler that its channel is closed, and wait for it. */
  #letGo(channel: Channel, handler: VmbusChannelHandler | undefined): void {
    let waiting: Promise<void> | undefined
    try {
      waiting = handler?.close?.() ?? undefined
    } catch (error) {
      this.#deviceFailed(channel, error)
    }
    if (waiting === undefined) this.#closed(channel)
    else waiting.catch((error: unknown) => this.#deviceFailed(channel, error)).then(() => this.#closed(channel))
  }

  /** The device has let go of everything. */
  #closed(channel: Channel): void {
    // A handler that came too late has nothing to wait for.
    if (channel.io !== undefined) return
    channel.state = channel.guestOpen ? 'failed' : 'closed'
    channel.request = undefined
    if (channel.relid !== 0)
      for (const gpadl of [...this.#gpadls.gpadls.values()])
        if (gpadl.relid === channel.relid && gpadl.tearingDown) this.#tornDown(gpadl)
    this.#settle(channel)
    const { reopen } = channel
    const { connection } = this.#parts
    if (reopen !== undefined && connection !== undefined && !channel.guestOpen) {
      channel.reopen = undefined
      this.#open(connection, channel, reopen)
    }
    this.#finishDisconnect()
  }

  // Ways out.

  #send(target: Target, payload: Uint8Array, openResultOf?: number): void {
    const { targetVp: vpIndex, sint } = target
    this.#outbox.add(openResultOf === undefined ? { vpIndex, sint, payload } : { vpIndex, sint, payload, openResultOf })
  }

  #post(message: OutgoingMessage): boolean {
    if (!this.#running || !this.#host.postMessage(message.vpIndex, message.sint, message.payload)) return false
    this.#trace?.message('out', message.payload)
    // No interrupt of the channel comes before this: storvsc would lose it.
    if (message.openResultOf !== undefined) this.#byRelid.get(message.openResultOf)?.io?.start()
    return true
  }

  #sendOpenResult(connection: Target, relid: number, openId: number, status: number): void {
    const message = openResultMessage(relid, openId, status)
    if (status === STATUS.SUCCESS) this.#send(connection, message, relid)
    else {
      this.#fault(`open of channel ${relid} refused`)
      this.#send(connection, message)
    }
  }

  #openResultWaits(relid: number): boolean {
    return this.#outbox.messages.some((message) => message.openResultOf === relid)
  }

  #fault(text: string): void {
    this.#faults++
    this.#trace?.event(0, text)
  }

  /** A device that throws is taken away, so that the others live. */
  #deviceFailed(channel: Channel, error: unknown): void {
    this.#options.onDeviceError?.(channel.device, error)
    this.#revoke(channel.primary ?? channel)
  }
}
