// Where the programs run: a guest that waits at its prompt, whoever runs it, and the host itself.

import { execFile } from 'node:child_process'
import { appendFile, copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { writeCpio } from '../../../../packages/cli/src/default-guest/cpio.ts'
import type { BenchGuest } from '../bench-guest.ts'
import { PROMPT } from '../guest-console.ts'
import { GuestProcess, type Machine } from '../guest-process.ts'
import { threadTimes } from '../process-usage.ts'
import type { GuestProgram } from './compile.ts'
import { type ProgramResult, parseResult } from './result.ts'

const run = promisify(execFile)

export interface ProgramRunner extends AsyncDisposable {
  readonly label: string
  /** Make ready to run a program, in the place of what was installed before: from now on a copy is executed whose code was never executed before. */
  install(program: GuestProgram, permille: number): Promise<void>
  /** Run what is installed, for so many thousandths of its full length. */
  run(program: GuestProgram, permille: number): Promise<ProgramResult>
}

/** A directory that is removed when it is disposed of. */
export class Scratch implements AsyncDisposable {
  readonly path: string
  private constructor(path: string) {
    this.path = path
  }
  static async create(): Promise<Scratch> {
    return new Scratch(await mkdtemp(join(tmpdir(), 'partita-bench-')))
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

/** The guest's initial RAM disk with the programs in it: Linux unpacks archives that follow each other. */
export async function addPrograms(guest: BenchGuest, executable: string, output: string): Promise<BenchGuest> {
  await copyFile(guest.initrd, output)
  const entry = { type: 'file', path: 'bin/bench', data: await readFile(executable), mode: 0o755 } as const
  await appendFile(output, writeCpio([entry]))
  return { ...guest, initrd: output }
}

/** The busybox of an initial RAM disk (newc), for the host to run. */
export async function extractBusybox(initrd: string, output: string): Promise<void> {
  const archive = await readFile(initrd)
  const field = (at: number, n: number): number =>
    Number.parseInt(archive.toString('latin1', at + 6 + n * 8, at + 14 + n * 8), 16)
  const aligned = (n: number): number => (n + 3) & ~3
  for (let at = 0; archive.toString('latin1', at, at + 6) === '070701'; ) {
    const [size, nameSize] = [field(at, 6), field(at, 11)]
    const data = aligned(at + 110 + nameSize)
    const name = archive.toString('latin1', at + 110, at + 110 + nameSize - 1)
    if (name === 'bin/busybox') {
      await writeFile(output, archive.subarray(data, data + size), { mode: 0o755 })
      return
    }
    at = aligned(data + size)
  }
  throw new Error(`${initrd} has no busybox`)
}

export class GuestRunner implements ProgramRunner {
  readonly label: string
  readonly process: GuestProcess
  /** Number of the copy that is installed. */
  #copy = 0

  private constructor(machine: Machine) {
    this.label = machine.label
    this.process = new GuestProcess(machine)
  }
  /** Boots to the prompt. */
  static async boot(machine: Machine): Promise<GuestRunner> {
    const runner = new GuestRunner(machine)
    try {
      await runner.process.prompt()
      await runner.#command(`cd /tmp`)
      return runner
    } catch (error) {
      await runner[Symbol.asyncDispose]()
      throw error
    }
  }

  #command(line: string): Promise<string> {
    return this.process.command(line, PROMPT_IN_TMP)
  }

  async install({ name, group }: GuestProgram, permille: number): Promise<void> {
    await this.#command(`rm -f b${this.#copy} busybox${this.#copy}`)
    const n = ++this.#copy
    // Copies lie in other pages than what has run before.
    await this.#command(
      `cp /bin/bench b${n}; ./b${n} prepare ${name} ${permille}${group === 'tools' ? `; cp /bin/busybox busybox${n}` : ''}; sync`,
    )
  }

  async run({ name, group }: GuestProgram, permille: number): Promise<ProgramResult> {
    const n = this.#copy
    const { pid } = this.process
    const before = await threadTimes(pid)
    const text = await this.#command(
      `${group === 'tools' ? `BENCH_BUSYBOX=/tmp/busybox${n} ` : ''}./b${n} run ${name} ${permille}`,
    )
    const used = [...(await threadTimes(pid))].map(([thread, time]) => (time - (before.get(thread) ?? 0)) / 1e9)
    const result = parseResult(text, name)
    if (result === undefined) throw new Error(`${name} on ${this.label}: ${text}`)
    return { ...result, thread: Math.max(...used), processor: used.reduce((sum, time) => sum + time, 0) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]()
  }
}
const PROMPT_IN_TMP: string = PROMPT.replace('/root', '/tmp')

export class HostRunner implements ProgramRunner {
  readonly label = 'native'
  readonly #executable: string
  readonly #environment: NodeJS.ProcessEnv

  constructor(executable: string, busybox: string) {
    this.#executable = executable
    this.#environment = { ...process.env, BENCH_BUSYBOX: busybox }
  }

  async install({ name }: GuestProgram, permille: number): Promise<void> {
    await run(this.#executable, ['prepare', name, `${permille}`], { env: this.#environment })
  }

  async run({ name }: GuestProgram, permille: number): Promise<ProgramResult> {
    const { stdout } = await run(this.#executable, ['run', name, `${permille}`], { env: this.#environment })
    const result = parseResult(stdout, name)
    if (result === undefined) throw new Error(`${name} on the host: ${stdout}`)
    return result
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}
