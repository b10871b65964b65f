// A disk as the devices see it: sectors that are read and written asynchronously, whatever stands behind them (an image of some format, a file, memory).

/** Codes of the errors with which operations of a {@link Disk} fail. A device turns them into the status of its own protocol. */
export const DISK_ERROR = {
  /** The host could not read or write. */
  IO: 'ERR_DISK_IO',
  /** The host has no room for what was written. */
  FULL: 'ERR_DISK_FULL',
  /** A write to a disk that is read-only. */
  READ_ONLY: 'ERR_DISK_READ_ONLY',
  /** Sectors outside the disk, or a length that is not whole sectors. */
  RANGE: 'ERR_DISK_RANGE',
  /** The disk has been disposed of. */
  CLOSED: 'ERR_DISK_CLOSED',
} as const
/** One of {@link DISK_ERROR}. */
export type DiskErrorCode = (typeof DISK_ERROR)[keyof typeof DISK_ERROR]

/**
 * A disk of `sectorCount` sectors.
 *
 * Several operations may be under way at once; they may complete in any order, and what overlapping ones leave or see is undefined. Operations
 * fail with a PartitaError whose code is one of {@link DISK_ERROR}; nothing is then known about the sectors that it was to write.
 */
export interface Disk extends AsyncDisposable {
  /** Bytes of a sector, a power of two from 512. */
  readonly sectorSize: number
  /** The sector size of the store behind, which writes should be aligned to; a multiple of {@link Disk.sectorSize}. */
  readonly physicalSectorSize: number
  /** Size of the disk in units of {@link Disk.sectorSize}. */
  readonly sectorCount: number
  /** Writes, {@link Disk.discard} and {@link Disk.zero} are refused: the disk is to be shown to the guest as write-protected. */
  readonly readOnly: boolean
  /**
   * Read from `sector` on into `segments`, one after the other; their lengths add up to whole sectors. Segments may be windows on guest memory (and so on shared
   * memory); they belong to the disk until the promise settles.
   * @returns nothing when it is done already: a promise costs more than many a read
   */
  read(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined
  /**
   * Write `segments`, one after the other, from `sector` on. They may change meanwhile: a guest gets what it stored, before or after.
   * @returns nothing when it is done already
   */
  write(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined
  /** Make every write that has completed before the call survive a crash of the host. */
  flush(): Promise<void>
  /** The contents of `count` sectors are no longer needed; they read as before or as zeros. Missing where the store cannot give anything back. */
  discard?(sector: number, count: number): Promise<void>
  /** Make `count` sectors read as zeros: as a write of zeros, but without storing them where the store can do without. Missing where it never can. */
  zero?(sector: number, count: number): Promise<void>
}
