// Flag control and what does nothing (SDM vol. 1, 5.1.10, 5.1.13).

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { i32, i64, select } from '../instruction/emitter.ts'
import { GPR, STATE } from '../state-layout.ts'

const ZERO = i32.const(0)
const ONE = i32.const(1)

const clc: Semantics = (e) => e.setFlags({ cf: ZERO })
const stc: Semantics = (e) => e.setFlags({ cf: ONE })
const cmc: Semantics = (e) => e.setFlags({ cf: i32.xor(e.flag('cf'), ONE) })
const cld: Semantics = (e) => e.setStateI32(STATE.DIRECTION, ZERO)
const std: Semantics = (e) => e.setStateI32(STATE.DIRECTION, ONE)

const lahf: Semantics = (e) => {
  const status = i32.and(e.statusFlags(), i32.const(0xd5))
  e.setHighByte(GPR.RAX, i64.extend_i32_u(i32.or(status, i32.const(2))))
}
const sahf: Semantics = (e) => e.setStatusFlags(i32.wrap_i64(e.highByte(GPR.RAX)), true)

/** SALC: AL = CF ? FF : 0, without a mnemonic in the SDM. */
const salc: Semantics = (e) => e.setGpr(GPR.RAX, select(e.flag('cf'), i64.const(0xff), i64.const(0)), 1)

const nop: Semantics = () => {}

export const FLAG_CONTROL: readonly InstructionDefinition[] = [
  instruction('CMC', 'F5', '', cmc),
  instruction('CLC', 'F8', '', clc),
  instruction('STC', 'F9', '', stc),
  instruction('CLD', 'FC', '', cld),
  instruction('STD', 'FD', '', std),
  instruction('SAHF', '9E', '', sahf),
  instruction('LAHF', '9F', '', lahf),
  instruction('SALC', 'D6', '', salc, { mode: 'legacy' }),
  instruction('NOP', '90', '', nop),
  instruction('PREFETCHW', '0F 0D /r', 'Ev', nop),
  // the hints: prefetches, and the space reserved for such (ENDBR64 is one)
  ...['18', '19', '1A', '1B', '1C', '1D', '1E', '1F'].map((code) => instruction('NOP', `0F ${code} /r`, 'Ev', nop)),
]
