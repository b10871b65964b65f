// What the vector instruction families share: constants, lane patterns, and the usual shapes of semantics (destination = f(destination, source)).

import {
  type InstructionDefinition,
  type InstructionOptions,
  instruction,
  type Semantics,
} from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, simd, v128 } from '../instruction/emitter.ts'

export type VectorUnary = (a: Expr) => Expr
export type VectorBinary = (a: Expr, b: Expr) => Expr
/** The emitter is there for intermediate values that are used twice. */
export type EmittedBinary = (e: InstructionEmitter, a: Expr, b: Expr) => Expr

// --- constants

/** The bytes of little-endian lanes of `bytes` bytes each. */
export function lanes(bytes: 1 | 2 | 4 | 8, values: readonly (number | bigint)[]): Expr {
  const out: number[] = []
  for (const value of values) {
    for (let i = 0; i < bytes; i++) out.push(Number((BigInt(value) >> BigInt(8 * i)) & 0xffn))
  }
  return v128.const(out)
}
/** One value in all lanes. */
export function splat(bytes: 1 | 2 | 4 | 8, value: number | bigint): Expr {
  return lanes(bytes, new Array<number | bigint>(16 / bytes).fill(value))
}
export const ZERO_VECTOR: Expr = v128.const([])
/** Each byte's own index. */
export const IOTA: Expr = v128.const([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])

/** Byte lanes of a shuffle given by lanes of `bytes` bytes (those of the second vector go on after those of the first). */
export function bytesOf(bytes: 1 | 2 | 4 | 8, indexes: readonly number[]): number[] {
  return indexes.flatMap((index) => Array.from({ length: bytes }, (_, i) => index * bytes + i))
}
export function shuffle(bytes: 1 | 2 | 4 | 8, a: Expr, b: Expr, indexes: readonly number[]): Expr {
  return v128.shuffle(a, b, bytesOf(bytes, indexes))
}

// --- scalars in vectors

/** i64 in the low lane, zeros above. */
export function fromLow(value: Expr): Expr {
  return simd['i64x2.replace_lane'](ZERO_VECTOR, 0, value)
}
/** Two i64. */
export function fromPair(low: Expr, high: Expr): Expr {
  return simd['i64x2.replace_lane'](simd['i64x2.splat'](low), 1, high)
}
export function low(value: Expr): Expr {
  return simd['i64x2.extract_lane'](value, 0)
}

// --- immediates: constants when translated, values of a record when interpreted

/** Constant value of an immediate, if known. */
export function known(imm: Expr): number | undefined {
  return imm.constant === undefined ? undefined : Number(imm.constant)
}
/** Lane mask (all ones) where bit n of the immediate is set, for lane n of `bytes` bytes; bits count anew in each group of eight lanes. */
export function immediateMask(bytes: 2 | 4 | 8, imm: Expr, firstBit = 0): Expr {
  const count = 16 / bytes
  const bits = Array.from({ length: count }, (_, i) => 1 << (i + firstBit))
  const constant = known(imm)
  if (constant !== undefined)
    return lanes(
      bytes,
      bits.map((bit) => (constant & bit ? -1 : 0)),
    )
  const pattern = lanes(bytes, bits)
  if (bytes === 2) return simd['i16x8.eq'](simd['v128.and'](simd['i16x8.splat'](imm), pattern), pattern)
  if (bytes === 4) return simd['i32x4.eq'](simd['v128.and'](simd['i32x4.splat'](imm), pattern), pattern)
  return simd['i64x2.eq'](simd['v128.and'](simd['i64x2.splat'](i64.extend_i32_u(imm)), pattern), pattern)
}
/** Swizzle indexes that select dwords by the four 2-bit fields of an immediate (PSHUFD, SHUFPS). */
export function dwordSelector(imm: Expr): Expr {
  const fields = simd['i32x4.shr_u'](
    simd['i32x4.mul'](simd['i32x4.splat'](imm), lanes(4, [64, 16, 4, 1])),
    i32.const(6),
  )
  const index = simd['v128.and'](fields, splat(4, 3))
  return simd['i32x4.add'](simd['i32x4.mul'](index, splat(4, 0x04040404)), splat(4, 0x03020100))
}
/** The four 2-bit fields of an immediate. */
export function fields(imm: number): [number, number, number, number] {
  return [imm & 3, (imm >> 2) & 3, (imm >> 4) & 3, (imm >> 6) & 3]
}

// --- shapes of semantics

/** XMM destination = f(destination, source). */
export const binary =
  (f: VectorBinary): Semantics =>
  (e) => {
    const b = e.readVector(1)
    e.writeVector(0, f(e.readVector(0), b))
  }
/** The same with a function that keeps values. */
export const emitted =
  (f: EmittedBinary): Semantics =>
  (e) => {
    const b = e.readVector(1)
    e.writeVector(0, f(e, e.readVector(0), b))
  }
/** XMM destination = f(source). */
export const unary =
  (f: VectorUnary): Semantics =>
  (e) =>
    e.writeVector(0, f(e.readVector(1)))

/** MMX destination = f(destination, source), both in both halves of a vector; the low half is the result. */
export const mmxBinary =
  (f: EmittedBinary): Semantics =>
  (e) => {
    const b = e.readMmx(1)
    const a = e.readMmx(0)
    e.enterMmx()
    e.writeMmx(0, low(f(e, e.let(simd['i64x2.splat'](a)), e.let(simd['i64x2.splat'](b)))))
  }

/** A row of SSE or later on XMM registers: memory operands of 16 bytes are aligned. */
export function sse(
  mnemonic: string,
  opcode: string,
  operands: string,
  semantics: Semantics,
  options: InstructionOptions = {},
): InstructionDefinition {
  return instruction(mnemonic, opcode, operands, semantics, { unit: 'sse', aligned: true, ...options })
}
/** A row on MMX registers. */
export function mmx(mnemonic: string, opcode: string, operands: string, semantics: Semantics): InstructionDefinition {
  return instruction(mnemonic, opcode, operands, semantics, { unit: 'mmx' })
}
