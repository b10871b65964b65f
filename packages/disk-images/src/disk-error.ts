// The one error class of this package, and the checks that every disk makes.

import { DISK_ERROR, PartitaError } from '@partita/interface'

/**
 * Thrown by disks: the codes of DISK_ERROR from their operations; `ERR_DISK_OPEN`, `ERR_DISK_FORMAT`, `ERR_DISK_LOCKED` and `ERR_DISK_EXISTS` when
 * an image is opened or made.
 */
export class DiskError extends PartitaError {}

/** What a transfer is checked against. */
export interface DiskShape {
  readonly sectorSize: number
  readonly sectorCount: number
}

/**
 * The length of `segments` in bytes.
 * @throws DiskError `ERR_DISK_RANGE` when they are not whole sectors of the disk
 */
export function transferLength(disk: DiskShape, sector: number, segments: readonly Uint8Array[]): number {
  let length = 0
  for (const segment of segments) length += segment.length
  checkRange(disk, sector, length / disk.sectorSize)
  return length
}

/** @throws DiskError `ERR_DISK_RANGE` */
export function checkRange(disk: DiskShape, sector: number, count: number): void {
  if (
    Number.isSafeInteger(sector) &&
    sector >= 0 &&
    Number.isSafeInteger(count) &&
    count >= 0 &&
    sector + count <= disk.sectorCount
  )
    return
  throw new DiskError(DISK_ERROR.RANGE, `sectors ${sector} + ${count} of ${disk.sectorCount}`, {
    data: { sector, count, sectorCount: disk.sectorCount },
  })
}
