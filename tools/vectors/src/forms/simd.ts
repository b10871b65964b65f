/**
 * MMX, SSE, SSE2, SSE3, SSSE3, SSE4.1, SSE4.2, AES and PCLMULQDQ, as tables of opcodes.
 *
 * Each line becomes several forms: registers, high registers, memory, faults, and for floating point the states of MXCSR.
 */
import { Family, faulty, RAX, RCX, RDI, RDX, shape, zeros, hex, type Form } from '../form.ts'
import { WINDOW_BASE } from '../layout.ts'
import type { Kind, Step } from '../recipe.ts'

/** Packed integer instructions that MMX and SSE2 share: name and second opcode byte. */
const PACKED: readonly (readonly [string, number])[] = [
  ['PUNPCKLBW', 0x60], ['PUNPCKLWD', 0x61], ['PUNPCKLDQ', 0x62], ['PACKSSWB', 0x63], ['PCMPGTB', 0x64], ['PCMPGTW', 0x65], ['PCMPGTD', 0x66],
  ['PACKUSWB', 0x67], ['PUNPCKHBW', 0x68], ['PUNPCKHWD', 0x69], ['PUNPCKHDQ', 0x6a], ['PACKSSDW', 0x6b], ['PCMPEQB', 0x74], ['PCMPEQW', 0x75],
  ['PCMPEQD', 0x76], ['PSRLW', 0xd1], ['PSRLD', 0xd2], ['PSRLQ', 0xd3], ['PADDQ', 0xd4], ['PMULLW', 0xd5], ['PSUBUSB', 0xd8], ['PSUBUSW', 0xd9],
  ['PMINUB', 0xda], ['PAND', 0xdb], ['PADDUSB', 0xdc], ['PADDUSW', 0xdd], ['PMAXUB', 0xde], ['PANDN', 0xdf], ['PAVGB', 0xe0], ['PSRAW', 0xe1],
  ['PSRAD', 0xe2], ['PAVGW', 0xe3], ['PMULHUW', 0xe4], ['PMULHW', 0xe5], ['PSUBSB', 0xe8], ['PSUBSW', 0xe9], ['PMINSW', 0xea], ['POR', 0xeb],
  ['PADDSB', 0xec], ['PADDSW', 0xed], ['PMAXSW', 0xee], ['PXOR', 0xef], ['PSLLW', 0xf1], ['PSLLD', 0xf2], ['PSLLQ', 0xf3], ['PMULUDQ', 0xf4],
  ['PMADDWD', 0xf5], ['PSADBW', 0xf6], ['PSUBB', 0xf8], ['PSUBW', 0xf9], ['PSUBD', 0xfa], ['PSUBQ', 0xfb], ['PADDB', 0xfc], ['PADDW', 0xfd], ['PADDD', 0xfe],
]
/** SSSE3, third opcode byte after 0F 38. */
const SSSE3: readonly (readonly [string, number])[] = [
  ['PSHUFB', 0x00], ['PHADDW', 0x01], ['PHADDD', 0x02], ['PHADDSW', 0x03], ['PMADDUBSW', 0x04], ['PHSUBW', 0x05], ['PHSUBD', 0x06], ['PHSUBSW', 0x07],
  ['PSIGNB', 0x08], ['PSIGNW', 0x09], ['PSIGND', 0x0a], ['PMULHRSW', 0x0b], ['PABSB', 0x1c], ['PABSW', 0x1d], ['PABSD', 0x1e],
]
/** SSE4.1, SSE4.2 and AES: 66 0F 38; with the size of the memory operand. */
const SSE4: readonly (readonly [string, number, number])[] = [
  ['PBLENDVB', 0x10, 16], ['PTEST', 0x17, 16], ['PMOVSXBW', 0x20, 8], ['PMOVSXBD', 0x21, 4], ['PMOVSXBQ', 0x22, 2], ['PMOVSXWD', 0x23, 8],
  ['PMOVSXWQ', 0x24, 4], ['PMOVSXDQ', 0x25, 8], ['PMULDQ', 0x28, 16], ['PCMPEQQ', 0x29, 16], ['PACKUSDW', 0x2b, 16], ['PMOVZXBW', 0x30, 8],
  ['PMOVZXBD', 0x31, 4], ['PMOVZXBQ', 0x32, 2], ['PMOVZXWD', 0x33, 8], ['PMOVZXWQ', 0x34, 4], ['PMOVZXDQ', 0x35, 8], ['PCMPGTQ', 0x37, 16],
  ['PMINSB', 0x38, 16], ['PMINSD', 0x39, 16], ['PMINUW', 0x3a, 16], ['PMINUD', 0x3b, 16], ['PMAXSB', 0x3c, 16], ['PMAXSD', 0x3d, 16],
  ['PMAXUW', 0x3e, 16], ['PMAXUD', 0x3f, 16], ['PMULLD', 0x40, 16], ['PHMINPOSUW', 0x41, 16], ['BLENDVPS', 0x14, 16], ['BLENDVPD', 0x15, 16],
  ['AESIMC', 0xdb, 16], ['AESENC', 0xdc, 16], ['AESENCLAST', 0xdd, 16], ['AESDEC', 0xde, 16], ['AESDECLAST', 0xdf, 16],
]

/** ST(0) to ST(7) as MM0 to MM7. */
const MM: Step[] = [0, 1, 2, 3, 4, 5, 6, 7].map((i): Step => ['st', i, 'lanes'])
const SMALL_SHIFT: Step[] = [['operand', 16, 'zero'], ['operand', 1, 'bits']]

export function mmx(): Form[] {
  const f = new Family('mmx')
  const both = (name: string, op: number[], size = 8, imm = 0, undef: string[] = []): void => {
    f.add(`${name} mm1,mm2`, { op, reg: 1, rm: 2, imm: zeros(imm) }, [...MM, ['x87', 'some']], undef)
    f.add(`${name} mm7,mm7`, { op, reg: 7, rm: 7, imm: zeros(imm) }, MM, undef)
    f.at(f.place({ size }), `${name} mm6,%`, { op, reg: 6, imm: zeros(imm) }, [...MM, ['operand', size, 'lanes']], undef)
  }
  for (const [name, op] of PACKED) both(name, [0x0f, op])
  for (const [name, op] of SSSE3) both(name, [0x0f, 0x38, op])
  both('PALIGNR', [0x0f, 0x3a, 0x0f], 8, 1)
  both('PSHUFW', [0x0f, 0x70], 8, 1)
  both('MOVQ', [0x0f, 0x6f])
  f.add('PALIGNR mm1,mm2 in range', { op: [0x0f, 0x3a, 0x0f], reg: 1, rm: 2, imm: zeros(1) }, [...MM, ['byte', -1, 0, 17]])
  for (const [name, op] of [['PSRLW', 0xd1], ['PSRAD', 0xe2], ['PSLLQ', 0xf3], ['PSRAW', 0xe1]] as const)
    f.at(f.place({ size: 8, align: 16 }), `${name} mm6,% small`, { op: [0x0f, op], reg: 6 }, SMALL_SHIFT)
  for (const [name, op, digit] of [['PSRLW', 0x71, 2], ['PSRAW', 0x71, 4], ['PSLLW', 0x71, 6], ['PSRLD', 0x72, 2], ['PSRAD', 0x72, 4], ['PSLLD', 0x72, 6], ['PSRLQ', 0x73, 2], ['PSLLQ', 0x73, 6]] as const) {
    f.add(`${name} mm3,imm8`, { op: [0x0f, op], reg: digit, rm: 3, imm: zeros(1) }, MM)
    f.add(`${name} mm3,imm8 in range`, { op: [0x0f, op], reg: digit, rm: 3, imm: zeros(1) }, [...MM, ['byte', -1, 0, 66]])
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
  f.add('MASKMOVQ mm1,mm2', { op: [0x0f, 0xf7], reg: 1, rm: 2 }, [...MM, ['pointer', RDI, hex(WINDOW_BASE.near + 0x1f8n), 1, 12]])
  f.add('MOVQ2DQ xmm1,mm2', { prefix: [0xf3], op: [0x0f, 0xd6], reg: 1, rm: 2 }, [...MM, ['x87', 'some']])
  f.add('MOVDQ2Q mm1,xmm10', { prefix: [0xf2], op: [0x0f, 0xd6], reg: 1, rm: 10 }, [['x87', 'some']])
  for (const fault of ['edge', 'unmapped', 'non-canonical'] as const) f.at(faulty(fault), `PADDB mm1,%`, { op: [0x0f, 0xfc], reg: 1 }, MM)
  f.at(faulty('read-only'), 'MOVQ %,mm1', { op: [0x0f, 0x7f], reg: 1 }, [...MM, ['x87', 'some']])
  return f.forms
}

export function integer(): Form[] {
  const f = new Family('sse-integer')
  const all = (name: string, prefix: number[], op: number[], size = 16, imm = 0, undef: string[] = [], kind: Kind = 'lanes'): void => {
    const xmm: Step[] = kind === 'lanes' ? [] : [['xmm', 1, kind], ['xmm', 2, kind]]
    f.add(`${name} xmm1,xmm2`, { prefix, op, reg: 1, rm: 2, imm: zeros(imm) }, xmm, undef)
    f.add(`${name} xmm9,xmm14`, { prefix, op, reg: 9, rm: 14, imm: zeros(imm) }, [], undef)
    f.add(`${name} xmm3,xmm3`, { prefix, op, reg: 3, rm: 3, imm: zeros(imm) }, [], undef)
    f.at(f.place({ size, align: size === 16 ? 16 : 1 }), `${name} xmm10,%`, { prefix, op, reg: 10, imm: zeros(imm) }, [['operand', size, kind]], undef)
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
  for (const [name, p, op] of [['UNPCKLPS', [], 0x14], ['UNPCKLPD', P, 0x14], ['UNPCKHPS', [], 0x15], ['UNPCKHPD', P, 0x15], ['ANDPS', [], 0x54], ['ANDPD', P, 0x54], ['ANDNPS', [], 0x55], ['ANDNPD', P, 0x55], ['ORPS', [], 0x56], ['ORPD', P, 0x56], ['XORPS', [], 0x57], ['XORPD', P, 0x57]] as const)
    all(name, [...p], [0x0f, op])
  f.add('PALIGNR xmm1,xmm2 in range', { prefix: P, op: [0x0f, 0x3a, 0x0f], reg: 1, rm: 2, imm: zeros(1) }, [['byte', -1, 0, 34]])
  // Shifts by small counts.
  for (const [name, op] of [['PSRLW', 0xd1], ['PSRLD', 0xd2], ['PSRLQ', 0xd3], ['PSRAW', 0xe1], ['PSRAD', 0xe2], ['PSLLW', 0xf1], ['PSLLD', 0xf2], ['PSLLQ', 0xf3]] as const)
    f.at(f.place({ size: 16, align: 16 }), `${name} xmm1,% small`, { prefix: P, op: [0x0f, op], reg: 1 }, SMALL_SHIFT)
  for (const [name, op, digit] of [['PSRLW', 0x71, 2], ['PSRAW', 0x71, 4], ['PSLLW', 0x71, 6], ['PSRLD', 0x72, 2], ['PSRAD', 0x72, 4], ['PSLLD', 0x72, 6], ['PSRLQ', 0x73, 2], ['PSRLDQ', 0x73, 3], ['PSLLQ', 0x73, 6], ['PSLLDQ', 0x73, 7]] as const) {
    f.add(`${name} xmm3,imm8`, { prefix: P, op: [0x0f, op], reg: digit, rm: 3, imm: zeros(1) })
    f.add(`${name} xmm5,imm8 in range`, { prefix: P, op: [0x0f, op], reg: digit, rm: 5, imm: zeros(1) }, [['byte', -1, 0, 66]])
    f.add(`${name} xmm12,imm8 in range`, { prefix: P, op: [0x0f, op], reg: digit, rm: 12, imm: zeros(1) }, [['byte', -1, 0, 18]])
  }
  // Strings: implicit and explicit lengths, index and mask.
  for (const [name, op, w] of [['PCMPESTRM', 0x60, false], ['PCMPESTRI', 0x61, false], ['PCMPISTRM', 0x62, false], ['PCMPISTRI', 0x63, false], ['PCMPESTRI64', 0x61, true], ['PCMPESTRM64', 0x60, true]] as const) {
    const lengths: Step[] = [['gpr', RAX, 8, 'int'], ['gpr', RDX, 8, 'int'], ['range', RAX, 4, -20, 20], ['range', RDX, 4, -20, 20], ...(w ? ([['range', RAX, 8, -20, 20], ['range', RDX, 8, -20, 20]] as const) : [])]
    const base = { prefix: P, w, op: [0x0f, 0x3a, op], imm: zeros(1) }
    f.add(`${name} xmm1,xmm2,imm8 text`, { ...base, reg: 1, rm: 2 }, [['xmm', 1, 'text'], ['xmm', 2, 'text'], ...lengths])
    f.add(`${name} xmm11,xmm2,imm8 text`, { ...base, reg: 11, rm: 2 }, [['xmm', 11, 'text'], ['xmm', 2, 'text'], ...lengths])
    f.add(`${name} xmm1,xmm12,imm8 any`, { ...base, reg: 1, rm: 12 }, lengths)
    f.add(`${name} xmm4,xmm4,imm8`, { ...base, reg: 4, rm: 4 }, [['xmm', 4, 'text'], ...lengths])
    f.add(`${name} xmm1,xmm2,imm8 any lengths`, { ...base, reg: 1, rm: 2 }, [['xmm', 1, 'text'], ['xmm', 2, 'text']])
    // These may lie at any address.
    f.at(f.place({ size: 16 }), `${name} xmm1,%,imm8`, { ...base, reg: 1 }, [['xmm', 1, 'text'], ['operand', 16, 'text'], ...lengths])
    f.at(faulty('edge', 16), `${name} xmm1,%,imm8`, { ...base, reg: 1 }, [['xmm', 1, 'text'], ['operand', 16, 'text'], ...lengths])
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
  for (const [name, map, op, size] of [['PINSRB', 0x3a, 0x20, 1], ['PINSRW', 0, 0xc4, 2]] as const) {
    const code = map ? [0x0f, map, op] : [0x0f, op]
    f.add(`${name} xmm1,rcx,imm8`, { prefix: P, op: code, reg: 1, rm: RCX, imm: zeros(1) })
    f.add(`${name} xmm9,rsi,imm8`, { prefix: P, op: code, reg: 9, rm: 6, imm: zeros(1) })
    f.at(f.place({ size }), `${name} xmm1,%,imm8`, { prefix: P, op: code, reg: 1, imm: zeros(1) })
  }
  for (const [name, op, size] of [['PEXTRB', 0x14, 1], ['PEXTRW', 0x15, 2], ['EXTRACTPS', 0x17, 4]] as const) {
    f.add(`${name} rdx,xmm1,imm8`, { prefix: P, op: [0x0f, 0x3a, op], reg: 1, rm: RDX, imm: zeros(1) })
    f.add(`${name} r9,xmm11,imm8 by W`, { prefix: P, w: true, op: [0x0f, 0x3a, op], reg: 11, rm: 9, imm: zeros(1) })
    f.at(f.place({ size }), `${name} %,xmm9,imm8`, { prefix: P, op: [0x0f, 0x3a, op], reg: 9, imm: zeros(1) })
  }
  f.add('PEXTRW rdx,xmm1,imm8 by C5', { prefix: P, op: [0x0f, 0xc5], reg: RDX, rm: 1, imm: zeros(1) })
  f.add('INSERTPS xmm1,xmm2,imm8', { prefix: P, op: [0x0f, 0x3a, 0x21], reg: 1, rm: 2, imm: zeros(1) })
  f.at(f.place({ size: 4 }), 'INSERTPS xmm9,%,imm8', { prefix: P, op: [0x0f, 0x3a, 0x21], reg: 9, imm: zeros(1) })
  for (const [name, prefix, op] of [['PMOVMSKB', P, 0xd7], ['MOVMSKPS', [], 0x50], ['MOVMSKPD', P, 0x50]] as const) {
    f.add(`${name} rdx,xmm1`, { prefix, op: [0x0f, op], reg: RDX, rm: 1 })
    f.add(`${name} r9,xmm12`, { prefix, w: true, op: [0x0f, op], reg: 9, rm: 12 })
  }
  f.add('MASKMOVDQU xmm1,xmm2', { prefix: P, op: [0x0f, 0xf7], reg: 1, rm: 2 }, [['pointer', RDI, hex(WINDOW_BASE.near + 0x1f0n), 1, 20]])
  f.add('MASKMOVDQU gs xmm9,xmm12', { prefix: [0x65, 0x66], op: [0x0f, 0xf7], reg: 9, rm: 12 }, [['pointer', RDI, hex(WINDOW_BASE.near + 0x1f0n - 0x7000_0000_1230n), 1, 20]])
  // Moves: name, prefix, load, store, size, alignment.
  for (const [name, prefix, load, store, size, align] of [
    ['MOVUPS', [], 0x10, 0x11, 16, 1], ['MOVUPD', P, 0x10, 0x11, 16, 1], ['MOVSS', [0xf3], 0x10, 0x11, 4, 1], ['MOVSD', [0xf2], 0x10, 0x11, 8, 1],
    ['MOVAPS', [], 0x28, 0x29, 16, 16], ['MOVAPD', P, 0x28, 0x29, 16, 16], ['MOVDQA', P, 0x6f, 0x7f, 16, 16], ['MOVDQU', [0xf3], 0x6f, 0x7f, 16, 1],
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
  for (const [name, prefix, load, store] of [['MOVLPS', [], 0x12, 0x13], ['MOVLPD', P, 0x12, 0x13], ['MOVHPS', [], 0x16, 0x17], ['MOVHPD', P, 0x16, 0x17]] as const) {
    f.at(f.place({ size: 8 }), `${name} xmm1,%`, { prefix, op: [0x0f, load], reg: 1 })
    f.at(f.place({ size: 8 }), `${name} %,xmm9`, { prefix, op: [0x0f, store], reg: 9 })
  }
  f.add('MOVHLPS xmm1,xmm9', { op: [0x0f, 0x12], reg: 1, rm: 9 })
  f.add('MOVLHPS xmm1,xmm9', { op: [0x0f, 0x16], reg: 1, rm: 9 })
  for (const [name, prefix, op, size] of [['MOVSLDUP', [0xf3], 0x12, 16], ['MOVSHDUP', [0xf3], 0x16, 16], ['MOVDDUP', [0xf2], 0x12, 8], ['MOVQ', [0xf3], 0x7e, 8]] as const)
    all(name, [...prefix], [0x0f, op], size)
  f.add('MOVQ xmm2,xmm1 by D6', { prefix: P, op: [0x0f, 0xd6], reg: 1, rm: 2 })
  f.at(f.place({ size: 8 }), 'MOVQ %,xmm1 by D6', { prefix: P, op: [0x0f, 0xd6], reg: 1 })
  f.at(f.place({ size: 16 }), 'LDDQU xmm1,%', { prefix: [0xf2], op: [0x0f, 0xf0], reg: 1 })
  for (const [name, prefix, op] of [['MOVNTPS', [], [0x0f, 0x2b]], ['MOVNTPD', P, [0x0f, 0x2b]], ['MOVNTDQ', P, [0x0f, 0xe7]]] as const) {
    f.at(f.place({ size: 16, align: 16 }), `${name} %,xmm9`, { prefix, op, reg: 9 })
    f.at(faulty('misaligned'), `${name} %,xmm1`, { prefix, op, reg: 1 })
  }
  f.at(f.place({ size: 16, align: 16 }), 'MOVNTDQA xmm9,%', { prefix: P, op: [0x0f, 0x38, 0x2a], reg: 9 })
  f.at(shape(2, { size: 16, align: 16 }), 'PXOR xmm15,%', { prefix: P, op: [0x0f, 0xef], reg: 15 })
  f.raw('PADDB with a useless F3 behind 66', [0x66, 0xf3, 0x0f, 0x6f, 0xca])
  return f.forms
}

export function float(): Form[] {
  const f = new Family('sse-float')
  const states = ['', 'round', 'trap'] as const
  const P = [0x66]
  const all = (name: string, prefix: readonly number[], op: readonly number[], format: 'f32' | 'f64', size: number, imm: readonly [number, number] | null = null, undef: string[] = []): void => {
    for (const state of states) {
      const steps: Step[] = [['xmm', 1, format], ['xmm', 2, format], ...(state ? ([['mxcsr', state]] as const) : [])]
      const byte: Step[] = imm ? [['byte', -1, imm[0], imm[1]]] : []
      const s = state ? `, ${state}` : ''
      f.add(`${name} xmm1,xmm2${s}`, { prefix, op, reg: 1, rm: 2, imm: zeros(imm ? 1 : 0) }, [...steps, ...byte], undef)
      if (state !== '') {
        const place = f.place({ size, align: size === 16 ? 16 : 1 })
        f.at(place, `${name} xmm2,%${s}`, { prefix, op, reg: 2, imm: zeros(imm ? 1 : 0) }, [...steps, ['operand', size, format], ...byte], undef)
      } else {
        f.add(`${name} xmm9,xmm14${s}`, { prefix, op, reg: 9, rm: 14, imm: zeros(imm ? 1 : 0) }, [['xmm', 9, format], ['xmm', 14, format], ...(imm ? ([['byte', -1, imm[0], imm[1]]] as const) : [])], undef)
        f.add(`${name} xmm1,xmm1${s}`, { prefix, op, reg: 1, rm: 1, imm: zeros(imm ? 1 : 0) }, [['xmm', 1, format], ...byte], undef)
      }
    }
    if (size === 16) f.at(faulty('misaligned'), `${name} xmm1,%`, { prefix, op, reg: 1, imm: zeros(imm ? 1 : 0) }, [['xmm', 1, format], ['memory', 0x1e0, 64, format], ...(imm ? ([['byte', -1, imm[0], imm[1]]] as const) : [])], undef)
    else f.at(faulty('edge', size), `${name} xmm1,%`, { prefix, op, reg: 1, imm: zeros(imm ? 1 : 0) }, [['xmm', 1, format], ['operand', size, format], ...(imm ? ([['byte', -1, imm[0], imm[1]]] as const) : [])], undef)
  }
  const four = (name: string, op: number, imm: readonly [number, number] | null = null): void => {
    all(`${name}PS`, [], [0x0f, op], 'f32', 16, imm)
    all(`${name}PD`, P, [0x0f, op], 'f64', 16, imm)
    all(`${name}SS`, [0xf3], [0x0f, op], 'f32', 4, imm)
    all(`${name}SD`, [0xf2], [0x0f, op], 'f64', 8, imm)
  }
  for (const [name, op] of [['SQRT', 0x51], ['ADD', 0x58], ['MUL', 0x59], ['SUB', 0x5c], ['MIN', 0x5d], ['DIV', 0x5e], ['MAX', 0x5f]] as const) four(name, op)
  four('CMP', 0xc2, [0, 7])
  for (const [name, op] of [['RSQRT', 0x52], ['RCP', 0x53]] as const) {
    all(`${name}PS`, [], [0x0f, op], 'f32', 16, null, ['reciprocal'])
    all(`${name}SS`, [0xf3], [0x0f, op], 'f32', 4, null, ['reciprocal'])
  }
  for (const [name, op] of [['UCOMI', 0x2e], ['COMI', 0x2f]] as const) {
    all(`${name}SS`, [], [0x0f, op], 'f32', 4)
    all(`${name}SD`, P, [0x0f, op], 'f64', 8)
  }
  for (const [name, op] of [['HADD', 0x7c], ['HSUB', 0x7d], ['ADDSUB', 0xd0]] as const) {
    all(`${name}PS`, [0xf2], [0x0f, op], 'f32', 16)
    all(`${name}PD`, P, [0x0f, op], 'f64', 16)
  }
  all('CVTPS2PD', [], [0x0f, 0x5a], 'f32', 8)
  all('CVTPD2PS', P, [0x0f, 0x5a], 'f64', 16)
  all('CVTSS2SD', [0xf3], [0x0f, 0x5a], 'f32', 4)
  all('CVTSD2SS', [0xf2], [0x0f, 0x5a], 'f64', 8)
  all('CVTPS2DQ', P, [0x0f, 0x5b], 'f32', 16)
  all('CVTTPS2DQ', [0xf3], [0x0f, 0x5b], 'f32', 16)
  all('CVTPD2DQ', [0xf2], [0x0f, 0xe6], 'f64', 16)
  all('CVTTPD2DQ', P, [0x0f, 0xe6], 'f64', 16)
  all('ROUNDPS', P, [0x0f, 0x3a, 0x08], 'f32', 16, [0, 15])
  all('ROUNDPD', P, [0x0f, 0x3a, 0x09], 'f64', 16, [0, 15])
  all('ROUNDSS', P, [0x0f, 0x3a, 0x0a], 'f32', 4, [0, 15])
  all('ROUNDSD', P, [0x0f, 0x3a, 0x0b], 'f64', 8, [0, 15])
  all('DPPS', P, [0x0f, 0x3a, 0x40], 'f32', 16, [0, 255])
  all('DPPD', P, [0x0f, 0x3a, 0x41], 'f64', 16, [0, 255])
  for (const state of states) {
    const m: Step[] = state ? [['mxcsr', state]] : []
    const s = state ? `, ${state}` : ''
    const integers = (name: string, prefix: readonly number[], op: number, size: number): void => {
      f.add(`${name} xmm1,xmm2${s}`, { prefix, op: [0x0f, op], reg: 1, rm: 2 }, m)
      f.at(f.place({ size, align: size === 16 ? 16 : 1 }), `${name} xmm9,%${s}`, { prefix, op: [0x0f, op], reg: 9 }, [['operand', size, 'lanes'], ...m])
    }
    integers('CVTDQ2PS', [], 0x5b, 16)
    integers('CVTDQ2PD', [0xf3], 0xe6, 8)
    for (const [name, prefix] of [['CVTPI2PS', []], ['CVTPI2PD', P]] as const) {
      f.add(`${name} xmm1,mm2${s}`, { prefix, op: [0x0f, 0x2a], reg: 1, rm: 2 }, [...MM, ['x87', 'some'], ...m])
      f.at(f.place({ size: 8 }), `${name} xmm9,%${s}`, { prefix, op: [0x0f, 0x2a], reg: 9 }, [...MM, ['x87', 'some'], ['operand', 8, 'lanes'], ...m])
    }
    for (const [name, prefix, op, format] of [['CVTTPS2PI', [], 0x2c, 'f32'], ['CVTPS2PI', [], 0x2d, 'f32'], ['CVTTPD2PI', P, 0x2c, 'f64'], ['CVTPD2PI', P, 0x2d, 'f64']] as const) {
      const size = format === 'f32' ? 8 : 16
      f.add(`${name} mm1,xmm2${s}`, { prefix, op: [0x0f, op], reg: 1, rm: 2 }, [['xmm', 2, format], ['x87', 'some'], ...m])
      f.at(f.place({ size, align: size === 16 ? 16 : 1 }), `${name} mm1,%${s}`, { prefix, op: [0x0f, op], reg: 1 }, [['operand', size, format], ['x87', 'some'], ...m])
    }
    for (const w of [false, true]) {
      const n = w ? '64' : '32'
      for (const [t, prefix, format, size] of [['SS', [0xf3], 'f32', 4], ['SD', [0xf2], 'f64', 8]] as const) {
        f.add(`CVTSI2${t} xmm1,r${n}: r9${s}`, { prefix, w, op: [0x0f, 0x2a], reg: 1, rm: 9 }, m)
        f.at(f.place({ size: w ? 8 : 4 }), `CVTSI2${t} xmm9,m${n}: %${s}`, { prefix, w, op: [0x0f, 0x2a], reg: 9 }, [['operand', w ? 8 : 4, 'int'], ...m])
        for (const [name, op] of [['CVTT', 0x2c], ['CVT', 0x2d]] as const) {
          f.add(`${name}${t}2SI r${n}: rdx,xmm2${s}`, { prefix, w, op: [0x0f, op], reg: RDX, rm: 2 }, [['xmm', 2, format], ...m])
          f.at(f.place({ size }), `${name}${t}2SI r${n}: r10,%${s}`, { prefix, w, op: [0x0f, op], reg: 10 }, [['operand', size, format], ...m])
        }
      }
    }
  }
  return f.forms
}
