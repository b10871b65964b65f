// What keeps both ends of a pretended bus going: messages, signals, promises and virtual time, until something has happened.

import type { VmbusPair } from '@partita/vmbus/testing'
import { fail } from './compliance/check.ts'
import type { FakeClock } from './fake-clock.ts'
import { turn } from './turns.ts'

/** Turns of the event loop that something may take, with virtual time passing. */
const PATIENCE = 400
/** Virtual time that passes while something is waited for, nanoseconds. */
const VIRTUAL_PATIENCE = 120e9

/** Both ends of a bus, and their time. */
export class BusPump {
  readonly #pair: VmbusPair
  readonly #clock: () => FakeClock

  /** `clock` is asked each time: it may be another after a migration. */
  constructor(pair: VmbusPair, clock: () => FakeClock) {
    this.#pair = pair
    this.#clock = clock
  }

  /** Let at most `count` messages, signals and pieces of the host's work pass. */
  async steps(count: number): Promise<void> {
    for (let step = 0; step < count && this.#pair.step(); step++) await Promise.resolve()
  }

  /** Let everything pass until there is silence; no time passes. @throws ComplianceError when there never is */
  async settle(): Promise<void> {
    for (let quiet = 0, round = 0; quiet < 2; round++) {
      if (round > 10_000) fail('the two ends of the bus do not come to rest')
      await this.#pair.settle()
      await turn()
      quiet = this.#pair.idle ? quiet + 1 : 0
    }
  }

  /** Let everything pass, and time with it, until `condition` holds; false when it never does. */
  async until(condition: () => boolean): Promise<boolean> {
    const end = this.#clock().now() + VIRTUAL_PATIENCE
    for (let round = 0; round < PATIENCE; round++) {
      await this.settle()
      if (condition()) return true
      const clock = this.#clock()
      if (clock.nextDeadline <= end) clock.advance(Math.max(0, clock.nextDeadline - clock.now()))
    }
    return condition()
  }

  /** Wait for `promise` while everything goes on. @throws ComplianceError when it does not end */
  async run<T>(promise: PromiseLike<T>, what: string): Promise<T> {
    let done = false
    const finish = (): void => {
      done = true
    }
    promise.then(finish, finish)
    if (!(await this.until(() => done))) fail(`${what} does not end`)
    return await promise
  }

  /** Nanoseconds pass. */
  async advance(nanoseconds: number): Promise<void> {
    this.#clock().advance(nanoseconds)
    await this.settle()
  }
}
