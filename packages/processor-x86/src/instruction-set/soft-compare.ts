// Comparison, minimum and maximum on soft-float.ts.

import { type Expr, i32, select } from '../instruction/emitter.ts'
import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { c32, denormals, type FormatName, flag, isNan, isSignaling, MXCSR, mxcsr, perFormat } from './soft-float.ts'

/**
 * (a, b, whether quiet NaNs are invalid too) → 0 a > b, 1 a < b, 2 equal, 4 unordered.
 */
export const relate: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.relate.${f.name}`, ['i64', 'i64', 'i32'], 'i32', (e, [a0, b0, signaling], context) => {
    const mx = mxcsr(e, context)
    e.if(i32.or(isNan(f, a0), isNan(f, b0)), () => {
      e.if(i32.or(signaling, i32.or(isSignaling(f, a0), isSignaling(f, b0))), () => flag(e, context, MXCSR.IE))
      e.return(c32(4))
    })
    const { values, noteDenormal } = denormals(e, context, f, mx, [a0, b0])
    noteDenormal()
    const x = e.let(f.toFloat(values[0] as Expr))
    const y = e.let(f.toFloat(values[1] as Expr))
    e.return(i32.or(f.type.lt(x, y), i32.shl(f.type.eq(x, y), c32(1))))
  }),
)

/** MIN, MAX: the second operand unless the first is less (greater): so for two zeros and for any NaN, which is invalid. */
const extreme = (less: boolean): Readonly<Record<FormatName, HelperFunction>> =>
  perFormat((f) =>
    helperFunction(`sse.${less ? 'min' : 'max'}.${f.name}`, ['i64', 'i64'], 'i64', (e, [a0, b0], context) => {
      const mx = mxcsr(e, context)
      const relation = e.let(e.call(context.helper(relate[f.name]), a0, b0, c32(1)))
      const { values } = denormals(e, context, f, mx, [a0, b0])
      e.return(select(i32.eq(relation, c32(less ? 1 : 0)), values[0] as Expr, values[1] as Expr))
    }),
  )

export const SOFT_MIN: Readonly<Record<FormatName, HelperFunction>> = extreme(true)
export const SOFT_MAX: Readonly<Record<FormatName, HelperFunction>> = extreme(false)
