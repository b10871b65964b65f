// Chooses the kernel modules of the default guest out of a Debian kernel package, and writes the index files that
// modprobe reads: Debian makes them with depmod when the package is installed, so the package itself has none.

import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { DefaultGuestError, OWN_FILES_HINT } from './errors.ts'
import { type ModuleInfo, moduleName, readModuleInfo } from './module-info.ts'

/**
 * The modules that the guest gets, with all that they depend on: those for Hyper-V's synthetic devices, for disks on
 * an emulated IDE controller, and what one needs to look at both. What a kernel has built in needs no file.
 */
export const WANTED_MODULES: readonly string[] = [
  // VMBus and its devices
  'hv_vmbus',
  'hv_utils',
  'hv_balloon',
  'hv_storvsc',
  'hv_netvsc',
  'hv_sock',
  'hid-hyperv',
  'hyperv-keyboard',
  'hyperv_fb',
  'hyperv_drm',
  'uio_hv_generic',
  'pci-hyperv',
  // disks
  'scsi_mod',
  'sd_mod',
  'sr_mod',
  'cdrom',
  'libata',
  'ata_piix',
  'ata_generic',
  'pata_legacy',
  'loop',
  // file systems and their checksums
  'ext4',
  'jbd2',
  'mbcache',
  'crc16',
  'crc32c_generic',
  'libcrc32c',
  'isofs',
  // raw packets for a DHCP client, input events, model-specific registers and CPUID for a look at the machine
  'af_packet',
  'evdev',
  'hid-generic',
  'msr',
  'cpuid',
]

/** One module to put into the initramfs. */
export interface SelectedModule {
  readonly name: string
  /** Relative to `/lib/modules/<release>`, ends in `.ko`. */
  readonly path: string
  /** The ELF file, not compressed, without Debian's signature. */
  readonly data: Uint8Array
  readonly info: ModuleInfo
}

export interface ModuleSelection {
  /** In the order of their paths. */
  readonly modules: readonly SelectedModule[]
  /** Wanted, and part of the kernel image itself. */
  readonly builtin: readonly string[]
  /** Wanted, and not to be had with this kernel. */
  readonly absent: readonly string[]
}

/**
 * The wanted modules below `root` (an unpacked `/lib/modules/<release>`) and all that they depend on.
 *
 * @throws {@link DefaultGuestError} `ERR_GUEST_PACKAGE` where a module cannot be read or a dependency is missing.
 */
export function selectModules(root: string, wanted: readonly string[] = WANTED_MODULES): ModuleSelection {
  const files = new Map<string, string>()
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && /\.ko(\.(gz|xz|zst))?$/.test(entry.name))
      files.set(moduleName(entry.name), relative(root, join(entry.parentPath, entry.name)))
  }
  const inKernel = new Set(builtinModules(root))
  const selected = new Map<string, SelectedModule>()
  const builtin: string[] = []
  const absent: string[] = []

  const select = (name: string): void => {
    const file = files.get(name)
    if (file === undefined || selected.has(name)) return
    const data = withoutSignature(readModule(join(root, file)))
    const info = readModuleInfo(data)
    if (info === undefined) throw new DefaultGuestError('ERR_GUEST_PACKAGE', `${file} is not a kernel module`)
    selected.set(name, { name, path: file.replace(/\.ko\.\w+$/, '.ko'), data, info })
    for (const dependency of info.depends.map(moduleName)) {
      if (!files.has(dependency) && !inKernel.has(dependency))
        throw new DefaultGuestError('ERR_GUEST_PACKAGE', `${file} needs ${dependency}, which the package does not have`)
      select(dependency)
    }
    for (const wish of info.wants) select(moduleName(wish))
  }

  for (const name of wanted) {
    const normal = moduleName(name)
    if (files.has(normal)) select(normal)
    else if (inKernel.has(normal)) builtin.push(normal)
    else absent.push(normal)
  }
  const modules = [...selected.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
  return { modules, builtin, absent }
}

/**
 * The text of `modules.dep`: a line per module with all that must be loaded before it. The last in a line is loaded
 * first, so each name stands before the ones that it depends on itself.
 */
export function modulesDep(modules: readonly SelectedModule[]): string {
  const byName = new Map(modules.map((module) => [module.name, module]))
  let text = ''
  for (const module of modules) {
    const loadOrder: string[] = []
    const seen = new Set([module.name])
    const visit = ({ info }: SelectedModule): void => {
      for (const name of info.depends.map(moduleName)) {
        const dependency = byName.get(name)
        if (dependency === undefined || seen.has(name)) continue
        seen.add(name)
        visit(dependency)
        loadOrder.push(dependency.path)
      }
    }
    visit(module)
    text += `${[`${module.path}:`, ...loadOrder.reverse()].join(' ')}\n`
  }
  return text
}

/** The text of `modules.alias`. */
export function modulesAlias(modules: readonly SelectedModule[]): string {
  return modules.flatMap(({ name, info }) => info.aliases.map((alias) => `alias ${alias} ${name}\n`)).join('')
}

function builtinModules(root: string): string[] {
  return readFileSync(join(root, 'modules.builtin'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map(moduleName)
}

function readModule(path: string): Uint8Array {
  const data = readFileSync(path)
  try {
    if (path.endsWith('.gz')) return gunzipSync(data)
    if (path.endsWith('.zst')) return zstdDecompressSync(data)
    if (path.endsWith('.xz')) return unxz(data)
    return data
  } catch (cause) {
    throw new DefaultGuestError('ERR_GUEST_PACKAGE', `${path} cannot be decompressed`, { hint: OWN_FILES_HINT, cause })
  }
}

const SIGNATURE_MAGIC = '~Module signature appended~\n'
/** struct module_signature of the kernel (include/linux/module_signature.h): eight bytes, then the length, big-endian. */
const SIGNATURE_DESCRIPTOR_LENGTH = 12

/**
 * A module without the signature at its end. To check a signature costs a software processor more than everything else
 * that the kernel does to load a module, and a Debian kernel takes modules without (and then counts as tainted).
 */
export function withoutSignature(data: Uint8Array): Uint8Array {
  const descriptor = data.length - SIGNATURE_MAGIC.length - SIGNATURE_DESCRIPTOR_LENGTH
  if (descriptor < 0) return data
  if (Buffer.from(data.subarray(descriptor + SIGNATURE_DESCRIPTOR_LENGTH)).toString('latin1') !== SIGNATURE_MAGIC)
    return data
  const length = new DataView(data.buffer, data.byteOffset).getUint32(descriptor + 8)
  return length <= descriptor ? data.subarray(0, descriptor - length) : data
}

/** Node has no LZMA of its own; xz-utils is on every Debian that has not gone out of its way. */
function unxz(data: Uint8Array): Uint8Array {
  const { error, status, stdout, stderr } = spawnSync('xz', ['-dc'], { input: data, maxBuffer: 1 << 28 })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`xz: ${stderr.toString().trim()}`)
  return stdout
}
