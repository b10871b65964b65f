// Floating-point comparisons (SDM vol. 1, 5.5.1.3, 5.6.1.4): CMPxx give masks, COMIxx and UCOMIxx set ZF, PF and CF.

import type { InstructionDefinition, Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, select, simd } from '../instruction/emitter.ts'
import {
  any,
  anyLane,
  BYTES,
  eachLane,
  FLOAT,
  frame,
  guarded,
  lane,
  laneDenormal,
  perFormat,
  SHAPE,
  scalarDenormal,
  toFloat,
} from './float-frame.ts'
import { relate } from './soft-compare.ts'
import type { FormatName } from './soft-float.ts'
import { known, splat, sse, ZERO_VECTOR } from './vector.ts'

// Predicates (SDM vol. 2, CMPPD, table 3-1): bits 0–1 EQ LT LE UNORD, bit 2 negates. LT and LE and their negations find quiet NaNs invalid.
const LESS = 1
const EQUAL = 2

/** i32: whether the predicate `imm` finds quiet NaNs invalid. */
const signals = (imm: Expr): Expr => i32.and(i32.xor(imm, i32.shr_u(imm, i32.const(1))), i32.const(1))
/** i64: all ones if the predicate `imm` holds for a relation as `relate` gives it. */
function holds(relation: Expr, imm: Expr): Expr {
  // relations that are meant, a digit a predicate: EQ 2, LT 1, LE 3, UNORD 4
  const meant = i32.shr_u(i32.const(0x4312), i32.shl(i32.and(imm, i32.const(3)), i32.const(2)))
  const positive = i32.ne(i32.and(i32.and(relation, meant), i32.const(7)), i32.const(0))
  return i64.sub(i64.const(0), i64.extend_i32_u(i32.xor(positive, i32.and(i32.shr_u(imm, i32.const(2)), i32.const(1)))))
}

const EXACT_PACKED = perFormat((format) =>
  frame(`sse.cmp.packed.${format}`, ['v128', 'v128', 'i32'], 'v128', (e, [a, b, imm], { helper }) =>
    eachLane(e, format, (i) =>
      holds(e.let(e.call(helper(relate[format]), lane(format, a, i), lane(format, b, i), signals(imm))), imm),
    ),
  ),
)
const EXACT_SCALAR = perFormat((format) =>
  frame(`sse.cmp.scalar.${format}`, ['i64', 'i64', 'i32'], 'i64', (e, [a, b, imm], { helper }) =>
    holds(e.let(e.call(helper(relate[format]), a, b, signals(imm))), imm),
  ),
)
const EXACT_FLAGS = perFormat((format) =>
  frame(`sse.comi.${format}`, ['i64', 'i64', 'i32'], 'i32', (e, [a, b, signaling], { helper }) =>
    e.call(helper(relate[format]), a, b, signaling),
  ),
)

/** The mask for lanes without NaNs. */
function compareLanes(e: InstructionEmitter, format: FormatName, a: Expr, b: Expr, imm: Expr): Expr {
  const shape = SHAPE[format]
  const constant = known(imm)
  if (constant !== undefined) {
    switch (constant & 7) {
      case 0:
        return simd[`${shape}.eq`](a, b)
      case 1:
        return simd[`${shape}.lt`](a, b)
      case 2:
        return simd[`${shape}.le`](a, b)
      case 4:
        return simd[`${shape}.ne`](a, b)
      case 5:
        return simd[`${shape}.ge`](a, b)
      case 6:
        return simd[`${shape}.gt`](a, b)
      default:
        return constant & 4 ? splat(8, -1) : ZERO_VECTOR
    }
  }
  const kind = e.let(i32.and(imm, i32.const(3)))
  const less = select(signals(kind), simd[`${shape}.lt`](a, b), ZERO_VECTOR)
  const equal = select(i32.and(kind, i32.const(1)), ZERO_VECTOR, simd[`${shape}.eq`](a, b))
  const negate = simd['i32x4.splat'](i32.sub(i32.const(0), i32.and(i32.shr_u(imm, i32.const(2)), i32.const(1))))
  return simd['v128.xor'](simd['v128.or'](less, equal), negate)
}

const comparePacked =
  (format: FormatName): Semantics =>
  (e) => {
    const b = e.readVector(1)
    const a = e.readVector(0)
    const imm = e.immediateByte()
    const shape = SHAPE[format]
    const unusual = anyLane(
      simd[`${shape}.ne`](a, a),
      simd[`${shape}.ne`](b, b),
      laneDenormal(e, format, a),
      laneDenormal(e, format, b),
    )
    e.writeVector(
      0,
      guarded(e, 'v128', unusual, compareLanes(e, format, a, b, imm), () => e.helper(EXACT_PACKED[format], a, b, imm)),
    )
  }

/** i32: 0 greater, 1 less, 2 equal, for operands that are no NaNs. */
function relation(e: InstructionEmitter, format: FormatName, x: Expr, y: Expr): Expr {
  return e.let(i32.or(FLOAT[format].lt(x, y), i32.shl(FLOAT[format].eq(x, y), i32.const(1))))
}
/** Both operands, as bits and as numbers, and whether a NaN or a denormal is among them. */
function scalarOperands(
  e: InstructionEmitter,
  format: FormatName,
): { a: Expr; b: Expr; x: Expr; y: Expr; unusual: Expr } {
  const b = e.readVectorLow(1, BYTES[format])
  const a = e.readVectorLow(0, BYTES[format])
  const x = e.let(toFloat(format, a))
  const y = e.let(toFloat(format, b))
  const F = FLOAT[format]
  return { a, b, x, y, unusual: any(F.ne(x, x), F.ne(y, y), scalarDenormal(format, a), scalarDenormal(format, b)) }
}

const compareScalar =
  (format: FormatName): Semantics =>
  (e) => {
    const { a, b, x, y, unusual } = scalarOperands(e, format)
    const imm = e.immediateByte()
    const fast = holds(relation(e, format, x, y), imm)
    e.writeVectorLow(
      0,
      BYTES[format],
      guarded(e, 'i64', unusual, fast, () => e.helper(EXACT_SCALAR[format], a, b, imm)),
    )
  }

const compareFlags =
  (format: FormatName, signaling: boolean): Semantics =>
  (e) => {
    const { a, b, x, y, unusual } = scalarOperands(e, format)
    const found = e.let(
      guarded(e, 'i32', unusual, relation(e, format, x, y), () =>
        e.helper(EXACT_FLAGS[format], a, b, i32.const(signaling ? 1 : 0)),
      ),
    )
    const unordered = e.let(i32.shr_u(found, i32.const(2)))
    e.flagsCarryZeroParity(
      i32.or(i32.and(found, i32.const(LESS)), unordered),
      i32.or(i32.shr_u(i32.and(found, i32.const(EQUAL)), i32.const(1)), unordered),
      unordered,
    )
  }

export const SSE_COMPARE: readonly InstructionDefinition[] = [
  sse('CMPPS', 'NP 0F C2 /r ib', 'Vps Wps Ib', comparePacked('f32')),
  sse('CMPPD', '66 0F C2 /r ib', 'Vpd Wpd Ib', comparePacked('f64')),
  sse('CMPSS', 'F3 0F C2 /r ib', 'Vss Wss Ib', compareScalar('f32')),
  sse('CMPSD', 'F2 0F C2 /r ib', 'Vsd Wsd Ib', compareScalar('f64')),
  sse('UCOMISS', 'NP 0F 2E /r', 'Vss Wss', compareFlags('f32', false)),
  sse('UCOMISD', '66 0F 2E /r', 'Vsd Wsd', compareFlags('f64', false)),
  sse('COMISS', 'NP 0F 2F /r', 'Vss Wss', compareFlags('f32', true)),
  sse('COMISD', '66 0F 2F /r', 'Vsd Wsd', compareFlags('f64', true)),
]
