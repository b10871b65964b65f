// RNDIS control messages: one request, at most one answer. Pure: it knows no channel.

import { ETHERNET_HEADER_LENGTH } from '@partita/interface'
import {
  RNDIS_CONNECTIONLESS,
  RNDIS_HEADER_SIZE,
  RNDIS_MAJOR_VERSION,
  RNDIS_MESSAGE,
  RNDIS_MINOR_VERSION,
  RNDIS_STATUS,
  RNDIS_STATUS_COMPLETE_SIZE,
  RndisComplete,
  RndisHeader,
  RndisIndicateStatus,
  RndisInitialize,
  RndisInitializeComplete,
  RndisRequest,
  RndisResetComplete,
} from '../protocol/rndis.ts'
import type { AdapterState } from './adapter-state.ts'
import { MAXIMUM_ANSWER, queryOid, setOid } from './oids.ts'

/** Data messages in one packet of the guest. */
const MAXIMUM_PACKETS_PER_MESSAGE = 8
/** Data messages of a packet begin at multiples of 2 to this power. */
const PACKET_ALIGNMENT = 3
/** Bytes of the longest answer. */
const MAXIMUM_CONTROL_ANSWER: number = RndisComplete.size + MAXIMUM_ANSWER
/** Bytes of data messages in one packet of the guest. */
export const MAXIMUM_TRANSFER = 0x4_0000

/** Serves requests for one adapter. */
export class ControlPath {
  /** The answer, in the first bytes. */
  readonly answer: Uint8Array = new Uint8Array(MAXIMUM_CONTROL_ANSWER)
  readonly #view: DataView = new DataView(this.answer.buffer)
  readonly #state: AdapterState

  constructor(state: AdapterState) {
    this.#state = state
  }

  /** Serve a request. Returns the length of the answer, or 0 when there is none. What makes no sense at all is ignored. */
  serve(message: Uint8Array): number {
    if (message.length < RNDIS_HEADER_SIZE) return 0
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
    const { messageType, messageLength } = new RndisHeader(view)
    if (messageLength < RNDIS_HEADER_SIZE + 4 || messageLength > message.length) return 0
    const requestId = view.getUint32(RNDIS_HEADER_SIZE, true)
    switch (messageType) {
      case RNDIS_MESSAGE.INITIALIZE:
        return messageLength < RndisInitialize.size ? 0 : this.#initialize(new RndisInitialize(view))
      case RNDIS_MESSAGE.HALT:
        this.#state.halt()
        return 0
      case RNDIS_MESSAGE.QUERY:
        return messageLength < RndisRequest.size ? 0 : this.#query(view, messageLength)
      case RNDIS_MESSAGE.SET:
        return messageLength < RndisRequest.size ? 0 : this.#set(view, messageLength)
      case RNDIS_MESSAGE.SET_EX:
        return this.#complete(RNDIS_MESSAGE.SET_EX_COMPLETE, requestId, RNDIS_STATUS.NOT_SUPPORTED, 0)
      case RNDIS_MESSAGE.KEEPALIVE:
        return this.#status(RNDIS_MESSAGE.KEEPALIVE_COMPLETE, requestId, RNDIS_STATUS.SUCCESS)
      case RNDIS_MESSAGE.RESET:
        return this.#reset()
      default:
        return 0
    }
  }

  #initialize(request: RndisInitialize): number {
    const answer = new RndisInitializeComplete(this.#view)
    const good = request.majorVersion === RNDIS_MAJOR_VERSION
    this.answer.fill(0, 0, RndisInitializeComplete.size)
    answer.messageType = RNDIS_MESSAGE.INITIALIZE_COMPLETE
    answer.messageLength = RndisInitializeComplete.size
    answer.requestId = request.requestId
    answer.status = good ? RNDIS_STATUS.SUCCESS : RNDIS_STATUS.BAD_VERSION
    answer.majorVersion = RNDIS_MAJOR_VERSION
    answer.minorVersion = RNDIS_MINOR_VERSION
    answer.deviceFlags = RNDIS_CONNECTIONLESS
    answer.maximumPacketsPerMessage = MAXIMUM_PACKETS_PER_MESSAGE
    answer.maximumTransferSize = MAXIMUM_TRANSFER
    answer.packetAlignmentFactor = PACKET_ALIGNMENT
    if (good) this.#state.initialized = true
    return RndisInitializeComplete.size
  }

  #query(view: DataView, messageLength: number): number {
    const { requestId, oid, informationLength, informationOffset } = new RndisRequest(view)
    if (!this.#state.initialized)
      return this.#complete(RNDIS_MESSAGE.QUERY_COMPLETE, requestId, RNDIS_STATUS.ADAPTER_NOT_READY, 0)
    // An object in the question says which revision of it the driver knows, in its second byte.
    const at = RNDIS_HEADER_SIZE + informationOffset
    const asked = informationLength >= 4 && at + informationLength <= messageLength ? view.getUint8(at + 1) : 0
    const length = queryOid(this.#state, oid, this.#view, RndisComplete.size, asked)
    return length < 0
      ? this.#complete(RNDIS_MESSAGE.QUERY_COMPLETE, requestId, RNDIS_STATUS.NOT_SUPPORTED, 0)
      : this.#complete(RNDIS_MESSAGE.QUERY_COMPLETE, requestId, RNDIS_STATUS.SUCCESS, length)
  }

  #set(view: DataView, messageLength: number): number {
    const { requestId, oid, informationLength, informationOffset } = new RndisRequest(view)
    const at = RNDIS_HEADER_SIZE + informationOffset
    const status = !this.#state.initialized
      ? RNDIS_STATUS.ADAPTER_NOT_READY
      : at + informationLength > messageLength
        ? RNDIS_STATUS.INVALID_LENGTH
        : setOid(this.#state, oid, view, at, informationLength)
    return this.#status(RNDIS_MESSAGE.SET_COMPLETE, requestId, status)
  }

  /** A soft reset: what the driver has set stays, as the answer says. */
  #reset(): number {
    const answer = new RndisResetComplete(this.#view)
    answer.messageType = RNDIS_MESSAGE.RESET_COMPLETE
    answer.messageLength = RndisResetComplete.size
    answer.status = RNDIS_STATUS.SUCCESS
    answer.addressingReset = 0
    return RndisResetComplete.size
  }

  #complete(messageType: number, requestId: number, status: number, length: number): number {
    const answer = new RndisComplete(this.#view)
    answer.messageType = messageType
    answer.messageLength = RndisComplete.size + length
    answer.requestId = requestId
    answer.status = status
    answer.informationLength = length
    answer.informationOffset = length === 0 ? 0 : RndisComplete.size - RNDIS_HEADER_SIZE
    return RndisComplete.size + length
  }

  #status(messageType: number, requestId: number, status: number): number {
    const answer = new RndisComplete(this.#view)
    answer.messageType = messageType
    answer.messageLength = RNDIS_STATUS_COMPLETE_SIZE
    answer.requestId = requestId
    answer.status = status
    return RNDIS_STATUS_COMPLETE_SIZE
  }

  /** An indication; with `value`, one word goes with it. Returns its length in `answer`. */
  indicate(status: number, value?: number): number {
    const answer = new RndisIndicateStatus(this.#view)
    const length = value === undefined ? 0 : 4
    answer.messageType = RNDIS_MESSAGE.INDICATE_STATUS
    answer.messageLength = RndisIndicateStatus.size + length
    answer.status = status
    answer.statusBufferLength = length
    answer.statusBufferOffset = length === 0 ? 0 : RndisIndicateStatus.size - RNDIS_HEADER_SIZE
    if (value !== undefined) this.#view.setUint32(RndisIndicateStatus.size, value, true)
    return RndisIndicateStatus.size + length
  }
}

/** The agreed MTU: what the driver's largest frame leaves for a packet, and no more than the network carries. */
export function agreedMtu(largestFrame: number, networkMtu: number): number {
  return Math.min(largestFrame - ETHERNET_HEADER_LENGTH, networkMtu)
}
