// A disk that fails amid an ext4 file system's work: the guest is told, goes on, and what it had flushed is there when the disk works again.

import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { DiskError } from '@partita/disk-images'
import { openRawDisk } from '@partita/disk-images/node'
import { DISK_ERROR, type Disk } from '@partita/interface'
import { makeFileSystem, run as runOnHost } from '../../../storage/unclean-stop.ts'
import type { GuestCase } from '../case.ts'

const MEBIBYTE = 2 ** 20

/** A disk whose writes, reads and flushes fail while it is told to. */
class FailingDisk implements Disk {
  readonly sectorSize: number
  readonly physicalSectorSize: number
  readonly sectorCount: number
  readonly readOnly: boolean = false
  failing = false
  readonly #disk: Disk

  constructor(disk: Disk) {
    this.#disk = disk
    this.sectorSize = disk.sectorSize
    this.physicalSectorSize = disk.physicalSectorSize
    this.sectorCount = disk.sectorCount
  }

  #do<T extends Promise<void> | undefined>(operation: () => T): T | Promise<void> {
    return this.failing ? Promise.reject(new DiskError(DISK_ERROR.IO, 'the medium is broken')) : operation()
  }

  read(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined {
    return this.#do(() => this.#disk.read(sector, segments))
  }
  write(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined {
    return this.#do(() => this.#disk.write(sector, segments))
  }
  flush(): Promise<void> {
    return this.#do(() => this.#disk.flush())
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}

export const failingDisks: GuestCase = {
  name: 'failing-disks',
  description:
    'a disk that fails, and an image that is truncated, amid work on ext4: errors in the guest, one line for the user, nothing that was flushed is lost',
  async run({ directory, boot }) {
    const image = join(directory, 'failing.img')
    const other = join(directory, 'truncated.img')
    makeFileSystem(image, 64 * MEBIBYTE, 'failing')
    makeFileSystem(other, 64 * MEBIBYTE, 'truncated')
    await using raw = await openRawDisk(image)
    await using truncated = await openRawDisk(other)
    const disk = new FailingDisk(raw)
    const guest = await boot({ disks: { failing: { disk }, truncated: { disk: truncated } } })
    await guest.run('mkdir /a /b; mount -t ext4 LABEL=failing /a; mount -t ext4 LABEL=truncated /b')
    await guest.run(
      'for n in 1 2 3; do dd if=/dev/urandom of=/a/kept$n bs=64k count=16 conv=fsync 2>/dev/null; done; sync',
    )
    const sums = await guest.run('cd /a; sha256sum kept*; cd /')

    disk.failing = true
    const failed = await guest.try('dd if=/dev/zero of=/a/lost bs=64k count=16 conv=fsync')
    ok(failed.status !== 0)
    match(failed.output, /Input\/output error|Read-only file system/)
    // The kernel may be writing still: unmounting waits for that.
    await guest.try('umount /a')
    match(await guest.run('dmesg'), /Add\. Sense: Write error/)
    disk.failing = false
    // The journal holds what the failure cut short; mounting replays it.
    await guest.run('mount -t ext4 LABEL=failing /a')
    equal(await guest.run('cd /a; sha256sum kept*; cd /'), sums)
    await guest.run('dd if=/dev/urandom of=/a/after bs=64k count=4 conv=fsync; umount /a')

    truncateSync(other, 40 * MEBIBYTE)
    ok((await guest.try('dd if=/dev/zero of=/b/file bs=1M count=50 conv=fsync')).status !== 0)
    equal(statSync(other).size, 40 * MEBIBYTE)
    await guest.try('umount /b')

    deepEqual(
      guest.errors.map((line) => line.replace(/^disk at LUN \d+: /, '')),
      ['the medium is broken', 'the image has become shorter while it was in use'],
    )
    await guest.powerOff()
    // What the failure left is for e2fsck to see to, as after any disk that failed; but then the file system is whole.
    runOnHost('e2fsck', ['-fy', image])
    const { status, output } = runOnHost('e2fsck', ['-fn', image])
    equal(status, 0, output)
  },
}
