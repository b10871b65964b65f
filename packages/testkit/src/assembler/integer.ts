// The integer instructions of the assembler: moves, arithmetic and logic, stack, control flow (Intel SDM vol. 2, chapters 3 to 5).

import { type AssemblerOptions, Encoder, fitsSigned } from './encoder.ts'
import {
  type Bits,
  type Immediate,
  isMemory,
  isReference,
  type LabelReference,
  type Location,
  type Memory,
  type Operand,
  operandError,
  type Register,
  type RegisterInfo,
  registerInfo,
} from './operands.ts'

const CONDITIONS = {
  o: 0,
  no: 1,
  b: 2,
  c: 2,
  nae: 2,
  ae: 3,
  nb: 3,
  nc: 3,
  e: 4,
  z: 4,
  ne: 5,
  nz: 5,
  be: 6,
  na: 6,
  a: 7,
  nbe: 7,
  s: 8,
  ns: 9,
  p: 10,
  pe: 10,
  np: 11,
  po: 11,
  l: 12,
  nge: 12,
  ge: 13,
  nl: 13,
  le: 14,
  ng: 14,
  g: 15,
  nle: 15,
} as const
/** Conditions of Jcc, SETcc and CMOVcc. */
export type Condition = keyof typeof CONDITIONS
/** The destination of a jump: a label, perhaps with an offset. */
export type Target = string | LabelReference

const isRegister = (operand: Operand): operand is Register => typeof operand === 'string'
const isImmediate = (operand: Operand): operand is Immediate => !isRegister(operand) && !isMemory(operand)
/** Immediates have at most 32 bits. */
const immediateSize = (size: Bits): Bits => (size === 64 ? 32 : size)

/** Integer instructions. */
export class IntegerAssembler extends Encoder {
  constructor(options?: AssemblerOptions) {
    super(options)
  }

  // Moves.

  /** MOV, also to and from segment, control and debug registers. */
  mov(target: Location, source: Operand): this {
    if (isRegister(source) && registerInfo(source).kind !== 'general') return this.#movSystem(source, target, 0)
    if (isRegister(target) && registerInfo(target).kind !== 'general') {
      if (isImmediate(source)) throw operandError('There is no such MOV')
      return this.#movSystem(target, source, 2)
    }
    const size = this.#size(target, source)
    const wide = size === 8 ? 0 : 1
    if (!isImmediate(source)) return this.#twoOperands(0x88, target, source)
    if (isMemory(target) || (size === 64 && fitsSigned(source, 32))) {
      const immediate = { value: source, size: immediateSize(size) }
      return this.modRm({ opcode: [0xc6 | wide], reg: 0, rm: target, size, immediate })
    }
    const { number, needsRex } = registerInfo(target)
    this.plain([(wide === 0 ? 0xb0 : 0xb8) + (number & 7)], size, number, needsRex)
    return this.immediate(source, size)
  }

  #movSystem(system: Register, other: Location, direction: 0 | 2): this {
    const info = registerInfo(system)
    if (info.kind === 'segment') {
      // To memory 16 bits; to a register as wide as the register is. From anything 16 bits are read.
      const size = direction === 0 && !isMemory(other) ? registerInfo(other).size : undefined
      return this.modRm({ opcode: [0x8c | direction], reg: info, rm: other, size })
    }
    if (isMemory(other)) throw operandError('Control and debug registers go to and from registers only')
    const opcode = [0x0f, (info.kind === 'control' ? 0x20 : 0x21) | direction]
    return this.modRm({ opcode, reg: info, rm: other })
  }

  lea(target: Register, source: Memory): this {
    return this.modRm({ opcode: [0x8d], reg: registerInfo(target), rm: source, size: registerInfo(target).size })
  }
  movzx(target: Register, source: Location): this {
    return this.#extend(0xb6, target, source)
  }
  movsx(target: Register, source: Location): this {
    return this.#extend(0xbe, target, source)
  }
  movsxd(target: Register, source: Location): this {
    return this.modRm({ opcode: [0x63], reg: registerInfo(target), rm: source, size: registerInfo(target).size })
  }
  #extend(opcode: number, target: Register, source: Location): this {
    const from = isMemory(source) ? source.size : registerInfo(source).size
    if (from !== 8 && from !== 16) throw operandError('The source has 8 or 16 bits')
    const info = registerInfo(target)
    return this.modRm({ opcode: [0x0f, opcode | (from === 8 ? 0 : 1)], reg: info, rm: source, size: info.size })
  }
  xchg(target: Location, source: Register): this {
    return this.#exchange([0x86], target, source)
  }
  cmpxchg(target: Location, source: Register): this {
    return this.#exchange([0x0f, 0xb0], target, source)
  }
  xadd(target: Location, source: Register): this {
    return this.#exchange([0x0f, 0xc0], target, source)
  }
  cmpxchg8b(target: Memory): this {
    return this.modRm({ opcode: [0x0f, 0xc7], reg: 1, rm: target })
  }
  cmpxchg16b(target: Memory): this {
    return this.modRm({ opcode: [0x0f, 0xc7], reg: 1, rm: target, size: 64 })
  }
  #exchange(opcode: readonly number[], target: Location, source: Register): this {
    const size = this.#size(target, source)
    const last = (opcode.at(-1) as number) | (size === 8 ? 0 : 1)
    return this.modRm({ opcode: [...opcode.slice(0, -1), last], reg: registerInfo(source), rm: target, size })
  }
  cmovcc(condition: Condition, target: Register, source: Location): this {
    const info = registerInfo(target)
    return this.modRm({ opcode: [0x0f, 0x40 | CONDITIONS[condition]], reg: info, rm: source, size: info.size })
  }
  setcc(condition: Condition, target: Location): this {
    return this.modRm({ opcode: [0x0f, 0x90 | CONDITIONS[condition]], reg: 0, rm: target, size: 8 })
  }

  // Arithmetic and logic.

  add(target: Location, source: Operand): this {
    return this.#alu(0, target, source)
  }
  or(target: Location, source: Operand): this {
    return this.#alu(1, target, source)
  }
  adc(target: Location, source: Operand): this {
    return this.#alu(2, target, source)
  }
  sbb(target: Location, source: Operand): this {
    return this.#alu(3, target, source)
  }
  and(target: Location, source: Operand): this {
    return this.#alu(4, target, source)
  }
  sub(target: Location, source: Operand): this {
    return this.#alu(5, target, source)
  }
  xor(target: Location, source: Operand): this {
    return this.#alu(6, target, source)
  }
  cmp(target: Location, source: Operand): this {
    return this.#alu(7, target, source)
  }
  #alu(operation: number, target: Location, source: Operand): this {
    if (!isImmediate(source)) return this.#twoOperands(operation << 3, target, source)
    const size = this.#size(target, source)
    const wide = size === 8 ? 0 : 1
    if (wide === 1 && fitsSigned(source, 8)) {
      return this.modRm({ opcode: [0x83], reg: operation, rm: target, size, immediate: { value: source, size: 8 } })
    }
    if (isAccumulator(target))
      return this.plain([(operation << 3) | 4 | wide], size).extended(source, immediateSize(size), size)
    const immediate = { value: source, size: immediateSize(size) }
    return this.modRm({ opcode: [0x80 | wide], reg: operation, rm: target, size, immediate })
  }
  test(target: Location, source: Register | Immediate): this {
    const size = this.#size(target, source)
    const wide = size === 8 ? 0 : 1
    if (isRegister(source)) return this.#exchange([0x84], target, source)
    if (isAccumulator(target)) return this.plain([0xa8 | wide], size).extended(source, immediateSize(size), size)
    const immediate = { value: source, size: immediateSize(size) }
    return this.modRm({ opcode: [0xf6 | wide], reg: 0, rm: target, size, immediate })
  }
  inc(target: Location): this {
    return this.#oneOperand(0xfe, 0, target)
  }
  dec(target: Location): this {
    return this.#oneOperand(0xfe, 1, target)
  }
  not(target: Location): this {
    return this.#oneOperand(0xf6, 2, target)
  }
  neg(target: Location): this {
    return this.#oneOperand(0xf6, 3, target)
  }
  mul(source: Location): this {
    return this.#oneOperand(0xf6, 4, source)
  }
  div(source: Location): this {
    return this.#oneOperand(0xf6, 6, source)
  }
  idiv(source: Location): this {
    return this.#oneOperand(0xf6, 7, source)
  }
  /** IMUL with one, two or three operands. */
  imul(target: Location, source?: Location, factor?: Immediate): this {
    if (source === undefined) return this.#oneOperand(0xf6, 5, target)
    if (isMemory(target)) throw operandError('The target of IMUL is a register')
    const reg = registerInfo(target)
    if (factor === undefined) return this.modRm({ opcode: [0x0f, 0xaf], reg, rm: source, size: reg.size })
    const short = fitsSigned(factor, 8)
    const immediate = { value: factor, size: short ? 8 : immediateSize(reg.size) } as const
    return this.modRm({ opcode: [short ? 0x6b : 0x69], reg, rm: source, size: reg.size, immediate })
  }
  rol(target: Location, count: number | 'cl'): this {
    return this.#shift(0, target, count)
  }
  ror(target: Location, count: number | 'cl'): this {
    return this.#shift(1, target, count)
  }
  rcl(target: Location, count: number | 'cl'): this {
    return this.#shift(2, target, count)
  }
  rcr(target: Location, count: number | 'cl'): this {
    return this.#shift(3, target, count)
  }
  shl(target: Location, count: number | 'cl'): this {
    return this.#shift(4, target, count)
  }
  shr(target: Location, count: number | 'cl'): this {
    return this.#shift(5, target, count)
  }
  sar(target: Location, count: number | 'cl'): this {
    return this.#shift(7, target, count)
  }
  #shift(operation: number, target: Location, count: number | 'cl'): this {
    if (count === 'cl') return this.#oneOperand(0xd2, operation, target)
    if (count === 1) return this.#oneOperand(0xd0, operation, target)
    const size = this.#size(target)
    const immediate = { value: count, size: 8 } as const
    return this.modRm({ opcode: [0xc0 | (size === 8 ? 0 : 1)], reg: operation, rm: target, size, immediate })
  }
  bt(target: Location, bit: Register | number): this {
    return this.#bit(4, target, bit)
  }
  bts(target: Location, bit: Register | number): this {
    return this.#bit(5, target, bit)
  }
  btr(target: Location, bit: Register | number): this {
    return this.#bit(6, target, bit)
  }
  btc(target: Location, bit: Register | number): this {
    return this.#bit(7, target, bit)
  }
  #bit(operation: number, target: Location, bit: Register | number): this {
    const size = this.#size(target, bit)
    if (isRegister(bit)) {
      return this.modRm({ opcode: [0x0f, 0x83 | (operation << 3)], reg: registerInfo(bit), rm: target, size })
    }
    const immediate = { value: bit, size: 8 } as const
    return this.modRm({ opcode: [0x0f, 0xba], reg: operation, rm: target, size, immediate })
  }

  // Stack.

  push(source: Operand): this {
    if (isImmediate(source)) {
      if (fitsSigned(source, 8)) return this.bytes(0x6a).immediate(source, 8)
      return this.bytes(0x68).extended(source, this.codeBits === 16 ? 16 : 32, this.codeBits)
    }
    if (isMemory(source)) return this.modRm({ opcode: [0xff], reg: 6, rm: source, size: this.#stackSize(source.size) })
    const info = registerInfo(source)
    if (info.kind === 'segment') return this.#stackSegment(info, [0x06, 0x0e, 0x16, 0x1e], 0xa0)
    return this.plain([0x50 + (info.number & 7)], this.#stackSize(info.size), info.number)
  }
  pop(target: Location): this {
    if (isMemory(target)) return this.modRm({ opcode: [0x8f], reg: 0, rm: target, size: this.#stackSize(target.size) })
    const info = registerInfo(target)
    if (info.kind === 'segment') return this.#stackSegment(info, [0x07, undefined, 0x17, 0x1f], 0xa1)
    return this.plain([0x58 + (info.number & 7)], this.#stackSize(info.size), info.number)
  }
  /** PUSHF, PUSHFD or PUSHFQ, as the code is. */
  pushf(): this {
    return this.bytes(0x9c)
  }
  popf(): this {
    return this.bytes(0x9d)
  }
  pusha(): this {
    return this.bytes(0x60)
  }
  popa(): this {
    return this.bytes(0x61)
  }
  leave(): this {
    return this.bytes(0xc9)
  }
  #stackSegment(info: RegisterInfo, short: readonly (number | undefined)[], long: number): this {
    if (info.number >= 4) return this.bytes(0x0f, long | ((info.number & 1) << 3))
    const opcode = short[info.number]
    if (opcode === undefined || this.codeBits === 64)
      throw operandError('This segment register cannot be pushed or popped')
    return this.bytes(opcode)
  }
  /** 64-bit code pushes 64 bits without a prefix, and 16 bits with one. */
  #stackSize(size: Bits | undefined): Bits | undefined {
    if (size === 8 || (size === 32 && this.codeBits === 64))
      throw operandError(`${size} bits cannot be pushed or popped`)
    return size === 64 && this.codeBits === 64 ? undefined : size
  }

  // Control flow.

  /** JMP, with a 16- or 32-bit displacement to a label, or through a register or memory. Register names are registers. */
  jmp(target: Target | Location): this {
    return this.#branch(0xe9, 4, target)
  }
  /** JMP with an 8-bit displacement. */
  jmpShort(target: Target): this {
    return this.bytes(0xeb).relative(target, 8)
  }
  call(target: Target | Location): this {
    return this.#branch(0xe8, 2, target)
  }
  /** Jcc with a 16- or 32-bit displacement. */
  jcc(condition: Condition, target: Target): this {
    return this.bytes(0x0f, 0x80 | CONDITIONS[condition]).relative(target, this.codeBits === 16 ? 16 : 32)
  }
  /** Jcc with an 8-bit displacement. */
  jccShort(condition: Condition, target: Target): this {
    return this.bytes(0x70 | CONDITIONS[condition]).relative(target, 8)
  }
  loop(target: Target): this {
    return this.bytes(0xe2).relative(target, 8)
  }
  /** JCXZ, JECXZ or JRCXZ, as the code is. */
  jrcxz(target: Target): this {
    return this.bytes(0xe3).relative(target, 8)
  }
  ret(pop?: number): this {
    return pop === undefined ? this.bytes(0xc3) : this.bytes(0xc2).immediate(pop, 16)
  }
  /** Far JMP to selector and offset; `size` of the offset: as the code is. Not in 64-bit code. */
  jmpFar(selector: number, offset: Immediate, size: 16 | 32 = this.#offsetSize()): this {
    return this.plain([0xea], size).immediate(offset, size).immediate(selector, 16)
  }
  /** Far JMP through memory. `size` is that of the offset there. */
  jmpFarIndirect(target: Memory, size?: Bits): this {
    return this.modRm({ opcode: [0xff], reg: 5, rm: target, size })
  }
  callFar(selector: number, offset: Immediate, size: 16 | 32 = this.#offsetSize()): this {
    return this.plain([0x9a], size).immediate(offset, size).immediate(selector, 16)
  }
  callFarIndirect(target: Memory, size?: Bits): this {
    return this.modRm({ opcode: [0xff], reg: 3, rm: target, size })
  }
  /** Far RET. `size` is that of each of the two words on the stack. */
  retf(size?: Bits): this {
    return this.plain([0xcb], size)
  }
  int(vector: number): this {
    return this.bytes(0xcd).immediate(vector, 8)
  }
  int3(): this {
    return this.bytes(0xcc)
  }
  /** IRET, IRETD or IRETQ. Default: as the code is. */
  iret(size: Bits = this.codeBits): this {
    return this.plain([0xcf], size)
  }
  #branch(direct: number, indirect: number, target: Target | Location): this {
    const location = typeof target === 'string' ? (isRegisterName(target) ? target : undefined) : target
    if (location !== undefined && (typeof location === 'string' || !isReference(location))) {
      const size = typeof location === 'string' ? registerInfo(location).size : location.size
      return this.modRm({ opcode: [0xff], reg: indirect, rm: location, size: size === 64 ? undefined : size })
    }
    return this.bytes(direct).relative(target as Target, this.#offsetSize())
  }
  #offsetSize(): 16 | 32 {
    return this.codeBits === 16 ? 16 : 32
  }

  #twoOperands(opcode: number, target: Location, source: Location): this {
    const size = this.#size(target, source)
    const wide = size === 8 ? 0 : 1
    if (isRegister(source)) return this.modRm({ opcode: [opcode | wide], reg: registerInfo(source), rm: target, size })
    if (isMemory(target)) throw operandError('Both operands are memory')
    return this.modRm({ opcode: [opcode | 2 | wide], reg: registerInfo(target), rm: source, size })
  }

  #oneOperand(opcode: number, extension: number, rm: Location): this {
    const size = this.#size(rm)
    return this.modRm({ opcode: [opcode | (size === 8 ? 0 : 1)], reg: extension, rm, size })
  }

  /** The size of an instruction's operands: all that have one agree. */
  #size(target: Location, source?: Operand): Bits {
    const sizes: Bits[] = []
    for (const operand of [target, source]) {
      if (operand === undefined || isImmediate(operand)) continue
      const size = isMemory(operand) ? operand.size : registerInfo(operand).size
      if (size !== undefined) sizes.push(size)
    }
    const [size] = sizes
    if (size === undefined) throw operandError('Nothing tells the size of the operands')
    if (sizes.some((other) => other !== size)) throw operandError('The operands have different sizes')
    return size
  }
}

function isAccumulator(operand: Location): boolean {
  return operand === 'al' || operand === 'ax' || operand === 'eax' || operand === 'rax'
}

function isRegisterName(name: string): name is Register {
  return GENERAL_NAME.test(name)
}
/** Registers that a branch can go through. */
const GENERAL_NAME = /^(?:[er]?(?:[abcd]x|[sb]p|[sd]i)|r(?:8|9|1[0-5])[dw]?)$/
