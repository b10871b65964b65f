// Exceptions of the processor, as the program sees them: something to catch. One that it does not catch shuts the processor down.

/** Vectors (Intel SDM vol. 3, table 6-1). */
export const EXCEPTION = { INVALID_OPCODE: 6, GENERAL_PROTECTION: 13, PAGE_FAULT: 14 } as const

/** An exception of the processor: a general protection fault for an MSR that is not there, for instance. It is the guest's affair, and no PartitaError. */
export class CpuException extends Error {
  /** One of {@link EXCEPTION}. */
  readonly vector: number

  /** An exception of `vector`. */
  constructor(vector: number, message: string) {
    super(message)
    this.name = 'CpuException'
    this.vector = vector
  }
}
