// Saving and restoring of x87 and SSE state (SDM vol. 1, 10.5 and chapter 13): FXSAVE, FXRSTOR, XSAVE, XRSTOR, XSAVEOPT, XGETBV, XSETBV. XCR0 has bits 0 and 1.

import type { Cpu } from '../cpu.ts'
import { type InstructionDefinition, instruction } from '../instruction/definition.ts'
import { VECTOR } from '../instruction/emitter.ts'
import { system, type SystemSemantics } from '../instruction/system.ts'
import { advance, is64, requireRing0 } from '../instruction/system-operand.ts'
import { GPR, STATE, STATUS } from '../state-layout.ts'
import { requireX87 } from '../x87/registers.ts'
import {
  COMPONENT,
  HEADER_SIZE,
  initialiseSse,
  initialiseX87,
  isSseInitial,
  isX87Initial,
  LEGACY_SIZE,
  MXCSR_MASK,
  mxcsrOf,
  restoreSse,
  restoreX87,
  saveMxcsr,
  saveSse,
  saveX87,
} from '../x87/save-area.ts'

const CR0_TS = 8
const CR4_OSXSAVE = 0x40000
const ALL: number = COMPONENT.X87 | COMPONENT.SSE

/** Linear address of the area; #GP(0) unless it is aligned. */
function area(cpu: Cpu, record: number, size: number, alignment: bigint, access: 'read' | 'write'): bigint {
  const linear = cpu.linearAddress(record, size, access)
  if (linear & (alignment - 1n)) cpu.fault(VECTOR.GP)
  return linear
}
function checkMxcsr(cpu: Cpu, value: number): void {
  if (value & ~MXCSR_MASK) cpu.fault(VECTOR.GP)
}

// --- FXSAVE, FXRSTOR

const fxsave = system((cpu, record, form) => {
  requireX87(cpu)
  const linear = area(cpu, record, LEGACY_SIZE, 16n, 'write')
  cpu.probeWrite(linear, LEGACY_SIZE)
  // Bytes 464–511 are the software's, those of registers that the mode does not have stay.
  const bytes = cpu.readBytes(linear, LEGACY_SIZE)
  bytes.fill(0, 0, 32)
  for (let i = 0; i < 8; i++) bytes.fill(0, 32 + i * 16, 48 + i * 16)
  saveX87(cpu, bytes, form.operandSize === 8)
  saveMxcsr(cpu, bytes)
  saveSse(cpu, bytes, is64(cpu))
  cpu.writeBytes(linear, bytes)
  return STATUS.NEXT
})

const fxrstor = system((cpu, record, form) => {
  requireX87(cpu)
  const linear = area(cpu, record, LEGACY_SIZE, 16n, 'read')
  const bytes = cpu.readBytes(linear, LEGACY_SIZE)
  const mxcsr = mxcsrOf(bytes)
  checkMxcsr(cpu, mxcsr)
  restoreX87(cpu, bytes, form.operandSize === 8)
  cpu.set32(STATE.MXCSR, mxcsr)
  restoreSse(cpu, bytes, is64(cpu))
  return STATUS.NEXT
})

// --- XSAVE, XSAVEOPT, XRSTOR

function requireXsave(cpu: Cpu): void {
  if (!(cpu.get32(STATE.CR4) & CR4_OSXSAVE)) cpu.fault(VECTOR.UD)
}
function requireXsaveUse(cpu: Cpu): void {
  requireXsave(cpu)
  if (cpu.get32(STATE.CR0) & CR0_TS) cpu.fault(VECTOR.NM)
}
/** RFBM: the components asked for in EDX:EAX, as far as XCR0 has them. */
function requested(cpu: Cpu): number {
  return cpu.gpr32(GPR.RAX) & Number(cpu.get64(STATE.XCR0)) & ALL
}
/** XINUSE: components that are not in their initial state. */
function inUse(cpu: Cpu): number {
  return (isX87Initial(cpu) ? 0 : COMPONENT.X87) | (isSseInitial(cpu, is64(cpu)) ? 0 : COMPONENT.SSE)
}

/** `optimised`: components in their initial state are not written. */
const xsave = (optimised: boolean): SystemSemantics =>
  system((cpu, record, form) => {
    requireXsaveUse(cpu)
    const size = LEGACY_SIZE + HEADER_SIZE
    const linear = area(cpu, record, size, 64n, 'write')
    cpu.probeWrite(linear, size)
    const bytes = cpu.readBytes(linear, size)
    const mask = requested(cpu)
    const used = inUse(cpu)
    const written = optimised ? mask & used : mask
    if (written & COMPONENT.X87) saveX87(cpu, bytes, form.operandSize === 8)
    if (written & COMPONENT.SSE) saveSse(cpu, bytes, is64(cpu))
    if (mask & COMPONENT.SSE) saveMxcsr(cpu, bytes)
    const header = new DataView(bytes.buffer, LEGACY_SIZE)
    const others = header.getBigUint64(0, true) & ~BigInt(mask)
    header.setBigUint64(0, others | BigInt(mask & used), true)
    // XCOMP_BV and the rest of the header are not written, nor is what follows XSTATE_BV.
    cpu.writeBytes(linear, bytes.subarray(0, LEGACY_SIZE + 8))
    return STATUS.NEXT
  })

const xrstor = system((cpu, record, form) => {
  requireXsaveUse(cpu)
  const size = LEGACY_SIZE + HEADER_SIZE
  const linear = area(cpu, record, size, 64n, 'read')
  const bytes = cpu.readBytes(linear, size)
  const header = new DataView(bytes.buffer, LEGACY_SIZE)
  const present = header.getBigUint64(0, true)
  if (present & ~cpu.get64(STATE.XCR0)) cpu.fault(VECTOR.GP)
  // XCOMP_BV, and the 8 bytes after it
  if (header.getBigUint64(8, true) !== 0n || header.getBigUint64(16, true) !== 0n) cpu.fault(VECTOR.GP)
  const mask = requested(cpu)
  const components = Number(present)
  const mxcsr = mxcsrOf(bytes)
  if (mask & COMPONENT.SSE) checkMxcsr(cpu, mxcsr)
  if (mask & COMPONENT.X87) {
    if (components & COMPONENT.X87) restoreX87(cpu, bytes, form.operandSize === 8)
    else initialiseX87(cpu)
  }
  if (mask & COMPONENT.SSE) {
    // MXCSR comes from memory even when the XMM registers are initialised.
    cpu.set32(STATE.MXCSR, mxcsr)
    if (components & COMPONENT.SSE) restoreSse(cpu, bytes, is64(cpu))
    else initialiseSse(cpu, is64(cpu))
  }
  return STATUS.NEXT
})

// --- XCR0

const xgetbv = system((cpu) => {
  requireXsave(cpu)
  if (cpu.gpr32(GPR.RCX) !== 0) cpu.fault(VECTOR.GP)
  const value = cpu.get64(STATE.XCR0)
  cpu.setGpr(GPR.RAX, value & 0xffffffffn)
  cpu.setGpr(GPR.RDX, value >> 32n)
  return STATUS.NEXT
})

const xsetbv = system((cpu, record) => {
  requireXsave(cpu)
  requireRing0(cpu)
  if (cpu.gpr32(GPR.RCX) !== 0) cpu.fault(VECTOR.GP)
  const value = (BigInt(cpu.gpr32(GPR.RDX)) << 32n) | BigInt(cpu.gpr32(GPR.RAX))
  // x87 state cannot be disabled.
  if (value & ~BigInt(ALL) || !(value & BigInt(COMPONENT.X87))) cpu.fault(VECTOR.GP)
  cpu.set64(STATE.XCR0, value)
  return advance(cpu, record)
})

export const STATE_SAVE: readonly InstructionDefinition[] = [
  instruction('FXSAVE', 'NP 0F AE /0', 'M', fxsave),
  instruction('FXRSTOR', 'NP 0F AE /1', 'M', fxrstor),
  instruction('XSAVE', 'NP 0F AE /4', 'M', xsave(false)),
  instruction('XRSTOR', 'NP 0F AE /5', 'M', xrstor),
  instruction('XSAVEOPT', 'NP 0F AE /6', 'M', xsave(true)),
  instruction('XGETBV', 'NP 0F 01 D0', '', xgetbv),
  instruction('XSETBV', 'NP 0F 01 D1', '', xsetbv),
]
