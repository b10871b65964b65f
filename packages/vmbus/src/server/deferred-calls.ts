// Calls that are to be made soon, but not inside of the caller: by a timer of the partition's clock, which stands while the VM does.

import type { Clock, Timer } from '@partita/interface'

/** A queue behind one timer. */
export class DeferredCalls {
  readonly #clock: Clock
  readonly #timer: Timer
  #calls: (() => void)[] = []

  constructor(clock: Clock) {
    this.#clock = clock
    this.#timer = clock.createTimer(() => this.#run())
  }

  add(call: () => void): void {
    this.#calls.push(call)
    if (this.#calls.length === 1) this.#timer.arm(this.#clock.now())
  }

  clear(): void {
    this.#calls = []
    this.#timer.cancel()
  }

  #run(): void {
    const calls = this.#calls
    this.#calls = []
    for (const call of calls) call()
  }
}
