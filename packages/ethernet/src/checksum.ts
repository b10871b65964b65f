// The Internet checksum (RFC 1071): sums of big-endian words of 16 bits in one's complement. Sums are kept unfolded, as numbers, and folded once in the end.

import type { NetworkFrame } from '@partita/interface'
import { type FrameHeaders, IP_PROTOCOL } from './headers.ts'

/** Where the checksum stands in a UDP header; in a TCP header it stands at 16. */
const UDP_CHECKSUM = 6

/** The sum of the words in `[start, end)`, added to `sum`; an odd byte at the end is the high half of a word. Unfolded. */
export function sumWords(bytes: Uint8Array, start: number, end: number, sum = 0): number {
  let high = 0
  let low = 0
  let at = start
  // Two sums of bytes need no shifts.
  for (const last = end - 7; at < last; at += 8) {
    high += (bytes[at] as number) + (bytes[at + 2] as number) + (bytes[at + 4] as number) + (bytes[at + 6] as number)
    low += (bytes[at + 1] as number) + (bytes[at + 3] as number) + (bytes[at + 5] as number) + (bytes[at + 7] as number)
  }
  for (const last = end - 1; at < last; at += 2) {
    high += bytes[at] as number
    low += bytes[at + 1] as number
  }
  if (at < end) high += bytes[at] as number
  return sum + high * 256 + low
}

/** Fold a sum to 16 bits. */
export function foldSum(sum: number): number {
  let folded = sum
  while (folded > 0xffff) folded = Math.floor(folded / 0x1_0000) + (folded % 0x1_0000)
  return folded
}

/** The checksum that a sum stands for: folded and inverted. */
export function checksumOf(sum: number): number {
  return foldSum(sum) ^ 0xffff
}

/** Compute the checksum of an IPv4 header of `length` bytes at `at`, and store it. */
export function storeIpv4Checksum(bytes: Uint8Array, at: number, length: number): void {
  putU16(bytes, at + 10, 0)
  putU16(bytes, at + 10, checksumOf(sumWords(bytes, at, at + length)))
}

/** The sum of the pseudo header of TCP or UDP (RFC 9293 3.1, RFC 8200 8.1), for `length` bytes of transport header and payload. Unfolded. */
export function pseudoHeaderSum(bytes: Uint8Array, headers: FrameHeaders, length: number): number {
  const addresses = headers.ipVersion === 4 ? headers.network + 12 : headers.network + 8
  return sumWords(
    bytes,
    addresses,
    addresses + (headers.ipVersion === 4 ? 8 : 32),
    headers.protocol + (length >>> 16) + (length & 0xffff),
  )
}

/** The TCP or UDP checksum that the packet should have, by what `headers` found. */
export function transportChecksum(bytes: Uint8Array, headers: FrameHeaders): number {
  const length = headers.packetEnd - headers.transport
  const at = headers.transport + headers.checksumField
  const sum = pseudoHeaderSum(bytes, headers, length)
  // The field itself counts as zero.
  const before = sumWords(bytes, headers.transport, at, sum)
  const checksum = checksumOf(sumWords(bytes, at + 2, headers.packetEnd, before))
  return checksum === 0 && headers.protocol === IP_PROTOCOL.UDP ? 0xffff : checksum
}

/** Whether the TCP or UDP checksum that the packet has is right; one that UDP over IPv4 leaves out is. */
export function transportChecksumIsRight(bytes: Uint8Array, headers: FrameHeaders): boolean {
  const field = getU16(bytes, headers.transport + headers.checksumField)
  if (field === 0 && headers.protocol === IP_PROTOCOL.UDP && headers.ipVersion === 4) return true
  const length = headers.packetEnd - headers.transport
  const sum = sumWords(bytes, headers.transport, headers.packetEnd, pseudoHeaderSum(bytes, headers, length))
  return foldSum(sum) === 0xffff
}

/** The checksum that is to replace the partial one of a frame with CHECKSUM_PARTIAL. */
export function finishedChecksum(frame: NetworkFrame): number {
  const checksum = checksumOf(sumWords(frame.bytes, frame.start + frame.checksumStart, frame.end))
  // RFC 768: a checksum of zero means that there is none.
  return checksum === 0 && frame.checksumOffset - frame.checksumStart === UDP_CHECKSUM ? 0xffff : checksum
}

/** The big-endian word at `at`. */
export function getU16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}

/** Store a big-endian word. */
export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}

/** The big-endian double word at `at`, unsigned. */
export function getU32(bytes: Uint8Array, at: number): number {
  return ((getU16(bytes, at) << 16) | getU16(bytes, at + 2)) >>> 0
}

/** Store a big-endian double word. */
export function putU32(bytes: Uint8Array, at: number, value: number): void {
  putU16(bytes, at, value >>> 16)
  putU16(bytes, at + 2, value)
}
