// The fields of a TCP header (RFC 9293, 3.1) and its options MSS and window scale (RFC 7323).

import { getU16, getU32, putU16, putU32 } from '@partita/ethernet'

/** Bits of the header. */
export const TCP_FLAG = { FIN: 0x01, SYN: 0x02, RST: 0x04, PSH: 0x08, ACK: 0x10 } as const
/** Bytes of a header without options. */
export const TCP_HEADER_LENGTH = 20
const OPTION = { END: 0, NOTHING: 1, MSS: 2, WINDOW_SCALE: 3 } as const
/** RFC 9293, 3.7.1: without the option. */
const DEFAULT_MSS_4 = 536
const DEFAULT_MSS_6 = 1220
const SMALLEST_MSS = 64
const LARGEST_SCALE = 14

/** A received header. One object serves all. */
export class TcpSegment {
  sequence = 0
  acknowledgement = 0
  flags = 0
  window = 0
  /** Of a SYN: bytes of payload that the other side takes in a segment. */
  mss = 0
  /** Of a SYN: the shift of its windows; -1 without the option. */
  windowScale = -1

  /** Read the header at `at`, whose options end at `payload`. */
  parse(bytes: Uint8Array, at: number, payload: number, version: 4 | 6): void {
    this.sequence = getU32(bytes, at + 4)
    this.acknowledgement = getU32(bytes, at + 8)
    this.flags = bytes[at + 13] as number
    this.window = getU16(bytes, at + 14)
    this.mss = version === 4 ? DEFAULT_MSS_4 : DEFAULT_MSS_6
    this.windowScale = -1
    if ((this.flags & TCP_FLAG.SYN) !== 0) this.#parseOptions(bytes, at + TCP_HEADER_LENGTH, payload)
  }

  #parseOptions(bytes: Uint8Array, begin: number, end: number): void {
    for (let at = begin; at < end; ) {
      const kind = bytes[at] as number
      if (kind === OPTION.END) return
      if (kind === OPTION.NOTHING) {
        at++
        continue
      }
      const length = at + 1 < end ? (bytes[at + 1] as number) : 0
      if (length < 2 || at + length > end) return
      if (kind === OPTION.MSS && length === 4) this.mss = Math.max(SMALLEST_MSS, getU16(bytes, at + 2))
      else if (kind === OPTION.WINDOW_SCALE && length === 3)
        this.windowScale = Math.min(LARGEST_SCALE, bytes[at + 2] as number)
      at += length
    }
  }
}

/** What a header is made of. */
export interface TcpHeader {
  readonly sourcePort: number
  readonly destinationPort: number
  readonly sequence: number
  readonly acknowledgement: number
  readonly flags: number
  readonly window: number
}

/** Store a header without options. */
export function writeTcpHeader(bytes: Uint8Array, at: number, header: TcpHeader): void {
  putU16(bytes, at, header.sourcePort)
  putU16(bytes, at + 2, header.destinationPort)
  putU32(bytes, at + 4, header.sequence)
  putU32(bytes, at + 8, header.acknowledgement)
  bytes[at + 12] = (TCP_HEADER_LENGTH / 4) << 4
  bytes[at + 13] = header.flags
  putU16(bytes, at + 14, header.window)
  putU32(bytes, at + 16, 0)
}

/** Store the options of a SYN behind its header; returns the length of the header with them. */
export function writeSynOptions(bytes: Uint8Array, at: number, mss: number, windowScale: number): number {
  const options = at + TCP_HEADER_LENGTH
  bytes[options] = OPTION.MSS
  bytes[options + 1] = 4
  putU16(bytes, options + 2, mss)
  let length = TCP_HEADER_LENGTH + 4
  if (windowScale >= 0) {
    bytes[options + 4] = OPTION.NOTHING
    bytes[options + 5] = OPTION.WINDOW_SCALE
    bytes[options + 6] = 3
    bytes[options + 7] = windowScale
    length += 4
  }
  bytes[at + 12] = (length / 4) << 4
  return length
}

/** `a - b` of sequence numbers: negative when `a` is before `b`. */
export function sequenceDistance(a: number, b: number): number {
  return (a - b) | 0
}

/** `a + count` of sequence numbers. */
export function sequenceAfter(a: number, count: number): number {
  return (a + count) >>> 0
}
