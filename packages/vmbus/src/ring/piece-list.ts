// A list of pieces of guest memory: the ranges of a GPA-direct packet or of a GPADL, page by page, with neighbours merged.

import type { GuestBuffer, GuestMemory } from '@partita/interface'
import { RING_PAGE } from './layout.ts'

/** Implements GuestBuffer in two typed arrays that grow and are used again. */
export class PieceList implements GuestBuffer {
  #gpas: Float64Array
  #lengths: Float64Array
  #count = 0
  #byteLength = 0

  constructor(capacity = 8) {
    this.#gpas = new Float64Array(capacity)
    this.#lengths = new Float64Array(capacity)
  }

  get byteLength(): number {
    return this.#byteLength
  }

  /** Pieces in the list. */
  get pieceCount(): number {
    return this.#count
  }

  gpa(piece: number): number {
    if (!(piece >= 0 && piece < this.#count)) throw new RangeError(`there is no piece ${piece} of ${this.#count}`)
    return this.#gpas[piece] as number
  }

  length(piece: number): number {
    if (!(piece >= 0 && piece < this.#count)) throw new RangeError(`there is no piece ${piece} of ${this.#count}`)
    return this.#lengths[piece] as number
  }

  /** Forget all pieces. */
  clear(): void {
    this.#count = 0
    this.#byteLength = 0
  }

  /** Add `length` bytes at `gpa`. */
  add(gpa: number, length: number): void {
    if (length === 0) return
    const last = this.#count - 1
    if (last >= 0 && (this.#gpas[last] as number) + (this.#lengths[last] as number) === gpa)
      this.#lengths[last] = (this.#lengths[last] as number) + length
    else {
      if (this.#count === this.#gpas.length) this.#grow(this.#count * 2)
      this.#gpas[this.#count] = gpa
      this.#lengths[this.#count] = length
      this.#count++
    }
    this.#byteLength += length
  }

  /**
   * Add the range of `byteCount` bytes that begins `byteOffset` bytes into the first of the pages whose numbers stand from `at` of `view`, 8 bytes each.
   */
  addRange(view: DataView, at: number, byteOffset: number, byteCount: number): void {
    let left = byteCount
    let offset = byteOffset
    for (let place = at; left > 0; place += 8) {
      const page = view.getUint32(place + 4, true) * 0x1_0000_0000 + view.getUint32(place, true)
      const length = Math.min(left, RING_PAGE - offset)
      this.add(page * RING_PAGE + offset, length)
      left -= length
      offset = 0
    }
  }

  copyFrom(other: GuestBuffer): void {
    this.clear()
    for (let piece = 0; piece < other.pieceCount; piece++) this.add(other.gpa(piece), other.length(piece))
  }

  read(memory: GuestMemory, offset: number, target: Uint8Array): boolean {
    return this.#walk(memory, offset, target, false)
  }

  write(memory: GuestMemory, offset: number, source: Uint8Array): boolean {
    return this.#walk(memory, offset, source, true)
  }

  #walk(memory: GuestMemory, offset: number, data: Uint8Array, write: boolean): boolean {
    if (!(offset >= 0 && offset + data.length <= this.#byteLength)) return false
    let skip = offset
    let done = 0
    for (let piece = 0; done < data.length; piece++) {
      const length = this.#lengths[piece] as number
      if (skip >= length) {
        skip -= length
        continue
      }
      const gpa = (this.#gpas[piece] as number) + skip
      const count = Math.min(length - skip, data.length - done)
      const part = count === data.length ? data : data.subarray(done, done + count)
      if (!(write ? memory.write(gpa, part) : memory.read(gpa, part))) return false
      done += count
      skip = 0
    }
    return true
  }

  #grow(capacity: number): void {
    const gpas = new Float64Array(capacity)
    const lengths = new Float64Array(capacity)
    gpas.set(this.#gpas)
    lengths.set(this.#lengths)
    this.#gpas = gpas
    this.#lengths = lengths
  }
}

/** How many page numbers a range takes that begins `byteOffset` bytes into its first page. */
export function pagesSpanned(byteOffset: number, byteCount: number): number {
  return Math.ceil((byteOffset + byteCount) / RING_PAGE)
}
