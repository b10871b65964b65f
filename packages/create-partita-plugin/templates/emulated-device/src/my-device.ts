// The device: registers, a timer and an interrupt line, and nothing of the machine around it.
//
// An interval timer. The guest writes a period in microseconds to PERIOD; each time that it is over, PENDING becomes 1 and the line rises, until the guest
// writes to PENDING. A period of 0 stops the timer.

import {
  type AccessSize,
  type Clock,
  type InterruptLine,
  PartitaError,
  type PortHandler,
  type SavedState,
  type Timer,
} from '@partita/interface'
import * as v from 'valibot'

/** Offsets from the first port. Registers are 32 bits wide; other accesses read zeros and write nothing. */
export const REGISTERS = { PERIOD: 0, PENDING: 4, LENGTH: 8 } as const

const NANOSECONDS = 1000
/** A guest that asks for more interrupts than that gets so many. */
const SHORTEST_PERIOD = 100
const STATE_VERSION = 1

const stateSchema = v.strictObject({
  period: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff)),
  pending: v.boolean(),
  deadline: v.nullable(v.pipe(v.number(), v.finite(), v.minValue(0))),
})

/** An interval timer with an interrupt. */
export class MyDevice implements PortHandler {
  readonly #clock: Clock
  readonly #line: InterruptLine
  readonly #timer: Timer
  #period = 0
  #pending = false

  constructor(clock: Clock, line: InterruptLine) {
    this.#clock = clock
    this.#line = line
    this.#timer = clock.createTimer(() => this.#expired())
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 4) return 0
    if (offset === REGISTERS.PERIOD) return this.#period
    return offset === REGISTERS.PENDING && this.#pending ? 1 : 0
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4) return
    if (offset === REGISTERS.PERIOD) this.#start(value)
    else if (offset === REGISTERS.PENDING) this.#setPending(false)
  }

  reset(): void {
    this.#start(0)
    this.#setPending(false)
  }

  save(): SavedState {
    const { deadline } = this.#timer
    return {
      version: STATE_VERSION,
      data: {
        period: this.#period,
        pending: this.#pending,
        deadline: deadline === Number.POSITIVE_INFINITY ? null : deadline,
      },
    }
  }

  restore({ version, data }: SavedState): void {
    const state = v.safeParse(stateSchema, data)
    if (version !== STATE_VERSION || !state.success)
      throw new PartitaError('ERR_STATE_INVALID', 'Not a state of @example/my-device')
    const { period, pending, deadline } = state.output
    this.#period = period
    this.#setPending(pending)
    if (deadline === null) this.#timer.cancel()
    else this.#timer.arm(deadline)
  }

  #start(period: number): void {
    this.#period = period
    if (period === 0) this.#timer.cancel()
    else this.#timer.arm(this.#clock.now() + this.#nanoseconds)
  }

  get #nanoseconds(): number {
    return Math.max(this.#period, SHORTEST_PERIOD) * NANOSECONDS
  }

  #expired(): void {
    // From now, not from the deadline: a machine that was paused does not make up for what it missed.
    this.#timer.arm(this.#clock.now() + this.#nanoseconds)
    this.#setPending(true)
  }

  #setPending(pending: boolean): void {
    this.#pending = pending
    this.#line.set(pending)
  }
}
