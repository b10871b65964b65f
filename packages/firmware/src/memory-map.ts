// The physical memory map of a partition: which guest physical ranges are RAM, and the E820 map that a boot loader hands over
// (ACPI specification 6.5, chapter 15, "System Address Map Interfaces").

import { FirmwareError } from './firmware-error.ts'

/** RAM ends here at the latest and goes on at 4 GiB: the top of the 32-bit space is for devices. */
export const LOW_RAM_LIMIT = 0xc000_0000
/** Where RAM goes on that does not fit under {@link LOW_RAM_LIMIT}. */
export const HIGH_RAM_BASE = 0x1_0000_0000
/** VGA memory and option ROMs: no conventional RAM from here … */
export const LEGACY_HOLE_START = 0xa_0000
/** … to here. */
export const LEGACY_HOLE_END = 0x10_0000
/** Where the tables stand, in the part of the legacy hole that is RAM (the BIOS area of a PC). */
export const TABLES_START = 0xe_0000
/** Where the SMBIOS structures stand in the BIOS area, and the ACPI tables end at the latest. */
export const SMBIOS_START = 0xf_8000
/** End of the BIOS area. */
export const TABLES_END = 0x10_0000
/** The least RAM that anything boots with. */
export const MINIMUM_RAM = 0x20_0000
/** The most RAM that the map describes: a physical address has 46 bits here. */
const MAXIMUM_RAM: number = 2 ** 45

/** Address range types. */
export const E820_TYPE = { RAM: 1, RESERVED: 2, ACPI_RECLAIMABLE: 3, ACPI_NVS: 4, UNUSABLE: 5 } as const
/** One of {@link E820_TYPE}. */
export type E820Type = (typeof E820_TYPE)[keyof typeof E820_TYPE]

/** One range of the memory map, in bytes. */
export interface E820Entry {
  /** Guest physical address of its first byte. */
  readonly base: number
  /** Bytes of it. */
  readonly length: number
  /** What is there. */
  readonly type: E820Type
}

/** Options of {@link buildMemoryMap}. */
export interface MemoryMapOptions {
  /** End of low RAM, if it is not {@link LOW_RAM_LIMIT}. */
  readonly lowRamLimit?: number
}

/**
 * The memory map for `ramSize` bytes of RAM, sorted and without overlaps: conventional memory, the reserved BIOS area, RAM from 1 MiB, and
 * the rest from 4 GiB.
 *
 * @throws FirmwareError `ERR_MEMORY_TOO_SMALL`, `ERR_MEMORY_TOO_LARGE`
 */
export function buildMemoryMap(ramSize: number, options: MemoryMapOptions = {}): E820Entry[] {
  const limit = options.lowRamLimit ?? LOW_RAM_LIMIT
  if (!(ramSize >= MINIMUM_RAM)) {
    throw new FirmwareError('ERR_MEMORY_TOO_SMALL', `${ramSize} bytes of memory are too few to boot anything`, {
      data: { ramSize, required: MINIMUM_RAM },
    })
  }
  if (ramSize > MAXIMUM_RAM) {
    throw new FirmwareError('ERR_MEMORY_TOO_LARGE', `${ramSize} bytes of memory are more than a partition can have`, {
      data: { ramSize, maximum: MAXIMUM_RAM },
    })
  }
  const size = ramSize - (ramSize % 0x1000)
  const low = Math.min(size, limit)
  const map: E820Entry[] = [
    { base: 0, length: LEGACY_HOLE_START, type: E820_TYPE.RAM },
    { base: TABLES_START, length: TABLES_END - TABLES_START, type: E820_TYPE.RESERVED },
    { base: LEGACY_HOLE_END, length: low - LEGACY_HOLE_END, type: E820_TYPE.RAM },
  ]
  if (size > low) map.push({ base: HIGH_RAM_BASE, length: size - low, type: E820_TYPE.RAM })
  return map
}

/** Guest physical address after the last byte of RAM under 4 GiB. */
export function lowRamEnd(ramSize: number): number {
  return Math.min(ramSize - (ramSize % 0x1000), LOW_RAM_LIMIT)
}

/** Guest physical address after the last byte of RAM. */
export function ramEnd(ramSize: number): number {
  const size = ramSize - (ramSize % 0x1000)
  return size > LOW_RAM_LIMIT ? HIGH_RAM_BASE + size - LOW_RAM_LIMIT : size
}
