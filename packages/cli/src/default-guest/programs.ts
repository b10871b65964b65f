// Takes programs of Debian's packages, with the shared libraries that they need, for a root file system without a package
// manager. A library goes where it was in its package, or, from below `/usr/lib`, to the same place below `/lib`.

import { lstatSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import { readElfNeeds } from './elf.ts'
import { DefaultGuestError, OWN_FILES_HINT } from './errors.ts'
import { file, type TreeEntry } from './file-tree.ts'

/** Where Debian's dynamic linker looks by itself. */
const LIBRARY_DIRECTORIES = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu', 'lib', 'usr/lib', 'lib64', 'usr/lib64']
const PROGRAM_DIRECTORIES = ['bin', 'sbin', 'usr/bin', 'usr/sbin']
const MAXIMUM_LINKS = 8

/**
 * Files for programs and what they need, without their directories.
 *
 * @param root Unpacked packages.
 * @param names Names of programs, which come to be in `bin`.
 * @throws {@link DefaultGuestError} `ERR_GUEST_PACKAGE` where a program or a library is missing.
 */
export function programEntries(root: string, names: readonly string[]): TreeEntry[] {
  const entries = new Map<string, TreeEntry>()
  const add = (from: string, to: string, neededBy: string): void => {
    if (entries.has(to)) return
    const data = readFileSync(join(root, from))
    entries.set(to, file(to, data, 0o755))
    const needs = readElfNeeds(data)
    if (needs === undefined)
      throw new DefaultGuestError('ERR_GUEST_PACKAGE', `${from}, which ${neededBy} needs, is no ELF-64 file`)
    if (needs.interpreter !== undefined) {
      const path = needs.interpreter.slice(1)
      add(find(root, [path, `usr/${path}`], neededBy), path, neededBy)
    }
    const search = needs.searchPath
      .map((path) => path.replace(/\$ORIGIN|\$\{ORIGIN\}/g, `/${dirname(from)}`))
      .map((path) => normalize(path).replace(/^\/|\/$/g, ''))
    for (const library of needs.libraries) {
      const path = [...search, ...LIBRARY_DIRECTORIES].map((place) => join(place, library))
      const { found, place } = findPlaced(root, path, neededBy)
      add(found, place.replace(/^usr\//, ''), neededBy)
    }
  }
  for (const name of names) {
    const places = PROGRAM_DIRECTORIES.map((place) => join(place, name))
    add(find(root, places, name), `bin/${name}`, name)
  }
  return [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** The path of the first candidate that is there, below `root`, after following links inside `root`. */
export function find(root: string, candidates: readonly string[], neededBy: string): string {
  return findPlaced(root, candidates, neededBy).found
}

function findPlaced(
  root: string,
  candidates: readonly string[],
  neededBy: string,
): { readonly found: string; readonly place: string } {
  for (const place of candidates) {
    const found = follow(root, place)
    if (found !== undefined) return { found, place }
  }
  throw new DefaultGuestError(
    'ERR_GUEST_PACKAGE',
    `Debian's packages do not contain ${basename(candidates[0] as string)}, which ${neededBy} needs`,
    { hint: OWN_FILES_HINT, data: { candidates } },
  )
}

/** Links of a package are meant for its root, absolute ones too. */
function follow(root: string, path: string): string | undefined {
  let current = path
  for (let links = 0; links < MAXIMUM_LINKS; links++) {
    const full = join(root, current)
    if (lstatSync(full, { throwIfNoEntry: false })?.isSymbolicLink() !== true)
      return statSync(full, { throwIfNoEntry: false })?.isFile() === true ? current : undefined
    const target = readlinkSync(full)
    // Normalized as an absolute path, `..` cannot lead out of the root.
    current = normalize(target.startsWith('/') ? target : join('/', dirname(current), target)).slice(1)
  }
  return undefined
}
