/** Bit tests and scans, POPCNT, LZCNT, TZCNT, BMI1, BMI2, ADX, MOVBE, CRC32, BSWAP. */
import { Family, type Form, hex, RAX, RCX, RDX, zeros } from '../form.ts'
import { WINDOW_BASE } from '../layout.ts'
import { SIZED } from './arithmetic.ts'

const WORDS = SIZED.filter(({ size }) => size > 1)

export function bits(): Form[] {
  const f = new Family('bits')
  for (const { size, prefix, w } of WORDS) {
    for (const [name, op, digit] of [
      ['BT', 0xa3, 4],
      ['BTS', 0xab, 5],
      ['BTR', 0xb3, 6],
      ['BTC', 0xbb, 7],
    ] as const) {
      const s = `${name}${size * 8}`
      f.add(`${s} rm,r: rdx,rcx`, { prefix, w, op: [0x0f, op], reg: RCX, rm: RDX }, [], ['bit'])
      f.add(`${s} rm,r: r12,r12`, { prefix, w, op: [0x0f, op], reg: 12, rm: 12 }, [], ['bit'])
      f.add(`${s} rm,imm8: r10`, { prefix, w, op: [0x0f, 0xba], reg: digit, rm: 10, imm: zeros(1) }, [], ['bit'])
      f.at(
        f.place({ size }),
        `${s} rm,imm8: %`,
        { prefix, w, op: [0x0f, 0xba], reg: digit, imm: zeros(1) },
        [],
        ['bit'],
      )
      // The register's bit offset reaches beyond the operand: 2,000 bits either way stay in the window.
      f.at(
        f.place({ size }),
        `${s} rm,r: %,rdx`,
        { prefix, w, op: [0x0f, op], reg: RDX },
        [['range', RDX, size, -2000, 2000]],
        ['bit'],
      )
      if (name !== 'BT') {
        const p = f.place({ size, align: size })
        f.at(
          p,
          `LOCK ${s} rm,r: %,rdx`,
          { prefix: [0xf0, ...prefix], w, op: [0x0f, op], reg: RDX },
          [['range', RDX, size, -1500, 1500]],
          ['bit'],
        )
        f.at(
          p,
          `LOCK ${s} rm,imm8: %`,
          { prefix: [0xf0, ...prefix], w, op: [0x0f, 0xba], reg: digit, imm: zeros(1) },
          [],
          ['bit'],
        )
      }
    }
    for (const [name, p, op, rule] of [
      ['BSF', [], 0xbc, 'scan'],
      ['BSR', [], 0xbd, 'scan'],
      ['TZCNT', [0xf3], 0xbc, 'count'],
      ['LZCNT', [0xf3], 0xbd, 'count'],
      ['POPCNT', [0xf3], 0xb8, ''],
    ] as const) {
      const undef = rule ? [rule] : []
      const s = `${name}${size * 8}`
      f.add(`${s} rdx,rcx`, { prefix: [...prefix, ...p], w, op: [0x0f, op], reg: RDX, rm: RCX }, [], undef)
      f.add(
        `${s} rdx,rcx zero`,
        { prefix: [...prefix, ...p], w, op: [0x0f, op], reg: RDX, rm: RCX },
        [['gpr', RCX, size, 'zero']],
        undef,
      )
      f.add(`${s} r9,r9`, { prefix: [...prefix, ...p], w, op: [0x0f, op], reg: 9, rm: 9 }, [], undef)
      for (let k = 0; k < 2; k++)
        f.at(
          f.place({ size }),
          `${s} r10,%`,
          { prefix: [...prefix, ...p], w, op: [0x0f, op], reg: 10 },
          [['operand', size, 'int']],
          undef,
        )
    }
    for (let k = 0; k < 2; k++) {
      f.at(f.place({ size }), `MOVBE${size * 8} r,m: r8,%`, { prefix, w, op: [0x0f, 0x38, 0xf0], reg: 8 })
      f.at(f.place({ size }), `MOVBE${size * 8} m,r: %,rdx`, { prefix, w, op: [0x0f, 0x38, 0xf1], reg: RDX })
    }
    if (size > 2) for (const r of [RAX, RDX, 12]) f.add(`BSWAP${size * 8} r${r}`, { w, op: [0x0f, 0xc8], plus: r })
  }
  for (const w of [false, true]) {
    const size = w ? 8 : 4
    const s = (name: string): string => `${name}${size * 8}`
    const vex = (name: string, pp: number, op: number, map: number, undef: string[], memory: boolean): void => {
      f.add(
        `${s(name)} rdx,rcx,rax`,
        { vex: { map, pp, v: RCX }, w, op: [op], reg: RDX, rm: RAX },
        [['range', RAX, 1, 0, 90]],
        undef,
      )
      f.add(`${s(name)} r9,r14,r11`, { vex: { map, pp, v: 14 }, w, op: [op], reg: 9, rm: 11 }, [], undef)
      f.add(
        `${s(name)} rdx,rdx,rcx`,
        { vex: { map, pp, v: RDX }, w, op: [op], reg: RDX, rm: RCX },
        [['range', RDX, 2, 0, 0x3030]],
        undef,
      )
      if (memory)
        f.at(
          f.place({ size }),
          `${s(name)} r10,rdx,%`,
          { vex: { map, pp, v: RDX }, w, op: [op], reg: 10 },
          [
            ['operand', size, 'int'],
            ['range', RDX, 2, 0, 0x2040],
          ],
          undef,
        )
    }
    vex('ANDN', 0, 0xf2, 2, ['bmi'], true)
    vex('BEXTR', 0, 0xf7, 2, ['bextr'], true)
    vex('BZHI', 0, 0xf5, 2, ['bmi'], true)
    vex('MULX', 3, 0xf6, 2, [], true)
    vex('PDEP', 3, 0xf5, 2, [], true)
    vex('PEXT', 2, 0xf5, 2, [], true)
    vex('SHLX', 1, 0xf7, 2, [], true)
    vex('SHRX', 3, 0xf7, 2, [], true)
    vex('SARX', 2, 0xf7, 2, [], true)
    // BEXTR's start and length by the second source.
    f.add(
      `${s('BEXTR')} field`,
      { vex: { map: 2, pp: 0, v: RCX }, w, op: [0xf7], reg: RDX, rm: RAX },
      [['range', RCX, 2, 0, 0x4040]],
      ['bextr'],
    )
    for (const [name, digit] of [
      ['BLSR', 1],
      ['BLSMSK', 2],
      ['BLSI', 3],
    ] as const) {
      f.add(`${s(name)} rdx,rcx`, { vex: { map: 2, pp: 0, v: RDX }, w, op: [0xf3], reg: digit, rm: RCX }, [], ['bmi'])
      f.add(
        `${s(name)} r8,rax small`,
        { vex: { map: 2, pp: 0, v: 8 }, w, op: [0xf3], reg: digit, rm: RAX },
        [
          ['gpr', RAX, 8, 'zero'],
          ['range', RAX, 1, 0, 3],
        ],
        ['bmi'],
      )
      f.at(
        f.place({ size }),
        `${s(name)} r10,%`,
        { vex: { map: 2, pp: 0, v: 10 }, w, op: [0xf3], reg: digit },
        [],
        ['bmi'],
      )
    }
    f.add(`${s('RORX')} rdx,rcx,imm8`, {
      vex: { map: 3, pp: 3, v: 0 },
      w,
      op: [0xf0],
      reg: RDX,
      rm: RCX,
      imm: zeros(1),
    })
    f.at(f.place({ size }), `${s('RORX')} r15,%,imm8`, {
      vex: { map: 3, pp: 3, v: 0 },
      w,
      op: [0xf0],
      reg: 15,
      imm: zeros(1),
    })
    for (const [name, p] of [
      ['ADCX', 0x66],
      ['ADOX', 0xf3],
    ] as const) {
      f.add(`${s(name)} rdx,rcx`, { prefix: [p], w, op: [0x0f, 0x38, 0xf6], reg: RDX, rm: RCX })
      f.add(`${s(name)} r9,r9`, { prefix: [p], w, op: [0x0f, 0x38, 0xf6], reg: 9, rm: 9 })
      f.at(f.place({ size }), `${s(name)} r10,%`, { prefix: [p], w, op: [0x0f, 0x38, 0xf6], reg: 10 })
    }
    f.add(`CRC32 r${size * 8},rm8: rdx,cl`, { prefix: [0xf2], w, op: [0x0f, 0x38, 0xf0], reg: RDX, rm: RCX })
    f.at(f.place({ size: 1 }), `CRC32 r${size * 8},rm8: r10,%`, { prefix: [0xf2], w, op: [0x0f, 0x38, 0xf0], reg: 10 })
  }
  f.add('CRC32 r32,rm8: rdx,ch', { prefix: [0xf2], op: [0x0f, 0x38, 0xf0], reg: RDX, rm: 5 })
  f.add('CRC32 r32,rm8: rdx,sil', { prefix: [0xf2], rex: true, op: [0x0f, 0x38, 0xf0], reg: RDX, rm: 6 })
  for (const { size, prefix, w } of WORDS) {
    f.add(`CRC32 rm${size * 8}: rdx,rcx`, { prefix: [...prefix, 0xf2], w, op: [0x0f, 0x38, 0xf1], reg: RDX, rm: RCX })
    f.at(f.place({ size }), `CRC32 rm${size * 8}: r9,%`, {
      prefix: [...prefix, 0xf2],
      w,
      op: [0x0f, 0x38, 0xf1],
      reg: 9,
    })
  }
  // A 64-bit bit offset that wraps the address around: base + (offset >> 3) stays in the window.
  f.raw(
    'BTS64 far bit offset',
    [0x48, 0x0f, 0xab, 0x13],
    [
      ['pointer', 3, hex(WINDOW_BASE.near + 0x200n - 0x7_0000_0000_00n), 1, 1],
      ['pointer', RDX, hex(0x7_0000_0000_00n * 8n), 1, 512],
    ],
    ['bit'],
  )
  return f.forms
}
