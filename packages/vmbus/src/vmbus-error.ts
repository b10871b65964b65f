// The one error class of this package.

import { PartitaError } from '@partita/interface'

/** Thrown by the VMBus for misuse by the host: `ERR_VMBUS_OFFER`, `ERR_VMBUS_PACKET`, `ERR_VMBUS_CLIENT`, `ERR_STATE_INVALID`. */
export class VmbusError extends PartitaError {}
