// A packet of a guest, as the gateway's parts see it: checked, addressed to the gateway, whole.

import { FrameHeaders } from '@partita/ethernet'
import type { IpAddress } from './ip-address.ts'

/** One object serves all packets. */
export class GuestPacket {
  bytes: Uint8Array = new Uint8Array(0)
  readonly headers: FrameHeaders = new FrameHeaders()
  /** MAC address of the sender. */
  sourceMac = 0
  readonly source: IpAddress = new Uint8Array(16)
  readonly destination: IpAddress = new Uint8Array(16)

  get version(): 4 | 6 {
    return this.headers.ipVersion === 6 ? 6 : 4
  }

  get sourcePort(): number {
    return this.#port(0)
  }

  get destinationPort(): number {
    return this.#port(2)
  }

  #port(offset: number): number {
    const at = this.headers.transport + offset
    return ((this.bytes[at] ?? 0) << 8) | (this.bytes[at + 1] ?? 0)
  }

  /** The payload of TCP or UDP, lent. */
  get payload(): Uint8Array {
    return this.bytes.subarray(this.headers.payload, this.headers.packetEnd)
  }
}
