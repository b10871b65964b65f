// A page of the hypervisor's that a guest places in its GPA space (TLFS, "GPA Overlay Pages"): hypercall page, reference TSC page, message, event and
// assist pages. It keeps its contents wherever it is placed, and while it is nowhere.

import type { PartitionMemory } from '@partita/interface'
import { type GpaMap, PAGE_SIZE } from './gpa-map.ts'

/** One overlay page. */
export class OverlayPage {
  readonly #map: GpaMap
  readonly #memory: PartitionMemory
  readonly #access: number
  /** Byte offset in the store. */
  readonly #offset: number
  #gpa: number | undefined
  #buffer: ArrayBufferLike
  #bytes: Uint8Array
  #words: Int32Array

  /**
   * `access` of GPA_ACCESS is what the guest may do.
   * @throws PartitaError `ERR_PROCESSOR_MEMORY` when the processor has no store left
   */
  constructor(map: GpaMap, memory: PartitionMemory, access: number) {
    this.#map = map
    this.#memory = memory
    this.#access = access
    this.#offset = memory.allocateOverlay()
    this.#buffer = memory.buffer
    this.#bytes = new Uint8Array(this.#buffer, this.#offset, PAGE_SIZE)
    this.#words = new Int32Array(this.#buffer, this.#offset, PAGE_SIZE / 4)
  }

  /** Where the guest sees it; `undefined` when it does not. */
  get gpa(): number | undefined {
    return this.#gpa
  }

  /** The page's bytes. Say {@link OverlayPage.written} after stores. */
  get bytes(): Uint8Array {
    if (this.#memory.buffer !== this.#buffer) this.#refresh()
    return this.#bytes
  }

  /** The page in double words, for atomic operations. */
  get words(): Int32Array {
    if (this.#memory.buffer !== this.#buffer) this.#refresh()
    return this.#words
  }

  /** Put the page at `gpa`, or nowhere. An address beyond the guest physical address space is nowhere, too. */
  place(gpa: number | undefined): void {
    const next = gpa !== undefined && gpa < this.#memory.gpaEnd ? gpa : undefined
    if (next === this.#gpa) return
    if (this.#gpa !== undefined) this.#map.uncover(this.#gpa, this.#offset)
    this.#gpa = next
    if (next !== undefined) this.#map.cover(next, this.#offset, this.#access)
  }

  /** The hypervisor stored into `[offset, offset + length)` of the page. */
  written(offset: number, length: number): void {
    if (this.#gpa !== undefined) this.#memory.written(this.#gpa + offset, length)
  }

  /** Fill the page with `contents`, and the rest with zeros. */
  set(contents: Uint8Array): void {
    this.bytes.fill(0)
    this.bytes.set(contents)
    this.written(0, PAGE_SIZE)
  }

  #refresh(): void {
    this.#buffer = this.#memory.buffer
    this.#bytes = new Uint8Array(this.#buffer, this.#offset, PAGE_SIZE)
    this.#words = new Int32Array(this.#buffer, this.#offset, PAGE_SIZE / 4)
  }
}
