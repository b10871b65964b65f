// HV_INITIAL_VP_CONTEXT (TLFS): the state with which HvCallStartVirtualProcessor starts a processor, and the check of it (SDM vol. 3, 26.3.1.1 has the same rules
// for VM entries).

import type { RegisterName, SegmentName, SegmentRegister, VirtualProcessor } from '@partita/interface'

/** Bytes of the structure. */
export const VP_CONTEXT_SIZE = 224

/** Offsets in it. */
const OFFSET = {
  RIP: 0,
  RSP: 8,
  RFLAGS: 16,
  SEGMENTS: 24,
  IDTR: 152,
  GDTR: 168,
  EFER: 184,
  CR0: 192,
  CR3: 200,
  CR4: 208,
  PAT: 216,
} as const
const SEGMENT_ORDER: readonly SegmentName[] = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldtr']
const SEGMENT_SIZE = 16

const CR0 = { PE: 1n, NW: 1n << 29n, CD: 1n << 30n, PG: 1n << 31n, DEFINED: 0xe005003fn } as const
const CR4 = { PAE: 1n << 5n, PCIDE: 1n << 17n } as const
/** VME to OSXMMEXCPT, UMIP, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP. */
const CR4_DEFINED = 0x370fffn
const EFER = { LME: 1n << 8n, LMA: 1n << 10n, DEFINED: 0xd01n } as const
/** Bits 63–22, 15, 5 and 3 are zero, and so is VM; bit 1 is one. */
const RFLAGS = { ZERO: ~0x3d7fd7n, ONE: 2n } as const
const PHYSICAL_ADDRESS_END = 1n << 40n
/** Bits of the access rights. */
const RIGHTS = { CODE: 0x18, PRESENT: 0x80, LONG: 0x2000, DEFAULT: 0x4000, RESERVED: 0x0f00 } as const

/** Whether RFLAGS can hold `value`. */
export function validFlags(value: bigint): boolean {
  return (value & RFLAGS.ZERO) === 0n && (value & RFLAGS.ONE) !== 0n
}

function validPat(value: bigint): boolean {
  for (let shift = 0n; shift < 64n; shift += 8n) {
    const type = Number((value >> shift) & 0xffn)
    if (type > 7 || type === 2 || type === 3) return false
  }
  return true
}

/** Put the context at `at` of `input` into a processor that waits for its start. False, with nothing changed, when a value is not valid. */
export function applyContext(vp: VirtualProcessor, input: DataView, at: number): boolean {
  const quad = (offset: number): bigint => input.getBigUint64(at + offset, true)
  const [rip, rflags, efer, cr0, cr3, cr4, pat] = [
    quad(OFFSET.RIP),
    quad(OFFSET.RFLAGS),
    quad(OFFSET.EFER),
    quad(OFFSET.CR0),
    quad(OFFSET.CR3),
    quad(OFFSET.CR4),
    quad(OFFSET.PAT),
  ]
  const segments = SEGMENT_ORDER.map((_, index) => segment(input, at + OFFSET.SEGMENTS + index * SEGMENT_SIZE))
  const { attributes } = segments[0] as SegmentRegister
  const paging = (cr0 & CR0.PG) !== 0n
  const long = (efer & EFER.LMA) !== 0n
  const wide = long && (attributes & RIGHTS.LONG) !== 0
  const valid =
    validFlags(rflags) &&
    validPat(pat) &&
    (cr0 & ~CR0.DEFINED) === 0n &&
    (!paging || (cr0 & CR0.PE) !== 0n) &&
    ((cr0 & CR0.NW) === 0n || (cr0 & CR0.CD) !== 0n) &&
    (cr4 & ~CR4_DEFINED) === 0n &&
    ((cr4 & CR4.PCIDE) === 0n || long) &&
    (efer & ~EFER.DEFINED) === 0n &&
    long === (paging && (efer & EFER.LME) !== 0n) &&
    (!long || (cr4 & CR4.PAE) !== 0n) &&
    cr3 < PHYSICAL_ADDRESS_END &&
    segments.every(({ attributes }) => (attributes & RIGHTS.RESERVED) === 0) &&
    (attributes & (RIGHTS.CODE | RIGHTS.PRESENT)) === (RIGHTS.CODE | RIGHTS.PRESENT) &&
    (wide
      ? (attributes & RIGHTS.DEFAULT) === 0 && BigInt.asUintN(64, BigInt.asIntN(48, rip)) === rip
      : rip >> 32n === 0n)
  if (!valid) return false

  const registers: readonly (readonly [RegisterName, bigint])[] = [
    ['cr4', cr4],
    ['cr3', cr3],
    ['efer', efer],
    ['cr0', cr0],
    ['pat', pat],
    ['rip', rip],
    ['rsp', quad(OFFSET.RSP)],
    ['rflags', rflags],
  ]
  for (const [name, value] of registers) vp.setRegister(name, value)
  for (const [index, name] of SEGMENT_ORDER.entries()) vp.setSegment(name, segments[index] as SegmentRegister)
  for (const [name, offset] of [
    ['idtr', OFFSET.IDTR],
    ['gdtr', OFFSET.GDTR],
  ] as const)
    vp.setDescriptorTable(name, quad(offset + 8), input.getUint16(at + offset + 6, true))
  return true
}

function segment(input: DataView, at: number): SegmentRegister {
  return {
    base: input.getBigUint64(at, true),
    limit: input.getUint32(at + 8, true),
    selector: input.getUint16(at + 12, true),
    attributes: input.getUint16(at + 14, true),
  }
}
