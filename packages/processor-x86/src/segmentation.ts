// Segment descriptors and loads of segment registers (SDM vol. 3, 3.4, 5.5–5.8).

import type { Cpu } from './cpu.ts'
import { VECTOR } from './instruction/emitter.ts'
import { SEGMENT, STATE } from './state-layout.ts'

/** Attributes of a segment register that holds a null selector. */
export const UNUSABLE = 0x10000

/** Types of system descriptors (SDM vol. 3, table 3-2). */
export const TYPE = {
  TSS16: 1,
  LDT: 2,
  TSS16_BUSY: 3,
  CALL_GATE16: 4,
  TASK_GATE: 5,
  INTERRUPT_GATE16: 6,
  TRAP_GATE16: 7,
  TSS32: 9,
  TSS32_BUSY: 11,
  CALL_GATE32: 12,
  INTERRUPT_GATE32: 14,
  TRAP_GATE32: 15,
} as const

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

function parseDescriptor(low: number, high: number, address: bigint): Descriptor {
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

/** A selector's descriptor, or undefined when the selector is null or outside its table. */
export function findDescriptor(cpu: Cpu, selector: number): Descriptor | undefined {
  if ((selector & 0xfffc) === 0) return undefined
  let base: bigint
  let limit: number
  if (selector & 4) {
    if (cpu.segmentAttributes(SEGMENT.LDTR) & UNUSABLE) return undefined
    base = cpu.segmentBase(SEGMENT.LDTR)
    limit = cpu.segmentLimit(SEGMENT.LDTR)
  } else {
    base = cpu.get64(STATE.GDTR_BASE)
    limit = cpu.get32(STATE.GDTR_LIMIT)
  }
  if ((selector | 7) > limit) return undefined
  const address = BigInt.asUintN(cpu.longMode ? 64 : 32, base + BigInt(selector & 0xfff8))
  return parseDescriptor(cpu.readU32(address, true), cpu.readU32(BigInt.asUintN(64, address + 4n), true), address)
}

/** Read a selector's descriptor; `vector` with the selector as error code when there is none. */
export function readDescriptor(cpu: Cpu, selector: number, vector: number = VECTOR.GP, external = 0): Descriptor {
  return findDescriptor(cpu, selector) ?? cpu.fault(vector, (selector & 0xfffc) | external)
}

/** The base of a 16-byte system descriptor (IA-32e mode). */
export function wideBase(cpu: Cpu, descriptor: Descriptor): bigint {
  return descriptor.base | (BigInt(cpu.readU32(descriptor.address + 8n, true)) << 32n)
}

/** Set the accessed bit of a code or data descriptor. */
export function markAccessed(cpu: Cpu, descriptor: Descriptor): void {
  if (!(descriptor.high & 0x100)) cpu.writeU8(descriptor.address + 5n, ((descriptor.high >>> 8) & 0xff) | 1, true)
}

/** Load CS with a paragraph number, as real-address mode does: limit and size stay what protected mode left, and the segment can be written to. In virtual-8086 mode nothing but the base changes. */
export function loadRealCode(cpu: Cpu, selector: number): void {
  const attributes = cpu.segmentAttributes(SEGMENT.CS)
  const writable = cpu.protectedMode ? attributes : (attributes & ~0xff) | 0x93
  cpu.setSegment(SEGMENT.CS, selector, BigInt(selector * 16), cpu.segmentLimit(SEGMENT.CS), writable)
  cpu.updateMode()
}

/** Load ES, DS, FS, GS or SS with a selector, as MOV and POP do. */
export function loadSegment(cpu: Cpu, segment: number, selector: number): void {
  if (!cpu.protectedMode || cpu.virtual8086) {
    // real-address mode keeps limit and rights that protected mode left
    const kept = !cpu.virtual8086 && !(cpu.segmentAttributes(segment) & UNUSABLE)
    const attributes = cpu.virtual8086 ? 0xf3 : kept ? cpu.segmentAttributes(segment) : 0x93
    cpu.setSegment(segment, selector, BigInt(selector * 16), kept ? cpu.segmentLimit(segment) : 0xffff, attributes)
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
function loadStackSegment(
  cpu: Cpu,
  selector: number,
  cpl: number,
  notPresent: number,
  invalid: number = VECTOR.GP,
): void {
  const to64 = cpu.longMode && (cpu.segmentAttributes(SEGMENT.CS) & 0x2000) !== 0
  setStackSegment(cpu, selector, checkStackSegment(cpu, selector, cpl, notPresent, invalid, to64), cpl)
  cpu.updateMode()
}

/**
 * The checks of {@link loadStackSegment}, for code that will run in 64-bit mode or not. Undefined for a null selector, which 64-bit mode allows above ring 3.
 * The descriptor's accessed bit is set already.
 */
export function checkStackSegment(
  cpu: Cpu,
  selector: number,
  cpl: number,
  notPresent: number,
  invalid: number,
  to64: boolean,
  external = 0,
): Descriptor | undefined {
  const error = (selector & 0xfffc) | external
  if ((selector & 0xfffc) === 0) {
    if (!to64 || cpl === 3 || (selector & 3) !== cpl) cpu.fault(invalid, external)
    return undefined
  }
  const d = readDescriptor(cpu, selector, invalid, external)
  if ((selector & 3) !== cpl || !d.segment || d.code || !(d.type & 2) || d.dpl !== cpl) cpu.fault(invalid, error)
  if (!d.present) cpu.fault(notPresent, error)
  markAccessed(cpu, d)
  return d
}

/** Put a checked stack segment into SS. {@link Cpu.updateMode} has to follow. */
export function setStackSegment(cpu: Cpu, selector: number, descriptor: Descriptor | undefined, cpl: number): void {
  if (descriptor) cpu.setSegment(SEGMENT.SS, selector, descriptor.base, descriptor.limit, descriptor.attributes | 1)
  else cpu.setSegment(SEGMENT.SS, selector, 0n, 0xffffffff, UNUSABLE | 0x4000 | (cpl << 5))
}

/** Put a checked code segment into CS, with the new CPL as RPL. Its accessed bit must be set before, by {@link markAccessed}: that may fault. */
export function setCodeSegment(cpu: Cpu, selector: number, descriptor: Descriptor, cpl: number): void {
  cpu.setSegment(SEGMENT.CS, (selector & 0xfffc) | cpl, descriptor.base, descriptor.limit, descriptor.attributes | 1)
  cpu.set32(STATE.CPL, cpl)
  cpu.updateMode()
}
