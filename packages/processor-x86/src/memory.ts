// A partition's memory: one shared WebAssembly.Memory with the virtual processors' state, their decoded code, the GPA map and RAM.

import { GPA_ACCESS, type PartitionMemory } from '@partita/interface'
import { ProcessorError } from './processor-error.ts'
import { CACHES, STATE_AREA } from './state-layout.ts'

const PAGE = 4096
const WASM_PAGE = 65536
/** Largest number of virtual processors. */
export const MAXIMUM_VPS = 4
/** State and caches. */
const VP_AREA = roundUp(STATE_AREA + CACHES.SIZE, WASM_PAGE)
/** Decoded records of one virtual processor: 512 Ki instructions. */
const ARENA_SIZE = 16 * 1024 * 1024
/** Pages below 4 GiB, each with its entry in the GPA map. */
export const GPA_PAGES: number = 1 << 20
/** Pages outside RAM: the hypervisor's own, and a ROM of up to 512 KiB. A multiple of 32. */
const OVERLAY_PAGES = 192
/** Entries of the GPA map: above 4 GiB only overlay pages can be, and those that are have an entry behind the others. Its index stands for the page everywhere. */
export const MAP_PAGES: number = GPA_PAGES + OVERLAY_PAGES
/** Physical addresses have 40 bits. */
const GPA_END = 2 ** 40

/** Bits of a GPA map entry beside the rights (GPA_ACCESS): the offset in memory is in the bits above the low twelve. */
export const GPA_CODE = 8
const RIGHTS = GPA_ACCESS.ALL | GPA_ACCESS.PROTECTED

/** RAM is at most 3 GiB: what lies below the window for devices under 4 GiB. */
export const MAXIMUM_RAM: number = 0xc0000000 - 64 * 1024 * 1024

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}

/** Told when code may have changed. */
export interface CodeObserver {
  /** A page holds decoded code from now on: writes to it have to take the slow path. */
  codePage(page: number): void
  /** Bytes of a page that holds decoded code are about to be seen changed. `page` is the GPA page; offsets are in the page. */
  codeWritten(page: number, start: number, end: number): void
  /** The GPA map changed. */
  mapChanged(page: number, pages: number): void
}

export class SoftwareMemory implements PartitionMemory {
  readonly wasm: WebAssembly.Memory
  readonly buffer: ArrayBufferLike
  readonly pages: number
  readonly ramOffset: number
  readonly ramSize: number
  readonly gpaEnd: number = GPA_END
  readonly u8: Uint8Array
  readonly i32: Int32Array
  readonly u32: Uint32Array
  readonly i64: BigInt64Array
  readonly u64: BigUint64Array
  readonly view: DataView
  /** One entry a page of {@link MAP_PAGES}. */
  readonly gpaMap: Uint32Array
  /** Entries of the pages above 4 GiB that are mapped, by page number. */
  readonly #high: Map<number, number> = new Map()
  readonly #overlayOffset: number
  #overlays = 0
  #vps = 0
  readonly #observers: CodeObserver[] = []
  /** How many virtual processors have decoded code of a page; the bit in the GPA map is set while that is not 0. */
  readonly #codeHolders: Uint8Array = new Uint8Array(MAP_PAGES)

  constructor(ramSize: number) {
    const vpStart = WASM_PAGE
    const arenaStart = vpStart + MAXIMUM_VPS * VP_AREA
    const mapStart = arenaStart + MAXIMUM_VPS * ARENA_SIZE
    this.#overlayOffset = roundUp(mapStart + MAP_PAGES * 4, PAGE)
    this.ramOffset = roundUp(this.#overlayOffset + OVERLAY_PAGES * PAGE, WASM_PAGE)
    this.ramSize = ramSize
    this.pages = Math.ceil((this.ramOffset + ramSize) / WASM_PAGE)
    try {
      this.wasm = new WebAssembly.Memory({ initial: this.pages, maximum: this.pages, shared: true })
    } catch (cause) {
      throw new ProcessorError(
        'ERR_PROCESSOR_MEMORY',
        `The host cannot give ${Math.round(ramSize / 1048576)} MiB of memory`,
        {
          hint: 'Give the partition less memory.',
          cause,
        },
      )
    }
    this.buffer = this.wasm.buffer
    this.u8 = new Uint8Array(this.buffer)
    this.i32 = new Int32Array(this.buffer)
    this.u32 = new Uint32Array(this.buffer)
    this.i64 = new BigInt64Array(this.buffer)
    this.u64 = new BigUint64Array(this.buffer)
    this.view = new DataView(this.buffer)
    this.gpaMap = new Uint32Array(this.buffer, mapStart, MAP_PAGES)
  }

  /** Areas of a new virtual processor: offsets of its state, which its caches follow, and of its records. */
  allocateVp(): { state: number; arena: number; arenaEnd: number } {
    if (this.#vps === MAXIMUM_VPS) {
      throw new ProcessorError('ERR_PROCESSOR_MEMORY', `At most ${MAXIMUM_VPS} virtual processors`)
    }
    const vp = this.#vps++
    const state = WASM_PAGE + vp * VP_AREA
    const arena = WASM_PAGE + MAXIMUM_VPS * VP_AREA + vp * ARENA_SIZE
    return { state, arena, arenaEnd: arena + ARENA_SIZE }
  }

  /** How many virtual processors share the memory. */
  get processors(): number {
    return this.#vps
  }

  observe(observer: CodeObserver): void {
    this.#observers.push(observer)
  }

  map(gpaPage: number, pages: number, offset: number, access: number): void {
    if (gpaPage < 0 || gpaPage + pages > GPA_END / PAGE || offset % PAGE !== 0)
      throw new ProcessorError('ERR_PROCESSOR_MEMORY', 'A mapping must be whole pages of the address space')
    this.#set(gpaPage, pages, offset + (access & RIGHTS))
  }
  unmap(gpaPage: number, pages: number): void {
    this.#set(gpaPage, pages, 0)
  }
  /** Give pages the entries from `first` on, or none when that is 0. */
  #set(gpaPage: number, pages: number, first: number): void {
    const end = gpaPage + pages
    const low = Math.min(end, GPA_PAGES) - gpaPage
    if (low > 0) this.#setEntries(gpaPage, low, first)
    if (first === 0) {
      for (const [page, entry] of this.#high) {
        if (page < gpaPage || page >= end) continue
        this.#high.delete(page)
        this.#setEntries(entry, 1, 0)
      }
      return
    }
    for (let page = Math.max(gpaPage, GPA_PAGES); page < end; page++)
      this.#setEntries(this.#highEntry(page), 1, first + (page - gpaPage) * PAGE)
  }
  #setEntries(page: number, pages: number, first: number): void {
    this.#changed(page, pages)
    if (first === 0) this.gpaMap.fill(0, page, page + pages)
    else for (let i = 0; i < pages; i++) this.gpaMap[page + i] = first + i * PAGE
    for (const observer of this.#observers) observer.mapChanged(page, pages)
  }
  /** The index of the entry for a page above 4 GiB, which has one from now on. */
  #highEntry(page: number): number {
    const known = this.#high.get(page)
    if (known !== undefined) return known
    const taken = new Set(this.#high.values())
    let entry = GPA_PAGES
    while (taken.has(entry)) entry++
    if (entry === MAP_PAGES)
      throw new ProcessorError('ERR_PROCESSOR_MEMORY', `At most ${OVERLAY_PAGES} pages can be mapped above 4 GiB`)
    this.#high.set(page, entry)
    return entry
  }
  /** What stands for a page number of the address space in the GPA map, and in everything that goes by it: of a page that is nowhere, {@link MAP_PAGES} behind it. */
  mapPage(page: number): number {
    return page < GPA_PAGES ? page : (this.#high.get(page) ?? page + MAP_PAGES)
  }
  /** The reverse of {@link SoftwareMemory.mapPage}. */
  gpaPage(mapPage: number): number {
    if (mapPage < GPA_PAGES) return mapPage
    for (const [page, entry] of this.#high) if (entry === mapPage) return page
    return mapPage - MAP_PAGES
  }
  #changed(gpaPage: number, pages: number): void {
    for (let page = gpaPage; page < gpaPage + pages; page++) {
      if ((this.gpaMap[page] ?? 0) & GPA_CODE) this.codeWritten(page, 0, PAGE)
    }
  }

  translate(gpa: number, access: number): number {
    const entry = this.gpaMap[this.mapPage(Math.floor(gpa / PAGE))] ?? 0
    if ((entry & access) !== access || entry === 0) return -1
    return (entry >>> 12) * PAGE + (gpa % PAGE)
  }

  allocateOverlay(): number {
    if (this.#overlays === OVERLAY_PAGES) throw new ProcessorError('ERR_PROCESSOR_MEMORY', 'No overlay page is left')
    return this.#overlayOffset + this.#overlays++ * PAGE
  }

  written(gpa: number, length: number): void {
    if (length <= 0) return
    const first = Math.floor(gpa / PAGE)
    const last = Math.floor((gpa + length - 1) / PAGE)
    for (let page = first; page <= last; page++) {
      const mapped = page < GPA_PAGES ? page : this.mapPage(page)
      if (!((this.gpaMap[mapped] ?? 0) & GPA_CODE)) continue
      const start = page === first ? gpa - first * PAGE : 0
      const end = page === last ? Math.min(PAGE, gpa + length - page * PAGE) : PAGE
      this.codeWritten(mapped, start, end)
    }
  }
  /** A virtual processor that had no decoded code of a page has some now. */
  addCodePage(page: number): void {
    this.#codeHolders[page] = (this.#codeHolders[page] as number) + 1
    if (((this.gpaMap[page] as number) & GPA_CODE) !== 0) return
    this.gpaMap[page] = (this.gpaMap[page] as number) | GPA_CODE
    // Each processor has its own translations that allow writes.
    for (const observer of this.#observers) observer.codePage(page)
  }
  /** A virtual processor has no decoded code of a page any more; others may. */
  dropCodePage(page: number): void {
    const holders = (this.#codeHolders[page] as number) - 1
    this.#codeHolders[page] = holders
    if (holders === 0) this.gpaMap[page] = (this.gpaMap[page] as number) & ~GPA_CODE
  }
  /** Bytes `[start, end)` of a code page have changed. */
  codeWritten(page: number, start: number, end: number): void {
    for (const observer of this.#observers) observer.codeWritten(page, start, end)
  }
}
