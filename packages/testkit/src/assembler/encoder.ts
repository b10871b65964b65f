// The encoder under the mnemonics (Intel SDM vol. 2, chapter 2): prefixes, REX, ModR/M, SIB, displacements and immediates for code of 16,
// 32 and 64 bits, labels and their fix-ups, and data.

import { PartitaError } from '@partita/interface'
import {
  type Bits,
  type Immediate,
  isMemory,
  isReference,
  type LabelReference,
  type Memory,
  operandError,
  type Register,
  type RegisterInfo,
  registerInfo,
} from './operands.ts'

/** Sizes of code. */
export type CodeBits = 16 | 32 | 64

/** Options of an assembler. */
export interface AssemblerOptions {
  /** Address of the first byte. Default: 0. */
  readonly origin?: number
  /** Size of the code at its start. Default: 64. */
  readonly bits?: CodeBits
}

/** An instruction with a ModR/M byte. */
export interface ModRmForm {
  readonly opcode: readonly number[]
  /** The register, or the extension of the opcode. */
  readonly reg: RegisterInfo | number
  readonly rm: Register | Memory
  /** Operand size; 8 and `undefined` need no prefix. */
  readonly size?: Bits | undefined
  readonly immediate?: { readonly value: Immediate; readonly size: Bits }
}

interface FixUp {
  readonly offset: number
  readonly bytes: number
  readonly reference: LabelReference
  /** Output position that the value is relative to; `undefined` for the address itself. */
  relativeTo: number | undefined
}

const SEGMENT_PREFIX = { es: 0x26, cs: 0x2e, ss: 0x36, ds: 0x3e, fs: 0x64, gs: 0x65 } as const
const OPERAND_SIZE = 0x66
const ADDRESS_SIZE = 0x67
/** 16-bit addressing: base and index to the R/M field. */
const ADDRESS16: Readonly<Record<string, number>> = {
  'bx+si': 0,
  'bx+di': 1,
  'bp+si': 2,
  'bp+di': 3,
  si: 4,
  di: 5,
  bp: 6,
  bx: 7,
}

/** Whether `value` is the same number in `bits` bits with a sign. */
export function fitsSigned(value: Immediate, bits: number): boolean {
  if (isReference(value)) return false
  const wide = BigInt(value)
  return wide === BigInt.asIntN(bits, wide)
}

/** Bytes in the making. */
export class Encoder {
  /** Address of the first byte. */
  readonly origin: number
  #bits: CodeBits
  readonly #output: number[] = []
  readonly #labels = new Map<string, number>()
  readonly #fixUps: FixUp[] = []
  /** Displacements of the instruction in the making that are relative to its end. */
  #relative: FixUp[] = []

  constructor(options: AssemblerOptions = {}) {
    this.origin = options.origin ?? 0
    this.#bits = options.bits ?? 64
  }

  /** Size of the code that follows. */
  get codeBits(): CodeBits {
    return this.#bits
  }

  /** From here on, the processor executes code of this size. */
  bits(bits: CodeBits): this {
    this.#bits = bits
    return this
  }

  /** Address of the next byte. */
  get here(): number {
    return this.origin + this.#output.length
  }

  /** Name the address of the next byte. */
  label(name: string): this {
    if (this.#labels.has(name)) throw labelError(`The label ${name} is there twice`)
    this.#labels.set(name, this.here)
    return this
  }

  /** The address of a label that is defined already. */
  addressOf(name: string): number {
    const address = this.#labels.get(name)
    if (address === undefined) throw labelError(`There is no label ${name}`)
    return address
  }

  /** Bytes as they are. */
  bytes(...values: readonly (number | Uint8Array)[]): this {
    for (const value of values) {
      if (typeof value === 'number') this.#output.push(value & 0xff)
      else for (const one of value) this.#output.push(one)
    }
    return this
  }

  /** 16-bit words of data. */
  words(...values: readonly Immediate[]): this {
    for (const value of values) this.immediate(value, 16)
    return this
  }

  /** 32-bit words of data. */
  dwords(...values: readonly Immediate[]): this {
    for (const value of values) this.immediate(value, 32)
    return this
  }

  /** 64-bit words of data. */
  qwords(...values: readonly Immediate[]): this {
    for (const value of values) this.immediate(value, 64)
    return this
  }

  /** Text in UTF-8, without a NUL. */
  text(text: string): this {
    return this.bytes(new TextEncoder().encode(text))
  }

  /** `count` bytes of `value`. */
  fill(count: number, value: number = 0): this {
    for (let index = 0; index < count; index++) this.#output.push(value)
    return this
  }

  /** Fill up to an address that is a multiple of `alignment`. */
  align(alignment: number, value: number = 0): this {
    return this.fill(-this.here & (alignment - 1), value)
  }

  /** Fill up to `address`. */
  at(address: number, value: number = 0): this {
    if (address < this.here) throw labelError(`Address ${address} is passed already`)
    return this.fill(address - this.here, value)
  }

  /**
   * The bytes, with all labels resolved.
   * @throws PartitaError `ERR_ASSEMBLER_LABEL` for a label that is missing or out of reach
   */
  assemble(): Uint8Array {
    const result = Uint8Array.from(this.#output)
    for (const { offset, bytes, reference, relativeTo } of this.#fixUps) {
      const target = this.addressOf(reference.label) + reference.addend
      const value = relativeTo === undefined ? target : target - (this.origin + relativeTo)
      const bits = bytes * 8
      // Relative reach has a sign; an address may use all bits, and wraps in 16-bit code as a segment does.
      const fits = relativeTo === undefined ? value >= 0 && value < 2 ** bits : fitsSigned(value, bits)
      if (!fits) throw labelError(`The label ${reference.label} does not fit in ${bits} bits`)
      let rest = BigInt.asUintN(bits, BigInt(value))
      for (let index = 0; index < bytes; index++) {
        result[offset + index] = Number(rest & 0xffn)
        rest >>= 8n
      }
    }
    return result
  }

  /** An immediate of `size` bits. */
  protected immediate(value: Immediate, size: Bits): this {
    if (isReference(value)) return this.#reference(value, size / 8, false)
    const wide = BigInt(value)
    if (wide < -(1n << BigInt(size - 1)) || wide >= 1n << BigInt(size)) {
      throw operandError(`${value} does not fit in ${size} bits`)
    }
    for (let shift = 0n; shift < BigInt(size); shift += 8n) this.#output.push(Number((wide >> shift) & 0xffn))
    return this
  }

  /** A displacement of `size` bits from the end of this field to `target`. */
  protected relative(target: string | LabelReference, size: Bits): this {
    this.#reference(typeof target === 'string' ? { label: target, addend: 0 } : target, size / 8, true)
    return this.end()
  }

  /** Prefixes and opcode without ModR/M. */
  protected plain(opcode: readonly number[], size?: Bits, rexB: number = 0, rex: boolean = false): this {
    this.#sizePrefix(size)
    this.#rex(size === 64, 0, 0, rexB, rex)
    return this.bytes(...opcode)
  }

  /** An instruction with ModR/M, with its immediate. @internal */
  protected modRm({ opcode, reg, rm, size, immediate }: ModRmForm): this {
    const info = typeof reg === 'number' ? undefined : reg
    const regNumber = typeof reg === 'number' ? reg : reg.number
    // A mandatory prefix (66, F2, F3) goes before REX; none of the mnemonics here has one.
    if (isMemory(rm)) this.#memoryForm(opcode, regNumber, info, rm, size)
    else {
      const target = registerInfo(rm)
      this.#sizePrefix(size)
      this.#checkHigh([info, target], size === 64 || regNumber > 7 || target.number > 7)
      this.#rex(size === 64, regNumber, 0, target.number, (info?.needsRex ?? false) || target.needsRex)
      this.bytes(...opcode, 0xc0 | ((regNumber & 7) << 3) | (target.number & 7))
    }
    if (immediate !== undefined) this.extended(immediate.value, immediate.size, size)
    return this.end()
  }

  /** An immediate of `size` bits that the processor extends with its sign to the operand's `to` bits. */
  protected extended(value: Immediate, size: Bits, to: Bits | undefined): this {
    if (to === 64 && size === 32 && !isReference(value) && !fitsSigned(value, 32)) {
      throw operandError(`${value} does not fit in 32 bits with a sign`)
    }
    return this.immediate(value, size)
  }

  /** End of an instruction: what is relative to it is relative to here. */
  protected end(): this {
    for (const fixUp of this.#relative) fixUp.relativeTo = this.#output.length
    this.#relative = []
    return this
  }

  #reference(reference: LabelReference, bytes: number, relative: boolean): this {
    const fixUp: FixUp = { offset: this.#output.length, bytes, reference, relativeTo: undefined }
    this.#fixUps.push(fixUp)
    if (relative) this.#relative.push(fixUp)
    return this.fill(bytes)
  }

  #sizePrefix(size: Bits | undefined): void {
    if (size === 64 && this.#bits !== 64) throw operandError('64-bit operands need 64-bit code')
    if ((size === 16 && this.#bits !== 16) || (size === 32 && this.#bits === 16)) this.bytes(OPERAND_SIZE)
  }

  #rex(wide: boolean, reg: number, index: number, base: number, needed: boolean): void {
    const bits = (wide ? 8 : 0) | (reg > 7 ? 4 : 0) | (index > 7 ? 2 : 0) | (base > 7 ? 1 : 0)
    if (bits === 0 && !needed) return
    if (this.#bits !== 64) throw operandError('This register needs 64-bit code')
    this.bytes(0x40 | bits)
  }

  #checkHigh(registers: readonly (RegisterInfo | undefined)[], rex: boolean): void {
    const needsRex = rex || registers.some((register) => register?.needsRex)
    if (needsRex && registers.some((register) => register?.forbidsRex)) {
      throw operandError('AH, BH, CH and DH do not go with a REX prefix')
    }
  }

  #memoryForm(opcode: readonly number[], reg: number, info: RegisterInfo | undefined, rm: Memory, size?: Bits): void {
    const base = rm.base === undefined ? undefined : registerInfo(rm.base)
    const index = rm.index === undefined ? undefined : registerInfo(rm.index)
    const addressBits = this.#addressBits(rm, base ?? index)
    if (rm.segment !== undefined) this.bytes(SEGMENT_PREFIX[rm.segment])
    if (addressBits !== this.#bits) this.bytes(ADDRESS_SIZE)
    this.#sizePrefix(size)
    this.#checkHigh([info], size === 64 || reg > 7 || (base?.number ?? 0) > 7 || (index?.number ?? 0) > 7)
    this.#rex(size === 64, reg, index?.number ?? 0, base?.number ?? 0, info?.needsRex ?? false)
    this.bytes(...opcode)
    const field = (reg & 7) << 3
    if (addressBits === 16) this.#address16(field, rm)
    else this.#address32(field, rm, base, index)
  }

  #addressBits(rm: Memory, register: RegisterInfo | undefined): CodeBits {
    if (register === undefined) {
      const far = typeof rm.displacement === 'number' && (rm.displacement > 0xffff || rm.displacement < -0x8000)
      return this.#bits === 16 && far ? 32 : this.#bits
    }
    const bits = register.size
    if (register.kind !== 'general' || bits === 8) throw operandError('Not an address register')
    if ((bits === 16 && this.#bits === 64) || (bits === 64 && this.#bits !== 64)) {
      throw operandError(`${bits}-bit addresses do not exist in ${this.#bits}-bit code`)
    }
    return bits
  }

  #address16(field: number, rm: Memory): void {
    const displacement = rm.displacement ?? 0
    if (rm.base === undefined && rm.index === undefined) {
      this.bytes(field | 6).immediate(displacement, 16)
      return
    }
    const code = ADDRESS16[rm.index === undefined ? (rm.base ?? '') : `${rm.base}+${rm.index}`]
    if (code === undefined || (rm.scale ?? 1) !== 1) throw operandError('Not a 16-bit address')
    if (displacement === 0 && code !== 6) this.bytes(field | code)
    else if (fitsSigned(displacement, 8)) this.bytes(0x40 | field | code).immediate(displacement, 8)
    else this.bytes(0x80 | field | code).immediate(displacement, 16)
  }

  #address32(field: number, rm: Memory, base: RegisterInfo | undefined, index: RegisterInfo | undefined): void {
    const displacement = rm.displacement ?? 0
    if (this.#bits === 64 && !isReference(displacement) && !fitsSigned(displacement, 32)) {
      throw operandError(`The displacement ${displacement} does not fit in 32 bits with a sign`)
    }
    const scale = { 1: 0, 2: 1, 4: 2, 8: 3 }[rm.scale ?? 1] << 6
    if (index !== undefined && (index.number === 4 || (base !== undefined && base.size !== index.size))) {
      throw operandError('Not an index register')
    }
    if (base === undefined && index === undefined) {
      // In 64-bit code the short form is relative to RIP: right for a label, wrong for a number.
      if (this.#bits !== 64) this.bytes(field | 5).immediate(displacement, 32)
      else if (isReference(displacement)) this.bytes(field | 5).#reference(displacement, 4, true)
      else this.bytes(field | 4, 0x25).immediate(displacement, 32)
      return
    }
    if (base === undefined) {
      this.bytes(field | 4, scale | (((index as RegisterInfo).number & 7) << 3) | 5).immediate(displacement, 32)
      return
    }
    const low = base.number & 7
    const short = fitsSigned(displacement, 8)
    const mod = displacement === 0 && low !== 5 ? 0 : short ? 0x40 : 0x80
    if (index !== undefined) this.bytes(mod | field | 4, scale | ((index.number & 7) << 3) | low)
    else if (low === 4) this.bytes(mod | field | 4, 0x24)
    else this.bytes(mod | field | low)
    if (mod !== 0) this.immediate(displacement, short ? 8 : 32)
  }
}

function labelError(message: string): PartitaError {
  return new PartitaError('ERR_ASSEMBLER_LABEL', message)
}
