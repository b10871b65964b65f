// Operands of system instructions: registers and memory named by a decoded record, the stack, and the ways to go on.

import type { Cpu } from '../cpu.ts'
import { MODE } from '../decoder/mode.ts'
import { GPR, RECORD, SEGMENT, STATE, STATUS } from '../state-layout.ts'
import type { InstructionForm } from './definition.ts'
import { VECTOR } from './emitter.ts'

/** Go on with the next instruction in a new block: for instructions after which code may have to be looked up anew. */
export function advance(cpu: Cpu, record: number): number {
  cpu.setRip(record, cpu.u8[record + RECORD.LENGTH] as number)
  return STATUS.JUMP
}
/** Return from `run` after this instruction: interrupts may be recognised now. */
export function leave(cpu: Cpu, record: number): number {
  cpu.setRip(record, cpu.u8[record + RECORD.LENGTH] as number)
  return STATUS.EXIT
}

/** Whether the code runs in 64-bit mode. */
export function is64(cpu: Cpu): boolean {
  return cpu.mode === MODE.LONG
}
/** EFLAGS.IOPL. */
export function ioPrivilege(cpu: Cpu): number {
  return (cpu.get32(STATE.FLAGS_REST) >> 12) & 3
}
/** #GP(0) unless CPL is 0. */
export function requireRing0(cpu: Cpu): void {
  if (cpu.cpl !== 0) cpu.fault(VECTOR.GP, 0)
}
/** #UD in real-address and virtual-8086 mode. */
export function requireProtected(cpu: Cpu): void {
  if (!cpu.protectedMode || cpu.virtual8086) cpu.fault(VECTOR.UD, 0)
}

export function isCanonical(address: bigint): boolean {
  return BigInt.asUintN(64, BigInt.asIntN(48, address)) === address
}

// --- general registers

/** Value of the general register that ModRM.rm names, all 64 bits. */
export function rm64(cpu: Cpu, record: number): bigint {
  return cpu.get64(STATE.FILE + (cpu.u8[record + RECORD.RM] as number))
}
export function reg64(cpu: Cpu, record: number): bigint {
  return cpu.get64(STATE.FILE + (cpu.u8[record + RECORD.REG] as number))
}
/** Write a general register at an offset in the register file: 16 bits leave the rest alone, 32 clear the upper half. */
export function writeRegister(cpu: Cpu, offset: number, size: number, value: bigint): void {
  const at = cpu.base + STATE.FILE + offset
  if (size === 2) cpu.view.setUint16(at, Number(value & 0xffffn), true)
  else cpu.set64(STATE.FILE + offset, size === 4 ? value & 0xffffffffn : BigInt.asUintN(64, value))
}

// --- memory and register operands by ModRM.rm

/** The low 16 bits of a register, or 16 bits of memory. */
export function readWord(cpu: Cpu, record: number, form: InstructionForm): number {
  if (form.memory) return cpu.readU16(cpu.linearAddress(record, 2, 'read'))
  return cpu.view.getUint16(cpu.base + STATE.FILE + (cpu.u8[record + RECORD.RM] as number), true)
}
/** Memory takes 16 bits; a register takes the operand size, zero-extended. */
export function writeWord(cpu: Cpu, record: number, form: InstructionForm, value: number): void {
  if (form.memory) cpu.writeU16(cpu.linearAddress(record, 2, 'write'), value)
  else writeRegister(cpu, cpu.u8[record + RECORD.RM] as number, form.operandSize, BigInt(value))
}

// --- integers of an operand size

export function readInteger(cpu: Cpu, linear: bigint, size: number): bigint {
  return size === 8
    ? cpu.readU64(linear)
    : BigInt(size === 4 ? cpu.readU32(linear) : size === 2 ? cpu.readU16(linear) : cpu.readU8(linear))
}
function writeInteger(cpu: Cpu, linear: bigint, size: number, value: bigint, supervisor = false): void {
  if (size === 8) cpu.writeU64(linear, BigInt.asUintN(64, value), supervisor)
  else if (size === 4) cpu.writeU32(linear, Number(value & 0xffffffffn), supervisor)
  else cpu.writeU16(linear, Number(value & 0xffffn), supervisor)
}

// --- the stack

/** The bits of RSP that address the stack. */
export function stackMask(cpu: Cpu): bigint {
  return is64(cpu) ? 0xffffffffffffffffn : BigInt(cpu.get32(STATE.STACK_MASK) >>> 0)
}
/** Linear address of `size` bytes at stack pointer `sp`; #SS(0) where it may not be used. */
export function stackAddress(cpu: Cpu, sp: bigint, size: number, access: 'read' | 'write'): bigint {
  const offset = sp & stackMask(cpu)
  if (is64(cpu)) {
    if (!isCanonical(offset) || !isCanonical(BigInt.asUintN(64, offset + BigInt(size - 1)))) cpu.fault(VECTOR.SS, 0)
    return offset
  }
  return cpu.segmentAddress(SEGMENT.SS, offset, size, access)
}
/** The value `depth` bytes above the top of the stack. */
export function peek(cpu: Cpu, depth: number, size: number): bigint {
  return readInteger(cpu, stackAddress(cpu, cpu.gpr(GPR.RSP) + BigInt(depth), size, 'read'), size)
}
/** Change the stack pointer, in the bits that address the stack. */
export function setStackPointer(cpu: Cpu, sp: bigint): void {
  const mask = stackMask(cpu)
  cpu.setGpr(GPR.RSP, (cpu.gpr(GPR.RSP) & ~mask & 0xffffffffffffffffn) | (sp & mask))
}
/** Push values, the first highest. All of the room is checked before anything changes. */
export function push(cpu: Cpu, size: number, ...values: bigint[]): void {
  const top = cpu.gpr(GPR.RSP)
  const at = values.map((_, i) => stackAddress(cpu, top - BigInt((i + 1) * size), size, 'write'))
  for (const address of at) cpu.probeWrite(address, size)
  values.forEach((value, i) => {
    writeInteger(cpu, at[i] as bigint, size, value)
  })
  setStackPointer(cpu, top - BigInt(values.length * size))
}
