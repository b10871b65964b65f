// Where the records of decoded blocks lie. Blocks come and go; what those that went leave behind is used again when there is no room otherwise, and nobody can still be at one of their
// records: until then a dropped block's records send whoever comes to them to look where code is now.

import { RECORD } from './state-layout.ts'

/**
 * What lies before the first record of a block: words of 32 bits, as many bytes as a record has. What is known of a block is there and not in an object of its
 * own, since there are tens of thousands.
 */
export const BLOCK_HEADER = {
  /** -1: no block, or one that was dropped. */
  PAGE: 0,
  /** Offset of the first byte in the page. */
  START: 1,
  /** Behind the last one; beyond the page when the last instruction crosses into NEXT_PAGE. */
  END: 2,
  /** The page that is crossed into, or -1. */
  NEXT_PAGE: 3,
  /** Records, the closing one included; the mode in the low bits. */
  COUNT: 4,
  /** Where control may go on outside the page by the last instruction: a place counted from the page's start; 0 nowhere. */
  FAR: 5,
  /** The next block with bytes of PAGE, 0 none, and of NEXT_PAGE. */
  NEXT: 6,
  NEXT_CROSSING: 7,
} as const
/** A header takes the room of one record. */
export const HEADER_SIZE: number = RECORD.SIZE
/** Bits of COUNT that are the mode's. */
export const MODE_BITS = 3

/** Bytes `[start, end)` of memory for blocks. Sizes are in records, without the header. */
export class BlockArena {
  readonly start: number
  readonly #i32: Int32Array
  readonly #end: number
  /** Most records of a block. */
  readonly #maximum: number
  /** The piece that blocks are cut from, one after the other. */
  #at: number
  #pieceEnd: number
  /** Nothing was ever behind it. */
  #used: number
  /** Larger free pieces, as headers. */
  #pieces: number[] = []
  /** Smaller ones by their size. */
  readonly #small: number[][]

  constructor(i32: Int32Array, start: number, end: number, maximum: number) {
    this.#i32 = i32
    this.start = start
    this.#end = end
    this.#maximum = maximum
    this.#small = Array.from({ length: maximum + 1 }, () => [])
    this.#at = start
    this.#pieceEnd = end
    this.#used = start
  }

  /** Bytes of the whole. */
  get size(): number {
    return this.#end - this.start
  }

  /** Room for a block: where its first record goes, or 0. The header's COUNT is the caller's to write. */
  allocate(records: number): number {
    const same = this.#small[records]?.pop()
    if (same !== undefined) return same + HEADER_SIZE
    const bytes = HEADER_SIZE + records * RECORD.SIZE
    while (this.#at + bytes > this.#pieceEnd) {
      this.#setFree(this.#at, this.#pieceEnd)
      if (this.#pieceEnd > this.#used) this.#used = this.#pieceEnd
      const piece = this.#pieces.pop()
      if (piece === undefined) {
        this.#at = this.#pieceEnd
        return this.#split(records)
      }
      this.#at = piece
      this.#pieceEnd = piece + this.#sizeAt(piece)
    }
    const first = this.#at + HEADER_SIZE
    this.#at += bytes
    if (this.#at > this.#used) this.#used = this.#at
    return first
  }
  /** A part of a free piece that is larger. */
  #split(records: number): number {
    for (let larger = records + 1; larger <= this.#maximum; larger++) {
      const piece = this.#small[larger]?.pop()
      if (piece === undefined) continue
      const bytes = HEADER_SIZE + records * RECORD.SIZE
      this.#setFree(piece + bytes, piece + HEADER_SIZE + larger * RECORD.SIZE)
      return piece + HEADER_SIZE
    }
    return 0
  }

  /** Take back what dropped blocks had. Whoever knows a record of one has to have forgotten it. Returns the bytes that are free now. */
  reclaim(): number {
    const end = this.#used
    const rest = Math.min(this.#pieceEnd, end)
    if (this.#at < rest) this.#writeFree(this.#at, rest)
    for (const list of this.#small) list.length = 0
    this.#pieces = []
    let free = 0
    let begin = -1
    for (let at = this.start; at < end; at += this.#sizeAt(at)) {
      if (this.#i32[(at >> 2) + BLOCK_HEADER.PAGE] === -1) {
        if (begin < 0) begin = at
      } else if (begin >= 0) {
        free += at - begin
        this.#setFree(begin, at)
        begin = -1
      }
    }
    // what was never used, with what is free before it
    this.#at = begin >= 0 ? begin : end
    this.#pieceEnd = this.#end
    return free + this.#pieceEnd - this.#at
  }

  /** All is free. */
  clear(): void {
    for (const list of this.#small) list.length = 0
    this.#pieces = []
    this.#at = this.start
    this.#pieceEnd = this.#end
    this.#used = this.start
  }

  /** Bytes of the block or free piece whose header is at `at`. */
  #sizeAt(at: number): number {
    return HEADER_SIZE + ((this.#i32[(at >> 2) + BLOCK_HEADER.COUNT] as number) >> 2) * RECORD.SIZE
  }
  #writeFree(start: number, end: number): void {
    this.#i32[(start >> 2) + BLOCK_HEADER.PAGE] = -1
    this.#i32[(start >> 2) + BLOCK_HEADER.COUNT] = ((end - start - HEADER_SIZE) / RECORD.SIZE) << 2
  }
  /** Bytes `[start, end)` are free. */
  #setFree(start: number, end: number): void {
    if (end <= start) return
    this.#writeFree(start, end)
    const records = (end - start - HEADER_SIZE) / RECORD.SIZE
    if (records > this.#maximum) this.#pieces.push(start)
    else this.#small[records]?.push(start)
  }
}
