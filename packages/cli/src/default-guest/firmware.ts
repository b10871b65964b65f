// The firmware of `partita run --firmware bios`: SeaBIOS from Debian's package, fetched through apt as the default guest is and kept in the user's cache.

import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { defaultCacheDirectory } from '../cache-directory.ts'
import { Apt, type AptPackage } from './apt.ts'
import { DefaultGuestError } from './errors.ts'
import { find } from './programs.ts'
import type { GuestProgressCallback } from './progress.ts'
import { GuestStore } from './store.ts'

/** The directory in the cache. */
const KIND = 'firmware'
const PACKAGE = 'seabios'
/** The build for machines with a host bridge that SeaBIOS knows. */
const IMAGE = 'usr/share/seabios/bios-256k.bin'
const IMAGE_FILE = 'bios-256k.bin'
const MANIFEST_FILE = 'firmware.json'
const HINT = 'Name an image of your own with --firmware bios:FILE.'

/** Options of {@link ensureFirmware}. */
export interface FirmwareOptions {
  /** Partita's cache directory; `$XDG_CACHE_HOME/partita` or `~/.cache/partita` where not given. */
  readonly cacheDirectory?: string | undefined
  /** Called while it is fetched, never when the cache has it. */
  readonly progress?: GuestProgressCallback | undefined
  /** Stops the work; nothing half done stays. The promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Asks the archive for a newer package even when the cache has one. */
  readonly update?: boolean | undefined
  /** `PATH`, `HOME`, proxies and so on; the process's own where not given. */
  readonly environment?: NodeJS.ProcessEnv | undefined
}

/** Firmware for a ROM. */
export interface Firmware {
  /** Path of the image. */
  readonly image: string
  /** The package's version, e.g. `1.16.2-1`. */
  readonly version: string
}

/**
 * SeaBIOS, from the cache if it has it (then nothing touches the network), otherwise fetched. apt checks the package against the signed lists, and each use the file against its checksum.
 * @throws {@link DefaultGuestError} with a code and a hint
 */
export async function ensureFirmware(options: FirmwareOptions = {}): Promise<Firmware> {
  const { environment = process.env, update = false, signal, progress } = options
  signal?.throwIfAborted()
  const cache = options.cacheDirectory ?? defaultCacheDirectory(environment)
  const store = join(cache, KIND)
  const cached = update ? undefined : newest(store)
  if (cached !== undefined) return cached
  const work = new GuestStore(cache, KIND).withWorkDirectory(async (directory) => {
    const apt = new Apt({ directory: join(directory, 'apt'), environment, signal })
    const text = 'Downloading SeaBIOS'
    progress?.({ phase: 'index', fraction: 0, text })
    await apt.update((fraction) => progress?.({ phase: 'index', fraction, text }))
    const [description] = (await apt.show([PACKAGE])) as [AptPackage]
    const [file] = (await apt.download([description], join(directory, 'packages'), (fraction) =>
      progress?.({ phase: 'download', fraction, text }),
    )) as [string]
    const root = join(directory, 'root')
    await apt.unpack(file, root)
    return publish(store, directory, readFileSync(join(root, find(root, [IMAGE], PACKAGE))), description.version)
  })
  return work.catch((error: unknown) => {
    // Of a kernel's there is no use here.
    if (!(error instanceof DefaultGuestError)) throw error
    const { code, message, data } = error
    throw new DefaultGuestError(code, message, { hint: HINT, cause: error, ...(data !== undefined && { data }) })
  })
}

interface Manifest {
  readonly version: string
  readonly fetched: string
  readonly sha256: string
}

/** What is fetched last and unharmed. */
function newest(store: string): Firmware | undefined {
  let names: string[] = []
  try {
    names = readdirSync(store)
  } catch {
    return undefined
  }
  const found = names
    .filter((name) => !name.startsWith('.'))
    .map((name) => read(join(store, name)))
    .filter((firmware) => firmware !== undefined)
  return found.sort((a, b) => (a.fetched < b.fetched ? 1 : -1))[0]
}

function read(directory: string): (Firmware & { readonly fetched: string }) | undefined {
  try {
    const manifest = JSON.parse(readFileSync(join(directory, MANIFEST_FILE), 'utf8')) as Partial<Manifest> | null
    const image = join(directory, IMAGE_FILE)
    const { version, fetched, sha256 } = manifest ?? {}
    if (typeof version !== 'string' || typeof fetched !== 'string' || sha256 !== sha256Of(readFileSync(image)))
      return undefined
    return { image, version, fetched }
  } catch {
    return undefined // not there, or harmed
  }
}

/** Make it visible, complete. Where another run was faster, its files stay. */
function publish(store: string, directory: string, image: Uint8Array, version: string): Firmware {
  const staging = join(directory, 'complete')
  mkdirSync(staging)
  writeFileSync(join(staging, IMAGE_FILE), image)
  const manifest: Manifest = { version, fetched: new Date().toISOString(), sha256: sha256Of(image) }
  writeFileSync(join(staging, MANIFEST_FILE), `${JSON.stringify(manifest, undefined, 2)}\n`)
  const target = join(store, `${PACKAGE}_${version}`.replace(/[^\w.+~-]/g, '-'))
  try {
    renameSync(staging, target)
  } catch {
    const other = read(target)
    if (other !== undefined) return other
    rmSync(target, { recursive: true, force: true })
    renameSync(staging, target)
  }
  const published = read(target)
  if (published !== undefined) return published
  throw new DefaultGuestError('ERR_GUEST_CACHE', `The cache directory ${store} does not keep what is written to it`, {
    hint: HINT,
    data: { directory: store },
  })
}

function sha256Of(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}
