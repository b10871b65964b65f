// The root partition's side of inter-partition communication (TLFS, chapters "Inter-Partition Communication" and "Virtual Interrupt
// Controller": ports, connections, and the SynIC of each virtual processor). Provided by the hypervisor's plug-in.

import { type ServiceToken, serviceToken } from './plugin.ts'

/** What a root partition posts to, and receives from, one child partition. */
export interface SynicPorts {
  /**
   * Receive the messages that the guest posts to `connectionId` (HvCallPostMessage). `payload` is a copy of at most 240 bytes. `receive` returns
   * an HV_STATUS for the guest: 0, or 0x13 (INSUFFICIENT_BUFFERS) to make it try again.
   * @throws PartitaError `ERR_PORT_CONFLICT` when the connection id is taken
   */
  createMessagePort(
    connectionId: number,
    receive: (vpIndex: number, messageType: number, payload: Uint8Array) => number,
  ): Disposable
  /**
   * Be told of HvCallSignalEvent on `connectionId`, with the flag number.
   * @throws PartitaError `ERR_PORT_CONFLICT` when the connection id is taken
   */
  createEventPort(connectionId: number, signal: (flag: number) => void): Disposable
  /**
   * Queue a message for a SINT of a virtual processor. False when it cannot be queued now: {@link SynicPorts.onMessageSlotFree} tells when to try
   * again. The queue is bounded.
   */
  postMessage(vpIndex: number, sint: number, messageType: number, payload: Uint8Array): boolean
  /** The queue of a SINT has room again. */
  onMessageSlotFree(callback: (vpIndex: number, sint: number) => void): Disposable
  /** Set an event flag of a SINT, and interrupt if it was clear. False: the guest has not enabled it, or a number is out of range. */
  signalEvent(vpIndex: number, sint: number, flag: number): boolean
}

/** The partition's SynIC as the virtualization stack uses it. */
export const synicPortsToken: ServiceToken<SynicPorts> = serviceToken('partita/synic-ports')
