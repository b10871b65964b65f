// The fuzzer's corpus, and some random inputs more. `npm run fuzz` runs 5 million steps.

import { fuzz } from '@partita/testkit/fuzz'
import { readCorpus } from '@partita/testkit/fuzz/node'
import { expect, it } from 'vitest'
import { target } from './fuzz/target.ts'

const corpus = readCorpus(new URL('corpus/', import.meta.url)).map(({ input }) => input)

it('the corpus, random inputs, and mutations of both', async () => {
  expect(corpus.length).toBeGreaterThan(20)
  const { features, steps } = await fuzz(target, { corpus, steps: 30_000, seed: 20_261 })
  expect(steps).toBeGreaterThanOrEqual(30_000)
  // Ways in which commands, packets and transfers end.
  expect(features.size).toBeGreaterThan(250)
}, 120_000)
