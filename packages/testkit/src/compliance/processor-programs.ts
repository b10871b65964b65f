// Small programs with known outcomes, and random ones with a model: what every processor that executes x86 has to compute (Intel SDM vol. 2).

import type { RegisterName } from '@partita/interface'
import { type Assembler, type CodeBits, dword, mem, type Register } from '../assembler.ts'
import { AT } from './processor-bench.ts'
import type { SeededRandom } from './seeded-random.ts'

/** A program, and the registers that it leaves. */
export interface KnownProgram {
  readonly name: string
  readonly bits: CodeBits
  readonly write: (a: Assembler) => unknown
  readonly registers: Readonly<Partial<Record<RegisterName, bigint>>>
}

export const KNOWN_PROGRAMS: readonly KnownProgram[] = [
  {
    name: 'the sum of 1 to 100, by a loop',
    bits: 64,
    write: (a) => a.xor('eax', 'eax').mov('ecx', 100).label('again').add('rax', 'rcx').loop('again'),
    registers: { rax: 5050n, rcx: 0n },
  },
  {
    name: 'the same in 32-bit code',
    bits: 32,
    write: (a) => a.xor('eax', 'eax').mov('ecx', 100).label('again').add('eax', 'ecx').dec('ecx').jcc('nz', 'again'),
    registers: { rax: 5050n },
  },
  {
    name: 'the same in 16-bit code',
    bits: 16,
    write: (a) => a.xor('ax', 'ax').mov('cx', 100).label('again').add('ax', 'cx').dec('cx').jcc('nz', 'again'),
    registers: { rax: 5050n },
  },
  {
    name: 'a 32-bit result clears the upper half, a 16-bit one does not',
    bits: 64,
    write: (a) => a.mov('rax', -1n).mov('rbx', -1n).mov('eax', 5).mov('bx', 5),
    registers: { rax: 5n, rbx: 0xffff_ffff_ffff_0005n },
  },
  {
    name: 'carries over 128 bits',
    bits: 64,
    write: (a) => a.mov('rax', -1n).mov('rdx', 7).add('rax', 1).adc('rdx', 0).sbb('rbx', 'rbx'),
    registers: { rax: 0n, rdx: 8n, rbx: 0n },
  },
  {
    name: 'a full product and its quotient',
    bits: 64,
    write: (a) =>
      a
        .mov('rax', 0x1234_5678_9abc_def0n)
        .mov('rbx', 0xfedc_ba98n)
        .mul('rbx')
        .mov('rsi', 'rdx')
        .div('rbx')
        .mov('rdi', 'rdx'),
    registers: { rax: 0x1234_5678_9abc_def0n, rsi: (0x1234_5678_9abc_def0n * 0xfedc_ba98n) >> 64n, rdi: 0n },
  },
  {
    name: 'a signed division rounds towards zero',
    bits: 64,
    write: (a) => a.mov('rax', -7n).mov('rdx', -1n).mov('rbx', 2).idiv('rbx'),
    registers: { rax: BigInt.asUintN(64, -3n), rdx: BigInt.asUintN(64, -1n) },
  },
  {
    name: 'shifts, rotations and their carries',
    bits: 64,
    write: (a) =>
      a
        .mov('rax', 0x8000_0000_0000_0001n)
        .mov('rbx', 'rax')
        .mov('rdx', 'rax')
        .mov('cl', 4)
        .shl('rax', 1)
        .setcc('c', 'sil')
        .sar('rbx', 'cl')
        .rol('rdx', 4),
    registers: { rax: 2n, rbx: 0xf800_0000_0000_0000n, rdx: 0x18n },
  },
  {
    name: 'signed and unsigned comparisons',
    bits: 64,
    write: (a) =>
      a
        .xor('eax', 'eax')
        .xor('ebx', 'ebx')
        .mov('rcx', -1n)
        .cmp('rcx', 1)
        .setcc('l', 'al')
        .setcc('a', 'bl')
        .mov('edx', 0)
        .cmovcc('g', 'rdx', 'rcx'),
    registers: { rax: 1n, rbx: 1n, rdx: 0n },
  },
  {
    name: 'a subroutine, its stack, and memory by base, index and scale',
    bits: 64,
    write: (a) =>
      a
        .mov('rbx', AT.DATA)
        .mov('ecx', 3)
        .mov('eax', 17)
        .call('square')
        .mov(mem({ base: 'rbx', index: 'rcx', scale: 8, displacement: 16 }), 'rax')
        .mov('rdx', mem(AT.DATA + 40))
        .push('rdx')
        .pop('rsi')
        .jmp('end')
        .label('square')
        .imul('rax', 'rax')
        .ret()
        .label('end'),
    registers: { rax: 289n, rdx: 289n, rsi: 289n, rsp: BigInt(AT.STACK) },
  },
  {
    name: 'strings: filled, copied backwards, compared',
    bits: 64,
    write: (a) =>
      a
        .mov('rdi', AT.DATA)
        .mov('eax', 0x5a)
        .mov('ecx', 64)
        .cld()
        .rep()
        .stos(8)
        .mov('rsi', AT.DATA + 63)
        .mov('rdi', AT.DATA + 255)
        .mov('ecx', 64)
        .std()
        .rep()
        .movs(8)
        .cld()
        .mov(dword(AT.DATA + 200), 0)
        .mov('rsi', AT.DATA)
        .mov('rdi', AT.DATA + 192)
        .mov('ecx', 64)
        .rep()
        .cmps(8),
    // The ninth bytes differ.
    registers: { rcx: 55n, rsi: BigInt(AT.DATA + 9), rdi: BigInt(AT.DATA + 201) },
  },
  {
    name: 'bits and exchanges',
    bits: 64,
    write: (a) =>
      a
        .mov('eax', 0)
        .bts('rax', 40)
        .mov('rbx', 'rax')
        .btr('rbx', 40)
        .setcc('c', 'cl')
        .movzx('ecx', 'cl')
        .mov('edx', 3)
        .xchg('rax', 'rdx')
        .xadd('rax', 'rdx'),
    registers: { rbx: 0n, rcx: 1n, rax: 3n + (1n << 40n), rdx: 3n },
  },
]

/** A register that random programs use. */
export type ModelRegister = RegisterName & Register

const MASK = (1n << 64n) - 1n
const REGISTERS: readonly ModelRegister[] = ['rax', 'rbx', 'rdx', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r15']

/** A program of `length` instructions over registers, and what it leaves in them, by a model. */
export function randomProgram(
  random: SeededRandom,
  length: number,
): { readonly write: (a: Assembler) => void; readonly registers: ReadonlyMap<ModelRegister, bigint> } {
  const steps: ((a: Assembler) => void)[] = []
  const values = new Map<ModelRegister, bigint>()
  const big = (): bigint => (BigInt(random.edgy()) << 32n) | BigInt(random.edgy())
  for (const name of REGISTERS) {
    const value = big()
    values.set(name, value)
    steps.push((a) => void a.mov(name, value))
  }
  for (let step = 0; step < length; step++) {
    const target = random.pick(REGISTERS)
    const source = random.pick(REGISTERS)
    const x = values.get(target) as bigint
    const y = values.get(source) as bigint
    const count = random.below(64)
    const rotated = ((x << BigInt(count)) | (x >> BigInt(64 - count))) & MASK
    const [result, write] = random.pick<readonly [bigint, (a: Assembler) => unknown]>([
      [x + y, (a) => a.add(target, source)],
      [x - y, (a) => a.sub(target, source)],
      [x ^ y, (a) => a.xor(target, source)],
      [x & y, (a) => a.and(target, source)],
      [x | y, (a) => a.or(target, source)],
      [x * y, (a) => a.imul(target, source)],
      [x << BigInt(count), (a) => a.shl(target, count)],
      [x >> BigInt(count), (a) => a.shr(target, count)],
      [BigInt.asIntN(64, x) >> BigInt(count), (a) => a.sar(target, count)],
      [rotated, (a) => a.rol(target, count)],
      [-x, (a) => a.neg(target)],
      [~x, (a) => a.not(target)],
      // The flags of a comparison, into the register.
      [x < y ? y : x, (a) => a.cmp(target, source).cmovcc('b', target, source)],
      [BigInt.asIntN(64, x) > BigInt.asIntN(64, y) ? y : x, (a) => a.cmp(target, source).cmovcc('g', target, source)],
      [x === y ? 1n : 0n, (a) => a.cmp(target, source).mov('ecx', 0).setcc('e', 'cl').mov(target, 'rcx')],
      // Through memory.
      [y, (a) => a.mov(mem(AT.DATA + 8 * count), source).mov(target, mem(AT.DATA + 8 * count))],
      [x & 0xffn, (a) => a.push(target).pop('rcx').movzx(target, 'cl')],
    ])
    values.set(target, BigInt.asUintN(64, result))
    steps.push((a) => void write(a))
  }
  return {
    write: (a) => {
      for (const step of steps) step(a)
    },
    registers: values,
  }
}
