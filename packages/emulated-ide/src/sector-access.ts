// How sectors come from a Disk and go to it when some of them cannot: a transfer that fails is tried again in smaller parts, until it is known how many sectors are well, and which is the first that is not. A drive
// tells its host about that one (ATA/ATAPI-7 volume 1: "the address of the sector where the first unrecoverable error occurred").

import { DISK_ERROR, type Disk } from '@partita/interface'
import { SECTOR_SIZE } from './ata.ts'
import { failureCode } from './drive.ts'

/** Most operations at the disk for one transfer. Halving the largest one, of 2,048 sectors, takes at most 13; a disk whose failures come and go has a few more. */
const MAXIMUM_ATTEMPTS = 32

/** What became of a transfer. */
export interface Moved {
  /** Sectors that were moved, from the first on. */
  readonly sectors: number
  /** Why the sector behind them was not; undefined where all were moved. */
  readonly failure: unknown
}

/**
 * Call `move` for as many of `count` sectors, from the first on, as it succeeds for. It rejects for a range with a sector that cannot be moved; `divisible` says whether it is worth trying a
 * part of the range then. Ends early when `stopped`.
 */
export async function moveSectors(
  count: number,
  move: (first: number, count: number) => Promise<void>,
  divisible: (failure: unknown) => boolean,
  stopped: () => boolean,
): Promise<Moved> {
  let sectors = 0
  let length = count
  /** The end of the smallest range that has failed; what is behind it has not been tried by itself. */
  let end = count
  let failure: unknown
  for (let attempt = 0; sectors < count && attempt < MAXIMUM_ATTEMPTS && !stopped(); attempt++) {
    try {
      await move(sectors, length)
      sectors += length
      if (sectors === end) {
        end = count
        length = end - sectors
      } else length = Math.max(1, (end - sectors) >> 1)
    } catch (reason) {
      failure = reason
      if (length === 1 || !divisible(reason)) break
      end = sectors + length
      length >>= 1
    }
  }
  return { sectors, failure: sectors === count ? undefined : failure }
}

/** Whether a failure is one of some sectors, so that others may be well. */
function ofSectors(failure: unknown): boolean {
  const code = failureCode(failure)
  return code !== DISK_ERROR.CLOSED && code !== DISK_ERROR.READ_ONLY && code !== DISK_ERROR.RANGE
}

/** Read from `lba` on into `segments`, whole sectors together, or write from there. */
export function accessSectors(
  disk: Disk,
  direction: 'read' | 'write',
  lba: number,
  segments: readonly Uint8Array[],
  stopped: () => boolean,
): Promise<Moved> {
  const all = segments.reduce((sum, segment) => sum + segment.length, 0) / SECTOR_SIZE
  return moveSectors(
    all,
    async (first, count) => {
      const part = count === all ? segments : partOf(segments, first * SECTOR_SIZE, count * SECTOR_SIZE)
      await disk[direction](lba + first, part)
    },
    ofSectors,
    stopped,
  )
}

/** `length` bytes of `segments` from `start` on. */
export function partOf(segments: readonly Uint8Array[], start: number, length: number): Uint8Array[] {
  const parts: Uint8Array[] = []
  let [skip, left] = [start, length]
  for (const segment of segments) {
    const part = segment.subarray(skip, skip + left)
    skip = Math.max(0, skip - segment.length)
    if (part.length === 0) continue
    parts.push(part)
    left -= part.length
  }
  return parts
}
