// Registers that a hypervisor reads and sets from outside, beside those with fields of their own: model-specific registers, and the x87 and SSE control state in
// FXSAVE64's layout (SDM vol. 1, table 10-2).

import type { Cpu } from './cpu.ts'
import { STATE } from './state-layout.ts'
import { setWords, statusWord } from './x87/registers.ts'
import { MXCSR_MASK } from './x87/save-area.ts'

/** Bytes of the layout without XMM registers. */
const FLOAT_STATE_SIZE = 160
const AT = {
  CONTROL: 0,
  STATUS: 2,
  TAGS: 4,
  OPCODE: 6,
  INSTRUCTION: 8,
  DATA: 16,
  MXCSR: 24,
  MASK: 28,
  REGISTERS: 32,
} as const

/** The MSR as RDMSR finds it; `undefined` where that is #GP. */
export function readMsr(cpu: Cpu, index: number): bigint | undefined {
  try {
    return cpu.msrs.read(index)
  } catch (thrown) {
    cpu.catchFault(thrown)
    return undefined
  }
}

/** Set an MSR as WRMSR does; false where that is #GP. */
export function writeMsr(cpu: Cpu, index: number, value: bigint): boolean {
  try {
    cpu.msrs.write(index, value)
    return true
  } catch (thrown) {
    cpu.catchFault(thrown)
    return false
  }
}

export function getFloatState(cpu: Cpu): Uint8Array {
  const image = new Uint8Array(FLOAT_STATE_SIZE)
  const view = new DataView(image.buffer)
  const top = cpu.get32(STATE.X87_TOP)
  view.setUint16(AT.CONTROL, cpu.get32(STATE.X87_CONTROL), true)
  view.setUint16(AT.STATUS, statusWord(cpu), true)
  view.setUint8(AT.TAGS, cpu.get32(STATE.X87_TAGS))
  view.setUint16(AT.OPCODE, cpu.get32(STATE.X87_OPCODE), true)
  view.setBigUint64(AT.INSTRUCTION, cpu.get64(STATE.X87_INSTRUCTION), true)
  view.setBigUint64(AT.DATA, cpu.get64(STATE.X87_DATA), true)
  view.setUint32(AT.MXCSR, cpu.get32(STATE.MXCSR), true)
  view.setUint32(AT.MASK, MXCSR_MASK, true)
  for (let i = 0; i < 8; i++) {
    const from = cpu.base + STATE.X87 + ((top + i) & 7) * 16
    image.set(cpu.u8.subarray(from, from + 10), AT.REGISTERS + i * 16)
  }
  return image
}

export function setFloatState(cpu: Cpu, image: Uint8Array): void {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  setWords(cpu, view.getUint16(AT.CONTROL, true), view.getUint16(AT.STATUS, true))
  const top = cpu.get32(STATE.X87_TOP)
  cpu.set32(STATE.X87_TAGS, view.getUint8(AT.TAGS))
  cpu.set32(STATE.X87_OPCODE, view.getUint16(AT.OPCODE, true) & 0x7ff)
  cpu.set64(STATE.X87_INSTRUCTION, view.getBigUint64(AT.INSTRUCTION, true))
  cpu.set64(STATE.X87_DATA, view.getBigUint64(AT.DATA, true))
  cpu.set32(STATE.MXCSR, view.getUint32(AT.MXCSR, true) & MXCSR_MASK)
  for (let i = 0; i < 8; i++) {
    const to = cpu.base + STATE.X87 + ((top + i) & 7) * 16
    cpu.u8.set(image.subarray(AT.REGISTERS + i * 16, AT.REGISTERS + i * 16 + 10), to)
  }
}
