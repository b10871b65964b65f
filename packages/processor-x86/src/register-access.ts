// Registers by their names, for the host: general, control and debug registers, segments with their hidden parts.

import type { RegisterName, SegmentName, SegmentRegister } from '@partita/interface'
import type { Cpu } from './cpu.ts'
import { ProcessorError } from './processor-error.ts'
import { SEGMENT, STATE } from './state-layout.ts'

const REGISTERS: Readonly<Record<RegisterName, number>> = {
  rax: 0,
  rcx: 8,
  rdx: 16,
  rbx: 24,
  rsp: 32,
  rbp: 40,
  rsi: 48,
  rdi: 56,
  r8: 64,
  r9: 72,
  r10: 80,
  r11: 88,
  r12: 96,
  r13: 104,
  r14: 112,
  r15: 120,
  rip: STATE.RIP,
  rflags: -1,
  cr0: STATE.CR0,
  cr2: STATE.CR2,
  cr3: STATE.CR3,
  cr4: STATE.CR4,
  cr8: -2,
  efer: STATE.EFER,
  pat: -3,
  dr0: STATE.DR0,
  dr1: STATE.DR0 + 8,
  dr2: STATE.DR0 + 16,
  dr3: STATE.DR0 + 24,
  dr6: STATE.DR6,
  dr7: STATE.DR7,
  xcr0: STATE.XCR0,
}
const SEGMENTS: Readonly<Record<SegmentName, number>> = {
  es: SEGMENT.ES,
  cs: SEGMENT.CS,
  ss: SEGMENT.SS,
  ds: SEGMENT.DS,
  fs: SEGMENT.FS,
  gs: SEGMENT.GS,
  ldtr: SEGMENT.LDTR,
  tr: SEGMENT.TR,
}

function fieldOf(name: RegisterName): number {
  const field = REGISTERS[name]
  if (field === undefined) throw new ProcessorError('ERR_PROCESSOR_STATE', `There is no register ${name}`)
  return field
}
export function getRegister(cpu: Cpu, name: RegisterName): bigint {
  if (name === 'rflags') return BigInt(cpu.flags >>> 0)
  if (name === 'cr8') return BigInt(cpu.apic.taskPriority)
  if (name === 'pat') return cpu.msrs.pat
  return cpu.get64(fieldOf(name))
}
/** A change of a control register or of the flags changes mode and translations. */
export function setRegister(cpu: Cpu, name: RegisterName, value: bigint): void {
  if (name === 'rflags') cpu.flags = Number(value & 0xffffffffn)
  else if (name === 'cr8') cpu.apic.taskPriority = Number(value & 15n)
  else if (name === 'pat') cpu.msrs.pat = value
  else cpu.set64(fieldOf(name), value)
  if (name.startsWith('cr') || name === 'efer' || name === 'rflags') {
    cpu.updateMode()
    cpu.updateUnits()
    cpu.mmu.flush(true)
  }
}
export function getSegment(cpu: Cpu, name: SegmentName): SegmentRegister {
  const n = SEGMENTS[name]
  return {
    selector: cpu.segmentSelector(n),
    base: cpu.segmentBase(n),
    limit: cpu.segmentLimit(n),
    attributes: cpu.segmentAttributes(n),
  }
}
export function setSegment(cpu: Cpu, name: SegmentName, value: SegmentRegister): void {
  cpu.setSegment(SEGMENTS[name], value.selector, value.base, value.limit, value.attributes)
  if (name === 'ss') cpu.set32(STATE.CPL, (value.attributes >> 5) & 3)
  if (name === 'cs' || name === 'ss') cpu.updateMode()
}
export function getDescriptorTable(cpu: Cpu, name: 'gdtr' | 'idtr'): { base: bigint; limit: number } {
  return name === 'gdtr'
    ? { base: cpu.get64(STATE.GDTR_BASE), limit: cpu.get32(STATE.GDTR_LIMIT) }
    : { base: cpu.get64(STATE.IDTR_BASE), limit: cpu.get32(STATE.IDTR_LIMIT) }
}
export function setDescriptorTable(cpu: Cpu, name: 'gdtr' | 'idtr', base: bigint, limit: number): void {
  cpu.set64(name === 'gdtr' ? STATE.GDTR_BASE : STATE.IDTR_BASE, base)
  cpu.set32(name === 'gdtr' ? STATE.GDTR_LIMIT : STATE.IDTR_LIMIT, limit)
}
