// The zero page, `struct boot_params`, that a Linux kernel is handed in RSI (Linux/x86, "The zero page").

import { viewOf } from '../bytes.ts'
import type { E820Entry } from '../memory-map.ts'
import { BOOT_FLAG_MAGIC, HEADER_MAGIC, LOADED_HIGH, SETUP, type SetupHeader, XLF } from './setup-header.ts'

/** Offsets of fields outside the setup header. */
export const ZERO_PAGE = {
  ACPI_RSDP_ADDR: 0x070,
  EXT_RAMDISK_IMAGE: 0x0c0,
  EXT_RAMDISK_SIZE: 0x0c4,
  EXT_CMD_LINE_PTR: 0x0c8,
  E820_ENTRIES: 0x1e8,
  E820_TABLE: 0x2d0,
} as const

/** Bytes of the zero page. */
const ZERO_PAGE_SIZE = 0x1000
const E820_ENTRY_SIZE = 20
const E820_MAX_ENTRIES = 128
/** A loader without a number of its own. */
const LOADER_UNDEFINED = 0xff

/** What goes into a zero page. Addresses are guest physical. */
export interface ZeroPageContents {
  /** The kernel's setup header, from its offset 0x1F1. */
  readonly header: Uint8Array
  readonly memoryMap: readonly E820Entry[]
  readonly commandLine: number
  readonly initrd: { readonly start: number; readonly end: number } | undefined
  readonly rsdp: number | undefined
}

/** Make a zero page. */
export function buildZeroPage(contents: ZeroPageContents): Uint8Array {
  const page = new Uint8Array(ZERO_PAGE_SIZE)
  const view = viewOf(page)
  page.set(contents.header, SETUP.SETUP_SECTS)
  page[SETUP.TYPE_OF_LOADER] = LOADER_UNDEFINED
  view.setUint32(SETUP.CMD_LINE_PTR, contents.commandLine % 2 ** 32, true)
  view.setUint32(ZERO_PAGE.EXT_CMD_LINE_PTR, Math.floor(contents.commandLine / 2 ** 32), true)
  // A header from a file may carry anything here: these two are the loader's.
  view.setBigUint64(SETUP.SETUP_DATA, 0n, true)
  const start = contents.initrd?.start ?? 0
  const size = contents.initrd === undefined ? 0 : contents.initrd.end - start
  view.setUint32(SETUP.RAMDISK_IMAGE, start % 2 ** 32, true)
  view.setUint32(ZERO_PAGE.EXT_RAMDISK_IMAGE, Math.floor(start / 2 ** 32), true)
  view.setUint32(SETUP.RAMDISK_SIZE, size % 2 ** 32, true)
  view.setUint32(ZERO_PAGE.EXT_RAMDISK_SIZE, Math.floor(size / 2 ** 32), true)
  view.setBigUint64(ZERO_PAGE.ACPI_RSDP_ADDR, BigInt(contents.rsdp ?? 0), true)
  const entries = contents.memoryMap.slice(0, E820_MAX_ENTRIES)
  page[ZERO_PAGE.E820_ENTRIES] = entries.length
  entries.forEach(({ base, length, type }, index) => {
    const at = ZERO_PAGE.E820_TABLE + index * E820_ENTRY_SIZE
    view.setBigUint64(at, BigInt(base), true)
    view.setBigUint64(at + 8, BigInt(length), true)
    view.setUint32(at + 16, type, true)
  })
  return page
}

/** The header for a kernel that comes as a bare ELF file and has none (`vmlinux`). */
export function synthesizeHeader(): Pick<
  SetupHeader,
  'header' | 'initrdAddressMax' | 'commandLineLimit' | 'aboveFourGigabytes'
> {
  const page = new Uint8Array(0x290)
  const view = viewOf(page)
  const initrdAddressMax = 0x7fff_ffff
  const commandLineLimit = 2047
  view.setUint16(SETUP.BOOT_FLAG, BOOT_FLAG_MAGIC, true)
  view.setUint32(SETUP.HEADER, HEADER_MAGIC, true)
  view.setUint16(SETUP.VERSION, 0x20f, true)
  page[SETUP.LOADFLAGS] = LOADED_HIGH
  view.setUint32(SETUP.INITRD_ADDR_MAX, initrdAddressMax, true)
  view.setUint32(SETUP.KERNEL_ALIGNMENT, 0x20_0000, true)
  view.setUint16(SETUP.XLOADFLAGS, XLF.KERNEL_64 | XLF.CAN_BE_LOADED_ABOVE_4G, true)
  view.setUint32(SETUP.CMDLINE_SIZE, commandLineLimit, true)
  return {
    header: page.subarray(SETUP.SETUP_SECTS, 0x26c),
    initrdAddressMax,
    commandLineLimit,
    aboveFourGigabytes: true,
  }
}
