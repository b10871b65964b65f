// The one error class of this package.

import { PartitaError } from '@partita/interface'

/**
 * Thrown by switches and what is connected to them: `ERR_NETWORK_UNKNOWN` (there is no switch of that name), `ERR_NETWORK_PORT` (a port cannot be made as asked for), `ERR_NETWORK_CAPTURE` (a capture cannot be written),
 * `ERR_NETWORK_OPTIONS` (options of a network are not what they should be), `ERR_NETWORK_FORWARD` (a port of the host cannot be listened at).
 */
export class SwitchError extends PartitaError {}
