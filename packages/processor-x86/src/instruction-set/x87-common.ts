// What x87 instructions have in common (SDM vol. 1, 8.1.8, 8.6): the check for a pending exception, the instruction and data pointers, operands in memory, popping.
//
// The processor has the properties that CPUID.(7,0).EBX[6] and [13] stand for: FDP and FOP change with unmasked exceptions only, FCS and FDS are 0.

import { type Expr, type InstructionEmitter, i32, signExtend, VECTOR } from '../instruction/emitter.ts'
import type { HelperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import {
  x87SignExponentFromDouble,
  x87SignExponentFromInteger,
  x87SignExponentFromSingle,
  x87SignificandFromDouble,
  x87SignificandFromInteger,
  x87SignificandFromSingle,
} from '../x87/convert.ts'
import { X87 } from '../x87/format.ts'
import { x87LoadDouble, x87LoadInteger, x87LoadSingle, x87Pop } from '../x87/stack.ts'

/** What `unit: 'x87'` rows share. */
export const UNIT = { unit: 'x87' } as const

const CR0_NE = 0x20

/** #MF when an unmasked exception is pending. Without CR0.NE it would be for the interrupt controller, and execution goes on. */
export function checkPending(e: InstructionEmitter): void {
  e.if(
    i32.and(i32.load(i32.const(0), e.stateOffset(STATE.X87_STATUS)), i32.const(X87.ES)),
    () => e.raiseIf(i32.and(i32.load(i32.const(0), e.stateOffset(STATE.CR0)), i32.const(CR0_NE)), VECTOR.MF),
    undefined,
    false,
  )
}

/** The instruction has executed: FIP; and FOP and FDP if `unmasked` exceptions are now pending. */
export function complete(e: InstructionEmitter, unmasked?: Expr): void {
  e.setStateI64(STATE.X87_INSTRUCTION, e.currentRip())
  if (!unmasked) return
  e.if(
    unmasked,
    () => {
      const { definition, operands, memory } = e.form
      const [opcode = '', modrm = ''] = definition.opcode.split(' ')
      const byte = memory
        ? e.modrm()
        : operands.some((operand) => operand.kind === 'x87')
          ? i32.add(i32.const(Number.parseInt(modrm, 16)), e.x87Index(0))
          : i32.const(Number.parseInt(modrm, 16))
      e.setStateI32(STATE.X87_OPCODE, i32.or(i32.const((Number.parseInt(opcode, 16) & 7) << 8), byte))
      if (memory) e.setStateI64(STATE.X87_DATA, e.effectiveAddress(0))
    },
    undefined,
    false,
  )
}

export function pop(e: InstructionEmitter): void {
  e.do(e.helper(x87Pop))
}

/** Pop unless the operation was not carried out: an invalid or denormal operand or a division by zero, unmasked. */
export function popUnless(e: InstructionEmitter, unmasked: Expr): void {
  e.if(i32.eqz(i32.and(unmasked, i32.const(X87.IE | X87.DE | X87.ZE))), () => pop(e))
}

/** How an operand in memory becomes a significand, and a sign and exponent. */
export interface MemoryFormat {
  readonly operand: 'Mw' | 'Md' | 'Mq'
  readonly signed: boolean
  readonly significand: HelperFunction
  readonly signExponent: HelperFunction
  /** Pushes it. */
  readonly load: HelperFunction
}
export const SINGLE: MemoryFormat = {
  operand: 'Md',
  signed: false,
  significand: x87SignificandFromSingle,
  signExponent: x87SignExponentFromSingle,
  load: x87LoadSingle,
}
export const DOUBLE: MemoryFormat = {
  operand: 'Mq',
  signed: false,
  significand: x87SignificandFromDouble,
  signExponent: x87SignExponentFromDouble,
  load: x87LoadDouble,
}
const integer = (operand: MemoryFormat['operand']): MemoryFormat => ({
  operand,
  signed: true,
  significand: x87SignificandFromInteger,
  signExponent: x87SignExponentFromInteger,
  load: x87LoadInteger,
})
export const INTEGER16: MemoryFormat = integer('Mw')
export const INTEGER32: MemoryFormat = integer('Md')
export const INTEGER64: MemoryFormat = integer('Mq')

/** Operand 0, integers sign-extended. */
export function readOperand(e: InstructionEmitter, format: MemoryFormat): Expr {
  return e.let(format.signed ? signExtend(e.read(0), e.size(0)) : e.read(0))
}
/** Load operand 0. */
export function loadOperand(e: InstructionEmitter, format: MemoryFormat): [Expr, Expr] {
  const value = readOperand(e, format)
  return [e.let(e.helper(format.significand, value)), e.let(e.helper(format.signExponent, value))]
}
