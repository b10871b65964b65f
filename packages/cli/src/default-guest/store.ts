// The directory where default guests are kept: one directory per version, complete or not there at all. A guest is made
// in a directory of its own and then renamed, so an interrupted run leaves no half of one, and of two runs at the same
// time one wins and both end with the same files.

import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { DefaultGuestError, OWN_FILES_HINT } from './errors.ts'
import { copySparseFile, isAsMapped, type SparseMap } from './sparse-file.ts'

export const KERNEL_FILE = 'vmlinuz'
export const INITRD_FILE = 'initrd.cpio'
export const ROOT_FILE = 'root.img'
const MANIFEST_FILE = 'guest.json'

/** What `guest.json` says about the guest beside it. */
export interface GuestManifest {
  /** What decides the initramfs besides the packages: a guest of another recipe is not used. */
  readonly recipe: string
  /** The kernel's release and its package's version. */
  readonly version: string
  /** Names and versions of the packages. */
  readonly packages: Readonly<Record<string, string>>
  /** When it was fetched, ISO 8601. */
  readonly fetched: string
  /** Names of the modules in the initramfs; of those built into the kernel; of those that it does not have. */
  readonly modules: readonly string[]
  readonly builtin: readonly string[]
  readonly absent: readonly string[]
  /** Where the root disk's image has data. */
  readonly root: SparseMap
}

interface StoredManifest extends GuestManifest {
  readonly sha256: Readonly<Record<string, string>>
}

/** A complete guest on the disk. */
export interface StoredGuest {
  readonly directory: string
  readonly manifest: GuestManifest
}

/** The guests below one cache directory. */
export class GuestStore {
  readonly #directory: string

  /** @param cacheDirectory Partita's cache directory; made when the first guest is. @param kind What is kept in this directory of it. */
  constructor(cacheDirectory: string, kind = 'guests') {
    this.#directory = join(cacheDirectory, kind)
  }

  /** The guest of this recipe that was fetched last and is unharmed. */
  find(recipe: string): StoredGuest | undefined {
    let names: string[] = []
    try {
      names = readdirSync(this.#directory)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw this.#error('cannot be read', cause)
    }
    const guests = names
      .filter((name) => !name.startsWith('.'))
      .map((name): StoredGuest | undefined => {
        const directory = join(this.#directory, name)
        const manifest = readManifest(directory)
        return manifest?.recipe === recipe ? { directory, manifest } : undefined
      })
      .filter((guest) => guest !== undefined)
      .sort((a, b) => (a.manifest.fetched < b.manifest.fetched ? 1 : -1))
    return guests.find(({ directory }) => isUnharmed(directory))
  }

  /** A guest by its key, if it is there and unharmed. */
  get(key: string): StoredGuest | undefined {
    const directory = join(this.#directory, key)
    const manifest = readManifest(directory)
    return manifest !== undefined && isUnharmed(directory) ? { directory, manifest } : undefined
  }

  /**
   * Calls `work` with an empty directory on the disk of the cache, which is removed afterwards, whatever happens.
   *
   * @throws {@link DefaultGuestError} `ERR_GUEST_CACHE`
   */
  async withWorkDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
    using directory = this.makeWorkDirectory()
    try {
      return await work(directory.path)
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code
      if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EROFS') throw this.#error('cannot be written', cause)
      throw cause
    }
  }

  /**
   * An empty directory on the disk of the cache. It is removed when it is disposed of; where this process is killed, the
   * next one that makes such a directory removes it.
   *
   * @throws {@link DefaultGuestError} `ERR_GUEST_CACHE`
   */
  makeWorkDirectory(): Disposable & { readonly path: string } {
    const path = join(this.#directory, `${workPrefix()}${process.pid}-${randomBytes(6).toString('hex')}`)
    try {
      mkdirSync(path, { recursive: true })
    } catch (cause) {
      throw this.#error('cannot be written', cause)
    }
    this.#removeAbandoned()
    return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true, maxRetries: 3 }) }
  }

  /**
   * Makes a guest visible under `key`. Where another run was faster, its guest stays.
   *
   * @param workDirectory From {@link withWorkDirectory}.
   * @param files The contents of {@link KERNEL_FILE} and {@link INITRD_FILE}.
   * @param rootImage Path of the root disk's image.
   */
  publish(
    workDirectory: string,
    key: string,
    manifest: GuestManifest,
    files: Readonly<Record<typeof KERNEL_FILE | typeof INITRD_FILE, Uint8Array>>,
    rootImage: string,
  ): StoredGuest {
    const staging = join(workDirectory, 'complete')
    mkdirSync(staging)
    for (const [name, content] of Object.entries(files)) writeFileSync(join(staging, name), content)
    copySparseFile(rootImage, manifest.root, join(staging, ROOT_FILE))
    const sha256 = Object.fromEntries(Object.entries(files).map(([name, content]) => [name, sha256Of(content)]))
    const stored: StoredManifest = { ...manifest, sha256 }
    writeFileSync(join(staging, MANIFEST_FILE), `${JSON.stringify(stored, undefined, 2)}\n`)
    chmodSync(staging, 0o755)
    const target = join(this.#directory, key)
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        renameSync(staging, target)
        return { directory: target, manifest }
      } catch (cause) {
        const code = (cause as NodeJS.ErrnoException).code
        if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOTDIR')
          throw this.#error('cannot be written', cause)
      }
      const other = this.get(key)
      if (other !== undefined) return other
      // Harmed: out of the way, into what is removed at the end.
      try {
        renameSync(target, join(workDirectory, `harmed-${attempt}`))
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw this.#error('cannot be written', cause)
      }
    }
    throw this.#error(`cannot be written: ${key} is in use`, undefined)
  }

  /** Removes the work directories of runs that were killed. */
  #removeAbandoned(): void {
    for (const name of readdirSync(this.#directory)) {
      const path = join(this.#directory, name)
      const owner = name.startsWith(workPrefix()) ? Number.parseInt(name.slice(workPrefix().length), 10) : undefined
      if (owner !== undefined ? !isAlive(owner) : name.startsWith(WORK_PREFIX) && isOlderThanADay(path))
        rmSync(path, { recursive: true, force: true })
    }
  }

  #error(what: string, cause: unknown): DefaultGuestError {
    const reason = cause instanceof Error ? `: ${cause.message}` : ''
    return new DefaultGuestError('ERR_GUEST_CACHE', `The cache directory ${this.#directory} ${what}${reason}`, {
      hint: `Set XDG_CACHE_HOME to a directory with 300 MiB of free space. ${OWN_FILES_HINT}`,
      data: { directory: this.#directory },
      cause,
    })
  }
}

/**
 * Copies a root disk to a file that does not exist yet; nothing of it stays where that fails.
 *
 * @param image {@link ROOT_FILE} of a stored guest.
 * @throws {@link DefaultGuestError} `ERR_GUEST_IMAGE`
 */
export function copyRootDisk(image: string, target: string): void {
  const map = readManifest(dirname(image))?.root
  try {
    if (map === undefined) throw new Error(`${image} is not part of a guest`)
    copySparseFile(image, map, target)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code !== 'EEXIST') rmSync(target, { force: true })
    throw new DefaultGuestError('ERR_GUEST_IMAGE', `The root disk cannot be copied to ${target}: ${message}`, {
      hint: 'Is there room, and may you write there?',
      data: { image, target },
      cause,
    })
  }
}

const WORK_PREFIX = '.making-'

/** A process number means something on its own host only, and a cache may be on a shared disk. */
function workPrefix(): string {
  return `${WORK_PREFIX}${sha256Of(hostname()).slice(0, 8)}-`
}

function readManifest(directory: string): StoredManifest | undefined {
  try {
    const manifest = JSON.parse(readFileSync(join(directory, MANIFEST_FILE), 'utf8')) as Partial<StoredManifest> | null
    return typeof manifest?.recipe === 'string' &&
      typeof manifest.version === 'string' &&
      typeof manifest.fetched === 'string' &&
      typeof manifest.sha256 === 'object' &&
      Array.isArray(manifest.root?.extents)
      ? (manifest as StoredManifest)
      : undefined
  } catch {
    return undefined // not there, or harmed: either way not a guest
  }
}

function isUnharmed(directory: string): boolean {
  const manifest = readManifest(directory)
  if (manifest === undefined) return false
  try {
    return (
      [KERNEL_FILE, INITRD_FILE].every(
        (name) => manifest.sha256[name] === sha256Of(readFileSync(join(directory, name))),
      ) && isAsMapped(join(directory, ROOT_FILE), manifest.root)
    )
  } catch {
    return false
  }
}

function sha256Of(content: Uint8Array | string): string {
  return createHash('sha256').update(content).digest('hex')
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function isOlderThanADay(path: string): boolean {
  const modified = statSync(path, { throwIfNoEntry: false })?.mtimeMs
  return modified !== undefined && Date.now() - modified > 86_400_000
}
