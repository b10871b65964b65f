// What the boot loader tells the kernel (Multiboot2 2.0, section 3.6): the memory map, the command line and where ACPI begins. And the kernel's image, by which the loader knows
// that it is to tell all that.

import type { GuestMemory } from '@partita/interface'
import { GuestError } from '../guest-error.ts'
import { PAGE_SIZE, type PageRange } from './page-allocator.ts'

/** In EAX, and in the image's header. */
const MULTIBOOT2 = { LOADER: 0x36d7_6289n, HEADER: 0xe852_50d6 } as const
const TAG = { END: 0, COMMAND_LINE: 1, MODULE: 3, MEMORY_MAP: 6, RSDP2: 15 } as const
const AVAILABLE = 1
/** The largest information that is believed. */
const MAXIMUM_LENGTH = 0x10_0000

/** Where the loader puts the image. What lies below is left to firmware. */
const IMAGE_GPA = 0x10_0000
const IMAGE_PAGES = 1

/** What the kernel needs to know. */
export interface BootInformation {
  readonly commandLine: string
  /** Pages of RAM that hold nothing. */
  readonly free: readonly PageRange[]
  /** The copy of the RSDP, when there is ACPI. */
  readonly rsdp: Uint8Array | undefined
}

/** Read what the loader left at `gpa`. @throws GuestError `ERR_GUEST_BOOT` */
export function readBootInformation(memory: GuestMemory, magic: bigint, gpa: number): BootInformation {
  const length = memory.readU32(gpa) ?? 0
  if (magic !== MULTIBOOT2.LOADER || length < 8 || length > MAXIMUM_LENGTH)
    throw new GuestError('ERR_GUEST_BOOT', 'The kernel was not started by a Multiboot2 loader')
  const bytes = new Uint8Array(length)
  if (!memory.read(gpa, bytes)) throw new GuestError('ERR_GUEST_BOOT', 'The boot information is not in memory')
  const view = new DataView(bytes.buffer)
  let commandLine = ''
  let rsdp: Uint8Array | undefined
  const available: PageRange[] = []
  // What lies behind the image is free from here on: modules come right behind it.
  let first = IMAGE_GPA / PAGE_SIZE + IMAGE_PAGES
  for (let at = 8; at + 8 <= length; ) {
    const type = view.getUint32(at, true)
    const size = view.getUint32(at + 4, true)
    if (type === TAG.END || size < 8 || at + size > length) break
    const payload = bytes.subarray(at + 8, at + size)
    if (type === TAG.COMMAND_LINE) commandLine = text(payload)
    else if (type === TAG.MODULE) first = Math.max(first, Math.ceil(view.getUint32(at + 12, true) / PAGE_SIZE))
    else if (type === TAG.RSDP2) rsdp = payload.slice()
    else if (type === TAG.MEMORY_MAP) {
      const entry = view.getUint32(at + 8, true)
      for (let offset = at + 16; entry >= 24 && offset + entry <= at + size; offset += entry) {
        const start = Math.ceil(Number(view.getBigUint64(offset, true)) / PAGE_SIZE)
        const end = Math.floor(
          Number(view.getBigUint64(offset, true) + view.getBigUint64(offset + 8, true)) / PAGE_SIZE,
        )
        if (view.getUint32(offset + 16, true) === AVAILABLE) available.push({ page: start, count: end - start })
      }
    }
    at += Math.ceil(size / 8) * 8
  }
  const free = available.map(({ page, count }) => {
    const start = Math.max(page, first)
    return { page: start, count: page + count - start }
  })
  return { commandLine, rsdp, free: free.filter(({ count }) => count > 0) }
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}

/**
 * The kernel as a file that a loader takes: a Multiboot2 header, and machine code that a processor for machine code would halt at (CLI; HLT; JMP). The TypeScript processor runs its
 * program instead.
 */
export function kernelImage(): Uint8Array {
  const HEADER_LENGTH = 16 + 24 + 16 + 8
  const image = new Uint8Array(HEADER_LENGTH + 4)
  const view = new DataView(image.buffer)
  const entry = IMAGE_GPA + HEADER_LENGTH
  const words = [
    [MULTIBOOT2.HEADER, 0, HEADER_LENGTH, -(MULTIBOOT2.HEADER + HEADER_LENGTH)],
    // Address tag: header, load, load end, bss end.
    [2, 24, IMAGE_GPA, IMAGE_GPA, 0, IMAGE_GPA + IMAGE_PAGES * PAGE_SIZE],
    // Entry tag, and padding.
    [3, 12, entry, 0],
    [0, 8],
  ].flat()
  for (const [index, word] of words.entries()) view.setUint32(index * 4, word >>> 0, true)
  image.set([0xfa, 0xf4, 0xeb, 0xfd], HEADER_LENGTH)
  return image
}
