// What a comparison with v86 needs, which has 32 bits: Debian's kernel and busybox for i386, and v86 itself. Fetched once, into Partita's cache.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { appendFile, copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { writeCpio } from '../../../../packages/cli/src/default-guest/cpio.ts'

const run = promisify(execFile)
const V86 = 'v86@0.5.462'
/** Where Debian's seabios has its files. */
const SEABIOS = '/usr/share/seabios'

export interface I386Parts {
  readonly kernel: string
  /** The kernel's release. */
  readonly release: string
  readonly busybox: string
  /** The directory of the package. */
  readonly v86: string
  readonly bios: string
  readonly vgaBios: string
}

/** @throws Error with what is missing */
export async function fetchI386Parts(): Promise<I386Parts> {
  for (const file of ['bios.bin', 'vgabios-stdvga.bin']) {
    if (!existsSync(join(SEABIOS, file))) throw new Error('v86 needs a BIOS: apt-get install seabios')
  }
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'partita')
  const home = join(cache, 'bench-i386')
  if (!existsSync(join(home, 'release'))) await fetchInto(cache, home)
  return {
    kernel: join(home, 'vmlinuz'),
    release: await readFile(join(home, 'release'), 'utf8'),
    busybox: join(home, 'busybox'),
    v86: join(home, 'node_modules/v86'),
    bios: join(SEABIOS, 'bios.bin'),
    vgaBios: join(SEABIOS, 'vgabios-stdvga.bin'),
  }
}

async function fetchInto(cache: string, home: string): Promise<void> {
  await mkdir(cache, { recursive: true })
  const work = await mkdtemp(join(cache, '.bench-i386-'))
  try {
    for (const path of ['lists/partial', 'archives/partial', 'files'])
      await mkdir(join(work, path), { recursive: true })
    await writeFile(join(work, 'status'), '')
    const settings = {
      'Dir::State': work,
      'Dir::State::lists': join(work, 'lists'),
      'Dir::State::status': join(work, 'status'),
      'Dir::Cache': work,
      'Dir::Cache::archives': join(work, 'archives'),
      'APT::Architecture': 'i386',
      'APT::Architectures::': 'i386',
      'APT::Sandbox::User': 'root',
    }
    const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])
    // sources that have nothing for i386 are no matter
    await run('apt-get', [...options, 'update']).catch(() => {})
    const { stdout } = await run('apt-cache', [...options, 'depends', '--no-recommends', 'linux-image-686'])
    const release = /Depends: linux-image-(\S+)/.exec(stdout)?.[1]
    if (release === undefined) throw new Error('apt has no kernel for i386')
    await run('apt-get', [...options, 'download', `linux-image-${release}`, 'busybox-static'], { cwd: work })
    for (const file of await readdir(work)) {
      if (file.endsWith('.deb')) await run('dpkg-deb', ['-x', join(work, file), join(work, 'files')])
    }
    await rename(join(work, `files/boot/vmlinuz-${release}`), join(work, 'vmlinuz'))
    await rename(join(work, 'files/bin/busybox'), join(work, 'busybox'))
    await run('npm', ['install', '--prefix', work, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', V86])
    for (const path of ['lists', 'archives', 'files']) await rm(join(work, path), { recursive: true })
    await writeFile(join(work, 'release'), release)
    await rename(work, home)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The default guest's initial RAM disk, with another busybox and the programs. */
export async function i386Initrd(initrd: string, busybox: string, executable: string, output: string): Promise<void> {
  await copyFile(initrd, output)
  const file = async (path: string, from: string) =>
    ({ type: 'file', path, data: await readFile(from), mode: 0o755 }) as const
  await appendFile(output, writeCpio([await file('bin/busybox', busybox), await file('bin/bench', executable)]))
}
