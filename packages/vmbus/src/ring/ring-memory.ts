// The bytes of one ring. The pages of a GPADL need not follow each other in the guest's memory: neighbours are merged to segments, and
// most rings are one segment. Copies are by words, without allocation, where they are short. A descriptor is two pairs of words and a
// footer is one, which never lie in two pages: packets begin at multiples of 8.

import { CONTROL, RING_PAGE } from './layout.ts'

/** Copies out up to this many bytes are a loop over words; longer ones take a window on the segment, a short-lived object. */
const WORD_LOOP_LIMIT = 256
/** Copies in of a part of an array, whose address may be odd, are a loop over bytes up to this many. */
const BYTE_LOOP_LIMIT = 24

/** Told when bytes of the ring's data were stored, by offset from the start of the data. Never crosses the end. */
export type StoredCallback = (offset: number, length: number) => void

/** Pages of the data that follow each other in memory. */
class Segment {
  readonly bytes: Uint8Array
  readonly words: Int32Array
  // The window's own properties, because asking it for them takes a quarter of the time of a short copy.
  readonly buffer: ArrayBufferLike
  readonly place: number
  readonly length: number
  /** Offset of the first byte in the ring's data. */
  readonly start: number

  constructor(bytes: Uint8Array, start: number) {
    this.bytes = bytes
    this.words = wordsOf(bytes)
    this.buffer = bytes.buffer
    this.place = bytes.byteOffset
    this.length = bytes.length
    this.start = start
  }
}

/** The memory of a ring, shared with the other side. */
export class RingMemory {
  /** Bytes of data: what the pointers count in. A multiple of the page. */
  readonly size: number
  /** The control page. */
  readonly control: Int32Array
  /** How many pieces the data is in. */
  readonly segments: number
  /** Called after this side stored data. */
  onStored: StoredCallback | undefined
  readonly #segmentOfPage: readonly Segment[]

  private constructor(control: Uint8Array, segments: readonly Uint8Array[]) {
    this.control = wordsOf(control)
    this.segments = segments.length
    const pages: Segment[] = []
    for (const bytes of segments) {
      const segment = new Segment(bytes, pages.length * RING_PAGE)
      for (let at = 0; at < bytes.length; at += RING_PAGE) pages.push(segment)
    }
    this.#segmentOfPage = pages
    this.size = pages.length * RING_PAGE
  }

  /**
   * A ring over pages of 4,096 bytes: the first is the control page. `undefined` when there are fewer than two, more than 65,535, or one is not a page at an
   * address that is a multiple of 4.
   */
  static fromPages(pages: readonly Uint8Array[]): RingMemory | undefined {
    const [control, ...data] = pages
    if (control === undefined || data.length === 0 || data.length > 0xffff) return undefined
    if (pages.some((page) => page.length !== RING_PAGE || page.byteOffset % 4 !== 0)) return undefined
    const segments: Uint8Array[] = []
    for (const page of data) {
      const last = segments.at(-1)
      if (last !== undefined && last.buffer === page.buffer && last.byteOffset + last.length === page.byteOffset)
        segments[segments.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + RING_PAGE)
      else segments.push(page)
    }
    return new RingMemory(control, segments)
  }

  /**
   * A ring in one piece: `length` bytes, control page included, of `buffer` from `byteOffset`. `undefined` when that is not at least two whole pages.
   */
  static fromBuffer(
    buffer: ArrayBufferLike,
    byteOffset = 0,
    length: number = buffer.byteLength - byteOffset,
  ): RingMemory | undefined {
    if (length % RING_PAGE !== 0) return undefined
    const pages = Array.from(
      { length: length / RING_PAGE },
      (_, page) => new Uint8Array(buffer, byteOffset + page * RING_PAGE, RING_PAGE),
    )
    return RingMemory.fromPages(pages)
  }

  /** Both pointers to 0, and no signals held back: what a client does before it opens a channel. */
  clear(): void {
    for (const word of Object.values(CONTROL)) Atomics.store(this.control, word, 0)
  }

  /**
   * Copy `length` bytes at `offset` of the data to `at` of `bytes`, which is the same memory as `words`. All are multiples of 4, and it wraps around.
   */
  copyOut(offset: number, length: number, words: Int32Array, bytes: Uint8Array, at: number): void {
    let left = length
    let to = at
    let position = offset
    while (left > 0) {
      if (position === this.size) position = 0
      const segment = this.#segmentOfPage[position >>> 12] as Segment
      const from = position - segment.start
      const count = Math.min(left, segment.length - from)
      // A window is much faster than `subarray`, which asks for the species.
      if (count === segment.length) bytes.set(segment.bytes, to)
      else if (count > WORD_LOOP_LIMIT) bytes.set(new Uint8Array(segment.buffer, segment.place + from, count), to)
      else copyWords(segment.words, from >>> 2, words, to >>> 2, count >>> 2)
      to += count
      position += count
      left -= count
    }
  }

  /** Store two words at `offset` of the data, a multiple of 8 below the size. */
  storePair(offset: number, first: number, second: number): void {
    const { words, start } = this.#segmentOfPage[offset >>> 12] as Segment
    const at = (offset - start) >>> 2
    words[at] = first
    words[at + 1] = second
  }

  /** Copy `source` from `start` to `end` to `offset` of the data; it wraps around. */
  copyIn(offset: number, source: Uint8Array, start: number, end: number): void {
    const length = end - start
    const position = offset >= this.size ? offset - this.size : offset
    const segment = this.#segmentOfPage[position >>> 12] as Segment
    const to = position - segment.start
    if (length > segment.length - to) this.#copyInPieces(position, source, start, end)
    else if (length === source.length) segment.bytes.set(source, to)
    else if (length <= BYTE_LOOP_LIMIT) {
      const { bytes } = segment
      for (let at = 0; at < length; at++) bytes[to + at] = source[start + at] as number
    } else segment.bytes.set(new Uint8Array(source.buffer, source.byteOffset + start, length), to)
  }

  #copyInPieces(offset: number, source: Uint8Array, start: number, end: number): void {
    const { buffer, byteOffset } = source
    let from = start
    let position = offset
    while (from < end) {
      if (position >= this.size) position -= this.size
      const segment = this.#segmentOfPage[position >>> 12] as Segment
      const to = position - segment.start
      const count = Math.min(end - from, segment.length - to)
      segment.bytes.set(new Uint8Array(buffer, byteOffset + from, count), to)
      from += count
      position += count
    }
  }

  /** Store `count` zeros, at most 7, at `offset`, within one unit of 8 bytes. */
  clearIn(offset: number, count: number): void {
    if (count === 0) return
    const position = offset >= this.size ? offset - this.size : offset
    const { bytes, start } = this.#segmentOfPage[position >>> 12] as Segment
    const to = position - start
    for (let at = 0; at < count; at++) bytes[to + at] = 0
  }

  /** Tell {@link RingMemory.onStored} of `length` bytes at `offset`, split where they wrap around. */
  stored(offset: number, length: number): void {
    const callback = this.onStored
    if (callback === undefined) return
    const first = Math.min(length, this.size - offset)
    callback(offset, first)
    if (first < length) callback(0, length - first)
  }
}

function copyWords(source: Int32Array, from: number, target: Int32Array, to: number, count: number): void {
  for (let at = 0; at < count; at++) target[to + at] = source[from + at] as number
}

function wordsOf(bytes: Uint8Array): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)
}
