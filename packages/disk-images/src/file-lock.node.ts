// A lock on the open file itself, flock(2), beside the one on its name: an image may have several names (hard links, directories mounted twice), and a lock
// beside one says nothing at the other. Node has no call for it, so it is called through node:ffi where this Node has it, and through the program flock(1) elsewhere on
// Linux. Where neither works, the name is all that is locked.

import { spawn } from 'node:child_process'
import { open, rm } from 'node:fs/promises'

/** LOCK_EX | LOCK_NB, of sys/file.h. */
const EXCLUSIVE_NOW = 6

type Flock = (fd: number, operation: number) => number

interface Ffi {
  dlopen(path: null, definitions: object): { readonly functions: { readonly flock: Flock } }
}

function viaFfi(fd: number): boolean | undefined {
  // The module announces itself as experimental; the user has not asked for it by name.
  const emitWarning = process.emitWarning
  process.emitWarning = () => {}
  try {
    const ffi = process.getBuiltinModule('node:ffi') as unknown as Ffi | undefined
    const library = ffi?.dlopen(null, { flock: { arguments: ['i32', 'i32'], return: 'i32' } })
    return library === undefined ? undefined : library.functions.flock(fd, EXCLUSIVE_NOW) === 0
  } catch {
    return undefined
  } finally {
    process.emitWarning = emitWarning
  }
}

/** The lock belongs to the open file, which the program shares with this process, and stays when the program ends. */
export function lockByProgram(fd: number): Promise<boolean | undefined> {
  return new Promise((resolve) => {
    const child = spawn('flock', ['--exclusive', '--nonblock', '3'], { stdio: ['ignore', 'ignore', 'ignore', fd] })
    child.once('error', () => resolve(undefined))
    child.once('exit', (code) => resolve(code === 0))
  })
}

type Lock = (fd: number) => boolean | undefined | Promise<boolean | undefined>

/** Whether files there take such locks at all: a new one, which nobody else has. Why a lock was refused is not to be had from either way of asking. */
async function takesLocks(path: string, lock: Lock): Promise<boolean> {
  const probe = await open(path, 'wx')
  try {
    return (await lock(probe.fd)) === true
  } finally {
    await probe.close()
    await rm(path, { force: true })
  }
}

/**
 * Lock an open file until it is closed. True: it is locked, and no other open file of the same inode is, on this host. False: another one is. `undefined`: the file system or
 * the host knows no such locks.
 * @param probe a name beside the file that nobody has, for a file that is there for as long as this takes
 */
export async function lockOpenFile(
  fd: number,
  probe: string,
  lock: Lock = (open) => viaFfi(open) ?? lockByProgram(open),
): Promise<boolean | undefined> {
  if (process.platform !== 'linux') return undefined
  const taken = await lock(fd)
  if (taken !== false) return taken
  return (await takesLocks(probe, lock)) ? false : undefined
}
