// Loads a Linux kernel by the 64-bit boot protocol (Linux/x86 boot protocol, "64-bit boot protocol"): a bzImage at its own 64-bit entry, or,
// where the host can decompress its payload, the ELF file inside it at startup_64, which spares the guest the work.
//
// A kernel that the host decompressed runs at its link address, as one booted with `nokaslr` does: the relocations that the kernel's own
// decompressor would apply for a random address stand behind the ELF file in the payload and are not needed.

import type { GuestMemory } from '@partita/interface'
import { installAcpiTables } from '../acpi/install.ts'
import type { BootOptions, LoadedKernel } from '../boot.ts'
import { alignDown, alignUp, cString, release } from '../bytes.ts'
import { ELF_MACHINE, type ElfImage, parseElf, segmentRange } from '../elf.ts'
import { FirmwareError } from '../firmware-error.ts'
import { buildMemoryMap, HIGH_RAM_BASE, lowRamEnd, ramEnd } from '../memory-map.ts'
import { clear, isLoadable, loadSegments, outside, type PhysicalRange, store } from '../physical-memory.ts'
import { enterLongMode, writeIdentityMap } from '../processor-state.ts'
import { checkInitrd } from './initrd.ts'
import { decompressPayload } from './payload.ts'
import { ENTRY_64_OFFSET, isBzImage, parseSetupHeader, type SetupHeader } from './setup-header.ts'
import { buildZeroPage, synthesizeHeader } from './zero-page.ts'

/** Where the loader puts its own things, in conventional memory. The kernel copies what it needs and takes the rest back. */
const LINUX_LAYOUT = {
  GDT: 0x1000,
  STACK_TOP: 0x7000,
  ZERO_PAGE: 0x7000,
  PAGE_TABLE: 0x9000,
  COMMAND_LINE: 0x2_0000,
  COMMAND_LINE_LIMIT: 0x1_0000,
} as const

/** Room that a kernel gets after the end of its ELF file for what it takes before it reads the memory map. */
const ELF_SLACK = 0x20_0000
const PAGE = 0x1000

/**
 * Load a bzImage, or Linux's `vmlinux`, and set the boot processor to its entry.
 *
 * @throws FirmwareError any of its codes
 */
export async function loadLinux(options: BootOptions): Promise<LoadedKernel> {
  const { memory, vp, kernel, initrd } = options
  const memoryMap = buildMemoryMap(memory.ramSize)
  if (options.modules !== undefined && options.modules.length > 0) {
    throw new FirmwareError('ERR_KERNEL_UNSUPPORTED', 'A Linux kernel takes an initial ramdisk, but no modules')
  }
  if (initrd !== undefined) checkInitrd(initrd)
  const image = isBzImage(kernel) ? await prepareBzImage(options) : prepareElf(kernel)
  const commandLine = encodeCommandLine(options.commandLine ?? '', image.header.commandLineLimit)

  if (!isLoadable(memory, image.range) || image.range.end > lowRamEnd(memory.ramSize)) {
    throw outside(memory, image.range.start, image.range.end - image.range.start, 'The kernel')
  }
  if (image.range.start < LINUX_LAYOUT.COMMAND_LINE + LINUX_LAYOUT.COMMAND_LINE_LIMIT) {
    throw new FirmwareError('ERR_KERNEL_UNSUPPORTED', 'The kernel wants the low memory that its loader needs')
  }
  const initrdRange = initrd === undefined ? undefined : placeInitrd(memory, image.header, image.range, initrd.length)

  image.store(memory)
  if (initrd !== undefined && initrdRange !== undefined) store(memory, initrdRange.start, initrd, 'The initial ramdisk')
  const rsdp = options.acpi === false ? undefined : installAcpiTables(memory, options.acpi)
  store(memory, LINUX_LAYOUT.COMMAND_LINE, commandLine, 'The command line')
  const zeroPage = buildZeroPage({
    header: image.header.header,
    memoryMap,
    commandLine: LINUX_LAYOUT.COMMAND_LINE,
    initrd: initrdRange,
    rsdp,
  })
  store(memory, LINUX_LAYOUT.ZERO_PAGE, zeroPage, 'The zero page')
  writeIdentityMap(memory, LINUX_LAYOUT.PAGE_TABLE)
  const registers = { rsi: LINUX_LAYOUT.ZERO_PAGE, rsp: LINUX_LAYOUT.STACK_TOP }
  enterLongMode(memory, vp, { entry: image.entry, gdt: LINUX_LAYOUT.GDT, registers }, LINUX_LAYOUT.PAGE_TABLE)
  const loaded: LoadedKernel = {
    kind: isBzImage(kernel) ? 'linux-bzimage' : 'linux-elf',
    entry: image.entry,
    decompressedBy: image.decompressedBy,
    kernelRange: image.range,
    initrdRange,
    rsdp,
  }
  options.logger?.log('debug', 'Linux kernel loaded', { ...loaded })
  return loaded
}

/**
 * The least RAM in bytes that `kernel` can be loaded into together with `initrd`, without what it needs to run.
 *
 * @throws FirmwareError for a kernel that cannot be loaded at all
 */
export function requiredLinuxMemory(kernel: Uint8Array, initrd?: Uint8Array): number {
  const range = isBzImage(kernel) ? bzImageRange(parseSetupHeader(kernel)) : elfRange(linuxElf(kernel))
  return alignUp(range.end, PAGE) + alignUp(initrd?.length ?? 0, PAGE)
}

/** A kernel that is ready to be stored. */
interface PreparedKernel {
  readonly header: Pick<SetupHeader, 'header' | 'initrdAddressMax' | 'commandLineLimit' | 'aboveFourGigabytes'>
  readonly range: PhysicalRange
  readonly entry: number
  readonly decompressedBy: LoadedKernel['decompressedBy']
  store(memory: GuestMemory): void
}

async function prepareBzImage(options: BootOptions): Promise<PreparedKernel> {
  const header = parseSetupHeader(options.kernel)
  const range = bzImageRange(header)
  const payload = await decompressPayload(options, header)
  if (payload === undefined) {
    const { kernelOffset, kernelLength } = header
    return {
      header,
      range,
      entry: range.start + ENTRY_64_OFFSET,
      decompressedBy: 'guest',
      store(memory) {
        store(memory, range.start, options.kernel.subarray(kernelOffset, kernelOffset + kernelLength), 'The kernel')
      },
    }
  }
  const { file, own } = payload
  const elf = linuxElf(file)
  const segments = segmentRange(elf.segments)
  return {
    header,
    range: { start: Math.min(range.start, segments.start), end: Math.max(range.end, segments.end) },
    entry: Number(elf.entry),
    decompressedBy: 'host',
    store(memory) {
      loadSegments(memory, file, elf.segments)
      if (own) release(file)
    },
  }
}

function prepareElf(file: Uint8Array): PreparedKernel {
  const elf = linuxElf(file)
  const range = elfRange(elf)
  return {
    header: synthesizeHeader(),
    range,
    entry: Number(elf.entry),
    decompressedBy: 'none',
    store(memory) {
      loadSegments(memory, file, elf.segments)
      clear(memory, range.end - ELF_SLACK, ELF_SLACK, 'The kernel')
    },
  }
}

/** The memory that a bzImage needs before it reads its memory map. */
function bzImageRange(header: SetupHeader): PhysicalRange {
  const start = header.preferredAddress
  return { start, end: start + Math.max(header.initSize, alignUp(header.kernelLength, PAGE)) }
}

function elfRange(elf: ElfImage): PhysicalRange {
  const { start, end } = segmentRange(elf.segments)
  return { start, end: alignUp(end, PAGE) + ELF_SLACK }
}

/** An ELF file with Linux's 64-bit entry: a physical address in one of its segments. */
function linuxElf(file: Uint8Array): ElfImage {
  const elf = parseElf(file)
  if (elf.class !== 64 || elf.machine !== ELF_MACHINE.X86_64) {
    throw new FirmwareError('ERR_KERNEL_UNSUPPORTED', 'The kernel is a 32-bit one; a 64-bit kernel is needed')
  }
  const hasEntry = elf.segments.some(
    ({ physicalAddress, fileSize }) =>
      elf.entry >= BigInt(physicalAddress) && elf.entry < BigInt(physicalAddress + fileSize),
  )
  if (!hasEntry) {
    throw new FirmwareError('ERR_KERNEL_FORMAT', 'The entry of the kernel is not in its segments', {
      data: { entry: elf.entry },
    })
  }
  return elf
}

function encodeCommandLine(text: string, limit: number): Uint8Array {
  const bytes = cString(text)
  if (bytes.indexOf(0) !== bytes.length - 1) {
    throw new FirmwareError('ERR_COMMAND_LINE', 'The command line holds a NUL character')
  }
  const longest = Math.min(limit, LINUX_LAYOUT.COMMAND_LINE_LIMIT - 1)
  if (bytes.length - 1 > longest) {
    throw new FirmwareError('ERR_COMMAND_LINE', `The command line is longer than the kernel's ${longest} bytes`, {
      data: { length: bytes.length - 1, limit: longest },
    })
  }
  return bytes
}

/** As high as the kernel lets it be, so that it is out of the way; above 4 GiB if it fits nowhere else. */
function placeInitrd(
  memory: GuestMemory,
  header: PreparedKernel['header'],
  kernel: PhysicalRange,
  length: number,
): PhysicalRange {
  const top = Math.min(lowRamEnd(memory.ramSize), header.initrdAddressMax + 1)
  const start = alignDown(top - length, PAGE)
  if (start >= kernel.end) return { start, end: start + length }
  const high = alignDown(ramEnd(memory.ramSize) - length, PAGE)
  if (header.aboveFourGigabytes && high >= HIGH_RAM_BASE) return { start: high, end: high + length }
  throw new FirmwareError('ERR_INITRD_TOO_LARGE', `No room for an initial ramdisk of ${length} bytes`, {
    hint: 'Give the virtual machine more memory.',
    data: { length, ramSize: memory.ramSize, available: Math.max(0, top - kernel.end) },
  })
}
