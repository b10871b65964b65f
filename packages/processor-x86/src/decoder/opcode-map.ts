// The opcode maps (SDM vol. 2, appendix A), built from the instruction tables: for each opcode byte the rows that may match, the most
// specific first.

import type { InstructionDefinition, InstructionForm, Operand } from '../instruction/definition.ts'
import { GPR } from '../state-layout.ts'

/** Mandatory prefix of a row. */
export const PREFIX = { ANY: 0, NP: 1, P66: 2, F3: 3, F2: 4 } as const

/** A row made ready for matching. */
export interface OpcodeRow {
  readonly definition: InstructionDefinition
  readonly index: number
  readonly prefix: number
  /** ModRM.reg must be this, or -1. */
  readonly digit: number
  /** The whole ModRM byte is in [modrmLow, modrmHigh], or -1. */
  readonly modrmLow: number
  readonly modrmHigh: number
  /** 0: any, 1: memory only, 2: register only. */
  readonly mod: number
  readonly hasModrm: boolean
  /** -1: any; VEX.L */
  readonly vexL: number
  /** -1: any (W chooses the size); VEX.W */
  readonly vexW: number
  readonly operandCodes: readonly string[]
  readonly moffs: boolean
  /** Forms by key; filled by the decoder. */
  readonly forms: Map<number, DecodedForm>
  /** Whether 16, 32 and 64-bit operand sizes are different handlers. */
  readonly sized: boolean
  // the definition's options, in rows of one shape
  readonly long: boolean
  readonly legacy: boolean
  readonly size: 'd64' | 'f64' | undefined
  readonly lock: boolean
  readonly repeat: boolean
  readonly modal: boolean
  /** Of the stack instructions: memory operands by BP are not concerned. */
  readonly stackSegment: boolean
  /** MOV to and from control and debug registers ignores ModRM.mod. */
  readonly controlMove: boolean
  /** Whether VEX.vvvv names an operand. */
  readonly vvvv: boolean
  /** The immediates in order: see {@link IMMEDIATE}. */
  readonly immediateCodes: readonly number[]
}

/** Immediates by their codes. */
export const IMMEDIATE = { Ib: 0, Ibs: 1, Iw: 2, Iz: 3, Iv: 4, Jb: 5, Jz: 6, Ap: 7 } as const
/** Where decoding puts the number of a register: low bits of {@link DecodedForm.registers}; the bits from {@link REGISTER_SIZE} on are its size in bytes. */
export const REGISTER = {
  GPR_RM: 0,
  GPR_REG: 1,
  GPR_VVVV: 2,
  VECTOR_RM: 3,
  VECTOR_REG: 4,
  MMX_RM: 5,
  MMX_REG: 6,
  X87: 7,
  SEGMENT: 8,
  SYSTEM: 9,
} as const
export const REGISTER_SIZE = 4

/** A form with its place among the handlers. */
export interface DecodedForm {
  readonly form: InstructionForm
  readonly row: OpcodeRow
  /** Number of the form. */
  readonly id: number
  /** Index in the function table; -1 until generated. */
  functionIndex: number
  /** Handler numbers inside `run`, by kind of address (registers and simple addresses; full addresses), -1 when out of line. */
  inlineSimple: number
  inlineFull: number
  /** The registers that operands name: see {@link REGISTER}. */
  readonly registers: readonly number[]
  /** What comes after it in a block: see {@link FLOW_AFTER}. */
  readonly after: number
}

/** What comes after an instruction in its block: the next one; nothing, since control goes elsewhere; the rest in a block of its own. */
export const FLOW_AFTER = { NEXT: 0, END: 1, NEW_BLOCK: 2 } as const

const REGISTER_OF: Readonly<Partial<Record<Operand['kind'], number>>> = {
  'gpr-rm': REGISTER.GPR_RM,
  'gpr-reg': REGISTER.GPR_REG,
  'gpr-opcode': REGISTER.GPR_REG,
  'gpr-vvvv': REGISTER.GPR_VVVV,
  'xmm-rm': REGISTER.VECTOR_RM,
  'xmm-reg': REGISTER.VECTOR_REG,
  'mmx-rm': REGISTER.MMX_RM,
  'mmx-reg': REGISTER.MMX_REG,
  x87: REGISTER.X87,
  segment: REGISTER.SEGMENT,
  control: REGISTER.SYSTEM,
  debug: REGISTER.SYSTEM,
}
export function registersOf(operands: readonly Operand[]): number[] {
  const found: number[] = []
  for (const { kind, size } of operands) {
    const code = REGISTER_OF[kind]
    if (code !== undefined) found.push(code | (size << REGISTER_SIZE))
  }
  return found
}

const STACK_SEGMENT = /^(?:PUSH|POP|CALL|RET|ENTER|LEAVE|IRET)/

const SIZE_SENSITIVE = /^(?:[EGRZMIJBOS][vyz]|rAX|eAX|Ap|Mp|Ms|M)$/

/** Parse one row. */
export function parseRow(
  definition: InstructionDefinition,
  index: number,
): { row: OpcodeRow; map: string; opcodes: number[] } {
  const tokens = definition.opcode.split(/\s+/)
  let prefix: number = PREFIX.ANY
  let map = ''
  let vexL = -1
  let vexW = -1
  let position = 0
  const first = tokens[0] ?? ''
  if (first.startsWith('VEX.')) {
    position++
    for (const part of first.split('.').slice(1)) {
      if (part === 'LZ' || part === 'L0' || part === '128') vexL = 0
      else if (part === 'NP') prefix = PREFIX.NP
      else if (part === '66') prefix = PREFIX.P66
      else if (part === 'F3') prefix = PREFIX.F3
      else if (part === 'F2') prefix = PREFIX.F2
      else if (part === '0F' || part === '0F38' || part === '0F3A') map = `VEX.${part}`
      else if (part === 'W0') vexW = 0
      else if (part === 'W1') vexW = 1
      else if (part !== 'W' && part !== 'WIG' && part !== 'LIG') throw new Error(`${definition.opcode}: ${part}?`)
    }
  } else {
    if (first === 'NP' || first === '66' || first === 'F3' || first === 'F2') {
      // 66, F3 and F2 are prefixes only when more opcode bytes follow
      if (tokens[1] !== undefined && /^[0-9A-F]{2}/.test(tokens[1])) {
        prefix = first === 'NP' ? PREFIX.NP : first === '66' ? PREFIX.P66 : first === 'F3' ? PREFIX.F3 : PREFIX.F2
        position++
      }
    }
    if (tokens[position] === '0F') {
      position++
      map = '0F'
      if ((tokens[position] === '38' || tokens[position] === '3A') && tokens[position + 1] !== undefined) {
        map = `0F${tokens[position]}`
        position++
      }
    }
  }
  const opcodeToken = tokens[position++] ?? ''
  const plus = opcodeToken.endsWith('+r')
  const opcode = Number.parseInt(opcodeToken.slice(0, 2), 16)
  let digit = -1
  let modrmLow = -1
  let modrmHigh = -1
  let hasModrm = false
  for (; position < tokens.length; position++) {
    const token = tokens[position] ?? ''
    if (token === '/r') hasModrm = true
    else if (/^\/[0-7]$/.test(token)) {
      digit = Number(token[1])
      hasModrm = true
    } else if (/^[0-9A-F]{2}\+i$/.test(token)) {
      modrmLow = Number.parseInt(token, 16)
      modrmHigh = modrmLow + 7
      hasModrm = true
    } else if (/^[0-9A-F]{2}$/.test(token)) {
      modrmLow = modrmHigh = Number.parseInt(token, 16)
      hasModrm = true
    } else if (!/^(?:i[bwdqoz]|cb|cw|cd|cp|mo)$/.test(token)) throw new Error(`${definition.opcode}: ${token}?`)
  }
  const operandCodes = definition.operands === '' ? [] : definition.operands.split(/\s+/)
  let mod = 0
  for (const code of operandCodes) {
    if (code.startsWith('M')) mod = 1
    else if (/^[RUN][a-z]/.test(code)) mod = 2
  }
  const { options } = definition
  const immediates = operandCodes.filter((c) => /^(?:I|J|A)/.test(c) && c !== 'AL' && c !== 'AX')
  const row: OpcodeRow = {
    definition,
    index,
    prefix,
    digit,
    modrmLow,
    modrmHigh,
    mod,
    hasModrm,
    vexL,
    vexW,
    operandCodes,
    immediateCodes: immediates.map((code) => {
      const number = IMMEDIATE[code as keyof typeof IMMEDIATE]
      if (number === undefined) throw new Error(`immediate ${code}?`)
      return number
    }),
    long: options.mode === '64',
    legacy: options.mode === 'legacy',
    size: options.size,
    lock: options.lock === true,
    repeat: options.repeat === true,
    modal: options.modal === true,
    stackSegment: STACK_SEGMENT.test(definition.mnemonic),
    controlMove: operandCodes.some((c) => (c[0] === 'C' && c !== 'CL') || (c[0] === 'D' && c !== 'DX')),
    vvvv: operandCodes.some((c) => c.startsWith('B')),
    moffs: operandCodes.some((c) => c.startsWith('O')),
    forms: new Map(),
    sized:
      operandCodes.length === 0 ||
      operandCodes.some((c) => SIZE_SENSITIVE.test(c)) ||
      definition.options.size !== undefined ||
      definition.options.modal === true,
  }
  const opcodes = plus ? Array.from({ length: 8 }, (_, i) => opcode + i) : [opcode]
  return { row, map, opcodes }
}

function specificity(row: OpcodeRow): number {
  // NOP (90) is one of the eight opcodes 90+r
  const range = row.operandCodes[0]?.startsWith('Z') ? -1 : 0
  return (
    range +
    (row.prefix === PREFIX.ANY ? 0 : 4) +
    (row.modrmLow >= 0 ? 3 : row.digit >= 0 ? 1 : 0) +
    (row.mod ? 1 : 0) +
    (row.vexW >= 0 ? 1 : 0)
  )
}

/** The maps by name: '' one-byte, '0F', '0F38', '0F3A', and their VEX forms. */
export type OpcodeMaps = Readonly<
  Record<'' | '0F' | '0F38' | '0F3A' | 'VEX.0F' | 'VEX.0F38' | 'VEX.0F3A', readonly (readonly OpcodeRow[])[]>
>

export function buildOpcodeMaps(definitions: readonly InstructionDefinition[]): OpcodeMaps {
  const maps: Record<string, OpcodeRow[][]> = {}
  for (const name of ['', '0F', '0F38', '0F3A', 'VEX.0F', 'VEX.0F38', 'VEX.0F3A']) {
    maps[name] = Array.from({ length: 256 }, () => [])
  }
  definitions.forEach((definition, index) => {
    const { row, map, opcodes } = parseRow(definition, index)
    for (const opcode of opcodes) maps[map]?.[opcode]?.push(row)
  })
  for (const map of Object.values(maps)) for (const rows of map) rows.sort((a, b) => specificity(b) - specificity(a))
  return maps as unknown as OpcodeMaps
}

const FIXED: Readonly<Record<string, readonly [number, number]>> = {
  AL: [GPR.RAX, 1],
  CL: [GPR.RCX, 1],
  AX: [GPR.RAX, 2],
  DX: [GPR.RDX, 2],
}
const VECTOR_SIZE: Readonly<Record<string, number>> = {
  b: 1,
  w: 2,
  d: 4,
  ss: 4,
  q: 8,
  sd: 8,
  pi: 8,
  dq: 16,
  ps: 16,
  pd: 16,
  x: 16,
  '': 16,
}

/** Takes one operand code apart for an operand size. */
export function parseOperand(code: string, operandSize: number): Operand {
  const fixed = FIXED[code]
  if (fixed) return { kind: 'gpr-fixed', value: fixed[0], size: fixed[1] }
  if (code === 'rAX') return { kind: 'gpr-fixed', value: GPR.RAX, size: operandSize }
  if (code === 'eAX') return { kind: 'gpr-fixed', value: GPR.RAX, size: Math.min(operandSize, 4) }
  if (/^[0-9]$/.test(code)) return { kind: 'constant', value: Number(code), size: operandSize }
  if (code === 'STi') return { kind: 'x87', size: 10 }
  const letter = code[0] ?? ''
  const suffix = code.slice(1)
  const integer = (): number => {
    switch (suffix) {
      case 'b':
        return 1
      case 'w':
        return 2
      case 'd':
        return 4
      case 'q':
        return 8
      case 'v':
        return operandSize
      case 'y':
        return operandSize === 8 ? 8 : 4
      case 'z':
        return operandSize === 2 ? 2 : 4
      default:
        throw new Error(`operand ${code}?`)
    }
  }
  switch (letter) {
    case 'E':
      return { kind: 'gpr-rm', size: integer() }
    case 'R':
      return { kind: 'gpr-rm', size: integer() }
    case 'G':
      return { kind: 'gpr-reg', size: integer() }
    case 'Z':
      return { kind: 'gpr-opcode', size: integer() }
    case 'B':
      return { kind: 'gpr-vvvv', size: integer() }
    case 'V':
      return { kind: 'xmm-reg', size: VECTOR_SIZE[suffix] ?? 16 }
    case 'W':
      return { kind: 'xmm-rm', size: VECTOR_SIZE[suffix] ?? 16 }
    case 'U':
      return { kind: 'xmm-rm', size: VECTOR_SIZE[suffix] ?? 16 }
    case 'P':
      return { kind: 'mmx-reg', size: suffix === 'd' ? 4 : 8 }
    case 'Q':
      return { kind: 'mmx-rm', size: suffix === 'd' ? 4 : 8 }
    case 'N':
      return { kind: 'mmx-rm', size: suffix === 'd' ? 4 : 8 }
    case 'O':
      return { kind: 'memory', size: integer(), moffs: true }
    case 'M':
      if (suffix === '' || suffix === 's' || suffix === 'p') return { kind: 'memory', size: 0 }
      if (suffix === 't') return { kind: 'memory', size: 10 }
      if (suffix === 'dq') return { kind: 'memory', size: 16 }
      return { kind: 'memory', size: integer() }
    case 'I':
      if (suffix === 'bs') return { kind: 'immediate', size: operandSize, signed: true }
      if (suffix === 'b') return { kind: 'immediate', size: 1 }
      if (suffix === 'w') return { kind: 'immediate', size: 2 }
      return { kind: 'immediate', size: operandSize, signed: true }
    case 'J':
      return { kind: 'relative', size: operandSize }
    case 'A':
      return { kind: 'far', size: operandSize }
    case 'S':
      return { kind: 'segment', size: 2 }
    case 'C':
      return { kind: 'control', size: 8 }
    case 'D':
      return { kind: 'debug', size: 8 }
    default:
      throw new Error(`operand ${code}?`)
  }
}
