// What a client and its drivers need of the partition that they run in: memory and signals. The kernel of `@partita/guest` is one such transport, the pair of
// `@partita/vmbus/testing` another; a driver that is written for this runs on any.

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

/** Whole pages of the partition's memory, one after the other, for rings and for data that devices read and write. */
export interface DmaBuffer extends Disposable {
  /** Guest physical address of the first byte. */
  readonly gpa: number
  /** A window on them, as long as was asked for. */
  readonly bytes: Uint8Array
}

/** A child partition, as drivers see it. */
export interface VmbusTransport extends VmbusClientPort {
  /** Virtual processors, numbered from 0: channels can interrupt each of them. */
  readonly processorCount: number
  /**
   * Take pages for `byteLength` bytes; they hold zeros. Disposing of the buffer gives them back.
   * @throws PartitaError when there are not so many
   */
  allocate(byteLength: number): DmaBuffer
  /** Pages that {@link VmbusTransport.allocate} gave out before a saved state, with what they hold. */
  adopt(gpa: number, byteLength: number): DmaBuffer
  /** The guest physical address of a window on the partition's memory; `undefined` for other bytes. */
  addressOf(bytes: Uint8Array): number | undefined
}
