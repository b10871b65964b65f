// A clock that tests move by hand. Implements Clock: one-shot timers fire in order of their deadlines, each at its own deadline.

import type { Clock, Timer } from '@partita/interface'

class FakeTimer implements Timer {
  readonly #clock: FakeClock
  readonly callback: () => void
  deadline: number = Number.POSITIVE_INFINITY

  constructor(clock: FakeClock, callback: () => void) {
    this.#clock = clock
    this.callback = callback
  }

  arm(deadline: number): void {
    if (Number.isNaN(deadline)) throw new RangeError('a timer was armed with NaN')
    this.deadline = deadline
    this.#clock.track(this)
  }

  cancel(): void {
    this.deadline = Number.POSITIVE_INFINITY
    this.#clock.untrack(this)
  }
}

/**
 * Time that stands still until a test advances it.
 *
 * @example
 * ```ts
 * const clock = new FakeClock()
 * const timer = clock.createTimer(() => log.push(clock.now()))
 * timer.arm(1_000)
 * clock.advance(5_000) // the callback sees now() === 1000
 * ```
 */
export class FakeClock implements Clock {
  #now = 0
  /** Wall time at power-on, milliseconds since 1970. */
  readonly wallStart: number
  readonly #armed: Set<FakeTimer> = new Set()

  constructor(wallStart: number = Date.UTC(2024, 1, 29, 12, 34, 56)) {
    this.wallStart = wallStart
  }

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return this.wallStart + this.#now / 1e6
  }

  createTimer(callback: () => void): Timer {
    return new FakeTimer(this, callback)
  }

  /** The earliest deadline of an armed timer, or `Infinity`. */
  get nextDeadline(): number {
    let next = Number.POSITIVE_INFINITY
    for (const timer of this.#armed) next = Math.min(next, timer.deadline)
    return next
  }

  /** How many timers are armed: 0 after a well-behaved device is gone. */
  get armedTimers(): number {
    return this.#armed.size
  }

  /**
   * Move `nanoseconds` ahead and fire what falls due, in order.
   * @throws RangeError when timers that re-arm themselves fire more than a million times
   */
  advance(nanoseconds: number): void {
    const end = this.#now + nanoseconds
    for (let fired = 0; ; fired++) {
      if (fired > 1_000_000) throw new RangeError('timers fire without end')
      let next: FakeTimer | undefined
      for (const timer of this.#armed)
        if (timer.deadline <= end && (next === undefined || timer.deadline < next.deadline)) next = timer
      if (next === undefined) break
      this.#now = Math.max(this.#now, next.deadline)
      const { callback } = next
      next.cancel()
      callback()
    }
    this.#now = end
  }

  /** Move ahead without firing anything, as inside a slice of the processor: late timers fire at the next {@link FakeClock.advance}. */
  skip(nanoseconds: number): void {
    this.#now += nanoseconds
  }

  /** @internal */
  track(timer: FakeTimer): void {
    if (timer.deadline === Number.POSITIVE_INFINITY) this.#armed.delete(timer)
    else this.#armed.add(timer)
  }

  /** @internal */
  untrack(timer: FakeTimer): void {
    this.#armed.delete(timer)
  }
}
