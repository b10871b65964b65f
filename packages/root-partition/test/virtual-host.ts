// The host's timers in virtual time: whenever nothing else is left to do, time goes on to the next deadline.

import type { HostTimer } from '../src/index.ts'

/** Turns of the event loop in which promises get as far as they can. */
const TURNS = 3

/** Timers that need no time. */
export class VirtualHost {
  /** Milliseconds since the beginning. */
  now = 0
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>()
  #waiting = false

  /** How many are armed. */
  get armed(): number {
    return this.#timers.size
  }

  readonly timer: HostTimer = (milliseconds, callback) => {
    const timer = { at: this.now + milliseconds, callback }
    this.#timers.add(timer)
    this.#wait()
    return () => void this.#timers.delete(timer)
  }

  #wait(turns = TURNS): void {
    if (this.#waiting && turns === TURNS) return
    this.#waiting = true
    setImmediate(() => {
      if (turns > 1) {
        this.#wait(turns - 1)
        return
      }
      this.#waiting = false
      const [next] = [...this.#timers].sort((a, b) => a.at - b.at)
      if (next === undefined) return
      this.#timers.delete(next)
      this.now = next.at
      this.#wait()
      next.callback()
    })
  }
}
