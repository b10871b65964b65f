/** Two-operand integer arithmetic: ADD to CMP, TEST, INC, DEC, NEG, NOT, and their LOCK forms. */

import { Family, type Form, faulty, RAX, RCX, RDX, shape, zeros } from '../form.ts'
import { AF } from '../layout.ts'
import type { Step } from '../recipe.ts'

const OPERATIONS = ['ADD', 'OR', 'ADC', 'SBB', 'AND', 'SUB', 'XOR', 'CMP']
/** Operand sizes in bytes with their prefixes. */
export const SIZED: readonly {
  readonly size: number
  readonly prefix: readonly number[]
  readonly w: boolean
  readonly bit: number
}[] = [
  { size: 1, prefix: [], w: false, bit: 0 },
  { size: 2, prefix: [0x66], w: false, bit: 1 },
  { size: 4, prefix: [], w: false, bit: 1 },
  { size: 8, prefix: [], w: true, bit: 1 },
]

export function arithmetic(): Form[] {
  const f = new Family('arithmetic')
  for (const [n, name] of OPERATIONS.entries()) {
    const undef = ['OR', 'AND', 'XOR'].includes(name) ? ['af'] : []
    for (const { size, prefix, w, bit } of SIZED) {
      const s = `${name}${size * 8}`
      const equal: Step = ['equal', 6, RDX, size, 'operand']
      f.add(
        `${s} rm,r: rcx,rdx`,
        { prefix, w, op: [n * 8 + bit], reg: RDX, rm: RCX },
        [['equal', 6, RDX, size, RCX]],
        undef,
      )
      f.add(`${s} rm,r: r15,r8`, { prefix, w, op: [n * 8 + bit], reg: 8, rm: 15 }, [], undef)
      f.add(`${s} r,rm: r10,rax`, { prefix, w, op: [n * 8 + 2 + bit], reg: 10, rm: RAX }, [], undef)
      f.add(`${s} r,rm: rdx,rdx`, { prefix, w, op: [n * 8 + 2 + bit], reg: RDX, rm: RDX }, [], undef)
      if (size === 1) {
        f.add(`${s} rm,r: ch,dl`, { op: [n * 8], reg: RDX, rm: 5 }, [], undef)
        f.add(`${s} r,rm: ah,bh`, { op: [n * 8 + 2], reg: 4, rm: 7 }, [], undef)
        f.add(`${s} rm,r: sil,bpl`, { op: [n * 8], rex: true, reg: 5, rm: 6 }, [], undef)
      }
      for (let k = 0; k < 2; k++) {
        f.at(
          f.place({ size }),
          `${s} rm,r: %,rdx`,
          { prefix, w, op: [n * 8 + bit], reg: RDX },
          [['operand', size, 'int'], equal],
          undef,
        )
        f.at(
          f.place({ size }),
          `${s} r,rm: r10,%`,
          { prefix, w, op: [n * 8 + 2 + bit], reg: 10 },
          [['operand', size, 'int']],
          undef,
        )
      }
      const immediate = Math.min(size, 4)
      f.add(`${s} rax,imm`, { prefix, w, op: [n * 8 + 4 + bit], imm: zeros(immediate) }, [], undef)
      f.add(
        `${s} rm,imm: rdi`,
        { prefix, w, rex: true, op: [0x80 + bit], reg: n, rm: 7, imm: zeros(immediate) },
        [],
        undef,
      )
      f.at(
        f.place({ size }),
        `${s} rm,imm: %`,
        { prefix, w, op: [0x80 + bit], reg: n, imm: zeros(immediate) },
        [['operand', size, 'int']],
        undef,
      )
      if (size > 1) {
        f.add(`${s} rm,imm8: r11`, { prefix, w, op: [0x83], reg: n, rm: 11, imm: zeros(1) }, [], undef)
        f.at(
          f.place({ size }),
          `${s} rm,imm8: %`,
          { prefix, w, op: [0x83], reg: n, imm: zeros(1) },
          [['operand', size, 'int']],
          undef,
        )
      }
      if (name !== 'CMP') {
        const place = f.place({ size, align: size })
        f.at(
          place,
          `LOCK ${s} rm,r: %,rdx`,
          { prefix: [0xf0, ...prefix], w, op: [n * 8 + bit], reg: RDX },
          [['operand', size, 'int']],
          undef,
        )
        f.at(
          f.place({ size, align: size }),
          `LOCK ${s} rm,imm: %`,
          { prefix: [0xf0, ...prefix], w, op: [0x80 + bit], reg: n, imm: zeros(immediate) },
          [],
          undef,
        )
      }
    }
    f.at(faulty('edge', 8), `${name}64 rm,r: %`, { w: true, op: [n * 8 + 1], reg: RDX }, [], undef)
    f.at(faulty('read-only'), `${name}32 rm,r: %`, { op: [n * 8 + 1], reg: RDX }, [], undef)
    f.at(faulty('unmapped'), `${name}32 r,rm: %`, { op: [n * 8 + 3], reg: RDX }, [], undef)
  }
  for (const { size, prefix, w, bit } of SIZED) {
    const s = `TEST${size * 8}`
    f.add(`${s} rm,r: rcx,r9`, { prefix, w, op: [0x84 + bit], reg: 9, rm: RCX }, [], ['af'])
    f.add(`${s} rm,r: rcx,rcx`, { prefix, w, op: [0x84 + bit], reg: RCX, rm: RCX }, [], ['af'])
    f.at(f.place({ size }), `${s} rm,r: %`, { prefix, w, op: [0x84 + bit], reg: RDX }, [], ['af'])
    f.add(`${s} rax,imm`, { prefix, w, op: [0xa8 + bit], imm: zeros(Math.min(size, 4)) }, [], ['af'])
    f.add(
      `${s} rm,imm: rdx`,
      { prefix, w, op: [0xf6 + bit], reg: 0, rm: RDX, imm: zeros(Math.min(size, 4)) },
      [],
      ['af'],
    )
    f.at(
      f.place({ size }),
      `${s} rm,imm: %`,
      { prefix, w, op: [0xf6 + bit], reg: 0, imm: zeros(Math.min(size, 4)) },
      [],
      ['af'],
    )
    if (size === 1) f.add(`${s} rm,imm: dh`, { op: [0xf6], reg: 0, rm: 6, imm: zeros(1) }, [], ['af'])

    for (const [name, op, reg] of [
      ['INC', 0xfe, 0],
      ['DEC', 0xfe, 1],
      ['NOT', 0xf6, 2],
      ['NEG', 0xf6, 3],
    ] as const) {
      f.add(`${name}${size * 8} rdx`, { prefix, w, op: [op + bit], reg, rm: RDX })
      f.add(`${name}${size * 8} r14`, { prefix, w, op: [op + bit], reg, rm: 14 })
      if (size === 1) f.add(`${name}8 bh`, { op: [op], reg, rm: 7 })
      for (let k = 0; k < 2; k++)
        f.at(f.place({ size }), `${name}${size * 8} %`, { prefix, w, op: [op + bit], reg }, [['operand', size, 'int']])
      f.at(
        f.place({ size, align: size }),
        `LOCK ${name}${size * 8} %`,
        { prefix: [0xf0, ...prefix], w, op: [op + bit], reg },
        [['operand', size, 'int']],
      )
    }
  }
  // A LOCK operand that is not aligned, and one across two pages.
  f.at(shape(0, { size: 8 }), 'LOCK ADD64 misaligned %', { prefix: [0xf0], w: true, op: [0x01], reg: RAX })
  f.add('XOR32 clears the upper half', { op: [0x31], reg: RAX, rm: RAX }, [['flags', ~AF, 0]], ['af'])
  return f.forms
}
