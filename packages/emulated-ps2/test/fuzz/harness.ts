// Runs one input of the fuzzer: bytes become accesses to the ports, keys, movement, time and migrations. Whatever they are, the devices answer, keep
// their bounds, and go on after a migration as if there had been none.

import type { AccessSize } from '@partita/interface'
import { FakeClock, FakeInterruptLines } from '@partita/testkit'
import { I8042, KEYS, Ps2Keyboard, Ps2Mouse } from '../../src/index.ts'

const CODES: readonly string[] = [...KEYS.keys(), 'NoSuchKey']
const SIZES: readonly AccessSize[] = [1, 2, 4]

class Machine {
  readonly lines: FakeInterruptLines = new FakeInterruptLines()
  readonly keyboard: Ps2Keyboard
  readonly mouse: Ps2Mouse
  readonly controller: I8042
  resets = 0
  readonly a20: { enabled: boolean } = { enabled: true }

  constructor(clock: FakeClock) {
    this.keyboard = new Ps2Keyboard(clock)
    this.mouse = new Ps2Mouse(clock)
    this.controller = new I8042({
      keyboardLine: this.lines.line(1),
      auxiliaryLine: this.lines.line(12),
      keyboard: this.keyboard,
      mouse: this.mouse,
      resetProcessor: () => this.resets++,
      a20: this.a20,
    })
  }

  save(): string {
    const state = [this.keyboard.save(), this.mouse.save(), this.controller.save()]
    return JSON.stringify(state, (_, value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value,
    )
  }

  /** Another machine in the same state. */
  migrate(clock: FakeClock): Machine {
    const next = new Machine(clock)
    next.keyboard.restore(structuredClone(this.keyboard.save()))
    next.mouse.restore(structuredClone(this.mouse.save()))
    next.controller.restore(structuredClone(this.controller.save()))
    next.a20.enabled = this.a20.enabled
    next.resets = this.resets
    this.keyboard[Symbol.dispose]()
    this.mouse[Symbol.dispose]()
    return next
  }
}

function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

/** What came of an input. */
export interface Outcome {
  readonly steps: number
  /** Bytes that the guest has read. */
  readonly answers: number
}

/** Run an input. Throws when something does not hold. */
export function runInput(input: Uint8Array): Outcome {
  const clock = new FakeClock()
  let machine = new Machine(clock)
  let at = 0
  let steps = 0
  let answers = 0
  const next = (): number => input[at++] ?? 0
  while (at < input.length) {
    steps++
    const operation = next()
    const { controller, keyboard, mouse, lines } = machine
    switch (operation & 0xf) {
      case 0:
      case 1:
      case 2:
        controller.commandPort.write(0, 1, next())
        break
      case 3:
      case 4:
      case 5:
        controller.dataPort.write(0, 1, next())
        break
      case 6:
        controller.commandPort.write(0, 1, 0xd4)
        controller.dataPort.write(0, 1, next())
        break
      case 7:
      case 8: {
        const status = controller.commandPort.read(0, 1)
        const value = controller.dataPort.read(0, 1)
        must(Number.isInteger(value) && value >= 0 && value <= 0xff, `data ${value}`)
        if ((status & 1) !== 0) answers++
        break
      }
      case 9: {
        const size = SIZES[next() % 3] ?? 1
        const port = (operation & 0x10) === 0 ? controller.dataPort : controller.commandPort
        if ((operation & 0x20) === 0) {
          const value = port.read(0, size)
          must(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size), `read ${value}`)
        } else port.write(0, size, next() * 0x0101_0101)
        break
      }
      case 10:
      case 11:
        keyboard.key(CODES[next() % CODES.length] ?? '', (operation & 0x10) === 0)
        break
      case 12:
        mouse.move((next() - 128) * ((operation >> 4) + 1), (next() - 128) * ((operation >> 4) + 1))
        break
      case 13:
        if ((operation & 0x10) === 0) mouse.wheel(next() - 128)
        else mouse.button(next() & 7, (operation & 0x20) === 0)
        break
      case 14:
        clock.advance(next() * 2e6)
        break
      default: {
        const before = machine.save()
        machine = machine.migrate(clock)
        const after = machine.save()
        must(before === after, `a migration changed ${before} to ${after}`)
        must(before.length < 16_384, `a state of ${before.length} characters`)
        if ((operation & 0xf0) === 0) {
          machine.keyboard.reset()
          machine.mouse.reset()
          machine.controller.reset()
        }
      }
    }
    // One byte at a time is at port 0x60, and its interrupt is one of the two.
    must(!(lines.level(1) && lines.level(12)), 'both interrupts')
    const full = (machine.controller.commandPort.read(0, 1) & 1) !== 0
    must(full || machine.lines.asserted.length === 0, 'an interrupt without a byte')
    must(clock.armedTimers <= 2, 'timers are left behind')
  }
  machine.keyboard[Symbol.dispose]()
  machine.mouse[Symbol.dispose]()
  must(clock.armedTimers === 0, 'a timer outlives its device')
  return { steps, answers }
}
