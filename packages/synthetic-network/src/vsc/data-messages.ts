// RNDIS data messages from the driver's side: what a frame becomes on its way out, and the frame that messages from the provider make up.

import { Frame, FrameHeaders, IP_PROTOCOL } from '@partita/ethernet'
import { FRAME_FLAG, MAXIMUM_FRAME_LENGTH, type NetworkFrame } from '@partita/interface'
import {
  LARGE_SEND_IPV6,
  LARGE_SEND_V2,
  PACKET_PART,
  PER_PACKET_INFO,
  PER_PACKET_INFO_SIZE,
  RNDIS_HEADER_SIZE,
  RNDIS_MESSAGE,
  RNDIS_PACKET_SIZE,
  RX_CHECKSUM,
  TX_CHECKSUM,
} from '../protocol/rndis.ts'

const HEADERS = RNDIS_HEADER_SIZE + RNDIS_PACKET_SIZE
const INFO = PER_PACKET_INFO_SIZE + 4
const GSO = FRAME_FLAG.GSO_TCP4 | FRAME_FLAG.GSO_TCP6
/** The longest headers of a message that is sent: checksum or large send, and a tag. */
export const LONGEST_TX_HEADERS: number = HEADERS + 2 * INFO

/** Builds the headers of a message for each frame. */
export class MessageBuilder {
  readonly bytes: Uint8Array = new Uint8Array(LONGEST_TX_HEADERS)
  readonly #view: DataView = new DataView(this.bytes.buffer)
  readonly #headers: FrameHeaders = new FrameHeaders()
  #at = 0

  /** Build the headers for a frame. Returns their length. */
  build(frame: NetworkFrame): number {
    const { flags } = frame
    const length = frame.end - frame.start
    this.#at = HEADERS
    if ((flags & FRAME_FLAG.VLAN) !== 0)
      this.#info(
        PER_PACKET_INFO.IEEE_8021Q,
        (frame.vlan >>> 13) | ((frame.vlan >>> 9) & 8) | ((frame.vlan & 0xfff) << 4),
      )
    if ((flags & GSO) !== 0) {
      const version6 = (flags & FRAME_FLAG.GSO_TCP6) !== 0 ? LARGE_SEND_IPV6 : 0
      this.#info(
        PER_PACKET_INFO.LARGE_SEND,
        (frame.gsoSize | (frame.checksumStart << 20) | LARGE_SEND_V2 | version6) >>> 0,
      )
    } else if ((flags & FRAME_FLAG.CHECKSUM_PARTIAL) !== 0) {
      this.#headers.parse(frame.bytes, frame.start, frame.end)
      this.#info(
        PER_PACKET_INFO.CHECKSUM,
        (this.#headers.ipVersion === 6 ? TX_CHECKSUM.IPV6 : TX_CHECKSUM.IPV4) |
          (this.#headers.protocol === IP_PROTOCOL.UDP ? TX_CHECKSUM.UDP : TX_CHECKSUM.TCP) |
          (frame.checksumStart << 16),
      )
    }
    const view = this.#view
    const info = this.#at - HEADERS
    view.setUint32(0, RNDIS_MESSAGE.PACKET, true)
    view.setUint32(4, this.#at + length, true)
    view.setUint32(8, RNDIS_PACKET_SIZE + info, true)
    view.setUint32(12, length, true)
    view.setUint32(28, info === 0 ? 0 : RNDIS_PACKET_SIZE, true)
    view.setUint32(32, info, true)
    return this.#at
  }

  #info(type: number, value: number): void {
    const view = this.#view
    view.setUint32(this.#at, INFO, true)
    view.setUint32(this.#at + 4, type, true)
    view.setUint32(this.#at + 8, PER_PACKET_INFO_SIZE, true)
    view.setUint32(this.#at + 12, value, true)
    this.#at += INFO
  }
}

/** What a message was. */
export const ASSEMBLED = { NOTHING: 0, FRAME: 1, BAD: 2 } as const

/** Makes frames of messages; those that come in parts are put together. One for each channel. */
export class FrameAssembler {
  /** The frame, after FRAME, until the next message. */
  readonly frame: Frame = new Frame()
  /** The hash that the provider computed, and its type; 0 where there is none. */
  hash = 0
  hashInfo = 0
  readonly #bytes: Uint8Array = new Uint8Array(MAXIMUM_FRAME_LENGTH)
  #length = 0
  #parts = false
  #packetId = 0

  /** Take the data message in `[0, length)` of `bytes`, a private copy. Everything is checked as if it were a stranger's. */
  add(bytes: Uint8Array, view: DataView, length: number): number {
    if (length < HEADERS) return ASSEMBLED.BAD
    const size = view.getUint32(4, true)
    const offset = view.getUint32(8, true)
    const data = view.getUint32(12, true)
    if (size < HEADERS || size > length || offset + data > size - RNDIS_HEADER_SIZE) return ASSEMBLED.BAD
    const infoOffset = view.getUint32(28, true)
    const infoLength = view.getUint32(32, true)
    if (infoLength > 0 && infoOffset + infoLength > size - RNDIS_HEADER_SIZE) return ASSEMBLED.BAD
    const frame = this.frame
    let flags = 0
    let vlan = 0
    let hash = 0
    let hashInfo = 0
    let part = 0
    const end = RNDIS_HEADER_SIZE + infoOffset + infoLength
    for (let at = RNDIS_HEADER_SIZE + infoOffset; infoLength > 0 && at < end; ) {
      if (end - at < PER_PACKET_INFO_SIZE) return ASSEMBLED.BAD
      const infoSize = view.getUint32(at, true)
      const valueAt = view.getUint32(at + 8, true)
      if (infoSize < PER_PACKET_INFO_SIZE || infoSize > end - at) return ASSEMBLED.BAD
      if (valueAt + 4 <= infoSize) {
        const value = view.getUint32(at + valueAt, true)
        switch (view.getUint32(at + 4, true)) {
          case PER_PACKET_INFO.CHECKSUM:
            if ((value & (RX_CHECKSUM.TCP_SUCCEEDED | RX_CHECKSUM.UDP_SUCCEEDED)) !== 0)
              flags |= FRAME_FLAG.CHECKSUM_VALID
            break
          case PER_PACKET_INFO.IEEE_8021Q:
            flags |= FRAME_FLAG.VLAN
            vlan = ((value & 7) << 13) | ((value & 8) << 9) | ((value >>> 4) & 0xfff)
            break
          case PER_PACKET_INFO.HASH_VALUE:
            hash = value
            break
          case PER_PACKET_INFO.HASH_INFO:
            hashInfo = value
            break
          case PER_PACKET_INFO.PACKET_ID:
            part = value >>> 8
            break
        }
      }
      at += infoSize
    }
    const from = RNDIS_HEADER_SIZE + offset
    if ((part & PACKET_PART.SUB_ALLOCATION) === 0) {
      this.#parts = false
      frame.plain(bytes, from, from + data)
    } else {
      const id = (part >>> 8) & 0xffff
      if ((part & PACKET_PART.FIRST) !== 0) {
        this.#parts = true
        this.#packetId = id
        this.#length = 0
        frame.plain(this.#bytes)
      } else if (!this.#parts || id !== this.#packetId) return ASSEMBLED.BAD
      if (this.#length + data > this.#bytes.length) {
        this.#parts = false
        return ASSEMBLED.BAD
      }
      this.#bytes.set(bytes.subarray(from, from + data), this.#length)
      this.#length += data
      if ((part & PACKET_PART.FIRST) === 0) {
        // What is known of the packet came with its first part.
        if ((part & PACKET_PART.LAST) === 0) return ASSEMBLED.NOTHING
        this.#parts = false
        frame.end = this.#length
        return ASSEMBLED.FRAME
      }
      frame.end = this.#length
    }
    frame.flags = flags
    frame.vlan = vlan
    this.hash = hash
    this.hashInfo = hashInfo
    if ((part & PACKET_PART.SUB_ALLOCATION) !== 0 && (part & PACKET_PART.LAST) === 0) return ASSEMBLED.NOTHING
    this.#parts = false
    return ASSEMBLED.FRAME
  }
}
