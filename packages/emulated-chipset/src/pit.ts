// The 8254 of a PC: counter 0 drives ISA interrupt 0, counter 1 is the DRAM refresh, counter 2 the speaker, at ports 0x40–0x43 and, for the speaker and the
// refresh detect bit, system control port B at 0x61 (82371AB data sheet, register NMISC).

import {
  type Clock,
  clockToken,
  definePlugin,
  type InterruptLine,
  interruptLinesToken,
  type Plugin,
  type PluginInstance,
  type PortIo,
  portIoToken,
  type SavedState,
  type Timer,
} from '@partita/interface'
import * as v from 'valibot'
import { ByteRegisters } from './byte-registers.ts'
import { checkState, unsigned } from './chipset-error.ts'
import { Oscillator } from './frequency.ts'
import { ACCESS, I8254Counter, type I8254CounterState, i8254CounterState } from './i8254.ts'

const NAME = '@partita/emulated-chipset/pit'
/** 14.31818 MHz / 12. */
export const PIT_FREQUENCY = 1_193_182
/** Port 0x61: gate of counter 2, speaker data, parity and channel check enables are written; the rest is status. */
const PORT_B = { GATE2: 0x01, WRITABLE: 0x0f, REFRESH: 0x10, OUT2: 0x20 } as const
/** The refresh request toggles every 15.085 µs. */
const REFRESH_PERIOD = 15_085
/** Interrupt 0 comes at most this often (ns): a guest that programs megahertz would leave no time for anything else. */
const SHORTEST_PERIOD = 50_000
const READ_BACK = { NO_COUNT: 0x20, NO_STATUS: 0x10 } as const

const stateSchema: v.GenericSchema<
  unknown,
  { counters: readonly I8254CounterState[]; portB: number; lastRise: number }
> = v.strictObject({
  counters: v.pipe(v.array(i8254CounterState), v.length(3)),
  portB: unsigned(4),
  lastRise: v.pipe(v.number(), v.safeInteger(), v.minValue(-1)),
})

class PortB extends ByteRegisters {
  readonly #pit: Pit

  constructor(pit: Pit) {
    super()
    this.#pit = pit
  }

  protected override readByte(): number {
    return this.#pit.readPortB()
  }

  protected override writeByte(_offset: number, value: number): void {
    this.#pit.writePortB(value)
  }
}

/** The timer with its three counters. */
export class Pit extends ByteRegisters {
  readonly #clock: Clock
  readonly #line: InterruptLine
  readonly #timer: Timer
  readonly #oscillator: Oscillator = new Oscillator(PIT_FREQUENCY)
  readonly #counter0: I8254Counter = new I8254Counter(true)
  readonly #counter1: I8254Counter = new I8254Counter(true)
  readonly #counter2: I8254Counter = new I8254Counter(false)
  #portB = 0
  /** The tick up to which rises of OUT 0 have been delivered. */
  #lastRise = -1

  constructor(ports: PortIo, line: InterruptLine, clock: Clock, owned: DisposableStack) {
    super()
    this.#clock = clock
    this.#line = line
    this.#timer = clock.createTimer(() => this.#fire())
    owned.defer(() => this.#timer.cancel())
    owned.defer(() => line.set(false))
    owned.use(ports.claim(0x40, 4, this))
    owned.use(ports.claim(0x61, 1, new PortB(this)))
    this.reset()
  }

  #tick(): number {
    return this.#oscillator.ticks(this.#clock.now())
  }

  #counter(index: number): I8254Counter {
    return index === 0 ? this.#counter0 : index === 1 ? this.#counter1 : this.#counter2
  }

  protected override readByte(offset: number): number {
    // The control word register cannot be read.
    return offset === 3 ? 0xff : this.#counter(offset).read(this.#tick())
  }

  protected override writeByte(offset: number, value: number): void {
    const tick = this.#tick()
    if (offset === 3) this.#control(value, tick)
    else {
      this.#counter(offset).write(value, tick)
      if (offset === 0) this.#schedule(tick)
    }
  }

  #control(value: number, tick: number): void {
    const select = value >> 6
    if (select === 3) {
      for (let index = 0; index < 3; index++) {
        if ((value & (2 << index)) === 0) continue
        const counter = this.#counter(index)
        if ((value & READ_BACK.NO_COUNT) === 0) counter.latchCount(tick)
        if ((value & READ_BACK.NO_STATUS) === 0) counter.latchStatus(tick)
      }
      return
    }
    const counter = this.#counter(select)
    if (((value >> 4) & 3) === ACCESS.LATCH) {
      counter.latchCount(tick)
      return
    }
    counter.control(value)
    if (select === 0) this.#schedule(tick)
  }

  /** After counter 0 was programmed: drive the line, and arrange for the next rise. */
  #schedule(tick: number): void {
    this.#lastRise = tick
    // The low half of a period is left out (here and in #fire): a slice of the processor may be longer, and the edge would be lost.
    this.#line.set(this.#counter0.periodic || this.#counter0.output(tick))
    this.#arm(tick)
  }

  #arm(tick: number): void {
    const rise = this.#counter0.nextRise(tick)
    if (rise === Number.POSITIVE_INFINITY) this.#timer.cancel()
    else
      this.#timer.arm(
        Math.max(
          this.#oscillator.nanoseconds(rise),
          this.#clock.now() + (this.#counter0.periodic ? SHORTEST_PERIOD : 0),
        ),
      )
  }

  #fire(): void {
    const tick = this.#tick()
    if (this.#counter0.nextRise(this.#lastRise) <= tick) {
      this.#line.set(false)
      this.#line.set(true)
      this.#lastRise = tick
    }
    this.#arm(tick)
  }

  /** Port 0x61: the gates and the output of counter 2. */
  readPortB(): number {
    const now = this.#clock.now()
    const refresh = Math.floor(now / REFRESH_PERIOD) % 2 === 1 ? PORT_B.REFRESH : 0
    const out2 = this.#counter2.output(this.#oscillator.ticks(now)) ? PORT_B.OUT2 : 0
    return this.#portB | refresh | out2
  }

  /** Port 0x61: gate of counter 2, and the speaker. */
  writePortB(value: number): void {
    this.#portB = value & PORT_B.WRITABLE
    this.#counter2.setGate((value & PORT_B.GATE2) !== 0, this.#tick())
  }

  reset(): void {
    this.#counter0.reset()
    this.#counter1.reset()
    this.#counter2.reset()
    this.#portB = 0
    this.#lastRise = -1
    this.#timer.cancel()
    this.#line.set(false)
  }

  save(): SavedState {
    return {
      version: 1,
      data: {
        counters: [this.#counter0.save(), this.#counter1.save(), this.#counter2.save()],
        portB: this.#portB,
        lastRise: this.#lastRise,
      },
    }
  }

  restore(state: SavedState): void {
    const data = checkState(NAME, state, 1, stateSchema)
    data.counters.forEach((counter, index) => {
      this.#counter(index).restore(counter)
    })
    this.#portB = data.portB
    this.#lastRise = data.lastRise
    const idle = this.#lastRise < 0
    this.#line.set(!idle && (this.#counter0.periodic || this.#counter0.output(this.#lastRise)))
    // A rise that came due while the state was away is late, not lost.
    const next = idle ? Number.POSITIVE_INFINITY : this.#counter0.nextRise(this.#lastRise)
    if (next === Number.POSITIVE_INFINITY) this.#timer.cancel()
    else this.#timer.arm(this.#oscillator.nanoseconds(next))
  }
}

/** Options of `@partita/emulated-chipset/pit`: none. */
export type PitOptions = Record<string, never>

/** The plug-in: the 8254 with the speaker port. */
const plugin: Plugin<PitOptions> = definePlugin<PitOptions>({
  name: NAME,
  kind: 'emulated-device',
  contract: 1,
  description: 'An 8254 interval timer with the speaker port',
  options: v.strictObject({}),
  needs: [portIoToken, interruptLinesToken, clockToken],
  provides: [],
  create: (context): PluginInstance => {
    using owning = new DisposableStack()
    const pit = new Pit(
      context.get(portIoToken),
      context.get(interruptLinesToken).line(0),
      context.get(clockToken),
      owning,
    )
    const owned = owning.move()
    return {
      save: () => pit.save(),
      restore: (state) => pit.restore(state),
      reset: () => pit.reset(),
      async [Symbol.asyncDispose]() {
        owned.dispose()
      },
    }
  },
})

export default plugin
