// LZ4's legacy frame, the one that Linux kernels are compressed with (LZ4 Frame Format 1.6.4, "Legacy frame"; LZ4 Block Format). A
// frame is a magic number and blocks of at most 8 MiB, each with its compressed size before it; blocks do not refer to each other.

import { CompressionError } from './compression-error.ts'

const MAGIC = 0x184c2102
const BLOCK_LIMIT = 8 << 20

/**
 * Decompress a legacy frame. A kernel's frame has its size in the four bytes after it, which are not a block: they are where it ends.
 *
 * @param limit the most bytes that may come out
 * @param size how many bytes come out, when that is known
 * @throws CompressionError when the stream is not one, or is cut short
 */
export function decompressLz4Legacy(input: Uint8Array, limit: number, size?: number): Uint8Array {
  const header = new DataView(input.buffer, input.byteOffset, input.byteLength)
  if (input.length < 4 || header.getUint32(0, true) !== MAGIC) throw new CompressionError('not an LZ4 legacy frame')
  let output = new Uint8Array(Math.min(size ?? BLOCK_LIMIT, limit))
  let produced = 0
  let position = 4
  while (position + 4 <= input.length) {
    const length = header.getUint32(position, true)
    if (length === MAGIC) {
      position += 4
      continue
    }
    if (position + 4 === input.length && produced > 0) break
    if (length === 0 || length > input.length - position - 4) throw new CompressionError('a block is cut short')
    const room = Math.min(produced + BLOCK_LIMIT, limit)
    if (output.length < room && size === undefined) output = grow(output, room)
    position += 4
    produced = decompressBlock(input, position, position + length, output, produced)
    position += length
  }
  if (size !== undefined && produced !== size) throw new CompressionError(`${produced} bytes came out, not ${size}`)
  return produced === output.length ? output : output.subarray(0, produced)
}

function grow(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const grown = new Uint8Array(Math.max(length, Math.min(bytes.length * 2, 1 << 30)))
  grown.set(bytes)
  return grown
}

/** One block of the LZ4 block format, from `input[from, to)` to `output` at `start`; returns where the output ends. */
function decompressBlock(input: Uint8Array, from: number, to: number, output: Uint8Array, start: number): number {
  const end = output.length
  let ip = from
  let op = start
  while (ip < to) {
    const token = input[ip++]!
    let literals = token >> 4
    if (literals === 15) {
      let more: number
      do {
        if (ip >= to) throw new CompressionError('a length is cut short')
        more = input[ip++]!
        literals += more
      } while (more === 255)
    }
    if (literals > to - ip || literals > end - op) throw new CompressionError('literals run over the end')
    if (literals > 24) {
      output.set(input.subarray(ip, ip + literals), op)
      ip += literals
      op += literals
    } else {
      for (let i = literals; i > 0; i--) output[op++] = input[ip++]!
    }
    // The last sequence of a block has no match.
    if (ip === to) return op
    if (to - ip < 2) throw new CompressionError('an offset is cut short')
    const offset = input[ip]! | (input[ip + 1]! << 8)
    ip += 2
    if (offset === 0 || offset > op - start) throw new CompressionError('a match reaches before the block')
    let match = (token & 15) + 4
    if (match === 19) {
      let more: number
      do {
        if (ip >= to) throw new CompressionError('a length is cut short')
        more = input[ip++]!
        match += more
      } while (more === 255)
    }
    if (match > end - op) throw new CompressionError('a match runs over the end')
    if (match > 48 && offset >= match) {
      output.copyWithin(op, op - offset, op - offset + match)
      op += match
    } else {
      for (const stop = op + match; op < stop; op++) output[op] = output[op - offset]!
    }
  }
  return op
}
