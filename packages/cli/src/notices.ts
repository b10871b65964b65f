// What standard error gets to see while the guest runs: errors of devices in one line each, plug-ins that are waited for, and the lines of a trace. All are bounded, so that a guest that makes
// mistakes without end does not fill the terminal or a file.

import type { Logger, LogLevel } from '@partita/interface'

/** Lines at once, and lines that come back in a second. */
const BURST = 5000
const RATE = 500

/** Where notices go. */
export interface NoticeOptions {
  readonly write: (text: string) => void
  /** Milliseconds, ever increasing. */
  readonly now: () => number
  /** The terminal does not translate line feeds (raw mode). */
  readonly raw: boolean
}

/** Lines on standard error. */
export class Notices {
  readonly #options: NoticeOptions
  readonly #start: number
  #tokens = BURST
  #time: number
  #left = 0

  constructor(options: NoticeOptions) {
    this.#options = options
    this.#start = this.#time = options.now()
  }

  /** `partita: text`. */
  error(text: string): void {
    this.#line(`partita: ${text}`)
  }

  /** `what seconds text`. */
  trace(what: string, text: string): void {
    const seconds = (this.#options.now() - this.#start) / 1000
    this.#line(`${what} ${seconds.toFixed(3)} ${text}`)
  }

  #line(text: string): void {
    const now = this.#options.now()
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#time) / 1000) * RATE)
    this.#time = now
    if (this.#tokens < 1) {
      this.#left++
      return
    }
    this.#tokens--
    this.#report()
    this.#write(text)
  }

  #report(): void {
    if (this.#left === 0) return
    this.#write(`partita: ${this.#left} lines are left out here: too many at once`)
    this.#left = 0
  }

  /** Lines that are not bounded, at the end. */
  conclude(lines: readonly string[]): void {
    this.#report()
    for (const line of lines) this.#write(line)
  }

  #write(line: string): void {
    this.#options.write(`${line}${this.#options.raw ? '\r\n' : '\n'}`)
  }
}

/** Which lines of the log become notices. */
export interface NoticeRules {
  /** Show errors, and warnings that name a plug-in. */
  readonly errors: boolean
  /** By plug-in id: the name of the trace that shows what it logs as `trace`. */
  readonly traces: ReadonlyMap<string, string>
}

/** `logger`, with a copy of what `rules` name going to `notices`. */
export function withNotices(logger: Logger, notices: Notices, rules: NoticeRules, plugin?: string): Logger {
  const trace = plugin === undefined ? undefined : rules.traces.get(plugin)
  return {
    log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void {
      logger.log(level, message, fields)
      const warns = level === 'warn' && typeof fields?.['plugin'] === 'string'
      if ((level === 'error' || warns) && rules.errors) notices.error(message)
      else if (level === 'trace' && trace !== undefined) notices.trace(trace, message)
    },
    child: (fields) =>
      withNotices(
        logger.child(fields),
        notices,
        rules,
        typeof fields['plugin'] === 'string' ? fields['plugin'] : plugin,
      ),
  }
}
