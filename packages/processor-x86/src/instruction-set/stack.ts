// The stack (SDM vol. 1, 5.1.1 and 6.5): PUSH, POP, PUSHA, POPA, ENTER, LEAVE. POP of a segment register and the flags are system instructions.

import {
  type InstructionDefinition,
  type InstructionOptions,
  instruction,
  type Semantics,
} from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64 } from '../instruction/emitter.ts'
import { GPR, SEGMENT, STATE } from '../state-layout.ts'

const DEFAULT64: InstructionOptions = { size: 'd64', modal: true }
const LEGACY: InstructionOptions = { mode: 'legacy', modal: true }

/** Push `value` in the operand size. */
function pushValue(e: InstructionEmitter, value: Expr): void {
  const size = e.form.operandSize
  const top = e.let(i64.sub(e.gpr(GPR.RSP), i64.const(size)))
  e.storeInteger(e.stackAddress(top, size, 'write'), size, value)
  e.setStackPointer(top)
}

const push: Semantics = (e) => pushValue(e, e.read(0))
const pushSigned: Semantics = (e) => pushValue(e, e.readSigned(0))
const pushSegment =
  (segment: number): Semantics =>
  (e) =>
    pushValue(e, i64.extend_i32_u(i32.and(e.stateI32(STATE.SEGMENTS + segment * 16), i32.const(0xffff))))

const pop: Semantics = (e) => {
  const size = e.form.operandSize
  const top = e.gpr(GPR.RSP)
  const value = e.loadInteger(e.stackAddress(top, size, 'read'), size)
  const above = e.let(i64.add(top, i64.const(size)))
  if (e.isMemory(0)) {
    // an address with RSP in it is computed after the increment, but RSP must not have changed when the store faults
    e.setStackPointer(above)
    const address = e.address(0, size, 'write')
    e.setGpr(GPR.RSP, top)
    e.storeInteger(address, size, value)
    e.setStackPointer(above)
  } else {
    e.setStackPointer(above)
    e.write(0, value)
  }
}

/** The stack slot `index` operand sizes above `base`. */
function slot(e: InstructionEmitter, base: Expr, index: number, access: 'read' | 'write'): Expr {
  const size = e.form.operandSize
  return e.stackAddress(i64.add(base, i64.const(index * size)), size, access)
}

const pusha: Semantics = (e) => {
  const size = e.form.operandSize
  const base = e.let(i64.sub(e.gpr(GPR.RSP), i64.const(8 * size)))
  // all eight slots lie in two pages at most: when the first and the last can be written, so can the rest
  e.probeWrite(slot(e, base, 0, 'write'), size)
  e.probeWrite(slot(e, base, 7, 'write'), size)
  for (let register = 7; register >= 0; register--) {
    const index = 7 - register
    e.storeInteger(slot(e, base, index, 'write'), size, e.gpr(register, size))
  }
  e.setStackPointer(base)
}
const popa: Semantics = (e) => {
  const size = e.form.operandSize
  const top = e.gpr(GPR.RSP)
  const values: Expr[] = []
  for (let index = 0; index < 8; index++) values.push(e.loadInteger(slot(e, top, index, 'read'), size))
  e.setStackPointer(i64.add(top, i64.const(8 * size)))
  values.forEach((value, index) => {
    const register = 7 - index
    if (register !== GPR.RSP) e.setGpr(register, value, size)
  })
}

/** The size of the stack pointer in bytes is 8 in 64-bit mode; elsewhere RBP is cut to it as RSP is, by `stackAddress`. */
const enter: Semantics = (e) => {
  const size = e.form.operandSize
  const bytes = e.read(0)
  const level = e.let(i64.and(e.read(1), i64.const(31)))
  const frame = e.local('i64')
  const top = e.gpr(GPR.RSP)
  const rbp = e.gpr(GPR.RBP)
  e.set(frame, i64.sub(top, i64.const(size)))
  e.storeInteger(e.stackAddress(e.get(frame), size, 'write'), size, rbp)
  const base = e.let(e.get(frame))
  e.if(i64.ne(level, i64.const(0)), () => {
    const left = e.local('i64')
    const source = e.local('i64')
    e.set(left, i64.sub(level, i64.const(1)))
    e.set(source, rbp)
    e.block((done) => {
      e.loop((again) => {
        e.brIf(done, i64.eqz(e.get(left)))
        e.set(source, i64.sub(e.get(source), i64.const(size)))
        e.set(frame, i64.sub(e.get(frame), i64.const(size)))
        const value = e.loadInteger(e.stackAddress(e.get(source), size, 'read'), size)
        e.storeInteger(e.stackAddress(e.get(frame), size, 'write'), size, value)
        e.set(left, i64.sub(e.get(left), i64.const(1)))
        e.br(again)
      })
    })
    e.set(frame, i64.sub(e.get(frame), i64.const(size)))
    e.storeInteger(e.stackAddress(e.get(frame), size, 'write'), size, base)
  })
  const bottom = e.let(i64.sub(e.get(frame), bytes))
  // the last byte of the new frame must be writable (SDM, ENTER: a fault before anything changes)
  e.probeWrite(e.stackAddress(bottom, size, 'write'), size)
  e.setGpr(GPR.RBP, base, size)
  e.setStackPointer(bottom)
}
const leave: Semantics = (e) => {
  const size = e.form.operandSize
  const rbp = e.gpr(GPR.RBP)
  const value = e.loadInteger(e.stackAddress(rbp, size, 'read'), size)
  e.setStackPointer(i64.add(rbp, i64.const(size)))
  e.setGpr(GPR.RBP, value, size)
}

export const STACK: readonly InstructionDefinition[] = [
  instruction('PUSH', '50+r', 'Zv', push, DEFAULT64),
  instruction('PUSH', 'FF /6', 'Ev', push, DEFAULT64),
  instruction('PUSH', '6A ib', 'Ibs', pushSigned, DEFAULT64),
  instruction('PUSH', '68 id', 'Iz', pushSigned, DEFAULT64),
  instruction('PUSH', '06', '', pushSegment(SEGMENT.ES), LEGACY),
  instruction('PUSH', '0E', '', pushSegment(SEGMENT.CS), LEGACY),
  instruction('PUSH', '16', '', pushSegment(SEGMENT.SS), LEGACY),
  instruction('PUSH', '1E', '', pushSegment(SEGMENT.DS), LEGACY),
  instruction('PUSH', '0F A0', '', pushSegment(SEGMENT.FS), DEFAULT64),
  instruction('PUSH', '0F A8', '', pushSegment(SEGMENT.GS), DEFAULT64),
  instruction('POP', '58+r', 'Zv', pop, DEFAULT64),
  instruction('POP', '8F /0', 'Ev', pop, DEFAULT64),
  instruction('PUSHA', '60', '', pusha, LEGACY),
  instruction('POPA', '61', '', popa, LEGACY),
  instruction('ENTER', 'C8 iw ib', 'Iw Ib', enter, DEFAULT64),
  instruction('LEAVE', 'C9', '', leave, DEFAULT64),
]
