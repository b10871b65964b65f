// Wired OR behind the guards: whoever asks for an interrupt line has an output of its own, also where several are of one plug-in, and a wire falls when the last of them does. With the real
// interrupt controllers, wires and PCI bus, in a plug-in host.

import interruptLines from '@partita/emulated-chipset/interrupt-lines'
import pci from '@partita/emulated-chipset/pci'
import pic from '@partita/emulated-chipset/pic'
import {
  type InterruptLine,
  interruptLinesToken,
  interruptMessagesToken,
  type Plugin,
  pciBusToken,
  portIoToken,
  silentLogger,
} from '@partita/interface'
import { FakeMachine } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import { PluginHost, planPlugins } from '../src/index.ts'
import { device } from './failing-machine.ts'
import { registryOf } from './fake-machine.ts'

const IRQ = 11
/** INTA of device 3, and the PIRQs that it and its neighbours are wired to. */
const DEVICE = 3

/** A host with the chipset and `devices`, and the level of an ISA interrupt in it. */
async function chipset(devices: readonly Plugin[]) {
  const { ports, messages } = new FakeMachine()
  const services: [string, unknown][] = [
    [portIoToken.name, ports],
    [interruptMessagesToken.name, messages],
  ]
  const plugins = [pic, interruptLines, pci, ...devices] as unknown as Plugin[]
  const planned = await planPlugins(
    registryOf(),
    plugins.map((plugin) => ({ plugin })),
    services.map(([name]) => name),
  )
  const host = await PluginHost.start(planned, services, { logger: silentLogger })
  // 8259A: initialize the pair, then have IRQ 11 level-triggered, so that its request follows the wire.
  for (const [port, value] of [
    [0x20, 0x11],
    [0x21, 0x20],
    [0x21, 0x04],
    [0x21, 0x01],
    [0xa0, 0x11],
    [0xa1, 0x28],
    [0xa1, 0x02],
    [0xa1, 0x01],
    [0x4d1, 1 << (IRQ - 8)],
  ] as const)
    ports.write(port, value)
  const level = (irq = IRQ): boolean => {
    // OCW3: the next read is of the requests.
    ports.write(0xa0, 0x0a)
    return ((ports.read(0xa0) >> (irq - 8)) & 1) === 1
  }
  /** All four PIRQs to one interrupt. */
  const route = (value: number): void => {
    ports.write(0xcf8, 0x8000_0000 + 7 * 0x800 + 0x60, 4)
    ports.write(0xcfc, value * 0x0101_0101, 4)
  }
  return { host, level, route }
}

/** A device that hands out the lines of `pins`, and the way to have it fail. */
function pciDevice(name: string, pins: readonly (readonly [device: number, pin: number])[]) {
  const lines: InterruptLine[] = []
  const plugin = device(name, [pciBusToken], (context) => {
    const bus = context.get(pciBusToken)
    lines.push(...pins.map(([number, pin]) => bus.interrupt(number, pin)))
  })
  return { plugin, lines }
}

function isaDevice(name: string, count: number) {
  const lines: InterruptLine[] = []
  const plugin = device(name, [interruptLinesToken], (context) => {
    for (let i = 0; i < count; i++) lines.push(context.get(interruptLinesToken).line(IRQ))
  })
  return { plugin, lines }
}

const set = (line: InterruptLine | undefined, asserted: boolean): void => (line as InterruptLine).set(asserted)

describe('a wire that is shared', () => {
  it('by two PIRQs that are routed to one interrupt falls when the second stops', async () => {
    const { plugin, lines } = pciDevice('cards', [
      [DEVICE, 0],
      [DEVICE + 1, 0],
    ])
    const { host, level, route } = await chipset([plugin])
    route(IRQ)
    set(lines[0], true)
    set(lines[1], true)
    expect(level()).toBe(true)
    set(lines[0], false)
    expect(level()).toBe(true)
    set(lines[1], false)
    expect(level()).toBe(false)
    await host[Symbol.asyncDispose]()
  })

  it('by two functions of one plug-in on one pin falls when the second stops', async () => {
    const { plugin, lines } = pciDevice('functions', [
      [DEVICE, 0],
      [DEVICE, 0],
    ])
    const { host, level, route } = await chipset([plugin])
    route(IRQ)
    set(lines[0], true)
    set(lines[1], true)
    set(lines[0], false)
    expect(level()).toBe(true)
    set(lines[1], false)
    expect(level()).toBe(false)
    await host[Symbol.asyncDispose]()
  })

  it('by two lines of one plug-in falls when the second stops', async () => {
    const { plugin, lines } = isaDevice('ports', 2)
    const { host, level } = await chipset([plugin])
    set(lines[0], true)
    set(lines[1], true)
    set(lines[1], false)
    expect(level()).toBe(true)
    set(lines[0], false)
    expect(level()).toBe(false)
    await host[Symbol.asyncDispose]()
  })

  it('loses what a plug-in drives that is taken away, and nothing else', async () => {
    const isa = isaDevice('isa', 3)
    const card = pciDevice('card', [
      [DEVICE, 0],
      [DEVICE, 0],
    ])
    const other = pciDevice('other', [[DEVICE, 0]])
    const { host, level, route } = await chipset([isa.plugin, card.plugin, other.plugin])
    const fail = (name: string): void =>
      host.plugins.find(({ id }) => id === name)?.guard.fail('in a test', new Error('on purpose'))
    route(IRQ)
    for (const line of [...isa.lines, ...card.lines, ...other.lines]) line.set(true)
    fail('isa')
    expect(level()).toBe(true)
    fail('card')
    expect(level()).toBe(true)
    // It is gone: it neither raises nor lowers anything.
    for (const line of [...isa.lines, ...card.lines]) line.set(false)
    expect(level()).toBe(true)
    set(other.lines[0], false)
    expect(level()).toBe(false)
    set(isa.lines[0], true)
    set(card.lines[0], true)
    expect(level()).toBe(false)
    await host[Symbol.asyncDispose]()
  })

  it('moves with its route, and falls where it was', async () => {
    const { plugin, lines } = pciDevice('card', [[DEVICE, 0]])
    const { host, level, route } = await chipset([plugin])
    route(IRQ)
    set(lines[0], true)
    for (let turn = 0; turn < 3; turn++) {
      route(0x80)
      expect(level()).toBe(false)
      route(IRQ)
      expect(level()).toBe(true)
    }
    await host[Symbol.asyncDispose]()
  })
})
