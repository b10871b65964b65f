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
      const { steps, answers } = await runInput(read(name))
      expect(steps).toBeGreaterThan(5)
      expect(answers).toBeGreaterThan(3)
    })
  }
})

it('random inputs, and mutations of the corpus', async () => {
  const corpus = readdirSync(CORPUS).map(read)
  const random = generator(20_240)
  let steps = 0
  for (let i = 0; i < 200; i++) {
    const known = corpus[Math.floor(random() * corpus.length * 2)]
    const input = known === undefined ? randomInput(random, 600) : mutate(random, known)
    steps += (await runInput(input)).steps
  }
  expect(steps).toBeGreaterThan(5000)
}, 60_000)
