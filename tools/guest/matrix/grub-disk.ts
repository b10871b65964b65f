// A disk that firmware boots: Debian's GRUB for PCs (grub-pc-bin) in front of a partition with the default guest's root file system, the kernel as Debian built it, an initial RAM disk, and GRUB's configuration. Made without root's
// rights: mke2fs fills the partition, grub-mkimage makes the core, and the two sectors that grub-install would change need no change where the core begins in sector 1.

import { execFileSync } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  cpSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { Apt, type AptPackage } from '../../../packages/cli/src/default-guest/apt.ts'
import type { DefaultGuest } from '../../../packages/cli/src/default-guest/index.ts'
import { run } from '../../storage/unclean-stop.ts'
import { Skipped } from './case.ts'

const SECTOR = 512
/** The partition begins at 1 MiB, as everybody's does. */
const PARTITION_START = 2048
const PARTITION_MEBIBYTES = 160
const MODULES = ['biosdisk', 'part_msdos', 'ext2', 'normal', 'linux', 'configfile', 'echo']
const PREFIX = '(hd0,msdos1)/boot/grub'
/** Bytes of the first sector that are the boot loader's; the table of partitions follows. */
const LOADER_BYTES = 440
/** Printed by GRUB's configuration. */
export const GRUB_WORDS = 'GRUB reads its configuration.'

function tool(name: string, ...parameters: string[]): void {
  const { status, output } = run(name, parameters)
  if (status !== 0) throw new Error(`${name}: ${output}`)
}

/** GRUB's files as Debian has them. */
async function fetchGrub(directory: string): Promise<{ readonly modules: string; readonly image: readonly string[] }> {
  const work = join(directory, 'grub')
  mkdirSync(join(work, 'apt'), { recursive: true })
  const apt = new Apt({ directory: join(work, 'apt'), environment: process.env })
  await apt.update(() => {})
  const root = join(work, 'root')
  const packages: AptPackage[] = [
    ...(await apt.showWithLibraries(['grub-common'])),
    ...(await apt.show(['grub-pc-bin'])),
  ]
  for (const file of await apt.download(packages, join(work, 'packages'), () => {})) await apt.unpack(file, root)
  const libraries = ['lib', 'usr/lib'].map((place) => join(root, place, 'x86_64-linux-gnu')).join(':')
  const loader = join(root, 'lib64/ld-linux-x86-64.so.2')
  return {
    modules: join(root, 'usr/lib/grub/i386-pc'),
    image: [loader, '--library-path', libraries, join(root, 'usr/bin/grub-mkimage')],
  }
}

/**
 * Make the disk and give its path.
 * @throws Skipped where Debian's GRUB does not run on this host
 */
export async function makeGrubDisk(directory: string, guest: DefaultGuest): Promise<string> {
  if (process.arch !== 'x64') throw new Skipped('GRUB’s tools are those of amd64')
  const grub = await fetchGrub(directory)
  const tree = join(directory, 'tree')
  mkdirSync(tree)
  tool('debugfs', '-R', `rdump / ${tree}`, guest.rootDisk)
  const boot = join(tree, 'boot/grub')
  mkdirSync(boot, { recursive: true })
  copyFileSync(guest.kernel, join(tree, 'boot/vmlinuz'))
  copyFileSync(guest.initrd, join(tree, 'boot/initrd.cpio'))
  cpSync(grub.modules, join(boot, 'i386-pc'), { recursive: true, filter: (path) => !path.endsWith('.img') })
  writeFileSync(
    join(boot, 'grub.cfg'),
    [
      `echo "${GRUB_WORDS}"`,
      `linux /boot/vmlinuz ${guest.commandLine} root=LABEL=grubdisk ${guest.pipedInputWord} panic=-1`,
      'initrd /boot/initrd.cpio',
      'boot',
      '',
    ].join('\n'),
  )
  const partition = join(directory, 'partition.img')
  const file = openSync(partition, 'w')
  ftruncateSync(file, PARTITION_MEBIBYTES * 2 ** 20)
  closeSync(file)
  tool('mke2fs', '-q', '-F', '-t', 'ext4', '-L', 'grubdisk', '-d', tree, partition)
  const core = join(directory, 'core.img')
  const [program, ...first] = grub.image as readonly [string, ...string[]]
  execFileSync(program, [...first, '-d', grub.modules, '-O', 'i386-pc', '-p', PREFIX, '-o', core, ...MODULES])
  return assemble(join(directory, 'disk.img'), join(grub.modules, 'boot.img'), core, partition)
}

/** First sector, core, partition. */
function assemble(path: string, loader: string, core: string, partition: string): string {
  const sector = new Uint8Array(SECTOR)
  sector.set(readFileSync(loader).subarray(0, LOADER_BYTES))
  const view = new DataView(sector.buffer)
  const entry = 446
  // Active, Linux; CHS addresses that say nothing.
  sector.set([0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff], entry)
  view.setUint32(entry + 8, PARTITION_START, true)
  view.setUint32(entry + 12, (PARTITION_MEBIBYTES * 2 ** 20) / SECTOR, true)
  view.setUint16(510, 0xaa55, true)
  const coreBytes = readFileSync(core)
  if (coreBytes.length > (PARTITION_START - 1) * SECTOR)
    throw new Error('GRUB’s core does not fit before the partition')
  const disk = openSync(path, 'w')
  writeSync(disk, sector, 0, SECTOR, 0)
  writeSync(disk, coreBytes, 0, coreBytes.length, SECTOR)
  const bytes = readFileSync(partition)
  writeSync(disk, bytes, 0, bytes.length, PARTITION_START * SECTOR)
  closeSync(disk)
  return path
}
