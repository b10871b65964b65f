// The x87 environment in memory (SDM vol. 1, 8.1.10, figures 8-9 to 8-12): 28 or 14 bytes, in a layout for protected mode and one for real-address and
// virtual-8086 mode; followed by the registers for FNSAVE and FRSTOR.

import type { Cpu } from '../cpu.ts'
import { STATE } from '../state-layout.ts'
import { restoreRegisters, saveRegisters, setPointers, setTagWord, setWords, statusWord, tagWord } from './registers.ts'

export const REGISTERS_SIZE = 80

/** Bytes of the environment for an operand size of 2 (14 bytes) or more. */
export function environmentSize(operandSize: number): number {
  return operandSize === 2 ? 14 : 28
}

function realLayout(cpu: Cpu): boolean {
  return !cpu.protectedMode || cpu.virtual8086
}

/** The environment, with room for the registers if `registers`. */
export function saveEnvironment(cpu: Cpu, operandSize: number, registers: boolean): Uint8Array {
  const size = environmentSize(operandSize)
  const bytes = new Uint8Array(size + (registers ? REGISTERS_SIZE : 0))
  const view = new DataView(bytes.buffer)
  const opcode = cpu.get32(STATE.X87_OPCODE)
  const instruction = Number(BigInt.asUintN(32, cpu.get64(STATE.X87_INSTRUCTION)))
  const data = Number(BigInt.asUintN(32, cpu.get64(STATE.X87_DATA)))
  const words = [cpu.get32(STATE.X87_CONTROL), statusWord(cpu), tagWord(cpu)]
  // Selectors are stored as 0.
  if (size === 14) {
    if (realLayout(cpu)) {
      words.push(instruction & 0xffff, ((instruction >>> 4) & 0xf000) | opcode, data & 0xffff, (data >>> 4) & 0xf000)
    } else words.push(instruction & 0xffff, 0, data & 0xffff, 0)
    for (const [i, word] of words.entries()) view.setUint16(i * 2, word, true)
  } else {
    const reserved = 0xffff0000
    const doubles = words.map((word) => (word | reserved) >>> 0)
    if (realLayout(cpu)) {
      doubles.push(
        (instruction & 0xffff) | reserved,
        ((instruction >>> 4) & 0x0ffff000) | opcode,
        (data & 0xffff) | reserved,
        (data >>> 4) & 0x0ffff000,
      )
    } else doubles.push(instruction, opcode << 16, data, reserved)
    for (const [i, double] of doubles.entries()) view.setUint32(i * 4, double, true)
  }
  if (registers) saveRegisters(cpu, view, size, 10)
  return bytes
}

export function restoreEnvironment(cpu: Cpu, operandSize: number, bytes: Uint8Array, registers: boolean): void {
  const size = environmentSize(operandSize)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const stride = size === 14 ? 2 : 4
  const word = (i: number): number => view.getUint16(i * stride, true)
  setWords(cpu, word(0), word(1))
  setTagWord(cpu, word(2))
  let instruction: number
  let data: number
  let opcode: number
  if (realLayout(cpu)) {
    const high = (i: number): number =>
      stride === 2 ? (word(i) & 0xf000) << 4 : ((view.getUint32(i * 4, true) & 0x0ffff000) << 4) >>> 0
    instruction = (word(3) | high(4)) >>> 0
    opcode = word(4) & 0x7ff
    data = (word(5) | high(6)) >>> 0
  } else if (stride === 2) {
    instruction = word(3)
    opcode = 0
    data = word(5)
  } else {
    instruction = view.getUint32(12, true)
    opcode = view.getUint16(18, true) & 0x7ff
    data = view.getUint32(20, true)
  }
  setPointers(cpu, opcode, BigInt(instruction), BigInt(data))
  if (registers) restoreRegisters(cpu, view, size, 10)
}
