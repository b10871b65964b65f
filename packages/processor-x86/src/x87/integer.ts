// Rounding to an integral value (FRNDINT).

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import { X87Code, zero32, zero64 } from './emit.ts'
import { x87Class, x87NanOperand, x87Raise } from './exceptions.ts'
import { CLASS, EXPONENT_BIAS, X87 } from './format.ts'
import { roundsUp } from './round.ts'

/** `(register, significand, se)`. */
export const x87RoundToInteger: HelperFunction = helperFunction(
  'x87RoundToInteger',
  ['i32', 'i64', 'i32'],
  'i32',
  (e, args, context) => {
    const x = new X87Code(e, context)
    const [register, significand, se] = args as [Expr, Expr, Expr]
    const nan = e.let(x.call(x87NanOperand, register, significand, se))
    e.if(i32.ge_s(nan, zero32), () => e.return(nan))
    const kind = e.let(x.call(x87Class, significand, se))
    const exponent = e.let(i32.sub(i32.and(se, i32.const(0x7fff)), i32.const(EXPONENT_BIAS)))
    e.if(i32.or(i32.eqz(kind), i32.ge_s(exponent, i32.const(63))), () => x.finish(register, significand, se))
    const flags = x.variable(zero32)
    e.if(i32.eq(kind, i32.const(CLASS.DENORMAL)), () => {
      const unmasked = e.let(x.call(x87Raise, i32.const(X87.DE)))
      e.if(unmasked, () => e.return(unmasked))
    })
    const sign = e.let(i32.and(se, i32.const(0x8000)))
    const shift = e.let(i64.extend_i32_u(i32.sub(i32.const(63), exponent)))
    const whole = x.variable(zero64)
    const rest = x.variable(i64.const(1))
    e.if(
      i64.lt_u(shift, i64.const(64)),
      () => {
        whole.value = i64.shr_u(significand, shift)
        rest.value = i64.shl(significand, i64.sub(zero64, shift))
      },
      () => e.if(i64.eq(shift, i64.const(64)), () => (rest.value = significand)),
    )
    e.if(i64.ne(rest.value, zero64), () => {
      flags.value = i32.const(X87.PE)
      e.if(roundsUp(x.rounding(), sign, i32.and(i32.wrap_i64(whole.value), i32.const(1)), rest.value), () => {
        flags.value = i32.const(X87.PE | X87.C1)
        whole.value = i64.add(whole.value, i64.const(1))
      })
    })
    const leading = e.let(i64.clz(whole.value))
    const result = select(i64.eqz(whole.value), zero32, i32.sub(i32.const(EXPONENT_BIAS + 63), i32.wrap_i64(leading)))
    x.put(register, i64.shl(whole.value, leading), i32.or(sign, result))
    e.return(x.call(x87Raise, flags.value))
  },
)
