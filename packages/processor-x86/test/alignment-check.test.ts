// Alignment checks (SDM vol. 3, 6.15, #AC; table 6-7), by what a processor of AMD's does (EPYC, family 19h) at the addresses of a page whose successor is not mapped, where the SDM leaves
// that open or not. Which fault comes first, too: that of alignment before that of paging.

import type { Assembler } from '@partita/testkit/assembler'
import { beforeEach, expect, it } from 'vitest'
import { AT, RFLAGS, SystemMachine } from './system-machine.ts'

/** Where operands begin in their page. */
const OFFSETS = [0x000, 0x001, 0x002, 0x004, 0x008, 0xff8, 0xff1, 0xfff]
const OK = '-'
const AC = '#AC(0)'
const GP = '#GP(0)'
/** Of a read and of a write. */
const PF = '#PF'

/** Bytes of instructions with an operand at RSI (RDI), and what they come to at each offset. */
const FACTS: readonly (readonly [name: string, code: string, ...results: string[]])[] = [
  ['MOV AX', '66 8b 06', OK, AC, OK, OK, OK, OK, AC, AC],
  ['MOV EAX', '8b 06', OK, AC, AC, OK, OK, OK, AC, AC],
  ['MOV RAX', '48 8b 06', OK, AC, AC, AC, OK, OK, AC, AC],
  ['MOVSS', 'f3 0f 10 06', OK, AC, AC, OK, OK, OK, AC, AC],
  ['PMOVZXBW', '66 0f 38 30 06', OK, AC, AC, AC, OK, OK, AC, AC],
  ['PMOVZXBQ', '66 0f 38 32 06', OK, AC, OK, OK, OK, OK, AC, AC],
  ['MOVUPS', '0f 10 06', OK, AC, AC, AC, AC, AC, AC, AC],
  ['MOVDQU to memory', 'f3 0f 7f 06', OK, AC, AC, AC, AC, AC, AC, AC],
  ['LDDQU', 'f2 0f f0 06', OK, AC, AC, AC, AC, AC, AC, AC],
  ['PCMPISTRM', '66 0f 3a 62 0e 00', OK, AC, AC, AC, AC, AC, AC, AC],
  ['MOVAPS', '0f 28 06', OK, GP, GP, GP, GP, GP, GP, GP],
  ['PADDB', '66 0f fc 06', OK, GP, GP, GP, GP, GP, GP, GP],
  ['CMPXCHG16B', '48 0f c7 0e', OK, GP, GP, GP, GP, GP, GP, GP],
  ['FLD m64', 'dd 06', OK, AC, AC, AC, OK, OK, AC, AC],
  ['FLD m80', 'db 2e', OK, AC, AC, AC, OK, PF, AC, AC],
  ['FSTP m80', 'db 3e', OK, AC, AC, AC, OK, PF, AC, AC],
  ['FBSTP', 'df 36', OK, AC, AC, AC, OK, PF, AC, AC],
  ['FNSTENV', 'd9 36', OK, AC, AC, OK, OK, PF, AC, AC],
  ['FNSTENV of 16 bits', '66 d9 36', OK, AC, OK, OK, OK, PF, AC, AC],
  ['FLDENV', 'd9 26', OK, AC, AC, OK, OK, PF, AC, AC],
  ['FNSAVE', 'dd 36', OK, AC, AC, OK, OK, PF, AC, AC],
  ['FRSTOR', 'dd 26', OK, AC, AC, OK, OK, PF, AC, AC],
  ['MOVSQ', '48 a5', OK, AC, AC, AC, OK, OK, AC, AC],
  ['BTS m64, RBX', '48 0f ab 1e', OK, AC, AC, AC, OK, OK, AC, AC],
  ['LSS', '0f b2 06', GP, AC, AC, GP, GP, GP, AC, AC],
]

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
  // AM, and OSFXSR
  m.set('cr0', m.get('cr0') | 0x4_0000n)
  m.set('cr4', m.get('cr4') | 0x200n)
})

/** With the stack in another page, RBX 0, and zeros where the operand is. */
function outcome(code: string, offset: number): string {
  const address = AT.USER_DATA + offset
  m.load(AT.USER_DATA, new Uint8Array(4096))
  m.setPage(AT.USER_DATA + 4096, 0n)
  const bytes = code.split(' ').map((byte) => Number.parseInt(byte, 16))
  const result = m.user((a: Assembler) =>
    a
      .bytes(0xdb, 0xe3) // FNINIT
      .mov('ebx', 0)
      .mov('esi', address)
      .mov('edi', address)
      .pushf()
      .pop('rax')
      .or('rax', RFLAGS.AC)
      .push('rax')
      .popf()
      .bytes(...bytes),
  )
  return result === 'ok' ? OK : result.replace(/^#PF.*/, PF)
}

it.each(FACTS)('%s', (_name, code, ...results) => {
  expect(OFFSETS.map((offset) => outcome(code, offset))).toEqual(results)
})

it('SGDT wants an address behind an odd word', () => {
  expect([0x000, 0x001, 0x002, 0x003, 0x006].map((offset) => outcome('0f 01 06', offset))).toEqual([AC, AC, OK, AC, OK])
})

it('a fault of SGDT has stored nothing', () => {
  outcome('0f 01 06', 0)
  expect(m.read(AT.USER_DATA, 2)).toBe(0)
})
