// AES rounds and carry-less multiplication (SDM vol. 1, 5.12 and 5.12.2; FIPS 197). The S-box is sixteen tables of sixteen bytes, each a vector
// constant: a byte finds its place in one of them and zeros in the others.

import type { InstructionDefinition, Semantics } from '../instruction/definition.ts'
import { type Expr, i32, i64, select, simd, v128 } from '../instruction/emitter.ts'
import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import type { FunctionEmitter } from '../wasm/function-emitter.ts'
import { fromPair, lanes, splat, sse } from './vector.ts'

// --- the S-box (FIPS 197, 5.1.1): the inverse in GF(2⁸), then an affine map

function multiplyBytes(a: number, b: number): number {
  let product = 0
  let x = a
  for (let bit = 1; bit < 256; bit <<= 1) {
    if (b & bit) product ^= x
    x = (x << 1) ^ (x & 0x80 ? 0x11b : 0)
  }
  return product
}
function substitution(): { forward: number[]; backward: number[] } {
  const forward: number[] = []
  const backward = new Array<number>(256).fill(0)
  for (let value = 0; value < 256; value++) {
    let inverse = 0
    for (let candidate = 1; value && candidate < 256; candidate++)
      if (multiplyBytes(value, candidate) === 1) inverse = candidate
    const rotated = (n: number): number => ((inverse << n) | (inverse >> (8 - n))) & 0xff
    const mapped = inverse ^ rotated(1) ^ rotated(2) ^ rotated(3) ^ rotated(4) ^ 0x63
    forward.push(mapped)
    backward[mapped] = value
  }
  return { forward, backward }
}

/** v128 → v128: each byte by a table of 256. */
function substitute(name: string, of: () => readonly number[]): HelperFunction {
  return helperFunction(name, ['v128'], 'v128', (e, [value]) => {
    const table = of()
    const result = e.local('v128')
    e.set(result, simd['i8x16.swizzle'](v128.const(table.slice(0, 16)), value))
    for (let i = 1; i < 16; i++) {
      const part = v128.const(table.slice(i * 16, i * 16 + 16))
      e.set(
        result,
        simd['v128.or'](e.get(result), simd['i8x16.swizzle'](part, simd['i8x16.sub'](value, splat(1, i * 16)))),
      )
    }
    e.return(e.get(result))
  })
}
const SUB_BYTES = substitute('aes.subBytes', () => substitution().forward)
const INVERSE_SUB_BYTES = substitute('aes.inverseSubBytes', () => substitution().backward)

// --- the other steps. Byte r + 4c is row r of column c.

const rows = (step: 1 | -1): number[] =>
  Array.from({ length: 16 }, (_, i) => (i & 3) + 4 * (((i >> 2) + step * (i & 3)) & 3))
const SHIFT_ROWS = rows(1)
const INVERSE_SHIFT_ROWS = rows(-1)
/** In each column, row r takes what is `n` rows below. */
const rotateColumns = (value: Expr, n: number): Expr =>
  v128.shuffle(
    value,
    value,
    Array.from({ length: 16 }, (_, i) => (i & 12) + ((i + n) & 3)),
  )
/** Times x in GF(2⁸). */
const timesX = (value: Expr): Expr =>
  simd['v128.xor'](
    simd['i8x16.shl'](value, i32.const(1)),
    simd['v128.and'](simd['i8x16.shr_s'](value, i32.const(7)), splat(1, 0x1b)),
  )

/** MixColumns: 2, 3, 1, 1. */
const MIX_COLUMNS = helperFunction('aes.mixColumns', ['v128'], 'v128', (e, [value]) => {
  const next = e.let(rotateColumns(value, 1))
  const doubled = timesX(e.let(simd['v128.xor'](value, next)))
  const others = simd['v128.xor'](rotateColumns(value, 2), rotateColumns(value, 3))
  e.return(simd['v128.xor'](simd['v128.xor'](doubled, next), others))
})
/** InvMixColumns: MixColumns after each byte got four times itself and the one two rows away. */
const INVERSE_MIX_COLUMNS: HelperFunction = helperFunction(
  'aes.inverseMixColumns',
  ['v128'],
  'v128',
  (e, [value], { helper }) => {
    const pair = e.let(simd['v128.xor'](value, rotateColumns(value, 2)))
    const four = timesX(e.let(timesX(pair)))
    e.return(e.call(helper(MIX_COLUMNS), simd['v128.xor'](value, four)))
  },
)

function permute(e: FunctionEmitter, value: Expr, order: readonly number[]): Expr {
  const kept = e.let(value)
  return e.let(v128.shuffle(kept, kept, order))
}
const ENCRYPT_LAST = helperFunction('aes.encryptLast', ['v128', 'v128'], 'v128', (e, [state, key], { helper }) =>
  e.return(simd['v128.xor'](e.call(helper(SUB_BYTES), permute(e, state, SHIFT_ROWS)), key)),
)
const ENCRYPT = helperFunction('aes.encrypt', ['v128', 'v128'], 'v128', (e, [state, key], { helper }) =>
  e.return(
    simd['v128.xor'](e.call(helper(MIX_COLUMNS), e.call(helper(SUB_BYTES), permute(e, state, SHIFT_ROWS))), key),
  ),
)
const DECRYPT_LAST = helperFunction('aes.decryptLast', ['v128', 'v128'], 'v128', (e, [state, key], { helper }) =>
  e.return(simd['v128.xor'](e.call(helper(INVERSE_SUB_BYTES), permute(e, state, INVERSE_SHIFT_ROWS)), key)),
)
const DECRYPT = helperFunction('aes.decrypt', ['v128', 'v128'], 'v128', (e, [state, key], { helper }) =>
  e.return(
    simd['v128.xor'](
      e.call(helper(INVERSE_MIX_COLUMNS), e.call(helper(INVERSE_SUB_BYTES), permute(e, state, INVERSE_SHIFT_ROWS))),
      key,
    ),
  ),
)

const round =
  (helper: HelperFunction): Semantics =>
  (e) => {
    const key = e.readVector(1)
    e.writeVector(0, e.helper(helper, e.readVector(0), key))
  }
const inverseMix: Semantics = (e) => e.writeVector(0, e.helper(INVERSE_MIX_COLUMNS, e.readVector(1)))
/** AESKEYGENASSIST: dwords 1 and 3 substituted, and the same rotated with the round constant. */
const keyAssist: Semantics = (e) => {
  const substituted = e.let(e.helper(SUB_BYTES, e.readVector(1)))
  const words = v128.shuffle(substituted, substituted, [4, 5, 6, 7, 5, 6, 7, 4, 12, 13, 14, 15, 13, 14, 15, 12])
  const constant = simd['v128.and'](simd['i32x4.splat'](e.immediateByte()), lanes(4, [0, -1, 0, -1]))
  e.writeVector(0, simd['v128.xor'](words, constant))
}

// --- PCLMULQDQ

/**
 * Carry-less product of two 32-bit numbers (given as i64). With only every fourth bit of each factor, the ordinary product's columns do not run
 * into each other: at most eight ones meet, and the lowest bit of their number is the carry-less sum.
 */
const CARRYLESS_32 = helperFunction('clmul.32', ['i64', 'i64'], 'i64', (e, [a, b]) => {
  const mask = (n: number): bigint => 0x1111111111111111n << BigInt(n)
  const parts = (value: Expr): Expr[] => [0, 1, 2, 3].map((n) => e.let(i64.and(value, i64.const(mask(n)))))
  const x = parts(a)
  const y = parts(b)
  const columns = [0, 1, 2, 3].map((sum) => {
    const products = [0, 1, 2, 3].map((i) => i64.mul(x[i] as Expr, y[(sum - i) & 3] as Expr))
    return i64.and(
      products.reduce((p, q) => i64.xor(p, q)),
      i64.const(mask(sum)),
    )
  })
  e.return(columns.reduce((p, q) => i64.or(p, q)))
})
const CARRYLESS_64 = helperFunction('clmul.64', ['i64', 'i64'], 'v128', (e, [a, b], { helper }) => {
  const lowHalf = (value: Expr): Expr => i64.and(value, i64.const(0xffffffff))
  const highHalf = (value: Expr): Expr => i64.shr_u(value, i64.const(32))
  const product = (x: Expr, y: Expr): Expr => e.call(helper(CARRYLESS_32), x, y)
  const low = product(lowHalf(a), lowHalf(b))
  const high = product(highHalf(a), highHalf(b))
  const middle = e.let(i64.xor(product(lowHalf(a), highHalf(b)), product(highHalf(a), lowHalf(b))))
  e.return(fromPair(i64.xor(low, i64.shl(middle, i64.const(32))), i64.xor(high, highHalf(middle))))
})
const carrylessMultiply: Semantics = (e) => {
  const b = e.readVector(1)
  const a = e.readVector(0)
  const imm = e.immediateByte()
  const half = (value: Expr, bit: number): Expr =>
    select(i32.and(imm, i32.const(bit)), simd['i64x2.extract_lane'](value, 1), simd['i64x2.extract_lane'](value, 0))
  e.writeVector(0, e.helper(CARRYLESS_64, half(a, 1), half(b, 16)))
}

export const AES: readonly InstructionDefinition[] = [
  sse('AESIMC', '66 0F 38 DB /r', 'Vdq Wdq', inverseMix),
  sse('AESENC', '66 0F 38 DC /r', 'Vdq Wdq', round(ENCRYPT)),
  sse('AESENCLAST', '66 0F 38 DD /r', 'Vdq Wdq', round(ENCRYPT_LAST)),
  sse('AESDEC', '66 0F 38 DE /r', 'Vdq Wdq', round(DECRYPT)),
  sse('AESDECLAST', '66 0F 38 DF /r', 'Vdq Wdq', round(DECRYPT_LAST)),
  sse('AESKEYGENASSIST', '66 0F 3A DF /r ib', 'Vdq Wdq Ib', keyAssist),
  sse('PCLMULQDQ', '66 0F 3A 44 /r ib', 'Vdq Wdq Ib', carrylessMultiply),
]
