// Addition, subtraction, multiplication and division of double extended values (SDM vol. 1, 8.3.5).
//
// Each helper takes `(register, aSignificand, aSe, bSignificand, bSe)`, stores `a op b` in a register and returns what x87Raise does. Normal operands go
// straight to the calculation; NaNs, infinities, zeros and denormals take the long way round.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import { shiftRightJam, X87Code, zero32, zero64 } from './emit.ts'
import { x87Class, x87Invalid, x87NanOperands, x87Raise } from './exceptions.ts'
import { CLASS, EXPONENT_BIAS, EXPONENT_MAX, INTEGER_BIT, ROUND, X87 } from './format.ts'
import { x87RoundResult } from './round.ts'
import { integerSquareRoot, x87Divide128, x87MultiplyHigh } from './wide.ts'

const OPERANDS = ['i32', 'i64', 'i32', 'i64', 'i32'] as const
/** `(register, aSignificand, aExponent, bSignificand, bExponent, signs)`: normalised, unbounded exponents; bit 15 of `signs` is a's, bit 14 is b's. */
const NUMBERS = ['i32', 'i64', 'i32', 'i64', 'i32', 'i32'] as const

const exponentOf = (se: Expr): Expr => i32.and(se, i32.const(0x7fff))
const signOf = (se: Expr): Expr => i32.and(se, i32.const(0x8000))

/** i32: the value is an ordinary normal number. */
const isNormal = (significand: Expr, se: Expr): Expr =>
  i32.and(
    i32.lt_u(i32.sub(i32.and(se, i32.const(0x17fff)), i32.const(1)), i32.const(EXPONENT_MAX - 1)),
    i64.lt_s(significand, zero64),
  )
const signs = (aSe: Expr, bSe: Expr): Expr => i32.or(signOf(aSe), i32.shr_u(signOf(bSe), i32.const(1)))
const signA = (both: Expr): Expr => i32.and(both, i32.const(0x8000))
const signB = (both: Expr): Expr => i32.shl(i32.and(both, i32.const(0x4000)), i32.const(1))

/** The operands of a long way, and the calculation that it may end in. */
class Operands {
  readonly x: X87Code
  readonly register: Expr
  readonly aSignificand: Expr
  readonly aSe: Expr
  readonly bSignificand: Expr
  readonly bSe: Expr
  readonly a: Expr
  readonly b: Expr

  constructor(x: X87Code, args: readonly Expr[]) {
    this.x = x
    this.register = args[0]!
    this.aSignificand = args[1]!
    this.aSe = args[2]!
    this.bSignificand = args[3]!
    this.bSe = args[4]!
    const nan = x.e.let(x.call(x87NanOperands, this.register, this.aSignificand, this.aSe, this.bSignificand, this.bSe))
    x.e.if(i32.ge_s(nan, zero32), () => x.e.return(nan))
    this.a = x.e.let(x.call(x87Class, this.aSignificand, this.aSe))
    this.b = x.e.let(x.call(x87Class, this.bSignificand, this.bSe))
  }
  aIs(value: number): Expr {
    return i32.eq(this.a, i32.const(value))
  }
  bIs(value: number): Expr {
    return i32.eq(this.b, i32.const(value))
  }
  invalidIf(condition: Expr): void {
    this.x.e.if(condition, () => this.x.e.return(this.x.call(x87Invalid, this.register)))
  }
  /** Raise the denormal-operand exception if one is. */
  denormal(): void {
    const { e } = this.x
    e.if(i32.or(this.aIs(CLASS.DENORMAL), this.bIs(CLASS.DENORMAL)), () => {
      const unmasked = e.let(this.x.call(x87Raise, i32.const(X87.DE)))
      e.if(unmasked, () => e.return(unmasked))
    })
  }
  infinity(sign: Expr): void {
    this.x.finish(this.register, i64.const(INTEGER_BIT), i32.or(sign, i32.const(EXPONENT_MAX)))
  }
  zero(sign: Expr): void {
    this.x.finish(this.register, zero64, sign)
  }
  /** Significand with the integer bit set, and the exponent that belongs to it. */
  static normalised(x: X87Code, significand: Expr, se: Expr): [Expr, Expr] {
    const shift = x.e.let(i64.clz(significand))
    const exponent = x.e.let(exponentOf(se))
    return [
      x.e.let(i64.shl(significand, shift)),
      x.e.let(i32.sub(select(exponent, exponent, i32.const(1)), i32.wrap_i64(shift))),
    ]
  }
  /** Go on with the calculation. */
  calculate(core: HelperFunction, aSe: Expr = this.aSe, bSe: Expr = this.bSe): void {
    const a = Operands.normalised(this.x, this.aSignificand, aSe)
    const b = Operands.normalised(this.x, this.bSignificand, bSe)
    this.x.e.return(this.x.call(core, this.register, ...a, ...b, signs(aSe, bSe)))
  }
}

// --- addition and subtraction

const addNumbers: HelperFunction = helperFunction('x87AddNumbers', NUMBERS, 'i32', (e, args, context) => {
  const x = new X87Code(e, context)
  const [register, , , , , both] = args as [Expr, Expr, Expr, Expr, Expr, Expr]
  const a = x.variable(args[1]!)
  const b = x.variable(args[3]!)
  const exponent = x.variable(args[2]!)
  const smaller = x.variable(args[4]!)
  const sign = x.variable(signA(both))
  const subtract = e.let(i32.ne(signA(both), signB(both)))
  // The larger magnitude first.
  e.if(
    i32.or(
      i32.lt_s(exponent.value, smaller.value),
      i32.and(i32.eq(exponent.value, smaller.value), i64.lt_u(a.value, b.value)),
    ),
    () => {
      a.value = args[3]!
      b.value = args[1]!
      exponent.value = args[4]!
      smaller.value = args[2]!
      sign.value = signB(both)
    },
  )
  const distance = e.let(i64.extend_i32_u(i32.sub(exponent.value, smaller.value)))
  const rest = x.variable(zero64)
  e.if(i32.wrap_i64(distance), () => {
    e.if(
      i64.lt_u(distance, i64.const(64)),
      () => {
        rest.value = i64.shl(b.value, i64.sub(zero64, distance))
        b.value = i64.shr_u(b.value, distance)
      },
      () => {
        rest.value = select(
          i64.lt_u(distance, i64.const(128)),
          select(i64.eq(distance, i64.const(64)), b.value, shiftRightJam(b.value, distance)),
          i64.const(1),
        )
        b.value = zero64
      },
    )
  })
  e.if(
    subtract,
    () => {
      rest.value = i64.sub(zero64, rest.value)
      a.value = i64.sub(i64.sub(a.value, b.value), i64.extend_i32_u(i64.ne(rest.value, zero64)))
      e.if(i64.eqz(a.value), () => {
        e.if(i64.eqz(rest.value), () =>
          x.finish(register, zero64, i32.shl(i32.eq(x.rounding(), i32.const(ROUND.DOWN)), i32.const(15))),
        )
        a.value = rest.value
        rest.value = zero64
        exponent.value = i32.sub(exponent.value, i32.const(64))
      })
      const shift = e.let(i64.clz(a.value))
      e.if(i32.wrap_i64(shift), () => {
        a.value = i64.or(i64.shl(a.value, shift), i64.shr_u(rest.value, i64.sub(zero64, shift)))
        rest.value = i64.shl(rest.value, shift)
        exponent.value = i32.sub(exponent.value, i32.wrap_i64(shift))
      })
    },
    () => {
      const sum = e.let(i64.add(a.value, b.value))
      e.if(
        i64.lt_u(sum, a.value),
        () => {
          rest.value = i64.or(i64.shl(sum, i64.const(63)), shiftRightJam(rest.value, i64.const(1)))
          a.value = i64.or(i64.shr_u(sum, i64.const(1)), i64.const(INTEGER_BIT))
          exponent.value = i32.add(exponent.value, i32.const(1))
        },
        () => (a.value = sum),
      )
    },
  )
  e.return(x.call(x87RoundResult, register, sign.value, exponent.value, a.value, rest.value))
})

/** `(…, negate)`: what to change b's sign by. Only here, because a NaN's sign must not change. */
const addLong: HelperFunction = helperFunction('x87AddLong', [...OPERANDS, 'i32'], 'i32', (e, args, context) => {
  const x = new X87Code(e, context)
  const o = new Operands(x, args)
  const bSe = e.let(i32.xor(o.bSe, args[5]!))
  o.invalidIf(i32.and(i32.and(o.aIs(CLASS.INFINITY), o.bIs(CLASS.INFINITY)), i32.ne(signOf(o.aSe), signOf(bSe))))
  o.denormal()
  e.if(o.aIs(CLASS.INFINITY), () => o.infinity(signOf(o.aSe)))
  e.if(o.bIs(CLASS.INFINITY), () => o.infinity(signOf(bSe)))
  const other = (significand: Expr, se: Expr): void => {
    const [normal, exponent] = Operands.normalised(x, significand, se)
    e.return(x.call(x87RoundResult, o.register, signOf(se), exponent, normal, zero64))
  }
  e.if(o.aIs(CLASS.ZERO), () => {
    e.if(o.bIs(CLASS.ZERO), () =>
      o.zero(
        select(
          i32.eq(signOf(o.aSe), signOf(bSe)),
          signOf(bSe),
          i32.shl(i32.eq(x.rounding(), i32.const(ROUND.DOWN)), i32.const(15)),
        ),
      ),
    )
    other(o.bSignificand, bSe)
  })
  e.if(o.bIs(CLASS.ZERO), () => other(o.aSignificand, o.aSe))
  o.calculate(addNumbers, o.aSe, bSe)
})

function addition(name: string, negate: number): HelperFunction {
  return helperFunction(name, OPERANDS, 'i32', (e, args, context) => {
    const x = new X87Code(e, context)
    const [register, aSignificand, aSe, bSignificand, bSe] = args as [Expr, Expr, Expr, Expr, Expr]
    const b = negate ? e.let(i32.xor(bSe, i32.const(negate))) : bSe
    e.if(i32.and(isNormal(aSignificand, aSe), isNormal(bSignificand, bSe)), () =>
      e.return(
        x.call(addNumbers, register, aSignificand, exponentOf(aSe), bSignificand, exponentOf(bSe), signs(aSe, b)),
      ),
    )
    e.return(x.call(addLong, register, aSignificand, aSe, bSignificand, bSe, i32.const(negate)))
  })
}

export const x87Add: HelperFunction = addition('x87Add', 0)
export const x87Subtract: HelperFunction = addition('x87Subtract', 0x8000)

// --- multiplication and division

/** An operation whose result's sign is the exclusive or of the operands'. */
function product(name: string, core: HelperFunction, long: HelperFunction): HelperFunction {
  return helperFunction(name, OPERANDS, 'i32', (e, args, context) => {
    const x = new X87Code(e, context)
    const [register, aSignificand, aSe, bSignificand, bSe] = args as [Expr, Expr, Expr, Expr, Expr]
    e.if(i32.and(isNormal(aSignificand, aSe), isNormal(bSignificand, bSe)), () =>
      e.return(x.call(core, register, aSignificand, exponentOf(aSe), bSignificand, exponentOf(bSe), signs(aSe, bSe))),
    )
    e.return(x.call(long, register, aSignificand, aSe, bSignificand, bSe))
  })
}

const multiplyNumbers: HelperFunction = helperFunction('x87MultiplyNumbers', NUMBERS, 'i32', (e, args, context) => {
  const x = new X87Code(e, context)
  const [register, a, aExponent, b, bExponent, both] = args as [Expr, Expr, Expr, Expr, Expr, Expr]
  const high = x.variable(x.call(x87MultiplyHigh, a, b))
  const low = x.variable(i64.mul(a, b))
  const exponent = x.variable(i32.sub(i32.add(aExponent, bExponent), i32.const(EXPONENT_BIAS - 1)))
  e.if(i64.ge_s(high.value, zero64), () => {
    high.value = i64.or(i64.shl(high.value, i64.const(1)), i64.shr_u(low.value, i64.const(63)))
    low.value = i64.shl(low.value, i64.const(1))
    exponent.value = i32.sub(exponent.value, i32.const(1))
  })
  e.return(x.call(x87RoundResult, register, i32.xor(signA(both), signB(both)), exponent.value, high.value, low.value))
})

const multiplyLong: HelperFunction = helperFunction('x87MultiplyLong', OPERANDS, 'i32', (e, args, context) => {
  const x = new X87Code(e, context)
  const o = new Operands(x, args)
  const infinite = e.let(i32.or(o.aIs(CLASS.INFINITY), o.bIs(CLASS.INFINITY)))
  const none = e.let(i32.or(o.aIs(CLASS.ZERO), o.bIs(CLASS.ZERO)))
  const sign = e.let(signOf(i32.xor(o.aSe, o.bSe)))
  o.invalidIf(i32.and(infinite, none))
  o.denormal()
  e.if(infinite, () => o.infinity(sign))
  e.if(none, () => o.zero(sign))
  o.calculate(multiplyNumbers)
})

const divideNumbers: HelperFunction = helperFunction('x87DivideNumbers', NUMBERS, 'i32', (e, args, context) => {
  const x = new X87Code(e, context)
  const [register, a, aExponent, b, bExponent, both] = args as [Expr, Expr, Expr, Expr, Expr, Expr]
  // The quotient of the significands is between 1/2 and 2: scale the numerator so that 64 bits come out.
  const less = e.let(i64.lt_u(a, b))
  const high = e.let(select(less, a, i64.shr_u(a, i64.const(1))))
  const low = e.let(select(less, zero64, i64.shl(a, i64.const(63))))
  const quotient = e.let(x.call(x87Divide128, high, low, b))
  const remainder = e.let(i64.sub(low, i64.mul(quotient, b)))
  const complement = e.let(i64.sub(b, remainder))
  const half = select(i64.eq(remainder, complement), i64.const(INTEGER_BIT), i64.const(1))
  const rest = select(
    i64.eqz(remainder),
    zero64,
    select(i64.gt_u(remainder, complement), i64.const(0xc000000000000000n), half),
  )
  const exponent = i32.sub(i32.add(i32.sub(aExponent, bExponent), i32.const(EXPONENT_BIAS)), less)
  e.return(x.call(x87RoundResult, register, i32.xor(signA(both), signB(both)), exponent, quotient, rest))
})

const divideLong: HelperFunction = helperFunction('x87DivideLong', OPERANDS, 'i32', (e, args, context) => {
  const x = new X87Code(e, context)
  const o = new Operands(x, args)
  const sign = e.let(signOf(i32.xor(o.aSe, o.bSe)))
  o.invalidIf(
    i32.or(i32.and(o.aIs(CLASS.INFINITY), o.bIs(CLASS.INFINITY)), i32.and(o.aIs(CLASS.ZERO), o.bIs(CLASS.ZERO))),
  )
  e.if(i32.and(o.bIs(CLASS.ZERO), i32.eqz(o.aIs(CLASS.INFINITY))), () => {
    const unmasked = e.let(x.call(x87Raise, i32.const(X87.ZE)))
    e.if(unmasked, () => e.return(unmasked))
    o.infinity(sign)
  })
  o.denormal()
  e.if(o.aIs(CLASS.INFINITY), () => o.infinity(sign))
  e.if(i32.or(o.aIs(CLASS.ZERO), o.bIs(CLASS.INFINITY)), () => o.zero(sign))
  o.calculate(divideNumbers)
})

export const x87Multiply: HelperFunction = product('x87Multiply', multiplyNumbers, multiplyLong)
export const x87Divide: HelperFunction = product('x87Divide', divideNumbers, divideLong)

// --- square root

/** `(register, significand, se)`. */
export const x87SquareRoot: HelperFunction = helperFunction(
  'x87SquareRoot',
  ['i32', 'i64', 'i32'],
  'i32',
  (e, args, context) => {
    const x = new X87Code(e, context)
    const o = new Operands(x, [...args, i64.const(INTEGER_BIT), i32.const(EXPONENT_BIAS)])
    e.if(o.aIs(CLASS.ZERO), () => o.zero(signOf(o.aSe)))
    o.invalidIf(signOf(o.aSe))
    e.if(o.aIs(CLASS.INFINITY), () => o.infinity(zero32))
    o.denormal()
    const [significand, biased] = Operands.normalised(x, o.aSignificand, o.aSe)
    const exponent = e.let(i32.sub(biased, i32.const(EXPONENT_BIAS)))
    const isOdd = e.let(i32.and(exponent, i32.const(1)))
    const high = e.let(select(isOdd, significand, i64.shr_u(significand, i64.const(1))))
    const low = e.let(select(isOdd, zero64, i64.shl(significand, i64.const(63))))
    const root = e.let(x.call(integerSquareRoot, high, low))
    const remainder = e.let(i64.sub(low, i64.mul(root, root)))
    // The remainder is at most 2 × root: its 65th bit.
    const big = e.let(
      i64.ne(
        i64.sub(
          i64.sub(high, x.call(x87MultiplyHigh, root, root)),
          i64.extend_i32_u(i64.lt_u(low, i64.mul(root, root))),
        ),
        zero64,
      ),
    )
    const above = i32.or(big, i64.gt_u(remainder, root))
    const rest = select(above, i64.const(0xc000000000000000n), i64.extend_i32_u(i64.ne(remainder, zero64)))
    e.return(
      x.call(
        x87RoundResult,
        o.register,
        zero32,
        i32.add(i32.shr_s(exponent, i32.const(1)), i32.const(EXPONENT_BIAS)),
        root,
        rest,
      ),
    )
  },
)
