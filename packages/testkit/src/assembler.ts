/**
 * A small x86 assembler for tests: machine-code programs for a partition, in 16-, 32- and 64-bit code, with labels and data. It encodes system
 * and integer instructions; for others there is `bytes`. Operands are in Intel's order.
 *
 * @example
 * ```ts
 * const program = new Assembler({ origin: 0x10_0000, bits: 32 })
 *   .mov('ecx', 10)
 *   .label('again')
 *   .add('eax', 'ecx')
 *   .loop('again')
 *   .out(0xf4, 'eax')
 *   .hlt()
 *   .assemble()
 * ```
 * @packageDocumentation
 */
import { IntegerAssembler } from './assembler/integer.ts'
import { type Bits, isMemory, type Location, type Memory, registerInfo } from './assembler/operands.ts'

export type { AssemblerOptions, CodeBits } from './assembler/encoder.ts'
export type { Condition, Target } from './assembler/integer.ts'
export {
  type Address,
  type AddressLike,
  type Bits,
  byte,
  dword,
  type Immediate,
  type LabelReference,
  type Location,
  type Memory,
  mem,
  type Operand,
  qword,
  type Register,
  ref,
  type SegmentRegister,
  word,
} from './assembler/operands.ts'

/** Collects instructions and data; each method appends and returns the assembler. */
export class Assembler extends IntegerAssembler {
  // Ports and strings.

  in(target: 'al' | 'ax' | 'eax', port: number | 'dx'): this {
    return this.#port(0xe4, target, port)
  }
  out(port: number | 'dx', source: 'al' | 'ax' | 'eax'): this {
    return this.#port(0xe6, source, port)
  }
  #port(opcode: number, register: 'al' | 'ax' | 'eax', port: number | 'dx'): this {
    const { size } = registerInfo(register)
    const code = opcode | (size === 8 ? 0 : 1)
    return port === 'dx' ? this.plain([code | 8], size) : this.plain([code], size).immediate(port, 8)
  }
  /** The prefix REP or REPE for the next instruction. */
  rep(): this {
    return this.bytes(0xf3)
  }
  repne(): this {
    return this.bytes(0xf2)
  }
  lock(): this {
    return this.bytes(0xf0)
  }
  movs(size: Bits): this {
    return this.#string(0xa4, size)
  }
  cmps(size: Bits): this {
    return this.#string(0xa6, size)
  }
  stos(size: Bits): this {
    return this.#string(0xaa, size)
  }
  lods(size: Bits): this {
    return this.#string(0xac, size)
  }
  scas(size: Bits): this {
    return this.#string(0xae, size)
  }
  ins(size: Bits): this {
    return this.#string(0x6c, size)
  }
  outs(size: Bits): this {
    return this.#string(0x6e, size)
  }
  #string(opcode: number, size: Bits): this {
    return this.plain([opcode | (size === 8 ? 0 : 1)], size)
  }

  // System.

  sgdt(target: Memory): this {
    return this.#system([0x0f, 0x01], 0, target)
  }
  sidt(target: Memory): this {
    return this.#system([0x0f, 0x01], 1, target)
  }
  lgdt(source: Memory): this {
    return this.#system([0x0f, 0x01], 2, source)
  }
  lidt(source: Memory): this {
    return this.#system([0x0f, 0x01], 3, source)
  }
  smsw(target: Location): this {
    return this.#system([0x0f, 0x01], 4, target)
  }
  lmsw(source: Location): this {
    return this.#system([0x0f, 0x01], 6, source)
  }
  invlpg(address: Memory): this {
    return this.#system([0x0f, 0x01], 7, address)
  }
  sldt(target: Location): this {
    return this.#system([0x0f, 0x00], 0, target)
  }
  str(target: Location): this {
    return this.#system([0x0f, 0x00], 1, target)
  }
  lldt(source: Location): this {
    return this.#system([0x0f, 0x00], 2, source)
  }
  ltr(source: Location): this {
    return this.#system([0x0f, 0x00], 3, source)
  }
  verr(source: Location): this {
    return this.#system([0x0f, 0x00], 4, source)
  }
  verw(source: Location): this {
    return this.#system([0x0f, 0x00], 5, source)
  }
  #system(opcode: readonly number[], extension: number, rm: Location): this {
    const stores = extension <= 1 && opcode[1] === 0 ? true : extension === 4 && opcode[1] === 1
    return this.modRm({ opcode, reg: extension, rm, size: stores && !isMemory(rm) ? registerInfo(rm).size : undefined })
  }
  nop(): this {
    return this.bytes(0x90)
  }
  hlt(): this {
    return this.bytes(0xf4)
  }
  cli(): this {
    return this.bytes(0xfa)
  }
  sti(): this {
    return this.bytes(0xfb)
  }
  cld(): this {
    return this.bytes(0xfc)
  }
  std(): this {
    return this.bytes(0xfd)
  }
  clc(): this {
    return this.bytes(0xf8)
  }
  stc(): this {
    return this.bytes(0xf9)
  }
  pause(): this {
    return this.bytes(0xf3, 0x90)
  }
  ud2(): this {
    return this.bytes(0x0f, 0x0b)
  }
  clts(): this {
    return this.bytes(0x0f, 0x06)
  }
  wbinvd(): this {
    return this.bytes(0x0f, 0x09)
  }
  cpuid(): this {
    return this.bytes(0x0f, 0xa2)
  }
  rdtsc(): this {
    return this.bytes(0x0f, 0x31)
  }
  rdmsr(): this {
    return this.bytes(0x0f, 0x32)
  }
  wrmsr(): this {
    return this.bytes(0x0f, 0x30)
  }
  syscall(): this {
    return this.bytes(0x0f, 0x05)
  }
  /** SYSRET to 64-bit code, or to compatibility mode with 32. */
  sysret(size: 32 | 64 = 64): this {
    return this.plain([0x0f, 0x07], size)
  }
  sysenter(): this {
    return this.bytes(0x0f, 0x34)
  }
  sysexit(size: 32 | 64 = 32): this {
    return this.plain([0x0f, 0x35], size)
  }
  swapgs(): this {
    return this.bytes(0x0f, 0x01, 0xf8)
  }
  vmcall(): this {
    return this.bytes(0x0f, 0x01, 0xc1)
  }
}
