// The one error class of this package.

import { PartitaError } from '@partita/interface'

/**
 * Thrown for misuse by the host: `ERR_STORAGE_LUN` (no such LUN, or one that is taken), `ERR_STORAGE_DISK` (a disk that a unit cannot stand on),
 * `ERR_STORAGE_DISK_UNKNOWN`, `ERR_STATE_INVALID`; on the child side `ERR_STORAGE_PROTOCOL` (the provider does what it must not),
 * `ERR_STORAGE_CLOSED` (the controller or the disk is gone), `ERR_STORAGE_RANGE` (no whole blocks of the disk) and `ERR_STORAGE_SCSI` (the unit failed the command; `data` has the sense).
 */
export class StorageError extends PartitaError {}
