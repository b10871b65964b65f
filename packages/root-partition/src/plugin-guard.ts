// A guard stands between a plug-in and the machine: everything that the machine calls of a plug-in goes through its guard, which notices what is thrown, takes
// away what the plug-in has claimed, and lets the machine go on.

import { RootPartitionError } from './error.ts'

/**
 * Calls functions so that what they leave to the event loop (promises, host timers, sockets) can be told from what others leave there. Calls are on the way of
 * each intercept: at most three arguments, and no closures.
 */
export interface PluginScope {
  /** Call `fn` on `self`; what it throws comes through. */
  call<T, A, B, C>(fn: (a: A, b: B, c: C) => T, self: unknown, a: A, b: B, c: C): T
}

/** Makes scopes, and knows whose code it is that runs. `NodePluginTracker` of `./node` is one. */
export interface PluginTracker {
  /** A scope for a plug-in; `fail` is called with what escaped from it into the event loop. */
  scope(fail: (error: unknown) => void): PluginScope
}

/** A plug-in that was taken away. */
export interface PluginFailure {
  /** Its id in the VM; the reference of the configuration for one that could not be loaded. */
  readonly id: string
  /** When: `when it was loaded`, `in a timer`. */
  readonly where: string
  /** What it threw, as it was thrown. */
  readonly error: unknown
  /** One line that names the plug-in. */
  readonly message: string
}

/** Where errors come from that no call of ours threw. */
export const IN_THE_EVENT_LOOP = 'in what it left to the event loop'

/** Without a tracker, functions are just called. */
const PLAIN_SCOPE: PluginScope = { call: (fn, self, a, b, c) => fn.call(self, a, b, c) }

/** The guard of one plug-in of one VM. */
export class PluginGuard {
  /** The plug-in's id in the VM. */
  readonly id: string
  /** By which the tracker knows the plug-in's code. */
  readonly scope: PluginScope
  readonly #onFailure: (where: string, error: unknown) => void
  readonly #owned = new Set<Disposable>()
  readonly #waiting = new Set<() => void>()
  #failed = false

  constructor(
    id: string,
    tracker: PluginTracker | undefined,
    onFailure: (guard: PluginGuard, where: string, error: unknown) => void,
  ) {
    this.id = id
    this.scope = tracker?.scope((error) => this.fail(IN_THE_EVENT_LOOP, error)) ?? PLAIN_SCOPE
    this.#onFailure = (where, error) => onFailure(this, where, error)
  }

  /** Whether it was taken away: then nothing of it is called any more. */
  get failed(): boolean {
    return this.#failed
  }

  /** What `work` comes to, or `undefined` as soon as the plug-in is taken away: it may never come to anything then. */
  orGone<T>(work: PromiseLike<T>): Promise<T | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<T | undefined>()
    const gone = (): void => resolve(undefined)
    this.#waiting.add(gone)
    if (this.#failed) gone()
    work.then(
      (value) => {
        this.#waiting.delete(gone)
        resolve(value)
      },
      (error: unknown) => {
        this.#waiting.delete(gone)
        reject(error)
      },
    )
    return promise
  }

  /** Take the plug-in away. Only the first failure counts. */
  fail(where: string, error: unknown): void {
    if (this.#failed) return
    this.#failed = true
    for (const owned of [...this.#owned].reverse()) {
      try {
        owned[Symbol.dispose]()
      } catch {
        // It goes in any case.
      }
    }
    this.#owned.clear()
    for (const gone of this.#waiting) gone()
    this.#waiting.clear()
    this.#onFailure(where, error)
  }

  /** Have `disposable` disposed of when the plug-in fails. What comes back disposes of it once, and forgets it. */
  own(disposable: Disposable): Disposable {
    this.#owned.add(disposable)
    return {
      [Symbol.dispose]: () => {
        if (this.#owned.delete(disposable)) disposable[Symbol.dispose]()
      },
    }
  }

  /** @throws RootPartitionError `ERR_PLUGIN_FAILED` when the plug-in is gone and still asks for something */
  mustLive(): void {
    if (this.#failed)
      throw new RootPartitionError('ERR_PLUGIN_FAILED', `The plug-in ${this.id} was taken away`, {
        data: { id: this.id },
      })
  }

  /** Call a function of the plug-in: `fallback` when it throws or is gone. */
  call<T, A = undefined, B = undefined, C = undefined>(
    where: string,
    fallback: T,
    fn: (a: A, b: B, c: C) => T,
    self?: unknown,
    a?: A,
    b?: B,
    c?: C,
  ): T {
    if (this.#failed) return fallback
    try {
      return this.scope.call(fn, self, a as A, b as B, c as C)
    } catch (error) {
      this.fail(where, error)
      return fallback
    }
  }

  /** The same for a function that may return a promise; what comes back never rejects. */
  callAsync(where: string, fn: () => unknown): Promise<void> | undefined {
    const result = this.call<unknown>(where, undefined, fn)
    if (!isThenable(result)) return undefined
    return Promise.resolve(result).then(
      () => undefined,
      (error: unknown) => this.fail(where, error),
    )
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

/** What a thrown value says, in one line. */
export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message || error.name : String(error)).replace(/\s*\n\s*/g, ' ')
}
