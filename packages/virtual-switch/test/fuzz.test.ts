// The fuzzer's corpus, and some random inputs more. `npm run fuzz` runs for as long as one likes.

import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { runInput } from './fuzz/harness.ts'
import { generator, mutate, randomInput } from './fuzz/random.ts'

const CORPUS = new URL('corpus/', import.meta.url)

function read(name: string): Uint8Array {
  return Uint8Array.from(Buffer.from(readFileSync(new URL(name, CORPUS), 'utf8').replace(/#.*|\s/g, ''), 'hex'))
}

describe('the corpus', () => {
  for (const name of readdirSync(CORPUS)) {
    it(name, async () => {
      const { steps } = await runInput(read(name))
      expect(steps).toBeGreaterThan(5)
    })
  }
})

it('random inputs, and mutations of the corpus', async () => {
  const corpus = readdirSync(CORPUS).map(read)
  const random = generator(20_261)
  let steps = 0
  let answers = 0
  for (let i = 0; i < 100; i++) {
    const known = corpus[Math.floor(random() * corpus.length * 2)]
    const outcome = await runInput(known === undefined ? randomInput(random, 1000) : mutate(random, known))
    steps += outcome.steps
    answers += outcome.answers
  }
  expect(steps).toBeGreaterThan(10_000)
  expect(answers).toBeGreaterThan(1000)
}, 60_000)
