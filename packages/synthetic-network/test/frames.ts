// Frames that the tests of the provider send and look at.

import { FrameHeaders } from '@partita/ethernet'

/** The adapter's address. */
export const MAC: readonly number[] = [2, 0, 0, 0, 0, 1]

/** Bytes of which no two neighbours are the same. */
export function data(length: number, seed = 3): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 7 + seed) & 255)
}

/** A frame to the guest, of an unknown protocol. */
export function frameFor(length: number, to: readonly number[] = MAC): Uint8Array {
  const bytes = data(length)
  bytes.set(to)
  bytes.set([2, 0, 0, 0, 0, 9, 0x88, 0xb5], 6)
  return bytes
}

export function headersOf(bytes: Uint8Array): FrameHeaders {
  const headers = new FrameHeaders()
  if (!headers.parse(bytes, 0, bytes.length)) throw new Error('no IP packet')
  return headers
}
