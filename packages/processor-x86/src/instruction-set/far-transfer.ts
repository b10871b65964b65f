// Control transfer between code segments (SDM vol. 1, 6.4–6.5; vol. 3, 5.8 and chapter 7): far JMP, CALL and RET, call gates, task switches, IRET, software interrupts.

import { type Cpu, FLAG } from '../cpu.ts'
import { returnFast } from '../fast-events.ts'
import { innerStack, pushInner, readTaskStack } from '../inner-stack.ts'
import { type InstructionDefinition, type InstructionOptions, instruction } from '../instruction/definition.ts'
import { VECTOR } from '../instruction/emitter.ts'
import { type SystemSemantics, system } from '../instruction/system.ts'
import {
  ioPrivilege,
  is64,
  isCanonical,
  peek,
  push,
  readInteger,
  setStackPointer,
  stackAddress,
} from '../instruction/system-operand.ts'
import { deliver } from '../interrupt-delivery.ts'
import {
  checkStackSegment,
  type Descriptor,
  findDescriptor,
  loadRealCode,
  markAccessed,
  readDescriptor,
  setCodeSegment,
  setStackSegment,
  TYPE,
  UNUSABLE,
  wideBase,
} from '../segmentation.ts'
import { GPR, RECORD, SEGMENT, STATE, STATUS } from '../state-layout.ts'
import { checkAvailable, switchTask } from '../task-switch.ts'

const ENDS: InstructionOptions = { ends: true }

/** Real-address and virtual-8086 mode: a selector is a paragraph number. */
function isReal(cpu: Cpu): boolean {
  return !cpu.protectedMode || cpu.virtual8086
}
function setRealCode(cpu: Cpu, selector: number, ip: bigint): number {
  loadRealCode(cpu, selector)
  return cpu.jump(ip)
}
function truncate(offset: bigint, size: number): bigint {
  return BigInt.asUintN(size * 8, offset)
}
/** Whether code in this segment runs in 64-bit mode. */
function to64(cpu: Cpu, target: Descriptor): boolean {
  return cpu.longMode && (target.attributes & 0x2000) !== 0
}
/** #GP(0) when the target is not canonical, or beyond the segment's limit. */
function checkOffset(cpu: Cpu, target: Descriptor, offset: bigint): void {
  if (to64(cpu, target) ? !isCanonical(offset) : offset > BigInt(target.limit)) cpu.fault(VECTOR.GP, 0)
}
/** IA-32e mode has no segments that are both 64-bit and 32-bit. */
function checkCodeBits(cpu: Cpu, target: Descriptor, error: number): void {
  if (cpu.longMode && (target.attributes & 0x6000) === 0x6000) cpu.fault(VECTOR.GP, error)
}
/** The offset as it is used in the target's mode. */
function offsetFor(cpu: Cpu, target: Descriptor, offset: bigint): bigint {
  return to64(cpu, target) ? offset : offset & 0xffffffffn
}
function enter(cpu: Cpu, selector: number, target: Descriptor, cpl: number, offset: bigint): number {
  setCodeSegment(cpu, selector, target, cpl)
  return cpu.jump(offset)
}

// --- JMP and CALL

function transfer(cpu: Cpu, record: number, selector: number, offset: bigint, size: number, call: boolean): number {
  if (isReal(cpu)) {
    if (offset > BigInt(cpu.segmentLimit(SEGMENT.CS))) cpu.fault(VECTOR.GP, 0)
    if (call) push(cpu, size, BigInt(cpu.segmentSelector(SEGMENT.CS)), truncate(cpu.nextRipOf(record), size))
    return setRealCode(cpu, selector, offset)
  }
  const error = selector & 0xfffc
  if (error === 0) cpu.fault(VECTOR.GP, 0)
  const d = readDescriptor(cpu, selector)
  const { cpl } = cpu
  if (d.code) {
    if (d.type & 4 ? d.dpl > cpl : (selector & 3) > cpl || d.dpl !== cpl) cpu.fault(VECTOR.GP, error)
    checkCodeBits(cpu, d, error)
    if (!d.present) cpu.fault(VECTOR.NP, error)
    const target = offsetFor(cpu, d, offset)
    checkOffset(cpu, d, target)
    markAccessed(cpu, d)
    if (call) push(cpu, size, BigInt(cpu.segmentSelector(SEGMENT.CS)), truncate(cpu.nextRipOf(record), size))
    return enter(cpu, selector, d, cpl, target)
  }
  if (d.segment) cpu.fault(VECTOR.GP, error)
  const gate = d.type === TYPE.CALL_GATE32 || (d.type === TYPE.CALL_GATE16 && !cpu.longMode)
  const task = !cpu.longMode && (d.type === TYPE.TASK_GATE || d.type === TYPE.TSS32 || d.type === TYPE.TSS16)
  if (!gate && !task) cpu.fault(VECTOR.GP, error)
  if (d.dpl < cpl || d.dpl < (selector & 3)) cpu.fault(VECTOR.GP, error)
  if (!d.present) cpu.fault(VECTOR.NP, error)
  if (gate) return throughGate(cpu, record, d, error, call)

  cpu.set64(STATE.RIP, cpu.nextRipOf(record))
  let tssSelector = selector
  let tss = d
  if (d.type === TYPE.TASK_GATE) {
    tssSelector = d.low >>> 16
    if (tssSelector & 4) cpu.fault(VECTOR.GP, tssSelector & 0xfffc)
    tss = readDescriptor(cpu, tssSelector)
    checkAvailable(cpu, tss, tssSelector & 0xfffc)
  }
  switchTask(cpu, tssSelector, tss, call ? 'call' : 'jump', 0, undefined, record)
  return STATUS.JUMP
}

function throughGate(cpu: Cpu, record: number, gate: Descriptor, gateError: number, call: boolean): number {
  const { cpl, longMode } = cpu
  const wide = gate.type === TYPE.CALL_GATE32
  const size = longMode ? 8 : wide ? 4 : 2
  const selector = gate.low >>> 16
  let offset = BigInt(wide ? ((gate.high & 0xffff0000) | (gate.low & 0xffff)) >>> 0 : gate.low & 0xffff)
  if (longMode) {
    // the upper half's type field must be 0
    const upper = cpu.readU32(gate.address + 12n, true)
    if (upper & 0x1f00) cpu.fault(VECTOR.GP, gateError)
    offset |= wideBase(cpu, gate) & 0xffffffff00000000n
  }
  const error = selector & 0xfffc
  if (error === 0) cpu.fault(VECTOR.GP, 0)
  const d = readDescriptor(cpu, selector)
  if (!d.code || d.dpl > cpl) cpu.fault(VECTOR.GP, error)
  if (longMode && (d.attributes & 0x6000) !== 0x2000) cpu.fault(VECTOR.GP, error)
  const conforming = (d.type & 4) !== 0
  if (!call && !conforming && d.dpl !== cpl) cpu.fault(VECTOR.GP, error)
  if (!d.present) cpu.fault(VECTOR.NP, error)
  checkOffset(cpu, d, offset)
  markAccessed(cpu, d)
  const newCpl = conforming ? cpl : d.dpl
  if (!call) return enter(cpu, selector, d, cpl, offset)
  const oldCs = cpu.segmentSelector(SEGMENT.CS)
  const returnTo = cpu.nextRipOf(record)
  if (newCpl === cpl) {
    push(cpu, size, BigInt(oldCs), truncate(returnTo, size))
    return enter(cpu, selector, d, cpl, offset)
  }
  // to an inner level, on its own stack
  const oldSs = cpu.segmentSelector(SEGMENT.SS)
  if (longMode) {
    const rsp = readTaskStack(cpu, 4 + newCpl * 8, 0)
    const bottom = BigInt.asUintN(64, rsp - 32n)
    if (!isCanonical(rsp) || !isCanonical(bottom)) cpu.fault(VECTOR.SS, 0)
    cpu.probeWrite(bottom, 32, true)
    cpu.writeU64(bottom, returnTo, true)
    cpu.writeU64(bottom + 8n, BigInt(oldCs), true)
    cpu.writeU64(bottom + 16n, cpu.gpr(GPR.RSP), true)
    cpu.writeU64(bottom + 24n, BigInt(oldSs), true)
    setStackSegment(cpu, newCpl, undefined, newCpl)
    cpu.setGpr(GPR.RSP, bottom)
    return enter(cpu, selector, d, newCpl, offset)
  }
  const { ss, esp } = innerStack(cpu, newCpl, 0)
  const stack = checkStackSegment(cpu, ss, newCpl, VECTOR.SS, VECTOR.TS, false)
  if (!stack) return cpu.fault(VECTOR.TS, 0)
  const words = [oldSs, cpu.gpr32(GPR.RSP)]
  for (let i = (gate.high & 31) - 1; i >= 0; i--) words.push(Number(peek(cpu, i * size, size)))
  words.push(oldCs, Number(returnTo & 0xffffffffn) | 0)
  const newEsp = pushInner(cpu, stack, esp, words, size, ss & 0xfffc)
  setStackSegment(cpu, ss, stack, newCpl)
  cpu.setGpr32(GPR.RSP, newEsp)
  return enter(cpu, selector, d, newCpl, offset)
}

const farDirect = (call: boolean): SystemSemantics =>
  system((cpu, record, form) => {
    const offset = BigInt(cpu.view.getUint32(record + RECORD.IMMEDIATE, true))
    const selector = cpu.view.getUint16(record + RECORD.IMMEDIATE + 4, true)
    return transfer(cpu, record, selector, truncate(offset, form.operandSize), form.operandSize, call)
  })
const farIndirect = (call: boolean): SystemSemantics =>
  system((cpu, record, form) => {
    const size = form.operandSize
    const at = cpu.linearAddress(record, size + 2, 'read')
    const offset = readInteger(cpu, at, size)
    const selector = cpu.readU16(BigInt.asUintN(64, at + BigInt(size)))
    return transfer(cpu, record, selector, offset, size, call)
  })

// --- returns

/** The code segment that a far return or IRET goes to. */
function returnTarget(cpu: Cpu, selector: number): Descriptor {
  const error = selector & 0xfffc
  if (error === 0) cpu.fault(VECTOR.GP, 0)
  const rpl = selector & 3
  if (rpl < cpu.cpl) cpu.fault(VECTOR.GP, error)
  const d = readDescriptor(cpu, selector)
  if (!d.code || (d.type & 4 ? d.dpl > rpl : d.dpl !== rpl)) cpu.fault(VECTOR.GP, error)
  checkCodeBits(cpu, d, error)
  if (!d.present) cpu.fault(VECTOR.NP, error)
  return d
}
/** Data segments that the outer level may not use become null (SDM vol. 3, 5.8.6). */
function dropInnerSegments(cpu: Cpu, cpl: number): void {
  dropInnerSegment(cpu, SEGMENT.ES, cpl)
  dropInnerSegment(cpu, SEGMENT.DS, cpl)
  dropInnerSegment(cpu, SEGMENT.FS, cpl)
  dropInnerSegment(cpu, SEGMENT.GS, cpl)
}
function dropInnerSegment(cpu: Cpu, segment: number, cpl: number): void {
  const attributes = cpu.segmentAttributes(segment)
  if (attributes & UNUSABLE) return
  const conforming = (attributes & 0x1c) === 0x1c
  if (!conforming && ((attributes >> 5) & 3) < cpl) cpu.setLowSegment(segment, 0, 0, 0, UNUSABLE)
}
/** Load the stack pointer as the mode and SS that are loaded already address it. */
function loadStackPointer(cpu: Cpu, rsp: bigint): void {
  if (is64(cpu)) cpu.setGpr(GPR.RSP, rsp)
  else setStackPointer(cpu, rsp)
}

const retf = system((cpu, record, form) => {
  const size = form.operandSize
  const released = form.operands.length > 0 ? BigInt(cpu.view.getUint16(record + RECORD.IMMEDIATE, true)) : 0n
  const offset = peek(cpu, 0, size)
  const selector = Number(peek(cpu, size, size) & 0xffffn)
  const above = cpu.gpr(GPR.RSP) + BigInt(2 * size) + released
  if (isReal(cpu)) {
    if (offset > BigInt(cpu.segmentLimit(SEGMENT.CS))) cpu.fault(VECTOR.GP, 0)
    setStackPointer(cpu, above)
    return setRealCode(cpu, selector, offset)
  }
  const target = returnTarget(cpu, selector)
  const rip = offsetFor(cpu, target, offset)
  checkOffset(cpu, target, rip)
  const cpl = selector & 3
  if (cpl === cpu.cpl) {
    markAccessed(cpu, target)
    setStackPointer(cpu, above)
    return enter(cpu, selector, target, cpl, rip)
  }
  const sp = readInteger(cpu, stackAddress(cpu, above, size, 'read'), size)
  const ss = Number(readInteger(cpu, stackAddress(cpu, above + BigInt(size), size, 'read'), size) & 0xffffn)
  const stack = checkStackSegment(cpu, ss, cpl, VECTOR.SS, VECTOR.GP, to64(cpu, target))
  markAccessed(cpu, target)
  setStackSegment(cpu, ss, stack, cpl)
  enter(cpu, selector, target, cpl, rip)
  loadStackPointer(cpu, BigInt.asUintN(64, sp + released))
  dropInnerSegments(cpu, cpl)
  return STATUS.JUMP
})

/** The flags that IRET may change at this privilege (SDM vol. 2, IRET). */
function returnFlags(cpu: Cpu, size: number): number {
  let mask = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.TF | FLAG.DF | FLAG.OF | FLAG.NT
  if (size > 2) mask |= FLAG.RF | FLAG.AC | FLAG.ID
  if (cpu.cpl <= ioPrivilege(cpu)) mask |= FLAG.IF
  if (cpu.cpl === 0) mask |= FLAG.IOPL | (size > 2 ? FLAG.VIF | FLAG.VIP : 0)
  return mask
}

const iret = system((cpu, record, form) => {
  const size = form.operandSize
  // NMIs come through again, even when this IRET faults (SDM vol. 3, 6.7.1)
  cpu.nmiBlocked = false
  if (isReal(cpu)) {
    if (cpu.protectedMode && ioPrivilege(cpu) < 3) cpu.fault(VECTOR.GP, 0)
    const ip = peek(cpu, 0, size)
    const selector = Number(peek(cpu, size, size) & 0xffffn)
    const image = Number(peek(cpu, 2 * size, size) & 0xffffffffn)
    if (ip > BigInt(cpu.segmentLimit(SEGMENT.CS))) cpu.fault(VECTOR.GP, 0)
    const kept = FLAG.VM | FLAG.VIF | FLAG.VIP | (cpu.virtual8086 ? FLAG.IOPL : 0)
    const mask = (size === 2 ? 0xffff : 0x3fffff) & ~kept
    setStackPointer(cpu, cpu.gpr(GPR.RSP) + BigInt(3 * size))
    cpu.flags = (cpu.flags & ~mask) | (image & mask)
    return setRealCode(cpu, selector, ip)
  }
  if (cpu.get32(STATE.FLAGS_REST) & FLAG.NT) {
    if (cpu.longMode) cpu.fault(VECTOR.GP, 0)
    return returnToTask(cpu, record)
  }
  if (size === 8 && is64(cpu)) {
    const before = cpu.cpl
    if (returnFast(cpu, returnFlags(cpu, size))) {
      if (cpu.cpl > before) dropInnerSegments(cpu, cpu.cpl)
      return STATUS.JUMP
    }
  }
  const offset = peek(cpu, 0, size)
  const selector = Number(peek(cpu, size, size) & 0xffffn)
  const image = Number(peek(cpu, 2 * size, size) & 0xffffffffn)
  if (image & FLAG.VM && size === 4 && cpu.cpl === 0 && !cpu.longMode)
    return returnToVirtual(cpu, selector, offset, image)
  const target = returnTarget(cpu, selector)
  const rip = offsetFor(cpu, target, offset)
  checkOffset(cpu, target, rip)
  const cpl = selector & 3
  const outer = cpl > cpu.cpl
  const mask = returnFlags(cpu, size)
  // 64-bit mode returns with a stack always
  if (outer || is64(cpu)) {
    const sp = peek(cpu, 3 * size, size)
    const ss = Number(peek(cpu, 4 * size, size) & 0xffffn)
    const stack = checkStackSegment(cpu, ss, cpl, VECTOR.SS, VECTOR.GP, to64(cpu, target))
    markAccessed(cpu, target)
    setStackSegment(cpu, ss, stack, cpl)
    cpu.flags = (cpu.flags & ~mask) | (image & mask)
    enter(cpu, selector, target, cpl, rip)
    loadStackPointer(cpu, sp)
    if (outer) dropInnerSegments(cpu, cpl)
    return STATUS.JUMP
  }
  markAccessed(cpu, target)
  setStackPointer(cpu, cpu.gpr(GPR.RSP) + BigInt(3 * size))
  cpu.flags = (cpu.flags & ~mask) | (image & mask)
  return enter(cpu, selector, target, cpl, rip)
})

/** IRETD of ring 0 to virtual-8086 mode: EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS. */
function returnToVirtual(cpu: Cpu, cs: number, offset: bigint, image: number): number {
  if (offset > 0xffffn) cpu.fault(VECTOR.GP, 0)
  const values: number[] = []
  for (let i = 3; i < 9; i++) values.push(Number(peek(cpu, i * 4, 4)))
  const [esp, ss, es, ds, fs, gs] = values as [number, number, number, number, number, number]
  cpu.flags = (image & 0x3f7fd5) | FLAG.FIXED
  const load = (segment: number, value: number): void => {
    cpu.setSegment(segment, value & 0xffff, BigInt((value & 0xffff) * 16), 0xffff, 0xf3)
  }
  load(SEGMENT.CS, cs)
  load(SEGMENT.SS, ss)
  load(SEGMENT.ES, es)
  load(SEGMENT.DS, ds)
  load(SEGMENT.FS, fs)
  load(SEGMENT.GS, gs)
  cpu.set32(STATE.CPL, 3)
  cpu.setGpr32(GPR.RSP, esp | 0)
  cpu.updateMode()
  return cpu.jump(offset)
}

/** IRET of a nested task: back along the link of its TSS. */
function returnToTask(cpu: Cpu, record: number): number {
  const selector = cpu.readU16(cpu.segmentBase(SEGMENT.TR), true)
  const error = selector & 0xfffc
  const tss = selector & 4 ? undefined : findDescriptor(cpu, selector)
  if (!tss || tss.segment || (tss.type !== TYPE.TSS32_BUSY && tss.type !== TYPE.TSS16_BUSY))
    return cpu.fault(VECTOR.TS, error)
  if (!tss.present) cpu.fault(VECTOR.NP, error)
  cpu.set64(STATE.RIP, cpu.nextRipOf(record))
  switchTask(cpu, selector, tss, 'iret', 0, undefined, record)
  return STATUS.JUMP
}

// --- software interrupts

function softwareInterrupt(cpu: Cpu, record: number, vector: number): number {
  cpu.setRip(record, cpu.u8[record + RECORD.LENGTH] as number)
  deliver(cpu, vector, 'software', 0, record)
  cpu.trapSuppressed = true
  return STATUS.JUMP
}
const int = system((cpu, record) => {
  if (cpu.virtual8086 && cpu.protectedMode && ioPrivilege(cpu) < 3) cpu.fault(VECTOR.GP, 0)
  return softwareInterrupt(cpu, record, cpu.u8[record + RECORD.IMMEDIATE] as number)
})
const int3 = system((cpu, record) => softwareInterrupt(cpu, record, VECTOR.BP))
const into = system((cpu, record) => {
  if (cpu.flags & FLAG.OF) return softwareInterrupt(cpu, record, VECTOR.OF)
  return cpu.jump(cpu.nextRipOf(record))
})
/** INT1 is privileged software exception 1: no DPL check. */
const int1 = system((cpu, record) => {
  cpu.set64(STATE.RIP, cpu.nextRipOf(record))
  deliver(cpu, VECTOR.DB, 'external', 0, record)
  cpu.trapSuppressed = true
  return STATUS.JUMP
})

export const FAR_TRANSFER: readonly InstructionDefinition[] = [
  instruction('JMP', 'EA cp', 'Ap', farDirect(false), { mode: 'legacy', ends: true }),
  instruction('CALL', '9A cp', 'Ap', farDirect(true), { mode: 'legacy', ends: true }),
  instruction('JMP', 'FF /5', 'Mp', farIndirect(false), ENDS),
  instruction('CALL', 'FF /3', 'Mp', farIndirect(true), ENDS),
  instruction('RET', 'CB', '', retf, ENDS),
  instruction('RET', 'CA iw', 'Iw', retf, ENDS),
  instruction('IRET', 'CF', '', iret, ENDS),
  instruction('INT', 'CD ib', 'Ib', int, ENDS),
  instruction('INT3', 'CC', '', int3, ENDS),
  instruction('INTO', 'CE', '', into, { mode: 'legacy', ends: true }),
  instruction('INT1', 'F1', '', int1, ENDS),
]
