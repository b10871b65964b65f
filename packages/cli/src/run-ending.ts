// Who ends a run from outside: signals, the escape key, a console that is closed, the time of --timeout. They count until all that the run said has been
// read, so that a reader who does not read cannot keep the command from ending.

import { watchSignals } from './end-signals.ts'
import { EXIT_STATUS } from './exit-status.ts'

/** The end of a run: the exit status, and what standard error gets to see. */
export interface RunEnd {
  readonly status: number
  readonly code?: string
  readonly message?: string
  /** The console's last lines, where they tell why. */
  readonly lastLines?: readonly string[]
}

/** Follows a run to its end. */
export class RunEnding implements Disposable {
  /** Called when the run has to stop. */
  onEnd: (() => void) | undefined
  readonly #timeout: number | undefined
  readonly #abort = new AbortController()
  readonly #signals: Disposable
  #reason: RunEnd | undefined
  #late: RunEnd | undefined
  #over = false
  #timer: NodeJS.Timeout | undefined

  /** @param timeout Seconds that {@link RunEnding.startTime} gives. */
  constructor(timeout: number | undefined) {
    this.#timeout = timeout
    this.#signals = watchSignals((status, signal) =>
      this.end({
        status,
        ...(status !== EXIT_STATUS.HANGUP && { code: 'ERR_INTERRUPTED', message: `ended by ${signal}` }),
      }),
    )
  }

  /** Aborts when the run is ended from outside. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** Why the run was ended before the guest ended by itself. */
  get reason(): RunEnd | undefined {
    return this.#reason
  }

  /** Why nobody waits any longer for those who read what a guest said that has ended. */
  get late(): RunEnd | undefined {
    return this.#late
  }

  /** End the run from outside. */
  end(reason: RunEnd): void {
    if (this.#over) this.#late ??= reason
    else this.#reason ??= reason
    this.#abort.abort()
    this.onEnd?.()
  }

  /** End the run because the guest does nothing more. Its output is waited for. */
  giveUp(reason: RunEnd): void {
    this.#reason ??= reason
    this.onEnd?.()
  }

  /** The guest has ended. */
  over(): void {
    this.#over = true
  }

  /** Give what follows the time of `--timeout`, counted from now. */
  startTime(): void {
    if (this.#timeout === undefined) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#timeIsUp(this.#timeout as number), this.#timeout * 1000)
  }

  /** Until {@link RunEnding.startTime} there is no limit. */
  stopTime(): void {
    clearTimeout(this.#timer)
  }

  #timeIsUp(seconds: number): void {
    this.end({
      status: EXIT_STATUS.TIMEOUT,
      code: 'ERR_TIMEOUT',
      message: this.#over
        ? `the guest has ended, but its output was not read within ${seconds} s`
        : `the guest did not end within ${seconds} s`,
    })
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    this.#signals[Symbol.dispose]()
  }
}
