// A lock on an image file, so that no two VMs write to it: a file beside it, `<image>.lock`, that says which process has it. The system takes nothing back
// from a process that was killed, so that a lock whose process is gone counts for nothing.

import { link, readFile, realpath, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { DiskError } from './disk-error.ts'

interface Owner {
  readonly pid: number
  readonly host: string
  /** When the process began, in the system's own terms; tells it from a later one with the same number. */
  readonly started: string
  /** Tells locks of one process apart. */
  readonly token: string
}

/** Locks that this process holds. Workers have sets of their own; the file is what counts. */
let counter = 0

async function startOf(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
    // Field 22, counted after the name in parentheses, which may hold anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return '' // no such file system
  }
}

function parse(text: string): Owner | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    const { pid, host, started, token } = value as Record<string, unknown>
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof started !== 'string' || typeof token !== 'string')
      return undefined
    return { pid, host, started, token }
  } catch {
    return undefined
  }
}

async function isAlive(owner: Owner): Promise<boolean> {
  if (owner.host !== hostname()) return true // nobody here can know
  try {
    process.kill(owner.pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  return owner.started === (await startOf(owner.pid))
}

async function readLock(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** The error for an image that a live process, `owner` if that is known, writes to. */
export function locked(image: string, owner: Owner | undefined): DiskError {
  return new DiskError('ERR_DISK_LOCKED', `${image} is in use by another VM`, {
    hint: 'Stop the other VM, or open the disk read-only.',
    data: { path: image, pid: owner?.pid ?? null },
  })
}

/**
 * Take the lock of `image`; disposing of the result gives it back.
 * @throws DiskError `ERR_DISK_LOCKED` when a live process has it
 */
export async function lockImage(image: string): Promise<AsyncDisposable> {
  const path = `${await realpath(image)}.lock`
  const token = `${process.pid}-${process.hrtime.bigint()}-${counter++}`
  const mine = JSON.stringify({
    pid: process.pid,
    host: hostname(),
    started: await startOf(process.pid),
    token,
  } satisfies Owner)
  // The lock appears with its contents, by one link(2): nobody ever sees half of it.
  const prepared = `${path}.${token}`
  await writeFile(prepared, mine, { flag: 'wx' })
  try {
    for (let attempt = 0; attempt < 5; attempt++) {
      try {
        await link(prepared, path)
        return release(path, mine)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const text = await readLock(path)
      if (text === undefined) continue // given back just now
      const owner = parse(text)
      if (owner === undefined || (await isAlive(owner))) throw locked(image, owner)
      await removeStale(path, text, `${prepared}.stale`)
    }
    throw locked(image, undefined)
  } finally {
    await rm(prepared, { force: true })
  }
}

/** Move a dead lock away. Whoever else did so first has moved it; should it be a new one, it goes back. */
async function removeStale(path: string, expected: string, aside: string): Promise<void> {
  try {
    await rename(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  if ((await readLock(aside)) !== expected) await link(aside, path).catch(() => {})
  await rm(aside, { force: true })
}

function release(path: string, mine: string): AsyncDisposable {
  let held = true
  return {
    [Symbol.asyncDispose]: async () => {
      if (!held) return
      held = false
      if ((await readLock(path)) === mine) await unlink(path).catch(() => {})
    },
  }
}
