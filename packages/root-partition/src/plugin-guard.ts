// A guard stands between a plug-in and the machine: everything that the machine calls of a plug-in goes through its guard, which notices what is thrown, takes
// away what the plug-in has claimed, and lets the machine go on.

import { PartitaError } from '@partita/interface'
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

/** Milliseconds that a plug-in may take to start, to stop, or to be disposed of: what is in flight may wait for a slow disk. */
const PATIENCE = 60_000

/** Calls something after so many milliseconds of the host; returns what cancels that. */
export type HostTimer = (milliseconds: number, callback: () => void) => () => void

/** The timer of the JavaScript host. */
export const hostTimer: HostTimer = (milliseconds, callback) => {
  const timer = setTimeout(callback, milliseconds)
  return () => clearTimeout(timer)
}

/** Wait for `work`, but not for ever: an error says that it was not done. */
export async function inTime(work: PromiseLike<unknown>, timer: HostTimer): Promise<RootPartitionError | undefined> {
  const late = Promise.withResolvers<RootPartitionError>()
  const cancel = timer(PATIENCE, () =>
    late.resolve(new RootPartitionError('ERR_PLUGIN_FAILED', `it was not done after ${PATIENCE / 1000} seconds`)),
  )
  try {
    return await Promise.race([work.then(() => undefined), late.promise])
  } finally {
    cancel()
  }
}

/** Errors that a fault of one plug-in became for others that called it, with the id of the one. */
const FAULTS = new WeakMap<object, string>()
/** An error may be the cause of another that a plug-in makes of it, and so on. */
const LONGEST_CHAIN = 8

/** Whose fault `error` is, where it came out of a service of a plug-in that was taken away. */
export function faultOf(error: unknown): string | undefined {
  let cause = error
  for (let i = 0; i < LONGEST_CHAIN && typeof cause === 'object' && cause !== null; i++) {
    const id = FAULTS.get(cause)
    if (id !== undefined) return id
    cause = (cause as { cause?: unknown }).cause
  }
  return undefined
}

/** The guard of one plug-in of one VM. */
export class PluginGuard {
  /** The plug-in's id in the VM. */
  readonly id: string
  /** By which the tracker knows the plug-in's code. */
  readonly scope: PluginScope
  readonly #onFailure: (where: string, error: unknown) => void
  readonly #owned = new Set<Disposable>()
  readonly #waiting = new Set<() => void>()
  /** Whose services have not answered yet, and how often. */
  readonly #awaited = new Map<PluginGuard, number>()
  readonly #timer: HostTimer
  #failed = false

  constructor(
    id: string,
    tracker: PluginTracker | undefined,
    onFailure: (guard: PluginGuard, where: string, error: unknown) => void,
    timer: HostTimer = hostTimer,
  ) {
    this.id = id
    this.#timer = timer
    this.scope = tracker?.scope((error) => this.threw(IN_THE_EVENT_LOOP, error)) ?? PLAIN_SCOPE
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

  /**
   * Wait for what the plug-in does, until it is taken away: which it is when that takes longer than anybody can wait. Where it waits for another plug-in itself, that one goes first.
   * @throws what `work` is rejected with
   */
  async inTime(where: string, work: PromiseLike<unknown>): Promise<void> {
    const waiting = this.orGone(work)
    for (;;) {
      const late = await inTime(waiting, this.#timer)
      if (late === undefined) return
      const hinderer = this.#hinderer(new Set())
      hinderer.fail(hinderer === this ? where : `in what ${this.id} waited for ${where}`, late)
      if (hinderer === this) return
    }
  }

  /** The plug-in waits for an answer of another's service. */
  waitsFor(provider: PluginGuard): void {
    this.#awaited.set(provider, (this.#awaited.get(provider) ?? 0) + 1)
  }

  /** The answer has come. */
  hasAnswer(provider: PluginGuard): void {
    const count = this.#awaited.get(provider) ?? 0
    if (count > 1) this.#awaited.set(provider, count - 1)
    else this.#awaited.delete(provider)
  }

  /** Who it waits for in the end. */
  #hinderer(seen: Set<PluginGuard>): PluginGuard {
    seen.add(this)
    for (const other of this.#awaited.keys()) if (!other.failed && !seen.has(other)) return other.#hinderer(seen)
    return this
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

  /**
   * A function of the plug-in threw, and nobody wanted that: take it away, unless the error is another plug-in's fault, whose service it called. `vital`: it cannot go on
   * without what it called for.
   */
  threw(where: string, error: unknown, vital = false): void {
    const other = faultOf(error)
    if (other === undefined || other === this.id) this.fail(where, error)
    else if (vital) this.fail(`because it uses ${other}`, error)
  }

  /**
   * A function of a service of the plug-in threw: take it away, unless that is an answer.
   * @throws what is an answer: a PartitaError, or the fault of a third plug-in
   */
  served(where: string, error: unknown): void {
    if (error instanceof PartitaError || faultOf(error) !== undefined) throw error
    this.fail(where, error)
  }

  /** What others get that ask for something of a plug-in that is gone. */
  goneError(cause?: unknown): RootPartitionError {
    return this.fault(
      new RootPartitionError('ERR_PLUGIN_FAILED', `The plug-in ${this.id} was taken away`, {
        data: { id: this.id },
        ...(cause !== undefined && { cause }),
      }),
    )
  }

  /** Note that an error for others is this plug-in's fault. */
  fault<T extends object>(error: T): T {
    FAULTS.set(error, this.id)
    return error
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

  /** Forget something that {@link PluginGuard.own} was given, which is disposed of already. */
  disown(disposable: Disposable): void {
    this.#owned.delete(disposable)
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
      this.threw(where, error)
      return fallback
    }
  }

  /** Call a function of a service of the plug-in: `fallback` when it is gone or throws what is no answer. @throws what is an answer */
  serve<T, A = undefined, B = undefined, C = undefined>(
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
      this.served(where, error)
      return fallback
    }
  }

  /** As {@link PluginGuard.call} for a function that may return a promise; what comes back never rejects. */
  callAsync(where: string, fn: () => unknown, vital = false): Promise<void> | undefined {
    if (this.#failed) return undefined
    try {
      return this.watch(where, this.scope.call(fn, undefined, undefined, undefined, undefined), vital)
    } catch (error) {
      this.threw(where, error, vital)
      return undefined
    }
  }

  /** What a function returned that need not return anything: if it is a promise, its rejection is the plug-in's. What comes back never rejects. */
  watch(where: string, result: unknown, vital = false): Promise<void> | undefined {
    if (!isThenable(result)) return undefined
    return Promise.resolve(result).then(
      () => undefined,
      (error: unknown) => this.threw(where, error, vital),
    )
  }
}

/** Whether something is to be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

/** What a thrown value says, in one line. */
export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message || error.name : String(error)).replace(/\s*\n\s*/g, ' ')
}
