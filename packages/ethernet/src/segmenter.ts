// TCP segmentation: makes the segments of a frame with a GSO flag, each a header of its own and a part of the frame's payload.

import { FRAME_FLAG, type NetworkFrame } from '@partita/interface'
import { checksumOf, getU16, getU32, pseudoHeaderSum, putU16, putU32, storeIpv4Checksum, sumWords } from './checksum.ts'
import { FrameHeaders, IP_PROTOCOL } from './headers.ts'

/** The longest headers that are understood: Ethernet with two tags, IPv4 or IPv6 with options, TCP with options. */
export const MAXIMUM_HEADER_LENGTH = 512

const TCP_FIN = 0x01
const TCP_PSH = 0x08
const TCP_CWR = 0x80
const EMPTY: Uint8Array = new Uint8Array(0)

/**
 * Cuts a large TCP frame into segments. Headers are made in `header`; the payload stays where it is.
 *
 * @example
 * ```ts
 * for (let count = segmenter.begin(frame); count > 0; count--) {
 *   segmenter.next()
 *   send(segmenter.header.subarray(0, segmenter.headerLength), frame.bytes.subarray(segmenter.payloadStart, segmenter.payloadEnd))
 * }
 * ```
 */
export class Segmenter {
  /** The header of the segment, its checksums done. */
  readonly header: Uint8Array = new Uint8Array(MAXIMUM_HEADER_LENGTH)
  /** Bytes of the header. */
  headerLength = 0
  /** Where the segment's payload begins in the frame's bytes. */
  payloadStart = 0
  /** Where it ends: the index behind its last byte. */
  payloadEnd = 0
  readonly #headers: FrameHeaders = new FrameHeaders()
  #bytes: Uint8Array = EMPTY
  #frameStart = 0
  #gsoSize = 0
  #index = 0
  #count = 0
  #end = 0

  /**
   * Begin a frame; it must stay until its last segment is made. Returns how many segments there are, or 0 for a frame that is not what its flags say. `first`: the
   * number of the segment to begin with.
   */
  begin(frame: NetworkFrame, first = 0): number {
    const { bytes, start, end, gsoSize } = frame
    const headers = this.#headers
    const version = (frame.flags & FRAME_FLAG.GSO_TCP4) !== 0 ? 4 : 6
    this.#count = 0
    if (
      gsoSize === 0 ||
      !headers.parse(bytes, start, end) ||
      headers.ipVersion !== version ||
      headers.protocol !== IP_PROTOCOL.TCP ||
      headers.payload === 0 ||
      headers.fragment ||
      headers.payload - start > MAXIMUM_HEADER_LENGTH
    )
      return 0
    this.#bytes = bytes
    this.#frameStart = start
    this.#gsoSize = gsoSize
    this.#index = first
    this.#end = headers.packetEnd
    this.headerLength = headers.payload - start
    this.#count = Math.max(1, Math.ceil((headers.packetEnd - headers.payload) / gsoSize))
    return this.#count
  }

  /** Make the next segment. False when there is none. */
  next(): boolean {
    const index = this.#index
    if (index >= this.#count) return false
    this.#index = index + 1
    const bytes = this.#bytes
    const headers = this.#headers
    const { header, headerLength } = this
    const start = this.#frameStart
    for (let at = 0; at < headerLength; at++) header[at] = bytes[start + at] as number
    const offset = index * this.#gsoSize
    const last = index === this.#count - 1
    this.payloadStart = headers.payload + offset
    this.payloadEnd = last ? this.#end : this.payloadStart + this.#gsoSize
    const network = headers.network - start
    const tcp = headers.transport - start
    const tcpLength = headerLength - tcp + this.payloadEnd - this.payloadStart
    if (headers.ipVersion === 4) {
      putU16(header, network + 2, tcp - network + tcpLength)
      putU16(header, network + 4, (getU16(header, network + 4) + index) & 0xffff)
      storeIpv4Checksum(header, network, tcp - network)
    } else putU16(header, network + 4, tcp - network - 40 + tcpLength)
    putU32(header, tcp + 4, (getU32(header, tcp + 4) + offset) >>> 0)
    let flags = header[tcp + 13] as number
    if (!last) flags &= ~(TCP_FIN | TCP_PSH)
    if (index > 0) flags &= ~TCP_CWR
    header[tcp + 13] = flags
    putU16(header, tcp + 16, 0)
    // The addresses are the same in the frame. TCP headers are whole words, so the payload's words go on where theirs end.
    const sum = sumWords(header, tcp, headerLength, pseudoHeaderSum(bytes, headers, tcpLength))
    putU16(header, tcp + 16, checksumOf(sumWords(bytes, this.payloadStart, this.payloadEnd, sum)))
    return true
  }
}
