// The mouse, against the IBM Personal System/2 Hardware Interface Technical Reference, "Mouse", and what drivers of the IntelliMouse do.

import { expect, it } from 'vitest'
import { Ps2Machine } from './machine.ts'

const FINEST = [0xe8, 3]
const WHEEL = [0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2]
const FIVE_BUTTONS = [0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf2]

it('reset, id, status', async () => {
  await using ps2 = await Ps2Machine.start()
  expect(ps2.toMouse(0xff)).toEqual([0xfa, 0xaa, 0x00])
  expect(ps2.toMouse(0xf2)).toEqual([0xfa, 0x00])
  expect(ps2.toMouse(0xe9)).toEqual([0xfa, 0x00, 0x02, 100])
  ps2.toMouse(0xe7, 0xe8, 1, 0xf3, 40, 0xf4)
  ps2.mouse.button(0, true)
  ps2.mouse.button(2, true)
  ps2.drain()
  expect(ps2.toMouse(0xe9)).toEqual([0xfa, 0x35, 0x01, 40])
  ps2.toMouse(0xf0)
  expect(ps2.toMouse(0xe9)).toEqual([0xfa, 0x75, 0x01, 40])
  expect(ps2.toMouse(0xf6, 0xe9)).toEqual([0xfa, 0xfa, 0x05, 0x02, 100])
})

it('the knocks of wheel and five buttons', async () => {
  await using ps2 = await Ps2Machine.start()
  expect(ps2.toMouse(...WHEEL).slice(-2)).toEqual([0xfa, 3])
  expect(ps2.toMouse(...FIVE_BUTTONS).slice(-2)).toEqual([0xfa, 4])
  expect(ps2.toMouse(0xf2)).toEqual([0xfa, 4])
  ps2.toMouse(0xff)
  expect(ps2.toMouse(0xf3, 200, 0xf3, 80, 0xf3, 100, 0xf2).at(-1)).toBe(0)
})

it('packets of three bytes: nine bits of movement, up is positive', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.toMouse(...FINEST, 0xf4)
  ps2.mouse.move(5, 7)
  expect(ps2.drain()).toEqual([0x28, 5, 0xf9])
  ps2.machine.clock.advance(1e9)
  ps2.mouse.move(-3, -2)
  expect(ps2.drain()).toEqual([0x18, 0xfd, 2])
  ps2.machine.clock.advance(1e9)
  ps2.mouse.button(2, true)
  expect(ps2.drain()).toEqual([0x0a, 0, 0])
  ps2.machine.clock.advance(1e9)
  ps2.mouse.button(1, true)
  expect(ps2.drain()).toEqual([0x0e, 0, 0])
})

it('a long way takes several packets and loses nothing', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.toMouse(...FINEST, 0xf4)
  ps2.mouse.move(1000, 700)
  let x = 0
  let y = 0
  for (let i = 0; i < 20; i++) {
    const [first = 0, dx = 0, dy = 0] = ps2.drain()
    x += dx - ((first & 0x10) << 4)
    y += dy - ((first & 0x20) << 3)
    ps2.machine.clock.advance(10e6)
  }
  expect([x, y]).toEqual([1000, -700])
})

it('no packet has a movement with a low byte of zero and a sign, which Linux takes for none', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.toMouse(0xe8, 3)
  ps2.toMouse(0xf4)
  ps2.drain()
  ps2.mouse.move(-256, 256)
  expect(ps2.drain()).toEqual([0x38, 0x01, 0x01])
  ps2.machine.clock.advance(1e9)
  expect(ps2.drain()).toEqual([0x38, 0xff, 0xff])
})

it('wheel, and the fourth and fifth button', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.toMouse(0xf4)
  ps2.mouse.wheel(1)
  expect(ps2.drain()).toEqual([])
  ps2.toMouse(...WHEEL, 0xf4)
  ps2.mouse.wheel(-1)
  expect(ps2.drain()).toEqual([0x08, 0, 0, 0xff])
  ps2.toMouse(...FIVE_BUTTONS)
  ps2.machine.clock.advance(1e9)
  // A detent a packet: Linux takes more for a wheel of another direction.
  ps2.mouse.wheel(2)
  expect(ps2.drain()).toEqual([0x08, 0, 0, 0x01])
  ps2.machine.clock.advance(1e9)
  expect(ps2.drain()).toEqual([0x08, 0, 0, 0x01])
  ps2.machine.clock.advance(1e9)
  ps2.mouse.button(3, true)
  expect(ps2.drain()).toEqual([0x08, 0, 0, 0x10])
  ps2.machine.clock.advance(1e9)
  ps2.mouse.button(4, true)
  ps2.mouse.wheel(-1)
  expect(ps2.drain()).toEqual([0x08, 0, 0, 0x30])
  ps2.machine.clock.advance(1e9)
  expect(ps2.drain()).toEqual([0x08, 0, 0, 0x3f])
})

it('reports at the sample rate, and a click between two reports is seen', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.toMouse(...FINEST, 0xf3, 100, 0xf4)
  ps2.mouse.move(1, 0)
  expect(ps2.drain()).toEqual([0x08, 1, 0])
  for (let i = 0; i < 5; i++) ps2.mouse.move(2, 0)
  ps2.mouse.button(0, true)
  ps2.mouse.button(0, false)
  expect(ps2.drain()).toEqual([])
  ps2.machine.clock.advance(9e6)
  expect(ps2.drain()).toEqual([])
  ps2.machine.clock.advance(1e6)
  expect(ps2.drain()).toEqual([0x08, 10, 0])
  ps2.machine.clock.advance(10e6)
  expect(ps2.drain()).toEqual([0x09, 0, 0])
  ps2.machine.clock.advance(10e6)
  expect(ps2.drain()).toEqual([0x08, 0, 0])
  ps2.machine.clock.advance(1e9)
  expect(ps2.drain()).toEqual([])
})

it('resolution: coarser means fewer counts, and keeps the rest', async () => {
  for (const [resolution, counts] of [
    [0, 10],
    [1, 20],
    [2, 40],
    [3, 80],
  ] as const) {
    await using ps2 = await Ps2Machine.start()
    ps2.toMouse(0xe8, resolution, 0xf4)
    let sum = 0
    for (let i = 0; i < 80; i++) {
      ps2.mouse.move(1, 0)
      ps2.machine.clock.advance(10e6)
      const bytes = ps2.drain()
      for (let at = 0; at < bytes.length; at += 3) sum += bytes[at + 1] ?? 0
    }
    expect(sum).toBe(counts)
  }
})

it('scaling 2:1 in stream mode, not when data is asked for', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.toMouse(...FINEST, 0xe7, 0xf4)
  const reported = [1, 2, 3, 4, 5, 6, 100].map((counts) => {
    ps2.machine.clock.advance(1e9)
    ps2.mouse.move(counts, 0)
    return ps2.drain()[1]
  })
  expect(reported).toEqual([1, 1, 3, 6, 9, 12, 200])
  ps2.toMouse(0xf0)
  ps2.mouse.move(5, 0)
  expect(ps2.toMouse(0xeb)).toEqual([0xfa, 0x08, 5, 0])
})

it('remote mode reports when asked', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.toMouse(...FINEST, 0xf4, 0xf0)
  ps2.mouse.move(4, 0)
  ps2.machine.clock.advance(1e9)
  expect(ps2.drain()).toEqual([])
  expect(ps2.toMouse(0xeb)).toEqual([0xfa, 0x08, 4, 0])
  expect(ps2.toMouse(0xeb)).toEqual([0xfa, 0x08, 0, 0])
  ps2.toMouse(0xea)
  ps2.mouse.move(4, 0)
  expect(ps2.drain()).toEqual([0x08, 4, 0])
})

it('wrap mode echoes', async () => {
  await using ps2 = await Ps2Machine.start()
  expect(ps2.toMouse(0xee)).toEqual([0xfa])
  expect(ps2.toMouse(0x12, 0xf4, 0xee)).toEqual([0x12, 0xf4, 0xee])
  expect(ps2.toMouse(0xec)).toEqual([0xfa])
  expect(ps2.toMouse(0xf2)).toEqual([0xfa, 0])
  ps2.toMouse(0xee)
  expect(ps2.toMouse(0xff)).toEqual([0xfa, 0xaa, 0])
})

it('what it does not know: resend, then error', async () => {
  await using ps2 = await Ps2Machine.start()
  expect(ps2.toMouse(0x12)).toEqual([0xfe])
  expect(ps2.toMouse(0x12)).toEqual([0xfc])
  expect(ps2.toMouse(0xf3, 77)).toEqual([0xfa, 0xfe])
  // The parameter may be sent again.
  expect(ps2.toMouse(60)).toEqual([0xfa])
  expect(ps2.toMouse(0xe9).at(-1)).toBe(60)
  expect(ps2.toMouse(0xfe)).toEqual([0xfa, 0x00, 0x02, 60])
})

it('without reports on, it forgets', async () => {
  await using ps2 = await Ps2Machine.start()
  ps2.mouse.move(50, 0)
  ps2.mouse.button(9, true)
  expect(ps2.toMouse(0xf4)).toEqual([0xfa])
  ps2.machine.clock.advance(1e9)
  expect(ps2.drain()).toEqual([])
})
