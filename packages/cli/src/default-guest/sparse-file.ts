// Disk images are mostly holes. Their data is listed as extents, so that checking and copying an image touches only what
// is there: Node has no way to ask the file system where the holes are.

import { createHash } from 'node:crypto'
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'

/** A run of bytes that are not all zero. */
export type Extent = readonly [offset: number, length: number]

/** The data of an image; everything else in it is zero. */
export interface SparseMap {
  /** Bytes of the image. */
  readonly size: number
  /** In ascending order, without overlap. */
  readonly extents: readonly Extent[]
  /** Of the bytes of all extents, one after the other, in hexadecimal. */
  readonly sha256: string
}

const BLOCK = 4096
const CHUNK = 256 * BLOCK

/** Finds out where the data of the image is. */
export function mapSparseFile(path: string): SparseMap {
  const descriptor = openSync(path, 'r')
  try {
    const { size } = fstatSync(descriptor)
    const hash = createHash('sha256')
    const zeros = Buffer.alloc(CHUNK)
    const chunk = Buffer.alloc(CHUNK)
    const extents: [number, number][] = []
    for (let position = 0; position < size; position += CHUNK) {
      const length = readFully(descriptor, chunk, position, Math.min(CHUNK, size - position))
      if (chunk.compare(zeros, 0, length, 0, length) === 0) continue
      for (let start = 0; start < length; start += BLOCK) {
        const end = Math.min(start + BLOCK, length)
        if (chunk.compare(zeros, 0, end - start, start, end) === 0) continue
        hash.update(chunk.subarray(start, end))
        const last = extents.at(-1)
        if (last !== undefined && last[0] + last[1] === position + start) last[1] += end - start
        else extents.push([position + start, end - start])
      }
    }
    return { size, extents, sha256: hash.digest('hex') }
  } finally {
    closeSync(descriptor)
  }
}

/** Whether the data of the image is still as it was mapped. What came into its holes is not seen. */
export function isAsMapped(path: string, map: SparseMap): boolean {
  const descriptor = openSync(path, 'r')
  try {
    if (fstatSync(descriptor).size !== map.size) return false
    const hash = createHash('sha256')
    eachChunk(descriptor, map, (chunk) => hash.update(chunk))
    return hash.digest('hex') === map.sha256
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Makes a copy of the data of an image, with holes where the image has nothing.
 *
 * @param target Must not exist yet.
 */
export function copySparseFile(source: string, map: SparseMap, target: string): void {
  const from = openSync(source, 'r')
  try {
    const to = openSync(target, 'wx', 0o644)
    try {
      ftruncateSync(to, map.size)
      eachChunk(from, map, (chunk, position) => {
        for (let done = 0; done < chunk.length; )
          done += writeSync(to, chunk, done, chunk.length - done, position + done)
      })
    } finally {
      closeSync(to)
    }
  } finally {
    closeSync(from)
  }
}

function eachChunk(descriptor: number, { extents }: SparseMap, use: (chunk: Buffer, position: number) => void): void {
  const chunk = Buffer.alloc(CHUNK)
  for (const [offset, length] of extents) {
    for (let done = 0; done < length; ) {
      const count = readFully(descriptor, chunk, offset + done, Math.min(CHUNK, length - done))
      if (count === 0) return // shorter than it was
      use(chunk.subarray(0, count), offset + done)
      done += count
    }
  }
}

/** Reads `length` bytes, or up to the end of the file. */
function readFully(descriptor: number, buffer: Buffer, position: number, length: number): number {
  let done = 0
  while (done < length) {
    const count = readSync(descriptor, buffer, done, length - done, position + done)
    if (count === 0) break
    done += count
  }
  return done
}
