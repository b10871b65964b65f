import { existsSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { copySparseFile, isAsMapped, mapSparseFile } from './sparse-file.ts'
import { temporaryDirectory } from './test-support.ts'

let directory: string
beforeEach(() => (directory = temporaryDirectory()))
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const MEBIBYTE = 2 ** 20

test('a map has the blocks that are not zero, and joins neighbours', () => {
  const path = join(directory, 'image')
  const image = Buffer.alloc(4 * MEBIBYTE + 100)
  image[5000] = 1
  image[8192] = 1
  image.fill(7, MEBIBYTE - 10, MEBIBYTE + 10)
  image[4 * MEBIBYTE + 99] = 1
  writeFileSync(path, image)
  expect(mapSparseFile(path)).toMatchObject({
    size: image.length,
    extents: [
      [4096, 8192],
      [MEBIBYTE - 4096, 8192],
      [4 * MEBIBYTE, 100],
    ],
  })
})

test('a copy is the same file, whatever is in it', () => {
  const source = join(directory, 'source')
  const target = join(directory, 'target')
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 3 * MEBIBYTE }),
      fc.array(fc.tuple(fc.nat(3 * MEBIBYTE), fc.uint8Array({ minLength: 1, maxLength: 9000 })), { maxLength: 8 }),
      (size, writes) => {
        const image = Buffer.alloc(size)
        for (const [at, bytes] of writes) image.set(bytes.subarray(0, Math.max(0, size - at)), Math.min(at, size))
        writeFileSync(source, image)
        const map = mapSparseFile(source)
        expect(isAsMapped(source, map)).toBe(true)
        rmSync(target, { force: true })
        copySparseFile(source, map, target)
        expect(readFileSync(target).equals(image)).toBe(true)
        expect(mapSparseFile(target)).toEqual(map)
      },
    ),
    { numRuns: 30 },
  )
})

test('holes stay holes', () => {
  const source = join(directory, 'source')
  writeFileSync(source, 'x')
  truncateSync(source, 64 * MEBIBYTE)
  const target = join(directory, 'target')
  copySparseFile(source, mapSparseFile(source), target)
  expect(statSync(target).size).toBe(64 * MEBIBYTE)
  expect(statSync(target).blocks * 512).toBeLessThan(MEBIBYTE)
})

test('changes and other lengths are seen, and nothing is overwritten', () => {
  const path = join(directory, 'image')
  writeFileSync(path, Buffer.alloc(10_000, 1))
  const map = mapSparseFile(path)
  writeFileSync(path, Buffer.alloc(10_000, 2))
  expect(isAsMapped(path, map)).toBe(false)
  writeFileSync(path, Buffer.alloc(9000, 1))
  expect(isAsMapped(path, map)).toBe(false)
  expect(() => copySparseFile(path, map, path)).toThrow('EEXIST')
  expect(existsSync(path)).toBe(true)
})
