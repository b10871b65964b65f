// The child's side: sets the protocol up on a channel, sends SCSI requests, matches their completions.

import { VMBUS_COMPLETION_REQUESTED, VMBUS_PACKET, type VmbusPacket } from '@partita/interface'
import type { ClientChannel, GpaRange } from '@partita/vmbus/client'
import {
  ChannelProperties,
  CreateSubChannels,
  PACKET_SIZE,
  PacketHeader,
  ProtocolVersion,
  REQUEST_COMPLETION_FLAG,
  requestSize,
  ScsiRequest,
  SENSE_BUFFER_SIZE,
  SRB_DATA,
  SRB_FLAG,
  SRB_STATUS,
  SRB_STATUS_MASK,
  SUPPORTS_MULTI_CHANNEL,
  VMSTOR_VERSION,
  VSTOR_OPERATION,
  VSTOR_STATUS,
} from '../protocol.ts'
import { StorageError } from '../storage-error.ts'

/** A SCSI request to a controller. */
export interface StorageRequest {
  readonly lun: number
  readonly pathId?: number
  readonly targetId?: number
  /** At most 16 bytes. */
  readonly cdb: Uint8Array
  /** Ranges of this partition's memory, for data. Default: none. */
  readonly ranges?: readonly GpaRange[]
  /** Which way data goes: one of SRB_DATA. Default: READ. */
  readonly direction?: number
  /** Seconds. Default: 60. */
  readonly timeOut?: number
}

/** What came of a request. */
export interface StorageResult {
  /** One of SRB_STATUS, without flags. */
  readonly srbStatus: number
  readonly scsiStatus: number
  /** Bytes that were moved. */
  readonly transferred: number
  /** Sense data, where the provider sent some. */
  readonly sense: Uint8Array | undefined
}

/** What the two sides agreed on. */
export interface StorageProperties {
  readonly version: number
  /** Sub-channels that may be opened. */
  readonly maximumSubChannels: number
  readonly maximumTransferBytes: number
}

/** The versions that are offered, best first. */
const VERSIONS: readonly number[] = Object.values(VMSTOR_VERSION).reverse()

interface Waiting {
  readonly resolve: (packet: Uint8Array) => void
  readonly reject: (error: StorageError) => void
}

interface Outgoing {
  readonly channel: ClientChannel
  readonly packet: Uint8Array
  readonly ranges: readonly GpaRange[]
  readonly transaction: number
}

/**
 * The driver of one controller.
 *
 * @example
 * ```ts
 * const client = new StorageClient(channel)
 * const { maximumTransferBytes } = await client.connect()
 * const result = await client.execute({ lun: 0, cdb: Uint8Array.of(0x12, 0, 0, 0, 36, 0), ranges: [contiguousRange(page, 36)] })
 * ```
 */
export class StorageClient {
  /** Called when the provider says that units have come or gone. */
  onBusChange: (() => void) | undefined
  readonly #channels: ClientChannel[] = []
  readonly #waiting: Map<number, Waiting> = new Map()
  /** Requests that found no room, in order. */
  readonly #queue: Outgoing[] = []
  #nextTransaction = 1
  #nextChannel = 0
  #version = 0
  #closed = false

  constructor(channel: ClientChannel) {
    this.#add(channel)
  }

  /** The version agreed on; 0 before {@link StorageClient.connect}. */
  get version(): number {
    return this.#version
  }

  /** Requests that wait for their completion. */
  get pending(): number {
    return this.#waiting.size
  }

  /**
   * Set the protocol up: version, properties.
   * @throws StorageError `ERR_STORAGE_PROTOCOL` when the provider refuses
   */
  async connect(versions: readonly number[] = VERSIONS): Promise<StorageProperties> {
    await this.#control(VSTOR_OPERATION.BEGIN_INITIALIZATION)
    this.#version = 0
    for (const version of versions) {
      const answer = await this.#request(
        this.#packet(VSTOR_OPERATION.QUERY_PROTOCOL_VERSION, (view) => {
          new ProtocolVersion(view, PacketHeader.size).majorMinor = version
        }),
      )
      if (headerOf(answer).status !== VSTOR_STATUS.SUCCESS) continue
      this.#version = version
      break
    }
    if (this.#version === 0) throw new StorageError('ERR_STORAGE_PROTOCOL', 'no common version', { data: { versions } })
    const answer = await this.#control(VSTOR_OPERATION.QUERY_PROPERTIES)
    const properties = new ChannelProperties(viewOf(answer), PacketHeader.size)
    await this.#control(VSTOR_OPERATION.END_INITIALIZATION)
    return {
      version: this.#version,
      maximumSubChannels: (properties.flags & SUPPORTS_MULTI_CHANNEL) !== 0 ? properties.maximumSubChannelCount : 0,
      maximumTransferBytes: properties.maximumTransferBytes,
    }
  }

  /**
   * Ask for sub-channels. They are offered on the bus; open them, and give them to {@link StorageClient.addChannel}.
   * @throws StorageError `ERR_STORAGE_PROTOCOL`
   */
  async createSubChannels(count: number): Promise<void> {
    await this.#control(VSTOR_OPERATION.CREATE_SUB_CHANNELS, (view) => {
      new CreateSubChannels(view, PacketHeader.size).subChannelCount = count
    })
  }

  /** Use an open sub-channel too. */
  addChannel(channel: ClientChannel): void {
    this.#add(channel)
  }

  /** Send a SCSI request. What the unit says of it is in the result, and no error. @throws StorageError `ERR_STORAGE_PROTOCOL`, `ERR_STORAGE_CLOSED` */
  async execute(request: StorageRequest): Promise<StorageResult> {
    const ranges = request.ranges ?? []
    let length = 0
    for (const range of ranges) length += range.byteCount
    const direction = request.direction ?? SRB_DATA.READ
    const size = requestSize(this.#version)
    const packet = this.#packet(
      VSTOR_OPERATION.EXECUTE_SRB,
      (view) => {
        const srb = new ScsiRequest(view, PacketHeader.size)
        srb.length = size
        srb.pathId = request.pathId ?? 0
        srb.targetId = request.targetId ?? 0
        srb.lun = request.lun
        srb.cdbLength = request.cdb.length
        srb.senseInfoLength = SENSE_BUFFER_SIZE
        srb.dataIn = length === 0 ? SRB_DATA.UNKNOWN : direction
        srb.dataTransferLength = length
        srb.data = request.cdb
        if (size < ScsiRequest.size) return
        srb.srbFlags = length === 0 ? 0 : direction === SRB_DATA.READ ? SRB_FLAG.DATA_IN : SRB_FLAG.DATA_OUT
        srb.timeOutValue = request.timeOut ?? 60
      },
      PacketHeader.size + size,
    )
    const channel = this.#channels[this.#nextChannel++ % this.#channels.length] as ClientChannel
    const answer = await this.#request(packet, ranges, channel)
    const result = new ScsiRequest(viewOf(answer), PacketHeader.size)
    const at = PacketHeader.size + ScsiRequest.offsets.data
    return {
      srbStatus: result.srbStatus & SRB_STATUS_MASK,
      scsiStatus: result.scsiStatus,
      transferred: Math.min(result.dataTransferLength, length),
      sense:
        (result.srbStatus & SRB_STATUS.AUTOSENSE_VALID) !== 0
          ? answer.slice(at, at + Math.min(SENSE_BUFFER_SIZE, result.senseInfoLength))
          : undefined,
    }
  }

  /** Reset every unit of the controller; resolves when what was under way is complete. @throws StorageError `ERR_STORAGE_PROTOCOL` */
  async reset(): Promise<void> {
    await this.#control(VSTOR_OPERATION.RESET_BUS)
  }

  /** Fail what waits, and close the channels, sub-channels first. */
  async close(): Promise<void> {
    this.#closed = true
    const error = new StorageError('ERR_STORAGE_CLOSED', 'the controller is closed')
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
    this.#queue.length = 0
    for (const channel of this.#channels.splice(0).reverse()) await channel.close()
  }

  #add(channel: ClientChannel): void {
    this.#channels.push(channel)
    channel.onPacket = (packet) => this.#receive(packet)
    channel.onWritable = () => this.#flush()
  }

  #packet(operation: number, fill?: (view: DataView) => void, size: number = PACKET_SIZE): Uint8Array {
    const packet = new Uint8Array(size)
    const view = viewOf(packet)
    const header = new PacketHeader(view)
    header.operation = operation
    header.flags = REQUEST_COMPLETION_FLAG
    fill?.(view)
    return packet
  }

  async #control(operation: number, fill?: (view: DataView) => void): Promise<Uint8Array> {
    const answer = await this.#request(this.#packet(operation, fill))
    const { status } = headerOf(answer)
    if (status === VSTOR_STATUS.SUCCESS) return answer
    throw new StorageError(
      'ERR_STORAGE_PROTOCOL',
      `operation ${operation} failed with status 0x${status.toString(16)}`,
      {
        data: { operation, status },
      },
    )
  }

  #request(
    packet: Uint8Array,
    ranges: readonly GpaRange[] = [],
    channel: ClientChannel | undefined = this.#channels[0],
  ): Promise<Uint8Array> {
    if (this.#closed || channel === undefined)
      return Promise.reject(new StorageError('ERR_STORAGE_CLOSED', 'the controller is closed'))
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    while (this.#waiting.has(this.#nextTransaction)) this.#advance()
    const transaction = this.#nextTransaction
    this.#advance()
    this.#waiting.set(transaction, { resolve, reject })
    this.#queue.push({ channel, packet, ranges, transaction })
    this.#flush()
    return promise
  }

  /** Transaction 0 is for packets that the provider sends of its own accord. */
  #advance(): void {
    this.#nextTransaction = this.#nextTransaction >= 0xffff_ffff ? 1 : this.#nextTransaction + 1
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      const { channel, packet, ranges, transaction } = this.#queue[0] as Outgoing
      const sent =
        ranges.length > 0
          ? channel.sendGpaDirect(ranges, packet, transaction)
          : channel.send(packet, transaction, 0, VMBUS_COMPLETION_REQUESTED)
      if (!sent) return
      this.#queue.shift()
    }
  }

  /** Everything from the provider is checked as if it were a stranger's. */
  #receive(packet: VmbusPacket): void {
    if (packet.payloadLength < 4) return
    const operation = packet.view.getUint32(packet.payloadOffset, true)
    if (packet.type === VMBUS_PACKET.IN_BAND) {
      if (operation === VSTOR_OPERATION.ENUMERATE_BUS || operation === VSTOR_OPERATION.REMOVE_DEVICE)
        this.onBusChange?.()
      return
    }
    if (packet.type !== VMBUS_PACKET.COMPLETION || packet.transactionHigh !== 0) return
    const waiting = this.#waiting.get(packet.transactionLow)
    if (waiting === undefined) return
    this.#waiting.delete(packet.transactionLow)
    const copy = new Uint8Array(PACKET_SIZE)
    copy.set(packet.payload().subarray(0, PACKET_SIZE))
    if (operation === VSTOR_OPERATION.COMPLETE_IO && packet.payloadLength >= PacketHeader.size) waiting.resolve(copy)
    else {
      waiting.reject(
        new StorageError('ERR_STORAGE_PROTOCOL', `a completion with operation ${operation}`, { data: { operation } }),
      )
    }
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function headerOf(packet: Uint8Array): PacketHeader {
  return new PacketHeader(viewOf(packet))
}
