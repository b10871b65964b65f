// The errors of the generator, each with a hint at what to do. This package depends on no other, so that it is fetched in a moment.

/** Codes of {@link GeneratorError}. */
export type GeneratorErrorCode =
  /** A command line that cannot be understood, or a question that nobody can be asked. */
  | 'ERR_USAGE'
  /** Not a name for a plug-in. */
  | 'ERR_CREATE_NAME'
  /** The directory is there already. */
  | 'ERR_CREATE_EXISTS'
  /** The package cannot be written. */
  | 'ERR_CREATE_WRITE'

/** What keeps a package from being written. Nothing of it stays. */
export class GeneratorError extends Error {
  /** Stable, for programs. */
  readonly code: GeneratorErrorCode
  /** What the reader can do about it, one sentence. */
  readonly hint: string
  /** What the message speaks of, as plain data. Empty where there is nothing to tell. */
  readonly data: Readonly<Record<string, unknown>>

  constructor(
    code: GeneratorErrorCode,
    message: string,
    options: { readonly hint: string; readonly data?: Readonly<Record<string, unknown>>; readonly cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'GeneratorError'
    this.code = code
    this.hint = options.hint
    this.data = options.data ?? {}
  }
}
