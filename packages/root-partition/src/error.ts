// The error class of the root partition, with its codes.

import { PartitaError, type PartitaErrorOptions } from '@partita/interface'

/** Codes of {@link RootPartitionError}. */
export type RootPartitionErrorCode =
  /** No plug-in of that name; the hint names the nearest. */
  | 'ERR_PLUGIN_UNKNOWN'
  /** Written for another version of the plug-in contract. */
  | 'ERR_PLUGIN_CONTRACT'
  /** Its options do not pass its schema. */
  | 'ERR_PLUGIN_OPTIONS'
  /** Nothing provides a service that it needs. */
  | 'ERR_PLUGIN_NEEDS'
  /** Plug-ins need one another in a circle. */
  | 'ERR_PLUGIN_CYCLE'
  /** Two provide the same service, or have the same id. */
  | 'ERR_PLUGIN_DUPLICATE'
  /** Not a plug-in, not what its manifest says, or of a kind that does not belong there. */
  | 'ERR_PLUGIN_INVALID'
  /** It asked for a service that it had not declared. */
  | 'ERR_PLUGIN_UNDECLARED'
  /** Its module, or its options' schema, threw, or was never done. */
  | 'ERR_PLUGIN_LOAD'
  /** It threw something without a code of its own, or was never done. What others get who use a service of one that is gone. */
  | 'ERR_PLUGIN_FAILED'
  /** The VM's configuration does not pass its schema. */
  | 'ERR_VM_CONFIGURATION'
  /** Not possible in the VM's present state. */
  | 'ERR_VM_STATE'
  /** The host has not that much memory to give. */
  | 'ERR_MEMORY_EXHAUSTED'
  /** The saved state is not one of this VM. */
  | 'ERR_STATE_INVALID'
  /** A file of the configuration cannot be read. */
  | 'ERR_FILE_UNREADABLE'

/** Thrown by `@partita/root-partition`. */
export class RootPartitionError extends PartitaError {
  declare readonly code: RootPartitionErrorCode

  constructor(code: RootPartitionErrorCode, message: string, options?: PartitaErrorOptions) {
    super(code, message, options)
  }
}
