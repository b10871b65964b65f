// The loops under QEMU's translator (TCG): a multiboot kernel that calls each, with a byte on the debug console before and after, by whose arrival the
// host measures.

import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { longModeKernel } from '@partita/testkit/test-kernels'
import { QEMU, QEMU_MISSING, qemuAvailable } from '../qemu.ts'
import { type LoopResult, type LoopRunner, UnavailableError } from './loop-runner.ts'
import type { LoopProgram } from './programs.ts'

const DEBUG_CONSOLE = 0xe9
const BUFFER = 0x600000
/** A start mark, an end mark and the checksum. */
const BYTES_A_PROGRAM = 6
/** The kernel leaves with 0, which the debug-exit device makes 1. */
const EXIT_CODE = 1

export class QemuRunner implements LoopRunner {
  readonly label = 'QEMU TCG'
  readonly #directory: string
  readonly #kernel: string

  private constructor(directory: string, kernel: string) {
    this.#directory = directory
    this.#kernel = kernel
  }

  /** @throws UnavailableError without QEMU */
  static async create(programs: readonly LoopProgram[]): Promise<QemuRunner> {
    if (!(await qemuAvailable())) throw new UnavailableError(QEMU_MISSING)
    const directory = await mkdtemp(join(tmpdir(), 'partita-bench-'))
    const kernel = join(directory, 'loops.elf')
    await writeFile(kernel, loopKernel(programs))
    return new QemuRunner(directory, kernel)
  }

  run(programs: readonly LoopProgram[]): Promise<LoopResult[]> {
    const { promise, resolve, reject } = Promise.withResolvers<LoopResult[]>()
    const child = spawn(
      QEMU,
      [
        ...[
          '-machine',
          'pc',
          '-accel',
          'tcg',
          '-m',
          '128M',
          '-kernel',
          this.#kernel,
          '-nodefaults',
          '-display',
          'none',
        ],
        ...['-no-reboot', '-debugcon', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const bytes: number[] = []
    const times: number[] = []
    child.stdout.on('data', (data: Buffer) => {
      const now = performance.now()
      for (const one of data) {
        bytes.push(one)
        times.push(now)
      }
    })
    child.on('error', reject)
    child.on('close', (status) => {
      if (status !== EXIT_CODE || bytes.length !== programs.length * BYTES_A_PROGRAM) {
        reject(new Error(`QEMU ended with ${status} after ${bytes.length} bytes`))
        return
      }
      const view = new DataView(Uint8Array.from(bytes).buffer)
      resolve(
        programs.map(({ name }, i) => {
          const at = i * BYTES_A_PROGRAM
          const seconds = ((times[at + 1] as number) - (times[at] as number)) / 1000
          return { name, seconds, checksum: view.getUint32(at + 2, true) }
        }),
      )
    })
    return promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }
}

function loopKernel(programs: readonly LoopProgram[]): Uint8Array {
  return longModeKernel((assembler) => {
    for (const { name } of programs) {
      assembler
        .mov('al', 0x53)
        .out(DEBUG_CONSOLE, 'al')
        .mov('edi', BUFFER)
        .call(name)
        .mov('ebx', 'eax')
        .mov('al', 0x45)
        .out(DEBUG_CONSOLE, 'al')
      for (let i = 0; i < 4; i++) assembler.mov('eax', 'ebx').out(DEBUG_CONSOLE, 'al').shr('ebx', 8)
    }
    assembler.xor('eax', 'eax').jmp('exit')
    for (const { name, code } of programs) assembler.align(64).label(name).bytes(code)
  })
}
