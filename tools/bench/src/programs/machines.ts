// The guests that are compared: the same kernel, initial RAM disk, memory, command line and one processor.

import { join } from 'node:path'
import type { BenchGuest } from '../bench-guest.ts'
import { type Machine, qemuMachine } from '../guest-process.ts'

const ROOT: string = join(import.meta.dirname, '../../../..')
const MEBIBYTE = 2 ** 20
/** What `partita run` tells a Linux kernel by itself. */
const OWN_WORDS: ReadonlySet<string> = new Set(['console=ttyS0,115200', 'panic=-1'])

/** `partita run` from the sources, as `npm start` runs it. */
export function partitaProgramMachine({ kernel, initrd, commandLine, memory }: BenchGuest): Machine {
  const append = commandLine
    .split(' ')
    .filter((word) => !OWN_WORDS.has(word))
    .join(' ')
  const files = ['--kernel', kernel, '--initrd', initrd, '--append', append]
  return {
    label: 'Partita',
    command: process.execPath,
    args: [
      '--conditions=@partita/source',
      join(ROOT, 'packages/cli/src/main.ts'),
      ...['run', '--memory', `${memory / MEBIBYTE}M`, ...files],
    ],
  }
}

/** QEMU's translator. */
export function qemuProgramMachine(guest: BenchGuest): Machine {
  return qemuMachine({ ...guest, commandLine: [...new Set([...OWN_WORDS, ...guest.commandLine.split(' ')])].join(' ') })
}
