// One counter of the Intel 8254 programmable interval timer (data sheet 231164-005). A counter is not stepped: its count and its output are computed
// from the oscillator's tick at which it was loaded. A count that is written is taken to be in the counting element at once, where the data sheet has one more clock.

import * as v from 'valibot'
import { type StateData, safeInteger, unsigned } from './chipset-error.ts'

/** Control word, bits 5–4. */
export const ACCESS = { LATCH: 0, LOW: 1, HIGH: 2, LOW_HIGH: 3 } as const
type AccessMode = 1 | 2 | 3
const STATUS = { OUT: 0x80, NULL_COUNT: 0x40 } as const

const byte = unsigned(8)

/** A saved counter. */
export interface I8254CounterState {
  readonly mode: number
  readonly access: number
  readonly bcd: boolean
  readonly gate: boolean
  readonly reload: number
  readonly pendingReload: number
  readonly loaded: boolean
  readonly start: number
  readonly held: number
  readonly writeLow: number
  readonly writeHighNext: boolean
  readonly readHighNext: boolean
  readonly latch: number
  readonly statusLatch: number
}

/** Shape of a saved counter. */
export const i8254CounterState: v.GenericSchema<unknown, I8254CounterState> = v.strictObject({
  mode: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(5)),
  access: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(3)),
  bcd: v.boolean(),
  gate: v.boolean(),
  reload: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0x1_0000)),
  pendingReload: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0x1_0000)),
  loaded: v.boolean(),
  start: safeInteger,
  held: v.pipe(v.number(), v.safeInteger(), v.minValue(-1)),
  writeLow: byte,
  writeHighNext: v.boolean(),
  readHighNext: v.boolean(),
  latch: v.pipe(v.number(), v.integer(), v.minValue(-1), v.maxValue(0xffff)),
  statusLatch: v.pipe(v.number(), v.integer(), v.minValue(-1), v.maxValue(0xff)),
})

function fromBcd(value: number): number {
  return (value & 0xf) + ((value >> 4) & 0xf) * 10 + ((value >> 8) & 0xf) * 100 + ((value >> 12) & 0xf) * 1000
}

function toBcd(value: number): number {
  return (
    (value % 10) |
    ((Math.floor(value / 10) % 10) << 4) |
    ((Math.floor(value / 100) % 10) << 8) |
    ((Math.floor(value / 1000) % 10) << 12)
  )
}

/** One of the three counters. Times are ticks of its clock input. */
export class I8254Counter {
  readonly #initialGate: boolean
  #mode = 0
  #access: AccessMode = ACCESS.LOW_HIGH
  #bcd = false
  #gate: boolean
  /** The count in use, 1–0x10000. */
  #reload = 0x1_0000
  /** A count that takes over at the end of the period (modes 2 and 3) or at the trigger (modes 1 and 5); 0 when there is none. */
  #pendingReload = 0
  /** A count has been written, or triggered, since the control word. */
  #loaded = false
  /** The tick at which counting began. */
  #start = 0
  /** Ticks that had been counted when the gate stopped it, or -1. */
  #held = -1
  #writeLow = 0
  #writeHighNext = false
  #readHighNext = false
  /** Latched count, -1 when none. */
  #latch = -1
  #statusLatch = -1

  constructor(gate: boolean) {
    this.#initialGate = gate
    this.#gate = gate
  }

  get mode(): number {
    return this.#mode
  }

  /** Modes 2 and 3 repeat without being asked. */
  get periodic(): boolean {
    return this.#mode === 2 || this.#mode === 3
  }

  get gate(): boolean {
    return this.#gate
  }

  /** In modes 2 and 3 a new count takes over when the period in which it was written ends. */
  #settle(tick: number): void {
    if (this.#pendingReload === 0 || !this.periodic || !this.#loaded || this.#held >= 0) return
    const periods = Math.floor((tick - this.#start) / this.#reload)
    if (periods < 1) return
    this.#start += this.#reload
    this.#reload = this.#pendingReload
    this.#pendingReload = 0
  }

  #elapsed(tick: number): number {
    return this.#held >= 0 ? this.#held : Math.max(0, tick - this.#start)
  }

  /** The OUT pin. */
  output(tick: number): boolean {
    this.#settle(tick)
    const idle = this.#mode !== 0
    if (!this.#loaded) return idle
    const elapsed = this.#elapsed(tick)
    switch (this.#mode) {
      case 0:
      case 1:
        return elapsed >= this.#reload
      case 2:
        return this.#held >= 0 || elapsed % this.#reload !== this.#reload - 1
      case 3:
        return this.#held >= 0 || elapsed % this.#reload < Math.ceil(this.#reload / 2)
      default:
        return elapsed !== this.#reload
    }
  }

  /** The next tick after `tick` at which OUT rises, or Infinity. */
  nextRise(tick: number): number {
    this.#settle(tick)
    if (!this.#loaded || this.#held >= 0) return Number.POSITIVE_INFINITY
    switch (this.#mode) {
      case 0:
      case 1: {
        const rise = this.#start + this.#reload
        return rise > tick ? rise : Number.POSITIVE_INFINITY
      }
      case 2:
      case 3: {
        // A new count has taken over since.
        if (tick < this.#start) return this.#start
        const first = this.#start + this.#reload
        if (tick < first) return first
        return this.#start + (Math.floor((tick - this.#start) / this.#reload) + 1) * this.#reload
      }
      default: {
        const rise = this.#start + this.#reload + 1
        return rise > tick ? rise : Number.POSITIVE_INFINITY
      }
    }
  }

  /** The counting element as it is read. */
  #count(tick: number): number {
    this.#settle(tick)
    const modulus = this.#bcd ? 10_000 : 0x1_0000
    let count = this.#reload
    if (this.#loaded) {
      const elapsed = this.#elapsed(tick)
      if (this.#mode === 2) count = this.#reload - (elapsed % this.#reload)
      else if (this.#mode === 3) count = this.#squareWaveCount(elapsed % this.#reload)
      else count = (((this.#reload - elapsed) % modulus) + modulus) % modulus
    }
    count %= modulus
    return this.#bcd ? toBcd(count) : count
  }

  /** Mode 3 counts the even part of the count down by twos, twice a period. */
  #squareWaveCount(phase: number): number {
    const even = this.#reload - (this.#reload & 1)
    const high = Math.ceil(this.#reload / 2)
    return even - 2 * (phase < high ? phase : phase - high)
  }

  /** A control word for this counter other than a latch command. */
  control(value: number): void {
    this.#access = ((value >> 4) & 3) as AccessMode
    const mode = (value >> 1) & 7
    // Modes 2 and 3 ignore the highest bit.
    this.#mode = mode > 5 ? mode - 4 : mode
    this.#bcd = (value & 1) !== 0
    this.#loaded = false
    this.#pendingReload = 0
    this.#held = -1
    this.#writeHighNext = false
    this.#readHighNext = false
    this.#latch = -1
    this.#statusLatch = -1
  }

  /** Counter latch command: a second one before the count is read is ignored (data sheet, "Counter latch command"). */
  latchCount(tick: number): void {
    if (this.#latch < 0) this.#latch = this.#count(tick)
  }

  /** Read-back command (data sheet), status byte. */
  latchStatus(tick: number): void {
    if (this.#statusLatch >= 0) return
    const nullCount = !this.#loaded || this.#pendingReload !== 0
    this.#statusLatch =
      (this.output(tick) ? STATUS.OUT : 0) |
      (nullCount ? STATUS.NULL_COUNT : 0) |
      (this.#access << 4) |
      (this.#mode << 1) |
      (this.#bcd ? 1 : 0)
  }

  read(tick: number): number {
    if (this.#statusLatch >= 0) {
      const status = this.#statusLatch
      this.#statusLatch = -1
      return status
    }
    const count = this.#latch >= 0 ? this.#latch : this.#count(tick)
    if (this.#access === ACCESS.LOW_HIGH) {
      this.#readHighNext = !this.#readHighNext
      if (this.#readHighNext) return count & 0xff
      this.#latch = -1
      return count >> 8
    }
    this.#latch = -1
    return this.#access === ACCESS.LOW ? count & 0xff : count >> 8
  }

  write(value: number, tick: number): void {
    switch (this.#access) {
      case ACCESS.LOW:
        this.#load(value, tick)
        break
      case ACCESS.HIGH:
        this.#load(value << 8, tick)
        break
      default:
        if (this.#writeHighNext) {
          this.#writeHighNext = false
          this.#load(this.#writeLow | (value << 8), tick)
        } else {
          this.#writeLow = value
          this.#writeHighNext = true
          // In mode 0 the first byte disables counting and sets OUT low at once.
          if (this.#mode === 0) this.#loaded = false
        }
        break
    }
  }

  #load(value: number, tick: number): void {
    this.#settle(tick)
    const count = this.#bcd ? fromBcd(value) || 10_000 : value || 0x1_0000
    if (this.#mode === 1 || this.#mode === 5) {
      // Loaded at the trigger; a one-shot in progress is not disturbed.
      this.#pendingReload = count
      return
    }
    if (this.periodic && this.#loaded) {
      // The period that is running now is the last one with the old count.
      if (this.#held < 0) this.#start += Math.max(0, Math.floor((tick - this.#start) / this.#reload)) * this.#reload
      this.#pendingReload = count
      return
    }
    this.#begin(count, tick)
    if (!this.#gate) this.#held = 0
  }

  #begin(count: number, tick: number): void {
    this.#reload = count
    this.#pendingReload = 0
    this.#loaded = true
    this.#start = tick
    this.#held = -1
  }

  setGate(gate: boolean, tick: number): void {
    if (gate === this.#gate) return
    this.#settle(tick)
    this.#gate = gate
    switch (this.#mode) {
      case 0:
      case 4:
        if (!this.#loaded) break
        if (gate) {
          this.#start = tick - Math.max(this.#held, 0)
          this.#held = -1
        } else this.#held = tick - this.#start
        break
      case 1:
      case 5:
        // The trigger is a rising edge; the level does not matter.
        if (gate && (this.#loaded || this.#pendingReload !== 0)) this.#begin(this.#pendingReload || this.#reload, tick)
        break
      default:
        if (!this.#loaded) break
        if (gate) this.#begin(this.#pendingReload || this.#reload, tick)
        else this.#held = (tick - this.#start) % this.#reload
        break
    }
  }

  reset(): void {
    this.control(0x30)
    this.#gate = this.#initialGate
    this.#reload = 0x1_0000
    this.#start = 0
    this.#writeLow = 0
  }

  save(): StateData & I8254CounterState {
    return {
      mode: this.#mode,
      access: this.#access,
      bcd: this.#bcd,
      gate: this.#gate,
      reload: this.#reload,
      pendingReload: this.#pendingReload,
      loaded: this.#loaded,
      start: this.#start,
      held: this.#held,
      writeLow: this.#writeLow,
      writeHighNext: this.#writeHighNext,
      readHighNext: this.#readHighNext,
      latch: this.#latch,
      statusLatch: this.#statusLatch,
    }
  }

  restore(state: I8254CounterState): void {
    this.#mode = state.mode
    this.#access = state.access as AccessMode
    this.#bcd = state.bcd
    this.#gate = state.gate
    this.#reload = state.reload
    this.#pendingReload = state.pendingReload
    this.#loaded = state.loaded
    this.#start = state.start
    this.#held = state.held
    this.#writeLow = state.writeLow
    this.#writeHighNext = state.writeHighNext
    this.#readHighNext = state.readHighNext
    this.#latch = state.latch
    this.#statusLatch = state.statusLatch
  }
}
