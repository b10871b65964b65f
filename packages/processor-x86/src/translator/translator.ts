// Decides what is translated, keeps what has been, and takes it away when the code changes. A region is entered by the record of the block that it begins with, whose handler it
// becomes: so jump caches, links between blocks and the invalidation of decoded code hold for translated code as they are.

import type { CodeCache } from '../code-cache.ts'
import { MODE, type Mode } from '../decoder/mode.ts'
import { HANDLER } from '../interpreter/handler.ts'
import type { SoftwareMemory } from '../memory.ts'
import { RECORD } from '../state-layout.ts'
import {
  type CompiledRegion,
  type CompileJob,
  type CompileResult,
  inlineCompiler,
  type RegionCompilation,
  type RegionCompiler,
} from './compilation.ts'
import type { Region } from './region.ts'

const PAGE = 4096

/** What the translator may be told. */
export interface TranslationOptions {
  readonly mode: 'off' | 'on'
  /** Samples of a block before it is translated; 1: every block is translated before its first execution. */
  readonly threshold?: number
  /** Most instructions of a region. */
  readonly instructions?: number
  /** Who compiles. By default the virtual processor's own thread does. */
  readonly compiler?: RegionCompiler | undefined
}
export const TRANSLATION_DEFAULTS = {
  threshold: 2,
  instructions: 200,
} as const

/** Places in the function table for regions. */
export const MAXIMUM_REGIONS = 16384
/** Modules in use: an instance costs about 20 KiB. */
const MAXIMUM_MODULES = 2048
/** Instructions that are interpreted between two samples: these, and at random up to 2 ** (32 - SAMPLE_SHIFT) more. */
const SAMPLE = 700
const SAMPLE_SHIFT = 23
/** Samples between two looks at what the compiler has done. */
const POLL = 16
/** Code that keeps changing becomes colder and colder. */
const MAXIMUM_CHANGES = 10

/** Regions that were compiled together: they come and go as one, because one instance holds them. */
interface Batch {
  readonly first: number
  /** Logarithm of the places it has. */
  readonly size: number
  readonly regions: Set<Installed>
}
/** A region in use. */
interface Installed {
  readonly record: number
  readonly page: number
  readonly ranges: Region['ranges']
  readonly batch: Batch
  readonly place: number
  /** What the record said before. */
  readonly handler: number
  readonly function: number
}
/** A region that is being compiled. */
interface Ordered {
  readonly record: number
  readonly page: number
  /** Its block was dropped meanwhile. */
  stale: boolean
}

/** Figures for people. */
export interface TranslationStatistics {
  /** Instructions that translated code executed. */
  readonly executed: number
  /** Regions in use. */
  readonly regions: number
  /** Modules in use. */
  readonly modules: number
  readonly translated: number
  readonly instructions: number
  /** Dropped because code changed. */
  readonly dropped: number
  readonly evicted: number
  /** Bytes of WebAssembly. */
  readonly bytes: number
  /** Milliseconds, on whatever thread. */
  readonly emitTime: number
  readonly compileTime: number
  readonly jobs: number
}

export class Translator {
  readonly #memory: SoftwareMemory
  readonly #view: DataView
  readonly #base: number
  readonly #code: CodeCache
  readonly #table: WebAssembly.Table
  readonly #tableBase: number
  readonly #imports: WebAssembly.Imports
  readonly #compilation: RegionCompilation
  readonly #compiler: RegionCompiler
  readonly threshold: number
  readonly #instructions: number

  readonly #byRecord = new Map<number, Installed>()
  readonly #byPage = new Map<number, Set<Installed>>()
  /** By age. */
  readonly #batches = new Set<Batch>()
  /** First places of free runs of 1, 2, 4 … places. */
  readonly #free: number[][] = []
  #placesUsed = 0
  readonly #heat = new Map<number, number>()
  /** Records of blocks to be translated, by age. */
  readonly #queue = new Set<number>()
  #ordered: readonly Ordered[] | undefined
  #samples = 0
  #random = 1
  /** How often regions of a page were dropped because it changed. */
  readonly #changes = new Map<number, number>()
  /** Instructions that translated code executed. */
  executed = 0
  #statistics = {
    translated: 0,
    instructions: 0,
    dropped: 0,
    evicted: 0,
    bytes: 0,
    emitTime: 0,
    compileTime: 0,
    jobs: 0,
  }

  constructor(options: {
    readonly memory: SoftwareMemory
    readonly base: number
    readonly compilation: RegionCompilation
    readonly code: CodeCache
    readonly table: WebAssembly.Table
    /** Place of the first region in the table. */
    readonly tableBase: number
    readonly imports: WebAssembly.Imports
    readonly translation: TranslationOptions
  }) {
    const { translation } = options
    this.#memory = options.memory
    this.#view = options.memory.view
    this.#base = options.base
    this.#code = options.code
    this.#table = options.table
    this.#tableBase = options.tableBase
    this.#imports = options.imports
    this.#compilation = options.compilation
    this.threshold = translation.threshold ?? TRANSLATION_DEFAULTS.threshold
    this.#instructions = translation.instructions ?? TRANSLATION_DEFAULTS.instructions
    this.#compiler = translation.compiler ?? inlineCompiler(options.compilation)
  }

  // --- what is hot

  /** Instructions to interpret until the next sample: not always the same number, or loops would be met at one of their blocks only. */
  nextSample(): number {
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) | 0
    return SAMPLE + (this.#random >>> SAMPLE_SHIFT)
  }

  /** The interpreter was seen at the block with this record. */
  sample(record: number): void {
    if (this.#ordered && ++this.#samples % POLL === 0) this.#compiler.poll()
    if (!this.#byRecord.has(record) && !this.#queue.has(record)) {
      const heat = (this.#heat.get(record) ?? 0) + 1
      this.#heat.set(record, heat)
      if (heat >= this.threshold) {
        const page = this.#code.placeOf(record)?.page ?? -1
        const changes = this.#changes.get(page)
        if (changes === undefined || heat >= this.threshold << changes) this.#queue.add(record)
      }
    }
    if (this.#queue.size > 0 && !this.#ordered) this.#order()
  }
  /** Give the compiler what is queued. */
  #order(): void {
    const ordered: Ordered[] = []
    const regions: CompileJob['regions'][number][] = []
    for (const record of this.#queue) {
      if (regions.length === this.#compiler.batch) break
      this.#queue.delete(record)
      // once it is ordered, heat is no matter until the region is gone
      this.#heat.set(record, Number.NEGATIVE_INFINITY)
      const place = this.#code.placeOf(record)
      if (!place || (place.mode !== MODE.LONG && place.mode !== MODE.CODE32)) continue
      ordered.push({ record, page: place.page, stale: false })
      regions.push({
        page: this.#hostOf(place.page),
        entry: place.start,
        mode: place.mode,
        known: this.#code.starts(place.page, place.mode),
        name: `region ${(place.page * PAGE + place.start).toString(16)}`,
      })
    }
    if (regions.length === 0) return
    const batch = this.#allocate(regions.length)
    this.#ordered = ordered
    this.#statistics.jobs++
    this.#compiler.compile(this.#job(batch, regions), (result) => {
      this.#ordered = undefined
      if (result) this.#install(batch, ordered, result)
      if (batch.regions.size === 0) this.#release(batch)
    })
  }
  /** Translate the block with this record now. */
  translate(record: number, page: number, offset: number, mode: Mode): void {
    if (mode !== MODE.LONG && mode !== MODE.CODE32) return
    const batch = this.#allocate(1)
    const result = this.#compilation.run(
      this.#job(batch, [
        {
          page: this.#hostOf(page),
          entry: offset,
          mode,
          known: undefined,
          name: `region ${(page * PAGE + offset).toString(16)}`,
        },
      ]),
    )
    this.#install(batch, [{ record, page, stale: false }], result)
    if (batch.regions.size === 0) this.#release(batch)
  }
  #hostOf(page: number): number {
    return ((this.#memory.gpaMap[page] as number) & ~0xfff) >>> 0
  }
  #job(batch: Batch, regions: CompileJob['regions']): CompileJob {
    return {
      base: this.#base,
      memory: this.#memory.buffer,
      tableBase: this.#tableBase + batch.first,
      instructions: this.#instructions,
      regions,
    }
  }

  // --- regions in use

  #install(batch: Batch, ordered: readonly Ordered[], result: CompileResult): void {
    const statistics = this.#statistics
    statistics.emitTime += result.emitTime
    statistics.compileTime += result.compileTime
    statistics.bytes += result.size
    if (!result.module) return
    new WebAssembly.Instance(result.module, this.#imports)
    ordered.forEach(({ record, page, stale }, i) => {
      const compiled = result.regions[i]
      if (!compiled) return
      statistics.translated++
      statistics.instructions += compiled.instructions
      if (stale || this.#byRecord.has(record)) return
      if (!this.#unchanged(page, compiled)) {
        this.#heat.delete(record)
        return
      }
      const region: Installed = {
        record,
        page,
        ranges: compiled.ranges,
        batch,
        place: compiled.place,
        handler: this.#view.getUint16(record + RECORD.HANDLER, true),
        function: this.#view.getUint16(record + RECORD.FUNCTION, true),
      }
      this.#view.setUint16(record + RECORD.HANDLER, HANDLER.REGION, true)
      this.#view.setUint16(record + RECORD.FUNCTION, region.place, true)
      batch.regions.add(region)
      this.#byRecord.set(record, region)
      const regions = this.#byPage.get(page)
      if (regions) regions.add(region)
      else this.#byPage.set(page, new Set([region]))
    })
  }

  /** Whether a page still has the bytes that were translated. */
  #unchanged(page: number, { ranges, bytes }: CompiledRegion): boolean {
    const { u8 } = this.#memory
    const host = this.#hostOf(page)
    let at = 0
    for (const [from, to] of ranges) {
      for (let i = from; i < to; i++) if (u8[host + i] !== bytes[at++]) return false
    }
    return true
  }

  #allocate(regions: number): Batch {
    const size = Math.ceil(Math.log2(regions))
    let first = this.#take(size)
    while (first < 0) {
      this.#evict()
      first = this.#take(size)
    }
    const batch: Batch = { first, size, regions: new Set() }
    this.#batches.add(batch)
    return batch
  }
  /** The first of a run of places, or -1. */
  #take(size: number): number {
    if (this.#batches.size >= MAXIMUM_MODULES) return -1
    const free = this.#free[size]?.pop()
    if (free !== undefined) return free
    if (this.#placesUsed + (1 << size) <= MAXIMUM_REGIONS) {
      const first = this.#placesUsed
      this.#placesUsed += 1 << size
      return first
    }
    for (let larger = size + 1; larger < this.#free.length; larger++) {
      const first = this.#free[larger]?.pop()
      if (first === undefined) continue
      for (let rest = larger - 1; rest >= size; rest--) this.#give(rest, first + (1 << rest))
      return first
    }
    return -1
  }
  #give(size: number, first: number): void {
    while (this.#free.length <= size) this.#free.push([])
    this.#free[size]?.push(first)
  }
  #release(batch: Batch): void {
    if (!this.#batches.delete(batch)) return
    for (let i = 0; i < 1 << batch.size; i++) this.#table.set(this.#tableBase + batch.first + i, null)
    this.#give(batch.size, batch.first)
  }
  /** The oldest eighth goes: what of it is still hot will be back. */
  #evict(): void {
    let left = Math.max(1, this.#batches.size >> 3)
    for (const batch of this.#batches) {
      if (batch.regions.size === 0) continue
      if (left-- === 0) break
      for (const region of [...batch.regions]) {
        this.#heat.delete(region.record)
        this.#remove(region, true)
        this.#statistics.evicted++
      }
    }
  }

  /** Bytes `[start, end)` of a page have changed. */
  invalidate(page: number, start: number, end: number): void {
    const regions = this.#byPage.get(page)
    if (!regions) return
    for (const region of regions) {
      if (!overlaps(region.ranges, start, end)) continue
      this.#heat.delete(region.record)
      this.#remove(region, true)
      this.#changed(page)
    }
  }
  #changed(page: number): void {
    this.#statistics.dropped++
    this.#changes.set(page, Math.min((this.#changes.get(page) ?? 0) + 1, MAXIMUM_CHANGES))
  }
  /** Whether bytes `[start, end)` of a page are part of a region. */
  covers(page: number, start: number, end: number): boolean {
    for (const { ranges } of this.#byPage.get(page) ?? []) if (overlaps(ranges, start, end)) return true
    return false
  }
  /** A block was dropped: its record means something else now. */
  blockDropped(record: number): void {
    this.#heat.delete(record)
    this.#queue.delete(record)
    for (const order of this.#ordered ?? []) if (order.record === record) order.stale = true
    const region = this.#byRecord.get(record)
    if (!region) return
    this.#remove(region, false)
    this.#changed(region.page)
  }
  #remove(region: Installed, restore: boolean): void {
    const { record, page, batch } = region
    if (restore) {
      this.#view.setUint16(record + RECORD.HANDLER, region.handler, true)
      this.#view.setUint16(record + RECORD.FUNCTION, region.function, true)
    }
    this.#byRecord.delete(record)
    const regions = this.#byPage.get(page)
    regions?.delete(region)
    if (regions?.size === 0) this.#byPage.delete(page)
    batch.regions.delete(region)
    if (batch.regions.size === 0) this.#release(batch)
  }
  /** All blocks were dropped. */
  reset(): void {
    for (const region of [...this.#byRecord.values()]) this.#remove(region, false)
    this.#heat.clear()
    this.#queue.clear()
    this.#changes.clear()
    for (const order of this.#ordered ?? []) order.stale = true
  }

  get statistics(): TranslationStatistics {
    return { executed: this.executed, regions: this.#byRecord.size, modules: this.#batches.size, ...this.#statistics }
  }
}

function overlaps(ranges: Region['ranges'], start: number, end: number): boolean {
  return ranges.some(([from, to]) => from < end && to > start)
}
