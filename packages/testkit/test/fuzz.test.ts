// The fuzzer: inputs, the loop, small failures, the corpus, and providers as targets.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addToCorpus, HeapGrowth, readCorpus, runFuzzer } from '../src/fuzz.node.ts'
import {
  chooseInputs,
  type FuzzError,
  FuzzInput,
  type FuzzTarget,
  fuzz,
  mutateInput,
  randomInput,
  shrinkInput,
  vspFuzzTarget,
} from '../src/fuzz.ts'
import { SeededRandom } from '../src/index.ts'
import { fuzzing } from '../src/vitest.ts'
import { exampleVspSubject, type VspBug } from './example-vsp.ts'

const bytes = (...values: number[]) => Uint8Array.from(values)

/** Fails for an input with 0x2a somewhere behind 0x07; reaches its different bytes. */
const target: FuzzTarget = {
  longest: 64,
  run(input) {
    const seven = input.indexOf(7)
    if (seven >= 0 && input.indexOf(0x2a, seven) > seven) throw new RangeError('found')
    return { steps: input.length, features: new Set([...input].map(String)), counts: { bytes: input.length } }
  },
}
const harmless: FuzzTarget = { ...target, run: (input) => ({ steps: input.length, features: [...input].map(String) }) }

describe('an input', () => {
  it('is decisions, out of as few bytes as are enough', () => {
    const input = new FuzzInput(bytes(1, 2, 3, 0x10, 0x20, 0x30, 0x40, 5, 6, 7))
    expect([input.below(1), input.u8(), input.u16(), input.u32()]).toEqual([0, 1, 0x302, 0x4030_2010])
    expect([input.below(4), input.below(1000), input.done]).toEqual([1, (6 | (7 << 8)) % 1000, true])
    expect([input.u32(), input.below(9), input.bytes(2), input.pick(['a', 'b'])]).toEqual([0, 0, bytes(0, 0), 'a'])
  })

  it('gives much noise out of two bytes', () => {
    const [one, same, other] = [bytes(1, 2), bytes(1, 2), bytes(1, 3)].map((b) => new FuzzInput(b).noise(500))
    expect(one).toEqual(same)
    expect(one).not.toEqual(other)
    expect(new Set(one).size).toBeGreaterThan(150)
  })

  it('is made out of nothing, and of others, within bounds', () => {
    const random = new SeededRandom(1)
    const likely = randomInput(random, 4000, [1, 2])
    expect(likely.filter((byte) => byte === 1 || byte === 2).length).toBeGreaterThan(1200)
    const lengths = Array.from({ length: 500 }, () => mutateInput(random, likely, [bytes(1)], 4010).length)
    expect(Math.max(...lengths)).toBeLessThanOrEqual(4010)
    expect(new Set(lengths).size).toBeGreaterThan(20)
    expect(mutateInput(random, bytes())).toEqual(bytes())
  })
})

describe('the loop', () => {
  it('does the same for the same seed, until its steps are done', async () => {
    const runs = await Promise.all([3, 3, 4].map((seed) => fuzz(harmless, { steps: 5000, seed })))
    expect(runs[0]).toEqual(runs[1])
    expect(runs[0]).not.toEqual(runs[2])
    expect(runs[0]?.steps).toBeGreaterThanOrEqual(5000)
    expect(runs[0]?.steps).toBeLessThan(5100)
  })

  it('begins with the corpus, keeps what is new, and adds up', async () => {
    const corpus = [bytes(1, 2), bytes(2), bytes(3)]
    const { inputs, steps, counts, kept, features } = await fuzz(target, { corpus, steps: 4 })
    expect({ inputs, steps, counts }).toEqual({ inputs: 3, steps: 4, counts: { bytes: 4 } })
    expect(kept.map(({ input }) => input)).toEqual([bytes(1, 2), bytes(3)])
    expect(features).toEqual(new Set(['1', '2', '3']))
    expect(chooseInputs([...kept, { input: bytes(9), features: new Set(['1']) }], 9)).toEqual([bytes(1, 2), bytes(3)])
    expect(chooseInputs(kept, 1)).toEqual([bytes(1, 2)])
  })

  it('names the input that fails; it becomes as small as it can be', async () => {
    const error = (await fuzz(target, { steps: 1e6, seed: 5 }).catch((failure) => failure)) as FuzzError
    expect(error).toMatchObject({
      code: 'ERR_FUZZ',
      message: expect.stringMatching(/^input \d+ of seed 5 fails: RangeError: found$/),
    })
    expect(() => target.run(error.input)).toThrow('found')
    expect(await shrinkInput(target, error.input)).toEqual(bytes(7, 0x2a))
    expect(await shrinkInput(target, error.input, 0)).toBe(error.input)
  })

  it('goes on with inputs that do nothing', async () => {
    const idle: FuzzTarget = { run: () => ({ steps: 0 }) }
    expect(await fuzz(idle, { steps: 50 })).toMatchObject({ inputs: 50, steps: 50 })
  })
})

describe('the program', () => {
  let corpus: string
  const lines: string[] = []
  const run = async (what: FuzzTarget, ...args: string[]) => {
    lines.length = 0
    const before = process.exitCode
    await runFuzzer(what, { corpus, args, log: (line) => lines.push(line) })
    const status = process.exitCode
    process.exitCode = before
    return status
  }
  beforeEach(() => {
    corpus = mkdtempSync(join(tmpdir(), 'corpus-'))
  })
  afterEach(() => rmSync(corpus, { recursive: true }))

  it('puts a failure into the corpus, small, with what it is', async () => {
    expect(await run(target, '--steps', '1000000', '--seed', '9')).toBe(1)
    const [file = ''] = readdirSync(corpus)
    expect(readFileSync(join(corpus, file), 'utf8')).toBe('# RangeError: found\n072a\n')
    expect(lines.join('\n')).toContain(`2 of its`)
    expect(lines.join('\n')).toContain(file)
    expect(readCorpus(corpus)).toEqual([{ name: file, input: bytes(7, 0x2a) }])
    // From now on it is the first that fails.
    expect(await run(target, '--steps', '10')).toBe(1)
    expect(lines[0]).toContain('input 1 of seed 1')
    expect(readdirSync(corpus)).toEqual([file])
  })

  it('grows a corpus that reaches what was reached', async () => {
    addToCorpus(corpus, 'by-hand', bytes(200, 201), 'two')
    addToCorpus(corpus, 'reached-99', bytes(1))
    expect(await run(harmless, '--steps', '3000', '--grow')).toBeUndefined()
    expect(lines[0]).toMatch(
      /^seed 1: 30\d\d steps in \d+ inputs, \d+ features, \d+\.\d s, heap \d+ MiB, grown by -?\d+ MiB$/,
    )
    const names = readCorpus(corpus).map(({ name }) => name)
    expect(names[0]).toBe('by-hand.hex')
    expect(names).toContain('reached-01.hex')
    expect(names).not.toContain('reached-99.hex')
    const again = await fuzz(harmless, { corpus: readCorpus(corpus).map(({ input }) => input), steps: 0 })
    expect(lines[0]).toContain(` ${again.features.size} features`)
  })

  it('leaves the corpus of a target alone that does not tell what it reaches', async () => {
    addToCorpus(corpus, 'reached-01', bytes(1))
    expect(await run({ run: () => ({ steps: 1 }) }, '--steps', '20', '--grow')).toBeUndefined()
    expect(lines).toEqual([
      expect.stringMatching(/^seed 1: 20 steps in 20 inputs, \d+\.\d s/),
      expect.stringContaining('stays as it is'),
    ])
    expect(readdirSync(corpus)).toEqual(['reached-01.hex'])
  })

  it('reads files with comments, none where there is no directory, and refuses what is no hex', () => {
    writeFileSync(join(corpus, 'a.hex'), '01 02 # one two\n\n0A\n')
    writeFileSync(join(corpus, 'notes.txt'), 'nothing')
    expect(readCorpus(corpus)).toEqual([{ name: 'a.hex', input: bytes(1, 2, 10) }])
    expect(readCorpus(join(corpus, 'none'))).toEqual([])
    writeFileSync(join(corpus, 'b.hex'), '0')
    expect(() => readCorpus(corpus)).toThrow(expect.objectContaining({ code: 'ERR_FUZZ_CORPUS' }))
  })

  it('fails when the process keeps something of each input', async () => {
    const kept: Uint8Array[] = []
    const leaking: FuzzTarget = {
      run: (input) => {
        kept.push(new Uint8Array(4096).fill(input.length))
        return { steps: 1 }
      },
    }
    const whole = { corpus, args: ['--steps', '4000'], log: (line: string) => lines.push(line) }
    const before = process.exitCode
    try {
      lines.length = 0
      await runFuzzer(leaking, { ...whole, growth: 4 * 2 ** 20 })
      expect(process.exitCode).toBe(1)
      expect(lines).toEqual([expect.stringMatching(/^the process keeps \d+\.\d MiB more/)])
      // That is where it ends: 3,500 inputs after it had warmed up would be more than 13 MiB.
      expect(kept.length).toBeLessThan(3000)

      process.exitCode = before
      lines.length = 0
      kept.length = 0
      await runFuzzer(leaking, { ...whole, growth: 64 * 2 ** 20 })
      expect(process.exitCode).toBe(before)
      expect(lines).toEqual([expect.stringMatching(/, grown by 1\d MiB$/)])
    } finally {
      process.exitCode = before
    }
  })

  it('refuses numbers that are none', async () => {
    await expect(run(harmless, '--steps', 'many')).rejects.toMatchObject({ code: 'ERR_USAGE' })
  })
})

describe('growth', () => {
  it('is what is kept after garbage was collected, since the first sample', () => {
    const growth = new HeapGrowth({ bound: 2 * 2 ** 20 })
    expect(growth.grown).toBe(0)
    growth.sample()
    for (let garbage = 0; garbage < 8; garbage++) new Uint8Array(2 ** 20).fill(garbage)
    growth.sample()
    expect(Math.abs(growth.grown)).toBeLessThan(2 ** 20)
    const kept = Array.from({ length: 4 }, (_, index) => new Uint8Array(2 ** 20).fill(index))
    expect(() => growth.sample()).toThrow(expect.objectContaining({ code: 'ERR_FUZZ_GROWTH' }))
    expect(growth.grown).toBeGreaterThan(3 * 2 ** 20)
    expect(kept).toHaveLength(4)
  })

  it('is compared with its bound, and may be less than nothing', () => {
    const sizes = [1000, 1100, 900, 1101]
    const growth = new HeapGrowth({ bound: 100, measure: () => sizes.shift() as number })
    growth.sample()
    growth.sample()
    expect(growth.grown).toBe(100)
    growth.sample()
    expect(growth.grown).toBe(-100)
    expect(() => growth.sample()).toThrow(expect.objectContaining({ data: { grown: 101, bound: 100 } }))
  })
})

describe('a provider', () => {
  it('that does right survives, and reaches something', async () => {
    const { features, counts, steps } = await fuzz(vspFuzzTarget(exampleVspSubject()), { steps: 3000 })
    expect(steps).toBeGreaterThanOrEqual(3000)
    expect(features.size).toBeGreaterThan(10)
    expect(features).toContain('migrated')
    expect(counts['packets']).toBeGreaterThan(300)
  })

  it.each([
    'throws on short packets',
    'throws on requests out of order',
    'completes what asked for nothing',
    'halves transaction ids',
    'stores one byte too many',
    'keeps its phase over a close',
    'leaves a timer',
  ] as const satisfies readonly VspBug[])('that %s is found', async (bug) => {
    const subject = exampleVspSubject(bug)
    await expect(fuzz(vspFuzzTarget(subject), { steps: 20_000 })).rejects.toMatchObject({ code: 'ERR_FUZZ' })
  })
})

fuzzing({
  name: 'the example provider',
  target: vspFuzzTarget(exampleVspSubject()),
  corpus: [{ name: 'one that does little', input: bytes(0, 4, 1) }],
  steps: 200,
})
