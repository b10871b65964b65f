// A disk with the guest's own kernel and initial RAM disk on it, for kexec.

import { copyFileSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openRawDisk } from '@partita/disk-images/node'
import type { Disk } from '@partita/interface'
import { ensureDefaultGuest } from '../../../../packages/cli/src/default-guest/index.ts'
import { run } from '../../../storage/unclean-stop.ts'

/** Its label is `boot`; it holds `vmlinuz` and `initrd.cpio`. */
export async function openBootDisk(directory: string): Promise<Disk> {
  const { kernel, initrd } = await ensureDefaultGuest({ variant: 'test' })
  const files = join(directory, 'boot')
  const image = join(directory, 'boot.img')
  mkdirSync(files)
  copyFileSync(kernel, join(files, 'vmlinuz'))
  copyFileSync(initrd, join(files, 'initrd.cpio'))
  writeFileSync(image, '')
  truncateSync(image, 64 * 2 ** 20)
  const { status, output } = run('mke2fs', ['-q', '-F', '-t', 'ext4', '-L', 'boot', '-d', files, image])
  if (status !== 0) throw new Error(`mke2fs: ${output}`)
  return openRawDisk(image, { readOnly: true })
}

/** Mounts it, once the shell's `kexec` is to find its files in /mnt. */
export const MOUNT_BOOT_DISK = 'mount -t ext4 -o ro,noload LABEL=boot /mnt'
