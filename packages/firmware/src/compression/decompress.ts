// The compressed payload of a bzImage: which format it is in, and how to decompress it here. Formats by their magic numbers, as the
// Linux/x86 boot protocol asks ("payload_offset").

import { decompress as decompressZstd } from 'fzstd'
import { FirmwareError } from '../firmware-error.ts'
import { decompressLz4Legacy } from './lz4-legacy.ts'
import { decompressXz } from './xz.ts'

/** The formats that a Linux kernel's payload may have; `none` is a payload that already is an ELF file. */
export type CompressionFormat = 'none' | 'gzip' | 'lz4' | 'zstd' | 'xz' | 'lzma' | 'bzip2' | 'lzo'

/**
 * Decompress `payload` to at most `limit` bytes. `size` is the expected size in bytes if the payload's last four bytes tell it, as a kernel's do.
 * It may throw anything: the loader makes an `ERR_KERNEL_CORRUPT` of it.
 */
export type Decompressor = (
  payload: Uint8Array,
  limit: number,
  size: number | undefined,
) => Uint8Array | Promise<Uint8Array>

/** Decompressors by format. */
export type Decompressors = { readonly [Format in Exclude<CompressionFormat, 'none'>]?: Decompressor }

const MAGIC: readonly (readonly [CompressionFormat, readonly number[]])[] = [
  ['none', [0x7f, 0x45, 0x4c, 0x46]],
  ['gzip', [0x1f, 0x8b]],
  ['lz4', [0x02, 0x21, 0x4c, 0x18]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['lzma', [0x5d, 0x00, 0x00]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['lzo', [0x89, 0x4c, 0x5a, 0x4f]],
]

/** The format that `bytes` begin with. */
export function detectCompression(bytes: Uint8Array): CompressionFormat | undefined {
  return MAGIC.find(([, magic]) => magic.every((byte, index) => bytes[index] === byte))?.[0]
}

/** Bytes of the size that a kernel's build appends. Only gzip has it as a part of the format. */
const SIZE_FIELD = 4

/** The formats that this package decompresses itself. lzma, bzip2 and lzo are left to the guest, or to a given decompressor. */
export const builtInDecompressors: Decompressors = {
  gzip: decompressGzip,
  lz4: (payload, limit, size) => decompressLz4Legacy(payload, limit, size),
  xz: (payload, limit, size) => decompressXz(payload, size === undefined ? limit : Math.min(size, limit)),
  zstd: (payload, limit, size) =>
    size === undefined
      ? decompressZstd(payload)
      : decompressZstd(payload.subarray(0, payload.length - SIZE_FIELD), new Uint8Array(Math.min(size, limit))),
}

/** RFC 1952, with the platform's own inflater. Bytes after the member (the kernel appends the size) end it. */
async function decompressGzip(payload: Uint8Array, limit: number, size: number | undefined): Promise<Uint8Array> {
  const stream = new DecompressionStream('gzip')
  const writer = stream.writable.getWriter()
  // The reader below reports what goes wrong; the writer's end of the same failure must not go unhandled.
  const written = writer.write(payload as Uint8Array<ArrayBuffer>).then(
    () => writer.close(),
    () => {},
  )
  written.catch(() => {})
  const chunks: Uint8Array[] = []
  let total = 0
  const reader = stream.readable.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      chunks.push(value)
      total += value.length
      if (total > limit) {
        await reader.cancel()
        throw new FirmwareError('ERR_KERNEL_CORRUPT', `The kernel decompresses to more than ${limit} bytes`)
      }
    }
  } catch (error) {
    // Node complains of bytes after the gzip member although all of it has been read: the size is what tells.
    if (size === undefined || total !== size) throw error
  }
  const bytes = new Uint8Array(total)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.length
  }
  return bytes
}
