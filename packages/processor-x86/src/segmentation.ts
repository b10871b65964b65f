// Segment descriptors and loads of segment registers (SDM vol. 3, 3.4, 5.5–5.8).

import type { Cpu } from './cpu.ts'
import { VECTOR } from './instruction/emitter.ts'
import { SEGMENT, STATE } from './state-layout.ts'

/** Attributes of a segment register that holds a null selector. */
export const UNUSABLE = 0x10000

/** A descriptor taken apart. */
export interface Descriptor {
  readonly low: number
  readonly high: number
  readonly base: bigint
  readonly limit: number
  /** As in segment registers: access byte in bits 0–7, AVL L D/B G in 12–15. */
  readonly attributes: number
  readonly type: number
  /** Code or data segment, not a system descriptor. */
  readonly segment: boolean
  readonly code: boolean
  readonly dpl: number
  readonly present: boolean
  /** Linear address of the descriptor. */
  readonly address: bigint
}

export function parseDescriptor(low: number, high: number, address: bigint): Descriptor {
  const granular = (high & 0x800000) !== 0
  const limit = (low & 0xffff) | (high & 0xf0000)
  const access = (high >>> 8) & 0xff
  return {
    low,
    high,
    base: BigInt(((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000)) >>> 0),
    limit: granular ? ((limit << 12) | 0xfff) >>> 0 : limit,
    attributes: access | ((high >>> 8) & 0xf000),
    type: access & 15,
    segment: (access & 0x10) !== 0,
    code: (access & 0x18) === 0x18,
    dpl: (access >> 5) & 3,
    present: (access & 0x80) !== 0,
    address,
  }
}

/** Read a selector's descriptor from the GDT or LDT; `vector` with the selector as error code when it is outside the table. */
export function readDescriptor(cpu: Cpu, selector: number, vector: number = VECTOR.GP, external = 0): Descriptor {
  const local = (selector & 4) !== 0
  const error = (selector & 0xfffc) | external
  let base: bigint
  let limit: number
  if (local) {
    if (cpu.segmentAttributes(SEGMENT.LDTR) & UNUSABLE) cpu.fault(vector, error)
    base = cpu.segmentBase(SEGMENT.LDTR)
    limit = cpu.segmentLimit(SEGMENT.LDTR)
  } else {
    base = cpu.get64(STATE.GDTR_BASE)
    limit = cpu.get32(STATE.GDTR_LIMIT)
  }
  if ((selector | 7) > limit) cpu.fault(vector, error)
  const address = BigInt.asUintN(cpu.longMode ? 64 : 32, base + BigInt(selector & 0xfff8))
  return parseDescriptor(cpu.readU32(address, true), cpu.readU32(BigInt.asUintN(64, address + 4n), true), address)
}

/** The base of a 16-byte system descriptor (IA-32e mode). */
export function wideBase(cpu: Cpu, descriptor: Descriptor): bigint {
  return descriptor.base | (BigInt(cpu.readU32(descriptor.address + 8n, true)) << 32n)
}

/** Set the accessed bit of a code or data descriptor. */
export function markAccessed(cpu: Cpu, descriptor: Descriptor): void {
  if (!(descriptor.high & 0x100)) cpu.writeU8(descriptor.address + 5n, ((descriptor.high >>> 8) & 0xff) | 1, true)
}

/** Load ES, DS, FS, GS or SS with a selector, as MOV and POP do. */
export function loadSegment(cpu: Cpu, segment: number, selector: number): void {
  if (!cpu.protectedMode || cpu.virtual8086) {
    const attributes = cpu.virtual8086 ? 0xf3 : cpu.segmentAttributes(segment) & ~UNUSABLE
    cpu.setSegment(segment, selector, BigInt(selector * 16), cpu.virtual8086 ? 0xffff : cpu.segmentLimit(segment), attributes)
    if (segment === SEGMENT.SS) cpu.updateMode()
    return
  }
  if (segment === SEGMENT.SS) {
    loadStackSegment(cpu, selector, cpu.cpl, VECTOR.SS)
    return
  }
  if ((selector & 0xfffc) === 0) {
    cpu.setSegment(segment, selector, 0n, 0, UNUSABLE)
    return
  }
  const error = selector & 0xfffc
  const d = readDescriptor(cpu, selector)
  if (!d.segment || (d.code && !(d.type & 2))) cpu.fault(VECTOR.GP, error)
  if (!(d.code && d.type & 4) && (d.dpl < (selector & 3) || d.dpl < cpu.cpl)) cpu.fault(VECTOR.GP, error)
  if (!d.present) cpu.fault(VECTOR.NP, error)
  markAccessed(cpu, d)
  cpu.setSegment(segment, selector, d.base, d.limit, d.attributes | 1)
}

/** Load SS for a privilege level. `notPresent` is the vector when the segment is not present; `invalid` when it is not a stack segment of that level. */
export function loadStackSegment(cpu: Cpu, selector: number, cpl: number, notPresent: number, invalid: number = VECTOR.GP): void {
  const apply = checkStackSegment(cpu, selector, cpl, notPresent, invalid)
  apply()
}

/** The checks of {@link loadStackSegment}; the result does the load. */
export function checkStackSegment(
  cpu: Cpu,
  selector: number,
  cpl: number,
  notPresent: number,
  invalid: number = VECTOR.GP,
  to64: boolean = cpu.longMode && (cpu.segmentAttributes(SEGMENT.CS) & 0x2000) !== 0,
): () => void {
  const error = selector & 0xfffc
  if (error === 0) {
    if (!to64 || cpl === 3 || (selector & 3) !== cpl) cpu.fault(invalid, 0)
    return () => {
      cpu.setSegment(SEGMENT.SS, selector, 0n, 0xffffffff, UNUSABLE | 0x4000 | (cpl << 5))
      cpu.updateMode()
    }
  }
  const d = readDescriptor(cpu, selector, invalid)
  if ((selector & 3) !== cpl || !d.segment || d.code || !(d.type & 2) || d.dpl !== cpl) cpu.fault(invalid, error)
  if (!d.present) cpu.fault(notPresent, error)
  return () => {
    markAccessed(cpu, d)
    cpu.setSegment(SEGMENT.SS, selector, d.base, d.limit, d.attributes | 1)
    cpu.updateMode()
  }
}

/** Put a checked code segment into CS, with the new CPL as RPL. */
export function setCodeSegment(cpu: Cpu, selector: number, descriptor: Descriptor, cpl: number): void {
  markAccessed(cpu, descriptor)
  cpu.setSegment(SEGMENT.CS, (selector & 0xfffc) | cpl, descriptor.base, descriptor.limit, descriptor.attributes | 1)
  cpu.set32(STATE.CPL, cpl)
  cpu.updateMode()
}
