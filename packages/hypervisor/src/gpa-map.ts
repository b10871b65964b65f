// The GPA map of a partition (TLFS, "Guest Physical Address Spaces"): which guest physical pages are backed by which bytes of the
// processor's store and with which rights, and which of the hypervisor's pages cover them ("GPA Overlay Pages"). Devices see it as GuestMemory.

import { GPA_ACCESS, type GuestMemory, type PartitionMemory } from '@partita/interface'
import { HypervisorError } from './error.ts'
import { type Region, RegionList } from './region-list.ts'

/** Bytes of a page of the GPA map. */
export const PAGE_SIZE = 4096

/** RAM of a partition by guest physical address. */
export class GpaMap implements GuestMemory {
  readonly ramSize: number
  readonly #memory: PartitionMemory
  /** What accesses find. */
  readonly #effective: RegionList = new RegionList()
  /** What they would find without overlays. */
  readonly #base: RegionList = new RegionList()
  /** Overlays by GPA, the uppermost last. */
  readonly #overlays: Map<number, { offset: number; access: number }[]> = new Map()
  readonly #scratch = new Uint8Array(8)
  readonly #scratchView: DataView = new DataView(this.#scratch.buffer)
  #buffer: ArrayBufferLike
  #bytes: Uint8Array
  #view: DataView

  constructor(memory: PartitionMemory) {
    this.#memory = memory
    this.ramSize = memory.ramSize
    this.#buffer = memory.buffer
    this.#bytes = new Uint8Array(this.#buffer)
    this.#view = new DataView(this.#buffer)
  }

  /**
   * Back `[gpa, gpa + length)` with the store's bytes from `offset`; what was mapped there is replaced. All three page-aligned.
   * @throws HypervisorError `ERR_GPA_RANGE` when they are not
   */
  map(gpa: number, length: number, offset: number, access: number = GPA_ACCESS.ALL): void {
    checkPages(gpa, length)
    if (offset % PAGE_SIZE !== 0 || offset < 0)
      throw new HypervisorError('ERR_GPA_RANGE', `The store's offset ${offset} is not page-aligned`)
    this.#base.set({ gpa, end: gpa + length, offset, access })
    this.#refreshMap(gpa, length)
  }

  /**
   * Accesses to `[gpa, gpa + length)` are intercepts from now on.
   * @throws HypervisorError `ERR_GPA_RANGE` when it is not whole pages
   */
  unmap(gpa: number, length: number): void {
    checkPages(gpa, length)
    this.#base.remove(gpa, gpa + length)
    this.#refreshMap(gpa, length)
  }

  /**
   * Cover the page at `gpa`, whatever is there, with the page at `offset` of the store, until {@link GpaMap.uncover}. The last of several is on top.
   * @throws HypervisorError `ERR_GPA_RANGE` when `gpa` is not the address of a page
   */
  cover(gpa: number, offset: number, access: number): void {
    checkPages(gpa, PAGE_SIZE)
    const stack = this.#overlays.get(gpa)
    if (stack === undefined) this.#overlays.set(gpa, [{ offset, access }])
    else stack.push({ offset, access })
    this.#refreshMap(gpa, PAGE_SIZE)
  }

  /** Take the overlay page at `offset` of the store away from `gpa`; what it covered is seen again. */
  uncover(gpa: number, offset: number): void {
    const stack = this.#overlays.get(gpa)
    const index = stack?.findIndex((overlay) => overlay.offset === offset) ?? -1
    if (stack === undefined || index < 0) return
    stack.splice(index, 1)
    if (stack.length === 0) this.#overlays.delete(gpa)
    this.#refreshMap(gpa, PAGE_SIZE)
  }

  /** Bring `[gpa, gpa + length)` of the effective map, and the processor's, up to date. */
  #refreshMap(gpa: number, length: number): void {
    const memory = this.#memory
    const end = gpa + length
    let at = gpa
    const add = (region: Region): void => {
      if (region.gpa > at) memory.unmap(at / PAGE_SIZE, (region.gpa - at) / PAGE_SIZE)
      this.#effective.set(region)
      memory.map(region.gpa / PAGE_SIZE, (region.end - region.gpa) / PAGE_SIZE, region.offset, region.access)
      at = region.end
    }
    this.#effective.remove(gpa, end)
    for (const region of this.#base.within(gpa, end)) add(region)
    if (at < end) memory.unmap(at / PAGE_SIZE, (end - at) / PAGE_SIZE)
    for (const [page, stack] of this.#overlays) {
      if (page < gpa || page >= end) continue
      at = page
      add({ gpa: page, end: page + PAGE_SIZE, ...(stack.at(-1) as { offset: number; access: number }) })
    }
  }

  /** Whether any byte of `[gpa, gpa + length)` is mapped. */
  overlaps(gpa: number, length: number): boolean {
    return this.#base.within(gpa, gpa + length).length > 0
  }

  /** The mapped ranges in ascending order, as if there were no overlays: address `gpa`, `length` in bytes, and `access`, bits of GPA_ACCESS. */
  ranges(): { gpa: number; length: number; access: number }[] {
    return this.#base.regions.map(({ gpa, end, access }) => ({ gpa, length: end - gpa, access }))
  }

  /** The bytes of RAM at `[offset, offset + length)` of it, mapped or not. Tell {@link GpaMap.written} of stores. */
  ramView(offset: number, length: number): Uint8Array {
    this.#refresh()
    const start = this.#memory.ramOffset + offset
    return this.#bytes.subarray(start, start + Math.min(length, this.ramSize - offset))
  }

  /** The bytes mapped at `[gpa, gpa + length)` under all overlays, where they are contiguous. Tell {@link GpaMap.written} of stores. */
  baseView(gpa: number, length: number): Uint8Array | undefined {
    const region = this.#base.find(gpa)
    if (region === undefined || !(length >= 0 && gpa + length <= region.end)) return undefined
    this.#refresh()
    const at = region.offset + gpa - region.gpa
    return this.#bytes.subarray(at, at + length)
  }

  isRam(gpa: number, length: number): boolean {
    return this.#covered(gpa, length, GPA_ACCESS.READ)
  }

  read(gpa: number, target: Uint8Array): boolean {
    if (!this.#covered(gpa, target.length, GPA_ACCESS.READ)) return false
    this.#refresh()
    let done = 0
    while (done < target.length) {
      const region = this.#effective.find(gpa + done) as Region
      const count = Math.min(target.length - done, region.end - gpa - done)
      const from = region.offset + gpa + done - region.gpa
      target.set(this.#bytes.subarray(from, from + count), done)
      done += count
    }
    return true
  }

  write(gpa: number, source: Uint8Array): boolean {
    if (!this.#covered(gpa, source.length, GPA_ACCESS.WRITE)) return false
    this.#refresh()
    let done = 0
    while (done < source.length) {
      const region = this.#effective.find(gpa + done) as Region
      const count = Math.min(source.length - done, region.end - gpa - done)
      const to = region.offset + gpa + done - region.gpa
      this.#bytes.set(count === source.length ? source : source.subarray(done, done + count), to)
      done += count
    }
    if (done > 0) this.#memory.written(gpa, done)
    return true
  }

  fill(gpa: number, length: number, value: number): boolean {
    if (!this.#covered(gpa, length, GPA_ACCESS.WRITE)) return false
    this.#refresh()
    let done = 0
    while (done < length) {
      const region = this.#effective.find(gpa + done) as Region
      const count = Math.min(length - done, region.end - gpa - done)
      const to = region.offset + gpa + done - region.gpa
      this.#bytes.fill(value, to, to + count)
      done += count
    }
    if (done > 0) this.#memory.written(gpa, done)
    return true
  }

  readU8(gpa: number): number | undefined {
    const at = this.#locate(gpa, 1, GPA_ACCESS.READ)
    return at < 0 ? undefined : this.#view.getUint8(at)
  }

  readU16(gpa: number): number | undefined {
    const at = this.#locate(gpa, 2, GPA_ACCESS.READ)
    if (at >= 0) return this.#view.getUint16(at, true)
    return this.#readScratch(gpa, 2) ? this.#scratchView.getUint16(0, true) : undefined
  }

  readU32(gpa: number): number | undefined {
    const at = this.#locate(gpa, 4, GPA_ACCESS.READ)
    if (at >= 0) return this.#view.getUint32(at, true)
    return this.#readScratch(gpa, 4) ? this.#scratchView.getUint32(0, true) : undefined
  }

  readU64(gpa: number): bigint | undefined {
    const at = this.#locate(gpa, 8, GPA_ACCESS.READ)
    if (at >= 0) return this.#view.getBigUint64(at, true)
    return this.#readScratch(gpa, 8) ? this.#scratchView.getBigUint64(0, true) : undefined
  }

  writeU8(gpa: number, value: number): boolean {
    const at = this.#locate(gpa, 1, GPA_ACCESS.WRITE)
    if (at < 0) return false
    this.#view.setUint8(at, value)
    this.#memory.written(gpa, 1)
    return true
  }

  writeU16(gpa: number, value: number): boolean {
    const at = this.#locate(gpa, 2, GPA_ACCESS.WRITE)
    if (at < 0) {
      this.#scratchView.setUint16(0, value, true)
      return this.write(gpa, this.#scratch.subarray(0, 2))
    }
    this.#view.setUint16(at, value, true)
    this.#memory.written(gpa, 2)
    return true
  }

  writeU32(gpa: number, value: number): boolean {
    const at = this.#locate(gpa, 4, GPA_ACCESS.WRITE)
    if (at < 0) {
      this.#scratchView.setUint32(0, value, true)
      return this.write(gpa, this.#scratch.subarray(0, 4))
    }
    this.#view.setUint32(at, value, true)
    this.#memory.written(gpa, 4)
    return true
  }

  writeU64(gpa: number, value: bigint): boolean {
    const at = this.#locate(gpa, 8, GPA_ACCESS.WRITE)
    if (at < 0) {
      this.#scratchView.setBigUint64(0, value, true)
      return this.write(gpa, this.#scratch)
    }
    this.#view.setBigUint64(at, value, true)
    this.#memory.written(gpa, 8)
    return true
  }

  view(gpa: number, length: number, access: 'read' | 'write' = 'read'): Uint8Array | undefined {
    const at = this.#locate(gpa, length, access === 'read' ? GPA_ACCESS.READ : GPA_ACCESS.WRITE)
    return at < 0 ? undefined : this.#bytes.subarray(at, at + length)
  }

  written(gpa: number, length: number): void {
    this.#memory.written(gpa, length)
  }

  /** Byte offset of `gpa` in the store when the whole element lies in one region, else -1. */
  #locate(gpa: number, length: number, access: number): number {
    const region = this.#effective.find(gpa)
    if (region === undefined || !(length >= 0 && gpa + length <= region.end)) return -1
    if ((region.access & access) !== access) return -1
    this.#refresh()
    return region.offset + gpa - region.gpa
  }

  #readScratch(gpa: number, length: number): boolean {
    return this.read(gpa, this.#scratch.subarray(0, length))
  }

  /** The store may grow, which gives it a new buffer. */
  #refresh(): void {
    const buffer = this.#memory.buffer
    if (buffer === this.#buffer) return
    this.#buffer = buffer
    this.#bytes = new Uint8Array(buffer)
    this.#view = new DataView(buffer)
  }

  #covered(gpa: number, length: number, access: number): boolean {
    const end = gpa + length
    if (!(length >= 0) || !(end <= Number.MAX_SAFE_INTEGER)) return false
    let at = gpa
    while (at < end) {
      const region = this.#effective.find(at)
      if (region === undefined || (region.access & access) !== access) return false
      at = region.end
    }
    return true
  }
}

/** @throws HypervisorError `ERR_GPA_RANGE` when the range is not whole pages of the address space */
export function checkPages(gpa: number, length: number): void {
  const whole = gpa % PAGE_SIZE === 0 && length % PAGE_SIZE === 0
  if (!whole || !(gpa >= 0) || !(length > 0) || !(gpa + length <= Number.MAX_SAFE_INTEGER)) {
    throw new HypervisorError('ERR_GPA_RANGE', `The range ${hex(gpa)} + ${hex(length)} is not whole pages`, {
      data: { gpa, length },
    })
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}
