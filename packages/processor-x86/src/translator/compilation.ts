// From pages of guest code to a WebAssembly module: what a compiler of regions does, on whatever thread. It knows nothing of the processor but where its state lies.

import { Decoder } from '../decoder/decoder.ts'
import type { Mode } from '../decoder/mode.ts'
import { INSTRUCTION_SET } from '../instruction-set/index.ts'
import type { ConsolidationOptions } from './consolidation.ts'
import { type Region, RegionFinder, type RegionPage } from './region.ts'
import { RegionModule } from './region-module.ts'

const PAGE = 4096
const WASM_PAGE = 65536

/** A page that a region may take code of. */
export interface PageRequest {
  /** Distance in linear pages from the entry's. */
  readonly distance: number
  /** Offset in the partition's memory. */
  readonly offset: number
  /** Offsets of blocks that have been executed, and their records; without them all that jumps inside the page lead to is taken in. */
  readonly starts: Uint16Array | undefined
  readonly records: Int32Array | undefined
}

/** A region to be made. */
interface RegionRequest {
  /** The entry's page first. */
  readonly pages: readonly PageRequest[]
  /** Where the region begins in its page. */
  readonly entry: number
  readonly mode: Mode
  /** For profilers. */
  readonly name: string
}

/** Regions for one module. */
export interface CompileJob {
  /** Offset of the state area. */
  readonly base: number
  /** The partition's memory. It may change meanwhile: what was translated is told, and compared when it is put to use. */
  readonly memory: ArrayBufferLike
  /** Place in the function table of the first region; there are as many as requests. */
  readonly tableBase: number
  /** Offset in memory of the byte that the first region sets when it is executed; the others' follow. */
  readonly used: number
  /** Offset in memory of the first region's counter (i64), the others' follow; undefined when nothing is counted. */
  readonly counters: number | undefined
  /** Most instructions of a region. */
  readonly instructions: number
  /** They are in use already: the engine shall set about optimising them before they take the place of what is. */
  readonly settled: boolean
  /** The regions that are asked for. @internal */
  readonly regions: readonly RegionRequest[]
}

interface CompiledRegion {
  /** Place in the table. */
  readonly place: number
  readonly ranges: Region['ranges']
  /** Records of blocks in other pages that it asks the jump cache for. */
  readonly asked: readonly number[]
  /** What was translated: the bytes of the ranges. */
  readonly bytes: Uint8Array
  readonly instructions: number
}
/** What became of a region: compiled, or why not. */
export interface CompileResult {
  /** Undefined when no region could be made. */
  readonly module: WebAssembly.Module | undefined
  /** For each request; undefined where the first instruction is not for translated code. @internal */
  readonly regions: readonly (CompiledRegion | undefined)[]
  /** Bytes of WebAssembly. */
  readonly size: number
  /** Milliseconds that it took to find the regions and emit their code. */
  readonly emitTime: number
  /** Milliseconds that the engine took for the module. */
  readonly compileTime: number
}

/** Does jobs, one at a time, and calls back when one is done: at once, or from the event loop, or from `poll`. */
export interface RegionCompiler {
  /** Most regions of a job. */
  readonly batch: number
  /** Samples that a region waits for others to come along: several in a module cost less. */
  readonly patience: number
  /** Whether what is compiled is compiled anew, better placed. */
  readonly consolidation: ConsolidationOptions | undefined
  /** `done` gets undefined when the compiler has come to an end. */
  compile(job: CompileJob, done: (result: CompileResult | undefined) => void): void
  /** Look whether a job is done. */
  poll(): void
}

/** Compiles at once. */
export class RegionCompilation {
  readonly #decoder: Decoder
  readonly #finders = new Map<number, RegionFinder>()

  /** `decoder`: one whose forms may grow. */
  constructor(decoder: Decoder = new Decoder(INSTRUCTION_SET, () => {})) {
    this.#decoder = decoder
  }

  run(job: CompileJob): CompileResult {
    const started = performance.now()
    let finder = this.#finders.get(job.instructions)
    if (!finder) {
      finder = new RegionFinder(this.#decoder, { instructions: job.instructions })
      this.#finders.set(job.instructions, finder)
    }
    const pages = job.memory.byteLength / WASM_PAGE
    const module = new RegionModule({
      base: job.base,
      memory: { initial: pages, maximum: pages, shared: true },
      tableBase: job.tableBase,
      used: job.used,
      counters: job.counters,
    })
    const regions: (CompiledRegion | undefined)[] = []
    for (const { pages: wanted, entry, mode, name } of job.regions) {
      const sources = new Map<number, RegionPage>()
      for (const { distance, offset, starts, records } of wanted) {
        const blocks = starts && new Map([...starts].map((start, i) => [start, records?.[i] ?? 0]))
        sources.set(distance, { distance, bytes: new Uint8Array(job.memory, offset, PAGE).slice(), blocks })
      }
      const region = finder.find(sources, entry, mode)
      if (!region) {
        regions.push(undefined)
        continue
      }
      const { ranges, instructions } = region
      const place = job.tableBase + module.regions
      module.add(region, name)
      const asked = new Set(region.asked)
      for (const { page, block } of region.blocks.values()) if (page !== 0 && block !== 0) asked.add(block)
      regions.push({ place, ranges, asked: [...asked], bytes: bytesOf(sources, ranges), instructions })
    }
    const bytes = module.regions > 0 ? module.build() : undefined
    const emitted = performance.now()
    return {
      module: bytes && new WebAssembly.Module(bytes),
      regions,
      size: bytes?.length ?? 0,
      emitTime: emitted - started,
      compileTime: performance.now() - emitted,
    }
  }
}

function bytesOf(pages: ReadonlyMap<number, RegionPage>, ranges: Region['ranges']): Uint8Array {
  const out = new Uint8Array(ranges.reduce((sum, [from, to]) => sum + to - from, 0))
  let at = 0
  for (const [from, to, distance] of ranges) {
    const page = pages.get(distance)
    if (page) out.set(page.bytes.subarray(from, to), at)
    at += to - from
  }
  return out
}

/** A compiler on the caller's thread, in small jobs. */
export function inlineCompiler(compilation: RegionCompilation): RegionCompiler {
  return {
    batch: 4,
    patience: 1,
    // it would stop the guest for a while
    consolidation: undefined,
    compile: (job, done) => done(compilation.run(job)),
    poll() {},
  }
}
