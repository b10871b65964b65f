// The one error class of this package.

import { PartitaError } from '@partita/interface'

/** Thrown by the emulated serial port: `ERR_STATE_INVALID`. */
export class SerialError extends PartitaError {}
