import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RegionPlaces } from './region-places.ts'

const MAXIMUM = 64

describe('places for regions', () => {
  it("are nobody else's, lie at multiples of their number, and are all there again in the end", () => {
    const step = fc.record({ size: fc.integer({ min: 0, max: 4 }), give: fc.boolean(), which: fc.nat() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const places = new RegionPlaces(MAXIMUM)
        const runs: { readonly size: number; readonly first: number }[] = []
        const taken = new Set<number>()
        const each = (size: number, first: number): number[] => Array.from({ length: 1 << size }, (_, i) => first + i)
        const giveBack = (at: number): void => {
          const [run] = runs.splice(at, 1)
          if (!run) return
          for (const place of each(run.size, run.first)) taken.delete(place)
          places.give(run.size, run.first)
        }
        for (const { size, give, which } of steps) {
          if (give && runs.length > 0) {
            giveBack(which % runs.length)
            continue
          }
          const first = places.take(size)
          if (first < 0) {
            // no run of this length is free anywhere
            for (let at = 0; at < MAXIMUM; at += 1 << size) expect(each(size, at).some((p) => taken.has(p))).toBe(true)
            continue
          }
          expect(first % (1 << size)).toBe(0)
          expect(first + (1 << size)).toBeLessThanOrEqual(MAXIMUM)
          for (const place of each(size, first)) {
            expect(taken.has(place)).toBe(false)
            taken.add(place)
          }
          runs.push({ size, first })
        }
        while (runs.length > 0) giveBack(0)
        expect(places.take(Math.log2(MAXIMUM))).toBe(0)
      }),
    )
  })
})
