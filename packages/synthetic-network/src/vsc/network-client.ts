// The child's side: sets the protocol up, asks and sets OIDs, sends and receives frames.

import { Frame, formatMacAddress, readMacAddress } from '@partita/ethernet'
import {
  MAXIMUM_FRAME_LENGTH,
  type NetworkFrame,
  VMBUS_COMPLETION_REQUESTED,
  VMBUS_PACKET,
  type VmbusPacket,
} from '@partita/interface'
import type { ClientChannel, ClientOffer, DmaBuffer, VscDevice, VscInstance } from '@partita/vmbus/client'
import { NetworkError } from '../network-error.ts'
import {
  NDIS_CONFIG_CAPABILITY,
  NVSP_MESSAGE,
  NVSP_STATUS,
  NVSP_VERSION,
  NvspInit,
  NvspInitComplete,
  NvspNdisConfig,
  NvspNdisVersion,
  NvspReceiveBufferComplete,
  NvspRevokeBuffer,
  NvspRndisPacket,
  NvspSendBuffer,
  NvspSendBufferComplete,
  NvspSendTable,
  NvspStatusMessage,
  NvspSubChannel,
  PACKET_SIZE_V61,
  SEND_TABLE_SIZE,
  SUB_CHANNEL_ALLOCATE,
} from '../protocol/nvsp.ts'
import { MEDIA_STATE, OID } from '../protocol/oid.ts'
import {
  RNDIS_HEADER_SIZE,
  RNDIS_MAJOR_VERSION,
  RNDIS_MESSAGE,
  RNDIS_STATUS,
  RndisComplete,
  RndisIndicateStatus,
  RndisInitialize,
} from '../protocol/rndis.ts'
import { ASSEMBLED, FrameAssembler } from './data-messages.ts'
import { offloadParameters, oidError, oidRequest, scalingParameters } from './oid-values.ts'
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
  /** How many frames the host may have on their way: sections of the receive buffer. */
  readonly receiveSections: number
  /** Bytes of a section. */
  readonly receiveSectionSize: number
}

/** Which packets are waited for: answers of set-up messages have transaction ids from here on. */
const SETUP_TRANSACTION = 0x8000_0000
/** The control message under way. */
const CONTROL_TRANSACTION = 0x7fff_ffff
const RECEIVE_BUFFER_ID = 0xcafe
const CONTROL_BYTES = 4096
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

interface Waiting {
  readonly resolve: (answer: Uint8Array) => void
  readonly reject: (error: unknown) => void
}

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
  readonly #assemblers: FrameAssembler[] = []
  readonly #answers: Map<number, Waiting> = new Map()
  readonly #requests: Map<number, Waiting> = new Map()
  readonly #receive: DmaBuffer
  readonly #transmitter: Transmitter
  readonly #controlBuffer: DmaBuffer
  readonly #frame: Frame = new Frame()
  readonly #completion: Uint8Array = new Uint8Array(PACKET_SIZE_V61)
  #copy: Uint8Array = new Uint8Array(0)
  #copyView: DataView = new DataView(this.#copy.buffer)
  /** Completions of received packets that found no room: channel and transaction. */
  #owed: { readonly channel: ClientChannel; readonly low: number; readonly high: number }[] = []
  #properties: NetworkProperties | undefined
  #receiveGpadl = 0
  #sendGpadl = 0
  #version = 0
  #nextTransaction = 0
  #nextRequest = 1
  #control: Promise<unknown> = Promise.resolve()
  #starved = false
  #failure: unknown
  #opening: ((offer: ClientOffer) => void) | undefined

  private constructor(device: VscDevice, options: NetworkClientOptions) {
    this.#device = device
    this.#options = options
    this.#receive = device.allocate(options.receiveBytes ?? 2 * 1024 * 1024)
    this.#transmitter = new Transmitter(device, options.sendBytes ?? 256 * 1024, options.largeFrames ?? 4)
    this.#controlBuffer = device.allocate(CONTROL_BYTES)
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
    for (const version of this.#options.versions ?? VERSIONS) {
      const answer = await this.#ask((view) => {
        const init = new NvspInit(view)
        init.messageType = NVSP_MESSAGE.INIT
        init.minimumVersion = version
        init.maximumVersion = version
      }, NVSP_MESSAGE.INIT_COMPLETE)
      if (new NvspInitComplete(answer).status !== NVSP_STATUS.SUCCESS) continue
      this.#version = version
      break
    }
    if (this.#version === 0) throw new NetworkError('ERR_NETWORK_PROTOCOL', 'no common version')
    if (this.#version >= NVSP_VERSION.V2) this.#tell((view) => this.#configure(new NvspNdisConfig(view), mtu))
    this.#tell((view) => {
      const message = new NvspNdisVersion(view)
      message.messageType = NVSP_MESSAGE.SEND_NDIS_VERSION
      message.major = 6
      message.minor = this.#version >= NVSP_VERSION.V5 ? 30 : 1
    })
    const { receiveSections, receiveSectionSize } = await this.#giveReceiveBuffer()
    await this.#giveSendBuffer()
    await this.#initialize()
    const address = await this.query(OID.ETHERNET_PERMANENT_ADDRESS)
    const frameSize = await this.query(OID.GEN_MAXIMUM_FRAME_SIZE)
    if (address.length < 6 || frameSize.length < 4)
      throw new NetworkError('ERR_NETWORK_PROTOCOL', 'the adapter has no address or no frame size')
    this.#properties = {
      version: this.#version,
      macAddress: formatMacAddress(readMacAddress(address, 0)),
      mtu: viewOf(frameSize).getUint32(0, true),
      receiveSections,
      receiveSectionSize,
    }
    await this.#spread()
  }

  /** A channel for each processor, where the provider has as many. */
  async #spread(): Promise<void> {
    const wanted = this.#options.queues ?? this.#device.processorCount
    if (wanted < 2 || this.#version < NVSP_VERSION.V5) return
    const capabilities = await this.query(OID.GEN_RECEIVE_SCALE_CAPABILITIES)
    const queues = capabilities.length < 16 ? 1 : Math.min(wanted, viewOf(capabilities).getUint32(12, true))
    if (queues > 1) await this.createSubChannels(queues - 1)
  }

  #configure(message: NvspNdisConfig, mtu: number): void {
    message.messageType = NVSP_MESSAGE.SEND_NDIS_CONFIG
    message.mtu = mtu + 14
    message.capabilities =
      NDIS_CONFIG_CAPABILITY.IEEE_8021Q |
      (this.#version >= NVSP_VERSION.V5 ? NDIS_CONFIG_CAPABILITY.TEAMING : 0) |
      (this.#version >= NVSP_VERSION.V61 ? NDIS_CONFIG_CAPABILITY.RSC : 0)
  }

  async #giveReceiveBuffer(): Promise<{ receiveSections: number; receiveSectionSize: number }> {
    this.#receiveGpadl = await this.#device.createGpadl(this.#receive.bytes)
    const answer = await this.#ask((view) => {
      const message = new NvspSendBuffer(view)
      message.messageType = NVSP_MESSAGE.SEND_RECEIVE_BUFFER
      message.gpadlId = this.#receiveGpadl
      message.id = RECEIVE_BUFFER_ID
    }, NVSP_MESSAGE.SEND_RECEIVE_BUFFER_COMPLETE)
    const { status, sectionCount, subAllocationSize, subAllocationCount } = new NvspReceiveBufferComplete(answer)
    const fits =
      subAllocationSize >= RndisComplete.size && subAllocationSize * subAllocationCount <= this.#receive.bytes.length
    if (status !== NVSP_STATUS.SUCCESS || sectionCount !== 1 || !fits)
      throw new NetworkError('ERR_NETWORK_PROTOCOL', 'the receive buffer is refused', { data: { status } })
    this.#copy = new Uint8Array(subAllocationSize)
    this.#copyView = viewOf(this.#copy)
    return { receiveSections: subAllocationCount, receiveSectionSize: subAllocationSize }
  }

  async #giveSendBuffer(): Promise<void> {
    this.#sendGpadl = await this.#device.createGpadl(this.#transmitter.buffer.bytes)
    const answer = await this.#ask((view) => {
      const message = new NvspSendBuffer(view)
      message.messageType = NVSP_MESSAGE.SEND_SEND_BUFFER
      message.gpadlId = this.#sendGpadl
    }, NVSP_MESSAGE.SEND_SEND_BUFFER_COMPLETE)
    const { status, sectionSize } = new NvspSendBufferComplete(answer)
    if (status !== NVSP_STATUS.SUCCESS || !this.#transmitter.divide(sectionSize))
      throw new NetworkError('ERR_NETWORK_PROTOCOL', 'the send buffer is refused', { data: { status } })
  }

  async #initialize(): Promise<void> {
    const answer = await this.#request((requestId) => {
      const message = RndisInitialize.allocate()
      message.messageType = RNDIS_MESSAGE.INITIALIZE
      message.messageLength = RndisInitialize.size
      message.requestId = requestId
      message.majorVersion = RNDIS_MAJOR_VERSION
      message.maximumTransferSize = 0x4000
      return new Uint8Array(message.view.buffer)
    })
    const { status } = new RndisComplete(viewOf(answer))
    if (status !== RNDIS_STATUS.SUCCESS)
      throw new NetworkError('ERR_NETWORK_PROTOCOL', 'RNDIS is refused', { data: { status } })
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
    const answer = await this.#ask((view) => {
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
    const answer = await this.#request((requestId) => oidRequest(RNDIS_MESSAGE.QUERY, requestId, oid, information))
    const { status, informationLength, informationOffset } = new RndisComplete(viewOf(answer))
    if (status !== RNDIS_STATUS.SUCCESS) throw oidError(oid, status)
    const at = RNDIS_HEADER_SIZE + informationOffset
    if (informationLength > 0 && at + informationLength > answer.length)
      throw oidError(oid, RNDIS_STATUS.INVALID_LENGTH)
    return answer.slice(at, at + informationLength)
  }

  /** Set an OID. @throws NetworkError `ERR_NETWORK_OID` with the status in `data` */
  async set(oid: number, information: Uint8Array): Promise<void> {
    const answer = await this.#request((requestId) => oidRequest(RNDIS_MESSAGE.SET, requestId, oid, information))
    const { status } = new RndisComplete(viewOf(answer))
    if (status !== RNDIS_STATUS.SUCCESS) throw oidError(oid, status)
  }

  /** What waits fails, and so does what comes after; the provider lets go of the buffers. The bus closes the channels. */
  stop(): void {
    this.#fail(new NetworkError('ERR_NETWORK_CLOSED', 'the adapter is closed'))
    for (const [type, id] of [
      [NVSP_MESSAGE.REVOKE_RECEIVE_BUFFER, RECEIVE_BUFFER_ID],
      [NVSP_MESSAGE.REVOKE_SEND_BUFFER, 0],
    ] as const)
      this.#tell((view) => {
        const message = new NvspRevokeBuffer(view)
        message.messageType = type
        message.id = id
      })
    if (this.#receiveGpadl !== 0) void this.#device.teardownGpadl(this.#receiveGpadl)
    if (this.#sendGpadl !== 0) void this.#device.teardownGpadl(this.#sendGpadl)
  }

  /** {@link NetworkClient.stop}, and close the device, where nobody else does. */
  async close(): Promise<void> {
    this.stop()
    await this.#device.close()
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    for (const waiting of [...this.#answers.values(), ...this.#requests.values()]) waiting.reject(this.#failure)
    this.#answers.clear()
    this.#requests.clear()
    this.#owed = []
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
    if (this.#failure !== undefined) throw this.#failure
    const channel = this.#channels[queue] ?? this.#channels[0]
    if (channel === undefined) return true
    const sent = this.#transmitter.send(channel, whole)
    if (!sent) this.#starved = true
    return sent
  }

  // ── from the provider ──

  #add(channel: ClientChannel, queue: number): void {
    this.#channels[queue] = channel
    this.#assemblers[queue] ??= new FrameAssembler()
    channel.onPacket = (packet) => this.#packet(channel, queue, packet)
    channel.onWritable = () => {
      this.#flushOwed()
      this.#writable()
    }
    channel.onClosed = () => {
      this.#channels[queue] = undefined
      this.#owed = this.#owed.filter((owed) => owed.channel !== channel)
      if (queue === 0) this.#fail(new NetworkError('ERR_NETWORK_CLOSED', 'the channel was closed'))
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
    if (id >= SETUP_TRANSACTION) {
      const waiting = this.#answers.get(id)
      this.#answers.delete(id)
      const copy = new Uint8Array(PACKET_SIZE_V61)
      copy.set(packet.payload().subarray(0, copy.length))
      if (waiting === undefined) this.ignored++
      waiting?.resolve(copy)
      return
    }
    if (id === CONTROL_TRANSACTION) {
      this.#controlCompleted(packet)
      return
    }
    if (!this.#transmitter.completed(id)) this.ignored++
    this.#writable()
  }

  /** A request that the provider does not take has no other answer. */
  #controlCompleted(packet: VmbusPacket): void {
    const { view, payloadOffset, payloadLength } = packet
    const status = payloadLength < 8 ? NVSP_STATUS.FAILURE : view.getUint32(payloadOffset + 4, true)
    if (status === NVSP_STATUS.SUCCESS) return
    for (const waiting of this.#requests.values())
      waiting.reject(new NetworkError('ERR_NETWORK_PROTOCOL', 'a request is refused', { data: { status } }))
    this.#requests.clear()
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
    const { transactionLow, transactionHigh, transferRangeCount, view, payloadOffset } = packet
    const good =
      packet.transferPageSet === RECEIVE_BUFFER_ID &&
      packet.payloadLength >= NvspRndisPacket.size &&
      view.getUint32(payloadOffset, true) === NVSP_MESSAGE.SEND_RNDIS_PACKET
    if (!good) this.ignored++
    for (let range = 0; good && range < transferRangeCount; range++)
      this.#rndisMessage(queue, packet.transferRangeOffset(range), packet.transferRangeLength(range))
    if (this.#failure !== undefined) return
    if (this.#owed.length > 0 || !this.#complete(channel, transactionLow, transactionHigh))
      this.#owed.push({ channel, low: transactionLow, high: transactionHigh })
  }

  #complete(channel: ClientChannel, low: number, high: number): boolean {
    const status = new NvspStatusMessage(viewOf(this.#completion))
    status.messageType = NVSP_MESSAGE.SEND_RNDIS_PACKET_COMPLETE
    status.status = NVSP_STATUS.SUCCESS
    return channel.complete(low, high, this.#completion)
  }

  #flushOwed(): void {
    let done = 0
    for (const { channel, low, high } of this.#owed) {
      if (!this.#complete(channel, low, high)) break
      done++
    }
    this.#owed.splice(0, done)
  }

  #rndisMessage(queue: number, offset: number, length: number): void {
    const { bytes } = this.#receive
    if (length < RNDIS_HEADER_SIZE || length > this.#copy.length || offset + length > bytes.length) {
      this.ignored++
      return
    }
    this.#copy.set(bytes.subarray(offset, offset + length))
    const type = this.#copyView.getUint32(0, true)
    if (type === RNDIS_MESSAGE.PACKET) {
      const assembler = this.#assemblers[queue] as FrameAssembler
      const result = assembler.add(this.#copy, this.#copyView, length)
      if (result === ASSEMBLED.FRAME) this.onReceive?.(assembler.frame, queue)
      else if (result === ASSEMBLED.BAD) this.ignored++
      return
    }
    const size = this.#copyView.getUint32(4, true)
    if (size > length || size < RNDIS_HEADER_SIZE + 4) this.ignored++
    else if (type === RNDIS_MESSAGE.INDICATE_STATUS) this.#indicated(size)
    else this.#answered(size)
  }

  #indicated(size: number): void {
    if (size < RndisIndicateStatus.size) {
      this.ignored++
      return
    }
    const { status, statusBufferLength, statusBufferOffset } = new RndisIndicateStatus(this.#copyView)
    const at = RNDIS_HEADER_SIZE + statusBufferOffset
    if (status === RNDIS_STATUS.MEDIA_CONNECT || status === RNDIS_STATUS.MEDIA_DISCONNECT)
      this.onLink?.(status === RNDIS_STATUS.MEDIA_CONNECT)
    else if (status === RNDIS_STATUS.LINK_SPEED_CHANGE && statusBufferLength >= 4 && at + 4 <= size)
      this.onLinkSpeed?.(this.#copyView.getUint32(at, true) * 100)
    else this.ignored++
  }

  #answered(size: number): void {
    const requestId = this.#copyView.getUint32(RNDIS_HEADER_SIZE, true)
    const waiting = this.#requests.get(requestId)
    if (waiting === undefined) {
      this.ignored++
      return
    }
    this.#requests.delete(requestId)
    const answer = new Uint8Array(Math.max(size, RndisComplete.size))
    answer.set(this.#copy.subarray(0, size))
    waiting.resolve(answer)
  }

  // ── requests ──

  /** Send a message without an answer. */
  #tell(fill: (view: DataView) => void): void {
    const message = new Uint8Array(PACKET_SIZE_V61)
    fill(viewOf(message))
    this.#channels[0]?.send(message)
  }

  /** Send a message of the set-up, and wait for its answer. */
  async #ask(fill: (view: DataView) => void, type: number): Promise<DataView> {
    const message = new Uint8Array(PACKET_SIZE_V61)
    fill(viewOf(message))
    const transaction = SETUP_TRANSACTION + (this.#nextTransaction++ % SETUP_TRANSACTION)
    const answer = viewOf(
      await this.#wait(this.#answers, transaction, () =>
        this.#channels[0]?.send(message, transaction, 0, VMBUS_COMPLETION_REQUESTED),
      ),
    )
    const got = answer.getUint32(0, true)
    if (got === type) return answer
    throw new NetworkError('ERR_NETWORK_PROTOCOL', `a message of type ${got} answers one for ${type}`)
  }

  /** Send an RNDIS request, one at a time, and wait for its answer. */
  #request(build: (requestId: number) => Uint8Array): Promise<Uint8Array> {
    const run = (): Promise<Uint8Array> => {
      const requestId = this.#nextRequest++ % 0x1_0000_0000
      const request = build(requestId)
      return this.#wait(this.#requests, requestId, () => {
        const { bytes } = this.#controlBuffer
        if (request.length > bytes.length) return false
        bytes.set(request)
        const [channel] = this.#channels
        const part = bytes.subarray(0, request.length)
        return channel !== undefined && this.#transmitter.sendControl(channel, part, CONTROL_TRANSACTION)
      })
    }
    const result = this.#control.then(run)
    this.#control = result.catch(() => undefined)
    return result
  }

  #wait(list: Map<number, Waiting>, id: number, send: () => boolean | undefined): Promise<Uint8Array> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    list.set(id, { resolve, reject })
    if (send() !== true) {
      list.delete(id)
      reject(new NetworkError('ERR_NETWORK_PROTOCOL', 'a request does not fit in the ring'))
    }
    return promise
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
