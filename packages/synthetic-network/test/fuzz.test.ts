// The fuzzer's corpus, and some random inputs more. `npm run fuzz` runs 5 million steps.

import { fuzz } from '@partita/testkit/fuzz'
import { readCorpus } from '@partita/testkit/fuzz/node'
import { describe, expect, it } from 'vitest'
import { runInput } from './fuzz/harness.ts'
import { target } from './fuzz/target.ts'

const corpus = readCorpus(new URL('corpus/', import.meta.url))

describe('the corpus', () => {
  it('adds up, and reaches what it is there for', () => {
    const features = new Set<string>()
    for (const { name, input } of corpus) {
      const outcome = runInput(input)
      expect(outcome.steps, name).toBeGreaterThan(3)
      for (const feature of outcome.features) features.add(feature)
    }
    // Set-up, answers of OIDs, frames both ways, parts of packets, saving.
    for (const feature of [
      'answer 2 1',
      'answer 102 1',
      'answer 105 1',
      'answer 133 1',
      'answer 108 1',
      'answer 108 5',
      'message 2147483652 0',
      'message 2147483653 0',
      'message 1 ',
      'several ranges',
      'migrated',
      'resume',
    ])
      expect(features).toContain(feature)
  })
})

it('random inputs, and mutations of the corpus', async () => {
  const { features } = await fuzz(target, { corpus: corpus.map(({ input }) => input), steps: 10_000, seed: 20_240 })
  expect(features.size).toBeGreaterThan(100)
}, 60_000)
