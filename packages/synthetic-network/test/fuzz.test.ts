// The fuzzer's corpus, and some random inputs more. `npm run fuzz` runs 5 million steps.

import { fuzz } from '@partita/testkit/fuzz'
import { readCorpus } from '@partita/testkit/fuzz/node'
import { describe, expect, it } from 'vitest'
import { OID, RNDIS_STATUS } from '../src/protocol.ts'
import { everyOid } from './fuzz/every-oid.ts'
import { runInput } from './fuzz/harness.ts'
import { target } from './fuzz/target.ts'

const corpus = readCorpus(new URL('corpus/', import.meta.url))

describe('the corpus', () => {
  it('adds up, and reaches what it is there for', () => {
    const features = new Set<string>()
    for (const { name, input } of corpus) {
      const outcome = runInput(input)
      expect(outcome.steps, name).toBeGreaterThan(3)
      for (const feature of outcome.features) features.add(feature)
    }
    // Set-up, answers of OIDs, frames both ways, parts of packets, saving.
    for (const feature of [
      'answer 2 1',
      'answer 102 1',
      'answer 105 1',
      'answer 133 1',
      'answer 108 1',
      'answer 108 5',
      'message 2147483652 0',
      'message 2147483653 0',
      'message 1 ',
      'several ranges',
      'migrated',
      'resume',
    ])
      expect(features).toContain(feature)
  })
})

it('asks for every OID that has a name and sets it, and each gets an answer', () => {
  const { features } = runInput(everyOid())
  const settled = [...features].filter((feature) => feature.endsWith(' 0'))
  for (const name of Object.keys(OID)) {
    expect(features).toContainEqual(expect.stringMatching(`^query ${name} \\d+$`))
    expect(features).toContainEqual(expect.stringMatching(`^set ${name} \\d+$`))
  }
  // Each can be asked for or set, but for one.
  for (const name of Object.keys(OID).filter((other) => other !== 'PNP_CAPABILITIES'))
    expect(
      settled.some((feature) => feature === `query ${name} 0` || feature === `set ${name} 0`),
      name,
    ).toBe(true)
  expect(features).toContain(`query PNP_CAPABILITIES ${RNDIS_STATUS.NOT_SUPPORTED}`)
  for (const name of [
    'GEN_RNDIS_CONFIG_PARAMETER',
    'GEN_RECEIVE_SCALE_PARAMETERS',
    'TCP_OFFLOAD_PARAMETERS',
    'OFFLOAD_ENCAPSULATION',
  ])
    expect(settled).toContain(`set ${name} 0`)
})

it('random inputs, and mutations of the corpus', async () => {
  const { features } = await fuzz(target, { corpus: corpus.map(({ input }) => input), steps: 10_000, seed: 20_240 })
  expect(features.size).toBeGreaterThan(100)
})
