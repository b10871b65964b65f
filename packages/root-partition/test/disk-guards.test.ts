// What the guard of a provider keeps of its disks: those that are open, and those of which something is under way.

import { DISK_ERROR, type Disk, PartitaError } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { guardedDisks } from '../src/guarded-disks.ts'
import { PluginGuard } from '../src/plugin-guard.ts'

/** A guard that counts what it keeps. */
class CountingGuard extends PluginGuard {
  readonly kept = new Set<Disposable>()

  override own(disposable: Disposable): Disposable {
    this.kept.add(disposable)
    return super.own(disposable)
  }

  override disown(disposable: Disposable): void {
    this.kept.delete(disposable)
    super.disown(disposable)
  }
}

const never = (): Promise<never> => new Promise<never>(() => {})
const disk = (more: Partial<Disk> = {}): Disk => ({
  sectorSize: 512,
  physicalSectorSize: 512,
  sectorCount: 8,
  readOnly: false,
  read: async () => {},
  write: async () => {},
  flush: async () => {},
  async [Symbol.asyncDispose]() {},
  ...more,
})

function store() {
  const guard = new CountingGuard('store', { onFailure: () => {} })
  const disks = new Map<string, Disk>()
  return { guard, disks, guarded: guardedDisks(disks, guard, undefined) }
}

describe('the guard of a provider of disks', () => {
  it('keeps nothing of disks that are closed, however many there were', async () => {
    const { guard, disks, guarded } = store()
    for (let i = 0; i < 100; i++) {
      disks.set('a', disk())
      const each = guarded.get('a') as Disk
      await each.read(0, [])
      expect(guard.kept.size).toBe(1)
      await each[Symbol.asyncDispose]()
      expect(guard.kept.size).toBe(0)
    }
  })

  it('passes on that a transfer is done, and makes promises where there are some', async () => {
    const { guard, disks, guarded } = store()
    disks.set('a', disk({ read: () => undefined, write: async () => {} }))
    const each = guarded.get('a') as Disk
    expect(each.read(0, [])).toBeUndefined()
    const writing = each.write(0, [])
    expect(writing).toBeInstanceOf(Promise)
    await writing
    guard.fail('in a test', new Error('gone'))
    await expect(each.read(0, [])).rejects.toMatchObject({ code: DISK_ERROR.IO })
  })

  it('keeps one that refuses to close no longer', async () => {
    const { guard, disks, guarded } = store()
    const refusal = new PartitaError(DISK_ERROR.IO, 'no')
    disks.set('a', disk({ [Symbol.asyncDispose]: () => Promise.reject(refusal) }))
    await expect(Promise.resolve((guarded.get('a') as Disk)[Symbol.asyncDispose]())).rejects.toBe(refusal)
    expect(guard.kept.size).toBe(0)
  })

  it.each([
    ['before', true],
    ['after', false],
  ])('ends what was begun %s a disk was closed, and never comes back', async (_when, isBefore) => {
    const { guard, disks, guarded } = store()
    let finish = (): void => {}
    const last = new Promise<void>((resolve) => {
      finish = resolve
    })
    disks.set('a', disk({ read: never, write: () => last }))
    const each = guarded.get('a') as Disk
    const reads: (Promise<void> | undefined)[] = []
    if (isBefore) reads.push(each.read(0, []))
    const writing = each.write(0, [])
    await each[Symbol.asyncDispose]()
    if (!isBefore) reads.push(each.read(0, []))
    expect(guard.kept.size).toBe(1)
    finish()
    await writing
    expect(guard.kept.size).toBe(1)
    guard.fail('in a test', new Error('gone'))
    await expect(reads[0]).rejects.toMatchObject({ code: DISK_ERROR.IO })
  })

  it('keeps one that is closed until the last operation is over', async () => {
    const { guard, disks, guarded } = store()
    let finish = (): void => {}
    const last = new Promise<void>((resolve) => {
      finish = resolve
    })
    disks.set('a', disk({ write: () => last }))
    const each = guarded.get('a') as Disk
    const writing = each.write(0, [])
    await each[Symbol.asyncDispose]()
    expect(guard.kept.size).toBe(1)
    finish()
    await writing
    expect(guard.kept.size).toBe(0)
  })
})
