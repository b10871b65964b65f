import { describe, expect, it } from 'vitest'
import { fuzz, readCorpus } from './fuzz/fuzz.ts'
import { HostileGuest } from './fuzz/hostile-guest.ts'

describe('hostile guests', () => {
  it('of the corpus and made anew do not hurt the host', () => {
    const corpus = readCorpus()
    expect(corpus.length).toBeGreaterThan(20)
    const { steps, features } = fuzz({ corpus, steps: corpus.length * 500 + 5000, seed: 77 })
    expect(steps).toBeGreaterThanOrEqual(corpus.length * 500 + 5000)
    expect(features).toBeGreaterThan(240)
  })

  it('do the same for the same input', () => {
    const features = (): string[] => {
      const guest = new HostileGuest(4711)
      guest.run(500)
      return [...guest.features]
    }
    expect(features()).toEqual(features())
  })
})
