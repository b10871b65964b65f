/**
 * The child side of synthetic storage: a driver for SCSI controllers on the VMBus, and their disks.
 *
 * @example
 * ```ts
 * import { storageDriver } from '@partita/synthetic-storage/vsc'
 *
 * const controller = await guest.device(storageDriver)
 * const disk = controller.disk(0)
 * const sector = new Uint8Array(disk.blockSize)
 * await disk.read(0, sector)
 * ```
 * @packageDocumentation
 */
export { StorageError } from './storage-error.ts'
export { ScsiController } from './vsc/scsi-controller.ts'
export { inquire, reportLuns, ScsiDisk, type UnitDescription, type WriteOptions } from './vsc/scsi-disk.ts'
export {
  StorageClient,
  type StorageProperties,
  type StorageRequest,
  type StorageResult,
} from './vsc/storage-client.ts'
export { storageDriver } from './vsc/storage-driver.ts'
export type { OperationOptions, ScsiInitiator } from './vsc/transfer.ts'
