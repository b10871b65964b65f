// How an exception of the guest travels inside TypeScript: thrown by what detects it, caught at the edge of generated code.

/** A pending exception. One object is reused: it never leaves the processor. */
export class GuestFault {
  vector = 0
  errorCode = 0
  /** Linear address of a page fault, or DR6 bits of a debug exception. */
  address = 0n
}
