// Operations on ST(0) and another register or a value in memory (SDM vol. 1, 8.3.5): the short ways of ordinary.ts, and the others.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { type Expr, i32 } from '../wasm/expression.ts'
import type { Label } from '../wasm/function-emitter.ts'
import { x87Add, x87Divide, x87Multiply, x87SquareRoot, x87Subtract } from './arithmetic.ts'
import { X87Code, zero32 } from './emit.ts'
import { x87Underflow } from './exceptions.ts'
import { X87 } from './format.ts'
import { x87RoundToInteger } from './integer.ts'
import { DOUBLE_VALUE, INTEGER_VALUE, type MemoryValue, SINGLE_VALUE } from './memory-value.ts'
import {
  ORDINARY_ADD,
  ORDINARY_DIVIDE,
  ORDINARY_MULTIPLY,
  ORDINARY_SUBTRACT,
  type Ordinary,
  type OrdinaryOperation,
  type OrdinaryResult,
  ordinaryRegister,
  requireNormal,
  requireOrdinaryMode,
  requireZero,
  squareRootOrdinary,
  storeOrdinary,
} from './ordinary.ts'
import { x87PartialRemainder } from './remainder.ts'
import { x87Scale } from './scale.ts'
import { x87Pop } from './stack.ts'

/** An operation with its short way, if it has one. */
interface Operation {
  readonly operation: HelperFunction
  readonly ordinary?: OrdinaryOperation
  /** Operands exchanged. */
  readonly reverse: boolean
}

/** The short ways of an operation; the code runs on where they are not to be gone. */
function short(
  x: X87Code,
  empty: Expr,
  register: Expr,
  { calculate, withZero }: OrdinaryOperation,
  operands: (slow: Label) => readonly [Ordinary, Ordinary],
  finish?: () => void,
): void {
  const { e } = x
  e.block((slow) => {
    e.brIf(slow, empty, false)
    requireOrdinaryMode(x, slow)
    const [a, b] = operands(slow)
    e.block((special) => {
      requireNormal(x, special, a, b)
      storeOrdinary(x, slow, register, calculate(x, slow, a, b))
      finish?.()
      e.return(zero32)
    })
    if (!withZero) return
    requireZero(x, slow, a, b)
    const [significand, se] = withZero(a, b)
    x.put(register, e.let(significand), e.let(se))
    x.clearC1()
    finish?.()
    e.return(zero32)
  })
}
/**
 * `(target, other)`, indexes of stack registers: ST(target) = ST(target) op ST(other). `pops`: pop, unless the operation was not carried out (an invalid or denormal operand or a
 * division by zero, unmasked).
 */
function between(name: string, { operation, ordinary, reverse }: Operation, pops = false): HelperFunction {
  return helperFunction(name, ['i32', 'i32'], 'i32', (e, [target, other], context) => {
    const x = new X87Code(e, context)
    const top = e.let(x.load(STATE.X87_TOP))
    const tags = e.let(x.load(STATE.X87_TAGS))
    const numberOf = (index: Expr): Expr => e.let(i32.and(i32.add(top, index), i32.const(7)))
    const a = numberOf(target!)
    const b = numberOf(other!)
    const empty = i32.eqz(i32.and(i32.and(i32.shr_u(tags, a), i32.shr_u(tags, b)), i32.const(1)))
    const aRegister = e.let(i32.shl(a, i32.const(4)))
    const bRegister = e.let(i32.shl(b, i32.const(4)))
    const [left, right] = reverse ? [bRegister, aRegister] : [aRegister, bRegister]
    if (ordinary) {
      short(
        x,
        empty,
        aRegister,
        ordinary,
        () => [ordinaryRegister(x, left), ordinaryRegister(x, right)],
        () => {
          if (!pops) return
          x.store(STATE.X87_TAGS, i32.and(tags, i32.xor(i32.shl(i32.const(1), top), i32.const(-1))))
          x.store(STATE.X87_TOP, i32.and(i32.add(top, i32.const(1)), i32.const(7)))
        },
      )
    }
    const unmasked = x.variable(zero32)
    e.if(
      empty,
      () => (unmasked.value = x.call(x87Underflow, aRegister)),
      () => {
        unmasked.value = x.call(
          operation,
          aRegister,
          x.significand(left),
          x.signExponent(left),
          x.significand(right),
          x.signExponent(right),
        )
      },
    )
    if (pops) {
      e.if(i32.eqz(i32.and(unmasked.value, i32.const(X87.IE | X87.DE | X87.ZE))), () => e.do(x.call(x87Pop)))
    }
    e.return(unmasked.value)
  })
}

/** ST(0) = ST(0) op value: `(bits)`. */
function withValue(name: string, { operation, ordinary, reverse }: Operation, memory: MemoryValue): HelperFunction {
  return helperFunction(`${name}${memory.name}`, ['i64'], 'i32', (e, [bits], context) => {
    const x = new X87Code(e, context)
    const a = x.registerAt(zero32)
    const empty = e.let(x.isEmpty(a))
    if (ordinary) {
      short(x, empty, a, ordinary, (slow) => {
        const register = ordinaryRegister(x, a)
        const value = memory.ordinary(x, slow, bits!)
        return reverse ? [value, register] : [register, value]
      })
    }
    e.if(empty, () => e.return(x.call(x87Underflow, a)))
    const register = [x.significand(a), x.signExponent(a)]
    const value = [x.call(memory.significand, bits!), x.call(memory.signExponent, bits!)]
    e.return(x.call(operation, a, ...(reverse ? [...value, ...register] : [...register, ...value])))
  })
}

export interface Arithmetic {
  readonly registers: HelperFunction
  readonly registersPop: HelperFunction
  readonly single: HelperFunction
  readonly double: HelperFunction
  readonly integer: HelperFunction
}
function arithmetic(name: string, operation: HelperFunction, ordinary: OrdinaryOperation, reverse = false): Arithmetic {
  const both: Operation = { operation, ordinary, reverse }
  return {
    registers: between(`${name}Registers`, both),
    registersPop: between(`${name}RegistersPop`, both, true),
    single: withValue(name, both, SINGLE_VALUE),
    double: withValue(name, both, DOUBLE_VALUE),
    integer: withValue(name, both, INTEGER_VALUE),
  }
}
export const ADD: Arithmetic = arithmetic('x87Add', x87Add, ORDINARY_ADD)
export const MULTIPLY: Arithmetic = arithmetic('x87Multiply', x87Multiply, ORDINARY_MULTIPLY)
export const SUBTRACT: Arithmetic = arithmetic('x87Subtract', x87Subtract, ORDINARY_SUBTRACT)
export const SUBTRACT_REVERSED: Arithmetic = arithmetic('x87SubtractReversed', x87Subtract, ORDINARY_SUBTRACT, true)
export const DIVIDE: Arithmetic = arithmetic('x87Divide', x87Divide, ORDINARY_DIVIDE)
export const DIVIDE_REVERSED: Arithmetic = arithmetic('x87DivideReversed', x87Divide, ORDINARY_DIVIDE, true)

/** FSCALE, FPREM, FPREM1: ST(0) and ST(1). */
export const x87ScaleRegisters: HelperFunction = between('x87ScaleRegisters', { operation: x87Scale, reverse: false })

/** `(nearest)`: FPREM (0) and FPREM1 (1). */
export const x87RemainderRegisters: HelperFunction = helperFunction(
  'x87RemainderRegisters',
  ['i32'],
  'i32',
  (e, [nearest], context) => {
    const x = new X87Code(e, context)
    const a = x.registerAt(zero32)
    const b = x.registerAt(i32.const(1))
    x.store(STATE.X87_STATUS, i32.and(x.status(), i32.const(~X87.C2)))
    e.if(i32.or(x.isEmpty(a), x.isEmpty(b)), () => e.return(x.call(x87Underflow, a)))
    e.return(
      x.call(
        x87PartialRemainder,
        a,
        x.significand(a),
        x.signExponent(a),
        x.significand(b),
        x.signExponent(b),
        nearest!,
      ),
    )
  },
)

/** `()`: an operation on ST(0) alone. */
function onTop(
  name: string,
  operation: HelperFunction,
  ordinary?: (x: X87Code, value: Ordinary) => OrdinaryResult,
): HelperFunction {
  return helperFunction(name, [], 'i32', (e, _, context) => {
    const x = new X87Code(e, context)
    const a = x.registerAt(zero32)
    if (ordinary) {
      e.block((slow) => {
        e.brIf(slow, x.isEmpty(a), false)
        requireOrdinaryMode(x, slow)
        const value = ordinaryRegister(x, a)
        requireNormal(x, slow, value)
        e.brIf(slow, value.sign, false)
        storeOrdinary(x, slow, a, ordinary(x, value))
        e.return(zero32)
      })
    }
    e.if(x.isEmpty(a), () => e.return(x.call(x87Underflow, a)))
    e.return(x.call(operation, a, x.significand(a), x.signExponent(a)))
  })
}
export const x87SquareRootTop: HelperFunction = onTop('x87SquareRootTop', x87SquareRoot, squareRootOrdinary)
export const x87RoundTop: HelperFunction = onTop('x87RoundTop', x87RoundToInteger)
