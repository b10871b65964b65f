/**
 * Builders of small kernel images around given machine code, for tests of loaders, processors and command lines: multiboot 1 and 2 as ELF or
 * with addresses in the header, and a bzImage around a compressed ELF file.
 *
 * @packageDocumentation
 */
import { alignUp, viewOf } from './bytes.ts'
import { ELF_MACHINE } from './elf.ts'
import { BOOT_FLAG_MAGIC, ENTRY_64_OFFSET, HEADER_MAGIC, LOADED_HIGH, SETUP, XLF } from './linux/setup-header.ts'
import { MULTIBOOT1, MULTIBOOT2 } from './multiboot/header.ts'

/** One segment of {@link buildElf}. */
export interface TestSegment {
  /** Physical address that it is loaded at. */
  readonly address: number
  /** What is in the file. */
  readonly bytes: Uint8Array
  /** Bytes in memory. Default: those in the file. */
  readonly memorySize?: number
  /** Default: the physical address. */
  readonly virtualAddress?: bigint
}

/** An ELF executable for i386 (`bits` 32) or x86-64. Segments begin at multiples of 4 KiB in the file, the first at 4 KiB. */
export function buildElf(bits: 32 | 64, entry: bigint | number, segments: readonly TestSegment[]): Uint8Array {
  const PAGE = 0x1000
  const wide = bits === 64
  const header = wide ? 64 : 52
  const entrySize = wide ? 56 : 32
  const offsets: number[] = []
  let size = PAGE
  for (const { bytes } of segments) {
    offsets.push(size)
    size = alignUp(size + bytes.length, PAGE)
  }
  const last = segments.length - 1
  const file = new Uint8Array(last < 0 ? PAGE : offsets[last]! + segments[last]!.bytes.length)
  const view = viewOf(file)
  const word = (offset: number, value: bigint | number): void =>
    wide ? view.setBigUint64(offset, BigInt(value), true) : view.setUint32(offset, Number(value), true)
  file.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1])
  view.setUint16(16, 2, true)
  view.setUint16(18, wide ? ELF_MACHINE.X86_64 : ELF_MACHINE.I386, true)
  view.setUint32(20, 1, true)
  word(24, entry)
  word(wide ? 32 : 28, header)
  view.setUint16(wide ? 52 : 40, header, true)
  view.setUint16(wide ? 54 : 42, entrySize, true)
  view.setUint16(wide ? 56 : 44, segments.length, true)
  segments.forEach(({ address, bytes, memorySize, virtualAddress }, index) => {
    const at = header + index * entrySize
    view.setUint32(at, 1, true)
    view.setUint32(at + (wide ? 4 : 24), 7, true)
    word(at + (wide ? 8 : 4), offsets[index]!)
    word(at + (wide ? 16 : 8), virtualAddress ?? BigInt(address))
    word(at + (wide ? 24 : 12), address)
    word(at + (wide ? 32 : 16), bytes.length)
    word(at + (wide ? 40 : 20), memorySize ?? bytes.length)
    word(at + (wide ? 48 : 28), PAGE)
    file.set(bytes, offsets[index]!)
  })
  return file
}

/** Options of {@link buildMultiboot1} and {@link buildMultiboot2}. */
export interface TestMultibootOptions {
  /** Machine code; its first byte is the entry. It runs in 32-bit protected mode. */
  readonly code: Uint8Array
  /** Where the header comes to lie, with the code behind it. Default: 1 MiB. */
  readonly address?: number
  /** `elf32` and `elf64` for ELF files, `raw` for addresses in the header. Default: `elf32`. */
  readonly container?: 'elf32' | 'elf64' | 'raw'
  /** Bytes to clear behind the code. Default: 0. */
  readonly bss?: number
}

/** Bytes from the header to the code: where code that is assembled for an address must be put. */
export const TEST_CODE_OFFSET = 64
const DEFAULT_ADDRESS = 0x10_0000

/** A multiboot 1 image. The code is at `address + TEST_CODE_OFFSET`. */
export function buildMultiboot1(options: TestMultibootOptions): Uint8Array {
  const { code, address = DEFAULT_ADDRESS, container = 'elf32', bss = 0 } = options
  const image = new Uint8Array(TEST_CODE_OFFSET + code.length)
  const view = viewOf(image)
  const flags = container === 'raw' ? 0x1_0003 : 0x3
  view.setUint32(0, MULTIBOOT1.HEADER, true)
  view.setUint32(4, flags, true)
  view.setUint32(8, -(MULTIBOOT1.HEADER + flags), true)
  if (container === 'raw') {
    const end = address + image.length
    const fields = [address, address, end, end + bss, address + TEST_CODE_OFFSET]
    fields.forEach((field, index) => {
      view.setUint32(12 + index * 4, field, true)
    })
  }
  image.set(code, TEST_CODE_OFFSET)
  return wrap(image, address, container, bss)
}

/** A multiboot 2 image. The code is at `address + TEST_CODE_OFFSET`. */
export function buildMultiboot2(options: TestMultibootOptions): Uint8Array {
  const { code, address = DEFAULT_ADDRESS, container = 'elf32', bss = 0 } = options
  const image = new Uint8Array(TEST_CODE_OFFSET + code.length)
  const view = viewOf(image)
  const length = TEST_CODE_OFFSET
  view.setUint32(0, MULTIBOOT2.HEADER, true)
  view.setUint32(8, length, true)
  view.setUint32(12, -(MULTIBOOT2.HEADER + length), true)
  let tag = 16
  if (container === 'raw') {
    const end = address + image.length
    view.setUint16(tag, 2, true)
    view.setUint32(tag + 4, 24, true)
    const fields = [address, address, end, end + bss]
    fields.forEach((field, index) => {
      view.setUint32(tag + 8 + index * 4, field, true)
    })
    view.setUint16(tag + 24, 3, true)
    view.setUint32(tag + 28, 12, true)
    view.setUint32(tag + 32, address + TEST_CODE_OFFSET, true)
    tag += 40
  }
  // The end tag: type 0, size 8.
  view.setUint32(tag + 4, 8, true)
  image.set(code, TEST_CODE_OFFSET)
  return wrap(image, address, container, bss)
}

function wrap(image: Uint8Array, address: number, container: 'elf32' | 'elf64' | 'raw', bss: number): Uint8Array {
  if (container === 'raw') return image
  const segment = { address, bytes: image, memorySize: image.length + bss }
  return buildElf(container === 'elf32' ? 32 : 64, address + TEST_CODE_OFFSET, [segment])
}

/** Options of {@link buildBzImage}. */
export interface TestBzImageOptions {
  /** The payload as it stands in the image: compressed, or an ELF file. */
  readonly payload: Uint8Array
  /** Machine code at the 64-bit entry. Default: HLT and a jump back to it. */
  readonly code?: Uint8Array
  /** Default: 16 MiB. */
  readonly preferredAddress?: number
  /** Default: 8 MiB. */
  readonly initSize?: number
  /** Default: 2.15. */
  readonly version?: number
  /** Longest command line. Default: 2,047. */
  readonly commandLineLimit?: number
}

/** A bzImage with a setup header and nothing in its real-mode part. */
export function buildBzImage(options: TestBzImageOptions): Uint8Array {
  const { payload, code = Uint8Array.of(0xf4, 0xeb, 0xfd) } = options
  const SETUP_SECTORS = 1
  const HEADER_END = 0x26c
  const setup = (SETUP_SECTORS + 1) * 512
  const payloadOffset = alignUp(ENTRY_64_OFFSET + code.length, 16)
  const kernelLength = alignUp(payloadOffset + payload.length, 16)
  const file = new Uint8Array(setup + kernelLength)
  const view = viewOf(file)
  file.set([0x4d, 0x5a])
  file[SETUP.SETUP_SECTS] = SETUP_SECTORS
  view.setUint32(SETUP.SYSSIZE, kernelLength / 16, true)
  view.setUint16(SETUP.BOOT_FLAG, BOOT_FLAG_MAGIC, true)
  file.set([0xeb, HEADER_END - SETUP.HEADER], SETUP.JUMP)
  view.setUint32(SETUP.HEADER, HEADER_MAGIC, true)
  view.setUint16(SETUP.VERSION, options.version ?? 0x20f, true)
  file[SETUP.LOADFLAGS] = LOADED_HIGH
  view.setUint32(SETUP.CODE32_START, 0x10_0000, true)
  view.setUint32(SETUP.INITRD_ADDR_MAX, 0x7fff_ffff, true)
  view.setUint32(SETUP.KERNEL_ALIGNMENT, 0x20_0000, true)
  file[SETUP.RELOCATABLE_KERNEL] = 1
  view.setUint16(SETUP.XLOADFLAGS, XLF.KERNEL_64 | XLF.CAN_BE_LOADED_ABOVE_4G, true)
  view.setUint32(SETUP.CMDLINE_SIZE, options.commandLineLimit ?? 2047, true)
  view.setUint32(SETUP.PAYLOAD_OFFSET, payloadOffset, true)
  view.setUint32(SETUP.PAYLOAD_LENGTH, payload.length, true)
  view.setBigUint64(SETUP.PREF_ADDRESS, BigInt(options.preferredAddress ?? 0x100_0000), true)
  view.setUint32(SETUP.INIT_SIZE, options.initSize ?? 0x80_0000, true)
  file.set(code, setup + ENTRY_64_OFFSET)
  file.set(payload, setup + payloadOffset)
  return file
}
