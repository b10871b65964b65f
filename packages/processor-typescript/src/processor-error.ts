// What goes wrong on the host's side in this package.

import { PartitaError } from '@partita/interface'

/**
 * Codes: `ERR_PROCESSOR_MEMORY` (a size that is not possible, or another processor's memory), `ERR_PROCESSOR_STATE` (a register that does not exist, or a call from a
 * program outside of its slice), `ERR_STATE_INVALID`.
 */
export class ProcessorError extends PartitaError {}
