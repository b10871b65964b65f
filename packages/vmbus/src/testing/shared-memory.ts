// The memory of a pretended partition: one shared array from address 0, and who has which page.

import type { GuestMemory } from '@partita/interface'
import type { DmaBuffer } from '../client/transport.ts'
import { PAGE_SIZE } from '../protocol/constants.ts'

/** RAM at address 0. Implements GuestMemory; counts what was announced through `written`. */
export class SharedMemory implements GuestMemory {
  readonly ramSize: number
  /** All of the RAM; the index is the guest physical address. */
  readonly bytes: Uint8Array
  /** Bytes that were announced through {@link GuestMemory.written}. */
  announced = 0
  /** Allocations that were not given back. */
  allocations = 0
  readonly #view: DataView
  #nextPage = 1

  constructor(ramSize: number) {
    const buffer = new SharedArrayBuffer(ramSize)
    this.ramSize = ramSize
    this.bytes = new Uint8Array(buffer)
    this.#view = new DataView(buffer)
  }

  /**
   * Numbers of pages that nobody has; with `gap`, that many pages apart.
   * @throws RangeError when there are not so many
   */
  allocatePages(count: number, gap = 1): number[] {
    const pages = Array.from({ length: count }, (_, index) => this.#nextPage + index * gap)
    this.#nextPage += count * gap
    if (this.#nextPage * PAGE_SIZE > this.ramSize) throw new RangeError('the pretended partition has no more memory')
    return pages
  }

  /** Pages for `byteLength` bytes, one after the other, as zeros. They are given back by disposing of them, and not given out again. */
  allocate(byteLength: number): DmaBuffer {
    const pages = this.allocatePages(Math.ceil(byteLength / PAGE_SIZE))
    const gpa = (pages[0] ?? 0) * PAGE_SIZE
    const buffer = this.adopt(gpa, byteLength)
    buffer.bytes.fill(0)
    return buffer
  }

  /** Pages that were allocated before a saved state. */
  adopt(gpa: number, byteLength: number): DmaBuffer {
    this.allocations++
    return {
      gpa,
      bytes: this.bytes.subarray(gpa, gpa + byteLength),
      [Symbol.dispose]: () => void this.allocations--,
    }
  }

  /** The address of a window on this memory. */
  addressOf(bytes: Uint8Array): number | undefined {
    return bytes.buffer === this.bytes.buffer ? bytes.byteOffset : undefined
  }

  isRam(gpa: number, length: number): boolean {
    return Number.isSafeInteger(gpa) && gpa >= 0 && length >= 0 && gpa + length <= this.ramSize
  }

  read(gpa: number, target: Uint8Array): boolean {
    if (!this.isRam(gpa, target.length)) return false
    target.set(this.bytes.subarray(gpa, gpa + target.length))
    return true
  }

  write(gpa: number, source: Uint8Array): boolean {
    if (!this.isRam(gpa, source.length)) return false
    this.bytes.set(source, gpa)
    return true
  }

  fill(gpa: number, length: number, value: number): boolean {
    if (!this.isRam(gpa, length)) return false
    this.bytes.fill(value, gpa, gpa + length)
    return true
  }

  readU8(gpa: number): number | undefined {
    return this.isRam(gpa, 1) ? this.#view.getUint8(gpa) : undefined
  }

  readU16(gpa: number): number | undefined {
    return this.isRam(gpa, 2) ? this.#view.getUint16(gpa, true) : undefined
  }

  readU32(gpa: number): number | undefined {
    return this.isRam(gpa, 4) ? this.#view.getUint32(gpa, true) : undefined
  }

  readU64(gpa: number): bigint | undefined {
    return this.isRam(gpa, 8) ? this.#view.getBigUint64(gpa, true) : undefined
  }

  writeU8(gpa: number, value: number): boolean {
    if (!this.isRam(gpa, 1)) return false
    this.#view.setUint8(gpa, value)
    return true
  }

  writeU16(gpa: number, value: number): boolean {
    if (!this.isRam(gpa, 2)) return false
    this.#view.setUint16(gpa, value, true)
    return true
  }

  writeU32(gpa: number, value: number): boolean {
    if (!this.isRam(gpa, 4)) return false
    this.#view.setUint32(gpa, value, true)
    return true
  }

  writeU64(gpa: number, value: bigint): boolean {
    if (!this.isRam(gpa, 8)) return false
    this.#view.setBigUint64(gpa, value, true)
    return true
  }

  view(gpa: number, length: number): Uint8Array | undefined {
    return this.isRam(gpa, length) ? this.bytes.subarray(gpa, gpa + length) : undefined
  }

  /** @throws RangeError when that is outside of RAM: a mistake of the host */
  written(gpa: number, length: number): void {
    if (!this.isRam(gpa, length)) throw new RangeError(`written outside of RAM: ${length} bytes at ${gpa}`)
    this.announced += length
  }
}
