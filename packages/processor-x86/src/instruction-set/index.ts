// All instructions.

import type { InstructionDefinition } from '../instruction/definition.ts'
import { AES } from './aes.ts'
import { ARITHMETIC } from './arithmetic.ts'
import { BIT } from './bit.ts'
import { CONTROL } from './control.ts'
import { CONTROL_REGISTERS } from './control-registers.ts'
import { DATA_TRANSFER } from './data-transfer.ts'
import { FAR_TRANSFER } from './far-transfer.ts'
import { FLAG_CONTROL } from './flag-control.ts'
import { FLAGS } from './flags.ts'
import { IO } from './io.ts'
import { LOGIC } from './logic.ts'
import { MMX } from './mmx.ts'
import { MULTIPLY_DIVIDE } from './multiply-divide.ts'
import { PROCESSOR_CONTROL } from './processor-control.ts'
import { SEGMENT_REGISTERS } from './segment-registers.ts'
import { SHIFT } from './shift.ts'
import { SSE_ARITHMETIC } from './sse-arithmetic.ts'
import { SSE_COMPARE } from './sse-compare.ts'
import { SSE_CONVERT } from './sse-convert.ts'
import { SSE_INTEGER } from './sse-integer.ts'
import { SSE_MOVE } from './sse-move.ts'
import { SSE_SHUFFLE } from './sse-shuffle.ts'
import { SSE_STRING } from './sse-string.ts'
import { STACK } from './stack.ts'
import { STATE_SAVE } from './state-save.ts'
import { STRING } from './string.ts'
import { SYSTEM_CALL } from './system-call.ts'
import { X87_ARITHMETIC } from './x87-arithmetic.ts'
import { X87_COMPARE } from './x87-compare.ts'
import { X87_CONTROL } from './x87-control.ts'
import { X87_DATA } from './x87-data.ts'
import { X87_TRANSCENDENTAL } from './x87-transcendental.ts'

/** The rows of all families; decoder, interpreter and translator are made from them. */
export const INSTRUCTION_SET: readonly InstructionDefinition[] = [
  ...AES,
  ...ARITHMETIC,
  ...BIT,
  ...CONTROL,
  ...CONTROL_REGISTERS,
  ...DATA_TRANSFER,
  ...FAR_TRANSFER,
  ...FLAGS,
  ...FLAG_CONTROL,
  ...IO,
  ...LOGIC,
  ...MMX,
  ...MULTIPLY_DIVIDE,
  ...PROCESSOR_CONTROL,
  ...SEGMENT_REGISTERS,
  ...SHIFT,
  ...SSE_ARITHMETIC,
  ...SSE_COMPARE,
  ...SSE_CONVERT,
  ...SSE_INTEGER,
  ...SSE_MOVE,
  ...SSE_SHUFFLE,
  ...SSE_STRING,
  ...STACK,
  ...STATE_SAVE,
  ...STRING,
  ...SYSTEM_CALL,
  ...X87_ARITHMETIC,
  ...X87_COMPARE,
  ...X87_CONTROL,
  ...X87_DATA,
  ...X87_TRANSCENDENTAL,
]
