/** A small encoder of 64-bit mode instructions: legacy prefixes, REX, VEX, ModRM, SIB, displacement (AMD64 manual volume 3, chapter 1). */
import { CODE_START } from './layout.ts'

export interface Memory {
  /** Register number, or -1 for none. */
  readonly base: number
  readonly index: number
  readonly scale: 1 | 2 | 4 | 8
  readonly displacement: number
  /** An address that is encoded relative to the next instruction; base and index are then ignored. */
  readonly relative?: bigint
  /** 1: FS, 2: GS. */
  readonly segment: 0 | 1 | 2
  /** 32-bit address size. */
  readonly narrow: boolean
}

export interface Instruction {
  /** Legacy prefixes in front of REX; mandatory ones too. */
  readonly prefix?: readonly number[]
  /** Opcode bytes with their escape bytes. */
  readonly op: readonly number[]
  /** REX.W */
  readonly w?: boolean
  /** A REX prefix even where none is needed. */
  readonly rex?: boolean
  /** ModRM.reg: a register or an opcode extension. */
  readonly reg?: number
  /** ModRM.rm. */
  readonly rm?: number | Memory
  /** The register is the low part of the opcode. */
  readonly plus?: number
  readonly imm?: readonly number[]
  readonly vex?: { readonly map: number; readonly pp: number; readonly v: number; readonly l?: boolean }
}

function bytes32(value: number): number[] {
  return [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >>> 24) & 255]
}

function modrm(reg: number, rm: number | Memory): number[] {
  const r = (reg & 7) << 3
  if (typeof rm === 'number') return [0xc0 | r | (rm & 7)]
  if (rm.relative !== undefined) return [r | 5, 0, 0, 0, 0]
  const { base, index, displacement: d } = rm
  const short = d >= -128 && d < 128
  if (base < 0 || index >= 0 || (base & 7) === 4) {
    const sib = (Math.log2(rm.scale) << 6) | ((index < 0 ? 4 : index & 7) << 3) | (base < 0 ? 5 : base & 7)
    if (base < 0) return [r | 4, sib, ...bytes32(d)]
    if (d === 0 && (base & 7) !== 5) return [r | 4, sib]
    return short ? [0x40 | r | 4, sib, d & 255] : [0x80 | r | 4, sib, ...bytes32(d)]
  }
  if (d === 0 && (base & 7) !== 5) return [r | (base & 7)]
  return short ? [0x40 | r | (base & 7), d & 255] : [0x80 | r | (base & 7), ...bytes32(d)]
}

/** Machine code of one instruction that starts at `CODE_START`. */
export function encode(i: Instruction): number[] {
  const code: number[] = []
  const memory = typeof i.rm === 'object' ? i.rm : undefined
  const high = (n: number | undefined): number => (n !== undefined && n >= 8 ? 1 : 0)
  const r = high(i.reg)
  const x = memory && memory.relative === undefined ? high(memory.index) : 0
  const b = memory
    ? memory.relative === undefined
      ? high(memory.base)
      : 0
    : high(typeof i.rm === 'number' ? i.rm : i.plus)
  if (memory?.segment) code.push(memory.segment === 1 ? 0x64 : 0x65)
  if (memory?.narrow) code.push(0x67)
  code.push(...(i.prefix ?? []))
  if (i.vex) {
    const { map, pp, v, l } = i.vex
    code.push(0xc4, ((r ^ 1) << 7) | ((x ^ 1) << 6) | ((b ^ 1) << 5) | map)
    code.push((i.w ? 0x80 : 0) | ((~v & 15) << 3) | (l ? 4 : 0) | pp)
  } else {
    const rex = (i.w ? 8 : 0) | (r << 2) | (x << 1) | b
    if (rex || i.rex) code.push(0x40 | rex)
  }
  code.push(...i.op.slice(0, -1), i.op[i.op.length - 1]! | (i.plus === undefined ? 0 : i.plus & 7))
  if (i.rm !== undefined) code.push(...modrm(i.reg ?? 0, i.rm))
  const end = code.length
  code.push(...(i.imm ?? []))
  if (memory?.relative !== undefined) {
    const d = bytes32(Number(memory.relative - CODE_START) - code.length)
    for (let k = 0; k < 4; k++) code[end - 4 + k] = d[k]!
  }
  return code
}
