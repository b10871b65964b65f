// The guest starts its own kernel anew without the machine's help: its VMBus is unloaded, and the next kernel connects, gets the offers, and mounts its root.

import { deepEqual, equal, notEqual } from 'node:assert/strict'
import type { CaseContext, GuestCase } from '../case.ts'
import { MOUNT_BOOT_DISK, openBootDisk } from './boot-disk.ts'

const BOOT_ID = 'cat /proc/sys/kernel/random/boot_id'

/** The messages of the connection and of channels, in order, without their contents. */
export function connectionMessages(trace: readonly string[]): string[] {
  return trace
    .map((line) => /^(?:<-|->) ([A-Z_]+)/.exec(line)?.[1] ?? '')
    .filter((name) => /^(INITIATE_CONTACT|UNLOAD|UNLOAD_COMPLETE|REQUEST_OFFERS|OPEN_CHANNEL)$/.test(name))
}

async function startAnew({ directory, boot }: CaseContext, processors: number): Promise<void> {
  await using disk = await openBootDisk(directory)
  const guest = await boot({ processors, disks: { boot: { disk } } })
  await guest.run(`${MOUNT_BOOT_DISK}; echo before >/root/mark; sync`)
  let bootId = await guest.run(BOOT_ID)
  for (let round = 0; round < 2; round++) {
    await guest.run(`kexec -l /mnt/vmlinuz --initrd=/mnt/initrd.cpio --reuse-cmdline`)
    const from = guest.console.text.length
    guest.console.type('kexec -e')
    await guest.prompt(from)
    const next = await guest.run(BOOT_ID)
    notEqual(next, bootId)
    bootId = next
    equal(await guest.run('cat /root/mark'), 'before\n')
    equal((await guest.run('nproc')).trim(), String(processors))
    await guest.run(
      `grep -q ' / ext4 rw' /proc/mounts; ${MOUNT_BOOT_DISK}; dd if=/dev/urandom of=/root/work bs=64k count=16 conv=fsync`,
    )
    equal(await guest.complaints(), '')
  }
  const opens = Array.from({ length: processors }, () => 'OPEN_CHANNEL')
  const connected = ['INITIATE_CONTACT', 'REQUEST_OFFERS', ...opens]
  const unloaded = ['UNLOAD', 'UNLOAD_COMPLETE']
  deepEqual(connectionMessages(guest.trace), [...connected, ...unloaded, ...connected, ...unloaded, ...connected])
  deepEqual(guest.errors, [])
  await guest.powerOff()
}

export const kexec: GuestCase = {
  name: 'kexec',
  description: 'kexec into the same kernel, twice: UNLOAD, a new connection, the root file system is mounted again',
  run: (context) => startAnew(context, 1),
}

export const kexecWithProcessors: GuestCase = {
  name: 'kexec-processors',
  description: 'the same with two processors and sub-channels',
  run: (context) => startAnew(context, 2),
}
