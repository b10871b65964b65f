// The guests that are compared: the same kernel, initial RAM disk, memory, command line and one processor.

import { join } from 'node:path'
import type { BenchGuest } from '../bench-guest.ts'
import { buildPackages } from '../build-packages.ts'
import { type Machine, partitaCommand, qemuMachine } from '../guest-process.ts'
import type { MachineDescription } from './machine.node.ts'

const MEBIBYTE = 2 ** 20
/** What `partita run` tells a Linux kernel by itself. */
const OWN_WORDS: ReadonlySet<string> = new Set(['console=ttyS0,115200', 'panic=-1'])

/** The command line with what `partita run` adds. */
function fullCommandLine({ commandLine }: BenchGuest): string {
  return [...new Set([...OWN_WORDS, ...commandLine.split(' ')])].join(' ')
}

/** `partita run` from the built package, or, with a mode of the processor, a machine like it from the sources. */
export function partitaProgramMachine(guest: BenchGuest, mode?: string): Machine {
  const { kernel, initrd, commandLine, memory } = guest
  if (mode !== undefined) {
    const description: MachineDescription = { kernel, initrd, memory, mode, commandLine: fullCommandLine(guest) }
    const file = join(import.meta.dirname, 'machine.node.ts')
    return {
      label: 'Partita',
      command: process.execPath,
      args: ['--conditions=@partita/source', file, JSON.stringify(description)],
    }
  }
  const append = commandLine
    .split(' ')
    .filter((word) => !OWN_WORDS.has(word))
    .join(' ')
  const files = ['--kernel', kernel, '--initrd', initrd, '--append', append]
  buildPackages()
  return partitaCommand(['run', '--memory', `${memory / MEBIBYTE}M`, ...files])
}

/** QEMU's translator. */
export function qemuProgramMachine(guest: BenchGuest): Machine {
  return qemuMachine({ ...guest, commandLine: fullCommandLine(guest) })
}
