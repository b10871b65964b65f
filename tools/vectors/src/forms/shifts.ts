/** Shifts and rotates, SHLD and SHRD, with every count. */
import { Family, type Form, RCX, RDX, zeros } from '../form.ts'
import type { Step } from '../recipe.ts'
import { SIZED } from './arithmetic.ts'

const OPERATIONS = ['ROL', 'ROR', 'RCL', 'RCR', 'SHL', 'SHR', 'SAL', 'SAR']

export function shifts(): Form[] {
  const f = new Family('shifts')
  const small: Step = ['range', RCX, 1, 0, 70]
  for (const { size, prefix, w, bit } of SIZED) {
    for (const [reg, name] of OPERATIONS.entries()) {
      const s = `${name}${size * 8}`
      const rule = (source: string): string[] => [
        `${reg < 4 ? 'rotate' : name === 'SAR' ? 'sar' : 'shift'}:${size}:${source}`,
      ]
      f.add(`${s} rdx,1`, { prefix, w, op: [0xd0 + bit], reg, rm: RDX }, [], rule('one'))
      f.add(`${s} rdx,cl`, { prefix, w, op: [0xd2 + bit], reg, rm: RDX }, [small], rule('cl'))
      f.add(`${s} r9,cl any`, { prefix, w, op: [0xd2 + bit], reg, rm: 9 }, [], rule('cl'))
      f.add(`${s} r9,imm8`, { prefix, w, op: [0xc0 + bit], reg, rm: 9, imm: zeros(1) }, [], rule('imm'))
      if (size === 1) f.add(`${s} ch,cl`, { op: [0xd2], reg, rm: 5 }, [small], rule('cl'))
      f.at(f.place({ size }), `${s} %,1`, { prefix, w, op: [0xd0 + bit], reg }, [], rule('one'))
      f.at(f.place({ size }), `${s} %,cl`, { prefix, w, op: [0xd2 + bit], reg }, [small], rule('cl'))
      f.at(f.place({ size }), `${s} %,imm8`, { prefix, w, op: [0xc0 + bit], reg, imm: zeros(1) }, [], rule('imm'))
    }
    if (size === 1) continue
    for (const [name, op] of [
      ['SHLD', 0xa4],
      ['SHRD', 0xac],
    ] as const) {
      const s = `${name}${size * 8}`
      const any = (source: string): string[] => [`double:${size}:${source}`]
      f.add(`${s} rdx,r10,imm8`, { prefix, w, op: [0x0f, op], reg: 10, rm: RDX, imm: zeros(1) }, [], any('imm'))
      f.add(`${s} rdx,rbp,cl`, { prefix, w, op: [0x0f, op + 1], reg: 5, rm: RDX }, [small], any('cl'))
      f.add(`${s} rdx,rdx,cl`, { prefix, w, op: [0x0f, op + 1], reg: RDX, rm: RDX }, [small], any('cl'))
      f.at(f.place({ size }), `${s} %,r8,imm8`, { prefix, w, op: [0x0f, op], reg: 8, imm: zeros(1) }, [], any('imm'))
      f.at(f.place({ size }), `${s} %,rdx,cl`, { prefix, w, op: [0x0f, op + 1], reg: RDX }, [small], any('cl'))
    }
  }
  return f.forms
}
