// What a guest says to a provider, as data that a suite can send in any order, cut, change and repeat.

import type { FakeGuest } from './fake-guest.ts'

/** A packet of the provider. */
export interface GuestPacket {
  /** One of VMBUS_PACKET. */
  readonly type: number
  /** VMBUS_COMPLETION_REQUESTED, or 0. */
  readonly flags: number
  /** Low half of the transaction id. */
  readonly transaction: number
  /** A copy, padded to a multiple of 8 bytes. */
  readonly payload: Uint8Array
  /** Of a transfer-pages packet: the page set that the ranges are in. */
  readonly transferPageSet: number
  /** Its ranges: each `length` bytes from `offset` of the page set. Empty for other packets. */
  readonly transferRanges: readonly { readonly offset: number; readonly length: number }[]
}

/** The answer to a packet. */
export interface GuestAnswer {
  /** One of VMBUS_PACKET. */
  readonly type: number
  /** A copy, padded to a multiple of 8 bytes. */
  readonly payload: Uint8Array
  /** The payload once more, for numbers of more than one byte. */
  readonly view: DataView
  /** What the guest's buffer held when the answer came; empty without one. */
  readonly buffer: Uint8Array
}

/** A packet of the guest, and the answer that it has to get. */
export interface GuestExchange {
  /** What the packet says. The ring pads it to a multiple of 8 bytes. */
  readonly payload: Uint8Array
  /** For messages. */
  readonly name?: string
  /**
   * How it is answered: by a completion of its transaction, by an in-band packet, or not at all. Default: `completion`.
   */
  readonly answer?: 'completion' | 'packet' | 'none'
  /** The packet asks for a completion. Default: where that is the answer. */
  readonly completionRequested?: boolean
  /** Of an answer by packet: which one it is. Default: the next. */
  readonly matches?: (packet: GuestPacket) => boolean
  /** Guest memory that the packet names, `size` bytes that begin with `contents`: it becomes GPA-direct. */
  readonly buffer?: { readonly size: number; readonly contents?: Uint8Array }
  /** Throws when the answer is wrong. */
  readonly check?: (answer: GuestAnswer) => void
}

/** An exchange, or what makes one when its turn has come, where it needs GPADLs or addresses. */
export type GuestStep = GuestExchange | ((guest: FakeGuest) => GuestExchange | Promise<GuestExchange>)
