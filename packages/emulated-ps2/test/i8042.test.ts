// The controller, against the IBM Personal System/2 Hardware Interface Technical Reference.

import { expect, it } from 'vitest'
import { translate } from '../src/translation.ts'
import { Ps2Machine } from './machine.ts'

it('self test, interface tests and RAM', async () => {
  await using ps2 = await Ps2Machine.start()
  expect(ps2.status & 0x1c).toBe(0x14)
  ps2.command(0xaa)
  expect(ps2.drain()).toEqual([0x55])
  for (const test of [0xa9, 0xab]) {
    ps2.command(test)
    expect(ps2.drain()).toEqual([0x00])
  }
  for (let location = 1; location < 32; location++) {
    ps2.command(0x60 | location)
    ps2.data(location ^ 0x5a)
  }
  for (let location = 1; location < 32; location++) {
    ps2.command(0x20 | location)
    expect(ps2.drain()).toEqual([location ^ 0x5a])
  }
  ps2.command(0x60)
  expect(ps2.status & 0x08).toBe(0x08)
  ps2.data(0x00)
  expect(ps2.status & 0x0c).toBe(0)
  ps2.command(0x20)
  expect(ps2.drain()).toEqual([0x00])
})

it('the self test turns both interfaces off', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.command(0xaa)
  ps2.drain()
  ps2.command(0x20)
  expect((ps2.drain()[0] ?? 0) & 0x30).toBe(0x30)
  ps2.keyboard.key('KeyA', true)
  expect(ps2.drain()).toEqual([])
  // What the keyboard held back comes when its interface is on.
  ps2.command(0xae)
  expect(ps2.drain()).toEqual([0x1e])
})

it('the answer to the self test takes the place of what was not read', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.keyboard.key('KeyA', true)
  ps2.keyboard.key('KeyB', true)
  expect([ps2.status & 1, ps2.machine.lines.level(1)]).toEqual([1, true])
  ps2.command(0xaa)
  expect(ps2.machine.lines.level(1)).toBe(false)
  expect(ps2.drain()).toEqual([0x55])
  ps2.command(0xae)
  expect(ps2.drain()).toEqual([0x30])
})

it('a write to the keyboard turns its interface on', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.command(0xad)
  expect(ps2.toKeyboard(0xee)).toEqual([0xee])
})

it('interrupts are edges, one a byte', async () => {
  await using ps2 = await Ps2Machine.start()
  const { lines } = ps2.machine
  ps2.keyboard.key('KeyA', true)
  ps2.keyboard.key('KeyA', false)
  expect([lines.level(1), lines.edges(1), ps2.status & 0x21]).toEqual([true, 1, 0x01])
  expect(ps2.machine.ports.read(0x60)).toBe(0x1e)
  expect([lines.level(1), lines.edges(1)]).toEqual([true, 2])
  expect(ps2.machine.ports.read(0x60)).toBe(0x9e)
  expect([lines.level(1), lines.edges(1)]).toEqual([false, 2])
  // Without its bit in the command byte the line stays low.
  ps2.command(0x60)
  ps2.data(0x44)
  ps2.keyboard.key('KeyA', true)
  expect([lines.level(1), ps2.status & 1]).toEqual([false, 1])
})

it('the mouse has interrupt 12 and a status bit of its own', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.command(0x60)
  ps2.data(0x47)
  expect(ps2.toMouse(0xf4)).toEqual([0xfa])
  ps2.mouse.button(0, true)
  expect([ps2.machine.lines.level(12), ps2.machine.lines.level(1), ps2.status & 0x21]).toEqual([true, false, 0x21])
  expect(ps2.drain()).toEqual([0x09, 0, 0])
  expect(ps2.machine.lines.asserted).toEqual([])
})

it('loops a byte to either output', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.command(0xd2)
  ps2.data(0xf0)
  expect(ps2.status & 0x21).toBe(0x01)
  expect(ps2.drain()).toEqual([0xf0])
  ps2.command(0xd3)
  ps2.data(0xa5)
  expect(ps2.status & 0x21).toBe(0x21)
  expect(ps2.drain()).toEqual([0xa5])
})

it('output port: address line 20, and the processor’s reset', async () => {
  await using ps2 = await Ps2Machine.start()
  const outputPort = (): number => {
    ps2.command(0xd0)
    return ps2.drain()[0] ?? -1
  }
  expect(outputPort() & 3).toBe(3)
  ps2.command(0xd1)
  ps2.data(0xdd)
  expect(outputPort() & 3).toBe(1)
  ps2.command(0xdf)
  expect(outputPort() & 3).toBe(3)
  ps2.command(0xdd)
  expect(outputPort() & 3).toBe(1)
  expect(ps2.machine.power.events).toEqual([])
  ps2.command(0xff)
  expect(ps2.machine.power.events).toEqual([])
  ps2.command(0xfe)
  expect(ps2.machine.power.events).toEqual([{ type: 'reset' }])
  ps2.command(0xd1)
  ps2.data(0x02)
  expect(ps2.machine.power.events).toHaveLength(2)
})

it('input port, and polling it', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.command(0xc0)
  const [input] = ps2.drain()
  expect(input).toBe(0xa3)
  ps2.command(0xc1)
  expect(ps2.status & 0xf0).toBe(0x30)
  ps2.command(0xc2)
  expect(ps2.status & 0xf0).toBe(0xa0)
  ps2.command(0xe0)
  expect(ps2.drain()).toEqual([0x01])
  expect(ps2.status & 0xf0).toBe(0x10)
})

it('a password keeps keys and mouse from the guest until it is typed', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.command(0xa4)
  expect(ps2.drain()).toEqual([0xf1])
  ps2.command(0xa6)
  expect(ps2.status & 0x10).toBe(0x10)
  ps2.command(0xa5)
  for (const code of [0x1e, 0x30, 0]) ps2.data(code)
  ps2.command(0xa4)
  expect(ps2.drain()).toEqual([0xfa])
  ps2.command(0xa6)
  expect(ps2.status & 0x10).toBe(0)
  const strokes = (...codes: string[]): number[] => {
    for (const code of codes) {
      ps2.keyboard.key(code, true)
      ps2.keyboard.key(code, false)
    }
    return ps2.drain()
  }
  expect(strokes('KeyB', 'KeyA', 'KeyA')).toEqual([])
  expect(ps2.status & 0x10).toBe(0)
  ps2.keyboard.key('KeyB', true)
  expect(ps2.status & 0x10).toBe(0x10)
  ps2.keyboard.key('KeyB', false)
  expect(strokes('KeyC')).toEqual([0xb0, 0x2e, 0xae])
})

it('reserved commands do nothing', async () => {
  await using ps2 = await Ps2Machine.start()
  for (const command of [0x00, 0x40, 0x80, 0xa0, 0xac, 0xaf, 0xc5, 0xd5, 0xe1]) {
    ps2.command(command)
    expect(ps2.drain()).toEqual([])
  }
  expect(ps2.toKeyboard(0xee)).toEqual([0xee])
})

it('keyboard and mouse take turns', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.toMouse(0xf4)
  ps2.command(0xad)
  ps2.command(0xa7)
  for (const pressed of [true, false]) ps2.keyboard.key('KeyA', pressed)
  ps2.mouse.move(40, 0)
  ps2.command(0xae)
  ps2.command(0xa8)
  const sources: number[] = []
  while ((ps2.status & 1) !== 0) {
    sources.push(ps2.status & 0x20)
    ps2.machine.ports.read(0x60)
  }
  expect(sources).toHaveLength(5)
  expect(sources.slice(0, 4).filter((bit) => bit !== 0)).toHaveLength(2)
})

it('without devices nobody answers', async () => {
  await using ps2 = await Ps2Machine.start({ keyboard: false, mouse: false })
  expect(ps2.toKeyboard(0xff, 0xee)).toEqual([])
  expect(ps2.toMouse(0xff)).toEqual([])
  ps2.command(0xaa)
  expect(ps2.drain()).toEqual([0x55])
})

it('the translation is one to one but for its doubles, and leaves prefixes and answers alone', () => {
  const plain = Array.from({ length: 0x80 }, (_, code) => translate(code))
  expect(new Set(plain).size).toBe(0x80)
  // F7 has two codes, and so has Print Screen with Alt.
  expect([translate(0x83), translate(0x02)]).toEqual([0x41, 0x41])
  expect([translate(0x84), translate(0x7f)]).toEqual([0x54, 0x54])
  for (const answer of [0xaa, 0xe0, 0xe1, 0xee, 0xf0, 0xfa, 0xfe]) expect(translate(answer)).toBe(answer)
})
