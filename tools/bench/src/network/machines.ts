// The machines that are compared: the same kernel, initial RAM disk and programs, and an adapter with user-mode NAT on each.

import { join } from 'node:path'
import type { DefaultGuest } from '../../../../packages/cli/src/default-guest/index.ts'
import type { Machine } from '../guest-process.ts'
import { QEMU } from '../qemu.ts'
import type { MachineDescription } from './machine.node.ts'

/** The guest; its initial RAM disk has the network's program. */
export interface NetworkGuest {
  readonly guest: DefaultGuest
  readonly initrd: string
  /** Bytes. */
  readonly memory: number
}

const MEBIBYTE = 2 ** 20

function commandLineOf({ commandLine, pipedInputWord }: DefaultGuest): string {
  // A panic ends the machine; addresses are given by hand. On a busy host QEMU's timer does not tick while Linux looks whether it does.
  return `${commandLine} panic=-1 partita_network=no no_timer_check ${pipedInputWord}`
}

export function partitaNetworkMachine({ guest, initrd, memory }: NetworkGuest): Machine {
  const description: MachineDescription = {
    kernel: guest.kernel,
    initrd,
    commandLine: commandLineOf(guest),
    memory,
    root: guest.rootDisk,
  }
  return {
    label: 'Partita',
    command: process.execPath,
    args: ['--conditions=@partita/source', join(import.meta.dirname, 'machine.node.ts'), JSON.stringify(description)],
    messages: true,
  }
}

/** QEMU's translator with virtio-net on its user-mode network. */
export function qemuNetworkMachine({ guest, initrd, memory }: NetworkGuest): Machine {
  return {
    label: 'QEMU, virtio-net',
    command: QEMU,
    args: [
      ...['-machine', 'pc', '-accel', 'tcg', '-m', `${memory / MEBIBYTE}M`, '-nodefaults', '-display', 'none'],
      ...['-no-reboot', '-serial', 'stdio', '-kernel', guest.kernel, '-initrd', initrd],
      ...['-append', commandLineOf(guest), '-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net'],
      ...['-drive', `file=${guest.rootDisk},if=none,id=root,format=raw,readonly=on`],
      ...['-device', 'virtio-blk-pci,drive=root'],
    ],
  }
}
