// HV_INITIAL_VP_CONTEXT (TLFS): the state with which HvCallStartVirtualProcessor starts a processor, and the check of it (SDM vol. 3, 26.3.1.1 has the same rules
// for VM entries).

import type { RegisterName, SegmentName, SegmentRegister, VirtualProcessor } from '@partita/interface'
import { CR0, CR4, EFER, RIGHTS, validValue } from './register-values.ts'

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

/** Put the context at `at` of `input` into a processor that waits for its start. False, with nothing changed, when a value is not valid. */
export function applyContext(vp: VirtualProcessor, input: DataView, at: number): boolean {
  const quad = (offset: number): bigint => input.getBigUint64(at + offset, true)
  const [rip, efer, cr0, cr4] = [quad(OFFSET.RIP), quad(OFFSET.EFER), quad(OFFSET.CR0), quad(OFFSET.CR4)]
  const registers: readonly (readonly [RegisterName, bigint])[] = [
    ['cr4', cr4],
    ['cr3', quad(OFFSET.CR3)],
    ['efer', efer],
    ['cr0', cr0],
    ['pat', quad(OFFSET.PAT)],
    ['rip', rip],
    ['rsp', quad(OFFSET.RSP)],
    ['rflags', quad(OFFSET.RFLAGS)],
  ]
  const segments = SEGMENT_ORDER.map((_, index) => segment(input, at + OFFSET.SEGMENTS + index * SEGMENT_SIZE))
  const { attributes } = segments[0] as SegmentRegister
  const paging = (cr0 & CR0.PG) !== 0n
  const long = (efer & EFER.LMA) !== 0n
  const wide = long && (attributes & RIGHTS.LONG) !== 0
  const valid =
    registers.every(([name, value]) => validValue(name, value)) &&
    ((cr4 & CR4.PCIDE) === 0n || long) &&
    long === (paging && (efer & EFER.LME) !== 0n) &&
    (!long || (cr4 & CR4.PAE) !== 0n) &&
    segments.every(({ attributes }) => (attributes & RIGHTS.RESERVED) === 0) &&
    (attributes & (RIGHTS.CODE | RIGHTS.PRESENT)) === (RIGHTS.CODE | RIGHTS.PRESENT) &&
    (wide
      ? (attributes & RIGHTS.DEFAULT) === 0 && BigInt.asUintN(64, BigInt.asIntN(48, rip)) === rip
      : rip >> 32n === 0n)
  if (!valid) return false

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
