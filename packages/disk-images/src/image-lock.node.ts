// A lock on an image file, so that no two VMs write to it: one on the open file, where the system has such locks, and a file beside it, `<image>.lock`, that says which
// process has it. The system takes that file back from nobody who was killed, so that a lock whose process is gone counts for nothing. Whether it is gone, the lock on the
// open file tells for all processes of this host, in whatever containers; else the number of the process tells on a host of the same name; else nobody knows.

import { type FileHandle, link, readFile, realpath, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { DiskError } from './disk-error.ts'
import { lockOpenFile } from './file-lock.node.ts'

interface Owner {
  readonly pid: number
  readonly host: string
  /** When the process began, in the system's own terms; tells it from a later one with the same number. */
  readonly started: string
  /** Tells locks of one process apart. */
  readonly token: string
  /** The open file that it has locked as well: start of the host's kernel, device, inode. Empty where there are no such locks. */
  readonly file: string
}

/** Locks that this process holds. Workers have sets of their own; the file is what counts. */
let counter = 0

async function identityOf(file: FileHandle): Promise<string> {
  try {
    // The same in all containers of a host.
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim()
    const { dev, ino } = await file.stat({ bigint: true })
    return boot === '' ? '' : `${boot}/${dev}/${ino}`
  } catch {
    return ''
  }
}

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
    const { pid, host, started, token, file } = value as Record<string, unknown>
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof started !== 'string' || typeof token !== 'string')
      return undefined
    return { pid, host, started, token, file: typeof file === 'string' ? file : '' }
  } catch {
    return undefined
  }
}

/** Whether the owner of a lock lives, for one whose lock on the open file is `file`. `undefined`: nobody here can know. */
async function isAlive(owner: Owner, file: string): Promise<boolean | undefined> {
  if (file !== '' && owner.file === file) return false // it would have refused ours
  if (owner.host !== hostname()) return undefined
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

/** The error for an image that a process, `owner` if that is known, writes to. */
function inUse(image: string, lock: string, owner: Owner | undefined): DiskError {
  const who = owner === undefined ? 'another process (fuser names it)' : nameOf(owner)
  return new DiskError('ERR_DISK_LOCKED', `${image} is in use by another VM`, {
    hint: `Stop ${who}, or open the disk read-only.`,
    data: { path: image, lock, host: owner?.host ?? null, pid: owner?.pid ?? null },
  })
}

/** The error for a lock of which nobody here can tell whether anybody still has it. */
function undecided(image: string, lock: string, owner: Owner | undefined): DiskError {
  const hint =
    owner === undefined
      ? `The file ${lock} is there and does not say whose it is: delete it if no VM uses the image, or open the disk read-only.`
      : `The file ${lock} says that ${nameOf(owner)} uses it: delete it if that is gone, or open the disk read-only.`
  return new DiskError('ERR_DISK_LOCKED', `${image} may be in use by another VM`, {
    hint,
    data: { path: image, lock, host: owner?.host ?? null, pid: owner?.pid ?? null },
  })
}

function nameOf(owner: Owner): string {
  return owner.host === hostname() ? `process ${owner.pid}` : `process ${owner.pid} on the host ${owner.host}`
}

/**
 * Take the lock of `image`, which is open for writing as `file`; disposing of the result, before the file is closed, gives it back.
 * @throws DiskError `ERR_DISK_LOCKED` when a live process has it, or nobody can tell; what the system says where a lock cannot be made
 */
export async function lockImage(image: string, file: FileHandle): Promise<AsyncDisposable> {
  const path = `${await realpath(image)}.lock`
  const token = `${process.pid}-${process.hrtime.bigint()}-${counter++}`
  const prepared = `${path}.${token}`
  const open = await lockOpenFile(file.fd, `${prepared}.probe`)
  if (open === false) throw inUse(image, path, parse((await readLock(path)) ?? ''))
  const mine: Owner = {
    pid: process.pid,
    host: hostname(),
    started: await startOf(process.pid),
    token,
    file: open === true ? await identityOf(file) : '',
  }
  const text = JSON.stringify(mine)
  // The lock appears with its contents, by one link(2): nobody ever sees half of it.
  await writeFile(prepared, text, { flag: 'wx' })
  try {
    for (let attempt = 0; attempt < 5; attempt++) {
      try {
        await place(prepared, path, text)
        return release(path, text)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const found = await readLock(path)
      if (found === undefined) continue // given back just now
      const owner = parse(found)
      // A lock without contents is what is left of one when the host loses its power.
      const alive = owner !== undefined ? await isAlive(owner, mine.file) : found === '' && open ? false : undefined
      if (alive === undefined) throw undecided(image, path, owner)
      if (alive) throw inUse(image, path, owner)
      await removeStale(path, found, `${prepared}.stale`)
    }
    throw inUse(image, path, undefined)
  } finally {
    await rm(prepared, { force: true })
  }
}

/** What link(2) says on file systems that have no second names for files (FAT, exFAT); the last is Windows' word. */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EISDIR'])

/** @throws with code `EEXIST` where there is a lock already */
async function place(prepared: string, path: string, text: string): Promise<void> {
  try {
    await link(prepared, path)
  } catch (error) {
    if (!NO_LINKS.has((error as NodeJS.ErrnoException).code ?? '')) throw error
    // For a moment it is there without its contents.
    await writeFile(path, text, { flag: 'wx' })
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
