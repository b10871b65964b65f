// The short way of addition to division: normal numbers, 64 bits of precision, rounding to nearest, an inexact result no exception, a normal result. Without calls, and without
// branches that depend on the numbers. Whatever is not so leaves by a label before anything has changed.

import { STATE } from '../state-layout.ts'
import { type Expr, f64, i32, i64, select } from '../wasm/expression.ts'
import type { Label } from '../wasm/function-emitter.ts'
import { type X87Code, zero64 } from './emit.ts'
import { add, multiplyWords, subtract, type Wide } from './fixed.ts'
import { EXPONENT_BIAS, EXPONENT_MAX, INTEGER_BIT, X87 } from './format.ts'

/** Precision control, rounding control and the mask of the inexact result; and how they must be. */
const MODE = 0x0f20
const ORDINARY_MODE = 0x0320

/** A normal number: i64 significand, i32 biased exponent, i32 sign (0 or 0x8000). */
export interface Ordinary {
  readonly significand: Expr
  readonly exponent: Expr
  readonly sign: Expr
}
/** A result that is to be rounded: whether up (i64, 0 or 1), and whether it is inexact (i32). */
export interface OrdinaryResult extends Ordinary {
  readonly up: Expr
  readonly inexact: Expr
}
export interface OrdinaryOperation {
  readonly calculate: (x: X87Code, slow: Label, a: Ordinary, b: Ordinary) => OrdinaryResult
  /** The result where at least one operand is 0 and the other is a normal number or 0, too: significand, and sign and exponent. */
  readonly withZero?: (a: Ordinary, b: Ordinary) => readonly [Expr, Expr]
}

export function requireOrdinaryMode(x: X87Code, slow: Label): void {
  x.e.brIf(slow, i32.ne(i32.and(x.control(), i32.const(MODE)), i32.const(ORDINARY_MODE)), false)
}
/** The number in a register; whether it is a normal one is for {@link requireNormal}. */
export function ordinaryRegister(x: X87Code, register: Expr): Ordinary {
  const se = x.e.let(x.signExponent(register))
  return {
    significand: x.e.let(x.significand(register)),
    exponent: x.e.let(i32.and(se, i32.const(0x7fff))),
    sign: x.e.let(i32.and(se, i32.const(0x8000))),
  }
}
export function requireNormal(x: X87Code, slow: Label, ...values: readonly Ordinary[]): void {
  const [first, ...others] = values as [Ordinary, ...Ordinary[]]
  const outside = (value: Ordinary): Expr =>
    i32.ge_u(i32.sub(value.exponent, i32.const(1)), i32.const(EXPONENT_MAX - 1))
  x.e.brIf(
    slow,
    i32.or(
      others.reduce((all, value) => i32.or(all, outside(value)), outside(first)),
      i64.ge_s(
        others.reduce((all, value) => i64.and(all, value.significand), first.significand),
        zero64,
      ),
    ),
    false,
  )
}

const isZero = ({ significand, exponent }: Ordinary): Expr => i32.and(i64.eqz(significand), i32.eqz(exponent))
const normal = ({ significand, exponent }: Ordinary): Expr =>
  i32.and(i32.lt_u(i32.sub(exponent, i32.const(1)), i32.const(EXPONENT_MAX - 1)), i64.lt_s(significand, zero64))
/** As {@link requireNormal}, for normal numbers and zeros. */
export function requireNumbers(x: X87Code, slow: Label, ...values: readonly Ordinary[]): void {
  for (const value of values) x.e.brIf(slow, i32.eqz(i32.or(normal(value), isZero(value))), false)
}
/** As {@link requireNormal}, for a zero and a normal number or zero. */
export function requireZero(x: X87Code, slow: Label, a: Ordinary, b: Ordinary): void {
  const aZero = x.e.let(isZero(a))
  const bZero = x.e.let(isZero(b))
  x.e.brIf(slow, i32.eqz(i32.or(i32.and(aZero, i32.or(bZero, normal(b))), i32.and(bZero, normal(a)))), false)
}

/** Of the bits of a double or a single. */
export function ordinaryFloat(x: X87Code, slow: Label, bits: Expr, fraction: number, exponent: number): Ordinary {
  const { e } = x
  const mask = (1 << exponent) - 1
  const field = e.let(i32.and(i32.wrap_i64(i64.shr_u(bits, i64.const(fraction))), i32.const(mask)))
  e.brIf(slow, i32.ge_u(i32.sub(field, i32.const(1)), i32.const(mask - 1)), false)
  const top = i32.wrap_i64(i64.shr_u(bits, i64.const(fraction + exponent - 15)))
  return {
    significand: e.let(i64.or(i64.shl(bits, i64.const(63 - fraction)), i64.const(INTEGER_BIT))),
    exponent: e.let(i32.add(field, i32.const(EXPONENT_BIAS - (mask >> 1)))),
    sign: e.let(i32.and(top, i32.const(0x8000))),
  }
}
/** Of an integer. */
export function ordinaryInteger(x: X87Code, slow: Label, value: Expr): Ordinary {
  const { e } = x
  e.brIf(slow, i64.eqz(value), false)
  const mask = e.let(i64.shr_s(value, i64.const(63)))
  const size = e.let(i64.sub(i64.xor(value, mask), mask))
  const shift = e.let(i64.clz(size))
  return {
    significand: e.let(i64.shl(size, shift)),
    exponent: e.let(i32.sub(i32.const(EXPONENT_BIAS + 63), i32.wrap_i64(shift))),
    sign: e.let(i32.and(i32.wrap_i64(mask), i32.const(0x8000))),
  }
}

/** i64, 0 or 1: to nearest, ties to even. `rest` is a fraction with a sticky lowest bit. */
const roundsUp = (significand: Expr, rest: Expr): Expr =>
  i64.extend_i32_u(i64.gt_u(rest, i64.sub(i64.const(INTEGER_BIT), i64.and(significand, i64.const(1)))))

/** `reversed`: the second operand's sign is the other one. */
export function addOrdinary(
  x: X87Code,
  slow: Label,
  first: Ordinary,
  second: Ordinary,
  reversed: boolean,
): OrdinaryResult {
  const { e } = x
  const secondSign = reversed ? i32.xor(second.sign, i32.const(0x8000)) : second.sign
  const unlike = e.let(i32.xor(first.sign, secondSign))
  // The larger magnitude first.
  const swap = e.let(
    i32.or(
      i32.lt_u(first.exponent, second.exponent),
      i32.and(i32.eq(first.exponent, second.exponent), i64.lt_u(first.significand, second.significand)),
    ),
  )
  const mask = e.let(i32.sub(i32.const(0), swap))
  const mask64 = e.let(i64.extend_i32_s(mask))
  const exchanged = e.let(i64.and(i64.xor(first.significand, second.significand), mask64))
  const a = e.let(i64.xor(first.significand, exchanged))
  const b = e.let(i64.xor(second.significand, exchanged))
  const difference = e.let(i32.sub(first.exponent, second.exponent))
  const exponent = e.let(i32.sub(first.exponent, i32.and(difference, mask)))
  const sign = e.let(i32.xor(first.sign, i32.and(unlike, mask)))
  const distance = e.let(i64.extend_i32_u(i32.sub(i32.xor(difference, mask), mask)))
  const high = e.local('i64')
  const rest = e.local('i64')
  e.set(high, i64.shr_u(b, distance))
  e.set(rest, i64.shl(i64.shl(b, i64.const(1)), i64.sub(i64.const(63), distance)))
  e.if(i64.gt_u(distance, i64.const(63)), () => {
    // From 66 on it is less than a quarter of the last place; 64 and 65 are the fraction itself.
    const over = e.let(i64.sub(distance, i64.const(64)))
    e.set(high, zero64)
    e.set(rest, select(i64.gt_u(over, i64.const(1)), i64.const(1), i64.or(i64.shr_u(b, over), i64.and(b, over))))
  })
  const significand = e.local('i64')
  const power = e.local('i32')
  e.if(
    unlike,
    () => {
      e.set(rest, i64.sub(zero64, e.get(rest)))
      const size = e.let(i64.sub(i64.sub(a, e.get(high)), i64.extend_i32_u(i64.ne(e.get(rest), zero64))))
      e.brIf(slow, i64.eqz(size), false)
      const shift = e.let(i64.clz(size))
      const moved = i64.shr_u(i64.shr_u(e.get(rest), i64.const(1)), i64.sub(i64.const(63), shift))
      e.set(significand, i64.or(i64.shl(size, shift), moved))
      e.set(rest, i64.shl(e.get(rest), shift))
      e.set(power, i32.sub(exponent, i32.wrap_i64(shift)))
    },
    () => {
      const sum = e.let(i64.add(a, e.get(high)))
      const carried = e.let(i64.lt_u(sum, a))
      const carry = e.let(i64.extend_i32_u(carried))
      const lost = i64.shl(i64.and(sum, carry), i64.const(63))
      e.set(rest, i64.or(i64.or(i64.shr_u(e.get(rest), carry), i64.and(e.get(rest), carry)), lost))
      e.set(significand, i64.or(i64.shr_u(sum, carry), i64.shl(carry, i64.const(63))))
      e.set(power, i32.add(exponent, carried))
    },
  )
  const result = e.let(e.get(significand))
  return {
    significand: result,
    exponent: e.let(e.get(power)),
    sign,
    up: e.let(roundsUp(result, e.get(rest))),
    inexact: e.let(i64.ne(e.get(rest), zero64)),
  }
}

function multiplyOrdinary(x: X87Code, _: Label, a: Ordinary, b: Ordinary): OrdinaryResult {
  const { e } = x
  const { high, low } = multiplyWords(e, a.significand, b.significand)
  const lower = e.let(low())
  const lacks = e.let(i64.extend_i32_u(i64.ge_s(high, zero64)))
  const significand = e.let(i64.or(i64.shl(high, lacks), i64.and(i64.shr_u(lower, i64.const(63)), lacks)))
  const rest = e.let(i64.shl(lower, lacks))
  return {
    significand,
    exponent: e.let(
      i32.sub(i32.sub(i32.add(a.exponent, b.exponent), i32.const(EXPONENT_BIAS - 1)), i32.wrap_i64(lacks)),
    ),
    sign: e.let(i32.xor(a.sign, b.sign)),
    up: e.let(roundsUp(significand, rest)),
    inexact: e.let(i64.ne(rest, zero64)),
  }
}

/** Added to a number below 2^31, it brings the multiple of 2^-19 nearest to it to the lowest bits. */
const TO_UNITS = 1.5 * 2 ** 33
/**
 * The quotient's first 50 bits from the host, the next from what they leave, and the last by looking at what those leave. Between numbers of the host and integers the short ways are
 * taken: from 63 bits and a sign, and to the lower bits of a sum.
 */
function divideOrdinary(x: X87Code, _: Label, a: Ordinary, b: Ordinary): OrdinaryResult {
  const { e } = x
  const divisor = b.significand
  // Scaled so that 64 bits come out.
  const less = e.let(i64.lt_u(a.significand, divisor))
  const part = e.let(i64.extend_i32_u(i32.xor(less, i32.const(1))))
  const numeratorHigh = e.let(i64.shr_u(a.significand, part))
  const numeratorLow = e.let(i64.shl(i64.and(a.significand, part), i64.const(63)))
  const float = (value: Expr): Expr => f64.convert_i64_s(i64.shr_u(value, i64.const(1)))
  // The quotient between 1/2 and 1, a little too small and never too large: the last bits that count are 2^13 of the quotient's.
  const inverse = e.let(f64.div(f64.const(1 - 2 ** -49), float(divisor)))
  const near = f64.add(f64.mul(float(numeratorHigh), inverse), f64.const(2))
  const first = e.let(i64.shl(i64.reinterpret_f64(near), i64.const(13)))
  const product = multiplyWords(e, first, divisor)
  const productLow = e.let(product.low())
  const low = e.let(i64.sub(numeratorLow, productLow))
  const high = e.let(
    i64.sub(i64.sub(numeratorHigh, product.high), i64.extend_i32_u(i64.lt_u(numeratorLow, productLow))),
  )
  // What is left is some 2^15 divisors: in units of 2^20, less half a divisor, so that the nearest integer is the one below.
  const left = i64.sub(
    i64.or(i64.shl(high, i64.const(44)), i64.shr_u(low, i64.const(20))),
    i64.shr_u(divisor, i64.const(21)),
  )
  const more = f64.add(f64.mul(f64.convert_i64_s(left), inverse), f64.const(TO_UNITS))
  const second = e.let(i64.and(i64.reinterpret_f64(more), i64.const((1n << 51n) - 1n)))
  const lower = e.let(i64.mul(second, i64.and(divisor, i64.const(0xffffffffn))))
  const upper = e.let(i64.mul(second, i64.shr_u(divisor, i64.const(32))))
  const takenLow = e.let(i64.add(lower, i64.shl(upper, i64.const(32))))
  const takenHigh = i64.shr_u(i64.add(upper, i64.shr_u(lower, i64.const(32))), i64.const(32))
  const remainder = e.local('i64')
  const quotient = e.local('i64')
  e.set(remainder, i64.sub(low, takenLow))
  e.set(quotient, i64.add(first, second))
  const over = e.let(i64.sub(i64.sub(high, takenHigh), i64.extend_i32_u(i64.lt_u(low, takenLow))))
  const step = (by: number): void => {
    e.set(quotient, i64.add(e.get(quotient), i64.const(by)))
    e.set(remainder, by > 0 ? i64.sub(e.get(remainder), divisor) : i64.add(e.get(remainder), divisor))
  }
  e.if(
    i32.or(i64.ne(over, zero64), i64.ge_u(e.get(remainder), divisor)),
    () =>
      e.if(
        i64.lt_s(over, zero64),
        () => step(-1),
        () => step(1),
      ),
    undefined,
    false,
  )
  const rest = e.let(e.get(remainder))
  const significand = e.let(e.get(quotient))
  // Above one half, or there and odd.
  const up = i64.gt_u(rest, i64.sub(i64.sub(divisor, rest), i64.and(significand, i64.const(1))))
  return {
    significand,
    exponent: e.let(i32.sub(i32.add(i32.sub(a.exponent, b.exponent), i32.const(EXPONENT_BIAS)), less)),
    sign: e.let(i32.xor(a.sign, b.sign)),
    up: e.let(i64.extend_i32_u(up)),
    inexact: e.let(i64.ne(rest, zero64)),
  }
}

/** As the quotient: 50 bits of the root from the host, the next from the remainder, and the last by looking at what is left then. The sign must be plus. */
export function squareRootOrdinary(x: X87Code, { significand, exponent, sign }: Ordinary): OrdinaryResult {
  const { e } = x
  // Scaled so that 64 bits come out: the bias is odd, so that an odd exponent field is an even exponent.
  const part = e.let(i64.and(i64.extend_i32_u(exponent), i64.const(1)))
  const high = e.let(i64.shr_u(significand, part))
  const low = e.let(i64.shl(i64.and(significand, part), i64.const(63)))
  const float = f64.mul(f64.convert_i64_s(i64.shr_u(high, i64.const(1))), f64.const(2 ** -63))
  // The root between 1/2 and 1, a little too small.
  const near = e.let(f64.mul(f64.sqrt(float), f64.const(1 - 2 ** -49)))
  const first = e.let(i64.shl(i64.reinterpret_f64(f64.add(near, f64.const(2))), i64.const(13)))
  const inverse = f64.div(f64.const(2 ** -64), near)
  const square = multiplyWords(e, first, first)
  const left = subtract(e, { high, low }, { high: square.high, low: e.let(square.low()) })
  // In units of 2^20, less a half of what one more would take.
  const remaining = i64.or(i64.shl(left.high, i64.const(44)), i64.shr_u(left.low, i64.const(20)))
  const more = f64.mul(f64.convert_i64_s(i64.sub(remaining, i64.shr_u(first, i64.const(20)))), inverse)
  const second = e.let(i64.and(i64.reinterpret_f64(f64.add(more, f64.const(TO_UNITS))), i64.const((1n << 51n) - 1n)))
  // second × (2 × first + second)
  const lower = e.let(i64.mul(second, i64.and(first, i64.const(0xffffffffn))))
  const upper = e.let(i64.mul(second, i64.shr_u(first, i64.const(32))))
  const once: Wide = {
    high: e.let(i64.shr_u(i64.add(upper, i64.shr_u(lower, i64.const(32))), i64.const(32))),
    low: e.let(i64.add(lower, i64.shl(upper, i64.const(32)))),
  }
  const secondSquare = { high: zero64, low: e.let(i64.mul(second, second)) }
  const over = subtract(e, subtract(e, left, add(e, once, once)), secondSquare)
  const restHigh = e.local('i64')
  const rest = e.local('i64')
  const root = e.local('i64')
  e.set(restHigh, over.high)
  e.set(rest, over.low)
  e.set(root, i64.add(first, second))
  const replace = (value: Wide): void => {
    e.set(restHigh, value.high)
    e.set(rest, value.low)
  }
  const now = (): Wide => ({ high: e.let(e.get(restHigh)), low: e.let(e.get(rest)) })
  /** Twice the root and 1. */
  const step = (): Wide => {
    const value = e.let(e.get(root))
    return {
      high: e.let(i64.shr_u(value, i64.const(63))),
      low: e.let(i64.or(i64.shl(value, i64.const(1)), i64.const(1))),
    }
  }
  e.if(
    i32.or(
      i64.lt_s(over.high, zero64),
      i32.or(
        i64.gt_s(over.high, i64.const(1)),
        i32.and(i64.eq(over.high, i64.const(1)), i64.gt_u(over.low, i64.shl(e.get(root), i64.const(1)))),
      ),
    ),
    () =>
      e.if(
        i64.lt_s(over.high, zero64),
        () => {
          e.set(root, i64.sub(e.get(root), i64.const(1)))
          replace(add(e, now(), step()))
        },
        () => {
          replace(subtract(e, now(), step()))
          e.set(root, i64.add(e.get(root), i64.const(1)))
        },
      ),
    undefined,
    false,
  )
  const result = e.let(e.get(root))
  const { high: leftHigh, low: leftLow } = now()
  const up = i32.or(i64.ne(leftHigh, zero64), i64.gt_u(leftLow, result))
  return {
    significand: result,
    exponent: e.let(
      i32.add(i32.shr_s(i32.sub(exponent, i32.const(EXPONENT_BIAS)), i32.const(1)), i32.const(EXPONENT_BIAS)),
    ),
    sign,
    up: e.let(i64.extend_i32_u(up)),
    inexact: e.let(i64.ne(i64.or(leftHigh, leftLow), zero64)),
  }
}

const addition = (reversed: boolean): OrdinaryOperation => ({
  calculate: (x, slow, a, b) => addOrdinary(x, slow, a, b, reversed),
  withZero: (a, b) => {
    const bSign = reversed ? i32.xor(b.sign, i32.const(0x8000)) : b.sign
    const aZero = i64.eqz(a.significand)
    const se = ({ exponent }: Ordinary, sign: Expr): Expr => i32.or(sign, exponent)
    // Zeros of different signs make +0.
    const zero = i32.and(a.sign, bSign)
    return [
      i64.or(a.significand, b.significand),
      select(aZero, select(i64.eqz(b.significand), zero, se(b, bSign)), se(a, a.sign)),
    ]
  },
})
export const ORDINARY_ADD: OrdinaryOperation = addition(false)
export const ORDINARY_SUBTRACT: OrdinaryOperation = addition(true)
export const ORDINARY_MULTIPLY: OrdinaryOperation = {
  calculate: multiplyOrdinary,
  withZero: (a, b) => [zero64, i32.xor(a.sign, b.sign)],
}
export const ORDINARY_DIVIDE: OrdinaryOperation = { calculate: divideOrdinary }

/** Round, store, and note the inexact result. */
export function storeOrdinary(x: X87Code, slow: Label, register: Expr, result: OrdinaryResult): void {
  const { e } = x
  const { significand, exponent, sign, up, inexact } = result
  e.brIf(slow, i32.ge_u(i32.sub(exponent, i32.const(1)), i32.const(EXPONENT_MAX - 2)), false)
  const rounded = e.let(i64.add(significand, up))
  const carried = e.let(i64.eqz(rounded))
  x.put(
    register,
    i64.or(rounded, i64.shl(i64.extend_i32_u(carried), i64.const(63))),
    i32.or(sign, i32.add(exponent, carried)),
  )
  const flags = i32.or(i32.shl(inexact, i32.const(5)), i32.shl(i32.wrap_i64(up), i32.const(9)))
  x.store(STATE.X87_STATUS, i32.or(i32.and(x.status(), i32.const(~X87.C1)), flags))
}

/** C3 when a = b, C0 when a < b, else 0; of normal numbers and zeros. */
export function compareOrdinary(x: X87Code, a: Ordinary, b: Ordinary): Expr {
  const { e } = x
  const negative = ({ significand, sign }: Ordinary): Expr =>
    e.let(i32.and(i32.ne(sign, i32.const(0)), i64.ne(significand, zero64)))
  const sameExponent = e.let(i32.eq(a.exponent, b.exponent))
  const equal = e.let(i32.and(sameExponent, i64.eq(a.significand, b.significand)))
  const smaller = e.let(select(sameExponent, i64.lt_u(a.significand, b.significand), i32.lt_u(a.exponent, b.exponent)))
  const aNegative = negative(a)
  const unlike = e.let(i32.xor(aNegative, negative(b)))
  const less = select(unlike, aNegative, i32.and(i32.xor(smaller, aNegative), i32.xor(equal, i32.const(1))))
  const same = i32.and(equal, i32.xor(unlike, i32.const(1)))
  return i32.or(select(same, i32.const(X87.C3), i32.const(0)), select(less, i32.const(X87.C0), i32.const(0)))
}
