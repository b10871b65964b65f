// TLFS, "Timers": synthetic timers.

import { describe, expect, it } from 'vitest'
import { HV_MSR } from '../src/index.ts'
import { HyperVMachine, SINT, VECTOR } from './hyper-v-machine.ts'

const CONFIG = HV_MSR.STIMER0_CONFIG
const COUNT = HV_MSR.STIMER0_COUNT
const ENABLED = 1n
const PERIODIC = 2n
const LAZY = 4n
const AUTO_ENABLE = 8n
const direct = (vector: number): bigint => (1n << 12n) | (BigInt(vector) << 4n)
const sint = (index: number): bigint => BigInt(index) << 16n
/** Units of 100 ns since power-on at which a machine of these tests starts. */
const NOW = 10_000n

describe('A synthetic timer', () => {
  it('is disabled at power-on and after a reset', () => {
    const machine = new HyperVMachine()
    for (let timer = 0; timer < 4; timer++) {
      expect(machine.read(CONFIG + 2 * timer)).toBe(0n)
      expect(machine.read(COUNT + 2 * timer)).toBe(0n)
    }
    machine.write(CONFIG, ENABLED | AUTO_ENABLE | direct(0xed))
    machine.write(COUNT, NOW + 100n)
    machine.partition.reset()
    expect(machine.read(CONFIG)).toBe(0n)
    machine.advance(1e9)
    expect(machine.interrupts()).toEqual([])
  })

  it('fires once in direct mode, as Linux programs it, never too early, and is disabled then', () => {
    const machine = new HyperVMachine()
    expect(machine.write(CONFIG, ENABLED | AUTO_ENABLE | direct(0xed))).toBe(true)
    for (let round = 0; round < 3; round++) {
      const now = machine.read(HV_MSR.TIME_REF_COUNT) as bigint
      expect(machine.write(COUNT, now + 50n)).toBe(true)
      expect(machine.read(CONFIG)).toBe(ENABLED | AUTO_ENABLE | direct(0xed))
      machine.advance(4999)
      expect(machine.interrupts()).toEqual([])
      machine.advance(1)
      expect(machine.interrupts()).toEqual([0xed])
      expect(machine.read(CONFIG)).toBe(AUTO_ENABLE | direct(0xed))
      machine.advance(1e9)
      expect(machine.interrupts()).toEqual([])
    }
  })

  it('fires at once when its time is past', () => {
    const machine = new HyperVMachine()
    machine.write(CONFIG, AUTO_ENABLE | direct(0xed))
    machine.write(COUNT, 1n)
    expect(machine.interrupts()).toEqual([0xed])
    machine.write(CONFIG, direct(0xee))
    machine.write(COUNT, NOW)
    expect(machine.interrupts()).toEqual([])
    machine.write(CONFIG, ENABLED | direct(0xee))
    expect(machine.interrupts()).toEqual([0xee])
  })

  it('is stopped by a count of zero, by a configuration without enable, and replaced by another count', () => {
    const machine = new HyperVMachine()
    machine.write(CONFIG, ENABLED | AUTO_ENABLE | direct(0xed))
    machine.write(COUNT, NOW + 10n)
    machine.write(COUNT, 0n)
    expect(machine.read(CONFIG)).toBe(AUTO_ENABLE | direct(0xed))
    machine.advance(1e6)
    machine.write(COUNT, NOW + 20_000n)
    machine.write(CONFIG, direct(0xed))
    machine.advance(1e9)
    expect(machine.interrupts()).toEqual([])
    const now = machine.read(HV_MSR.TIME_REF_COUNT) as bigint
    machine.write(CONFIG, ENABLED | direct(0xed))
    machine.interrupts()
    machine.write(CONFIG, AUTO_ENABLE | direct(0xed))
    machine.write(COUNT, now + 100n)
    machine.write(COUNT, now + 200n)
    machine.advance(15_000)
    expect(machine.interrupts()).toEqual([])
    machine.advance(5_000)
    expect(machine.interrupts()).toEqual([0xed])
  })

  it('never fires for a time beyond all times', () => {
    const machine = new HyperVMachine()
    machine.write(CONFIG, AUTO_ENABLE | direct(0xed))
    machine.write(COUNT, 0xffff_ffff_ffff_ffffn)
    expect(machine.read(COUNT)).toBe(0xffff_ffff_ffff_ffffn)
    machine.advance(1e15)
    expect(machine.interrupts()).toEqual([])
  })

  it('refuses reserved bits, and a message to SINT 0', () => {
    const machine = new HyperVMachine()
    for (const bit of [13n, 14n, 15n, 20n, 32n, 63n]) expect(machine.write(CONFIG, 1n << bit)).toBe(false)
    expect(machine.write(CONFIG, ENABLED | PERIODIC)).toBe(true)
    expect(machine.read(CONFIG)).toBe(PERIODIC)
    expect(machine.write(CONFIG, AUTO_ENABLE)).toBe(true)
    machine.write(COUNT, 5n)
    expect(machine.read(CONFIG)).toBe(AUTO_ENABLE)
  })

  it('is each processor’s own, four of them', () => {
    const machine = new HyperVMachine()
    for (let timer = 0; timer < 4; timer++) {
      machine.write(CONFIG + 2 * timer, AUTO_ENABLE | direct(0xe0 + timer), 1)
      machine.write(COUNT + 2 * timer, NOW + 10n * BigInt(4 - timer), 1)
    }
    machine.advance(1e6)
    expect(machine.interrupts(1)).toEqual([0xe3, 0xe2, 0xe1, 0xe0])
    expect(machine.interrupts(0)).toEqual([])
  })

  it('posts a message with its index, its expiration and its delivery', () => {
    const machine = new HyperVMachine()
    machine.enableSynic()
    machine.write(CONFIG + 4, AUTO_ENABLE | sint(SINT))
    machine.write(COUNT + 4, NOW + 30n)
    machine.advance(5_000)
    expect(machine.interrupts()).toEqual([VECTOR])
    const { type, payload } = machine.message()
    expect(type).toBe(0x80000010)
    expect(payload.length).toBe(24)
    const view = new DataView(payload.buffer)
    expect(view.getUint32(0, true)).toBe(2)
    expect(view.getBigUint64(8, true)).toBe(NOW + 30n)
    expect(view.getBigUint64(16, true)).toBe(NOW + 50n)
  })

  it('has one message: further expirations are lost while it waits, and it is withdrawn when the timer is set anew', () => {
    const machine = new HyperVMachine()
    machine.enableSynic()
    machine.synic.postMessage(0, SINT, 1, new Uint8Array(0))
    machine.write(CONFIG, ENABLED | PERIODIC | sint(SINT))
    machine.write(COUNT, 10_000n)
    for (let index = 0; index < 100; index++) machine.advance(1_000_000)
    const times: bigint[] = []
    for (let index = 0; index < 3; index++) {
      machine.emptySlot()
      machine.write(HV_MSR.EOM, 0)
      const { type, payload } = machine.message()
      if (type === 0x80000010) times.push(new DataView(payload.buffer).getBigUint64(8, true))
    }
    expect(times).toEqual([20_000n])
    machine.emptySlot()
    machine.synic.postMessage(0, SINT, 1, new Uint8Array(0))
    machine.advance(2_000_000)
    machine.write(CONFIG, 0)
    machine.emptySlot()
    machine.write(HV_MSR.EOM, 0)
    expect(machine.message().type).toBe(0)
  })

  it('waits with its message for a SynIC that is disabled', () => {
    const machine = new HyperVMachine()
    machine.write(CONFIG, AUTO_ENABLE | sint(SINT))
    machine.write(COUNT, 1n)
    machine.enableSynic()
    expect(machine.message().type).toBe(0x80000010)
  })
})

describe('A periodic timer', () => {
  function periods(steps: readonly number[], flags = 0n): number[] {
    const machine = new HyperVMachine()
    machine.write(CONFIG, AUTO_ENABLE | PERIODIC | flags | direct(0x80))
    // A millisecond.
    machine.write(COUNT, 10_000n)
    return steps.map((step) => {
      machine.advance(step)
      return machine.interrupts().length
    })
  }

  it('fires each period, without drift', () => {
    const steps = Array.from({ length: 100 }, () => 100_000)
    const fired = periods(steps)
    expect(fired.map((count, index) => (count > 0 ? index : -1)).filter((index) => index >= 0)).toEqual([
      9, 19, 29, 39, 49, 59, 69, 79, 89, 99,
    ])
    // Late by a bit each time: still ten in ten milliseconds.
    expect(periods(Array.from({ length: 13 }, () => 770_000)).reduce((sum, count) => sum + count)).toBe(10)
  })

  it('catches up in half periods when a few are missed', () => {
    expect(periods([3_500_000, 500_000, 500_000, 500_000, 500_000, 500_000, 500_000])).toEqual([1, 1, 1, 1, 1, 1, 0])
  })

  it('skips what it missed when it is lazy, and most of a very long gap in any case', () => {
    expect(periods([3_500_000, 499_999, 1, 999_999, 1], LAZY)).toEqual([1, 0, 1, 0, 1])
    const after = periods([1e12, ...Array.from({ length: 40 }, () => 500_000)])
    // Half of forty half periods, and at most eight more.
    expect(after.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(1 + 20 + 8 + 1)
  })

  it('of a tiny period leaves the guest time to breathe', () => {
    const machine = new HyperVMachine()
    machine.write(CONFIG, AUTO_ENABLE | PERIODIC | direct(0x80))
    machine.write(COUNT, 1n)
    for (let index = 0; index < 1000; index++) machine.advance(1000)
    expect(machine.interrupts().length).toBeLessThanOrEqual(60)
  })
})
