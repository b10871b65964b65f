// The way to the guest: frames of the network become RNDIS data messages in sections of the receive buffer. Nothing is allocated for a frame.

import { FrameHeaders, finishedChecksum, IP_PROTOCOL, putU16, readMacAddress, Segmenter } from '@partita/ethernet'
import { ETHERNET_HEADER_LENGTH, FRAME_FLAG, type NetworkFrame } from '@partita/interface'
import { RSS_HASH } from '../protocol/ndis.ts'
import {
  PACKET_ID_VERSION,
  PACKET_PART,
  PER_PACKET_INFO,
  PER_PACKET_INFO_SIZE,
  RNDIS_HEADER_SIZE,
  RNDIS_MESSAGE,
  RNDIS_PACKET_SIZE,
  RX_CHECKSUM,
} from '../protocol/rndis.ts'
import { type AdapterState, RX_OFFLOAD } from './adapter-state.ts'
import type { OutgoingPacket } from './outgoing-packet.ts'
import type { ReceiveBuffer } from './receive-buffer.ts'
import { count } from './statistics.ts'

/** What became of a frame. */
export const RECEIVED = { TAKEN: 0, NO_SECTIONS: 1, RING_FULL: 2 } as const

const GSO = FRAME_FLAG.GSO_TCP4 | FRAME_FLAG.GSO_TCP6
const CHECKED = FRAME_FLAG.CHECKSUM_PARTIAL | FRAME_FLAG.CHECKSUM_VALID
const INFO = PER_PACKET_INFO_SIZE + 4
const HEADERS = RNDIS_HEADER_SIZE + RNDIS_PACKET_SIZE
/** All per-packet information that a message may have. */
const LONGEST_HEADERS = HEADERS + 5 * INFO
/** Ethernet, IPv6 and TCP: what tells one large frame of a connection from the next. */
const HEADER_COMPARED = 74
const ALL_PARTS = PACKET_PART.FIRST | PACKET_PART.LAST

/** Turns frames into messages. One serves all channels of an adapter. */
export class ReceivePath {
  readonly #state: AdapterState
  readonly #headers: FrameHeaders = new FrameHeaders()
  readonly #segmenter: Segmenter = new Segmenter()
  readonly #bytes: Uint8Array = new Uint8Array(LONGEST_HEADERS)
  readonly #view: DataView = new DataView(this.#bytes.buffer)
  readonly #checksum: Uint8Array = new Uint8Array(2)
  #at = 0
  #packetId = 0
  /** The large frame of which the guest has a part: how many segments, in which buffer, how long it is, and how it begins. */
  #taken = 0
  #takenIn: ReceiveBuffer | undefined
  #takenLength = 0
  readonly #takenHeader: Uint8Array = new Uint8Array(HEADER_COMPARED)

  constructor(state: AdapterState) {
    this.#state = state
  }

  /**
   * Take a frame that the guest wants. `packetOf` gives the packet under way of the channel that serves a queue.
   */
  receive(frame: NetworkFrame, buffer: ReceiveBuffer, packetOf: (queue: number) => OutgoingPacket): number {
    const { bytes, start, end, flags } = frame
    const headers = this.#headers
    const { statistics } = this.#state
    headers.parse(bytes, start, end)
    const queue = this.#state.scaling.queueOf(bytes, headers)
    const packet = packetOf(queue)
    let result: number
    if ((flags & GSO) === 0) result = this.#single(frame, buffer, packet)
    else if (headers.ipVersion === 4 ? this.#state.coalesceIp4 : this.#state.coalesceIp6)
      result = this.#coalesced(frame, buffer, packet)
    else result = this.#segmented(frame, buffer, packet)
    if (result === RECEIVED.NO_SECTIONS) statistics.receiveNoBuffer++
    else if (result === RECEIVED.TAKEN) count(statistics.received, readMacAddress(bytes, start), end - start)
    // A frame that the guest's sections are too small for, or that is not what it says.
    if (result >= 0) return result
    statistics.receiveErrors++
    return RECEIVED.TAKEN
  }

  #single(frame: NetworkFrame, buffer: ReceiveBuffer, packet: OutgoingPacket): number {
    const { bytes, start, end, flags } = frame
    if (end - start < ETHERNET_HEADER_LENGTH) return -1
    this.#begin(frame, 0)
    if (this.#at + end - start > buffer.capacity) return -1
    const refused = this.#reserve(1, buffer, packet)
    if (refused !== RECEIVED.TAKEN) return refused
    const section = buffer.take()
    const place = buffer.place(section)
    this.#finish(end - start)
    buffer.map.write(place, this.#bytes, 0, this.#at)
    buffer.map.write(place + this.#at, bytes, start, end)
    if ((flags & FRAME_FLAG.CHECKSUM_PARTIAL) !== 0) {
      // The frame is its sender's: the checksum is put into the guest's copy.
      putU16(this.#checksum, 0, finishedChecksum(frame))
      buffer.map.write(place + this.#at + frame.checksumOffset, this.#checksum, 0, 2)
    }
    packet.add(section, this.#at + end - start)
    return RECEIVED.TAKEN
  }

  /** For a guest without coalescing, or without sections enough for it: as many frames as there are segments. */
  #segmented(frame: NetworkFrame, buffer: ReceiveBuffer, packet: OutgoingPacket): number {
    const segmenter = this.#segmenter
    const segments = segmenter.begin(frame)
    if (segments === 0) return -1
    this.#begin(frame, 0)
    if (this.#at + segmenter.headerLength + Math.min(frame.gsoSize, frame.end - frame.start) > buffer.capacity)
      return -1
    if (segments > Math.min(buffer.sectionCount >>> 1, packet.capacity))
      return this.#oneByOne(frame, segments, buffer, packet)
    const refused = this.#reserve(segments, buffer, packet)
    if (refused !== RECEIVED.TAKEN) return refused
    while (segmenter.next()) this.#segment(frame, buffer, packet)
    return RECEIVED.TAKEN
  }

  /** A frame that will never have room at once: the guest gets as many of its segments as there is room for now, and the others when the frame comes again. */
  #oneByOne(frame: NetworkFrame, segments: number, buffer: ReceiveBuffer, packet: OutgoingPacket): number {
    if (!this.#isKnown(frame, buffer)) this.#remember(frame, buffer)
    this.#segmenter.begin(frame, this.#taken)
    for (; this.#taken < segments; this.#taken++) {
      const refused = this.#reserve(1, buffer, packet)
      if (refused !== RECEIVED.TAKEN) return refused
      this.#segmenter.next()
      this.#segment(frame, buffer, packet)
    }
    this.#takenIn = undefined
    return RECEIVED.TAKEN
  }

  #isKnown({ bytes, start, end }: NetworkFrame, buffer: ReceiveBuffer): boolean {
    if (this.#takenIn !== buffer || this.#takenLength !== end - start) return false
    for (let i = 0; i < HEADER_COMPARED; i++) if (this.#takenHeader[i] !== (bytes[start + i] ?? 0)) return false
    return true
  }

  #remember({ bytes, start, end }: NetworkFrame, buffer: ReceiveBuffer): void {
    this.#taken = 0
    this.#takenIn = buffer
    this.#takenLength = end - start
    for (let i = 0; i < HEADER_COMPARED; i++) this.#takenHeader[i] = bytes[start + i] ?? 0
  }

  /** The segment that the segmenter has made, as a message with what was begun. There is room for it. */
  #segment(frame: NetworkFrame, buffer: ReceiveBuffer, packet: OutgoingPacket): void {
    const { headerLength, payloadStart, payloadEnd, header } = this.#segmenter
    const length = headerLength + payloadEnd - payloadStart
    const section = buffer.take()
    const place = buffer.place(section)
    this.#finish(length)
    buffer.map.write(place, this.#bytes, 0, this.#at)
    buffer.map.write(place + this.#at, header, 0, headerLength)
    buffer.map.write(place + this.#at + headerLength, frame.bytes, payloadStart, payloadEnd)
    packet.add(section, this.#at + length)
  }

  /** One packet in several parts, which the guest puts together. Its TCP checksum is made by nobody. */
  #coalesced(frame: NetworkFrame, buffer: ReceiveBuffer, packet: OutgoingPacket): number {
    const { bytes, start, end } = frame
    // As large as the first part's headers, for all.
    const part = buffer.capacity - LONGEST_HEADERS
    const parts = Math.ceil((end - start) / part)
    if (parts > Math.min(buffer.sectionCount >>> 1, packet.capacity)) return this.#segmented(frame, buffer, packet)
    const refused = this.#reserve(parts, buffer, packet)
    if (refused !== RECEIVED.TAKEN) return refused
    this.#packetId = (this.#packetId + 1) & 0xffff
    for (let index = 0; index < parts; index++) {
      const from = start + index * part
      const to = Math.min(end, from + part)
      const flags =
        parts === 1 ? ALL_PARTS : index === 0 ? PACKET_PART.FIRST : index === parts - 1 ? PACKET_PART.LAST : 0
      if (index === 0) this.#begin(frame, RX_CHECKSUM.TCP_VALUE_INVALID)
      else this.#at = HEADERS
      this.#info(
        PER_PACKET_INFO.PACKET_ID,
        PACKET_ID_VERSION | ((flags | PACKET_PART.SUB_ALLOCATION) << 8) | (this.#packetId << 16),
      )
      this.#finish(to - from)
      const section = buffer.take()
      const place = buffer.place(section)
      buffer.map.write(place, this.#bytes, 0, this.#at)
      buffer.map.write(place + this.#at, bytes, from, to)
      packet.add(section, this.#at + to - from)
    }
    this.#state.statistics.coalesced++
    return RECEIVED.TAKEN
  }

  /** Have room for so many messages, all in one packet. */
  #reserve(messages: number, buffer: ReceiveBuffer, packet: OutgoingPacket): number {
    if (!packet.reserve(messages)) return RECEIVED.RING_FULL
    return buffer.available >= messages ? RECEIVED.TAKEN : RECEIVED.NO_SECTIONS
  }

  /** Begin a message with the frame's per-packet information. */
  #begin(frame: NetworkFrame, checksum: number): void {
    const { scaling } = this.#state
    this.#at = HEADERS
    if ((frame.flags & CHECKED) !== 0) this.#checksumInfo(checksum)
    if (scaling.hashType !== 0) {
      this.#info(PER_PACKET_INFO.HASH_VALUE, scaling.hash)
      this.#info(PER_PACKET_INFO.HASH_INFO, RSS_HASH.TOEPLITZ | scaling.hashType)
    }
    if ((frame.flags & FRAME_FLAG.VLAN) !== 0) {
      const { vlan } = frame
      this.#info(PER_PACKET_INFO.IEEE_8021Q, (vlan >>> 13) | ((vlan >>> 9) & 8) | ((vlan & 0xfff) << 4))
    }
  }

  #checksumInfo(more: number): void {
    const { ipVersion, protocol, payload } = this.#headers
    const { rxOffload } = this.#state
    let bits = 0
    if (payload > 0 && protocol === IP_PROTOCOL.TCP) {
      if ((rxOffload & (ipVersion === 4 ? RX_OFFLOAD.TCP4 : RX_OFFLOAD.TCP6)) !== 0) bits = RX_CHECKSUM.TCP_SUCCEEDED
    } else if (payload > 0 && protocol === IP_PROTOCOL.UDP) {
      if ((rxOffload & (ipVersion === 4 ? RX_OFFLOAD.UDP4 : RX_OFFLOAD.UDP6)) !== 0) bits = RX_CHECKSUM.UDP_SUCCEEDED
    }
    if (ipVersion === 4 && (rxOffload & RX_OFFLOAD.IP4) !== 0) bits |= RX_CHECKSUM.IP_SUCCEEDED
    // A driver that coalesces cannot look at a checksum that is not there.
    if (more !== 0) bits |= more | RX_CHECKSUM.TCP_SUCCEEDED
    if (bits !== 0) this.#info(PER_PACKET_INFO.CHECKSUM, bits)
  }

  #info(type: number, value: number): void {
    const view = this.#view
    const at = this.#at
    view.setUint32(at, INFO, true)
    view.setUint32(at + 4, type, true)
    view.setUint32(at + 8, PER_PACKET_INFO_SIZE, true)
    view.setUint32(at + 12, value, true)
    this.#at = at + INFO
  }

  /** Fill in the headers of a message with `length` bytes of data behind the information. */
  #finish(length: number): void {
    const view = this.#view
    const info = this.#at - HEADERS
    view.setUint32(0, RNDIS_MESSAGE.PACKET, true)
    view.setUint32(4, this.#at + length, true)
    view.setUint32(8, RNDIS_PACKET_SIZE + info, true)
    view.setUint32(12, length, true)
    view.setUint32(28, info === 0 ? 0 : RNDIS_PACKET_SIZE, true)
    view.setUint32(32, info, true)
  }
}
