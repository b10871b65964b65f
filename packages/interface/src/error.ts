// The base of every error that a Partita package throws. Guests never cause one of these: what a guest does wrong is a
// status of the protocol that it used. These are for host faults and misuse of an API.

/** Options of {@link PartitaError}. */
export interface PartitaErrorOptions {
  /** What the reader can do about it, one sentence. */
  readonly hint?: string
  /** Plain data that survives a structured clone. */
  readonly data?: Readonly<Record<string, unknown>>
  /** What the error was made of, as in `Error.cause`. */
  readonly cause?: unknown
}

/**
 * An error with a stable code, e.g. `ERR_PLUGIN_UNKNOWN`.
 *
 * @example
 * ```ts
 * throw new PartitaError('ERR_DISK_LOCKED', 'disk.img is in use by another VM', { hint: 'Stop the other VM first.' })
 * ```
 */
export class PartitaError extends Error {
  /** Stable, for programs: `ERR_` and the name of a kind of fault. Messages may change, codes do not. */
  readonly code: string
  /** What the reader can do about it, one sentence; where nobody knows, `undefined`. */
  readonly hint: string | undefined
  /** What the message speaks of, as plain data that survives a structured clone. Empty where there is nothing to tell. */
  readonly data: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, options: PartitaErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.code = code
    this.hint = options.hint
    this.data = options.data ?? {}
  }
}
