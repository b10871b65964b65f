// F2XM1, FYL2X and FYL2XP1 for ordinary operands (SDM vol. 1, 8.3.7): see short-code.ts.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { type Expr, i32, i64 } from '../wasm/expression.ts'
import { zero32, zero64 } from './emit.ts'
import {
  add,
  choose,
  constant,
  divide,
  evaluate,
  keep,
  multiply,
  negateIf,
  normalise,
  shiftRight,
  shiftRightBy,
  subtract,
  type Wide,
} from './fixed.ts'
import { FRACTION, factorial, LN2, logarithm, ONE } from './real.ts'
import { FIRST, fixed, MINUS_ONE, PRECISION, popped, ShortCode } from './short-code.ts'

const F = BigInt(FRACTION)

// --- 2^x - 1

const EIGHTHS = [0, 1, 2, 3, 4, 5, 6, 7] as const
/** 2^(k/8) with the sign of `k`: by three square roots. */
function powerOfTwo(eighths: number): bigint {
  // e^(k ln 2 / 8) by its series
  const argument = (LN2 * BigInt(eighths)) / 8n
  let term = ONE
  let sum = ONE
  for (let k = 1n; term !== 0n && term !== -1n; k++) {
    term = ((term * argument) >> F) / k
    sum += term
  }
  return sum
}
const EXPONENTIAL = {
  // ln2^(k+1) / (k+1)!
  coefficient: (k: number): bigint => LN2 ** BigInt(k + 1) / factorial(k + 1) / ONE ** BigInt(k),
  bound: 3,
  tScale: 3,
  precision: PRECISION,
}
/** 2^|x| - 1 for x above 0, 1 - 2^-|x| below. */
export const x87ShortExponential: HelperFunction = helperFunction('x87ShortExponential', [], 'i32', (e, _, context) => {
  const x = new ShortCode(e, context)
  x.start()
  const register = x.registerAt(zero32)
  const { significand, sign, exponent } = x.operand(register)
  x.giveUpIf(i32.or(i32.ge_s(exponent, zero32), i32.lt_s(exponent, i32.const(-50))))
  const value = shiftRightBy(e, fixed(x, significand), e.let(i64.extend_i32_u(i32.sub(MINUS_ONE, exponent))))
  const eighths = e.let(i32.wrap_i64(i64.shr_u(value.high, i64.const(61))))
  const rest = keep(
    e,
    i64.or(i64.shl(value.high, i64.const(3)), i64.shr_u(value.low, i64.const(61))),
    i64.shl(value.low, i64.const(3)),
  )
  const branch = (alternating: boolean): void => {
    const sum = evaluate(e, rest, { ...EXPONENTIAL, alternating })
    e.if(
      eighths,
      () => {
        const small = shiftRight(e, multiply(e, rest, sum), 3 + sum.scale)
        if (alternating) {
          // (1 - T) + T × small, T = 1 - (1 - T)
          const table = choose(
            e,
            eighths,
            EIGHTHS.map((k) => constant(ONE - powerOfTwo(-k))),
          )
          const off = subtract(e, small, multiply(e, table, small))
          x.setNumber(FIRST, add(e, table, off), MINUS_ONE)
        } else {
          const table = choose(
            e,
            eighths,
            EIGHTHS.map((k) => constant(powerOfTwo(k) - ONE)),
          )
          x.setNumber(FIRST, add(e, table, add(e, small, multiply(e, table, small))), MINUS_ONE)
        }
      },
      () => x.setNumber(FIRST, multiply(e, fixed(x, significand), sum), i32.sub(exponent, i32.const(sum.scale))),
    )
  }
  e.if(
    sign,
    () => branch(true),
    () => branch(false),
  )
  x.decided(FIRST)
  x.finishInexact(x.putRounded(register, FIRST, sign))
})

// --- logarithms

const LOGARITHM = {
  // 2 / ln 2 / (2k + 1)
  coefficient: (k: number): bigint => (2n * ONE * ONE) / LN2 / BigInt(2 * k + 1),
  alternating: false,
  // of (1/128)², and a little more
  bound: 13.9,
  tScale: 12,
  precision: PRECISION,
}
/** log2 (1 + j/32) / 16 */
const LOGARITHMS: readonly Wide[] = Array.from({ length: 33 }, (_, j) =>
  constant(((logarithm(ONE + (ONE * BigInt(j)) / 32n) << F) / LN2) >> 16n),
)
/**
 * `(high, low, exponent)`: log2 of a number of 128 bits, the top one set, whose exponent is given. Its size goes to `FIRST`; -1, or 1 when it is negative. With a near
 * multiple of 1/32, log2 m = log2 a + 2/ln2 × artanh((m - a) / (m + a)).
 */
const logarithm2: HelperFunction = helperFunction(
  'x87ShortLogarithm2',
  ['i64', 'i64', 'i32'],
  'i32',
  (e, args, context) => {
    const x = new ShortCode(e, context)
    const [high, low, exponent] = args as [Expr, Expr, Expr]
    const step = e.let(
      i32.wrap_i64(
        i64.shr_u(i64.add(i64.and(i64.shr_u(high, i64.const(57)), i64.const(63)), i64.const(1)), i64.const(1)),
      ),
    )
    // quarters
    const number = shiftRight(e, { high, low }, 1)
    const near: Wide = {
      high: e.let(i64.shl(i64.extend_i32_u(i32.add(step, i32.const(32))), i64.const(57))),
      low: zero64,
    }
    const difference = subtract(e, number, near)
    const below = e.let(i64.lt_s(difference.high, zero64))
    const numerator = normalise(e, negateIf(e, below, difference))
    e.if(i64.ge_s(numerator.high, zero64), () => e.return(MINUS_ONE), undefined, false)
    const { doubled, ...quotient } = divide(e, numerator, add(e, number, near))
    // quotient × 2^top is below 2^-6
    const top = e.let(i32.sub(doubled, i32.wrap_i64(numerator.count)))
    e.if(i32.lt_s(top, i32.const(-60)), () => e.return(MINUS_ONE), undefined, false)
    const scaled = shiftRightBy(e, quotient, e.let(i64.extend_i32_s(i32.sub(i32.const(-6), top))))
    const sum = evaluate(e, multiply(e, scaled, scaled), LOGARITHM)
    const nearOne = i32.or(
      i32.eqz(i32.or(exponent, step)),
      i32.and(i32.eq(exponent, MINUS_ONE), i32.eq(step, i32.const(32))),
    )
    e.if(nearOne, () => {
      x.setNumber(FIRST, multiply(e, quotient, sum), i32.sub(top, i32.const(1 + sum.scale)))
      e.return(below)
    })
    // in units of 2^-112
    const part = negateIf(e, below, shiftRight(e, multiply(e, scaled, sum), 16 + 6 + sum.scale))
    const whole: Wide = { high: e.let(i64.shl(i64.extend_i32_s(exponent), i64.const(48))), low: zero64 }
    const total = add(e, add(e, whole, choose(e, step, LOGARITHMS)), part)
    const negative = e.let(i64.lt_s(total.high, zero64))
    x.setNumber(FIRST, negateIf(e, negative, total), i32.const(15))
    e.return(negative)
  },
)
/** The logarithm in `FIRST` times y in ST(1), which becomes ST(0). */
function timesY(x: ShortCode, negative: Expr, register: Expr, y: ReturnType<ShortCode['operand']>): void {
  x.giveUpIf(i32.lt_s(negative, zero32))
  const { e } = x
  const exponent = e.let(i32.add(i32.add(x.exponent(FIRST), y.exponent), i32.const(1)))
  x.setNumber(FIRST, multiply(e, x.wide(FIRST), fixed(x, y.significand)), exponent)
  x.decided(FIRST)
  const up = x.putRounded(register, FIRST, e.let(i32.xor(negative, y.sign)))
  popped(x)
  x.finishInexact(up)
}
export const x87ShortLogarithm: HelperFunction = helperFunction('x87ShortLogarithm', [], 'i32', (e, _, context) => {
  const x = new ShortCode(e, context)
  x.start()
  const register = x.registerAt(i32.const(1))
  const operand = x.operand(x.registerAt(zero32))
  const y = x.operand(register)
  x.giveUpIf(operand.sign)
  timesY(x, e.let(x.call(logarithm2, operand.significand, zero64, operand.exponent)), register, y)
})
export const x87ShortLogarithmPlus1: HelperFunction = helperFunction(
  'x87ShortLogarithmPlus1',
  [],
  'i32',
  (e, _, context) => {
    const x = new ShortCode(e, context)
    x.start()
    const register = x.registerAt(i32.const(1))
    const { significand, sign, exponent } = x.operand(x.registerAt(zero32))
    const y = x.operand(register)
    // Below, bits of 1 + x would be lost; and it is positive.
    x.giveUpIf(i32.or(i32.lt_s(exponent, i32.const(-42)), i32.gt_s(exponent, i32.const(20))))
    x.giveUpIf(i32.and(sign, i32.ge_s(exponent, zero32)))
    // in units of 2^-106
    const value = shiftRightBy(e, fixed(x, significand), e.let(i64.extend_i32_u(i32.sub(i32.const(21), exponent))))
    const sum = add(e, { high: i64.const(1n << 42n), low: zero64 }, negateIf(e, sign, value))
    const { count, ...number } = normalise(e, sum)
    const top = i32.sub(i32.const(21), i32.wrap_i64(count))
    timesY(x, e.let(x.call(logarithm2, number.high, number.low, top)), register, y)
  },
)
