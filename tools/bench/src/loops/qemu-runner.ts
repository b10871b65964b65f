// The loops under QEMU's translator (TCG): multiboot kernels that call one of them several times. From the processor time of QEMU that of one with a
// kernel that does nothing is taken away.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { longModeKernel } from '@partita/testkit/test-kernels'
import { QEMU, QEMU_MISSING, qemuAvailable } from '../qemu.ts'
import { type LoopResult, type LoopRunner, UnavailableError } from './loop-runner.ts'
import type { LoopProgram } from './programs.ts'

const DEBUG_CONSOLE = 0xe9
const BUFFER = 0x600000
/** Calls in one QEMU, so that its start and the resolution of its times matter little. */
const REPEATS = 8
const NOTHING = 'nothing'
const RET = 0xc3
/** The kernel leaves with 0, which the debug-exit device makes 1. */
const EXIT_CODE = 1

export class QemuRunner implements LoopRunner {
  readonly label = 'QEMU TCG'
  readonly #directory: string

  private constructor(directory: string) {
    this.#directory = directory
  }

  /** @throws UnavailableError without QEMU */
  static async create(programs: readonly LoopProgram[]): Promise<QemuRunner> {
    if (!(await qemuAvailable())) throw new UnavailableError(QEMU_MISSING)
    const directory = await mkdtemp(join(tmpdir(), 'partita-bench-'))
    await writeFile(join(directory, NOTHING), loopKernel(Uint8Array.of(RET)))
    for (const { name, code } of programs) await writeFile(join(directory, name), loopKernel(code))
    return new QemuRunner(directory)
  }

  async run(programs: readonly LoopProgram[]): Promise<LoopResult[]> {
    const { seconds: start } = await this.#execute(NOTHING)
    const results: LoopResult[] = []
    for (const { name } of programs) {
      const { seconds, checksum } = await this.#execute(name)
      results.push({ name, seconds: Math.max(seconds - start, 0) / REPEATS, checksum })
    }
    return results
  }

  /** Processor seconds of a whole QEMU, as the shell that waits for it knows them, and what its kernel printed. */
  async #execute(name: string): Promise<{ seconds: number; checksum: number }> {
    const kernel = join(this.#directory, name)
    const qemu = [
      ...[QEMU, '-machine', 'pc', '-accel', 'tcg', '-m', '128M', '-kernel', kernel, '-nodefaults', '-display', 'none'],
      ...['-no-reboot', '-debugcon', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
    ]
    const shell = '"$@"; status=$?; times >&2; exit $status'
    const child = spawn('sh', ['-c', shell, 'sh', ...qemu], { stdio: ['ignore', 'pipe', 'pipe'] })
    const output: Buffer[] = []
    let errors = ''
    child.stdout.on('data', (data: Buffer) => output.push(data))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    const [status] = (await once(child, 'close')) as [number | null]
    const bytes = Buffer.concat(output)
    // The second line is the children's: `0m0.400s 0m0.020s`.
    const [, user, system] = /\n(\d+m[\d.]+)s (\d+m[\d.]+)s\s*$/.exec(errors) ?? []
    if (status !== EXIT_CODE || bytes.length !== 4 || user === undefined || system === undefined) {
      throw new Error(`QEMU ended with ${status} after ${bytes.length} bytes: ${errors}`)
    }
    return { seconds: minutes(user) + minutes(system), checksum: bytes.readUInt32LE() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }
}

/** `1m2.5` in seconds. */
function minutes(text: string): number {
  const [whole, rest] = text.split('m')
  return Number(whole) * 60 + Number(rest)
}

function loopKernel(code: Uint8Array): Uint8Array {
  return longModeKernel((assembler) => {
    assembler
      .mov('r12d', REPEATS)
      .label('repeat')
      .mov('edi', BUFFER)
      .call('program')
      .sub('r12d', 1)
      .jcc('ne', 'repeat')
      .mov('ebx', 'eax')
    for (let i = 0; i < 4; i++) assembler.mov('eax', 'ebx').out(DEBUG_CONSOLE, 'al').shr('ebx', 8)
    assembler.xor('eax', 'eax').jmp('exit').align(64).label('program').bytes(code)
  })
}
