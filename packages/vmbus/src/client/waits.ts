// Answers that a client waits for: one promise for each request, by what the answer will name.

import { VmbusError } from '../vmbus-error.ts'

/** What an answer carries, where it carries anything. */
export type Answer = number

interface Wait {
  readonly relid: number
  readonly promise: PromiseWithResolvers<Answer>
}

/** The requests without an answer. */
export class Waits {
  readonly #waits: Map<string, Wait> = new Map()

  get size(): number {
    return this.#waits.size
  }

  /**
   * Wait for an answer. `relid` is the channel that it is about, 0 for none.
   * @throws VmbusError `ERR_VMBUS_CLIENT` when the same request is waiting already
   */
  wait(key: string, relid = 0): Promise<Answer> {
    if (this.#waits.has(key)) throw new VmbusError('ERR_VMBUS_CLIENT', `The request '${key}' waits for its answer`)
    const promise = Promise.withResolvers<Answer>()
    this.#waits.set(key, { relid, promise })
    return promise.promise
  }

  /** An answer came. False: nobody waits for it. */
  answer(key: string, value: Answer = 0): boolean {
    const wait = this.#waits.get(key)
    if (wait === undefined) return false
    this.#waits.delete(key)
    wait.promise.resolve(value)
    return true
  }

  /** The channel is gone: its requests fail. */
  fail(relid: number, reason: string): void {
    for (const [key, wait] of [...this.#waits]) {
      if (wait.relid !== relid) continue
      this.#waits.delete(key)
      wait.promise.reject(new VmbusError('ERR_VMBUS_CLIENT', reason, { data: { relid } }))
    }
  }

  /** The connection is gone: every request fails. */
  failAll(reason: string): void {
    for (const { promise } of this.#waits.values()) promise.reject(new VmbusError('ERR_VMBUS_CLIENT', reason))
    this.#waits.clear()
  }
}
