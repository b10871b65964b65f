// RAM in one array, and a processor that only remembers its registers: what a loader needs of a partition.

import type { GuestMemory, RegisterName, SegmentName, SegmentRegister } from '@partita/interface'
import type { BootProcessor } from '../src/index.ts'
import { HIGH_RAM_BASE, LOW_RAM_LIMIT } from '../src/memory-map.ts'

/** RAM with the holes of a partition: 0xA0000–0xBFFFF, and what is above 3 GiB is at 4 GiB. Pages are made when written. */
export class FakeMemory implements GuestMemory {
  readonly ramSize: number
  readonly #pages = new Map<number, Uint8Array>()

  constructor(ramSize: number) {
    this.ramSize = ramSize
  }

  isRam(gpa: number, length: number): boolean {
    const end = gpa + length
    if (!Number.isSafeInteger(gpa) || gpa < 0 || length < 0) return false
    const low = Math.min(this.ramSize, LOW_RAM_LIMIT)
    if (end <= 0xa0000) return true
    if (gpa >= 0xc0000 && end <= low) return true
    return gpa >= HIGH_RAM_BASE && end <= HIGH_RAM_BASE + this.ramSize - low
  }

  read(gpa: number, target: Uint8Array): boolean {
    if (!this.isRam(gpa, target.length)) return false
    this.#each(gpa, target.length, (page, offset, done, count) => {
      target.set(page.subarray(offset, offset + count), done)
    })
    return true
  }

  write(gpa: number, source: Uint8Array): boolean {
    if (!this.isRam(gpa, source.length)) return false
    this.#each(gpa, source.length, (page, offset, done, count) => {
      page.set(source.subarray(done, done + count), offset)
    })
    return true
  }

  fill(gpa: number, length: number, value: number): boolean {
    if (!this.isRam(gpa, length)) return false
    this.#each(gpa, length, (page, offset, _done, count) => {
      page.fill(value, offset, offset + count)
    })
    return true
  }

  /** Bytes of memory, copied. */
  bytes(gpa: number, length: number): Uint8Array {
    const target = new Uint8Array(length)
    if (!this.read(gpa, target)) throw new Error(`no RAM at ${gpa.toString(16)}`)
    return target
  }

  /** Page numbers that hold something else than zeros. */
  usedPages(): number[] {
    return [...this.#pages].filter(([, page]) => page.some((byte) => byte !== 0)).map(([number]) => number)
  }

  readU8(gpa: number): number | undefined {
    return this.#view(gpa, 1)?.getUint8(0)
  }
  readU16(gpa: number): number | undefined {
    return this.#view(gpa, 2)?.getUint16(0, true)
  }
  readU32(gpa: number): number | undefined {
    return this.#view(gpa, 4)?.getUint32(0, true)
  }
  readU64(gpa: number): bigint | undefined {
    return this.#view(gpa, 8)?.getBigUint64(0, true)
  }
  writeU8(gpa: number, value: number): boolean {
    return this.write(gpa, Uint8Array.of(value))
  }
  writeU16(gpa: number, value: number): boolean {
    return this.write(gpa, new Uint8Array(Uint16Array.of(value).buffer))
  }
  writeU32(gpa: number, value: number): boolean {
    return this.write(gpa, new Uint8Array(Uint32Array.of(value).buffer))
  }
  writeU64(gpa: number, value: bigint): boolean {
    return this.write(gpa, new Uint8Array(BigUint64Array.of(value).buffer))
  }
  view(): undefined {
    return undefined
  }
  written(): void {}

  #view(gpa: number, length: number): DataView | undefined {
    const target = new Uint8Array(length)
    return this.read(gpa, target) ? new DataView(target.buffer) : undefined
  }

  #each(
    gpa: number,
    length: number,
    visit: (page: Uint8Array, offset: number, done: number, count: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const number = Math.floor((gpa + done) / 4096)
      const offset = (gpa + done) % 4096
      const count = Math.min(length - done, 4096 - offset)
      let page = this.#pages.get(number)
      if (page === undefined) {
        page = new Uint8Array(4096)
        this.#pages.set(number, page)
      }
      visit(page, offset, done, count)
      done += count
    }
  }
}

/** Remembers what a loader sets. */
export class FakeProcessor implements BootProcessor {
  readonly registers: Map<RegisterName, bigint> = new Map()
  readonly segments: Map<SegmentName, SegmentRegister> = new Map()
  readonly tables: Map<'gdtr' | 'idtr', { base: bigint; limit: number }> = new Map()

  setRegister(name: RegisterName, value: bigint): void {
    this.registers.set(name, value)
  }
  setSegment(name: SegmentName, value: SegmentRegister): void {
    this.segments.set(name, value)
  }
  setDescriptorTable(name: 'gdtr' | 'idtr', base: bigint, limit: number): void {
    this.tables.set(name, { base, limit })
  }
}

/** A partition with `ramSize` bytes of RAM. */
export function fakePartition(ramSize: number = 64 * 2 ** 20): { memory: FakeMemory; vp: FakeProcessor } {
  return { memory: new FakeMemory(ramSize), vp: new FakeProcessor() }
}

/** The NUL-terminated text at `gpa`. */
export function textAt(memory: FakeMemory, gpa: number): string {
  let text = ''
  for (let byte = memory.readU8(gpa); byte; byte = memory.readU8(++gpa)) text += String.fromCharCode(byte)
  return text
}
