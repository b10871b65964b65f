import { describe, expect, it } from 'vitest'
import type { Measurement } from './index.ts'
import { report } from './report.ts'
import type { ProgramResult } from './result.ts'

const times = (seconds: number[]): ProgramResult[] =>
  seconds.map((thread) => ({ checksum: '0', wall: thread * 3, thread, processor: thread * 2 }))

function measurement(group: string, name: string, length: Measurement['length'], own: number[]): Measurement {
  const results = {
    Partita: times(own),
    'QEMU TCG': times([1, 2, 4]),
    native: times([0.5, 0.5, 0.5]),
  }
  return { program: { group, name, rounds: 1 }, length, results }
}

describe('report', () => {
  const text = report(
    [
      measurement('integer', 'a', 'full', [0.5, 1, 2]),
      measurement('integer', 'b', 'full', [10, 4, 8]),
      measurement('x87', 'c', 'full', [3, 6, 12]),
      measurement('integer', 'a', 'tenth', [1, 2, 4]),
    ],
    3,
  )

  it('takes ratios of neighbouring runs, not of medians', () => {
    expect(text).toMatch(/^b +8\.000 +2\.000 +0\.500 +2\.00 +10\.00 +2\.00 +10\.00 +2\.00 +2\.00 +16\.0 +4\.0$/m)
  })

  it('judges groups by geometric means, and the worst by itself', () => {
    expect(text).toContain('integer: target at most 1 times QEMU TCG; measured 1.00: met')
    expect(text).toContain('x87: target at most 1 times QEMU TCG; measured 3.00: missed')
    expect(text).toContain('worst, c: target at most 2 times QEMU TCG; measured 3.00: missed')
    expect(text).toContain('a tenth of the length, all: target at most 1.5 times QEMU TCG; measured 1.00: met')
  })

  it('has native ratios alone where there is no QEMU', () => {
    const { program, length, results } = measurement('integer', 'a', 'full', [1, 1, 1])
    const { 'QEMU TCG': _, ...rest } = results
    const alone = report([{ program, length, results: rest }], 3)
    expect(alone).toMatch(/^a +1\.000 +- +0\.500 +- +- +- +- +- +- +2\.0 +-$/m)
    expect(alone).not.toContain('target')
  })
})
