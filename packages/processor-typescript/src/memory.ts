// The memory of a partition on this processor: one array buffer with RAM and overlay pages, and the GPA map. Guest physical addresses are all that there is: a program has
// no page tables. To it the memory is a GuestMemory, too.

import { GPA_ACCESS, type GuestMemory, type PartitionMemory } from '@partita/interface'
import { ProcessorError } from './processor-error.ts'
import type { Program } from './program.ts'

const PAGE_SIZE = 4096
/** The map reaches 4 GiB. */
const MAP_PAGES = 0x10_0000
/** The hypervisor's own pages, and a ROM of up to 512 KiB. */
const OVERLAY_PAGES = 192
/** An entry of the map: access in the low bits, number of the page in the store above. 0 is "not mapped". */
const ACCESS_BITS = 5

/** Largest RAM in bytes. */
export const MAXIMUM_RAM = 0xc000_0000

/** RAM, the map of it, and what the processors of a partition share. */
export class TypeScriptMemory implements PartitionMemory, GuestMemory {
  readonly buffer: ArrayBuffer
  readonly ramOffset: number = 0
  readonly ramSize: number
  readonly gpaEnd: number = MAP_PAGES * PAGE_SIZE
  /** The program that runs on the partition's processors, once one of them has started. */
  program: Program | undefined
  readonly #map = new Uint32Array(MAP_PAGES)
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #overlays = 0

  /** @throws ProcessorError `ERR_PROCESSOR_MEMORY` */
  constructor(ramSize: number) {
    if (!Number.isInteger(ramSize) || ramSize <= 0 || ramSize > MAXIMUM_RAM || ramSize % PAGE_SIZE !== 0) {
      throw new ProcessorError('ERR_PROCESSOR_MEMORY', `${ramSize} bytes is not a size of memory for this processor`, {
        hint: `Whole pages, at most ${MAXIMUM_RAM / 2 ** 20} MiB.`,
      })
    }
    this.ramSize = ramSize
    try {
      this.buffer = new ArrayBuffer(ramSize + OVERLAY_PAGES * PAGE_SIZE)
    } catch (cause) {
      throw new ProcessorError('ERR_PROCESSOR_MEMORY', `The host has no ${ramSize} bytes of memory`, { cause })
    }
    this.#bytes = new Uint8Array(this.buffer)
    this.#view = new DataView(this.buffer)
  }

  // --- the hypervisor's side

  map(gpaPage: number, pages: number, offset: number, access: number): void {
    for (let index = 0; index < pages && gpaPage + index < MAP_PAGES; index++)
      this.#map[gpaPage + index] = ((offset / PAGE_SIZE + index) << ACCESS_BITS) | access
  }

  unmap(gpaPage: number, pages: number): void {
    this.#map.fill(0, Math.min(gpaPage, MAP_PAGES), Math.min(gpaPage + pages, MAP_PAGES))
  }

  translate(gpa: number, access: number): number {
    const entry = this.#map[Math.floor(gpa / PAGE_SIZE)] ?? 0
    if (entry === 0 || (entry & access) !== access) return -1
    return (entry >>> ACCESS_BITS) * PAGE_SIZE + (gpa % PAGE_SIZE)
  }

  allocateOverlay(): number {
    if (this.#overlays === OVERLAY_PAGES) {
      throw new ProcessorError('ERR_PROCESSOR_MEMORY', `The processor has room for ${OVERLAY_PAGES} overlay pages`)
    }
    return this.ramSize + this.#overlays++ * PAGE_SIZE
  }

  /** Nothing is translated, so nothing becomes stale. */
  written(): void {}

  // --- the program's side

  isRam(gpa: number, length: number): boolean {
    return this.#locate(gpa, length, GPA_ACCESS.READ) >= 0 || this.#covered(gpa, length, GPA_ACCESS.READ)
  }

  read(gpa: number, target: Uint8Array): boolean {
    if (!this.#covered(gpa, target.length, GPA_ACCESS.READ)) return false
    for (let done = 0; done < target.length; ) {
      const count = Math.min(target.length - done, PAGE_SIZE - ((gpa + done) % PAGE_SIZE))
      const at = this.translate(gpa + done, GPA_ACCESS.READ)
      target.set(this.#bytes.subarray(at, at + count), done)
      done += count
    }
    return true
  }

  write(gpa: number, source: Uint8Array): boolean {
    if (!this.#covered(gpa, source.length, GPA_ACCESS.WRITE)) return false
    for (let done = 0; done < source.length; ) {
      const count = Math.min(source.length - done, PAGE_SIZE - ((gpa + done) % PAGE_SIZE))
      this.#bytes.set(source.subarray(done, done + count), this.translate(gpa + done, GPA_ACCESS.WRITE))
      done += count
    }
    return true
  }

  fill(gpa: number, length: number, value: number): boolean {
    if (!this.#covered(gpa, length, GPA_ACCESS.WRITE)) return false
    for (let done = 0; done < length; ) {
      const count = Math.min(length - done, PAGE_SIZE - ((gpa + done) % PAGE_SIZE))
      const at = this.translate(gpa + done, GPA_ACCESS.WRITE)
      this.#bytes.fill(value, at, at + count)
      done += count
    }
    return true
  }

  readU8(gpa: number): number | undefined {
    const at = this.#locate(gpa, 1, GPA_ACCESS.READ)
    return at < 0 ? undefined : this.#view.getUint8(at)
  }

  readU16(gpa: number): number | undefined {
    const at = this.#locate(gpa, 2, GPA_ACCESS.READ)
    return at < 0 ? undefined : this.#view.getUint16(at, true)
  }

  readU32(gpa: number): number | undefined {
    const at = this.#locate(gpa, 4, GPA_ACCESS.READ)
    return at < 0 ? undefined : this.#view.getUint32(at, true)
  }

  readU64(gpa: number): bigint | undefined {
    const at = this.#locate(gpa, 8, GPA_ACCESS.READ)
    return at < 0 ? undefined : this.#view.getBigUint64(at, true)
  }

  writeU8(gpa: number, value: number): boolean {
    const at = this.#locate(gpa, 1, GPA_ACCESS.WRITE)
    if (at >= 0) this.#view.setUint8(at, value)
    return at >= 0
  }

  writeU16(gpa: number, value: number): boolean {
    const at = this.#locate(gpa, 2, GPA_ACCESS.WRITE)
    if (at >= 0) this.#view.setUint16(at, value, true)
    return at >= 0
  }

  writeU32(gpa: number, value: number): boolean {
    const at = this.#locate(gpa, 4, GPA_ACCESS.WRITE)
    if (at >= 0) this.#view.setUint32(at, value, true)
    return at >= 0
  }

  writeU64(gpa: number, value: bigint): boolean {
    const at = this.#locate(gpa, 8, GPA_ACCESS.WRITE)
    if (at >= 0) this.#view.setBigUint64(at, value, true)
    return at >= 0
  }

  view(gpa: number, length: number, access: 'read' | 'write' = 'read'): Uint8Array | undefined {
    const at = this.#locate(gpa, length, access === 'read' ? GPA_ACCESS.READ : GPA_ACCESS.WRITE)
    return at < 0 ? undefined : this.#bytes.subarray(at, at + length)
  }

  /** The address of a window on this memory, as {@link TypeScriptMemory.view} gives them; `undefined` for other bytes. */
  addressOf(bytes: Uint8Array): number | undefined {
    if (bytes.buffer !== this.buffer) return undefined
    // RAM is mapped one to one, except where overlay pages cover it.
    const gpa = bytes.byteOffset
    return this.#locate(gpa, bytes.length, GPA_ACCESS.READ) === gpa ? gpa : undefined
  }

  /** Where the range begins in the store when it is all there, in order and without a gap; -1 otherwise. */
  #locate(gpa: number, length: number, access: number): number {
    if (!Number.isSafeInteger(gpa) || gpa < 0 || !(length >= 0)) return -1
    const start = this.translate(gpa, access)
    if (start < 0) return -1
    for (let at = gpa - (gpa % PAGE_SIZE) + PAGE_SIZE; at < gpa + length; at += PAGE_SIZE)
      if (this.translate(at, access) !== start + at - gpa) return -1
    return start
  }

  #covered(gpa: number, length: number, access: number): boolean {
    if (!Number.isSafeInteger(gpa) || gpa < 0 || !(length >= 0)) return false
    for (let at = gpa - (gpa % PAGE_SIZE); at < gpa + length; at += PAGE_SIZE)
      if (this.translate(at, access) < 0) return false
    return true
  }
}
