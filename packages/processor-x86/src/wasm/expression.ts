// Expressions of WebAssembly's binary format (Core Specification 2.0, section 5.4) as small trees: what the semantics of an instruction are
// written with. A tree is emitted once, in evaluation order; whoever needs a value twice keeps it in a local (FunctionEmitter.let).

/** Value types (5.3.1) with their binary codes. */
export const VALUE_TYPE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const
export type ValueType = keyof typeof VALUE_TYPE
export type ResultType = ValueType | 'void'

/** One node: its operands, then its own bytes. */
export interface Expr {
  readonly type: ResultType
  readonly args: readonly Expr[]
  readonly code: readonly number[]
  /** The value of a constant (i64 constants as bigint). */
  readonly constant?: number | bigint
  /** Of an integer: the same bits as an f64, or the low 32 as an f32, where they can be had without the way over an integer register. */
  readonly double?: Expr
  readonly single?: Expr
  /** Of an i64: how far it is from a value that others are measured from, too. Kept through sums and differences with constants. */
  readonly distance?: Distance | undefined
}
/** A value is `root`, whatever that is, plus `bytes`. Roots are compared by identity. */
export interface Distance {
  readonly root: object
  readonly bytes: number
}
/** Undefined where a number would not be exact. */
export function near(root: object, bytes: number): Distance | undefined {
  return Number.isSafeInteger(bytes) ? { root, bytes } : undefined
}

/** Signed LEB128 of an i32 or i64. */
export function signedLeb(value: number | bigint): number[] {
  const bytes: number[] = []
  const small = Number(value)
  if (small >= -0x40 && small < 0x40) return [small & 0x7f]
  if (small === (small | 0)) {
    for (let v = small; ; ) {
      const byte = v & 0x7f
      v >>= 7
      if ((v === 0 && (byte & 0x40) === 0) || (v === -1 && (byte & 0x40) !== 0)) {
        bytes.push(byte)
        return bytes
      }
      bytes.push(byte | 0x80)
    }
  }
  let v = BigInt(value)
  for (;;) {
    const byte = Number(v & 0x7fn)
    v >>= 7n
    if ((v === 0n && (byte & 0x40) === 0) || (v === -1n && (byte & 0x40) !== 0)) {
      bytes.push(byte)
      return bytes
    }
    bytes.push(byte | 0x80)
  }
}

/** Unsigned LEB128 of a u32. */
export function unsignedLeb(value: number): number[] {
  const bytes: number[] = []
  let v = value >>> 0
  while (v >= 0x80) {
    bytes.push((v & 0x7f) | 0x80)
    v >>>= 7
  }
  bytes.push(v)
  return bytes
}

type Unary = (a: Expr) => Expr
type Binary = (a: Expr, b: Expr) => Expr
type Load = (address: Expr, offset?: number) => Expr
type Store = (address: Expr, value: Expr, offset?: number) => Expr

function check(name: string, args: readonly Expr[], types: readonly ResultType[]): void {
  for (let i = 0; i < types.length; i++) {
    if (args[i]?.type !== types[i]) throw new TypeError(`${name}: operand ${i} is ${args[i]?.type}, not ${types[i]}`)
  }
}

function unary(name: string, result: ValueType, operand: ValueType, ...code: number[]): Unary {
  const fold = FOLD_UNARY[name]
  return (a) => {
    if (a.type !== operand) check(name, [a], [operand])
    if (fold !== undefined && a.constant !== undefined) return constantOf(result, fold(BigInt(a.constant)))
    return { type: result, args: [a], code }
  }
}
function binary(name: string, result: ValueType, operand: ValueType, ...code: number[]): Binary {
  const fold = FOLD_BINARY[name.slice(4)]
  const integer = operand === 'i32' || operand === 'i64'
  const neutral = NEUTRAL[name.slice(4)]
  const direction = name === 'i64.add' ? 1 : name === 'i64.sub' ? -1 : 0
  return (a, b) => {
    if (a.type !== operand || b.type !== operand) check(name, [a, b], [operand, operand])
    if (integer && b.constant !== undefined) {
      if (fold !== undefined && a.constant !== undefined) {
        return constantOf(result, fold(BigInt(a.constant), BigInt(b.constant), operand === 'i64' ? 64 : 32))
      }
      if (neutral !== undefined && BigInt(b.constant) === neutral) return a
      if (direction !== 0 && a.distance !== undefined) {
        const { root, bytes } = a.distance
        return { type: result, args: [a, b], code, distance: near(root, bytes + direction * Number(b.constant)) }
      }
    }
    return { type: result, args: [a, b], code }
  }
}

// --- constants: what instructions with fixed operands are full of

/** An i32 or i64 constant of the low bits of `value`. */
function constantOf(type: ValueType, value: bigint): Expr {
  return type === 'i64' ? i64.const(value) : i32.const(Number(BigInt.asIntN(32, value)))
}
/** Operands are signed. */
const FOLD_UNARY: Readonly<Record<string, (a: bigint) => bigint>> = {
  'i32.eqz': (a) => (a === 0n ? 1n : 0n),
  'i64.eqz': (a) => (a === 0n ? 1n : 0n),
  'i32.wrap_i64': (a) => a,
  'i64.extend_i32_s': (a) => a,
  'i64.extend_i32_u': (a) => BigInt.asUintN(32, a),
}
const FOLD_BINARY: Readonly<Record<string, (a: bigint, b: bigint, bits: number) => bigint>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b, bits) => a << (b & BigInt(bits - 1)),
  shr_s: (a, b, bits) => a >> (b & BigInt(bits - 1)),
  shr_u: (a, b, bits) => BigInt.asUintN(bits, a) >> (b & BigInt(bits - 1)),
  eq: (a, b) => (a === b ? 1n : 0n),
  ne: (a, b) => (a !== b ? 1n : 0n),
}
/** Second operands that change nothing. */
const NEUTRAL: Readonly<Record<string, bigint>> = {
  add: 0n,
  sub: 0n,
  or: 0n,
  xor: 0n,
  and: -1n,
  shl: 0n,
  shr_s: 0n,
  shr_u: 0n,
}
function load(name: string, result: ValueType, ...code: number[]): Load {
  const codes = new Map<number, readonly number[]>()
  return (address, offset = 0) => {
    if (address.type !== 'i32') check(name, [address], ['i32'])
    return { type: result, args: [address], code: withOffset(codes, code, offset) }
  }
}
function store(name: string, value: ValueType, ...code: number[]): Store {
  const codes = new Map<number, readonly number[]>()
  return (address, v, offset = 0) => {
    if (address.type !== 'i32' || v.type !== value) check(name, [address, v], ['i32', value])
    return { type: 'void', args: [address, v], code: withOffset(codes, code, offset) }
  }
}
/** The bytes of a load or store; those of state fields come again and again. */
function withOffset(codes: Map<number, readonly number[]>, code: readonly number[], offset: number): readonly number[] {
  let found = codes.get(offset)
  if (found === undefined) {
    found = [...code, 0, ...unsignedLeb(offset)]
    codes.set(offset, found)
  }
  return found
}

const I32_BINARY = {
  eq: 0x46,
  ne: 0x47,
  lt_s: 0x48,
  lt_u: 0x49,
  gt_s: 0x4a,
  gt_u: 0x4b,
  le_s: 0x4c,
  le_u: 0x4d,
  ge_s: 0x4e,
  ge_u: 0x4f,
  add: 0x6a,
  sub: 0x6b,
  mul: 0x6c,
  div_s: 0x6d,
  div_u: 0x6e,
  rem_s: 0x6f,
  rem_u: 0x70,
  and: 0x71,
  or: 0x72,
  xor: 0x73,
  shl: 0x74,
  shr_s: 0x75,
  shr_u: 0x76,
  rotl: 0x77,
  rotr: 0x78,
} as const
const I64_COMPARE = {
  eq: 0x51,
  ne: 0x52,
  lt_s: 0x53,
  lt_u: 0x54,
  gt_s: 0x55,
  gt_u: 0x56,
  le_s: 0x57,
  le_u: 0x58,
  ge_s: 0x59,
  ge_u: 0x5a,
} as const
const I64_BINARY = {
  add: 0x7c,
  sub: 0x7d,
  mul: 0x7e,
  div_s: 0x7f,
  div_u: 0x80,
  rem_s: 0x81,
  rem_u: 0x82,
  and: 0x83,
  or: 0x84,
  xor: 0x85,
  shl: 0x86,
  shr_s: 0x87,
  shr_u: 0x88,
  rotl: 0x89,
  rotr: 0x8a,
} as const
const FLOAT_COMPARE = ['eq', 'ne', 'lt', 'gt', 'le', 'ge'] as const
const FLOAT_UNARY = ['abs', 'neg', 'ceil', 'floor', 'trunc', 'nearest', 'sqrt'] as const
const FLOAT_BINARY = ['add', 'sub', 'mul', 'div', 'min', 'max', 'copysign'] as const

function binaries<K extends string>(
  prefix: ValueType,
  result: ValueType,
  table: Readonly<Record<K, number>>,
): Record<K, Binary> {
  const out = {} as Record<K, Binary>
  for (const key of Object.keys(table) as K[]) out[key] = binary(`${prefix}.${key}`, result, prefix, table[key])
  return out
}
function sequence<K extends string, F>(names: readonly K[], make: (name: K, index: number) => F): Record<K, F> {
  const out = {} as Record<K, F>
  names.forEach((name, index) => {
    out[name] = make(name, index)
  })
  return out
}

export interface I32 extends Record<keyof typeof I32_BINARY, Binary> {
  const(value: number): Expr
  eqz: Unary
  clz: Unary
  ctz: Unary
  popcnt: Unary
  wrap_i64: Unary
  extend8_s: Unary
  extend16_s: Unary
  reinterpret_f32: Unary
  trunc_f32_s: Unary
  trunc_f64_s: Unary
  trunc_sat_f32_s: Unary
  trunc_sat_f32_u: Unary
  trunc_sat_f64_s: Unary
  trunc_sat_f64_u: Unary
  load: Load
  load8_s: Load
  load8_u: Load
  load16_s: Load
  load16_u: Load
  store: Store
  store8: Store
  store16: Store
}
const wrap: Unary = unary('i32.wrap_i64', 'i32', 'i64', 0xa7)
export const i32: I32 = {
  const: (value) => ({ type: 'i32', args: [], code: [0x41, ...signedLeb(value | 0)], constant: value | 0 }),
  ...binaries('i32', 'i32', I32_BINARY),
  eqz: unary('i32.eqz', 'i32', 'i32', 0x45),
  clz: unary('i32.clz', 'i32', 'i32', 0x67),
  ctz: unary('i32.ctz', 'i32', 'i32', 0x68),
  popcnt: unary('i32.popcnt', 'i32', 'i32', 0x69),
  wrap_i64: (a) => (a.single ? { ...wrap(a), single: a.single } : wrap(a)),
  extend8_s: unary('i32.extend8_s', 'i32', 'i32', 0xc0),
  extend16_s: unary('i32.extend16_s', 'i32', 'i32', 0xc1),
  reinterpret_f32: unary('i32.reinterpret_f32', 'i32', 'f32', 0xbc),
  trunc_f32_s: unary('i32.trunc_f32_s', 'i32', 'f32', 0xa8),
  trunc_f64_s: unary('i32.trunc_f64_s', 'i32', 'f64', 0xaa),
  trunc_sat_f32_s: unary('i32.trunc_sat_f32_s', 'i32', 'f32', 0xfc, 0),
  trunc_sat_f32_u: unary('i32.trunc_sat_f32_u', 'i32', 'f32', 0xfc, 1),
  trunc_sat_f64_s: unary('i32.trunc_sat_f64_s', 'i32', 'f64', 0xfc, 2),
  trunc_sat_f64_u: unary('i32.trunc_sat_f64_u', 'i32', 'f64', 0xfc, 3),
  load: load('i32.load', 'i32', 0x28),
  load8_s: load('i32.load8_s', 'i32', 0x2c),
  load8_u: load('i32.load8_u', 'i32', 0x2d),
  load16_s: load('i32.load16_s', 'i32', 0x2e),
  load16_u: load('i32.load16_u', 'i32', 0x2f),
  store: store('i32.store', 'i32', 0x36),
  store8: store('i32.store8', 'i32', 0x3a),
  store16: store('i32.store16', 'i32', 0x3b),
}

export interface I64 extends Record<keyof typeof I64_COMPARE | keyof typeof I64_BINARY, Binary> {
  const(value: number | bigint): Expr
  eqz: Unary
  clz: Unary
  ctz: Unary
  popcnt: Unary
  extend_i32_s: Unary
  extend_i32_u: Unary
  extend8_s: Unary
  extend16_s: Unary
  extend32_s: Unary
  reinterpret_f64: Unary
  trunc_f32_s: Unary
  trunc_f64_s: Unary
  trunc_sat_f32_s: Unary
  trunc_sat_f32_u: Unary
  trunc_sat_f64_s: Unary
  trunc_sat_f64_u: Unary
  load: Load
  load8_s: Load
  load8_u: Load
  load16_s: Load
  load16_u: Load
  load32_s: Load
  load32_u: Load
  store: Store
  store8: Store
  store16: Store
  store32: Store
}
export const i64: I64 = {
  const: (value) => {
    const v = BigInt.asIntN(64, BigInt(value))
    return { type: 'i64', args: [], code: [0x42, ...signedLeb(v)], constant: v }
  },
  ...binaries('i64', 'i32', I64_COMPARE),
  ...binaries('i64', 'i64', I64_BINARY),
  eqz: unary('i64.eqz', 'i32', 'i64', 0x50),
  clz: unary('i64.clz', 'i64', 'i64', 0x79),
  ctz: unary('i64.ctz', 'i64', 'i64', 0x7a),
  popcnt: unary('i64.popcnt', 'i64', 'i64', 0x7b),
  extend_i32_s: unary('i64.extend_i32_s', 'i64', 'i32', 0xac),
  extend_i32_u: unary('i64.extend_i32_u', 'i64', 'i32', 0xad),
  extend8_s: unary('i64.extend8_s', 'i64', 'i64', 0xc2),
  extend16_s: unary('i64.extend16_s', 'i64', 'i64', 0xc3),
  extend32_s: unary('i64.extend32_s', 'i64', 'i64', 0xc4),
  reinterpret_f64: unary('i64.reinterpret_f64', 'i64', 'f64', 0xbd),
  trunc_f32_s: unary('i64.trunc_f32_s', 'i64', 'f32', 0xae),
  trunc_f64_s: unary('i64.trunc_f64_s', 'i64', 'f64', 0xb0),
  trunc_sat_f32_s: unary('i64.trunc_sat_f32_s', 'i64', 'f32', 0xfc, 4),
  trunc_sat_f32_u: unary('i64.trunc_sat_f32_u', 'i64', 'f32', 0xfc, 5),
  trunc_sat_f64_s: unary('i64.trunc_sat_f64_s', 'i64', 'f64', 0xfc, 6),
  trunc_sat_f64_u: unary('i64.trunc_sat_f64_u', 'i64', 'f64', 0xfc, 7),
  load: load('i64.load', 'i64', 0x29),
  load8_s: load('i64.load8_s', 'i64', 0x30),
  load8_u: load('i64.load8_u', 'i64', 0x31),
  load16_s: load('i64.load16_s', 'i64', 0x32),
  load16_u: load('i64.load16_u', 'i64', 0x33),
  load32_s: load('i64.load32_s', 'i64', 0x34),
  load32_u: load('i64.load32_u', 'i64', 0x35),
  store: store('i64.store', 'i64', 0x37),
  store8: store('i64.store8', 'i64', 0x3c),
  store16: store('i64.store16', 'i64', 0x3d),
  store32: store('i64.store32', 'i64', 0x3e),
}

type FloatCommon = Record<(typeof FLOAT_COMPARE)[number] | (typeof FLOAT_BINARY)[number], Binary> &
  Record<(typeof FLOAT_UNARY)[number], Unary> & {
    convert_i32_s: Unary
    convert_i32_u: Unary
    convert_i64_s: Unary
    convert_i64_u: Unary
    load: Load
    store: Store
  }
export type F32 = FloatCommon & { const(value: number): Expr; demote_f64: Unary; reinterpret_i32: Unary }
export type F64 = FloatCommon & { const(value: number): Expr; promote_f32: Unary; reinterpret_i64: Unary }

function float(type: 'f32' | 'f64', compare: number, arithmetic: number, convert: number, memory: number): FloatCommon {
  return {
    ...sequence(FLOAT_COMPARE, (n, k) => binary(`${type}.${n}`, 'i32', type, compare + k)),
    ...sequence(FLOAT_UNARY, (n, k) => unary(`${type}.${n}`, type, type, arithmetic + k)),
    ...sequence(FLOAT_BINARY, (n, k) => binary(`${type}.${n}`, type, type, arithmetic + 7 + k)),
    convert_i32_s: unary(`${type}.convert_i32_s`, type, 'i32', convert),
    convert_i32_u: unary(`${type}.convert_i32_u`, type, 'i32', convert + 1),
    convert_i64_s: unary(`${type}.convert_i64_s`, type, 'i64', convert + 2),
    convert_i64_u: unary(`${type}.convert_i64_u`, type, 'i64', convert + 3),
    load: load(`${type}.load`, type, memory),
    store: store(`${type}.store`, type, memory + 14),
  }
}
function floatBytes(value: number, double: boolean): number[] {
  const view = new DataView(new ArrayBuffer(8))
  if (double) view.setFloat64(0, value, true)
  else view.setFloat32(0, value, true)
  return [...new Uint8Array(view.buffer, 0, double ? 8 : 4)]
}
const asSingle: Unary = unary('f32.reinterpret_i32', 'f32', 'i32', 0xbe)
const asDouble: Unary = unary('f64.reinterpret_i64', 'f64', 'i64', 0xbf)
export const f32: F32 = {
  const: (value) => ({ type: 'f32', args: [], code: [0x43, ...floatBytes(value, false)], constant: value }),
  ...float('f32', 0x5b, 0x8b, 0xb2, 0x2a),
  demote_f64: unary('f32.demote_f64', 'f32', 'f64', 0xb6),
  reinterpret_i32: (a) => a.single ?? asSingle(a),
}
export const f64: F64 = {
  const: (value) => ({ type: 'f64', args: [], code: [0x44, ...floatBytes(value, true)], constant: value }),
  ...float('f64', 0x61, 0x99, 0xb7, 0x2b),
  promote_f32: unary('f64.promote_f32', 'f64', 'f32', 0xbb),
  reinterpret_i64: (a) => a.double ?? asDouble(a),
}

/** The f64 whose bits an i64 expression is, if it is one. */
export function doubleOf(expr: Expr): Expr | undefined {
  return expr.code[0] === 0xbd ? expr.args[0] : undefined
}
/** The f32 whose bits, zero-extended, an i64 expression is, if it is one. */
export function singleOf(expr: Expr): Expr | undefined {
  const inner = expr.code[0] === 0xad ? expr.args[0] : undefined
  return inner?.code[0] === 0xbc ? inner.args[0] : undefined
}

/** `condition ? a : b`, both evaluated. */
export function select(condition: Expr, a: Expr, b: Expr): Expr {
  check('select', [condition], ['i32'])
  if (a.type !== b.type || a.type === 'void') throw new TypeError(`select: ${a.type} and ${b.type}`)
  if (condition.constant !== undefined) return condition.constant ? a : b
  return { type: a.type, args: [a, b, condition], code: [0x1b] }
}
