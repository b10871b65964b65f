// A guard stands between a plug-in and the machine: everything that the machine calls of a plug-in goes through its guard, which notices what is thrown, takes
// away what the plug-in has claimed, and lets the machine go on.

import { PartitaError } from '@partita/interface'
import { RootPartitionError } from './error.ts'
import { type HostTimer, hostTimer, inTime, LATE, lateError, settlesNow } from './patience.ts'
import { faultOf, isAnswer, isThenable, markFault } from './thrown.ts'

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

/** Errors of answers that have not come: it is not known yet whose fault that is. */
const UNANSWERED = new WeakSet<object>()

/** Whether an error says that an answer has not come. */
export function isUnanswered(error: unknown): boolean {
  return typeof error === 'object' && error !== null && UNANSWERED.has(error)
}

/** Errors with codes that came out of what a plug-in gave to others, for as long as these may know what to do with them. */
const ANSWERS = new WeakMap<object, { readonly guard: PluginGuard; readonly where: string }>()

/** Without a tracker, functions are just called. */
const PLAIN_SCOPE: PluginScope = { call: (fn, self, a, b, c) => fn.call(self, a, b, c) }

/** Of a {@link PluginGuard}. */
export interface PluginGuardOptions {
  /** Follows what the plug-in leaves to the event loop. */
  readonly tracker?: PluginTracker | undefined
  /** Ends the patience with the plug-in. Default: the host's. */
  readonly timer?: HostTimer | undefined
  /** Told once, when all that it has claimed is gone. */
  onFailure(where: string, error: unknown): void
  /** Told of a plug-in that is waited for, when that has taken long. */
  onSlow?(id: string, where: string): void
}

/** An answer of a service that a plug-in waits for. */
export interface Waiting {
  /** It does not come: whoever waits gets an error. */
  end(): void
}

/** While it is seen whether a plug-in goes on without answers that have not come. */
interface Trial {
  /** Whose answers those are: there are no others either. */
  readonly silent: ReadonlySet<PluginGuard>
  /** How often it may still ask them: who asks for ever is a loop, and does not go on. */
  left: number
}

/** Answers of silent plug-ins that one may want one after the other, until it is done without them. */
const LONGEST_SEQUENCE = 1000

/** The guard of one plug-in of one VM. */
export class PluginGuard {
  /** The plug-in's id in the VM. */
  readonly id: string
  /** By which the tracker knows the plug-in's code. */
  readonly scope: PluginScope
  readonly #options: PluginGuardOptions
  readonly #owned = new Set<Disposable>()
  readonly #waiting = new Set<() => void>()
  /** Whose services have not answered yet, oldest first. */
  readonly #awaited = new Map<Waiting, PluginGuard>()
  #trial: Trial | undefined
  #failed = false

  constructor(id: string, options: PluginGuardOptions) {
    this.id = id
    this.#options = options
    this.scope = options.tracker?.scope((error) => this.threw(IN_THE_EVENT_LOOP, error)) ?? PLAIN_SCOPE
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
   * What a service of the plug-in answers to that of `user`, or `undefined` when the plug-in is taken away, or `user` has waited for too long.
   * @param mustAnswer whoever waits for too long gets an error
   * @throws what `work` is rejected with
   */
  answers<T>(user: PluginGuard | undefined, work: PromiseLike<T>, mustAnswer = false): Promise<T | undefined> {
    const answer = this.orGone(work)
    if (user === undefined) return answer
    const { promise, resolve, reject } = Promise.withResolvers<T | undefined>()
    const waiting: Waiting = { end: () => (mustAnswer ? reject(this.#unanswered()) : resolve(undefined)) }
    user.waitsFor(this, waiting)
    answer.finally(() => user.hasAnswer(waiting)).then(resolve, reject)
    return promise
  }

  /**
   * What comes of what the plug-in does. When that takes longer than anybody can wait, it is taken away, and then it is `undefined`. Where it waits for another plug-in itself, that one
   * goes, and it gets as much time again.
   * @throws what `work` is rejected with
   */
  async inTime<T>(where: string, work: PromiseLike<T>): Promise<T | undefined> {
    const { timer = hostTimer, onSlow } = this.#options
    const waiting = this.orGone(work)
    for (;;) {
      const done = await inTime(waiting, timer, () => {
        const { id } = this.#hinderer()
        onSlow?.(id, this.#whereOf(id, where))
      })
      if (done !== LATE) return done
      const late = await this.#culprit(waiting, timer)
      late.fail(this.#whereOf(late.id, where), lateError())
      if (late === this) return undefined
    }
  }

  /**
   * Whose fault it is that the plug-in is not done. Who goes on when the answers that it waits for do not come was waiting for them; who does not has nobody else to blame: what it has not
   * been told yet is something else.
   */
  async #culprit(work: PromiseLike<unknown>, timer: HostTimer): Promise<PluginGuard> {
    const hinderer = this.#hinderer()
    if (hinderer === this) return this
    // To ask the same again is not to go on, but it may be the way there.
    const trial: Trial = { silent: new Set(this.#awaited.values()), left: LONGEST_SEQUENCE }
    this.#trial = trial
    for (const waiting of [...this.#awaited.keys()]) {
      this.#awaited.delete(waiting)
      waiting.end()
    }
    const isDone = await settlesNow(work, timer)
    if (this.#trial === trial) this.#trial = undefined
    const goesOn = isDone || [...this.#awaited.values()].some((other) => !trial.silent.has(other))
    return goesOn ? hinderer : this
  }

  /** What the one of `id` does, which this plug-in waits for. */
  #whereOf(id: string, where: string): string {
    return id === this.id ? where : `in what ${this.id} waited for ${where}`
  }

  /** The plug-in waits for an answer of another's service. @internal */
  waitsFor(provider: PluginGuard, waiting: Waiting): void {
    const trial = this.#trial
    if (trial?.silent.has(provider) && trial.left-- > 0) waiting.end()
    else this.#awaited.set(waiting, provider)
  }

  /** The answer has come. @internal */
  hasAnswer(waiting: Waiting): void {
    this.#awaited.delete(waiting)
  }

  /** Who it waits for in the end. Where all of a circle wait for one another, the one that is waited for from outside. */
  #hinderer(seen: Set<PluginGuard> = new Set()): PluginGuard {
    seen.add(this)
    for (const other of this.#awaited.values())
      if (!other.failed) return seen.has(other) ? other : other.#hinderer(seen)
    return this
  }

  /** Take the plug-in away. Only the first failure counts. */
  fail(where: string, error: unknown): void {
    if (this.#failed) return
    this.#failed = true
    this.#disposeOwned()
    for (const gone of this.#waiting) gone()
    this.#waiting.clear()
    this.#options.onFailure(where, error)
  }

  #disposeOwned(): void {
    for (const owned of [...this.#owned].reverse()) {
      try {
        owned[Symbol.dispose]()
      } catch {
        // It goes in any case.
      }
    }
    this.#owned.clear()
  }

  /**
   * A function of the plug-in threw, and nobody wanted that: take it away, unless the error is another plug-in's fault, whose service it called, or which gave it what it called. `vital`: it
   * cannot go on without what it called for.
   */
  threw(where: string, error: unknown, vital = false): void {
    const answer = typeof error === 'object' && error !== null ? ANSWERS.get(error) : undefined
    answer?.guard.fail(answer.where, error)
    const other = answer?.guard.id ?? faultOf(error)
    if (other === undefined || other === this.id) this.fail(where, error)
    else if (vital) this.fail(`because it uses ${other}`, error)
  }

  /**
   * A function of a service of the plug-in threw: take it away, unless that is an answer.
   * @throws what is an answer: a PartitaError, or the fault of a third plug-in
   */
  served(where: string, error: unknown): void {
    if (isAnswer(error) || faultOf(error) !== undefined) throw error
    this.fail(where, error)
  }

  /**
   * A function that the plug-in gave to another threw: take it away, unless that is an answer, which only becomes a failure where the other does not want it either.
   * @throws what is an answer
   */
  replied(where: string, error: unknown): void {
    if (isAnswer(error) && faultOf(error) === undefined) {
      if (!ANSWERS.has(error)) ANSWERS.set(error, { guard: this, where })
      throw error
    }
    this.threw(where, error)
  }

  /** A function of the plug-in returned what its contract does not know: `what it returned is …`. Where that is a promise, what it is rejected with says more. */
  returned(where: string, value: unknown, wrong: string): void {
    const fail = (): void => this.fail(where, new PartitaError('ERR_PLUGIN_INVALID', `what it returned is ${wrong}`))
    if (this.#isThenable(where, value))
      void Promise.resolve(value).then(fail, (error: unknown) => this.threw(where, error))
    else fail()
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

  /** What others get that have waited for an answer of the plug-in for too long. */
  #unanswered(): RootPartitionError {
    const { id } = this
    const error = this.fault(
      new RootPartitionError('ERR_PLUGIN_FAILED', `The plug-in ${id} does not answer`, { data: { id } }),
    )
    UNANSWERED.add(error)
    return error
  }

  /** Note that an error for others is this plug-in's fault. */
  fault<T extends object>(error: T): T {
    return markFault(error, this.id)
  }

  /** Have `disposable` disposed of when the plug-in fails, which is now when it has failed already. What comes back disposes of it once, and forgets it. */
  own(disposable: Disposable): Disposable {
    this.#owned.add(disposable)
    if (this.#failed) this.#disposeOwned()
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

  /** Call a function of the plug-in: `fallback` when it throws, is gone, or returns a promise, whose rejection is the plug-in's. */
  call<T, A = undefined, B = undefined, C = undefined>(
    where: string,
    fallback: T,
    fn: (a: A, b: B, c: C) => T,
    self?: unknown,
    a?: A,
    b?: B,
    c?: C,
  ): T {
    return this.#run(false, where, fallback, fn, self, a as A, b as B, c as C)
  }

  /** As {@link PluginGuard.call}, for a function of a service of the plug-in. @throws what is an answer */
  serve<T, A = undefined, B = undefined, C = undefined>(
    where: string,
    fallback: T,
    fn: (a: A, b: B, c: C) => T,
    self?: unknown,
    a?: A,
    b?: B,
    c?: C,
  ): T {
    return this.#run(true, where, fallback, fn, self, a as A, b as B, c as C)
  }

  #run<T, A, B, C>(
    answers: boolean,
    where: string,
    fallback: T,
    fn: (a: A, b: B, c: C) => T,
    self: unknown,
    a: A,
    b: B,
    c: C,
  ): T {
    if (this.#failed) return fallback
    try {
      const result = this.scope.call(fn, self, a, b, c)
      return typeof result === 'object' && this.watch(where, result) !== undefined ? fallback : result
    } catch (error) {
      if (answers) this.served(where, error)
      else this.threw(where, error)
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
    if (!this.#isThenable(where, result)) return undefined
    return Promise.resolve(result).then(
      () => undefined,
      (error: unknown) => this.threw(where, error, vital),
    )
  }

  /** Whether something of the plug-in's is to be awaited; not where its asking throws, which is the plug-in's failure. */
  #isThenable(where: string, value: unknown): value is PromiseLike<unknown> {
    try {
      return isThenable(value)
    } catch (error) {
      this.threw(where, error)
      return false
    }
  }
}
