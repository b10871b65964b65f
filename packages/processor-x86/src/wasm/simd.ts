// The 128-bit vector instructions (Core Specification 2.0, section 5.4.9, prefix 0xFD) by their names in the text format.

import { type Expr, unsignedLeb, type ValueType } from './expression.ts'

type Unary = (a: Expr) => Expr
type Binary = (a: Expr, b: Expr) => Expr

/** v128 × v128 → v128, by name. */
const BINARY = {
  'i8x16.swizzle': 14,
  'i8x16.eq': 35,
  'i8x16.ne': 36,
  'i8x16.lt_s': 37,
  'i8x16.lt_u': 38,
  'i8x16.gt_s': 39,
  'i8x16.gt_u': 40,
  'i8x16.le_s': 41,
  'i8x16.le_u': 42,
  'i8x16.ge_s': 43,
  'i8x16.ge_u': 44,
  'i16x8.eq': 45,
  'i16x8.ne': 46,
  'i16x8.lt_s': 47,
  'i16x8.lt_u': 48,
  'i16x8.gt_s': 49,
  'i16x8.gt_u': 50,
  'i16x8.le_s': 51,
  'i16x8.le_u': 52,
  'i16x8.ge_s': 53,
  'i16x8.ge_u': 54,
  'i32x4.eq': 55,
  'i32x4.ne': 56,
  'i32x4.lt_s': 57,
  'i32x4.lt_u': 58,
  'i32x4.gt_s': 59,
  'i32x4.gt_u': 60,
  'i32x4.le_s': 61,
  'i32x4.le_u': 62,
  'i32x4.ge_s': 63,
  'i32x4.ge_u': 64,
  'f32x4.eq': 65,
  'f32x4.ne': 66,
  'f32x4.lt': 67,
  'f32x4.gt': 68,
  'f32x4.le': 69,
  'f32x4.ge': 70,
  'f64x2.eq': 71,
  'f64x2.ne': 72,
  'f64x2.lt': 73,
  'f64x2.gt': 74,
  'f64x2.le': 75,
  'f64x2.ge': 76,
  'v128.and': 78,
  'v128.andnot': 79,
  'v128.or': 80,
  'v128.xor': 81,
  'i8x16.narrow_i16x8_s': 101,
  'i8x16.narrow_i16x8_u': 102,
  'i8x16.add': 110,
  'i8x16.add_sat_s': 111,
  'i8x16.add_sat_u': 112,
  'i8x16.sub': 113,
  'i8x16.sub_sat_s': 114,
  'i8x16.sub_sat_u': 115,
  'i8x16.min_s': 118,
  'i8x16.min_u': 119,
  'i8x16.max_s': 120,
  'i8x16.max_u': 121,
  'i8x16.avgr_u': 123,
  'i16x8.q15mulr_sat_s': 130,
  'i16x8.narrow_i32x4_s': 133,
  'i16x8.narrow_i32x4_u': 134,
  'i16x8.add': 142,
  'i16x8.add_sat_s': 143,
  'i16x8.add_sat_u': 144,
  'i16x8.sub': 145,
  'i16x8.sub_sat_s': 146,
  'i16x8.sub_sat_u': 147,
  'i16x8.mul': 149,
  'i16x8.min_s': 150,
  'i16x8.min_u': 151,
  'i16x8.max_s': 152,
  'i16x8.max_u': 153,
  'i16x8.avgr_u': 155,
  'i16x8.extmul_low_i8x16_s': 156,
  'i16x8.extmul_high_i8x16_s': 157,
  'i16x8.extmul_low_i8x16_u': 158,
  'i16x8.extmul_high_i8x16_u': 159,
  'i32x4.add': 174,
  'i32x4.sub': 177,
  'i32x4.mul': 181,
  'i32x4.min_s': 182,
  'i32x4.min_u': 183,
  'i32x4.max_s': 184,
  'i32x4.max_u': 185,
  'i32x4.dot_i16x8_s': 186,
  'i32x4.extmul_low_i16x8_s': 188,
  'i32x4.extmul_high_i16x8_s': 189,
  'i32x4.extmul_low_i16x8_u': 190,
  'i32x4.extmul_high_i16x8_u': 191,
  'i64x2.add': 206,
  'i64x2.sub': 209,
  'i64x2.mul': 213,
  'i64x2.eq': 214,
  'i64x2.ne': 215,
  'i64x2.lt_s': 216,
  'i64x2.gt_s': 217,
  'i64x2.le_s': 218,
  'i64x2.ge_s': 219,
  'i64x2.extmul_low_i32x4_s': 220,
  'i64x2.extmul_high_i32x4_s': 221,
  'i64x2.extmul_low_i32x4_u': 222,
  'i64x2.extmul_high_i32x4_u': 223,
  'f32x4.add': 228,
  'f32x4.sub': 229,
  'f32x4.mul': 230,
  'f32x4.div': 231,
  'f32x4.min': 232,
  'f32x4.max': 233,
  'f32x4.pmin': 234,
  'f32x4.pmax': 235,
  'f64x2.add': 240,
  'f64x2.sub': 241,
  'f64x2.mul': 242,
  'f64x2.div': 243,
  'f64x2.min': 244,
  'f64x2.max': 245,
  'f64x2.pmin': 246,
  'f64x2.pmax': 247,
} as const

/** v128 → v128, by name. */
const UNARY = {
  'v128.not': 77,
  'f32x4.demote_f64x2_zero': 94,
  'f64x2.promote_low_f32x4': 95,
  'i8x16.abs': 96,
  'i8x16.neg': 97,
  'i8x16.popcnt': 98,
  'i16x8.extadd_pairwise_i8x16_s': 124,
  'i16x8.extadd_pairwise_i8x16_u': 125,
  'i32x4.extadd_pairwise_i16x8_s': 126,
  'i32x4.extadd_pairwise_i16x8_u': 127,
  'i16x8.abs': 128,
  'i16x8.neg': 129,
  'i16x8.extend_low_i8x16_s': 135,
  'i16x8.extend_high_i8x16_s': 136,
  'i16x8.extend_low_i8x16_u': 137,
  'i16x8.extend_high_i8x16_u': 138,
  'i32x4.abs': 160,
  'i32x4.neg': 161,
  'i32x4.extend_low_i16x8_s': 167,
  'i32x4.extend_high_i16x8_s': 168,
  'i32x4.extend_low_i16x8_u': 169,
  'i32x4.extend_high_i16x8_u': 170,
  'i64x2.abs': 192,
  'i64x2.neg': 193,
  'i64x2.extend_low_i32x4_s': 199,
  'i64x2.extend_high_i32x4_s': 200,
  'i64x2.extend_low_i32x4_u': 201,
  'i64x2.extend_high_i32x4_u': 202,
  'f32x4.ceil': 103,
  'f32x4.floor': 104,
  'f32x4.trunc': 105,
  'f32x4.nearest': 106,
  'f64x2.ceil': 116,
  'f64x2.floor': 117,
  'f64x2.trunc': 122,
  'f64x2.nearest': 148,
  'f32x4.abs': 224,
  'f32x4.neg': 225,
  'f32x4.sqrt': 227,
  'f64x2.abs': 236,
  'f64x2.neg': 237,
  'f64x2.sqrt': 239,
  'i32x4.trunc_sat_f32x4_s': 248,
  'i32x4.trunc_sat_f32x4_u': 249,
  'f32x4.convert_i32x4_s': 250,
  'f32x4.convert_i32x4_u': 251,
  'i32x4.trunc_sat_f64x2_s_zero': 252,
  'i32x4.trunc_sat_f64x2_u_zero': 253,
  'f64x2.convert_low_i32x4_s': 254,
  'f64x2.convert_low_i32x4_u': 255,
} as const

/** v128 → i32, by name. */
const TEST = {
  'v128.any_true': 83,
  'i8x16.all_true': 99,
  'i8x16.bitmask': 100,
  'i16x8.all_true': 131,
  'i16x8.bitmask': 132,
  'i32x4.all_true': 163,
  'i32x4.bitmask': 164,
  'i64x2.all_true': 195,
  'i64x2.bitmask': 196,
} as const

/** v128 shifted by an i32 count (taken modulo the lane's width), by name. */
const SHIFT = {
  'i8x16.shl': 107,
  'i8x16.shr_s': 108,
  'i8x16.shr_u': 109,
  'i16x8.shl': 139,
  'i16x8.shr_s': 140,
  'i16x8.shr_u': 141,
  'i32x4.shl': 171,
  'i32x4.shr_s': 172,
  'i32x4.shr_u': 173,
  'i64x2.shl': 203,
  'i64x2.shr_s': 204,
  'i64x2.shr_u': 205,
} as const

/** Scalar → v128 in all lanes, by name. */
const SPLAT = {
  'i8x16.splat': 15,
  'i16x8.splat': 16,
  'i32x4.splat': 17,
  'i64x2.splat': 18,
  'f32x4.splat': 19,
  'f64x2.splat': 20,
} as const
const SPLAT_OPERAND: Record<keyof typeof SPLAT, ValueType> = {
  'i8x16.splat': 'i32',
  'i16x8.splat': 'i32',
  'i32x4.splat': 'i32',
  'i64x2.splat': 'i64',
  'f32x4.splat': 'f32',
  'f64x2.splat': 'f64',
}

/** One lane, by name: opcode and the scalar's type. */
const EXTRACT = {
  'i8x16.extract_lane_s': [21, 'i32'],
  'i8x16.extract_lane_u': [22, 'i32'],
  'i16x8.extract_lane_s': [24, 'i32'],
  'i16x8.extract_lane_u': [25, 'i32'],
  'i32x4.extract_lane': [27, 'i32'],
  'i64x2.extract_lane': [29, 'i64'],
  'f32x4.extract_lane': [31, 'f32'],
  'f64x2.extract_lane': [33, 'f64'],
} as const
const REPLACE = {
  'i8x16.replace_lane': [23, 'i32'],
  'i16x8.replace_lane': [26, 'i32'],
  'i32x4.replace_lane': [28, 'i32'],
  'i64x2.replace_lane': [30, 'i64'],
  'f32x4.replace_lane': [32, 'f32'],
  'f64x2.replace_lane': [34, 'f64'],
} as const

function opcode(n: number): number[] {
  return [0xfd, ...unsignedLeb(n)]
}
function expect(name: string, value: Expr, type: ValueType): void {
  if (value.type !== type) throw new TypeError(`${name}: operand is ${value.type}, not ${type}`)
}
function all<K extends string, V, F>(table: Readonly<Record<K, V>>, make: (name: K, value: V) => F): Record<K, F> {
  const out = {} as Record<K, F>
  for (const key of Object.keys(table) as K[]) out[key] = make(key, table[key])
  return out
}

const BINARY_OPS: Record<keyof typeof BINARY, Binary> = all(BINARY, (name, n) => {
  const code = opcode(n)
  return (a: Expr, b: Expr): Expr => {
    expect(name, a, 'v128')
    expect(name, b, 'v128')
    return { type: 'v128', args: [a, b], code }
  }
})
const UNARY_OPS: Record<keyof typeof UNARY, Unary> = all(UNARY, (name, n) => {
  const code = opcode(n)
  return (a: Expr): Expr => {
    expect(name, a, 'v128')
    return { type: 'v128', args: [a], code }
  }
})
const TEST_OPS: Record<keyof typeof TEST, Unary> = all(TEST, (name, n) => {
  const code = opcode(n)
  return (a: Expr): Expr => {
    expect(name, a, 'v128')
    return { type: 'i32', args: [a], code }
  }
})
const SHIFT_OPS: Record<keyof typeof SHIFT, Binary> = all(SHIFT, (name, n) => {
  const code = opcode(n)
  return (a: Expr, count: Expr): Expr => {
    expect(name, a, 'v128')
    expect(name, count, 'i32')
    return { type: 'v128', args: [a, count], code }
  }
})
const SPLAT_OPS: Record<keyof typeof SPLAT, Unary> = all(SPLAT, (name, n) => {
  const code = opcode(n)
  return (a: Expr): Expr => {
    expect(name, a, SPLAT_OPERAND[name])
    return { type: 'v128', args: [a], code }
  }
})
const EXTRACT_OPS: Record<keyof typeof EXTRACT, (a: Expr, lane: number) => Expr> = all(EXTRACT, (name, [n, type]) => {
  return (a: Expr, lane: number): Expr => {
    expect(name, a, 'v128')
    return { type, args: [a], code: [...opcode(n), lane] }
  }
})
const REPLACE_OPS: Record<keyof typeof REPLACE, (a: Expr, lane: number, value: Expr) => Expr> = all(
  REPLACE,
  (name, [n, type]) => {
    return (a: Expr, lane: number, value: Expr): Expr => {
      expect(name, a, 'v128')
      expect(name, value, type)
      return { type: 'v128', args: [a, value], code: [...opcode(n), lane] }
    }
  },
)

export interface V128 {
  const(bytes: readonly number[]): Expr
  load(address: Expr, offset?: number): Expr
  /** 4 or 8 bytes to the low lane, zeros above. */
  load32_zero(address: Expr, offset?: number): Expr
  load64_zero(address: Expr, offset?: number): Expr
  store(address: Expr, value: Expr, offset?: number): Expr
  bitselect(a: Expr, b: Expr, mask: Expr): Expr
  /** Sixteen bytes out of 32: lanes 0–15 are `a`, 16–31 `b`. */
  shuffle(a: Expr, b: Expr, lanes: readonly number[]): Expr
}

export const v128: V128 = {
  const: (bytes) => ({
    type: 'v128',
    args: [],
    code: [...opcode(12), ...Array.from({ length: 16 }, (_, i) => (bytes[i] ?? 0) & 0xff)],
  }),
  load: (address, offset = 0) => ({ type: 'v128', args: [address], code: [...opcode(0), 0, ...unsignedLeb(offset)] }),
  load32_zero: (address, offset = 0) => ({
    type: 'v128',
    args: [address],
    code: [...opcode(92), 0, ...unsignedLeb(offset)],
  }),
  load64_zero: (address, offset = 0) => ({
    type: 'v128',
    args: [address],
    code: [...opcode(93), 0, ...unsignedLeb(offset)],
  }),
  store: (address, value, offset = 0) => {
    expect('v128.store', value, 'v128')
    return { type: 'void', args: [address, value], code: [...opcode(11), 0, ...unsignedLeb(offset)] }
  },
  bitselect: (a, b, mask) => ({ type: 'v128', args: [a, b, mask], code: opcode(82) }),
  shuffle: (a, b, lanes) => {
    if (lanes.length !== 16) throw new TypeError('shuffle: 16 lanes')
    return { type: 'v128', args: [a, b], code: [...opcode(13), ...lanes] }
  },
}

/** All other vector instructions by their text names: `simd['i8x16.add'](a, b)`. */
export const simd: typeof BINARY_OPS &
  typeof UNARY_OPS &
  typeof TEST_OPS &
  typeof SHIFT_OPS &
  typeof SPLAT_OPS &
  typeof EXTRACT_OPS &
  typeof REPLACE_OPS = {
  ...BINARY_OPS,
  ...UNARY_OPS,
  ...TEST_OPS,
  ...SHIFT_OPS,
  ...SPLAT_OPS,
  ...EXTRACT_OPS,
  ...REPLACE_OPS,
}
