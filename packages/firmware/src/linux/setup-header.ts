// The setup header of a bzImage (Linux/x86 boot protocol, "The Real-Mode Kernel Header"): where things are in the file, and what the
// kernel asks of its loader. Offsets are those of the specification, from the start of the file and of the zero page alike.

import { viewOf } from '../bytes.ts'
import { FirmwareError } from '../firmware-error.ts'

/** Offsets of the fields that the loader reads or writes. */
export const SETUP = {
  SETUP_SECTS: 0x1f1,
  SYSSIZE: 0x1f4,
  BOOT_FLAG: 0x1fe,
  JUMP: 0x200,
  HEADER: 0x202,
  VERSION: 0x206,
  TYPE_OF_LOADER: 0x210,
  LOADFLAGS: 0x211,
  CODE32_START: 0x214,
  RAMDISK_IMAGE: 0x218,
  RAMDISK_SIZE: 0x21c,
  CMD_LINE_PTR: 0x228,
  INITRD_ADDR_MAX: 0x22c,
  KERNEL_ALIGNMENT: 0x230,
  RELOCATABLE_KERNEL: 0x234,
  MIN_ALIGNMENT: 0x235,
  XLOADFLAGS: 0x236,
  CMDLINE_SIZE: 0x238,
  PAYLOAD_OFFSET: 0x248,
  PAYLOAD_LENGTH: 0x24c,
  SETUP_DATA: 0x250,
  PREF_ADDRESS: 0x258,
  INIT_SIZE: 0x260,
} as const

/** Bits of xloadflags. */
export const XLF = { KERNEL_64: 1, CAN_BE_LOADED_ABOVE_4G: 2 } as const

export const BOOT_FLAG_MAGIC = 0xaa55
export const HEADER_MAGIC = 0x5372_6448
/** LOADED_HIGH of loadflags: the protected-mode part goes to 1 MiB and not to 64 KiB. */
export const LOADED_HIGH = 1

/** The 64-bit entry is here from the start of the loaded protected-mode part. */
export const ENTRY_64_OFFSET = 0x200
/** The zero page ends the header's room here (edd_mbr_sig_buffer follows). */
const HEADER_LIMIT = 0x290
/** xloadflags came with this version, and with it the 64-bit boot protocol. */
const LEAST_VERSION = 0x20c
const SECTOR = 512

/** What the loader needs to know of a bzImage. Addresses and sizes are bytes. */
export interface SetupHeader {
  /** Boot protocol version, e.g. 0x20F for 2.15. */
  readonly version: number
  /** The bytes 0x1F1 to the header's end, as they go to the zero page. */
  readonly header: Uint8Array
  /** File range of the protected-mode part. */
  readonly kernelOffset: number
  readonly kernelLength: number
  /** File range of the compressed ELF file. */
  readonly payloadOffset: number
  readonly payloadLength: number
  readonly preferredAddress: number
  readonly alignment: number
  readonly relocatable: boolean
  /** Memory from the load address that the kernel uses before it reads the memory map. */
  readonly initSize: number
  /** Last address that a byte of the initial ramdisk may have (without {@link SetupHeader.aboveFourGigabytes}). */
  readonly initrdAddressMax: number
  /** Longest command line without its NUL. */
  readonly commandLineLimit: number
  readonly aboveFourGigabytes: boolean
}

/** Whether `bytes` carry the marks of a Linux kernel with a setup header. */
export function isBzImage(bytes: Uint8Array): boolean {
  if (bytes.length < SETUP.HEADER + 4) return false
  const view = viewOf(bytes)
  return (
    view.getUint16(SETUP.BOOT_FLAG, true) === BOOT_FLAG_MAGIC && view.getUint32(SETUP.HEADER, true) === HEADER_MAGIC
  )
}

/**
 * Read and check the setup header.
 *
 * @throws FirmwareError `ERR_KERNEL_FORMAT`, `ERR_KERNEL_TRUNCATED`, `ERR_KERNEL_UNSUPPORTED`
 */
export function parseSetupHeader(bytes: Uint8Array): SetupHeader {
  if (!isBzImage(bytes)) throw new FirmwareError('ERR_KERNEL_FORMAT', 'Not a Linux kernel image (no setup header)')
  const view = viewOf(bytes)
  if (bytes.length < SETUP.VERSION + 2) throw truncated(bytes.length, SETUP.VERSION + 2)
  const version = view.getUint16(SETUP.VERSION, true)
  if (version < LEAST_VERSION) {
    const name = `${version >> 8}.${String(version & 0xff).padStart(2, '0')}`
    throw new FirmwareError('ERR_KERNEL_UNSUPPORTED', `Boot protocol ${name} is too old: 2.12 (Linux 3.8) is needed`, {
      data: { version },
    })
  }
  // The byte at 0x201 is the operand of the jump over the header: where it lands is the header's end.
  const headerEnd = Math.min(SETUP.HEADER + bytes[SETUP.JUMP + 1]!, HEADER_LIMIT)
  if (headerEnd < SETUP.INIT_SIZE + 4) throw new FirmwareError('ERR_KERNEL_FORMAT', 'The setup header is too short')
  if (bytes.length < headerEnd) throw truncated(bytes.length, headerEnd)

  const setupSectors = bytes[SETUP.SETUP_SECTS] || 4
  const kernelOffset = (setupSectors + 1) * SECTOR
  const announced = view.getUint32(SETUP.SYSSIZE, true) * 16
  // Some builds round the size up to a paragraph without padding the file.
  if (bytes.length <= kernelOffset + announced - 16 || announced === 0 || bytes.length <= kernelOffset) {
    throw truncated(bytes.length, kernelOffset + Math.max(announced, ENTRY_64_OFFSET))
  }
  const kernelLength = Math.min(announced, bytes.length - kernelOffset)
  if (kernelLength <= ENTRY_64_OFFSET) throw new FirmwareError('ERR_KERNEL_FORMAT', 'The kernel has no 64-bit entry')

  const xloadflags = view.getUint16(SETUP.XLOADFLAGS, true)
  if ((xloadflags & XLF.KERNEL_64) === 0) {
    throw new FirmwareError('ERR_KERNEL_UNSUPPORTED', 'The kernel is a 32-bit one; a 64-bit kernel is needed')
  }
  if ((bytes[SETUP.LOADFLAGS]! & LOADED_HIGH) === 0) {
    throw new FirmwareError('ERR_KERNEL_UNSUPPORTED', 'The kernel is a zImage, which loads below 1 MiB')
  }
  const payloadOffset = kernelOffset + view.getUint32(SETUP.PAYLOAD_OFFSET, true)
  const payloadLength = view.getUint32(SETUP.PAYLOAD_LENGTH, true)
  if (payloadOffset + payloadLength > kernelOffset + kernelLength) {
    throw new FirmwareError('ERR_KERNEL_FORMAT', 'The payload is not inside the kernel')
  }
  const alignment = view.getUint32(SETUP.KERNEL_ALIGNMENT, true)
  const preferred = view.getBigUint64(SETUP.PREF_ADDRESS, true)
  if (alignment === 0 || (alignment & (alignment - 1)) !== 0 || preferred >= 1n << 46n) {
    throw new FirmwareError('ERR_KERNEL_FORMAT', 'The kernel asks for an impossible address')
  }
  const initSize = view.getUint32(SETUP.INIT_SIZE, true)
  if (initSize < kernelLength) throw new FirmwareError('ERR_KERNEL_FORMAT', 'init_size is less than the kernel')
  return {
    version,
    header: bytes.subarray(SETUP.SETUP_SECTS, headerEnd),
    kernelOffset,
    kernelLength,
    payloadOffset,
    payloadLength,
    preferredAddress: Number(preferred),
    alignment,
    relocatable: bytes[SETUP.RELOCATABLE_KERNEL] !== 0,
    initSize,
    initrdAddressMax: view.getUint32(SETUP.INITRD_ADDR_MAX, true),
    commandLineLimit: view.getUint32(SETUP.CMDLINE_SIZE, true),
    aboveFourGigabytes: (xloadflags & XLF.CAN_BE_LOADED_ABOVE_4G) !== 0,
  }
}

function truncated(length: number, needed: number): FirmwareError {
  return new FirmwareError(
    'ERR_KERNEL_TRUNCATED',
    `The kernel image ends at ${length} bytes; its header announces ${needed}`,
    {
      hint: 'The file was not copied completely.',
      data: { length, needed },
    },
  )
}
