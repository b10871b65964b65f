// Decides what is translated, keeps what has been, and takes it away when the code changes. A region is entered by the record of the block that it begins with, whose handler it
// becomes: so jump caches, links between blocks and the invalidation of decoded code hold for translated code as they are.

import type { CodeCache } from '../code-cache.ts'
import { MODE, type Mode } from '../decoder/mode.ts'
import { HANDLER } from '../interpreter/handler.ts'
import type { SoftwareMemory } from '../memory.ts'
import { JUMP_ENTRIES, RECORD } from '../state-layout.ts'
import {
  type CompileJob,
  type CompileResult,
  inlineCompiler,
  type PageRequest,
  type RegionCompilation,
  type RegionCompiler,
} from './compilation.ts'
import { Consolidation } from './consolidation.ts'
import { RegionPlaces } from './region-places.ts'

const PAGE = 4096

/** What the translator may be told. */
export interface TranslationOptions {
  /** Whether anything is translated; `off` leaves all to the interpreter. */
  readonly mode: 'off' | 'on'
  /** Samples of a block before it is translated; 1: every block is translated before its first execution. */
  readonly threshold?: number
  /** Most instructions of a region. */
  readonly instructions?: number
  /** Most regions in use, a power of 2 or the next below it; of those that have not been executed for a while, those that were compiled first go first. */
  readonly regions?: number
  /** Who compiles. By default the virtual processor's own thread does. */
  readonly compiler?: RegionCompiler | undefined
}
/** Measured: see "The translator" in the architecture page. */
export const TRANSLATION_DEFAULTS = {
  /** As {@link TranslationOptions.threshold}. */
  threshold: 24,
  /** As {@link TranslationOptions.instructions}. */
  instructions: 64,
  /** As {@link TranslationOptions.regions}. */
  regions: 16384,
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
/** Most pages that one region takes code of. */
const MAXIMUM_PAGES = 8
/** Code that keeps changing becomes colder and colder. */
const MAXIMUM_CHANGES = 10
/** Instructions after which code has not changed but given place to other code: the page is used for something else. */
const SETTLED = 20_000_000

/** A loop in which more than one of so many slices end takes much of the time. */
const BUSY = 32

/** Regions that were compiled together: they come and go as one, because one instance holds them. */
interface Batch {
  readonly first: number
  /** Logarithm of the places it has. */
  readonly size: number
  readonly regions: Set<Installed>
  /** Compiled anew, with many others. */
  readonly consolidated: boolean
}
/** A region in use. */
interface Installed {
  readonly record: number
  /** Pages by their distance from the entry's. */
  readonly pages: ReadonlyMap<number, number>
  /** The bytes that it depends on. */
  readonly pieces: readonly Piece[]
  /** Records of blocks in other pages that it asks for. */
  readonly asked: readonly number[]
  readonly rip: bigint
  readonly batch: Batch
  readonly place: number
  /** Instructions executed before it was put to use. */
  readonly since: number
  /** Slices that have ended at its entry since it is watched: those of a loop that takes much of the time. */
  ends: number
  /** What the record said before. */
  readonly handler: number
  readonly function: number
}
/** Bytes `[start, end)` of a page. */
interface Piece {
  readonly page: number
  readonly start: number
  readonly end: number
}
/** A block that was met by samples often enough. */
interface Hot {
  readonly record: number
  /** RIP and the jump cache in use then. */
  readonly lo: number
  readonly hi: number
  readonly jumps: number
}
/** A region that is being compiled. */
interface Ordered {
  readonly record: number
  /** Pages by their distance from the entry's. */
  readonly pages: ReadonlyMap<number, number>
  readonly rip: bigint
  /** The same region as it is in use, if it is compiled anew. */
  readonly before: Installed | undefined
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
  /** Compiled anew, many to a module. */
  readonly consolidated: number
  /** Bytes of WebAssembly. */
  readonly bytes: number
  /** Milliseconds, on whatever thread. */
  readonly emitTime: number
  readonly compileTime: number
  readonly jobs: number
  /** Regions that executed most, when instructions are counted by region. */
  readonly top: readonly RegionCount[]
}
/** What one region executed. */
export interface RegionCount {
  /** RIP of its entry when it was found to be hot. */
  readonly rip: bigint
  readonly instructions: number
}

/** Bytes that tell of all regions whether they were executed. */
export const USED_SIZE: number = MAXIMUM_REGIONS
/** Bytes of the counters of all regions. */
export const COUNTERS_SIZE: number = MAXIMUM_REGIONS * 8
/** Regions that are told of, and whose counts are kept after they have gone. */
const TOP = 20
const KEPT_COUNTS = 4096

export class Translator {
  readonly #memory: SoftwareMemory
  readonly #view: DataView
  readonly #base: number
  readonly #code: CodeCache
  readonly #table: WebAssembly.Table
  readonly #tableBase: number
  readonly #imports: WebAssembly.Imports
  readonly #compilation: RegionCompilation
  #compiler: RegionCompiler
  readonly #maximum: number
  readonly #used: number
  readonly #counters: number | undefined
  /** Counts of regions that have gone, by RIP. */
  readonly #counted = new Map<bigint, number>()
  readonly threshold: number
  readonly #instructions: number

  readonly #byRecord = new Map<number, Installed>()
  readonly #byPage = new Map<number, Set<Installed>>()
  /** Regions that ask for a block. */
  readonly #askers = new Map<number, Set<Installed>>()
  /** By age, or by when they were last found to be in use. */
  readonly #batches = new Set<Batch>()
  readonly #places: RegionPlaces
  readonly #heat = new Map<number, number>()
  /** Blocks to be translated, by record, by age. */
  readonly #queue = new Map<number, Hot>()
  /** Samples since the queue was empty. */
  #waited = 0
  #ordered: readonly Ordered[] | undefined
  #consolidation: Consolidation<Installed> | undefined
  /** Slices that have ended in translated code since regions are watched. */
  #ends = 0
  /** Records of blocks that were dropped meanwhile. */
  readonly #droppedMeanwhile = new Set<number>()
  #samples = 0
  #random = 1
  /** How often a page with regions has changed, and when it did last. */
  readonly #changes = new Map<number, { readonly times: number; readonly at: number }>()
  /** Instructions executed, about: those of translated code, and what lies between samples. */
  get #now(): number {
    return this.executed + this.#taken * SAMPLE
  }
  #taken = 0
  /** Instructions that translated code executed. */
  executed = 0
  #statistics = {
    translated: 0,
    instructions: 0,
    dropped: 0,
    evicted: 0,
    consolidated: 0,
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
    /** Offset in memory of {@link USED_SIZE} bytes. */
    readonly used: number
    /** Offset in memory of {@link COUNTERS_SIZE} bytes for counters, if instructions are counted by region. */
    readonly counters: number | undefined
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
    this.#used = options.used
    this.#counters = options.counters
    this.threshold = translation.threshold ?? TRANSLATION_DEFAULTS.threshold
    this.#instructions = translation.instructions ?? TRANSLATION_DEFAULTS.instructions
    const wanted = Math.min(translation.regions ?? TRANSLATION_DEFAULTS.regions, MAXIMUM_REGIONS)
    // a power of 2, so that runs of places can be joined again
    this.#maximum = 1 << (31 - Math.clz32(Math.max(wanted, 1)))
    this.#places = new RegionPlaces(this.#maximum)
    this.#compiler = translation.compiler ?? inlineCompiler(options.compilation)
    const { consolidation } = this.#compiler
    if (consolidation) {
      this.#consolidation = new Consolidation(
        { watch: () => this.#watchScattered(), executed: () => this.#executedScattered() },
        { ...consolidation, regions: Math.min(consolidation.regions, this.#maximum >> 2) },
      )
    }
  }

  // --- what is hot

  /** Instructions to interpret until the next sample: not always the same number, or loops would be met at one of their blocks only. */
  nextSample(): number {
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) | 0
    return SAMPLE + (this.#random >>> SAMPLE_SHIFT)
  }

  /** The interpreter was seen at the block with this record: RIP, and the jump cache in use. */
  sample(record: number, lo: number, hi: number, jumps: number): void {
    this.#taken++
    if (this.#ordered && ++this.#samples % POLL === 0) this.#compiler.poll()
    if (!this.#byRecord.has(record) && !this.#queue.has(record)) {
      const heat = (this.#heat.get(record) ?? 0) + 1
      this.#heat.set(record, heat)
      if (heat >= this.threshold) {
        const page = this.#code.placeOf(record)?.page
        if (page === undefined) this.#heat.delete(record)
        else if (heat >= this.threshold << (this.#changes.get(page)?.times ?? 0)) {
          this.#queue.set(record, { record, lo, hi, jumps })
        }
      }
    }
    if (this.#ordered) return
    if (this.#queue.size === 0) {
      const regions = this.#consolidation?.next(this.#now)
      if (regions && regions.length > 0) this.#consolidate(regions)
      return
    }
    // several regions in a module cost less
    if (this.#queue.size >= this.#batch || ++this.#waited >= this.#compiler.patience) this.#order()
  }
  get #batch(): number {
    return Math.min(this.#compiler.batch, this.#maximum)
  }
  /** Give the compiler what is queued. */
  #order(): void {
    const ordered: Ordered[] = []
    const regions: CompileJob['regions'][number][] = []
    this.#waited = 0
    for (const hot of this.#queue.values()) {
      const { record } = hot
      if (regions.length === this.#batch) break
      this.#queue.delete(record)
      // once it is ordered, heat is no matter until the region is gone
      this.#heat.set(record, Number.NEGATIVE_INFINITY)
      const place = this.#code.placeOf(record)
      if (!place || (place.mode !== MODE.LONG && place.mode !== MODE.CODE32)) continue
      const pages = this.#pagesOf(hot, place.page, place.mode)
      ordered.push({ record, pages, rip: ripOf(hot), before: undefined, stale: false })
      regions.push(this.#request(place, pages))
    }
    if (regions.length === 0) return
    this.#consolidation?.ordered(regions.length)
    this.#compile(this.#allocate(regions.length), ordered, regions)
  }
  /** Compile regions anew, if there are places for them: nothing else is to go for it. */
  #consolidate(regions: readonly Installed[]): void {
    const ordered: Ordered[] = []
    const requests: CompileJob['regions'][number][] = []
    for (const before of regions) {
      const { record, pages, rip } = before
      const place = this.#code.placeOf(record)
      if (!place || this.#byRecord.get(record) !== before) continue
      ordered.push({ record, pages, rip, before, stale: false })
      requests.push(this.#request(place, pages))
    }
    if (requests.length === 0) return
    const size = sizeFor(requests.length)
    const first = this.#batches.size < MAXIMUM_MODULES ? this.#places.take(size) : -1
    if (first >= 0) this.#compile(this.#enter(first, size, true), ordered, requests)
  }
  #compile(batch: Batch, ordered: readonly Ordered[], regions: CompileJob['regions']): void {
    this.#ordered = ordered
    this.#statistics.jobs++
    this.#droppedMeanwhile.clear()
    this.#compiler.compile(this.#job(batch, regions), (result) => {
      this.#ordered = undefined
      if (result) this.#install(batch, ordered, result)
      else {
        // the thread has come to an end
        this.#compiler = inlineCompiler(this.#compilation)
        this.#consolidation = undefined
        for (const { record, before } of ordered) if (!before) this.#heat.delete(record)
      }
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
          pages: [{ distance: 0, offset: this.#hostOf(page), starts: undefined, records: undefined }],
          entry: offset,
          mode,
          name: nameOf(page, offset),
        },
      ]),
    )
    this.#install(batch, [{ record, pages: new Map([[0, page]]), rip: 0n, before: undefined, stale: false }], result)
    if (batch.regions.size === 0) this.#release(batch)
  }
  /** The pages whose code a region may take in, by distance: its own, and those where control goes from there, as far as the jump cache knows where they are. */
  #pagesOf(hot: Hot, page: number, mode: Mode): Map<number, number> {
    const places = new Map<number, number>([[0, page]])
    // elsewhere a RIP is no linear address
    if (mode !== MODE.LONG) return places
    const { lo, hi, jumps } = hot
    const start = (lo & ~0xfff) >>> 0
    for (const far of this.#code.decodedPage(page, mode).far) {
      if (places.size === MAXIMUM_PAGES) break
      const distance = Math.floor(far / PAGE)
      if (places.has(distance)) continue
      const low = start + far
      const block = this.#jump(jumps, low | 0, (hi + Math.floor(low / 2 ** 32)) | 0)
      const place = block === 0 ? undefined : this.#code.placeOf(block)
      if (place && place.mode === mode && place.start === (far & (PAGE - 1))) places.set(distance, place.page)
    }
    return places
  }
  #request(
    entry: { readonly page: number; readonly start: number; readonly mode: Mode },
    places: ReadonlyMap<number, number>,
  ): CompileJob['regions'][number] {
    const { page, start, mode } = entry
    const pages = [...places].map(([distance, at]): PageRequest => {
      const { starts, records } = this.#code.decodedPage(at, mode)
      const following = places.get(distance + 1)
      // an instruction that crosses must end in the page that the region has there
      const usable = (i: number): boolean => {
        const next = this.#code.nextPageOf(records[i] as number)
        return next < 0 || next === following
      }
      return {
        distance,
        offset: this.#hostOf(at),
        starts: starts.filter((_, i) => usable(i)),
        records: records.filter((_, i) => usable(i)),
      }
    })
    return { pages, entry: start, mode, name: nameOf(page, start) }
  }
  /** The record that a jump cache has for a RIP, or 0. */
  #jump(jumps: number, lo: number, hi: number): number {
    const { i32 } = this.#memory
    const entry = (jumps >> 2) + (((lo ^ (lo >>> 12)) & (JUMP_ENTRIES - 1)) << 2)
    return i32[entry] === lo && i32[entry + 1] === hi ? (i32[entry + 2] as number) : 0
  }
  #hostOf(page: number): number {
    return ((this.#memory.gpaMap[page] as number) & ~0xfff) >>> 0
  }
  #job(batch: Batch, regions: CompileJob['regions']): CompileJob {
    return {
      base: this.#base,
      memory: this.#memory.buffer,
      tableBase: this.#tableBase + batch.first,
      used: this.#used + batch.first,
      counters: this.#counters && this.#counters + batch.first * 8,
      instructions: this.#instructions,
      settled: batch.consolidated,
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
    ordered.forEach(({ record, pages, rip, before, stale }, i) => {
      const compiled = result.regions[i]
      if (!compiled) return
      statistics.translated++
      statistics.instructions += compiled.instructions
      if (stale || this.#byRecord.get(record) !== before) return
      const pieces = compiled.ranges.map(([start, end, distance]) => ({ page: pages.get(distance) ?? -1, start, end }))
      const { asked } = compiled
      // a record may be another block's by now
      const gone = asked.some((block) => this.#droppedMeanwhile.has(block) || !this.#code.placeOf(block))
      if (gone || !this.#unchanged(pieces, compiled.bytes)) {
        if (!before) this.#heat.delete(record)
        return
      }
      const region: Installed = {
        record,
        pages,
        pieces,
        asked,
        rip,
        batch,
        place: compiled.place,
        since: before?.since ?? this.#now,
        ends: 0,
        handler: before?.handler ?? this.#view.getUint16(record + RECORD.HANDLER, true),
        function: before?.function ?? this.#view.getUint16(record + RECORD.FUNCTION, true),
      }
      this.#view.setUint16(record + RECORD.HANDLER, HANDLER.REGION, true)
      this.#view.setUint16(record + RECORD.FUNCTION, region.place, true)
      batch.regions.add(region)
      this.#byRecord.set(record, region)
      for (const { page } of pieces) if (enter(this.#byPage, page, region)) this.#memory.addCodePage(page)
      for (const block of region.asked) enter(this.#askers, block, region)
      if (!before) return
      statistics.consolidated++
      this.#discard(before)
    })
  }
  /** Whether memory still has the bytes that were translated. */
  #unchanged(pieces: readonly Piece[], bytes: Uint8Array): boolean {
    const { u8 } = this.#memory
    let at = 0
    for (const { page, start, end } of pieces) {
      const host = this.#hostOf(page)
      for (let i = start; i < end; i++) if (u8[host + i] !== bytes[at++]) return false
    }
    return true
  }

  #allocate(regions: number): Batch {
    const size = sizeFor(regions)
    while (this.#batches.size >= MAXIMUM_MODULES) this.#evict()
    let first = this.#places.take(size)
    while (first < 0) {
      this.#evict()
      first = this.#places.take(size)
    }
    return this.#enter(first, size, false)
  }
  #enter(first: number, size: number, consolidated: boolean): Batch {
    const batch: Batch = { first, size, regions: new Set(), consolidated }
    this.#wasUsed(batch)
    this.#batches.add(batch)
    return batch
  }
  #release(batch: Batch): void {
    if (!this.#batches.delete(batch)) return
    for (let i = 0; i < 1 << batch.size; i++) this.#table.set(this.#tableBase + batch.first + i, null)
    this.#places.give(batch.size, batch.first)
  }
  /** An eighth goes: the oldest that were not executed since they were looked at before, or are new. What of it is still hot will be back. */
  #evict(): void {
    let left = Math.max(1, this.#batches.size >> 3)
    // when all were executed, none is better than the others
    for (let round = 0; round < 2 && left > 0; round++) {
      for (const batch of [...this.#batches]) {
        if (left === 0) break
        if (batch.regions.size === 0) continue
        if (round === 0 && this.#wasUsed(batch)) {
          this.#batches.delete(batch)
          this.#batches.add(batch)
          continue
        }
        left--
        for (const region of [...batch.regions]) {
          this.#heat.delete(region.record)
          this.#remove(region, true)
          this.#statistics.evicted++
        }
      }
    }
  }
  /** Whether a region of a batch was executed since this was asked before. */
  #wasUsed(batch: Batch): boolean {
    const used = this.#memory.u8.subarray(this.#used + batch.first, this.#used + batch.first + (1 << batch.size))
    const any = used.includes(1)
    used.fill(0)
    return any
  }

  #watchScattered(): void {
    for (const batch of this.#batches) {
      if (batch.consolidated) continue
      this.#wasUsed(batch)
      for (const region of batch.regions) region.ends = 0
    }
    this.#ends = 0
  }
  /** Translated code has used up its slice; execution goes on at an address. */
  sliceEnded(lo: number, hi: number, jumps: number): void {
    this.#ends++
    const region = this.#byRecord.get(this.#jump(jumps, lo, hi))
    if (region) region.ends++
  }
  /** What was executed, but for loops in which much of the time was spent: a place near others is of no use to them, and they would lose their optimised code for a while. */
  #executedScattered(): Installed[] {
    const { u8 } = this.#memory
    const executed: Installed[] = []
    const busy = Math.max(2, this.#ends / BUSY)
    for (const { regions, consolidated } of this.#batches) {
      if (consolidated) continue
      for (const region of regions) {
        if (u8[this.#used + region.place - this.#tableBase] === 1 && region.ends < busy) executed.push(region)
      }
    }
    return executed.sort((a, b) => (a.rip < b.rip ? -1 : 1))
  }

  /** Bytes `[start, end)` of a page have changed. */
  invalidate(page: number, start: number, end: number): void {
    const regions = this.#byPage.get(page)
    if (!regions) return
    for (const region of regions) {
      if (!overlaps(region.pieces, page, start, end)) continue
      this.#heat.delete(region.record)
      this.#remove(region, true)
      this.#changed(page, region.since)
    }
  }
  /** A region that was in use since then is dropped because its page has changed. */
  #changed(page: number, since: number): void {
    this.#statistics.dropped++
    const now = this.#now
    const last = this.#changes.get(page)
    // several regions may go at a time
    if (now - since > SETTLED || last?.at === now) return
    this.#changes.set(page, { times: Math.min((last?.times ?? 0) + 1, MAXIMUM_CHANGES), at: now })
  }
  /** Whether bytes `[start, end)` of a page are part of a region. */
  covers(page: number, start: number, end: number): boolean {
    for (const { pieces } of this.#byPage.get(page) ?? []) if (overlaps(pieces, page, start, end)) return true
    return false
  }
  /** A block was dropped: its record means something else now. */
  blockDropped(record: number): void {
    this.#heat.delete(record)
    this.#queue.delete(record)
    if (this.#ordered) this.#droppedMeanwhile.add(record)
    for (const order of this.#ordered ?? []) if (order.record === record) order.stale = true
    for (const asker of this.#askers.get(record) ?? []) {
      this.#heat.delete(asker.record)
      this.#remove(asker, true)
      this.#changed(asker.pieces[0]?.page ?? -1, asker.since)
    }
    const region = this.#byRecord.get(record)
    if (!region) return
    this.#remove(region, false)
    this.#changed(region.pieces[0]?.page ?? -1, region.since)
  }
  #remove(region: Installed, restore: boolean): void {
    const { record } = region
    if (restore) {
      this.#view.setUint16(record + RECORD.HANDLER, region.handler, true)
      this.#view.setUint16(record + RECORD.FUNCTION, region.function, true)
    }
    this.#byRecord.delete(record)
    this.#discard(region)
  }
  /** Nothing leads to a region any longer. */
  #discard(region: Installed): void {
    const { pieces, asked, batch } = region
    this.#keepCount(region)
    for (const { page } of pieces) if (take(this.#byPage, page, region)) this.#memory.dropCodePage(page)
    for (const block of asked) take(this.#askers, block, region)
    batch.regions.delete(region)
    if (batch.regions.size === 0) this.#release(batch)
  }
  /** Whether a block is of use here: regions are entered by it or ask for it, or one will be. */
  holds(record: number): boolean {
    if (this.#byRecord.has(record) || this.#askers.has(record) || this.#queue.has(record)) return true
    return this.#ordered?.some((order) => order.record === record) === true
  }
  /** All blocks were dropped. */
  reset(): void {
    for (const region of [...this.#byRecord.values()]) this.#remove(region, false)
    this.#heat.clear()
    this.#queue.clear()
    this.#changes.clear()
    this.#consolidation?.reset()
    for (const order of this.#ordered ?? []) order.stale = true
  }

  // --- figures

  #counterOf(region: Installed): number {
    return ((this.#counters ?? 0) >> 3) + region.place - this.#tableBase
  }
  /** A region goes, and its counter will be another's. */
  #keepCount(region: Installed): void {
    if (this.#counters === undefined) return
    const at = this.#counterOf(region)
    const { u64 } = this.#memory
    const known = this.#counted.get(region.rip)
    if (known !== undefined || this.#counted.size < KEPT_COUNTS) {
      this.#counted.set(region.rip, (known ?? 0) + Number(u64[at]))
    }
    u64[at] = 0n
  }
  #top(): RegionCount[] {
    if (this.#counters === undefined) return []
    const counts = new Map(this.#counted)
    for (const region of this.#byRecord.values()) {
      const now = Number(this.#memory.u64[this.#counterOf(region)])
      counts.set(region.rip, (counts.get(region.rip) ?? 0) + now)
    }
    return [...counts]
      .map(([rip, instructions]) => ({ rip, instructions }))
      .sort((a, b) => b.instructions - a.instructions)
      .slice(0, TOP)
  }
  get statistics(): TranslationStatistics {
    return {
      executed: this.executed,
      regions: this.#byRecord.size,
      modules: this.#batches.size,
      ...this.#statistics,
      top: this.#top(),
    }
  }
}

function overlaps(pieces: readonly Piece[], page: number, start: number, end: number): boolean {
  return pieces.some((piece) => piece.page === page && piece.start < end && piece.end > start)
}
/** Whether it is the first of its key. */
function enter<K, V>(sets: Map<K, Set<V>>, key: K, value: V): boolean {
  const set = sets.get(key)
  if (set) set.add(value)
  else sets.set(key, new Set([value]))
  return set === undefined
}
/** Whether it was the last of its key. */
function take<K, V>(sets: Map<K, Set<V>>, key: K, value: V): boolean {
  const set = sets.get(key)
  return set?.delete(value) === true && set.size === 0 && sets.delete(key)
}
/** Logarithm of the places for so many regions. */
function sizeFor(regions: number): number {
  return Math.ceil(Math.log2(regions))
}
function nameOf(page: number, offset: number): string {
  return `region ${(page * PAGE + offset).toString(16)}`
}
function ripOf({ lo, hi }: Hot): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)
}
