// What goes wrong in the guest.

import { PartitaError } from '@partita/interface'

/**
 * Codes: `ERR_GUEST_HYPERVISOR` (the partition lacks what the guest needs), `ERR_GUEST_BOOT` (firmware left something that makes no sense), `ERR_GUEST_MEMORY` (none is left),
 * `ERR_GUEST_DRIVER` (a driver did not start, or no device is there for it), `ERR_GUEST_STATE` (it does not run, is suspended, or has crashed), `ERR_STATE_INVALID`.
 */
export class GuestError extends PartitaError {}
