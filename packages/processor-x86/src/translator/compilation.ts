// From pages of guest code to a WebAssembly module: what a compiler of regions does, on whatever thread. It knows nothing of the processor but where its state lies.

import { Decoder } from '../decoder/decoder.ts'
import type { Mode } from '../decoder/mode.ts'
import { INSTRUCTION_SET } from '../instruction-set/index.ts'
import { type Region, RegionFinder } from './region.ts'
import { RegionModule } from './region-module.ts'

const PAGE = 4096
const WASM_PAGE = 65536

/** A region to be made. */
export interface RegionRequest {
  /** Offset of the page in the partition's memory. */
  readonly page: number
  /** Where the region begins in it. */
  readonly entry: number
  readonly mode: Mode
  /** Offsets of blocks that have been executed; without them all that jumps lead to is taken in. */
  readonly known: Uint16Array | undefined
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
  /** Most instructions of a region. */
  readonly instructions: number
  readonly regions: readonly RegionRequest[]
}

export interface CompiledRegion {
  /** Place in the table. */
  readonly place: number
  readonly ranges: Region['ranges']
  /** What was translated: the bytes of the ranges. */
  readonly bytes: Uint8Array
  readonly instructions: number
}
export interface CompileResult {
  /** Undefined when no region could be made. */
  readonly module: WebAssembly.Module | undefined
  /** For each request; undefined where the first instruction is not for translated code. */
  readonly regions: readonly (CompiledRegion | undefined)[]
  /** Bytes of WebAssembly. */
  readonly size: number
  /** Milliseconds. */
  readonly emitTime: number
  readonly compileTime: number
}

/** Does jobs, one at a time, and calls back when one is done: at once, or from the event loop, or from `poll`. */
export interface RegionCompiler {
  /** Most regions of a job. */
  readonly batch: number
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
    })
    const regions: (CompiledRegion | undefined)[] = []
    for (const { page: offset, entry, mode, known, name } of job.regions) {
      const page = new Uint8Array(job.memory, offset, PAGE).slice()
      const starts = known && new Set(known)
      const region = finder.find(page, entry, mode, (start) => starts === undefined || starts.has(start))
      if (!region) {
        regions.push(undefined)
        continue
      }
      const { ranges, instructions } = region
      regions.push({ place: job.tableBase + module.regions, ranges, bytes: bytesOf(page, ranges), instructions })
      module.add(region, name)
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

function bytesOf(page: Uint8Array, ranges: Region['ranges']): Uint8Array {
  const out = new Uint8Array(ranges.reduce((sum, [from, to]) => sum + to - from, 0))
  let at = 0
  for (const [from, to] of ranges) {
    out.set(page.subarray(from, to), at)
    at += to - from
  }
  return out
}

/** A compiler on the caller's thread, in small jobs. */
export function inlineCompiler(compilation: RegionCompilation): RegionCompiler {
  return {
    batch: 4,
    compile: (job, done) => done(compilation.run(job)),
    poll() {},
  }
}
