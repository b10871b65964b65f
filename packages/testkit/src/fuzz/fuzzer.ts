// The loop of the fuzzer: inputs that reach something new are kept and changed, one that fails is made small.

import { PartitaError } from '@partita/interface'
import { messageOf } from '../compliance/check.ts'
import { SeededRandom } from '../compliance/seeded-random.ts'
import { mutateInput, randomInput } from './mutation.ts'

/** What came of an input. */
export interface FuzzOutcome {
  /** How much was done: runs are as long as these add up to. At least 1 is counted. */
  readonly steps: number
  /** What the input has reached, in words that are the same each time. Inputs that reach something new are kept, and changed. */
  readonly features?: Iterable<string>
  /** What to add up and tell of at the end. */
  readonly counts?: Readonly<Record<string, number>>
}

/** What is fuzzed. */
export interface FuzzTarget {
  /** Run an input, from the beginning to the end of a life, with the same outcome each time. What it throws is a failure. */
  run(input: Uint8Array): FuzzOutcome | Promise<FuzzOutcome>
  /** Make an input out of nothing. Default: up to {@link FuzzTarget.longest} random bytes. */
  create?(random: SeededRandom): Uint8Array
  /** Bytes of the longest input. Default: 4096. */
  readonly longest?: number
}

/** Options of {@link fuzz}. */
export interface FuzzOptions {
  /** Known inputs, which go first. */
  readonly corpus?: readonly Uint8Array[]
  /** When to end. */
  readonly steps: number
  /** What new inputs are made from. Default: 1. */
  readonly seed?: number
  /** Called now and then. */
  readonly onProgress?: (steps: number, features: number) => void
}

/** What came of a run. */
export interface FuzzResult {
  /** Steps that were done: the sum of what the inputs took. */
  readonly steps: number
  /** Inputs that were run. */
  readonly inputs: number
  /** All that was reached. */
  readonly features: ReadonlySet<string>
  /** The sums of {@link FuzzOutcome.counts}. */
  readonly counts: Readonly<Record<string, number>>
  /** Inputs that reached something that none before them did, with all that each reached. */
  readonly kept: readonly KeptInput[]
}

/** An input, and what it reaches. */
export interface KeptInput {
  /** The bytes, as the target reads them. */
  readonly input: Uint8Array
  /** All that it reached, by the target's names. */
  readonly features: ReadonlySet<string>
}

/** An input failed: code `ERR_FUZZ`; `data` has `seed`, `number` of the input and `input` as hex. The cause is what was thrown. */
export class FuzzError extends PartitaError {
  /** The input that failed. */
  readonly input: Uint8Array

  constructor(input: Uint8Array, seed: number, number: number, cause: unknown) {
    super('ERR_FUZZ', `input ${number} of seed ${seed} fails: ${messageOf(cause)}`, {
      data: { seed, number, input: toHex(input) },
      cause,
    })
    this.input = input
  }
}

const LONGEST = 4096
/** Inputs that are changed. */
const PARENTS = 500
const PROGRESS = 500

/**
 * Run the corpus, then new and changed inputs, until so many steps are done.
 *
 * @throws FuzzError with the first input that fails
 *
 * @example
 * ```ts
 * import { FuzzInput, fuzz } from '@partita/testkit/fuzz'
 *
 * const target = {
 *   run(bytes: Uint8Array) {
 *     const input = new FuzzInput(bytes)
 *     let steps = 0
 *     for (; !input.done; steps++) uart.write(input.below(8), 1, input.u8())
 *     return { steps }
 *   },
 * }
 * const { steps, inputs } = await fuzz(target, { steps: 10_000 })
 * ```
 */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzResult> {
  const { corpus = [], steps: wanted, seed = 1, onProgress } = options
  const random = new SeededRandom(seed, 'fuzz')
  const parents = [...corpus]
  const features = new Set<string>()
  const counts: Record<string, number> = {}
  const kept: KeptInput[] = []
  let steps = 0
  let inputs = 0
  const run = async (input: Uint8Array): Promise<void> => {
    inputs++
    let outcome: FuzzOutcome
    try {
      outcome = await target.run(input)
    } catch (cause) {
      throw new FuzzError(input, seed, inputs, cause)
    }
    steps += Math.max(1, outcome.steps)
    for (const [name, count] of Object.entries(outcome.counts ?? {})) counts[name] = (counts[name] ?? 0) + count
    const reached = new Set(outcome.features ?? [])
    const before = features.size
    for (const feature of reached) features.add(feature)
    if (features.size === before) return
    kept.push({ input, features: reached })
    if (inputs > corpus.length && parents.length < PARENTS) parents.push(input)
  }
  for (const input of corpus) await run(input)
  while (steps < wanted) {
    await run(nextInput(target, random, parents))
    if (inputs % PROGRESS === 0) onProgress?.(steps, features.size)
  }
  return { steps, inputs, features, counts, kept }
}

function nextInput(target: FuzzTarget, random: SeededRandom, parents: readonly Uint8Array[]): Uint8Array {
  const longest = target.longest ?? LONGEST
  if (parents.length > 0 && random.chance(1, 2)) return mutateInput(random, random.pick(parents), parents, longest)
  return target.create?.(random) ?? randomInput(random, 1 + random.below(longest))
}

/** At most `limit` of `kept` that together reach as much as so many can, more or less: the next corpus. */
export function chooseInputs(kept: readonly KeptInput[], limit: number): Uint8Array[] {
  const covered = new Set<string>()
  const chosen: Uint8Array[] = []
  while (chosen.length < limit) {
    let best: KeptInput | undefined
    let most = 0
    for (const one of kept) {
      let fresh = 0
      for (const feature of one.features) if (!covered.has(feature)) fresh++
      if (fresh > most || (fresh === most && best !== undefined && one.input.length < best.input.length)) {
        most = fresh
        best = one
      }
    }
    if (best === undefined || most === 0) break
    chosen.push(best.input)
    for (const feature of best.features) covered.add(feature)
  }
  return chosen
}

/** A smaller input that fails too, of at most `runs` tries: pieces are left out, bytes become 0. */
export async function shrinkInput(target: FuzzTarget, failing: Uint8Array, runs = 500): Promise<Uint8Array> {
  let smallest = failing
  let left = runs
  const fails = async (input: Uint8Array): Promise<boolean> => {
    if (left-- <= 0) return false
    try {
      await target.run(input)
      return false
    } catch {
      smallest = input
      return true
    }
  }
  for (let piece = failing.length >>> 1; piece > 0 && left > 0; piece >>>= 1) {
    for (let at = 0; at < smallest.length && left > 0; ) {
      const without = Uint8Array.from([...smallest.subarray(0, at), ...smallest.subarray(at + piece)])
      if (!(await fails(without))) at += piece
    }
  }
  for (let at = 0; at < smallest.length && left > 0; at++) {
    if (smallest[at] === 0) continue
    const zeroed = smallest.slice()
    zeroed[at] = 0
    await fails(zeroed)
  }
  return smallest
}

/** Bytes as hex. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
