// Loads a multiboot image, version 1 or 2: an ELF file, or any file whose header gives addresses. The kernel starts in flat 32-bit
// protected mode with EAX and EBX as the specification has them.

import type { GuestMemory } from '@partita/interface'
import { installAcpiTables } from '../acpi/install.ts'
import type { BootModule, BootOptions, LoadedKernel } from '../boot.ts'
import { alignUp } from '../bytes.ts'
import { type ElfImage, type ElfSegment, isElf, parseElf, segmentRange } from '../elf.ts'
import { FirmwareError } from '../firmware-error.ts'
import { buildMemoryMap, LEGACY_HOLE_END, lowRamEnd } from '../memory-map.ts'
import { isLoadable, loadSegments, outside, overlaps, type PhysicalRange, store } from '../physical-memory.ts'
import { enterProtectedMode } from '../processor-state.ts'
import { MULTIBOOT1, MULTIBOOT2, type MultibootHeader, parseMultibootHeader } from './header.ts'
import { buildInformation1, buildInformation2, type MultibootInformation, type PlacedModule } from './information.ts'

/** Where the information goes if the kernel leaves this part of conventional memory alone. */
const INFORMATION: PhysicalRange = { start: 0x1_0000, end: 0x9_0000 }
const GDT_SIZE = 0x20
const PAGE = 0x1000
const LOADER_NAME = 'partita'

/**
 * Load a multiboot image and set the boot processor to its entry.
 *
 * @throws FirmwareError any of its codes
 */
export async function loadMultiboot(options: BootOptions): Promise<LoadedKernel> {
  const { memory, vp, kernel } = options
  const memoryMap = buildMemoryMap(memory.ramSize)
  const header = parseMultibootHeader(kernel)
  const { segments, entry } = header.addresses === undefined ? elfImage(kernel, header) : rawImage(kernel, header)
  const kernelRange = segmentRange(segments)
  const files: BootModule[] = [
    ...(options.initrd === undefined ? [] : [{ bytes: options.initrd }]),
    ...(options.modules ?? []),
  ]
  const commandLine = options.commandLine ?? ''
  if ([commandLine, ...files.map((file) => file.commandLine ?? '')].some((text) => text.includes('\0'))) {
    throw new FirmwareError('ERR_COMMAND_LINE', 'A command line holds a NUL character')
  }
  const modules = placeModules(memory, kernelRange, files)

  loadSegments(memory, kernel, segments)
  modules.forEach(({ start }, index) => {
    store(memory, start, files[index]!.bytes, 'A module')
  })
  const rsdp = options.acpi === false ? undefined : installAcpiTables(memory, options.acpi)
  const information: MultibootInformation = {
    commandLine,
    loaderName: LOADER_NAME,
    memoryMap,
    lowRamEnd: lowRamEnd(memory.ramSize),
    modules,
    rsdp: rsdp === undefined ? undefined : rsdpBytes(memory, rsdp),
  }
  const build = (base: number): Uint8Array =>
    header.version === 1 ? buildInformation1(information, base) : buildInformation2(information)
  const gdt = placeInformation(memory, kernelRange, modules, GDT_SIZE + build(0).length)
  const base = gdt + GDT_SIZE
  store(memory, base, build(base), 'The boot information')
  const rax = header.version === 1 ? MULTIBOOT1.LOADER : MULTIBOOT2.LOADER
  enterProtectedMode(memory, vp, { entry, gdt, registers: { rax, rbx: base } })
  const loaded: LoadedKernel = {
    kind: header.version === 1 ? 'multiboot' : 'multiboot2',
    entry,
    decompressedBy: 'none',
    kernelRange,
    initrdRange: modules[0] && { start: modules[0].start, end: modules[0].end },
    rsdp,
  }
  options.logger?.log('debug', 'Multiboot kernel loaded', { ...loaded })
  return loaded
}

/**
 * The least RAM in bytes for `kernel` and modules of `moduleBytes` together.
 *
 * @throws FirmwareError for a kernel that cannot be loaded at all
 */
export function requiredMultibootMemory(kernel: Uint8Array, moduleBytes = 0): number {
  const header = parseMultibootHeader(kernel)
  const { segments } = header.addresses === undefined ? elfImage(kernel, header) : rawImage(kernel, header)
  const end = Math.max(LEGACY_HOLE_END, segmentRange(segments).end)
  return Math.max(2 * LEGACY_HOLE_END, alignUp(end, PAGE) + alignUp(moduleBytes, PAGE))
}

interface Image {
  readonly segments: readonly ElfSegment[]
  readonly entry: number
}

function elfImage(kernel: Uint8Array, header: MultibootHeader): Image {
  if (!isElf(kernel)) {
    throw new FirmwareError('ERR_KERNEL_FORMAT', 'The multiboot image is not ELF, and its header gives no addresses')
  }
  const elf = parseElf(kernel)
  return { segments: elf.segments, entry: checkEntry(elf.segments, header.entry ?? physicalEntry(elf)) }
}

/** The entry of an ELF file is virtual in kernels that are linked high: then its segment tells where it is. */
function physicalEntry(elf: ElfImage): number {
  for (const { physicalAddress, memorySize } of elf.segments) {
    if (elf.entry >= BigInt(physicalAddress) && elf.entry < BigInt(physicalAddress + memorySize))
      return Number(elf.entry)
  }
  for (const { physicalAddress, virtualAddress, memorySize } of elf.segments) {
    if (elf.entry >= virtualAddress && elf.entry < virtualAddress + BigInt(memorySize)) {
      return physicalAddress + Number(elf.entry - virtualAddress)
    }
  }
  throw badEntry(elf.entry)
}

function rawImage(kernel: Uint8Array, header: MultibootHeader): Image {
  const { addresses, offset, entry } = header
  if (addresses === undefined || entry === undefined) throw new FirmwareError('ERR_KERNEL_FORMAT', 'No load addresses')
  const fileOffset = offset - (addresses.header - addresses.load)
  const fileSize = addresses.loadEnd === 0 ? kernel.length - fileOffset : addresses.loadEnd - addresses.load
  if (addresses.header < addresses.load || fileOffset < 0 || fileSize <= 0) {
    throw new FirmwareError('ERR_KERNEL_FORMAT', 'The addresses in the multiboot header contradict each other')
  }
  if (fileOffset + fileSize > kernel.length) {
    throw new FirmwareError('ERR_KERNEL_TRUNCATED', `The kernel image ends at ${kernel.length} bytes`, {
      data: { length: kernel.length, needed: fileOffset + fileSize },
    })
  }
  const memorySize = Math.max(fileSize, addresses.bssEnd === 0 ? 0 : addresses.bssEnd - addresses.load)
  const { load } = addresses
  const segments = [{ fileOffset, fileSize, physicalAddress: load, virtualAddress: BigInt(load), memorySize }]
  return { segments, entry: checkEntry(segments, entry) }
}

function checkEntry(segments: readonly ElfSegment[], entry: number): number {
  const inside = segments.some(
    ({ physicalAddress, memorySize }) => entry >= physicalAddress && entry < physicalAddress + memorySize,
  )
  if (!inside || entry > 0xffff_ffff) throw badEntry(BigInt(entry))
  return entry
}

function badEntry(entry: bigint): FirmwareError {
  return new FirmwareError('ERR_KERNEL_FORMAT', 'The entry of the kernel is not in what is loaded', { data: { entry } })
}

/** Page by page after the kernel. */
function placeModules(memory: GuestMemory, kernel: PhysicalRange, files: readonly BootModule[]): PlacedModule[] {
  let next = alignUp(Math.max(kernel.end, LEGACY_HOLE_END), PAGE)
  return files.map(({ bytes, commandLine }) => {
    const range = { start: next, end: next + bytes.length }
    if (bytes.length > 0 && !isLoadable(memory, range)) {
      throw new FirmwareError('ERR_INITRD_TOO_LARGE', `No room for a module of ${bytes.length} bytes`, {
        hint: 'Give the virtual machine more memory.',
        data: { length: bytes.length, ramSize: memory.ramSize },
      })
    }
    next = alignUp(range.end, PAGE)
    return { ...range, commandLine: commandLine ?? '' }
  })
}

function placeInformation(
  memory: GuestMemory,
  kernel: PhysicalRange,
  modules: readonly PlacedModule[],
  length: number,
): number {
  const low = { start: INFORMATION.start, end: INFORMATION.start + length }
  if (low.end <= INFORMATION.end && !overlaps(low, kernel)) return low.start
  const last = Math.max(kernel.end, LEGACY_HOLE_END, ...modules.map(({ end }) => end))
  const start = alignUp(last, PAGE)
  if (!isLoadable(memory, { start, end: start + length })) throw outside(memory, start, length, 'The boot information')
  return start
}

function rsdpBytes(memory: GuestMemory, rsdp: number): Uint8Array {
  const bytes = new Uint8Array(36)
  memory.read(rsdp, bytes)
  return bytes
}
