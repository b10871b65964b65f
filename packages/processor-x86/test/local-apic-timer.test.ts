// Facts of the SDM vol. 3, 11.5.4 (APIC timer) and 11.5.4.1 (TSC-deadline mode).
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { APIC_TIMER_FREQUENCY } from '../src/local-apic.ts'
import { type BenchApic, type BenchClock, single } from './local-apic-bench.ts'

const ONE_SHOT = 0x51
const PERIODIC = 0x20051
const TSC_DEADLINE = 0x40051
const MASKED = 0x10000
const DIVIDE_BY_1 = 0xb

/** Let time go to `time` and fire; whether the interrupt came. */
function firesAt(clock: BenchClock, unit: BenchApic, time: number): boolean {
  clock.time = time
  unit.apic.checkTimer()
  return unit.drain().includes(0x51)
}

describe('one-shot', () => {
  it('counts at 1 GHz and ends once', () => {
    const { clock, unit, apic } = single()
    expect(APIC_TIMER_FREQUENCY).toBe(1e9)
    unit.write(0x320, ONE_SHOT)
    unit.write(0x3e0, DIVIDE_BY_1)
    clock.time = 1000
    unit.write(0x380, 500)
    expect(apic.nextDeadline).toBe(1500)
    clock.time = 1200
    expect(unit.read(0x390)).toBe(300)
    expect(firesAt(clock, unit, 1499)).toBe(false)
    expect(firesAt(clock, unit, 1500)).toBe(true)
    expect([unit.read(0x390), unit.read(0x380)]).toEqual([0, 500])
    expect(apic.nextDeadline).toBe(Number.POSITIVE_INFINITY)
    expect(firesAt(clock, unit, 1e9)).toBe(false)
  })

  it.each([
    [0b0000, 2],
    [0b0001, 4],
    [0b0010, 8],
    [0b0011, 16],
    [0b1000, 32],
    [0b1001, 64],
    [0b1010, 128],
    [0b1011, 1],
  ])('divide configuration %i is by %i', (configuration, divisor) => {
    const { unit, apic } = single()
    unit.write(0x320, ONE_SHOT)
    unit.write(0x3e0, configuration)
    unit.write(0x380, 0xffffffff)
    expect(apic.nextDeadline).toBe(0xffffffff * divisor)
  })

  it('is stopped by an initial count of 0', () => {
    const { clock, unit, apic } = single()
    unit.write(0x320, ONE_SHOT)
    unit.write(0x380, 500)
    unit.write(0x380, 0)
    expect(apic.nextDeadline).toBe(Number.POSITIVE_INFINITY)
    expect(firesAt(clock, unit, 1e9)).toBe(false)
  })

  it('goes on at another rate when the divider changes', () => {
    const { clock, unit, apic } = single()
    unit.write(0x320, ONE_SHOT)
    unit.write(0x3e0, DIVIDE_BY_1)
    unit.write(0x380, 1000)
    clock.time = 400
    unit.write(0x3e0, 1)
    expect(unit.read(0x390)).toBe(600)
    expect(apic.nextDeadline).toBe(400 + 600 * 4)
  })

  it('counts when it is masked, and interrupts nobody', () => {
    const { clock, unit, apic } = single()
    unit.write(0x320, MASKED | ONE_SHOT)
    unit.write(0x3e0, DIVIDE_BY_1)
    unit.write(0x380, 1000)
    expect(apic.nextDeadline).toBe(Number.POSITIVE_INFINITY)
    clock.time = 300
    expect(unit.read(0x390)).toBe(700)
    unit.write(0x320, ONE_SHOT)
    expect(apic.nextDeadline).toBe(1000)
    unit.write(0x320, MASKED | ONE_SHOT)
    clock.time = 2000
    unit.write(0x320, ONE_SHOT)
    expect(firesAt(clock, unit, 2000)).toBe(false)
    expect(unit.read(0x390)).toBe(0)
  })

  it('tells of every new deadline', () => {
    const { unit } = single()
    unit.write(0x320, ONE_SHOT)
    const before = unit.changes
    unit.write(0x380, 1000)
    expect(unit.changes).toBeGreaterThan(before)
  })
})

describe('periodic', () => {
  it('ends at each period, without drift', () => {
    const { clock, unit, apic } = single()
    unit.write(0x320, PERIODIC)
    unit.write(0x3e0, DIVIDE_BY_1)
    unit.write(0x380, 100_000)
    expect(firesAt(clock, unit, 100_007)).toBe(true)
    expect(apic.nextDeadline).toBe(200_000)
    expect(unit.read(0x390)).toBe(99_993)
    expect(firesAt(clock, unit, 199_999)).toBe(false)
    expect(firesAt(clock, unit, 200_000)).toBe(true)
    // Periods that nobody looked at are one interrupt.
    expect(firesAt(clock, unit, 950_000)).toBe(true)
    expect(apic.nextDeadline).toBe(1_000_000)
    expect(firesAt(clock, unit, 950_000)).toBe(false)
  })

  it('keeps the phase and the count of periods too short to serve', () => {
    const { clock, unit, apic } = single()
    unit.write(0x320, PERIODIC)
    unit.write(0x3e0, DIVIDE_BY_1)
    unit.write(0x380, 3)
    expect(firesAt(clock, unit, 4)).toBe(true)
    expect(apic.nextDeadline % 3).toBe(0)
    expect(apic.nextDeadline).toBeGreaterThan(10_000)
    expect(unit.read(0x390)).toBe(2)
    clock.time = 6
    expect(unit.read(0x390)).toBe(3)
  })

  it('stops at the end when it becomes one-shot', () => {
    const { clock, unit, apic } = single()
    unit.write(0x320, PERIODIC)
    unit.write(0x3e0, DIVIDE_BY_1)
    unit.write(0x380, 100_000)
    clock.time = 150_000
    unit.write(0x320, ONE_SHOT)
    expect(unit.drain()).toEqual([0x51])
    expect(apic.nextDeadline).toBe(200_000)
    expect(firesAt(clock, unit, 200_000)).toBe(true)
    expect(apic.nextDeadline).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('TSC-deadline', () => {
  it('ends when the TSC reaches the deadline, and reads 0 then', () => {
    const { clock, unit, apic } = single()
    unit.tscOffset = 1_000_000n
    unit.write(0x320, TSC_DEADLINE)
    apic.writeTscDeadline(1_002_001n)
    expect(apic.readTscDeadline()).toBe(1_002_001n)
    expect(apic.nextDeadline).toBe(1001)
    expect(firesAt(clock, unit, 1000)).toBe(false)
    expect(firesAt(clock, unit, 1001)).toBe(true)
    expect(apic.readTscDeadline()).toBe(0n)
    expect(apic.nextDeadline).toBe(Number.POSITIVE_INFINITY)
  })

  it('fires at once for a deadline that is past', () => {
    const { clock, unit, apic } = single()
    clock.time = 5000
    unit.write(0x320, TSC_DEADLINE)
    apic.writeTscDeadline(1n)
    expect(unit.drain()).toEqual([0x51])
    expect(apic.readTscDeadline()).toBe(0n)
  })

  it('is disarmed by 0 and by another mode', () => {
    const { clock, unit, apic } = single()
    unit.write(0x320, TSC_DEADLINE)
    apic.writeTscDeadline(2000n)
    apic.writeTscDeadline(0n)
    expect(firesAt(clock, unit, 10_000)).toBe(false)
    apic.writeTscDeadline(40_000n)
    unit.write(0x320, ONE_SHOT)
    expect(apic.readTscDeadline()).toBe(0n)
    expect(firesAt(clock, unit, 100_000)).toBe(false)
    apic.writeTscDeadline(1n)
    expect(apic.readTscDeadline()).toBe(0n)
    expect(unit.drain()).toEqual([])
  })

  it('ignores the initial count', () => {
    const { clock, unit, apic } = single()
    unit.write(0x320, ONE_SHOT)
    unit.write(0x380, 1000)
    unit.write(0x320, TSC_DEADLINE)
    unit.write(0x380, 1000)
    expect([unit.read(0x380), unit.read(0x390)]).toEqual([0, 0])
    expect(apic.nextDeadline).toBe(Number.POSITIVE_INFINITY)
    expect(firesAt(clock, unit, 1e6)).toBe(false)
  })

  it('follows a TSC that is set', () => {
    const { clock, unit, apic } = single()
    unit.write(0x320, TSC_DEADLINE)
    apic.writeTscDeadline(10_000n)
    unit.tscOffset = 4_000n
    apic.tscChanged()
    expect(apic.nextDeadline).toBe(3000)
    unit.tscOffset = -4_000n
    // Nobody told: the TSC itself decides.
    expect(firesAt(clock, unit, 3000)).toBe(false)
    expect(apic.nextDeadline).toBe(7000)
    expect(firesAt(clock, unit, 7000)).toBe(true)
  })

  it('is never early and at most a nanosecond late, at any frequency', () => {
    const frequencies = fc.integer({ min: 1_000_000, max: 5_000_000_000 })
    const starts = fc.integer({ min: 0, max: 10 ** 15 })
    fc.assert(
      fc.property(frequencies, starts, fc.bigInt(1n, 10n ** 13n), (frequency, start, ahead) => {
        const { clock, unit, apic } = single(frequency)
        clock.time = start
        unit.write(0x320, TSC_DEADLINE)
        const deadline = unit.readTsc(frequency) + ahead
        apic.writeTscDeadline(deadline)
        // Each wake-up is at the deadline that was named; a few may be needed.
        let wakeUps = 0
        while (apic.pendingVector() < 0 && wakeUps++ < 10) {
          clock.time = apic.nextDeadline
          apic.checkTimer()
        }
        expect(apic.pendingVector()).toBe(0x51)
        expect(unit.readTsc(frequency) >= deadline).toBe(true)
      }),
    )
  })
})
