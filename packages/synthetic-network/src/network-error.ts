// The one error class of this package.

import { PartitaError } from '@partita/interface'

/**
 * Thrown for misuse by the host: `ERR_NETWORK_ADDRESS` (a MAC address that an adapter cannot have), `ERR_STATE_INVALID`; on the child side `ERR_NETWORK_PROTOCOL`,
 * `ERR_NETWORK_CLOSED`, `ERR_NETWORK_FRAME` (a frame that cannot be sent) and `ERR_NETWORK_OID` (the provider refuses an OID).
 */
export class NetworkError extends PartitaError {}
