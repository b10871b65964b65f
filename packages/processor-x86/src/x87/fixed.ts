// Fixed-point numbers of 128 bits, for the short ways of the transcendental instructions: products, quotients and series to about 90 bits, which decide nearly every
// rounding to 64.
//
// A number is a fraction of 2^128 in two unsigned words, with a scale that is known when the code is emitted, or an exponent beside it. Products are
// short by less than 2^34 (2^-94 of the range): only what counts is multiplied, because WebAssembly's product has 64 bits, and one of 128 is made of four.

import { type Expr, f64, i32, i64, select } from '../wasm/expression.ts'
import type { FunctionEmitter, Label } from '../wasm/function-emitter.ts'
import { zero64 } from './emit.ts'
import { FRACTION } from './real.ts'

/** Two words kept in locals, or constants. */
export interface Wide {
  readonly high: Expr
  readonly low: Expr
}

const low32 = (value: Expr): Expr => i64.and(value, i64.const(0xffffffffn))
const high32 = (value: Expr): Expr => i64.shr_u(value, i64.const(32))
const isZero = (value: Expr): boolean => value.constant === 0n

export function keep(e: FunctionEmitter, high: Expr, low: Expr): Wide {
  return { high: e.let(high), low: e.let(low) }
}
/** The upper word of a product of words. */
export function multiplyHigh(e: FunctionEmitter, a: Expr, b: Expr): Expr {
  return multiplyWords(e, a, b).high
}
/** All 128 bits of a product of words; `low` is not kept. */
export function multiplyWords(e: FunctionEmitter, a: Expr, b: Expr): { high: Expr; low: () => Expr } {
  const [a0, a1, b0, b1] = [e.let(low32(a)), e.let(high32(a)), e.let(low32(b)), e.let(high32(b))]
  const middle = e.let(i64.add(i64.mul(a1, b0), high32(i64.mul(a0, b0))))
  const other = e.let(i64.add(i64.mul(a0, b1), low32(middle)))
  return { high: e.let(i64.add(i64.add(i64.mul(a1, b1), high32(middle)), high32(other))), low: () => i64.mul(a, b) }
}
export function add(e: FunctionEmitter, a: Wide, b: Wide): Wide {
  const low = e.let(i64.add(a.low, b.low))
  return keep(e, i64.add(i64.add(a.high, b.high), i64.extend_i32_u(i64.lt_u(low, b.low))), low)
}
export function subtract(e: FunctionEmitter, a: Wide, b: Wide): Wide {
  const borrow = i64.extend_i32_u(i64.lt_u(a.low, b.low))
  return keep(e, i64.sub(i64.sub(a.high, b.high), borrow), i64.sub(a.low, b.low))
}
/** `condition ? -a : a` in two's complement; `condition` is an i32 of 0 or 1. */
export function negateIf(e: FunctionEmitter, condition: Expr, a: Wide): Wide {
  const mask = e.let(i64.sub(zero64, i64.extend_i32_u(condition)))
  const low = e.let(i64.sub(i64.xor(a.low, mask), mask))
  const borrow = i64.extend_i32_u(i32.and(i64.eqz(low), condition))
  return keep(e, i64.add(i64.xor(a.high, mask), borrow), low)
}
/** The product of two fractions, truncated. */
export function multiply(e: FunctionEmitter, a: Wide, b: Wide): Wide {
  const main = multiplyWords(e, a.high, b.high)
  let result = { high: main.high, low: e.let(main.low()) }
  const more = (x: Expr, y: Expr): void => {
    if (isZero(y)) return
    result = add(e, result, { high: zero64, low: e.let(i64.mul(high32(x), high32(y))) })
  }
  more(a.high, b.low)
  more(b.high, a.low)
  return result
}
/** Shift by a constant of 0 to 63. */
export function shiftRight(e: FunctionEmitter, a: Wide, count: number): Wide {
  if (count === 0) return a
  return keep(
    e,
    i64.shr_u(a.high, i64.const(count)),
    i64.or(i64.shr_u(a.low, i64.const(count)), i64.shl(a.high, i64.const(64 - count))),
  )
}
/** Shift by an i64 of 0 to 63. */
export function shiftRightBy(e: FunctionEmitter, a: Wide, count: Expr): Wide {
  const over = i64.shl(i64.shl(a.high, i64.const(1)), i64.sub(i64.const(63), count))
  return keep(e, i64.shr_u(a.high, count), i64.or(i64.shr_u(a.low, count), over))
}
/** Shifted left until bit 127 is set, by `count` (i64). 0 stays 0. */
export function normalise(e: FunctionEmitter, a: Wide): Wide & { readonly count: Expr } {
  const small = e.let(i64.eqz(a.high))
  const high = e.let(select(small, a.low, a.high))
  const low = e.let(select(small, zero64, a.low))
  const count = e.let(i64.clz(high))
  const over = i64.shr_u(i64.shr_u(low, i64.const(1)), i64.sub(i64.const(63), count))
  return {
    ...keep(e, i64.or(i64.shl(high, count), over), i64.shl(low, count)),
    count: e.let(i64.add(count, i64.shl(i64.extend_i32_u(small), i64.const(6)))),
  }
}
/**
 * a / b for fractions from 1/2 to 1: a fraction from 1/2 to 1, and as an i32 whether it must be doubled. 53 bits from the host, and as many again from what they leave.
 */
export function divide(e: FunctionEmitter, a: Wide, b: Wide): Wide & { readonly doubled: Expr } {
  const divisor = e.let(f64.convert_i64_u(b.high))
  // a quarter of the quotient
  const first = e.let(i64.trunc_sat_f64_u(f64.mul(f64.div(f64.convert_i64_u(a.high), divisor), f64.const(2 ** 62))))
  const product = multiply(e, { high: first, low: zero64 }, b)
  const rest = subtract(e, shiftRight(e, a, 2), product)
  // The rest is less than 2^-50 of the range: bits 32 to 95 have all that is needed.
  const part = i64.or(i64.shl(rest.high, i64.const(32)), i64.shr_u(rest.low, i64.const(32)))
  const second = e.let(i64.trunc_sat_f64_s(f64.mul(f64.div(f64.convert_i64_s(part), divisor), f64.const(2 ** 63))))
  // `second` counts 2^-95: 33 bits above the lowest
  const quarter = add(
    e,
    { high: first, low: zero64 },
    keep(e, i64.shr_s(second, i64.const(31)), i64.shl(second, i64.const(33))),
  )
  const doubled = e.let(i32.wrap_i64(i64.shr_u(quarter.high, i64.const(62))))
  const shift = e.let(i64.sub(i64.const(2), i64.extend_i32_u(doubled)))
  const over = i64.shr_u(quarter.low, i64.sub(i64.const(64), shift))
  return { ...keep(e, i64.or(i64.shl(quarter.high, shift), over), i64.shl(quarter.low, shift)), doubled }
}

/** A constant of a fixed-point number of real.ts times 2^`scale`, modulo 1. */
export function constant(value: bigint, scale = 0): Wide {
  const shift = BigInt(FRACTION - 128 - scale)
  const bits = (value + (1n << (shift - 1n))) >> shift
  return { high: i64.const(bits >> 64n), low: i64.const(bits) }
}

/** Sum of coefficients[k] × (±t)^k. */
export interface Series {
  /** Coefficient `k`, positive, in the fixed point of real.ts; they get smaller. */
  readonly coefficient: (k: number) => bigint
  /** Signs alternate. */
  readonly alternating: boolean
  /** t < 2^-bound, and is given times 2^tScale. */
  readonly bound: number
  readonly tScale: number
  /** The error may be 2^-precision. */
  readonly precision: number
}

const log2 = (value: bigint): number => {
  const digits = value.toString(2)
  return (
    digits.length - FRACTION + Math.log2(Number.parseInt(digits.slice(0, 40), 2) / 2 ** Math.min(40, digits.length))
  )
}
/** Significant bits of a step with one product of half words, of words, of two words. */
const STEP_BITS = [30, 62, 92] as const

/**
 * Horner's scheme, every step with as few words as the error allows: a higher coefficient counts less. The value is the sum times 2^`scale`, and must be below 1 then.
 */
export function evaluate(e: FunctionEmitter, t: Wide, series: Series): Wide & { readonly scale: number } {
  const { coefficient, alternating, bound, tScale, precision } = series
  let terms = 1
  while (log2(coefficient(terms)) - bound * terms > -precision - 2) terms++
  /** What is left of the series from term k, times 2^scale, is below 1. */
  const scaleOf = (k: number): number => {
    let size = coefficient(k)
    for (let j = k + 1; !alternating && j <= terms; j++) size += coefficient(j) >> BigInt(Math.floor(bound * (j - k)))
    return Math.floor(-log2(size) + 1e-9)
  }
  let scale = scaleOf(terms - 1)
  let high = constant(coefficient(terms - 1), scale).high
  let wide: Wide | undefined
  for (let k = terms - 2; k >= 0; k--) {
    const next = scaleOf(k)
    const shift = tScale + scale - next
    const needed = precision + 3 - next - k * bound
    const c = constant(coefficient(k), next)
    if (needed > STEP_BITS[1]) {
      const product = shiftRight(e, multiply(e, t, wide ?? { high, low: zero64 }), shift)
      wide = alternating ? subtract(e, c, product) : add(e, c, product)
    } else {
      const product = needed > STEP_BITS[0] ? multiplyHigh(e, t.high, high) : i64.mul(high32(t.high), high32(high))
      const shifted = i64.shr_u(product, i64.const(shift))
      high = e.let(alternating ? i64.sub(c.high, shifted) : i64.add(c.high, shifted))
    }
    scale = next
  }
  return { ...(wide ?? { high, low: zero64 }), scale }
}

/** One of some constants, by an i32 that is in range. */
export function choose(e: FunctionEmitter, index: Expr, values: readonly Wide[]): Wide {
  const high = e.local('i64')
  const low = e.local('i64')
  e.block((done) => {
    const nest = (n: number, labels: readonly Label[]): void => {
      if (n < 0) {
        e.brTable(index, labels, labels.at(-1) as Label)
        return
      }
      e.block((label) => nest(n - 1, [label, ...labels]))
      const value = values[n] as Wide
      e.set(high, value.high)
      e.set(low, value.low)
      e.br(done)
    }
    nest(values.length - 1, [])
  })
  return { high: e.get(high), low: e.get(low) }
}
