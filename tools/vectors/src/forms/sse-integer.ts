/** Integer, logical, shuffle, string, AES and PCLMULQDQ instructions on XMM registers, and the moves. */
import { Family, type Form, faulty, hex, RAX, RCX, RDI, RDX, shape, zeros } from '../form.ts'
import { WINDOW_BASE } from '../layout.ts'
import type { Kind, Step } from '../recipe.ts'
import { PACKED, SMALL_SHIFT, SSE4, SSSE3 } from './simd-tables.ts'

export function integer(): Form[] {
  const f = new Family('sse-integer')
  const all = (
    name: string,
    prefix: number[],
    op: number[],
    size = 16,
    imm = 0,
    undef: string[] = [],
    kind: Kind = 'lanes',
  ): void => {
    const xmm: Step[] =
      kind === 'lanes'
        ? []
        : [
            ['xmm', 1, kind],
            ['xmm', 2, kind],
          ]
    f.add(`${name} xmm1,xmm2`, { prefix, op, reg: 1, rm: 2, imm: zeros(imm) }, xmm, undef)
    f.add(`${name} xmm9,xmm14`, { prefix, op, reg: 9, rm: 14, imm: zeros(imm) }, [], undef)
    f.add(`${name} xmm3,xmm3`, { prefix, op, reg: 3, rm: 3, imm: zeros(imm) }, [], undef)
    f.at(
      f.place({ size, align: size === 16 ? 16 : 1 }),
      `${name} xmm10,%`,
      { prefix, op, reg: 10, imm: zeros(imm) },
      [['operand', size, kind]],
      undef,
    )
    if (size === 16) f.at(faulty('misaligned'), `${name} xmm1,%`, { prefix, op, reg: 1, imm: zeros(imm) }, [], undef)
  }
  const P = [0x66]
  for (const [name, op] of PACKED) all(name, P, [0x0f, op])
  for (const [name, op] of SSSE3) all(name, P, [0x0f, 0x38, op])
  for (const [name, op, size] of SSE4) all(name, P, [0x0f, 0x38, op], size)
  all('PUNPCKLQDQ', P, [0x0f, 0x6c])
  all('PUNPCKHQDQ', P, [0x0f, 0x6d])
  all('PSHUFD', P, [0x0f, 0x70], 16, 1)
  all('PSHUFHW', [0xf3], [0x0f, 0x70], 16, 1)
  all('PSHUFLW', [0xf2], [0x0f, 0x70], 16, 1)
  all('PALIGNR', P, [0x0f, 0x3a, 0x0f], 16, 1)
  all('PBLENDW', P, [0x0f, 0x3a, 0x0e], 16, 1)
  all('BLENDPS', P, [0x0f, 0x3a, 0x0c], 16, 1)
  all('BLENDPD', P, [0x0f, 0x3a, 0x0d], 16, 1)
  all('MPSADBW', P, [0x0f, 0x3a, 0x42], 16, 1)
  all('PCLMULQDQ', P, [0x0f, 0x3a, 0x44], 16, 1)
  all('AESKEYGENASSIST', P, [0x0f, 0x3a, 0xdf], 16, 1)
  all('SHUFPS', [], [0x0f, 0xc6], 16, 1)
  all('SHUFPD', P, [0x0f, 0xc6], 16, 1)
  for (const [name, p, op] of [
    ['UNPCKLPS', [], 0x14],
    ['UNPCKLPD', P, 0x14],
    ['UNPCKHPS', [], 0x15],
    ['UNPCKHPD', P, 0x15],
    ['ANDPS', [], 0x54],
    ['ANDPD', P, 0x54],
    ['ANDNPS', [], 0x55],
    ['ANDNPD', P, 0x55],
    ['ORPS', [], 0x56],
    ['ORPD', P, 0x56],
    ['XORPS', [], 0x57],
    ['XORPD', P, 0x57],
  ] as const)
    all(name, [...p], [0x0f, op])
  f.add('PALIGNR xmm1,xmm2 in range', { prefix: P, op: [0x0f, 0x3a, 0x0f], reg: 1, rm: 2, imm: zeros(1) }, [
    ['byte', -1, 0, 34],
  ])
  // Shifts by small counts.
  for (const [name, op] of [
    ['PSRLW', 0xd1],
    ['PSRLD', 0xd2],
    ['PSRLQ', 0xd3],
    ['PSRAW', 0xe1],
    ['PSRAD', 0xe2],
    ['PSLLW', 0xf1],
    ['PSLLD', 0xf2],
    ['PSLLQ', 0xf3],
  ] as const)
    f.at(f.place({ size: 16, align: 16 }), `${name} xmm1,% small`, { prefix: P, op: [0x0f, op], reg: 1 }, SMALL_SHIFT)
  for (const [name, op, digit] of [
    ['PSRLW', 0x71, 2],
    ['PSRAW', 0x71, 4],
    ['PSLLW', 0x71, 6],
    ['PSRLD', 0x72, 2],
    ['PSRAD', 0x72, 4],
    ['PSLLD', 0x72, 6],
    ['PSRLQ', 0x73, 2],
    ['PSRLDQ', 0x73, 3],
    ['PSLLQ', 0x73, 6],
    ['PSLLDQ', 0x73, 7],
  ] as const) {
    f.add(`${name} xmm3,imm8`, { prefix: P, op: [0x0f, op], reg: digit, rm: 3, imm: zeros(1) })
    f.add(`${name} xmm5,imm8 in range`, { prefix: P, op: [0x0f, op], reg: digit, rm: 5, imm: zeros(1) }, [
      ['byte', -1, 0, 66],
    ])
    f.add(`${name} xmm12,imm8 in range`, { prefix: P, op: [0x0f, op], reg: digit, rm: 12, imm: zeros(1) }, [
      ['byte', -1, 0, 18],
    ])
  }
  // Strings: implicit and explicit lengths, index and mask.
  for (const [name, op, w] of [
    ['PCMPESTRM', 0x60, false],
    ['PCMPESTRI', 0x61, false],
    ['PCMPISTRM', 0x62, false],
    ['PCMPISTRI', 0x63, false],
    ['PCMPESTRI64', 0x61, true],
    ['PCMPESTRM64', 0x60, true],
  ] as const) {
    const lengths: Step[] = [
      ['gpr', RAX, 8, 'int'],
      ['gpr', RDX, 8, 'int'],
      ['range', RAX, 4, -20, 20],
      ['range', RDX, 4, -20, 20],
      ...(w
        ? ([
            ['range', RAX, 8, -20, 20],
            ['range', RDX, 8, -20, 20],
          ] as const)
        : []),
    ]
    const base = { prefix: P, w, op: [0x0f, 0x3a, op], imm: zeros(1) }
    f.add(`${name} xmm1,xmm2,imm8 text`, { ...base, reg: 1, rm: 2 }, [
      ['xmm', 1, 'text'],
      ['xmm', 2, 'text'],
      ...lengths,
    ])
    f.add(`${name} xmm11,xmm2,imm8 text`, { ...base, reg: 11, rm: 2 }, [
      ['xmm', 11, 'text'],
      ['xmm', 2, 'text'],
      ...lengths,
    ])
    f.add(`${name} xmm1,xmm12,imm8 any`, { ...base, reg: 1, rm: 12 }, lengths)
    f.add(`${name} xmm4,xmm4,imm8`, { ...base, reg: 4, rm: 4 }, [['xmm', 4, 'text'], ...lengths])
    f.add(`${name} xmm1,xmm2,imm8 any lengths`, { ...base, reg: 1, rm: 2 }, [
      ['xmm', 1, 'text'],
      ['xmm', 2, 'text'],
    ])
    // These may lie at any address.
    f.at(f.place({ size: 16 }), `${name} xmm1,%,imm8`, { ...base, reg: 1 }, [
      ['xmm', 1, 'text'],
      ['operand', 16, 'text'],
      ...lengths,
    ])
    f.at(faulty('edge', 16), `${name} xmm1,%,imm8`, { ...base, reg: 1 }, [
      ['xmm', 1, 'text'],
      ['operand', 16, 'text'],
      ...lengths,
    ])
  }
  for (const w of [false, true]) {
    const s = w ? 'Q' : 'D'
    const size = w ? 8 : 4
    f.add(`MOV${s} xmm1,r9`, { prefix: P, w, op: [0x0f, 0x6e], reg: 1, rm: 9 })
    f.add(`MOV${s} rdx,xmm9`, { prefix: P, w, op: [0x0f, 0x7e], reg: 9, rm: RDX })
    f.at(f.place({ size }), `MOV${s} xmm1,% by 6E`, { prefix: P, w, op: [0x0f, 0x6e], reg: 1 })
    f.at(f.place({ size }), `MOV${s} %,xmm9 by 7E`, { prefix: P, w, op: [0x0f, 0x7e], reg: 9 })
    f.add(`PINSR${s} xmm1,rcx,imm8`, { prefix: P, w, op: [0x0f, 0x3a, 0x22], reg: 1, rm: RCX, imm: zeros(1) })
    f.at(f.place({ size }), `PINSR${s} xmm9,%,imm8`, { prefix: P, w, op: [0x0f, 0x3a, 0x22], reg: 9, imm: zeros(1) })
    f.add(`PEXTR${s} rdx,xmm9,imm8`, { prefix: P, w, op: [0x0f, 0x3a, 0x16], reg: 9, rm: RDX, imm: zeros(1) })
    f.at(f.place({ size }), `PEXTR${s} %,xmm1,imm8`, { prefix: P, w, op: [0x0f, 0x3a, 0x16], reg: 1, imm: zeros(1) })
  }
  for (const [name, map, op, size] of [
    ['PINSRB', 0x3a, 0x20, 1],
    ['PINSRW', 0, 0xc4, 2],
  ] as const) {
    const code = map ? [0x0f, map, op] : [0x0f, op]
    f.add(`${name} xmm1,rcx,imm8`, { prefix: P, op: code, reg: 1, rm: RCX, imm: zeros(1) })
    f.add(`${name} xmm9,rsi,imm8`, { prefix: P, op: code, reg: 9, rm: 6, imm: zeros(1) })
    f.at(f.place({ size }), `${name} xmm1,%,imm8`, { prefix: P, op: code, reg: 1, imm: zeros(1) })
  }
  for (const [name, op, size] of [
    ['PEXTRB', 0x14, 1],
    ['PEXTRW', 0x15, 2],
    ['EXTRACTPS', 0x17, 4],
  ] as const) {
    f.add(`${name} rdx,xmm1,imm8`, { prefix: P, op: [0x0f, 0x3a, op], reg: 1, rm: RDX, imm: zeros(1) })
    f.add(`${name} r9,xmm11,imm8 by W`, { prefix: P, w: true, op: [0x0f, 0x3a, op], reg: 11, rm: 9, imm: zeros(1) })
    f.at(f.place({ size }), `${name} %,xmm9,imm8`, { prefix: P, op: [0x0f, 0x3a, op], reg: 9, imm: zeros(1) })
  }
  f.add('PEXTRW rdx,xmm1,imm8 by C5', { prefix: P, op: [0x0f, 0xc5], reg: RDX, rm: 1, imm: zeros(1) })
  f.add('INSERTPS xmm1,xmm2,imm8', { prefix: P, op: [0x0f, 0x3a, 0x21], reg: 1, rm: 2, imm: zeros(1) })
  f.at(f.place({ size: 4 }), 'INSERTPS xmm9,%,imm8', { prefix: P, op: [0x0f, 0x3a, 0x21], reg: 9, imm: zeros(1) })
  for (const [name, prefix, op] of [
    ['PMOVMSKB', P, 0xd7],
    ['MOVMSKPS', [], 0x50],
    ['MOVMSKPD', P, 0x50],
  ] as const) {
    f.add(`${name} rdx,xmm1`, { prefix, op: [0x0f, op], reg: RDX, rm: 1 })
    f.add(`${name} r9,xmm12`, { prefix, w: true, op: [0x0f, op], reg: 9, rm: 12 })
  }
  f.add('MASKMOVDQU xmm1,xmm2', { prefix: P, op: [0x0f, 0xf7], reg: 1, rm: 2 }, [
    ['pointer', RDI, hex(WINDOW_BASE.near + 0x1f0n), 1, 20],
  ])
  f.add('MASKMOVDQU gs xmm9,xmm12', { prefix: [0x65, 0x66], op: [0x0f, 0xf7], reg: 9, rm: 12 }, [
    ['pointer', RDI, hex(WINDOW_BASE.near + 0x1f0n - 0x7000_0000_1230n), 1, 20],
  ])
  // Moves: name, prefix, load, store, size, alignment.
  for (const [name, prefix, load, store, size, align] of [
    ['MOVUPS', [], 0x10, 0x11, 16, 1],
    ['MOVUPD', P, 0x10, 0x11, 16, 1],
    ['MOVSS', [0xf3], 0x10, 0x11, 4, 1],
    ['MOVSD', [0xf2], 0x10, 0x11, 8, 1],
    ['MOVAPS', [], 0x28, 0x29, 16, 16],
    ['MOVAPD', P, 0x28, 0x29, 16, 16],
    ['MOVDQA', P, 0x6f, 0x7f, 16, 16],
    ['MOVDQU', [0xf3], 0x6f, 0x7f, 16, 1],
  ] as const) {
    f.add(`${name} xmm1,xmm2`, { prefix, op: [0x0f, load], reg: 1, rm: 2 })
    f.add(`${name} xmm9,xmm14`, { prefix, op: [0x0f, load], reg: 9, rm: 14 })
    f.add(`${name} xmm2,xmm1 by store`, { prefix, op: [0x0f, store], reg: 1, rm: 2 })
    for (let k = 0; k < 2; k++) {
      f.at(f.place({ size, align }), `${name} xmm1,%`, { prefix, op: [0x0f, load], reg: 1 })
      f.at(f.place({ size, align }), `${name} %,xmm9`, { prefix, op: [0x0f, store], reg: 9 })
    }
    for (const fault of ['edge', 'read-only', 'unmapped', 'non-canonical', 'misaligned', 'stack'] as const) {
      f.at(faulty(fault, size), `${name} xmm1,%`, { prefix, op: [0x0f, load], reg: 1 })
      f.at(faulty(fault, size), `${name} %,xmm1`, { prefix, op: [0x0f, store], reg: 1 })
    }
  }
  for (const [name, prefix, load, store] of [
    ['MOVLPS', [], 0x12, 0x13],
    ['MOVLPD', P, 0x12, 0x13],
    ['MOVHPS', [], 0x16, 0x17],
    ['MOVHPD', P, 0x16, 0x17],
  ] as const) {
    f.at(f.place({ size: 8 }), `${name} xmm1,%`, { prefix, op: [0x0f, load], reg: 1 })
    f.at(f.place({ size: 8 }), `${name} %,xmm9`, { prefix, op: [0x0f, store], reg: 9 })
  }
  f.add('MOVHLPS xmm1,xmm9', { op: [0x0f, 0x12], reg: 1, rm: 9 })
  f.add('MOVLHPS xmm1,xmm9', { op: [0x0f, 0x16], reg: 1, rm: 9 })
  for (const [name, prefix, op, size] of [
    ['MOVSLDUP', [0xf3], 0x12, 16],
    ['MOVSHDUP', [0xf3], 0x16, 16],
    ['MOVDDUP', [0xf2], 0x12, 8],
    ['MOVQ', [0xf3], 0x7e, 8],
  ] as const)
    all(name, [...prefix], [0x0f, op], size)
  f.add('MOVQ xmm2,xmm1 by D6', { prefix: P, op: [0x0f, 0xd6], reg: 1, rm: 2 })
  f.at(f.place({ size: 8 }), 'MOVQ %,xmm1 by D6', { prefix: P, op: [0x0f, 0xd6], reg: 1 })
  f.at(f.place({ size: 16 }), 'LDDQU xmm1,%', { prefix: [0xf2], op: [0x0f, 0xf0], reg: 1 })
  for (const [name, prefix, op] of [
    ['MOVNTPS', [], [0x0f, 0x2b]],
    ['MOVNTPD', P, [0x0f, 0x2b]],
    ['MOVNTDQ', P, [0x0f, 0xe7]],
  ] as const) {
    f.at(f.place({ size: 16, align: 16 }), `${name} %,xmm9`, { prefix, op, reg: 9 })
    f.at(faulty('misaligned'), `${name} %,xmm1`, { prefix, op, reg: 1 })
  }
  f.at(f.place({ size: 16, align: 16 }), 'MOVNTDQA xmm9,%', { prefix: P, op: [0x0f, 0x38, 0x2a], reg: 9 })
  f.at(shape(2, { size: 16, align: 16 }), 'PXOR xmm15,%', { prefix: P, op: [0x0f, 0xef], reg: 15 })
  f.raw('PADDB with a useless F3 behind 66', [0x66, 0xf3, 0x0f, 0x6f, 0xca])
  return f.forms
}
