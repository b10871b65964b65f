// The short ways of the transcendental instructions: each gives what the long way gives, in every rounding direction, and its number before rounding is far nearer to the exact one
// than what the decision allows for.

import { describe, expect, test } from 'vitest'
import { STATE } from '../state-layout.ts'
import { X87Machine, type X87Value } from '../testing/x87-machine.ts'
import { bitLength, multiply, type Real, toReal } from './real.ts'
import { ERROR } from './short-code.ts'
import { angle, exponential2Minus1, logarithm2, logarithm2Plus1, sineCosine, tangent } from './transcendental.ts'

/** xorshift64 with a fixed seed. */
class Random {
  #state = 88172645463325252n
  next(): bigint {
    let x = this.#state
    x ^= BigInt.asUintN(64, x << 13n)
    x ^= x >> 7n
    x ^= BigInt.asUintN(64, x << 17n)
    this.#state = x
    return x
  }
  below(n: number): number {
    return Number(this.next() % BigInt(n))
  }
  /** Full, sparse and dense significands; the exponent of the top bit from `least` to `most`. */
  value(least: number, most: number, signs = 0x8000): X87Value {
    const choices = [
      () => this.next(),
      () => this.next() << 40n,
      () => 1n << BigInt(this.below(64)),
      () => -1n << BigInt(this.below(64)),
    ]
    const significand = BigInt.asUintN(64, (choices[this.below(4)] as () => bigint)()) | (1n << 63n)
    const se = 16383 + least + this.below(most - least + 1)
    return { significand, se: se | (this.below(2) ? signs : 0) }
  }
  /** Near 1, on both sides. */
  nearOne(): X87Value {
    const distance = this.next() >> BigInt(2 + this.below(45))
    return this.below(2)
      ? { significand: (1n << 63n) + distance, se: 16383 }
      : { significand: (1n << 64n) - 1n - distance, se: 16382 }
  }
}

const PLACE = { first: STATE.SCRATCH, second: STATE.SCRATCH + 24 } as const
interface Case {
  readonly name: string
  readonly code: string
  readonly operands: (random: Random) => X87Value[]
  readonly exact: (x: Real, y: Real) => Real
  readonly place?: number
}
const CASES: readonly Case[] = [
  { name: 'FSIN', code: 'D9FE', operands: (r) => [r.value(-36, 21)], exact: (x) => sineCosine(x).sine },
  {
    name: 'FCOS',
    code: 'D9FF',
    operands: (r) => [r.value(-36, 21)],
    exact: (x) => sineCosine(x).cosine,
    place: PLACE.second,
  },
  { name: 'FSINCOS', code: 'D9FB', operands: (r) => [r.value(-8, 5)], exact: (x) => sineCosine(x).sine },
  { name: 'FPTAN', code: 'D9F2', operands: (r) => [r.value(-36, 21)], exact: tangent },
  { name: 'F2XM1', code: 'D9F0', operands: (r) => [r.value(-51, -1)], exact: exponential2Minus1 },
  { name: 'F2XM1 of greater ones', code: 'D9F0', operands: (r) => [r.value(-4, -1)], exact: exponential2Minus1 },
  {
    name: 'FYL2X',
    code: 'D9F1',
    operands: (r) => [r.value(-16000, 16000, 0), r.value(-90, 90)],
    exact: (x, y) => multiply(y, logarithm2(x)),
  },
  {
    name: 'FYL2X near 1',
    code: 'D9F1',
    operands: (r) => [r.nearOne(), r.value(-1, 1)],
    exact: (x, y) => multiply(y, logarithm2(x)),
  },
  {
    name: 'FYL2XP1',
    code: 'D9F9',
    operands: (r) => [r.value(-43, 21, 0), r.value(-1, 1)],
    exact: (x, y) => multiply(y, logarithm2Plus1(x)),
  },
  {
    name: 'FYL2XP1 below 0',
    code: 'D9F9',
    operands: (r) => [{ ...r.value(0, 0), se: 0x8000 | (16382 - r.below(43)) }, r.value(-1, 1)],
    exact: (x, y) => multiply(y, logarithm2Plus1(x)),
  },
  {
    name: 'FPATAN',
    code: 'D9F3',
    operands: (r) => [r.value(-20, 20), r.value(-20, 20)],
    exact: (x, y) => angle(y, x),
  },
  {
    name: 'FPATAN of near ones',
    code: 'D9F3',
    operands: (r) => [r.value(-2, 2), r.value(-2, 2)],
    exact: (x, y) => angle(y, x),
  },
]
const INEXACT = 0x20
/** Exception flags and their summary. */
const SUMMARY = 0x8080

describe.each(CASES)('$name', ({ code, operands, exact, place = PLACE.first }) => {
  const machine = new X87Machine()
  const { cpu } = machine
  const outcome = (control: number, values: readonly X87Value[]) => {
    machine.reset(control)
    machine.stack(...values.map((value) => ({ ...value })))
    expect(machine.run(code).exception).toBeNull()
    return {
      st0: machine.st(0),
      st1: machine.st(1),
      top: cpu.get32(STATE.X87_TOP),
      tags: cpu.get32(STATE.X87_TAGS),
      status: machine.status & ~SUMMARY,
    }
  }
  test('gives what the long way gives', () => {
    const random = new Random()
    for (let i = 0; i < 250; i++) {
      const values = operands(random)
      const control = 0x37f | (random.below(4) << 10)
      // An inexact result that is an exception is not for the short way.
      const long = outcome(control & ~INEXACT, values)
      expect(outcome(control, values)).toEqual(long)
    }
  })
  test('is nearer than is needed', () => {
    const random = new Random()
    let compared = 0
    for (let i = 0; i < 250; i++) {
      const values = operands(random)
      cpu.set64(place + 8, 0n)
      outcome(0x37f, values)
      const low = cpu.get64(place + 8)
      // Not this way, or the other function of the angle is meant.
      if (low === 0n) continue
      const number = (cpu.get64(place) << 64n) | low
      const { mantissa } = exact(toReal(values[0] as X87Value), toReal(values[1] ?? (values[0] as X87Value)))
      const spare = bitLength(mantissa) - 128
      const right = spare > 0 ? mantissa >> BigInt(spare) : mantissa << BigInt(-spare)
      const difference = number > right ? number - right : right - number
      if (difference >> 100n !== 0n && code.match(/D9F[BEF]/)) continue
      expect(difference).toBeLessThan(ERROR >> 5n)
      compared++
    }
    expect(compared).toBeGreaterThan(60)
  })
})
