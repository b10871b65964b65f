// The double extended-precision format and the x87 control and status words (Intel SDM vol. 1, 4.2, 8.1).
//
// A value is a u64 significand with an explicit integer bit and 16 bits of sign and exponent ("se" below, as in memory).

/** Bits of the status word, and of the sets of exceptions that helpers pass around. */
export const X87 = {
  IE: 0x0001,
  DE: 0x0002,
  ZE: 0x0004,
  OE: 0x0008,
  UE: 0x0010,
  PE: 0x0020,
  SF: 0x0040,
  ES: 0x0080,
  C0: 0x0100,
  C1: 0x0200,
  C2: 0x0400,
  C3: 0x4000,
  B: 0x8000,
  /** The six exceptions: their flags in the status word, their masks in the control word. */
  EXCEPTIONS: 0x003f,
  CONDITION: 0x4700,
} as const

/** Bits of the control word that can be written; bit 6 always reads as 1. */
export const CONTROL_WRITABLE = 0x1f3f
export const CONTROL_FIXED = 0x0040
/** Control word after FNINIT. */
export const CONTROL_INITIAL = 0x037f

/** Rounding control, as in bits 10–11 of the control word. */
export const ROUND = { NEAREST: 0, DOWN: 1, UP: 2, TRUNCATE: 3 } as const

export const EXPONENT_BIAS = 0x3fff
export const EXPONENT_MAX = 0x7fff
export const INTEGER_BIT = 0x8000000000000000n
export const QUIET_BIT = 0x4000000000000000n
/** The QNaN "real indefinite" (SDM vol. 1, 4.2.2). */
export const INDEFINITE_SIGNIFICAND = 0xc000000000000000n
export const INDEFINITE_SE = 0xffff
/** What the exponent of a result is changed by when an overflow or underflow is unmasked (SDM vol. 1, 8.5.4, 8.5.5). */
export const EXPONENT_ADJUSTMENT = 24576

/** Classes of operands, ordered: from `QUIET` on an operation has no number to work with. */
export const CLASS = { ZERO: 0, NORMAL: 1, DENORMAL: 2, INFINITY: 3, QUIET: 4, SIGNALING: 5, UNSUPPORTED: 6 } as const

/**
 * In the sign and exponent of an operand: it was a denormal of a shorter format, normalised on its way to this one. Its use is a denormal-operand
 * exception all the same.
 */
export const WAS_DENORMAL = 0x10000
