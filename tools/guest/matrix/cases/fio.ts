// fio writes patterns and reads them back: to bare disks, in any order and in a row, and to files.

import { ok } from 'node:assert/strict'
import { join } from 'node:path'
import { createRawImage, openRawDisk } from '@partita/disk-images/node'
import { makeFileSystem, run as runOnHost } from '../../../storage/unclean-stop.ts'
import type { CaseContext, GuestCase } from '../case.ts'

const MEBIBYTE = 2 ** 20
const SIZE = 96 * MEBIBYTE

/** fio with what all jobs have in common; it stops at the first block that is wrong. */
function fio(options: Readonly<Record<string, string | number>>): string {
  const all = { name: 'job', verify: 'crc32c', verify_fatal: 1, verify_dump: 0, randrepeat: 0, ...options }
  return `fio --thread ${Object.entries(all)
    .map(([name, value]) => `--${name}=${value}`)
    .join(' ')}`
}

async function onBareDisk({ directory, boot }: CaseContext, jobs: readonly string[]): Promise<void> {
  const image = join(directory, 'bare.img')
  await createRawImage(image, SIZE)
  await using disk = await openRawDisk(image)
  const guest = await boot({ disks: { bare: { disk, lun: 1 } } })
  for (const job of jobs) ok(/err= 0/.test(await guest.run(job)), `fio says nothing of ${job}`)
  ok((await guest.complaints()) === '', 'the kernel complains')
  await guest.powerOff()
}

const bare = { filename: '$(lun 1)', direct: 1, ioengine: 'libaio', size: SIZE }

export const fioRandom: GuestCase = {
  name: 'fio-random',
  description:
    'what fio writes anywhere on a bare disk, in blocks of 512 bytes to 256 KiB, 1 and 32 at a time, can be read back',
  run: (context) =>
    onBareDisk(context, [
      fio({ ...bare, rw: 'randwrite', bsrange: '512-256k', blockalign: 512, iodepth: 32, size: SIZE / 2 }),
      fio({ ...bare, rw: 'randwrite', bs: '4k', iodepth: 1, size: SIZE / 16 }),
      fio({ ...bare, rw: 'randrw', bssplit: '4k/60:64k/30:512/10', iodepth: 32, fsync: 32, size: SIZE / 4 }),
      // Each block is discarded before it is written.
      fio({ ...bare, rw: 'randtrimwrite', bs: '8k', iodepth: 32, size: SIZE / 8 }),
    ]),
}

export const fioSequential: GuestCase = {
  name: 'fio-sequential',
  description:
    'what fio writes in a row to a bare disk, in blocks of 4 KiB and 1 MiB, 1 and 32 at a time, can be read back',
  run: (context) =>
    onBareDisk(context, [
      fio({ ...bare, rw: 'write', bs: '1m', iodepth: 32 }),
      fio({ ...bare, rw: 'write', bs: '128k', iodepth: 1 }),
      fio({ ...bare, rw: 'write', bs: '4k', iodepth: 32, size: SIZE / 4 }),
    ]),
}

export const fioOnFiles: GuestCase = {
  name: 'fio-files',
  description:
    "fio's files on ext4, with several writers, mapped memory and syncs, can be read back; e2fsck finds nothing",
  async run({ directory, boot }) {
    const image = join(directory, 'files.img')
    makeFileSystem(image, 256 * MEBIBYTE, 'fio')
    await using disk = await openRawDisk(image)
    const guest = await boot({ processors: 2, disks: { files: { disk } } })
    await guest.run('mount -t ext4 LABEL=fio /mnt')
    const files = { directory: '/mnt', numjobs: 4, group_reporting: 1, size: 8 * MEBIBYTE }
    for (const job of [
      fio({ ...files, ioengine: 'psync', rw: 'randwrite', bs: '4k', fdatasync: 64 }),
      fio({ ...files, ioengine: 'mmap', rw: 'randrw', bs: '4k' }),
      fio({ ...files, ioengine: 'libaio', direct: 1, rw: 'randwrite', bs: '16k', iodepth: 16 }),
    ])
      ok(/err= 0/.test(await guest.run(job)), `fio says nothing of ${job}`)
    await guest.run('umount /mnt')
    ok((await guest.complaints()) === '', 'the kernel complains')
    await guest.powerOff()
    const { status, output } = runOnHost('e2fsck', ['-fn', image])
    ok(status === 0, output)
  },
}
