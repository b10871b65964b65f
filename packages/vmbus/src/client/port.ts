// What a client needs of the partition that it runs in.

import type { GuestMemory } from '@partita/interface'

/** A child partition's way to the hypervisor. */
export interface VmbusClientPort {
  /** The partition's own memory. */
  readonly memory: GuestMemory
  /** HvCallPostMessage with type 1. Returns an HV_STATUS; on 0x13 (INSUFFICIENT_BUFFERS) the client tries again at {@link VmbusClient.retry}. */
  postMessage(connectionId: number, payload: Uint8Array): number
  /** HvCallSignalEvent with flag 0. */
  signalEvent(connectionId: number): void
}
