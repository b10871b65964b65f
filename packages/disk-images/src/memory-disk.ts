// A disk in memory, for tests, for browsers, and for data that need not outlive the VM. Memory is allocated as it is written.

import { DISK_ERROR, type Disk } from '@partita/interface'
import { checkRange, DiskError, transferLength } from './disk-error.ts'

const CHUNK = 64 * 1024

/** Options of {@link MemoryDisk}. */
export interface MemoryDiskOptions {
  /** Bytes of a sector. Default: 512. */
  readonly sectorSize?: number
  /** Refuse writes. Default: false. */
  readonly readOnly?: boolean
  /** What is on it at first, from sector 0. */
  readonly contents?: Uint8Array
}

/**
 * A sparse disk in memory.
 *
 * @example
 * ```ts
 * const disk = new MemoryDisk(2048) // 1 MiB
 * await disk.write(0, [bootSector])
 * ```
 */
export class MemoryDisk implements Disk {
  readonly sectorSize: number
  readonly physicalSectorSize: number
  readonly sectorCount: number
  readonly readOnly: boolean
  readonly #chunks: Map<number, Uint8Array> = new Map()
  #closed = false

  constructor(sectorCount: number, options: MemoryDiskOptions = {}) {
    this.sectorSize = options.sectorSize ?? 512
    this.physicalSectorSize = this.sectorSize
    this.sectorCount = sectorCount
    this.readOnly = options.readOnly ?? false
    const contents = options.contents
    if (contents !== undefined) {
      if (contents.length > sectorCount * this.sectorSize)
        throw new DiskError(DISK_ERROR.RANGE, 'the contents are larger than the disk')
      this.#copy(0, contents, true)
    }
  }

  /** Bytes of memory that it takes. */
  get allocated(): number {
    return this.#chunks.size * CHUNK
  }

  read(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined {
    return this.#transfer(sector, segments, false)
  }

  write(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined {
    return this.#transfer(sector, segments, true)
  }

  async flush(): Promise<void> {
    this.#checkOpen()
  }

  async zero(sector: number, count: number): Promise<void> {
    this.#checkChange(sector, count)
    let at = sector * this.sectorSize
    const end = at + count * this.sectorSize
    while (at < end) {
      const index = Math.floor(at / CHUNK)
      const offset = at % CHUNK
      const part = Math.min(end - at, CHUNK - offset)
      if (part === CHUNK) this.#chunks.delete(index)
      else this.#chunks.get(index)?.fill(0, offset, offset + part)
      at += part
    }
  }

  async discard(sector: number, count: number): Promise<void> {
    this.#checkChange(sector, count)
    // Whole chunks alone: the rest keeps what it has.
    const last = Math.floor(((sector + count) * this.sectorSize) / CHUNK)
    for (let chunk = Math.ceil((sector * this.sectorSize) / CHUNK); chunk < last; chunk++) this.#chunks.delete(chunk)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#chunks.clear()
  }

  #checkOpen(): void {
    if (this.#closed) throw new DiskError(DISK_ERROR.CLOSED, 'the disk is closed')
  }

  #checkChange(sector: number, count: number): void {
    this.#checkOpen()
    checkRange(this, sector, count)
    if (this.readOnly) throw new DiskError(DISK_ERROR.READ_ONLY, 'the disk is read-only')
  }

  #transfer(sector: number, segments: readonly Uint8Array[], write: boolean): Promise<void> | undefined {
    try {
      this.#checkOpen()
      transferLength(this, sector, segments)
      if (write && this.readOnly) throw new DiskError(DISK_ERROR.READ_ONLY, 'the disk is read-only')
    } catch (error) {
      return Promise.reject(error)
    }
    let at = sector * this.sectorSize
    for (const segment of segments) {
      this.#copy(at, segment, write)
      at += segment.length
    }
    return undefined
  }

  #copy(at: number, segment: Uint8Array, write: boolean): void {
    for (let done = 0; done < segment.length; ) {
      const index = Math.floor((at + done) / CHUNK)
      const offset = (at + done) % CHUNK
      const count = Math.min(segment.length - done, CHUNK - offset)
      const part = segment.subarray(done, done + count)
      let chunk = this.#chunks.get(index)
      if (write) {
        if (chunk === undefined) this.#chunks.set(index, (chunk = new Uint8Array(CHUNK)))
        chunk.set(part, offset)
      } else if (chunk === undefined) part.fill(0)
      else part.set(chunk.subarray(offset, offset + count))
      done += count
    }
  }
}
