// A WebAssembly module with the functions of some regions, which it puts into the function table.

import type { HelperContext, HelperFunction } from '../instruction/helper.ts'
import type { FunctionReference } from '../wasm/function-emitter.ts'
import { ModuleBuilder } from '../wasm/module-builder.ts'
import type { Region } from './region.ts'
import { RegionEmitter } from './region-emitter.ts'

export interface RegionModuleOptions {
  /** Offset of the state area. */
  readonly base: number
  readonly memory: { readonly initial: number; readonly maximum: number; readonly shared: boolean }
  /** Place in the function table of the first region. */
  readonly tableBase: number
  /** Offset in memory of the byte that the first region sets when it is executed; the others' follow. */
  readonly used: number
  /** Offset in memory of the first region's counter (i64), the others' follow; undefined when nothing is counted. */
  readonly counters: number | undefined
}

/** Collects regions for one module. */
export class RegionModule {
  readonly #base: number
  readonly #module: ModuleBuilder
  readonly #functions: RegionFunctionsWithHelpers
  readonly #used: number
  readonly #counters: number | undefined
  regions = 0

  constructor(options: RegionModuleOptions) {
    this.#base = options.base
    this.#used = options.used
    this.#counters = options.counters
    const module = new ModuleBuilder(options.memory, options.tableBase)
    this.#module = module
    const access = (name: string): FunctionReference => module.import(name, ['i64', 'i64', 'i32'], 'i32')
    this.#functions = {
      read: access('regionRead64'),
      write: access('regionWrite64'),
      modify: access('regionModify64'),
      modifyCommit: module.import('modifyCommit64', ['i64', 'i32'], 'void'),
      probe: module.import('probe64', ['i64', 'i32'], 'i32'),
      segment: module.import('segment', ['i32', 'i64', 'i32'], 'i64'),
      now: module.import('now', [], 'f64'),
      region: module.type(['i32'], 'i32'),
      helper: (helper) => this.#helper(helper),
    }
  }
  readonly #helpers = new Map<HelperFunction, FunctionReference>()
  #helper(helper: HelperFunction): FunctionReference {
    const known = this.#helpers.get(helper)
    if (known) return known
    const module = this.#module
    const reference = module.declare(helper.name, helper.params, helper.result)
    this.#helpers.set(helper, reference)
    const context: HelperContext = { state: (field) => this.#base + field, helper: (h) => this.#helper(h) }
    module.define(reference, (e) => {
      helper.body(
        e,
        helper.params.map((_, i) => e.get(e.parameter(i))),
        context,
      )
      if (helper.result !== 'void') e.unreachable()
    })
    return reference
  }

  /** Translate a region; `name` is for profilers. */
  add(region: Region, name: string): void {
    const reference = this.#module.declare(name, ['i32'], 'i32')
    const emitter = new RegionEmitter(
      region,
      this.#base,
      this.#functions,
      this.#used + this.regions,
      this.#counters && this.#counters + this.regions * 8,
    )
    emitter.emit()
    this.#module.defineFrom(reference, emitter)
    this.#module.element(reference)
    this.regions++
  }
  build(): Uint8Array<ArrayBuffer> {
    return this.#module.build()
  }
}

type RegionFunctionsWithHelpers = ConstructorParameters<typeof RegionEmitter>[2]
