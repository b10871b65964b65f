// A host without room: the sparse image lies on a small file system, which fills up.

import { equal, match, ok } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createRawImage, openRawDisk } from '@partita/disk-images/node'
import { type GuestCase, Skipped } from '../case.ts'

const MEBIBYTE = 2 ** 20

export const fullDisk: GuestCase = {
  name: 'full-disk',
  description:
    "the host's file system fills up under a sparse image: the guest gets ENOSPC, the user one line, and all goes on when there is room",
  async run({ directory, boot }) {
    const small = join(directory, 'small')
    mkdirSync(small)
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', small])
    if (mounted.status !== 0) throw new Skipped('mounting a small file system takes root')
    try {
      const image = join(small, 'sparse.img')
      const ballast = join(small, 'ballast')
      writeFileSync(ballast, new Uint8Array(12 * MEBIBYTE))
      await createRawImage(image, 64 * MEBIBYTE)
      await using disk = await openRawDisk(image)
      const guest = await boot({ disks: { sparse: { disk, lun: 1 } } })
      const write = (count: number): string =>
        `yes partita | dd of=$(lun 1) bs=64k count=${count} iflag=fullblock oflag=direct`
      await guest.run(write(64))
      const sum = await guest.run('dd if=$(lun 1) bs=64k count=64 iflag=direct 2>/dev/null | sha256sum')
      const full = await guest.try(write(1000))
      ok(full.status !== 0)
      match(full.output, /No space left on device/)
      match(
        await guest.run('dmesg'),
        /Sense Key : Data Protect.*\n.*Add\. Sense: Space allocation failed write protect/,
      )
      equal(guest.errors.length, 1, guest.errors.join('\n'))
      match(guest.errors[0] as string, /ENOSPC|no space/i)
      equal(await guest.run('dd if=$(lun 1) bs=64k count=64 iflag=direct 2>/dev/null | sha256sum'), sum)
      rmSync(ballast)
      await guest.run(write(250))
      // What the guest gives back is the host's again.
      await guest.run('blkdiscard $(lun 1)')
      const free = spawnSync('df', ['--output=avail', '-k', small], { encoding: 'utf8' }).stdout
      ok(Number(free.split('\n')[1]) > 23 * 1024, free)
      await guest.powerOff()
    } finally {
      spawnSync('umount', ['-l', small])
    }
  },
}
