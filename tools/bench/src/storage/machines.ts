// The machines that are compared: the same kernel, initial RAM disk, programs and contents of disks on each.

import { join } from 'node:path'
import type { DefaultGuest } from '../../../../packages/cli/src/default-guest/index.ts'
import type { Machine } from '../guest-process.ts'
import { QEMU } from '../qemu.ts'
import type { MachineDescription } from './machine.node.ts'

/** The guest, and the disks: the programs', which nobody writes to, and one to be measured on. */
export interface StorageGuest {
  readonly guest: DefaultGuest
  /** Bytes. */
  readonly memory: number
  readonly root: string
  readonly data: string
}

const MEBIBYTE = 2 ** 20
/** A panic ends the machine. */
const PANIC = 'panic=-1'

const LABELS: Readonly<Record<MachineDescription['bus'], string>> = {
  scsi: 'Partita, VMBus',
  ide: 'Partita, IDE',
  all: 'Partita, generation 1',
}

function commandLineOf({ commandLine, pipedInputWord }: DefaultGuest): string {
  return `${commandLine} ${PANIC} ${pipedInputWord}`
}

export function partitaStorageMachine(
  bus: MachineDescription['bus'],
  { guest, memory, root, data }: StorageGuest,
): Machine {
  const description: MachineDescription = {
    kernel: guest.kernel,
    initrd: guest.initrd,
    commandLine: commandLineOf(guest),
    memory,
    bus,
    disks: [
      { path: root, readOnly: true },
      { path: data, readOnly: false },
    ],
  }
  return {
    label: LABELS[bus],
    command: process.execPath,
    args: ['--conditions=@partita/source', join(import.meta.dirname, 'machine.node.ts'), JSON.stringify(description)],
    messages: true,
  }
}

/** QEMU's translator with virtio-blk; its own defaults for caching (the host's page cache) and threads. */
export function qemuStorageMachine({ guest, memory, root, data }: StorageGuest): Machine {
  const drive = (id: string, file: string, readOnly: boolean): string[] => [
    '-drive',
    `file=${file},if=none,id=${id},format=raw,readonly=${readOnly ? 'on' : 'off'}`,
    '-device',
    `virtio-blk-pci,drive=${id}`,
  ]
  return {
    label: 'QEMU, virtio-blk',
    command: QEMU,
    args: [
      ...['-machine', 'pc', '-accel', 'tcg', '-m', `${memory / MEBIBYTE}M`, '-nodefaults', '-display', 'none'],
      ...['-no-reboot', '-serial', 'stdio', '-kernel', guest.kernel, '-initrd', guest.initrd],
      ...['-append', commandLineOf(guest), ...drive('root', root, true), ...drive('data', data, false)],
    ],
  }
}
