// Facts of the MC146818 data sheet and of a PC's CMOS RAM. The fake clock starts at 2024-02-29 12:34:56 UTC, a Thursday.
import { FakeClock, FakeMachine } from '@partita/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nextAlarm } from '../src/mc146818-time.ts'
import rtc from '../src/rtc.ts'

async function started(ramSize?: number) {
  const machine = new FakeMachine(ramSize === undefined ? {} : { ramSize })
  const instance = await machine.start(rtc)
  const { ports } = machine
  const read = (index: number): number => {
    ports.write(0x70, index)
    return ports.read(0x71)
  }
  const write = (index: number, value: number): void => {
    ports.write(0x70, index)
    ports.write(0x71, value)
  }
  return { machine, instance, read, write, clock: machine.clock, lines: machine.lines }
}

describe('RTC', () => {
  it('tells the time in BCD, 24 hours', async () => {
    const { read } = await started()
    expect([0, 2, 4, 6, 7, 8, 9, 0x32].map(read)).toEqual([0x56, 0x34, 0x12, 5, 0x29, 0x02, 0x24, 0x20])
    expect(read(0x0a)).toBe(0x26)
    expect(read(0x0b)).toBe(0x02)
    expect(read(0x0d)).toBe(0x80)
  })

  it('tells the time in binary, 12 hours, with PM', async () => {
    const { read, write } = await started()
    write(0x0b, 0x04)
    expect([0, 2, 4, 7, 9].map(read)).toEqual([56, 34, 12 | 0x80, 29, 24])
  })

  it('goes on, over midnight and the end of a leap February', async () => {
    const { read, clock } = await started()
    clock.advance(12 * 3600 * 1e9)
    expect([0, 2, 4, 6, 7, 8].map(read)).toEqual([0x56, 0x34, 0x00, 6, 0x01, 0x03])
  })

  it('is set by a guest with SET and keeps its own time from then on', async () => {
    const { read, write, clock } = await started()
    write(0x0b, 0x82)
    write(0x00, 0x58)
    write(0x02, 0x59)
    write(0x04, 0x23)
    write(0x07, 0x31)
    write(0x08, 0x12)
    write(0x09, 0x99)
    write(0x32, 0x19)
    clock.advance(10e9)
    expect(read(0x00)).toBe(0x58) // it stands
    write(0x0b, 0x02)
    clock.advance(1.6e9)
    expect([0, 2, 4, 7, 8, 9, 0x32].map(read)).toEqual([0x00, 0x00, 0x00, 0x01, 0x01, 0x00, 0x20])
  })

  it('shows UIP just before a second ends, and never otherwise', async () => {
    const { read, clock } = await started()
    expect(read(0x0a) & 0x80).toBe(0)
    clock.advance(997e6)
    expect(read(0x0a) & 0x80).toBe(0)
    clock.advance(1e6)
    expect(read(0x0a) & 0x80).toBe(0x80)
    clock.advance(2e6)
    expect(read(0x0a) & 0x80).toBe(0)
  })

  it('interrupts after each update, and register C takes it back', async () => {
    const { read, write, clock, lines } = await started()
    write(0x0b, 0x12)
    clock.advance(0.9e9)
    expect(lines.level(8)).toBe(false)
    clock.advance(0.2e9)
    expect(lines.level(8)).toBe(true)
    expect(read(0x0c)).toBe(0xd0) // PF too: the periodic flag is set at its rate, enabled or not
    expect(lines.level(8)).toBe(false)
    expect(read(0x0c)).toBe(0)
    clock.advance(1e9)
    expect(lines.edges(8)).toBe(2)
  })

  it('interrupts 1024 times a second at rate 6, if register C is read', async () => {
    const { read, write, clock, lines } = await started()
    write(0x0b, 0x42)
    let count = 0
    while (clock.now() < 1e9) {
      clock.advance(100_000)
      if (lines.level(8)) {
        count++
        expect(read(0x0c) & 0xc0).toBe(0xc0)
      }
    }
    expect(count).toBe(1024)
  })

  it('sets flags without enabled interrupts, for guests that poll', async () => {
    const { read, clock, lines } = await started()
    read(0x0c)
    clock.advance(1.1e9)
    expect(read(0x0c) & 0x50).toBe(0x50)
    expect(lines.edges(8)).toBe(0)
  })

  it('alarms at the time of day, and every minute with "don\'t care"', async () => {
    const { read, write, clock, lines } = await started()
    write(0x01, 0x10)
    write(0x03, 0x36)
    write(0x05, 0x12)
    write(0x0b, 0x22)
    clock.advance(73e9)
    expect(lines.level(8)).toBe(false)
    clock.advance(2e9)
    expect(read(0x0c) & 0xa0).toBe(0xa0)
    write(0x03, 0xff)
    write(0x05, 0xff)
    clock.advance(60e9)
    expect(read(0x0c) & 0xa0).toBe(0xa0)
  })

  it('has memory sizes and a checksum in CMOS RAM', async () => {
    const { read } = await started(64 * 1024 * 1024)
    const word = (index: number): number => read(index) | (read(index + 1) << 8)
    expect(word(0x15)).toBe(640)
    expect(word(0x17)).toBe(63 * 1024)
    expect(word(0x30)).toBe(63 * 1024)
    expect(word(0x34)).toBe((48 * 1024) / 64)
    let sum = 0
    for (let index = 0x10; index <= 0x2d; index++) sum += read(index)
    expect((read(0x2e) << 8) | read(0x2f)).toBe(sum)
  })

  it('keeps RAM over a reset, and loses its interrupts', async () => {
    const { read, write, clock, instance, lines } = await started()
    write(0x60, 0x5a)
    write(0x0b, 0x12)
    clock.advance(1.5e9)
    instance.reset!()
    expect(lines.level(8)).toBe(false)
    expect(read(0x60)).toBe(0x5a)
    expect(read(0x0b)).toBe(0x02)
    expect(clock.armedTimers).toBe(0)
  })

  it('ignores the NMI bit of the index and leaves port 0x70 unreadable', async () => {
    const { machine, read } = await started()
    expect(read(0x80 | 0x0d)).toBe(0x80)
    expect(machine.ports.read(0x70)).toBe(0xff)
  })

  it('restores a time that the guest has set', async () => {
    const { write, instance, clock } = await started()
    write(0x09, 0x30)
    write(0x0b, 0x12)
    const state = structuredClone(instance.save!())
    const other = await started()
    other.clock.skip(clock.now())
    other.instance.restore!(state)
    expect(other.instance.save!()).toEqual(state)
    expect(other.read(0x09)).toBe(0x30)
    other.clock.advance(1.1e9)
    expect(other.lines.level(8)).toBe(true)
  })

  it('finds the next alarm that a step through the seconds finds', () => {
    const field = (max: number) => fc.option(fc.integer({ min: 0, max }), { nil: -1 })
    fc.assert(
      fc.property(
        field(59),
        field(59),
        field(23),
        fc.integer({ min: 0, max: 200_000 }),
        (seconds, minutes, hours, start) => {
          let expected = start + 1
          for (; ; expected++) {
            const day = expected % 86_400
            const matches =
              (seconds < 0 || day % 60 === seconds) &&
              (minutes < 0 || Math.floor(day / 60) % 60 === minutes) &&
              (hours < 0 || Math.floor(day / 3600) === hours)
            if (matches) break
          }
          expect(nextAlarm({ seconds, minutes, hours }, start)).toBe(expected)
        },
      ),
      { numRuns: 60 },
    )
    expect(nextAlarm({ seconds: 60, minutes: -1, hours: -1 }, 0)).toBe(Number.POSITIVE_INFINITY)
  })

  it('uses no time of its own', () => expect(new FakeClock().wallTime()).toBe(Date.UTC(2024, 1, 29, 12, 34, 56)))
})
