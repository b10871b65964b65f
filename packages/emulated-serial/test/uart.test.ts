// Facts of the PC16550D data sheet, of PC wiring, and of what Linux's 8250 driver probes for.
import { FakeMachine } from '@partita/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import serial from '../src/index.ts'

const BASE = 0x3f8
const RBR = BASE
const THR = BASE
const IER = BASE + 1
const IIR = BASE + 2
const FCR = BASE + 2
const LCR = BASE + 3
const MCR = BASE + 4
const LSR = BASE + 5
const MSR = BASE + 6
const SCR = BASE + 7

async function started(options: object = {}) {
  const machine = new FakeMachine()
  const instance = await machine.start(serial, options)
  return {
    machine,
    instance,
    ports: machine.ports,
    clock: machine.clock,
    lines: machine.lines,
    console: machine.console,
  }
}

/** Interrupt-driven with FIFOs and a trigger level of 8, as Linux sets it up. */
async function opened(options: object = {}) {
  const all = await started(options)
  all.ports.write(FCR, 0x81)
  all.ports.write(LCR, 0x03)
  all.ports.write(MCR, 0x0b)
  all.ports.write(IER, 0x05)
  return all
}

describe('registers', () => {
  it('has the reset values of table I', async () => {
    const { ports } = await started()
    expect([IER, IIR, LCR, MCR, LSR].map((port) => ports.read(port))).toEqual([0x00, 0x01, 0x00, 0x00, 0x60])
  })

  it('keeps scratch, line control and the divisor behind DLAB', async () => {
    const { ports } = await started()
    ports.write(SCR, 0xa5)
    expect(ports.read(SCR)).toBe(0xa5)
    ports.write(LCR, 0x83)
    ports.write(BASE, 0x34, 2)
    ports.write(IER, 0x12)
    expect(ports.read(BASE, 2)).toBe(0x1234)
    ports.write(LCR, 0x03)
    expect(ports.read(IER)).toBe(0)
  })

  it('shows its FIFOs in the IIR: a 16550A', async () => {
    const { ports } = await started()
    ports.write(FCR, 0x01)
    expect(ports.read(IIR)).toBe(0xc1)
    ports.write(FCR, 0x00)
    expect(ports.read(IIR)).toBe(0x01)
  })

  it('has four interrupt enables and five modem control bits', async () => {
    const { ports } = await started()
    ports.write(IER, 0xff)
    ports.write(MCR, 0xff)
    expect(ports.read(IER)).toBe(0x0f)
    expect(ports.read(MCR)).toBe(0x1f)
  })

  it('shows a ready modem, and none without a back end', async () => {
    const { ports } = await started()
    expect(ports.read(MSR)).toBe(0xb0)
    const { ports: bare } = await started({ backend: 'nothing' })
    expect(bare.read(MSR)).toBe(0x00)
  })
})

describe('what Linux probes for', () => {
  it('passes the loopback test: MCR bits come back in the MSR', async () => {
    const { ports } = await started()
    ports.write(MCR, 0x1a) // LOOP | OUT2 | RTS
    expect(ports.read(MSR) & 0xf0).toBe(0x90) // DCD | CTS
    ports.write(MCR, 0x15) // LOOP | OUT1 | DTR
    expect(ports.read(MSR) & 0xf0).toBe(0x60) // RI | DSR
  })

  it('raises the transmitter interrupt each time that it is enabled', async () => {
    const { ports } = await started()
    ports.write(IER, 0x02)
    expect(ports.read(IIR)).toBe(0x02)
    expect(ports.read(IIR)).toBe(0x01)
    ports.write(IER, 0x00)
    ports.write(IER, 0x02)
    expect(ports.read(IIR)).toBe(0x02)
  })

  it('gates its interrupt with OUT2', async () => {
    const { ports, lines } = await started()
    ports.write(IER, 0x02)
    expect(lines.level(4)).toBe(false)
    ports.write(MCR, 0x08)
    expect(lines.level(4)).toBe(true)
    ports.write(MCR, 0x18)
    expect(lines.level(4)).toBe(false)
  })
})

describe('output', () => {
  it('comes to the back end at the end of the slice, in order and all of it', async () => {
    const { ports, clock, console } = await started()
    for (const c of 'Hello') {
      expect(ports.read(LSR) & 0x60).toBe(0x60)
      ports.write(THR, c.charCodeAt(0))
    }
    clock.advance(0)
    expect(console.output).toBe('Hello')
    for (let i = 0; i < 10_000; i++) ports.write(THR, 0x61 + (i % 26))
    clock.advance(0)
    expect(console.output.length).toBe(10_005)
  })

  it('is handed over when the partition stops, is reset, is saved or goes away', async () => {
    for (const end of ['stop', 'reset', 'save', 'dispose'] as const) {
      const { ports, instance, console } = await started()
      ports.write(THR, 0x78)
      if (end === 'dispose') await instance[Symbol.asyncDispose]()
      else await instance[end]!()
      expect(console.output, end).toBe('x')
    }
  })

  it('holds back with THRE clear while the back end is full, and keeps what the guest sends in spite of that', async () => {
    const { ports, clock, console, lines } = await opened()
    ports.write(IER, 0x07)
    console.ready = false
    ports.write(THR, 0x30)
    clock.advance(0)
    expect(ports.read(LSR) & 0x60).toBe(0)
    expect(lines.level(4)).toBe(false)
    // More than a FIFO: Linux' kernel console writes after 10 ms, whatever THRE says.
    for (let i = 0; i < 20; i++) ports.write(THR, 0x41 + i)
    clock.advance(1e9)
    expect(console.output).toBe('0')
    console.release()
    expect(console.output).toBe('0ABCDEFGHIJKLMNOPQRST')
    expect(ports.read(LSR) & 0x60).toBe(0x60)
    expect(lines.level(4)).toBe(true)
    expect(ports.read(IIR)).toBe(0xc2)
  })

  it('is not taken back by a guest that clears or switches its FIFOs: a wire would have sent it', async () => {
    const { ports, clock, console } = await opened()
    console.ready = false
    ports.write(THR, 0x30)
    clock.advance(0)
    ports.write(THR, 0x31)
    ports.write(FCR, 0x87)
    ports.write(THR, 0x32)
    ports.write(FCR, 0x00)
    ports.write(THR, 0x33)
    ports.write(THR, 0x34)
    expect(ports.read(LSR) & 0x60).toBe(0)
    console.release()
    expect(console.output).toBe('01234')
  })

  it('waits in a bounded backlog, and goes on waiting where the back end takes a part', async () => {
    const { ports, clock, console } = await opened()
    console.ready = false
    ports.write(THR, 0x30)
    clock.advance(0)
    const sent = Array.from({ length: 70_000 }, (_, i) => String.fromCharCode(0x21 + (i % 91))).join('')
    for (let i = 0; i < sent.length; i++) ports.write(THR, sent.charCodeAt(i))
    // It takes what it is given, and asks to wait again.
    console.onReady?.()
    expect(console.output.length).toBe(1 + 4096)
    expect(ports.read(LSR) & 0x60).toBe(0)
    ports.write(THR, 0x7e)
    console.release()
    expect(console.output).toBe(`0${sent.slice(0, 0x10000)}~`)
    expect(ports.read(LSR) & 0x60).toBe(0x60)
  })

  it('goes to a back end that holds back when the machine stops or goes away, and not without bounds', async () => {
    for (const end of ['stop', 'dispose'] as const) {
      const { ports, clock, console, instance } = await opened()
      console.ready = false
      ports.write(THR, 0x30)
      clock.advance(0)
      for (const c of 'panic') ports.write(THR, c.charCodeAt(0))
      instance.reset!()
      expect(console.output).toBe('0')
      if (end === 'dispose') await instance[Symbol.asyncDispose]()
      else await instance.stop!()
      expect(console.output, end).toBe('0panic')
    }
    const { ports, clock, console, instance } = await opened()
    let taken = 0
    let ready = false
    console.write = (data) => {
      taken += data.length
      return ready
    }
    ports.write(THR, 0x30)
    clock.advance(0)
    for (let boot = 0; boot < 20; boot++) {
      for (let i = 0; i < 0x10000; i++) ports.write(THR, 0x2e)
      await instance.stop!()
      instance.reset!()
    }
    expect(taken).toBe(1 + 0x100000)
    ready = true
    console.onReady?.()
    expect(taken).toBe(1 + 0x110000)
  })

  it('is dropped without a back end', async () => {
    const { ports, clock } = await started({ backend: 'nothing' })
    ports.write(THR, 0x41)
    clock.advance(1e6)
    expect(ports.read(LSR)).toBe(0x60)
    expect(clock.armedTimers).toBe(0)
  })
})

describe('input', () => {
  it('stays with the back end until the guest enables the receiver', async () => {
    const { ports, clock, console } = await started()
    console.type('ls\n')
    ports.write(FCR, 0x01)
    for (let i = 0; i < 100; i++) {
      expect(ports.read(LSR)).toBe(0x60)
      ports.write(THR, 0x2e) // a console that prints does not read
    }
    clock.advance(1e9)
    expect(console.waiting).toBe(3)
    ports.write(MCR, 0x0b)
    ports.write(IER, 0x01)
    expect(console.waiting).toBe(0)
    expect(ports.read(RBR)).toBe(0x6c)
  })

  it('is pulled for a guest that polls the line status', async () => {
    const { ports, console } = await started()
    console.type('y')
    let polls = 0
    while ((ports.read(LSR) & 1) === 0) expect(++polls).toBeLessThan(20)
    expect(ports.read(RBR)).toBe(0x79)
    expect(ports.read(LSR) & 1).toBe(0)
  })

  it('interrupts at the trigger level, and after four character times below it', async () => {
    const { ports, clock, console, lines } = await opened()
    console.type('abc')
    expect(lines.level(4)).toBe(false)
    clock.advance(300_000)
    expect(lines.level(4)).toBe(false)
    clock.advance(100_000) // 4 × 86.8 µs
    expect(lines.level(4)).toBe(true)
    expect(ports.read(IIR)).toBe(0xcc)
    expect(ports.read(RBR)).toBe(0x61)
    expect(lines.level(4)).toBe(false)
    clock.advance(1e6)
    expect(ports.read(IIR)).toBe(0xcc)
    ports.read(RBR)
    ports.read(RBR)
    console.type('12345678')
    expect(ports.read(IIR)).toBe(0xc4)
  })

  it('gives a guest no more than 16 bytes ahead, at the speed of the line', async () => {
    const { ports, clock, console } = await opened()
    console.type('x'.repeat(100))
    expect(console.waiting).toBe(84)
    clock.advance(1e9)
    expect(console.waiting).toBe(84)
    for (let i = 0; i < 16; i++) ports.read(RBR)
    expect(console.waiting).toBe(68) // the line has been idle long enough
    for (let i = 0; i < 16; i++) ports.read(RBR)
    expect(console.waiting).toBe(68) // 16 characters take 1.39 ms
    clock.advance(1_380_000)
    expect(console.waiting).toBe(68)
    clock.advance(10_000)
    expect(console.waiting).toBe(52)
  })

  it('waits while an interrupt-driven guest has dropped RTS', async () => {
    const { ports, clock, console, instance } = await opened()
    console.type('x'.repeat(40))
    expect(console.waiting).toBe(24)
    ports.write(MCR, 0x09)
    for (let i = 0; i < 16; i++) ports.read(RBR)
    clock.advance(1e9)
    // A console that prints looks at nothing else, and its driver closes the interrupts meanwhile.
    ports.write(IER, 0x00)
    ports.write(THR, 0x2e)
    ports.write(IER, 0x05)
    console.onReady?.()
    expect(console.waiting).toBe(24)
    const state = structuredClone(instance.save!())
    ports.write(MCR, 0x0b)
    expect(console.waiting).toBe(8)
    const other = await opened()
    other.instance.restore!(state)
    other.console.type('later')
    other.clock.advance(2e9)
    expect(other.console.waiting).toBe(5)
    other.ports.write(MCR, 0x0b)
    expect(other.console.waiting).toBe(0)
    // The former state of such a machine says nothing of it.
    const former = Object.fromEntries(Object.entries(state.data).filter(([key]) => key !== 'inputStopped'))
    other.instance.restore!({ version: 1, data: former })
    other.console.type('y')
    other.clock.advance(1e9)
    expect(other.console.waiting).toBe(0)
  })

  it('comes to a guest that polls though RTS is dropped, and to a driver that begins anew', async () => {
    const { ports, console } = await opened({ inputRate: 0 })
    ports.write(MCR, 0x09)
    console.type('ab')
    let polls = 0
    while ((ports.read(LSR) & 1) === 0) expect(++polls).toBeLessThan(20)
    for (let i = 0; i < 2; i++) ports.read(RBR)
    ports.write(MCR, 0x00)
    ports.write(MCR, 0x08)
    console.type('c')
    expect(ports.read(RBR)).toBe(0x63)
  })

  it('has one byte without FIFOs', async () => {
    const { ports, console } = await started({ inputRate: 0 })
    ports.write(MCR, 0x08)
    ports.write(IER, 0x01)
    console.type('ab')
    expect(console.waiting).toBe(1)
    expect(ports.read(IIR)).toBe(0x04)
    expect(ports.read(RBR)).toBe(0x61)
    expect(ports.read(RBR)).toBe(0x62)
  })

  it('keeps input from a driver that only looks for a UART, and from one that switches the FIFOs on late', async () => {
    const { ports, console } = await started({ inputRate: 0 })
    console.type('abc')
    // Linux's autoconfig: all interrupts enabled for a moment, without OUT2, then the FIFOs switched on and off again.
    ports.write(IER, 0x0f)
    ports.write(IER, 0x00)
    ports.write(FCR, 0x01)
    ports.write(FCR, 0x00)
    expect(console.waiting).toBe(3)
    // Its startup: interrupts first, FIFOs later.
    ports.write(MCR, 0x08)
    ports.write(IER, 0x05)
    expect(console.waiting).toBe(2)
    ports.write(FCR, 0x01)
    ports.write(FCR, 0x81)
    expect([ports.read(RBR), ports.read(RBR), ports.read(RBR)]).toEqual([0x61, 0x62, 0x63])
  })

  it('delivers all of a paste to an interrupt-driven guest', async () => {
    const { ports, clock, console, lines } = await opened()
    const text = Array.from({ length: 1000 }, (_, i) => String.fromCharCode(0x20 + (i % 90))).join('')
    console.type(text)
    let got = ''
    for (let ms = 0; ms < 2000 && got.length < text.length; ms++) {
      clock.advance(1e6)
      if (!lines.level(4)) continue
      while ((ports.read(LSR) & 1) !== 0) got += String.fromCharCode(ports.read(RBR))
    }
    expect(got).toBe(text)
  })
})

describe('loopback', () => {
  it('turns output into input and reports an overrun, which has the highest priority', async () => {
    const { ports, console } = await started()
    ports.write(FCR, 0x01)
    ports.write(MCR, 0x10)
    ports.write(IER, 0x0f)
    for (let i = 0; i < 17; i++) ports.write(THR, i)
    expect(ports.read(IIR)).toBe(0xc6)
    expect(ports.read(LSR)).toBe(0x63)
    expect(ports.read(LSR)).toBe(0x61)
    expect(ports.read(IIR)).toBe(0xc4)
    for (let i = 0; i < 16; i++) expect(ports.read(RBR)).toBe(i)
    expect(ports.read(IIR)).toBe(0xc2)
    expect(console.output).toBe('')
  })

  it('overwrites the holding register without FIFOs', async () => {
    const { ports } = await started()
    ports.write(MCR, 0x10)
    ports.write(THR, 1)
    ports.write(THR, 2)
    expect(ports.read(LSR)).toBe(0x63)
    expect(ports.read(RBR)).toBe(2)
  })

  it('reports modem changes once, with the lowest priority', async () => {
    const { ports } = await started({ backend: 'nothing' })
    ports.write(MCR, 0x10)
    ports.write(IER, 0x08)
    ports.write(MCR, 0x12)
    expect(ports.read(IIR)).toBe(0x00)
    expect(ports.read(MSR)).toBe(0x11)
    expect(ports.read(MSR)).toBe(0x10)
    expect(ports.read(IIR)).toBe(0x01)
    ports.write(MCR, 0x14) // RI rises: no delta
    expect(ports.read(MSR)).toBe(0x41)
    ports.write(MCR, 0x10) // its trailing edge
    expect(ports.read(MSR)).toBe(0x04)
  })

  it('clears a FIFO on request and when the FIFOs are switched', async () => {
    const { ports } = await started()
    ports.write(FCR, 0x01)
    ports.write(MCR, 0x10)
    ports.write(THR, 1)
    ports.write(FCR, 0x03)
    expect(ports.read(LSR) & 1).toBe(0)
    ports.write(THR, 1)
    ports.write(FCR, 0x00)
    expect(ports.read(LSR) & 1).toBe(0)
  })
})

describe('state', () => {
  it('goes on in another machine, with what waited in its FIFOs', async () => {
    const { ports, clock, console, instance } = await opened()
    ports.write(SCR, 0x42)
    ports.write(LCR, 0x83)
    ports.write(BASE, 12)
    ports.write(LCR, 0x03)
    console.type('abc')
    clock.advance(1e6)
    console.ready = false
    ports.write(THR, 0x31)
    clock.advance(0)
    for (let i = 0; i < 20; i++) ports.write(THR, 0x32 + i)
    const state = structuredClone(instance.save!())
    const other = await started()
    other.clock.skip(clock.now())
    other.instance.restore!(state)
    expect(other.lines.level(4)).toBe(true)
    expect(other.ports.read(IIR)).toBe(0xcc)
    expect([0, 0, 0].map(() => other.ports.read(RBR))).toEqual([0x61, 0x62, 0x63])
    expect(other.ports.read(SCR)).toBe(0x42)
    other.clock.advance(0)
    expect(other.console.output).toBe('23456789:;<=>?@ABCDE')
  })

  it('saves again what was restored', async () => {
    const { console, instance, clock } = await opened()
    console.type('abc')
    clock.advance(1e6)
    const state = structuredClone(instance.save!())
    const other = await started()
    other.clock.skip(clock.now())
    other.instance.restore!(state)
    expect(other.instance.save!()).toEqual(state)
  })

  it('refuses what is no state of its own', async () => {
    const { instance } = await started()
    const state = instance.save!()
    for (const wrong of [
      { version: 2, data: state.data },
      { version: 1, data: {} },
      { version: 1, data: { ...state.data, ier: 256 } },
      { version: 1, data: { ...state.data, receiver: new Uint8Array(17) } },
      { version: 1, data: { ...state.data, transmitter: new Uint8Array(0x10001) } },
    ]) {
      expect(() => instance.restore!(wrong)).toThrowError(expect.objectContaining({ code: 'ERR_STATE_INVALID' }))
    }
  })

  it('has its line asserted exactly while the IIR would show a source and OUT2 lets it through', async () => {
    const step = fc.oneof(
      fc.record({ port: fc.integer({ min: 0, max: 7 }), value: fc.integer({ min: 0, max: 255 }) }),
      fc.record({ read: fc.integer({ min: 0, max: 7 }) }),
      fc.record({ type: fc.string({ maxLength: 20 }) }),
      fc.record({ advance: fc.integer({ min: 0, max: 1_000_000 }) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const { ports, clock, console, lines } = await started()
        let mcr = 0
        for (const s of steps) {
          if ('port' in s) {
            ports.write(BASE + s.port, s.value)
            if (s.port === 4) mcr = s.value
          } else if ('read' in s) ports.read(BASE + s.read)
          else if ('type' in s) console.type(s.type)
          else clock.advance(s.advance)
          const asserted = lines.level(4)
          const source = (ports.read(IIR) & 1) === 0
          expect(asserted).toBe(source && (mcr & 0x18) === 0x08)
        }
      }),
    )
  })
})
