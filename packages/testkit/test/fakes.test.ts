import { describe, expect, it } from 'vitest'
import { FakeClock, FakeGuestMemory, FakeInterruptLines, FakeMachine, FakeMmio, FakePortIo } from '../src/index.ts'
import { exampleDevice } from './example-device.ts'

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

describe('fake machine', () => {
  it('refuses undeclared services and wrong options, by code', async () => {
    const machine = new FakeMachine()
    await expect(machine.start(exampleDevice('asks for an undeclared service'))).rejects.toMatchObject({
      code: 'ERR_PLUGIN_UNDECLARED',
    })
    await expect(machine.start(exampleDevice(), { a: 1 })).rejects.toMatchObject({ code: 'ERR_PLUGIN_OPTIONS' })
  })
})
