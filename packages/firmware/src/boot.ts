// What every loader takes and gives back.

import type { GuestMemory, Logger, VirtualProcessor } from '@partita/interface'
import type { AcpiConfiguration } from './acpi/configuration.ts'
import type { Decompressors } from './compression/decompress.ts'

/** The part of a virtual processor that a loader needs. */
export type BootProcessor = Pick<VirtualProcessor, 'setRegister' | 'setSegment' | 'setDescriptorTable'>

/** A file that a multiboot loader puts into memory next to the kernel. */
export interface BootModule {
  /** The file. It is copied into guest memory. */
  readonly bytes: Uint8Array
  /** The module's command line, in most conventions its name and arguments. */
  readonly commandLine?: string
}

/** Which side decompresses a compressed kernel: see {@link BootOptions.decompression}. */
export type Decompression = 'auto' | 'host' | 'guest'

/** What to boot, and where. Everything is left as it was in the caller's arrays. */
export interface BootOptions {
  /** The partition's RAM. The loader writes below its top alone, and needs RAM at 0xC0000–0xFFFFF for the tables. */
  readonly memory: GuestMemory
  /** The boot processor, in its power-on state. */
  readonly vp: BootProcessor
  /** The kernel image file: bzImage, ELF (Linux's vmlinux or multiboot) or another multiboot image. */
  readonly kernel: Uint8Array
  /** Linux: the initial ramdisk. Multiboot: the first module. */
  readonly initrd?: Uint8Array | undefined
  /** Multiboot: modules after the initial ramdisk. Linux takes none. */
  readonly modules?: readonly BootModule[] | undefined
  /** The kernel's command line. Default: empty. */
  readonly commandLine?: string | undefined
  /** ACPI tables to put into memory; `false` for none. Default: those of {@link AcpiConfiguration}'s defaults. */
  readonly acpi?: AcpiConfiguration | false | undefined
  /**
   * Who decompresses a bzImage's payload. `auto` (default): the host if it knows the format, else the guest. `host`: the host, or an error with
   * code `ERR_KERNEL_UNSUPPORTED`. `guest`: the kernel's own decompressor, which can also place the kernel at a random address (KASLR).
   */
  readonly decompression?: Decompression | undefined
  /** Further decompressors, or replacements of the built-in ones, by format. */
  readonly decompressors?: Decompressors | undefined
  /** Told what is loaded where. Silent where omitted. */
  readonly logger?: Logger | undefined
}

/** Kinds of kernel images. */
export type KernelKind = 'linux-bzimage' | 'linux-elf' | 'multiboot' | 'multiboot2'

/** A kernel that is in memory, with the boot processor at its entry. */
export interface LoadedKernel {
  /** What kind of image it was. */
  readonly kind: KernelKind
  /** Guest physical address of the first instruction. */
  readonly entry: number
  /** Who decompresses it; `none` for an image that is not compressed. */
  readonly decompressedBy: 'host' | 'guest' | 'none'
  /** Guest physical range that the kernel occupies, or needs before it reads its memory map: from `start` up to, but not including, `end`. */
  readonly kernelRange: { readonly start: number; readonly end: number }
  /** Guest physical range of the initial ramdisk or of the first module, from `start` up to, but not including, `end`. */
  readonly initrdRange: { readonly start: number; readonly end: number } | undefined
  /** Guest physical address of the RSDP; `undefined` without ACPI tables. */
  readonly rsdp: number | undefined
}
