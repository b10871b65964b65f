// x87 comparison and classification (SDM vol. 1, 8.3.6).

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64 } from '../instruction/emitter.ts'
import { X87 } from '../x87/format.ts'
import { x87CompareRegisters, x87CompareValue, x87ExamineTop, x87SetCondition } from '../x87/stack.ts'
import {
  checkPending,
  complete,
  DOUBLE,
  INTEGER16,
  INTEGER32,
  loadOperand,
  type MemoryFormat,
  pop,
  SINGLE,
  UNIT,
} from './x87-common.ts'

/** Condition codes, pointers, pops. */
function finish(e: InstructionEmitter, compared: Expr, pops: number): void {
  const unmasked = e.let(e.helper(x87SetCondition, compared))
  complete(e, unmasked)
  if (pops === 0) return
  e.if(i32.eqz(unmasked), () => {
    for (let i = 0; i < pops; i++) pop(e)
  })
}
/** FCOM and FUCOM of ST(0) with ST(i), or with ST(1) where there is no operand. */
const compare =
  (quiet: boolean, pops: number): Semantics =>
  (e) => {
    checkPending(e)
    const index = e.form.operands.length > 0 ? e.x87Index(0) : i32.const(1)
    finish(e, e.let(e.helper(x87CompareRegisters, index, i32.const(quiet ? 1 : 0))), pops)
  }
const compareMemory =
  (format: MemoryFormat, pops: number): Semantics =>
  (e) => {
    checkPending(e)
    finish(e, e.let(e.helper(x87CompareValue, ...loadOperand(e, format))), pops)
  }
const test: Semantics = (e) => {
  checkPending(e)
  finish(e, e.let(e.helper(x87CompareValue, i64.const(0), i32.const(0))), 0)
}
/** FCOMI and FUCOMI: ZF, PF and CF instead of C3, C2 and C0. */
const compareFlags =
  (quiet: boolean, pops: boolean): Semantics =>
  (e) => {
    checkPending(e)
    const compared = e.let(e.helper(x87CompareRegisters, e.x87Index(0), i32.const(quiet ? 1 : 0)))
    const bit = (code: number): Expr => i32.ne(i32.and(compared, i32.const(code)), i32.const(0))
    const clear = i32.const(0)
    e.setFlags({ zf: bit(X87.C3), pf: bit(X87.C2), cf: bit(X87.C0), of: clear, sf: clear, af: clear })
    const unmasked = e.let(i32.and(compared, i32.const(X87.EXCEPTIONS)))
    complete(e, unmasked)
    if (pops) e.if(i32.eqz(unmasked), () => pop(e))
  }
const examine: Semantics = (e) => {
  checkPending(e)
  e.do(e.helper(x87ExamineTop))
  complete(e)
}

const MEMORY: readonly (readonly [string, string, MemoryFormat])[] = [
  ['FCOM', 'D8', SINGLE],
  ['FCOM', 'DC', DOUBLE],
  ['FICOM', 'DA', INTEGER32],
  ['FICOM', 'DE', INTEGER16],
]

export const X87_COMPARE: readonly InstructionDefinition[] = [
  ...MEMORY.flatMap(([name, opcode, format]) => [
    instruction(name, `${opcode} /2`, format.operand, compareMemory(format, 0), UNIT),
    instruction(`${name}P`, `${opcode} /3`, format.operand, compareMemory(format, 1), UNIT),
  ]),
  instruction('FCOM', 'D8 D0+i', 'STi', compare(false, 0), UNIT),
  instruction('FCOMP', 'D8 D8+i', 'STi', compare(false, 1), UNIT),
  instruction('FCOM', 'DC D0+i', 'STi', compare(false, 0), UNIT),
  instruction('FCOMP', 'DC D8+i', 'STi', compare(false, 1), UNIT),
  instruction('FCOMP', 'DE D0+i', 'STi', compare(false, 1), UNIT),
  instruction('FCOMPP', 'DE D9', '', compare(false, 2), UNIT),
  instruction('FUCOM', 'DD E0+i', 'STi', compare(true, 0), UNIT),
  instruction('FUCOMP', 'DD E8+i', 'STi', compare(true, 1), UNIT),
  instruction('FUCOMPP', 'DA E9', '', compare(true, 2), UNIT),
  instruction('FUCOMI', 'DB E8+i', 'STi', compareFlags(true, false), UNIT),
  instruction('FCOMI', 'DB F0+i', 'STi', compareFlags(false, false), UNIT),
  instruction('FUCOMIP', 'DF E8+i', 'STi', compareFlags(true, true), UNIT),
  instruction('FCOMIP', 'DF F0+i', 'STi', compareFlags(false, true), UNIT),
  instruction('FTST', 'D9 E4', '', test, UNIT),
  instruction('FXAM', 'D9 E5', '', examine, UNIT),
]
