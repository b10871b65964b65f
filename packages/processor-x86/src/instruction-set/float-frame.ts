// How a floating-point instruction is put together: WebAssembly's own operation, a test whether its outcome is one that can be taken as it is, and
// otherwise a helper that does the whole instruction exactly (soft-float.ts), after which an exception may be pending.

import { type Expr, f32, f64, type InstructionEmitter, i32, i64, simd } from '../instruction/emitter.ts'
import { type HelperContext, type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { doubleOf, singleOf, type ValueType } from '../wasm/expression.ts'
import type { FunctionEmitter } from '../wasm/function-emitter.ts'
import { begin, end, FORMAT, type FormatName, MXCSR, MXCSR_MODE, MXCSR_PLAIN, RAISED } from './soft-float.ts'
import { splat, ZERO_VECTOR } from './vector.ts'

export const SHAPE = { f32: 'f32x4', f64: 'f64x2' } as const
export const BYTES = { f32: 4, f64: 8 } as const

/** One of a thing for each precision. */
export function perFormat<T>(make: (format: FormatName) => T): Readonly<Record<FormatName, T>> {
  return { f32: make('f32'), f64: make('f64') }
}

// --- tests, i32: not 0 when the fast path must not be taken

/** MXCSR is not the usual one, or a first inexact result would have to be noted. */
export function inexactCounts(e: InstructionEmitter): Expr {
  return i32.ne(i32.and(e.stateI32(STATE.MXCSR), i32.const(MXCSR_MODE | MXCSR.PE)), i32.const(MXCSR_PLAIN | MXCSR.PE))
}
/** A denormal scalar, given by its bits. */
export function scalarDenormal(format: FormatName, bits: Expr): Expr {
  const f = FORMAT[format]
  // shifted left by one without the sign, less one: zero becomes the greatest number
  if (format === 'f64')
    return i64.lt_u(i64.sub(i64.shl(bits, i64.const(1)), i64.const(1)), i64.const(f.fractionMask << 1n))
  return i32.lt_u(
    i32.sub(i32.shl(i32.wrap_i64(bits), i32.const(1)), i32.const(1)),
    i32.const(Number(f.fractionMask << 1n)),
  )
}
export function any(...conditions: Expr[]): Expr {
  return conditions.reduce((a, b) => i32.or(a, b))
}
export function all(...conditions: Expr[]): Expr {
  return conditions.reduce((a, b) => i32.and(a, b))
}
/** v128 constants of a format. */
export function floatSplat(format: FormatName, value: number): Expr {
  const view = new DataView(new ArrayBuffer(8))
  if (format === 'f32') {
    view.setFloat32(0, value, true)
    return splat(4, view.getUint32(0, true))
  }
  view.setFloat64(0, value, true)
  return splat(8, view.getBigUint64(0, true))
}
/** v128: not 0 in the lanes that are denormal. */
export function laneDenormal(e: InstructionEmitter, format: FormatName, value: Expr): Expr {
  const magnitude = e.let(simd[`${SHAPE[format]}.abs`](value))
  return simd['v128.and'](
    simd[`${SHAPE[format]}.lt`](magnitude, floatSplat(format, FORMAT[format].leastNormal)),
    magnitude,
  )
}
/** v128: not 0 in the lanes that are infinite or NaN. */
export function laneNotFinite(format: FormatName, value: Expr): Expr {
  return simd['v128.not'](
    simd[`${SHAPE[format]}.lt`](simd[`${SHAPE[format]}.abs`](value), floatSplat(format, Number.POSITIVE_INFINITY)),
  )
}
/** v128: not 0 in the lanes that are not normal numbers above the least one. */
export function laneNotNormal(e: InstructionEmitter, format: FormatName, value: Expr): Expr {
  const magnitude = e.let(simd[`${SHAPE[format]}.abs`](value))
  return simd['v128.not'](
    simd['v128.and'](
      simd[`${SHAPE[format]}.lt`](magnitude, floatSplat(format, Number.POSITIVE_INFINITY)),
      simd[`${SHAPE[format]}.gt`](magnitude, floatSplat(format, FORMAT[format].leastNormal)),
    ),
  )
}
export function anyLane(...values: Expr[]): Expr {
  return simd['v128.any_true'](values.reduce((a, b) => simd['v128.or'](a, b)))
}

// --- the two paths

/** `fast` unless `unusual`; then `slow` (a call of a helper made by {@link frame}), which may raise an exception. */
export function guarded(e: InstructionEmitter, type: ValueType, unusual: Expr, fast: Expr, slow: () => Expr): Expr {
  // a number stays one
  const double = doubleOf(fast)
  if (double) {
    const value = guarded(e, 'f64', unusual, double, () => f64.reinterpret_i64(slow()))
    return i64.reinterpret_f64(value)
  }
  const single = singleOf(fast)
  if (single) {
    const value = guarded(e, 'f32', unusual, single, () => f32.reinterpret_i32(i32.wrap_i64(slow())))
    return i64.extend_i32_u(i32.reinterpret_f32(value))
  }
  const result = e.local(type)
  e.set(result, fast)
  e.if(
    unusual,
    () => {
      e.set(result, slow())
      leaveIfRaised(e)
    },
    undefined,
    false,
  )
  return e.get(result)
}
function leaveIfRaised(e: InstructionEmitter): void {
  e.if(i32.load(i32.const(0), e.stateOffset(RAISED)), () => e.leaveWithFault())
}
/** The whole of an instruction that always goes the exact way. */
export function exact(e: InstructionEmitter, call: Expr): Expr {
  const result = e.let(call)
  leaveIfRaised(e)
  return result
}

/** A helper that does a whole instruction: exceptions are gathered while `body` runs and noted or raised after it. */
export function frame(
  name: string,
  params: readonly ValueType[],
  result: ValueType,
  body: (e: FunctionEmitter, args: readonly Expr[], context: HelperContext) => Expr,
): HelperFunction {
  return helperFunction(name, params, result, (e, args, context) => {
    begin(e, context)
    const value = e.let(body(e, args, context))
    end(e, context)
    e.return(value)
  })
}

/** i64 bits of one lane. */
export function lane(format: FormatName, value: Expr, index: number): Expr {
  if (format === 'f64') return simd['i64x2.extract_lane'](value, index)
  return i64.extend_i32_u(simd['i32x4.extract_lane'](value, index))
}
export function withLane(format: FormatName, value: Expr, index: number, bits: Expr): Expr {
  if (format === 'f64') return simd['i64x2.replace_lane'](value, index, bits)
  return simd['i32x4.replace_lane'](value, index, i32.wrap_i64(bits))
}
/** A vector made lane by lane, in order. */
export function eachLane(
  e: FunctionEmitter,
  format: FormatName,
  make: (index: number) => Expr,
  from: Expr = ZERO_VECTOR,
): Expr {
  const result = e.local('v128')
  e.set(result, from)
  for (let i = 0; i < 16 / BYTES[format]; i++) e.set(result, withLane(format, e.get(result), i, make(i)))
  return e.get(result)
}

/** Scalar bits as a number and back. */
export const toFloat = (format: FormatName, bits: Expr): Expr => FORMAT[format].toFloat(bits)
export const toBits = (format: FormatName, value: Expr): Expr => FORMAT[format].toBits(value)
export const FLOAT: Readonly<Record<FormatName, typeof f32 | typeof f64>> = { f32: f32, f64: f64 }
