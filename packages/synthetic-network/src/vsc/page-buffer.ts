// Pages of this partition's own memory that need not follow each other, as a run of bytes.

import type { GuestMemory } from '@partita/interface'
import type { GpaRange } from '@partita/vmbus/client'

const PAGE = 4096

/** A buffer of whole pages. */
export class PageBuffer {
  readonly byteLength: number
  readonly pages: readonly number[]
  readonly #memory: GuestMemory

  constructor(memory: GuestMemory, pages: readonly number[]) {
    this.#memory = memory
    this.pages = pages
    this.byteLength = pages.length * PAGE
  }

  /** The bytes from `offset` on, as a range for a packet or a GPADL. */
  range(offset: number, length: number): GpaRange {
    const first = Math.floor(offset / PAGE)
    const last = Math.ceil((offset + length) / PAGE)
    return { byteOffset: offset % PAGE, byteCount: length, pages: this.pages.slice(first, last) }
  }

  /** Copy bytes from `offset` to `target` from `to` on. False when they are not all there. */
  read(offset: number, target: Uint8Array, to: number, length: number): boolean {
    return this.#walk(offset, target, to, length, false)
  }

  /** Copy `source` from `from` to `end` to `offset`. False when that does not fit. */
  write(offset: number, source: Uint8Array, from: number, end: number): boolean {
    return this.#walk(offset, source, from, end - from, true)
  }

  #walk(offset: number, data: Uint8Array, start: number, length: number, write: boolean): boolean {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.byteLength) || start + length > data.length)
      return false
    for (let done = 0; done < length; ) {
      const at = offset + done
      const inPage = at % PAGE
      const count = Math.min(length - done, PAGE - inPage)
      const gpa = (this.pages[(at - inPage) / PAGE] as number) * PAGE + inPage
      const part = data.subarray(start + done, start + done + count)
      if (!(write ? this.#memory.write(gpa, part) : this.#memory.read(gpa, part))) return false
      done += count
    }
    return true
  }
}
