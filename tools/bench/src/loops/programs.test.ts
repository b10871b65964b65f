import { describe, expect, it } from 'vitest'
import { PartitaRunner } from './partita-runner.ts'
import { LOOP_PROGRAMS } from './programs.ts'

describe('the loops', () => {
  it('compute on Partita what JavaScript computes', async () => {
    await using partita = await PartitaRunner.create()
    const results = await partita.run(LOOP_PROGRAMS)
    expect(results.map(({ name, checksum }) => ({ name, checksum }))).toEqual(
      LOOP_PROGRAMS.map(({ name, checksum }) => ({ name, checksum: checksum() })),
    )
  })
})
