// A token bucket: bits per second, with a burst of a twentieth of a second and at least one largest frame.

import type { Clock, Timer } from '@partita/interface'
import { MAXIMUM_FRAME_LENGTH } from '@partita/interface'

const BURST_SECONDS = 0.05

/** A limit; one of 0 bits per second is none. */
export class RateLimit implements Disposable {
  readonly #clock: Clock
  readonly #bytesPerNanosecond: number
  readonly #capacity: number
  readonly #timer: Timer
  #tokens: number
  #updated: number

  /** `onRoom` is called when there are tokens again after {@link RateLimit.mayPass} said no. */
  constructor(clock: Clock, bitsPerSecond: number, onRoom: () => void) {
    this.#clock = clock
    this.#bytesPerNanosecond = bitsPerSecond / 8e9
    this.#capacity = Math.max((bitsPerSecond / 8) * BURST_SECONDS, MAXIMUM_FRAME_LENGTH)
    this.#tokens = this.#capacity
    this.#updated = clock.now()
    this.#timer = clock.createTimer(onRoom)
  }

  /** Whether there is a limit at all. */
  get limited(): boolean {
    return this.#bytesPerNanosecond > 0
  }

  /** Whether a frame may pass now. If not, a timer is armed, and `onRoom` comes. The bucket may go below zero by one frame, so that a large one passes at all. */
  mayPass(): boolean {
    if (!this.limited) return true
    const now = this.#clock.now()
    this.#tokens = Math.min(this.#capacity, this.#tokens + (now - this.#updated) * this.#bytesPerNanosecond)
    this.#updated = now
    if (this.#tokens > 0) return true
    if (this.#timer.deadline === Number.POSITIVE_INFINITY) {
      this.#timer.arm(now + Math.ceil((1 - this.#tokens) / this.#bytesPerNanosecond))
    }
    return false
  }

  /** A frame of that many bytes has passed. */
  spend(bytes: number): void {
    if (this.limited) this.#tokens -= bytes
  }

  [Symbol.dispose](): void {
    this.#timer.cancel()
  }
}
