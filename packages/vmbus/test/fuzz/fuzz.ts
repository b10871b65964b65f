// The loop of the fuzzer: inputs that reach something new are kept and changed. The kit's fuzzer (`@partita/testkit/fuzz`) stands on this package, and a dependency on it, even of tests alone,
// would make a circle of the two in the graph of packages: so its loop and its input are here once more, in the little that this needs.

import { runGuestInput } from './hostile-guest.ts'
import { runRingInput } from './hostile-ring.ts'
import { Random } from './input.ts'

/** Whether an input is for a ring alone: its first byte says so. */
export function isForRing(input: Uint8Array): boolean {
  return ((input[0] ?? 0) & 3) === 3
}

/** Whether the guest of an input stores between the host's reads of rings, which is slow to watch. */
function isTorn(input: Uint8Array): boolean {
  return ((input[0] ?? 0) & 12) === 12
}

/** Run one input. */
export async function runInput(input: Uint8Array): Promise<{ steps: number; features: ReadonlySet<string> }> {
  const program = input.subarray(1)
  return isForRing(input) ? runRingInput(program) : await runGuestInput(program, isTorn(input))
}

/** An input that hurt the host. */
export class FuzzFailure extends Error {
  readonly input: Uint8Array

  constructor(input: Uint8Array, cause: unknown) {
    super(`the host was hurt: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    this.input = input
  }
}

/** What came of it. */
export interface FuzzResult {
  readonly steps: number
  readonly inputs: number
  /** Inputs that reached something that none before them did. */
  readonly kept: readonly Uint8Array[]
  readonly features: number
}

const INPUT_SIZE = 1500

/**
 * Run `corpus`, then random and changed inputs, until `steps` are done.
 * @throws FuzzFailure with the input when the host was hurt
 */
export async function fuzz(options: {
  corpus: readonly Uint8Array[]
  steps: number
  seed: number
  onProgress?: (steps: number) => void
}): Promise<FuzzResult> {
  const random = new Random(options.seed)
  const features = new Set<string>()
  const kept: Uint8Array[] = []
  let steps = 0
  let inputs = 0
  const run = async (input: Uint8Array): Promise<void> => {
    inputs++
    let reached: ReadonlySet<string>
    try {
      const result = await runInput(input)
      steps += result.steps
      reached = result.features
    } catch (error) {
      throw new FuzzFailure(input, error)
    }
    const before = features.size
    for (const feature of reached) features.add(feature)
    if (features.size > before) kept.push(input)
  }
  for (const input of options.corpus) await run(input)
  while (steps < options.steps) {
    const parent = kept[random.below(Math.max(kept.length, 1))]
    await run(
      parent === undefined || random.below(4) === 0
        ? random.bytes(1 + random.below(INPUT_SIZE))
        : mutate(parent, kept, random),
    )
    if (inputs % 500 === 0) options.onProgress?.(steps)
  }
  return { steps, inputs, kept, features: features.size }
}

/** At most `limit` of `inputs` that reach together the most of what all of them reach, more or less. */
export async function minimise(inputs: readonly Uint8Array[], limit: number): Promise<Uint8Array[]> {
  const runs: { input: Uint8Array; reached: ReadonlySet<string> }[] = []
  for (const input of inputs) runs.push({ input, reached: (await runInput(input)).features })
  const covered = new Set<string>()
  const chosen: Uint8Array[] = []
  while (chosen.length < limit) {
    let best: (typeof runs)[number] | undefined
    let most = 0
    for (const run of runs) {
      let fresh = 0
      for (const feature of run.reached) if (!covered.has(feature)) fresh++
      if (fresh > most) {
        most = fresh
        best = run
      }
    }
    if (best === undefined) break
    chosen.push(best.input)
    for (const feature of best.reached) covered.add(feature)
  }
  return chosen
}

function mutate(parent: Uint8Array, all: readonly Uint8Array[], random: Random): Uint8Array {
  const bytes = Uint8Array.from(parent)
  switch (random.below(4)) {
    case 0: {
      const other = all[random.below(all.length)] as Uint8Array
      const cut = random.below(bytes.length + 1)
      return Uint8Array.from([...bytes.subarray(0, cut), ...other.subarray(random.below(other.length + 1))]).slice(
        0,
        INPUT_SIZE,
      )
    }
    case 1: {
      const at = random.below(bytes.length + 1)
      return Uint8Array.from([
        ...bytes.subarray(0, at),
        ...random.bytes(1 + random.below(20)),
        ...bytes.subarray(at),
      ]).slice(0, INPUT_SIZE)
    }
    case 2: {
      const at = random.below(bytes.length + 1)
      return Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + random.below(20))])
    }
    default:
      for (let change = random.below(8); change >= 0 && bytes.length > 0; change--)
        bytes[random.below(bytes.length)] = random.u32() >>> 7
      return bytes
  }
}
