/** MMX with its additions of SSE and SSSE3. */
import { Family, type Form, faulty, hex, RCX, RDI, RDX, zeros } from '../form.ts'
import { WINDOW_BASE } from '../layout.ts'
import { MM, PACKED, SMALL_SHIFT, SSSE3 } from './simd-tables.ts'

export function mmx(): Form[] {
  const f = new Family('mmx')
  const both = (name: string, op: number[], size = 8, imm = 0, undef: string[] = []): void => {
    f.add(`${name} mm1,mm2`, { op, reg: 1, rm: 2, imm: zeros(imm) }, [...MM, ['x87', 'some']], undef)
    f.add(`${name} mm7,mm7`, { op, reg: 7, rm: 7, imm: zeros(imm) }, MM, undef)
    f.at(
      f.place({ size }),
      `${name} mm6,%`,
      { op, reg: 6, imm: zeros(imm) },
      [...MM, ['operand', size, 'lanes']],
      undef,
    )
  }
  for (const [name, op] of PACKED) both(name, [0x0f, op])
  for (const [name, op] of SSSE3) both(name, [0x0f, 0x38, op])
  both('PALIGNR', [0x0f, 0x3a, 0x0f], 8, 1)
  both('PSHUFW', [0x0f, 0x70], 8, 1)
  both('MOVQ', [0x0f, 0x6f])
  f.add('PALIGNR mm1,mm2 in range', { op: [0x0f, 0x3a, 0x0f], reg: 1, rm: 2, imm: zeros(1) }, [
    ...MM,
    ['byte', -1, 0, 17],
  ])
  for (const [name, op] of [
    ['PSRLW', 0xd1],
    ['PSRAD', 0xe2],
    ['PSLLQ', 0xf3],
    ['PSRAW', 0xe1],
  ] as const)
    f.at(f.place({ size: 8, align: 16 }), `${name} mm6,% small`, { op: [0x0f, op], reg: 6 }, SMALL_SHIFT)
  for (const [name, op, digit] of [
    ['PSRLW', 0x71, 2],
    ['PSRAW', 0x71, 4],
    ['PSLLW', 0x71, 6],
    ['PSRLD', 0x72, 2],
    ['PSRAD', 0x72, 4],
    ['PSLLD', 0x72, 6],
    ['PSRLQ', 0x73, 2],
    ['PSLLQ', 0x73, 6],
  ] as const) {
    f.add(`${name} mm3,imm8`, { op: [0x0f, op], reg: digit, rm: 3, imm: zeros(1) }, MM)
    f.add(`${name} mm3,imm8 in range`, { op: [0x0f, op], reg: digit, rm: 3, imm: zeros(1) }, [
      ...MM,
      ['byte', -1, 0, 66],
    ])
  }
  f.add('MOVQ mm2,mm1 by 7F', { op: [0x0f, 0x7f], reg: 1, rm: 2 }, MM)
  f.at(f.place({ size: 8 }), 'MOVQ %,mm1', { op: [0x0f, 0x7f], reg: 1 }, [...MM, ['x87', 'some']])
  for (const w of [false, true]) {
    f.add(`MOV${w ? 'Q' : 'D'} mm1,r9`, { w, op: [0x0f, 0x6e], reg: 1, rm: 9 }, [['x87', 'some']])
    f.add(`MOV${w ? 'Q' : 'D'} rdx,mm1`, { w, op: [0x0f, 0x7e], reg: 1, rm: RDX }, MM)
    f.at(f.place({ size: w ? 8 : 4 }), `MOV${w ? 'Q' : 'D'} mm1,% by 6E`, { w, op: [0x0f, 0x6e], reg: 1 })
    f.at(f.place({ size: w ? 8 : 4 }), `MOV${w ? 'Q' : 'D'} %,mm1 by 7E`, { w, op: [0x0f, 0x7e], reg: 1 }, MM)
  }
  f.add('PINSRW mm1,ecx,imm8', { op: [0x0f, 0xc4], reg: 1, rm: RCX, imm: zeros(1) }, MM)
  f.at(f.place({ size: 2 }), 'PINSRW mm1,%,imm8', { op: [0x0f, 0xc4], reg: 1, imm: zeros(1) }, MM)
  f.add('PEXTRW edx,mm1,imm8', { op: [0x0f, 0xc5], reg: RDX, rm: 1, imm: zeros(1) }, MM)
  f.add('PMOVMSKB r9,mm1', { op: [0x0f, 0xd7], reg: 9, rm: 1 }, MM)
  f.at(f.place({ size: 8 }), 'MOVNTQ %,mm1', { op: [0x0f, 0xe7], reg: 1 }, MM)
  f.add('MASKMOVQ mm1,mm2', { op: [0x0f, 0xf7], reg: 1, rm: 2 }, [
    ...MM,
    ['pointer', RDI, hex(WINDOW_BASE.near + 0x1f8n), 1, 12],
  ])
  f.add('MOVQ2DQ xmm1,mm2', { prefix: [0xf3], op: [0x0f, 0xd6], reg: 1, rm: 2 }, [...MM, ['x87', 'some']])
  f.add('MOVDQ2Q mm1,xmm10', { prefix: [0xf2], op: [0x0f, 0xd6], reg: 1, rm: 10 }, [['x87', 'some']])
  for (const fault of ['edge', 'unmapped', 'non-canonical'] as const)
    f.at(faulty(fault), `PADDB mm1,%`, { op: [0x0f, 0xfc], reg: 1 }, MM)
  f.at(faulty('read-only'), 'MOVQ %,mm1', { op: [0x0f, 0x7f], reg: 1 }, [...MM, ['x87', 'some']])
  return f.forms
}
