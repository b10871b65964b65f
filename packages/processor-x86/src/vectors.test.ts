/**
 * Replays the instructions that were measured on real hardware (`vectors/sample.vectors.gz`, made by `tools/vectors`): one test a family.
 * `npm run vectors:full` does the same with more than 600,000 fresh vectors.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { replay, summary, VectorReader } from '../../../tools/vectors/src/index.ts'
import { SingleStepMachine } from './testing/single-step.ts'

const FILE: string = fileURLToPath(new URL('../vectors/sample.vectors.gz', import.meta.url))
const reader = new VectorReader(gunzipSync(readFileSync(FILE)))
const families: readonly string[] = [...new Set(reader.forms.map((form) => form.family))]

describe('instructions as real hardware executes them', () => {
  test('the sample covers at least 1,000 forms', () => {
    expect(reader.forms.length).toBeGreaterThanOrEqual(1000)
  })

  test.each(families)('%s', { timeout: 120_000 }, async (family) => {
    const machine = await SingleStepMachine.create()
    const report = replay(reader, machine, { wanted: (form) => form.family === family })
    expect(report.vectors).toBeGreaterThan(0)
    expect(report.wrong, summary(report)).toBe(0)
  })
})
