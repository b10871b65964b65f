// The loop of the fuzzer: inputs are seeds. Those of the corpus reach all that was ever reached.

import { readFileSync } from 'node:fs'
import { HostileGuest } from './hostile-guest.ts'

/** Steps of an input. */
const STEPS = 500
const CORPUS = new URL('./corpus.json', import.meta.url)

export function corpusPath(): URL {
  return CORPUS
}

export function readCorpus(): number[] {
  return JSON.parse(readFileSync(CORPUS, 'utf8')) as number[]
}

/** What came of it. */
export interface FuzzResult {
  readonly steps: number
  /** Seeds that reached something that none before them did. */
  readonly kept: readonly number[]
  readonly features: number
}

/** Run the seeds of `corpus`, then those from `seed` on, until `steps` are done. @throws Error with the input when the host was hurt */
export function fuzz(options: {
  readonly corpus: readonly number[]
  readonly steps: number
  readonly seed: number
  readonly onProgress?: (steps: number) => void
}): FuzzResult {
  const features = new Set<string>()
  const kept: number[] = []
  let steps = 0
  const run = (input: number): void => {
    let guest: HostileGuest | undefined
    try {
      guest = new HostileGuest(input)
      guest.run(STEPS)
    } catch (cause) {
      throw new Error(`the host was hurt by input ${input}, step ${guest?.steps}`, { cause })
    }
    steps += guest.steps
    const before = features.size
    for (const feature of guest.features) features.add(feature)
    if (features.size > before) kept.push(input)
  }
  for (const input of options.corpus) run(input)
  for (let input = options.seed; steps < options.steps; input = (input + 1) >>> 0) {
    run(input)
    if ((input & 127) === 0) options.onProgress?.(steps)
  }
  return { steps, kept, features: features.size }
}
