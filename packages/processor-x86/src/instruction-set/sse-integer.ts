// Packed integer arithmetic, comparison, logic and shifts (SDM vol. 1, 5.4, 5.6.3, 5.8, 5.10, 5.11). Instructions that exist on MMX and on XMM
// registers are one row of PACKED_INTEGER, from which mmx.ts takes the MMX forms.

import type { InstructionDefinition, Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, select, simd, v128 } from '../instruction/emitter.ts'
import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import {
  binary,
  bytesOf,
  type EmittedBinary,
  emitted,
  IOTA,
  known,
  shuffle,
  splat,
  sse,
  unary,
  type VectorBinary,
  ZERO_VECTOR,
} from './vector.ts'

/** A lane-wise operation: each 64-bit half of the result depends on the same halves of the operands only. */
export interface PackedInteger {
  readonly mnemonic: string
  readonly opcode: string
  readonly operation: EmittedBinary
}

const plain =
  (f: VectorBinary): EmittedBinary =>
  (_, a, b) =>
    f(a, b)
const row = (mnemonic: string, opcode: string, operation: EmittedBinary): PackedInteger => ({
  mnemonic,
  opcode,
  operation,
})
const op = (mnemonic: string, opcode: string, name: BinaryName): PackedInteger =>
  row(mnemonic, opcode, plain(simd[name]))

type BinaryName = {
  [K in keyof typeof simd]: (typeof simd)[K] extends (a: Expr, b: Expr) => Expr
    ? ((a: Expr, b: Expr) => Expr) extends (typeof simd)[K]
      ? K
      : never
    : never
}[keyof typeof simd]

/** The upper halves of 16-bit products. */
const multiplyHigh =
  (sign: 's' | 'u'): EmittedBinary =>
  (_, a, b) =>
    shuffle(
      2,
      simd[`i32x4.extmul_low_i16x8_${sign}`](a, b),
      simd[`i32x4.extmul_high_i16x8_${sign}`](a, b),
      [1, 3, 5, 7, 9, 11, 13, 15],
    )

/** 64-bit products of the even dwords. */
const multiplyEven =
  (sign: 's' | 'u'): EmittedBinary =>
  (_, a, b) =>
    simd[`i64x2.extmul_low_i32x4_${sign}`](shuffle(4, a, a, [0, 2, 0, 2]), shuffle(4, b, b, [0, 2, 0, 2]))

const absoluteDifference: VectorBinary = (a, b) =>
  simd['v128.or'](simd['i8x16.sub_sat_u'](a, b), simd['i8x16.sub_sat_u'](b, a))

/** PSADBW: sums of absolute differences in each quadword. */
const sumOfDifferences: EmittedBinary = (e, a, b) => {
  const sums = e.let(
    simd['i32x4.extadd_pairwise_i16x8_u'](simd['i16x8.extadd_pairwise_i8x16_u'](absoluteDifference(a, b))),
  )
  return simd['v128.and'](simd['i64x2.add'](sums, simd['i64x2.shr_u'](sums, i32.const(32))), splat(8, 0xffffffffn))
}

/** PMADDUBSW: unsigned bytes of the first times signed bytes of the second. Each product fits 16 bits. */
const multiplyAddUnsigned: EmittedBinary = (_, a, b) => {
  const eight = i32.const(8)
  const even = simd['i16x8.mul'](
    simd['v128.and'](a, splat(2, 0xff)),
    simd['i16x8.shr_s'](simd['i16x8.shl'](b, eight), eight),
  )
  const odd = simd['i16x8.mul'](simd['i16x8.shr_u'](a, eight), simd['i16x8.shr_s'](b, eight))
  return simd['i16x8.add_sat_s'](even, odd)
}

/** PMULHRSW: WebAssembly's instruction saturates the one product that overflows, x86 wraps it. */
const multiplyHighRound: EmittedBinary = (_, a, b) => {
  const least = splat(2, 0x8000)
  const overflow = simd['v128.and'](simd['i16x8.eq'](a, least), simd['i16x8.eq'](b, least))
  return simd['v128.xor'](simd['i16x8.q15mulr_sat_s'](a, b), overflow)
}

/** PSIGN: negate, clear or keep by the sign of the second. */
const applySign =
  (lane: 'i8x16' | 'i16x8' | 'i32x4'): EmittedBinary =>
  (e, a, b) => {
    const negative = e.let(simd[`${lane}.lt_s`](b, ZERO_VECTOR))
    const value = simd[`${lane}.sub`](simd['v128.xor'](a, negative), negative)
    return simd['v128.andnot'](value, simd[`${lane}.eq`](b, ZERO_VECTOR))
  }

/** PSHUFB on XMM: bit 7 of an index gives 0. */
const shuffleBytes: EmittedBinary = (_, a, b) => simd['i8x16.swizzle'](a, simd['v128.and'](b, splat(1, 0x8f)))

/** Opcode without the prefix: NP is the MMX form, 66 the XMM form. */
export const PACKED_INTEGER: readonly PackedInteger[] = [
  op('PADDB', '0F FC', 'i8x16.add'),
  op('PADDW', '0F FD', 'i16x8.add'),
  op('PADDD', '0F FE', 'i32x4.add'),
  op('PADDQ', '0F D4', 'i64x2.add'),
  op('PADDSB', '0F EC', 'i8x16.add_sat_s'),
  op('PADDSW', '0F ED', 'i16x8.add_sat_s'),
  op('PADDUSB', '0F DC', 'i8x16.add_sat_u'),
  op('PADDUSW', '0F DD', 'i16x8.add_sat_u'),
  op('PSUBB', '0F F8', 'i8x16.sub'),
  op('PSUBW', '0F F9', 'i16x8.sub'),
  op('PSUBD', '0F FA', 'i32x4.sub'),
  op('PSUBQ', '0F FB', 'i64x2.sub'),
  op('PSUBSB', '0F E8', 'i8x16.sub_sat_s'),
  op('PSUBSW', '0F E9', 'i16x8.sub_sat_s'),
  op('PSUBUSB', '0F D8', 'i8x16.sub_sat_u'),
  op('PSUBUSW', '0F D9', 'i16x8.sub_sat_u'),
  op('PAVGB', '0F E0', 'i8x16.avgr_u'),
  op('PAVGW', '0F E3', 'i16x8.avgr_u'),
  op('PMINUB', '0F DA', 'i8x16.min_u'),
  op('PMAXUB', '0F DE', 'i8x16.max_u'),
  op('PMINSW', '0F EA', 'i16x8.min_s'),
  op('PMAXSW', '0F EE', 'i16x8.max_s'),
  op('PCMPEQB', '0F 74', 'i8x16.eq'),
  op('PCMPEQW', '0F 75', 'i16x8.eq'),
  op('PCMPEQD', '0F 76', 'i32x4.eq'),
  op('PCMPGTB', '0F 64', 'i8x16.gt_s'),
  op('PCMPGTW', '0F 65', 'i16x8.gt_s'),
  op('PCMPGTD', '0F 66', 'i32x4.gt_s'),
  op('PAND', '0F DB', 'v128.and'),
  row(
    'PANDN',
    '0F DF',
    plain((a, b) => simd['v128.andnot'](b, a)),
  ),
  op('POR', '0F EB', 'v128.or'),
  op('PXOR', '0F EF', 'v128.xor'),
  op('PMULLW', '0F D5', 'i16x8.mul'),
  row('PMULHW', '0F E5', multiplyHigh('s')),
  row('PMULHUW', '0F E4', multiplyHigh('u')),
  op('PMADDWD', '0F F5', 'i32x4.dot_i16x8_s'),
  row('PMULUDQ', '0F F4', multiplyEven('u')),
  row('PSADBW', '0F F6', sumOfDifferences),
  row('PMADDUBSW', '0F 38 04', multiplyAddUnsigned),
  row('PMULHRSW', '0F 38 0B', multiplyHighRound),
  row('PSIGNB', '0F 38 08', applySign('i8x16')),
  row('PSIGNW', '0F 38 09', applySign('i16x8')),
  row('PSIGND', '0F 38 0A', applySign('i32x4')),
  row('PABSB', '0F 38 1C', (_, __, b) => simd['i8x16.abs'](b)),
  row('PABSW', '0F 38 1D', (_, __, b) => simd['i16x8.abs'](b)),
  row('PABSD', '0F 38 1E', (_, __, b) => simd['i32x4.abs'](b)),
]

// --- horizontal additions: even lanes and odd lanes of both operands, one after the other

const EVEN_ODD = {
  2: [
    [0, 2, 4, 6, 8, 10, 12, 14],
    [1, 3, 5, 7, 9, 11, 13, 15],
  ],
  4: [
    [0, 2, 4, 6],
    [1, 3, 5, 7],
  ],
} as const

/** `f(even lanes, odd lanes)` of the concatenation. */
const horizontal =
  (bytes: 2 | 4, f: VectorBinary): VectorBinary =>
  (a, b) =>
    f(shuffle(bytes, a, b, EVEN_ODD[bytes][0]), shuffle(bytes, a, b, EVEN_ODD[bytes][1]))

/** Horizontal operations by the concatenation of their operands. */
export const HORIZONTAL_INTEGER: readonly {
  readonly mnemonic: string
  readonly opcode: string
  readonly operation: VectorBinary
}[] = [
  { mnemonic: 'PHADDW', opcode: '0F 38 01', operation: horizontal(2, simd['i16x8.add']) },
  { mnemonic: 'PHADDD', opcode: '0F 38 02', operation: horizontal(4, simd['i32x4.add']) },
  { mnemonic: 'PHADDSW', opcode: '0F 38 03', operation: horizontal(2, simd['i16x8.add_sat_s']) },
  { mnemonic: 'PHSUBW', opcode: '0F 38 05', operation: horizontal(2, simd['i16x8.sub']) },
  { mnemonic: 'PHSUBD', opcode: '0F 38 06', operation: horizontal(4, simd['i32x4.sub']) },
  { mnemonic: 'PHSUBSW', opcode: '0F 38 07', operation: horizontal(2, simd['i16x8.sub_sat_s']) },
]

// --- shifts

export interface PackedShift {
  readonly mnemonic: string
  /** Count in a register or memory. */
  readonly opcode: string
  /** Count immediate. */
  readonly group: string
  readonly bits: 16 | 32 | 64
  readonly shift: 'shl' | 'shr_s' | 'shr_u'
}

export const PACKED_SHIFT: readonly PackedShift[] = [
  { mnemonic: 'PSRLW', opcode: '0F D1', group: '0F 71 /2', bits: 16, shift: 'shr_u' },
  { mnemonic: 'PSRAW', opcode: '0F E1', group: '0F 71 /4', bits: 16, shift: 'shr_s' },
  { mnemonic: 'PSLLW', opcode: '0F F1', group: '0F 71 /6', bits: 16, shift: 'shl' },
  { mnemonic: 'PSRLD', opcode: '0F D2', group: '0F 72 /2', bits: 32, shift: 'shr_u' },
  { mnemonic: 'PSRAD', opcode: '0F E2', group: '0F 72 /4', bits: 32, shift: 'shr_s' },
  { mnemonic: 'PSLLD', opcode: '0F F2', group: '0F 72 /6', bits: 32, shift: 'shl' },
  { mnemonic: 'PSRLQ', opcode: '0F D3', group: '0F 73 /2', bits: 64, shift: 'shr_u' },
  { mnemonic: 'PSLLQ', opcode: '0F F3', group: '0F 73 /6', bits: 64, shift: 'shl' },
]

const LANE = { 16: 'i16x8', 32: 'i32x4', 64: 'i64x2' } as const

/** `value` shifted by `count` (i64, unsigned); a count of the lane's width or more gives zeros, or signs. */
export function shiftLanes(e: InstructionEmitter, shift: PackedShift, value: Expr, count: Expr): Expr {
  const operation = simd[`${LANE[shift.bits]}.${shift.shift}`]
  const constant = known(count)
  if (shift.shift === 'shr_s') {
    const most = i64.const(shift.bits - 1)
    return operation(value, i32.wrap_i64(select(i64.lt_u(count, most), count, most)))
  }
  if (constant !== undefined) return constant < shift.bits ? operation(value, i32.const(constant)) : ZERO_VECTOR
  return select(i64.lt_u(count, i64.const(shift.bits)), e.let(operation(value, i32.wrap_i64(count))), ZERO_VECTOR)
}

const shiftByOperand =
  (shift: PackedShift): Semantics =>
  (e) => {
    const count = e.let(simd['i64x2.extract_lane'](e.readVector(1), 0))
    e.writeVector(0, shiftLanes(e, shift, e.readVector(0), count))
  }
const shiftByImmediate =
  (shift: PackedShift): Semantics =>
  (e) => {
    const imm = e.immediateByte()
    const constant = known(imm)
    const count = constant === undefined ? e.let(i64.extend_i32_u(imm)) : i64.const(constant)
    e.writeVector(0, shiftLanes(e, shift, e.readVector(0), count))
  }

/** PSLLDQ, PSRLDQ. */
const shiftBytes =
  (left: boolean): Semantics =>
  (e) => {
    const a = e.readVector(0)
    const imm = e.immediateByte()
    const constant = known(imm)
    if (constant !== undefined) {
      const n = Math.min(constant, 16)
      const from = left ? 16 - n : n
      e.writeVector(
        0,
        left
          ? v128.shuffle(ZERO_VECTOR, a, bytesOf(1, sequence(from)))
          : v128.shuffle(a, ZERO_VECTOR, bytesOf(1, sequence(from))),
      )
      return
    }
    const count = simd['i8x16.splat'](select(i32.lt_u(imm, i32.const(16)), imm, i32.const(16)))
    e.writeVector(0, simd['i8x16.swizzle'](a, left ? simd['i8x16.sub'](IOTA, count) : simd['i8x16.add'](IOTA, count)))
  }
function sequence(from: number): number[] {
  return Array.from({ length: 16 }, (_, i) => from + i)
}

// --- SSE4

/** PTEST: ZF when nothing is in common, CF when the source has nothing that the destination lacks. */
const test: Semantics = (e) => {
  const b = e.readVector(1)
  const a = e.readVector(0)
  const zf = i32.eqz(simd['v128.any_true'](simd['v128.and'](a, b)))
  const cf = i32.eqz(simd['v128.any_true'](simd['v128.andnot'](b, a)))
  e.flagsCarryZeroParity(cf, zf, i32.const(0))
}

/** PHMINPOSUW: the least word and its index. */
const minimumPosition: HelperFunction = helperFunction('sse.phminposuw', ['v128'], 'i64', (e, [a]) => {
  const best = e.local('i32')
  // A word above its index, so that the least of these is the first of the least words.
  const keyed = (i: number): Expr => i32.or(i32.shl(simd['i16x8.extract_lane_u'](a, i), i32.const(3)), i32.const(i))
  e.set(best, keyed(0))
  for (let i = 1; i < 8; i++) {
    const key = e.let(keyed(i))
    e.set(best, select(i32.lt_u(key, e.get(best)), key, e.get(best)))
  }
  const key = e.get(best)
  e.return(i64.extend_i32_u(i32.or(i32.shr_u(key, i32.const(3)), i32.shl(i32.and(key, i32.const(7)), i32.const(16)))))
})
const horizontalMinimum: Semantics = (e) =>
  e.writeVector(0, simd['i64x2.replace_lane'](ZERO_VECTOR, 0, e.helper(minimumPosition, e.readVector(1))))

/** MPSADBW: eight sums of four absolute differences, of a sliding part of the first with one dword of the second. */
const slidingDifferences: HelperFunction = helperFunction(
  'sse.mpsadbw',
  ['v128', 'v128', 'i32'],
  'v128',
  (e, [a, b, imm]) => {
    // Bytes 0–10 of `window` are what is compared, `block` is four times the dword.
    const bit = (n: number): Expr => i32.and(i32.shr_u(imm, i32.const(n)), i32.const(1))
    const window = e.let(
      simd['i8x16.swizzle'](a, simd['i8x16.add'](IOTA, simd['i8x16.splat'](i32.shl(bit(2), i32.const(2))))),
    )
    const select4 = i32.shl(i32.and(imm, i32.const(3)), i32.const(2))
    const block = e.let(
      simd['i8x16.swizzle'](
        b,
        simd['i8x16.add'](v128.const([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]), simd['i8x16.splat'](select4)),
      ),
    )
    const four = (from: number): Expr => {
      const parts = v128.shuffle(
        window,
        window,
        [0, 1, 2, 3].flatMap((i) => bytesOf(1, [from + i, from + i + 1, from + i + 2, from + i + 3])),
      )
      return simd['i32x4.extadd_pairwise_i16x8_u'](
        simd['i16x8.extadd_pairwise_i8x16_u'](absoluteDifference(e.let(parts), block)),
      )
    }
    e.return(simd['i16x8.narrow_i32x4_u'](four(0), four(4)))
  },
)
const multipleDifferences: Semantics = (e) => {
  const b = e.readVector(1)
  e.writeVector(0, e.helper(slidingDifferences, e.readVector(0), b, e.immediateByte()))
}

/** PMOVSX, PMOVZX: the low lanes widened, once or more. */
const EXTEND = [
  ['BW', '0', 'Wq', ['i16x8.extend_low_i8x16']],
  ['BD', '1', 'Wd', ['i16x8.extend_low_i8x16', 'i32x4.extend_low_i16x8']],
  ['BQ', '2', 'Ww', ['i16x8.extend_low_i8x16', 'i32x4.extend_low_i16x8', 'i64x2.extend_low_i32x4']],
  ['WD', '3', 'Wq', ['i32x4.extend_low_i16x8']],
  ['WQ', '4', 'Wd', ['i32x4.extend_low_i16x8', 'i64x2.extend_low_i32x4']],
  ['DQ', '5', 'Wq', ['i64x2.extend_low_i32x4']],
] as const
const extend = (sign: 's' | 'u'): InstructionDefinition[] =>
  EXTEND.map(([name, digit, source, steps]) =>
    sse(
      `PMOV${sign === 's' ? 'S' : 'Z'}X${name}`,
      `66 0F 38 ${sign === 's' ? 2 : 3}${digit} /r`,
      `Vx ${source}`,
      unary((a) => steps.reduce((value, step) => simd[`${step}_${sign}`](value), a)),
    ),
  )

export const SSE_INTEGER: readonly InstructionDefinition[] = [
  ...PACKED_INTEGER.map(({ mnemonic, opcode, operation }) =>
    sse(mnemonic, `66 ${opcode} /r`, 'Vx Wx', emitted(operation)),
  ),
  ...HORIZONTAL_INTEGER.map(({ mnemonic, opcode, operation }) =>
    sse(mnemonic, `66 ${opcode} /r`, 'Vx Wx', binary(operation)),
  ),
  ...PACKED_SHIFT.map((shift) => sse(shift.mnemonic, `66 ${shift.opcode} /r`, 'Vx Wx', shiftByOperand(shift))),
  ...PACKED_SHIFT.map((shift) => sse(shift.mnemonic, `66 ${shift.group} ib`, 'Ux Ib', shiftByImmediate(shift))),
  sse('PSRLDQ', '66 0F 73 /3 ib', 'Ux Ib', shiftBytes(false)),
  sse('PSLLDQ', '66 0F 73 /7 ib', 'Ux Ib', shiftBytes(true)),
  sse('PSHUFB', '66 0F 38 00 /r', 'Vx Wx', emitted(shuffleBytes)),

  ...extend('s'),
  ...extend('u'),
  sse('PTEST', '66 0F 38 17 /r', 'Vx Wx', test),
  sse('PMULDQ', '66 0F 38 28 /r', 'Vx Wx', emitted(multiplyEven('s'))),
  sse('PCMPEQQ', '66 0F 38 29 /r', 'Vx Wx', binary(simd['i64x2.eq'])),
  sse('PCMPGTQ', '66 0F 38 37 /r', 'Vx Wx', binary(simd['i64x2.gt_s'])),
  sse('PMINSB', '66 0F 38 38 /r', 'Vx Wx', binary(simd['i8x16.min_s'])),
  sse('PMINSD', '66 0F 38 39 /r', 'Vx Wx', binary(simd['i32x4.min_s'])),
  sse('PMINUW', '66 0F 38 3A /r', 'Vx Wx', binary(simd['i16x8.min_u'])),
  sse('PMINUD', '66 0F 38 3B /r', 'Vx Wx', binary(simd['i32x4.min_u'])),
  sse('PMAXSB', '66 0F 38 3C /r', 'Vx Wx', binary(simd['i8x16.max_s'])),
  sse('PMAXSD', '66 0F 38 3D /r', 'Vx Wx', binary(simd['i32x4.max_s'])),
  sse('PMAXUW', '66 0F 38 3E /r', 'Vx Wx', binary(simd['i16x8.max_u'])),
  sse('PMAXUD', '66 0F 38 3F /r', 'Vx Wx', binary(simd['i32x4.max_u'])),
  sse('PMULLD', '66 0F 38 40 /r', 'Vx Wx', binary(simd['i32x4.mul'])),
  sse('PHMINPOSUW', '66 0F 38 41 /r', 'Vx Wx', horizontalMinimum),
  sse('MPSADBW', '66 0F 3A 42 /r ib', 'Vx Wx Ib', multipleDifferences),
]
