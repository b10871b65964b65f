// What the NAT says when it has to refuse connections. A guest causes it as often as it likes, so each reason is told once in a while.

import type { Clock, Logger } from '@partita/interface'

/** Nanoseconds in which a reason is told once. */
const SILENCE = 60e9

/** Why connections are refused that are allowed. */
export class Shortages {
  readonly #clock: Clock
  readonly #logger: Logger
  /** By reason: when it was told. There are few of them. */
  readonly #told: Map<string, number> = new Map()

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  /** A connection is refused, because of `reason`. */
  refused(reason: string): void {
    const now = this.#clock.now()
    if (now - (this.#told.get(reason) ?? Number.NEGATIVE_INFINITY) < SILENCE) return
    this.#told.set(reason, now)
    this.#logger.log('error', `the NAT refuses connections: ${reason}`)
  }
}
