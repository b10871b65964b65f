// The one error class of this package.

import { PartitaError } from '@partita/interface'

/**
 * Thrown by the VMBus for misuse by the host: `ERR_VMBUS_OFFER`, `ERR_VMBUS_PACKET`, `ERR_STATE_INVALID`; and in a child: `ERR_VMBUS_CLIENT` (the host refuses, or a
 * request is wrong), `ERR_VMBUS_GONE` (the device was taken away or closed), `ERR_VMBUS_RING` (the host broke a ring).
 */
export class VmbusError extends PartitaError {}
