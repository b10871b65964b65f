import { describe, expect, it } from 'vitest'
import { readCorpus } from './fuzz/corpus.ts'
import { fuzz, runInput } from './fuzz/fuzz.ts'

describe('hostile guests and devices', () => {
  it('of the corpus do not hurt the host', async () => {
    const corpus = readCorpus()
    expect(corpus.length).toBeGreaterThan(50)
    const features = new Set<string>()
    for (const input of corpus) for (const feature of (await runInput(input)).features) features.add(feature)
    // The corpus is worth its place: it gets deep into every part.
    expect(features.size).toBeGreaterThan(1500)
    const events = [...features].join('\n')
    for (const event of [
      'open, rings',
      'migrated',
      'offer taken back',
      'GPADL # refused',
      'device failed',
      'a range of # pages',
    ])
      expect(events).toContain(event)
  })

  it('made anew do not either', async () => {
    const result = await fuzz({ corpus: [], steps: 60_000, seed: 20_260 })
    expect(result.steps).toBeGreaterThanOrEqual(60_000)
  })

  it('do the same for the same input', async () => {
    const [input] = readCorpus()
    const first = await runInput(input as Uint8Array)
    const second = await runInput(input as Uint8Array)
    expect([...second.features]).toEqual([...first.features])
  })
})
