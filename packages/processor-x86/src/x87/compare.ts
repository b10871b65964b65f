// Comparison and classification (SDM vol. 1, 8.3.6; vol. 2, FCOM, FUCOM, FXAM).

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import { X87Code, zero32 } from './emit.ts'
import { x87Class, x87Raise } from './exceptions.ts'
import { CLASS, X87 } from './format.ts'

const UNORDERED = X87.C3 | X87.C2 | X87.C0

/**
 * `(aSignificand, aSe, bSignificand, bSe, quiet)`: C3, C2 and C0 of the comparison of a with b, and in the low six bits the unmasked exceptions raised.
 * `quiet`: a quiet NaN is no invalid operation. C1 is left to the caller.
 */
export const x87Compare: HelperFunction = helperFunction(
  'x87Compare',
  ['i64', 'i32', 'i64', 'i32', 'i32'],
  'i32',
  (e, [aSignificand, aSe, bSignificand, bSe, quiet], context) => {
    const x = new X87Code(e, context)
    const c1 = (): Expr => i32.and(x.status(), i32.const(X87.C1))
    const a = e.let(x.call(x87Class, aSignificand!, aSe!))
    const b = e.let(x.call(x87Class, bSignificand!, bSe!))
    const unmasked = x.variable(zero32)
    e.if(i32.or(i32.ge_u(a, i32.const(CLASS.QUIET)), i32.ge_u(b, i32.const(CLASS.QUIET))), () => {
      const least = e.let(select(quiet!, i32.const(CLASS.SIGNALING), i32.const(CLASS.QUIET)))
      e.if(i32.or(i32.ge_u(a, least), i32.ge_u(b, least)), () => {
        unmasked.value = x.call(x87Raise, i32.or(i32.const(X87.IE), c1()))
      })
      e.return(i32.or(i32.const(UNORDERED), unmasked.value))
    })
    e.if(i32.or(i32.eq(a, i32.const(CLASS.DENORMAL)), i32.eq(b, i32.const(CLASS.DENORMAL))), () => {
      unmasked.value = x.call(x87Raise, i32.or(i32.const(X87.DE), c1()))
    })
    const result = (bits: number): void => e.return(i32.or(i32.const(bits), unmasked.value))
    e.if(i32.eqz(i32.or(a, b)), () => result(X87.C3))
    const aSign = e.let(i32.and(aSe!, i32.const(0x8000)))
    const bSign = e.let(i32.and(bSe!, i32.const(0x8000)))
    const lessWhen = (negative: Expr): void =>
      e.return(i32.or(select(negative, i32.const(X87.C0), zero32), unmasked.value))
    // Zeros first: their sign does not count.
    e.if(i32.eqz(a), () => lessWhen(i32.eqz(bSign)))
    e.if(i32.eqz(b), () => lessWhen(aSign))
    e.if(i32.ne(aSign, bSign), () => lessWhen(aSign))
    // A denormal counts as exponent 1.
    const exponent = (se: Expr): Expr => {
      const field = e.let(i32.and(se, i32.const(0x7fff)))
      return e.let(select(field, field, i32.const(1)))
    }
    const aExponent = exponent(aSe!)
    const bExponent = exponent(bSe!)
    e.if(i32.and(i32.eq(aExponent, bExponent), i64.eq(aSignificand!, bSignificand!)), () => result(X87.C3))
    const smaller = select(
      i32.eq(aExponent, bExponent),
      i64.lt_u(aSignificand!, bSignificand!),
      i32.lt_u(aExponent, bExponent),
    )
    lessWhen(i32.ne(smaller, i32.ne(aSign, zero32)))
  },
)

/** `(significand, se, empty)`: C3, C2, C1 and C0 as FXAM sets them. */
export const x87Examine: HelperFunction = helperFunction(
  'x87Examine',
  ['i64', 'i32', 'i32'],
  'i32',
  (e, [significand, se, empty], context) => {
    const x = new X87Code(e, context)
    const sign = e.let(i32.shr_u(i32.and(se!, i32.const(0x8000)), i32.const(6)))
    e.if(empty!, () => e.return(i32.or(sign, i32.const(X87.C3 | X87.C0))))
    const kind = e.let(x.call(x87Class, significand!, se!))
    const codes: readonly (readonly [number, number])[] = [
      [CLASS.ZERO, X87.C3],
      [CLASS.NORMAL, X87.C2],
      [CLASS.DENORMAL, X87.C3 | X87.C2],
      [CLASS.INFINITY, X87.C2 | X87.C0],
      [CLASS.UNSUPPORTED, 0],
    ]
    for (const [value, code] of codes) {
      e.if(i32.eq(kind, i32.const(value)), () => e.return(i32.or(sign, i32.const(code))))
    }
    e.return(i32.or(sign, i32.const(X87.C0)))
  },
)
