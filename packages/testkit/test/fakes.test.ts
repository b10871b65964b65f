// The fakes keep the rules of the contracts that they stand in for.
import {
  interruptLinesToken,
  PartitaError,
  PLUGIN_CONTRACT,
  type Plugin,
  portIoToken,
  serviceToken,
} from '@partita/interface'
import { describe, expect, it } from 'vitest'
import {
  emulatedDeviceChecks,
  FakeClock,
  FakeGuestMemory,
  FakeInterruptLines,
  FakeMachine,
  FakeMmio,
  FakePortIo,
} from '../src/index.ts'

describe('fake clock', () => {
  it('fires timers in order, each at its deadline, and re-armed ones again', () => {
    const clock = new FakeClock()
    const log: [string, number][] = []
    const a = clock.createTimer(() => log.push(['a', clock.now()]))
    const b = clock.createTimer(() => {
      log.push(['b', clock.now()])
      if (clock.now() < 30) b.arm(clock.now() + 10)
    })
    a.arm(25)
    b.arm(10)
    clock.advance(50)
    expect(log).toEqual([
      ['b', 10],
      ['b', 20],
      ['a', 25],
      ['b', 30],
    ])
    expect(clock.now()).toBe(50)
    expect(clock.armedTimers).toBe(0)
  })

  it('fires late what was due inside a slice, and nothing that was cancelled', () => {
    const clock = new FakeClock()
    const fired: number[] = []
    const timer = clock.createTimer(() => fired.push(clock.now()))
    timer.arm(10)
    clock.skip(100)
    expect(fired).toEqual([])
    clock.advance(0)
    expect(fired).toEqual([100])
    timer.arm(200)
    timer.cancel()
    clock.advance(1000)
    expect(fired).toEqual([100])
  })

  it('stops a timer that fires without end', () => {
    const clock = new FakeClock()
    const timer = clock.createTimer(() => timer.arm(clock.now()))
    timer.arm(0)
    expect(() => clock.advance(1)).toThrow(/without end/)
  })
})

describe('fake buses', () => {
  it('splits an access at the end of a claim, and fills with ones', () => {
    const ports = new FakePortIo()
    const log: number[][] = []
    ports.claim(0x100, 3, {
      read: (offset, size) => {
        log.push([offset, size])
        return 0x22
      },
      write: (offset, size, value) => void log.push([offset, size, value]),
    })
    expect(ports.read(0x102, 2)).toBe(0xff22)
    expect(ports.read(0x0ff, 2)).toBe(0x22ff)
    ports.write(0x101, 0x04030201, 4)
    expect(log).toEqual([
      [2, 1],
      [0, 1],
      [1, 2, 0x0201],
    ])
    expect(ports.read(0x200, 4)).toBe(0xffff_ffff)
  })

  it('refuses conflicts until the claim is given back', () => {
    const mmio = new FakeMmio()
    const handler = { read: () => 0, write: () => {} }
    const claim = mmio.claim(0x1000, 0x2000, handler)
    expect(() => mmio.claim(0x2000, 0x1000, handler)).toThrowError(
      expect.objectContaining({ code: 'ERR_MMIO_CONFLICT' }),
    )
    claim[Symbol.dispose]()
    mmio.claim(0x2000, 0x1000, handler)
    expect(() => mmio.claim(0x10, 0x1000, handler)).toThrow(RangeError)
  })

  it('catches a device that answers out of range', () => {
    const ports = new FakePortIo()
    ports.claim(0, 1, { read: () => 256, write: () => {} })
    expect(() => ports.read(0)).toThrow(RangeError)
  })
})

describe('fake lines and memory', () => {
  it('asserts a shared wire while anybody does, and counts edges', () => {
    const lines = new FakeInterruptLines()
    const [a, b] = [lines.line(5), lines.line(5)]
    a.set(true)
    b.set(true)
    a.set(false)
    expect(lines.level(5)).toBe(true)
    b.set(false)
    expect([lines.level(5), lines.edges(5)]).toEqual([false, 1])
  })

  it('refuses what is not RAM, and writes nothing then', () => {
    const memory = new FakeGuestMemory(4096)
    expect(memory.write(4090, new Uint8Array(10).fill(1))).toBe(false)
    expect(memory.bytes.every((byte) => byte === 0)).toBe(true)
    expect(memory.readU32(4093)).toBe(undefined)
    expect(memory.writeU64(8, 0x1122n)).toBe(true)
    expect(memory.readU16(8)).toBe(0x1122)
    expect(memory.view(4095, 2)).toBe(undefined)
  })
})

// A device with a register, and knobs to break each promise of the contract.
interface Fault {
  readonly wide?: boolean
  readonly leak?: boolean
  readonly forget?: boolean
  readonly believe?: boolean
  readonly ask?: boolean
  readonly hold?: boolean
}

function device(fault: Fault): Plugin<object> {
  return {
    name: 'test/register',
    kind: 'emulated-device',
    contract: PLUGIN_CONTRACT,
    description: 'A register with an interrupt',
    options: {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value) =>
          typeof value === 'object' && value !== null && Object.keys(value).length === 0
            ? { value }
            : { issues: [{ message: 'no options' }] },
      },
    },
    needs: [portIoToken, interruptLinesToken],
    provides: [],
    create: (context) => {
      if (fault.ask) context.get(serviceToken('test/undeclared'))
      let value = 0
      const line = context.get(interruptLinesToken).line(3)
      const drive = (): void => line.set(value >= 0x80)
      const claim = context.get(portIoToken).claim(0x300, 1, {
        read: () => (fault.wide && (value & 0x10) !== 0 ? 0x100 : value),
        write: (_offset, _size, written) => {
          value = written
          drive()
        },
      })
      return {
        save: () => ({ version: 1, data: { value: fault.forget ? value & 0xfe : value } }),
        restore: (state) => {
          const { value: saved } = state.data
          const wrong =
            state.version !== 1 || typeof saved !== 'number' || !(saved >= 0 && saved <= 255 && Number.isInteger(saved))
          if (wrong && !fault.believe) throw new PartitaError('ERR_STATE_INVALID', 'wrong')
          value = saved as number
          drive()
        },
        reset: () => {
          value = 0
          if (!fault.hold) drive()
        },
        async [Symbol.asyncDispose]() {
          if (!fault.leak) claim[Symbol.dispose]()
          line.set(false)
        },
      }
    },
  }
}

async function failures(fault: Fault): Promise<string[]> {
  const plugin = device(fault)
  const { name, kind, contract, description } = plugin
  const failed: string[] = []
  for (const check of emulatedDeviceChecks({
    plugin,
    manifest: { plugins: [{ name, kind, contract, description, export: '.' }] },
    runs: 200,
  })) {
    await check.run().catch(() => failed.push(check.name))
  }
  return failed
}

describe('compliance suite', () => {
  it('passes a device that keeps every promise', async () => expect(await failures({})).toEqual([]))
  it('finds an answer that is too wide', async () =>
    expect(await failures({ wide: true })).toContain(
      'answers every access within its width, whatever a guest does, and never throws',
    ))
  it('finds a claim that is not given back', async () =>
    expect(await failures({ leak: true })).toContain(
      'gives everything back when it is disposed of, and can be started again',
    ))
  it('finds state that is not saved', async () =>
    expect(await failures({ forget: true })).toContain('goes on after restore as the original does'))
  it('finds a device that believes any state', async () =>
    expect(await failures({ believe: true })).toContain(
      'refuses a state that is not its own with ERR_STATE_INVALID, unchanged, and survives any other',
    ))
  it('finds a line that a reset leaves asserted', async () =>
    expect(await failures({ hold: true })).toContain(
      'lets go of its interrupt lines at a reset, which leads to one state',
    ))
  it('finds a service that was not declared', async () =>
    expect(await failures({ ask: true })).toContain(
      'asks only for services that it has declared, and starts with every set of options',
    ))
})

describe('fake machine', () => {
  it('refuses undeclared services and wrong options, by code', async () => {
    const machine = new FakeMachine()
    await expect(machine.start(device({ ask: true }))).rejects.toMatchObject({ code: 'ERR_PLUGIN_UNDECLARED' })
    await expect(machine.start(device({}), { a: 1 })).rejects.toMatchObject({ code: 'ERR_PLUGIN_OPTIONS' })
  })
})
