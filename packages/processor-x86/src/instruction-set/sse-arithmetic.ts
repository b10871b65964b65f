// Floating-point arithmetic and logic on XMM registers (SDM vol. 1, 5.5.1.2, 5.6.1.2, 5.7, 5.10): packed and scalar, single and double.

import type { InstructionDefinition, Semantics } from '../instruction/definition.ts'
import { type Expr, f32, i32, i64, select, simd } from '../instruction/emitter.ts'
import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
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
  laneNotFinite,
  laneNotNormal,
  perFormat,
  SHAPE,
  scalarDenormal,
  toBits,
  toFloat,
} from './float-frame.ts'
import { SOFT_ADD, SOFT_DIVIDE, SOFT_MULTIPLY, SOFT_SQRT, SOFT_SUBTRACT } from './soft-arithmetic.ts'
import { SOFT_MAX, SOFT_MIN } from './soft-compare.ts'
import { between, FORMAT, type FormatName } from './soft-float.ts'
import { binary, immediateMask, shuffle, sse, ZERO_VECTOR } from './vector.ts'

const SOFT_BINARY = {
  add: SOFT_ADD,
  sub: SOFT_SUBTRACT,
  mul: SOFT_MULTIPLY,
  div: SOFT_DIVIDE,
  min: SOFT_MIN,
  max: SOFT_MAX,
} as const
type Operation = keyof typeof SOFT_BINARY
const OPERATIONS = ['add', 'sub', 'mul', 'div', 'min', 'max'] as const

function table<T>(
  make: (format: FormatName, operation: Operation) => T,
): Readonly<Record<FormatName, Readonly<Record<Operation, T>>>> {
  const row = (format: FormatName): Record<Operation, T> =>
    Object.fromEntries(OPERATIONS.map((operation) => [operation, make(format, operation)])) as Record<Operation, T>
  return { f32: row('f32'), f64: row('f64') }
}

const EXACT_SCALAR = table((format, operation) =>
  frame(`sse.${operation}.scalar.${format}`, ['i64', 'i64'], 'i64', (e, [a, b], { helper }) =>
    e.call(helper(SOFT_BINARY[operation][format]), a, b),
  ),
)
const EXACT_PACKED = table((format, operation) =>
  frame(`sse.${operation}.packed.${format}`, ['v128', 'v128'], 'v128', (e, [a, b], { helper }) =>
    eachLane(e, format, (i) => e.call(helper(SOFT_BINARY[operation][format]), lane(format, a, i), lane(format, b, i))),
  ),
)

const scalar =
  (format: FormatName, operation: Operation): Semantics =>
  (e) => {
    const bytes = BYTES[format]
    const F = FLOAT[format]
    const b = e.readVectorLow(1, bytes)
    const a = e.readVectorLow(0, bytes)
    const x = e.let(toFloat(format, a))
    const y = e.let(toFloat(format, b))
    let fast: Expr
    let unusual: Expr
    if (operation === 'min' || operation === 'max') {
      fast = select(operation === 'min' ? F.lt(x, y) : F.gt(x, y), a, b)
      unusual = any(F.ne(x, x), F.ne(y, y), scalarDenormal(format, a), scalarDenormal(format, b))
    } else {
      const value = e.let(F[operation](x, y))
      fast = toBits(format, value)
      const zero = F.const(0)
      // a sum that is tiny is exact; products and quotients are not, but where an operand is 0
      const tiny = (): Expr => {
        const small = F.le(F.abs(value), F.const(FORMAT[format].leastNormal))
        return operation === 'mul' ? all(small, F.ne(x, zero), F.ne(y, zero)) : all(small, F.ne(x, zero))
      }
      unusual = any(
        inexactCounts(e),
        scalarDenormal(format, a),
        scalarDenormal(format, b),
        i32.eqz(F.lt(F.abs(value), F.const(Number.POSITIVE_INFINITY))),
        ...(operation === 'add' || operation === 'sub' ? [] : [tiny()]),
      )
    }
    e.writeVectorLow(
      0,
      bytes,
      guarded(e, 'i64', unusual, fast, () => e.helper(EXACT_SCALAR[format][operation], a, b)),
    )
  }

/** Both operands of a packed operation, and the result. */
type Parts = (a: Expr, b: Expr) => readonly [Expr, Expr]

const packed =
  (format: FormatName, operation: Operation, parts: Parts = (a, b) => [a, b]): Semantics =>
  (e) => {
    const source = e.readVector(1)
    const [p, q] = parts(e.readVector(0), source)
    const a = e.let(p)
    const b = e.let(q)
    const shape = SHAPE[format]
    let fast: Expr
    let unusual: Expr
    if (operation === 'min' || operation === 'max') {
      fast = simd[`${shape}.p${operation}`](b, a)
      unusual = anyLane(
        simd[`${shape}.ne`](a, a),
        simd[`${shape}.ne`](b, b),
        laneDenormal(e, format, a),
        laneDenormal(e, format, b),
      )
    } else {
      fast = e.let(simd[`${shape}.${operation}`](a, b))
      const tiny = (): Expr => {
        const small = simd[`${shape}.le`](simd[`${shape}.abs`](fast), floatSplat(format, FORMAT[format].leastNormal))
        const inexact = simd['v128.and'](small, simd[`${shape}.ne`](a, ZERO_VECTOR))
        return operation === 'mul' ? simd['v128.and'](inexact, simd[`${shape}.ne`](b, ZERO_VECTOR)) : inexact
      }
      unusual = any(
        inexactCounts(e),
        anyLane(
          laneDenormal(e, format, a),
          laneDenormal(e, format, b),
          laneNotFinite(format, fast),
          ...(operation === 'add' || operation === 'sub' ? [] : [tiny()]),
        ),
      )
    }
    e.writeVector(
      0,
      guarded(e, 'v128', unusual, fast, () => e.helper(EXACT_PACKED[format][operation], a, b)),
    )
  }

// --- square roots

const EXACT_SQRT_SCALAR = perFormat((format) =>
  frame(`sse.sqrt.scalar.${format}`, ['i64'], 'i64', (e, [a], { helper }) => e.call(helper(SOFT_SQRT[format]), a)),
)
const EXACT_SQRT_PACKED = perFormat((format) =>
  frame(`sse.sqrt.packed.${format}`, ['v128'], 'v128', (e, [a], { helper }) =>
    eachLane(e, format, (i) => e.call(helper(SOFT_SQRT[format]), lane(format, a, i))),
  ),
)

const sqrtScalar =
  (format: FormatName): Semantics =>
  (e) => {
    const F = FLOAT[format]
    const a = e.readVectorLow(1, BYTES[format])
    const x = e.let(toFloat(format, a))
    const usual = all(F.ge(x, F.const(FORMAT[format].leastNormal)), F.lt(x, F.const(Number.POSITIVE_INFINITY)))
    const fast = toBits(format, F.sqrt(x))
    e.writeVectorLow(
      0,
      BYTES[format],
      guarded(e, 'i64', any(inexactCounts(e), i32.eqz(usual)), fast, () => e.helper(EXACT_SQRT_SCALAR[format], a)),
    )
  }
const sqrtPacked =
  (format: FormatName): Semantics =>
  (e) => {
    const a = e.readVector(1)
    const negative = simd[`${format === 'f32' ? 'i32x4' : 'i64x2'}.lt_s`](a, ZERO_VECTOR)
    const unusual = any(inexactCounts(e), anyLane(negative, laneNotNormal(e, format, a)))
    e.writeVector(
      0,
      guarded(e, 'v128', unusual, simd[`${SHAPE[format]}.sqrt`](a), () => e.helper(EXACT_SQRT_PACKED[format], a)),
    )
  }

// --- approximations: the reciprocal and that of the square root, rounded to 12 bits of fraction. They note no exceptions; denormals are zeros.

const approximate = (root: boolean): HelperFunction =>
  helperFunction(root ? 'sse.rsqrt' : 'sse.rcp', ['i32'], 'i32', (e, [bits]) => {
    const magnitude = e.let(i32.and(bits, i32.const(0x7fffffff)))
    const sign = e.let(i32.and(bits, i32.const(0x80000000)))
    e.if(i32.gt_u(magnitude, i32.const(0x7f800000)), () => e.return(i32.or(bits, i32.const(0x400000))))
    e.if(i32.lt_u(magnitude, i32.const(0x00800000)), () => e.return(i32.or(sign, i32.const(0x7f800000))))
    if (root) e.if(sign, () => e.return(i32.const(0xffc00000)))
    e.if(i32.eq(magnitude, i32.const(0x7f800000)), () => e.return(sign))
    const x = f32.reinterpret_i32(bits)
    const value = e.let(i32.reinterpret_f32(f32.div(f32.const(1), root ? f32.sqrt(x) : x)))
    e.if(i32.lt_u(i32.and(value, i32.const(0x7fffffff)), i32.const(0x00800000)), () => e.return(sign))
    e.return(i32.and(i32.add(value, i32.const(0x400)), i32.const(~0x7ff)))
  })
const RECIPROCAL = approximate(false)
const RECIPROCAL_ROOT = approximate(true)
const approximateScalar =
  (helper: HelperFunction): Semantics =>
  (e) => {
    const a = e.readVectorLow(1, 4)
    e.writeVectorLow(0, 4, i64.extend_i32_u(e.helper(helper, i32.wrap_i64(a))))
  }
const approximatePacked =
  (helper: HelperFunction): Semantics =>
  (e) => {
    const a = e.readVector(1)
    e.writeVector(
      0,
      eachLane(e, 'f32', (i) => i64.extend_i32_u(e.helper(helper, simd['i32x4.extract_lane'](a, i)))),
    )
  }

// --- horizontal and alternating

const HORIZONTAL: Readonly<Record<FormatName, Parts>> = {
  f32: (a, b) => [shuffle(4, a, b, [0, 2, 4, 6]), shuffle(4, a, b, [1, 3, 5, 7])],
  f64: (a, b) => [shuffle(8, a, b, [0, 2]), shuffle(8, a, b, [1, 3])],
}

const EXACT_ADDSUB = perFormat((format) =>
  frame(`sse.addsub.${format}`, ['v128', 'v128'], 'v128', (e, [a, b], { helper }) =>
    eachLane(e, format, (i) =>
      e.call(helper(SOFT_BINARY[i & 1 ? 'add' : 'sub'][format]), lane(format, a, i), lane(format, b, i)),
    ),
  ),
)
/** ADDSUBPS, ADDSUBPD: even lanes subtract, odd lanes add. */
const addSub =
  (format: FormatName): Semantics =>
  (e) => {
    const b = e.readVector(1)
    const a = e.readVector(0)
    const shape = SHAPE[format]
    const count = 16 / BYTES[format]
    const odd = Array.from({ length: count }, (_, i) => (i & 1 ? count + i : i))
    const fast = e.let(shuffle(BYTES[format], simd[`${shape}.sub`](a, b), simd[`${shape}.add`](a, b), odd))
    const unusual = any(
      inexactCounts(e),
      anyLane(laneDenormal(e, format, a), laneDenormal(e, format, b), laneNotFinite(format, fast)),
    )
    e.writeVector(
      0,
      guarded(e, 'v128', unusual, fast, () => e.helper(EXACT_ADDSUB[format], a, b)),
    )
  }

/** DPPS, DPPD: products of the lanes chosen by the immediate's upper half, summed pairwise, to the lanes chosen by its lower half. */
const EXACT_DOT = perFormat((format) =>
  frame(`sse.dp.${format}`, ['v128', 'v128', 'i32'], 'v128', (e, [a, b, imm], context) => {
    const count = 16 / BYTES[format]
    const add = (x: Expr, y: Expr): Expr => e.let(e.call(context.helper(SOFT_BINARY.add[format]), x, y))
    const products = Array.from({ length: count }, (_, i) =>
      e.choose(
        i32.and(imm, i32.const(0x10 << i)),
        () => e.call(context.helper(SOFT_BINARY.mul[format]), lane(format, a, i), lane(format, b, i)),
        () => i64.const(0),
        'i64',
      ),
    ) as [Expr, Expr, Expr, Expr]
    between(e, context, ZERO_VECTOR)
    const low = add(products[0], products[1])
    let sum = low
    if (count === 4) {
      const high = add(products[2], products[3])
      between(e, context, ZERO_VECTOR)
      sum = add(low, high)
    }
    const spread = format === 'f64' ? simd['i64x2.splat'](sum) : simd['i32x4.splat'](i32.wrap_i64(sum))
    return simd['v128.and'](spread, immediateMask(BYTES[format], imm))
  }),
)
const dot =
  (format: FormatName): Semantics =>
  (e) => {
    const b = e.readVector(1)
    e.writeVector(0, exact(e, e.helper(EXACT_DOT[format], e.readVector(0), b, e.immediateByte())))
  }

// --- rows

const OPCODES: readonly (readonly [Operation, string])[] = [
  ['add', '58'],
  ['mul', '59'],
  ['sub', '5C'],
  ['min', '5D'],
  ['div', '5E'],
  ['max', '5F'],
]

function arithmetic(): InstructionDefinition[] {
  return OPCODES.flatMap(([operation, opcode]) => {
    const name = operation.toUpperCase()
    return [
      sse(`${name}PS`, `NP 0F ${opcode} /r`, 'Vps Wps', packed('f32', operation)),
      sse(`${name}PD`, `66 0F ${opcode} /r`, 'Vpd Wpd', packed('f64', operation)),
      sse(`${name}SS`, `F3 0F ${opcode} /r`, 'Vss Wss', scalar('f32', operation)),
      sse(`${name}SD`, `F2 0F ${opcode} /r`, 'Vsd Wsd', scalar('f64', operation)),
    ]
  })
}

const and = binary(simd['v128.and'])
const andNot = binary((a, b) => simd['v128.andnot'](b, a))
const or = binary(simd['v128.or'])
const xor = binary(simd['v128.xor'])

export const SSE_ARITHMETIC: readonly InstructionDefinition[] = [
  ...arithmetic(),
  sse('SQRTPS', 'NP 0F 51 /r', 'Vps Wps', sqrtPacked('f32')),
  sse('SQRTPD', '66 0F 51 /r', 'Vpd Wpd', sqrtPacked('f64')),
  sse('SQRTSS', 'F3 0F 51 /r', 'Vss Wss', sqrtScalar('f32')),
  sse('SQRTSD', 'F2 0F 51 /r', 'Vsd Wsd', sqrtScalar('f64')),
  sse('RSQRTPS', 'NP 0F 52 /r', 'Vps Wps', approximatePacked(RECIPROCAL_ROOT)),
  sse('RSQRTSS', 'F3 0F 52 /r', 'Vss Wss', approximateScalar(RECIPROCAL_ROOT)),
  sse('RCPPS', 'NP 0F 53 /r', 'Vps Wps', approximatePacked(RECIPROCAL)),
  sse('RCPSS', 'F3 0F 53 /r', 'Vss Wss', approximateScalar(RECIPROCAL)),
  sse('ANDPS', 'NP 0F 54 /r', 'Vps Wps', and),
  sse('ANDPD', '66 0F 54 /r', 'Vpd Wpd', and),
  sse('ANDNPS', 'NP 0F 55 /r', 'Vps Wps', andNot),
  sse('ANDNPD', '66 0F 55 /r', 'Vpd Wpd', andNot),
  sse('ORPS', 'NP 0F 56 /r', 'Vps Wps', or),
  sse('ORPD', '66 0F 56 /r', 'Vpd Wpd', or),
  sse('XORPS', 'NP 0F 57 /r', 'Vps Wps', xor),
  sse('XORPD', '66 0F 57 /r', 'Vpd Wpd', xor),
  sse('HADDPD', '66 0F 7C /r', 'Vpd Wpd', packed('f64', 'add', HORIZONTAL.f64)),
  sse('HADDPS', 'F2 0F 7C /r', 'Vps Wps', packed('f32', 'add', HORIZONTAL.f32)),
  sse('HSUBPD', '66 0F 7D /r', 'Vpd Wpd', packed('f64', 'sub', HORIZONTAL.f64)),
  sse('HSUBPS', 'F2 0F 7D /r', 'Vps Wps', packed('f32', 'sub', HORIZONTAL.f32)),
  sse('ADDSUBPD', '66 0F D0 /r', 'Vpd Wpd', addSub('f64')),
  sse('ADDSUBPS', 'F2 0F D0 /r', 'Vps Wps', addSub('f32')),
  sse('DPPS', '66 0F 3A 40 /r ib', 'Vps Wps Ib', dot('f32')),
  sse('DPPD', '66 0F 3A 41 /r ib', 'Vpd Wpd Ib', dot('f64')),
]
