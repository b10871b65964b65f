// Finds and reads Multiboot headers in a file: version 1 (Multiboot 0.6.96, section 3.1) and 2 (Multiboot2 2.0, section 3.1).

import { viewOf } from '../bytes.ts'
import { FirmwareError } from '../firmware-error.ts'

/** Magic numbers: in the header, and in EAX at the entry. */
export const MULTIBOOT1 = { HEADER: 0x1bad_b002, LOADER: 0x2bad_b002, SEARCH: 8192, ALIGN: 4 } as const
export const MULTIBOOT2 = { HEADER: 0xe852_50d6, LOADER: 0x36d7_6289, SEARCH: 32768, ALIGN: 8 } as const

/** Addresses for a file that is not ELF. All physical. */
interface LoadAddresses {
  /** Where the header itself comes to lie. */
  readonly header: number
  readonly load: number
  /** End of what is loaded from the file; 0 for all of the file. */
  readonly loadEnd: number
  /** End of what is cleared behind it; 0 for nothing. */
  readonly bssEnd: number
}

/** What a header asks for, of either version. */
export interface MultibootHeader {
  readonly version: 1 | 2
  /** Offset of the header in the file. */
  readonly offset: number
  readonly addresses: LoadAddresses | undefined
  /** Entry from the header, which goes before the ELF file's. */
  readonly entry: number | undefined
}

const FLAG1 = { PAGE_ALIGN: 1, MEMORY: 2, VIDEO: 4, REQUIRED: 0xffff, ADDRESSES: 0x1_0000 } as const
const TAG2 = { END: 0, INFORMATION: 1, ADDRESS: 2, ENTRY: 3, MODULE_ALIGN: 6, LAST_KNOWN: 10 } as const
/** Types of boot information that the specification knows. */
const LAST_INFORMATION_TYPE = 21
const I386 = 0

/** Offset of a multiboot header in `bytes`, and its version. A file with both is taken as version 2. */
export function findMultibootHeader(
  bytes: Uint8Array,
): { readonly version: 1 | 2; readonly offset: number } | undefined {
  const view = viewOf(bytes)
  const two = Math.min(bytes.length, MULTIBOOT2.SEARCH) - 16
  for (let offset = 0; offset <= two; offset += MULTIBOOT2.ALIGN) {
    if (view.getUint32(offset, true) !== MULTIBOOT2.HEADER) continue
    const rest = view.getUint32(offset + 4, true) + view.getUint32(offset + 8, true) + view.getUint32(offset + 12, true)
    if ((MULTIBOOT2.HEADER + rest) % 2 ** 32 === 0) return { version: 2, offset }
  }
  const one = Math.min(bytes.length, MULTIBOOT1.SEARCH) - 12
  for (let offset = 0; offset <= one; offset += MULTIBOOT1.ALIGN) {
    if (view.getUint32(offset, true) !== MULTIBOOT1.HEADER) continue
    const rest = view.getUint32(offset + 4, true) + view.getUint32(offset + 8, true)
    if ((MULTIBOOT1.HEADER + rest) % 2 ** 32 === 0) return { version: 1, offset }
  }
  return undefined
}

/**
 * Read the multiboot header.
 *
 * @throws FirmwareError `ERR_KERNEL_FORMAT`, `ERR_KERNEL_TRUNCATED`, `ERR_KERNEL_UNSUPPORTED`
 */
export function parseMultibootHeader(bytes: Uint8Array): MultibootHeader {
  const found = findMultibootHeader(bytes)
  if (found === undefined) throw new FirmwareError('ERR_KERNEL_FORMAT', 'Not a multiboot image (no header)')
  return found.version === 1 ? parseVersion1(bytes, found.offset) : parseVersion2(bytes, found.offset)
}

function parseVersion1(bytes: Uint8Array, offset: number): MultibootHeader {
  const view = viewOf(bytes)
  const flags = view.getUint32(offset + 4, true)
  // A video mode is a wish here: the information structure tells that there is none.
  const unknown = flags & FLAG1.REQUIRED & ~(FLAG1.PAGE_ALIGN | FLAG1.MEMORY | FLAG1.VIDEO)
  if (unknown !== 0) throw unsupported('flags', unknown)
  if ((flags & FLAG1.ADDRESSES) === 0) return { version: 1, offset, addresses: undefined, entry: undefined }
  if (bytes.length < offset + 32) throw truncated(bytes.length, offset + 32)
  return {
    version: 1,
    offset,
    addresses: {
      header: view.getUint32(offset + 12, true),
      load: view.getUint32(offset + 16, true),
      loadEnd: view.getUint32(offset + 20, true),
      bssEnd: view.getUint32(offset + 24, true),
    },
    entry: view.getUint32(offset + 28, true),
  }
}

function parseVersion2(bytes: Uint8Array, offset: number): MultibootHeader {
  const view = viewOf(bytes)
  const architecture = view.getUint32(offset + 4, true)
  if (architecture !== I386) throw unsupported('architecture', architecture)
  const end = offset + view.getUint32(offset + 8, true)
  if (end > bytes.length) throw truncated(bytes.length, end)
  let addresses: LoadAddresses | undefined
  let entry: number | undefined
  for (let tag = offset + 16; tag + 8 <= end; ) {
    const type = view.getUint16(tag, true)
    const optional = (view.getUint16(tag + 2, true) & 1) !== 0
    const size = view.getUint32(tag + 4, true)
    if (size < 8 || tag + size > end)
      throw new FirmwareError('ERR_KERNEL_FORMAT', 'A multiboot2 header tag is malformed')
    if (type === TAG2.END) break
    if (type === TAG2.INFORMATION && !optional) {
      for (let at = tag + 8; at + 4 <= tag + size; at += 4) {
        const wanted = view.getUint32(at, true)
        if (wanted > LAST_INFORMATION_TYPE) throw unsupported('information', wanted)
      }
    } else if (type === TAG2.ADDRESS && size >= 24) {
      addresses = {
        header: view.getUint32(tag + 8, true),
        load: view.getUint32(tag + 12, true),
        loadEnd: view.getUint32(tag + 16, true),
        bssEnd: view.getUint32(tag + 20, true),
      }
      // -1: the file from its start.
      if (addresses.load === 0xffff_ffff) addresses = { ...addresses, load: addresses.header - offset }
    } else if (type === TAG2.ENTRY && size >= 12) entry = view.getUint32(tag + 8, true)
    else if (type > TAG2.LAST_KNOWN && !optional) throw unsupported('tag', type)
    tag += size + (-size & 7)
  }
  if (addresses !== undefined && entry === undefined) {
    throw new FirmwareError('ERR_KERNEL_FORMAT', 'The multiboot2 header has addresses, but no entry')
  }
  return { version: 2, offset, addresses, entry }
}

function unsupported(what: string, value: number): FirmwareError {
  return new FirmwareError(
    'ERR_KERNEL_UNSUPPORTED',
    `The multiboot header asks for an unknown feature (${what} ${value})`,
    {
      data: { [what]: value },
    },
  )
}

function truncated(length: number, needed: number): FirmwareError {
  return new FirmwareError(
    'ERR_KERNEL_TRUNCATED',
    `The kernel image ends at ${length} bytes, inside its multiboot header`,
    {
      data: { length, needed },
    },
  )
}
