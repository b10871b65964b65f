// A GPADL of whole pages as a run of bytes: where each page is in the host's memory is looked up once, when the guest gives the buffer.

import type { GuestBuffer, GuestMemory } from '@partita/interface'

const PAGE = 4096
/** No guest may have the host keep account of more: Linux' largest receive buffer is 31 MiB. */
const MAXIMUM_PAGES = 32 * 256
/** Up to here a loop is faster than making the window that `set` needs. */
const LOOP_LIMIT = 160

/** A receive or send buffer. */
export class BufferMap {
  readonly byteLength: number
  readonly #memory: GuestMemory
  readonly #gpas: Float64Array
  /** Where the pages begin in `#bytes`. */
  readonly #places: Float64Array
  /** The host's memory that all pages lie in. */
  readonly #bytes: Uint8Array

  private constructor(memory: GuestMemory, gpas: Float64Array, places: Float64Array, buffer: ArrayBufferLike) {
    this.#memory = memory
    this.#gpas = gpas
    this.#places = places
    this.#bytes = new Uint8Array(buffer)
    this.byteLength = gpas.length * PAGE
  }

  /** Map a GPADL. `undefined` when it is empty, too large, not whole pages, or not all memory. */
  static open(memory: GuestMemory, pieces: GuestBuffer): BufferMap | undefined {
    const count = pieces.byteLength / PAGE
    if (!Number.isInteger(count) || count === 0 || count > MAXIMUM_PAGES) return undefined
    const gpas = new Float64Array(count)
    const places = new Float64Array(count)
    let buffer: ArrayBufferLike | undefined
    let page = 0
    for (let piece = 0; piece < pieces.pieceCount; piece++) {
      const gpa = pieces.gpa(piece)
      const length = pieces.length(piece)
      if (gpa % PAGE !== 0 || length % PAGE !== 0) return undefined
      for (let at = 0; at < length; at += PAGE) {
        const view = memory.view(gpa + at, PAGE, 'write')
        if (view === undefined || (buffer !== undefined && view.buffer !== buffer)) return undefined
        buffer = view.buffer
        gpas[page] = gpa + at
        places[page] = view.byteOffset
        page++
      }
    }
    return buffer === undefined ? undefined : new BufferMap(memory, gpas, places, buffer)
  }

  /** Copy `source` from `from` to `to` to `offset` of the buffer; the caller has checked that it fits. */
  write(offset: number, source: Uint8Array, from: number, to: number): void {
    let at = offset
    for (let next = from; next < to; ) {
      const page = Math.floor(at / PAGE)
      const inPage = at - page * PAGE
      const count = Math.min(to - next, PAGE - inPage)
      copy(source, next, this.#bytes, (this.#places[page] as number) + inPage, count)
      this.#memory.written((this.#gpas[page] as number) + inPage, count)
      next += count
      at += count
    }
  }

  /** Copy `length` bytes at `offset` of the buffer to `target`; the caller has checked that they are there. */
  read(offset: number, target: Uint8Array, to: number, length: number): void {
    let at = offset
    for (let done = 0; done < length; ) {
      const page = Math.floor(at / PAGE)
      const inPage = at - page * PAGE
      const count = Math.min(length - done, PAGE - inPage)
      copy(this.#bytes, (this.#places[page] as number) + inPage, target, to + done, count)
      done += count
      at += count
    }
  }
}

function copy(source: Uint8Array, from: number, target: Uint8Array, to: number, count: number): void {
  if (count <= LOOP_LIMIT) for (let at = 0; at < count; at++) target[to + at] = source[from + at] as number
  else target.set(new Uint8Array(source.buffer, source.byteOffset + from, count), to)
}
