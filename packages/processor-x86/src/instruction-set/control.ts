// Control transfer inside a code segment (SDM vol. 1, 5.1.7): jumps, calls, returns, loops; BOUND.

import {
  type InstructionDefinition,
  type InstructionOptions,
  instruction,
  type Semantics,
} from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, select, VECTOR, zeroExtend } from '../instruction/emitter.ts'
import { GPR, SEGMENT, STATE } from '../state-layout.ts'

const ENDS: InstructionOptions = { size: 'f64', modal: true, ends: true }
const MAY_JUMP: InstructionOptions = { size: 'f64', modal: true }

/** #GP(0) unless `target` may be executed: in 64-bit mode it must be canonical, in the others inside CS's limit. */
function checkTarget(e: InstructionEmitter, target: Expr): void {
  if (e.form.mode64) {
    e.raiseIf(i64.ne(i64.shr_s(i64.shl(target, i64.const(16)), i64.const(16)), target), VECTOR.GP, 0)
  } else {
    const limit = e.stateI32(STATE.SEGMENTS + SEGMENT.CS * 16 + 8)
    e.raiseIf(i64.gt_u(target, i64.extend_i32_u(limit)), VECTOR.GP, 0)
  }
}
/** A jump to the relative operand; outside 64-bit mode its target is checked. `before` comes between the check and the jump. */
function jumpRelative(e: InstructionEmitter, before?: () => void): void {
  if (!e.form.mode64) checkTarget(e, e.relativeTarget(0))
  before?.()
  e.jumpRelative()
}
/** The value of operand 0 as a target. */
function indirectTarget(e: InstructionEmitter): Expr {
  const target = e.read(0)
  checkTarget(e, target)
  return target
}
function pushReturnAddress(e: InstructionEmitter): void {
  const size = e.form.operandSize
  const top = e.let(i64.sub(e.gpr(GPR.RSP), i64.const(size)))
  e.storeInteger(e.stackAddress(top, size, 'write'), size, e.nextRip())
  e.setStackPointer(top)
}

const jmp: Semantics = (e) => jumpRelative(e)
const jmpIndirect: Semantics = (e) => e.jump(indirectTarget(e))
const call: Semantics = (e) => jumpRelative(e, () => pushReturnAddress(e))
const callIndirect: Semantics = (e) => {
  const target = indirectTarget(e)
  pushReturnAddress(e)
  e.jump(target)
}
const ret: Semantics = (e) => {
  const size = e.form.operandSize
  const top = e.gpr(GPR.RSP)
  const target = e.loadInteger(e.stackAddress(top, size, 'read'), size)
  checkTarget(e, target)
  const released = e.form.operands.length > 0 ? i64.add(e.read(0), i64.const(size)) : i64.const(size)
  e.setStackPointer(i64.add(top, released))
  e.jump(target)
}

const jcc =
  (cc: number): Semantics =>
  (e) => {
    e.if(e.condition(cc), () => jumpRelative(e))
  }

/** i64: RCX less one, counted in the address size: 16 bits leave the rest alone, 32 bits clear the upper half. */
function countDown(e: InstructionEmitter): Expr {
  const mask = e.addressMask()
  const old = e.gpr(GPR.RCX)
  const next = e.let(i64.and(i64.sub(old, i64.const(1)), mask))
  const kept = select(i64.eq(mask, i64.const(0xffff)), i64.and(old, i64.const(-0x10000)), i64.const(0))
  return e.let(i64.or(kept, next))
}
/** LOOP (no flag), LOOPE and LOOPNE. */
const loop =
  (zero?: boolean): Semantics =>
  (e) => {
    const value = countDown(e)
    const more = i32.eqz(i64.eqz(i64.and(value, e.addressMask())))
    const equal = zero === undefined ? undefined : e.condition(zero ? 4 : 5)
    const taken = e.let(equal ? i32.and(more, i32.eqz(i32.eqz(equal))) : more)
    if (!e.form.mode64) {
      e.if(taken, () => checkTarget(e, e.relativeTarget(0)))
    }
    e.setGpr(GPR.RCX, value)
    e.if(taken, () => e.jumpRelative())
  }
const jrcxz: Semantics = (e) => {
  e.if(i64.eqz(i64.and(e.gpr(GPR.RCX), e.addressMask())), () => jumpRelative(e))
}

/** #BR unless the signed index is inside the two bounds in memory. */
const bound: Semantics = (e) => {
  const size = e.size(0)
  const index = e.readSigned(0)
  const address = e.address(1, size * 2, 'read')
  const lower = e.loadInteger(address, size, true)
  const upper = e.loadInteger(zeroExtend(i64.add(address, i64.const(size)), 4), size, true)
  e.raiseIf(i32.or(i64.lt_s(index, lower), i64.gt_s(index, upper)), VECTOR.BR)
}

const CONDITIONS = ['O', 'NO', 'B', 'NB', 'Z', 'NZ', 'BE', 'NBE', 'S', 'NS', 'P', 'NP', 'L', 'NL', 'LE', 'NLE'] as const
const hex = (value: number): string => value.toString(16).toUpperCase()

export const CONTROL: readonly InstructionDefinition[] = [
  instruction('JMP', 'EB cb', 'Jb', jmp, ENDS),
  instruction('JMP', 'E9 cd', 'Jz', jmp, ENDS),
  instruction('JMP', 'FF /4', 'Ev', jmpIndirect, ENDS),
  instruction('CALL', 'E8 cd', 'Jz', call, ENDS),
  instruction('CALL', 'FF /2', 'Ev', callIndirect, ENDS),
  instruction('RET', 'C3', '', ret, ENDS),
  instruction('RET', 'C2 iw', 'Iw', ret, ENDS),
  ...CONDITIONS.map((name, cc) => instruction(`J${name}`, `${hex(0x70 + cc)} cb`, 'Jb', jcc(cc), MAY_JUMP)),
  ...CONDITIONS.map((name, cc) => instruction(`J${name}`, `0F ${hex(0x80 + cc)} cd`, 'Jz', jcc(cc), MAY_JUMP)),
  instruction('LOOPNE', 'E0 cb', 'Jb', loop(false), MAY_JUMP),
  instruction('LOOPE', 'E1 cb', 'Jb', loop(true), MAY_JUMP),
  instruction('LOOP', 'E2 cb', 'Jb', loop(), MAY_JUMP),
  instruction('JrCXZ', 'E3 cb', 'Jb', jrcxz, MAY_JUMP),
  instruction('BOUND', '62 /r', 'Gv M', bound, { mode: 'legacy' }),
]
