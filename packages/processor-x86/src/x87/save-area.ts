// The areas of FXSAVE and XSAVE (SDM vol. 1, 10.5 and 13.4): a legacy region of 512 bytes, and for XSAVE a header of 64. Only x87 and SSE state exist.

import type { Cpu } from '../cpu.ts'
import { STATE } from '../state-layout.ts'
import { CONTROL_INITIAL } from './format.ts'
import { initialise, restoreRegisters, saveRegisters, setPointers, setWords, statusWord, writePhysical } from './registers.ts'

export const LEGACY_SIZE = 512
export const HEADER_SIZE = 64
/** Bits of XCR0 and XSTATE_BV. */
export const COMPONENT = { X87: 1, SSE: 2 } as const
export const MXCSR_INITIAL = 0x1f80
/** The bits of MXCSR that exist. */
export const MXCSR_MASK = 0xffff

const AT = { MXCSR: 24, X87_REGISTERS: 32, XMM: 160 } as const

/** How many XMM registers a mode has. */
const xmmCount = (mode64: boolean): number => (mode64 ? 16 : 8)

/** x87 state in the legacy region: bytes 0–23 and 32–159. `wide`: 64-bit pointers (REX.W). */
export function saveX87(cpu: Cpu, area: Uint8Array, wide: boolean): void {
  const view = new DataView(area.buffer, area.byteOffset)
  view.setUint16(0, cpu.get32(STATE.X87_CONTROL), true)
  view.setUint16(2, statusWord(cpu), true)
  view.setUint8(4, cpu.get32(STATE.X87_TAGS))
  view.setUint16(6, cpu.get32(STATE.X87_OPCODE), true)
  const pointer = (at: number, value: bigint): void => {
    if (wide) view.setBigUint64(at, value, true)
    else view.setBigUint64(at, value & 0xffffffffn, true) // selectors are 0
  }
  pointer(8, cpu.get64(STATE.X87_INSTRUCTION))
  pointer(16, cpu.get64(STATE.X87_DATA))
  saveRegisters(cpu, view, AT.X87_REGISTERS, 16)
}
export function restoreX87(cpu: Cpu, area: Uint8Array, wide: boolean): void {
  const view = new DataView(area.buffer, area.byteOffset)
  setWords(cpu, view.getUint16(0, true), view.getUint16(2, true))
  cpu.set32(STATE.X87_TAGS, view.getUint8(4))
  const pointer = (at: number): bigint => (wide ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true)))
  setPointers(cpu, view.getUint16(6, true), pointer(8), pointer(16))
  restoreRegisters(cpu, view, AT.X87_REGISTERS, 16)
}
export function initialiseX87(cpu: Cpu): void {
  initialise(cpu)
  for (let n = 0; n < 8; n++) writePhysical(cpu, n, { significand: 0n, se: 0 })
}
/** The x87 state is what {@link initialiseX87} makes it. */
export function isX87Initial(cpu: Cpu): boolean {
  if (cpu.get32(STATE.X87_CONTROL) !== CONTROL_INITIAL || statusWord(cpu) !== 0 || cpu.get32(STATE.X87_TAGS) !== 0) return false
  if (cpu.get32(STATE.X87_OPCODE) !== 0 || cpu.get64(STATE.X87_INSTRUCTION) !== 0n || cpu.get64(STATE.X87_DATA) !== 0n) return false
  for (let n = 0; n < 8; n++) {
    if (cpu.get64(STATE.X87 + n * 16) !== 0n || cpu.get32(STATE.X87 + n * 16 + 8) & 0xffff) return false
  }
  return true
}

function xmmBytes(cpu: Cpu, mode64: boolean): Uint8Array {
  const at = cpu.base + STATE.XMM
  return cpu.u8.subarray(at, at + xmmCount(mode64) * 16)
}
/** XMM registers: bytes 160–415 (to 287 outside 64-bit mode). */
export function saveSse(cpu: Cpu, area: Uint8Array, mode64: boolean): void {
  area.set(xmmBytes(cpu, mode64), AT.XMM)
}
export function restoreSse(cpu: Cpu, area: Uint8Array, mode64: boolean): void {
  const target = xmmBytes(cpu, mode64)
  target.set(area.subarray(AT.XMM, AT.XMM + target.length))
}
export function initialiseSse(cpu: Cpu, mode64: boolean): void {
  xmmBytes(cpu, mode64).fill(0)
}
export function isSseInitial(cpu: Cpu, mode64: boolean): boolean {
  return xmmBytes(cpu, mode64).every((byte) => byte === 0)
}

/** MXCSR and its mask: bytes 24–31. */
export function saveMxcsr(cpu: Cpu, area: Uint8Array): void {
  const view = new DataView(area.buffer, area.byteOffset)
  view.setUint32(AT.MXCSR, cpu.get32(STATE.MXCSR), true)
  view.setUint32(AT.MXCSR + 4, MXCSR_MASK, true)
}
export function mxcsrOf(area: Uint8Array): number {
  return new DataView(area.buffer, area.byteOffset).getUint32(AT.MXCSR, true)
}
