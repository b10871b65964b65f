// The programs of tools/bench/programs, compiled with the host's gcc: one static executable for the guests and for the host itself.

import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const SOURCES: string = join(import.meta.dirname, '../../programs')
/** Square roots need no library with it; everything else is what a distribution compiles with. */
const FLAGS = ['-O2', '-fno-math-errno', '-static', '-Wall']

/** One program of the executable. */
export interface GuestProgram {
  readonly group: string
  readonly name: string
  /** Rounds at full length. */
  readonly rounds: number
}

/** Compile to `output`; `flags` are added. @throws Error where there is no gcc, or no static C library */
export async function compilePrograms(output: string, flags: readonly string[] = []): Promise<void> {
  const files = (await readdir(SOURCES)).filter((file) => file.endsWith('.c')).toSorted()
  try {
    await run('gcc', [...FLAGS, ...flags, '-o', output, ...files.map((file) => join(SOURCES, file))])
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause
    throw new Error('the programs need a compiler: apt-get install gcc libc6-dev', { cause })
  }
}

/** What is in the executable, in its order. `only`: names and groups. */
export async function listPrograms(executable: string, only: readonly string[] | undefined): Promise<GuestProgram[]> {
  const { stdout } = await run(executable, ['list'])
  const programs = stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [group = '', name = '', rounds] = line.split(' ')
      return { group, name, rounds: Number(rounds) }
    })
  const chosen =
    only === undefined ? programs : programs.filter(({ group, name }) => only.includes(group) || only.includes(name))
  if (chosen.length === 0)
    throw new Error(`There is no program ${only?.join(', ')}, only ${programs.map(({ name }) => name).join(', ')}`)
  return chosen
}
