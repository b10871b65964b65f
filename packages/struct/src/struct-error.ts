// The one error class of this package. It stands below every other package but the contracts, and depends on nothing.

/** Thrown for a definition or a value that cannot be: `ERR_STRUCT_DEFINITION`, `ERR_STRUCT_VALUE`. */
export class StructError extends Error {
  /** Stable, for programs: one of the two. */
  readonly code: string
  /** What the message speaks of (a field's name, a value), as plain data. */
  readonly data: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, data: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.name = 'StructError'
    this.code = code
    this.data = data
  }
}
