// Real numbers as big integers times powers of two, for the transcendental instructions: elementary functions to some 190 bits, and rounding of a result
// to a register.

import { EXPONENT_ADJUSTMENT, EXPONENT_BIAS, EXPONENT_MAX, INTEGER_BIT, ROUND, X87 } from './format.ts'
import type { Extended } from './registers.ts'

/** (-1)^negative × mantissa × 2^exponent */
export interface Real {
  readonly negative: boolean
  readonly mantissa: bigint
  readonly exponent: number
}

/** Fraction bits of the fixed-point numbers below. */
export const FRACTION = 256
const F = BigInt(FRACTION)
export const ONE: bigint = 1n << F
/** Values below 2^-SMALL are treated by the first terms of their series. */
export const SMALL = 64

/** A finite value of a register. */
export function toReal({ significand, se }: Extended): Real {
  return {
    negative: (se & 0x8000) !== 0,
    mantissa: significand,
    exponent: Math.max(se & 0x7fff, 1) - EXPONENT_BIAS - 63,
  }
}
export function bitLength(value: bigint): number {
  return value === 0n
    ? 0
    : value.toString(16).length * 4 - LEADING[Number.parseInt(value.toString(16)[0] as string, 16)]!
}
const LEADING: readonly number[] = [4, 3, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]

/** Exponent of the leading bit: the value is in [2^n, 2^(n+1)). */
export function magnitude(value: Real): number {
  return bitLength(value.mantissa) - 1 + value.exponent
}
/** The absolute value in fixed point, truncated. */
export function toFixed(value: Real): bigint {
  const shift = value.exponent + FRACTION
  return shift >= 0 ? value.mantissa << BigInt(shift) : value.mantissa >> BigInt(-shift)
}
export function fromFixed(value: bigint): Real {
  return { negative: value < 0n, mantissa: value < 0n ? -value : value, exponent: -FRACTION }
}
export function multiply(a: Real, b: Real): Real {
  return { negative: a.negative !== b.negative, mantissa: a.mantissa * b.mantissa, exponent: a.exponent + b.exponent }
}

// --- constants in fixed point

/** arctangent of 1/n */
function inverseTangent(n: bigint): bigint {
  let term = ONE / n
  let sum = 0n
  const square = n * n
  for (let k = 1n; term !== 0n; k += 2n) {
    sum += k & 2n ? -(term / k) : term / k
    term /= square
  }
  return sum
}
/** Machin's formula. */
export const PI: bigint = 4n * (4n * inverseTangent(5n) - inverseTangent(239n))
export const LN2: bigint = 2n * atanhSeries(ONE / 3n)

export function factorial(n: number): bigint {
  return n < 2 ? 1n : BigInt(n) * factorial(n - 1)
}

// --- elementary functions; arguments and results in fixed point

/** Argument at most about 1/5. */
function atanhSeries(z: bigint): bigint {
  const square = (z * z) >> F
  let power = z
  let sum = z
  for (let k = 3n; power !== 0n; k += 2n) {
    power = (power * square) >> F
    sum += power / k
    if (power === -1n) break
  }
  return sum
}
/** Natural logarithm of a number between 1/2 and 2. */
export function logarithm(x: bigint): bigint {
  return 2n * atanhSeries(((x - ONE) << F) / (x + ONE))
}
/** e^x - 1 for |x| < 1 */
export function exponentialMinus1(x: bigint): bigint {
  let term = x
  let sum = x
  for (let k = 2n; term !== 0n && term !== -1n; k++) {
    term = ((term * x) >> F) / k
    sum += term
  }
  return sum
}
export function sine(x: bigint): bigint {
  return alternating(x, (x * x) >> F, 2n)
}
export function cosine(x: bigint): bigint {
  return alternating(ONE, (x * x) >> F, 1n)
}
function alternating(first: bigint, square: bigint, from: bigint): bigint {
  let term = first
  let sum = first
  for (let k = from; term !== 0n && term !== -1n; k += 2n) {
    term = -((term * square) >> F) / (k * (k + 1n))
    sum += term
  }
  return sum
}
const STEPS = 16n
const tangents: bigint[] = []
/** Arctangent of a number between 0 and 1: that of a near sixteenth, and the difference. */
export function arctangent(t: bigint): bigint {
  const index = (t * STEPS + (ONE >> 1n)) >> F
  const near = (index << F) / STEPS
  const difference = ((t - near) << F) / (ONE + ((t * near) >> F))
  return atanSixteenth(Number(index)) + atanSeries(difference)
}
function atanSixteenth(index: number): bigint {
  // By halving: arctan t = 2 arctan(t / (1 + sqrt(1 + t²))), four times.
  return (tangents[index] ??= (() => {
    let t = (BigInt(index) << F) / STEPS
    for (let i = 0; i < 4; i++) t = (t << F) / (ONE + squareRoot((ONE + ((t * t) >> F)) << F))
    return atanSeries(t) << 4n
  })())
}
function atanSeries(z: bigint): bigint {
  const square = (z * z) >> F
  let power = z
  let sum = z
  for (let k = 3n; power !== 0n && power !== -1n; k += 2n) {
    power = -((power * square) >> F)
    sum += power / k
  }
  return sum
}
function squareRoot(value: bigint): bigint {
  let root = 1n << BigInt((bitLength(value) + 1) >> 1)
  for (;;) {
    const next = (root + value / root) >> 1n
    if (next >= root) return root
    root = next
  }
}

// --- rounding

/**
 * A result of a transcendental instruction, always inexact: rounded to 64 bits by the control word's rounding control; `flags` are the exceptions, with C1. An
 * unmasked overflow or underflow adjusts the exponent.
 */
export function roundReal(value: Real, control: number): { value: Extended; flags: number } {
  const rounding = (control >> 10) & 3
  const sign = value.negative ? 0x8000 : 0
  const length = bitLength(value.mantissa)
  let exponent = value.exponent + length - 1 + EXPONENT_BIAS
  // A mantissa with enough bits below the last place; the lowest is sticky.
  const extra = 128
  const spare = length - 64 - extra
  const mantissa = (spare >= 0 ? value.mantissa >> BigInt(spare) : value.mantissa << BigInt(-spare)) | 1n
  const up = (whole: bigint, rest: bigint, bits: number): boolean => {
    if (rounding === ROUND.NEAREST) {
      const half = 1n << BigInt(bits - 1)
      return rest > half || (rest === half && (whole & 1n) === 1n)
    }
    return rest !== 0n && rounding === (value.negative ? ROUND.DOWN : ROUND.UP)
  }
  const cut = (drop: number): [bigint, boolean] => {
    const whole = mantissa >> BigInt(drop)
    const rest = mantissa & ((1n << BigInt(drop)) - 1n)
    return [whole, up(whole, rest, drop)]
  }
  let flags = X87.PE as number
  let [significand, increment] = cut(extra)
  if (exponent <= 0) {
    const tiny = !(exponent === 0 && increment && significand === (1n << 64n) - 1n)
    if (tiny && !(control & X87.UE)) exponent += EXPONENT_ADJUSTMENT
    else {
      const shift = Math.min(1 - exponent, 66)
      ;[significand, increment] = cut(extra + shift)
      exponent = 0
    }
    if (tiny) flags |= X87.UE
  }
  if (increment) {
    significand += 1n
    flags |= X87.C1
    if (significand >> 64n) {
      significand = INTEGER_BIT
      exponent++
    }
  }
  if (exponent === 0 && significand & INTEGER_BIT) exponent = 1
  if (exponent >= EXPONENT_MAX) {
    flags |= X87.OE
    if (control & X87.OE) {
      const toInfinity = rounding === ROUND.NEAREST || rounding === (value.negative ? ROUND.DOWN : ROUND.UP)
      flags = toInfinity ? flags | X87.C1 : flags & ~X87.C1
      exponent = toInfinity ? EXPONENT_MAX : EXPONENT_MAX - 1
      significand = toInfinity ? INTEGER_BIT : (1n << 64n) - 1n
    } else exponent -= EXPONENT_ADJUSTMENT
  }
  return { value: { significand, se: sign | exponent }, flags }
}
