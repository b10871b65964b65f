// Facts of the 82093AA data sheet (290566).
import { FakeMachine } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import ioApic from '../src/io-apic.ts'
import { ioApicToken } from '../src/tokens.ts'

const BASE = 0xfec0_0000

async function started(options: object = {}) {
  const machine = new FakeMachine()
  const instance = await machine.start(ioApic, options)
  const write = (index: number, value: number): void => {
    machine.mmio.write(BASE, index, 4)
    machine.mmio.write(BASE + 0x10, value, 4)
  }
  const read = (index: number): number => {
    machine.mmio.write(BASE, index, 4)
    return machine.mmio.read(BASE + 0x10, 4)
  }
  const entry = (pin: number, low: number, destination = 0): void => {
    write(0x11 + 2 * pin, destination << 24)
    write(0x10 + 2 * pin, low)
  }
  return { machine, instance, messages: machine.messages, apic: machine.service(ioApicToken), write, read, entry }
}

const LEVEL = 1 << 15
const MASK = 1 << 16

describe('I/O APIC', () => {
  it('has version 0x20 and 24 entries, all masked', async () => {
    const { read } = await started()
    expect(read(1)).toBe(0x0017_0020)
    for (let pin = 0; pin < 24; pin++) expect(read(0x10 + 2 * pin)).toBe(MASK)
    expect(read(0x40)).toBe(0)
  })

  it('has a four-bit id that the arbitration register follows', async () => {
    const { read, write } = await started({ id: 3 })
    expect(read(0)).toBe(0x0300_0000)
    write(0, 0xff00_0000)
    expect(read(0)).toBe(0x0f00_0000)
    expect(read(2)).toBe(0x0f00_0000)
  })

  it('sends an edge with vector, mode and destination of its entry, once', async () => {
    const { apic, entry, messages } = await started()
    entry(4, 0x0831, 0x5)
    apic.setInput(4, true)
    apic.setInput(4, true)
    expect(messages.sent).toEqual([{ vector: 0x31, deliveryMode: 0, destination: 5, logical: true, level: false }])
    apic.setInput(4, false)
    apic.setInput(4, true)
    expect(messages.sent.length).toBe(2)
  })

  it('forgets an edge at a masked pin', async () => {
    const { apic, entry, messages } = await started()
    entry(4, 0x31 | MASK)
    apic.setInput(4, true)
    entry(4, 0x31)
    expect(messages.sent).toEqual([])
  })

  it('sends a level again at EOI while it is asserted, and shows remote IRR meanwhile', async () => {
    const { apic, entry, read, messages } = await started()
    entry(16, 0x41 | LEVEL)
    apic.setInput(16, true)
    expect(messages.sent).toEqual([{ vector: 0x41, deliveryMode: 0, destination: 0, logical: false, level: true }])
    expect(read(0x30) & 0x4000).toBe(0x4000)
    messages.endOfInterrupt(0x42)
    expect(messages.sent.length).toBe(1)
    messages.endOfInterrupt(0x41)
    expect(messages.sent.length).toBe(2)
    apic.setInput(16, false)
    messages.endOfInterrupt(0x41)
    expect(messages.sent.length).toBe(2)
    expect(read(0x30) & 0x4000).toBe(0)
  })

  it('ends an interrupt by the EOI register', async () => {
    const { apic, entry, machine, messages, read } = await started()
    entry(17, 0x51 | LEVEL)
    apic.setInput(17, true)
    apic.setInput(17, false)
    machine.mmio.write(BASE + 0x40, 0x51, 4)
    expect(read(0x32) & 0x4000).toBe(0)
    expect(messages.sent.length).toBe(1)
  })

  it('sends a level that is asserted when its pin is unmasked', async () => {
    const { apic, entry, messages } = await started()
    entry(18, 0x61 | LEVEL | MASK)
    apic.setInput(18, true)
    expect(messages.sent).toEqual([])
    entry(18, 0x61 | LEVEL)
    expect(messages.sent.length).toBe(1)
  })

  it('clears remote IRR when the pin is turned to edge', async () => {
    const { apic, entry, read } = await started()
    entry(18, 0x61 | LEVEL)
    apic.setInput(18, true)
    entry(18, 0x61 | MASK)
    entry(18, 0x61 | LEVEL | MASK)
    expect(read(0x34)).toBe(0x61 | LEVEL | MASK)
  })

  it('keeps read-only and reserved bits', async () => {
    const { read, write } = await started()
    write(0x10, 0xffff_ffff)
    expect(read(0x10)).toBe(0x1_afff)
    write(0x11, 0xffff_ffff)
    expect(read(0x11)).toBe(0xff00_0000)
  })

  it('restores pins in service', async () => {
    const { apic, entry, instance } = await started()
    entry(16, 0x41 | LEVEL, 1)
    apic.setInput(16, true)
    const state = instance.save!()
    const other = await started()
    other.instance.restore!(structuredClone(state))
    expect(other.instance.save!()).toEqual(state)
    expect(other.messages.sent).toEqual([])
    other.messages.endOfInterrupt(0x41)
    expect(other.messages.sent.length).toBe(1)
  })
})
