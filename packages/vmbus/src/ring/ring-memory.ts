// The bytes of one ring. The pages of a GPADL need not follow each other in the guest's memory: neighbours are merged to segments, and
// most rings are one segment. Copies are by words, without allocation, where they are short.

import { CONTROL, RING_PAGE } from './layout.ts'

/** Copies up to this many bytes are a loop; longer ones take a window on the segment, a short-lived object. */
const LOOP_LIMIT = 256

/** Told when bytes of the ring's data were stored, by offset from the start of the data. Never crosses the end. */
export type StoredCallback = (offset: number, length: number) => void

/** The memory of a ring, shared with the other side. */
export class RingMemory {
  /** Bytes of data: what the pointers count in. A multiple of the page. */
  readonly size: number
  /** The control page. */
  readonly control: Int32Array
  /** Called after this side stored data. */
  onStored: StoredCallback | undefined
  readonly #bytes: readonly Uint8Array[]
  readonly #words: readonly Int32Array[]
  /** Offset of each segment's first byte. */
  readonly #starts: readonly number[]
  readonly #segmentOfPage: Uint16Array

  private constructor(control: Uint8Array, segments: readonly Uint8Array[]) {
    this.control = wordsOf(control)
    this.#bytes = segments
    this.#words = segments.map(wordsOf)
    const starts: number[] = []
    const pages: number[] = []
    let size = 0
    segments.forEach((segment, index) => {
      starts.push(size)
      for (let at = 0; at < segment.length; at += RING_PAGE) pages.push(index)
      size += segment.length
    })
    this.#starts = starts
    this.#segmentOfPage = Uint16Array.from(pages)
    this.size = size
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

  /** How many pieces the data is in. */
  get segments(): number {
    return this.#bytes.length
  }

  /** Both pointers to 0, and no signals held back: what a client does before it opens a channel. */
  clear(): void {
    for (const word of Object.values(CONTROL)) Atomics.store(this.control, word, 0)
  }

  /**
   * Copy `length` bytes at `offset` of the data (all multiples of 4; it wraps around) to `words`, from index `at`. `bytes` is the same memory as `words`.
   */
  copyOut(offset: number, length: number, words: Int32Array, bytes: Uint8Array, at: number): void {
    let done = 0
    while (done < length) {
      let position = offset + done
      if (position >= this.size) position -= this.size
      const index = this.#segmentOfPage[position >>> 12] as number
      const segment = this.#bytes[index] as Uint8Array
      const from = position - (this.#starts[index] as number)
      const count = Math.min(length - done, segment.length - from)
      if (count > LOOP_LIMIT) bytes.set(segment.subarray(from, from + count), at * 4 + done)
      else copyWords(this.#words[index] as Int32Array, from >>> 2, words, at + (done >>> 2), count >>> 2)
      done += count
    }
  }

  /** Store a word at `offset` of the data, a multiple of 4 below the size. */
  storeWord(offset: number, value: number): void {
    const index = this.#segmentOfPage[offset >>> 12] as number
    const words = this.#words[index] as Int32Array
    words[(offset - (this.#starts[index] as number)) >>> 2] = value
  }

  /** Copy `source` from `start` to `end` to `offset` of the data; it wraps around. */
  copyIn(offset: number, source: Uint8Array, start: number, end: number): void {
    let from = start
    let position = offset
    while (from < end) {
      if (position >= this.size) position -= this.size
      const index = this.#segmentOfPage[position >>> 12] as number
      const segment = this.#bytes[index] as Uint8Array
      const to = position - (this.#starts[index] as number)
      const count = Math.min(end - from, segment.length - to)
      if (count <= 32) for (let at = 0; at < count; at++) segment[to + at] = source[from + at] as number
      else if (count === source.length) segment.set(source, to)
      else segment.set(source.subarray(from, from + count), to)
      from += count
      position += count
    }
  }

  /** Store `count` zeros, at most 7, at `offset`, within one unit of 8 bytes. */
  clearIn(offset: number, count: number): void {
    if (count === 0) return
    const position = offset >= this.size ? offset - this.size : offset
    const index = this.#segmentOfPage[position >>> 12] as number
    const segment = this.#bytes[index] as Uint8Array
    const to = position - (this.#starts[index] as number)
    for (let at = 0; at < count; at++) segment[to + at] = 0
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
