// The files of the default guest's root disk: busybox, the kernel's modules, and programs of Debian's packages with the
// libraries that they need.

import {
  BIN_LINKS,
  busyboxEntries,
  directoriesOf,
  directory,
  file,
  type GuestParts,
  moduleEntries,
  type TreeEntry,
} from './file-tree.ts'
import { GROUP, PASSWD, PROFILE, ROOT_INIT, UDHCPC_SCRIPT } from './root-files.ts'

const DIRECTORIES = [
  'bin',
  'dev',
  'etc',
  'home',
  'lib',
  'lib64',
  'mnt',
  'proc',
  'root',
  'run',
  'sys',
  'tmp',
  'usr',
  'var',
  'lib/modules',
  'var/log',
  'var/tmp',
]

/** Libraries from below `/usr/lib` are below `/lib`, where the dynamic linker and each other's RUNPATH find them. */
const LIBRARY_LINKS: readonly TreeEntry[] = [
  { type: 'symlink', path: 'usr/lib', target: '../lib' },
  { type: 'symlink', path: 'usr/lib64', target: '../lib64' },
  { type: 'symlink', path: 'etc/mtab', target: '../proc/self/mounts' },
]

/**
 * @param programs Files in `bin` and of libraries, from `programEntries`; they take the place of busybox's.
 * @throws DefaultGuestError `ERR_GUEST_PACKAGE` where the parts' busybox is none.
 */
export function rootEntries(parts: GuestParts, programs: readonly TreeEntry[]): TreeEntry[] {
  const commands = programs.map(({ path }) => path).filter((path) => path.startsWith('bin/'))
  const own = new Set(['init', ...commands.map((path) => path.slice('bin/'.length))])
  const more = directoriesOf(
    programs.map(({ path }) => path),
    '',
  ).filter((path) => !DIRECTORIES.includes(path))
  return [
    ...[...DIRECTORIES, ...more].map(directory),
    file('etc/group', GROUP),
    file('etc/hostname', 'partita\n'),
    file('etc/passwd', PASSWD),
    file('etc/profile', PROFILE),
    file('etc/udhcpc.script', UDHCPC_SCRIPT, 0o755),
    ...busyboxEntries(parts.busybox, own),
    file('bin/init', ROOT_INIT, 0o755),
    ...BIN_LINKS,
    ...LIBRARY_LINKS,
    ...programs,
    ...moduleEntries(parts),
  ]
}
