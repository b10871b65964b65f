// ACPI fixed hardware (ACPI 6.5, section 4.8), the reset registers of the PIIX4, and the debug-exit port.
import { FakeMachine } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import debugExit from '../src/debug-exit.ts'
import { Oscillator } from '../src/frequency.ts'
import pci from '../src/pci.ts'
import powerManagement from '../src/power-management.ts'
import reset from '../src/reset.ts'
import { powerButtonToken, resetRegisterHostToken } from '../src/tokens.ts'

async function started(options: object = {}) {
  const machine = new FakeMachine()
  const instance = await machine.start(powerManagement, options)
  return { machine, instance, ports: machine.ports, clock: machine.clock, lines: machine.lines }
}

describe('PM timer', () => {
  it('counts 3,579,545 a second and wraps at 24 bits', async () => {
    const { ports, clock } = await started()
    clock.advance(1e9)
    expect(ports.read(0x608, 4)).toBe(3_579_545)
    clock.advance(4e9)
    expect(ports.read(0x608, 4)).toBe((5 * 3_579_545) % 2 ** 24)
  })

  it('has 32 bits on request', async () => {
    const { ports, clock } = await started({ timerBits: 32 })
    clock.advance(1300e9)
    expect(ports.read(0x608, 4)).toBe((1300 * 3_579_545) % 2 ** 32)
  })

  it('sets TMR_STS when its highest bit changes, with an SCI if enabled', async () => {
    const { ports, clock, lines } = await started()
    ports.write(0xb2, 0xf1)
    ports.write(0x602, 0x0001, 2)
    clock.advance(2.3e9)
    expect(lines.level(9)).toBe(false)
    clock.advance(0.1e9) // 2^23 / 3.58 MHz = 2.34 s
    expect(lines.level(9)).toBe(true)
    expect(ports.read(0x600, 2) & 1).toBe(1)
    ports.write(0x600, 1, 2)
    expect(lines.level(9)).toBe(false)
    clock.advance(2.4e9)
    expect(lines.level(9)).toBe(true)
  })

  it('sets TMR_STS without interrupts for guests that poll', async () => {
    const { ports, clock } = await started()
    expect(clock.armedTimers).toBe(0)
    clock.advance(2.4e9)
    expect(ports.read(0x600, 2)).toBe(1)
  })
})

describe('PM1 control', () => {
  it('turns ACPI mode on and off with the SMI command port', async () => {
    const { ports } = await started()
    expect(ports.read(0x604, 2)).toBe(0)
    ports.write(0xb2, 0xf1)
    expect(ports.read(0x604, 2)).toBe(1)
    ports.write(0x604, 0, 2) // SCI_EN does not change this way
    expect(ports.read(0x604, 2)).toBe(1)
    ports.write(0xb2, 0xf0)
    expect(ports.read(0x604, 2)).toBe(0)
  })

  it('powers off with SLP_TYP 0 and SLP_EN, as a word or by bytes', async () => {
    const { ports, machine } = await started()
    ports.write(0x604, 0x2001, 2)
    expect(machine.power.events).toEqual([{ type: 'power-off' }])
    ports.write(0x605, 0x20)
    expect(machine.power.events.length).toBe(2)
    expect(ports.read(0x604, 2) & 0x2000).toBe(0)
  })

  it('wakes at once from a sleep state that it does not have', async () => {
    const { ports, machine } = await started()
    ports.write(0x604, 0x2000 | (5 << 10), 2)
    expect(machine.power.events).toEqual([])
    expect(ports.read(0x600, 2)).toBe(0x8000)
  })

  it('raises the SCI for the power button until its status is cleared', async () => {
    const { ports, machine, lines } = await started()
    ports.write(0xb2, 0xf1)
    ports.write(0x602, 0x0100, 2)
    machine.service(powerButtonToken).press()
    expect(lines.level(9)).toBe(true)
    expect(ports.read(0x601)).toBe(1)
    ports.write(0x601, 1)
    expect(lines.level(9)).toBe(false)
  })
})

describe('oscillator', () => {
  it('finds the first nanosecond of a tick', () => {
    for (const hertz of [32_768, 1_193_182, 3_579_545]) {
      const oscillator = new Oscillator(hertz)
      for (const ticks of [0, 1, 2, hertz - 1, hertz, hertz + 1, 12_345_678_901]) {
        const at = oscillator.nanoseconds(ticks)
        expect(oscillator.ticks(at)).toBe(ticks)
        if (at > 0) expect(oscillator.ticks(at - 1)).toBe(ticks - 1)
      }
    }
  })
})

describe('reset', () => {
  it('resets at the change of RST_CPU in port 0xCF9', async () => {
    const machine = new FakeMachine()
    await machine.start(reset)
    machine.ports.write(0xcf9, 0x02)
    expect(machine.power.events).toEqual([])
    machine.ports.write(0xcf9, 0x06)
    expect(machine.power.events).toEqual([{ type: 'reset' }])
    machine.ports.write(0xcf9, 0x06)
    expect(machine.power.events.length).toBe(1)
  })

  it('has port 0xCF9 inside the PCI host bridge where there is one', async () => {
    const machine = new FakeMachine()
    await machine.start(pci)
    await machine.start(reset)
    machine.ports.write(0xcf8, 0x8000_0006, 4)
    expect(machine.power.events).toEqual([])
    machine.ports.write(0xcf9, 0x06)
    expect(machine.power.events).toEqual([{ type: 'reset' }])
    expect(machine.ports.read(0xcf9)).toBe(0x06)
  })

  it('refuses a second owner of that port, with the names of both', async () => {
    const machine = new FakeMachine()
    await machine.start(pci)
    await machine.start(reset)
    const handler = { read: () => 0, write: () => {} }
    expect(() => machine.service(resetRegisterHostToken).setResetRegister(handler, 'other')).toThrow(
      expect.objectContaining({
        code: 'ERR_CHIPSET_CONFLICT',
        message: '@partita/emulated-chipset/reset and other collide: both want the port 0xcf9',
        data: { plugins: ['@partita/emulated-chipset/reset', 'other'] },
      }),
    )
  })

  it('resets by keyboard controller pulse and fast reset, and not by other commands', async () => {
    const machine = new FakeMachine()
    await machine.start(reset)
    machine.ports.write(0x64, 0xd1)
    machine.ports.write(0x64, 0xff) // pulses nothing
    machine.ports.write(0x92, 0x02)
    expect(machine.power.events).toEqual([])
    machine.ports.write(0x64, 0xfe)
    machine.ports.write(0x92, 0x03)
    expect(machine.power.events.length).toBe(2)
    expect(machine.ports.read(0x64)).toBe(0xff)
  })

  it('leaves port 0x64 to a keyboard controller', async () => {
    const machine = new FakeMachine()
    await machine.start(reset, { keyboardController: false })
    expect(machine.ports.claims.some((claim) => claim.base === 0x64)).toBe(false)
  })
})

describe('debug-exit', () => {
  it('ends with (value << 1) | 1', async () => {
    const machine = new FakeMachine()
    await machine.start(debugExit)
    machine.ports.write(0xf4, 0, 4)
    machine.ports.write(0xf4, 0x10, 1)
    expect(machine.power.events).toEqual([
      { type: 'debug-exit', code: 1 },
      { type: 'debug-exit', code: 33 },
    ])
  })
})
