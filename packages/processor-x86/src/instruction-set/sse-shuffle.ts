// Rearrangement of XMM registers (SDM vol. 1, 5.5.1.4, 5.6.1.5, 5.6.3, 5.8.6, 5.10): shuffles, interleaving, narrowing, blends, insertion, extraction.

import type { InstructionDefinition, Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, select, simd, v128 } from '../instruction/emitter.ts'
import {
  binary,
  bytesOf,
  dwordSelector,
  fields,
  IOTA,
  immediateMask,
  known,
  lanes,
  shuffle,
  splat,
  sse,
  ZERO_VECTOR,
} from './vector.ts'

// --- shuffles by an immediate

/** PSHUFD. */
const shuffleDwords: Semantics = (e) => {
  const a = e.readVector(1)
  const imm = e.immediateByte()
  const constant = known(imm)
  e.writeVector(
    0,
    constant === undefined ? simd['i8x16.swizzle'](a, dwordSelector(imm)) : shuffle(4, a, a, fields(constant)),
  )
}

/** PSHUFLW, PSHUFHW: one half of a register, the other stays. */
const shuffleWords =
  (high: boolean): Semantics =>
  (e) => {
    const a = e.readVector(1)
    const imm = e.immediateByte()
    const constant = known(imm)
    if (constant !== undefined) {
      const chosen = fields(constant)
      e.writeVector(0, shuffle(2, a, a, high ? [0, 1, 2, 3, ...chosen.map((i) => i + 4)] : [...chosen, 4, 5, 6, 7]))
      return
    }
    const scale = high ? [0, 0, 0, 0, 64, 16, 4, 1] : [64, 16, 4, 1, 0, 0, 0, 0]
    const base = high
      ? [0x0100, 0x0302, 0x0504, 0x0706, 0x0908, 0x0908, 0x0908, 0x0908]
      : [0x0100, 0x0100, 0x0100, 0x0100, 0x0908, 0x0b0a, 0x0d0c, 0x0f0e]
    const field = simd['i16x8.shr_u'](simd['i16x8.mul'](simd['i16x8.splat'](imm), lanes(2, scale)), i32.const(6))
    const index = simd['i16x8.mul'](simd['v128.and'](field, splat(2, 3)), splat(2, 0x0202))
    e.writeVector(0, simd['i8x16.swizzle'](a, simd['i16x8.add'](index, lanes(2, base))))
  }

/** SHUFPS: two dwords of the destination, two of the source. */
const shuffleSingles: Semantics = (e) => {
  const b = e.readVector(1)
  const a = e.readVector(0)
  const imm = e.immediateByte()
  const constant = known(imm)
  if (constant !== undefined) {
    const [i, j, k, l] = fields(constant)
    e.writeVector(0, shuffle(4, a, b, [i, j, k + 4, l + 4]))
    return
  }
  const selector = e.let(dwordSelector(imm))
  e.writeVector(0, shuffle(4, simd['i8x16.swizzle'](a, selector), simd['i8x16.swizzle'](b, selector), [0, 1, 6, 7]))
}
/** SHUFPD. */
const shuffleDoubles: Semantics = (e) => {
  const b = e.readVector(1)
  const a = e.readVector(0)
  const imm = e.immediateByte()
  const half = (from: Expr, bit: number): Expr =>
    select(i32.and(imm, i32.const(bit)), simd['i64x2.extract_lane'](from, 1), simd['i64x2.extract_lane'](from, 0))
  e.writeVector(0, simd['i64x2.replace_lane'](simd['i64x2.splat'](half(a, 1)), 1, half(b, 2)))
}

/** PALIGNR: sixteen bytes out of destination:source, from byte `imm` of the source on. Shared with the MMX form, which has bytes 8–15 of both clear. */
export function alignRight(e: InstructionEmitter, a: Expr, b: Expr, imm: Expr): Expr {
  const start = e.let(
    simd['i8x16.add'](IOTA, simd['i8x16.splat'](select(i32.lt_u(imm, i32.const(32)), imm, i32.const(32)))),
  )
  return simd['v128.or'](
    simd['i8x16.swizzle'](b, start),
    simd['i8x16.swizzle'](a, simd['i8x16.sub'](start, splat(1, 16))),
  )
}
const align: Semantics = (e) => {
  const b = e.readVector(1)
  const a = e.readVector(0)
  const imm = e.immediateByte()
  const constant = known(imm)
  if (constant !== undefined && constant <= 16)
    e.writeVector(
      0,
      v128.shuffle(
        b,
        a,
        Array.from({ length: 16 }, (_, i) => i + constant),
      ),
    )
  else e.writeVector(0, alignRight(e, a, b, imm))
}

// --- blends

const blendImmediate =
  (bytes: 2 | 4 | 8): Semantics =>
  (e) => {
    const b = e.readVector(1)
    const a = e.readVector(0)
    e.writeVector(0, v128.bitselect(b, a, immediateMask(bytes, e.immediateByte())))
  }
/** By the signs of the lanes of XMM0. */
const blendVariable =
  (lane: 'i8x16' | 'i32x4' | 'i64x2'): Semantics =>
  (e) => {
    const b = e.readVector(1)
    const a = e.readVector(0)
    e.writeVector(0, v128.bitselect(b, a, simd[`${lane}.lt_s`](e.xmm(0), ZERO_VECTOR)))
  }

// --- insertion and extraction

/** Swizzle indexes that repeat lane `index` (i32) of `bytes` bytes. */
function repeatLane(bytes: 1 | 2 | 4 | 8, index: Expr): Expr {
  const pattern = v128.const(Array.from({ length: 16 }, (_, i) => i % bytes))
  return simd['i8x16.add'](pattern, simd['i8x16.splat'](i32.mul(index, i32.const(bytes))))
}
/** i64: lane `index` (i32), zero-extended. */
function extractLane(e: InstructionEmitter, bytes: 1 | 2 | 4 | 8, value: Expr, index: Expr): Expr {
  const found = e.let(simd['i8x16.swizzle'](value, repeatLane(bytes, index)))
  if (bytes === 8) return simd['i64x2.extract_lane'](found, 0)
  if (bytes === 4) return i64.extend_i32_u(simd['i32x4.extract_lane'](found, 0))
  if (bytes === 2) return i64.extend_i32_u(simd['i16x8.extract_lane_u'](found, 0))
  return i64.extend_i32_u(simd['i8x16.extract_lane_u'](found, 0))
}
/** All ones in lane `index` (i32). */
function laneMask(bytes: 1 | 2 | 4 | 8, index: Expr): Expr {
  const numbers = v128.const(Array.from({ length: 16 }, (_, i) => Math.floor(i / bytes)))
  return simd['i8x16.eq'](numbers, simd['i8x16.splat'](index))
}
function splatInteger(bytes: 1 | 2 | 4 | 8, value: Expr): Expr {
  if (bytes === 8) return simd['i64x2.splat'](value)
  const narrow = i32.wrap_i64(value)
  return bytes === 4
    ? simd['i32x4.splat'](narrow)
    : bytes === 2
      ? simd['i16x8.splat'](narrow)
      : simd['i8x16.splat'](narrow)
}
function laneIndex(e: InstructionEmitter, bytes: number): Expr {
  return e.let(i32.and(e.immediateByte(), i32.const(16 / bytes - 1)))
}

/** PINSRB, PINSRW, PINSRD, PINSRQ; `bytes` 0: by operand 1. */
const insert =
  (bytes: 0 | 1 | 2): Semantics =>
  (e) => {
    const size = bytes || (e.size(1) as 4 | 8)
    const value = e.read(1)
    const a = e.readVector(0)
    e.writeVector(0, v128.bitselect(splatInteger(size, value), a, laneMask(size, laneIndex(e, size))))
  }
/** PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS: registers get the lane zero-extended. */
const extract =
  (bytes: 0 | 1 | 2): Semantics =>
  (e) => {
    const size = bytes || (e.size(0) as 4 | 8)
    e.write(0, extractLane(e, size, e.readVector(1), laneIndex(e, size)))
  }

/** INSERTPS: any dword of a register, or one of memory, to any place; any dwords cleared. */
const insertSingle: Semantics = (e) => {
  const source = e.readVector(1)
  const a = e.readVector(0)
  const imm = e.immediateByte()
  const from = e.isMemory(1) ? i32.const(0) : i32.shr_u(imm, i32.const(6))
  const value = simd['i8x16.swizzle'](source, repeatLane(4, from))
  const inserted = v128.bitselect(value, a, laneMask(4, i32.and(i32.shr_u(imm, i32.const(4)), i32.const(3))))
  e.writeVector(0, simd['v128.andnot'](inserted, immediateMask(4, imm)))
}

// --- interleaving

const INTERLEAVE_LOW = {
  1: [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23],
  2: [0, 8, 1, 9, 2, 10, 3, 11],
  4: [0, 4, 1, 5],
  8: [0, 2],
} as const
const interleave = (bytes: 1 | 2 | 4 | 8, high: boolean): Semantics =>
  binary((a, b) =>
    v128.shuffle(
      a,
      b,
      bytesOf(
        bytes,
        INTERLEAVE_LOW[bytes].map((i) => i + (high ? 8 / bytes : 0)),
      ),
    ),
  )

export const SSE_SHUFFLE: readonly InstructionDefinition[] = [
  sse('PUNPCKLBW', '66 0F 60 /r', 'Vx Wx', interleave(1, false)),
  sse('PUNPCKLWD', '66 0F 61 /r', 'Vx Wx', interleave(2, false)),
  sse('PUNPCKLDQ', '66 0F 62 /r', 'Vx Wx', interleave(4, false)),
  sse('PACKSSWB', '66 0F 63 /r', 'Vx Wx', binary(simd['i8x16.narrow_i16x8_s'])),
  sse('PACKUSWB', '66 0F 67 /r', 'Vx Wx', binary(simd['i8x16.narrow_i16x8_u'])),
  sse('PUNPCKHBW', '66 0F 68 /r', 'Vx Wx', interleave(1, true)),
  sse('PUNPCKHWD', '66 0F 69 /r', 'Vx Wx', interleave(2, true)),
  sse('PUNPCKHDQ', '66 0F 6A /r', 'Vx Wx', interleave(4, true)),
  sse('PACKSSDW', '66 0F 6B /r', 'Vx Wx', binary(simd['i16x8.narrow_i32x4_s'])),
  sse('PUNPCKLQDQ', '66 0F 6C /r', 'Vx Wx', interleave(8, false)),
  sse('PUNPCKHQDQ', '66 0F 6D /r', 'Vx Wx', interleave(8, true)),
  sse('PACKUSDW', '66 0F 38 2B /r', 'Vx Wx', binary(simd['i16x8.narrow_i32x4_u'])),
  sse('UNPCKLPS', 'NP 0F 14 /r', 'Vx Wx', interleave(4, false)),
  sse('UNPCKHPS', 'NP 0F 15 /r', 'Vx Wx', interleave(4, true)),
  sse('UNPCKLPD', '66 0F 14 /r', 'Vx Wx', interleave(8, false)),
  sse('UNPCKHPD', '66 0F 15 /r', 'Vx Wx', interleave(8, true)),

  sse('PSHUFD', '66 0F 70 /r ib', 'Vx Wx Ib', shuffleDwords),
  sse('PSHUFHW', 'F3 0F 70 /r ib', 'Vx Wx Ib', shuffleWords(true)),
  sse('PSHUFLW', 'F2 0F 70 /r ib', 'Vx Wx Ib', shuffleWords(false)),
  sse('SHUFPS', 'NP 0F C6 /r ib', 'Vps Wps Ib', shuffleSingles),
  sse('SHUFPD', '66 0F C6 /r ib', 'Vpd Wpd Ib', shuffleDoubles),
  sse('PALIGNR', '66 0F 3A 0F /r ib', 'Vx Wx Ib', align),

  sse('BLENDPS', '66 0F 3A 0C /r ib', 'Vps Wps Ib', blendImmediate(4)),
  sse('BLENDPD', '66 0F 3A 0D /r ib', 'Vpd Wpd Ib', blendImmediate(8)),
  sse('PBLENDW', '66 0F 3A 0E /r ib', 'Vx Wx Ib', blendImmediate(2)),
  sse('PBLENDVB', '66 0F 38 10 /r', 'Vx Wx', blendVariable('i8x16')),
  sse('BLENDVPS', '66 0F 38 14 /r', 'Vps Wps', blendVariable('i32x4')),
  sse('BLENDVPD', '66 0F 38 15 /r', 'Vpd Wpd', blendVariable('i64x2')),

  sse('PINSRW', '66 0F C4 /r ib', 'Vdq Rd Ib', insert(2)),
  sse('PINSRW', '66 0F C4 /r ib', 'Vdq Mw Ib', insert(2)),
  sse('PINSRB', '66 0F 3A 20 /r ib', 'Vdq Rd Ib', insert(1)),
  sse('PINSRB', '66 0F 3A 20 /r ib', 'Vdq Mb Ib', insert(1)),
  sse('PINSRD', '66 0F 3A 22 /r ib', 'Vdq Ey Ib', insert(0)),
  sse('INSERTPS', '66 0F 3A 21 /r ib', 'Vdq Wd Ib', insertSingle),
  sse('PEXTRW', '66 0F C5 /r ib', 'Gd Udq Ib', extract(2)),
  sse('PEXTRB', '66 0F 3A 14 /r ib', 'Rd Vdq Ib', extract(1)),
  sse('PEXTRB', '66 0F 3A 14 /r ib', 'Mb Vdq Ib', extract(1)),
  sse('PEXTRW', '66 0F 3A 15 /r ib', 'Rd Vdq Ib', extract(2)),
  sse('PEXTRW', '66 0F 3A 15 /r ib', 'Mw Vdq Ib', extract(2)),
  sse('PEXTRD', '66 0F 3A 16 /r ib', 'Ey Vdq Ib', extract(0)),
  sse('EXTRACTPS', '66 0F 3A 17 /r ib', 'Ed Vdq Ib', extract(0)),
]
