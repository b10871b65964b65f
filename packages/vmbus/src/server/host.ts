// What the server's state machine needs of the world, so that it can be tested without a VM.

import type { GuestMemory } from '@partita/interface'

/** The way to one guest. */
export interface VmbusHost {
  /** The guest's memory, in which its rings and monitor pages lie. */
  readonly memory: GuestMemory
  /** Queue a message for a SINT of a virtual processor. False: not now; {@link VmbusServer.messageSlotFree} will be called. */
  postMessage(vpIndex: number, sint: number, payload: Uint8Array): boolean
  /** Set an event flag of a SINT, and interrupt. */
  signalEvent(vpIndex: number, sint: number, flag: number): void
  /** Call `signal` when the guest signals `connectionId`. */
  createEventPort(connectionId: number, signal: () => void): Disposable
  /** Call `run` soon, from nowhere: not inside of the caller. */
  defer(run: () => void): void
  /**
   * Call {@link VmbusServer.pollMonitors} about each millisecond of the VM's time, while `wanted`. A host without this has no monitored channels.
   */
  pollMonitors?(wanted: boolean): void
}

/** Told of what passes, for a trace. Payloads and texts are valid during the call. */
export interface VmbusTrace {
  /** A message of the channel protocol: `formatMessage` makes it readable. `in`: from the guest. */
  message(direction: 'in' | 'out', payload: Uint8Array): void
  /** Something happened to a channel (`relid` 0: to the connection). */
  event(relid: number, text: string): void
}
