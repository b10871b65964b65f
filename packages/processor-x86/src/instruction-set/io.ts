// Port I/O (SDM vol. 1, chapter 19): IN, OUT, INS, OUTS, with the checks of I/O privilege and the permission bitmap.

import type { Cpu } from '../cpu.ts'
import {
  type InstructionDefinition,
  type InstructionForm,
  type InstructionOptions,
  instruction,
} from '../instruction/definition.ts'
import { VECTOR } from '../instruction/emitter.ts'
import { type SystemSemantics, system } from '../instruction/system.ts'
import { advance, ioPrivilege } from '../instruction/system-operand.ts'
import { GPR, RECORD, SEGMENT, STATE, STATUS } from '../state-layout.ts'

type PortSize = 1 | 2 | 4

const IO_MAP_BASE = 0x66
/** Elements that a repeated instruction moves before interrupts may come in. */
const REPEAT_LIMIT = 256
const PAGE_MASK = ~0xfffn

/** #GP(0) unless the program may use these ports (SDM vol. 1, 19.5). */
function checkPorts(cpu: Cpu, port: number, size: number): void {
  if (!cpu.protectedMode || (!cpu.virtual8086 && cpu.cpl <= ioPrivilege(cpu))) return
  const type = cpu.segmentAttributes(SEGMENT.TR) & 15
  const limit = cpu.segmentLimit(SEGMENT.TR)
  // a 16-bit TSS has no bitmap
  if ((type & 9) !== 9 || limit < IO_MAP_BASE + 1) cpu.fault(VECTOR.GP, 0)
  const base = cpu.segmentBase(SEGMENT.TR)
  const offset = cpu.readU16(BigInt.asUintN(64, base + BigInt(IO_MAP_BASE)), true) + (port >> 3)
  if (offset + 1 > limit) cpu.fault(VECTOR.GP, 0)
  const bits = cpu.readU16(BigInt.asUintN(64, base + BigInt(offset)), true)
  if ((bits >> (port & 7)) & ((1 << size) - 1)) cpu.fault(VECTOR.GP, 0)
}

/** The immediate port, or DX. */
function portOf(cpu: Cpu, record: number, form: InstructionForm): number {
  const immediate = form.operands.some((operand) => operand.kind === 'immediate')
  return immediate ? (cpu.u8[record + RECORD.IMMEDIATE] as number) : cpu.gpr32(GPR.RDX) & 0xffff
}

const input = (byte: boolean): SystemSemantics =>
  system((cpu, record, form) => {
    const size: PortSize = byte ? 1 : form.operandSize === 2 ? 2 : 4
    const port = portOf(cpu, record, form)
    checkPorts(cpu, port, size)
    const value = cpu.intercepts.portRead(cpu.index, port, size)
    cpu.watchPorts(port, size)
    const at = cpu.base + STATE.FILE + GPR.RAX * 8
    if (size === 1) cpu.u8[at] = value
    else if (size === 2) cpu.view.setUint16(at, value, true)
    else cpu.setGpr32(GPR.RAX, value)
    return STATUS.NEXT
  })
const output = (byte: boolean): SystemSemantics =>
  system((cpu, record, form) => {
    const size: PortSize = byte ? 1 : form.operandSize === 2 ? 2 : 4
    const port = portOf(cpu, record, form)
    checkPorts(cpu, port, size)
    const value = cpu.gpr32(GPR.RAX)
    cpu.intercepts.portWrite(cpu.index, port, size, size === 1 ? value & 0xff : size === 2 ? value & 0xffff : value)
    cpu.watchPorts(port, size)
    return STATUS.NEXT
  })

function addressMask(cpu: Cpu, record: number): bigint {
  const size = (cpu.u8[record + RECORD.FLAGS] as number) & 3
  return size === 0 ? 0xffffffffffffffffn : size === 1 ? 0xffffffffn : 0xffffn
}
/** Write a counter or index register in the address size. */
function setIndex(cpu: Cpu, register: number, value: bigint, mask: bigint): void {
  const next = value & mask
  cpu.setGpr(register, mask === 0xffffn ? (cpu.gpr(register) & 0xffffffffffff0000n) | next : next)
}

/** One element of a string; `element` gets its linear address. Repeats as the prefix says; registers are right after each element. */
function string(
  cpu: Cpu,
  record: number,
  form: InstructionForm,
  index: number,
  size: PortSize,
  segment: number,
  access: 'read' | 'write',
  element: (linear: bigint) => void,
): number {
  const mask = addressMask(cpu, record)
  const repeated = form.repeat !== 'none'
  const step = BigInt(cpu.get32(STATE.DIRECTION) ? -size : size)
  for (let done = 0; ; done++) {
    if (repeated) {
      if ((cpu.gpr(GPR.RCX) & mask) === 0n) break
      if (done === REPEAT_LIMIT) return cpu.jump(cpu.ripOf(record))
    }
    const at = cpu.gpr(index) & mask
    element(cpu.segmentAddress(segment, at, size, access))
    setIndex(cpu, index, at + step, mask)
    if (!repeated) break
    setIndex(cpu, GPR.RCX, cpu.gpr(GPR.RCX) - 1n, mask)
  }
  return advance(cpu, record)
}

const inputString = (byte: boolean): SystemSemantics =>
  system((cpu, record, form) => {
    const size: PortSize = byte ? 1 : form.operandSize === 2 ? 2 : 4
    const port = cpu.gpr32(GPR.RDX) & 0xffff
    checkPorts(cpu, port, size)
    let checked = -1n
    return string(cpu, record, form, GPR.RDI, size, SEGMENT.ES, 'write', (linear) => {
      // the port is read only when its value can be stored
      const last = (linear + BigInt(size - 1)) & PAGE_MASK
      if ((linear & PAGE_MASK) !== checked || last !== checked) {
        cpu.probeWrite(linear, size)
        checked = last
      }
      const value = cpu.intercepts.portRead(cpu.index, port, size)
      cpu.watchPorts(port, size)
      if (size === 1) cpu.writeU8(linear, value)
      else if (size === 2) cpu.writeU16(linear, value)
      else cpu.writeU32(linear, value)
    })
  })
const outputString = (byte: boolean): SystemSemantics =>
  system((cpu, record, form) => {
    const size: PortSize = byte ? 1 : form.operandSize === 2 ? 2 : 4
    const port = cpu.gpr32(GPR.RDX) & 0xffff
    checkPorts(cpu, port, size)
    return string(cpu, record, form, GPR.RSI, size, cpu.segmentOf(record), 'read', (linear) => {
      const value = size === 1 ? cpu.readU8(linear) : size === 2 ? cpu.readU16(linear) : cpu.readU32(linear)
      cpu.intercepts.portWrite(cpu.index, port, size, value)
      cpu.watchPorts(port, size)
    })
  })

const REPEAT: InstructionOptions = { repeat: true }

export const IO: readonly InstructionDefinition[] = [
  instruction('IN', 'E4 ib', 'AL Ib', input(true)),
  instruction('IN', 'E5 ib', 'eAX Ib', input(false)),
  instruction('IN', 'EC', 'AL DX', input(true)),
  instruction('IN', 'ED', 'eAX DX', input(false)),
  instruction('OUT', 'E6 ib', 'Ib AL', output(true)),
  instruction('OUT', 'E7 ib', 'Ib eAX', output(false)),
  instruction('OUT', 'EE', 'DX AL', output(true)),
  instruction('OUT', 'EF', 'DX eAX', output(false)),
  instruction('INSB', '6C', '', inputString(true), REPEAT),
  instruction('INS', '6D', '', inputString(false), REPEAT),
  instruction('OUTSB', '6E', '', outputString(true), REPEAT),
  instruction('OUTS', '6F', '', outputString(false), REPEAT),
]
