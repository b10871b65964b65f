// What goes wrong on the host's side in this package.

import { PartitaError } from '@partita/interface'

/**
 * Codes: `ERR_PROCESSOR_MEMORY` (the host cannot give the memory), `ERR_PROCESSOR_STATE` (a register or state was asked for that does not exist).
 */
export class ProcessorError extends PartitaError {}
