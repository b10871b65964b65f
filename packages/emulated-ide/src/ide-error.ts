// The one error class of this package.

import { PartitaError } from '@partita/interface'

/**
 * Thrown by the emulated IDE controller: `ERR_STATE_INVALID`, `ERR_IDE_DISK_UNKNOWN` (no disk of that name), `ERR_IDE_SECTOR_SIZE`
 * (not 512 bytes), `ERR_IDE_NO_PCI` (a PCI function without a bus), `ERR_IDE_BUSY` (saved while it runs), `ERR_IDE_DRIVE` (no CD drive there).
 */
export class IdeError extends PartitaError {}
