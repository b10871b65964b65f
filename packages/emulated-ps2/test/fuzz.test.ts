// The fuzzer's corpus, and some random inputs more. `npm run fuzz` runs 5 million steps.

import { fuzz } from '@partita/testkit/fuzz'
import { readCorpus } from '@partita/testkit/fuzz/node'
import { describe, expect, it } from 'vitest'
import { runInput } from './fuzz/harness.ts'
import { target } from './fuzz/target.ts'

const corpus = readCorpus(new URL('corpus/', import.meta.url))

describe('the corpus', () => {
  for (const { name, input } of corpus) {
    it(name, () => {
      const { steps, answers } = runInput(input)
      expect(steps).toBeGreaterThan(5)
      expect(answers).toBeGreaterThan(0)
    })
  }
})

it('random inputs, and mutations of the corpus', async () => {
  const { counts } = await fuzz(target, { corpus: corpus.map(({ input }) => input), steps: 40_000, seed: 20_260 })
  expect(counts['bytes read']).toBeGreaterThan(1000)
})
