/**
 * Disks: in memory here; image files at `@partita/disk-images/node`.
 *
 * @example
 * ```ts
 * import { MemoryDisk } from '@partita/disk-images'
 *
 * const disk = new MemoryDisk(65_536) // 32 MiB
 * ```
 * @packageDocumentation
 */
export { DiskError } from './disk-error.ts'
export { MemoryDisk, type MemoryDiskOptions } from './memory-disk.ts'
