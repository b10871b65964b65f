// x87 arithmetic (SDM vol. 1, 8.3.5): addition to division in all their forms, square root, scaling, remainders, rounding, signs.

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { i32 } from '../instruction/emitter.ts'
import type { HelperFunction } from '../instruction/helper.ts'
import {
  ADD,
  type Arithmetic,
  DIVIDE,
  DIVIDE_REVERSED,
  MULTIPLY,
  SUBTRACT,
  SUBTRACT_REVERSED,
  x87RemainderRegisters,
  x87RoundTop,
  x87ScaleRegisters,
  x87SquareRootTop,
} from '../x87/operations.ts'
import { x87ChangeSign } from '../x87/stack.ts'
import {
  checkPending,
  complete,
  DOUBLE,
  INTEGER16,
  INTEGER32,
  type MemoryFormat,
  readOperand,
  SINGLE,
  UNIT,
} from './x87-common.ts'

const ZERO = i32.const(0)

/** ST(0) = ST(0) op ST(i). */
const toTop =
  ({ registers }: Arithmetic): Semantics =>
  (e) => {
    checkPending(e)
    complete(e, e.let(e.helper(registers, ZERO, e.x87Index(0))))
  }
/** ST(i) = ST(i) op ST(0). */
const toRegister =
  ({ registers, registersPop }: Arithmetic, pops = false): Semantics =>
  (e) => {
    checkPending(e)
    complete(e, e.let(e.helper(pops ? registersPop : registers, e.x87Index(0), ZERO)))
  }
/** ST(0) = ST(0) op memory. */
const withMemory =
  (helper: HelperFunction, format: MemoryFormat): Semantics =>
  (e) => {
    checkPending(e)
    complete(e, e.let(e.helper(helper, readOperand(e, format))))
  }
/** An operation on ST(0), with constants. */
const onTop =
  (helper: HelperFunction, ...constants: number[]): Semantics =>
  (e) => {
    checkPending(e)
    complete(e, e.let(e.helper(helper, ...constants.map((value) => i32.const(value)))))
  }

/** Name, operation, ModRM.reg of the memory forms and first ModRM of D8; the DC and DE forms have the reversed operation's ModRM. */
const FAMILY: readonly (readonly [string, Arithmetic, number, string, string])[] = [
  ['ADD', ADD, 0, 'C0', 'C0'],
  ['MUL', MULTIPLY, 1, 'C8', 'C8'],
  ['SUB', SUBTRACT, 4, 'E0', 'E8'],
  ['SUBR', SUBTRACT_REVERSED, 5, 'E8', 'E0'],
  ['DIV', DIVIDE, 6, 'F0', 'F8'],
  ['DIVR', DIVIDE_REVERSED, 7, 'F8', 'F0'],
]

export const X87_ARITHMETIC: readonly InstructionDefinition[] = [
  ...FAMILY.flatMap(([name, operation, digit, top, register]) => [
    instruction(`F${name}`, `D8 /${digit}`, SINGLE.operand, withMemory(operation.single, SINGLE), UNIT),
    instruction(`F${name}`, `DC /${digit}`, DOUBLE.operand, withMemory(operation.double, DOUBLE), UNIT),
    instruction(`FI${name}`, `DA /${digit}`, INTEGER32.operand, withMemory(operation.integer, INTEGER32), UNIT),
    instruction(`FI${name}`, `DE /${digit}`, INTEGER16.operand, withMemory(operation.integer, INTEGER16), UNIT),
    instruction(`F${name}`, `D8 ${top}+i`, 'STi', toTop(operation), UNIT),
    instruction(`F${name}`, `DC ${register}+i`, 'STi', toRegister(operation), UNIT),
    instruction(`F${name}P`, `DE ${register}+i`, 'STi', toRegister(operation, true), UNIT),
  ]),
  instruction('FCHS', 'D9 E0', '', onTop(x87ChangeSign, 0xffff, 0x8000), UNIT),
  instruction('FABS', 'D9 E1', '', onTop(x87ChangeSign, 0x7fff, 0), UNIT),
  instruction('FPREM1', 'D9 F5', '', onTop(x87RemainderRegisters, 1), UNIT),
  instruction('FPREM', 'D9 F8', '', onTop(x87RemainderRegisters, 0), UNIT),
  instruction('FSQRT', 'D9 FA', '', onTop(x87SquareRootTop), UNIT),
  instruction('FRNDINT', 'D9 FC', '', onTop(x87RoundTop), UNIT),
  instruction('FSCALE', 'D9 FD', '', onTop(x87ScaleRegisters, 0, 1), UNIT),
]
