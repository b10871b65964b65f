// What the device does, register by register.

import { FakeMachine } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import plugin from '../src/index.ts'
import { REGISTERS } from '../src/my-device.ts'

const BASE = 0x540
const IRQ = 10
const MICROSECOND = 1000

async function start(options: object = {}) {
  const machine = new FakeMachine()
  await machine.start(plugin, options)
  return machine
}

describe('the interval timer', () => {
  it('interrupts each time that its period is over, until the guest has seen it', async () => {
    await using machine = await start()
    machine.ports.write(BASE + REGISTERS.PERIOD, 500, 4)
    expect(machine.ports.read(BASE + REGISTERS.PERIOD, 4)).toBe(500)
    machine.clock.advance(499 * MICROSECOND)
    expect(machine.lines.level(IRQ)).toBe(false)
    machine.clock.advance(MICROSECOND)
    expect(machine.lines.level(IRQ)).toBe(true)
    expect(machine.ports.read(BASE + REGISTERS.PENDING, 4)).toBe(1)
    machine.ports.write(BASE + REGISTERS.PENDING, 1, 4)
    expect(machine.lines.level(IRQ)).toBe(false)
    machine.clock.advance(500 * MICROSECOND)
    expect(machine.lines.level(IRQ)).toBe(true)
  })

  it('stops at a period of 0', async () => {
    await using machine = await start({ base: 0x580, irq: 5 })
    machine.ports.write(0x580, 500, 4)
    machine.ports.write(0x580, 0, 4)
    machine.clock.advance(1_000_000 * MICROSECOND)
    expect(machine.lines.level(5)).toBe(false)
  })
})
