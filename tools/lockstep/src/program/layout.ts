// Where programs and their memory lie: the same on the software processors and on the real one. `native/run-programs.c` repeats the numbers.

export const PAGE = 4096

export interface Region {
  readonly base: bigint
  readonly pages: number
  readonly write: boolean
  readonly execute: boolean
}

/** Code may be written and executed: programs change themselves. */
export const CODE = 0x2345_6789_0000n
/** Two pages, the next ones are not mapped. R12 points to where they meet. */
export const DATA: bigint = CODE + 0x10_0000n
export const READ_ONLY: bigint = CODE + 0x20_0000n
/** RSP starts in its middle. */
export const STACK: bigint = CODE + 0x30_0000n
/** One page below 4 GiB, for 32-bit addresses. R13 points to its middle. */
export const LOW = 0x1000_0000n
/** Nothing is mapped there: a program that goes there has ended. */
export const EXIT: bigint = CODE + 0x40_0000n

/** In the order in which their contents stand in a program's image. */
export const REGIONS: readonly Region[] = [
  { base: CODE, pages: 2, write: true, execute: true },
  { base: DATA, pages: 2, write: true, execute: false },
  { base: READ_ONLY, pages: 1, write: false, execute: false },
  { base: STACK, pages: 2, write: true, execute: false },
  { base: LOW, pages: 1, write: true, execute: false },
]
export const CODE_SIZE: number = 2 * PAGE
export const IMAGE_SIZE: number = REGIONS.reduce((sum, { pages }) => sum + pages * PAGE, 0)

/** Registers that programs keep. */
export const R12 = 12
export const R13 = 13
/** Jumps backwards that are left. */
export const FUEL = 14
export const FUEL_START = 120
