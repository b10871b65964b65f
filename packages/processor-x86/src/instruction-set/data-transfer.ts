// Data transfer (SDM vol. 1, 5.1.1): moves, exchanges, sign and zero extensions.

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { i64, signExtend, zeroExtend } from '../instruction/emitter.ts'
import { GPR } from '../state-layout.ts'
import { swapBytes } from './bit.ts'

const mov: Semantics = (e) => e.write(0, e.read(1))
const movSigned: Semantics = (e) => e.write(0, e.readSigned(1))

const lea: Semantics = (e) => e.write(0, zeroExtend(e.effectiveAddress(1), e.size(0)))

const xchg: Semantics = (e) => {
  const source = e.read(1)
  let old = source
  e.modify(0, (value) => {
    old = value
    return source
  })
  e.write(1, old)
}

const bswap: Semantics = (e) => e.write(0, swapBytes(e, e.read(0), e.size(0)))

const cmov =
  (cc: number): Semantics =>
  (e) => {
    const source = e.read(1)
    const old = e.read(0)
    const result = e.local('i64')
    e.set(result, old)
    e.if(e.condition(cc), () => e.set(result, source))
    e.write(0, e.get(result))
  }

/** CBW, CWDE, CDQE: the lower half of rAX to all of it. */
const convertAccumulator: Semantics = (e) => {
  const size = e.form.operandSize
  e.setGpr(GPR.RAX, signExtend(e.gpr(GPR.RAX, size / 2, true), size), size)
}
/** CWD, CDQ, CQO: rDX becomes the sign of rAX. */
const signToData: Semantics = (e) => {
  const size = e.form.operandSize
  e.setGpr(GPR.RDX, i64.shr_s(e.gpr(GPR.RAX, size, true), i64.const(63)), size)
}

const CONDITIONS = ['O', 'NO', 'B', 'NB', 'Z', 'NZ', 'BE', 'NBE', 'S', 'NS', 'P', 'NP', 'L', 'NL', 'LE', 'NLE'] as const

export const DATA_TRANSFER: readonly InstructionDefinition[] = [
  instruction('MOV', '88 /r', 'Eb Gb', mov),
  instruction('MOV', '89 /r', 'Ev Gv', mov),
  instruction('MOV', '8A /r', 'Gb Eb', mov),
  instruction('MOV', '8B /r', 'Gv Ev', mov),
  instruction('MOV', 'A0', 'AL Ob', mov),
  instruction('MOV', 'A1', 'rAX Ov', mov),
  instruction('MOV', 'A2', 'Ob AL', mov),
  instruction('MOV', 'A3', 'Ov rAX', mov),
  instruction('MOV', 'B0+r', 'Zb Ib', mov),
  instruction('MOV', 'B8+r', 'Zv Iv', mov),
  instruction('MOV', 'C6 /0', 'Eb Ib', mov),
  instruction('MOV', 'C7 /0', 'Ev Iz', movSigned),
  instruction('LEA', '8D /r', 'Gv M', lea),
  instruction('XCHG', '86 /r', 'Eb Gb', xchg, { lock: true }),
  instruction('XCHG', '87 /r', 'Ev Gv', xchg, { lock: true }),
  instruction('XCHG', '90+r', 'Zv rAX', xchg),
  instruction('MOVZX', '0F B6 /r', 'Gv Eb', mov),
  instruction('MOVZX', '0F B7 /r', 'Gv Ew', mov),
  instruction('MOVSX', '0F BE /r', 'Gv Eb', movSigned),
  instruction('MOVSX', '0F BF /r', 'Gv Ew', movSigned),
  instruction('MOVSXD', '63 /r', 'Gv Ed', movSigned, { mode: '64' }),
  instruction('CBW', '98', '', convertAccumulator),
  instruction('CWD', '99', '', signToData),
  instruction('BSWAP', '0F C8+r', 'Zy', bswap),
  ...CONDITIONS.map((name, cc) =>
    instruction(`CMOV${name}`, `0F ${(0x40 + cc).toString(16).toUpperCase()} /r`, 'Gv Ev', cmov(cc)),
  ),
]
