// The local APIC's timer (SDM vol. 3, 11.5.4): one-shot, periodic and TSC-deadline. Nothing counts: a running timer is the reference time at
// which it ends, and the count is worked out when it is read.

import type { Clock } from '@partita/interface'

/** What the timer counts with a divider of 1, in Hz. */
export const APIC_TIMER_FREQUENCY: number = 1_000_000_000
const NANOSECONDS_PER_TICK = 1e9 / APIC_TIMER_FREQUENCY

/** Values of the timer mode field in LVT timer. */
export const TIMER_MODE = { ONE_SHOT: 0, PERIODIC: 1, TSC_DEADLINE: 2, RESERVED: 3 } as const

/**
 * A periodic timer ends at most this often (nanoseconds): a guest that asks for a period of a few nanoseconds gets every so manieth end of
 * it, and the host is not busy with nothing else.
 */
const MINIMUM_PERIOD = 10_000

const NEVER: number = Number.POSITIVE_INFINITY

/** What the timer needs. */
export interface ApicTimerOptions {
  readonly clock: Clock
  readTsc(): bigint
  readonly tscFrequency: number
  /** The timer has come to its end. */
  fire(): void
}

export class ApicTimer {
  readonly #options: ApicTimerOptions
  readonly #clock: Clock
  #mode = 0
  #divideConfiguration = 0
  /** Nanoseconds of one count. */
  #tick: number = 2 * NANOSECONDS_PER_TICK
  #initialCount = 0
  #tscDeadline = 0n
  /** Reference time of the end; Infinity when it does not run. */
  deadline: number = NEVER

  constructor(options: ApicTimerOptions) {
    this.#options = options
    this.#clock = options.clock
  }

  get initialCount(): number {
    return this.#initialCount
  }

  get divideConfiguration(): number {
    return this.#divideConfiguration
  }

  /** IA32_TSC_DEADLINE: 0 when nothing is armed. */
  get tscDeadline(): bigint {
    return this.#tscDeadline
  }

  /** A change from or to TSC-deadline mode disarms the timer; between the others it goes on. */
  setMode(mode: number): void {
    if ((mode === TIMER_MODE.TSC_DEADLINE) !== (this.#mode === TIMER_MODE.TSC_DEADLINE)) {
      this.#initialCount = 0
      this.#tscDeadline = 0n
      this.deadline = NEVER
    }
    this.#mode = mode
  }

  /** Ignored in TSC-deadline mode. 0 stops the timer. */
  setInitialCount(count: number): void {
    if (this.#mode === TIMER_MODE.TSC_DEADLINE) return
    this.#initialCount = count
    this.deadline = count === 0 ? NEVER : this.#clock.now() + count * this.#tick
  }

  /** A count that runs goes on from where it is, at the new rate. */
  setDivideConfiguration(value: number): void {
    const count = this.currentCount()
    this.#divideConfiguration = value & 0xb
    // Bits 0, 1 and 3 are a power of two: 000 is 2, 110 is 128, 111 is 1.
    const power = (value & 3) | ((value >>> 1) & 4)
    this.#tick = 2 ** ((power + 1) & 7) * NANOSECONDS_PER_TICK
    if (count !== 0) this.deadline = this.#clock.now() + count * this.#tick
  }

  currentCount(): number {
    if (this.#mode === TIMER_MODE.TSC_DEADLINE || this.deadline === NEVER) return 0
    const left = Math.ceil((this.deadline - this.#clock.now()) / this.#tick)
    if (left <= 0) return 0
    // The deadline may be some periods away: see MINIMUM_PERIOD.
    return left > this.#initialCount ? ((left - 1) % this.#initialCount) + 1 : left
  }

  /** Arm for a value of the TSC; 0 disarms. Ignored outside TSC-deadline mode. */
  setTscDeadline(value: bigint): void {
    if (this.#mode !== TIMER_MODE.TSC_DEADLINE) return
    this.#tscDeadline = value
    this.tscChanged()
  }

  /** The TSC was set: the end of TSC-deadline mode is at another reference time now. */
  tscChanged(): void {
    if (this.#mode !== TIMER_MODE.TSC_DEADLINE) return
    if (this.#tscDeadline === 0n) {
      this.deadline = NEVER
      return
    }
    const now = this.#clock.now()
    const left = this.#tscDeadline - this.#options.readTsc()
    // More than a nanosecond of this may be lost in rounding when the deadline is years away; check() looks at the TSC itself.
    this.deadline = left <= 0n ? now : Math.ceil(now + (Number(left) * 1e9) / this.#options.tscFrequency)
  }

  /** Fire if the end has come. */
  check(): void {
    if (this.deadline === NEVER) return
    const now = this.#clock.now()
    if (now < this.deadline) return
    if (this.#mode === TIMER_MODE.PERIODIC && this.#initialCount !== 0) {
      const period = this.#initialCount * this.#tick
      const step = period >= MINIMUM_PERIOD ? period : Math.ceil(MINIMUM_PERIOD / period) * period
      this.deadline += (Math.floor((now - this.deadline) / step) + 1) * step
    } else if (this.#mode === TIMER_MODE.TSC_DEADLINE) {
      if (this.#options.readTsc() < this.#tscDeadline) {
        this.tscChanged()
        if (this.deadline <= now) this.deadline = now + 1
        return
      }
      this.#tscDeadline = 0n
      this.deadline = NEVER
    } else this.deadline = NEVER
    this.#options.fire()
  }

  reset(): void {
    this.#mode = TIMER_MODE.ONE_SHOT
    this.#initialCount = 0
    this.#tscDeadline = 0n
    this.deadline = NEVER
    this.setDivideConfiguration(0)
  }

  /** Take over what was saved. */
  restore(
    mode: number,
    divideConfiguration: number,
    initialCount: number,
    tscDeadline: bigint,
    deadline: number,
  ): void {
    this.reset()
    this.setDivideConfiguration(divideConfiguration)
    this.#mode = mode
    this.#initialCount = initialCount
    this.#tscDeadline = tscDeadline
    this.deadline = deadline
  }
}
