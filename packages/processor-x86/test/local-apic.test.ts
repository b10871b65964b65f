// Facts of the SDM vol. 3, chapter 11: registers, priorities, local interrupts, modes.
import { DELIVERY_MODE } from '@partita/interface'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LocalApic } from '../src/local-apic.ts'
import { BenchClock, bench, PAGE, single } from './local-apic-bench.ts'

const ENABLED = 0x800n
const X2APIC = 0x400n

function powerOn(bootProcessor: boolean): LocalApic {
  return new LocalApic({
    apicId: 5,
    bootProcessor,
    clock: new BenchClock(),
    readTsc: () => 0n,
    tscFrequency: 1e9,
    send: () => {},
    endOfInterrupt: () => {},
    changed: () => {},
  })
}

describe('state after power-on (11.4.7.1)', () => {
  it('has the values of the SDM on an application processor', () => {
    const apic = powerOn(false)
    const read = (register: number): number => apic.readMmio(PAGE + register, 4)
    expect(apic.apicBase).toBe(0xfee00800n)
    expect([0x80, 0x90, 0xa0, 0xd0, 0x280, 0x300, 0x310, 0x380, 0x390, 0x3e0].map(read)).toEqual(Array(10).fill(0))
    for (let register = 0x100; register < 0x280; register += 0x10) expect(read(register)).toBe(0)
    expect(read(0xe0)).toBe(0xffffffff)
    expect(read(0xf0)).toBe(0xff)
    expect([0x2f0, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370].map(read)).toEqual(Array(7).fill(0x10000))
    expect(read(0x20)).toBe(0x05000000)
    expect(read(0x30)).toBe(0x01060014)
    expect(apic.pendingVector()).toBe(-1)
    expect(apic.nextDeadline).toBe(Number.POSITIVE_INFINITY)
    expect(apic.acceptsExternal()).toBe(false)
  })

  it('is virtual wire mode on the boot processor', () => {
    const apic = powerOn(true)
    expect(apic.apicBase).toBe(0xfee00900n)
    expect(apic.acceptsExternal()).toBe(true)
    expect(apic.readMmio(PAGE + 0xf0, 4)).toBe(0x1ff)
    expect(apic.readMmio(PAGE + 0x350, 4)).toBe(0x700)
    expect(apic.readMmio(PAGE + 0x360, 4)).toBe(0x400)
    apic.setLint1(true)
    expect(apic.nmiPending).toBe(true)
  })

  it('is that of the SDM after INIT, in the same mode', () => {
    const { unit, apic } = single()
    unit.write(0xd0, 0x01000000)
    unit.write(0x350, 0x30)
    unit.fixed(0x40)
    apic.reset('init')
    expect(apic.pendingVector()).toBe(-1)
    expect([0xd0, 0x350, 0xf0].map((register) => unit.read(register))).toEqual([0, 0x10000, 0xff])
    unit.enterX2Apic()
    apic.reset('init')
    expect(apic.apicBase).toBe(0xfee00d00n)
    expect(apic.readMsr(0x80d)).toBe(1n)
    apic.reset('power-on')
    expect(apic.apicBase).toBe(0xfee00900n)
  })

  it('INIT keeps a startup IPI that came after it', () => {
    const { unit, apic } = single()
    const message = { destination: 0, logical: false, level: false }
    apic.receive({ ...message, vector: 0x11, deliveryMode: DELIVERY_MODE.STARTUP })
    apic.receive({ ...message, vector: 0, deliveryMode: DELIVERY_MODE.INIT })
    expect([apic.initPending, apic.startupVector]).toEqual([true, -1])
    apic.receive({ ...message, vector: 0x9a, deliveryMode: DELIVERY_MODE.STARTUP })
    apic.reset('init')
    expect([apic.initPending, apic.startupVector]).toEqual([false, 0x9a])
    expect(unit.read(0xf0)).toBe(0xff)
  })
})

describe('registers in memory', () => {
  it('answers aligned double words alone', () => {
    const { unit, apic } = single()
    unit.write(0x80, 0x53)
    expect(unit.read(0x80)).toBe(0x53)
    expect(apic.readMmio(PAGE + 0x80, 1)).toBe(0)
    expect(apic.readMmio(PAGE + 0x84, 4)).toBe(0)
    apic.writeMmio(PAGE + 0x80, 2, 0x77)
    apic.writeMmio(PAGE + 0x88, 4, 0x77)
    expect(unit.read(0x80)).toBe(0x53)
    unit.write(0x280, 0)
    expect(unit.read(0x280)).toBe(0)
  })

  it('cannot be written where it is read-only', () => {
    const { unit } = single()
    const readOnly = [0x20, 0x30, 0x90, 0xa0, 0x100, 0x180, 0x200, 0x390]
    const before = readOnly.map((register) => unit.read(register))
    for (const register of readOnly) unit.write(register, 0xffffffff)
    expect(readOnly.map((register) => unit.read(register))).toEqual(before)
    unit.write(0x280, 0)
    expect(unit.read(0x280)).toBe(0)
  })

  it('keeps only the bits that are there', () => {
    const { unit } = single()
    const kept = (register: number): number => {
      unit.write(register, 0xffffffff)
      return unit.read(register)
    }
    expect(kept(0x80)).toBe(0xff)
    expect(kept(0xd0)).toBe(0xff000000)
    unit.write(0xe0, 0)
    expect(unit.read(0xe0)).toBe(0x0fffffff)
    expect(kept(0x310)).toBe(0xff000000)
    expect(kept(0x3e0)).toBe(0xb)
    expect([0x2f0, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370].map(kept)).toEqual([
      0x107ff, 0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff,
    ])
    expect(kept(0xf0)).toBe(0x13ff)
  })

  it('records accesses to reserved addresses in ESR, read after a write (11.5.3)', () => {
    const { unit, apic } = single()
    unit.write(0x370, 0xfe)
    unit.read(0x40)
    expect(unit.read(0x280)).toBe(0)
    expect(unit.drain()).toEqual([0xfe])
    unit.write(0x3f0, 0x40)
    // The error interrupt is armed again by a write to ESR.
    expect(apic.pendingVector()).toBe(-1)
    unit.write(0x280, 0)
    expect(unit.read(0x280)).toBe(0x80)
    unit.write(0x280, 0)
    expect(unit.read(0x280)).toBe(0)
    unit.write(0x500, 1)
    expect(unit.drain()).toEqual([0xfe])
  })

  it('masks the local vector table while software disables it (11.4.7.2)', () => {
    const { unit, apic } = single()
    unit.write(0x320, 0x40)
    unit.fixed(0x50)
    unit.write(0xf0, 0xff)
    expect(unit.read(0x320)).toBe(0x10040)
    unit.write(0x320, 0x41)
    expect(unit.read(0x320)).toBe(0x10041)
    expect(unit.fixed(0x60)).toBe(false)
    // What was taken before stays.
    expect(unit.drain()).toEqual([0x50])
    const nmi = { vector: 0, deliveryMode: DELIVERY_MODE.NMI, destination: 0, logical: false, level: false }
    expect(apic.receive(nmi)).toBe(true)
    expect(apic.nmiPending).toBe(true)
    unit.write(0xf0, 0x1ff)
    expect(unit.read(0x320)).toBe(0x10041)
  })
})

describe('priorities (11.8.3)', () => {
  it('delivers the highest vector first', () => {
    const { unit } = single()
    for (const vector of [0x31, 0xfe, 0x80, 0x10, 0xff]) unit.fixed(vector)
    expect(unit.drain()).toEqual([0xff, 0xfe, 0x80, 0x31, 0x10])
  })

  it('nests only a higher class, and EOI ends the highest in service', () => {
    const { unit, apic } = single()
    unit.fixed(0x41)
    expect(apic.acknowledge()).toBe(0x41)
    expect(unit.read(0xa0)).toBe(0x40)
    unit.fixed(0x4f)
    expect(apic.pendingVector()).toBe(-1)
    unit.fixed(0x52)
    expect(apic.pendingVector()).toBe(0x52)
    expect(apic.acknowledge()).toBe(0x52)
    expect(unit.read(0xa0)).toBe(0x50)
    expect([unit.read(0x120), unit.read(0x220)]).toEqual([0x00040002, 0x8000])
    unit.write(0xb0, 0)
    expect(unit.read(0x120)).toBe(2)
    expect(apic.pendingVector()).toBe(-1)
    unit.write(0xb0, 0x12345)
    expect(apic.pendingVector()).toBe(0x4f)
    unit.write(0xb0, 0)
    expect(apic.pendingVector()).toBe(0x4f)
  })

  it('holds back what TPR is not below', () => {
    const { unit, apic } = single()
    unit.fixed(0x45)
    unit.write(0x80, 0x40)
    expect(apic.pendingVector()).toBe(-1)
    expect(apic.taskPriority).toBe(4)
    expect(unit.read(0x90)).toBe(0x40)
    unit.write(0x80, 0x3f)
    expect(apic.pendingVector()).toBe(0x45)
    expect([unit.read(0xa0), unit.read(0x90)]).toEqual([0x3f, 0x40])
    apic.taskPriority = 15
    expect(unit.read(0x80)).toBe(0xf0)
    expect(apic.pendingVector()).toBe(-1)
    // An acknowledge cycle with nothing to give is the spurious vector's, and puts nothing into service.
    expect(apic.acknowledge()).toBe(0xff)
    expect(unit.read(0x120)).toBe(0)
    const before = unit.changes
    apic.taskPriority = 0
    expect(unit.changes).toBeGreaterThan(before)
    expect(unit.drain()).toEqual([0x45])
  })

  it('agrees with a model for any order of requests, acknowledges and EOIs', () => {
    const step = fc.oneof(
      fc.record({ op: fc.constant('request' as const), value: fc.integer({ min: 16, max: 255 }) }),
      fc.record({ op: fc.constant('acknowledge' as const), value: fc.constant(0) }),
      fc.record({ op: fc.constant('eoi' as const), value: fc.constant(0) }),
      fc.record({ op: fc.constant('priority' as const), value: fc.integer({ min: 0, max: 15 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const { unit, apic } = single()
        const requested = new Set<number>()
        const service = new Set<number>()
        const highest = (set: Set<number>): number => Math.max(-1, ...set)
        let priority = 0
        const pending = (): number => {
          const top = highest(requested)
          return top >> 4 > Math.max(priority, highest(service) >> 4) ? top : -1
        }
        for (const { op, value } of steps) {
          if (op === 'request') {
            unit.fixed(value)
            requested.add(value)
          } else if (op === 'priority') {
            apic.taskPriority = value
            priority = value
          } else if (op === 'eoi') {
            apic.endOfInterrupt()
            service.delete(highest(service))
          } else {
            const vector = pending()
            expect(apic.acknowledge()).toBe(vector < 0 ? 0xff : vector)
            if (vector >= 0) {
              requested.delete(vector)
              service.add(vector)
            }
          }
          expect(apic.pendingVector()).toBe(pending())
        }
      }),
    )
  })
})

describe('level-triggered interrupts', () => {
  it('broadcasts their EOI alone', () => {
    const { unit, apic } = single()
    unit.fixed(0x33, true)
    unit.fixed(0x44)
    expect([unit.read(0x190), unit.read(0x1a0)]).toEqual([1 << 19, 0])
    expect(unit.drain()).toEqual([0x44, 0x33])
    expect(unit.ended).toEqual([0x33])
    // The same vector as an edge next.
    unit.fixed(0x33)
    expect(unit.drain()).toEqual([0x33])
    expect(unit.ended).toEqual([0x33])
    expect(apic.pendingVector()).toBe(-1)
  })

  it('does not where SVR suppresses it', () => {
    const { unit } = single()
    unit.write(0xf0, 0x11ff)
    unit.fixed(0x33, true)
    expect(unit.drain()).toEqual([0x33])
    expect(unit.ended).toEqual([])
  })
})

describe('LINT pins', () => {
  it('LINT0 passes INTR on in ExtINT mode', () => {
    const { unit, apic } = single()
    unit.write(0x350, 0x700)
    expect(apic.acceptsExternal()).toBe(true)
    unit.write(0x350, 0x10700)
    expect(apic.acceptsExternal()).toBe(false)
    unit.write(0x350, 0x30)
    expect(apic.acceptsExternal()).toBe(false)
  })

  it('an ExtINT message lets INTR through until it is acknowledged', () => {
    const { unit, apic } = single()
    unit.write(0x350, 0x10000)
    const message = { vector: 0, deliveryMode: DELIVERY_MODE.EXT_INT, destination: 0, logical: false, level: false }
    expect(apic.receive(message)).toBe(true)
    expect(apic.acceptsExternal()).toBe(true)
    apic.externalAcknowledged()
    expect(apic.acceptsExternal()).toBe(false)
  })

  it('edges of LINT0 as fixed interrupts', () => {
    const { unit, apic } = single()
    unit.write(0x350, 0x31)
    apic.setLint0(true)
    expect(unit.drain()).toEqual([0x31])
    apic.setLint0(true)
    expect(apic.pendingVector()).toBe(-1)
    apic.setLint0(false)
    apic.setLint0(true)
    expect(unit.drain()).toEqual([0x31])
    expect(unit.ended).toEqual([])
  })

  it('levels of LINT0 wait for EOI with remote IRR set, and ask again', () => {
    const { unit, apic } = single()
    unit.write(0x350, 0x8031)
    apic.setLint0(true)
    expect(unit.read(0x350)).toBe(0xc031)
    expect(apic.acknowledge()).toBe(0x31)
    apic.setLint0(false)
    apic.setLint0(true)
    expect(apic.pendingVector()).toBe(-1)
    apic.endOfInterrupt()
    expect(apic.acknowledge()).toBe(0x31)
    apic.setLint0(false)
    apic.endOfInterrupt()
    expect(unit.read(0x350)).toBe(0x8031)
    expect(apic.pendingVector()).toBe(-1)
    unit.write(0x350, 0x18031)
    apic.setLint0(true)
    expect(apic.pendingVector()).toBe(-1)
    unit.write(0x350, 0x8031)
    expect(apic.pendingVector()).toBe(0x31)
  })

  it('illegal vectors are errors of the receiver', () => {
    const { unit, apic } = single()
    unit.write(0x350, 0x0f)
    apic.setLint0(true)
    expect(unit.fixed(3)).toBe(true)
    expect(apic.pendingVector()).toBe(-1)
    unit.write(0x280, 0)
    expect(unit.read(0x280)).toBe(0x40)
    // An error interrupt that is itself one does not go round.
    unit.write(0x370, 5)
    unit.read(0x40)
    unit.write(0x280, 0)
    expect(unit.read(0x280)).toBe(0xc0)
  })
})

describe('IA32_APIC_BASE (11.4.4 and 11.12.5)', () => {
  it('moves the registers', () => {
    const { apic } = single()
    expect(apic.contains(PAGE)).toBe(true)
    expect(apic.contains(PAGE + 0xfff)).toBe(true)
    expect(apic.contains(PAGE - 1)).toBe(false)
    expect(apic.contains(PAGE + 0x1000)).toBe(false)
    expect(apic.writeApicBase(0xd0000000n | ENABLED)).toBe(true)
    expect(apic.contains(PAGE)).toBe(false)
    expect(apic.contains(0xd0000020)).toBe(true)
    expect(apic.readMmio(0xd0000030, 4)).toBe(0x01060014)
  })

  it.each([
    ['disabled', 0n, [true, true, false, false]],
    ['xAPIC', ENABLED, [true, true, true, false]],
    ['x2APIC', ENABLED | X2APIC, [true, false, true, false]],
  ] as const)('transitions from %s', (_name, from, legal) => {
    const to = [0n, ENABLED, ENABLED | X2APIC, X2APIC]
    const results = to.map((mode) => {
      const { apic } = single()
      expect(apic.writeApicBase(0xfee00100n | from)).toBe(true)
      const written = apic.writeApicBase(0xfee00100n | mode)
      expect(apic.apicBase).toBe(0xfee00100n | (written ? mode : from))
      return written
    })
    expect(results).toEqual(legal)
  })

  it('has reserved bits', () => {
    const { apic } = single()
    for (const bit of [0n, 7n, 9n, 40n, 63n]) expect(apic.writeApicBase(apic.apicBase | (1n << bit))).toBe(false)
  })

  it('is a processor without a local APIC when disabled', () => {
    const { unit, apic } = single()
    unit.fixed(0x55)
    apic.writeApicBase(0xfee00100n)
    expect(apic.contains(PAGE)).toBe(false)
    expect(apic.readMsr(0x802)).toBeUndefined()
    expect(apic.acceptsExternal()).toBe(true)
    expect(apic.pendingVector()).toBe(-1)
    expect(unit.fixed(0x55)).toBe(false)
    apic.setLint1(true)
    expect(apic.nmiPending).toBe(true)
    apic.writeApicBase(0xfee00900n)
    expect(unit.read(0xf0)).toBe(0xff)
  })
})

describe('x2APIC mode (11.12)', () => {
  it('has ids of 32 bits, and logical ids that follow from them', () => {
    const { apics } = bench([0, 0x123])
    for (const unit of apics) unit.enterX2Apic()
    const [zero, other] = apics
    expect([zero.apic.readMsr(0x802), other.apic.readMsr(0x802)]).toEqual([0n, 0x123n])
    expect([zero.apic.readMsr(0x80d), other.apic.readMsr(0x80d)]).toEqual([1n, 0x120008n])
    expect(other.apic.contains(PAGE)).toBe(false)
  })

  it('keeps what was going on', () => {
    const { unit, apic } = single()
    unit.fixed(0x41)
    unit.write(0x80, 0x20)
    unit.enterX2Apic()
    expect(apic.pendingVector()).toBe(0x41)
    expect(apic.readMsr(0x808)).toBe(0x20n)
    expect(apic.readMsr(0x822)).toBe(2n)
    expect(apic.readMsr(0x80f)).toBe(0x1ffn)
  })

  it('knows which registers can be read', () => {
    const { unit, apic } = single()
    expect(apic.readMsr(0x802)).toBeUndefined()
    unit.enterX2Apic()
    const readable: number[] = []
    for (let index = 0x700; index < 0xa00; index++) if (apic.readMsr(index) !== undefined) readable.push(index - 0x800)
    const sets = Array.from({ length: 24 }, (_, i) => 0x10 + i)
    expect(readable).toEqual([
      2,
      3,
      8,
      0xa,
      0xd,
      0xf,
      ...sets,
      0x28,
      0x2f,
      0x30,
      0x32,
      0x33,
      0x34,
      0x35,
      0x36,
      0x37,
      0x38,
      0x39,
      0x3e,
    ])
  })

  it('knows which registers can be written', () => {
    const { unit, apic } = single()
    expect(apic.writeMsr(0x808, 0n)).toBe(false)
    unit.enterX2Apic()
    const writable: number[] = []
    for (let index = 0x700; index < 0xa00; index++) {
      const value = index === 0x830 || index === 0x83f ? 0xf0n : 0n
      if (apic.writeMsr(index, value)) writable.push(index - 0x800)
    }
    expect(writable).toEqual([8, 0xb, 0xf, 0x28, 0x2f, 0x30, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x3e, 0x3f])
  })

  it('refuses reserved bits', () => {
    const { unit, apic } = single()
    unit.enterX2Apic()
    const wrong: [number, bigint][] = [
      [0x808, 0x100n],
      [0x80b, 1n],
      [0x80f, 0x200n],
      [0x828, 1n],
      [0x82f, 0x20000n],
      [0x830, 0x2000n],
      [0x830, 0x100000n],
      [0x832, 0x60040n],
      [0x832, 0x80000n],
      [0x835, 0x20000n],
      [0x837, 0x100n],
      [0x838, 0x1_0000_0000n],
      [0x83e, 4n],
      [0x83f, 0x100n],
    ]
    for (const [index, value] of wrong) expect([index, apic.writeMsr(index, value)]).toEqual([index, false])
    expect(apic.writeMsr(0x838, 0xffff_ffffn)).toBe(true)
  })

  it('ends interrupts and sends to itself', () => {
    const { unit, apic } = single()
    unit.enterX2Apic()
    expect(apic.writeMsr(0x83f, 0x66n)).toBe(true)
    expect(apic.readMsr(0x830)).toBe(0n)
    expect(apic.acknowledge()).toBe(0x66)
    expect(apic.writeMsr(0x80b, 0n)).toBe(true)
    expect(apic.readMsr(0x813)).toBe(0n)
    expect(apic.writeMsr(0x83f, 0x0fn)).toBe(true)
    apic.writeMsr(0x828, 0n)
    expect(apic.readMsr(0x828)).toBe(0x60n)
  })
})

describe('saved state', () => {
  it('goes on where it was', () => {
    const { clock, unit, apic } = single()
    unit.fixed(0x41, true)
    apic.acknowledge()
    unit.fixed(0x35)
    unit.fixed(0x92)
    unit.write(0xd0, 0x04000000)
    unit.write(0x350, 0x8031)
    apic.setLint0(true)
    unit.write(0x320, 0x20051)
    unit.write(0x3e0, 0xb)
    clock.time = 100
    unit.write(0x380, 1_000_000)
    unit.read(0x40)
    apic.startupVector = 7
    apic.nmiPending = true
    const state = structuredClone(apic.save())

    const { clock: otherClock, unit: other } = single()
    otherClock.time = 100
    other.apic.restore(state)
    expect(other.apic.save()).toEqual(state)
    expect(other.apic.nextDeadline).toBe(1_000_100)
    expect(other.apic.pendingVector()).toBe(0x92)
    expect([other.apic.startupVector, other.apic.nmiPending]).toEqual([7, true])
    expect(other.drain()).toEqual([0x92])
    other.apic.endOfInterrupt()
    expect(other.ended).toEqual([0x41])
    other.apic.setLint0(false)
    expect(other.drain()).toEqual([0x35, 0x31])
    otherClock.time = 2_000_100
    other.apic.checkTimer()
    expect(other.apic.nextDeadline).toBe(3_000_100)
  })

  it('refuses what is not one', () => {
    const { unit, apic } = single()
    unit.fixed(0x41)
    const state = apic.save()
    const wrong: [string, unknown][] = [
      ['apicId', 1],
      ['apicBase', 0x400n],
      ['apicBase', 0xfee00801n],
      ['tpr', -1],
      ['svr', '511'],
      ['lvt', [0]],
      ['irr', Array(8).fill(1)],
      ['isr', Array(7).fill(0)],
      ['timerEnd', Number.NaN],
      ['timerEnd', 5],
      ['startupVector', 256],
      ['nmiPending', 1],
      ['tscDeadline', -1n],
    ]
    const before = apic.save()
    for (const [name, value] of wrong) {
      expect(() => apic.restore({ version: 1, data: { ...state.data, [name]: value as number } }), name).toThrow(
        expect.objectContaining({ code: 'ERR_STATE_INVALID' }),
      )
    }
    expect(() => apic.restore({ ...state, version: 2 })).toThrow(expect.objectContaining({ code: 'ERR_STATE_INVALID' }))
    expect(apic.save()).toEqual(before)
  })
})

describe('the page of registers', () => {
  it('does nothing in x2APIC mode', () => {
    const [unit] = bench(1).apics
    expect(unit.apic.writeApicBase(0xfee00d00n)).toBe(true)
    const before = unit.apic.save()
    unit.write(0xd0, 0xff00_0000)
    unit.write(0x80, 0x20)
    expect(unit.read(0x20)).toBe(0)
    expect(unit.apic.save()).toEqual(before)
  })
})

describe('any guest', () => {
  const access = fc.record({
    op: fc.constantFrom(
      'read',
      'write',
      'rdmsr',
      'wrmsr',
      'base',
      'deadline',
      'tick',
      'ack',
      'eoi',
      'pin',
      'save' as const,
    ),
    register: fc.integer({ min: 0, max: 0x3f }),
    value: fc.oneof(
      fc.nat(0xffff_ffff),
      fc.integer({ min: 0, max: 0x3ff }),
      fc.constantFrom(0x1ff, 0x20040, 0x40041, 0x8031),
    ),
    bits: fc.bigInt(0n, (1n << 64n) - 1n),
  })

  it('never makes it throw, and its state can always be restored', () => {
    fc.assert(
      fc.property(fc.array(access, { maxLength: 200 }), (accesses) => {
        const { clock, apics } = bench(2)
        const [unit, other] = apics
        const { apic } = unit
        for (const { op, register, value, bits } of accesses) {
          if (op === 'read') expect(unit.read(register * 16)).toBeGreaterThanOrEqual(0)
          else if (op === 'write') unit.write(register * 16, value)
          else if (op === 'rdmsr') apic.readMsr(0x800 + register)
          else if (op === 'wrmsr') apic.writeMsr(0x800 + register, register === 0x30 ? bits : BigInt(value))
          else if (op === 'base') apic.writeApicBase(0xfee00000n | (bits & 0xd00n))
          else if (op === 'deadline') apic.writeTscDeadline(bits >> BigInt(value & 63))
          else if (op === 'tick') clock.time += value & 0xfffff
          else if (op === 'ack') apic.acknowledge()
          else if (op === 'eoi') apic.endOfInterrupt()
          else if (op === 'pin') apic.setLint0((value & 1) !== 0)
          else apic.restore(structuredClone(apic.save()))
          apic.checkTimer()
          expect(apic.nextDeadline).toBeGreaterThan(clock.time)
          expect(apic.pendingVector()).toBeLessThan(256)
        }
        const state = apic.save()
        apic.restore(state)
        expect(apic.save()).toEqual(state)
        expect(other.apic.apicBase).toBe(0xfee00800n)
      }),
      { numRuns: 300 },
    )
  })
})
