// A lock on the open file itself, flock(2), beside the one on its name: an image may have several names (hard links, directories mounted twice), and a lock
// beside one says nothing at the other. Node has no call for it, so it is called through node:ffi where this Node has it, and through the program flock(1) elsewhere on
// Linux. Where neither works, the name is all that is locked.

import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'

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

/**
 * Lock an open file until it is closed. False: another open file of the same inode has the lock. True also where the file system or the host knows no such locks.
 * @param inode its number: tells a lock that is held from one that is not possible
 */
export async function lockOpenFile(
  fd: number,
  inode: number,
  lock: (fd: number) => boolean | undefined | Promise<boolean | undefined> = (open) =>
    viaFfi(open) ?? lockByProgram(open),
): Promise<boolean> {
  if (process.platform !== 'linux') return true
  if ((await lock(fd)) !== false) return true
  try {
    const held = await readFile('/proc/locks', 'latin1')
    return !new RegExp(`\\bFLOCK +ADVISORY +WRITE +-?\\d+ +[0-9a-f]+:[0-9a-f]+:${inode} `).test(held)
  } catch {
    return false
  }
}
