import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CompressionError } from '../src/compression/compression-error.ts'
import { decompressLz4Legacy } from '../src/compression/lz4-legacy.ts'
import { lz4Legacy } from './lz4-encoder.ts'

const bytesOf = (hex: string): Uint8Array => Uint8Array.fromHex(hex)
// `lz4 -l -9` of the text below.
const REFERENCE =
  '02214c18a3000000ff1e4974206973206f6e65207468696e6720746f20626f6f742061206b65726e656c2c20616e6420616e' +
  '6f746865722400048f2074776963652e204c0085ff4b2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c' +
  '3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e' +
  '6f707172737475767778797a5a0056503031323334'
const REFERENCE_TEXT =
  'It is one thing to boot a kernel, and another thing to boot a kernel twice. '.repeat(3) +
  Array.from({ length: 200 }, (_, index) => String.fromCharCode(33 + (index % 90))).join('')

test('a block of the reference encoder', () => {
  expect(new TextDecoder().decode(decompressLz4Legacy(bytesOf(REFERENCE), 1 << 20))).toBe(REFERENCE_TEXT)
})

test('a kernel has the size behind the frame', () => {
  const size = Uint8Array.of(REFERENCE_TEXT.length & 0xff, REFERENCE_TEXT.length >> 8, 0, 0)
  const input = Uint8Array.of(...bytesOf(REFERENCE), ...size)
  expect(decompressLz4Legacy(input, 1 << 20, REFERENCE_TEXT.length)).toHaveLength(REFERENCE_TEXT.length)
  expect(decompressLz4Legacy(input, 1 << 20)).toHaveLength(REFERENCE_TEXT.length)
})

test('what is encoded comes out again, in any number of blocks', () => {
  const runs = fc.array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 60 })))
  fc.assert(
    fc.property(runs, fc.integer({ min: 64, max: 5000 }), (parts, blockSize) => {
      const text = new Uint8Array(
        parts.flatMap(([bytes, count]) => Array.from({ length: count }, () => [...bytes]).flat()),
      )
      if (text.length === 0) return
      const out = decompressLz4Legacy(lz4Legacy(text, blockSize), text.length, text.length)
      expect(out).toEqual(text)
    }),
  )
})

test('an overlapping match repeats what it has just written', () => {
  // One literal, a match of 4 + 15 + 5 = 24 bytes one byte back, five literals.
  const block = [0x1f, 0x61, 1, 0, 5, 0x50, 0x62, 0x63, 0x64, 0x65, 0x66]
  const frame = Uint8Array.of(0x02, 0x21, 0x4c, 0x18, block.length, 0, 0, 0, ...block)
  expect(new TextDecoder().decode(decompressLz4Legacy(frame, 100))).toBe(`${'a'.repeat(25)}bcdef`)
})

test('a match before the block, or more than the limit, is refused', () => {
  const frame = (...block: number[]): Uint8Array =>
    Uint8Array.of(0x02, 0x21, 0x4c, 0x18, block.length, 0, 0, 0, ...block)
  expect(() => decompressLz4Legacy(frame(0x10, 0x61, 2, 0, 0), 100)).toThrow(CompressionError)
  expect(() => decompressLz4Legacy(frame(0x10, 0x61, 0, 0, 0), 100)).toThrow(CompressionError)
  expect(() => decompressLz4Legacy(bytesOf(REFERENCE), 10)).toThrow(CompressionError)
})

test('a damaged or truncated frame never gives more than the limit and throws nothing else', () => {
  const text = new Uint8Array(3000).map((_, index) => (index * index) >> 6)
  const frame = lz4Legacy(text, 1000)
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(frame.length - 1), fc.nat(255)), { maxLength: 5 }),
      fc.nat(frame.length),
      (changes, length) => {
        const damaged = frame.slice(0, length)
        for (const [at, value] of changes) if (at < length) damaged[at] = value
        try {
          expect(decompressLz4Legacy(damaged, 4096).length).toBeLessThanOrEqual(4096)
        } catch (error) {
          if (!(error instanceof CompressionError)) throw error
        }
      },
    ),
  )
})
