// Delivery of exceptions and interrupts through the IDT (SDM vol. 3, chapter 6), in real, protected and IA-32e mode.

import type { Cpu } from './cpu.ts'
import { FLAG } from './cpu.ts'
import { VECTOR } from './instruction/emitter.ts'
import { checkStackSegment, type Descriptor, readDescriptor, setCodeSegment, UNUSABLE } from './segmentation.ts'
import { GPR, SEGMENT, STATE } from './state-layout.ts'
import { switchTaskByGate } from './task-switch.ts'

/** Where an event comes from: decides DPL checks, the EXT bit and RF. */
export type EventKind = 'exception' | 'software' | 'external'

/** Vectors that push an error code. */
const WITH_ERROR = new Set<number>([VECTOR.DF, VECTOR.TS, VECTOR.NP, VECTOR.SS, VECTOR.GP, VECTOR.PF, VECTOR.AC])
/** Traps: RIP is already after the instruction, and RF is not pushed set. */
const TRAPS = new Set<number>([VECTOR.BP, VECTOR.OF])

export function hasErrorCode(vector: number): boolean {
  return WITH_ERROR.has(vector)
}

/**
 * Deliver an event. STATE.RIP is the RIP to push. Throws the guest fault that its delivery meets, with nothing changed.
 */
export function deliver(cpu: Cpu, vector: number, kind: EventKind, errorCode: number): void {
  if (!cpu.protectedMode) return deliverReal(cpu, vector)
  if (cpu.longMode) return deliverLong(cpu, vector, kind, errorCode)
  return deliverProtected(cpu, vector, kind, errorCode)
}

/** EFLAGS as pushed. */
function pushedFlags(cpu: Cpu, vector: number, kind: EventKind): number {
  const flags = cpu.flags
  if (kind === 'exception' && !TRAPS.has(vector) && vector !== VECTOR.DB) return flags | FLAG.RF
  return flags
}

function gateError(vector: number, kind: EventKind): number {
  return (vector << 3) | 2 | (kind === 'software' ? 0 : 1)
}

/** The target code segment of a gate: checked against CPL. */
function gateTarget(cpu: Cpu, selector: number, external: number): Descriptor {
  if ((selector & 0xfffc) === 0) cpu.fault(VECTOR.GP, external)
  const target = readDescriptor(cpu, selector, VECTOR.GP, external)
  const error = (selector & 0xfffc) | external
  if (!target.code || target.dpl > cpu.cpl) cpu.fault(VECTOR.GP, error)
  if (!target.present) cpu.fault(VECTOR.NP, error)
  return target
}

function deliverLong(cpu: Cpu, vector: number, kind: EventKind, errorCode: number): void {
  const external = kind === 'software' ? 0 : 1
  const error = gateError(vector, kind)
  if (vector * 16 + 15 > cpu.get32(STATE.IDTR_LIMIT)) cpu.fault(VECTOR.GP, error)
  const address = BigInt.asUintN(64, cpu.get64(STATE.IDTR_BASE) + BigInt(vector * 16))
  const low = cpu.readU32(address, true)
  const high = cpu.readU32(address + 4n, true)
  const type = (high >>> 8) & 31
  if (type !== 0xe && type !== 0xf) cpu.fault(VECTOR.GP, error)
  if (kind === 'software' && ((high >>> 13) & 3) < cpu.cpl) cpu.fault(VECTOR.GP, error)
  if (!(high & 0x8000)) cpu.fault(VECTOR.NP, error)
  const offset = (BigInt(cpu.readU32(address + 8n, true)) << 32n) | BigInt(((high & 0xffff0000) | (low & 0xffff)) >>> 0)
  const selector = low >>> 16
  const target = gateTarget(cpu, selector, external)
  if ((target.attributes & 0x6000) !== 0x2000) cpu.fault(VECTOR.GP, (selector & 0xfffc) | external)

  const conforming = (target.type & 4) !== 0
  const cpl = conforming ? cpu.cpl : target.dpl
  const ist = high & 7
  const inner = cpl < cpu.cpl
  let rsp: bigint
  if (ist !== 0) rsp = readTaskState(cpu, 0x24 + (ist - 1) * 8, external)
  else if (inner) rsp = readTaskState(cpu, 4 + cpl * 8, external)
  else rsp = cpu.gpr(GPR.RSP)
  if ((ist !== 0 || inner) && BigInt.asUintN(64, BigInt.asIntN(48, rsp)) !== rsp) cpu.fault(VECTOR.SS, external)
  rsp &= ~15n
  const flags = pushedFlags(cpu, vector, kind)
  const oldSs = cpu.segmentSelector(SEGMENT.SS)
  const oldCs = cpu.segmentSelector(SEGMENT.CS)
  const words: bigint[] = [BigInt(oldSs), cpu.gpr(GPR.RSP), BigInt(flags >>> 0), BigInt(oldCs), cpu.get64(STATE.RIP)]
  if (kind === 'exception' && hasErrorCode(vector)) words.push(BigInt(errorCode >>> 0))
  const bottom = BigInt.asUintN(64, rsp - BigInt(words.length * 8))
  const supervisor = cpl < 3
  cpu.probeWrite(bottom, words.length * 8, supervisor)
  for (let i = 0; i < words.length; i++) {
    cpu.writeU64(BigInt.asUintN(64, rsp - BigInt((i + 1) * 8)), words[i] as bigint, supervisor)
  }
  setCodeSegment(cpu, selector, target, cpl)
  if (inner) cpu.setSegment(SEGMENT.SS, cpl, 0n, 0xffffffff, UNUSABLE | 0x4000 | (cpl << 5))
  cpu.setGpr(GPR.RSP, bottom)
  cpu.flags = flags & ~(FLAG.TF | FLAG.NT | FLAG.RF | FLAG.VM | (type === 0xe ? FLAG.IF : 0))
  cpu.updateMode()
  cpu.set64(STATE.RIP, offset)
}

/** A 64-bit field of the 64-bit TSS. */
function readTaskState(cpu: Cpu, offset: number, external: number): bigint {
  if (offset + 7 > cpu.segmentLimit(SEGMENT.TR)) cpu.fault(VECTOR.TS, (cpu.segmentSelector(SEGMENT.TR) & 0xfffc) | external)
  return cpu.readU64(BigInt.asUintN(64, cpu.segmentBase(SEGMENT.TR) + BigInt(offset)), true)
}

function deliverProtected(cpu: Cpu, vector: number, kind: EventKind, errorCode: number): void {
  const external = kind === 'software' ? 0 : 1
  const error = gateError(vector, kind)
  if (vector * 8 + 7 > cpu.get32(STATE.IDTR_LIMIT)) cpu.fault(VECTOR.GP, error)
  const address = (cpu.get64(STATE.IDTR_BASE) + BigInt(vector * 8)) & 0xffffffffn
  const low = cpu.readU32(address, true)
  const high = cpu.readU32(address + 4n, true)
  const type = (high >>> 8) & 31
  if (type !== 5 && type !== 6 && type !== 7 && type !== 0xe && type !== 0xf) cpu.fault(VECTOR.GP, error)
  if (kind === 'software' && ((high >>> 13) & 3) < cpu.cpl) cpu.fault(VECTOR.GP, error)
  if (!(high & 0x8000)) cpu.fault(VECTOR.NP, error)
  const selector = low >>> 16
  const pushError = kind === 'exception' && hasErrorCode(vector)
  if (type === 5) {
    switchTaskByGate(cpu, selector, external, pushError ? errorCode : undefined)
    return
  }
  const wide = type >= 0xe
  const size = wide ? 4 : 2
  const offset = BigInt(wide ? ((high & 0xffff0000) | (low & 0xffff)) >>> 0 : low & 0xffff)
  const target = gateTarget(cpu, selector, external)
  const conforming = (target.type & 4) !== 0
  const fromVirtual = cpu.virtual8086
  const cpl = conforming ? cpu.cpl : target.dpl
  if (fromVirtual && (conforming || target.dpl !== 0)) cpu.fault(VECTOR.GP, (selector & 0xfffc) | external)
  const flags = pushedFlags(cpu, vector, kind)
  const words: number[] = []
  const eip = Number(cpu.get64(STATE.RIP) & 0xffffffffn)
  const oldCs = cpu.segmentSelector(SEGMENT.CS)
  const newFlags = flags & ~(FLAG.TF | FLAG.NT | FLAG.RF | FLAG.VM | (type === 0xe || type === 6 ? FLAG.IF : 0))
  if (offset > BigInt(target.limit)) cpu.fault(VECTOR.GP, external)

  if (cpl < cpu.cpl) {
    const { ss, esp } = innerStack(cpu, cpl, external)
    const oldEsp = cpu.gpr32(GPR.RSP)
    const oldSs = cpu.segmentSelector(SEGMENT.SS)
    const load = checkStackSegment(cpu, ss, cpl, VECTOR.SS, VECTOR.TS, false)
    const stack = readDescriptor(cpu, ss, VECTOR.TS)
    if (fromVirtual) {
      words.push(
        cpu.segmentSelector(SEGMENT.GS),
        cpu.segmentSelector(SEGMENT.FS),
        cpu.segmentSelector(SEGMENT.DS),
        cpu.segmentSelector(SEGMENT.ES),
      )
    }
    words.push(oldSs, oldEsp, flags, oldCs, eip)
    if (pushError) words.push(errorCode)
    const mask = stack.attributes & 0x4000 ? 0xffffffff : 0xffff
    const top = esp & mask
    const bottom = (top - words.length * size) & mask
    if (!(stack.type & 4) && ((bottom >>> 0) + words.length * size - 1 > stack.limit || (bottom >>> 0) > (top >>> 0))) {
      cpu.fault(VECTOR.SS, (ss & 0xfffc) | external)
    }
    pushWords(cpu, stack.base, esp, mask, words, size)
    // VM is cleared before segments are loaded with protected-mode rules
    cpu.set32(STATE.FLAGS_REST, cpu.get32(STATE.FLAGS_REST) & ~FLAG.VM)
    if (fromVirtual) {
      for (const s of [SEGMENT.GS, SEGMENT.FS, SEGMENT.DS, SEGMENT.ES]) cpu.setSegment(s, 0, 0n, 0, UNUSABLE)
    }
    load()
    setCodeSegment(cpu, selector, target, cpl)
    const rsp = (esp & ~mask) | ((esp - words.length * size) & mask)
    cpu.setGpr32(GPR.RSP, rsp | 0)
  } else {
    words.push(flags, oldCs, eip)
    if (pushError) words.push(errorCode)
    const mask = cpu.get32(STATE.STACK_MASK)
    const esp = cpu.gpr32(GPR.RSP)
    const bottom = ((esp - words.length * size) & mask) >>> 0
    cpu.segmentAddress(SEGMENT.SS, BigInt(bottom), words.length * size, 'write')
    pushWords(cpu, cpu.segmentBase(SEGMENT.SS), esp, mask, words, size)
    setCodeSegment(cpu, selector, target, cpl)
    cpu.setGpr32(GPR.RSP, (esp & ~mask) | (bottom & mask))
  }
  cpu.flags = newFlags
  cpu.updateMode()
  cpu.set64(STATE.RIP, offset)
}

/** Store words below `esp`, first word highest. */
function pushWords(cpu: Cpu, base: bigint, esp: number, mask: number, words: readonly number[], size: number): void {
  const at = (i: number): bigint => (base + BigInt(((esp - (i + 1) * size) & mask) >>> 0)) & 0xffffffffn
  for (let i = 0; i < words.length; i++) cpu.probeWrite(at(i), size, true)
  words.forEach((word, i) => {
    if (size === 4) cpu.writeU32(at(i), word, true)
    else cpu.writeU16(at(i), word & 0xffff, true)
  })
}

/** SS:ESP for an inner privilege level from the 32-bit or 16-bit TSS. */
export function innerStack(cpu: Cpu, cpl: number, external: number): { ss: number; esp: number } {
  const type = cpu.segmentAttributes(SEGMENT.TR) & 15
  const error = (cpu.segmentSelector(SEGMENT.TR) & 0xfffc) | external
  const base = cpu.segmentBase(SEGMENT.TR)
  const limit = cpu.segmentLimit(SEGMENT.TR)
  if (type & 8) {
    const offset = 4 + cpl * 8
    if (offset + 5 > limit) cpu.fault(VECTOR.TS, error)
    return { esp: cpu.readU32(base + BigInt(offset), true), ss: cpu.readU16(base + BigInt(offset + 4), true) }
  }
  const offset = 2 + cpl * 4
  if (offset + 3 > limit) cpu.fault(VECTOR.TS, error)
  return { esp: cpu.readU16(base + BigInt(offset), true), ss: cpu.readU16(base + BigInt(offset + 2), true) }
}

function deliverReal(cpu: Cpu, vector: number): void {
  if (vector * 4 + 3 > cpu.get32(STATE.IDTR_LIMIT)) cpu.fault(VECTOR.GP, 0)
  const address = cpu.get64(STATE.IDTR_BASE) + BigInt(vector * 4)
  const ip = cpu.readU16(address, true)
  const cs = cpu.readU16(address + 2n, true)
  const mask = cpu.get32(STATE.STACK_MASK)
  const esp = cpu.gpr32(GPR.RSP)
  pushWords(cpu, cpu.segmentBase(SEGMENT.SS), esp, mask, [cpu.flags & 0xffff, cpu.segmentSelector(SEGMENT.CS), Number(cpu.get64(STATE.RIP) & 0xffffn)], 2)
  cpu.setGpr32(GPR.RSP, (esp & ~mask) | ((esp - 6) & mask))
  cpu.flags = cpu.flags & ~(FLAG.TF | FLAG.IF | FLAG.AC | FLAG.RF)
  cpu.setSegment(SEGMENT.CS, cs, BigInt(cs * 16), 0xffff, 0x9b)
  cpu.updateMode()
  cpu.set64(STATE.RIP, BigInt(ip))
}

