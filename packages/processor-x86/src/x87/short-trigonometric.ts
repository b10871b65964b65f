// FSIN, FCOS, FSINCOS, FPTAN and FPATAN for ordinary operands (SDM vol. 1, 8.3.7): see short-code.ts.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { type Expr, f64, i32, i64, select } from '../wasm/expression.ts'
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
import { EXPONENT_BIAS, INTEGER_BIT, X87 } from './format.ts'
import { arctangent, factorial, ONE, PI } from './real.ts'
import { FIRST, MINUS_ONE, PRECISION, popped, SECOND, ShortCode, SQUARE } from './short-code.ts'

/** π/2 with 66 bits, times 2^65. */
const QUARTER = 0x3243f6a8885a308d3n
const QUARTER_LOW = BigInt.asUintN(64, QUARTER)

/**
 * `(significand, exponent)` of a size: less the nearest multiple of π/2 (with a π of 66 bits). -1, or the multiple's number in two bits, and in bit 2 whether what is left, in `FIRST`, is
 * negative. Its square is in `SQUARE`.
 */
const reduceAngle: HelperFunction = helperFunction('x87ReduceAngle', ['i64', 'i32'], 'i32', (e, args, context) => {
  const x = new ShortCode(e, context)
  const [significand, exponent] = args as [Expr, Expr]
  e.if(i32.or(i32.gt_s(exponent, i32.const(20)), i32.lt_s(exponent, i32.const(-36))), () => e.return(MINUS_ONE))
  const high = x.variable(significand)
  const low = x.variable(zero64)
  const top = x.variable(exponent)
  const answer = x.variable(zero32)
  e.if(i32.ge_s(exponent, MINUS_ONE), () => {
    // in units of 2^-65
    const shift = e.let(i64.extend_i32_u(i32.add(exponent, i32.const(2))))
    const value: Wide = keep(
      e,
      i64.shr_u(i64.shr_u(significand, i64.const(1)), i64.sub(i64.const(63), shift)),
      i64.shl(significand, shift),
    )
    const size = f64.add(
      f64.mul(f64.convert_i64_u(value.high), f64.const(2 ** 64 / Number(QUARTER))),
      f64.mul(f64.convert_i64_u(value.low), f64.const(1 / Number(QUARTER))),
    )
    const multiple = e.let(i64.trunc_sat_f64_u(f64.add(size, f64.const(0.5))))
    const lower = e.let(i64.mul(multiple, i64.const(QUARTER_LOW & 0xffffffffn)))
    const upper = e.let(i64.mul(multiple, i64.const(QUARTER_LOW >> 32n)))
    const carry = i64.shr_u(i64.add(upper, i64.shr_u(lower, i64.const(32))), i64.const(32))
    const product: Wide = keep(
      e,
      i64.add(carry, i64.mul(multiple, i64.const(QUARTER >> 64n))),
      i64.add(lower, i64.shl(upper, i64.const(32))),
    )
    const difference = subtract(e, value, product)
    const negative = e.let(i64.lt_s(difference.high, zero64))
    const size2 = negateIf(e, negative, difference)
    // The multiple was the nearest one, and something is left.
    const limit = QUARTER >> 1n
    e.if(
      i32.or(
        i64.gt_u(size2.high, i64.const(limit >> 64n)),
        i32.or(
          i32.and(i64.ne(size2.high, zero64), i64.gt_u(size2.low, i64.const(limit))),
          i64.eqz(i64.or(size2.high, size2.low)),
        ),
      ),
      () => e.return(MINUS_ONE),
      undefined,
      false,
    )
    const { count, ...rest } = normalise(e, size2)
    high.value = rest.high
    low.value = rest.low
    top.value = i32.sub(i32.const(127 - 65), i32.wrap_i64(count))
    e.if(i32.lt_s(top.value, i32.const(-36)), () => e.return(MINUS_ONE))
    answer.value = i32.or(i32.and(i32.wrap_i64(multiple), i32.const(3)), i32.shl(negative, i32.const(2)))
  })
  const rest = keep(e, high.value, low.value)
  x.setWide(FIRST, rest)
  x.store(STATE.SCRATCH + FIRST + 16, top.value)
  const fraction = shiftRightBy(e, rest, i64.extend_i32_s(i32.sub(MINUS_ONE, top.value)))
  x.setWide(SQUARE, multiply(e, fraction, fraction))
  e.return(answer.value)
})

/** The square of π/4, and a little more. */
const TRIGONOMETRIC = { alternating: true, bound: 0.69, tScale: 0, precision: PRECISION }
/** `()`: the sine of `FIRST`, to the same place. */
const sineSeries: HelperFunction = helperFunction('x87SineSeries', [], 'void', (e, _, context) => {
  const x = new ShortCode(e, context)
  const sum = evaluate(e, x.wide(SQUARE), { ...TRIGONOMETRIC, coefficient: (k) => ONE / factorial(2 * k + 1) })
  const exponent = e.let(x.exponent(FIRST))
  x.setNumber(FIRST, multiply(e, x.wide(FIRST), sum), exponent)
})
/** `()`: the cosine of `FIRST`, to `SECOND`. */
const cosineSeries: HelperFunction = helperFunction('x87CosineSeries', [], 'void', (e, _, context) => {
  const x = new ShortCode(e, context)
  const sum = evaluate(e, x.wide(SQUARE), { ...TRIGONOMETRIC, coefficient: (k) => ONE / factorial(2 * k) })
  x.setNumber(SECOND, sum, MINUS_ONE)
})

const bit = (value: Expr, n: number): Expr => i32.and(i32.shr_u(value, i32.const(n)), i32.const(1))

/** Of an angle in ST(0): its reduction. */
function angleOf(x: ShortCode): { register: Expr; sign: Expr; quadrant: Expr } {
  x.start()
  const register = x.registerAt(zero32)
  const { significand, sign, exponent } = x.operand(register)
  const quadrant = x.e.let(x.call(reduceAngle, significand, exponent))
  x.giveUpIf(i32.lt_s(quadrant, zero32))
  return { register, sign, quadrant }
}
/** Signs of the sine and the cosine. */
function signsOf(x: ShortCode, sign: Expr, quadrant: Expr): { sine: Expr; cosine: Expr } {
  const left = bit(quadrant, 2)
  const odd = bit(quadrant, 0)
  const second = bit(quadrant, 1)
  return {
    sine: x.e.let(i32.xor(i32.xor(sign, second), i32.and(left, i32.xor(odd, i32.const(1))))),
    cosine: x.e.let(i32.xor(i32.xor(second, odd), i32.and(left, odd))),
  }
}
/** FSIN and FCOS. */
function oneOf(name: string, cosine: boolean): HelperFunction {
  return helperFunction(name, [], 'i32', (e, _, context) => {
    const x = new ShortCode(e, context)
    const { register, sign, quadrant } = angleOf(x)
    const signs = signsOf(x, sign, quadrant)
    const put = (series: HelperFunction, place: number): void => {
      e.do(x.call(series))
      x.decided(place)
      x.finishInexact(x.putRounded(register, place, cosine ? signs.cosine : signs.sine), X87.C2)
    }
    const odd = bit(quadrant, 0)
    e.if(cosine ? i32.eqz(odd) : odd, () => put(cosineSeries, SECOND))
    put(sineSeries, FIRST)
  })
}
/** `()`: as all that follow: 1 when the instruction is done. */
export const x87ShortSine: HelperFunction = oneOf('x87ShortSine', false)
export const x87ShortCosine: HelperFunction = oneOf('x87ShortCosine', true)

/** The register to push to; not this way unless it is empty. */
function roomAbove(x: ShortCode): Expr {
  const above = x.registerAt(i32.const(7))
  x.giveUpIf(i32.eqz(x.isEmpty(above)))
  return above
}
function pushed(x: ShortCode, above: Expr): void {
  x.store(STATE.X87_TOP, i32.shr_u(above, i32.const(4)))
  x.markUsed(above)
}
export const x87ShortSineCosine: HelperFunction = helperFunction('x87ShortSineCosine', [], 'i32', (e, _, context) => {
  const x = new ShortCode(e, context)
  const { register, sign, quadrant } = angleOf(x)
  const above = roomAbove(x)
  const signs = signsOf(x, sign, quadrant)
  e.do(x.call(cosineSeries))
  e.do(x.call(sineSeries))
  x.decided(FIRST)
  x.decided(SECOND)
  const put = (sine: number, cosine: number): void => {
    e.do(x.putRounded(register, sine, signs.sine))
    const up = x.putRounded(above, cosine, signs.cosine)
    pushed(x, above)
    x.finishInexact(up, X87.C2)
  }
  e.if(bit(quadrant, 0), () => put(SECOND, FIRST))
  put(FIRST, SECOND)
})
export const x87ShortTangent: HelperFunction = helperFunction('x87ShortTangent', [], 'i32', (e, _, context) => {
  const x = new ShortCode(e, context)
  const { register, sign, quadrant } = angleOf(x)
  const above = roomAbove(x)
  e.do(x.call(cosineSeries))
  e.do(x.call(sineSeries))
  const odd = e.let(bit(quadrant, 0))
  const sine = x.wide(FIRST)
  const cosine = x.wide(SECOND)
  const either = (then: Expr, otherwise: Expr): Expr => e.let(select(odd, then, otherwise))
  const { doubled, ...quotient } = divide(
    e,
    { high: either(cosine.high, sine.high), low: either(cosine.low, sine.low) },
    { high: either(sine.high, cosine.high), low: either(sine.low, cosine.low) },
  )
  const difference = e.let(i32.sub(x.exponent(FIRST), x.exponent(SECOND)))
  const exponent = i32.sub(i32.add(select(odd, i32.sub(zero32, difference), difference), doubled), i32.const(1))
  x.setNumber(FIRST, quotient, exponent)
  x.decided(FIRST)
  e.do(x.putRounded(register, FIRST, e.let(i32.xor(sign, i32.xor(odd, bit(quadrant, 2))))))
  x.put(above, i64.const(INTEGER_BIT), i32.const(EXPONENT_BIAS))
  pushed(x, above)
  // C1 is of the exact 1.
  x.finishInexact(zero32, X87.C2)
})

// --- arctangent

const ARCTANGENT = {
  coefficient: (k: number): bigint => ONE / BigInt(2 * k + 1),
  alternating: true,
  // of (1/32)², and a little more
  bound: 9.9,
  tScale: 8,
  precision: PRECISION,
}
const ARCTANGENTS: readonly Wide[] = Array.from({ length: 17 }, (_, i) => constant(arctangent((ONE * BigInt(i)) / 16n)))
/** The angle of the point (ST(0), ST(1)). With a/b, the smaller by the larger, near i/16, it is arctan i/16 + arctan((16a - ib) / (16b + ia)). */
export const x87ShortArctangent: HelperFunction = helperFunction('x87ShortArctangent', [], 'i32', (e, _, context) => {
  const code = new ShortCode(e, context)
  code.start()
  const register = code.registerAt(i32.const(1))
  const x = code.operand(code.registerAt(zero32))
  const y = code.operand(register)
  const steep = e.let(
    i32.or(
      i32.gt_s(y.exponent, x.exponent),
      i32.and(i32.eq(y.exponent, x.exponent), i64.gt_u(y.significand, x.significand)),
    ),
  )
  const distance = e.let(i32.sub(x.exponent, y.exponent))
  const apart = e.let(i64.extend_i32_s(select(steep, i32.sub(zero32, distance), distance)))
  code.giveUpIf(i64.gt_s(apart, i64.const(36)))
  const larger = e.let(select(steep, y.significand, x.significand))
  const smaller = e.let(select(steep, x.significand, y.significand))
  const ratio = f64.div(f64.convert_i64_u(i64.shr_u(smaller, apart)), f64.convert_i64_u(larger))
  const sixteenths = e.let(i64.trunc_sat_f64_u(f64.add(f64.mul(ratio, f64.const(16)), f64.const(0.5))))
  const index = e.let(i32.wrap_i64(sixteenths))
  // Where there are sixteenths, the exponents are 5 apart at most. Everything in units of the smaller one's last place.
  const times = (value: Expr, shift: Expr): Wide => {
    const low = e.let(i64.mul(i64.and(value, i64.const(0xffffffffn)), sixteenths))
    const high = e.let(i64.mul(i64.shr_u(value, i64.const(32)), sixteenths))
    const upper = i64.shr_u(i64.add(high, i64.shr_u(low, i64.const(32))), i64.const(32))
    return upwards(keep(e, upper, i64.add(low, i64.shl(high, i64.const(32)))), shift)
  }
  const upwards = (value: Wide, shift: Expr): Wide =>
    keep(
      e,
      i64.or(i64.shl(value.high, shift), i64.shr_u(i64.shr_u(value.low, i64.const(1)), i64.sub(i64.const(63), shift))),
      i64.shl(value.low, shift),
    )
  const one = (value: Expr): Wide => ({ high: zero64, low: value })
  const difference = subtract(e, upwards(one(smaller), i64.const(4)), times(larger, apart))
  const below = e.let(i64.lt_s(difference.high, zero64))
  const numerator = normalise(e, negateIf(e, below, difference))
  code.giveUpIf(i64.ge_s(numerator.high, zero64))
  const denominator = normalise(
    e,
    add(e, upwards(one(larger), e.let(i64.add(apart, i64.const(4)))), times(smaller, zero64)),
  )
  const { doubled, ...quotient } = divide(e, numerator, denominator)
  // quotient × 2^top is below 2^-4
  const top = e.let(i32.add(doubled, i32.wrap_i64(i64.sub(denominator.count, numerator.count))))
  // A square that is next to nothing would make the series 1, which is no fraction.
  code.giveUpIf(i32.lt_s(top, i32.const(-40)))
  const scaled = shiftRightBy(e, quotient, e.let(i64.extend_i32_s(i32.sub(i32.const(-4), top))))
  const sum = evaluate(e, multiply(e, scaled, scaled), ARCTANGENT)
  e.if(
    i32.or(index, i32.or(steep, x.sign)),
    () => {
      const part = negateIf(e, below, shiftRight(e, multiply(e, scaled, sum), 4))
      // quarters
      const first = shiftRight(e, add(e, choose(e, index, ARCTANGENTS), part), 2)
      const back = (condition: Expr, angle: Wide, from: bigint): Wide => {
        const other = add(e, constant(from >> 2n), negateIf(e, i32.const(1), angle))
        return {
          high: e.let(select(condition, other.high, angle.high)),
          low: e.let(select(condition, other.low, angle.low)),
        }
      }
      code.setNumber(FIRST, back(x.sign, back(steep, first, PI >> 1n), PI), i32.const(1))
    },
    () => code.setNumber(FIRST, multiply(e, quotient, sum), i32.sub(top, i32.const(1))),
  )
  code.decided(FIRST)
  const up = code.putRounded(register, FIRST, y.sign)
  popped(code)
  code.finishInexact(up)
})
