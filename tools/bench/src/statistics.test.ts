import { describe, expect, it } from 'vitest'
import { arithmeticMean, geometricMean, harmonicMean, median } from './statistics.ts'

describe('means', () => {
  it('median: the middle, whatever the order', () => {
    expect(median([9, 1, 5])).toBe(5)
    expect(median([10, 2, 4, 1])).toBe(3)
  })
  it('of 40 and 60 km/h over the same way', () => {
    expect(harmonicMean([40, 60])).toBeCloseTo(48)
    expect(arithmeticMean([40, 60])).toBe(50)
  })
  it('geometric: twice as fast and twice as slow are the same', () => {
    expect(geometricMean([0.5, 2])).toBeCloseTo(1)
    expect(geometricMean([1, 10, 100])).toBeCloseTo(10)
  })
})
