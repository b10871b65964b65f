/** MOV and its extensions, LEA, XCHG, XADD, CMPXCHG, CMOVcc, SETcc, flags, XLAT. */
import { Family, type Form, faulty, hex, RAX, RBX, RCX, RDX, SHAPE_COUNT, shape, zeros } from '../form.ts'
import { AC, NEAR_BASE, WINDOW_BASE } from '../layout.ts'
import { SIZED } from './arithmetic.ts'

export const CONDITIONS: readonly string[] = [
  'O',
  'NO',
  'B',
  'AE',
  'E',
  'NE',
  'BE',
  'A',
  'S',
  'NS',
  'P',
  'NP',
  'L',
  'GE',
  'LE',
  'G',
]

export function moves(): Form[] {
  const f = new Family('moves')
  for (const { size, prefix, w, bit } of SIZED) {
    const s = `MOV${size * 8}`
    f.add(`${s} rm,r: rdx,r9`, { prefix, w, op: [0x88 + bit], reg: 9, rm: RDX })
    f.add(`${s} r,rm: rcx,rax`, { prefix, w, op: [0x8a + bit], reg: RCX, rm: RAX })
    // Every addressing form, load and store.
    for (let k = 0; k < SHAPE_COUNT; k++) {
      f.at(shape(k, { size }), `${s} rm,r: %,rdx`, { prefix, w, op: [0x88 + bit], reg: RDX })
      f.at(shape(k, { size }), `${s} r,rm: r10,%`, { prefix, w, op: [0x8a + bit], reg: 10 })
    }
    for (const fault of ['edge', 'read-only', 'unmapped', 'non-canonical', 'stack'] as const) {
      f.at(faulty(fault, size), `${s} rm,r: %,rdx`, { prefix, w, op: [0x88 + bit], reg: RDX })
      f.at(faulty(fault, size), `${s} r,rm: r10,%`, { prefix, w, op: [0x8a + bit], reg: 10 })
    }
    f.add(`${s} rm,imm: rcx`, { prefix, w, op: [0xc6 + bit], reg: 0, rm: RCX, imm: zeros(Math.min(size, 4)) })
    f.at(f.place({ size }), `${s} rm,imm: %`, { prefix, w, op: [0xc6 + bit], reg: 0, imm: zeros(Math.min(size, 4)) })
    f.at(f.place({ size }), `${s} rm,imm: %`.replace('%', '% again'), {
      prefix,
      w,
      op: [0xc6 + bit],
      reg: 0,
      imm: zeros(Math.min(size, 4)),
    })
    f.add(`${s} r,imm: rsi`, { prefix, w, rex: true, op: [size === 1 ? 0xb0 : 0xb8], plus: 6, imm: zeros(size) })
    f.add(`${s} r,imm: r13`, { prefix, w, op: [size === 1 ? 0xb0 : 0xb8], plus: 13, imm: zeros(size) })
    if (size === 1) {
      f.add(`${s} rm,r: ah,bl`, { op: [0x88], reg: RBX, rm: 4 })
      f.add(`${s} rm,r: dil,spl`, { rex: true, op: [0x88], reg: 4, rm: 7 })
      f.add(`${s} r,imm: ah`, { op: [0xb0], plus: 4, imm: zeros(1) })
      f.at(f.place({ size }), `${s} rm,r: %,dh`, { op: [0x88], reg: 6 })
    }
    const offset64 = (at: bigint): number[] => Array.from({ length: 8 }, (_, i) => Number((at >> BigInt(i * 8)) & 255n))
    const inside = WINDOW_BASE.near + 0x1fdn
    f.raw(`${s} rax,[moffs64]`, [...prefix, ...(w ? [0x48] : []), 0xa0 + bit, ...offset64(inside)])
    f.raw(`${s} [moffs64],rax`, [...prefix, ...(w ? [0x48] : []), 0xa2 + bit, ...offset64(inside)])
    f.raw(
      `${s} rax,[moffs32]`,
      [0x67, ...prefix, ...(w ? [0x48] : []), 0xa0 + bit, ...offset64(WINDOW_BASE.low + 3n).slice(0, 4)],
      [],
      [],
      'low',
    )

    f.add(`XCHG${size * 8} rm,r: rdx,rcx`, { prefix, w, op: [0x86 + bit], reg: RCX, rm: RDX })
    f.add(`XCHG${size * 8} rm,r: r9,r9`, { prefix, w, op: [0x86 + bit], reg: 9, rm: 9 })
    f.at(f.place({ size, align: size }), `XCHG${size * 8} rm,r: %,r8`, { prefix, w, op: [0x86 + bit], reg: 8 })
    f.at(f.place({ size }), `XCHG${size * 8} rm,r: misaligned %,rdx`, { prefix, w, op: [0x86 + bit], reg: RDX })
    if (size > 1) for (const r of [1, 7, 8, 12]) f.add(`XCHG${size * 8} rax,r${r}`, { prefix, w, op: [0x90], plus: r })
    f.add(`XADD${size * 8} rdx,rcx`, { prefix, w, op: [0x0f, 0xc0 + bit], reg: RCX, rm: RDX })
    f.add(`XADD${size * 8} r9,r9`, { prefix, w, op: [0x0f, 0xc0 + bit], reg: 9, rm: 9 })
    f.at(f.place({ size }), `XADD${size * 8} %,r10`, { prefix, w, op: [0x0f, 0xc0 + bit], reg: 10 })
    f.at(f.place({ size, align: size }), `LOCK XADD${size * 8} %,rdx`, {
      prefix: [0xf0, ...prefix],
      w,
      op: [0x0f, 0xc0 + bit],
      reg: RDX,
    })
    f.at(faulty('read-only'), `XADD${size * 8} %,rdx`, { prefix, w, op: [0x0f, 0xc0 + bit], reg: RDX })
    f.add(`CMPXCHG${size * 8} rdx,rcx`, { prefix, w, op: [0x0f, 0xb0 + bit], reg: RCX, rm: RDX }, [
      ['equal', 2, RAX, size, RDX],
    ])
    f.add(`CMPXCHG${size * 8} r9,rax`, { prefix, w, op: [0x0f, 0xb0 + bit], reg: RAX, rm: 9 }, [
      ['equal', 2, RAX, size, 9],
    ])
    f.at(f.place({ size }), `CMPXCHG${size * 8} %,r10`, { prefix, w, op: [0x0f, 0xb0 + bit], reg: 10 }, [
      ['equal', 2, RAX, size, 'operand'],
    ])
    f.at(
      f.place({ size, align: size }),
      `LOCK CMPXCHG${size * 8} %,rdx`,
      { prefix: [0xf0, ...prefix], w, op: [0x0f, 0xb0 + bit], reg: RDX },
      [['equal', 2, RAX, size, 'operand']],
    )
    f.at(faulty('read-only'), `CMPXCHG${size * 8} %,rdx`, { prefix, w, op: [0x0f, 0xb0 + bit], reg: RDX })
    if (size === 1) {
      f.add('XCHG8 ah,cl', { op: [0x86], reg: RCX, rm: 4 })
      f.add('XADD8 ch,cl', { op: [0x0f, 0xc0], reg: RCX, rm: 5 })
      f.add('CMPXCHG8 ah,cl', { op: [0x0f, 0xb0], reg: RCX, rm: 4 })
    }
  }
  for (const lock of [false, true]) {
    const prefix = lock ? [0xf0] : []
    const l = lock ? 'LOCK ' : ''
    for (const k of [0, 2, 7]) {
      f.at(shape(k, { size: 8, align: 8 }), `${l}CMPXCHG8B %`, { prefix, op: [0x0f, 0xc7], reg: 1 }, [
        ['equal', 2, RAX, 8, 'operand'],
        ['gpr', RDX, 8, 'zero'],
        ['gpr', RAX, 8, 'zero'],
        ['operand', 8, 'zero'],
        ['range', RAX, 1, 0, 1],
      ])
      f.at(shape(k, { size: 8, align: 8 }), `${l}CMPXCHG8B % unequal`, { prefix, op: [0x0f, 0xc7], reg: 1 })
      f.at(shape(k, { size: 16, align: 16 }), `${l}CMPXCHG16B %`, { prefix, w: true, op: [0x0f, 0xc7], reg: 1 }, [
        ['gpr', RDX, 8, 'zero'],
        ['gpr', RAX, 8, 'zero'],
        ['operand', 16, 'zero'],
        ['range', RDX, 1, 0, 1],
      ])
      f.at(shape(k, { size: 16, align: 16 }), `${l}CMPXCHG16B % unequal`, { prefix, w: true, op: [0x0f, 0xc7], reg: 1 })
    }
  }
  f.at(faulty('misaligned'), 'CMPXCHG16B %', { w: true, op: [0x0f, 0xc7], reg: 1 })
  f.at(faulty('read-only'), 'CMPXCHG8B %', { op: [0x0f, 0xc7], reg: 1 })

  for (const { size, prefix, w } of SIZED.slice(1)) {
    for (const [name, op, from] of [
      ['MOVZX', 0xb6, 1],
      ['MOVZX', 0xb7, 2],
      ['MOVSX', 0xbe, 1],
      ['MOVSX', 0xbf, 2],
    ] as const) {
      const s = `${name} r${size * 8},rm${from * 8}`
      f.add(`${s}: rdx,rcx`, { prefix, w, op: [0x0f, op], reg: RDX, rm: RCX })
      f.add(`${s}: r9,rsi`, { prefix, w, rex: true, op: [0x0f, op], reg: 9, rm: 6 })
      if (from === 1 && !w) f.add(`${s}: rdx,ah`, { prefix, op: [0x0f, op], reg: RDX, rm: 4 })
      f.at(f.place({ size: from }), `${s}: r10,%`, { prefix, w, op: [0x0f, op], reg: 10 })
    }
    f.add(`MOVSXD${size * 8} rdx,rcx`, { prefix, w, op: [0x63], reg: RDX, rm: RCX })
    f.at(f.place({ size: 4 }), `MOVSXD${size * 8} r9,%`, { prefix, w, op: [0x63], reg: 9 })
    for (let k = 0; k < SHAPE_COUNT; k++)
      f.at(shape(k), `LEA${size * 8} rdx,%`, { prefix, w, op: [0x8d], reg: RDX }, [
        ['gpr', 9, 8, 'int'],
        ['gpr', 13, 8, 'int'],
        ['gpr', 3, 8, 'int'],
      ])
    f.at(f.place({ size, align: size }), `MOVNTI${size * 8} %`, {
      prefix: size === 2 ? [] : prefix,
      w,
      op: [0x0f, 0xc3],
      reg: 8,
    })
    for (const [cc, name] of CONDITIONS.entries()) {
      f.add(`CMOV${name}${size * 8} rdx,r9`, { prefix, w, op: [0x0f, 0x40 + cc], reg: RDX, rm: 9 })
      f.at(f.place({ size }), `CMOV${name}${size * 8} r10,%`, { prefix, w, op: [0x0f, 0x40 + cc], reg: 10 })
    }
  }
  f.at(faulty('unmapped'), 'CMOVE32 faults whatever the condition %', { op: [0x0f, 0x44], reg: RDX })
  for (const [cc, name] of CONDITIONS.entries()) {
    f.add(`SET${name} dl`, { op: [0x0f, 0x90 + cc], reg: 0, rm: RDX })
    f.add(`SET${name} ${cc & 1 ? 'ah' : 'dil'}`, {
      op: [0x0f, 0x90 + cc],
      reg: cc & 7,
      rex: !(cc & 1),
      rm: cc & 1 ? 4 : 7,
    })
    f.at(f.place({ size: 1 }), `SET${name} %`, { op: [0x0f, 0x90 + cc], reg: 0 })
  }
  f.raw('LAHF', [0x9f])
  f.raw('SAHF', [0x9e])
  f.raw('CLC', [0xf8])
  f.raw('STC', [0xf9])
  f.raw('CMC', [0xf5])
  f.raw('CLD', [0xfc], [['direction']])
  f.raw('STD', [0xfd], [['direction']])
  f.raw('XLAT', [0xd7], [['pointer', RBX, hex(WINDOW_BASE.near + 0x100n), 1, 256]])
  f.raw('XLAT gs', [0x65, 0xd7], [['pointer', RBX, hex(WINDOW_BASE.near + 0x100n - 0x7000_0000_1230n), 1, 256]])
  f.raw('XLAT a32', [0x67, 0xd7], [['address', hex(WINDOW_BASE.low), 1, 256, RBX, -1, 1, 0, 0, true]], [], 'low')
  for (const [name, code] of [
    ['NOP', [0x90]],
    ['XCHG r8,rax by REX NOP', [0x49, 0x90]],
    ['NOP 66', [0x66, 0x90]],
    ['PAUSE', [0xf3, 0x90]],
    ['NOP rm', [0x0f, 0x1f, 0x00]],
    ['NOP rm long', [0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0]],
    ['ENDBR64', [0xf3, 0x0f, 0x1e, 0xfa]],
    ['LFENCE', [0x0f, 0xae, 0xe8]],
    ['MFENCE', [0x0f, 0xae, 0xf0]],
    ['SFENCE', [0x0f, 0xae, 0xf8]],
  ] as const)
    f.raw(name, code)
  for (const [name, op, digit] of [
    ['PREFETCHNTA', 0x18, 0],
    ['PREFETCHT0', 0x18, 1],
    ['PREFETCHW', 0x0d, 1],
  ] as const) {
    f.at(f.place(), `${name} %`, { op: [0x0f, op], reg: digit })
    f.at(faulty('unmapped'), `${name} %`, { op: [0x0f, op], reg: digit })
  }
  f.at(f.place(), 'CLFLUSH %', { op: [0x0f, 0xae], reg: 7 })
  // Alignment checks: user mode with AC set (CR0.AM is set in the system that measures).
  for (const { size, prefix, w } of SIZED.slice(1)) {
    f.at(shape(0, { size }), `MOV${size * 8} with AC: r10,%`, { prefix, w, op: [0x8b], reg: 10 }, [['flags', -1, AC]])
    f.at(shape(0, { size }), `MOV${size * 8} with AC: %,r10`, { prefix, w, op: [0x89], reg: 10 }, [['flags', -1, AC]])
  }
  // Prefixes that 64-bit mode ignores, and the last of several.
  f.raw('ADD with ES, CS, SS, DS prefixes', [0x26, 0x2e, 0x36, 0x3e, 0x48, 0x01, 0xca])
  f.raw('REX before a legacy prefix is ignored', [0x48, 0x66, 0x01, 0xca])
  f.raw('operand size prefix and REX.W', [0x66, 0x48, 0x01, 0xca])
  f.raw('15 bytes', [0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x48, 0x01, 0xca])
  f.raw('16 bytes', [0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x48, 0x01, 0xca])
  f.raw('load from [rip] at the end of a page', [0x48, 0x8b, 0x05, 0xf9, 0xff, 0xff, 0xff])
  f.raw('load at the end of near memory', [0x48, 0x8b, 0x13], [['pointer', RBX, hex(NEAR_BASE + 0x2ff8n), 1, 9]], [])
  return f.forms
}
