// Conversions between formats, from and to integers, and rounding to integral values on soft-float.ts.

import { type Expr, f32, f64, i32, i64, select } from '../instruction/emitter.ts'
import { type HelperContext, type HelperFunction, helperFunction } from '../instruction/helper.ts'
import type { FunctionEmitter } from '../wasm/function-emitter.ts'
import {
  c32,
  c64,
  denormals,
  FORMAT,
  type Format,
  type FormatName,
  flag,
  isInfinite,
  isNan,
  isSignaling,
  isZero,
  MXCSR,
  mxcsr,
  perFormat,
  returnNan,
  round,
  signBit,
  signOf,
  unpack,
} from './soft-float.ts'

// --- conversions and rounding to integers

/** (f64, rounding 0–3 as MXCSR.RC) → integral f64. */
const roundIntegral = helperFunction('sse.integral', ['f64', 'i32'], 'f64', (e, [x, rc]) => {
  e.if(i32.eqz(rc), () => e.return(f64.nearest(x)))
  e.if(i32.eq(rc, c32(1)), () => e.return(f64.floor(x)))
  e.if(i32.eq(rc, c32(2)), () => e.return(f64.ceil(x)))
  e.return(f64.trunc(x))
})

/** The value of bits that are no NaN as f64, denormals made zero if MXCSR says so. */
function wideValue(e: FunctionEmitter, context: HelperContext, f: Format, mx: Expr, bits: Expr): Expr {
  const value = e.let(denormals(e, context, f, mx, [bits]).values[0] as Expr)
  return e.let(f.name === 'f32' ? f64.promote_f32(f.toFloat(value)) : f.toFloat(value))
}

/** (bits, rounding 0–3, whether the result has 64 bits) → integer, zero-extended; the least integer for what does not fit. */
export const toInteger: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.toInteger.${f.name}`, ['i64', 'i32', 'i32'], 'i64', (e, [a, rc, wide], context) => {
    const mx = mxcsr(e, context)
    e.if(i32.eqz(isNan(f, a)), () => {
      const x = wideValue(e, context, f, mx, a)
      const r = e.let(e.call(context.helper(roundIntegral), x, rc))
      const limit = e.let(select(wide, f64.const(2 ** 63), f64.const(2 ** 31)))
      e.if(i32.and(f64.ge(r, f64.neg(limit)), f64.lt(r, limit)), () => {
        flag(e, context, i32.shl(f64.ne(r, x), c32(5)))
        const integer = i64.trunc_sat_f64_s(r)
        e.return(i64.and(integer, select(wide, c64(-1), c64(0xffffffff))))
      })
    })
    flag(e, context, MXCSR.IE)
    e.return(select(wide, c64(1n << 63n), c64(0x80000000)))
  }),
)

/** ROUNDxx: (bits, rounding 0–3, whether PE is kept quiet) → bits. */
export const toIntegral: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.toIntegral.${f.name}`, ['i64', 'i32', 'i32'], 'i64', (e, [a, rc, quiet], context) => {
    const mx = mxcsr(e, context)
    returnNan(e, context, f, a)
    const x = wideValue(e, context, f, mx, a)
    const r = e.let(e.call(context.helper(roundIntegral), x, rc))
    flag(e, context, i32.shl(i32.and(f64.ne(r, x), i32.eqz(quiet)), c32(5)))
    // a zero keeps the sign of what it comes from
    const bits = f.toBits(f.name === 'f32' ? f32.demote_f64(r) : r)
    e.return(i64.or(i64.and(bits, c64(f.magnitude)), i64.and(a, c64(f.sign))))
  }),
)

/** Signed i64 → bits. */
export const fromInteger: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.fromInteger.${f.name}`, ['i64'], 'i64', (e, [value], context) => {
    e.if(i64.eqz(value), () => e.return(c64(0)))
    const sign = e.let(i64.shr_s(value, c64(63)))
    const magnitudeOf = e.let(i64.sub(i64.xor(value, sign), sign))
    const zeros = e.let(i64.clz(magnitudeOf))
    e.return(
      e.call(
        context.helper(round[f.name]),
        i32.wrap_i64(i64.and(sign, c64(1))),
        i32.sub(c32(f.bias + 63), i32.wrap_i64(zeros)),
        i64.shl(magnitudeOf, zeros),
      ),
    )
  }),
)

/** Double → single. */
export const narrow: HelperFunction = helperFunction('sse.narrow', ['i64'], 'i64', (e, [a0], context) => {
  const from = FORMAT.f64
  const to = FORMAT.f32
  const mx = mxcsr(e, context)
  const sign = e.let(signOf(from, a0))
  e.if(isNan(from, a0), () => {
    e.if(isSignaling(from, a0), () => flag(e, context, MXCSR.IE))
    const fraction = i64.and(i64.shr_u(a0, c64(29)), c64(to.fractionMask))
    e.return(i64.or(i64.or(signBit(to, sign), c64(to.infinity | to.quiet)), fraction))
  })
  const { values, noteDenormal } = denormals(e, context, from, mx, [a0])
  const [a] = values as [Expr]
  noteDenormal()
  e.if(isInfinite(from, a), () => e.return(i64.or(signBit(to, sign), c64(to.infinity))))
  e.if(isZero(from, a), () => e.return(signBit(to, sign)))
  const p = unpack(e, from, a)
  e.return(e.call(context.helper(round.f32), sign, i32.sub(p.exponent, c32(from.bias - to.bias)), p.significand))
})

/** Single → double. */
export const widen: HelperFunction = helperFunction('sse.widen', ['i64'], 'i64', (e, [a0], context) => {
  const from = FORMAT.f32
  const to = FORMAT.f64
  const mx = mxcsr(e, context)
  e.if(isNan(from, a0), () => {
    e.if(isSignaling(from, a0), () => flag(e, context, MXCSR.IE))
    const fraction = i64.shl(i64.and(a0, c64(from.fractionMask)), c64(29))
    e.return(i64.or(i64.or(signBit(to, signOf(from, a0)), c64(to.infinity | to.quiet)), fraction))
  })
  const { values, noteDenormal } = denormals(e, context, from, mx, [a0])
  noteDenormal()
  e.return(to.toBits(f64.promote_f32(from.toFloat(values[0] as Expr))))
})
