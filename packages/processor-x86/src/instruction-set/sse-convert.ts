// Conversions between integers and floating-point numbers and between precisions, and rounding to integral values (SDM vol. 1, 5.5.1.6, 5.6.1.6, 5.10).
// Those from and to MMX registers are here too. And MXCSR itself.

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { type Expr, f32, f64, type InstructionEmitter, i32, i64, select, simd, VECTOR } from '../instruction/emitter.ts'
import { STATE } from '../state-layout.ts'
import {
  all,
  any,
  anyLane,
  BYTES,
  eachLane,
  exact,
  FLOAT,
  floatSplat,
  frame,
  guarded,
  inexactCounts,
  lane,
  laneDenormal,
  laneNotNormal,
  perFormat,
  SHAPE,
  scalarDenormal,
  toBits,
  toFloat,
  withLane,
} from './float-frame.ts'
import { fromInteger, narrow, toInteger, toIntegral, widen } from './soft-convert.ts'
import { FORMAT, type FormatName } from './soft-float.ts'
import { fromLow, known, low, sse, ZERO_VECTOR } from './vector.ts'

const TRUNCATE = 3

/** i32: rounding mode of MXCSR. */
const roundingMode = (e: InstructionEmitter): Expr =>
  i32.and(i32.shr_u(e.stateI32(STATE.MXCSR), i32.const(13)), i32.const(3))
const rounding = (e: InstructionEmitter, truncate: boolean): Expr =>
  e.let(truncate ? i32.const(TRUNCATE) : roundingMode(e))

// --- integer → floating-point

const EXACT_FROM_INTEGER = perFormat((format) =>
  frame(`sse.cvtsi.${format}`, ['i64'], 'i64', (e, [a], { helper }) => e.call(helper(fromInteger[format]), a)),
)
/** CVTSI2SS, CVTSI2SD. */
const fromGeneral =
  (format: FormatName): Semantics =>
  (e) => {
    const value = e.readSigned(1)
    const fast = toBits(format, FLOAT[format].convert_i64_s(value))
    if (format === 'f64' && e.size(1) === 4) {
      e.writeVectorLow(0, 8, fast)
      return
    }
    // exact up to as many bits as the significand has
    const limit = 2 ** (FORMAT[format].fraction + 1)
    const large = i64.gt_u(i64.add(value, i64.const(limit)), i64.const(2 * limit))
    const result = guarded(e, 'i64', i32.and(large, inexactCounts(e)), fast, () =>
      e.helper(EXACT_FROM_INTEGER[format], value),
    )
    e.writeVectorLow(0, BYTES[format], result)
  }

/** Signed dwords to singles; `count` lanes, those above stay 0. */
const EXACT_DWORDS = frame('sse.cvtdq2ps', ['v128'], 'v128', (e, [a], { helper }) =>
  eachLane(e, 'f32', (i) => e.call(helper(fromInteger.f32), i64.extend_i32_s(simd['i32x4.extract_lane'](a, i)))),
)
function dwordsToSingles(e: InstructionEmitter, a: Expr): Expr {
  return guarded(e, 'v128', inexactCounts(e), simd['f32x4.convert_i32x4_s'](a), () => e.helper(EXACT_DWORDS, a))
}
const convertDwordsToSingles: Semantics = (e) => e.writeVector(0, dwordsToSingles(e, e.readVector(1)))
const convertDwordsToDoubles: Semantics = (e) => e.writeVector(0, simd['f64x2.convert_low_i32x4_s'](e.readVector(1)))

// --- floating-point → integer

const EXACT_TO_INTEGER = perFormat((format) =>
  frame(`sse.cvt2si.${format}`, ['i64', 'i32', 'i32'], 'i64', (e, [a, rc, wide], { helper }) =>
    e.call(helper(toInteger[format]), a, rc, wide),
  ),
)
/** CVTSS2SI, CVTSD2SI, CVTTSS2SI, CVTTSD2SI. */
const toGeneral =
  (format: FormatName, truncate: boolean): Semantics =>
  (e) => {
    const F = FLOAT[format]
    const wide = e.size(0) === 8
    const a = e.readVectorLow(1, BYTES[format])
    const x = e.let(toFloat(format, a))
    const whole = truncate ? x : e.let(F.nearest(x))
    const integer = e.let(
      wide ? i64[`trunc_sat_${format}_s`](whole) : i64.extend_i32_u(i32[`trunc_sat_${format}_s`](whole)),
    )
    const back = wide ? F.convert_i64_s(integer) : F.convert_i32_s(i32.wrap_i64(integer))
    const outside = i32.eqz(F.lt(F.abs(whole), F.const(wide ? 2 ** 63 : 2 ** 31)))
    const unusual = i32.or(outside, i32.and(F.ne(back, x), inexactCounts(e)))
    const result = guarded(e, 'i64', unusual, integer, () =>
      e.helper(EXACT_TO_INTEGER[format], a, rounding(e, truncate), i32.const(wide ? 1 : 0)),
    )
    e.write(0, result)
  }

const EXACT_TO_DWORDS = perFormat((format) =>
  frame(`sse.cvt2dq.${format}`, ['v128', 'i32'], 'v128', (e, [a, rc], { helper }) => {
    const result = e.local('v128')
    e.set(result, ZERO_VECTOR)
    for (let i = 0; i < 16 / BYTES[format]; i++) {
      e.set(
        result,
        withLane('f32', e.get(result), i, e.call(helper(toInteger[format]), lane(format, a, i), rc, i32.const(0))),
      )
    }
    return e.get(result)
  }),
)
/** Signed dwords, two above cleared when they come from doubles. */
function toDwords(e: InstructionEmitter, format: FormatName, truncate: boolean, a: Expr): Expr {
  const shape = SHAPE[format]
  const whole = truncate ? a : e.let(simd[`${shape}.nearest`](a))
  const limit = simd[`${shape}.lt`](simd[`${shape}.abs`](whole), floatSplat(format, 2 ** 31))
  const inside = simd[`${format === 'f32' ? 'i32x4' : 'i64x2'}.all_true`](limit)
  const fast = format === 'f32' ? simd['i32x4.trunc_sat_f32x4_s'](whole) : simd['i32x4.trunc_sat_f64x2_s_zero'](whole)
  return guarded(e, 'v128', i32.or(inexactCounts(e), i32.eqz(inside)), fast, () =>
    e.helper(EXACT_TO_DWORDS[format], a, rounding(e, truncate)),
  )
}
const convertToDwords =
  (format: FormatName, truncate: boolean): Semantics =>
  (e) =>
    e.writeVector(0, toDwords(e, format, truncate, e.readVector(1)))

// --- between precisions

const EXACT_NARROW = frame('sse.cvtsd2ss', ['i64'], 'i64', (e, [a], { helper }) => e.call(helper(narrow), a))
const EXACT_WIDEN = frame('sse.cvtss2sd', ['i64'], 'i64', (e, [a], { helper }) => e.call(helper(widen), a))
const narrowScalar: Semantics = (e) => {
  const a = e.readVectorLow(1, 8)
  const value = e.let(f32.demote_f64(f64.reinterpret_i64(a)))
  const magnitude = e.let(f32.abs(value))
  const normal = all(
    f32.gt(magnitude, f32.const(FORMAT.f32.leastNormal)),
    f32.lt(magnitude, f32.const(Number.POSITIVE_INFINITY)),
  )
  e.writeVectorLow(
    0,
    4,
    guarded(e, 'i64', any(inexactCounts(e), i32.eqz(normal)), toBits('f32', value), () => e.helper(EXACT_NARROW, a)),
  )
}
const widenScalar: Semantics = (e) => {
  const a = e.readVectorLow(1, 4)
  const x = e.let(toFloat('f32', a))
  const unusual = any(f32.ne(x, x), scalarDenormal('f32', a))
  e.writeVectorLow(
    0,
    8,
    guarded(e, 'i64', unusual, toBits('f64', f64.promote_f32(x)), () => e.helper(EXACT_WIDEN, a)),
  )
}
const EXACT_NARROW_PACKED = frame('sse.cvtpd2ps', ['v128'], 'v128', (e, [a], { helper }) => {
  const result = e.local('v128')
  e.set(result, ZERO_VECTOR)
  for (const i of [0, 1]) e.set(result, withLane('f32', e.get(result), i, e.call(helper(narrow), lane('f64', a, i))))
  return e.get(result)
})
const EXACT_WIDEN_PACKED = frame('sse.cvtps2pd', ['v128'], 'v128', (e, [a], { helper }) =>
  eachLane(e, 'f64', (i) => e.call(helper(widen), lane('f32', a, i))),
)
const narrowPacked: Semantics = (e) => {
  const a = e.readVector(1)
  const value = e.let(simd['f32x4.demote_f64x2_zero'](a))
  const low2 = simd['i64x2.extract_lane'](laneNotNormal(e, 'f32', value), 0)
  const unusual = any(inexactCounts(e), i64.ne(low2, i64.const(0)))
  e.writeVector(
    0,
    guarded(e, 'v128', unusual, value, () => e.helper(EXACT_NARROW_PACKED, a)),
  )
}
const widenPacked: Semantics = (e) => {
  const a = e.let(fromLow(e.readVectorLow(1, 8)))
  const unusual = anyLane(simd['f32x4.ne'](a, a), laneDenormal(e, 'f32', a))
  e.writeVector(
    0,
    guarded(e, 'v128', unusual, simd['f64x2.promote_low_f32x4'](a), () => e.helper(EXACT_WIDEN_PACKED, a)),
  )
}

// --- rounding: bit 2 of the immediate takes the mode from MXCSR, bit 3 keeps PE quiet

const EXACT_ROUND_SCALAR = perFormat((format) =>
  frame(`sse.round.scalar.${format}`, ['i64', 'i32', 'i32'], 'i64', (e, [a, rc, quiet], { helper }) =>
    e.call(helper(toIntegral[format]), a, rc, quiet),
  ),
)
const EXACT_ROUND_PACKED = perFormat((format) =>
  frame(`sse.round.packed.${format}`, ['v128', 'i32', 'i32'], 'v128', (e, [a, rc, quiet], { helper }) =>
    eachLane(e, format, (i) => e.call(helper(toIntegral[format]), lane(format, a, i), rc, quiet)),
  ),
)
function roundingControl(e: InstructionEmitter): { rc: Expr; quiet: Expr } {
  const imm = e.immediateByte()
  const constant = known(imm)
  if (constant !== undefined)
    return {
      rc: constant & 4 ? e.let(roundingMode(e)) : i32.const(constant & 3),
      quiet: i32.const((constant >> 3) & 1),
    }
  const rc = e.let(select(i32.and(imm, i32.const(4)), roundingMode(e), i32.and(imm, i32.const(3))))
  return { rc, quiet: e.let(i32.and(i32.shr_u(imm, i32.const(3)), i32.const(1))) }
}
const roundScalar =
  (format: FormatName): Semantics =>
  (e) => {
    const a = e.readVectorLow(1, BYTES[format])
    const { rc, quiet } = roundingControl(e)
    e.writeVectorLow(0, BYTES[format], exact(e, e.helper(EXACT_ROUND_SCALAR[format], a, rc, quiet)))
  }
const roundPacked =
  (format: FormatName): Semantics =>
  (e) => {
    const a = e.readVector(1)
    const { rc, quiet } = roundingControl(e)
    e.writeVector(0, exact(e, e.helper(EXACT_ROUND_PACKED[format], a, rc, quiet)))
  }

// --- MMX

// As measured: these enter MMX even when they end in an exception, and do not with a memory operand as source and an XMM destination.

/** CVTPI2PS: the upper singles stay. */
const mmxToSingles: Semantics = (e) => {
  const a = e.readMmx(1)
  if (!e.isMemory(1)) e.enterMmx()
  e.writeVectorLow(0, 8, low(dwordsToSingles(e, e.let(fromLow(a)))))
}
/** CVTPI2PD. */
const mmxToDoubles: Semantics = (e) => {
  const a = e.readMmx(1)
  if (!e.isMemory(1)) e.enterMmx()
  e.writeVector(0, simd['f64x2.convert_low_i32x4_s'](fromLow(a)))
}
/** CVTPS2PI, CVTTPS2PI, CVTPD2PI, CVTTPD2PI. */
const mmxFrom =
  (format: FormatName, truncate: boolean): Semantics =>
  (e) => {
    const a = format === 'f32' ? e.let(fromLow(e.readVectorLow(1, 8))) : e.readVector(1)
    e.enterMmx()
    e.writeMmx(0, low(toDwords(e, format, truncate, a)))
  }
const MMX = { unit: 'mmx', aligned: true } as const

// --- MXCSR

const loadControl: Semantics = (e) => {
  const value = e.let(i32.wrap_i64(e.read(0)))
  e.raiseIf(i32.and(value, i32.const(0xffff0000)), VECTOR.GP, 0)
  e.setStateI32(STATE.MXCSR, value)
}
const storeControl: Semantics = (e) => e.write(0, i64.extend_i32_u(e.stateI32(STATE.MXCSR)))

export const SSE_CONVERT: readonly InstructionDefinition[] = [
  sse('CVTSI2SS', 'F3 0F 2A /r', 'Vss Ey', fromGeneral('f32')),
  sse('CVTSI2SD', 'F2 0F 2A /r', 'Vsd Ey', fromGeneral('f64')),
  sse('CVTTSS2SI', 'F3 0F 2C /r', 'Gy Wss', toGeneral('f32', true)),
  sse('CVTTSD2SI', 'F2 0F 2C /r', 'Gy Wsd', toGeneral('f64', true)),
  sse('CVTSS2SI', 'F3 0F 2D /r', 'Gy Wss', toGeneral('f32', false)),
  sse('CVTSD2SI', 'F2 0F 2D /r', 'Gy Wsd', toGeneral('f64', false)),
  sse('CVTPS2PD', 'NP 0F 5A /r', 'Vpd Wq', widenPacked),
  sse('CVTPD2PS', '66 0F 5A /r', 'Vps Wpd', narrowPacked),
  sse('CVTSS2SD', 'F3 0F 5A /r', 'Vsd Wss', widenScalar),
  sse('CVTSD2SS', 'F2 0F 5A /r', 'Vss Wsd', narrowScalar),
  sse('CVTDQ2PS', 'NP 0F 5B /r', 'Vps Wdq', convertDwordsToSingles),
  sse('CVTPS2DQ', '66 0F 5B /r', 'Vdq Wps', convertToDwords('f32', false)),
  sse('CVTTPS2DQ', 'F3 0F 5B /r', 'Vdq Wps', convertToDwords('f32', true)),
  sse('CVTTPD2DQ', '66 0F E6 /r', 'Vdq Wpd', convertToDwords('f64', true)),
  sse('CVTPD2DQ', 'F2 0F E6 /r', 'Vdq Wpd', convertToDwords('f64', false)),
  sse('CVTDQ2PD', 'F3 0F E6 /r', 'Vpd Wq', convertDwordsToDoubles),
  sse('ROUNDPS', '66 0F 3A 08 /r ib', 'Vps Wps Ib', roundPacked('f32')),
  sse('ROUNDPD', '66 0F 3A 09 /r ib', 'Vpd Wpd Ib', roundPacked('f64')),
  sse('ROUNDSS', '66 0F 3A 0A /r ib', 'Vss Wss Ib', roundScalar('f32')),
  sse('ROUNDSD', '66 0F 3A 0B /r ib', 'Vsd Wsd Ib', roundScalar('f64')),

  instruction('CVTPI2PS', 'NP 0F 2A /r', 'Vps Qq', mmxToSingles, MMX),
  instruction('CVTPI2PD', '66 0F 2A /r', 'Vpd Qq', mmxToDoubles, MMX),
  instruction('CVTTPS2PI', 'NP 0F 2C /r', 'Pq Wq', mmxFrom('f32', true), MMX),
  instruction('CVTTPD2PI', '66 0F 2C /r', 'Pq Wpd', mmxFrom('f64', true), MMX),
  instruction('CVTPS2PI', 'NP 0F 2D /r', 'Pq Wq', mmxFrom('f32', false), MMX),
  instruction('CVTPD2PI', '66 0F 2D /r', 'Pq Wpd', mmxFrom('f64', false), MMX),

  sse('LDMXCSR', 'NP 0F AE /2', 'Md', loadControl),
  sse('STMXCSR', 'NP 0F AE /3', 'Md', storeControl),
]
