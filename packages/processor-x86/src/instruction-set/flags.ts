// The flags that concern the system (SDM vol. 1, 3.4.3; vol. 2: PUSHF, POPF, CLI, STI, CLAC, STAC): the interrupt flag, I/O privilege and access checks.

import { FLAG } from '../cpu.ts'
import {
  type InstructionDefinition,
  type InstructionOptions,
  instruction,
  type Semantics,
} from '../instruction/definition.ts'
import { type Expr, i32, i64, VECTOR } from '../instruction/emitter.ts'
import { type SystemSemantics, system } from '../instruction/system.ts'
import { advance, ioPrivilege, peek, setStackPointer } from '../instruction/system-operand.ts'
import { CACHES, GPR, STATE, STATE_AREA } from '../state-layout.ts'

const DEFAULT64: InstructionOptions = { size: 'd64', modal: true }

/** i32: EFLAGS.IOPL. */
function ioPrivilegeOf(rest: Expr): Expr {
  return i32.and(i32.shr_u(rest, i32.const(12)), i32.const(3))
}

const pushf: Semantics = (e) => {
  const size = e.form.operandSize
  const rest = e.stateI32(STATE.FLAGS_REST)
  if (!e.form.mode64) {
    // virtual-8086 mode with IOPL below 3
    e.raiseIf(
      i32.and(i32.ne(i32.and(rest, i32.const(FLAG.VM)), i32.const(0)), i32.ne(ioPrivilegeOf(rest), i32.const(3))),
      VECTOR.GP,
      0,
    )
  }
  const image = i32.or(
    i32.or(i32.and(rest, i32.const(~(FLAG.RF | FLAG.VM))), i32.const(FLAG.FIXED)),
    i32.or(e.statusFlags(), i32.shl(e.stateI32(STATE.DIRECTION), i32.const(10))),
  )
  const value = e.let(i64.extend_i32_u(image))
  const top = e.let(i64.sub(e.gpr(GPR.RSP), i64.const(size)))
  e.storeInteger(e.stackAddress(top, size, 'write'), size, value)
  e.setStackPointer(top)
}

const popf: SystemSemantics = system((cpu, record, form) => {
  const size = form.operandSize
  const virtual = cpu.protectedMode && cpu.virtual8086
  const iopl = ioPrivilege(cpu)
  if (virtual && iopl < 3) cpu.fault(VECTOR.GP, 0)
  const image = Number(peek(cpu, 0, size) & 0xffffffffn)
  let mask = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.TF | FLAG.DF | FLAG.OF | FLAG.NT
  if (size > 2) mask |= FLAG.AC | FLAG.ID
  if (cpu.cpl <= iopl) mask |= FLAG.IF
  if (cpu.cpl === 0) mask |= FLAG.IOPL
  setStackPointer(cpu, cpu.gpr(GPR.RSP) + BigInt(size))
  // RF is cleared; VM, VIF and VIP stay
  cpu.flags = (cpu.flags & ~(mask | FLAG.RF)) | (image & mask)
  return advance(cpu, record)
})

const cli: Semantics = (e) => {
  const rest = e.stateI32(STATE.FLAGS_REST)
  e.raiseIf(i32.gt_u(e.stateI32(STATE.CPL), ioPrivilegeOf(rest)), VECTOR.GP, 0)
  e.setStateI32(STATE.FLAGS_REST, i32.and(rest, i32.const(~FLAG.IF)))
}
/** Interrupts come in after the next instruction. When none waits, it is enough to note where that is. */
const sti = system(
  (cpu, record) => {
    const rest = cpu.get32(STATE.FLAGS_REST)
    if (cpu.cpl > ((rest >> 12) & 3)) cpu.fault(VECTOR.GP, 0)
    if (!(rest & FLAG.IF)) {
      cpu.set32(STATE.FLAGS_REST, rest | FLAG.IF)
      cpu.interruptShadow = true
    }
    return advance(cpu, record)
  },
  (e) => {
    const rest = e.stateI32(STATE.FLAGS_REST)
    const allowed = i32.le_u(e.stateI32(STATE.CPL), ioPrivilegeOf(rest))
    e.if(i32.and(allowed, i32.eqz(e.stateI32(STATE.INTERRUPT_WAITING))), () => {
      e.if(i32.eqz(i32.and(rest, i32.const(FLAG.IF))), () => {
        e.setStateI32(STATE.FLAGS_REST, i32.or(rest, i32.const(FLAG.IF)))
        e.setStateI64(STATE.SHADOW, e.nextRip())
      })
      e.complete()
    })
  },
)

const accessCheck =
  (allow: boolean): Semantics =>
  (e) => {
    e.raiseIf(e.stateI32(STATE.CPL), VECTOR.UD)
    const rest = e.stateI32(STATE.FLAGS_REST)
    e.setStateI32(STATE.FLAGS_REST, allow ? i32.or(rest, i32.const(FLAG.AC)) : i32.and(rest, i32.const(~FLAG.AC)))
    e.selectCaches(allow ? e.stateI32(STATE.CONTEXT_ACCESS) : i32.const(e.stateOffset(STATE_AREA + CACHES.SUPERVISOR)))
  }

export const FLAGS: readonly InstructionDefinition[] = [
  instruction('PUSHF', '9C', '', pushf, DEFAULT64),
  instruction('POPF', '9D', '', popf, DEFAULT64),
  instruction('CLI', 'FA', '', cli),
  instruction('STI', 'FB', '', sti),
  instruction('CLAC', '0F 01 CA', '', accessCheck(false)),
  instruction('STAC', '0F 01 CB', '', accessCheck(true)),
]
