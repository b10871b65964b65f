/** Stack, jumps, calls and string instructions. */

import { Family, type Form, faulty, hex, RAX, RBP, RCX, RDI, RSI, RSP, shape, zeros } from '../form.ts'
import { CODE_START, UNMAPPED, WINDOW_BASE } from '../layout.ts'
import type { Step } from '../recipe.ts'
import { CONDITIONS } from './moves.ts'

const near = (offset: number): string => hex(WINDOW_BASE.near + BigInt(offset))
/** RSP anywhere in the middle of the window, also misaligned and across two pages. */
const STACK: Step = ['pointer', RSP, near(0x1f0), 1, 0x100]
const STACK_LOW: Step = ['pointer', RSP, near(0x300), 8, 8]
/** A place in the code page that holds INT3. */
const TARGET = hex(CODE_START - 0x400n)

export function stack(): Form[] {
  const f = new Family('stack')
  for (const r of [RAX, RCX, RSP, RBP, 8, 12, 15]) {
    f.add(`PUSH64 r${r}`, { op: [0x50], plus: r }, [STACK])
    f.add(`PUSH16 r${r}`, { prefix: [0x66], op: [0x50], plus: r }, [STACK])
    f.add(`POP64 r${r}`, { op: [0x58], plus: r }, [STACK])
    f.add(`POP16 r${r}`, { prefix: [0x66], op: [0x58], plus: r }, [STACK])
  }
  for (const k of [0, 1, 2, 3, 7, 8]) {
    f.at(shape(k), 'PUSH64 %', { op: [0xff], reg: 6 }, [STACK_LOW])
    f.at(shape(k), 'PUSH16 %', { prefix: [0x66], op: [0xff], reg: 6 }, [STACK_LOW])
    f.at(shape(k), 'POP64 %', { op: [0x8f], reg: 0 }, [STACK_LOW])
    f.at(shape(k), 'POP16 %', { prefix: [0x66], op: [0x8f], reg: 0 }, [STACK_LOW])
  }
  // The address of POP [rsp+d] is computed after RSP was incremented.
  f.raw('POP64 [rsp+16]', [0x8f, 0x44, 0x24, 0x10], [STACK])
  f.raw('PUSH64 [rsp+16]', [0xff, 0x74, 0x24, 0x10], [STACK])
  f.raw('POP16 [rsp-4]', [0x66, 0x8f, 0x44, 0x24, 0xfc], [STACK])
  f.add('PUSH64 imm8', { op: [0x6a], imm: zeros(1) }, [STACK])
  f.add('PUSH16 imm8', { prefix: [0x66], op: [0x6a], imm: zeros(1) }, [STACK])
  f.add('PUSH64 imm32', { op: [0x68], imm: zeros(4) }, [STACK])
  f.add('PUSH16 imm16', { prefix: [0x66], op: [0x68], imm: zeros(2) }, [STACK])
  f.add('PUSH64 rm: rcx', { op: [0xff], reg: 6, rm: RCX }, [STACK])
  f.add('POP64 rm: r9', { op: [0x8f], reg: 0, rm: 9 }, [STACK])
  f.raw('PUSHFQ', [0x9c], [STACK])
  f.raw('PUSHF16', [0x66, 0x9c], [STACK])
  f.raw('PUSHFQ DF', [0x9c], [STACK, ['direction']])
  const flags = (and: string): Step[] => [
    ['pointer', RSP, near(0x300), 1, 1],
    ['memory', 0x300, 8, 'bits'],
    ['and', 0x300, 8, and, '0'],
  ]
  f.raw('POPFQ', [0x9d], flags('cd5'))
  f.raw('POPFQ with system bits', [0x9d], flags('24fed5'))
  f.raw('POPFQ with TF', [0x9d], flags('fd5'))
  f.raw('POPF16', [0x66, 0x9d], flags('ffffffffffff7ed5'))
  for (const fault of ['edge', 'read-only', 'unmapped', 'stack'] as const) {
    const step: Step =
      fault === 'stack'
        ? ['pointer', RSP, hex(0x8000_0000_0100n), 8, 100]
        : fault === 'edge'
          ? ['pointer', RSP, hex(WINDOW_BASE.edge + 0x3f8n), 1, 24]
          : ['pointer', RSP, hex(fault === 'unmapped' ? UNMAPPED + 0x100n : WINDOW_BASE.near + 0xf280n), 8, 8]
    const window = fault === 'edge' ? 'edge' : 'near'
    f.raw(`PUSH64 rcx on ${fault} stack`, [0x51], [step], [], window)
    f.raw(`PUSH16 rcx on ${fault} stack`, [0x66, 0x51], [step], [], window)
    f.raw(`POP64 rcx on ${fault} stack`, [0x59], [step], [], window)
    f.raw(`POP64 rsp on ${fault} stack`, [0x5c], [step], [], window)
    f.raw(`PUSHFQ on ${fault} stack`, [0x9c], [step], [], window)
    f.raw(`CALL on ${fault} stack`, [0xe8, 0x10, 1, 0, 0], [step], [], window)
    f.raw(
      `LEAVE on ${fault} stack`,
      [0xc9],
      [[...step.slice(0, 1), RBP, ...step.slice(2)] as unknown as Step],
      [],
      window,
    )
    if (fault !== 'read-only' && fault !== 'edge') f.raw(`RET on ${fault} stack`, [0xc3], [step], [], window)
    if (fault !== 'edge') f.raw(`ENTER 16,0 on ${fault} stack`, [0xc8, 0x10, 0, 0], [step], [], window)
  }
  f.at(faulty('unmapped'), 'PUSH64 %', { op: [0xff], reg: 6 }, [STACK_LOW])
  f.at(faulty('read-only'), 'POP64 %', { op: [0x8f], reg: 0 }, [STACK_LOW])
  f.raw('ENTER imm8,0', [0xc8, 0, 0, 0], [STACK, ['byte', 1, 0, 0x7f]])
  f.raw('ENTER imm8,1', [0xc8, 0, 0, 1], [STACK_LOW, ['byte', 1, 0, 0x7f]])
  f.raw(
    'ENTER imm8,levels',
    [0xc8, 0, 0, 0],
    [STACK_LOW, ['pointer', RBP, near(0x3c0), 8, 8], ['byte', 1, 0, 0x7f], ['byte', 3, 2, 0x5f]],
  )
  f.raw('ENTER16 imm8,0', [0x66, 0xc8, 0, 0, 0], [STACK, ['byte', 2, 0, 0x7f]])
  f.raw(
    'ENTER16 imm8,levels',
    [0x66, 0xc8, 0, 0, 0],
    [STACK_LOW, ['pointer', RBP, near(0x3c0), 8, 8], ['byte', 2, 0, 0x7f], ['byte', 4, 2, 0x1f]],
  )
  f.raw('LEAVE', [0xc9], [['pointer', RBP, near(0x1f0), 1, 0x100]])
  f.raw('LEAVE16', [0x66, 0xc9], [['pointer', RBP, near(0x1f0), 1, 0x100]])
  return f.forms
}

export function jumps(): Form[] {
  const f = new Family('jumps')
  for (const [cc, name] of CONDITIONS.entries()) {
    f.raw(`J${name} rel8 forward`, [0x70 + cc, 0], [['byte', 1, 0, 0x7f]])
    f.raw(`J${name} rel8 backward`, [0x70 + cc, 0], [['byte', 1, 0x80, 0xf0]])
    f.raw(
      `J${name} rel32`,
      [0x0f, 0x80 + cc, 0, cc & 1 ? 0xfc : 3, cc & 1 ? 0xff : 0, cc & 1 ? 0xff : 0],
      [['byte', 2, 0, 0xff]],
    )
  }
  for (const [op, name] of [
    [0xe0, 'LOOPNE'],
    [0xe1, 'LOOPE'],
    [0xe2, 'LOOP'],
    [0xe3, 'JRCXZ'],
  ] as const) {
    f.raw(name, [op, 0x40])
    f.raw(
      `${name} small count`,
      [op, 0x80],
      [
        ['gpr', RCX, 8, 'zero'],
        ['range', RCX, 1, 0, 2],
      ],
    )
    f.raw(`${name} a32`, [0x67, op, 0x40], [['range', RCX, 4, 0, 2]])
  }
  f.raw('JMP rel8', [0xeb, 0], [['byte', 1, 0, 0x7f]])
  f.raw('JMP rel8 backward', [0xeb, 0], [['byte', 1, 0x80, 0xf0]])
  f.raw('JMP rel32', [0xe9, 0, 0xfc, 0xff, 0xff], [['byte', 1, 0, 0xff]])
  f.raw('CALL rel32', [0xe8, 0, 2, 0, 0], [['byte', 1, 0, 0xff], STACK])
  f.raw('CALL rel32 backward', [0xe8, 0, 0xfc, 0xff, 0xff], [['byte', 1, 0, 0xff], STACK])
  for (const r of [RAX, RBP, 11, 13]) {
    f.add(`JMP r${r}`, { op: [0xff], reg: 4, rm: r }, [['pointer', r, TARGET, 1, 0x300]])
    f.add(`CALL r${r}`, { op: [0xff], reg: 2, rm: r }, [['pointer', r, TARGET, 1, 0x300], STACK])
  }
  for (const k of [0, 1, 2, 3, 7]) {
    const steps: Step[] = [['quad', 0x100, TARGET, 0x300], STACK_LOW]
    f.at(shape(k, { offset: 0x100, align: 256 }), 'JMP %', { op: [0xff], reg: 4 }, steps)
    f.at(shape(k, { offset: 0x100, align: 256 }), 'CALL %', { op: [0xff], reg: 2 }, steps)
  }
  const back: Step[] = [
    ['pointer', RSP, near(0x1fc), 1, 1],
    ['quad', 0x1fc, TARGET, 0x300],
  ]
  f.raw('RET', [0xc3], back)
  f.raw('RET imm16', [0xc2, 0, 0], [...back, ['immediate', 1, 2, 'int']])
  f.raw('REP RET', [0xf3, 0xc3], back)
  // Branches to addresses that are not canonical; where the fault is reported is compared too.
  f.raw('JMP to non-canonical', [0xff, 0xe0], [['pointer', RAX, hex(0x8000_0000_0000n), 0x1001, 1000]])
  f.raw('CALL to non-canonical', [0xff, 0xd0], [['pointer', RAX, hex(0x8000_0000_0000n), 0x1001, 1000], STACK])
  f.raw(
    'RET to non-canonical',
    [0xc3],
    [
      ['pointer', RSP, near(0x300), 1, 1],
      ['quad', 0x300, hex(0x8000_0000_0000n), 1000],
    ],
  )
  f.at(faulty('unmapped'), 'JMP %', { op: [0xff], reg: 4 })
  f.at(faulty('unmapped'), 'CALL %', { op: [0xff], reg: 2 }, [STACK_LOW])
  // Instructions at the end of the page: within it, and cut off by it at each byte.
  f.raw('JMP rel8 backward at the end of a page', [0xeb, 0x80], [], [], 'near', 0x7fe)
  f.raw('JMP rel32 backward at the end of a page', [0xe9, 0, 0xfe, 0xff, 0xff], [], [], 'near', 0x7fb)
  f.raw('CALL backward at the end of a page', [0xe8, 0, 0xfe, 0xff, 0xff], [STACK], [], 'near', 0x7fb)
  for (let cut = 1; cut < 10; cut++)
    f.raw(`MOV64 r,imm64 cut off after ${cut} bytes`, [0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8], [], [], 'near', 0x800 - cut)
  for (let cut = 1; cut < 3; cut++)
    f.raw(`ADD64 rm,r cut off after ${cut} bytes`, [0x48, 0x01, 0xca], [], [], 'near', 0x800 - cut)
  f.raw('prefixes up to the end of a page', [0x66, 0x66, 0x66, 0x66, 0x66, 0x90], [], [], 'near', 0x7fb)
  return f.forms
}

export function strings(): Form[] {
  const f = new Family('strings')
  const sizes = [
    { size: 1, code: [], bit: 0 },
    { size: 2, code: [0x66], bit: 1 },
    { size: 4, code: [], bit: 1 },
    { size: 8, code: [0x48], bit: 1 },
  ]
  const source: Step = ['pointer', RSI, near(0x100), 1, 16]
  const target: Step = ['pointer', RDI, near(0x2c0), 1, 16]
  const overlap: Step[] = [
    ['pointer', RSI, near(0x1f0), 1, 24],
    ['pointer', RDI, near(0x1f0), 1, 24],
  ]
  const count: Step[] = [
    ['gpr', RCX, 8, 'zero'],
    ['range', RCX, 1, 0, 18],
  ]
  const narrow = (register: number, offset: number): Step => [
    'address',
    hex(WINDOW_BASE.low + BigInt(offset)),
    1,
    16,
    register,
    -1,
    1,
    0,
    0,
    true,
  ]
  // Memory that is equal for a while.
  const same: Step[] = [
    ['memory', 0, 1024, 'zero'],
    ['memory', 0x120, 8, 'int'],
    ['memory', 0x2f0, 8, 'int'],
    ['memory', 0xd0, 8, 'int'],
  ]
  for (const { size, code, bit } of sizes) {
    const add = (
      name: string,
      prefix: number[],
      op: number,
      steps: Step[],
      window: 'near' | 'low' | 'edge' = 'near',
    ): void => {
      const at66 = code[0] === 0x66 ? [0x66] : []
      const rex = code[0] === 0x48 ? [0x48] : []
      f.raw(name, [...prefix, ...at66, ...rex, op + bit], [...steps, ['direction']], [], window)
    }
    const n = size * 8
    for (const [p, rep] of [
      [[], ''],
      [[0xf3], 'REP '],
      [[0xf2], 'REPNE '],
    ] as const) {
      const prefix = [...p]
      const c = rep ? count : []
      add(`${rep}MOVS${n}`, prefix, 0xa4, [source, target, ...c])
      add(`${rep}MOVS${n} overlapping`, prefix, 0xa4, [...overlap, ...c])
      add(`${rep}STOS${n}`, prefix, 0xaa, [target, ...c])
      add(`${rep}LODS${n}`, prefix, 0xac, [source, ...c])
      add(`${rep}SCAS${n}`, prefix, 0xae, [target, ...c])
      add(`${rep}SCAS${n} equal`, prefix, 0xae, [target, ...c, ...same, ['gpr', RAX, 8, 'zero']])
      add(`${rep}CMPS${n}`, prefix, 0xa6, [source, target, ...c])
      add(`${rep}CMPS${n} equal`, prefix, 0xa6, [source, target, ...c, ...same])
    }
    const few: Step = ['range', RCX, 4, 0, 12]
    for (const [name, op] of [
      ['MOVS', 0xa4],
      ['STOS', 0xaa],
      ['LODS', 0xac],
      ['SCAS', 0xae],
      ['CMPS', 0xa6],
    ] as const) {
      add(`REP ${name}${n} a32`, [0x67, 0xf3], op, [narrow(RSI, 0x100), narrow(RDI, 0x2c0), few], 'low')
      add(`${name}${n} a32`, [0x67], op, [narrow(RSI, 0x100), narrow(RDI, 0x2c0)], 'low')
    }
    add(`REP MOVS${n} gs`, [0x65, 0xf3], 0xa4, [
      ['pointer', RSI, hex(WINDOW_BASE.near + 0x100n - 0x7000_0000_1230n), 1, 16],
      target,
      ...count,
    ])
    add(`LODS${n} fs`, [0x64], 0xac, [['pointer', RSI, hex(WINDOW_BASE.near + 0x100n - 0x1111_2222_3330n), 1, 16]])
    // Faults in the midst: what was done stays done.
    const edge = (r: number): Step => ['pointer', r, hex(WINDOW_BASE.edge + 0x360n), 1, 0x98]
    const inside = (r: number): Step => ['pointer', r, hex(WINDOW_BASE.edge + 0x180n), 1, 16]
    add(`REP MOVS${n} to the edge`, [0xf3], 0xa4, [inside(RSI), edge(RDI), ...count], 'edge')
    add(`REP MOVS${n} from the edge`, [0xf3], 0xa4, [edge(RSI), inside(RDI), ...count], 'edge')
    add(`REP STOS${n} to the edge`, [0xf3], 0xaa, [edge(RDI), ...count], 'edge')
    add(`REP LODS${n} from the edge`, [0xf3], 0xac, [edge(RSI), ...count], 'edge')
    add(`REPNE SCAS${n} to the edge`, [0xf2], 0xae, [edge(RDI), ...count], 'edge')
    add(
      `REPE CMPS${n} to the edge`,
      [0xf3],
      0xa6,
      [inside(RSI), edge(RDI), ...count, ['memory', 0, 1024, 'zero']],
      'edge',
    )
    add(`REP MOVS${n} to read-only memory`, [0xf3], 0xa4, [
      source,
      ['pointer', RDI, hex(CODE_START + 0x1_f880n), 1, 64],
      ...count,
    ])
    add(`REP STOS${n} to unmapped memory`, [0xf3], 0xaa, [['pointer', RDI, hex(UNMAPPED), 1, 64], ...count])
    add(`MOVS${n} from non-canonical`, [], 0xa4, [['pointer', RSI, hex(0x8000_0000_0000n), 1, 64], target])
    add(`REP MOVS${n} of nothing`, [0xf3], 0xa4, [['gpr', RCX, 8, 'zero']])
    add(`REP STOS${n} a32 of nothing`, [0x67, 0xf3], 0xaa, [['range', RCX, 4, 0, 0]])
  }
  return f.forms
}
