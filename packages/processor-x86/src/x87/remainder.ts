// FPREM and FPREM1: the partial remainder (SDM vol. 2).

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import { X87Code, zero32, zero64 } from './emit.ts'
import { x87Class, x87Invalid, x87NanOperands, x87Raise } from './exceptions.ts'
import { CLASS, X87 } from './format.ts'
import { x87Round } from './round.ts'
import { x87Divide128 } from './wide.ts'

/**
 * `(register, aSignificand, aSe, bSignificand, bSe, nearest)`: a minus b times the quotient, truncated or rounded to nearest. When the exponents are 64 or more apart, one
 * step brings them 32 to 63 nearer (by a multiple of 32 too few, as processors do), and sets C2.
 */
export const x87PartialRemainder: HelperFunction = helperFunction(
  'x87PartialRemainder',
  ['i32', 'i64', 'i32', 'i64', 'i32', 'i32'],
  'i32',
  (e, args, context) => {
    const x = new X87Code(e, context)
    const [register, aSignificand, aSe, bSignificand, bSe, nearest] = args as [Expr, Expr, Expr, Expr, Expr, Expr]
    const nan = e.let(x.call(x87NanOperands, register, aSignificand, aSe, bSignificand, bSe))
    e.if(i32.ge_s(nan, zero32), () => e.return(nan))
    const a = e.let(x.call(x87Class, aSignificand, aSe))
    const b = e.let(x.call(x87Class, bSignificand, bSe))
    const is = (kind: Expr, value: number): Expr => i32.eq(kind, i32.const(value))
    e.if(i32.or(is(a, CLASS.INFINITY), is(b, CLASS.ZERO)), () => e.return(x.call(x87Invalid, register)))
    e.if(i32.or(is(a, CLASS.DENORMAL), is(b, CLASS.DENORMAL)), () => {
      const unmasked = e.let(x.call(x87Raise, i32.const(X87.DE)))
      e.if(unmasked, () => e.return(unmasked))
    })
    const sign = x.variable(i32.and(aSe, i32.const(0x8000)))
    const quotient = x.variable(zero64)
    const partial = x.variable(zero32)
    /** Store the condition codes: C0, C3, C1 = the quotient's bits 2, 1, 0. */
    const conditions = (): void => {
      const q = e.let(i32.wrap_i64(quotient.value))
      const bit = (n: number, at: number): Expr =>
        i32.shl(i32.and(i32.shr_u(q, i32.const(n)), i32.const(1)), i32.const(at))
      x.store(
        STATE.X87_STATUS,
        i32.or(
          i32.and(x.status(), i32.const(~X87.CONDITION)),
          select(partial.value, i32.const(X87.C2), i32.or(i32.or(bit(2, 8), bit(1, 14)), bit(0, 9))),
        ),
      )
    }
    e.if(is(a, CLASS.ZERO), () => {
      x.put(register, aSignificand, aSe)
      conditions()
      e.return(zero32)
    })
    const leading = (significand: Expr, se: Expr): [Expr, Expr] => {
      const shift = e.let(i64.clz(significand))
      const field = e.let(i32.and(se, i32.const(0x7fff)))
      return [
        e.let(i64.shl(significand, shift)),
        e.let(i32.sub(select(field, field, i32.const(1)), i32.wrap_i64(shift))),
      ]
    }
    const [aNormal, aExponent] = leading(aSignificand, aSe)
    const [bNormal, bExponent] = leading(bSignificand, bSe)
    const rest = x.variable(aNormal)
    const exponent = x.variable(aExponent)
    const distance = x.variable(i32.sub(aExponent, bExponent))
    e.block((reduced) => {
      e.brIf(reduced, is(b, CLASS.INFINITY))
      e.if(i32.lt_s(distance.value, zero32), () => {
        // The quotient is below 1; to nearest it is 1 above one half.
        e.if(i32.and(i32.and(nearest, i32.eq(distance.value, i32.const(-1))), i64.gt_u(aNormal, bNormal)), () => {
          quotient.value = i64.const(1)
          // 2b - a, in units of a's last place
          rest.value = i64.sub(i64.shl(bNormal, i64.const(1)), aNormal)
          sign.value = i32.xor(sign.value, i32.const(0x8000))
        })
        e.br(reduced)
      })
      exponent.value = bExponent
      e.if(i32.ge_s(distance.value, i32.const(64)), () => {
        partial.value = i32.const(1)
        const left = e.let(i32.sub(i32.and(distance.value, i32.const(~31)), i32.const(32)))
        exponent.value = i32.add(bExponent, left)
        distance.value = i32.sub(distance.value, left)
      })
      const first = e.let(i64.ge_u(aNormal, bNormal))
      const top = e.let(i64.sub(aNormal, select(first, bNormal, zero64)))
      const shift = e.let(i64.extend_i32_u(distance.value))
      const high = e.let(select(distance.value, i64.shr_u(top, i64.sub(zero64, shift)), zero64))
      const low = e.let(i64.shl(top, shift))
      const q = e.let(x.call(x87Divide128, high, low, bNormal))
      quotient.value = i64.add(i64.shl(i64.extend_i32_u(first), shift), q)
      rest.value = i64.sub(low, i64.mul(q, bNormal))
      e.if(i32.and(nearest, i32.eqz(partial.value)), () => {
        const other = e.let(i64.sub(bNormal, rest.value))
        e.if(
          i32.or(
            i64.gt_u(rest.value, other),
            i32.and(i64.eq(rest.value, other), i32.and(i32.wrap_i64(quotient.value), i32.const(1))),
          ),
          () => {
            rest.value = other
            sign.value = i32.xor(sign.value, i32.const(0x8000))
            quotient.value = i64.add(quotient.value, i64.const(1))
          },
        )
      })
    })
    e.if(i64.eqz(rest.value), () => {
      x.put(register, zero64, i32.and(aSe, i32.const(0x8000)))
      conditions()
      e.return(zero32)
    })
    const shift = e.let(i64.clz(rest.value))
    const unmasked = e.let(
      x.call(
        x87Round,
        register,
        sign.value,
        i32.sub(exponent.value, i32.wrap_i64(shift)),
        i64.shl(rest.value, shift),
        zero64,
        zero64,
      ),
    )
    conditions()
    e.return(unmasked)
  },
)
