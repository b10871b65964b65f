// Two disks and a CD drive of the emulated IDE controller, with the drivers that Debian's kernels bring: partitions, file systems, checksums of much data, media.

import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { createHash, randomFillSync } from 'node:crypto'
import { closeSync, openSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryDisk } from '@partita/disk-images'
import { openRawDisk } from '@partita/disk-images/node'
import { ideControlToken } from '@partita/emulated-ide'
import type { CaseContext, GuestCase } from '../case.ts'
import { isoImage } from '../iso-image.ts'
import type { BootOptions, MatrixGuest } from '../machine.ts'

const MEBIBYTE = 2 ** 20
/** Where the first drive of the second channel is. */
const CD_DRIVE = 2
/** Linux' ata_piix leaves disks of a Hyper-V machine alone otherwise. */
export const PLAIN = 'ata_piix.prefer_ms_hyperv=0'

const md5 = (data: Uint8Array): string => createHash('md5').update(data).digest('hex')

/** A file of random bytes; their checksum. */
function randomFile(path: string, mebibytes: number): string {
  const hash = createHash('md5')
  const piece = new Uint8Array(MEBIBYTE)
  const file = openSync(path, 'w')
  for (let i = 0; i < mebibytes; i++) {
    hash.update(randomFillSync(piece))
    writeSync(file, piece)
  }
  closeSync(file)
  return hash.digest('hex')
}

/** The names of disks whose path in sysfs has `place` in it. */
export async function disksAt(guest: MatrixGuest, place: string): Promise<string[]> {
  const paths = await guest.run('for disk in /sys/block/sd*; do readlink -f $disk; done')
  return paths
    .trim()
    .split('\n')
    .filter((path) => path.includes(place))
    .map((path) => path.split('/').at(-1) as string)
    .sort()
}

/** What the drivers of ATA say when something goes wrong. */
export async function ataTrouble(guest: MatrixGuest): Promise<string> {
  return (await guest.try('dmesg | grep -iE "lost interrupt|exception Emask|failed command|timed out|I/O error"'))
    .output
}

async function exerciseDisks(
  { directory, mebibytes, boot }: CaseContext,
  { enlightened, ...options }: BootOptions & { readonly enlightened: boolean },
): Promise<void> {
  // Read once from one disk, written to the other, and read from there.
  const size = Math.max(1, Math.ceil(mebibytes / 2))
  const source = join(directory, 'source.img')
  const target = join(directory, 'target.img')
  const sum = randomFile(source, size)
  closeSync(openSync(target, 'w'))
  truncateSync(target, (Math.ceil(size * 1.1) + 128) * MEBIBYTE)
  await using from = await openRawDisk(source)
  await using to = await openRawDisk(target)
  const [one, other] = [isoImage('ONE', 24 * MEBIBYTE + 1), isoImage('OTHER', 3 * MEBIBYTE)]
  const [cd, otherCd] = [one, other].map(
    ({ image }) => new MemoryDisk(image.length / 512, { readOnly: true, contents: image }),
  ) as [MemoryDisk, MemoryDisk]
  const guest = await boot({
    ...options,
    drives: [{ disk: to }, { disk: from }, { disk: cd, dvd: true }, null],
    ...(enlightened && {
      ide: [
        { channel: 0, device: 0, disk: to },
        { channel: 0, device: 1, disk: from },
      ],
    }),
    append: enlightened ? '' : PLAIN,
  })

  const log = await guest.run('dmesg')
  const disks = await disksAt(guest, enlightened ? '-8899-0000-000000000000/' : '/ata')
  equal(disks.length, 2)
  equal((await disksAt(guest, enlightened ? '/ata' : '-8899-0000-000000000000/')).length, 0)
  if (enlightened) match(log, /ata_piix.*Hyper-V Virtual Machine detected, ATA device ignore set/)
  else equal(log.match(/ata1\.0[01]: ATA-8: Partita Virtual Disk, \S+, max UDMA\/100/g)?.length, 2)
  match(log, /ata2\.00: ATAPI: .*, max UDMA/)
  match(log, /sr 1:0:0:0: Attached scsi CD-ROM sr0|\[sr0\] scsi3-mmc drive/)
  // By their sizes: SCSI names disks in the order in which it is done with looking at them.
  const sizes = new Map<number, string>()
  for (const name of disks) sizes.set(Number(await guest.run(`cat /sys/block/${name}/size`)), name)
  const written = sizes.get(to.sectorCount)
  const read = sizes.get(from.sectorCount)
  ok(written !== undefined && read !== undefined, `sizes ${[...sizes.keys()]}`)

  // Two partitions: 64 MiB, and the rest.
  await guest.run(`printf 'n\\np\\n1\\n\\n+64M\\nn\\np\\n2\\n\\n\\nw\\n' | fdisk /dev/${written}`)
  await guest.run(`until [ -b /dev/${written}2 ]; do usleep 20000; done`)
  for (const partition of [1, 2]) await guest.run(`mkfs.ext4 -q -F /dev/${written}${partition}`)
  await guest.run(`mkdir -p /a /b; mount -t ext4 /dev/${written}1 /a; mount -t ext4 /dev/${written}2 /b`)
  await guest.run('dd if=/dev/urandom of=/a/file bs=1M count=16; md5sum /a/file >/b/sum')
  await guest.run(`dd if=/dev/${read} of=/b/file bs=1M && sync`)
  await guest.run('umount /a /b')
  for (const partition of [1, 2]) await guest.run(`e2fsck -fn /dev/${written}${partition}`)
  await guest.run(`mount -t ext4 -o ro /dev/${written}1 /a; mount -t ext4 -o ro /dev/${written}2 /b`)
  equal((await guest.run('md5sum </b/file')).slice(0, 32), sum)
  await guest.run('md5sum -c /b/sum')
  await guest.run('umount /a /b')

  // The CD, another in its place, and the tray.
  await guest.run('modprobe -q sr_mod; modprobe -q isofs; mkdir -p /cd')
  const contents = async (): Promise<string> =>
    (await guest.run('mount -t iso9660 -o ro /dev/sr0 /cd && md5sum </cd/data.bin && umount /cd')).slice(0, 32)
  equal(await contents(), md5(one.file))
  const media = guest.vm.find(ideControlToken)
  ok(media !== undefined)
  equal(await media.insert(CD_DRIVE, otherCd), cd)
  equal(await contents(), md5(other.file))
  // Linux would close it by itself.
  await guest.run('echo 0 >/proc/sys/dev/cdrom/autoclose')
  await guest.run('sg_start --eject /dev/sr0')
  deepEqual(media.media(CD_DRIVE)?.trayOpen, true)
  ok((await guest.try('mount -t iso9660 -o ro /dev/sr0 /cd')).status !== 0, 'an open tray is mounted')
  await guest.run('sg_start --load /dev/sr0')
  deepEqual(media.media(CD_DRIVE)?.trayOpen, false)
  equal(await contents(), md5(other.file))
  equal(await media.remove(CD_DRIVE), otherCd)
  ok((await guest.try('mount -t iso9660 -o ro /dev/sr0 /cd')).status !== 0, 'an empty drive is mounted')

  equal(await ataTrouble(guest), '')
  equal((await guest.try('dmesg | grep -E "WARNING|BUG|Oops|hung task|stall|EXT4-fs error"')).output, '')
  deepEqual(guest.errors, [])
  await guest.powerOff()
}

export const ideGenericKernel: GuestCase = {
  name: 'ide-generic',
  description:
    'the kernel of linux-image-amd64 finds two disks and a CD drive by ata_piix; partitions, file systems, checksums of --mebibytes, ISO images and media changes',
  mebibytes: 4096,
  run: (context) => exerciseDisks(context, { kernel: 'generic', enlightened: false }),
}

export const ideCloudKernel: GuestCase = {
  name: 'ide-cloud',
  description:
    'the same with the cloud kernel, once by ata_piix and once by hv_storvsc, to which ata_piix leaves the disks',
  run: async (context) => {
    await exerciseDisks(context, { enlightened: false })
    await exerciseDisks(context, { enlightened: true })
  },
}
