// The corpus of the fuzzer, and some random inputs more. `npm run fuzz` runs 5 million steps.

import { fuzz } from '@partita/testkit/fuzz'
import { readCorpus } from '@partita/testkit/fuzz/node'
import { expect, it } from 'vitest'
import { target } from './fuzz/target.ts'

const corpus = readCorpus(new URL('corpus/', import.meta.url)).map(({ input }) => input)

it('the corpus, random inputs, and mutations of both', async () => {
  expect(corpus.length).toBeGreaterThan(3)
  const { features, steps } = await fuzz(target, { corpus, steps: 10_000, seed: 20_264 })
  expect(steps).toBeGreaterThanOrEqual(10_000)
  // Ways in which transfers end.
  expect(features.size).toBeGreaterThan(60)
}, 120_000)
