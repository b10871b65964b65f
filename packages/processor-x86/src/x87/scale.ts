// FSCALE: multiplication by a power of two (SDM vol. 2, table 3-28).

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import { X87Code, zero32, zero64 } from './emit.ts'
import { x87Class, x87Invalid, x87NanOperands, x87Raise } from './exceptions.ts'
import { CLASS, EXPONENT_ADJUSTMENT, EXPONENT_BIAS, EXPONENT_MAX, INTEGER_BIT, X87 } from './format.ts'
import { x87Round } from './round.ts'

/** `(register, significand, se, scaleSignificand, scaleSe)`: the value times 2 to the truncated scale. */
export const x87Scale: HelperFunction = helperFunction(
  'x87Scale',
  ['i32', 'i64', 'i32', 'i64', 'i32'],
  'i32',
  (e, args, context) => {
    const x = new X87Code(e, context)
    const [register, significand, se, scaleSignificand, scaleSe] = args as [Expr, Expr, Expr, Expr, Expr]
    const nan = e.let(x.call(x87NanOperands, register, significand, se, scaleSignificand, scaleSe))
    e.if(i32.ge_s(nan, zero32), () => e.return(nan))
    const a = e.let(x.call(x87Class, significand, se))
    const b = e.let(x.call(x87Class, scaleSignificand, scaleSe))
    const is = (kind: Expr, value: number): Expr => i32.eq(kind, i32.const(value))
    const sign = e.let(i32.and(se, i32.const(0x8000)))
    const down = e.let(i32.and(scaleSe, i32.const(0x8000)))
    // 0 × 2^∞ and ∞ × 2^-∞
    e.if(is(b, CLASS.INFINITY), () =>
      e.if(select(down, is(a, CLASS.INFINITY), is(a, CLASS.ZERO)), () => e.return(x.call(x87Invalid, register))),
    )
    e.if(i32.or(is(a, CLASS.DENORMAL), is(b, CLASS.DENORMAL)), () => {
      const unmasked = e.let(x.call(x87Raise, i32.const(X87.DE)))
      e.if(unmasked, () => e.return(unmasked))
    })
    e.if(i32.or(is(a, CLASS.INFINITY), i32.or(is(a, CLASS.ZERO), is(b, CLASS.ZERO))), () => {
      e.if(i32.eqz(is(a, CLASS.DENORMAL)), () => x.finish(register, significand, se))
    })
    e.if(is(b, CLASS.INFINITY), () =>
      x.finish(
        register,
        select(down, zero64, i64.const(INTEGER_BIT)),
        i32.or(sign, select(down, zero32, i32.const(EXPONENT_MAX))),
      ),
    )
    const leading = e.let(i64.clz(significand))
    const field = e.let(i32.and(se, i32.const(0x7fff)))
    const normal = e.let(i64.shl(significand, leading))
    const exponent = e.let(i32.sub(select(field, field, i32.const(1)), i32.wrap_i64(leading)))
    const scaleExponent = e.let(i32.sub(i32.and(scaleSe, i32.const(0x7fff)), i32.const(EXPONENT_BIAS)))
    const amount = x.variable(zero32)
    e.if(
      i32.ge_s(scaleExponent, i32.const(17)),
      () => (amount.value = i32.const(1 << 17)),
      () =>
        e.if(i32.ge_s(scaleExponent, zero32), () => {
          amount.value = i32.wrap_i64(
            i64.shr_u(scaleSignificand, i64.extend_i32_u(i32.sub(i32.const(63), scaleExponent))),
          )
        }),
    )
    const scaled = e.let(i32.add(exponent, select(down, i32.sub(zero32, amount.value), amount.value)))
    // Out of reach even of an unmasked exception's adjusted exponent: the masked response.
    e.if(i32.ge_s(scaled, i32.const(EXPONENT_MAX + EXPONENT_ADJUSTMENT)), () => {
      x.put(register, i64.const(INTEGER_BIT), i32.or(sign, i32.const(EXPONENT_MAX)))
      e.if(i32.eqz(i32.and(x.control(), i32.const(X87.OE))), () =>
        e.return(x.call(x87Raise, i32.const(X87.OE | X87.PE | X87.C1))),
      )
    })
    e.if(i32.le_s(scaled, i32.const(-EXPONENT_ADJUSTMENT)), () => {
      e.if(i32.eqz(i32.and(x.control(), i32.const(X87.UE))), () => {
        x.put(register, zero64, sign)
        e.return(x.call(x87Raise, i32.const(X87.UE | X87.PE)))
      })
    })
    e.return(x.call(x87Round, register, sign, scaled, normal, zero64, zero64))
  },
)
