// The guest's kernel crashes, and a second one that waited in reserved memory takes over (kdump): it connects to the VMBus that the first one has left, finds
// the disks, and sees the first one's memory.

import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict'
import type { Disk } from '@partita/interface'
import type { CaseContext, GuestCase } from '../case.ts'
import { MOUNT_BOOT_DISK, openBootDisk } from './boot-disk.ts'
import { connectionMessages } from './kexec.ts'

const BOOT_ID = 'cat /proc/sys/kernel/random/boot_id'

async function crash(boot: CaseContext['boot'], disk: Disk, processors: number): Promise<void> {
  const guest = await boot({
    processors,
    disks: { boot: { disk } },
    append: 'crashkernel=192M',
    // The crash report is written before the crash kernel is started: it must not end the run.
    onGuestCrash: 'continue',
  })
  await guest.run(MOUNT_BOOT_DISK)
  const commandLine = (await guest.run('cat /proc/cmdline')).trim().replace('crashkernel=192M', '')
  await guest.run(
    `kexec -p /mnt/vmlinuz --initrd=/mnt/initrd.cpio --append="${commandLine} nr_cpus=1 reset_devices irqpoll"`,
  )
  equal((await guest.run('cat /sys/kernel/kexec_crash_loaded')).trim(), '1')
  await guest.run('echo 8765 >/root/mark; sync; echo 1 >/proc/sys/kernel/sysrq')
  const bootId = await guest.run(BOOT_ID)
  const from = guest.console.text.length
  guest.console.type('echo c >/proc/sysrq-trigger')
  await guest.prompt(from)
  match(
    guest.console.text.slice(from),
    /sysrq: Trigger a crash[\s\S]*Kernel panic - not syncing: sysrq triggered crash/,
  )
  notEqual(await guest.run(BOOT_ID), bootId)
  equal(await guest.run('cat /root/mark'), '8765\n')
  await guest.run("grep -q ' / ext4 rw' /proc/mounts")
  // The image of the first kernel, with its note of what it was; a copy of its beginning goes to the disk.
  const release = (await guest.run('uname -r')).trim()
  equal(
    (await guest.run("dd if=/proc/vmcore bs=64k count=1 2>/dev/null | strings | grep '^OSRELEASE='")).trim(),
    `OSRELEASE=${release}`,
  )
  ok(Number((await guest.run("ls -l /proc/vmcore | awk '{print $5}'")).trim()) > 200 * 2 ** 20)
  await guest.run(
    'dd if=/proc/vmcore of=/root/dump bs=1M count=24 conv=fsync && [ "$(dd if=/root/dump bs=1 skip=1 count=3)" = ELF ]',
  )
  const messages = connectionMessages(guest.trace)
  deepEqual(messages.slice(2 + processors), [
    'UNLOAD',
    'UNLOAD_COMPLETE',
    'INITIATE_CONTACT',
    'REQUEST_OFFERS',
    'OPEN_CHANNEL',
  ])
  deepEqual(guest.errors, [])
  await guest.powerOff()
}

export const crashKernel: GuestCase = {
  name: 'crash-kernel',
  description:
    'a crash with kdump, with one processor and with two: the crash kernel connects to the VMBus anew, mounts the root disk, and has the image of the memory',
  async run({ directory, boot }) {
    await using disk = await openBootDisk(directory)
    await crash(boot, disk, 1)
    await crash(boot, disk, 2)
  },
}
