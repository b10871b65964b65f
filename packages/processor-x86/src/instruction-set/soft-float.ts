// The common part of IEEE 754 arithmetic as SSE does it (SDM vol. 1, 4.8, 4.9, 11.5 and appendix E): formats, x86's choice of NaN, denormals as zeros, rounding in
// every mode with flush to zero, and the six exceptions. With soft-arithmetic.ts, soft-compare.ts and soft-convert.ts it is what the fast paths of
// sse-arithmetic.ts and its siblings fall back to when the outcome could be anything but a normal number rounded to nearest.
//
// Values are bits in an i64 (singles zero-extended). Exceptions gather in a scratch word (PENDING) and are put into MXCSR, or raised, by `commit`.

import { type Expr, f32, f64, i32, i64, select } from '../instruction/emitter.ts'
import { type HelperContext, type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import type { FunctionEmitter } from '../wasm/function-emitter.ts'

/** MXCSR (SDM vol. 1, figure 10-3). A mask is its flag shifted left by 7. */
export const MXCSR = {
  IE: 0x01,
  DE: 0x02,
  ZE: 0x04,
  OE: 0x08,
  UE: 0x10,
  PE: 0x20,
  DAZ: 0x40,
  IM: 0x80,
  DM: 0x100,
  ZM: 0x200,
  OM: 0x400,
  UM: 0x800,
  PM: 0x1000,
  RC: 0x6000,
  FTZ: 0x8000,
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
export interface Format {
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
export const FORMAT: Readonly<Record<FormatName, Format>> = {
  f32: makeFormat('f32', 23, 8),
  f64: makeFormat('f64', 52, 11),
}

export const c32: (value: number) => Expr = i32.const
export const c64: (value: number | bigint) => Expr = i64.const

// --- pieces

export const mxcsr = (e: FunctionEmitter, context: HelperContext): Expr =>
  e.let(i32.load(c32(0), context.state(STATE.MXCSR)))
/** Note exceptions. */
export function flag(e: FunctionEmitter, context: HelperContext, exceptions: number | Expr): void {
  const bits = typeof exceptions === 'number' ? c32(exceptions) : exceptions
  const at = context.state(PENDING)
  e.do(i32.store(c32(0), i32.or(i32.load(c32(0), at), bits), at))
}
export const isNan = (f: Format, bits: Expr): Expr => i64.gt_u(i64.and(bits, c64(f.magnitude)), c64(f.infinity))
export const isInfinite = (f: Format, bits: Expr): Expr => i64.eq(i64.and(bits, c64(f.magnitude)), c64(f.infinity))
export const isZero = (f: Format, bits: Expr): Expr => i64.eqz(i64.and(bits, c64(f.magnitude)))
/** Not zero and below the least normal number. */
export const isDenormal = (f: Format, bits: Expr): Expr =>
  i64.lt_u(i64.sub(i64.and(bits, c64(f.magnitude)), c64(1)), c64(f.fractionMask))
export const isSignaling = (f: Format, bits: Expr): Expr =>
  i32.and(isNan(f, bits), i64.eqz(i64.and(bits, c64(f.quiet))))
const quieted = (f: Format, bits: Expr): Expr => i64.or(bits, c64(f.quiet))
export const signOf = (f: Format, bits: Expr): Expr => i32.wrap_i64(i64.shr_u(bits, c64(f.name === 'f32' ? 31 : 63)))
export const signBit = (f: Format, sign: Expr): Expr => i64.shl(i64.extend_i32_u(sign), c64(f.name === 'f32' ? 31 : 63))
export const exponentOf = (f: Format, bits: Expr): Expr =>
  i32.and(i32.wrap_i64(i64.shr_u(bits, c64(f.fraction))), c32(f.top))

/** Return a NaN operand, the first if both are; note a signaling one. */
export function returnNan(e: FunctionEmitter, context: HelperContext, f: Format, a: Expr, b?: Expr): void {
  e.if(b ? i32.or(isNan(f, a), isNan(f, b)) : isNan(f, a), () => {
    e.if(b ? i32.or(isSignaling(f, a), isSignaling(f, b)) : isSignaling(f, a), () => flag(e, context, MXCSR.IE))
    e.return(quieted(f, b ? select(isNan(f, a), a, b) : a))
  })
}
export function returnInvalid(e: FunctionEmitter, context: HelperContext, f: Format): void {
  flag(e, context, MXCSR.IE)
  e.return(c64(f.indefinite))
}
/** The operands with denormals made zero if MXCSR says so; `noteDenormal` notes DE if one is left. */
export function denormals(
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
export function unpack(e: FunctionEmitter, f: Format, bits: Expr): { exponent: Expr; significand: Expr } {
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
export function shiftJam(e: FunctionEmitter, value: Expr, count: Expr): Expr {
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
export const round: Readonly<Record<FormatName, HelperFunction>> = perFormat((f) =>
  helperFunction(
    `sse.round.${f.name}`,
    ['i32', 'i32', 'i64'],
    'i64',
    (e, [sign, exponentIn, significandIn], context) => {
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
    },
  ),
)

export function perFormat<T>(make: (f: Format) => T): Readonly<Record<FormatName, T>> {
  return { f32: make(FORMAT.f32), f64: make(FORMAT.f64) }
}

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
