// What a process keeps while it is fuzzed. A guest that makes the host keep something for each of its requests hurts nobody at once, so that no single input shows it: many do.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { PartitaError } from '@partita/interface'

/** Options of {@link HeapGrowth}. */
export interface HeapGrowthOptions {
  /** Bytes by which it may grow. Default: 64 MiB, which is more than a long run's own corpus. */
  readonly bound?: number
  /** What is kept, in bytes. Default: the heap and the buffers of this process after garbage was collected. */
  readonly measure?: () => number
}

const MEBIBYTE = 2 ** 20
/** {@link HeapGrowthOptions.bound} where none is given. */
const BOUND: number = 64 * MEBIBYTE

/**
 * Measures what a process keeps: first when it has warmed up, and then now and then.
 *
 * @example
 * ```ts
 * import { HeapGrowth } from '@partita/testkit/fuzz/node'
 *
 * const growth = new HeapGrowth({ bound: 8 * 2 ** 20 })
 * const registers = new Map<number, number>()
 * for (let round = 0; round < 10; round++) {
 *   for (let step = 0; step < 10_000; step++) registers.set(step & 7, step >>> 3)
 *   growth.sample() // Throws when 8 MiB more are kept than after the first round.
 * }
 * ```
 */
export class HeapGrowth {
  readonly #bound: number
  readonly #measure: () => number
  #first: number | undefined
  #last = 0

  constructor(options: HeapGrowthOptions = {}) {
    this.#bound = options.bound ?? BOUND
    this.#measure = options.measure ?? keptBytes
  }

  /** Bytes more at the last sample than at the first; negative when there were less. */
  get grown(): number {
    return this.#last - (this.#first ?? this.#last)
  }

  /**
   * Measure. The first sample is what later ones are compared with.
   * @throws PartitaError `ERR_FUZZ_GROWTH` when the bound is passed; `data` has `grown` and `bound` in bytes
   */
  sample(): void {
    this.#last = this.#measure()
    this.#first ??= this.#last
    const { grown } = this
    if (grown > this.#bound)
      throw new PartitaError(
        'ERR_FUZZ_GROWTH',
        `the process keeps ${(grown / MEBIBYTE).toFixed(1)} MiB more than when it had warmed up`,
        {
          hint: 'Something of each input, or of each request of one, is kept: a heap snapshot after two lengths of the run tells what.',
          data: { grown, bound: this.#bound },
        },
      )
  }
}

let collect: (() => void) | undefined

/** Bytes of the heap and of buffers, without garbage. */
function keptBytes(): number {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  // The second finds the buffers that were only freed because of the first.
  collect()
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
