// One channel of a controller: packets become commands, commands become completions. What a guest does wrong is a status of its packet.

import type { GuestMemory, VmbusChannel, VmbusChannelHandler, VmbusPacket } from '@partita/interface'
import { VMBUS_COMPLETION_REQUESTED, VMBUS_PACKET } from '@partita/interface'
import { DIRECTION, SCSI_STATUS, type ScsiCommand, type ScsiTarget, SENSE } from '@partita/scsi'
import {
  ChannelProperties,
  CreateSubChannels,
  EMULATED_IDE,
  PACKET_SIZE,
  PacketHeader,
  ProtocolVersion,
  requestSize,
  ScsiRequest,
  SENSE_BUFFER_SIZE,
  SRB_DATA,
  SRB_STATUS,
  SUPPORTS_MULTI_CHANNEL,
  VMSTOR_VERSION,
  VSTOR_OPERATION,
  VSTOR_STATUS,
} from '../protocol.ts'
import { GuestRequest } from './guest-request.ts'
import { advance, hasSubChannels, type Negotiation, PHASE, statusOf } from './negotiation.ts'

const DONE = Promise.resolve()

/** What a channel needs of its controller. */
export interface ChannelHost {
  readonly negotiation: Negotiation
  readonly target: ScsiTarget
  /** What answers at the paths and targets that have no units. */
  readonly nothing: ScsiTarget
  readonly initiator: number
  readonly maximumSubChannels: number
  /** The fast path to an IDE disk: its one unit is at every path and target. */
  readonly isIde: boolean
  readonly maximumTransferBytes: number
  /** Requests of one channel in service at a time. */
  readonly queueDepth: number
  /** The VM stands: take nothing new. */
  readonly stopped: boolean
  /** A disk failed. */
  fault(lun: number, command: ScsiCommand): void
  closed(channel: StorageChannel): void
}

/** A completion that found no room in the ring. */
export interface PendingCompletion {
  readonly transactionLow: number
  readonly transactionHigh: number
  readonly bytes: Uint8Array
}

/** Serves a channel. */
export class StorageChannel implements VmbusChannelHandler {
  readonly #host: ChannelHost
  readonly #channel: VmbusChannel
  readonly #memory: GuestMemory
  readonly #idle: GuestRequest[] = []
  #requests = 0
  #inFlight = 0
  /** Completions in the order in which they came, for when the ring has room again. */
  #pending: PendingCompletion[] = []
  #turnedAway = false
  #open = true
  #drained: (() => void)[] = []
  readonly #request: ScsiRequest
  /** Where completions are built; a ring takes a copy. */
  readonly #scratch: Uint8Array = new Uint8Array(PACKET_SIZE)
  readonly #header: PacketHeader
  readonly #result: ScsiRequest

  constructor(host: ChannelHost, channel: VmbusChannel) {
    this.#host = host
    this.#channel = channel
    this.#memory = channel.memory
    const view = new DataView(this.#scratch.buffer)
    this.#request = new ScsiRequest(view)
    this.#header = new PacketHeader(view)
    this.#result = new ScsiRequest(view, PacketHeader.size)
  }

  get index(): number {
    return this.#channel.subChannelIndex
  }

  /** Requests in service. */
  get inFlight(): number {
    return this.#inFlight
  }

  receive(packet: VmbusPacket): boolean {
    // A completion answers nothing that was asked.
    if (packet.type !== VMBUS_PACKET.IN_BAND && packet.type !== VMBUS_PACKET.GPA_DIRECT) return true
    // Whoever wants no completion cannot be told anything: there is no operation without an answer.
    if ((packet.flags & VMBUS_COMPLETION_REQUESTED) === 0) return true
    // Completions go out in order; and what comes in while they wait would only make more of them.
    if (this.#host.stopped || this.#pending.length > 0) return this.#refuse()
    if (packet.payloadLength < PacketHeader.size)
      return this.#answer(packet, PacketHeader.size, VSTOR_STATUS.INVALID_PARAMETER)
    const { view, payloadOffset } = packet
    const operation = view.getUint32(payloadOffset, true)
    const body = payloadOffset + PacketHeader.size
    const bodyLength = packet.payloadLength - PacketHeader.size
    // Whatever the version: packets that set it up come at the largest size, and answers have the size of what they answer.
    const length = Math.min(packet.payloadLength, PACKET_SIZE)
    switch (operation) {
      case VSTOR_OPERATION.EXECUTE_SRB:
        if (this.#host.negotiation.phase !== PHASE.READY)
          return this.#answer(packet, length, VSTOR_STATUS.INVALID_DEVICE_STATE)
        if (bodyLength < ScsiRequest.offsets.data + SENSE_BUFFER_SIZE)
          return this.#answer(packet, length, VSTOR_STATUS.INVALID_PARAMETER)
        return this.#execute(packet, length, body)
      case VSTOR_OPERATION.RESET_LUN:
      case VSTOR_OPERATION.RESET_BUS:
      case VSTOR_OPERATION.RESET_ADAPTER:
        if (this.#host.negotiation.phase !== PHASE.READY)
          return this.#answer(packet, length, VSTOR_STATUS.INVALID_DEVICE_STATE)
        if (operation === VSTOR_OPERATION.RESET_LUN && bodyLength <= ScsiRequest.offsets.lun)
          return this.#answer(packet, length, VSTOR_STATUS.INVALID_PARAMETER)
        return this.#reset(packet, length, operation, body)
      default:
        return this.#negotiate(packet, length, operation, body, bodyLength)
    }
  }

  #refuse(): false {
    this.#turnedAway = true
    return false
  }

  // ── setting up ──

  #negotiate(packet: VmbusPacket, length: number, operation: number, body: number, bodyLength: number): boolean {
    const { negotiation, maximumSubChannels } = this.#host
    if (this.index !== 0) return this.#answer(packet, length, VSTOR_STATUS.INVALID_DEVICE_STATE)
    let argument = 0
    if (operation === VSTOR_OPERATION.QUERY_PROTOCOL_VERSION || operation === VSTOR_OPERATION.CREATE_SUB_CHANNELS) {
      if (bodyLength < 2) return this.#answer(packet, length, VSTOR_STATUS.INVALID_PARAMETER)
      argument = packet.view.getUint16(body, true)
    }
    const status = statusOf(negotiation, operation, argument, maximumSubChannels)
    this.#begin(status)
    if (operation === VSTOR_OPERATION.QUERY_PROTOCOL_VERSION)
      new ProtocolVersion(this.#header.view, PacketHeader.size).majorMinor = argument
    if (operation === VSTOR_OPERATION.QUERY_PROPERTIES && status === VSTOR_STATUS.SUCCESS) {
      const properties = new ChannelProperties(this.#header.view, PacketHeader.size)
      const { isIde } = this.#host
      const multiple = hasSubChannels(negotiation.version) && !isIde
      properties.maximumSubChannelCount = multiple ? maximumSubChannels : 0
      properties.flags = isIde ? EMULATED_IDE : multiple ? SUPPORTS_MULTI_CHANNEL : 0
      properties.maximumTransferBytes = this.#host.maximumTransferBytes
    }
    if (operation === VSTOR_OPERATION.CREATE_SUB_CHANNELS && status === VSTOR_STATUS.SUCCESS) {
      const offered = this.#channel.offerSubChannels(argument)
      new CreateSubChannels(this.#header.view, PacketHeader.size).subChannelCount = offered
    }
    if (!this.#channel.complete(packet.transactionLow, packet.transactionHigh, this.#scratch, 0, length))
      return this.#refuse()
    if (status === VSTOR_STATUS.SUCCESS) advance(negotiation, operation, argument)
    return true
  }

  /** Begin a completion without a body. */
  #begin(status: number): void {
    this.#scratch.fill(0)
    this.#header.operation = VSTOR_OPERATION.COMPLETE_IO
    this.#header.status = status
  }

  #answer(packet: VmbusPacket, length: number, status: number): boolean {
    this.#begin(status)
    return (
      this.#channel.complete(packet.transactionLow, packet.transactionHigh, this.#scratch, 0, length) || this.#refuse()
    )
  }

  // ── requests ──

  #take(packet: VmbusPacket, length: number, operation: number): GuestRequest | undefined {
    let request = this.#idle.pop()
    if (request === undefined) {
      if (this.#requests >= this.#host.queueDepth) return undefined
      this.#requests++
      request = new GuestRequest(this.#channel.createBuffer(), (done) => this.#completed(done))
    }
    request.transactionLow = packet.transactionLow
    request.transactionHigh = packet.transactionHigh
    request.responseLength = length
    request.operation = operation
    this.#inFlight++
    return request
  }

  #execute(packet: VmbusPacket, length: number, body: number): boolean {
    const request = this.#take(packet, length, VSTOR_OPERATION.EXECUTE_SRB)
    if (request === undefined) return this.#refuse()
    const { command } = request
    const srb = this.#request.attach(packet.view, body)
    request.pathId = srb.pathId
    request.targetId = srb.targetId
    request.lun = srb.lun
    const cdb = body + ScsiRequest.offsets.data
    for (let i = 0; i < command.cdb.length; i++) command.cdb[i] = packet.bytes[cdb + i] as number
    command.initiator = this.#host.initiator
    const dataIn = srb.dataIn
    command.direction =
      dataIn === SRB_DATA.WRITE ? DIRECTION.OUT : dataIn === SRB_DATA.READ ? DIRECTION.IN : DIRECTION.ANY
    const wanted = srb.dataTransferLength
    command.segments.length = 0
    command.length = 0
    if (srb.cdbLength > command.cdb.length || wanted > packet.buffer.byteLength) {
      command.fail(SENSE.INVALID_FIELD_IN_CDB)
    } else {
      let mapped = true
      if (wanted > 0) {
        request.buffer.copyFrom(packet.buffer)
        mapped = request.map(this.#memory, wanted, command.direction)
      }
      if (mapped) {
        const { isIde, target: units, nothing } = this.#host
        const target = isIde || (request.pathId === 0 && request.targetId === 0) ? units : nothing
        // Also what is done already is complete a moment later: a guest that sends more has one interrupt for all of it.
        const running = target.execute(request.lun, command) ?? DONE
        void running.then(request.completed)
        return true
      }
      command.fail(SENSE.INVALID_FIELD_IN_CDB)
    }
    this.#completed(request)
    return true
  }

  /** RESET_LUN, RESET_BUS and RESET_ADAPTER: answered when what was under way is complete. */
  #reset(packet: VmbusPacket, length: number, operation: number, body: number): boolean {
    const request = this.#take(packet, length, operation)
    if (request === undefined) return this.#refuse()
    request.command.segments.length = 0
    request.command.length = 0
    const lun =
      operation === VSTOR_OPERATION.RESET_LUN ? packet.view.getUint8(body + ScsiRequest.offsets.lun) : undefined
    const sense =
      operation === VSTOR_OPERATION.RESET_LUN
        ? SENSE.DEVICE_RESET_OCCURRED
        : operation === VSTOR_OPERATION.RESET_BUS
          ? SENSE.BUS_RESET_OCCURRED
          : SENSE.RESET_OCCURRED
    void this.#host.target.reset(sense, lun).then(request.completed)
    return true
  }

  #completed(request: GuestRequest): void {
    const { command } = request
    if (request.operation === VSTOR_OPERATION.EXECUTE_SRB) {
      if (this.#open && command.length > 0 && command.direction !== DIRECTION.OUT) request.announceWrites(this.#memory)
      if (command.fault !== undefined) this.#host.fault(request.lun, command)
      this.#buildResult(request)
    } else this.#begin(VSTOR_STATUS.SUCCESS)
    this.#inFlight--
    command.segments.length = 0
    this.#idle.push(request)
    if (this.#open) {
      const { transactionLow, transactionHigh, responseLength } = request
      if (
        this.#pending.length > 0 ||
        !this.#channel.complete(transactionLow, transactionHigh, this.#scratch, 0, responseLength)
      )
        this.#pending.push({ transactionLow, transactionHigh, bytes: this.#scratch.slice(0, responseLength) })
      else this.#resume()
    }
    if (this.#inFlight > 0 || this.#drained.length === 0) return
    const waiting = this.#drained
    this.#drained = []
    for (const resolve of waiting) resolve()
  }

  /** Build the completion of a SCSI request. */
  #buildResult(request: GuestRequest): void {
    const { command } = request
    const absent =
      command.status === SCSI_STATUS.CHECK_CONDITION && command.sense[12] === SENSE.LOGICAL_UNIT_NOT_SUPPORTED.asc
    this.#begin(vstorStatus(command, absent))
    const result = this.#result
    result.length = requestSize(this.#host.negotiation.version)
    result.srbStatus = srbStatus(command, absent)
    result.scsiStatus = command.status
    result.pathId = request.pathId
    result.targetId = request.targetId
    result.lun = request.lun
    result.cdbLength = command.cdb.length
    result.senseInfoLength = SENSE_BUFFER_SIZE
    result.dataTransferLength = command.transferred
    if (command.senseLength > 0 && !absent)
      this.#scratch.set(command.sense, PacketHeader.size + ScsiRequest.offsets.data)
  }

  /** Take packets again that were turned away. */
  #resume(): void {
    if (!this.#turnedAway || this.#host.stopped || this.#pending.length > 0) return
    this.#turnedAway = false
    this.#channel.resume()
  }

  writable(): void {
    this.#flushPending()
  }

  #flushPending(): void {
    let sent = 0
    for (const { transactionLow, transactionHigh, bytes } of this.#pending) {
      if (!this.#channel.complete(transactionLow, transactionHigh, bytes)) break
      sent++
    }
    this.#pending.splice(0, sent)
    this.#resume()
  }

  /** The list of units is another: the guest is to look. False: no room in the ring, try again. */
  enumerateBus(): boolean {
    const { negotiation } = this.#host
    if (negotiation.phase !== PHASE.READY || negotiation.version < VMSTOR_VERSION.V4_2) return true
    this.#begin(VSTOR_STATUS.SUCCESS)
    this.#header.operation = VSTOR_OPERATION.ENUMERATE_BUS
    return this.#channel.send(this.#scratch, 0, PacketHeader.size + requestSize(negotiation.version))
  }

  /** The VM runs (again). */
  start(): void {
    this.#channel.cork()
    this.#flushPending()
    this.#channel.uncork()
  }

  /** Resolves when no request is in service. */
  drain(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => this.#drained.push(resolve))
  }

  close(): Promise<void> {
    this.#open = false
    this.#pending = []
    this.#host.closed(this)
    return this.drain()
  }

  /** What a saved state carries of the channel. */
  savePending(): readonly PendingCompletion[] {
    return this.#pending
  }

  /** Take over what {@link StorageChannel.savePending} gave; it goes out when the VM starts. */
  restorePending(pending: readonly PendingCompletion[]): void {
    this.#pending = [...pending]
  }
}

function srbStatus(command: ScsiCommand, absent: boolean): number {
  switch (command.status) {
    case SCSI_STATUS.GOOD:
      return SRB_STATUS.SUCCESS
    case SCSI_STATUS.CHECK_CONDITION:
      return absent ? SRB_STATUS.INVALID_LUN : SRB_STATUS.ERROR | SRB_STATUS.AUTOSENSE_VALID
    case SCSI_STATUS.BUSY:
      return SRB_STATUS.BUSY
    case SCSI_STATUS.TASK_ABORTED:
      return SRB_STATUS.ABORTED
    default:
      return SRB_STATUS.ERROR
  }
}

function vstorStatus(command: ScsiCommand, absent: boolean): number {
  switch (command.status) {
    case SCSI_STATUS.GOOD:
      return VSTOR_STATUS.SUCCESS
    case SCSI_STATUS.BUSY:
      return VSTOR_STATUS.DEVICE_BUSY
    case SCSI_STATUS.TASK_ABORTED:
      return VSTOR_STATUS.CANCELLED
    default:
      return absent ? VSTOR_STATUS.DEVICE_DOES_NOT_EXIST : VSTOR_STATUS.IO_DEVICE_ERROR
  }
}
