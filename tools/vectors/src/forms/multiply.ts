/** MUL, IMUL, DIV and IDIV, with divide errors, and the sign extensions of the accumulator. */
import { Family, type Form, RAX, RCX, RDX, zeros } from '../form.ts'
import { SIZED } from './arithmetic.ts'

export function multiply(): Form[] {
  const f = new Family('multiply')
  for (const { size, prefix, w, bit } of SIZED) {
    for (const [name, reg, undef] of [
      ['MUL', 4, 'multiply'],
      ['IMUL', 5, 'multiply'],
      ['DIV', 6, 'divide'],
      ['IDIV', 7, 'divide'],
    ] as const) {
      const steps = name.endsWith('DIV') ? ([['dividend', size, name === 'IDIV']] as const) : []
      const s = `${name}${size * 8}`
      f.add(`${s} rcx`, { prefix, w, op: [0xf6 + bit], reg, rm: RCX }, steps, [undef])
      f.add(`${s} r15`, { prefix, w, op: [0xf6 + bit], reg, rm: 15 }, steps, [undef])
      f.add(`${s} rax`, { prefix, w, op: [0xf6 + bit], reg, rm: RAX }, steps, [undef])
      if (size === 1) f.add(`${s} bh`, { op: [0xf6], reg, rm: 7 }, steps, [undef])
      f.add(`${s} rdx small`, { prefix, w, op: [0xf6 + bit], reg, rm: RDX }, [['range', RDX, size, 0, 9]], [undef])
      for (let k = 0; k < 3; k++)
        f.at(
          f.place({ size }),
          `${s} %`,
          { prefix, w, op: [0xf6 + bit], reg },
          [['operand', size, 'int'], ...steps],
          [undef],
        )
    }
    if (size > 1) {
      const s = `IMUL${size * 8}`
      f.add(`${s} r,rm: rdx,rcx`, { prefix, w, op: [0x0f, 0xaf], reg: RDX, rm: RCX }, [], ['multiply'])
      f.add(`${s} r,rm: r9,r9`, { prefix, w, op: [0x0f, 0xaf], reg: 9, rm: 9 }, [], ['multiply'])
      f.at(
        f.place({ size }),
        `${s} r,rm: r10,%`,
        { prefix, w, op: [0x0f, 0xaf], reg: 10 },
        [['operand', size, 'int']],
        ['multiply'],
      )
      f.add(`${s} r,rm,imm8`, { prefix, w, op: [0x6b], reg: RDX, rm: 11, imm: zeros(1) }, [], ['multiply'])
      f.at(
        f.place({ size }),
        `${s} r,rm,imm8: %`,
        { prefix, w, op: [0x6b], reg: 8, imm: zeros(1) },
        [['operand', size, 'int']],
        ['multiply'],
      )
      f.add(
        `${s} r,rm,imm`,
        { prefix, w, op: [0x69], reg: RDX, rm: RAX, imm: zeros(Math.min(size, 4)) },
        [],
        ['multiply'],
      )
      f.at(
        f.place({ size }),
        `${s} r,rm,imm: %`,
        { prefix, w, op: [0x69], reg: 8, imm: zeros(Math.min(size, 4)) },
        [['operand', size, 'int']],
        ['multiply'],
      )
      f.add(['', 'CBW', 'CWDE', '', 'CDQE'][size >> 1] || 'CDQE', { prefix, w, op: [0x98] })
      f.add(['', 'CWD', 'CDQ', '', 'CQO'][size >> 1] || 'CQO', { prefix, w, op: [0x99] })
    }
  }
  return f.forms
}
