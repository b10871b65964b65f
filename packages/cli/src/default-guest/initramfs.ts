// Puts the default guest's initramfs together: busybox, its applets as symbolic links, the start scripts and the kernel
// modules. It is not compressed: the host's disk has room, and a guest on a software processor unpacks it twenty times
// faster this way.

import { readApplets } from './applets.ts'
import { type CpioEntry, writeCpio } from './cpio.ts'
import { DefaultGuestError } from './errors.ts'
import { type ModuleSelection, modulesAlias, modulesDep } from './modules.ts'
import { FSTAB, GROUP, INIT, PASSWD, PROFILE } from './root-files.ts'

export interface InitramfsParts {
  /** The kernel's release, e.g. `6.1.0-56-cloud-amd64`. */
  readonly release: string
  /** A statically linked busybox. */
  readonly busybox: Uint8Array
  readonly selection: ModuleSelection
  /** The kernel package's own list of what the kernel has built in. */
  readonly modulesBuiltin: Uint8Array
}

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

/** All commands are in one directory; the other places where scripts look for them lead there. */
const BIN_LINKS: readonly (readonly [path: string, target: string])[] = [
  ['sbin', 'bin'],
  ['usr/bin', '../bin'],
  ['usr/sbin', '../bin'],
]

/**
 * The initramfs, the same bytes for the same parts.
 *
 * @throws {@link DefaultGuestError} `ERR_GUEST_PACKAGE` where `busybox` is none.
 */
export function buildInitramfs(parts: InitramfsParts): Uint8Array<ArrayBuffer> {
  const applets = readApplets(parts.busybox)
  if (!applets.includes('sh'))
    throw new DefaultGuestError('ERR_GUEST_PACKAGE', 'busybox-static has no busybox with a shell')
  const { modules } = parts.selection
  const root = `lib/modules/${parts.release}`
  const entries: CpioEntry[] = [
    ...DIRECTORIES.map((path): CpioEntry => ({ type: 'directory', path, mode: path === 'tmp' ? 0o1777 : 0o755 })),
    // The kernel opens it for the first process before there is a devtmpfs.
    { type: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    file('init', INIT, 0o755),
    file('etc/fstab', FSTAB),
    file('etc/group', GROUP),
    file('etc/passwd', PASSWD),
    file('etc/profile', PROFILE),
    file('bin/busybox', parts.busybox, 0o755),
    ...applets
      .filter((name) => name !== 'busybox')
      .map((name): CpioEntry => ({ type: 'symlink', path: `bin/${name}`, target: 'busybox' })),
    ...BIN_LINKS.map(([path, target]): CpioEntry => ({ type: 'symlink', path, target })),
    ...[
      root,
      ...directoriesOf(
        modules.map(({ path }) => `${root}/${path}`),
        root,
      ),
    ].map((path): CpioEntry => ({ type: 'directory', path })),
    file(`${root}/modules.alias`, modulesAlias(modules)),
    file(`${root}/modules.builtin`, parts.modulesBuiltin),
    file(`${root}/modules.dep`, modulesDep(modules)),
    ...modules.map(({ path, data }) => file(`${root}/${path}`, data)),
  ]
  return writeCpio(entries)
}

function file(path: string, content: string | Uint8Array, mode?: number): CpioEntry {
  const data = typeof content === 'string' ? new TextEncoder().encode(content) : content
  return mode === undefined ? { type: 'file', path, data } : { type: 'file', path, data, mode }
}

/** Every directory between `root` and the files, parents first. */
function directoriesOf(paths: readonly string[], root: string): string[] {
  const directories = new Set<string>()
  for (const path of paths) {
    for (let slash = path.indexOf('/', root.length + 1); slash >= 0; slash = path.indexOf('/', slash + 1))
      directories.add(path.slice(0, slash))
  }
  return [...directories].sort()
}
