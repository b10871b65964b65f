// Holes in files. Node has no call for fallocate(2), so it is called through node:ffi where this Node has it (26.1 and later, on Linux), and
// through the program fallocate(1) elsewhere on Linux. Where neither works, nothing is given back.

import { spawn } from 'node:child_process'

/** Make the range read as zeros and give its blocks back. False: it cannot be done here, and nothing has changed. */
export type PunchHole = (fd: number, position: number, length: number) => boolean | Promise<boolean>

/** FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, of linux/falloc.h. */
const PUNCH_HOLE_KEEP_SIZE = 3

type Fallocate = (fd: number, mode: number, offset: bigint, length: bigint) => number

interface Ffi {
  dlopen(path: null, definitions: object): { readonly functions: { readonly fallocate: Fallocate } }
}

/** The system call. It only changes the file's map of blocks, so it does not go through the thread pool. */
function viaFfi(): PunchHole | undefined {
  // The module announces itself as experimental, once, on the user's terminal; the user has not asked for it by name.
  const emitWarning = process.emitWarning
  process.emitWarning = () => {}
  try {
    const ffi = process.getBuiltinModule('node:ffi') as unknown as Ffi | undefined
    // Kept whole: functions are good as long as their library is.
    const library = ffi?.dlopen(null, {
      fallocate: { arguments: ['i32', 'i32', 'i64', 'i64'], return: 'i32' },
    })
    if (library === undefined) return undefined
    return (fd, position, length) =>
      library.functions.fallocate(fd, PUNCH_HOLE_KEEP_SIZE, BigInt(position), BigInt(length)) === 0
  } catch {
    return undefined // no such symbol in this C library, or a policy forbids it
  } finally {
    process.emitWarning = emitWarning
  }
}

/** The program, on the open file itself: its name may be another's by now. */
function viaProgram(fd: number, position: number, length: number): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(
      'fallocate',
      ['--punch-hole', '--offset', String(position), '--length', String(length), '/proc/self/fd/3'],
      { stdio: ['ignore', 'ignore', 'ignore', fd] },
    )
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
}

let found: PunchHole | undefined

/** The way to punch holes on this host; `undefined` where there is none. */
export function punchHole(): PunchHole | undefined {
  if (process.platform !== 'linux') return undefined
  found ??= viaFfi() ?? viaProgram
  return found
}

/** The second way, for its tests. */
export const punchHoleByProgram: PunchHole = viaProgram
