// Hardware task switches (SDM vol. 3, chapter 7): by jump, call, IRET with NT, and task gates, between 32-bit and 16-bit task-state segments.

import { type Cpu, CR0, FLAG } from './cpu.ts'
import { pushInner } from './inner-stack.ts'
import { VECTOR } from './instruction/emitter.ts'
import {
  type Descriptor,
  findDescriptor,
  markAccessed,
  readDescriptor,
  setCodeSegment,
  setStackSegment,
  TYPE,
  UNUSABLE,
} from './segmentation.ts'
import { FILE, GPR, RECORD, SEGMENT, STATE } from './state-layout.ts'

/** What switches: decides busy bits, the back link and NT. */
export type TaskSwitchSource = 'jump' | 'call' | 'iret' | 'gate'

/** Segment registers in the order of their fields. */
const ORDER = [SEGMENT.ES, SEGMENT.CS, SEGMENT.SS, SEGMENT.DS, SEGMENT.FS, SEGMENT.GS] as const
/** Offsets of the two kinds of TSS. */
const TSS32 = {
  size: 0x67,
  cr3: 0x1c,
  eip: 0x20,
  flags: 0x24,
  registers: 0x28,
  segments: 0x48,
  ldt: 0x60,
  trap: 0x64,
  step: 4,
  segmentCount: 6,
} as const
const TSS16 = {
  size: 0x2b,
  cr3: -1,
  eip: 0x0e,
  flags: 0x10,
  registers: 0x12,
  segments: 0x22,
  ldt: 0x2a,
  trap: -1,
  step: 2,
  segmentCount: 4,
} as const

const BUSY = 2
const DR6_BT = 0x8000n

/** Through the task gate of an interrupt or exception; `record` as {@link switchTask} has it. */
export function switchTaskByGate(
  cpu: Cpu,
  selector: number,
  external: number,
  errorCode: number | undefined,
  record: number,
): void {
  const error = (selector & 0xfffc) | external
  if (selector & 4) cpu.fault(VECTOR.GP, error)
  const tss = readDescriptor(cpu, selector, VECTOR.GP, external)
  checkAvailable(cpu, tss, error)
  switchTask(cpu, selector, tss, 'gate', external, errorCode, record)
}

/** #GP unless the descriptor is an available TSS, #NP unless it is present. */
export function checkAvailable(cpu: Cpu, tss: Descriptor, error: number): void {
  if (tss.segment || (tss.type !== TYPE.TSS32 && tss.type !== TYPE.TSS16)) cpu.fault(VECTOR.GP, error)
  if (!tss.present) cpu.fault(VECTOR.NP, error)
}

/**
 * Switch to the task of a checked TSS. STATE.RIP is what the old task goes on with. Faults thrown before the new task's registers are loaded leave the old task as it
 * was; those after belong to the new task, before its first instruction. `record`: the instruction that switches; 0 for an exception and a hardware interrupt.
 */
export function switchTask(
  cpu: Cpu,
  selector: number,
  tss: Descriptor,
  source: TaskSwitchSource,
  external: number,
  errorCode: number | undefined,
  record: number,
): void {
  const layout = tss.type & 8 ? TSS32 : TSS16
  const error = (selector & 0xfffc) | external
  if (tss.limit < layout.size) cpu.fault(VECTOR.TS, error)
  const oldSelector = cpu.segmentSelector(SEGMENT.TR)
  const oldBase = cpu.segmentBase(SEGMENT.TR)
  const oldLayout = cpu.segmentAttributes(SEGMENT.TR) & 8 ? TSS32 : TSS16
  const { step } = layout
  const at = (base: bigint, offset: number): bigint => (base + BigInt(offset)) & 0xffffffffn
  const read = (offset: number): number =>
    step === 4 ? cpu.readU32(at(tss.base, offset), true) : cpu.readU16(at(tss.base, offset), true)

  // everything of the new task is read, and all that is written is checked, before anything changes
  const newCr3 = layout.cr3 < 0 ? 0 : read(layout.cr3)
  const newEip = read(layout.eip)
  let newFlags = read(layout.flags)
  const registers: number[] = []
  for (let r = 0; r < 8; r++) registers.push(read(layout.registers + r * step) | (step === 2 ? 0xffff0000 | 0 : 0))
  const selectors: number[] = []
  for (let s = 0; s < layout.segmentCount; s++)
    selectors.push(cpu.readU16(at(tss.base, layout.segments + s * step), true))
  const ldt = cpu.readU16(at(tss.base, layout.ldt), true)
  const trap = layout.trap >= 0 && (cpu.readU16(at(tss.base, layout.trap), true) & 1) !== 0
  const first = oldLayout.eip
  cpu.probeWrite(at(oldBase, first), oldLayout.ldt - first, true)
  const nested = source === 'call' || source === 'gate'
  if (nested) cpu.probeWrite(tss.base, 2, true)
  const oldDescriptor = findDescriptor(cpu, oldSelector)
  if (oldDescriptor) cpu.probeWrite(oldDescriptor.address + 5n, 1, true)
  cpu.probeWrite(tss.address + 5n, 1, true)

  // the old task
  let oldFlags = cpu.flags
  if (source === 'iret') oldFlags &= ~FLAG.NT
  const write = (offset: number, value: number): void => {
    if (oldLayout.step === 4) cpu.writeU32(at(oldBase, offset), value, true)
    else cpu.writeU16(at(oldBase, offset), value & 0xffff, true)
  }
  write(oldLayout.eip, cpu.get32(STATE.RIP))
  write(oldLayout.flags, oldFlags)
  for (let r = 0; r < 8; r++) write(oldLayout.registers + r * oldLayout.step, cpu.gpr32(r))
  for (let s = 0; s < oldLayout.segmentCount; s++) {
    cpu.writeU16(at(oldBase, oldLayout.segments + s * oldLayout.step), cpu.segmentSelector(ORDER[s] as number), true)
  }
  if (!nested && oldDescriptor) cpu.writeU8(oldDescriptor.address + 5n, (oldDescriptor.high >>> 8) & 0xff & ~BUSY, true)
  if (nested) {
    cpu.writeU16(tss.base, oldSelector, true)
    newFlags |= FLAG.NT
  }
  if (source !== 'iret') cpu.writeU8(tss.address + 5n, ((tss.high >>> 8) & 0xff) | BUSY, true)

  // the new task
  cpu.setSegment(SEGMENT.TR, selector, tss.base, tss.limit, tss.attributes | BUSY)
  cpu.set32(STATE.CR0, cpu.get32(STATE.CR0) | CR0.TS)
  cpu.updateUnits()
  if (layout.cr3 >= 0 && cpu.get32(STATE.CR0) & CR0.PG) {
    cpu.set64(STATE.CR3, BigInt(newCr3 >>> 0))
    cpu.mmu.flush(false)
  }
  for (let r = 0; r < 8; r++) cpu.setGpr32(r, registers[r] as number)
  cpu.flags = (newFlags & 0x3f7fd5) | FLAG.FIXED
  cpu.set64(STATE.RIP, BigInt(newEip >>> 0))
  // a fault from now on is one of the new task's first instruction
  if (record !== 0) {
    cpu.set64(
      STATE.FILE + FILE.BLOCK_RIP,
      BigInt(newEip >>> 0) - BigInt(cpu.view.getUint16(record + RECORD.OFFSET, true)),
    )
  }
  cpu.mmu.flushJumps()
  cpu.set64(STATE.DR7, cpu.get64(STATE.DR7) & ~0x55n)
  loadSegments(cpu, selectors, ldt, external)
  if (newEip >>> 0 > cpu.segmentLimit(SEGMENT.CS)) cpu.fault(VECTOR.GP, external)
  if (errorCode !== undefined) {
    const ss = findDescriptor(cpu, cpu.segmentSelector(SEGMENT.SS))
    if (ss) cpu.setGpr32(GPR.RSP, pushInner(cpu, ss, cpu.gpr32(GPR.RSP), [errorCode], step, external))
  }
  if (trap) cpu.fault(VECTOR.DB, 0, DR6_BT)
}

/** Segment registers of the new task; #TS, #NP and #SS name the selector that is wrong. */
function loadSegments(cpu: Cpu, selectors: readonly number[], ldt: number, external: number): void {
  const virtual = cpu.virtual8086
  const cs = selectors[1] as number
  ORDER.forEach((segment, i) => {
    const selector = selectors[i] ?? 0
    if (virtual) cpu.setSegment(segment, selector, BigInt(selector * 16), 0xffff, 0xf3)
    else
      cpu.setSegment(
        segment,
        selector,
        0n,
        0,
        UNUSABLE | (segment === SEGMENT.CS ? cpu.segmentAttributes(SEGMENT.CS) & 0x4000 : 0),
      )
  })
  cpu.setSegment(SEGMENT.LDTR, ldt, 0n, 0, UNUSABLE)
  const cpl = virtual ? 3 : cs & 3
  cpu.set32(STATE.CPL, cpl)
  cpu.updateMode()

  const code = (selector: number): number => (selector & 0xfffc) | external
  if (ldt & 0xfffc) {
    const d = ldt & 4 ? undefined : findDescriptor(cpu, ldt)
    if (!d || d.segment || d.type !== TYPE.LDT || !d.present) cpu.fault(VECTOR.TS, code(ldt))
    cpu.setSegment(SEGMENT.LDTR, ldt, d.base, d.limit, d.attributes)
  }
  if (virtual) return

  const target = findDescriptor(cpu, cs)
  if (!target?.code || (target.type & 4 ? target.dpl > cpl : target.dpl !== cpl)) cpu.fault(VECTOR.TS, code(cs))
  if (!target.present) cpu.fault(VECTOR.NP, code(cs))
  markAccessed(cpu, target)
  setCodeSegment(cpu, cs, target, cpl)

  const ss = selectors[2] as number
  const stack = findDescriptor(cpu, ss)
  if (!stack?.segment || stack.code || !(stack.type & 2) || stack.dpl !== cpl || (ss & 3) !== cpl)
    cpu.fault(VECTOR.TS, code(ss))
  if (!stack.present) cpu.fault(VECTOR.SS, code(ss))
  markAccessed(cpu, stack)
  setStackSegment(cpu, ss, stack, cpl)
  cpu.updateMode()

  for (const [i, segment] of ORDER.entries()) {
    const selector = selectors[i] ?? 0
    if (segment === SEGMENT.CS || segment === SEGMENT.SS || (selector & 0xfffc) === 0) continue
    const d = findDescriptor(cpu, selector)
    const readable = d?.segment === true && (!d.code || (d.type & 2) !== 0)
    const conforming = d?.code === true && (d.type & 4) !== 0
    if (!d || !readable || (!conforming && (d.dpl < cpl || d.dpl < (selector & 3))))
      cpu.fault(VECTOR.TS, code(selector))
    if (!d.present) cpu.fault(VECTOR.NP, code(selector))
    markAccessed(cpu, d)
    cpu.setSegment(segment, selector, d.base, d.limit, d.attributes | 1)
  }
}
