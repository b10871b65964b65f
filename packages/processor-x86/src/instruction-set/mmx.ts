// MMX (SDM vol. 1, 5.4, 5.5.2, 5.6.3, 5.8): the packed integers of sse-integer.ts on 64-bit registers, and what only they have.

import type { InstructionDefinition, Semantics } from '../instruction/definition.ts'
import { type Expr, i32, i64, select, simd, v128 } from '../instruction/emitter.ts'
import { STATE } from '../state-layout.ts'
import { HORIZONTAL_INTEGER, PACKED_INTEGER, PACKED_SHIFT, type PackedShift, shiftLanes } from './sse-integer.ts'
import { storeMasked } from './sse-move.ts'
import { alignRight } from './sse-shuffle.ts'
import { bytesOf, fromLow, fromPair, low, mmx, mmxBinary, splat, type VectorBinary } from './vector.ts'

/** Destination and source as the halves of one vector: packing and pairwise operations work on their concatenation. */
const mmxConcatenated =
  (f: VectorBinary): Semantics =>
  (e) => {
    const b = e.readMmx(1)
    const a = e.readMmx(0)
    e.enterMmx()
    const both = e.let(fromPair(a, b))
    e.writeMmx(0, low(f(both, both)))
  }

/** PUNPCKx: lanes of the low or high halves of both, alternating. */
const interleave = (bytes: 1 | 2 | 4, high: boolean): Semantics => {
  const count = 8 / bytes
  const first = high ? count / 2 : 0
  const order = Array.from({ length: 2 * count }, (_, i) =>
    i < count ? first + (i >> 1) + (i & 1 ? 16 / bytes : 0) : 0,
  )
  return mmxBinary((_, a, b) => v128.shuffle(a, b, bytesOf(bytes, order)))
}

const shiftByOperand =
  (shift: PackedShift): Semantics =>
  (e) => {
    const count = e.readMmx(1)
    const a = e.readMmx(0)
    e.enterMmx()
    e.writeMmx(0, low(shiftLanes(e, shift, e.let(fromLow(a)), count)))
  }
const shiftByImmediate =
  (shift: PackedShift): Semantics =>
  (e) => {
    const a = e.readMmx(0)
    const count = e.let(i64.extend_i32_u(e.immediateByte()))
    e.enterMmx()
    e.writeMmx(0, low(shiftLanes(e, shift, e.let(fromLow(a)), count)))
  }

/** i64: bit position of field `index` (i32) of `bits` bits. */
const fieldShift = (index: Expr, bits: number): Expr => i64.extend_i32_u(i32.mul(index, i32.const(bits)))

/** PSHUFW. */
const shuffleWords: Semantics = (e) => {
  const a = e.readMmx(1)
  const imm = e.immediateByte()
  const word = (n: number): Expr => {
    const index = i32.and(i32.shr_u(imm, i32.const(2 * n)), i32.const(3))
    return i64.shl(i64.and(i64.shr_u(a, fieldShift(index, 16)), i64.const(0xffff)), i64.const(16 * n))
  }
  const value = e.let(i64.or(i64.or(word(0), word(1)), i64.or(word(2), word(3))))
  e.enterMmx()
  e.writeMmx(0, value)
}
const insertWord: Semantics = (e) => {
  const value = e.read(1)
  const a = e.readMmx(0)
  const at = e.let(fieldShift(i32.and(e.immediateByte(), i32.const(3)), 16))
  const mask = e.let(i64.shl(i64.const(0xffff), at))
  e.enterMmx()
  e.writeMmx(0, i64.or(i64.and(a, i64.xor(mask, i64.const(-1))), i64.and(i64.shl(value, at), mask)))
}
const extractWord: Semantics = (e) => {
  const a = e.readMmx(1)
  const index = i32.and(e.immediateByte(), i32.const(3))
  const value = e.let(i64.and(i64.shr_u(a, fieldShift(index, 16)), i64.const(0xffff)))
  e.enterMmx()
  e.write(0, value)
}

const shuffleBytes = mmxBinary((_, a, b) => simd['i8x16.swizzle'](a, simd['v128.and'](b, splat(1, 0x87))))
const align: Semantics = (e) => {
  const b = e.readMmx(1)
  const a = e.readMmx(0)
  const imm = e.immediateByte()
  e.enterMmx()
  // sixteen bytes of source and destination, moved right, zeros behind them
  const both = e.let(fromPair(b, a))
  e.writeMmx(0, low(alignRight(e, splat(8, 0), both, select(i32.lt_u(imm, i32.const(16)), imm, i32.const(16)))))
}

// --- moves

const load: Semantics = (e) => {
  const value = e.readMmx(1)
  e.enterMmx()
  e.writeMmx(0, value)
}
const store: Semantics = (e) => {
  const value = e.readMmx(1)
  e.writeMmx(0, value)
  e.enterMmx()
}
const fromGeneral: Semantics = (e) => {
  const value = e.read(1)
  e.enterMmx()
  e.writeMmx(0, value)
}
const toGeneral: Semantics = (e) => {
  e.write(0, e.readMmx(1))
  e.enterMmx()
}
const toXmm: Semantics = (e) => {
  const value = e.readMmx(1)
  e.enterMmx()
  e.writeVector(0, fromLow(value))
}
const fromXmm: Semantics = (e) => {
  const value = e.readVectorLow(1, 8)
  e.enterMmx()
  e.writeMmx(0, value)
}
const signs: Semantics = (e) => {
  const value = e.readMmx(1)
  e.enterMmx()
  e.write(0, i64.extend_i32_u(simd['i8x16.bitmask'](fromLow(value))))
}
/** MASKMOVQ. */
const moveMasked: Semantics = (e) => {
  const mask = e.readMmx(1)
  storeMasked(e, 8, e.let(fromLow(e.readMmx(0))), e.let(fromLow(mask)))
  e.enterMmx()
}
/** EMMS: all x87 registers are free, TOP is 0. */
const empty: Semantics = (e) => {
  e.setStateI32(STATE.X87_TOP, i32.const(0))
  e.setStateI32(STATE.X87_TAGS, i32.const(0))
}

export const MMX: readonly InstructionDefinition[] = [
  ...PACKED_INTEGER.map(({ mnemonic, opcode, operation }) =>
    mmx(mnemonic, `NP ${opcode} /r`, 'Pq Qq', mmxBinary(operation)),
  ),
  ...HORIZONTAL_INTEGER.map(({ mnemonic, opcode, operation }) =>
    mmx(mnemonic, `NP ${opcode} /r`, 'Pq Qq', mmxConcatenated(operation)),
  ),
  ...PACKED_SHIFT.map((shift) => mmx(shift.mnemonic, `NP ${shift.opcode} /r`, 'Pq Qq', shiftByOperand(shift))),
  ...PACKED_SHIFT.map((shift) => mmx(shift.mnemonic, `NP ${shift.group} ib`, 'Nq Ib', shiftByImmediate(shift))),
  mmx('PUNPCKLBW', 'NP 0F 60 /r', 'Pq Qd', interleave(1, false)),
  mmx('PUNPCKLWD', 'NP 0F 61 /r', 'Pq Qd', interleave(2, false)),
  mmx('PUNPCKLDQ', 'NP 0F 62 /r', 'Pq Qd', interleave(4, false)),
  mmx('PUNPCKHBW', 'NP 0F 68 /r', 'Pq Qq', interleave(1, true)),
  mmx('PUNPCKHWD', 'NP 0F 69 /r', 'Pq Qq', interleave(2, true)),
  mmx('PUNPCKHDQ', 'NP 0F 6A /r', 'Pq Qq', interleave(4, true)),
  mmx('PACKSSWB', 'NP 0F 63 /r', 'Pq Qq', mmxConcatenated(simd['i8x16.narrow_i16x8_s'])),
  mmx('PACKUSWB', 'NP 0F 67 /r', 'Pq Qq', mmxConcatenated(simd['i8x16.narrow_i16x8_u'])),
  mmx('PACKSSDW', 'NP 0F 6B /r', 'Pq Qq', mmxConcatenated(simd['i16x8.narrow_i32x4_s'])),
  mmx('PSHUFW', 'NP 0F 70 /r ib', 'Pq Qq Ib', shuffleWords),
  mmx('PSHUFB', 'NP 0F 38 00 /r', 'Pq Qq', shuffleBytes),
  mmx('PALIGNR', 'NP 0F 3A 0F /r ib', 'Pq Qq Ib', align),
  mmx('PINSRW', 'NP 0F C4 /r ib', 'Pq Rd Ib', insertWord),
  mmx('PINSRW', 'NP 0F C4 /r ib', 'Pq Mw Ib', insertWord),
  mmx('PEXTRW', 'NP 0F C5 /r ib', 'Gd Nq Ib', extractWord),
  mmx('PMOVMSKB', 'NP 0F D7 /r', 'Gd Nq', signs),

  mmx('MOVD', 'NP 0F 6E /r', 'Pq Ey', fromGeneral),
  mmx('MOVD', 'NP 0F 7E /r', 'Ey Pq', toGeneral),
  mmx('MOVQ', 'NP 0F 6F /r', 'Pq Qq', load),
  mmx('MOVQ', 'NP 0F 7F /r', 'Qq Pq', store),
  mmx('MOVNTQ', 'NP 0F E7 /r', 'Mq Pq', store),
  mmx('MOVQ2DQ', 'F3 0F D6 /r', 'Vdq Nq', toXmm),
  mmx('MOVDQ2Q', 'F2 0F D6 /r', 'Pq Uq', fromXmm),
  mmx('MASKMOVQ', 'NP 0F F7 /r', 'Pq Nq', moveMasked),
  mmx('EMMS', 'NP 0F 77', '', empty),
]
