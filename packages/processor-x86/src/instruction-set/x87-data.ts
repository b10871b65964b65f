// x87 data transfer and constants (SDM vol. 1, 8.3.3, 8.3.4).

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, select } from '../instruction/emitter.ts'
import type { HelperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { x87FromBcd, x87SignExponentFromInteger, x87SignificandFromInteger, x87ToBcd } from '../x87/convert.ts'
import { x87Raise } from '../x87/exceptions.ts'
import { INDEFINITE_SE, INDEFINITE_SIGNIFICAND, ROUND, X87 } from '../x87/format.ts'
import {
  x87ConditionalMove,
  x87Exchange,
  x87PushExact,
  x87PushRegister,
  x87RaiseAndPop,
  x87StoreRegister,
} from '../x87/stack.ts'
import { x87StoreBcd, x87StoreDouble, x87StoreInteger, x87StoreSingle } from '../x87/store.ts'
import {
  checkPending,
  complete,
  DOUBLE,
  INTEGER16,
  INTEGER32,
  INTEGER64,
  type MemoryFormat,
  popUnless,
  readOperand,
  SINGLE,
  UNIT,
} from './x87-common.ts'

// --- loads

const load =
  (format: MemoryFormat): Semantics =>
  (e) => {
    checkPending(e)
    complete(e, e.let(e.helper(format.load, readOperand(e, format))))
  }
const TEN_BYTES = 10
/** Where ten bytes at `address` are in memory, and i32 0 when they are not in one page that is directly accessible. */
function tenBytesInPage(e: InstructionEmitter, address: Expr, access: 'read' | 'write'): { host: Expr; there: Expr } {
  const host = e.let(e.tryHostRange(address, access))
  const inPage = i64.le_u(i64.and(address, i64.const(4095)), i64.const(4096 - TEN_BYTES))
  return { host, there: i32.and(i32.ne(host, i32.const(0)), inPage) }
}
/** Eight and two bytes at a linear address. */
function loadTenBytes(e: InstructionEmitter): [Expr, Expr] {
  const address = e.let(e.address(0, TEN_BYTES, 'read'))
  const low = e.local('i64')
  const high = e.local('i32')
  const { host, there } = tenBytesInPage(e, address, 'read')
  e.if(
    there,
    () => {
      e.set(low, i64.load(host))
      e.set(high, i32.load16_u(host, 8))
    },
    () => {
      e.set(low, e.loadInteger(address, 8))
      e.set(high, i32.wrap_i64(e.loadInteger(e.let(i64.add(address, i64.const(8))), 2)))
    },
    true,
  )
  return [e.let(e.get(low)), e.let(e.get(high))]
}
const loadExtended: Semantics = (e) => {
  checkPending(e)
  complete(e, e.let(e.helper(x87PushExact, ...loadTenBytes(e))))
}
const loadBcd: Semantics = (e) => {
  checkPending(e)
  const [low, high] = loadTenBytes(e)
  const value = e.let(e.helper(x87FromBcd, low, high))
  const se = i32.or(e.helper(x87SignExponentFromInteger, value), i32.and(high, i32.const(0x8000)))
  complete(e, e.let(e.helper(x87PushExact, e.helper(x87SignificandFromInteger, value), se)))
}
/** An instruction that is one helper with the index of STi. */
const withIndex =
  (helper: HelperFunction, pops = false): Semantics =>
  (e) => {
    checkPending(e)
    const unmasked = e.let(e.helper(helper, e.x87Index(0)))
    complete(e, unmasked)
    if (pops) popUnless(e, unmasked)
  }

// --- stores

/** The exceptions of a conversion (X87_FLAGS) that keep its result from being stored. */
function blocked(e: InstructionEmitter): Expr {
  const flags = e.stateI32(STATE.X87_FLAGS)
  const masks = i32.xor(e.stateI32(STATE.X87_CONTROL), i32.const(-1))
  return e.let(i32.and(i32.and(flags, masks), i32.const(X87.IE | X87.OE | X87.UE)))
}
/** Convert, store, then raise: a fault of the store leaves nothing changed. */
function storeConverted(e: InstructionEmitter, pops: boolean, store: () => void): void {
  const flags = e.stateI32(STATE.X87_FLAGS)
  e.if(i32.eqz(blocked(e)), store)
  complete(e, e.let(e.helper(pops ? x87RaiseAndPop : x87Raise, flags)))
}
const storeFloat =
  (helper: HelperFunction, pops: boolean): Semantics =>
  (e) => {
    checkPending(e)
    const value = e.let(e.helper(helper))
    storeConverted(e, pops, () => e.write(0, value))
  }
const storeInteger =
  (pops: boolean, truncate = false): Semantics =>
  (e) => {
    checkPending(e)
    const limit = (1n << BigInt(e.size(0) * 8 - 1)) - 1n
    const rounding = truncate
      ? i32.const(ROUND.TRUNCATE)
      : i32.and(i32.shr_u(e.stateI32(STATE.X87_CONTROL), i32.const(10)), i32.const(3))
    const value = e.let(e.helper(x87StoreInteger, i64.const(limit), rounding))
    storeConverted(e, pops, () => e.write(0, value))
  }
function storeTenBytes(e: InstructionEmitter, low: Expr, high: Expr): void {
  const address = e.let(e.address(0, TEN_BYTES, 'write'))
  const { host, there } = tenBytesInPage(e, address, 'write')
  e.if(
    there,
    () => {
      e.do(i64.store(host, low))
      e.do(i64.store16(host, high, 8))
    },
    () => {
      e.probeWrite(address, TEN_BYTES)
      e.storeInteger(address, 8, low)
      e.storeInteger(e.let(i64.add(address, i64.const(8))), 2, high)
    },
    true,
  )
}
/** The state offset of ST(0), and whether it is empty. */
function top(e: InstructionEmitter): [Expr, Expr] {
  const register = e.x87Offset({ st: 0 })
  const tag = i32.shr_u(e.stateI32(STATE.X87_TAGS), i32.shr_u(register, i32.const(4)))
  return [register, e.let(i32.eqz(i32.and(tag, i32.const(1))))]
}
const storeExtended: Semantics = (e) => {
  checkPending(e)
  const [register, empty] = top(e)
  const significand = e.let(
    select(empty, i64.const(INDEFINITE_SIGNIFICAND), i64.load(register, e.stateOffset(STATE.X87))),
  )
  const se = e.let(select(empty, i64.const(INDEFINITE_SE), i64.load16_u(register, e.stateOffset(STATE.X87 + 8))))
  e.setStateI32(STATE.X87_FLAGS, select(empty, i32.const(X87.IE | X87.SF), i32.const(0)))
  storeConverted(e, true, () => storeTenBytes(e, significand, se))
}
const storeBcd: Semantics = (e) => {
  checkPending(e)
  const [register] = top(e)
  const sign = e.let(i64.and(i64.load16_u(register, e.stateOffset(STATE.X87 + 8)), i64.const(0x8000)))
  const value = e.let(e.helper(x87StoreBcd))
  const invalid = e.let(i64.lt_s(value, i64.const(0)))
  const digits = i64.const(10n ** 16n)
  const low = e.let(select(invalid, i64.const(INDEFINITE_SIGNIFICAND), e.helper(x87ToBcd, i64.rem_u(value, digits))))
  const high = e.let(select(invalid, i64.const(0xffff), i64.or(sign, e.helper(x87ToBcd, i64.div_u(value, digits)))))
  storeConverted(e, true, () => storeTenBytes(e, low, high))
}

// --- constants, rounded by rounding control

/** Significand rounded down, whether rounding to nearest goes up, exponent. */
const constant =
  (significand: bigint, nearestUp: boolean, exponent: number): Semantics =>
  (e) => {
    checkPending(e)
    const rounding = e.let(i32.and(i32.shr_u(e.stateI32(STATE.X87_CONTROL), i32.const(10)), i32.const(3)))
    const up = i32.eq(rounding, i32.const(ROUND.UP))
    const more = nearestUp ? i32.or(up, i32.eqz(rounding)) : up
    const value = i64.add(i64.const(significand), i64.extend_i32_u(more))
    complete(e, e.let(e.helper(x87PushExact, value, i32.const(exponent))))
  }
const exact =
  (significand: bigint, exponent: number): Semantics =>
  (e) => {
    checkPending(e)
    complete(e, e.let(e.helper(x87PushExact, i64.const(significand), i32.const(exponent))))
  }

const conditionalMove =
  (cc: number): Semantics =>
  (e) => {
    checkPending(e)
    complete(e, e.let(e.helper(x87ConditionalMove, e.x87Index(0), e.condition(cc))))
  }

/** FCMOVcc by opcode and ModRM: the condition's number as in Jcc. */
const CONDITIONAL: readonly (readonly [string, string, number])[] = [
  ['FCMOVB', 'DA C0+i', 2],
  ['FCMOVE', 'DA C8+i', 4],
  ['FCMOVBE', 'DA D0+i', 6],
  ['FCMOVU', 'DA D8+i', 10],
  ['FCMOVNB', 'DB C0+i', 3],
  ['FCMOVNE', 'DB C8+i', 5],
  ['FCMOVNBE', 'DB D0+i', 7],
  ['FCMOVNU', 'DB D8+i', 11],
]

export const X87_DATA: readonly InstructionDefinition[] = [
  instruction('FLD', 'D9 /0', 'Md', load(SINGLE), UNIT),
  instruction('FLD', 'DD /0', 'Mq', load(DOUBLE), UNIT),
  instruction('FLD', 'DB /5', 'Mt', loadExtended, UNIT),
  instruction('FLD', 'D9 C0+i', 'STi', withIndex(x87PushRegister), UNIT),
  instruction('FILD', 'DF /0', 'Mw', load(INTEGER16), UNIT),
  instruction('FILD', 'DB /0', 'Md', load(INTEGER32), UNIT),
  instruction('FILD', 'DF /5', 'Mq', load(INTEGER64), UNIT),
  instruction('FBLD', 'DF /4', 'Mt', loadBcd, UNIT),
  instruction('FST', 'D9 /2', 'Md', storeFloat(x87StoreSingle, false), UNIT),
  instruction('FSTP', 'D9 /3', 'Md', storeFloat(x87StoreSingle, true), UNIT),
  instruction('FST', 'DD /2', 'Mq', storeFloat(x87StoreDouble, false), UNIT),
  instruction('FSTP', 'DD /3', 'Mq', storeFloat(x87StoreDouble, true), UNIT),
  instruction('FSTP', 'DB /7', 'Mt', storeExtended, UNIT),
  instruction('FST', 'DD D0+i', 'STi', withIndex(x87StoreRegister), UNIT),
  ...['DD D8+i', 'D9 D8+i', 'DF D0+i', 'DF D8+i'].map((opcode) =>
    instruction('FSTP', opcode, 'STi', withIndex(x87StoreRegister, true), UNIT),
  ),
  ...(['Mw', 'Md', 'Mq'] as const).flatMap((operand) => {
    const opcode = { Mw: 'DF', Md: 'DB', Mq: 'DD' }[operand]
    return [
      ...(operand === 'Mq' ? [] : [instruction('FIST', `${opcode} /2`, operand, storeInteger(false), UNIT)]),
      instruction('FISTP', operand === 'Mq' ? 'DF /7' : `${opcode} /3`, operand, storeInteger(true), UNIT),
      instruction('FISTTP', `${opcode} /1`, operand, storeInteger(true, true), UNIT),
    ]
  }),
  instruction('FBSTP', 'DF /6', 'Mt', storeBcd, UNIT),
  ...['D9 C8+i', 'DD C8+i', 'DF C8+i'].map((opcode) =>
    instruction('FXCH', opcode, 'STi', withIndex(x87Exchange), UNIT),
  ),
  ...CONDITIONAL.map(([name, opcode, cc]) => instruction(name, opcode, 'STi', conditionalMove(cc), UNIT)),
  instruction('FLD1', 'D9 E8', '', exact(0x8000000000000000n, 0x3fff), UNIT),
  instruction('FLDL2T', 'D9 E9', '', constant(0xd49a784bcd1b8afen, false, 0x4000), UNIT),
  instruction('FLDL2E', 'D9 EA', '', constant(0xb8aa3b295c17f0bbn, true, 0x3fff), UNIT),
  instruction('FLDPI', 'D9 EB', '', constant(0xc90fdaa22168c234n, true, 0x4000), UNIT),
  instruction('FLDLG2', 'D9 EC', '', constant(0x9a209a84fbcff798n, true, 0x3ffd), UNIT),
  instruction('FLDLN2', 'D9 ED', '', constant(0xb17217f7d1cf79abn, true, 0x3ffe), UNIT),
  instruction('FLDZ', 'D9 EE', '', exact(0n, 0), UNIT),
]
