// A frame that its owner may change: what a sender fills in and lends.

import type { NetworkFrame } from '@partita/interface'

const NOTHING: Uint8Array = new Uint8Array(0)

/** Implements NetworkFrame. Make one and use it for every frame. */
export class Frame implements NetworkFrame {
  bytes: Uint8Array = NOTHING
  start = 0
  end = 0
  flags = 0
  checksumStart = 0
  checksumOffset = 0
  gsoSize = 0
  vlan = 0

  /** A frame of plain bytes, of which nothing is known and nothing left to do. */
  plain(bytes: Uint8Array, start = 0, end: number = bytes.length): this {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.flags = 0
    this.checksumStart = 0
    this.checksumOffset = 0
    this.gsoSize = 0
    this.vlan = 0
    return this
  }

  /** The same frame as another, in the same bytes. */
  like(other: NetworkFrame): this {
    this.bytes = other.bytes
    this.start = other.start
    this.end = other.end
    this.flags = other.flags
    this.checksumStart = other.checksumStart
    this.checksumOffset = other.checksumOffset
    this.gsoSize = other.gsoSize
    this.vlan = other.vlan
    return this
  }
}
