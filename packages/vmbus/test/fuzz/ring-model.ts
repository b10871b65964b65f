// A second reading of a ring, plain and slow, to hold the fast one against: it works on a copy of the whole ring, byte by byte from where
// the reader stands.

/** What the first packet of a ring is. */
export type ModelPacket =
  | { readonly result: 'empty' | 'broken' }
  | {
      readonly result: 'packet'
      readonly type: number
      readonly flags: number
      readonly transaction: bigint
      readonly payload: readonly number[]
      /** Addresses of the bytes of its ranges, by runs. */
      readonly pieces: readonly (readonly [number, number])[]
      readonly transferRanges: readonly (readonly [number, number])[]
      /** Where the next packet begins. */
      readonly next: number
    }

const BROKEN: ModelPacket = { result: 'broken' }

/** Read the packet at `out` of the ring with these bytes of data. */
export function readModel(data: Uint8Array, at: number, out: number): ModelPacket {
  const size = data.length
  if (at % 8 !== 0 || at >= size) return BROKEN
  if (at === out) return { result: 'empty' }
  const available = (at - out + size) % size
  const bytes = (from: number, count: number): number[] =>
    Array.from({ length: count }, (_, index) => data[(out + from + index) % size] as number)
  const number = (from: number, count: number): number =>
    bytes(from, count).reduceRight((sum, byte) => sum * 256 + byte, 0)
  if (available < 24) return BROKEN
  const type = number(0, 2)
  const dataOffset = number(2, 2) * 8
  const length = number(4, 2) * 8
  if (dataOffset < 16 || length < dataOffset || length + 8 > available) return BROKEN
  const pieces: [number, number][] = []
  const transferRanges: [number, number][] = []
  if (type === 7 || type === 9) {
    if (dataOffset < 24) return BROKEN
    const count = number(20, 4)
    let place = 24
    for (let range = 0; range < count; range++) {
      if (place + 8 > dataOffset) return BROKEN
      const [first, second] = [number(place, 4), number(place + 4, 4)]
      place += 8
      if (type === 7) {
        transferRanges.push([first, second])
        continue
      }
      if (second > 4095) return BROKEN
      // One page after the other, as many as the bytes reach into.
      for (let left = first, offset = second; left > 0; offset = 0) {
        if (place + 8 > dataOffset) return BROKEN
        const count = Math.min(left, 4096 - offset)
        pieces.push([number(place, 8) * 4096 + offset, count])
        place += 8
        left -= count
      }
      if (first === 0 && second > 0) {
        // An empty range still begins in a page.
        if (place + 8 > dataOffset) return BROKEN
        place += 8
      }
    }
  } else if (type !== 6 && type !== 10 && type !== 11) return BROKEN
  return {
    result: 'packet',
    type,
    flags: number(6, 2),
    transaction: BigInt(number(8, 4)) + (BigInt(number(12, 4)) << 32n),
    payload: bytes(dataOffset, length - dataOffset),
    pieces,
    transferRanges,
    next: (out + length + 8) % size,
  }
}
