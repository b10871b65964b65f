// What the process keeps while it is fuzzed, like `HeapGrowth` of the kit, on which this package cannot stand.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { check } from './invariant.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Compares what is kept with what was kept at the first sample. */
export class HeapGrowth {
  readonly #bound: number
  #first: number | undefined
  #last = 0

  /** `bound`: bytes that may be kept more. */
  constructor(bound: number) {
    this.#bound = bound
  }

  /** Bytes more at the last sample than at the first. */
  get grown(): number {
    return this.#last - (this.#first ?? this.#last)
  }

  /** Collect garbage, and measure. @throws InvariantError when the bound is passed */
  sample(): void {
    // The second finds the buffers that were only freed because of the first.
    collect()
    collect()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    this.#last = heapUsed + arrayBuffers
    this.#first ??= this.#last
    check(this.grown <= this.#bound, `the process keeps ${(this.grown / 2 ** 20).toFixed(1)} MiB more than at first`)
  }
}
