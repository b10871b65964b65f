// PCI configuration mechanism #1 and the chipset's identity, and how interrupts are wired.

import { interruptLinesToken, pciBusToken } from '@partita/interface'
import { ConfigSpace } from '@partita/pci'
import { FakeMachine } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import interruptLines from '../src/interrupt-lines.ts'
import ioApic from '../src/io-apic.ts'
import pci, { pciInterruptGsi } from '../src/pci.ts'
import pic from '../src/pic.ts'

async function started() {
  const machine = new FakeMachine()
  const instance = await machine.start(pci)
  const { ports } = machine
  const address = (device: number, fn: number, offset: number): number =>
    0x8000_0000 + device * 0x800 + fn * 0x100 + offset
  const read = (device: number, fn: number, offset: number, size: 1 | 2 | 4 = 4): number => {
    ports.write(0xcf8, address(device, fn, offset & 0xfc), 4)
    return ports.read(0xcfc + (offset & 3), size)
  }
  const write = (device: number, fn: number, offset: number, value: number, size: 1 | 2 | 4 = 4): void => {
    ports.write(0xcf8, address(device, fn, offset & 0xfc), 4)
    ports.write(0xcfc + (offset & 3), value, size)
  }
  return { machine, instance, ports, bus: machine.service(pciBusToken), read, write, lines: machine.lines }
}

describe('PCI host', () => {
  it('is found by the probe of configuration mechanism #1', async () => {
    const { ports } = await started()
    ports.write(0xcfb, 0x01)
    const before = ports.read(0xcf8, 4)
    ports.write(0xcf8, 0x8000_0000, 4)
    expect(ports.read(0xcf8, 4)).toBe(0x8000_0000)
    ports.write(0xcf8, before, 4)
    expect(ports.read(0xcf8, 4)).toBe(0)
  })

  it('has a 440BX and a PIIX4', async () => {
    const { read } = await started()
    expect(read(0, 0, 0)).toBe(0x7192_8086)
    expect(read(0, 0, 0x0a, 2)).toBe(0x0600)
    expect(read(7, 0, 0)).toBe(0x7110_8086)
    expect(read(7, 0, 0x0e, 1)).toBe(0x80)
    expect(read(7, 3, 0)).toBe(0x7113_8086)
    expect(read(7, 3, 0x40)).toBe(0x601)
    expect(read(7, 3, 0x80, 1)).toBe(1)
  })

  it('reads all ones where nothing is, and drops writes', async () => {
    const { read, write, ports } = await started()
    expect(read(1, 0, 0)).toBe(0xffff_ffff)
    expect(read(7, 1, 0, 2)).toBe(0xffff)
    write(1, 0, 4, 7)
    ports.write(0xcf8, 0x8001_0000, 4) // bus 1
    expect(ports.read(0xcfc, 4)).toBe(0xffff_ffff)
    ports.write(0xcf8, 0x0000_0000, 4) // not enabled
    expect(ports.read(0xcfc, 4)).toBe(0xffff_ffff)
    expect(ports.read(0xcf8, 1)).toBe(0xff)
  })

  it('gives functions aligned double words and byte masks', async () => {
    const { bus, write, read } = await started()
    const calls: number[][] = []
    bus.attach(3, 0, {
      readConfig: (offset) => offset * 0x0101_0101,
      writeConfig: (offset, value, mask) => void calls.push([offset, value, mask]),
    })
    write(3, 0, 0x12, 0xabcd, 2)
    write(3, 0, 0x15, 0xef, 1)
    expect(calls).toEqual([
      [0x10, 0xabcd_0000, 0xffff_0000],
      [0x14, 0x0000_ef00, 0x0000_ff00],
    ])
    expect(read(3, 0, 0x11, 1)).toBe(0x10)
  })

  it('refuses a taken slot until it is given back', async () => {
    const { bus } = await started()
    const space = new ConfigSpace([])
    expect(() => bus.attach(7, 0, space)).toThrowError(expect.objectContaining({ code: 'ERR_PCI_CONFLICT' }))
    expect(() => bus.attach(32, 0, space)).toThrowError(expect.objectContaining({ code: 'ERR_PCI_CONFLICT' }))
    bus.attach(5, 0, space)[Symbol.dispose]()
    bus.attach(5, 0, space)
  })

  it('wires interrupt pins to GSIs 16–19, shared by devices', async () => {
    const { bus, lines } = await started()
    expect([pciInterruptGsi(0, 0), pciInterruptGsi(1, 3), pciInterruptGsi(7, 0)]).toEqual([19, 19, 18])
    const a = bus.interrupt(2, 0)
    const b = bus.interrupt(6, 0)
    a.set(true)
    b.set(true)
    a.set(false)
    expect(lines.asserted).toEqual([17])
    b.set(false)
    expect(lines.asserted).toEqual([])
  })

  it('routes a PIRQ to an ISA interrupt as well when the guest says so', async () => {
    const { bus, lines, write } = await started()
    const a = bus.interrupt(5, 0) // PIRQA
    a.set(true)
    write(7, 0, 0x60, 0x0b, 1)
    expect(lines.asserted).toEqual([16, 11])
    write(7, 0, 0x60, 0x80, 1)
    expect(lines.asserted).toEqual([16])
    write(7, 0, 0x60, 0x08, 1) // reserved
    expect(lines.asserted).toEqual([16])
  })

  it('restores routes and registers', async () => {
    const { instance, write } = await started()
    write(7, 0, 0x60, 0x8080_0a0b)
    const state = structuredClone(instance.save!())
    const other = await started()
    other.instance.restore!(state)
    expect(other.instance.save!()).toEqual(state)
    other.bus.interrupt(5, 1).set(true)
    expect(other.lines.asserted).toEqual([17, 10])
  })
})

describe('interrupt lines', () => {
  async function wired() {
    const machine = new FakeMachine()
    await machine.start(pic)
    await machine.start(ioApic)
    await machine.start(interruptLines)
    for (const [base, vector] of [
      [0x20, 0x20],
      [0xa0, 0x28],
    ] as const) {
      machine.ports.write(base, 0x11)
      machine.ports.write(base + 1, vector)
      machine.ports.write(base + 1, 4)
      machine.ports.write(base + 1, 1)
      machine.ports.write(base + 1, 0)
    }
    for (let pin = 0; pin < 24; pin++) {
      machine.mmio.write(0xfec0_0000, 0x10 + 2 * pin, 4)
      machine.mmio.write(0xfec0_0010, 0x80 + pin, 4)
    }
    return { machine, lines: machine.service(interruptLinesToken), messages: machine.messages }
  }

  it('sends an ISA interrupt to both controllers, and the timer to pin 2', async () => {
    const { lines, messages } = await wired()
    lines.line(4).set(true)
    expect(messages.sent.map((m) => m.vector)).toEqual([0x84])
    expect(messages.acknowledge()).toBe(0x24)
    lines.line(0).set(true)
    expect(messages.sent.map((m) => m.vector)).toEqual([0x84, 0x82])
    expect(messages.acknowledge()).toBe(0x20)
  })

  it('sends 16 and above to the I/O APIC only', async () => {
    const { lines, messages } = await wired()
    lines.line(19).set(true)
    expect(messages.sent.map((m) => m.vector)).toEqual([0x93])
    expect(messages.externalInterrupt).toBe(false)
  })

  it('refuses a line that is not there', async () => {
    const { lines } = await wired()
    expect(() => lines.line(24)).toThrowError(expect.objectContaining({ code: 'ERR_INTERRUPT_LINE' }))
    expect(() => lines.line(1.5)).toThrowError(expect.objectContaining({ code: 'ERR_INTERRUPT_LINE' }))
  })
})
