// `programs`: C programs and busybox's tools in a guest of Partita's, next to the same guest under QEMU's translator and to the host itself. At their full length, and at
// a tenth of it, where it counts how fast code becomes fast: each run executes a copy that never ran before. At the full length the first run does.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Arguments } from '../arguments.ts'
import { benchGuest } from '../bench-guest.ts'
import { createProgress } from '../progress.ts'
import { QEMU_MISSING, qemuVersion } from '../qemu.ts'
import { compilePrograms, type GuestProgram, listPrograms } from './compile.ts'
import { partitaProgramMachine, qemuProgramMachine } from './machines.ts'
import { report } from './report.ts'
import type { ProgramResult } from './result.ts'
import { addPrograms, extractBusybox, GuestRunner, HostRunner, type ProgramRunner, Scratch } from './runners.ts'

/** Thousandths of the full length. */
export const LENGTHS = { full: 1000, tenth: 100 } as const
export type Length = keyof typeof LENGTHS

/** Results of one program at one length: by runner, then by run. */
export interface Measurement {
  readonly program: GuestProgram
  readonly length: Length
  readonly results: Readonly<Record<string, readonly ProgramResult[]>>
}

export async function programs(runs: number, given: Arguments): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const scratch = stack.use(await Scratch.create())
  const executable = join(scratch.path, 'bench')
  await compilePrograms(executable)
  const list = await listPrograms(executable, given.only)
  const plain = await benchGuest()
  const guest = await addPrograms(plain, executable, join(scratch.path, 'initrd.cpio'))
  const busybox = join(scratch.path, 'busybox')
  await extractBusybox(plain.initrd, busybox)

  const version = await qemuVersion()
  console.log(`Linux ${guest.version}, ${guest.memory / 2 ** 20} MiB, one processor; ${guest.commandLine}`)
  console.log(version === undefined ? QEMU_MISSING : `peer: QEMU ${version}, TCG`)
  const runners: ProgramRunner[] = [stack.use(await GuestRunner.boot(partitaProgramMachine(guest, given.mode)))]
  if (version !== undefined) runners.push(stack.use(await GuestRunner.boot(qemuProgramMachine(guest))))
  runners.push(stack.use(new HostRunner(executable, busybox)))

  const measurements = await measureAll(list, runners, runs)
  console.log(report(measurements, runs))
  await save(given, { guest: guest.version, qemu: version, mode: given.mode, runs, measurements })
}

/** Write results to the file that was asked for. */
export async function save({ json }: Arguments, results: object): Promise<void> {
  if (json !== undefined) await writeFile(json, `${JSON.stringify(results, undefined, 1)}\n`)
}

/** Each program at each length on each runner. */
export async function measureAll(
  list: readonly GuestProgram[],
  runners: readonly ProgramRunner[],
  runs: number,
): Promise<Measurement[]> {
  const measurements: Measurement[] = []
  const progress = createProgress(list.length * Object.keys(LENGTHS).length)
  for (const program of list) {
    for (const length of Object.keys(LENGTHS) as Length[]) {
      progress.step(program.name)
      measurements.push(await measure(program, length, runners, runs))
    }
  }
  progress.clear()
  return measurements
}

async function measure(
  program: GuestProgram,
  length: Length,
  runners: readonly ProgramRunner[],
  runs: number,
): Promise<Measurement> {
  const results: Record<string, ProgramResult[]> = Object.fromEntries(runners.map(({ label }) => [label, []]))
  let checksum: string | undefined
  const permille = LENGTHS[length]
  for (let n = 0; n < runs; n++) {
    for (const runner of runners) {
      if (n === 0 || length === 'tenth') await runner.install(program, permille)
      const result = await runner.run(program, permille)
      checksum ??= result.checksum
      if (result.checksum !== checksum) {
        throw new Error(`${program.name} on ${runner.label}: checksum ${result.checksum}, not ${checksum}`)
      }
      results[runner.label]?.push(result)
    }
  }
  return { program, length, results }
}
