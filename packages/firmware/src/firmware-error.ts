// The one class of errors that this package throws, and its codes.

import { PartitaError, type PartitaErrorOptions } from '@partita/interface'

/** Codes of {@link FirmwareError}. */
export type FirmwareErrorCode =
  /** The kernel image has no bytes. */
  | 'ERR_KERNEL_EMPTY'
  /** The kernel image ends before what its headers announce. */
  | 'ERR_KERNEL_TRUNCATED'
  /** Not a kernel image of a known kind, or headers that contradict themselves. */
  | 'ERR_KERNEL_FORMAT'
  /** A kernel of a known kind that needs something which is not there (32-bit only, too old a boot protocol, …). */
  | 'ERR_KERNEL_UNSUPPORTED'
  /** The compressed part of the kernel image does not decompress. */
  | 'ERR_KERNEL_CORRUPT'
  /** Kernel, initial ramdisk or tables do not fit in the partition's memory. */
  | 'ERR_MEMORY_TOO_SMALL'
  /** More memory than the memory map can describe. */
  | 'ERR_MEMORY_TOO_LARGE'
  /** The initial ramdisk has no bytes. */
  | 'ERR_INITRD_EMPTY'
  /** Not an initramfs or initrd of a kind that Linux reads. */
  | 'ERR_INITRD_FORMAT'
  /** The cpio archive ends inside an entry, or without its trailer. */
  | 'ERR_INITRD_TRUNCATED'
  /** The initial ramdisk fits nowhere in memory where the kernel may have it. */
  | 'ERR_INITRD_TOO_LARGE'
  /** The command line is longer than the kernel takes, or holds a NUL. */
  | 'ERR_COMMAND_LINE'
  /** An ACPI configuration that cannot be written down (values out of range, tables too large, …). */
  | 'ERR_ACPI_CONFIGURATION'
  /** Not an image of a PC's firmware. */
  | 'ERR_FIRMWARE_IMAGE'

/** A kernel, ramdisk, command line or configuration that cannot be loaded. Guest memory may hold a part of it then. */
export class FirmwareError extends PartitaError {
  declare readonly code: FirmwareErrorCode

  constructor(code: FirmwareErrorCode, message: string, options?: PartitaErrorOptions) {
    super(code, message, options)
  }
}
