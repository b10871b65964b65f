// The error class of the hypervisor: host faults and misuse of its API. Guests never cause one.

import { PartitaError } from '@partita/interface'

/** Thrown by `@partita/hypervisor`; see each function for the codes. */
export class HypervisorError extends PartitaError {}
