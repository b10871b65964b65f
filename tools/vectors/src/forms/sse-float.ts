/** Floating point on XMM registers: each in the default state of MXCSR, with other roundings and sticky flags, and with unmasked exceptions. */
import { Family, type Form, faulty, RDX, zeros } from '../form.ts'
import type { Step } from '../recipe.ts'
import { MM } from './simd-tables.ts'

export function float(): Form[] {
  const f = new Family('sse-float')
  const states = ['', 'round', 'trap'] as const
  const P = [0x66]
  const all = (
    name: string,
    prefix: readonly number[],
    op: readonly number[],
    format: 'f32' | 'f64',
    size: number,
    imm: readonly [number, number] | null = null,
    undef: string[] = [],
  ): void => {
    for (const state of states) {
      const steps: Step[] = [['xmm', 1, format], ['xmm', 2, format], ...(state ? ([['mxcsr', state]] as const) : [])]
      const byte: Step[] = imm ? [['byte', -1, imm[0], imm[1]]] : []
      const s = state ? `, ${state}` : ''
      f.add(`${name} xmm1,xmm2${s}`, { prefix, op, reg: 1, rm: 2, imm: zeros(imm ? 1 : 0) }, [...steps, ...byte], undef)
      if (state !== '') {
        const place = f.place({ size, align: size === 16 ? 16 : 1 })
        f.at(
          place,
          `${name} xmm2,%${s}`,
          { prefix, op, reg: 2, imm: zeros(imm ? 1 : 0) },
          [...steps, ['operand', size, format], ...byte],
          undef,
        )
      } else {
        f.add(
          `${name} xmm9,xmm14${s}`,
          { prefix, op, reg: 9, rm: 14, imm: zeros(imm ? 1 : 0) },
          [['xmm', 9, format], ['xmm', 14, format], ...(imm ? ([['byte', -1, imm[0], imm[1]]] as const) : [])],
          undef,
        )
        f.add(
          `${name} xmm1,xmm1${s}`,
          { prefix, op, reg: 1, rm: 1, imm: zeros(imm ? 1 : 0) },
          [['xmm', 1, format], ...byte],
          undef,
        )
      }
    }
    if (size === 16)
      f.at(
        faulty('misaligned'),
        `${name} xmm1,%`,
        { prefix, op, reg: 1, imm: zeros(imm ? 1 : 0) },
        [['xmm', 1, format], ['memory', 0x1e0, 64, format], ...(imm ? ([['byte', -1, imm[0], imm[1]]] as const) : [])],
        undef,
      )
    else
      f.at(
        faulty('edge', size),
        `${name} xmm1,%`,
        { prefix, op, reg: 1, imm: zeros(imm ? 1 : 0) },
        [['xmm', 1, format], ['operand', size, format], ...(imm ? ([['byte', -1, imm[0], imm[1]]] as const) : [])],
        undef,
      )
  }
  const four = (name: string, op: number, imm: readonly [number, number] | null = null): void => {
    all(`${name}PS`, [], [0x0f, op], 'f32', 16, imm)
    all(`${name}PD`, P, [0x0f, op], 'f64', 16, imm)
    all(`${name}SS`, [0xf3], [0x0f, op], 'f32', 4, imm)
    all(`${name}SD`, [0xf2], [0x0f, op], 'f64', 8, imm)
  }
  for (const [name, op] of [
    ['SQRT', 0x51],
    ['ADD', 0x58],
    ['MUL', 0x59],
    ['SUB', 0x5c],
    ['MIN', 0x5d],
    ['DIV', 0x5e],
    ['MAX', 0x5f],
  ] as const)
    four(name, op)
  four('CMP', 0xc2, [0, 7])
  for (const [name, op] of [
    ['RSQRT', 0x52],
    ['RCP', 0x53],
  ] as const) {
    all(`${name}PS`, [], [0x0f, op], 'f32', 16, null, ['reciprocal'])
    all(`${name}SS`, [0xf3], [0x0f, op], 'f32', 4, null, ['reciprocal'])
  }
  for (const [name, op] of [
    ['UCOMI', 0x2e],
    ['COMI', 0x2f],
  ] as const) {
    all(`${name}SS`, [], [0x0f, op], 'f32', 4)
    all(`${name}SD`, P, [0x0f, op], 'f64', 8)
  }
  for (const [name, op] of [
    ['HADD', 0x7c],
    ['HSUB', 0x7d],
    ['ADDSUB', 0xd0],
  ] as const) {
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
      f.at(f.place({ size, align: size === 16 ? 16 : 1 }), `${name} xmm9,%${s}`, { prefix, op: [0x0f, op], reg: 9 }, [
        ['operand', size, 'lanes'],
        ...m,
      ])
    }
    integers('CVTDQ2PS', [], 0x5b, 16)
    integers('CVTDQ2PD', [0xf3], 0xe6, 8)
    for (const [name, prefix] of [
      ['CVTPI2PS', []],
      ['CVTPI2PD', P],
    ] as const) {
      f.add(`${name} xmm1,mm2${s}`, { prefix, op: [0x0f, 0x2a], reg: 1, rm: 2 }, [...MM, ['x87', 'some'], ...m])
      f.at(f.place({ size: 8 }), `${name} xmm9,%${s}`, { prefix, op: [0x0f, 0x2a], reg: 9 }, [
        ...MM,
        ['x87', 'some'],
        ['operand', 8, 'lanes'],
        ...m,
      ])
    }
    for (const [name, prefix, op, format] of [
      ['CVTTPS2PI', [], 0x2c, 'f32'],
      ['CVTPS2PI', [], 0x2d, 'f32'],
      ['CVTTPD2PI', P, 0x2c, 'f64'],
      ['CVTPD2PI', P, 0x2d, 'f64'],
    ] as const) {
      const size = format === 'f32' ? 8 : 16
      f.add(`${name} mm1,xmm2${s}`, { prefix, op: [0x0f, op], reg: 1, rm: 2 }, [
        ['xmm', 2, format],
        ['x87', 'some'],
        ...m,
      ])
      f.at(f.place({ size, align: size === 16 ? 16 : 1 }), `${name} mm1,%${s}`, { prefix, op: [0x0f, op], reg: 1 }, [
        ['operand', size, format],
        ['x87', 'some'],
        ...m,
      ])
    }
    for (const w of [false, true]) {
      const n = w ? '64' : '32'
      for (const [t, prefix, format, size] of [
        ['SS', [0xf3], 'f32', 4],
        ['SD', [0xf2], 'f64', 8],
      ] as const) {
        f.add(`CVTSI2${t} xmm1,r${n}: r9${s}`, { prefix, w, op: [0x0f, 0x2a], reg: 1, rm: 9 }, m)
        f.at(f.place({ size: w ? 8 : 4 }), `CVTSI2${t} xmm9,m${n}: %${s}`, { prefix, w, op: [0x0f, 0x2a], reg: 9 }, [
          ['operand', w ? 8 : 4, 'int'],
          ...m,
        ])
        for (const [name, op] of [
          ['CVTT', 0x2c],
          ['CVT', 0x2d],
        ] as const) {
          f.add(`${name}${t}2SI r${n}: rdx,xmm2${s}`, { prefix, w, op: [0x0f, op], reg: RDX, rm: 2 }, [
            ['xmm', 2, format],
            ...m,
          ])
          f.at(f.place({ size }), `${name}${t}2SI r${n}: r10,%${s}`, { prefix, w, op: [0x0f, op], reg: 10 }, [
            ['operand', size, format],
            ...m,
          ])
        }
      }
    }
  }
  return f.forms
}
