// Conversions between double extended values and what lies in memory: single, double, integers, packed BCD (SDM vol. 1, 4.2, 4.7, 8.3.3, table 8-10).

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import { shiftRightJam, X87Code, zero32, zero64 } from './emit.ts'
import { x87Class } from './exceptions.ts'
import { CLASS, EXPONENT_BIAS, INTEGER_BIT, ROUND, WAS_DENORMAL, X87 } from './format.ts'
import { roundsUp } from './round.ts'

interface Binary {
  readonly name: string
  /** Bits of the fraction, of the exponent. */
  readonly fraction: number
  readonly exponent: number
}
const SINGLE: Binary = { name: 'Single', fraction: 23, exponent: 8 }
const DOUBLE: Binary = { name: 'Double', fraction: 52, exponent: 11 }

// --- into the format: `(bits)`; exact, NaNs unchanged

function significandFrom({ name, fraction, exponent }: Binary): HelperFunction {
  return helperFunction(`x87SignificandFrom${name}`, ['i64'], 'i64', (e, [bits]) => {
    const mantissa = e.let(i64.shl(bits!, i64.const(63 - fraction)))
    const field = i64.and(i64.shr_u(bits!, i64.const(fraction)), i64.const((1 << exponent) - 1))
    e.if(i32.wrap_i64(field), () => e.return(i64.or(mantissa, i64.const(INTEGER_BIT))))
    const significand = e.let(i64.and(mantissa, i64.const(INTEGER_BIT - 1n)))
    e.return(i64.shl(significand, i64.clz(significand)))
  })
}
function signExponentFrom({ name, fraction, exponent }: Binary): HelperFunction {
  const mask = (1 << exponent) - 1
  const bias = mask >> 1
  return helperFunction(`x87SignExponentFrom${name}`, ['i64'], 'i32', (e, [bits]) => {
    const sign = e.let(i32.shl(i32.wrap_i64(i64.shr_u(bits!, i64.const(fraction + exponent))), i32.const(15)))
    const field = e.let(i32.and(i32.wrap_i64(i64.shr_u(bits!, i64.const(fraction))), i32.const(mask)))
    e.if(i32.lt_u(i32.sub(field, i32.const(1)), i32.const(mask - 1)), () =>
      e.return(i32.or(sign, i32.add(field, i32.const(EXPONENT_BIAS - bias)))),
    )
    e.if(field, () => e.return(i32.or(sign, i32.const(0x7fff))))
    const significand = e.let(i64.shl(bits!, i64.const(64 - fraction)))
    e.if(i64.eqz(significand), () => e.return(sign))
    e.return(
      i32.or(
        i32.or(sign, i32.const(WAS_DENORMAL)),
        i32.sub(i32.const(EXPONENT_BIAS - bias), i32.wrap_i64(i64.clz(significand))),
      ),
    )
  })
}
export const x87SignificandFromSingle: HelperFunction = significandFrom(SINGLE)
export const x87SignificandFromDouble: HelperFunction = significandFrom(DOUBLE)
export const x87SignExponentFromSingle: HelperFunction = signExponentFrom(SINGLE)
export const x87SignExponentFromDouble: HelperFunction = signExponentFrom(DOUBLE)

const magnitude = (value: Expr): Expr => select(i64.lt_s(value, zero64), i64.sub(zero64, value), value)

/** `(value)`: a signed integer. */
export const x87SignificandFromInteger: HelperFunction = helperFunction(
  'x87SignificandFromInteger',
  ['i64'],
  'i64',
  (e, [value]) => {
    const size = e.let(magnitude(value!))
    e.return(i64.shl(size, i64.clz(size)))
  },
)
export const x87SignExponentFromInteger: HelperFunction = helperFunction(
  'x87SignExponentFromInteger',
  ['i64'],
  'i32',
  (e, [value]) => {
    e.if(i64.eqz(value!), () => e.return(zero32))
    const exponent = i32.sub(i32.const(EXPONENT_BIAS + 63), i32.wrap_i64(i64.clz(magnitude(value!))))
    e.return(i32.or(i32.shl(i64.lt_s(value!, zero64), i32.const(15)), exponent))
  },
)

// --- out of the format. The exceptions go to STATE.X87_FLAGS: they are raised when the store has succeeded.

/** `(significand, se)`: bits of the shorter format. */
function narrow({ name, fraction, exponent }: Binary): HelperFunction {
  const precision = fraction + 1
  const mask = (1 << exponent) - 1
  const bias = mask >> 1
  const infinity = BigInt(mask) << BigInt(fraction)
  return helperFunction(`x87To${name}`, ['i64', 'i32'], 'i64', (e, [significand, se], context) => {
    const x = new X87Code(e, context)
    const flags = x.variable(zero32)
    const give = (bits: Expr): void => {
      x.store(STATE.X87_FLAGS, flags.value)
      e.return(bits)
    }
    const sign16 = e.let(i32.and(se!, i32.const(0x8000)))
    const sign = e.let(i64.shl(i64.extend_i32_u(sign16), i64.const(fraction + exponent - 15)))
    const drop = i64.const(64 - precision)
    const exp = x.variable(i32.sub(i32.and(se!, i32.const(0x7fff)), i32.const(EXPONENT_BIAS - bias)))
    const sig = x.variable(i64.shr_u(significand!, drop))
    const rest = x.variable(i64.shl(significand!, i64.const(precision)))
    // The short way: normal, and exact.
    const inRange = i32.lt_u(i32.sub(exp.value, i32.const(1)), i32.const(mask - 1))
    const pack = (): Expr =>
      i64.add(i64.or(sign, sig.value), i64.shl(i64.extend_i32_s(i32.sub(exp.value, i32.const(1))), i64.const(fraction)))
    e.if(i32.and(i32.and(inRange, i64.eqz(rest.value)), i64.lt_s(significand!, zero64)), () => give(pack()))

    const kind = e.let(x.call(x87Class, significand!, se!))
    e.if(i32.eqz(kind), () => give(sign))
    e.if(i32.eq(kind, i32.const(CLASS.INFINITY)), () => give(i64.or(sign, i64.const(infinity))))
    e.if(i32.ge_u(kind, i32.const(CLASS.QUIET)), () => {
      e.if(i32.ne(kind, i32.const(CLASS.QUIET)), () => (flags.value = i32.const(X87.IE)))
      e.if(i32.eq(kind, i32.const(CLASS.UNSUPPORTED)), () =>
        give(i64.const((1n << BigInt(fraction + exponent)) | infinity | (1n << BigInt(fraction - 1)))),
      )
      give(i64.or(i64.or(sign, i64.const(infinity | (1n << BigInt(fraction - 1)))), sig.value))
    })

    const rounding = e.let(x.rounding())
    const up = (): Expr =>
      i32.ne(roundsUp(rounding, sign16, i32.and(i32.wrap_i64(sig.value), i32.const(1)), rest.value), zero32)
    const tiny = x.variable(zero32)
    const denormal = e.let(i32.le_s(exp.value, zero32))
    e.if(denormal, () => {
      tiny.value = i32.eqz(
        i32.and(i32.and(i32.eqz(exp.value), up()), i64.eq(sig.value, i64.const((1n << BigInt(precision)) - 1n))),
      )
      e.if(i32.and(tiny.value, i32.eqz(i32.and(x.control(), i32.const(X87.UE)))), () => {
        flags.value = i32.const(X87.UE)
        give(zero64)
      })
      const shift = e.let(i64.extend_i32_u(i32.sub(i32.const(1), exp.value)))
      e.if(
        i64.lt_u(shift, i64.const(64)),
        () => {
          rest.value = i64.or(i64.shl(sig.value, i64.sub(zero64, shift)), shiftRightJam(rest.value, shift))
          sig.value = i64.shr_u(sig.value, shift)
        },
        () => {
          rest.value = i64.const(1)
          sig.value = zero64
        },
      )
      exp.value = i32.const(1)
    })
    e.if(i64.ne(rest.value, zero64), () => {
      flags.value = select(tiny.value, i32.const(X87.PE | X87.UE), i32.const(X87.PE))
      e.if(up(), () => {
        flags.value = i32.or(flags.value, i32.const(X87.C1))
        sig.value = i64.add(sig.value, i64.const(1))
      })
    })
    // Adding the fraction's integer bit to the exponent carries where rounding did.
    const result = e.let(
      i64.add(
        i64.or(sign, i64.sub(sig.value, select(denormal, zero64, i64.const(1n << BigInt(fraction))))),
        select(denormal, zero64, i64.shl(i64.extend_i32_s(exp.value), i64.const(fraction))),
      ),
    )
    const carried = i64.eq(sig.value, i64.const(1n << BigInt(precision)))
    e.if(i32.ge_s(i32.add(exp.value, carried), i32.const(mask)), () => {
      e.if(i32.eqz(i32.and(x.control(), i32.const(X87.OE))), () => {
        flags.value = i32.const(X87.OE)
        give(zero64)
      })
      const toInfinity = e.let(
        i32.or(i32.eqz(rounding), i32.eq(rounding, select(sign16, i32.const(ROUND.DOWN), i32.const(ROUND.UP)))),
      )
      flags.value = select(toInfinity, i32.const(X87.OE | X87.PE | X87.C1), i32.const(X87.OE | X87.PE))
      give(i64.or(sign, select(toInfinity, i64.const(infinity), i64.const(infinity - 1n))))
    })
    give(result)
  })
}
export const x87ToSingle: HelperFunction = narrow(SINGLE)
export const x87ToDouble: HelperFunction = narrow(DOUBLE)

/**
 * `(significand, se, limit, rounding)`: the signed integer, or the indefinite one, -1 - `limit`, where `limit` is the largest (2^15 - 1, 2^31 - 1, 2^63 - 1).
 */
export const x87ToInteger: HelperFunction = helperFunction(
  'x87ToInteger',
  ['i64', 'i32', 'i64', 'i32'],
  'i64',
  (e, [significand, se, limit, rounding], context) => {
    const x = new X87Code(e, context)
    const flags = x.variable(zero32)
    const exponent = e.let(i32.sub(i32.and(se!, i32.const(0x7fff)), i32.const(EXPONENT_BIAS)))
    const sign = e.let(i32.and(se!, i32.const(0x8000)))
    const whole = x.variable(significand!)
    const rest = x.variable(zero64)
    e.block((invalid) => {
      e.brIf(invalid, i32.gt_s(exponent, i32.const(63)))
      // A number with an exponent has the integer bit set.
      e.brIf(invalid, i32.and(i32.ne(exponent, i32.const(-EXPONENT_BIAS)), i64.ge_s(significand!, zero64)))
      const shift = e.let(i64.extend_i32_u(i32.sub(i32.const(63), exponent)))
      e.if(
        i64.ge_u(shift, i64.const(64)),
        () => {
          rest.value = select(
            i64.eq(shift, i64.const(64)),
            significand!,
            i64.extend_i32_u(i64.ne(significand!, zero64)),
          )
          whole.value = zero64
        },
        () =>
          e.if(i32.wrap_i64(shift), () => {
            rest.value = i64.shl(significand!, i64.sub(zero64, shift))
            whole.value = i64.shr_u(significand!, shift)
          }),
      )
      e.if(i64.ne(rest.value, zero64), () => {
        flags.value = i32.const(X87.PE)
        e.if(roundsUp(rounding!, sign, i32.and(i32.wrap_i64(whole.value), i32.const(1)), rest.value), () => {
          flags.value = i32.const(X87.PE | X87.C1)
          whole.value = i64.add(whole.value, i64.const(1))
        })
      })
      // Rounding up does not carry out of 64 bits: there are no fraction bits at exponent 63.
      e.brIf(invalid, i64.gt_u(whole.value, i64.add(limit!, i64.extend_i32_u(i32.ne(sign, zero32)))))
      x.store(STATE.X87_FLAGS, flags.value)
      e.return(select(sign, i64.sub(zero64, whole.value), whole.value))
    })
    x.store(STATE.X87_FLAGS, i32.const(X87.IE))
    e.return(i64.sub(i64.const(-1), limit!))
  },
)

// --- packed BCD: 18 digits and a sign

/** `(low)`: the number that packed digits stand for. */
export const x87FromBcd: HelperFunction = helperFunction(
  'x87FromBcd',
  ['i64', 'i32'],
  'i64',
  (e, [low, high], context) => {
    const x = new X87Code(e, context)
    const digits = x.variable(low!)
    const value = x.variable(
      i64.extend_i32_u(
        i32.add(
          i32.and(high!, i32.const(15)),
          i32.mul(i32.and(i32.shr_u(high!, i32.const(4)), i32.const(15)), i32.const(10)),
        ),
      ),
    )
    const count = x.variable(i32.const(16))
    e.loop((again) => {
      digits.value = i64.rotl(digits.value, i64.const(4))
      value.value = i64.add(i64.mul(value.value, i64.const(10)), i64.and(digits.value, i64.const(15)))
      count.value = i32.sub(count.value, i32.const(1))
      e.brIf(again, count.value)
    })
    e.return(value.value)
  },
)

/** `(value)`: up to 16 packed digits of a number. */
export const x87ToBcd: HelperFunction = helperFunction('x87ToBcd', ['i64'], 'i64', (e, [number], context) => {
  const x = new X87Code(e, context)
  const value = x.variable(number!)
  const digits = x.variable(zero64)
  const count = x.variable(i32.const(16))
  e.loop((again) => {
    digits.value = i64.rotl(i64.or(digits.value, i64.rem_u(value.value, i64.const(10))), i64.const(-4))
    value.value = i64.div_u(value.value, i64.const(10))
    count.value = i32.sub(count.value, i32.const(1))
    e.brIf(again, count.value)
  })
  e.return(digits.value)
})
