// What registers of a processor can hold: reserved bits and sizes, as HvCallSetVpRegisters checks them (TLFS), and HvCallStartVirtualProcessor with more rules
// between registers.

import type { RegisterName } from '@partita/interface'

export const CR0 = { PE: 1n, NW: 0x2000_0000n, CD: 0x4000_0000n, PG: 0x8000_0000n, DEFINED: 0xe005_003fn } as const
export const CR4 = { PAE: 0x20n, PCIDE: 0x2_0000n } as const
/** VME to OSXMMEXCPT, UMIP, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP. */
const CR4_DEFINED = 0x370fffn
export const EFER = { LME: 0x100n, LMA: 0x400n, DEFINED: 0xd01n } as const
/** Bits 63–22, 15, 5 and 3 are zero, and so is VM; bit 1 is one. */
const RFLAGS = { ZERO: ~0x3d7fd7n, ONE: 2n } as const
const PHYSICAL_ADDRESS_END = 1n << 40n
const CR8_MAXIMUM = 15n
const HALF = 32n
/** Components of XCR0 that exist; x87 state is always enabled. */
const XCR0 = { X87: 1n, DEFINED: 3n } as const
/** Bits of a segment's attributes. */
export const RIGHTS = {
  CODE: 0x18,
  PRESENT: 0x80,
  LONG: 0x2000,
  DEFAULT: 0x4000,
  RESERVED: 0x0f00,
  GRANULARITY: 0x8000,
} as const
/** The contract's own bit for a segment that cannot be used, which the TLFS writes as not present. */
const UNUSABLE = 0x1_0000
const PAGE_OFFSET = 0xfff

/** Whether RFLAGS can hold `value`. */
function validFlags(value: bigint): boolean {
  return (value & RFLAGS.ZERO) === 0n && (value & RFLAGS.ONE) !== 0n
}

/** Whether the PAT can hold `value`. */
function validPat(value: bigint): boolean {
  for (let shift = 0n; shift < 64n; shift += 8n) {
    const type = Number((value >> shift) & 0xffn)
    if (type > 7 || type === 2 || type === 3) return false
  }
  return true
}

const RULES: Partial<Record<RegisterName, (value: bigint) => boolean>> = {
  rflags: validFlags,
  cr0: (value) =>
    (value & ~CR0.DEFINED) === 0n &&
    ((value & CR0.PG) === 0n || (value & CR0.PE) !== 0n) &&
    ((value & CR0.NW) === 0n || (value & CR0.CD) !== 0n),
  cr3: (value) => value < PHYSICAL_ADDRESS_END,
  cr4: (value) => (value & ~CR4_DEFINED) === 0n,
  cr8: (value) => value <= CR8_MAXIMUM,
  efer: (value) => (value & ~EFER.DEFINED) === 0n,
  pat: validPat,
  dr6: (value) => value >> HALF === 0n,
  dr7: (value) => value >> HALF === 0n,
  xcr0: (value) => (value & ~XCR0.DEFINED) === 0n && (value & XCR0.X87) !== 0n,
}

/** Whether a register can hold `value`, whatever the others hold. */
export function validValue(name: RegisterName, value: bigint): boolean {
  return RULES[name]?.(value) ?? true
}

/** Whether a segment register can have these `attributes`, as the TLFS has them, and `limit`. */
export function validSegment(attributes: number, limit: number): boolean {
  return (
    (attributes & RIGHTS.RESERVED) === 0 &&
    ((attributes & RIGHTS.GRANULARITY) === 0 || (limit & PAGE_OFFSET) === PAGE_OFFSET)
  )
}

/** The contract's attributes for the TLFS's. */
export function segmentAttributes(attributes: number): number {
  return attributes & RIGHTS.PRESENT ? attributes : attributes | UNUSABLE
}
