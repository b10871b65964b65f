/** The x87 floating-point unit: all instructions, all precisions and roundings, masked and unmasked exceptions, stack faults. */

import { Family, type Form, faulty, hex, RBX } from '../form.ts'
import { WINDOW_BASE } from '../layout.ts'
import type { Kind, Step } from '../recipe.ts'

/** Start states: a full stack, any stack, any control word, unmasked exceptions. */
const STATES = ['full', 'some', 'word', 'trap'] as const
const LOAD = (kind: Kind): Step => ['st', -1, kind]

export function x87(): Form[] {
  const f = new Family('x87')
  const each = (
    name: string,
    code: number[],
    undef: string[],
    extra: Step[] = [],
    kind: Kind = 'f80',
    states: readonly (typeof STATES)[number][] = STATES,
  ): void => {
    for (const state of states) f.raw(`${name}, ${state}`, code, [LOAD(kind), ['x87', state], ...extra], undef)
  }
  const memory = (
    name: string,
    op: number,
    reg: number,
    size: number,
    kind: Kind | null,
    undef: string[],
    states: readonly (typeof STATES)[number][] = ['some', 'word', 'trap'],
  ): void => {
    for (const state of states) {
      const place = f.place({ size })
      f.at(
        place,
        `${name} %, ${state}`,
        { op: [op], reg },
        [LOAD('f80'), ['x87', state], ...(kind ? ([['operand', size, kind]] as const) : [])],
        undef,
      )
    }
  }
  const C = ['conditions']
  const NAMES = ['FADD', 'FMUL', 'FCOM', 'FCOMP', 'FSUB', 'FSUBR', 'FDIV', 'FDIVR']
  for (const [n, name] of NAMES.entries()) {
    const undef = n === 2 || n === 3 ? [] : C
    memory(`${name} m32`, 0xd8, n, 4, 'f32', undef)
    memory(`${name} m64`, 0xdc, n, 8, 'f64', undef)
    memory(`FI${name.slice(1)} m32`, 0xda, n, 4, 'int', undef)
    memory(`FI${name.slice(1)} m16`, 0xde, n, 2, 'int', undef)
    const base = 0xc0 + n * 8
    each(`${name} st,st(i)`, [0xd8, base], undef, [['byte', 1, base, base + 7]])
    if (n === 2 || n === 3) continue
    each(`${name} st(i),st by DC`, [0xdc, base], undef, [['byte', 1, base, base + 7]])
    each(`${name}P st(i),st by DE`, [0xde, base], undef, [['byte', 1, base, base + 7]])
  }
  each('FCOM2 by DC', [0xdc, 0xd0], [], [['byte', 1, 0xd0, 0xd7]], 'f80', ['some'])
  each('FCOMP3 by DC', [0xdc, 0xd8], [], [['byte', 1, 0xd8, 0xdf]], 'f80', ['some'])
  each('FCOMP5 by DE', [0xde, 0xd0], [], [['byte', 1, 0xd0, 0xd7]], 'f80', ['some'])
  each('FCOMPP', [0xde, 0xd9], [])
  each('FUCOM', [0xdd, 0xe0], [], [['byte', 1, 0xe0, 0xe7]])
  each('FUCOMP', [0xdd, 0xe8], [], [['byte', 1, 0xe8, 0xef]])
  each('FUCOMPP', [0xda, 0xe9], [])
  each('FCOMI', [0xdb, 0xf0], C, [['byte', 1, 0xf0, 0xf7]])
  each('FUCOMI', [0xdb, 0xe8], C, [['byte', 1, 0xe8, 0xef]])
  each('FCOMIP', [0xdf, 0xf0], C, [['byte', 1, 0xf0, 0xf7]])
  each('FUCOMIP', [0xdf, 0xe8], C, [['byte', 1, 0xe8, 0xef]])
  for (const [op, digit, name] of [
    [0xda, 0, 'FCMOVB'],
    [0xda, 1, 'FCMOVE'],
    [0xda, 2, 'FCMOVBE'],
    [0xda, 3, 'FCMOVU'],
    [0xdb, 0, 'FCMOVNB'],
    [0xdb, 1, 'FCMOVNE'],
    [0xdb, 2, 'FCMOVNBE'],
    [0xdb, 3, 'FCMOVNU'],
  ] as const)
    each(name, [op, 0xc0 + digit * 8], C, [['byte', 1, 0xc0 + digit * 8, 0xc7 + digit * 8]], 'f80', [
      'full',
      'some',
      'trap',
    ])

  memory('FLD m32', 0xd9, 0, 4, 'f32', C)
  memory('FLD m64', 0xdd, 0, 8, 'f64', C)
  memory('FLD m80', 0xdb, 5, 10, 'f80', C)
  memory('FILD m16', 0xdf, 0, 2, 'int', C)
  memory('FILD m32', 0xdb, 0, 4, 'int', C)
  memory('FILD m64', 0xdf, 5, 8, 'int', C)
  memory('FBLD', 0xdf, 4, 10, 'bcd', C)
  memory('FST m32', 0xd9, 2, 4, null, C)
  memory('FSTP m32', 0xd9, 3, 4, null, C)
  memory('FST m64', 0xdd, 2, 8, null, C)
  memory('FSTP m64', 0xdd, 3, 8, null, C)
  memory('FSTP m80', 0xdb, 7, 10, null, C)
  memory('FIST m16', 0xdf, 2, 2, null, C)
  memory('FISTP m16', 0xdf, 3, 2, null, C)
  memory('FIST m32', 0xdb, 2, 4, null, C)
  memory('FISTP m32', 0xdb, 3, 4, null, C)
  memory('FISTP m64', 0xdf, 7, 8, null, C)
  memory('FISTTP m16', 0xdf, 1, 2, null, C)
  memory('FISTTP m32', 0xdb, 1, 4, null, C)
  memory('FISTTP m64', 0xdd, 1, 8, null, C)
  memory('FBSTP', 0xdf, 6, 10, null, C)
  each('FLD st(i)', [0xd9, 0xc0], C, [['byte', 1, 0xc0, 0xc7]])
  each('FST st(i)', [0xdd, 0xd0], C, [['byte', 1, 0xd0, 0xd7]])
  each('FSTP st(i)', [0xdd, 0xd8], C, [['byte', 1, 0xd8, 0xdf]])
  each('FXCH st(i)', [0xd9, 0xc8], C, [['byte', 1, 0xc8, 0xcf]])
  for (const [op, name] of [
    [0xe8, 'FLD1'],
    [0xe9, 'FLDL2T'],
    [0xea, 'FLDL2E'],
    [0xeb, 'FLDPI'],
    [0xec, 'FLDLG2'],
    [0xed, 'FLDLN2'],
    [0xee, 'FLDZ'],
  ] as const)
    each(name, [0xd9, op], C, [], 'f80', ['some', 'word', 'trap'])
  each('FCHS', [0xd9, 0xe0], C)
  each('FABS', [0xd9, 0xe1], C)
  each('FTST', [0xd9, 0xe4], [])
  each('FXAM', [0xd9, 0xe5], [])
  each('FSQRT', [0xd9, 0xfa], C)
  each('FRNDINT', [0xd9, 0xfc], C)
  each('FSCALE', [0xd9, 0xfd], C)
  each('FXTRACT', [0xd9, 0xf4], C)
  each('FPREM', [0xd9, 0xf8], [])
  each('FPREM1', [0xd9, 0xf5], [])
  // Transcendental instructions: within one unit in the last place. Operands in their ranges come from `f80` often enough.
  const T = ['transcendental']
  const G = ['trigonometric']
  each('F2XM1', [0xd9, 0xf0], T)
  each('FYL2X', [0xd9, 0xf1], T)
  each('FPTAN', [0xd9, 0xf2], G)
  each('FPATAN', [0xd9, 0xf3], T)
  each('FYL2XP1', [0xd9, 0xf9], T)
  each('FSINCOS', [0xd9, 0xfb], G)
  each('FSIN', [0xd9, 0xfe], G)
  each('FCOS', [0xd9, 0xff], G)
  each('FINCSTP', [0xd9, 0xf7], C, [], 'f80', ['some', 'trap'])
  each('FDECSTP', [0xd9, 0xf6], C, [], 'f80', ['some', 'trap'])
  each('FFREE', [0xdd, 0xc0], C, [['byte', 1, 0xc0, 0xc7]], 'f80', ['some'])
  each('FFREEP', [0xdf, 0xc0], C, [['byte', 1, 0xc0, 0xc7]], 'f80', ['some'])
  each('FNOP', [0xd9, 0xd0], C, [], 'f80', ['some', 'word'])
  each('FWAIT', [0x9b], C, [], 'f80', ['some', 'word'])
  each('FNCLEX', [0xdb, 0xe2], C, [], 'f80', ['some', 'word', 'trap'])
  each('FNINIT', [0xdb, 0xe3], [], [], 'f80', ['some', 'word', 'trap'])
  each('FNENI', [0xdb, 0xe0], C, [], 'f80', ['some'])
  each('FNDISI', [0xdb, 0xe1], C, [], 'f80', ['some'])
  each('FNSETPM', [0xdb, 0xe4], C, [], 'f80', ['some'])
  each('FNSTSW ax', [0xdf, 0xe0], [], [], 'f80', ['some', 'word'])
  memory('FNSTSW m16', 0xdd, 7, 2, null, [])
  memory('FNSTCW', 0xd9, 7, 2, null, C)
  // A control word whose masks stay as they are: unmasking what is set would leave an exception pending, which `FLDCW unmasks` covers.
  for (const [name, or] of [
    ['FLDCW', '7f'],
    ['FLDCW unmasks', '40'],
  ] as const) {
    const place = f.place({ size: 2, offset: 0x100, align: 256 })
    f.at(
      place,
      `${name} %`,
      { op: [0xd9], reg: 5 },
      [
        ['x87', 'word'],
        ['memory', 0x100, 2, 'bits'],
        ['and', 0x100, 2, 'f3f', or],
      ],
      C,
    )
  }
  // An exception that waits: instructions that check for it, and those that do not.
  for (const [name, code] of [
    ['FADD', [0xd8, 0xc1]],
    ['FLD1', [0xd9, 0xe8]],
    ['FWAIT', [0x9b]],
    ['FNOP', [0xd9, 0xd0]],
    ['FNCLEX', [0xdb, 0xe2]],
    ['FNINIT', [0xdb, 0xe3]],
    ['FNSTSW ax', [0xdf, 0xe0]],
    ['FXCH', [0xd9, 0xc9]],
    ['FINCSTP', [0xd9, 0xf7]],
    ['FFREE', [0xdd, 0xc3]],
    ['PADDB mm,mm', [0x0f, 0xfc, 0xca]],
    ['EMMS', [0x0f, 0x77]],
    ['ADDPS', [0x0f, 0x58, 0xca]],
    ['CVTPI2PS', [0x0f, 0x2a, 0xca]],
    ['FCOMI', [0xdb, 0xf1]],
    ['FSTP m64', [0xdd, 0x1b]],
    ['FNSTCW', [0xd9, 0x3b]],
    ['FLDCW', [0xd9, 0x2b]],
  ] as const)
    f.raw(
      `pending exception, ${name}`,
      code,
      [
        ['pointer', RBX, hex(WINDOW_BASE.near + 0x100n), 1, 1],
        ['memory', 0x100, 8, 'bits'],
        ['and', 0x100, 2, 'f3f', '40'],
        LOAD('f80'),
        ['x87', 'pending'],
      ],
      C,
    )
  // Environments: the pointers to the last instruction and operand are not compared.
  const base = { offset: 0x100, align: 256 }
  for (const state of ['some', 'word', 'trap'] as const) {
    f.at(
      f.place({ ...base }),
      `FNSTENV28 %, ${state}`,
      { op: [0xd9], reg: 6 },
      [LOAD('f80'), ['x87', state]],
      ['memory:268,16'],
    )
    f.at(
      f.place({ ...base }),
      `FNSTENV14 %, ${state}`,
      { prefix: [0x66], op: [0xd9], reg: 6 },
      [LOAD('f80'), ['x87', state]],
      ['memory:262,8'],
    )
    f.at(
      f.place({ ...base }),
      `FNSAVE108 %, ${state}`,
      { op: [0xdd], reg: 6 },
      [LOAD('f80'), ['x87', state]],
      ['memory:268,16'],
    )
    f.at(
      f.place({ ...base }),
      `FNSAVE94 %, ${state}`,
      { prefix: [0x66], op: [0xdd], reg: 6 },
      [LOAD('f80'), ['x87', state]],
      ['memory:262,8'],
    )
  }
  const environment28: Step[] = [
    ['memory', 0x100, 108, 'bits'],
    ['and', 0x100, 2, 'f3f', '7f'],
    ['and', 0x104, 2, '7f3f', '0'],
  ]
  const environment14: Step[] = [
    ['memory', 0x100, 94, 'bits'],
    ['and', 0x100, 2, 'f3f', '7f'],
    ['and', 0x102, 2, '7f3f', '0'],
  ]
  f.at(f.place({ ...base }), 'FLDENV28 %', { op: [0xd9], reg: 4 }, [LOAD('f80'), ...environment28])
  f.at(f.place({ ...base }), 'FLDENV14 %', { prefix: [0x66], op: [0xd9], reg: 4 }, [LOAD('f80'), ...environment14])
  f.at(f.place({ ...base }), 'FRSTOR108 %', { op: [0xdd], reg: 4 }, environment28)
  f.at(f.place({ ...base }), 'FRSTOR94 %', { prefix: [0x66], op: [0xdd], reg: 4 }, environment14)
  for (const [name, op, reg, size] of [
    ['FLD m80', 0xdb, 5, 10],
    ['FSTP m64', 0xdd, 3, 8],
    ['FBSTP', 0xdf, 6, 10],
    ['FNSTENV', 0xd9, 6, 28],
    ['FADD m32', 0xd8, 0, 4],
  ] as const)
    for (const fault of ['edge', 'unmapped', 'read-only', 'non-canonical'] as const)
      f.at(
        faulty(fault, size),
        `${name} %`,
        { op: [op], reg },
        [LOAD('f80'), ['x87', 'full']],
        name === 'FNSTENV' ? ['memory:0,1024', 'conditions4'] : C,
      )
  return f.forms
}

/** FXSAVE, FXRSTOR and MXCSR. */
export function state(): Form[] {
  const f = new Family('state')
  const base = { offset: 0x100, align: 256 }
  // FOP, FIP, FDP, MXCSR_MASK: not compared.
  const image = ['memory:262,18', 'memory:284,4']
  for (const w of [false, true]) {
    const s = w ? '64' : ''
    for (const state of ['some', 'word', 'trap'] as const)
      f.at(
        f.place({ ...base }),
        `FXSAVE${s} %, ${state}`,
        { w, op: [0x0f, 0xae], reg: 0 },
        [
          ['st', -1, 'f80'],
          ['x87', state],
          ['mxcsr', 'trap'],
        ],
        image,
      )
    const fields: Step[] = [
      ['memory', 0x100, 416, 'bits'],
      ['and', 0x100, 2, 'f3f', '7f'],
      ['and', 0x102, 2, '7f3f', '0'],
      ['and', 0x105, 1, '0', '0'],
      ['and', 0x118, 4, 'ffff', '0'],
    ]
    for (let k = 0; k < 3; k++) f.at(f.place({ ...base }), `FXRSTOR${s} %`, { w, op: [0x0f, 0xae], reg: 1 }, fields)
    f.at(f.place({ ...base }), `FXRSTOR${s} % reserved MXCSR`, { w, op: [0x0f, 0xae], reg: 1 }, [
      ...fields,
      ['and', 0x118, 4, 'ffff', '40000'],
    ])
    for (const fault of ['misaligned', 'read-only', 'unmapped', 'non-canonical'] as const) {
      // A store that faults may have stored a part; what is in the window is compared, what lies elsewhere is not seen.
      f.at(
        faulty(fault),
        `FXSAVE${s} %`,
        { w, op: [0x0f, 0xae], reg: 0 },
        [],
        fault === 'misaligned' ? ['memory:0,1024'] : [],
      )
      if (fault !== 'read-only')
        f.at(
          faulty(fault),
          `FXRSTOR${s} %`,
          { w, op: [0x0f, 0xae], reg: 1 },
          fault === 'misaligned' ? [['address', hex(WINDOW_BASE.near + 0x1e1n), 1, 15, RBX, -1, 1, 0, 0, false]] : [],
        )
    }
  }
  for (let k = 0; k < 3; k++) {
    f.at(f.place({ ...base }), `LDMXCSR %`, { op: [0x0f, 0xae], reg: 2 }, [
      ['mxcsr', 'trap'],
      ['and', 0x100, 4, 'ffff', '0'],
    ])
    f.at(f.place({ size: 4 }), `STMXCSR %`, { op: [0x0f, 0xae], reg: 3 }, [['mxcsr', 'trap']])
  }
  for (const bit of [16, 18, 19, 31])
    f.at(f.place({ ...base }), `LDMXCSR % reserved bit ${bit}`, { op: [0x0f, 0xae], reg: 2 }, [
      ['and', 0x100, 4, 'ffff', hex(1n << BigInt(bit))],
    ])
  f.at(faulty('unmapped'), 'LDMXCSR %', { op: [0x0f, 0xae], reg: 2 })
  f.at(faulty('read-only'), 'STMXCSR %', { op: [0x0f, 0xae], reg: 3 })
  f.raw(
    'EMMS',
    [0x0f, 0x77],
    [
      ['st', -1, 'f80'],
      ['x87', 'some'],
    ],
  )
  return f.forms
}
