// The part of the processor's state that decides how bytes become instructions.

/** Code modes, as kept in STATE.MODE. */
export const MODE = {
  /** 64-bit mode. */
  LONG: 0,
  /** Protected or compatibility mode, CS.D = 1. */
  CODE32: 1,
  /** Protected or compatibility mode, CS.D = 0. */
  CODE16: 2,
  /** Real-address or virtual-8086 mode. */
  REAL: 3,
} as const
export type Mode = (typeof MODE)[keyof typeof MODE]
