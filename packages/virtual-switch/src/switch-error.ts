// The one error class of this package.

import { PartitaError } from '@partita/interface'

/**
 * Thrown by switches and what is connected to them: `ERR_NETWORK_UNKNOWN` (there is no switch of that name), `ERR_NETWORK_PORT` (a port cannot be made as asked for), `ERR_NETWORK_CAPTURE` (a capture cannot be written),
 * `ERR_NETWORK_OPTIONS` (options of a network are not what they should be), `ERR_NETWORK_FORWARD` (a port of the host cannot be listened at), `ERR_NETWORK_TAP` (an interface cannot be had),
 * `ERR_NETWORK_SHARED` (a shared switch can neither be joined nor begun).
 */
export class SwitchError extends PartitaError {}
