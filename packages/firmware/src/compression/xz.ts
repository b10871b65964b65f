// The .xz container (The .xz file format 1.2.0) as far as kernels use it: one stream of blocks, each LZMA2 with or without the x86 filter before
// it, and CRC32 checks. Other checks are passed over; other filters are refused.

import { CompressionError } from './compression-error.ts'
import { crc32 } from './crc32.ts'
import { Lzma2Decoder } from './lzma2.ts'
import { decodeX86Filter } from './x86-filter.ts'

const MAGIC: readonly number[] = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]
const STREAM_HEADER = 12
const FILTER = { X86: 0x04, LZMA2: 0x21 } as const
const CHECK_CRC32 = 1
/** Bytes of the check by its type (section 2.1.1.2). */
const CHECK_SIZE: readonly number[] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64]

/** What a block header says. */
interface Block {
  /** Where the compressed data begin. */
  readonly data: number
  /** Start offset of the x86 filter; `undefined` without one. */
  readonly x86Start: number | undefined
}

/**
 * Decompress the blocks of a stream to at most `limit` bytes. The index and the footer behind the blocks are not read.
 * @throws CompressionError
 */
export function decompressXz(input: Uint8Array, limit: number): Uint8Array {
  if (input.length < STREAM_HEADER || !MAGIC.every((byte, index) => input[index] === byte)) {
    throw new CompressionError('not an xz stream')
  }
  checkCrc(input, 6, 8)
  const check = (input[7] as number) & 0xf
  const output = new Uint8Array(limit)
  let position = STREAM_HEADER
  let produced = 0
  // A header size of 0 marks the index.
  while (input[position] !== 0) {
    const block = parseBlockHeader(input, position)
    const decoder = new Lzma2Decoder(input, block.data, output, produced)
    decoder.decode()
    const bytes = output.subarray(produced, decoder.produced)
    if (block.x86Start !== undefined) decodeX86Filter(bytes, block.x86Start)
    position = decoder.position + (-decoder.position & 3)
    if (check === CHECK_CRC32 && readU32(input, position) !== crc32(bytes))
      throw new CompressionError('a wrong check sum')
    position += CHECK_SIZE[check] as number
    produced = decoder.produced
  }
  return output.subarray(0, produced)
}

/** Section 3.1. */
function parseBlockHeader(input: Uint8Array, start: number): Block {
  const size = input[start]
  if (size === undefined) throw new CompressionError('the stream is cut short')
  const data = start + (size + 1) * 4
  const checked = data - 4
  checkCrc(input, start, checked)
  const flags = input[start + 1] as number
  let position = start + 2
  const integer = (): number => {
    let value = 0
    for (let shift = 0; shift < 63; shift += 7) {
      const byte = input[position++]
      if (byte === undefined || position > checked) break
      value += (byte & 0x7f) * 2 ** shift
      if ((byte & 0x80) === 0) return value
    }
    throw new CompressionError('a malformed block header')
  }
  // Compressed and uncompressed size: the data tell.
  if ((flags & 0x40) !== 0) integer()
  if ((flags & 0x80) !== 0) integer()
  let x86Start: number | undefined
  const count = (flags & 3) + 1
  for (let index = 0; index < count; index++) {
    const id = integer()
    const properties = integer()
    const isLast = index === count - 1
    if (id === FILTER.X86 && !isLast && x86Start === undefined && (properties === 0 || properties === 4)) {
      x86Start = properties === 4 ? readU32(input, position) : 0
    } else if (id !== FILTER.LZMA2 || !isLast) throw new CompressionError(`an unknown filter (${id})`)
    position += properties
  }
  if (position > checked) throw new CompressionError('a malformed block header')
  return { data, x86Start }
}

/** The CRC32 of `[from, to)` stands behind it. */
function checkCrc(input: Uint8Array, from: number, to: number): void {
  if (readU32(input, to) !== crc32(input.subarray(from, to))) throw new CompressionError('a wrong check sum')
}

function readU32(input: Uint8Array, position: number): number {
  if (position + 4 > input.length) throw new CompressionError('the stream is cut short')
  return new DataView(input.buffer, input.byteOffset + position, 4).getUint32(0, true)
}
