/**
 * Where a test's code and data lie, and how a machine state is laid out in a record.
 *
 * The same numbers stand in `native/harness.c`.
 */

/** The page that the instruction is executed from; the pages around it are not mapped. The rest of it is INT3. */
export const CODE_PAGE = 0x2345_6789_0000n
/** Where the instruction starts, unless the form says otherwise. */
export const CODE_START: bigint = CODE_PAGE + 0x800n
/** Three writable pages within reach of RIP-relative addressing. */
export const NEAR_BASE: bigint = CODE_PAGE + 0x1_0000n
/** A page that may be read only. Byte `i` is `i * 7 + 3`. */
export const READ_ONLY_PAGE: bigint = CODE_PAGE + 0x2_0000n
/** No page is mapped here. */
export const UNMAPPED: bigint = CODE_PAGE + 0x3_0000n
/** One writable page; the next one is not mapped. */
export const EDGE_BASE: bigint = CODE_PAGE + 0x4_0000n
/** Three writable pages below 4 GiB, for 32-bit addresses. */
export const LOW_BASE = 0x1000_0000n
export const PAGE = 0x1000
export const FS_BASE = 0x1111_2222_3330n
export const GS_BASE = 0x7000_0000_1230n

/** The window is the memory that a test may write: part of its input and of its result. */
export const WINDOW_SIZE = 1024
export const WINDOWS = ['near', 'low', 'edge'] as const
export type Window = (typeof WINDOWS)[number]
/** Linear address of each window. `near` and `low` cross a page boundary at offset 0x200; `edge` ends where memory ends. */
export const WINDOW_BASE: Readonly<Record<Window, bigint>> = {
  near: NEAR_BASE + 0xe00n,
  low: LOW_BASE + 0xe00n,
  edge: EDGE_BASE + 0xc00n,
}

export interface Region {
  readonly base: bigint
  readonly pages: number
  readonly write: boolean
  readonly execute: boolean
}

/** All that is mapped while a test runs. */
export const REGIONS: readonly Region[] = [
  { base: CODE_PAGE, pages: 1, write: false, execute: true },
  { base: NEAR_BASE, pages: 3, write: true, execute: false },
  { base: LOW_BASE, pages: 3, write: true, execute: false },
  { base: EDGE_BASE, pages: 1, write: true, execute: false },
  { base: READ_ONLY_PAGE, pages: 1, write: false, execute: false },
]

/** Byte offsets in a record. All fields are little-endian. */
export const AT_GPR = 0
export const AT_RIP = 128
export const AT_RFLAGS = 136
/** In a request the number of code bytes, in a result the exception vector. */
export const AT_TRAP = 144
/** In a request the number of the window (index in `WINDOWS`), in a result the error code. */
export const AT_ERROR = 148
export const AT_CR2 = 152
export const AT_CODE = 160
export const CODE_ROOM = 16
/** The first 416 bytes of an FXSAVE64 image. */
export const AT_FX = 176
export const AT_FCW: number = AT_FX
export const AT_FSW: number = AT_FX + 2
export const AT_FTW: number = AT_FX + 4
export const AT_MXCSR: number = AT_FX + 24
export const AT_ST: number = AT_FX + 32
export const AT_XMM: number = AT_FX + 160
export const AT_WINDOW: number = AT_FX + 416
export const RECORD_SIZE: number = AT_WINDOW + WINDOW_SIZE

export const CF = 0x1
export const PF = 0x4
export const AF = 0x10
export const ZF = 0x40
export const SF = 0x80
export const TF = 0x100
export const IF = 0x200
export const DF = 0x400
export const OF = 0x800
export const AC = 0x40000
export const STATUS: number = CF | PF | AF | ZF | SF | OF

/** Exceptions that forms ask for by number. */
export const DE = 0
export const DB = 1
export const BP = 3
export const UD = 6
export const SS = 12
export const GP = 13
export const PAGE_FAULT = 14
/** In a result: the instruction ran into the INT3 behind it. */
export const NO_EXCEPTION = 0xff
