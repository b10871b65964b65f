// Bytes between a socket of the host and a guest: the chunks as they came, from the first one that nobody has acknowledged. Small ones share a block, so that many of them cost not much more than their bytes.

import { PIECE_COST } from './memory-budget.ts'

const NOTHING: Uint8Array = new Uint8Array(0)
/** A chunk that is smaller than this goes into a block with its neighbours. */
const SMALL = 2048
const BLOCK = 8192

/** A queue of chunks, addressed by distance from its first byte. */
export class ByteChunks {
  readonly #chunks: Uint8Array[] = []
  /** Bytes of memory that each takes. */
  readonly #costs: number[] = []
  /** The first chunk that is in use. */
  #head = 0
  /** Bytes of it that are gone. */
  #skip = 0
  #length = 0
  #cost = 0
  /** The block whose used part is the last chunk. */
  #block: Uint8Array | undefined
  /** Where the last copy ended: chunk, and the distance of its first byte. */
  #cursor = 0
  #cursorAt = 0

  get length(): number {
    return this.#length
  }

  /** Bytes of memory that all of it takes. */
  get cost(): number {
    return this.#cost
  }

  /** `chunk` is the queue's from now on. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    this.#length += chunk.length
    if (chunk.length >= SMALL || this.#head === this.#chunks.length) {
      this.#block = undefined
      this.#append(chunk, chunk.length)
      return
    }
    const last = this.#chunks.length - 1
    const used = this.#block === undefined ? BLOCK : (this.#chunks[last] as Uint8Array).length
    if (this.#block !== undefined && used + chunk.length <= BLOCK) {
      this.#block.set(chunk, used)
      this.#chunks[last] = this.#block.subarray(0, used + chunk.length)
      return
    }
    this.#block = new Uint8Array(BLOCK)
    this.#block.set(chunk)
    this.#append(this.#block.subarray(0, chunk.length), BLOCK)
  }

  #append(chunk: Uint8Array, size: number): void {
    this.#chunks.push(chunk)
    this.#costs.push(size + PIECE_COST)
    this.#cost += size + PIECE_COST
  }

  /** The first chunk, taken out; `undefined` when there is none. */
  shift(): Uint8Array | undefined {
    const chunk = this.#chunks[this.#head]?.subarray(this.#skip)
    if (chunk !== undefined) this.drop(chunk.length)
    return chunk
  }

  /** Forget the first `count` bytes. */
  drop(count: number): void {
    let left = count
    this.#length -= count
    while (left > 0) {
      const chunk = this.#chunks[this.#head] as Uint8Array
      const rest = chunk.length - this.#skip
      if (left < rest) {
        this.#skip += left
        break
      }
      left -= rest
      this.#skip = 0
      this.#cost -= this.#costs[this.#head] as number
      // Let go of it now; its place goes with the next tidying up.
      this.#chunks[this.#head++] = NOTHING
    }
    if (this.#head === this.#chunks.length) this.#block = undefined
    if (this.#head > 32 && this.#head * 2 > this.#chunks.length) {
      this.#chunks.splice(0, this.#head)
      this.#costs.splice(0, this.#head)
      this.#head = 0
    }
    this.#cursor = this.#head
    this.#cursorAt = -this.#skip
  }

  /** Copy `count` bytes from the distance `offset` on to `target` at `at`. They must be there. */
  copy(offset: number, count: number, target: Uint8Array, at: number): void {
    if (offset < this.#cursorAt || this.#cursor < this.#head) {
      this.#cursor = this.#head
      this.#cursorAt = -this.#skip
    }
    let place = at
    let from = offset
    let left = count
    while (left > 0) {
      const chunk = this.#chunks[this.#cursor] as Uint8Array
      const begin = from - this.#cursorAt
      if (begin >= chunk.length) {
        this.#cursorAt += chunk.length
        this.#cursor++
        continue
      }
      const size = Math.min(left, chunk.length - begin)
      target.set(begin === 0 && size === chunk.length ? chunk : chunk.subarray(begin, begin + size), place)
      place += size
      from += size
      left -= size
    }
  }

  clear(): void {
    this.#chunks.length = 0
    this.#costs.length = 0
    this.#block = undefined
    this.#head = 0
    this.#skip = 0
    this.#length = 0
    this.#cost = 0
    this.#cursor = 0
    this.#cursorAt = 0
  }
}
