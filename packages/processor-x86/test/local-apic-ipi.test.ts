// Facts of the SDM vol. 3, 11.6 (interprocessor interrupts), 11.6.2 (destinations) and 11.12.9–11.12.11 (x2APIC).
import { DELIVERY_MODE } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { type Bench, bench, single } from './local-apic-bench.ts'

/** ICR with a destination; ids of those that then have the vector. */
function sendXApic({ apics }: Bench, from: number, destination: number, low: number): number[] {
  apics[from].write(0x310, destination << 24)
  apics[from].write(0x300, low)
  return takers({ apics }, low & 0xff)
}

function takers({ apics }: Pick<Bench, 'apics'>, vector: number): number[] {
  return apics.filter((unit) => unit.drain().includes(vector)).map(({ apic }) => apic.apicId)
}

function x2Bench(ids: readonly number[]): Bench {
  const all = bench(ids)
  for (const unit of all.apics) unit.enterX2Apic()
  return all
}

function sendX2Apic(all: Bench, from: number, destination: number, low: number): number[] {
  expect(all.apics[from].apic.writeMsr(0x830, (BigInt(destination) << 32n) | BigInt(low))).toBe(true)
  return takers(all, low & 0xff)
}

const LOGICAL = 0x800
const SELF = 0x40000
const ALL = 0x80000
const OTHERS = 0xc0000

describe('xAPIC', () => {
  it('addresses by id', () => {
    const all = bench(4)
    expect(sendXApic(all, 0, 2, 0x4040)).toEqual([2])
    expect(sendXApic(all, 0, 0, 0x4040)).toEqual([0])
    expect(sendXApic(all, 0, 9, 0x4040)).toEqual([])
    expect(sendXApic(all, 1, 0xff, 0x4040)).toEqual([0, 1, 2, 3])
    expect(all.apics[1].read(0x300)).toBe(0x4040)
    expect(all.apics[1].read(0x310)).toBe(0xff000000)
  })

  it('has shorthands', () => {
    const all = bench(4)
    expect(sendXApic(all, 1, 3, SELF | 0x4041)).toEqual([1])
    expect(sendXApic(all, 1, 3, ALL | 0x4041)).toEqual([0, 1, 2, 3])
    expect(sendXApic(all, 1, 3, OTHERS | 0x4041)).toEqual([0, 2, 3])
    // The next message reaches the sender again.
    expect(sendXApic(all, 1, 1, 0x4041)).toEqual([1])
  })

  it('addresses by logical id, flat', () => {
    const all = bench(4)
    all.apics.forEach((unit, i) => {
      unit.write(0xd0, 1 << (24 + i))
    })
    expect(sendXApic(all, 0, 0b1010, LOGICAL | 0x4042)).toEqual([1, 3])
    expect(sendXApic(all, 0, 0xff, LOGICAL | 0x4042)).toEqual([0, 1, 2, 3])
    expect(sendXApic(all, 0, 0xf0, LOGICAL | 0x4042)).toEqual([])
  })

  it('addresses by logical id, clusters', () => {
    const all = bench(4)
    all.apics.forEach((unit, i) => {
      unit.write(0xe0, 0x0fffffff)
      unit.write(0xd0, (((i >> 1) << 4) | (1 << (i & 1))) << 24)
    })
    expect(sendXApic(all, 0, 0x12, LOGICAL | 0x4042)).toEqual([3])
    expect(sendXApic(all, 0, 0x03, LOGICAL | 0x4042)).toEqual([0, 1])
    expect(sendXApic(all, 0, 0xff, LOGICAL | 0x4042)).toEqual([0, 1, 2, 3])
  })

  it('delivers lowest priority to one that can take it', () => {
    const all = bench(3)
    all.apics[0].write(0xf0, 0xff)
    expect(sendXApic(all, 0, 0xff, 0x4143)).toEqual([1])
  })

  it('starts processors', () => {
    const all = bench(2)
    const [, { apic }] = all.apics
    sendXApic(all, 0, 1, 0x4500)
    expect([apic.initPending, apic.startupVector]).toEqual([true, -1])
    apic.reset('init')
    // INIT level de-assert does nothing.
    sendXApic(all, 0, 1, 0x8500)
    expect(apic.initPending).toBe(false)
    sendXApic(all, 0, 1, 0x469a)
    expect(apic.startupVector).toBe(0x9a)
    sendXApic(all, 0, 1, 0x4400)
    expect(apic.nmiPending).toBe(true)
    expect(all.apics[0].apic.nmiPending).toBe(false)
    expect(all.sent.every(({ level }) => !level)).toBe(true)
  })

  it('sends no illegal vector and no reserved delivery mode', () => {
    const all = bench(2)
    const [unit] = all.apics
    sendXApic(all, 0, 1, 0x400f)
    sendXApic(all, 0, 1, 0x4340)
    sendXApic(all, 0, 1, 0x4740)
    expect(all.sent).toEqual([])
    unit.write(0x280, 0)
    expect(unit.read(0x280)).toBe(0x20)
  })

  it('a level in ICR makes an edge of a fixed interrupt', () => {
    const all = bench(2)
    sendXApic(all, 0, 1, 0xc040)
    expect(all.apics[1].ended).toEqual([])
  })
})

describe('x2APIC', () => {
  it('addresses by ids of 32 bits', () => {
    const all = x2Bench([0, 1, 0x101, 0x10001])
    expect(sendX2Apic(all, 0, 0x101, 0x4040)).toEqual([0x101])
    expect(sendX2Apic(all, 0, 1, 0x4040)).toEqual([1])
    expect(sendX2Apic(all, 0, 0xff, 0x4040)).toEqual([])
    expect(sendX2Apic(all, 0, 0xffffffff, 0x4040)).toEqual([0, 1, 0x101, 0x10001])
    expect(sendX2Apic(all, 1, 5, OTHERS | 0x4040)).toEqual([0, 0x101, 0x10001])
    expect(all.apics[1].apic.readMsr(0x830)).toBe(0x5_000c_4040n)
  })

  it('addresses by clusters of 16', () => {
    const all = x2Bench([0, 1, 0x0f, 0x10, 0x11, 0x25])
    expect(sendX2Apic(all, 0, 0x0000_8003, LOGICAL | 0x4040)).toEqual([0, 1, 0x0f])
    expect(sendX2Apic(all, 0, 0x0001_0002, LOGICAL | 0x4040)).toEqual([0x11])
    expect(sendX2Apic(all, 0, 0x0002_ffff, LOGICAL | 0x4040)).toEqual([0x25])
    expect(sendX2Apic(all, 0, 0xffff_ffff, LOGICAL | 0x4040)).toEqual([0, 1, 0x0f, 0x10, 0x11, 0x25])
  })

  it('takes messages with eight-bit destinations', () => {
    const all = x2Bench([0, 3, 0x13])
    const fixed = { vector: 0x70, deliveryMode: DELIVERY_MODE.FIXED, level: false }
    const receive = (destination: number, logical: boolean): number[] => {
      for (const { apic } of all.apics) apic.receive({ ...fixed, destination, logical })
      return takers(all, 0x70)
    }
    expect(receive(3, false)).toEqual([3])
    expect(receive(0xff, false)).toEqual([0, 3, 0x13])
    expect(receive(0x08, true)).toEqual([3])
  })
})

describe('messages', () => {
  it('tells of what it took', () => {
    const { unit, apic } = single()
    const before = unit.changes
    expect(unit.fixed(0x40)).toBe(true)
    expect(unit.changes).toBe(before + 1)
    const smi = { vector: 0, deliveryMode: DELIVERY_MODE.SMI, destination: 0, logical: false, level: false }
    expect(apic.receive(smi)).toBe(false)
  })
})
