// Writes a package from the files in `templates/`: a kind is a pile of directories, of which later ones win. Everything is written beside the place where it is to be
// and then moved there, so that a failure leaves nothing behind.

import { randomUUID } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { GeneratorError } from './generator-error.ts'
import { type Names, namesOf } from './names.ts'

/** What can be written, and of which templates. */
export const KINDS = {
  /** A device that a guest reaches by I/O ports, without the VMBus. */
  'emulated-device': ['common', 'emulated-device'],
  /** A device on the VMBus. */
  vsp: ['common', 'vsp'],
  /** A device on the VMBus and its driver for guests in TypeScript. */
  pair: ['common', 'vsp', 'pair'],
} as const

/** One of {@link KINDS}. */
export type Kind = keyof typeof KINDS

/** What to write. */
export interface GenerateOptions {
  /** Which of the templates. */
  readonly kind: Kind
  /** The package's name; its last part is the directory's. */
  readonly name: string
  /** Where the package's directory is made. */
  readonly parent: string
}

/** What was written. */
export interface GeneratedPackage {
  /** Absolute path of the package. */
  readonly directory: string
  /** Paths in it, sorted. */
  readonly files: readonly string[]
}

const TEMPLATES: string = join(import.meta.dirname, '../templates')
const MANIFEST: string = join(import.meta.dirname, '../package.json')
/** Files that npm would leave out of a package, or take for its own. */
const OWN_NAMES: ReadonlyMap<string, string> = new Map([
  ['_gitignore', '.gitignore'],
  ['_package.json', 'package.json'],
])
/** GUIDs of the templates: each package gets its own. */
const GUID = /6f1c5a3e-0d2b-4c4e-9b60-1f7f5e2a000\d/g

/**
 * Write a package.
 *
 * @example
 * ```ts
 * import { generatePlugin } from 'create-partita-plugin'
 *
 * const { directory } = generatePlugin({ kind: 'pair', name: 'my-device', parent: process.cwd() })
 * ```
 * @throws GeneratorError `ERR_CREATE_NAME`, `ERR_CREATE_EXISTS`, `ERR_CREATE_WRITE`; nothing is left behind
 */
export function generatePlugin({ kind, name, parent }: GenerateOptions): GeneratedPackage {
  const names = namesOf(name)
  const directory = resolve(parent, names.base)
  if (existsSync(directory)) {
    throw new GeneratorError('ERR_CREATE_EXISTS', `${directory} is there already`, {
      hint: 'Choose another name, or another directory.',
      data: { directory },
    })
  }
  const files = fill(kind, names)
  let staging: string | undefined
  try {
    staging = mkdtempSync(join(parent, `.${names.base}-`))
    for (const [path, content] of files) {
      mkdirSync(dirname(join(staging, path)), { recursive: true })
      writeFileSync(join(staging, path), content)
    }
    // Where somebody else was faster, the directory is not empty, and stays theirs.
    renameSync(staging, directory)
  } catch (cause) {
    if (staging !== undefined) rmSync(staging, { recursive: true, force: true })
    throw new GeneratorError('ERR_CREATE_WRITE', `${directory} cannot be written: ${(cause as Error).message}`, {
      hint: 'It needs a directory with room in it, which you may write to.',
      data: { directory },
      cause,
    })
  }
  return { directory, files: [...files.keys()].sort() }
}

/** The content of each file by its path. */
function fill(kind: Kind, names: Names): Map<string, string> {
  const guids = new Map<string, string>()
  const guid = (template: string): string => {
    const own = guids.get(template) ?? randomUUID()
    guids.set(template, own)
    return own
  }
  const versions = dependencyVersions()
  const files = new Map<string, string>()
  for (const layer of KINDS[kind]) {
    const root = join(TEMPLATES, layer)
    for (const path of filesBelow(root)) {
      const text = rename(readFileSync(join(root, path), 'utf8'), names).replace(GUID, guid)
      const place = OWN_NAMES.get(path) ?? rename(path, names)
      files.set(place, place === 'package.json' ? withVersions(text, versions) : text)
    }
  }
  return files
}

function filesBelow(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
}

function rename(text: string, names: Names): string {
  return text
    .replaceAll('@example/my-device', names.package)
    .replaceAll('my-device', names.base)
    .replaceAll('MyDevice', names.pascal)
    .replaceAll('myDevice', names.camel)
    .replaceAll('MY_DEVICE', names.upper)
}

/** What this package is tested with is what a plug-in gets. */
function dependencyVersions(): Readonly<Record<string, string>> {
  const manifest = JSON.parse(readFileSync(MANIFEST, 'utf8')) as { devDependencies: Readonly<Record<string, string>> }
  return manifest.devDependencies
}

function withVersions(text: string, versions: Readonly<Record<string, string>>): string {
  const manifest = JSON.parse(text) as Record<string, Record<string, string> | undefined>
  for (const key of ['dependencies', 'devDependencies']) {
    for (const name of Object.keys(manifest[key] ?? {})) {
      const version = versions[name]
      if (version === undefined) throw new Error(`create-partita-plugin knows no version of ${name}`)
      ;(manifest[key] as Record<string, string>)[name] = `^${version}`
    }
  }
  return `${JSON.stringify(manifest, undefined, 2)}\n`
}
