// The child's side of the VMBus: negotiates, enumerates, makes GPADLs, opens and closes channels. Requests are promises that the host's
// answers resolve; nothing here has a clock.

import type { SavedValue } from '@partita/interface'
import {
  EVENT_CONNECTION_BASE,
  HV_STATUS,
  MESSAGE_CONNECTION_ID,
  MESSAGE_CONNECTION_ID_5,
  PAGE_SIZE,
  STATUS,
  VMBUS_SINT,
} from '../protocol/constants.ts'
import { checkMessage, MESSAGE_TYPE } from '../protocol/message-type.ts'
import {
  CloseChannel,
  GpadlCreated,
  GpadlTeardown,
  GpadlTorndown,
  InitiateContactTarget,
  MessageHeader,
  ModifyChannel,
  ModifyChannelResponse,
  OfferChannel,
  OpenChannel,
  OpenChannelResult,
  RelIdReleased,
  RescindChannelOffer,
  TlConnectRequest,
  TlConnectResult,
  VersionResponse,
} from '../protocol/messages.ts'
import { SUPPORTED_VERSIONS, VMBUS_VERSION } from '../protocol/version.ts'
import { RingMemory } from '../ring/ring-memory.ts'
import { RingReader } from '../ring/ring-reader.ts'
import { type GpaRange, RingWriter } from '../ring/ring-writer.ts'
import { VmbusError } from '../vmbus-error.ts'
import { ClientChannel } from './client-channel.ts'
import { gpadlMessages } from './gpadl-messages.ts'
import type { VmbusClientPort } from './transport.ts'
import { Waits } from './waits.ts'

/** An offer of the host. */
export interface ClientOffer {
  /** Number of the channel, until it is released. */
  readonly relid: number
  /** The kind of device: GUID, text in lower case. */
  readonly interfaceId: string
  /** This device. */
  readonly instanceId: string
  /** Offer flags. */
  readonly flags: number
  /** MMIO space that it needs, MiB. */
  readonly mmioMegabytes: number
  /** 120 bytes for the driver. */
  readonly userDefined: Uint8Array
  /** 0 for the primary channel. */
  readonly subChannelIndex: number
  /** What signals to the host go to. */
  readonly connectionId: number
}

/** How to open a channel. */
export interface OpenOptions {
  /** Numbers of the pages of both rings: guest to host first. Each ring is a control page and at least one page of data. */
  readonly pages: readonly number[]
  /** How many of them are the guest-to-host ring. */
  readonly downstreamPageOffset: number
  /** Default: 0. */
  readonly targetVp?: number
  /** At most 120 bytes for the device. */
  readonly userData?: Uint8Array
}

interface Rings {
  readonly reader: RingReader
  readonly writer: RingWriter
}

/**
 * The client.
 *
 * @example
 * ```ts
 * const client = new VmbusClient(port)
 * await client.connect()
 * const [offer] = await client.requestOffers()
 * const channel = await client.open(offer!, { pages, downstreamPageOffset: pages.length / 2 })
 * ```
 */
export class VmbusClient {
  /** Called for each offer, first enumeration included. */
  onOffer: ((offer: ClientOffer) => void) | undefined
  /** Called when the host takes an offer back: close the channel, then {@link VmbusClient.release} it. */
  onRescind: ((offer: ClientOffer) => void) | undefined
  readonly #port: VmbusClientPort
  readonly #waits: Waits = new Waits()
  readonly #offers: Map<number, ClientOffer> = new Map()
  /** Taken back by the host, and not released yet. */
  readonly #rescindedOffers: Map<number, ClientOffer> = new Map()
  readonly #open: Map<number, ClientChannel> = new Map()
  readonly #queue: { connectionId: number; payload: Uint8Array }[] = []
  #version = 0
  #messageConnection = MESSAGE_CONNECTION_ID
  #nextGpadl = 0xe1e10
  #nextOpen = 1
  #ignored = 0

  /** A client that has not connected. */
  constructor(port: VmbusClientPort) {
    this.#port = port
  }

  /** The agreed version, 0 before. */
  get version(): number {
    return this.#version
  }

  /** The offers that stand. */
  get offers(): readonly ClientOffer[] {
    return [...this.#offers.values()]
  }

  /** Messages of the host that made no sense, or answered nothing. */
  get ignored(): number {
    return this.#ignored
  }

  /** Requests without an answer. */
  get pendingRequests(): number {
    return this.#waits.size
  }

  /**
   * Agree on a version, from the newest of `versions` down. Any connection that there was is given up by this.
   * @throws VmbusError `ERR_VMBUS_CLIENT` when the host accepts none
   */
  async connect(versions: readonly number[] = SUPPORTED_VERSIONS, targetVp = 0): Promise<number> {
    this.#version = 0
    this.#forget('There is a new connection')
    for (const version of versions) {
      const message = InitiateContactTarget.allocate()
      message.messageType = MESSAGE_TYPE.INITIATE_CONTACT
      message.version = version
      message.targetVp = targetVp
      if (version >= VMBUS_VERSION.V5_0) message.sint = VMBUS_SINT
      this.#messageConnection = version >= VMBUS_VERSION.V5_0 ? MESSAGE_CONNECTION_ID_5 : MESSAGE_CONNECTION_ID
      const answer = this.#waits.wait('version')
      this.#post(message)
      const connectionId = await answer
      if (connectionId === 0) continue
      this.#version = version
      if (version >= VMBUS_VERSION.V5_0) this.#messageConnection = connectionId
      return version
    }
    throw new VmbusError('ERR_VMBUS_CLIENT', 'The host accepts no version', { data: { versions: [...versions] } })
  }

  /** Enumerate, once per connection. Resolves with the offers when all are delivered. */
  async requestOffers(): Promise<readonly ClientOffer[]> {
    const delivered = this.#waits.wait('offers')
    this.#post(bare(MESSAGE_TYPE.REQUEST_OFFERS))
    await delivered
    return this.offers
  }

  /**
   * Give ranges of memory to a channel. Resolves with the GPADL's id.
   * @throws VmbusError `ERR_VMBUS_CLIENT` when the host refuses
   */
  async createGpadl(relid: number, ranges: readonly GpaRange[]): Promise<number> {
    const id = this.#nextGpadl++
    const answer = this.#waits.wait(`gpadl ${id}`, relid)
    for (const message of gpadlMessages(relid, id, ranges)) this.#postBytes(message)
    const status = await answer
    if (status !== STATUS.SUCCESS)
      throw new VmbusError('ERR_VMBUS_CLIENT', 'The host refuses the GPADL', { data: { relid, status } })
    return id
  }

  /** Take a GPADL back. Resolves when the host has let go of it, also that of a rescinded channel which is not released yet. */
  async teardownGpadl(relid: number, id: number): Promise<void> {
    if (!this.#offers.has(relid) && !this.#rescindedOffers.has(relid)) return
    const message = GpadlTeardown.allocate()
    message.messageType = MESSAGE_TYPE.GPADL_TEARDOWN
    message.relid = relid
    message.gpadlId = id
    const answer = this.#waits.wait(`torndown ${id}`)
    this.#post(message)
    await answer.catch(() => undefined)
  }

  /**
   * Open a channel: clears the rings, gives them to the host, and waits for its answer.
   * @throws VmbusError `ERR_VMBUS_CLIENT` when the host refuses, the offer is taken back, or the pages are none
   */
  async open(offer: ClientOffer, options: OpenOptions): Promise<ClientChannel> {
    const { relid } = offer
    const { pages, downstreamPageOffset: split } = options
    if (this.#offers.get(relid)?.connectionId !== offer.connectionId)
      throw new VmbusError('ERR_VMBUS_CLIENT', 'The offer does not stand any more', { data: { relid } })
    const rings = this.#rings(relid, options, true)
    const gpadl = await this.createGpadl(relid, [{ byteOffset: 0, byteCount: pages.length * PAGE_SIZE, pages }])
    if (!this.#offers.has(relid)) {
      // It went while the promise was on its way.
      await this.teardownGpadl(relid, gpadl)
      throw new VmbusError('ERR_VMBUS_CLIENT', 'The offer was taken back', { data: { relid } })
    }
    const channel = this.#channel(offer, gpadl, rings)
    const message = OpenChannel.allocate()
    message.messageType = MESSAGE_TYPE.OPEN_CHANNEL
    message.relid = relid
    message.openId = this.#nextOpen++
    message.ringGpadlId = gpadl
    message.targetVp = options.targetVp ?? 0
    message.downstreamPageOffset = split
    if (options.userData !== undefined) message.userData = options.userData
    const answer = this.#waits.wait(`open ${relid} ${message.openId}`, relid)
    this.#post(message)
    const status = await answer.catch(() => STATUS.UNSUCCESSFUL)
    if (status !== STATUS.SUCCESS) {
      if (this.#open.get(relid) === channel) this.#open.delete(relid)
      await this.teardownGpadl(relid, gpadl)
      throw new VmbusError('ERR_VMBUS_CLIENT', 'The host refuses to open the channel', { data: { relid, status } })
    }
    return channel
  }

  /**
   * Go on with a channel that was open when a state was saved: its rings hold what they held.
   * @throws VmbusError `ERR_VMBUS_CLIENT` when the pages are no two rings, or the offer does not stand
   */
  adoptChannel(offer: ClientOffer, options: OpenOptions, gpadl: number): ClientChannel {
    const { relid } = offer
    if (!this.#offers.has(relid))
      throw new VmbusError('ERR_VMBUS_CLIENT', 'There is no such offer', { data: { relid } })
    return this.#channel(offer, gpadl, this.#rings(relid, options, false))
  }

  /** Both ends of the rings in `pages`, which are to be empty or as they are. */
  #rings(relid: number, { pages, downstreamPageOffset: split }: OpenOptions, empty: boolean): Rings {
    const views = pages.map((page) => this.#port.memory.view(page * PAGE_SIZE, PAGE_SIZE, 'write'))
    const outgoing = RingMemory.fromPages(views.slice(0, split).filter((view) => view !== undefined))
    const incoming = RingMemory.fromPages(views.slice(split).filter((view) => view !== undefined))
    if (views.includes(undefined) || outgoing === undefined || incoming === undefined)
      throw new VmbusError('ERR_VMBUS_CLIENT', 'The pages are no two rings', { data: { relid } })
    if (empty) {
      outgoing.clear()
      incoming.clear()
    }
    const writer = RingWriter.open(outgoing)
    const reader = RingReader.open(incoming)
    if (writer === undefined || reader === undefined)
      throw new VmbusError('ERR_VMBUS_CLIENT', 'The rings make no sense', { data: { relid } })
    return { writer, reader }
  }

  #channel(offer: ClientOffer, gpadl: number, rings: Rings): ClientChannel {
    const { relid } = offer
    const channel = new ClientChannel(
      {
        relid,
        gpadl,
        signal: () => this.#port.signalEvent(offer.connectionId),
        close: () => this.#close(relid, gpadl),
      },
      rings,
    )
    this.#open.set(relid, channel)
    return channel
  }

  async #close(relid: number, gpadl: number): Promise<void> {
    this.#open.delete(relid)
    const message = CloseChannel.allocate()
    message.messageType = MESSAGE_TYPE.CLOSE_CHANNEL
    message.relid = relid
    // It has no reply; the end of the GPADL tells that the host has let go.
    this.#post(message)
    await this.teardownGpadl(relid, gpadl)
  }

  /**
   * Have a channel's interrupts go to another processor. From 5.3 on it resolves when they do.
   * @throws VmbusError `ERR_VMBUS_CLIENT` when the host refuses
   */
  async modify(relid: number, targetVp: number): Promise<void> {
    const message = ModifyChannel.allocate()
    message.messageType = MESSAGE_TYPE.MODIFY_CHANNEL
    message.relid = relid
    message.targetVp = targetVp
    if (this.#version < VMBUS_VERSION.V5_3) {
      this.#post(message)
      return
    }
    const answer = this.#waits.wait(`modify ${relid}`, relid)
    this.#post(message)
    const status = await answer
    if (status !== STATUS.SUCCESS)
      throw new VmbusError('ERR_VMBUS_CLIENT', 'The host refuses to modify the channel', { data: { relid, status } })
  }

  /** Done with a rescinded channel, or of no use for an offer. */
  release(relid: number): void {
    const message = RelIdReleased.allocate()
    message.messageType = MESSAGE_TYPE.REL_ID_RELEASED
    message.relid = relid
    this.#offers.delete(relid)
    this.#rescindedOffers.delete(relid)
    this.#closed(relid)
    this.#post(message)
  }

  /** Ask the host for a connection of a hypervisor socket: it comes as an offer. Resolves with a status when the host refuses. */
  connectSocket(endpointId: string, serviceId: string): Promise<number> {
    const message = TlConnectRequest.allocate()
    message.messageType = MESSAGE_TYPE.TL_CONNECT_REQUEST
    message.endpointId = endpointId
    message.serviceId = serviceId
    const answer = this.#waits.wait(`socket ${message.endpointId} ${message.serviceId}`)
    this.#post(message)
    return answer
  }

  /** Give up the connection. Resolves when the host has let go of everything. */
  async unload(): Promise<void> {
    const answer = this.#waits.wait('unload')
    this.#post(bare(MESSAGE_TYPE.UNLOAD))
    this.#version = 0
    await answer
    this.#forget('The connection was given up')
  }

  /** The partition ends: everything that waits fails, channels are closed, and the host is not told. */
  end(): void {
    this.#version = 0
    this.#queue.length = 0
    this.#forget('The partition has ended')
  }

  /** Nothing waits for an answer or for the host's buffers, and no offer that was taken back for its release: the state can be saved. */
  get atRest(): boolean {
    return this.#waits.size === 0 && this.#queue.length === 0 && this.#rescindedOffers.size === 0
  }

  /** The connection and its offers. Channels are saved by whoever has them, who needs {@link VmbusClient.adoptChannel} then. */
  save(): SavedValue {
    return {
      version: this.#version,
      messageConnection: this.#messageConnection,
      nextGpadl: this.#nextGpadl,
      nextOpen: this.#nextOpen,
      offers: this.offers.map((offer) => ({ ...offer })),
    }
  }

  /** Go on with a connection that was saved. */
  restore(saved: SavedValue): void {
    const state = saved as unknown as {
      readonly version: number
      readonly messageConnection: number
      readonly nextGpadl: number
      readonly nextOpen: number
      readonly offers: readonly ClientOffer[]
    }
    this.#version = state.version
    this.#messageConnection = state.messageConnection
    this.#nextGpadl = state.nextGpadl
    this.#nextOpen = state.nextOpen
    for (const offer of state.offers) this.#offers.set(offer.relid, offer)
  }

  /** Post again what the host had no buffers for. */
  retry(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (this.#port.postMessage(next.connectionId, next.payload) === HV_STATUS.INSUFFICIENT_BUFFERS) return
      this.#queue.shift()
    }
  }

  /** An event flag was set. */
  eventFlag(flag: number): void {
    this.#open.get(flag)?.signalled()
  }

  /** A message of the host. What makes no sense is ignored. */
  receiveMessage(payload: Uint8Array): void {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
    // The version is not known while it is being agreed on; messages tell by themselves.
    const rule = checkMessage(view, 'server', this.#version === 0 ? VMBUS_VERSION.V6_0 : this.#version)
    if (typeof rule === 'string' || !this.#dispatch(view.getUint32(0, true), view)) this.#ignored++
    this.retry()
  }

  /** False: it answered nothing. */
  #dispatch(type: number, view: DataView): boolean {
    switch (type) {
      case MESSAGE_TYPE.VERSION_RESPONSE: {
        const { versionSupported, connectionId } = new VersionResponse(view)
        return this.#waits.answer('version', versionSupported === 0 ? 0 : connectionId || MESSAGE_CONNECTION_ID)
      }
      case MESSAGE_TYPE.OFFER_CHANNEL:
        return this.#offered(new OfferChannel(view))
      case MESSAGE_TYPE.ALL_OFFERS_DELIVERED:
        return this.#waits.answer('offers')
      case MESSAGE_TYPE.RESCIND_CHANNEL_OFFER:
        return this.#rescinded(new RescindChannelOffer(view).relid)
      case MESSAGE_TYPE.OPEN_CHANNEL_RESULT: {
        const { relid, openId, status } = new OpenChannelResult(view)
        return this.#waits.answer(`open ${relid} ${openId}`, status)
      }
      case MESSAGE_TYPE.GPADL_CREATED: {
        const { gpadlId, status } = new GpadlCreated(view)
        return this.#waits.answer(`gpadl ${gpadlId}`, status)
      }
      case MESSAGE_TYPE.GPADL_TORNDOWN:
        return this.#waits.answer(`torndown ${new GpadlTorndown(view).gpadlId}`)
      case MESSAGE_TYPE.MODIFY_CHANNEL_RESPONSE: {
        const { relid, status } = new ModifyChannelResponse(view)
        return this.#waits.answer(`modify ${relid}`, status)
      }
      case MESSAGE_TYPE.TL_CONNECT_RESULT: {
        const { endpointId, serviceId, status } = new TlConnectResult(view)
        return this.#waits.answer(`socket ${endpointId} ${serviceId}`, status)
      }
      default:
        return this.#waits.answer('unload')
    }
  }

  #offered(message: OfferChannel): boolean {
    const { relid, connectionId } = message
    if (relid === 0 || this.#offers.has(relid) || this.#rescindedOffers.has(relid)) return false
    if (connectionId < EVENT_CONNECTION_BASE) return false
    const { interfaceId, instanceId, flags, mmioMegabytes, subChannelIndex } = message
    const userDefined = message.userDefined.slice()
    const offer = { relid, interfaceId, instanceId, flags, mmioMegabytes, userDefined, subChannelIndex, connectionId }
    this.#offers.set(relid, offer)
    this.onOffer?.(offer)
    return true
  }

  #rescinded(relid: number): boolean {
    const offer = this.#offers.get(relid)
    if (offer === undefined) return false
    this.#offers.delete(relid)
    this.#rescindedOffers.set(relid, offer)
    this.#closed(relid)
    this.#waits.fail(relid, 'The offer was taken back')
    this.onRescind?.(offer)
    return true
  }

  #closed(relid: number): void {
    const channel = this.#open.get(relid)
    this.#open.delete(relid)
    channel?.closed()
  }

  /** The connection is gone, and everything with it. */
  #forget(reason: string): void {
    this.#offers.clear()
    this.#rescindedOffers.clear()
    for (const relid of [...this.#open.keys()]) this.#closed(relid)
    this.#waits.failAll(reason)
  }

  #post(message: { view: DataView }): void {
    this.#postBytes(new Uint8Array(message.view.buffer))
  }

  #postBytes(payload: Uint8Array): void {
    this.#queue.push({ connectionId: this.#messageConnection, payload })
    if (this.#queue.length === 1) this.retry()
  }
}

function bare(type: number): MessageHeader {
  const message = MessageHeader.allocate()
  message.messageType = type
  return message
}
