// The four operations and the square root on soft-float.ts, each with a shorter way for ordinary numbers in the usual mode.

import { type Expr, f64, i32, i64, select } from '../instruction/emitter.ts'
import { type HelperContext, type HelperFunction, helperFunction } from '../instruction/helper.ts'
import type { FunctionEmitter } from '../wasm/function-emitter.ts'
import {
  c32,
  c64,
  denormals,
  exponentOf,
  FORMAT,
  type Format,
  type FormatName,
  flag,
  isDenormal,
  isInfinite,
  isZero,
  MXCSR,
  MXCSR_MODE,
  MXCSR_PLAIN,
  mxcsr,
  perFormat,
  returnInvalid,
  returnNan,
  round,
  shiftJam,
  signBit,
  signOf,
  unpack,
} from './soft-float.ts'

// --- the middle way: all masked, to nearest, ordinary numbers. The result is WebAssembly's, only its exactness has to be found out.

type Arithmetic = 'add' | 'sub' | 'mul' | 'div'

/** i32: whether the product of two normal doubles is exact, its exponent being that of `product`: by the zeros at the ends of the significands. */
function exactProduct(e: FunctionEmitter, a: Expr, b: Expr, product: Expr): Expr {
  const f = FORMAT.f64
  const zeros = (bits: Expr): Expr => i64.ctz(i64.or(bits, c64(1n << 52n)))
  const total = e.let(i64.add(zeros(a), zeros(b)))
  const sameExponent = i32.eq(exponentOf(f, product), i32.sub(i32.add(exponentOf(f, a), exponentOf(f, b)), c32(f.bias)))
  return i32.or(i64.gt_u(total, c64(52)), i32.and(i64.eq(total, c64(52)), sameExponent))
}
const magnitude = (f: Format, value: Expr): Expr => f.type.abs(value)
/** i32: zero or neither denormal nor (when the result is finite) anything special. */
const ordinary = (f: Format, bits: Expr): Expr => i32.eqz(isDenormal(f, bits))
const above = (f: Format, value: Expr): Expr => f.type.gt(magnitude(f, value), f.type.const(f.leastNormal))
const finite = (f: Format, value: Expr): Expr => f.type.lt(magnitude(f, value), f.type.const(Number.POSITIVE_INFINITY))

function middleWay(
  e: FunctionEmitter,
  context: HelperContext,
  f: Format,
  operation: Arithmetic | 'sqrt',
  mx: Expr,
  a: Expr,
  b: Expr,
): void {
  e.if(i32.eq(i32.and(mx, c32(MXCSR_MODE)), c32(MXCSR_PLAIN)), () => {
    const x = e.let(f.toFloat(a))
    const y = e.let(f.toFloat(b))
    const result = e.let(operation === 'sqrt' ? f.type.sqrt(x) : f.type[operation](x, y))
    const bits = e.let(f.toBits(result))
    let usable: Expr
    let exact: () => Expr
    const wide = (value: Expr): Expr => (f.name === 'f32' ? f64.promote_f32(value) : value)
    const exactly = (p: Expr, q: Expr, product: Expr): Expr => {
      const equal = f64.eq(f64.mul(wide(f.toFloat(p)), wide(f.toFloat(q))), wide(f.toFloat(product)))
      return f.name === 'f32' ? equal : i32.and(equal, exactProduct(e, p, q, product))
    }
    if (operation === 'add' || operation === 'sub') {
      usable = i32.and(i32.and(ordinary(f, a), ordinary(f, b)), finite(f, result))
      exact = () => {
        const term = operation === 'add' ? y : e.let(f.type.neg(y))
        const virtual = e.let(f.type.sub(result, x))
        const error = f.type.add(f.type.sub(x, f.type.sub(result, virtual)), f.type.sub(term, virtual))
        return f.type.eq(error, f.type.const(0))
      }
    } else if (operation === 'mul') {
      const normal = i32.and(above(f, result), finite(f, result))
      const zero = i32.and(f.type.eq(result, f.type.const(0)), i32.or(isZero(f, a), isZero(f, b)))
      usable = i32.and(i32.and(ordinary(f, a), ordinary(f, b)), i32.or(normal, zero))
      exact = () =>
        i32.or(
          f.type.eq(result, f.type.const(0)),
          f.name === 'f32' ? f64.eq(f64.mul(wide(x), wide(y)), wide(result)) : exactProduct(e, a, b, bits),
        )
    } else if (operation === 'div') {
      const normal = i32.and(above(f, result), finite(f, result))
      const zero = i32.and(f.type.eq(result, f.type.const(0)), i32.and(isZero(f, a), finite(f, y)))
      usable = i32.and(i32.and(ordinary(f, a), ordinary(f, b)), i32.or(normal, zero))
      exact = () => i32.or(f.type.eq(result, f.type.const(0)), exactly(bits, b, a))
    } else {
      usable = i32.or(
        f.type.eq(x, f.type.const(0)),
        i32.and(f.type.ge(x, f.type.const(f.leastNormal)), f.type.lt(x, f.type.const(Number.POSITIVE_INFINITY))),
      )
      exact = () => i32.or(f.type.eq(x, f.type.const(0)), exactly(bits, bits, a))
    }
    e.if(usable, () => {
      e.if(i32.eqz(exact()), () => flag(e, context, MXCSR.PE))
      e.return(bits)
    })
  })
}

// --- operations: bits × bits → bits

export const SOFT_ADD: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.add.${f.name}`, ['i64', 'i64'], 'i64', (e, [a0, b0], context) => {
    const mx = mxcsr(e, context)
    middleWay(e, context, f, 'add', mx, a0, b0)
    returnNan(e, context, f, a0, b0)
    const { values, noteDenormal } = denormals(e, context, f, mx, [a0, b0])
    const [a, b] = values as [Expr, Expr]
    const differ = e.let(i32.wrap_i64(i64.shr_u(i64.xor(a, b), c64(f.name === 'f32' ? 31 : 63))))
    e.if(isInfinite(f, a), () => {
      e.if(i32.and(isInfinite(f, b), differ), () => returnInvalid(e, context, f))
      noteDenormal()
      e.return(a)
    })
    noteDenormal()
    e.if(isInfinite(f, b), () => e.return(b))
    const down = i32.eq(i32.and(mx, c32(MXCSR.RC)), c32(0x2000))
    const cancelled = signBit(f, down)
    // the larger magnitude first
    const swap = e.let(i64.lt_u(i64.and(a, c64(f.magnitude)), i64.and(b, c64(f.magnitude))))
    const large = e.let(select(swap, b, a))
    const small = e.let(select(swap, a, b))
    e.if(isZero(f, large), () => e.return(select(differ, cancelled, large)))
    // significands with their leading 1 at bit 62, denormals unnormalised
    const parts = (bits: Expr): { exponent: Expr; significand: Expr } => {
      const field = e.let(exponentOf(f, bits))
      const implicit = i64.shl(i64.extend_i32_u(i32.ne(field, c32(0))), c64(f.fraction))
      return {
        exponent: e.let(select(field, field, c32(1))),
        significand: e.let(i64.shl(i64.or(i64.and(bits, c64(f.fractionMask)), implicit), c64(62 - f.fraction))),
      }
    }
    const p = parts(large)
    const q = parts(small)
    const aligned = shiftJam(e, q.significand, i32.sub(p.exponent, q.exponent))
    const sum = e.let(
      i64.add(
        p.significand,
        i64.sub(i64.xor(aligned, i64.sub(c64(0), i64.extend_i32_u(differ))), i64.sub(c64(0), i64.extend_i32_u(differ))),
      ),
    )
    e.if(i64.eqz(sum), () => e.return(cancelled))
    const zeros = e.let(i64.clz(sum))
    e.return(
      e.call(
        context.helper(round[f.name]),
        signOf(f, large),
        i32.sub(i32.add(p.exponent, c32(1)), i32.wrap_i64(zeros)),
        i64.shl(sum, zeros),
      ),
    )
  }),
)

export const SOFT_SUBTRACT: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.sub.${f.name}`, ['i64', 'i64'], 'i64', (e, [a, b], context) => {
    returnNan(e, context, f, a, b)
    e.return(e.call(context.helper(SOFT_ADD[f.name]), a, i64.xor(b, c64(f.sign))))
  }),
)

/** High half of the product of two u64 with a last bit of 1 if the low half is not 0; the leading 1 is at bit 63 or 62. */
const multiplyJam = helperFunction('sse.multiply', ['i64', 'i64'], 'i64', (e, [a, b]) => {
  const mask = c64(0xffffffff)
  const lo = (v: Expr): Expr => i64.and(v, mask)
  const hi = (v: Expr): Expr => i64.shr_u(v, c64(32))
  const ll = e.let(i64.mul(lo(a), lo(b)))
  const lh = e.let(i64.mul(lo(a), hi(b)))
  const hl = e.let(i64.mul(hi(a), lo(b)))
  const middle = e.let(i64.add(i64.add(hi(ll), lo(lh)), lo(hl)))
  const high = e.let(i64.add(i64.add(i64.mul(hi(a), hi(b)), hi(middle)), i64.add(hi(lh), hi(hl))))
  const lowNotZero = i64.extend_i32_u(i64.ne(i64.or(lo(ll), lo(middle)), c64(0)))
  // operands have many zeros at the end, so that no bit but the sticky one is missing after a shift by one
  e.return(i64.or(high, lowNotZero))
})

export const SOFT_MULTIPLY: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.mul.${f.name}`, ['i64', 'i64'], 'i64', (e, [a0, b0], context) => {
    const mx = mxcsr(e, context)
    middleWay(e, context, f, 'mul', mx, a0, b0)
    returnNan(e, context, f, a0, b0)
    const { values, noteDenormal } = denormals(e, context, f, mx, [a0, b0])
    const [a, b] = values as [Expr, Expr]
    const sign = e.let(signOf(f, i64.xor(a, b)))
    e.if(i32.or(isInfinite(f, a), isInfinite(f, b)), () => {
      e.if(i32.or(isZero(f, a), isZero(f, b)), () => returnInvalid(e, context, f))
      noteDenormal()
      e.return(i64.or(signBit(f, sign), c64(f.infinity)))
    })
    noteDenormal()
    e.if(i32.or(isZero(f, a), isZero(f, b)), () => e.return(signBit(f, sign)))
    const p = unpack(e, f, a)
    const q = unpack(e, f, b)
    const product = e.let(e.call(context.helper(multiplyJam), p.significand, q.significand))
    const zeros = e.let(i64.clz(product))
    e.return(
      e.call(
        context.helper(round[f.name]),
        sign,
        i32.sub(i32.sub(i32.add(p.exponent, q.exponent), c32(f.bias - 1)), i32.wrap_i64(zeros)),
        i64.shl(product, zeros),
      ),
    )
  }),
)

export const SOFT_DIVIDE: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.div.${f.name}`, ['i64', 'i64'], 'i64', (e, [a0, b0], context) => {
    const mx = mxcsr(e, context)
    middleWay(e, context, f, 'div', mx, a0, b0)
    returnNan(e, context, f, a0, b0)
    const { values, noteDenormal } = denormals(e, context, f, mx, [a0, b0])
    const [a, b] = values as [Expr, Expr]
    const sign = e.let(signOf(f, i64.xor(a, b)))
    e.if(isInfinite(f, a), () => {
      e.if(isInfinite(f, b), () => returnInvalid(e, context, f))
      noteDenormal()
      e.return(i64.or(signBit(f, sign), c64(f.infinity)))
    })
    e.if(isInfinite(f, b), () => {
      noteDenormal()
      e.return(signBit(f, sign))
    })
    e.if(isZero(f, b), () => {
      e.if(isZero(f, a), () => returnInvalid(e, context, f))
      flag(e, context, MXCSR.ZE)
      e.return(i64.or(signBit(f, sign), c64(f.infinity)))
    })
    noteDenormal()
    e.if(isZero(f, a), () => e.return(signBit(f, sign)))
    const p = unpack(e, f, a)
    const q = unpack(e, f, b)
    // long division of significands of fraction + 1 bits, `digit` bits at a time
    const digit = f.name === 'f32' ? 40 : 11
    const steps = f.name === 'f32' ? 1 : 5
    const divisor = e.let(i64.shr_u(q.significand, c64(63 - f.fraction)))
    const remainder = e.local('i64')
    const quotient = e.local('i64')
    e.set(remainder, i64.shr_u(p.significand, c64(63 - f.fraction)))
    e.set(quotient, i64.extend_i32_u(i64.ge_u(e.get(remainder), divisor)))
    e.set(remainder, i64.sub(e.get(remainder), i64.mul(e.get(quotient), divisor)))
    for (let i = 0; i < steps; i++) {
      const shifted = e.let(i64.shl(e.get(remainder), c64(digit)))
      const part = e.let(i64.div_u(shifted, divisor))
      e.set(remainder, i64.sub(shifted, i64.mul(part, divisor)))
      e.set(quotient, i64.or(i64.shl(e.get(quotient), c64(digit)), part))
    }
    const zeros = e.let(i64.clz(e.get(quotient)))
    const significand = i64.or(i64.shl(e.get(quotient), zeros), i64.extend_i32_u(i64.ne(e.get(remainder), c64(0))))
    // a quotient of 1 or more has its leading bit at digit × steps
    const leading = 63 - digit * steps
    e.return(
      e.call(
        context.helper(round[f.name]),
        sign,
        i32.sub(i32.add(i32.sub(p.exponent, q.exponent), c32(f.bias + leading)), i32.wrap_i64(zeros)),
        significand,
      ),
    )
  }),
)

export const SOFT_SQRT: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.sqrt.${f.name}`, ['i64'], 'i64', (e, [a0], context) => {
    const mx = mxcsr(e, context)
    middleWay(e, context, f, 'sqrt', mx, a0, a0)
    returnNan(e, context, f, a0)
    const { values, noteDenormal } = denormals(e, context, f, mx, [a0])
    const [a] = values as [Expr]
    e.if(isZero(f, a), () => e.return(a))
    e.if(signOf(f, a), () => returnInvalid(e, context, f))
    noteDenormal()
    e.if(isInfinite(f, a), () => e.return(a))
    const p = unpack(e, f, a)
    const exponent = e.let(i32.sub(p.exponent, c32(f.bias)))
    const odd = i64.extend_i32_u(i32.and(exponent, c32(1)))
    // digit by digit: 54 bits of the radicand at the top, then zeros
    const radicand = e.local('i64')
    const root = e.local('i64')
    const remainder = e.local('i64')
    const count = e.local('i32')
    e.set(radicand, i64.shl(i64.shr_u(p.significand, c64(11)), i64.add(odd, c64(10))))
    e.set(root, c64(0))
    e.set(remainder, c64(0))
    e.set(count, c32(56))
    e.loop((again) => {
      e.set(remainder, i64.or(i64.shl(e.get(remainder), c64(2)), i64.shr_u(e.get(radicand), c64(62))))
      e.set(radicand, i64.shl(e.get(radicand), c64(2)))
      const trial = e.let(i64.or(i64.shl(e.get(root), c64(2)), c64(1)))
      const fits = e.let(i64.extend_i32_u(i64.ge_u(e.get(remainder), trial)))
      e.set(remainder, i64.sub(e.get(remainder), i64.mul(trial, fits)))
      e.set(root, i64.or(i64.shl(e.get(root), c64(1)), fits))
      e.set(count, i32.sub(e.get(count), c32(1)))
      e.brIf(again, e.get(count))
    })
    e.return(
      e.call(
        context.helper(round[f.name]),
        c32(0),
        i32.add(i32.shr_s(exponent, c32(1)), c32(f.bias)),
        i64.or(i64.shl(e.get(root), c64(8)), i64.extend_i32_u(i64.ne(e.get(remainder), c64(0)))),
      ),
    )
  }),
)
