// The one error class of this package.

import { PartitaError } from '@partita/interface'

/** Thrown by what PCI functions are made of: `ERR_PCI_REGISTER`. */
export class PciError extends PartitaError {}
