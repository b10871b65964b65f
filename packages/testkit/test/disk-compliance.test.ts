// The suite for disks: one that does everything right passes, and each check finds those that do not.

import { describe, expect, it } from 'vitest'
import { diskChecks } from '../src/index.ts'
import { outcome } from './compliance-outcome.ts'
import { type DiskBug, exampleDiskSubject } from './example-disk.ts'

/** The check that is there for a bug. Others may find it too. */
const FOUND_BY: Readonly<Record<DiskBug, string>> = {
  'has odd sectors': 'says what it is: sizes that are powers of two, and at least 64 sectors',
  'writes one byte less': 'has what was written, however transfers are cut, and nothing else changed',
  'loses what is cut': 'has what was written, however transfers are cut, and nothing else changed',
  'mixes requests': 'serves requests at the same time that do not overlap',
  'writes late': 'lets go of segments when its promise settles',
  'reads late': 'lets go of segments when its promise settles',
  'zeros one sector too many': 'discards and zeros what it is told to, and no more',
  'discards by garbage': 'discards and zeros what it is told to, and no more',
  'throws at once': 'refuses what is outside of it, or no whole sectors, and leaves everything as it was',
  'wraps around': 'refuses what is outside of it, or no whole sectors, and leaves everything as it was',
  'writes before it looks': 'refuses what is outside of it, or no whole sectors, and leaves everything as it was',
  'writes though it is read-only': 'refuses every change of a disk that is read-only, and reads it',
  'stays broken': 'fails by a code when the host does, and works again afterwards',
  'forgets what runs at its end':
    'ends every operation when it is closed in the middle of them, and refuses those after',
  'works on at its end': 'ends every operation when it is closed in the middle of them, and refuses those after',
  'is empty when it is opened again': 'keeps what was written when it is closed and opened again',
}

const names = diskChecks(exampleDiskSubject()).map(({ name }) => name)

describe('the suite for disks', () => {
  it.each(names)('passes one that does right: it %s', async (name) => {
    expect(await outcome(diskChecks(exampleDiskSubject()), name)).toBeUndefined()
  })

  it.each(Object.entries(FOUND_BY))('finds one that %s', async (bug, name) => {
    const error = await outcome(diskChecks(exampleDiskSubject(bug as DiskBug)), name)
    expect(error).toMatchObject({ code: 'ERR_COMPLIANCE', data: { check: name } })
  })

  it('has no check that finds nobody', () => {
    expect(new Set(Object.values(FOUND_BY))).toEqual(new Set(names))
  })
})
