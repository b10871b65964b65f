/**
 * The child side of synthetic storage: a driver for a SCSI controller on the VMBus, for an operating system in TypeScript and for tests.
 *
 * @example
 * ```ts
 * import { ScsiDisk, StorageClient } from '@partita/synthetic-storage/vsc'
 *
 * const client = new StorageClient(channel)
 * await client.connect()
 * const disk = await ScsiDisk.open(client, 0, { memory, gpa: scratch })
 * ```
 * @packageDocumentation
 */
export { StorageError } from './storage-error.ts'
export { inquire, reportLuns, type ScratchPage, ScsiDisk, type UnitDescription } from './vsc/scsi-disk.ts'
export {
  StorageClient,
  type StorageProperties,
  type StorageRequest,
  type StorageResult,
} from './vsc/storage-client.ts'
