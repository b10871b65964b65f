// What the initial RAM disk and the root disk have in common: a way to list their files, busybox with its applets, and
// the kernel's modules with the indexes that modprobe reads.

import { readApplets } from './applets.ts'
import type { CpioEntry } from './cpio.ts'
import { DefaultGuestError } from './errors.ts'
import { type ModuleSelection, modulesAlias, modulesDep } from './modules.ts'

/** One entry of a tree; see {@link CpioEntry} for the rules. */
export type TreeEntry = CpioEntry

/** The parts that come out of Debian's packages. */
export interface GuestParts {
  /** The kernel's release, e.g. `6.1.0-56-cloud-amd64`. */
  readonly release: string
  /** A statically linked busybox. */
  readonly busybox: Uint8Array
  readonly selection: ModuleSelection
  /** The kernel package's own list of what the kernel has built in. */
  readonly modulesBuiltin: Uint8Array
}

/** All commands are in `bin`; the other places where scripts look for them lead there. */
export const BIN_LINKS: readonly TreeEntry[] = [
  { type: 'symlink', path: 'sbin', target: 'bin' },
  { type: 'symlink', path: 'usr/bin', target: '../bin' },
  { type: 'symlink', path: 'usr/sbin', target: '../bin' },
]

/** A regular file; text becomes UTF-8. */
export function file(path: string, content: string | Uint8Array, mode?: number): TreeEntry {
  const data = typeof content === 'string' ? new TextEncoder().encode(content) : content
  return mode === undefined ? { type: 'file', path, data } : { type: 'file', path, data, mode }
}

export function directory(path: string): TreeEntry {
  return path === 'tmp' || path === 'var/tmp'
    ? { type: 'directory', path, mode: 0o1777 }
    : { type: 'directory', path, mode: 0o755 }
}

/**
 * `bin/busybox` and its applets as symbolic links.
 *
 * @param except Names of commands in `bin` that are not to be busybox's.
 * @throws {@link DefaultGuestError} `ERR_GUEST_PACKAGE` where `busybox` is none.
 */
export function busyboxEntries(busybox: Uint8Array, except: ReadonlySet<string>): TreeEntry[] {
  const applets = readApplets(busybox)
  if (!applets.includes('sh'))
    throw new DefaultGuestError('ERR_GUEST_PACKAGE', 'busybox-static has no busybox with a shell')
  return [
    file('bin/busybox', busybox, 0o755),
    ...applets
      .filter((name) => name !== 'busybox' && !except.has(name))
      .map((name): TreeEntry => ({ type: 'symlink', path: `bin/${name}`, target: 'busybox' })),
  ]
}

/** `lib/modules/<release>` and all below it; `lib/modules` itself must be there already. */
export function moduleEntries({ release, selection, modulesBuiltin }: GuestParts): TreeEntry[] {
  const { modules } = selection
  const root = `lib/modules/${release}`
  const paths = modules.map(({ path }) => `${root}/${path}`)
  return [
    ...[root, ...directoriesOf(paths, root)].map(directory),
    file(`${root}/modules.alias`, modulesAlias(modules)),
    file(`${root}/modules.builtin`, modulesBuiltin),
    file(`${root}/modules.dep`, modulesDep(modules)),
    ...modules.map(({ path, data }) => file(`${root}/${path}`, data)),
  ]
}

/** Every directory between `root` (empty for the tree's own) and the files, parents first. */
export function directoriesOf(paths: readonly string[], root: string): string[] {
  const directories = new Set<string>()
  for (const path of paths) {
    for (let slash = path.indexOf('/', root.length + 1); slash >= 0; slash = path.indexOf('/', slash + 1))
      directories.add(path.slice(0, slash))
  }
  return [...directories].sort()
}
