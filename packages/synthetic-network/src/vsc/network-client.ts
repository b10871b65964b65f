// The child's side: the adapter as its user has it. Asks and sets OIDs, sends and receives frames, has channels for several processors.

import { Frame, formatMacAddress, readMacAddress } from '@partita/ethernet'
import { MAXIMUM_FRAME_LENGTH, type NetworkFrame, VMBUS_PACKET, type VmbusPacket } from '@partita/interface'
import type { ClientChannel, ClientOffer, VscDevice, VscInstance } from '@partita/vmbus/client'
import { NetworkError } from '../network-error.ts'
import {
  NVSP_MESSAGE,
  NVSP_STATUS,
  NVSP_VERSION,
  NvspSendTable,
  NvspSubChannel,
  SEND_TABLE_SIZE,
  SUB_CHANNEL_ALLOCATE,
} from '../protocol/nvsp.ts'
import { MEDIA_STATE, OID } from '../protocol/oid.ts'
import {
  RNDIS_HEADER_SIZE,
  RNDIS_MESSAGE,
  RNDIS_STATUS,
  RndisComplete,
  RndisIndicateStatus,
} from '../protocol/rndis.ts'
import { offloadParameters, oidError, oidRequest, scalingParameters } from './oid-values.ts'
import { Receiver } from './receiver.ts'
import { Requests } from './requests.ts'
import { revokeBuffers, setUp } from './set-up.ts'
import { Transmitter } from './transmitter.ts'

/** How to open an adapter. */
export interface NetworkClientOptions {
  /** Bytes of data in each ring. Default: 128 KiB. */
  readonly ringBytes?: number
  /** Bytes of the receive buffer, whole pages. Default: 2 MiB. */
  readonly receiveBytes?: number
  /** Bytes of the send buffer, whole pages. Default: 256 KiB. */
  readonly sendBytes?: number
  /** Frames that are larger than a section of the send buffer, under way at a time. Default: 4. */
  readonly largeFrames?: number
  /** Bytes of the largest packet. Default: 1500. */
  readonly mtu?: number
  /** Channels to spread frames over, at most. Default: one for each virtual processor. */
  readonly queues?: number
  /** Versions of NVSP to offer, best first. */
  readonly versions?: readonly number[]
}

/** What the two sides agreed on. */
export interface NetworkProperties {
  /** The version of NVSP that was agreed on, one of NVSP_VERSION. */
  readonly version: number
  /** `02:15:5d:00:00:01`. */
  readonly macAddress: string
  /** Bytes of the largest packet, Ethernet header not counted. */
  readonly mtu: number
  /** Sections of the receive buffer: so many frames, or parts of large ones, may be on their way from the host. */
  readonly receiveSections: number
  /** Bytes of a section. */
  readonly receiveSectionSize: number
}

const RING_BYTES = 128 * 1024
/** The key of Microsoft's examples, which Linux uses too. */
const DEFAULT_KEY: Uint8Array = Uint8Array.of(
  ...[
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b,
    0xcb,
  ],
  ...[
    0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01,
    0xfa,
  ],
)
const VERSIONS: readonly number[] = Object.values(NVSP_VERSION).reverse()

/**
 * The driver of one adapter.
 *
 * @example
 * ```ts
 * const nic = await guest.device(networkDriver)
 * nic.onReceive = (frame) => handle(frame.bytes.subarray(frame.start, frame.end))
 * await nic.setPacketFilter(PACKET_FILTER.DIRECTED | PACKET_FILTER.BROADCAST)
 * if (!nic.send(bytes)) nic.onWritable = () => nic.send(bytes)
 * ```
 */
export class NetworkClient implements VscInstance {
  /** Called for each frame, which is lent until it returns. `queue`: the channel that it came through. */
  onReceive: ((frame: NetworkFrame, queue: number) => void) | undefined
  /** Called when there is room again after {@link NetworkClient.send} returned false. */
  onWritable: (() => void) | undefined
  /** Called when the provider says that the cable was plugged in or out. */
  onLink: ((up: boolean) => void) | undefined
  /** Called with the new speed, in bits per second. */
  onLinkSpeed: ((bitsPerSecond: number) => void) | undefined
  /** Messages and frames of the provider that made no sense. */
  ignored = 0
  /** The channels to send on, by hash, as the provider told. */
  readonly sendTable: Uint32Array = new Uint32Array(SEND_TABLE_SIZE)
  readonly #device: VscDevice
  readonly #options: NetworkClientOptions
  /** By sub-channel index. */
  readonly #channels: (ClientChannel | undefined)[] = []
  readonly #transmitter: Transmitter
  readonly #requests: Requests
  readonly #receiver: Receiver
  readonly #frame: Frame = new Frame()
  #properties: NetworkProperties | undefined
  #gpadls: readonly number[] = []
  #starved = false
  #opening: ((offer: ClientOffer) => void) | undefined

  private constructor(device: VscDevice, options: NetworkClientOptions) {
    this.#device = device
    this.#options = options
    this.#transmitter = new Transmitter(device, options.sendBytes ?? 256 * 1024, options.largeFrames ?? 4)
    this.#requests = new Requests(device, this.#transmitter)
    this.#receiver = new Receiver(device.allocate(options.receiveBytes ?? 2 * 1024 * 1024), {
      frame: (frame, queue) => this.onReceive?.(frame, queue),
      message: (type, bytes) => this.#message(type, bytes),
      ignored: () => void this.ignored++,
    })
    device.signal.addEventListener('abort', () => this.#fail(device.signal.reason))
  }

  /**
   * Open an adapter: channels, version, buffers, RNDIS. It receives nothing before {@link NetworkClient.setPacketFilter}.
   * @throws NetworkError `ERR_NETWORK_PROTOCOL` when the provider refuses; VmbusError when a channel cannot be opened, or the device goes
   */
  static async open(device: VscDevice, options: NetworkClientOptions = {}): Promise<NetworkClient> {
    const nic = new NetworkClient(device, options)
    await nic.#connect()
    return nic
  }

  /** What was agreed on. */
  get properties(): NetworkProperties {
    return this.#properties as NetworkProperties
  }

  /** Frames that the provider has not completed. */
  get pending(): number {
    return this.#transmitter.pending
  }

  // ── setting up ──

  async #connect(): Promise<void> {
    const { ringBytes = RING_BYTES, mtu = 1500 } = this.#options
    this.#add(await this.#device.open({ ringBytes }), 0)
    const parts = {
      device: this.#device,
      requests: this.#requests,
      receiver: this.#receiver,
      transmitter: this.#transmitter,
    }
    const { gpadls, ...agreed } = await setUp(parts, this.#options.versions ?? VERSIONS, mtu)
    this.#gpadls = gpadls
    const address = await this.query(OID.ETHERNET_PERMANENT_ADDRESS)
    const frameSize = await this.query(OID.GEN_MAXIMUM_FRAME_SIZE)
    if (address.length < 6 || frameSize.length < 4)
      throw new NetworkError('ERR_NETWORK_PROTOCOL', 'the adapter has no address or no frame size')
    this.#properties = {
      ...agreed,
      macAddress: formatMacAddress(readMacAddress(address, 0)),
      mtu: viewOf(frameSize).getUint32(0, true),
    }
    await this.#spread()
  }

  /** A channel for each processor, where the provider has as many. */
  async #spread(): Promise<void> {
    const wanted = this.#options.queues ?? this.#device.processorCount
    if (wanted < 2 || this.properties.version < NVSP_VERSION.V5) return
    const capabilities = await this.query(OID.GEN_RECEIVE_SCALE_CAPABILITIES)
    const queues = capabilities.length < 16 ? 1 : Math.min(wanted, viewOf(capabilities).getUint32(12, true))
    if (queues > 1) await this.createSubChannels(queues - 1)
  }

  /**
   * Have sub-channels besides the primary channel, and spread received frames over all of them. Resolves when they are open.
   * @throws NetworkError `ERR_NETWORK_PROTOCOL`, `ERR_NETWORK_OID`; VmbusError
   */
  async createSubChannels(count: number): Promise<void> {
    const { ringBytes = RING_BYTES } = this.#options
    const opened: Promise<void>[] = []
    const offered = Promise.withResolvers<void>()
    this.#opening = (offer) => {
      opened.push(
        this.#device.openSubChannel(offer, { ringBytes }).then((channel) => this.#add(channel, offer.subChannelIndex)),
      )
      // Somebody has to hear of it before the others are offered.
      opened.at(-1)?.catch(() => undefined)
      if (opened.length === count) offered.resolve()
    }
    this.#device.onSubChannel = (offer) => this.#opening?.(offer)
    const answer = await this.#requests.ask((view) => {
      const message = new NvspSubChannel(view)
      message.messageType = NVSP_MESSAGE.SUB_CHANNEL
      message.operationOrStatus = SUB_CHANNEL_ALLOCATE
      message.count = count
    }, NVSP_MESSAGE.SUB_CHANNEL)
    const { operationOrStatus: status, count: given } = new NvspSubChannel(answer)
    if (status !== NVSP_STATUS.SUCCESS || given !== count)
      throw new NetworkError('ERR_NETWORK_PROTOCOL', `${count} sub-channels are refused`, { data: { status } })
    const { signal } = this.#device
    const gone = (): void => offered.reject(signal.reason)
    signal.addEventListener('abort', gone)
    if (signal.aborted) gone()
    if (count > 0) await offered.promise.finally(() => signal.removeEventListener('abort', gone))
    await Promise.all(opened)
    const entries = 2 ** Math.ceil(Math.log2(4 * (count + 1)))
    await this.setReceiveScaling(
      DEFAULT_KEY,
      Array.from({ length: entries }, (_, entry) => entry % (count + 1)),
    )
  }

  /** Have frames of a flow come through one channel, by hash. `table`: numbers of channels, a power of two of them. @throws NetworkError `ERR_NETWORK_OID` */
  async setReceiveScaling(key: Uint8Array, table: readonly number[]): Promise<void> {
    await this.set(OID.GEN_RECEIVE_SCALE_PARAMETERS, scalingParameters(key, table))
  }

  /** Switch `checksums` of received frames, and `coalescing` of their segments. @throws NetworkError `ERR_NETWORK_OID` */
  async setOffloads(offloads: { readonly checksums: boolean; readonly coalescing: boolean }): Promise<void> {
    await this.set(OID.TCP_OFFLOAD_PARAMETERS, offloadParameters(offloads))
  }

  /** Which frames to receive: bits of PACKET_FILTER. @throws NetworkError `ERR_NETWORK_OID` */
  async setPacketFilter(filter: number): Promise<void> {
    const value = new Uint8Array(4)
    viewOf(value).setUint32(0, filter, true)
    await this.set(OID.GEN_CURRENT_PACKET_FILTER, value)
  }

  /** Whether the cable is plugged in. @throws NetworkError `ERR_NETWORK_OID` */
  async linkUp(): Promise<boolean> {
    const value = await this.query(OID.GEN_MEDIA_CONNECT_STATUS)
    return value.length >= 4 && viewOf(value).getUint32(0, true) === MEDIA_STATE.CONNECTED
  }

  /** Ask for an OID. @throws NetworkError `ERR_NETWORK_OID` with the status in `data` */
  async query(oid: number, information: Uint8Array = new Uint8Array(0)): Promise<Uint8Array> {
    const answer = await this.#requests.request((requestId) =>
      oidRequest(RNDIS_MESSAGE.QUERY, requestId, oid, information),
    )
    const { status, informationLength, informationOffset } = new RndisComplete(viewOf(answer))
    if (status !== RNDIS_STATUS.SUCCESS) throw oidError(oid, status)
    const at = RNDIS_HEADER_SIZE + informationOffset
    if (informationLength > 0 && at + informationLength > answer.length)
      throw oidError(oid, RNDIS_STATUS.INVALID_LENGTH)
    return answer.slice(at, at + informationLength)
  }

  /** Set an OID. @throws NetworkError `ERR_NETWORK_OID` with the status in `data` */
  async set(oid: number, information: Uint8Array): Promise<void> {
    const answer = await this.#requests.request((requestId) =>
      oidRequest(RNDIS_MESSAGE.SET, requestId, oid, information),
    )
    const { status } = new RndisComplete(viewOf(answer))
    if (status !== RNDIS_STATUS.SUCCESS) throw oidError(oid, status)
  }

  /** What waits fails, and so does what comes after; the provider lets go of the buffers. The bus closes the channels. */
  stop(): void {
    this.#fail(new NetworkError('ERR_NETWORK_CLOSED', 'the adapter is closed'))
    revokeBuffers(this.#requests)
    for (const gpadl of this.#gpadls) void this.#device.teardownGpadl(gpadl)
  }

  /** {@link NetworkClient.stop}, and close the device, where nobody else does. */
  async close(): Promise<void> {
    this.stop()
    await this.#device.close()
  }

  #fail(error: unknown): void {
    this.#requests.fail(error)
    this.#receiver.forget()
  }

  // ── frames out ──

  /**
   * Send a frame: bytes, or a frame with what is left to the provider. False: no room now; {@link NetworkClient.onWritable} will tell.
   * @throws NetworkError `ERR_NETWORK_FRAME` when it is shorter than its header, or longer than any frame may be; what ended the adapter, afterwards
   */
  send(frame: Uint8Array | NetworkFrame, queue = 0): boolean {
    const whole = frame instanceof Uint8Array ? this.#frame.plain(frame) : frame
    const length = whole.end - whole.start
    if (length < 14 || length > MAXIMUM_FRAME_LENGTH)
      throw new NetworkError('ERR_NETWORK_FRAME', `${length} bytes are no frame`, { data: { length } })
    const { failure } = this.#requests
    if (failure !== undefined) throw failure
    const channel = this.#channels[queue] ?? this.#channels[0]
    if (channel === undefined) return true
    const sent = this.#transmitter.send(channel, whole)
    if (!sent) this.#starved = true
    return sent
  }

  // ── from the provider ──

  #add(channel: ClientChannel, queue: number): void {
    this.#channels[queue] = channel
    if (queue === 0) this.#requests.channel = channel
    channel.onPacket = (packet) => this.#packet(channel, queue, packet)
    channel.onWritable = () => {
      this.#receiver.flush()
      this.#writable()
    }
    channel.onClosed = () => {
      this.#channels[queue] = undefined
      this.#receiver.forget(channel)
      if (queue !== 0) return
      this.#requests.channel = undefined
      this.#fail(new NetworkError('ERR_NETWORK_CLOSED', 'the channel was closed'))
    }
    channel.onBroken = (fault) =>
      this.#fail(new NetworkError('ERR_NETWORK_PROTOCOL', `a ring makes no sense: ${fault}`))
  }

  #packet(channel: ClientChannel, queue: number, packet: VmbusPacket): void {
    switch (packet.type) {
      case VMBUS_PACKET.COMPLETION:
        this.#completed(packet)
        break
      case VMBUS_PACKET.TRANSFER_PAGES:
        this.#received(channel, queue, packet)
        break
      case VMBUS_PACKET.IN_BAND:
        this.#told(packet)
        break
      default:
        this.ignored++
    }
  }

  #completed(packet: VmbusPacket): void {
    const { transactionLow: id, transactionHigh } = packet
    if (transactionHigh !== 0) {
      this.ignored++
      return
    }
    if (this.#requests.owns(id)) {
      if (!this.#requests.completed(packet)) this.ignored++
      return
    }
    if (!this.#transmitter.completed(id)) this.ignored++
    this.#writable()
  }

  #writable(): void {
    if (!this.#starved) return
    this.#starved = false
    this.onWritable?.()
  }

  #told(packet: VmbusPacket): void {
    const { view, payloadOffset: at, payloadLength: length } = packet
    if (length < NvspSendTable.size || view.getUint32(at, true) !== NVSP_MESSAGE.SEND_INDIRECTION_TABLE) {
      this.ignored++
      return
    }
    const { count, tableOffset } = new NvspSendTable(view, at)
    if (count !== SEND_TABLE_SIZE || tableOffset + count * 4 > length) {
      this.ignored++
      return
    }
    for (let entry = 0; entry < count; entry++)
      this.sendTable[entry] = view.getUint32(at + tableOffset + entry * 4, true)
  }

  #received(channel: ClientChannel, queue: number, packet: VmbusPacket): void {
    const { transactionLow, transactionHigh } = packet
    this.#receiver.received(queue, packet)
    if (this.#requests.failure === undefined) this.#receiver.giveBack(channel, transactionLow, transactionHigh)
  }

  #message(type: number, bytes: Uint8Array): void {
    if (type === RNDIS_MESSAGE.INDICATE_STATUS) this.#indicated(bytes)
    else if (!this.#requests.answered(bytes)) this.ignored++
  }

  #indicated(bytes: Uint8Array): void {
    if (bytes.length < RndisIndicateStatus.size) {
      this.ignored++
      return
    }
    const view = viewOf(bytes)
    const { status, statusBufferLength, statusBufferOffset } = new RndisIndicateStatus(view)
    const at = RNDIS_HEADER_SIZE + statusBufferOffset
    if (status === RNDIS_STATUS.MEDIA_CONNECT || status === RNDIS_STATUS.MEDIA_DISCONNECT)
      this.onLink?.(status === RNDIS_STATUS.MEDIA_CONNECT)
    else if (status === RNDIS_STATUS.LINK_SPEED_CHANGE && statusBufferLength >= 4 && at + 4 <= bytes.length)
      this.onLinkSpeed?.(view.getUint32(at, true) * 100)
    else this.ignored++
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
