// Fast system calls (SDM vol. 3, 5.8.7 and 5.8.8): SYSCALL, SYSRET, SYSENTER, SYSEXIT. Segments are not read from the descriptor tables: they get fixed contents.

import { type Cpu, CR0, EFER, FLAG } from '../cpu.ts'
import { type InstructionDefinition, instruction } from '../instruction/definition.ts'
import { VECTOR } from '../instruction/emitter.ts'
import { system } from '../instruction/system.ts'
import { is64, isCanonical, requireRing0 } from '../instruction/system-operand.ts'
import { GPR, RECORD, SEGMENT, STATE, STATUS } from '../state-layout.ts'

/** Attributes of the flat segments: granularity, D/B or L, access byte. */
const CODE64 = 0xa09b
const CODE32 = 0xc09b
const DATA = 0xc093
const DPL3 = 0x60

/** Flags that SYSRET takes from R11. */
const SYSRET_FLAGS = 0x3c7fd7

function setFlatSegments(cpu: Cpu, codeSelector: number, code: number, stackSelector: number, cpl: number): void {
  const dpl = cpl === 3 ? DPL3 : 0
  cpu.setSegment(SEGMENT.CS, codeSelector, 0n, 0xffffffff, code | dpl)
  cpu.setSegment(SEGMENT.SS, stackSelector, 0n, 0xffffffff, DATA | dpl)
  cpu.set32(STATE.CPL, cpl)
  cpu.updateMode()
}

/** Intel's rule: only in 64-bit mode. */
function requireSyscall(cpu: Cpu): void {
  if (!is64(cpu) || !(cpu.get32(STATE.EFER) & EFER.SCE)) cpu.fault(VECTOR.UD, 0)
}

const syscall = system((cpu, record) => {
  requireSyscall(cpu)
  // RCX = RIP of the next instruction, by way of STATE.RIP
  cpu.setRip(record, cpu.u8[record + RECORD.LENGTH] as number)
  copy(cpu, STATE.RIP, STATE.FILE + GPR.RCX * 8)
  const flags = cpu.flags & ~FLAG.RF
  cpu.setGpr32(GPR.R11, flags)
  cpu.flags = flags & ~cpu.get32(STATE.SFMASK)
  cpu.trapSuppressed = (cpu.get32(STATE.FLAGS_REST) & FLAG.TF) === 0
  const selector = cpu.get32(STATE.STAR + 4) & 0xfffc
  setFlatSegments(cpu, selector, CODE64, selector + 8, 0)
  copy(cpu, STATE.LSTAR, STATE.RIP)
  return STATUS.JUMP
})

const sysret = system((cpu, _record, form) => {
  requireSyscall(cpu)
  requireRing0(cpu)
  const wide = form.operandSize === 8
  const high = cpu.get32(STATE.FILE + GPR.RCX * 8 + 4)
  if (wide && (high << 16) >> 16 !== high) cpu.fault(VECTOR.GP, 0)
  const selector = cpu.get32(STATE.STAR + 4) >>> 16
  cpu.flags = cpu.gpr32(GPR.R11) & SYSRET_FLAGS
  setFlatSegments(
    cpu,
    ((selector + (wide ? 16 : 0)) & 0xffff) | 3,
    wide ? CODE64 : CODE32,
    ((selector + 8) & 0xffff) | 3,
    3,
  )
  copy(cpu, STATE.FILE + GPR.RCX * 8, STATE.RIP)
  if (!wide) cpu.set32(STATE.RIP + 4, 0)
  return STATUS.JUMP
})

/** Copy a 64-bit field. */
function copy(cpu: Cpu, from: number, to: number): void {
  cpu.set32(to, cpu.get32(from))
  cpu.set32(to + 4, cpu.get32(from + 4))
}

/** #GP(0) in real-address mode, and when IA32_SYSENTER_CS is null. */
function sysenterSelector(cpu: Cpu): number {
  const selector = cpu.get32(STATE.SYSENTER_CS) & 0xfffc
  if (!(cpu.get32(STATE.CR0) & CR0.PE) || selector === 0) cpu.fault(VECTOR.GP, 0)
  return selector
}
const sysenter = system((cpu) => {
  const selector = sysenterSelector(cpu)
  const { longMode } = cpu
  cpu.set32(STATE.FLAGS_REST, cpu.get32(STATE.FLAGS_REST) & ~(FLAG.VM | FLAG.IF | FLAG.RF))
  setFlatSegments(cpu, selector, longMode ? CODE64 : CODE32, selector + 8, 0)
  const mask = longMode ? 0xffffffffffffffffn : 0xffffffffn
  cpu.setGpr(GPR.RSP, cpu.get64(STATE.SYSENTER_ESP) & mask)
  return cpu.jump(cpu.get64(STATE.SYSENTER_EIP) & mask)
})
const sysexit = system((cpu, _record, form) => {
  const selector = sysenterSelector(cpu)
  requireRing0(cpu)
  const wide = form.operandSize === 8
  const mask = wide ? 0xffffffffffffffffn : 0xffffffffn
  const rip = cpu.gpr(GPR.RDX) & mask
  const rsp = cpu.gpr(GPR.RCX) & mask
  if (wide && (!isCanonical(rip) || !isCanonical(rsp))) cpu.fault(VECTOR.GP, 0)
  const code = selector + (wide ? 32 : 16)
  setFlatSegments(cpu, code | 3, wide ? CODE64 : CODE32, (code + 8) | 3, 3)
  cpu.setGpr(GPR.RSP, rsp)
  return cpu.jump(rip)
})

export const SYSTEM_CALL: readonly InstructionDefinition[] = [
  instruction('SYSCALL', '0F 05', '', syscall, { ends: true }),
  instruction('SYSRET', '0F 07', '', sysret, { ends: true }),
  instruction('SYSENTER', '0F 34', '', sysenter, { ends: true }),
  instruction('SYSEXIT', '0F 35', '', sysexit, { ends: true }),
]
