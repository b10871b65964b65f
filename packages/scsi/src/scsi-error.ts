// The one error class of this package.

import { PartitaError } from '@partita/interface'

/**
 * Thrown by SCSI targets: `ERR_STATE_INVALID`, `ERR_STORAGE_DISK` (a disk that a unit cannot stand on), `ERR_STORAGE_LUN` (no such number, or it is
 * taken, or nothing is there).
 */
export class ScsiError extends PartitaError {}
