// The fuzzer's corpus, and some random inputs more. `npm run fuzz` runs 5 million steps.

import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { runInput } from './fuzz/harness.ts'
import { generator, mutate, randomInput } from './fuzz/random.ts'

const CORPUS = new URL('corpus/', import.meta.url)

function read(name: string): Uint8Array {
  return Uint8Array.from(Buffer.from(readFileSync(new URL(name, CORPUS), 'utf8').replace(/#.*|\s/g, ''), 'hex'))
}

describe('the corpus', () => {
  it('adds up, and reaches what it is there for', () => {
    const features = new Set<string>()
    for (const name of readdirSync(CORPUS)) {
      const outcome = runInput(read(name))
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

it('random inputs, and mutations of the corpus', () => {
  const corpus = readdirSync(CORPUS).map(read)
  const random = generator(20_240)
  let steps = 0
  for (let i = 0; i < 250; i++) {
    const known = corpus[Math.floor(random() * corpus.length * 2)]
    const input = known === undefined ? randomInput(random, 1200) : mutate(random, known)
    steps += runInput(input).steps
  }
  expect(steps).toBeGreaterThan(5000)
}, 60_000)
