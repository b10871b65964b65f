import { describe, expect, it } from 'vitest'
import { makeProgram, shrink } from '../compare.ts'
import { disassemble } from '../listing.ts'
import { generate } from './generate.ts'
import { CODE, CODE_SIZE, EXIT } from './layout.ts'
import { code, type Piece, type Program, place, without } from './unit.ts'

const jump = (unit: number): Piece => ({ kind: 'branch', op: [0xe9], short: 0xeb, target: { unit } })

function programOf(units: readonly (readonly Piece[])[]): Program {
  return {
    seed: 0,
    units: units.map((pieces, n) => ({ name: `unit${n}`, pieces })),
    start: 16,
    registers: Array.from({ length: 16 }, () => 0n),
    flags: 2,
    mxcsr: 0x1f80,
    contents: 0,
  }
}

describe('placing units', () => {
  it('makes branches short where they reach, and long where they do not', () => {
    const placed = place(
      programOf([
        [jump(2)],
        [code(...new Array(60).fill(0x90))],
        [jump(0)],
        [code(...new Array(200).fill(0x90))],
        [jump(0)],
      ]),
    )
    expect(placed?.offsets).toEqual([16, 18, 78, 80, 280, 285])
    expect([...(placed?.bytes.subarray(16, 18) ?? [])]).toEqual([0xeb, 60])
    expect([...(placed?.bytes.subarray(78, 80) ?? [])]).toEqual([0xeb, 16 - 80 + 256])
    expect([...(placed?.bytes.subarray(280, 285) ?? [])]).toEqual([0xe9, 0xf3, 0xfe, 0xff, 0xff])
  })

  it('resolves addresses and operands relative to RIP', () => {
    const placed = place(
      programOf([
        [{ kind: 'relative', instruction: { w: true, op: [0x8d], reg: 0 }, target: { unit: 1, offset: 3 } }],
        [{ kind: 'address', target: { unit: 9 } }],
      ]),
    )
    expect([...(placed?.bytes.subarray(16, 23) ?? [])]).toEqual([0x48, 0x8d, 0x05, 3, 0, 0, 0])
    expect(new DataView((placed as { bytes: Uint8Array }).bytes.buffer).getBigUint64(23, true)).toBe(EXIT)
  })

  it('refuses what is longer than its room', () => {
    expect(place(programOf([[code(...new Array(CODE_SIZE).fill(0x90))]]))).toBeUndefined()
  })

  it('leads jumps to units that were taken out to what follows', () => {
    const smaller = without(programOf([[jump(2)], [code(0x90)], [code(0x91)], [jump(3)], [jump(0)]]), 1, 3)
    expect(smaller.units.map(({ pieces }) => pieces)).toEqual([[jump(1)], [jump(1)], [jump(0)]])
  })
})

describe('random programs', () => {
  const programs = Array.from({ length: 300 }, (_, seed) => makeProgram(seed, { defined: seed % 2 === 0 }))

  it('are the same for the same seed', () => {
    expect(generate(77, { defined: false })).toEqual(generate(77, { defined: false }))
    expect(generate(78, { defined: false })).not.toEqual(generate(77, { defined: false }))
  })

  it('have units of all kinds', () => {
    const names = new Set(programs.flatMap(({ program }) => program.units.map(({ name }) => name)))
    const expected = [
      'arithmetic',
      'divide',
      'strings',
      'faults',
      'x87',
      'mmx',
      'sseConvert',
      'loop',
      'call',
      'indirect',
      'patch',
      'patchable',
    ]
    expect([...names]).toEqual(expect.arrayContaining(expected))
  })

  it('consist of instructions that the processor knows, mostly', () => {
    const lines = programs.flatMap(({ placed }) => {
      const [from, to] = [placed.offsets[0] as number, placed.offsets.at(-1) as number]
      return disassemble(placed.bytes.subarray(from, to), CODE + BigInt(from))
    })
    const unknown = lines.filter((line) => line.endsWith('(undefined)'))
    expect(unknown.length / lines.length).toBeLessThan(0.02)
    expect(new Set(lines.map((line) => line.slice(39))).size).toBeGreaterThan(700)
  })

  it('are made as small as still fails', () => {
    const { program } = programs.find(
      ({ program: { units } }) => units.filter(({ name }) => name === 'x87').length > 2,
    ) as (typeof programs)[number]
    const small = shrink(program, ({ units }) => units.filter(({ name }) => name === 'x87').length >= 2)
    expect(small.units.map(({ name }) => name)).toEqual(['x87', 'x87'])
  })
})
