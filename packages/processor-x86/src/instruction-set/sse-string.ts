// String comparison of SSE4.2 (SDM vol. 2, 4.1): PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM. One helper makes IntRes2 of two vectors and their lengths.

import type { InstructionDefinition, Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, select, simd, v128 } from '../instruction/emitter.ts'
import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { GPR } from '../state-layout.ts'
import type { FunctionEmitter } from '../wasm/function-emitter.ts'
import { fromLow, lanes, sse, ZERO_VECTOR } from './vector.ts'

/** Fields of the immediate byte. */
const WORDS = 1
const SIGNED = 2
/** Bits 2–3: what is asked for. */
const RANGES = 1
const EQUAL_EACH = 2
const EQUAL_ORDERED = 3
/** Bits 4–5: bit 4 negates, unless bit 5 spares what lies behind the second string's end. */
const NEGATE = 16
const NEGATE_VALID = 32
/** Bit 6: the last match, or a mask of whole elements. */
const LAST = 64

const c = i32.const

/** i32: elements, 8 or 16. */
const elements = (imm: Expr): Expr => i32.shr_u(c(16), i32.and(imm, c(WORDS)))
/** i32: the low `count` bits. */
const lowBits = (count: Expr): Expr => i32.sub(i32.shl(c(1), count), c(1))

/** i32: elements before the first that is 0. */
const implicitLength: HelperFunction = helperFunction('pcmpstr.length', ['v128', 'i32'], 'i32', (e, [value, imm]) => {
  e.if(i32.and(imm, c(WORDS)), () =>
    e.return(i32.ctz(i32.or(simd['i16x8.bitmask'](simd['i16x8.eq'](value, ZERO_VECTOR)), c(1 << 8)))),
  )
  e.return(i32.ctz(i32.or(simd['i8x16.bitmask'](simd['i8x16.eq'](value, ZERO_VECTOR)), c(1 << 16))))
})

/** (first, second, their lengths, immediate) → IntRes2. */
const compareStrings: HelperFunction = helperFunction(
  'pcmpstr.compare',
  ['v128', 'v128', 'i32', 'i32', 'i32'],
  'i32',
  (e, [a, b, lengthA, lengthB, imm]) => {
    const count = e.let(elements(imm))
    const all = e.let(lowBits(count))
    const validA = e.let(lowBits(lengthA))
    const validB = e.let(lowBits(lengthB))
    const words = e.let(i32.and(imm, c(WORDS)))
    const signed = e.let(i32.and(imm, c(SIGNED)))
    const kind = e.let(i32.and(i32.shr_u(imm, c(2)), c(3)))
    const result = e.local('i32')

    /** i32: bits of the elements of the second that compare with `x`. */
    const bits = (byte: () => Expr, word: () => Expr): Expr =>
      e.choose(
        words,
        () => simd['i16x8.bitmask'](word()),
        () => simd['i8x16.bitmask'](byte()),
        'i32',
      )
    const equalTo = (x: Expr): Expr =>
      bits(
        () => simd['i8x16.eq'](b, x),
        () => simd['i16x8.eq'](b, x),
      )
    const ordered = (x: Expr, relation: 'ge' | 'le'): Expr =>
      bits(
        () => select(signed, simd[`i8x16.${relation}_s`](b, x), simd[`i8x16.${relation}_u`](b, x)),
        () => select(signed, simd[`i16x8.${relation}_s`](b, x), simd[`i16x8.${relation}_u`](b, x)),
      )
    /** Element `index` of the first everywhere. */
    const repeated = (index: Expr): Expr => {
      const first = simd['i8x16.splat'](i32.shl(index, words))
      const pattern = select(words, lanes(1, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]), ZERO_VECTOR)
      return e.let(simd['i8x16.swizzle'](a, simd['i8x16.add'](first, pattern)))
    }
    const index = e.local('i32')
    /** For the elements 0, `step`, … of the first. */
    const each = (step: number, body: (at: Expr) => void): void => {
      e.set(index, c(0))
      e.block((done) => {
        e.loop((again) => {
          e.if(i32.ge_s(i32.add(e.get(index), c(step - 1)), lengthA), () => e.br(done))
          body(e.get(index))
          e.set(index, i32.add(e.get(index), c(step)))
          e.br(again)
        })
      })
    }

    e.set(result, c(0))
    e.block((done) => {
      e.if(i32.eq(kind, c(EQUAL_EACH)), () => {
        const equal = e.let(equalTo(a))
        const neither = i32.and(i32.xor(i32.or(validA, validB), c(-1)), all)
        e.set(result, i32.or(i32.and(equal, i32.and(validA, validB)), neither))
        e.br(done)
      })
      e.if(i32.eq(kind, c(EQUAL_ORDERED)), () => {
        e.set(result, all)
        each(1, (at) => {
          const found = e.let(i32.and(equalTo(repeated(at)), validB))
          // places so near the end that the first goes on behind it are not decided by this element
          const beyond = i32.and(all, i32.xor(i32.shr_u(all, at), c(-1)))
          e.set(result, i32.and(e.get(result), i32.or(i32.shr_u(found, at), beyond)))
        })
        e.br(done)
      })
      e.if(i32.eq(kind, c(RANGES)), () => {
        each(2, (at) => {
          const least = ordered(repeated(at), 'ge')
          const most = ordered(repeated(i32.add(at, c(1))), 'le')
          e.set(result, i32.or(e.get(result), i32.and(least, most)))
        })
        e.set(result, i32.and(e.get(result), validB))
        e.br(done)
      })
      each(1, (at) => {
        const found = e.let(equalTo(repeated(at)))
        e.set(result, i32.or(e.get(result), found))
      })
      e.set(result, i32.and(e.get(result), validB))
    })
    e.if(i32.and(imm, c(NEGATE)), () =>
      e.set(result, i32.xor(e.get(result), select(i32.and(imm, c(NEGATE_VALID)), validB, all))),
    )
    e.return(e.get(result))
  },
)

/** (IntRes2, immediate) → the mask for XMM0. */
const makeMask: HelperFunction = helperFunction(
  'pcmpstr.mask',
  ['i32', 'i32'],
  'v128',
  (e: FunctionEmitter, [result, imm]) => {
    e.if(i32.eqz(i32.and(imm, c(LAST))), () => e.return(fromLow(i64.extend_i32_u(result))))
    e.if(i32.and(imm, c(WORDS)), () => {
      const bit = lanes(2, [1, 2, 4, 8, 16, 32, 64, 128])
      e.return(simd['i16x8.eq'](simd['v128.and'](simd['i16x8.splat'](result), bit), bit))
    })
    const bit = lanes(1, [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128])
    const spread = simd['i8x16.swizzle'](
      simd['i32x4.splat'](result),
      v128.const([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]),
    )
    e.return(simd['i8x16.eq'](simd['v128.and'](spread, bit), bit))
  },
)

/** i32: the length in a general register: its magnitude, at most the number of elements. */
function explicitLength(e: InstructionEmitter, register: number, imm: Expr): Expr {
  const value = e.gpr(register, e.form.operandSize === 8 ? 8 : 4, true)
  const sign = e.let(i64.shr_s(value, i64.const(63)))
  const magnitude = e.let(i64.sub(i64.xor(value, sign), sign))
  const most = e.let(i64.extend_i32_u(elements(imm)))
  return e.let(i32.wrap_i64(select(i64.lt_u(magnitude, most), magnitude, most)))
}

const compare =
  (explicit: boolean, index: boolean): Semantics =>
  (e) => {
    const b = e.readVector(1)
    const a = e.readVector(0)
    const imm = e.immediateByte()
    const length = (value: Expr, register: number): Expr =>
      explicit ? explicitLength(e, register, imm) : e.let(e.helper(implicitLength, value, imm))
    const lengthA = length(a, GPR.RAX)
    const lengthB = length(b, GPR.RDX)
    const result = e.let(e.helper(compareStrings, a, b, lengthA, lengthB, imm))
    const count = e.let(elements(imm))
    if (index) {
      const found = select(i32.and(imm, c(LAST)), i32.sub(c(31), i32.clz(result)), i32.ctz(result))
      e.setGpr(GPR.RCX, i64.extend_i32_u(select(result, found, count)))
    } else e.setXmm(0, e.helper(makeMask, result, imm))
    e.setFlags({
      cf: i32.ne(result, c(0)),
      zf: i32.lt_u(lengthB, count),
      sf: i32.lt_u(lengthA, count),
      of: i32.and(result, c(1)),
      af: c(0),
      pf: c(0),
    })
  }

const UNALIGNED = { aligned: false } as const

// RAX is named so that REX.W chooses the width of the lengths.
export const SSE_STRING: readonly InstructionDefinition[] = [
  sse('PCMPESTRM', '66 0F 3A 60 /r ib', 'Vdq Wdq Ib rAX', compare(true, false), UNALIGNED),
  sse('PCMPESTRI', '66 0F 3A 61 /r ib', 'Vdq Wdq Ib rAX', compare(true, true), UNALIGNED),
  sse('PCMPISTRM', '66 0F 3A 62 /r ib', 'Vdq Wdq Ib', compare(false, false), UNALIGNED),
  sse('PCMPISTRI', '66 0F 3A 63 /r ib', 'Vdq Wdq Ib', compare(false, true), UNALIGNED),
]
