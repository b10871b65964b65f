// x87 control (SDM vol. 1, 8.3.8): initialisation, control and status words, environment, stack management, WAIT.

import type { Cpu } from '../cpu.ts'
import {
  type InstructionDefinition,
  type InstructionForm,
  instruction,
  type Semantics,
} from '../instruction/definition.ts'
import { type InstructionEmitter, i32, i64, VECTOR } from '../instruction/emitter.ts'
import { system } from '../instruction/system.ts'
import { STATE, STATUS } from '../state-layout.ts'
import { environmentSize, REGISTERS_SIZE, restoreEnvironment, saveEnvironment } from '../x87/environment.ts'
import { CONTROL_INITIAL, X87 } from '../x87/format.ts'
import { initialise, requireNoException, requireX87, setControl } from '../x87/registers.ts'
import { x87LoadControl } from '../x87/stack.ts'
import { checkPending, complete, pop, UNIT } from './x87-common.ts'

// --- words

const storeControl: Semantics = (e) => e.write(0, i64.extend_i32_u(e.stateI32(STATE.X87_CONTROL)))
const storeStatus: Semantics = (e) =>
  e.write(0, i64.extend_i32_u(i32.or(e.stateI32(STATE.X87_STATUS), i32.shl(e.stateI32(STATE.X87_TOP), i32.const(11)))))
const loadControl: Semantics = (e) => {
  checkPending(e)
  e.do(e.helper(x87LoadControl, i32.wrap_i64(e.read(0))))
}
const clearExceptions: Semantics = (e) =>
  e.setStateI32(STATE.X87_STATUS, i32.and(e.stateI32(STATE.X87_STATUS), i32.const(X87.CONDITION)))
const init: Semantics = (e) => {
  e.setStateI32(STATE.X87_CONTROL, i32.const(CONTROL_INITIAL))
  for (const field of [STATE.X87_STATUS, STATE.X87_TOP, STATE.X87_TAGS, STATE.X87_OPCODE]) {
    e.setStateI32(field, i32.const(0))
  }
  e.setStateI64(STATE.X87_INSTRUCTION, i64.const(0))
  e.setStateI64(STATE.X87_DATA, i64.const(0))
}

// --- stack management

function clearC1(e: InstructionEmitter): void {
  e.setStateI32(STATE.X87_STATUS, i32.and(e.stateI32(STATE.X87_STATUS), i32.const(~X87.C1)))
}
const moveTop =
  (by: number): Semantics =>
  (e) => {
    checkPending(e)
    e.setStateI32(STATE.X87_TOP, i32.and(i32.add(e.stateI32(STATE.X87_TOP), i32.const(by)), i32.const(7)))
    clearC1(e)
    complete(e)
  }
const free =
  (pops: boolean): Semantics =>
  (e) => {
    checkPending(e)
    const bit = i32.shl(i32.const(1), i32.shr_u(e.x87Offset({ operand: 0 }), i32.const(4)))
    e.setStateI32(STATE.X87_TAGS, i32.and(e.stateI32(STATE.X87_TAGS), i32.xor(bit, i32.const(-1))))
    clearC1(e)
    if (pops) pop(e)
    complete(e)
  }
const nop: Semantics = (e) => {
  checkPending(e)
  complete(e)
}
/** WAIT: not subject to CR0.EM. */
const wait: Semantics = (e) => {
  const cr0 = e.stateI32(STATE.CR0)
  const monitored = i32.const(0x0a)
  e.raiseIf(i32.eq(i32.and(cr0, monitored), monitored), VECTOR.NM)
  checkPending(e)
}

// --- environment

/** What an environment consists of, and is aligned to where that is checked (SDM vol. 3, table 6-7). */
const unitOf = ({ operandSize }: InstructionForm): number => (operandSize === 2 ? 2 : 4)

const storeEnvironment = (registers: boolean) =>
  system((cpu: Cpu, record, form) => {
    requireX87(cpu)
    const bytes = saveEnvironment(cpu, form.operandSize, registers)
    const linear = cpu.linearAddress(record, bytes.length, 'write')
    // Processors try the first double word, then the last byte.
    for (let done = 0; done < 4; done += unitOf(form)) {
      cpu.probeWrite(BigInt.asUintN(64, linear + BigInt(done)), unitOf(form))
    }
    cpu.probeWrite(BigInt.asUintN(64, linear + BigInt(bytes.length - 1)), 1)
    cpu.writeBytes(linear, bytes)
    if (registers) initialise(cpu)
    else setControl(cpu, cpu.get32(STATE.X87_CONTROL) | X87.EXCEPTIONS)
    return STATUS.NEXT
  })
const loadEnvironment = (registers: boolean) =>
  system((cpu: Cpu, record, form) => {
    requireX87(cpu)
    requireNoException(cpu)
    const size = environmentSize(form.operandSize) + (registers ? REGISTERS_SIZE : 0)
    const linear = cpu.linearAddress(record, size, 'read')
    if (unitOf(form) === 2) cpu.readU16(linear)
    else cpu.readU32(linear)
    const bytes = cpu.readBytes(linear, size)
    restoreEnvironment(cpu, form.operandSize, bytes, registers)
    return STATUS.NEXT
  })

export const X87_CONTROL: readonly InstructionDefinition[] = [
  instruction('FLDCW', 'D9 /5', 'Mw', loadControl, UNIT),
  instruction('FNSTCW', 'D9 /7', 'Mw', storeControl, UNIT),
  instruction('FNSTSW', 'DD /7', 'Mw', storeStatus, UNIT),
  instruction('FNSTSW', 'DF E0', 'AX', storeStatus, UNIT),
  instruction('FNCLEX', 'DB E2', '', clearExceptions, UNIT),
  instruction('FNINIT', 'DB E3', '', init, UNIT),
  // FENI, FDISI and FSETPM of the 8087 and 80287 do nothing.
  ...['DB E0', 'DB E1', 'DB E4'].map((opcode) => instruction('FNOP', opcode, '', () => {}, UNIT)),
  instruction('FLDENV', 'D9 /4', 'M', loadEnvironment(false)),
  instruction('FNSTENV', 'D9 /6', 'M', storeEnvironment(false)),
  instruction('FRSTOR', 'DD /4', 'M', loadEnvironment(true)),
  instruction('FNSAVE', 'DD /6', 'M', storeEnvironment(true)),
  instruction('FDECSTP', 'D9 F6', '', moveTop(7), UNIT),
  instruction('FINCSTP', 'D9 F7', '', moveTop(1), UNIT),
  instruction('FFREE', 'DD C0+i', 'STi', free(false), UNIT),
  instruction('FFREEP', 'DF C0+i', 'STi', free(true), UNIT),
  instruction('FNOP', 'D9 D0', '', nop, UNIT),
  instruction('FWAIT', '9B', '', wait),
]
