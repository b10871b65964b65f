// The big-integer functions behind the transcendental instructions: known digits, identities that hold to nearly all bits, and agreement with JavaScript's
// own functions to their precision.

import { describe, expect, test } from 'vitest'
import {
  arctangent,
  bitLength,
  cosine,
  exponentialMinus1,
  FRACTION,
  LN2,
  logarithm,
  ONE,
  PI,
  roundReal,
  sine,
} from './real.ts'
import { angle, logarithm2, logarithm2Plus1, sineCosine, tangent } from './transcendental.ts'

const F = BigInt(FRACTION)
const toNumber = (fixed: bigint): number => Number(fixed >> (F - 100n)) / 2 ** 100
const fromNumber = (value: number): bigint => BigInt(Math.round(value * 2 ** 52)) << (F - 52n)
const near = (a: bigint, b: bigint, bits: number): boolean => {
  const difference = a > b ? a - b : b - a
  return difference >> (F - BigInt(bits)) === 0n
}
const ARGUMENTS = [0.001, 0.1, 0.25, 0.3333, 0.5, 0.62, 0.75, 0.999]

describe('fixed-point functions', () => {
  test('π and ln 2 have their digits', () => {
    // 60 decimal digits
    expect((PI * 10n ** 60n) >> F).toBe(3141592653589793238462643383279502884197169399375105820974944n)
    expect((LN2 * 10n ** 60n) >> F).toBe(693147180559945309417232121458176568075500134360255254120680n)
  })
  test.each(ARGUMENTS)('identities at %f', (argument) => {
    const x = fromNumber(argument)
    const s = sine(x)
    const c = cosine(x)
    expect(near((s * s + c * c) >> F, ONE, 245)).toBe(true)
    expect(near(arctangent((s << F) / c < ONE ? (s << F) / c : ONE), (s << F) / c < ONE ? x : PI >> 2n, 240)).toBe(true)
    const e = exponentialMinus1(x)
    // ln(e^x) = x, with e^x halved where it leaves the range of the series
    const halved = ONE + e > 2n * ONE ? 1n : 0n
    expect(near(logarithm((ONE + e) >> halved) + halved * LN2, x, 240)).toBe(true)
  })
  test.each(ARGUMENTS)('as Math at %f', (argument) => {
    const x = fromNumber(argument)
    expect(toNumber(sine(x))).toBeCloseTo(Math.sin(argument), 14)
    expect(toNumber(cosine(x))).toBeCloseTo(Math.cos(argument), 14)
    expect(toNumber(arctangent(x))).toBeCloseTo(Math.atan(argument), 14)
    expect(toNumber(exponentialMinus1(x))).toBeCloseTo(Math.expm1(argument), 14)
    expect(toNumber(logarithm(ONE + x))).toBeCloseTo(Math.log1p(argument), 14)
  })
})

describe('results before rounding', () => {
  const number = (mantissa: bigint, exponent: number, negative = false) => ({ negative, mantissa, exponent })
  const value = ({
    negative,
    mantissa,
    exponent,
  }: {
    negative: boolean
    mantissa: bigint
    exponent: number
  }): number => {
    const spare = Math.max(0, bitLength(mantissa) - 60)
    return (negative ? -1 : 1) * Number(mantissa >> BigInt(spare)) * 2 ** (exponent + spare)
  }
  test('logarithms on both sides of 1 and near it', () => {
    expect(value(logarithm2(number(3n, 0)))).toBeCloseTo(Math.log2(3), 14)
    expect(value(logarithm2(number(3n, -10)))).toBeCloseTo(Math.log2(3) - 10, 14)
    const tiny = value(logarithm2Plus1(number(1n, -80)))
    expect(tiny / (2 ** -80 * Math.LOG2E)).toBeCloseTo(1, 14)
    expect(value(logarithm2Plus1(number(3n, 2)))).toBeCloseTo(Math.log2(13), 14)
  })
  test('angles in all quadrants', () => {
    for (const [y, x] of [
      [1, 3],
      [3, 1],
      [3, -1],
      [1, -3],
      [-1, -3],
      [-3, -1],
      [-3, 1],
      [-1, 3],
      [1, 1],
    ] as const) {
      const real = (n: number) => number(BigInt(Math.abs(n)), 0, n < 0)
      expect(value(angle(real(y), real(x)))).toBeCloseTo(Math.atan2(y, x), 14)
    }
    expect(value(angle(number(1n, -200), number(1n, 0))) / 2 ** -200).toBeCloseTo(1, 14)
    expect(value(angle(number(1n, -200), number(1n, 0, true)))).toBeCloseTo(Math.PI, 14)
  })
  test('reduction of large angles uses 66 bits of π', () => {
    // FLDPI's value is π66 + 2^-64
    const { sine: s, cosine: c } = sineCosine(number(0xc90fdaa22168c235n, -62))
    expect(value(s)).toBe(-(2 ** -64))
    expect(value(c)).toBeCloseTo(-1, 15)
    expect(value(tangent(number(1n, 0)))).toBeCloseTo(Math.tan(1), 14)
    expect(value(tangent(number(2n, 0, true)))).toBeCloseTo(Math.tan(-2), 14)
  })
  test('rounding: directions, carries, limits', () => {
    const third = { negative: false, mantissa: (1n << 200n) / 3n, exponent: -200 }
    expect(roundReal(third, 0x37f)).toEqual({ value: { significand: 0xaaaaaaaaaaaaaaabn, se: 0x3ffd }, flags: 0x220 })
    expect(roundReal(third, 0x77f)).toEqual({ value: { significand: 0xaaaaaaaaaaaaaaaan, se: 0x3ffd }, flags: 0x20 })
    expect(roundReal({ ...third, negative: true }, 0x77f).value).toEqual({
      significand: 0xaaaaaaaaaaaaaaabn,
      se: 0xbffd,
    })
    const belowOne = { negative: false, mantissa: (1n << 150n) - 1n, exponent: -150 }
    expect(roundReal(belowOne, 0x37f)).toEqual({ value: { significand: 1n << 63n, se: 0x3fff }, flags: 0x220 })
    expect(roundReal({ ...third, exponent: 17000 }, 0x37f)).toEqual({
      value: { significand: 1n << 63n, se: 0x7fff },
      flags: 0x228,
    })
    expect(roundReal({ ...third, exponent: 17000 }, 0xf7f)).toEqual({
      value: { significand: (1n << 64n) - 1n, se: 0x7ffe },
      flags: 0x28,
    })
    expect(roundReal({ ...third, exponent: -17000 }, 0x37f)).toEqual({ value: { significand: 0n, se: 0 }, flags: 0x30 })
    expect(roundReal({ ...third, exponent: -17000 }, 0xb7f)).toEqual({
      value: { significand: 1n, se: 0 },
      flags: 0x230,
    })
    // the same underflow unmasked
    expect(roundReal({ ...third, exponent: -16640 }, 0x36f).value.se).toBe(24576 + 16383 - 16640 + 198)
  })
})
