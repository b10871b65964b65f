// A synthetic timer (TLFS, "Timers"): one-shot or periodic, lazy, enabled by its count, with a message or, in direct mode, an interrupt at its expiration.

import type { Clock, SavedValue, Timer } from '@partita/interface'
import { stateInvalid, stateObject, stateU64 } from './saved-values.ts'

/** Configuration register. */
const STIMER = {
  ENABLED: 0x1n,
  PERIODIC: 0x2n,
  LAZY: 0x4n,
  AUTO_ENABLE: 0x8n,
  VECTOR_SHIFT: 4n,
  DIRECT: 0x1000n,
  SINT_SHIFT: 16n,
} as const
const RESERVED = ~0xf1fffn

/** Nanoseconds of a unit of the count. */
const UNIT = 100
/** Nanoseconds: a shorter period would leave the guest no time for anything else. */
const MINIMUM_PERIOD = 20_000
/** A timer that is behind by more periods than this skips some. */
const CATCH_UP_LIMIT = 8

/** What a timer works with. */
export interface SyntheticTimerOptions {
  /** 0 to 3. */
  readonly index: number
  readonly clock: Clock
  /** Interrupt the processor. */
  raise(vector: number): void
  /** Post the expiration message to a SINT; the time is in units of 100 ns. */
  message(sint: number, expirationTime: bigint): void
  /** An expiration message that has not been delivered is not wanted any longer. */
  cancelMessage(): void
}

export class SyntheticTimer {
  readonly #options: SyntheticTimerOptions
  readonly #timer: Timer
  #config = 0n
  #count = 0n
  /** Reference time (nanoseconds) of the next expiration; the host's timer may be later. */
  #due: number = Infinity

  constructor(options: SyntheticTimerOptions) {
    this.#options = options
    this.#timer = options.clock.createTimer(() => this.#expire())
  }

  get config(): bigint {
    return this.#config
  }

  get count(): bigint {
    return this.#count
  }

  /** False for #GP. */
  writeConfig(value: bigint): boolean {
    if ((value & RESERVED) !== 0n) return false
    this.#config = value
    this.#start()
    return true
  }

  writeCount(value: bigint): boolean {
    this.#count = value
    if (value === 0n) this.#config &= ~STIMER.ENABLED
    else if ((this.#config & STIMER.AUTO_ENABLE) !== 0n) this.#config |= STIMER.ENABLED
    this.#start()
    return true
  }

  #period(): number {
    return Math.max(Number(this.#count) * UNIT, MINIMUM_PERIOD)
  }

  /** Begin anew with the registers as they are. */
  #start(): void {
    this.#timer.cancel()
    this.#due = Infinity
    this.#options.cancelMessage()
    const config = this.#config
    // SINT 0 is the hypervisor's own.
    if ((config & STIMER.DIRECT) === 0n && config >> STIMER.SINT_SHIFT === 0n) this.#config &= ~STIMER.ENABLED
    if ((this.#config & STIMER.ENABLED) === 0n || this.#count === 0n) return
    const now = this.#options.clock.now()
    if ((config & STIMER.PERIODIC) !== 0n) {
      this.#due = now + this.#period()
      this.#timer.arm(this.#due)
      return
    }
    this.#due = Number(this.#count) * UNIT
    if (this.#due <= now) this.#expire()
    else this.#timer.arm(this.#due)
  }

  #expire(): void {
    const due = this.#due
    const config = this.#config
    let expiration = this.#count
    if ((config & STIMER.PERIODIC) === 0n) {
      this.#config &= ~STIMER.ENABLED
      this.#due = Infinity
    } else {
      expiration = BigInt(Math.floor(due / UNIT))
      this.#schedule(due)
    }
    if ((config & STIMER.DIRECT) !== 0n) this.#options.raise(Number((config >> STIMER.VECTOR_SHIFT) & 0xffn))
    else this.#options.message(Number((config >> STIMER.SINT_SHIFT) & 0xfn), expiration)
  }

  /** The expiration after the one at `due`. One that is behind catches up in half periods, or, lazy, skips what it missed. */
  #schedule(due: number): void {
    const now = this.#options.clock.now()
    const period = this.#period()
    let next = due + period
    if (next <= now) {
      const missed = Math.floor((now - due) / period)
      const lazy = (this.#config & STIMER.LAZY) !== 0n
      const skipped = lazy ? missed : Math.max(0, missed - CATCH_UP_LIMIT)
      next += skipped * period
    }
    this.#due = next
    this.#timer.arm(next > now ? next : now + period / 2)
  }

  reset(): void {
    this.#timer.cancel()
    this.#due = Infinity
    this.#config = 0n
    this.#count = 0n
  }

  save(): SavedValue {
    return { config: this.#config, count: this.#count, due: this.#due === Infinity ? null : this.#due }
  }

  /** The message of an expiration is the SynIC's state. @throws HypervisorError `ERR_STATE_INVALID` */
  restore(saved: SavedValue | undefined): void {
    const { config, count, due } = stateObject(saved, 'timer')
    const configValue = stateU64(config, 'timer.config')
    if ((configValue & RESERVED) !== 0n) stateInvalid('timer.config')
    const countValue = stateU64(count, 'timer.count')
    if (due !== null && !(typeof due === 'number' && due >= 0 && due < Infinity)) stateInvalid('timer.due')
    this.reset()
    this.#config = configValue
    this.#count = countValue
    if (due === null) return
    this.#due = due
    this.#timer.arm(due)
  }
}
