import { expect, test } from 'vitest'
import { MAXIMUM_RUNS, warmUp } from './warm-up.ts'

/** A job whose runs go at these rates, the last of them from then on; it notes how many units each run had. */
function job(...rates: number[]): {
  counts: number[]
  run: (count: number) => Promise<{ wall: number; processor: number }>
} {
  const counts: number[] = []
  const run = async (count: number): Promise<{ wall: number; processor: number }> => {
    const rate = rates[Math.min(counts.length, rates.length - 1)] as number
    counts.push(count)
    // The host lets it have half of a processor.
    return { wall: (2 * count) / rate, processor: count / rate }
  }
  return { counts, run }
}

test('runs of the time wanted follow the first one until two have the same rate', async () => {
  const { counts, run } = job(1000, 2000, 3000, 4000, 4200, 4200)
  expect(await warmUp(run, 500, 2)).toEqual({ count: 4200, steady: true })
  expect(counts).toEqual([500, 1000, 2000, 3000, 4000])
})

test('the short first run is not compared with those that follow', async () => {
  const { counts, run } = job(1000)
  expect(await warmUp(run, 100, 2)).toEqual({ count: 1000, steady: true })
  expect(counts).toEqual([100, 1000, 1000])
})

test('a rate that becomes lower is not steady either', async () => {
  const { counts, run } = job(1000, 1000, 500, 500)
  expect(await warmUp(run, 100, 2)).toEqual({ count: 500, steady: true })
  expect(counts).toEqual([100, 1000, 1000, 500])
})

test('what never becomes steady is given up', async () => {
  const { counts, run } = job(...Array.from({ length: 20 }, (_, i) => 50 + 50 * (i % 2)))
  expect(await warmUp(run, 100, 2)).toEqual({ count: 100, steady: false })
  expect(counts).toHaveLength(1 + MAXIMUM_RUNS)
})

test('no run has fewer units than the first, nor endlessly many', async () => {
  const slow = job(1)
  expect(await warmUp(slow.run, 100, 2)).toEqual({ count: 100, steady: true })
  expect(slow.counts).toEqual([100, 100, 100])
  expect(await warmUp(job(1e9).run, 100, 2)).toEqual({ count: 500_000, steady: true })
})
