// Delivery of exceptions and interrupts through the IDT (SDM vol. 3, chapter 6), in real, protected and IA-32e mode.

import type { Cpu } from './cpu.ts'
import { FLAG } from './cpu.ts'
import { deliverFast } from './fast-events.ts'
import { innerStack, pushInner, pushWords, readTaskStack } from './inner-stack.ts'
import { VECTOR } from './instruction/emitter.ts'
import { isCanonical } from './instruction/system-operand.ts'
import {
  checkStackSegment,
  type Descriptor,
  loadRealCode,
  markAccessed,
  readDescriptor,
  setCodeSegment,
  setStackSegment,
  TYPE,
  UNUSABLE,
} from './segmentation.ts'
import { GPR, SEGMENT, STATE } from './state-layout.ts'
import { switchTaskByGate } from './task-switch.ts'

/** Where an event comes from: decides DPL checks, the EXT bit and RF. */
export type EventKind = 'exception' | 'software' | 'external'

/** Vectors that push an error code. */
const WITH_ERROR = new Set<number>([VECTOR.DF, VECTOR.TS, VECTOR.NP, VECTOR.SS, VECTOR.GP, VECTOR.PF, VECTOR.AC])
/** Traps: RIP is already after the instruction, and RF is not pushed set. */
const TRAPS = new Set<number>([VECTOR.BP, VECTOR.OF])

function hasErrorCode(vector: number): boolean {
  return WITH_ERROR.has(vector)
}

/**
 * Deliver an event. STATE.RIP is the RIP to push. Throws the guest fault that its delivery meets, with nothing changed, unless the fault is one of a task that it has switched to.
 * @param record of the instruction that is the event; 0 for an exception and a hardware interrupt
 */
export function deliver(cpu: Cpu, vector: number, kind: EventKind, errorCode: number, record = 0): void {
  if (!cpu.protectedMode) deliverReal(cpu, vector)
  else if (cpu.longMode) deliverLong(cpu, vector, kind, errorCode)
  else deliverProtected(cpu, vector, kind, errorCode, record)
}

/** EFLAGS as pushed. */
function pushedFlags(cpu: Cpu, vector: number, kind: EventKind): number {
  const flags = cpu.flags
  if (kind === 'exception' && !TRAPS.has(vector) && vector !== VECTOR.DB) return flags | FLAG.RF
  return flags
}
/** Flags that a handler starts without; an interrupt gate also clears IF. */
function clearFlags(cpu: Cpu, interruptGate: boolean): void {
  const cleared = FLAG.TF | FLAG.NT | FLAG.RF | FLAG.VM | (interruptGate ? FLAG.IF : 0)
  cpu.set32(STATE.FLAGS_REST, cpu.get32(STATE.FLAGS_REST) & ~cleared)
}

function gateError(vector: number, kind: EventKind): number {
  return (vector << 3) | 2 | (kind === 'software' ? 0 : 1)
}

/** The target code segment of a gate: checked against CPL, and marked accessed. */
function gateTarget(cpu: Cpu, selector: number, external: number, long: boolean): Descriptor {
  if ((selector & 0xfffc) === 0) cpu.fault(VECTOR.GP, external)
  const target = readDescriptor(cpu, selector, VECTOR.GP, external)
  const error = (selector & 0xfffc) | external
  if (!target.code || target.dpl > cpu.cpl) cpu.fault(VECTOR.GP, error)
  if (long && (target.attributes & 0x6000) !== 0x2000) cpu.fault(VECTOR.GP, error)
  if (!target.present) cpu.fault(VECTOR.NP, error)
  markAccessed(cpu, target)
  return target
}

function deliverLong(cpu: Cpu, vector: number, kind: EventKind, errorCode: number): void {
  const flags = pushedFlags(cpu, vector, kind)
  const pushError = kind === 'exception' && hasErrorCode(vector)
  if (deliverFast(cpu, vector, kind === 'software', pushError ? errorCode : -1, flags)) return
  const external = kind === 'software' ? 0 : 1
  const error = gateError(vector, kind)
  if (vector * 16 + 15 > cpu.get32(STATE.IDTR_LIMIT)) cpu.fault(VECTOR.GP, error)
  const address = BigInt.asUintN(64, cpu.get64(STATE.IDTR_BASE) + BigInt(vector * 16))
  const low = cpu.readU32(address, true)
  const high = cpu.readU32(address + 4n, true)
  const type = (high >>> 8) & 31
  if (type !== TYPE.INTERRUPT_GATE32 && type !== TYPE.TRAP_GATE32) cpu.fault(VECTOR.GP, error)
  if (kind === 'software' && ((high >>> 13) & 3) < cpu.cpl) cpu.fault(VECTOR.GP, error)
  if (!(high & 0x8000)) cpu.fault(VECTOR.NP, error)
  const offset = (BigInt(cpu.readU32(address + 8n, true)) << 32n) | BigInt(((high & 0xffff0000) | (low & 0xffff)) >>> 0)
  const selector = low >>> 16
  const target = gateTarget(cpu, selector, external, true)

  const cpl = target.type & 4 ? cpu.cpl : target.dpl
  const ist = high & 7
  const inner = cpl < cpu.cpl
  const old = cpu.gpr(GPR.RSP)
  let rsp = old
  if (ist !== 0) rsp = readTaskStack(cpu, 0x24 + (ist - 1) * 8, external)
  else if (inner) rsp = readTaskStack(cpu, 4 + cpl * 8, external)
  rsp &= ~15n
  const bytes = pushError ? 48 : 40
  const bottom = BigInt.asUintN(64, rsp - BigInt(bytes))
  if (!isCanonical(BigInt.asUintN(64, rsp - 1n)) || !isCanonical(bottom)) cpu.fault(VECTOR.SS, external)
  if (!isCanonical(offset)) cpu.fault(VECTOR.GP, external)
  const supervisor = cpl < 3
  cpu.probeWrite(bottom, bytes, supervisor)
  let at = bottom
  if (pushError) {
    cpu.writeU64(at, BigInt(errorCode >>> 0), supervisor)
    at += 8n
  }
  cpu.writeU64(at, cpu.get64(STATE.RIP), supervisor)
  cpu.writeU64(at + 8n, BigInt(cpu.segmentSelector(SEGMENT.CS)), supervisor)
  cpu.writeU64(at + 16n, BigInt(flags >>> 0), supervisor)
  cpu.writeU64(at + 24n, old, supervisor)
  cpu.writeU64(at + 32n, BigInt(cpu.segmentSelector(SEGMENT.SS)), supervisor)
  if (inner) setStackSegment(cpu, cpl, undefined, cpl)
  cpu.setGpr(GPR.RSP, bottom)
  clearFlags(cpu, type === TYPE.INTERRUPT_GATE32)
  setCodeSegment(cpu, selector, target, cpl)
  cpu.set64(STATE.RIP, offset)
}

function deliverProtected(cpu: Cpu, vector: number, kind: EventKind, errorCode: number, record: number): void {
  const external = kind === 'software' ? 0 : 1
  const error = gateError(vector, kind)
  if (vector * 8 + 7 > cpu.get32(STATE.IDTR_LIMIT)) cpu.fault(VECTOR.GP, error)
  const address = (cpu.get64(STATE.IDTR_BASE) + BigInt(vector * 8)) & 0xffffffffn
  const low = cpu.readU32(address, true)
  const high = cpu.readU32((address + 4n) & 0xffffffffn, true)
  const type = (high >>> 8) & 31
  const interruptGate = type === TYPE.INTERRUPT_GATE32 || type === TYPE.INTERRUPT_GATE16
  if (!interruptGate && type !== TYPE.TASK_GATE && type !== TYPE.TRAP_GATE16 && type !== TYPE.TRAP_GATE32)
    cpu.fault(VECTOR.GP, error)
  if (kind === 'software' && ((high >>> 13) & 3) < cpu.cpl) cpu.fault(VECTOR.GP, error)
  if (!(high & 0x8000)) cpu.fault(VECTOR.NP, error)
  const selector = low >>> 16
  const pushError = kind === 'exception' && hasErrorCode(vector)
  if (type === TYPE.TASK_GATE) {
    switchTaskByGate(cpu, selector, external, pushError ? errorCode : undefined, record)
    return
  }
  const wide = type >= TYPE.INTERRUPT_GATE32
  const size = wide ? 4 : 2
  const offset = wide ? ((high & 0xffff0000) | (low & 0xffff)) >>> 0 : low & 0xffff
  const target = gateTarget(cpu, selector, external, false)
  const conforming = (target.type & 4) !== 0
  const fromVirtual = cpu.virtual8086
  const cpl = conforming ? cpu.cpl : target.dpl
  if (fromVirtual && (conforming || target.dpl !== 0)) cpu.fault(VECTOR.GP, (selector & 0xfffc) | external)
  if (offset > target.limit) cpu.fault(VECTOR.GP, external)
  const words: number[] = []
  const oldEsp = cpu.gpr32(GPR.RSP)
  const inner = cpl < cpu.cpl
  if (fromVirtual) {
    for (const segment of [SEGMENT.GS, SEGMENT.FS, SEGMENT.DS, SEGMENT.ES]) words.push(cpu.segmentSelector(segment))
  }
  if (inner) words.push(cpu.segmentSelector(SEGMENT.SS), oldEsp)
  words.push(pushedFlags(cpu, vector, kind), cpu.segmentSelector(SEGMENT.CS), cpu.get32(STATE.RIP))
  if (pushError) words.push(errorCode)

  let esp: number
  if (inner) {
    const { ss, esp: top } = innerStack(cpu, cpl, external)
    const stack = checkStackSegment(cpu, ss, cpl, VECTOR.SS, VECTOR.TS, false, external)
    if (!stack) return
    esp = pushInner(cpu, stack, top, words, size, (ss & 0xfffc) | external)
    if (fromVirtual) {
      for (const segment of [SEGMENT.GS, SEGMENT.FS, SEGMENT.DS, SEGMENT.ES])
        cpu.setSegment(segment, 0, 0n, 0, UNUSABLE)
    }
    setStackSegment(cpu, ss, stack, cpl)
  } else {
    const mask = cpu.get32(STATE.STACK_MASK)
    const bottom = ((oldEsp - words.length * size) & mask) >>> 0
    cpu.segmentAddress(SEGMENT.SS, BigInt(bottom), words.length * size, 'write')
    pushWords(cpu, cpu.segmentBase(SEGMENT.SS), oldEsp, mask, words, size, cpl < 3)
    esp = (oldEsp & ~mask) | (bottom & mask)
  }
  cpu.setGpr32(GPR.RSP, esp)
  clearFlags(cpu, interruptGate)
  setCodeSegment(cpu, selector, target, cpl)
  cpu.set64(STATE.RIP, BigInt(offset))
}

function deliverReal(cpu: Cpu, vector: number): void {
  if (vector * 4 + 3 > cpu.get32(STATE.IDTR_LIMIT)) cpu.fault(VECTOR.GP, 0)
  const address = (cpu.get64(STATE.IDTR_BASE) + BigInt(vector * 4)) & 0xffffffffn
  const ip = cpu.readU16(address, true)
  const cs = cpu.readU16((address + 2n) & 0xffffffffn, true)
  const mask = cpu.get32(STATE.STACK_MASK)
  const esp = cpu.gpr32(GPR.RSP)
  const words = [cpu.flags & 0xffff, cpu.segmentSelector(SEGMENT.CS), cpu.get32(STATE.RIP) & 0xffff]
  pushWords(cpu, cpu.segmentBase(SEGMENT.SS), esp, mask, words, 2, true)
  cpu.setGpr32(GPR.RSP, (esp & ~mask) | ((esp - 6) & mask))
  cpu.set32(STATE.FLAGS_REST, cpu.get32(STATE.FLAGS_REST) & ~(FLAG.TF | FLAG.IF | FLAG.AC | FLAG.RF))
  loadRealCode(cpu, cs)
  cpu.set64(STATE.RIP, BigInt(ip))
}
