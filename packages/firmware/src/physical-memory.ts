// Guarded stores into guest memory for the loaders: a range that is not RAM becomes an error of this package.

import type { GuestMemory } from '@partita/interface'
import type { ElfSegment } from './elf.ts'
import { FirmwareError } from './firmware-error.ts'
import { LEGACY_HOLE_END, LEGACY_HOLE_START, lowRamEnd, ramEnd } from './memory-map.ts'

/** A range of guest physical addresses: from `start` to before `end`. */
export interface PhysicalRange {
  readonly start: number
  readonly end: number
}

/** Whether two ranges have a byte in common. */
export function overlaps(a: PhysicalRange, b: PhysicalRange): boolean {
  return a.start < b.end && b.start < a.end
}

/**
 * Store `bytes`.
 * @throws FirmwareError `ERR_MEMORY_TOO_SMALL` when part of the range is not RAM
 */
export function store(memory: GuestMemory, gpa: number, bytes: Uint8Array, what: string): void {
  if (bytes.length > 0 && !memory.write(gpa, bytes)) throw outside(memory, gpa, bytes.length, what)
}

/** Fill with zeros, with the error of {@link store}. */
export function clear(memory: GuestMemory, gpa: number, length: number, what: string): void {
  if (length > 0 && !memory.fill(gpa, length, 0)) throw outside(memory, gpa, length, what)
}

/** Whether all of a range is RAM that an operating system may be loaded into: conventional memory or RAM from 1 MiB. */
export function isLoadable(memory: GuestMemory, range: PhysicalRange): boolean {
  const { start, end } = range
  if (end <= start || start < 0) return false
  const low = lowRamEnd(memory.ramSize)
  const inside =
    end <= LEGACY_HOLE_START ||
    (start >= LEGACY_HOLE_END && end <= low) ||
    (start >= 0x1_0000_0000 && end <= ramEnd(memory.ramSize))
  return inside && memory.isRam(start, end - start)
}

/**
 * Copy the segments of an ELF file to their physical addresses, and clear what they have in memory alone.
 * @throws FirmwareError `ERR_MEMORY_TOO_SMALL` when a segment is not in RAM, or in the BIOS area
 */
export function loadSegments(memory: GuestMemory, file: Uint8Array, segments: readonly ElfSegment[]): void {
  for (const { physicalAddress, memorySize } of segments) {
    if (!isLoadable(memory, { start: physicalAddress, end: physicalAddress + memorySize })) {
      throw outside(memory, physicalAddress, memorySize, 'A segment of the kernel')
    }
  }
  for (const { fileOffset, fileSize, physicalAddress, memorySize } of segments) {
    store(memory, physicalAddress, file.subarray(fileOffset, fileOffset + fileSize), 'A segment of the kernel')
    clear(memory, physicalAddress + fileSize, memorySize - fileSize, 'A segment of the kernel')
  }
}

/** The error for a range that is not RAM. */
export function outside(memory: GuestMemory, gpa: number, length: number, what: string): FirmwareError {
  const range = `0x${gpa.toString(16)}–0x${(gpa + length).toString(16)}`
  return new FirmwareError('ERR_MEMORY_TOO_SMALL', `${what} does not fit in memory (${range})`, {
    hint: 'Give the virtual machine more memory.',
    data: { ramSize: memory.ramSize, gpa, length },
  })
}
