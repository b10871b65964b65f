// The guest that `partita run` boots when nobody names another: Debian's current kernel for virtual machines and a root
// disk with busybox and a few of Debian's programs, fetched through apt and kept in the user's cache.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { defaultCacheDirectory } from '../cache-directory.ts'
import { Apt, type AptPackage } from './apt.ts'
import { DefaultGuestError, OWN_FILES_HINT } from './errors.ts'
import type { GuestParts } from './file-tree.ts'
import { fetchFilesystemTools, hostFilesystemTools } from './filesystem-tools.ts'
import { buildInitramfs } from './initramfs.ts'
import { moduleName } from './module-info.ts'
import { selectModules, WANTED_MODULES } from './modules.ts'
import { programEntries } from './programs.ts'
import type { GuestProgressCallback } from './progress.ts'
import { FSTAB, GROUP, INIT, PASSWD, PROFILE, READY_MARK, ROOT_INIT, ROOT_LABEL, UDHCPC_SCRIPT } from './root-files.ts'
import { buildRootImage } from './root-image.ts'
import { rootEntries } from './root-tree.ts'
import { mapSparseFile } from './sparse-file.ts'
import {
  copyRootDisk,
  type GuestManifest,
  GuestStore,
  INITRD_FILE,
  KERNEL_FILE,
  ROOT_FILE,
  type StoredGuest,
} from './store.ts'
import { type GuestVariant, VARIANTS } from './variants.ts'

export { DefaultGuestError } from './errors.ts'
export { ensureFirmware, type Firmware, type FirmwareOptions } from './firmware.ts'
export { createProgressReporter } from './progress.ts'
export { copyRootDisk } from './store.ts'
export type { GuestVariant } from './variants.ts'

/** Which of Debian's kernels: `cloud` is the one for virtual machines; `generic` has the drivers of PCs, nearly all as modules. */
export type KernelFlavour = 'cloud' | 'generic'

/** The packages that always depend on the current kernel. */
const KERNEL_META_PACKAGES: Readonly<Record<KernelFlavour, string>> = {
  cloud: 'linux-image-cloud-amd64',
  generic: 'linux-image-amd64',
}
const BUSYBOX_PACKAGE = 'busybox-static'

/** Counts up with each change of what is made that {@link recipeOf} does not see. */
const FORMAT = 3

/** Guests of another recipe, made by another version of this package, are left to that version. */
function recipeOf(variant: GuestVariant, kernel: KernelFlavour, modules: readonly string[] = []): string {
  const meta = KERNEL_META_PACKAGES[kernel]
  const texts = [INIT, ROOT_INIT, ROOT_LABEL, PROFILE, FSTAB, PASSWD, GROUP, UDHCPC_SCRIPT]
  return createHash('sha256')
    .update(JSON.stringify([FORMAT, meta, [...WANTED_MODULES, ...modules], texts, VARIANTS[variant]]))
    .digest('hex')
    .slice(0, 12)
}

/**
 * What the kernel is told:
 *
 * - `console=ttyS0,115200`: the console is the first serial port, and the one that `/init` opens a shell on
 * - `quiet`: the first thing on the console is the guest's greeting, and nothing is spent on polled output
 * - `mitigations=off`: a processor in software does not speculate; without retpolines and page-table isolation the
 *   same work takes fewer instructions
 * - `cryptomgr.notests`: no self-tests of ciphers at boot
 */
const COMMAND_LINE = 'console=ttyS0,115200 quiet mitigations=off cryptomgr.notests'

export interface DefaultGuestOptions {
  /** Partita's cache directory; `$XDG_CACHE_HOME/partita` or `~/.cache/partita` where not given. */
  readonly cacheDirectory?: string | undefined
  /** Called while something is fetched or made, never when the cache has the guest. */
  readonly progress?: GuestProgressCallback | undefined
  /** Stops the work; nothing half done stays. The promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Which programs are on the root disk; `default` where not given. */
  readonly variant?: GuestVariant | undefined
  /** `cloud` where not given. */
  readonly kernel?: KernelFlavour | undefined
  /** Kernel modules that the guest must have besides those that every guest has. */
  readonly modules?: readonly string[] | undefined
  /** Asks the archive for newer packages even when the cache has a guest. */
  readonly update?: boolean | undefined
  /** `PATH`, `HOME`, proxies and so on; the process's own where not given. */
  readonly environment?: NodeJS.ProcessEnv | undefined
}

/** A guest that can be booted. */
export interface DefaultGuest {
  /** Path of the bzImage, as Debian built it. */
  readonly kernel: string
  /** Path of the initramfs, an uncompressed newc archive. */
  readonly initrd: string
  /** Path of the root disk's image, ext4 without partitions: a pattern for {@link copyRootDisk}, not to be written to. */
  readonly rootDisk: string
  /** The kernel's release and its package's version, e.g. `6.1.0-56-cloud-amd64 (6.1.192-2)`. */
  readonly version: string
  /** What the kernel should be told, without a trailing space. */
  readonly commandLine: string
  /** Add this to the command line where the guest has its root disk; without, its shell is in the initramfs. */
  readonly rootDiskWord: string
  /** Add this to the command line where the console's input is not a terminal: no echo, no line editing. */
  readonly pipedInputWord: string
  /** Add this to the command line, and the guest says {@link DefaultGuest.readyMark} when its console is set up. */
  readonly readyWord: string
  readonly readyMark: string
}

/**
 * The default guest, from the cache if it has one (then nothing touches the network), otherwise fetched and made.
 *
 * @throws {@link DefaultGuestError} with a code and a hint
 * @example
 * ```ts
 * const reporter = createProgressReporter(process.stderr)
 * const guest = await ensureDefaultGuest({ progress: reporter.report }).finally(() => reporter.clear())
 * ```
 */
export async function ensureDefaultGuest(options: DefaultGuestOptions = {}): Promise<DefaultGuest> {
  const { environment = process.env, signal, update = false, variant = 'default', kernel = 'cloud' } = options
  signal?.throwIfAborted()
  const store = new GuestStore(options.cacheDirectory ?? defaultCacheDirectory(environment))
  const modules = [...new Set(options.modules?.map(moduleName))].sort()
  const usual = update ? undefined : store.find(recipeOf(variant, kernel))
  const further = usual === undefined ? modules : modules.filter((name) => !hasModule(usual, name))
  const cached = further.length === 0 || update ? usual : store.find(recipeOf(variant, kernel, further))
  const guest =
    cached ??
    (await store.withWorkDirectory((directory) =>
      make(store, directory, environment, { variant, kernel, further }, options),
    ))
  const absent = modules.find((name) => !hasModule(guest, name))
  if (absent !== undefined)
    throw new DefaultGuestError('ERR_GUEST_MODULE', `Linux ${guest.manifest.version} has no module ${absent}`, {
      hint: 'Name a module of the kernel, or the .ko file of one that was built for it.',
      data: { module: absent },
    })
  return {
    kernel: join(guest.directory, KERNEL_FILE),
    initrd: join(guest.directory, INITRD_FILE),
    rootDisk: join(guest.directory, ROOT_FILE),
    version: guest.manifest.version,
    commandLine: COMMAND_LINE,
    rootDiskWord: `root=LABEL=${ROOT_LABEL}`,
    pipedInputWord: 'partita_input=pipe',
    readyWord: 'partita_ready=yes',
    readyMark: READY_MARK,
  }
}

function hasModule({ manifest }: StoredGuest, name: string): boolean {
  return manifest.modules.includes(name) || manifest.builtin.includes(name)
}

/** A root disk for one run, in a directory that is removed when it is disposed of. */
export interface ScratchRootDisk extends Disposable {
  readonly path: string
}

/**
 * Copies a guest's root disk for one run: beside the guest, or, where that cannot be written, into the directory for
 * temporary files. What a killed process leaves is removed by a later one.
 *
 * @param guest From {@link ensureDefaultGuest}.
 * @throws {@link DefaultGuestError} `ERR_GUEST_IMAGE`
 */
export function makeScratchRootDisk({ rootDisk }: Pick<DefaultGuest, 'rootDisk'>): ScratchRootDisk {
  using stack = new DisposableStack()
  let directory: string
  try {
    directory = stack.use(new GuestStore(dirname(dirname(dirname(rootDisk)))).makeWorkDirectory()).path
  } catch {
    directory = mkdtempSync(join(tmpdir(), 'partita-root-'))
    stack.defer(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }))
  }
  const path = join(directory, ROOT_FILE)
  copyRootDisk(rootDisk, path)
  const owned = stack.move()
  return { path, [Symbol.dispose]: () => owned.dispose() }
}

interface GuestRecipe {
  readonly variant: GuestVariant
  readonly kernel: KernelFlavour
  /** Modules besides the usual ones. */
  readonly further: readonly string[]
}

async function make(
  store: GuestStore,
  directory: string,
  environment: NodeJS.ProcessEnv,
  { variant, kernel: flavour, further }: GuestRecipe,
  { progress, signal }: DefaultGuestOptions,
): Promise<StoredGuest> {
  const apt = new Apt({ directory: join(directory, 'apt'), environment, signal })

  const indexText = "Asking Debian's archive for the current kernel"
  progress?.({ phase: 'index', fraction: 0, text: indexText })
  await apt.update((fraction) => progress?.({ phase: 'index', fraction, text: indexText }))
  const { image, busybox, packages } = await resolvePackages(apt, flavour, VARIANTS[variant].packages)
  const release = image.name.replace(/^linux-image-/, '')
  const version = `${release} (${image.version})`
  const versions = Object.fromEntries(packages.map(({ name, version }) => [name, version]).sort())
  const others = createHash('sha256').update(JSON.stringify(versions)).digest('hex').slice(0, 8)
  const recipe = recipeOf(variant, flavour, further)
  const key = [release, image.version, busybox.version, recipe, others].join('_').replace(/[^\w.+~-]/g, '-')
  const existing = store.get(key)
  if (existing !== undefined) return existing

  const downloadText = `Downloading Linux ${release} and busybox`
  progress?.({ phase: 'download', fraction: 0, text: downloadText })
  const files = await apt.download(packages, join(directory, 'packages'), (fraction) =>
    progress?.({ phase: 'download', fraction, text: downloadText }),
  )

  const root = join(directory, 'root')
  for (const [index, file] of files.entries()) {
    progress?.({ phase: 'unpack', fraction: index / files.length, text: 'Unpacking' })
    await apt.unpack(file, root)
  }

  signal?.throwIfAborted()
  const buildText = 'Building the root disk'
  progress?.({ phase: 'build', fraction: 0, text: buildText })
  const modulesRoot = pathIn(root, [`lib/modules/${release}`, `usr/lib/modules/${release}`])
  const selection = selectModules(modulesRoot, [...WANTED_MODULES, ...(VARIANTS[variant].modules ?? []), ...further])
  const kernel = readFileSync(pathIn(root, [`boot/vmlinuz-${release}`, `usr/lib/modules/${release}/vmlinuz`]))
  const parts: GuestParts = {
    release,
    busybox: readFileSync(pathIn(root, ['bin/busybox', 'usr/bin/busybox'])),
    selection,
    modulesBuiltin: readFileSync(pathIn(modulesRoot, ['modules.builtin'])),
  }
  const initrd = buildInitramfs(parts)
  const { size, programs } = VARIANTS[variant]
  const toolsDirectory = makeDirectory(directory, 'tools')
  const commands = hostFilesystemTools(environment) ?? (await fetchFilesystemTools(apt, toolsDirectory))
  const rootImage = await buildRootImage(rootEntries(parts, programEntries(root, programs)), {
    size,
    label: ROOT_LABEL,
    commands,
    tools: { directory: makeDirectory(directory, 'image'), environment, signal },
  })
  const manifest: GuestManifest = {
    recipe,
    version,
    packages: versions,
    fetched: new Date().toISOString(),
    modules: selection.modules.map(({ name }) => name),
    builtin: selection.builtin,
    absent: selection.absent,
    root: mapSparseFile(rootImage),
  }
  const guest = store.publish(directory, key, manifest, { [KERNEL_FILE]: kernel, [INITRD_FILE]: initrd }, rootImage)
  progress?.({ phase: 'build', fraction: 1, text: buildText })
  return guest
}

/** The kernel's package and what it needs for its files, busybox's, and those of programs with their libraries. */
async function resolvePackages(
  apt: Apt,
  kernel: KernelFlavour,
  programs: readonly string[],
): Promise<{ image: AptPackage; busybox: AptPackage; packages: AptPackage[] }> {
  const [meta] = (await apt.show([KERNEL_META_PACKAGES[kernel]])) as [AptPackage]
  const imageName = meta.depends.find((name) => /^linux-image-\d.*-amd64$/.test(name))
  if (imageName === undefined)
    throw new DefaultGuestError('ERR_GUEST_NO_PACKAGE', `${meta.name} ${meta.version} leads to no kernel`, {
      hint: OWN_FILES_HINT,
      data: { depends: meta.depends },
    })
  const [image, busybox] = (await apt.show([imageName, BUSYBOX_PACKAGE])) as [AptPackage, AptPackage]
  // Later Debian releases split a kernel's files over several packages.
  const names = image.depends.filter((name) => /^linux-(modules|binary)-\d/.test(name))
  const parts = names.length > 0 ? await apt.show(names) : []
  return { image, busybox, packages: [image, busybox, ...parts, ...(await apt.showWithLibraries(programs))] }
}

function makeDirectory(parent: string, name: string): string {
  const path = join(parent, name)
  mkdirSync(path)
  return path
}

function pathIn(root: string, candidates: readonly string[]): string {
  const found = candidates.map((candidate) => join(root, candidate)).find((path) => existsSync(path))
  if (found !== undefined) return found
  throw new DefaultGuestError('ERR_GUEST_PACKAGE', `Debian's packages do not contain ${candidates[0]}`, {
    hint: OWN_FILES_HINT,
    data: { found: readdirSync(root) },
  })
}
