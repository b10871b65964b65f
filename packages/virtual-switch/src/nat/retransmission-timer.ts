// When a connection sends again what nobody has acknowledged (RFC 6298): the time-out follows the round-trip times that are measured, and doubles each time that it passes.

import { sequenceDistance } from './tcp-segment.ts'

/** RFC 6298, 2.1 and 2.4: not below a second, since a guest may be away for long on a busy host. */
const SHORTEST = 1e9
/** RFC 6298, 5.7: after a SYN that had to be sent again. */
const AFTER_LOST_SYN = 3e9
/** RFC 6298, 2.5. */
const LONGEST = 60e9
/** Time-outs without an answer until the guest is given up: after more than 100 seconds (RFC 9293, 3.8.3). */
const MAXIMUM_TRIES = 6
/** The same for a SYN: after three minutes at least. */
const MAXIMUM_SYN_TRIES = 7
/** RFC 6298, 2.3. */
const GAIN = 1 / 8
const VARIATION_GAIN = 1 / 4

/** Times are nanoseconds. */
export class RetransmissionTimer {
  /** When it fires; infinite for never. */
  deadline: number = Number.POSITIVE_INFINITY
  #timeOut = SHORTEST
  #tries = 0
  #maximumTries = MAXIMUM_SYN_TRIES
  #smoothed = 0
  #variation = 0
  /** The number behind the segment whose acknowledgement is awaited for a measurement, and when it was sent; a sequence number of -1 for none. */
  #timed = -1
  #timedAt = 0

  arm(now: number): void {
    this.deadline = now + this.#timeOut
  }

  disarm(): void {
    this.deadline = Number.POSITIVE_INFINITY
  }

  /** Something new was sent, up to a sequence number. */
  sent(end: number, now: number): void {
    if (this.#timed >= 0) return
    this.#timed = end
    this.#timedAt = now
  }

  /** Something goes again: whose acknowledgement comes then is not known, so it measures nothing (Karn). */
  sentAgain(): void {
    this.#timed = -1
  }

  /** The guest has acknowledged something new, all before `sequence`. */
  acknowledged(sequence: number, now: number): void {
    this.#tries = 0
    if (this.#timed < 0 || sequenceDistance(sequence, this.#timed) < 0) return
    this.#timed = -1
    const sample = now - this.#timedAt
    if (this.#smoothed === 0) {
      this.#smoothed = sample
      this.#variation = sample / 2
    } else {
      this.#variation += VARIATION_GAIN * (Math.abs(this.#smoothed - sample) - this.#variation)
      this.#smoothed += GAIN * (sample - this.#smoothed)
    }
    this.#timeOut = Math.min(LONGEST, Math.max(SHORTEST, this.#smoothed + 4 * this.#variation))
  }

  /** The guest is alive, though it takes nothing. */
  answered(): void {
    this.#tries = 0
  }

  /** The connection is made. */
  established(): void {
    if (this.#tries > 0) this.#timeOut = Math.max(this.#timeOut, AFTER_LOST_SYN)
    this.#tries = 0
    this.#maximumTries = MAXIMUM_TRIES
    this.disarm()
  }

  /** The deadline has passed. False: the guest has had all the time that there is. */
  expired(now: number): boolean {
    if (++this.#tries > this.#maximumTries) return false
    this.#timeOut = Math.min(LONGEST, this.#timeOut * 2)
    this.sentAgain()
    this.arm(now)
    return true
  }
}
