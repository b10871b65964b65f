import { describe, expect, it } from 'vitest'
import { Consolidation } from './consolidation.ts'

const PERIOD = 30_000_000

class Scattered {
  readonly said: string[] = []
  regions: number[] = Array.from({ length: 100 }, (_, n) => n)
  watch(): void {
    this.said.push('watch')
  }
  executed(): number[] {
    this.said.push('executed')
    return this.regions.splice(0)
  }
}

describe('consolidation', () => {
  it('watches for a period in which hardly anything becomes hot, and takes what was executed in pieces', () => {
    const scattered = new Scattered()
    const consolidation = new Consolidation<number>(scattered, { regions: 64, period: PERIOD })
    expect(consolidation.next(PERIOD - 1)).toEqual([])
    expect(scattered.said).toEqual([])
    expect(consolidation.next(PERIOD)).toEqual([])
    expect(scattered.said).toEqual(['watch'])
    expect(consolidation.next(2 * PERIOD - 1)).toEqual([])
    expect(consolidation.next(2 * PERIOD)).toHaveLength(64)
    expect(consolidation.next(2 * PERIOD)).toHaveLength(36)
    expect(consolidation.next(2 * PERIOD)).toEqual([])
    expect(scattered.said).toEqual(['watch', 'executed'])
  })
  it('waits while new code becomes hot', () => {
    const scattered = new Scattered()
    const consolidation = new Consolidation<number>(scattered, { regions: 64, period: PERIOD })
    consolidation.ordered(65)
    consolidation.next(PERIOD)
    expect(scattered.said).toEqual([])
    consolidation.ordered(64)
    consolidation.next(2 * PERIOD)
    expect(scattered.said).toEqual(['watch'])
    consolidation.ordered(65)
    expect(consolidation.next(3 * PERIOD)).toEqual([])
    expect(scattered.said).toEqual(['watch'])
  })
  it('leaves few as they are, and looks again', () => {
    const scattered = new Scattered()
    scattered.regions = [1, 2, 3]
    const consolidation = new Consolidation<number>(scattered, { regions: 64, period: PERIOD })
    consolidation.next(PERIOD)
    expect(consolidation.next(2 * PERIOD)).toEqual([])
    expect(scattered.said).toEqual(['watch', 'executed', 'watch'])
  })
  it('forgets what is gone', () => {
    const scattered = new Scattered()
    const consolidation = new Consolidation<number>(scattered, { regions: 64, period: PERIOD })
    consolidation.next(PERIOD)
    consolidation.next(2 * PERIOD)
    consolidation.reset()
    expect(consolidation.next(2 * PERIOD)).toEqual([])
  })
})
