// Operands of the assembler: registers by their names, memory, and references to labels.

import { PartitaError } from '@partita/interface'

/** Sizes of operands and addresses in bits. */
export type Bits = 8 | 16 | 32 | 64

/** What the encoder knows about a register. */
export interface RegisterInfo {
  readonly kind: 'general' | 'segment' | 'control' | 'debug'
  readonly size: Bits
  /** 0–15. */
  readonly number: number
  /** SPL, BPL, SIL, DIL: the register exists with a REX prefix only. */
  readonly needsRex: boolean
  /** AH, CH, DH, BH: the register exists without a REX prefix only. */
  readonly forbidsRex: boolean
}

const NAMES = {
  low8: [
    'al',
    'cl',
    'dl',
    'bl',
    'spl',
    'bpl',
    'sil',
    'dil',
    'r8b',
    'r9b',
    'r10b',
    'r11b',
    'r12b',
    'r13b',
    'r14b',
    'r15b',
  ],
  high8: ['ah', 'ch', 'dh', 'bh'],
  word: ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di', 'r8w', 'r9w', 'r10w', 'r11w', 'r12w', 'r13w', 'r14w', 'r15w'],
  dword: [
    'eax',
    'ecx',
    'edx',
    'ebx',
    'esp',
    'ebp',
    'esi',
    'edi',
    'r8d',
    'r9d',
    'r10d',
    'r11d',
    'r12d',
    'r13d',
    'r14d',
    'r15d',
  ],
  qword: ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'],
  segment: ['es', 'cs', 'ss', 'ds', 'fs', 'gs'],
  control: ['cr0', 'cr1', 'cr2', 'cr3', 'cr4', 'cr5', 'cr6', 'cr7', 'cr8'],
  debug: ['dr0', 'dr1', 'dr2', 'dr3', 'dr4', 'dr5', 'dr6', 'dr7'],
} as const

/** Names of registers. */
export type Register = (typeof NAMES)[keyof typeof NAMES][number]
/** Names of segment registers. */
export type SegmentRegister = (typeof NAMES)['segment'][number]

function registerTable(): ReadonlyMap<string, RegisterInfo> {
  const table = new Map<string, RegisterInfo>()
  const add = (names: readonly string[], kind: RegisterInfo['kind'], size: Bits, first = 0): void => {
    names.forEach((name, index) => {
      const number = first + index
      const needsRex = names === NAMES.low8 && number >= 4 && number < 8
      table.set(name, { kind, size, number, needsRex, forbidsRex: names === NAMES.high8 })
    })
  }
  add(NAMES.low8, 'general', 8)
  add(NAMES.high8, 'general', 8, 4)
  add(NAMES.word, 'general', 16)
  add(NAMES.dword, 'general', 32)
  add(NAMES.qword, 'general', 64)
  add(NAMES.segment, 'segment', 16)
  add(NAMES.control, 'control', 64)
  add(NAMES.debug, 'debug', 64)
  return table
}

const REGISTERS: ReadonlyMap<string, RegisterInfo> = registerTable()

/** The register called `name`. */
export function registerInfo(name: Register): RegisterInfo {
  const info = REGISTERS.get(name)
  if (info === undefined) throw operandError(`There is no register ${name}`)
  return info
}

/** The address of a label, with a number of bytes added. */
export interface LabelReference {
  /** The label's name; it may be defined later. */
  readonly label: string
  /** Bytes behind the label, or before it. */
  readonly addend: number
}

/** The address of `label` as an immediate, a displacement or data. */
export function ref(label: string, addend: number = 0): LabelReference {
  return { label, addend }
}

/** An effective address. */
export interface Address {
  /** The register to add. Default: none. */
  readonly base?: Register
  /** The register to multiply by {@link Address.scale} and add; not the stack pointer. Default: none. */
  readonly index?: Register
  /** Default: 1. */
  readonly scale?: 1 | 2 | 4 | 8
  /** What is added to the registers, or the address itself. Default: 0. */
  readonly displacement?: number | LabelReference
  /** The segment by a prefix. Default: the processor's choice. */
  readonly segment?: SegmentRegister
}

/** A memory operand. */
export interface Memory extends Address {
  readonly kind: 'memory'
  /** `undefined`: the other operand tells. */
  readonly size: Bits | undefined
}

/** Where most instructions read and write. */
export type Location = Register | Memory
/** A number or the address of a label. Numbers are signed or unsigned, as they fit. */
export type Immediate = number | bigint | LabelReference
/** What an instruction takes. */
export type Operand = Register | Memory | Immediate
/** What a memory operand is made of: a base register, an absolute address, a label, or any address. */
export type AddressLike = Register | number | LabelReference | Address

function memory(size: Bits | undefined, address: AddressLike, displacement?: number): Memory {
  if (typeof address === 'string') return { kind: 'memory', size, base: address, displacement: displacement ?? 0 }
  if (typeof address === 'number' || isReference(address)) return { kind: 'memory', size, displacement: address }
  return { kind: 'memory', size, ...address }
}

/** Memory whose size the other operand tells, or that has none (LGDT, LEA). */
export function mem(address: AddressLike, displacement?: number): Memory {
  return memory(undefined, address, displacement)
}
/** 8 bits of memory at an address. */
export function byte(address: AddressLike, displacement?: number): Memory {
  return memory(8, address, displacement)
}
/** 16 bits of memory at an address. */
export function word(address: AddressLike, displacement?: number): Memory {
  return memory(16, address, displacement)
}
/** 32 bits of memory at an address. */
export function dword(address: AddressLike, displacement?: number): Memory {
  return memory(32, address, displacement)
}
/** 64 bits of memory at an address. */
export function qword(address: AddressLike, displacement?: number): Memory {
  return memory(64, address, displacement)
}

export function isReference(value: unknown): value is LabelReference {
  return typeof value === 'object' && value !== null && 'label' in value
}

export function isMemory(value: Operand): value is Memory {
  return typeof value === 'object' && 'kind' in value
}

/** The error for operands that an instruction does not take. */
export function operandError(message: string): PartitaError {
  return new PartitaError('ERR_ASSEMBLER_OPERAND', message)
}
