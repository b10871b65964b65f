// Tells the kinds of kernel images apart and loads any of them.

import type { BootOptions, KernelKind, LoadedKernel } from './boot.ts'
import { isElf } from './elf.ts'
import { FirmwareError } from './firmware-error.ts'
import { loadLinux, requiredLinuxMemory } from './linux/load-linux.ts'
import { isBzImage } from './linux/setup-header.ts'
import { findMultibootHeader } from './multiboot/header.ts'
import { loadMultiboot, requiredMultibootMemory } from './multiboot/load-multiboot.ts'

const ELF_CLASS_64 = 2
/** Where the marks of a bzImage end: a shorter file that begins like one is cut short. */
const SETUP_HEADER_MARKS = 0x206

/** What kind of kernel image `bytes` are; `undefined` when none that is known. Only marks are looked at. */
export function detectKernel(bytes: Uint8Array): KernelKind | undefined {
  if (isBzImage(bytes)) return 'linux-bzimage'
  const multiboot = findMultibootHeader(bytes)
  if (multiboot !== undefined) return multiboot.version === 1 ? 'multiboot' : 'multiboot2'
  return isElf(bytes) && bytes[4] === ELF_CLASS_64 ? 'linux-elf' : undefined
}

/**
 * Load a kernel image of any kind and set the boot processor to its entry.
 *
 * @throws FirmwareError any of its codes. Guest memory may hold a part of the kernel then
 */
export async function loadKernel(options: BootOptions): Promise<LoadedKernel> {
  const kind = knownKind(options.kernel)
  return kind === 'linux-bzimage' || kind === 'linux-elf' ? loadLinux(options) : loadMultiboot(options)
}

/**
 * The least RAM in bytes that `kernel` can be loaded into with `initrd`. What the kernel needs to run comes on top.
 *
 * @throws FirmwareError for a kernel that cannot be loaded at all
 */
export function requiredMemory(kernel: Uint8Array, initrd?: Uint8Array): number {
  const kind = knownKind(kernel)
  return kind === 'linux-bzimage' || kind === 'linux-elf'
    ? requiredLinuxMemory(kernel, initrd)
    : requiredMultibootMemory(kernel, initrd?.length)
}

function knownKind(bytes: Uint8Array): KernelKind {
  const kind = detectKernel(bytes)
  if (kind !== undefined) return kind
  if (bytes.length === 0) throw new FirmwareError('ERR_KERNEL_EMPTY', 'The kernel image is empty')
  const beginsLikeKernel = (bytes[0] === 0x4d && bytes[1] === 0x5a) || isElf(bytes)
  if (bytes.length < SETUP_HEADER_MARKS && beginsLikeKernel) {
    throw new FirmwareError(
      'ERR_KERNEL_TRUNCATED',
      `The kernel image ends at ${bytes.length} bytes, inside its header`,
      {
        hint: 'The file was not copied completely.',
        data: { length: bytes.length },
      },
    )
  }
  throw new FirmwareError('ERR_KERNEL_FORMAT', 'The file is not a kernel image for x86-64', {
    hint: 'A bzImage (vmlinuz), an ELF vmlinux or a multiboot image is needed.',
  })
}
