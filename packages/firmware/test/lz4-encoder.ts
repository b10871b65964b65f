// A plain encoder of LZ4's legacy frame for the tests: greedy matches of the last four equal bytes.

/** Compress to a legacy frame with blocks of at most `blockSize` bytes of text; with `appendSize` as kernels have it. */
export function lz4Legacy(text: Uint8Array, blockSize: number = 8 << 20, appendSize = false): Uint8Array {
  const output: number[] = [0x02, 0x21, 0x4c, 0x18]
  for (let start = 0; start < text.length; start += blockSize) {
    const block = encodeBlock(text.subarray(start, start + blockSize))
    output.push(...u32(block.length), ...block)
  }
  if (appendSize) output.push(...u32(text.length))
  return Uint8Array.from(output)
}

const u32 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]

function encodeBlock(text: Uint8Array): number[] {
  const output: number[] = []
  const seen = new Map<number, number>()
  // A block's last five bytes are literals, and no match begins in its last twelve.
  const lastStart = text.length - 12
  let anchor = 0
  let position = 0
  while (position <= lastStart) {
    const key = (text[position]! << 24) | (text[position + 1]! << 16) | (text[position + 2]! << 8) | text[position + 3]!
    const candidate = seen.get(key)
    seen.set(key, position)
    if (candidate === undefined || position - candidate > 0xffff) {
      position++
      continue
    }
    let length = 4
    while (position + length < text.length - 5 && text[candidate + length] === text[position + length]) length++
    sequence(output, text.subarray(anchor, position), position - candidate, length)
    position += length
    anchor = position
  }
  sequence(output, text.subarray(anchor), 0, 0)
  return output
}

function sequence(output: number[], literals: Uint8Array, offset: number, match: number): void {
  const extra = match === 0 ? 0 : match - 4
  output.push((Math.min(literals.length, 15) << 4) | Math.min(extra, 15))
  if (literals.length >= 15) lengthBytes(output, literals.length - 15)
  for (const byte of literals) output.push(byte)
  if (match === 0) return
  output.push(offset & 0xff, offset >> 8)
  if (extra >= 15) lengthBytes(output, extra - 15)
}

function lengthBytes(output: number[], length: number): void {
  for (; length >= 255; length -= 255) output.push(255)
  output.push(length)
}
