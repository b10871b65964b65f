// The one error class of this package.

import { PartitaError } from '@partita/interface'

/**
 * Thrown by switches and what is connected to them: `ERR_NETWORK_UNKNOWN` (there is no switch of that name), `ERR_NETWORK_PORT` (a port cannot be made as asked for), `ERR_NETWORK_CAPTURE` (a capture cannot be written).
 */
export class SwitchError extends PartitaError {}
