// Operands in memory: singles, doubles, integers (SDM vol. 1, 4.2, 8.2).

import type { HelperFunction } from '../instruction/helper.ts'
import type { Expr } from '../wasm/expression.ts'
import type { Label } from '../wasm/function-emitter.ts'
import {
  x87SignExponentFromDouble,
  x87SignExponentFromInteger,
  x87SignExponentFromSingle,
  x87SignificandFromDouble,
  x87SignificandFromInteger,
  x87SignificandFromSingle,
} from './convert.ts'
import type { X87Code } from './emit.ts'
import { type Ordinary, ordinaryFloat, ordinaryInteger } from './ordinary.ts'

/** What an operand in memory is, and how its bits (i64, integers sign-extended) become a value. */
export interface MemoryValue {
  readonly name: string
  readonly significand: HelperFunction
  readonly signExponent: HelperFunction
  /** Place of the bit whose value is a zero's sign; the bits of an integer are all above. */
  readonly sign: number
  readonly ordinary: (x: X87Code, slow: Label, bits: Expr) => Ordinary
}
export const SINGLE_VALUE: MemoryValue = {
  name: 'Single',
  significand: x87SignificandFromSingle,
  signExponent: x87SignExponentFromSingle,
  sign: 31,
  ordinary: (x, slow, bits) => ordinaryFloat(x, slow, bits, 23, 8),
}
export const DOUBLE_VALUE: MemoryValue = {
  name: 'Double',
  significand: x87SignificandFromDouble,
  signExponent: x87SignExponentFromDouble,
  sign: 63,
  ordinary: (x, slow, bits) => ordinaryFloat(x, slow, bits, 52, 11),
}
export const INTEGER_VALUE: MemoryValue = {
  name: 'Integer',
  significand: x87SignificandFromInteger,
  signExponent: x87SignExponentFromInteger,
  sign: 0,
  ordinary: ordinaryInteger,
}
