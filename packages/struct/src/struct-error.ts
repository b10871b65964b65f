// The one error class of this package. It stands below every other package but the contracts, and depends on nothing.

/** Thrown for a definition or a value that cannot be: `ERR_STRUCT_DEFINITION`, `ERR_STRUCT_VALUE`. */
export class StructError extends Error {
  readonly code: string
  readonly data: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, data: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.name = 'StructError'
    this.code = code
    this.data = data
  }
}
