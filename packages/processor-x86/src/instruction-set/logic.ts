// Logical instructions (SDM vol. 1, 5.1.4).

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { type Expr, i64 } from '../instruction/emitter.ts'
import { binaryForms } from './binary-forms.ts'

const bitwise =
  (operation: (a: Expr, b: Expr) => Expr): Semantics =>
  (e) => {
    const b = e.readSigned(1)
    let r = b
    e.modifySigned(0, (old) => {
      r = e.let(operation(old, b))
      return r
    })
    e.flagsBitwise(r)
  }
const and = bitwise(i64.and)
const or = bitwise(i64.or)
const xor = bitwise(i64.xor)

const test: Semantics = (e) => e.flagsBitwise(i64.and(e.readSigned(0), e.readSigned(1)))

const not: Semantics = (e) => e.modify(0, (old) => i64.xor(old, i64.const(-1)))

export const LOGIC: readonly InstructionDefinition[] = [
  ...binaryForms('OR', 0x08, or, true),
  ...binaryForms('AND', 0x20, and, true),
  ...binaryForms('XOR', 0x30, xor, true),
  instruction('TEST', '84 /r', 'Eb Gb', test),
  instruction('TEST', '85 /r', 'Ev Gv', test),
  instruction('TEST', 'A8 ib', 'AL Ib', test),
  instruction('TEST', 'A9 id', 'rAX Iz', test),
  instruction('TEST', 'F6 /0 ib', 'Eb Ib', test),
  instruction('TEST', 'F6 /1 ib', 'Eb Ib', test),
  instruction('TEST', 'F7 /0 id', 'Ev Iz', test),
  instruction('TEST', 'F7 /1 id', 'Ev Iz', test),
  instruction('NOT', 'F6 /2', 'Eb', not, { lock: true }),
  instruction('NOT', 'F7 /2', 'Ev', not, { lock: true }),
]
