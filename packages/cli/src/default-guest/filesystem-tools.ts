// Where mke2fs, debugfs and e2fsck come from: the host's e2fsprogs, which Debian has by default, or the package's files,
// run from where they were unpacked, with their own C library and its loader.

import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Apt } from './apt.ts'
import { DefaultGuestError } from './errors.ts'
import { find } from './programs.ts'

const FILESYSTEM_TOOLS = ['mke2fs', 'debugfs', 'e2fsck'] as const
export type FilesystemTool = (typeof FILESYSTEM_TOOLS)[number]

/** For each tool the command that runs it: a program and its first arguments. */
export type FilesystemCommands = Readonly<Record<FilesystemTool, readonly [program: string, ...args: string[]]>>

const PACKAGE = 'e2fsprogs'
const LOADER = 'ld-linux-x86-64.so.2'
const LIBRARY_DIRECTORIES = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu']

/**
 * The host's tools, or `undefined` where one is missing. They are for administrators: besides the PATH, the `sbin` beside
 * each of its `bin` is looked into.
 */
export function hostFilesystemTools(environment: NodeJS.ProcessEnv): FilesystemCommands | undefined {
  const directories = (environment['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '')
  const places = [...directories, ...directories.map((directory) => directory.replace(/bin\/*$/, 'sbin'))]
  const commands = FILESYSTEM_TOOLS.map((tool) => {
    const path = places.map((directory) => join(directory, tool)).find(isExecutable)
    return [tool, path === undefined ? undefined : [path]] as const
  })
  return commands.every(([, command]) => command !== undefined)
    ? (Object.fromEntries(commands) as unknown as FilesystemCommands)
    : undefined
}

/**
 * Fetches the tools as Debian packages and unpacks them into `directory`.
 *
 * @param apt Already updated.
 * @throws {@link DefaultGuestError} `ERR_GUEST_NO_APT` on a host whose processor cannot run them, and like {@link Apt}
 */
export async function fetchFilesystemTools(apt: Apt, directory: string): Promise<FilesystemCommands> {
  if (process.arch !== 'x64')
    throw new DefaultGuestError('ERR_GUEST_NO_APT', `The root disk is made by ${FILESYSTEM_TOOLS.join(', ')}`, {
      hint: `Install ${PACKAGE}.`,
    })
  const packages = await apt.showWithLibraries([PACKAGE])
  const files = await apt.download(packages, join(directory, 'packages'), () => {})
  const root = join(directory, 'root')
  for (const file of files) await apt.unpack(file, root)
  const loader = join(root, find(root, [`lib64/${LOADER}`, `usr/lib64/${LOADER}`], PACKAGE))
  const libraries = LIBRARY_DIRECTORIES.map((place) => join(root, place)).join(':')
  return Object.fromEntries(
    FILESYSTEM_TOOLS.map((tool) => {
      const program = join(root, find(root, [`sbin/${tool}`, `usr/sbin/${tool}`], PACKAGE))
      return [tool, [loader, '--library-path', libraries, program]]
    }),
  ) as unknown as FilesystemCommands
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
