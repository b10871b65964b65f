// What the transcendental instructions compute (SDM vol. 1, 8.3.7, 8.3.10): for operands that are numbers, the result before rounding.
//
// Trigonometric arguments are reduced with a π of 66 bits, as processors do.

import {
  arctangent,
  cosine,
  exponentialMinus1,
  FRACTION,
  fromFixed,
  LN2,
  logarithm,
  magnitude,
  multiply,
  ONE,
  PI,
  type Real,
  SMALL,
  sine,
  toFixed,
} from './real.ts'

const F = BigInt(FRACTION)
/** π with 66 bits, times 2^64. */
const PI66 = 0x3243f6a8885a308d3n

const signed = (value: Real): bigint => (value.negative ? -toFixed(value) : toFixed(value))
const real = (value: bigint): Real => fromFixed(value)
/** `value` × (1 + correction), the correction in fixed point. */
const corrected = (value: Real, correction: bigint): Real => multiply(value, real(ONE + correction))

/** 2^x - 1 for 0 < |x| ≤ 1. */
export function exponential2Minus1(x: Real): Real {
  if (magnitude(x) < -SMALL) {
    const y = multiply(x, real(LN2))
    return corrected(y, signed(y) >> 1n)
  }
  return real(exponentialMinus1((signed(x) * LN2) >> F))
}

/** log2 x for x > 0. */
export function logarithm2(x: Real): Real {
  let exponent = magnitude(x)
  // between 1/√2 and √2, about
  let scaled = toFixed({ ...x, exponent: x.exponent - exponent })
  if (scaled > (ONE * 3n) / 2n) {
    scaled >>= 1n
    exponent++
  }
  return real((BigInt(exponent) << F) + (logarithm(scaled) << F) / LN2)
}

/** log2(1 + x) for x > -1, x ≠ 0. */
export function logarithm2Plus1(x: Real): Real {
  const size = magnitude(x)
  if (size < -SMALL) {
    const quotient = multiply(x, real((ONE << F) / LN2))
    const argument = signed(x)
    return corrected(quotient, -(argument >> 1n) + (argument * argument) / (3n * ONE))
  }
  if (size >= FRACTION - 64) return logarithm2(x)
  return logarithm2(real(ONE + signed(x)))
}

/** The angle of the point (x, y), neither of which is 0. `infinite` coordinates are given as 1 against 0. */
export function angle(y: Real, x: Real): Real {
  const negative = y.negative
  const distance = magnitude(y) - magnitude(x)
  if (distance < -SMALL - 1 && !x.negative) {
    // y / x, less a little
    const bits = 256
    const quotient: Real = {
      negative,
      mantissa: (y.mantissa << BigInt(bits)) / x.mantissa,
      exponent: y.exponent - x.exponent - bits,
    }
    return corrected(quotient, -(toFixed(multiply(quotient, quotient)) / 3n) - 1n)
  }
  const steep = compare(y, x) > 0
  const [small, large] = steep ? [x, y] : [y, x]
  const t = ratio(small, large)
  let value = arctangent(t)
  if (steep) value = (PI >> 1n) - value
  if (x.negative) value = PI - value
  return { ...real(value), negative }
}
function compare(a: Real, b: Real): number {
  const difference = magnitude(a) - magnitude(b)
  if (difference !== 0) return difference
  const shift = BigInt(Math.abs(a.exponent - b.exponent))
  const [left, right] = a.exponent >= b.exponent ? [a.mantissa << shift, b.mantissa] : [a.mantissa, b.mantissa << shift]
  return left > right ? 1 : left < right ? -1 : 0
}
/** small / large in fixed point. */
function ratio(small: Real, large: Real): bigint {
  const shift = small.exponent - large.exponent + FRACTION
  return shift >= 0
    ? (small.mantissa << BigInt(shift)) / large.mantissa
    : shift < -200
      ? 0n
      : (small.mantissa >> BigInt(-shift)) / large.mantissa
}

/** An angle less the nearest multiple of π/2: the rest in fixed point, and the multiple's number. */
function reduce(x: Real): { rest: bigint; quadrant: number } {
  const scale = Math.max(65, -x.exponent)
  const value = x.mantissa << BigInt(x.exponent + scale)
  const quarter = PI66 << BigInt(scale - 65)
  const multiple = (value * 2n + quarter) / (quarter * 2n)
  const difference = value - multiple * quarter
  const rest = (difference << F) >> BigInt(scale)
  return x.negative ? { rest: -rest, quadrant: Number(-multiple & 3n) } : { rest, quadrant: Number(multiple & 3n) }
}

/** Sine and cosine of 0 < |x| < 2^63. */
export function sineCosine(x: Real): { sine: Real; cosine: Real } {
  if (magnitude(x) < -SMALL) {
    const square = toFixed(multiply(x, x))
    return { sine: corrected(x, -(square / 6n) - 1n), cosine: real(ONE - (square >> 1n) - 1n) }
  }
  const { rest, quadrant } = reduce(x)
  const s = sine(rest)
  const c = cosine(rest)
  const [sin, cos] = quadrant & 1 ? [c, -s] : [s, c]
  return quadrant & 2 ? { sine: real(-sin), cosine: real(-cos) } : { sine: real(sin), cosine: real(cos) }
}
export function tangent(x: Real): Real {
  if (magnitude(x) < -SMALL) return corrected(x, toFixed(multiply(x, x)) / 3n + 1n)
  const { rest, quadrant } = reduce(x)
  const s = sine(rest)
  const c = cosine(rest)
  const [above, below] = quadrant & 1 ? [-c, s] : [s, c]
  const negative = above < 0n !== below < 0n
  const top = above < 0n ? -above : above
  const bottom = below < 0n ? -below : below
  return { negative, mantissa: (top << F) / bottom, exponent: -FRACTION }
}
