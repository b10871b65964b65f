// ELF executables of a kernel: header and program headers, 32- and 64-bit, little-endian (System V ABI, chapters 4 and 5). Section
// headers are not needed to load a kernel and are not read.

import { readU64, viewOf } from './bytes.ts'
import { FirmwareError } from './firmware-error.ts'

/** Values of e_machine. */
export const ELF_MACHINE = { I386: 3, X86_64: 62 } as const

/** A PT_LOAD entry. Addresses are physical, all values are below 2^53 and the file range is in the file. */
export interface ElfSegment {
  readonly fileOffset: number
  readonly fileSize: number
  readonly physicalAddress: number
  /** As in the file, 64 bits: kernels live at its top. */
  readonly virtualAddress: bigint
  readonly memorySize: number
}

/** What a loader needs of an ELF file. */
export interface ElfImage {
  readonly class: 32 | 64
  readonly machine: number
  /** As in the file: physical for Linux, virtual or physical for others. */
  readonly entry: bigint
  readonly segments: readonly ElfSegment[]
}

const PT_LOAD = 1

/** Whether `bytes` begin like an ELF file. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
}

/**
 * Read the headers of an ELF executable for x86.
 *
 * @throws FirmwareError `ERR_KERNEL_FORMAT`, `ERR_KERNEL_TRUNCATED`, `ERR_KERNEL_UNSUPPORTED`
 */
export function parseElf(bytes: Uint8Array): ElfImage {
  if (!isElf(bytes)) throw new FirmwareError('ERR_KERNEL_FORMAT', 'Not an ELF file')
  const view = viewOf(bytes)
  const wide = bytes[4] === 2
  if ((bytes[4] !== 1 && !wide) || (bytes.length > 5 && bytes[5] !== 1)) {
    throw new FirmwareError('ERR_KERNEL_FORMAT', 'Not a little-endian ELF file of 32 or 64 bits')
  }
  if (bytes.length < (wide ? 64 : 52)) throw truncated(bytes.length, wide ? 64 : 52)
  const type = view.getUint16(16, true)
  const machine = view.getUint16(18, true)
  if (machine !== ELF_MACHINE.I386 && machine !== ELF_MACHINE.X86_64) {
    throw new FirmwareError('ERR_KERNEL_UNSUPPORTED', `The kernel is for another processor (ELF machine ${machine})`, {
      data: { machine },
    })
  }
  if (type !== 2 && type !== 3) {
    throw new FirmwareError('ERR_KERNEL_UNSUPPORTED', 'The ELF file is not an executable', { data: { type } })
  }
  const entry = wide ? view.getBigUint64(24, true) : BigInt(view.getUint32(24, true))
  const tableOffset = wide ? readU64(view, 32) : view.getUint32(28, true)
  const entrySize = view.getUint16(wide ? 54 : 42, true)
  const count = view.getUint16(wide ? 56 : 44, true)
  if (count === 0 || entrySize < (wide ? 56 : 32)) {
    throw new FirmwareError('ERR_KERNEL_FORMAT', 'The ELF file has no program headers')
  }
  if (tableOffset + count * entrySize > bytes.length) throw truncated(bytes.length, tableOffset + count * entrySize)
  const segments: ElfSegment[] = []
  for (let index = 0; index < count; index++) {
    const at = tableOffset + index * entrySize
    if (view.getUint32(at, true) !== PT_LOAD) continue
    const segment: ElfSegment = wide
      ? {
          fileOffset: readU64(view, at + 8),
          virtualAddress: view.getBigUint64(at + 16, true),
          physicalAddress: readU64(view, at + 24),
          fileSize: readU64(view, at + 32),
          memorySize: readU64(view, at + 40),
        }
      : {
          fileOffset: view.getUint32(at + 4, true),
          virtualAddress: BigInt(view.getUint32(at + 8, true)),
          physicalAddress: view.getUint32(at + 12, true),
          fileSize: view.getUint32(at + 16, true),
          memorySize: view.getUint32(at + 20, true),
        }
    if (segment.memorySize === 0) continue
    if (segment.fileSize > segment.memorySize) {
      throw new FirmwareError('ERR_KERNEL_FORMAT', 'An ELF segment has more bytes in the file than in memory')
    }
    if (!Number.isSafeInteger(segment.physicalAddress + segment.memorySize)) {
      throw new FirmwareError('ERR_KERNEL_FORMAT', 'An ELF segment lies outside the physical address space')
    }
    if (segment.fileSize > 0 && !(segment.fileOffset + segment.fileSize <= bytes.length)) {
      throw truncated(bytes.length, segment.fileOffset + segment.fileSize)
    }
    segments.push(segment)
  }
  if (segments.length === 0) throw new FirmwareError('ERR_KERNEL_FORMAT', 'The ELF file has nothing to load')
  return { class: wide ? 64 : 32, machine, entry, segments }
}

/** The physical range that the segments cover. */
export function segmentRange(segments: readonly ElfSegment[]): { readonly start: number; readonly end: number } {
  let start = Number.POSITIVE_INFINITY
  let end = 0
  for (const { physicalAddress, memorySize } of segments) {
    start = Math.min(start, physicalAddress)
    end = Math.max(end, physicalAddress + memorySize)
  }
  return { start, end }
}

function truncated(length: number, needed: number): FirmwareError {
  return new FirmwareError('ERR_KERNEL_TRUNCATED', `The ELF file ends at ${length} bytes; its headers need ${needed}`, {
    data: { length, needed },
  })
}
