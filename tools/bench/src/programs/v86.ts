// `v86`: the programs as 32-bit code, on Partita, on v86 and under QEMU's translator. Partita's loader takes 64-bit kernels alone and v86 has 32 bits, so v86 runs Debian's
// kernel for i386, and the others the one for amd64.

import { join } from 'node:path'
import type { Arguments } from '../arguments.ts'
import { benchGuest } from '../bench-guest.ts'
import { QEMU_MISSING, qemuVersion } from '../qemu.ts'
import { compilePrograms, listPrograms } from './compile.ts'
import { fetchI386Parts, i386Initrd } from './i386.ts'
import { measureAll, save } from './index.ts'
import { partitaProgramMachine, qemuProgramMachine } from './machines.ts'
import { report } from './report.ts'
import { GuestRunner, HostRunner, type ProgramRunner, Scratch } from './runners.ts'
import type { V86Description } from './v86-machine.node.ts'

const FLAGS = ['-m32', '-msse2', '-mfpmath=sse']
/** For a BIOS that says more of Plug and Play than it knows. */
const WORDS = 'pnpbios=off'

export async function v86(runs: number, given: Arguments): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const scratch = stack.use(await Scratch.create())
  const executable = join(scratch.path, 'bench')
  await compilePrograms(executable, FLAGS)
  const list = await listPrograms(executable, given.only)
  const parts = await fetchI386Parts()
  const plain = await benchGuest()
  const initrd = join(scratch.path, 'initrd.cpio')
  await i386Initrd(plain.initrd, parts.busybox, executable, initrd)
  const guest = { ...plain, initrd }
  const commandLine = `console=ttyS0,115200 ${plain.commandLine} ${WORDS}`
  console.log(
    `Linux ${parts.release} on v86, ${guest.version} on the others; ${guest.memory / 2 ** 20} MiB, one processor`,
  )

  const description: V86Description = { ...parts, initrd, commandLine, memory: guest.memory }
  const machine = {
    label: 'v86',
    command: process.execPath,
    args: [join(import.meta.dirname, 'v86-machine.node.ts'), JSON.stringify(description)],
  }
  const runners: ProgramRunner[] = []
  const boot = async (make: () => Promise<GuestRunner>): Promise<void> => {
    const start = performance.now()
    const runner = stack.use(await make())
    console.log(`${runner.label}: ${((performance.now() - start) / 1000).toFixed(1)} s to the prompt`)
    runners.push(runner)
  }
  await boot(() => GuestRunner.boot(partitaProgramMachine(guest, given.mode)))
  await boot(() => GuestRunner.boot(machine))
  const version = await qemuVersion()
  if (version === undefined) console.log(QEMU_MISSING)
  else await boot(() => GuestRunner.boot(qemuProgramMachine(guest)))
  runners.push(stack.use(new HostRunner(executable, parts.busybox)))

  const measurements = await measureAll(list, runners, runs)
  console.log(report(measurements, runs, 'v86'))
  if (version !== undefined) console.log(`\n${report(measurements, runs)}`)
  await save(given, { guest: parts.release, qemu: version, runs, measurements })
}
