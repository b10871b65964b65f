/**
 * A short run of what `npm run lockstep -- programs 100000` does: the interpreter and the translator, which translates everything before it is executed the first time, must
 * agree in every register and every byte at every exception of random programs.
 */
import { describe, expect, test } from 'vitest'
import { compare, makeProgram } from './compare.ts'
import { modeOf } from './modes.ts'
import type { PlacedProgram, Program } from './program/unit.ts'
import { runPrograms } from './programs.ts'
import { UserMachine } from './user-machine.ts'

const COUNT = Number(process.env['PARTITA_LOCKSTEP_PROGRAMS'] ?? 120)

describe('interpreter and translator', () => {
  test('in supervisor mode', { timeout: 120_000 }, () => {
    const { programs, exceptions, failures } = runPrograms({
      first: 'off',
      second: '1',
      seed: 1,
      count: COUNT,
      system: true,
    })
    expect(failures.map(({ report }) => report).join('\n')).toBe('')
    expect(exceptions).toBeGreaterThan(programs)
  })

  test.each(['1', 'step', 'on'])('off and %s', { timeout: 120_000 }, (second) => {
    const { programs, exceptions, failures } = runPrograms({
      first: 'off',
      second,
      seed: 1,
      count: second === '1' ? COUNT : COUNT / 5,
    })
    expect(failures.map(({ report }) => report).join('\n')).toBe('')
    expect(exceptions).toBeGreaterThan(programs)
  })
})

describe('a comparison', () => {
  class Wrong extends UserMachine {
    readonly #spoil: (machine: UserMachine) => void
    constructor(spoil: (machine: UserMachine) => void) {
      super({ mode: 'off' })
      this.#spoil = spoil
    }
    override load(program: Program, placed: PlacedProgram, contents: Uint8Array): void {
      super.load(program, placed, contents)
      this.#spoil(this)
    }
  }
  const { program, placed } = makeProgram(4, { defined: true })
  const right = new UserMachine(modeOf('off'))
  const differenceOf = (spoil: (machine: UserMachine) => void): readonly string[] =>
    compare(program, placed, right, new Wrong(spoil)).difference ?? []

  test('finds a register, a lane, and a byte of memory', () => {
    expect(differenceOf(() => {})).toEqual([])
    expect(differenceOf(({ vp }) => vp.setRegister('r15', 1n))).toContainEqual(
      expect.stringMatching(/^R15: [0-9a-f]+, 1$/),
    )
    const lane = differenceOf(({ vp }) => vp.setXmm(15, vp.getXmm(15).fill(0x5a, 15)))
    expect(lane).toContainEqual(expect.stringContaining('XMM15 high'))
    const byte = differenceOf((machine) => machine.pages[7]?.fill(1, 4095))
    expect(byte).toContainEqual(expect.stringMatching(/^memory 10000ff8: /))
  })
})
