// Files and kernel modules that the user adds to a Linux guest (`--guest-file`, `--module`): an archive that the kernel unpacks after the initial RAM disk, which
// stands in the same file before it.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join, posix } from 'node:path'
import { CliError, systemMessage } from './cli-error.ts'
import { type CpioEntry, writeCpio } from './default-guest/cpio.ts'
import type { GuestFileOption } from './option-values.ts'

/** Where the default guest's start scripts look for files; they copy them to their places. */
const STAGE = 'partita-files'
/** Where module files come to lie in the guest. */
const MODULE_DIRECTORY = '/lib/modules'
const EXECUTABLE = 0o111

/** The default guest keeps all commands in one directory, and all libraries in another. */
const LINKS: readonly (readonly [from: string, to: string])[] = [
  ['usr/sbin/', 'bin/'],
  ['usr/bin/', 'bin/'],
  ['sbin/', 'bin/'],
  ['usr/lib64/', 'lib64/'],
  ['usr/lib/', 'lib/'],
]

/** What becomes of `--module`. */
export interface GuestModules {
  /** Modules of the guest's own kernel, by name. */
  readonly names: readonly string[]
  /** Module files, to be put into the guest. */
  readonly files: readonly GuestFileOption[]
  /** The word for the kernel's command line, empty without modules. */
  readonly word: string
}

/** Tell modules by name from module files; the guest loads them in the order given. */
export function planModules(modules: readonly string[]): GuestModules {
  const places = modules.map((module) => (isModuleFile(module) ? `${MODULE_DIRECTORY}/${basename(module)}` : module))
  return {
    names: modules.filter((module) => !isModuleFile(module)),
    files: modules
      .filter(isModuleFile)
      .map((source) => ({ source, target: `${MODULE_DIRECTORY}/${basename(source)}` })),
    word: places.length === 0 ? '' : `partita_modules=${places.join(',')}`,
  }
}

function isModuleFile(module: string): boolean {
  return module.endsWith('.ko')
}

/**
 * The archive with `files`, directories with all that is in them.
 * @param staged For the default guest, whose root file system is another by the time that its shell starts.
 * @throws CliError `ERR_FILE_UNREADABLE`, `ERR_USAGE`
 */
export function guestFilesArchive(files: readonly GuestFileOption[], staged: boolean): Uint8Array<ArrayBuffer> {
  const entries = new Map<string, CpioEntry>()
  const put = (entry: CpioEntry): void => {
    const other = entries.get(entry.path)
    if (other?.type === 'directory' && entry.type === 'directory') return
    if (other !== undefined)
      throw new CliError('ERR_USAGE', `Two files of the guest have the place /${entry.path.replace(`${STAGE}/`, '')}`)
    for (let slash = entry.path.indexOf('/'); slash >= 0; slash = entry.path.indexOf('/', slash + 1)) {
      const parent = entry.path.slice(0, slash)
      if (!entries.has(parent)) entries.set(parent, { type: 'directory', path: parent })
    }
    entries.set(entry.path, entry)
  }
  const add = (source: string, target: string, mode: number | undefined): void => {
    const stat = statSync(source)
    if (stat.isDirectory()) {
      put({ type: 'directory', path: target })
      for (const name of readdirSync(source).sort()) add(join(source, name), `${target}/${name}`, undefined)
    } else {
      if (!stat.isFile()) throw unreadable(source, 'it is neither a file nor a directory')
      const usual = (stat.mode & EXECUTABLE) === 0 ? 0o644 : 0o755
      put({ type: 'file', path: target, data: readFileSync(source), mode: mode ?? usual })
    }
  }
  for (const { source, target, mode } of files) {
    try {
      add(source, placeOf(target ?? `/root/${basename(source)}`, staged), mode)
    } catch (error) {
      throw error instanceof CliError ? error : unreadable(source, systemMessage(error))
    }
  }
  return writeCpio([...entries.values()])
}

/** The path of a file in the archive. */
function placeOf(target: string, staged: boolean): string {
  const path = posix.normalize(target).replace(/^\/+|\/+$/g, '')
  if (path === '' || path === '.') throw new CliError('ERR_USAGE', `${target} is no place for a file of the guest`)
  if (!staged) return path
  const link = LINKS.find(([from]) => path.startsWith(from))
  return `${STAGE}/${link === undefined ? path : link[1] + path.slice(link[0].length)}`
}

/** An initial RAM disk with an archive behind it: the kernel unpacks one after the other, and skips zeros up to a multiple of four. */
export function withArchive(initrd: Uint8Array, archive: Uint8Array): Uint8Array {
  const start = (initrd.length + 3) & ~3
  const joined = new Uint8Array(start + archive.length)
  joined.set(initrd)
  joined.set(archive, start)
  return joined
}

function unreadable(path: string, why: string): CliError {
  return new CliError('ERR_FILE_UNREADABLE', `The file ${path} for the guest cannot be read: ${why}`, {
    hint: 'Write --guest-file FILE:/PLACE/IN/THE/GUEST.',
    data: { path },
  })
}
