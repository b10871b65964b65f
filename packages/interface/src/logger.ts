// The logger that packages are given. A package never prints.

/** Severity, from the most to the least talkative. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/** Structured logger. `fields` is plain data. */
export interface Logger {
  /** One line. `message` is a sentence that does not change; what changes goes into `fields`. */
  log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void
  /** A logger that adds `fields` to each line. */
  child(fields: Readonly<Record<string, unknown>>): Logger
}

/** A logger that drops everything. */
export const silentLogger: Logger = {
  log() {},
  child() {
    return silentLogger
  },
}
