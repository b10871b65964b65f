// The suite for clients: one that does everything right passes, and each check finds those that do not.

import { describe, expect, it } from 'vitest'
import { vscChecks } from '../src/index.ts'
import { outcome } from './compliance-outcome.ts'
import { exampleVscSubject, type VscBug } from './example-vsc.ts'

/** The check that is there for a bug. Others may find it too. */
const FOUND_BY: Readonly<Record<VscBug, string>> = {
  'is for another interface': 'is a driver with a name, for the interface that its host offers',
  'gives a wrong result': 'starts, and does what programs ask of it',
  'keeps packets': 'starts, and does what programs ask of it',
  'does one thing at a time': 'works with many operations at a time',
  'does not wait': 'waits for a host that answers late',
  'takes answers in the order of asking': 'finds the operation of each answer when they come out of order',
  'throws on answers that come again': 'takes an answer once that comes twice',
  'looks at half of the transaction id': 'ignores completions of what it has not asked for',
  'throws on packets': 'survives packets that nobody asked for',
  'throws on short answers': 'survives wrong answers: operations end, callbacks do not throw, and it starts anew',
  'drops short answers': 'survives wrong answers: operations end, callbacks do not throw, and it starts anew',
  'drops what finds no room': 'puts up with a ring that is full, and loses nothing',
  'fails by a blunder': 'fails what waits when its device is taken away, and what comes after',
  'lets operations hang when it is stopped': 'fails what waits when it is stopped, and what comes after',
  'works on when it is stopped': 'fails what waits when it is stopped, and what comes after',
  'lets its start hang': 'gives up its start when the device goes meanwhile, or the host answers wrongly',
  'starts without a channel': 'says so when the host refuses to open its channel',
  'allocates when it is gone': 'gives back what it took when it is stopped, and can be started again',
  'leaks a buffer an operation': 'lets no memory leak while it works',
  'does not wake up': 'sleeps and wakes up, in the middle of things, and goes on',
}

const names = vscChecks(exampleVscSubject()).map(({ name }) => name)

describe('the suite for clients', () => {
  it.each(names)('passes one that does right: it %s', async (name) => {
    expect(await outcome(vscChecks(exampleVscSubject()), name)).toBeUndefined()
  })

  it.each(Object.entries(FOUND_BY))('finds one that %s', async (bug, name) => {
    const error = await outcome(vscChecks(exampleVscSubject(bug as VscBug)), name)
    expect(error).toMatchObject({ code: 'ERR_COMPLIANCE', data: { check: name } })
  })

  it('has no check that finds nobody', () => {
    expect(new Set(Object.values(FOUND_BY))).toEqual(new Set(names))
  })
})
