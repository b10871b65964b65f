// The one error class of this package.

import { PartitaError } from '@partita/interface'

/** Thrown by the fw_cfg device: `ERR_STATE_INVALID`, `ERR_FIRMWARE_ITEM` (an item or a file that cannot be had). */
export class FwCfgError extends PartitaError {}
