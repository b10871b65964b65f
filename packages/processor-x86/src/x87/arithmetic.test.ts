// Addition, subtraction, multiplication, division and square root against exact rational arithmetic, in all precisions and roundings; and the loading of
// values that no arithmetic changes.

import { describe, expect, test } from 'vitest'
import { X87Machine, type X87Value } from '../testing/x87-machine.ts'

const BIAS = 16383n
const MINIMUM = -16382

/** A generator with a fixed seed (xorshift64*). */
class Random {
  #state: bigint
  constructor(seed: bigint) {
    this.#state = seed
  }
  next(): bigint {
    let x = this.#state
    x ^= x >> 12n
    x = BigInt.asUintN(64, x ^ (x << 25n))
    x ^= x >> 27n
    this.#state = x
    return BigInt.asUintN(64, x * 0x2545f4914f6cdd1dn)
  }
  below(n: number): number {
    return Number(this.next() % BigInt(n))
  }
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }
  /** A number: full, sparse or dense significands; exponents near each other, far apart or at the limits. */
  value(): X87Value {
    let significand = this.pick([
      () => this.next(),
      () => 1n << BigInt(this.below(64)),
      () => -1n << BigInt(this.below(64)),
      () => this.next() << 40n,
    ])()
    significand = BigInt.asUintN(64, significand) | (1n << 63n)
    const exponent = this.pick([
      () => 16383 + this.below(5) - 2,
      () => 16383 + this.below(140) - 70,
      () => 1 + this.below(70),
      () => 32766 - this.below(70),
      () => 1 + this.below(32766),
      () => 0,
    ])()
    if (exponent === 0) significand >>= BigInt(1 + this.below(63))
    return { significand, se: exponent | (this.below(2) << 15) }
  }
}

interface Rational {
  numerator: bigint
  denominator: bigint
}
function rational({ significand, se }: X87Value): Rational {
  const exponent = BigInt(Math.max(se & 0x7fff, 1)) - BIAS - 63n
  const numerator = se & 0x8000 ? -significand : significand
  return exponent >= 0n
    ? { numerator: numerator << exponent, denominator: 1n }
    : { numerator, denominator: 1n << -exponent }
}
/** Largest n with 2^n ≤ a/b. */
function floorLog2(a: bigint, b: bigint): number {
  let n = a.toString(2).length - b.toString(2).length
  if (n >= 0 ? a < b << BigInt(n) : a << BigInt(-n) < b) n--
  return n
}
const MODES = ['nearest', 'down', 'up', 'truncate'] as const

/** Round a non-zero value; `square`: the value whose square root it is. Everything is masked. */
function round(
  value: Rational,
  precision: number,
  mode: (typeof MODES)[number],
  square?: Rational,
): { value: X87Value; flags: number } {
  const negative = value.numerator < 0n
  const a = square ? square.numerator : negative ? -value.numerator : value.numerator
  const b = square ? square.denominator : value.denominator
  const quotient = (shift: number): { floor: bigint; compareHalf: number; exact: boolean } => {
    // floor(x × 2^shift), and how the rest compares with one half
    if (square) {
      const scaled = shift >= 0 ? (a << BigInt(2 * shift)) / b : a / (b << BigInt(-2 * shift))
      let root = BigInt(Math.floor(Math.sqrt(Number(scaled >> BigInt(Math.max(0, scaled.toString(2).length - 100))))))
      root <<= BigInt(Math.max(0, scaled.toString(2).length - 100) >> 1)
      for (;;) {
        const next = root === 0n ? scaled : (root + scaled / root) >> 1n
        if (next === root || next === root + 1n) break
        root = next
      }
      while (root * root > scaled) root--
      while ((root + 1n) * (root + 1n) <= scaled) root++
      const squared = shift >= 0 ? [a << BigInt(2 * shift), b] : [a, b << BigInt(-2 * shift)]
      const exact = root * root * squared[1]! === squared[0]
      const half = 2n * root + 1n
      const difference = 4n * squared[0]! - half * half * squared[1]!
      return { floor: root, compareHalf: difference > 0n ? 1 : difference < 0n ? -1 : 0, exact }
    }
    const [n, d] = shift >= 0 ? [a << BigInt(shift), b] : [a, b << BigInt(-shift)]
    const floor = n / d
    const rest = 2n * (n % d)
    return { floor, compareHalf: rest > d ? 1 : rest < d ? -1 : 0, exact: rest === 0n }
  }
  const at = (exponent: number): { digits: bigint; up: boolean; exact: boolean } => {
    const { floor, compareHalf, exact } = quotient(precision - 1 - exponent)
    const up =
      !exact &&
      (mode === 'nearest'
        ? compareHalf > 0 || (compareHalf === 0 && (floor & 1n) === 1n)
        : mode === (negative ? 'down' : 'up'))
    return { digits: up ? floor + 1n : floor, up, exact }
  }
  let exponent = square ? Math.floor(floorLog2(a, b) / 2) : floorLog2(a, b)
  const unbounded = at(exponent)
  const tiny = exponent < MINIMUM && !(exponent === MINIMUM - 1 && unbounded.digits === 1n << BigInt(precision))
  if (exponent < MINIMUM) exponent = MINIMUM
  let { digits, up, exact } = at(exponent)
  let flags = exact ? 0 : 0x20 | (up ? 0x200 : 0) | (tiny ? 0x10 : 0)
  if (digits === 1n << BigInt(precision)) {
    digits >>= 1n
    exponent++
  }
  const sign = negative ? 0x8000 : 0
  if (exponent > 16383) {
    const toInfinity = mode === 'nearest' || mode === (negative ? 'down' : 'up')
    flags = 0x28 | (toInfinity ? 0x200 : 0)
    return toInfinity
      ? { value: { significand: 1n << 63n, se: sign | 0x7fff }, flags }
      : { value: { significand: ((1n << BigInt(precision)) - 1n) << BigInt(64 - precision), se: sign | 0x7ffe }, flags }
  }
  const significand = digits << BigInt(64 - precision)
  return { value: { significand, se: sign | (significand >> 63n ? exponent + 16383 : 0) }, flags }
}

const PRECISIONS = [
  [0, 24],
  [2, 53],
  [3, 64],
] as const
/** ModRM after D8 for ST(0) op ST(1). */
const OPERATIONS = {
  add: 'D8C1',
  subtract: 'D8E1',
  multiply: 'D8C9',
  divide: 'D8F1',
  root: 'D9FA',
} as const

function exactResult(operation: keyof typeof OPERATIONS, x: Rational, y: Rational): Rational {
  switch (operation) {
    case 'add':
      return {
        numerator: x.numerator * y.denominator + y.numerator * x.denominator,
        denominator: x.denominator * y.denominator,
      }
    case 'subtract':
      return {
        numerator: x.numerator * y.denominator - y.numerator * x.denominator,
        denominator: x.denominator * y.denominator,
      }
    case 'multiply':
      return { numerator: x.numerator * y.numerator, denominator: x.denominator * y.denominator }
    case 'divide': {
      const sign = y.numerator < 0n ? -1n : 1n
      return { numerator: x.numerator * y.denominator * sign, denominator: x.denominator * y.numerator * sign }
    }
    default:
      return x
  }
}

describe('arithmetic is that of exact numbers, rounded once', () => {
  test.each(Object.keys(OPERATIONS) as (keyof typeof OPERATIONS)[])('%s', (operation) => {
    const machine = new X87Machine()
    const random = new Random(0x9e3779b97f4a7c15n + BigInt(operation.length * 7919))
    for (let i = 0; i < 3000; i++) {
      const a = random.value()
      const b = random.value()
      if (operation === 'root') a.se &= 0x7fff
      const [control, precision] = random.pick(PRECISIONS)
      const mode = random.below(4)
      machine.reset(0x7f | (control << 8) | (mode << 10))
      machine.stack(a, b)
      expect(machine.run(OPERATIONS[operation]).exception).toBeNull()
      const exact = exactResult(operation, rational(a), rational(b))
      const denormal = (a.se & 0x7fff) === 0 || (operation !== 'root' && (b.se & 0x7fff) === 0) ? 2 : 0
      const context = `${operation} ${a.se.toString(16)}:${a.significand.toString(16)} ${b.se.toString(16)}:${b.significand.toString(16)} precision ${precision} ${MODES[mode]}`
      if (exact.numerator === 0n) {
        expect(machine.st(0), context).toEqual({ significand: 0n, se: MODES[mode] === 'down' ? 0x8000 : 0 })
        continue
      }
      const expected = round(exact, precision, MODES[mode]!, operation === 'root' ? exact : undefined)
      expect(machine.st(0), context).toEqual(expected.value)
      expect(machine.status, context).toBe(expected.flags | denormal)
    }
  })

  test('an unmasked underflow or overflow changes the exponent by 24,576', () => {
    const machine = new X87Machine()
    machine.reset(0x37f & ~0x10)
    machine.stack({ significand: 3n << 62n, se: 1 }, { significand: 1n << 63n, se: 0x3ffe })
    machine.run('D8C9')
    expect(machine.st(0)).toEqual({ significand: 3n << 62n, se: 24576 })
    expect(machine.status).toBe(0x8090)
    machine.reset(0x37f & ~8)
    machine.stack({ significand: 3n << 62n, se: 0x7ffe }, { significand: 1n << 63n, se: 0x4000 })
    machine.run('D8C9')
    expect(machine.st(0)).toEqual({ significand: 3n << 62n, se: 0x7fff - 24576 })
    expect(machine.status).toBe(0x8088)
  })

  test('63-bit integers and doubles survive the way through the registers', () => {
    const machine = new X87Machine()
    const random = new Random(77n)
    for (let i = 0; i < 500; i++) {
      const bits = random.next()
      const view = new DataView(new ArrayBuffer(8))
      view.setBigUint64(0, bits, true)
      const isNan = (bits & 0x7ff0000000000000n) === 0x7ff0000000000000n
      machine.reset()
      machine.write(0, new Uint8Array(view.buffer))
      machine.run('DF2F', 'DF7F08') // FILD m64, FISTP m64
      expect(machine.read(8, 8).getBigUint64(0, true)).toBe(bits)
      if (isNan) continue
      machine.run('DD07', 'DD5F08') // FLD m64, FSTP m64
      expect(machine.read(8, 8).getBigUint64(0, true)).toBe(bits)
    }
  })
})
