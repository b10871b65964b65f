// Facts of the 8254 data sheet (231164) and of PC wiring.
import { FakeMachine } from '@partita/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { I8254Counter } from '../src/i8254.ts'
import pit, { PIT_FREQUENCY } from '../src/pit.ts'

/** Nanoseconds that surely contain `ticks` ticks. */
const after = (ticks: number): number => Math.ceil((ticks * 1e9) / PIT_FREQUENCY)

async function started() {
  const machine = new FakeMachine()
  const instance = await machine.start(pit)
  return { machine, instance, ports: machine.ports, clock: machine.clock, lines: machine.lines }
}

function counter(mode: number, count: number, gate = true): I8254Counter {
  const c = new I8254Counter(gate)
  c.control(0x30 | (mode << 1))
  c.write(count & 0xff, 0)
  c.write(count >> 8, 0)
  return c
}

/** OUT at ticks 0 … length-1, as a string of H and L. */
const wave = (c: I8254Counter, length: number): string =>
  Array.from({ length }, (_, t) => (c.output(t) ? 'H' : 'L')).join('')

describe('8254 output waveforms', () => {
  it('mode 0: low until terminal count, then high', () => expect(wave(counter(0, 4), 8)).toBe('LLLLHHHH'))
  it('mode 2: low for one clock in N', () => expect(wave(counter(2, 3), 9)).toBe('HHLHHLHHL'))
  it('mode 3, even: high for N/2', () => expect(wave(counter(3, 4), 8)).toBe('HHLLHHLL'))
  it('mode 3, odd: high for (N+1)/2', () => expect(wave(counter(3, 5), 10)).toBe('HHHLLHHHLL'))
  it('mode 4: a strobe of one clock', () => expect(wave(counter(4, 3), 7)).toBe('HHHLHHH'))

  it('mode 1: low for N clocks from the trigger', () => {
    const c = counter(1, 3, false)
    expect(c.output(0)).toBe(true)
    c.setGate(true, 2)
    expect([2, 3, 4, 5, 6].map((t) => c.output(t))).toEqual([false, false, false, true, true])
  })

  it('mode 5: strobe N clocks after the trigger', () => {
    const c = counter(5, 3, false)
    c.setGate(true, 1)
    expect([1, 3, 4, 5].map((t) => c.output(t))).toEqual([true, true, false, true])
  })

  it('takes a new count in mode 2 at the end of the period, however many have passed', () => {
    const c = counter(2, 4)
    c.write(3, 9)
    c.write(0, 9)
    expect(Array.from({ length: 10 }, (_, i) => (c.output(9 + i) ? 'H' : 'L')).join('')).toBe('HHLHHLHHLH')
  })

  it('finds each rise where the waveform has one', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0, 2, 3, 4),
        fc.integer({ min: 2, max: 40 }),
        fc.integer({ min: 0, max: 200 }),
        (mode, count, from) => {
          const c = counter(mode, count)
          let expected = Number.POSITIVE_INFINITY
          for (let t = from + 1; t < from + 100; t++) {
            if (c.output(t) && !c.output(t - 1)) {
              expected = t
              break
            }
          }
          expect(c.nextRise(from)).toBe(expected)
        },
      ),
    )
  })
})

describe('8254 of a PC', () => {
  it('ticks at 100 Hz on interrupt 0 in mode 2', async () => {
    const { ports, clock, lines } = await started()
    ports.write(0x43, 0x34)
    ports.write(0x40, 11932 & 0xff)
    ports.write(0x40, 11932 >> 8)
    const before = lines.edges(0)
    clock.advance(1e9)
    expect(lines.edges(0) - before).toBe(Math.floor(PIT_FREQUENCY / 11932))
  })

  it('gives one edge for a slice longer than several periods, and keeps the phase', async () => {
    const { ports, clock, lines } = await started()
    ports.write(0x43, 0x34)
    ports.write(0x40, 0xa9)
    ports.write(0x40, 0x04) // 1193, 1 kHz
    const before = lines.edges(0)
    clock.skip(10_500_000)
    clock.advance(0)
    expect(lines.edges(0) - before).toBe(1)
    clock.advance(after(1193))
    expect(lines.edges(0) - before).toBe(2)
  })

  it('fires once in mode 0 and raises the line at terminal count', async () => {
    const { ports, clock, lines } = await started()
    ports.write(0x43, 0x30)
    expect(lines.level(0)).toBe(false)
    ports.write(0x40, 0x00)
    ports.write(0x40, 0x10)
    clock.advance(after(0x1000) - 1000)
    expect(lines.level(0)).toBe(false)
    clock.advance(2000)
    expect(lines.level(0)).toBe(true)
    expect(clock.armedTimers).toBe(0)
  })

  it('latches a count until it is read', async () => {
    const { ports, clock } = await started()
    ports.write(0x43, 0x34)
    ports.write(0x40, 0x00)
    ports.write(0x40, 0x00) // 65536
    clock.advance(after(100))
    ports.write(0x43, 0x00)
    clock.advance(after(1000))
    expect(ports.read(0x40) | (ports.read(0x40) << 8)).toBe(65536 - 100)
    const live = ports.read(0x40) | (ports.read(0x40) << 8)
    expect(live).toBeLessThanOrEqual(65536 - 1100)
    expect(live).toBeGreaterThanOrEqual(65536 - 1102)
  })

  it('reads status and count back', async () => {
    const { ports, clock } = await started()
    ports.write(0x43, 0x36) // counter 0, mode 3
    ports.write(0x43, 0xe2) // status of counter 0
    expect(ports.read(0x40)).toBe(0xf6) // OUT high, null count, access 3, mode 3
    ports.write(0x40, 10)
    ports.write(0x40, 0)
    ports.write(0x43, 0xc2) // status and count
    clock.advance(after(7))
    expect(ports.read(0x40)).toBe(0xb6)
    expect(ports.read(0x40)).toBe(10)
    expect(ports.read(0x40)).toBe(0)
  })

  it('counts in BCD', async () => {
    const { ports, clock } = await started()
    ports.write(0x43, 0xb1) // counter 2, mode 0, BCD
    ports.write(0x61, 0x01)
    ports.write(0x42, 0x00)
    ports.write(0x42, 0x10) // 1000
    clock.advance(after(1))
    ports.write(0x43, 0x80)
    expect(ports.read(0x42)).toBe(0x99)
    expect(ports.read(0x42)).toBe(0x09)
  })

  it('times with counter 2 through port 0x61, as a guest calibrates its TSC', async () => {
    const { ports, clock } = await started()
    ports.write(0x61, 0x01) // gate on, speaker off
    ports.write(0x43, 0xb0)
    ports.write(0x42, 0x9c)
    ports.write(0x42, 0x2e) // 11932, 10 ms
    expect(ports.read(0x61) & 0x20).toBe(0)
    clock.advance(9_900_000)
    expect(ports.read(0x61) & 0x20).toBe(0)
    clock.advance(200_000)
    expect(ports.read(0x61) & 0x23).toBe(0x21)
  })

  it('stops counter 2 while its gate is low', async () => {
    const { ports, clock } = await started()
    ports.write(0x61, 0x01)
    ports.write(0x43, 0xb0)
    ports.write(0x42, 0xe8)
    ports.write(0x42, 0x03)
    clock.advance(after(100))
    ports.write(0x61, 0x00)
    clock.advance(1e9)
    ports.write(0x43, 0x80)
    expect(ports.read(0x42) | (ports.read(0x42) << 8)).toBe(900)
  })

  it('toggles the refresh bit of port 0x61 every 15.085 µs', async () => {
    const { ports, clock } = await started()
    const bits: number[] = []
    for (let i = 0; i < 4; i++) {
      bits.push(ports.read(0x61) & 0x10)
      clock.advance(15_085)
    }
    expect(bits).toEqual([0, 0x10, 0, 0x10])
  })

  it('never fires more often than a machine can bear', async () => {
    const { ports, clock, lines } = await started()
    ports.write(0x43, 0x14)
    ports.write(0x40, 2)
    clock.advance(1e8)
    expect(lines.edges(0)).toBeLessThanOrEqual(2001)
  })

  it('goes on after restore without losing or doubling a tick', async () => {
    const { machine, instance, ports, clock } = await started()
    ports.write(0x43, 0x34)
    ports.write(0x40, 0xa9)
    ports.write(0x40, 0x04)
    clock.advance(10_400_000)
    const state = structuredClone(instance.save!())
    const other = await started()
    other.clock.skip(clock.now())
    other.instance.restore!(state)
    expect(other.instance.save!()).toEqual(state)
    const [a, b] = [machine.lines.edges(0), other.lines.edges(0)]
    clock.advance(5_000_000)
    other.clock.advance(5_000_000)
    expect(other.lines.edges(0) - b).toBe(machine.lines.edges(0) - a)
  })
})
