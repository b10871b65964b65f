// IEEE 754 arithmetic of single and double precision as SSE does it (SDM vol. 1, 4.8, 4.9, 11.5 and appendix E): every rounding mode, flush to zero, denormals
// are zeros, x86's choice of NaN, and the six exceptions. This is what the fast paths of sse-arithmetic.ts and its siblings fall back to when the
// outcome could be anything but a normal number with the rounding mode to nearest.
//
// Values are bits in an i64 (singles zero-extended). Exceptions gather in a scratch word (PENDING) and are put into MXCSR, or raised, by `commit`.

import { type Expr, f32, f64, i32, i64, select } from '../instruction/emitter.ts'
import { type HelperContext, type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import type { FunctionEmitter } from '../wasm/function-emitter.ts'

/** MXCSR (SDM vol. 1, figure 10-3). A mask is its flag shifted left by 7. */
export const MXCSR = {
  IE: 0x01, DE: 0x02, ZE: 0x04, OE: 0x08, UE: 0x10, PE: 0x20, DAZ: 0x40,
  IM: 0x80, DM: 0x100, ZM: 0x200, OM: 0x400, UM: 0x800, PM: 0x1000, RC: 0x6000, FTZ: 0x8000,
} as const
/** Everything but the flags, and its value when all is masked, rounding is to nearest, and denormals are treated as IEEE 754 says. */
export const MXCSR_MODE = 0xffc0
export const MXCSR_PLAIN = 0x1f80
/** CR4.OSXMMEXCPT. */
const CR4_OSXMMEXCPT = 0x400

/** i32: exceptions found by the instruction in progress. */
const PENDING = STATE.SCRATCH
/** i32: not 0 when the last `commit` raised an exception. */
export const RAISED: number = STATE.SCRATCH + 4

export type FormatName = 'f32' | 'f64'
interface Format {
  readonly name: FormatName
  readonly type: typeof f32 | typeof f64
  /** Bits of the fraction. */
  readonly fraction: number
  readonly bias: number
  /** The exponent of infinities and NaNs. */
  readonly top: number
  readonly sign: bigint
  readonly infinity: bigint
  readonly magnitude: bigint
  readonly fractionMask: bigint
  readonly quiet: bigint
  /** The NaN that invalid operations give: negative and quiet. */
  readonly indefinite: bigint
  readonly leastNormal: number
  readonly toFloat: (bits: Expr) => Expr
  readonly toBits: (value: Expr) => Expr
}
function makeFormat(name: FormatName, fraction: number, exponentBits: number): Format {
  const top = (1 << exponentBits) - 1
  const sign = 1n << BigInt(fraction + exponentBits)
  const infinity = BigInt(top) << BigInt(fraction)
  const quiet = 1n << BigInt(fraction - 1)
  const single = name === 'f32'
  return {
    name,
    type: single ? f32 : f64,
    fraction,
    bias: top >> 1,
    top,
    sign,
    infinity,
    magnitude: sign - 1n,
    fractionMask: (1n << BigInt(fraction)) - 1n,
    quiet,
    indefinite: sign | infinity | quiet,
    leastNormal: 2 ** (1 - (top >> 1)),
    toFloat: single ? (bits) => f32.reinterpret_i32(i32.wrap_i64(bits)) : f64.reinterpret_i64,
    toBits: single ? (value) => i64.extend_i32_u(i32.reinterpret_f32(value)) : i64.reinterpret_f64,
  }
}
export const FORMAT: Readonly<Record<FormatName, Format>> = { f32: makeFormat('f32', 23, 8), f64: makeFormat('f64', 52, 11) }

const c32 = i32.const
const c64 = i64.const

// --- pieces

const mxcsr = (e: FunctionEmitter, context: HelperContext): Expr => e.let(i32.load(c32(0), context.state(STATE.MXCSR)))
/** Note exceptions. */
function flag(e: FunctionEmitter, context: HelperContext, exceptions: number | Expr): void {
  const bits = typeof exceptions === 'number' ? c32(exceptions) : exceptions
  const at = context.state(PENDING)
  e.do(i32.store(c32(0), i32.or(i32.load(c32(0), at), bits), at))
}
const isNan = (f: Format, bits: Expr): Expr => i64.gt_u(i64.and(bits, c64(f.magnitude)), c64(f.infinity))
const isInfinite = (f: Format, bits: Expr): Expr => i64.eq(i64.and(bits, c64(f.magnitude)), c64(f.infinity))
const isZero = (f: Format, bits: Expr): Expr => i64.eqz(i64.and(bits, c64(f.magnitude)))
/** Not zero and below the least normal number. */
const isDenormal = (f: Format, bits: Expr): Expr =>
  i64.lt_u(i64.sub(i64.and(bits, c64(f.magnitude)), c64(1)), c64(f.fractionMask))
const isSignaling = (f: Format, bits: Expr): Expr => i32.and(isNan(f, bits), i64.eqz(i64.and(bits, c64(f.quiet))))
const quieted = (f: Format, bits: Expr): Expr => i64.or(bits, c64(f.quiet))
const signOf = (f: Format, bits: Expr): Expr => i32.wrap_i64(i64.shr_u(bits, c64(f.name === 'f32' ? 31 : 63)))
const signBit = (f: Format, sign: Expr): Expr => i64.shl(i64.extend_i32_u(sign), c64(f.name === 'f32' ? 31 : 63))
const exponentOf = (f: Format, bits: Expr): Expr => i32.and(i32.wrap_i64(i64.shr_u(bits, c64(f.fraction))), c32(f.top))

/** Return a NaN operand, the first if both are; note a signaling one. */
function returnNan(e: FunctionEmitter, context: HelperContext, f: Format, a: Expr, b?: Expr): void {
  e.if(b ? i32.or(isNan(f, a), isNan(f, b)) : isNan(f, a), () => {
    e.if(b ? i32.or(isSignaling(f, a), isSignaling(f, b)) : isSignaling(f, a), () => flag(e, context, MXCSR.IE))
    e.return(quieted(f, b ? select(isNan(f, a), a, b) : a))
  })
}
function returnInvalid(e: FunctionEmitter, context: HelperContext, f: Format): void {
  flag(e, context, MXCSR.IE)
  e.return(c64(f.indefinite))
}
/** The operands with denormals made zero if MXCSR says so; `noteDenormal` notes DE if one is left. */
function denormals(
  e: FunctionEmitter,
  context: HelperContext,
  f: Format,
  mx: Expr,
  operands: readonly Expr[],
): { values: Expr[]; noteDenormal: () => void } {
  const locals = operands.map((operand) => {
    const local = e.local('i64')
    e.set(local, operand)
    return local
  })
  const found = e.local('i32')
  e.set(found, c32(0))
  for (const local of locals) {
    e.if(isDenormal(f, e.get(local)), () => {
      e.if(
        i32.and(mx, c32(MXCSR.DAZ)),
        () => e.set(local, i64.and(e.get(local), c64(f.sign))),
        () => e.set(found, c32(MXCSR.DE)),
      )
    })
  }
  const values = locals.map((local) => e.let(e.get(local)))
  return { values, noteDenormal: () => flag(e, context, e.get(found)) }
}
/** Exponent and significand (leading 1 at bit 63) of a number that is neither 0 nor infinite. Exponents of denormals are 0 and below. */
function unpack(e: FunctionEmitter, f: Format, bits: Expr): { exponent: Expr; significand: Expr } {
  const field = e.let(exponentOf(f, bits))
  const raw = e.let(
    i64.shl(
      i64.or(i64.and(bits, c64(f.fractionMask)), i64.shl(i64.extend_i32_u(i32.ne(field, c32(0))), c64(f.fraction))),
      c64(63 - f.fraction),
    ),
  )
  const zeros = e.let(i64.clz(raw))
  const exponent = e.let(i32.sub(select(field, field, c32(1)), i32.wrap_i64(zeros)))
  return { exponent, significand: e.let(i64.shl(raw, zeros)) }
}
/** `value >> count` with a last bit of 1 if any bit that is lost is 1. `count` (i32) is not negative. */
function shiftJam(e: FunctionEmitter, value: Expr, count: Expr): Expr {
  const n = e.let(i64.extend_i32_u(count))
  const lost = i64.extend_i32_u(i64.ne(i64.shl(value, i64.and(i64.sub(c64(0), n), c64(63))), c64(0)))
  const whole = select(
    i64.eqz(n),
    value,
    select(i64.gt_u(n, c64(63)), i64.extend_i32_u(i64.ne(value, c64(0))), i64.or(i64.shr_u(value, n), lost)),
  )
  return e.let(whole)
}

/**
 * (sign 0 or 1, biased exponent, significand with its leading 1 at bit 63 and a sticky last bit) → the number rounded by MXCSR.RC. Tininess is detected after
 * rounding.
 */
const round: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.round.${f.name}`, ['i32', 'i32', 'i64'], 'i64', (e, [sign, exponentIn, significandIn], context) => {
    const mx = mxcsr(e, context)
    const shift = 63 - f.fraction
    const lostMask = (1n << BigInt(shift)) - 1n
    const half = 1n << BigInt(shift - 1)
    const rc = e.let(i32.and(i32.shr_u(mx, c32(13)), c32(3)))
    // toward zero: nothing; up or down: all ones if that is away from zero
    const away = i32.and(i32.ne(rc, c32(3)), i32.ne(i32.eq(rc, c32(2)), sign))
    const increment = e.let(select(i32.eqz(rc), c64(half), select(away, c64(lostMask), c64(0))))
    const significand = e.local('i64')
    const exponent = e.local('i32')
    e.set(significand, significandIn)
    e.set(exponent, exponentIn)
    const signed = signBit(f, sign)
    const lost = (): Expr => i64.and(e.get(significand), c64(lostMask))
    const roundUp = (): void => {
      const tie = i32.and(i32.eqz(rc), i64.eq(lost(), c64(half)))
      const even = i64.xor(i64.shl(i64.extend_i32_u(tie), c64(shift)), c64(-1))
      e.set(significand, i64.and(i64.and(i64.add(e.get(significand), increment), c64(~lostMask)), even))
    }
    e.if(i32.le_s(exponentIn, c32(0)), () => {
      const carries = i64.lt_u(i64.add(significandIn, increment), significandIn)
      e.if(i32.eqz(i32.and(i32.eqz(exponentIn), carries)), () => {
        e.if(i32.eqz(i32.and(mx, c32(MXCSR.UM))), () => {
          flag(e, context, i32.or(c32(MXCSR.UE), i32.shl(i64.ne(lost(), c64(0)), c32(5))))
          e.return(signed)
        })
        e.if(i32.and(mx, c32(MXCSR.FTZ)), () => {
          flag(e, context, MXCSR.UE | MXCSR.PE)
          e.return(signed)
        })
        e.set(exponent, c32(-1))
      })
      // exponent −1: tiny
      e.set(significand, shiftJam(e, significandIn, i32.sub(c32(1), exponentIn)))
      e.if(i64.ne(lost(), c64(0)), () =>
        flag(e, context, select(i32.lt_s(e.get(exponent), c32(0)), c32(MXCSR.UE | MXCSR.PE), c32(MXCSR.PE))),
      )
      roundUp()
      e.return(i64.or(signed, i64.shr_u(e.get(significand), c64(shift))))
    })
    const inexact = e.let(i64.ne(lost(), c64(0)))
    roundUp()
    // a carry out of bit 63 leaves 0
    e.if(i64.eqz(e.get(significand)), () => {
      e.set(significand, c64(1n << 63n))
      e.set(exponent, i32.add(e.get(exponent), c32(1)))
    })
    e.if(i32.ge_s(e.get(exponent), c32(f.top)), () => {
      const masked = i32.and(i32.shr_u(mx, c32(10)), c32(1))
      flag(e, context, i32.or(c32(MXCSR.OE), i32.shl(i32.or(inexact, masked), c32(5))))
      e.return(i64.or(signed, select(i32.or(i32.eqz(rc), away), c64(f.infinity), c64(f.infinity - 1n))))
    })
    flag(e, context, i32.shl(inexact, c32(5)))
    e.return(
      i64.or(
        signed,
        i64.add(
          i64.shl(i64.extend_i32_u(i32.sub(e.get(exponent), c32(1))), c64(f.fraction)),
          i64.shr_u(e.get(significand), c64(shift)),
        ),
      ),
    )
  }),
)

function perFormat<T>(make: (f: Format) => T): Readonly<Record<FormatName, T>> {
  return { f32: make(FORMAT.f32), f64: make(FORMAT.f64) }
}

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

function middleWay(e: FunctionEmitter, context: HelperContext, f: Format, operation: Arithmetic | 'sqrt', mx: Expr, a: Expr, b: Expr): void {
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

const add: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
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
    const sum = e.let(i64.add(p.significand, i64.sub(i64.xor(aligned, i64.sub(c64(0), i64.extend_i32_u(differ))), i64.sub(c64(0), i64.extend_i32_u(differ)))))
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

const subtract: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(`sse.sub.${f.name}`, ['i64', 'i64'], 'i64', (e, [a, b], context) => {
    returnNan(e, context, f, a, b)
    e.return(e.call(context.helper(add[f.name]), a, i64.xor(b, c64(f.sign))))
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

const multiply: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
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

const divide: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
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

const squareRoot: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
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

export const SOFT_BINARY: Readonly<Record<'add' | 'sub' | 'mul' | 'div' | 'min' | 'max', Readonly<Record<FormatName, HelperFunction>>>> = {
  add,
  sub: subtract,
  mul: multiply,
  div: divide,
  min: extreme(true),
  max: extreme(false),
}
export const SOFT_SQRT: Readonly<Record<FormatName, HelperFunction>> = squareRoot

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

// --- the frame of an instruction

/** Start to gather exceptions. */
export function begin(e: FunctionEmitter, context: HelperContext): void {
  e.do(i32.store(c32(0), c32(0), context.state(PENDING)))
}
/** Between two steps of an instruction that computes with intermediate results: an exception of the first ends it there. `nothing` is returned then. */
export function between(e: FunctionEmitter, context: HelperContext, nothing: Expr): void {
  end(e, context)
  e.if(i32.load(c32(0), context.state(RAISED)), () => e.return(nothing))
  begin(e, context)
}
/** Put what was gathered into MXCSR; RAISED becomes 1 if one of them is not masked: an exception is then pending. */
export function end(e: FunctionEmitter, context: HelperContext): void {
  e.do(e.call(context.helper(commit)))
}
const commit = helperFunction('sse.commit', [], 'void', (e, _, context) => {
  const mx = mxcsr(e, context)
  const found = e.let(i32.load(c32(0), context.state(PENDING)))
  const unmasked = e.let(i32.and(i32.and(found, i32.xor(i32.shr_u(mx, c32(7)), c32(-1))), c32(0x3f)))
  // An unmasked IE, DE or ZE comes before the computation: what the computation would have found is not noted (SDM vol. 1, 11.5.2).
  const before = MXCSR.IE | MXCSR.DE | MXCSR.ZE
  const noted = select(i32.and(unmasked, c32(before)), i32.and(found, c32(before)), found)
  e.do(i32.store(c32(0), i32.or(mx, noted), context.state(STATE.MXCSR)))
  e.do(i32.store(c32(0), i32.ne(unmasked, c32(0)), context.state(RAISED)))
  e.if(unmasked, () => {
    const allowed = i64.ne(i64.and(i64.load(c32(0), context.state(STATE.CR4)), c64(CR4_OSXMMEXCPT)), c64(0))
    e.do(i32.store(c32(0), select(allowed, c32(19), c32(6)), context.state(STATE.FAULT_VECTOR)))
    e.do(i32.store(c32(0), c32(0), context.state(STATE.FAULT_ERROR)))
  })
  e.return()
})
