// The protocol's child side: sets a controller up on its channels, sends SCSI requests, reads their completions. It knows nothing of what the commands mean.

import type { VmbusPacket } from '@partita/interface'
import { ChannelRequests, type ClientChannel, type GpaRange } from '@partita/vmbus/client'
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
  /** Logical unit number. */
  readonly lun: number
  /** Default: 0. */
  readonly pathId?: number
  /** Default: 0. */
  readonly targetId?: number
  /** At most 16 bytes. */
  readonly cdb: Uint8Array
  /** Ranges of this partition's memory, for data. Default: none. */
  readonly ranges?: readonly GpaRange[]
  /** Which way data goes: one of SRB_DATA. Default: READ. */
  readonly direction?: number
  /** Seconds. Default: 60. */
  readonly timeOut?: number
  /** Gives up the wait; the controller goes on, and the ranges are its until {@link StorageRequest.released}. */
  readonly signal?: AbortSignal | undefined
  /** Called when the controller uses the ranges no longer. Never called when the device goes before: then they are its until it is closed. */
  released?(): void
}

/** What came of a request. */
export interface StorageResult {
  /** One of SRB_STATUS, without flags. */
  readonly srbStatus: number
  /** The unit's SCSI status. */
  readonly scsiStatus: number
  /** Bytes that were moved. */
  readonly transferred: number
  /** Sense data, where the provider sent some. */
  readonly sense: Uint8Array | undefined
}

/** What the two sides agreed on. */
export interface StorageProperties {
  /** One of VMSTOR_VERSION. */
  readonly version: number
  /** Sub-channels that may be opened. */
  readonly maximumSubChannels: number
  /** Of one request. */
  readonly maximumTransferBytes: number
}

/** The versions that are offered, best first. */
const VERSIONS: readonly number[] = Object.values(VMSTOR_VERSION).reverse()

/**
 * The driver of one controller's channels.
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
  readonly #requests: ChannelRequests
  #version = 0

  /** A client on the controller's primary channel. */
  constructor(channel: ClientChannel) {
    this.#requests = new ChannelRequests(channel)
    this.#requests.onPacket = (packet) => this.#receive(packet)
  }

  /** The version agreed on; 0 before {@link StorageClient.connect}. */
  get version(): number {
    return this.#version
  }

  /** Requests that wait for their completion. */
  get pending(): number {
    return this.#requests.pending
  }

  /** Channels in use. */
  get channelCount(): number {
    return this.#requests.channels.length
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

  /** Go on with a protocol that was set up before a saved state. `transaction` is beyond those that were in use. */
  resume(version: number, transaction: number): void {
    this.#version = version
    this.#requests.skipTransactions(transaction)
  }

  /** For {@link StorageClient.resume}. */
  get lastTransaction(): number {
    return this.#requests.lastTransaction
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
    this.#requests.addChannel(channel)
  }

  /**
   * Send a SCSI request. What the unit says of it is in the result, and no error.
   * @throws StorageError `ERR_STORAGE_PROTOCOL`, `ERR_STORAGE_CLOSED`; the signal's reason
   */
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
    const answer = await this.#request(packet, request)
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

  /** Resolves when nothing waits for its completion. */
  drained(): Promise<void> {
    return this.#requests.drained()
  }

  /** Fail what waits, and what comes. */
  stop(): void {
    this.#requests.fail(new StorageError('ERR_STORAGE_CLOSED', 'the controller is closed'))
  }

  /** {@link StorageClient.stop}, and close the channels, sub-channels first. */
  async close(): Promise<void> {
    this.stop()
    for (const channel of [...this.#requests.channels].reverse()) await channel.close()
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

  /** Everything from the provider is checked as if it were a stranger's. What sets the protocol up goes through the primary channel. */
  async #request(packet: Uint8Array, request?: StorageRequest): Promise<Uint8Array> {
    const channel = request === undefined ? this.#requests.channels[0] : undefined
    let answer: Uint8Array
    try {
      answer = await this.#requests.send(packet, {
        channel,
        ranges: request?.ranges ?? [],
        signal: request?.signal,
        released: () => request?.released?.(),
      })
    } catch (error) {
      if (request?.signal?.aborted || error instanceof StorageError) throw error
      throw new StorageError('ERR_STORAGE_CLOSED', 'the controller is gone', { cause: error })
    }
    const copy = new Uint8Array(PACKET_SIZE)
    copy.set(answer.subarray(0, PACKET_SIZE))
    const { operation } = headerOf(copy)
    if (operation === VSTOR_OPERATION.COMPLETE_IO && answer.length >= PacketHeader.size) return copy
    throw new StorageError('ERR_STORAGE_PROTOCOL', `a completion with operation ${operation}`, { data: { operation } })
  }

  /** What the provider sends of its own accord. */
  #receive(packet: VmbusPacket): void {
    if (packet.payloadLength < 4) return
    const operation = packet.view.getUint32(packet.payloadOffset, true)
    if (operation === VSTOR_OPERATION.ENUMERATE_BUS || operation === VSTOR_OPERATION.REMOVE_DEVICE) this.onBusChange?.()
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function headerOf(packet: Uint8Array): PacketHeader {
  return new PacketHeader(viewOf(packet))
}
