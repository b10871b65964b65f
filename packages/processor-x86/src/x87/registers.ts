// The x87 registers as TypeScript sees them: for instructions that are not worth WebAssembly, and for saving and restoring state.

import type { Cpu } from '../cpu.ts'
import { VECTOR } from '../instruction/emitter.ts'
import { STATE } from '../state-layout.ts'
import {
  CONTROL_FIXED,
  CONTROL_INITIAL,
  CONTROL_WRITABLE,
  INDEFINITE_SE,
  INDEFINITE_SIGNIFICAND,
  INTEGER_BIT,
  X87,
} from './format.ts'

const CR0_EM = 4
const CR0_TS = 8
const CR0_NE = 0x20

/** A double extended value as it lies in a register. */
export interface Extended {
  readonly significand: bigint
  /** Bit 15 sign, bits 0–14 biased exponent. */
  readonly se: number
}

export const INDEFINITE: Extended = { significand: INDEFINITE_SIGNIFICAND, se: INDEFINITE_SE }

/** #NM when the task's x87 state is not loaded, or there is none. */
export function requireX87(cpu: Cpu): void {
  if (cpu.get32(STATE.CR0) & (CR0_EM | CR0_TS)) cpu.fault(VECTOR.NM)
}
/** #MF when an unmasked exception is pending and CR0.NE is set. */
export function requireNoException(cpu: Cpu): void {
  if (cpu.get32(STATE.X87_STATUS) & X87.ES && cpu.get32(STATE.CR0) & CR0_NE) cpu.fault(VECTOR.MF)
}
/** Physical number of ST(i). */
function physical(cpu: Cpu, i: number): number {
  return (cpu.get32(STATE.X87_TOP) + i) & 7
}
export function isEmpty(cpu: Cpu, i: number): boolean {
  return ((cpu.get32(STATE.X87_TAGS) >> physical(cpu, i)) & 1) === 0
}
function readPhysical(cpu: Cpu, n: number): Extended {
  return {
    significand: cpu.get64(STATE.X87 + n * 16),
    se: cpu.get32(STATE.X87 + n * 16 + 8) & 0xffff,
  }
}
function writePhysical(cpu: Cpu, n: number, value: Extended): void {
  cpu.set64(STATE.X87 + n * 16, value.significand)
  cpu.set32(STATE.X87 + n * 16 + 8, value.se)
}
export function readStack(cpu: Cpu, i: number): Extended {
  return readPhysical(cpu, physical(cpu, i))
}
/** Write ST(i), which is then in use. */
export function writeStack(cpu: Cpu, i: number, value: Extended): void {
  const n = physical(cpu, i)
  writePhysical(cpu, n, value)
  cpu.set32(STATE.X87_TAGS, cpu.get32(STATE.X87_TAGS) | (1 << n))
}
/** Move TOP; the register that leaves the stack by a pop is empty. */
export function push(cpu: Cpu, value: Extended): void {
  cpu.set32(STATE.X87_TOP, physical(cpu, 7))
  writeStack(cpu, 0, value)
}
export function pop(cpu: Cpu): void {
  const n = physical(cpu, 0)
  cpu.set32(STATE.X87_TAGS, cpu.get32(STATE.X87_TAGS) & ~(1 << n))
  cpu.set32(STATE.X87_TOP, (n + 1) & 7)
}

/** Record exceptions (X87 bits, C1 included); returns those that are not masked. */
export function raise(cpu: Cpu, flags: number): number {
  const unmasked = flags & X87.EXCEPTIONS & ~cpu.get32(STATE.X87_CONTROL)
  const status = (cpu.get32(STATE.X87_STATUS) & ~X87.C1) | flags
  cpu.set32(STATE.X87_STATUS, unmasked ? status | X87.ES | X87.B : status)
  return unmasked
}

/** FIP, and FOP after an unmasked exception, of a register instruction D9 `modrm`. */
export function complete(cpu: Cpu, record: number, modrm: number, unmasked: number): void {
  cpu.set64(STATE.X87_INSTRUCTION, cpu.ripOf(record))
  if (unmasked) cpu.set32(STATE.X87_OPCODE, 0x100 | modrm)
}

// --- control and status words

export function setControl(cpu: Cpu, value: number): void {
  cpu.set32(STATE.X87_CONTROL, (value & CONTROL_WRITABLE) | CONTROL_FIXED)
  summarise(cpu)
}
/** ES and B follow from the flags and the masks. */
function summarise(cpu: Cpu): void {
  const status = cpu.get32(STATE.X87_STATUS) & ~(X87.ES | X87.B)
  const pending = status & ~cpu.get32(STATE.X87_CONTROL) & X87.EXCEPTIONS
  cpu.set32(STATE.X87_STATUS, pending ? status | X87.ES | X87.B : status)
}
/** The status word with TOP. */
export function statusWord(cpu: Cpu): number {
  return cpu.get32(STATE.X87_STATUS) | (cpu.get32(STATE.X87_TOP) << 11)
}
/** Set control and status word, TOP included. */
export function setWords(cpu: Cpu, control: number, status: number): void {
  cpu.set32(STATE.X87_STATUS, status & 0xc7ff)
  cpu.set32(STATE.X87_TOP, (status >> 11) & 7)
  setControl(cpu, control)
}

// --- tag word

/** The full tag word: two bits a physical register, 0 valid, 1 zero, 2 special, 3 empty. */
export function tagWord(cpu: Cpu): number {
  const used = cpu.get32(STATE.X87_TAGS)
  let word = 0
  for (let n = 0; n < 8; n++) word |= ((used >> n) & 1 ? tagOf(readPhysical(cpu, n)) : 3) << (n * 2)
  return word
}
function tagOf({ significand, se }: Extended): number {
  const exponent = se & 0x7fff
  if (exponent === 0 && significand === 0n) return 1
  return exponent !== 0 && exponent !== 0x7fff && (significand & INTEGER_BIT) !== 0n ? 0 : 2
}
/** Only "empty" counts in a full tag word that is loaded. */
export function setTagWord(cpu: Cpu, word: number): void {
  let used = 0
  for (let n = 0; n < 8; n++) if (((word >> (n * 2)) & 3) !== 3) used |= 1 << n
  cpu.set32(STATE.X87_TAGS, used)
}

/** What FNINIT sets; the registers keep their contents. */
export function initialise(cpu: Cpu): void {
  cpu.set32(STATE.X87_CONTROL, CONTROL_INITIAL)
  cpu.set32(STATE.X87_STATUS, 0)
  cpu.set32(STATE.X87_TOP, 0)
  cpu.set32(STATE.X87_TAGS, 0)
  setPointers(cpu, 0, 0n, 0n)
}
export function setPointers(cpu: Cpu, opcode: number, instruction: bigint, data: bigint): void {
  cpu.set32(STATE.X87_OPCODE, opcode & 0x7ff)
  cpu.set64(STATE.X87_INSTRUCTION, instruction)
  cpu.set64(STATE.X87_DATA, data)
}
/** The eight registers in stack order, 10 bytes each, `stride` apart. */
export function saveRegisters(cpu: Cpu, view: DataView, at: number, stride: number): void {
  for (let i = 0; i < 8; i++) {
    const { significand, se } = readStack(cpu, i)
    view.setBigUint64(at + i * stride, significand, true)
    view.setUint16(at + i * stride + 8, se, true)
  }
}
export function restoreRegisters(cpu: Cpu, view: DataView, at: number, stride: number): void {
  for (let i = 0; i < 8; i++) {
    writePhysical(cpu, physical(cpu, i), {
      significand: view.getBigUint64(at + i * stride, true),
      se: view.getUint16(at + i * stride + 8, true),
    })
  }
}
