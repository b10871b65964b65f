// The suite for providers: one that does everything right passes, and each check finds those that do not.

import { describe, expect, it, vi } from 'vitest'
import { type ComplianceError, vspChecks } from '../src/index.ts'
import { outcome } from './compliance-outcome.ts'
import { exampleVspSubject, type VspBug } from './example-vsp.ts'

/** The check that is there for a bug. Others may find it too. */
const FOUND_BY: Readonly<Record<VspBug, string>> = {
  'another contract': 'is a plug-in of this contract, described in one line',
  'not in the manifest': 'is listed in the manifest of its package as it describes itself',
  'takes any options': 'takes its options and refuses others',
  'asks for an undeclared service': 'asks only for services that it has declared, and starts with every set of options',
  'new GUIDs at each start': 'offers the same devices at each start, and takes them back when it goes',
  'leaves its offer': 'offers the same devices at each start, and takes them back when it goes',
  'never ends its close': 'opens, closes and opens its channel again, as often as a guest likes',
  'doubles six wrongly': 'answers set-up and requests, each once and as it has to',
  'halves transaction ids': 'answers set-up and requests, each once and as it has to',
  'stores one byte too many': 'answers set-up and requests, each once and as it has to',
  'stores without a word': 'answers set-up and requests, each once and as it has to',
  'throws on small rings': 'refuses rings that are too small for it, or works with them',
  'answers on the channel that is open now':
    'begins anew when its channel is closed in the middle of anything and opened again',
  'keeps its phase over a close': 'begins anew for a kernel that was started by the one before',
  'leaves a timer': 'can be taken away in the middle of anything, and then touches nothing any more',
  'cannot be disposed of twice': 'gives everything back when it is disposed of, twice, and can be started again',
  'does not reset': 'is as new after a reset',
  'saves no phase': 'is saved in every state of its protocol, and goes on elsewhere',
  'saves what is no plain data': 'is saved while its channel is closed, and opens elsewhere',
  'saves no pending requests': 'answers what is on its way when it is saved, once, before or after',
  'works while it stands': 'touches nothing while the partition stands, and takes what came when it goes on',
  'has another state after a restore': 'has the same state after it was restored',
  'takes states of any version':
    'refuses a state that is not its own with ERR_STATE_INVALID, unchanged, and survives any other',
  'takes half of a wrong state':
    'refuses a state that is not its own with ERR_STATE_INVALID, unchanged, and survives any other',
  'throws on short packets': 'survives packets that make no sense, and answers none of them twice',
  'completes what asked for nothing': 'survives packets that make no sense, and answers none of them twice',
  'throws on requests out of order':
    'survives set-up and requests in any order, and then serves a guest that does it right',
  'loses answers when the ring is full': 'loses nothing and repeats nothing when the ring to the guest is full',
  'queues without bound': 'takes no more than it can hold from a guest that never reads',
  'reads a length twice': 'reads what a guest changes meanwhile once, and is not led astray',
  'keeps a history': 'lets no request leak: after many of them it is as it was before',
  'forgets a request now and then': 'serves any order of requests, pauses, saves and openings',
}

const names = vspChecks(exampleVspSubject()).map(({ name }) => name)

describe('the suite for providers', () => {
  it.each(names)('passes one that does right: it %s', async (name) => {
    expect(await outcome(vspChecks(exampleVspSubject()), name)).toBeUndefined()
  })

  it.each(Object.entries(FOUND_BY))('finds one that %s', async (bug, name) => {
    const error = await outcome(vspChecks(exampleVspSubject(bug as VspBug)), name)
    expect(error).toMatchObject({ code: 'ERR_COMPLIANCE', data: { check: name } })
  })

  it('has no check that finds nobody', () => {
    expect(new Set(Object.values(FOUND_BY))).toEqual(new Set(names))
  })

  it('repeats a failure from its seed', async () => {
    const name = 'serves any order of requests, pauses, saves and openings'
    const bug = 'forgets a request now and then'
    const [first, second] = [
      await outcome(vspChecks(exampleVspSubject(bug)), name),
      await outcome(vspChecks(exampleVspSubject(bug)), name),
    ]
    expect(first?.message).toBe(second?.message)
    const { seed, run } = (first as ComplianceError).data as { seed: number; run: number }
    expect(first?.message).toContain(`PARTITA_SEED=${seed}:${run}`)
    vi.stubEnv('PARTITA_SEED', `${seed}:${run}`)
    expect((await outcome(vspChecks(exampleVspSubject(bug)), name))?.message).toBe(first?.message)
    vi.stubEnv('PARTITA_SEED', `${seed + 1}`)
    expect((await outcome(vspChecks(exampleVspSubject(bug)), name))?.message).not.toBe(first?.message)
    vi.unstubAllEnvs()
  })
})
