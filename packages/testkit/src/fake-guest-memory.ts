// RAM from address 0 in one array. Implements GuestMemory and counts what was stored through it.

import type { GuestMemory } from '@partita/interface'

/** `ramSize` bytes of RAM at guest physical address 0. */
export class FakeGuestMemory implements GuestMemory {
  readonly ramSize: number
  readonly bytes: Uint8Array
  readonly #view: DataView
  /** Ranges announced through {@link GuestMemory.written}, oldest first. */
  readonly announced: { readonly gpa: number; readonly length: number }[] = []

  constructor(ramSize: number) {
    this.ramSize = ramSize
    this.bytes = new Uint8Array(ramSize)
    this.#view = new DataView(this.bytes.buffer)
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

  written(gpa: number, length: number): void {
    if (!this.isRam(gpa, length)) throw new RangeError(`written outside RAM: ${length} at ${gpa}`)
    this.announced.push({ gpa, length })
  }
}
