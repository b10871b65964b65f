// Puts the default guest's initramfs together: busybox, its applets as symbolic links, the start scripts and the kernel
// modules. It is not compressed: the host's disk has room, and a guest on a software processor unpacks it twenty times
// faster this way.

import { type CpioEntry, writeCpio } from './cpio.ts'
import { BIN_LINKS, busyboxEntries, directory, file, type GuestParts, moduleEntries } from './file-tree.ts'
import { FSTAB, GROUP, INIT, PASSWD, PROFILE, UDHCPC_SCRIPT } from './root-files.ts'

const DIRECTORIES = [
  'bin',
  'dev',
  'etc',
  'lib',
  'mnt',
  'proc',
  'root',
  'run',
  'sys',
  'tmp',
  'usr',
  'var',
  'lib/modules',
]

/**
 * The initramfs, the same bytes for the same parts.
 *
 * @throws {@link DefaultGuestError} `ERR_GUEST_PACKAGE` where `busybox` is none.
 */
export function buildInitramfs(parts: GuestParts): Uint8Array<ArrayBuffer> {
  const entries: CpioEntry[] = [
    ...DIRECTORIES.map(directory),
    // The kernel opens it for the first process before there is a devtmpfs.
    { type: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    file('init', INIT, 0o755),
    file('etc/fstab', FSTAB),
    file('etc/group', GROUP),
    file('etc/passwd', PASSWD),
    file('etc/profile', PROFILE),
    file('etc/udhcpc.script', UDHCPC_SCRIPT, 0o755),
    ...busyboxEntries(parts.busybox, new Set()),
    ...BIN_LINKS,
    ...moduleEntries(parts),
  ]
  return writeCpio(entries)
}
