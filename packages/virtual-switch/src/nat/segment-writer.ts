// Makes the segments of one connection, as the guest gets them from the other end of it.

import { IP_PROTOCOL } from '@partita/ethernet'
import type { NetworkFrame } from '@partita/interface'
import type { ByteChunks } from './byte-chunks.ts'
import { type IpAddress, isIpv4 } from './ip-address.ts'
import type { PacketBuilder } from './packet-builder.ts'
import { TCP_HEADER_LENGTH, writeSynOptions, writeTcpHeader } from './tcp-segment.ts'

/** The largest packet of IP. */
const LARGEST_PACKET = 65_535
/** Segments in one frame: what a guest with a small MSS has room for. */
const MAXIMUM_SEGMENTS = 64

/** Both ends of a connection. */
export interface TcpFlow {
  readonly guest: IpAddress
  readonly guestPort: number
  /** The other end, as the guest sees it. */
  readonly remote: IpAddress
  readonly remotePort: number
}

/** Frames are lent, and gone with the next one of any connection. */
export class SegmentWriter {
  readonly #builder: PacketBuilder
  readonly #flow: TcpFlow
  readonly #headers: number
  // What the header is written from.
  readonly sourcePort: number
  readonly destinationPort: number
  sequence = 0
  acknowledgement = 0
  flags = 0
  window = 0

  constructor(builder: PacketBuilder, flow: TcpFlow) {
    this.#builder = builder
    this.#flow = flow
    this.#headers = (isIpv4(flow.remote) ? 20 : 40) + TCP_HEADER_LENGTH
    this.sourcePort = flow.remotePort
    this.destinationPort = flow.guestPort
  }

  /** Bytes of a segment that fit into a packet of `mtu` bytes. */
  mss(mtu: number): number {
    return mtu - this.#headers
  }

  /** Bytes of the largest frame, whole segments that the guest's adapter takes apart again. */
  largest(mss: number): number {
    const room = Math.min(LARGEST_PACKET - this.#headers, MAXIMUM_SEGMENTS * mss)
    return room - (room % mss)
  }

  /** A SYN, with `mss` and a window scale; a scale of -1 for none. */
  syn(mac: number, mss: number, scale: number): NetworkFrame {
    const length = writeSynOptions(this.#builder.bytes, this.#begin(mac), mss, scale)
    return this.#builder.finishTransport(length, 0)
  }

  /** A segment without data. */
  empty(mac: number): NetworkFrame {
    this.#begin(mac)
    return this.#builder.finishTransport(TCP_HEADER_LENGTH, 0)
  }

  /** A segment, or a frame of several with `mss` bytes each, of `length` bytes from the distance `offset` on. */
  data(mac: number, chunks: ByteChunks, offset: number, length: number, mss: number): NetworkFrame {
    const at = this.#begin(mac)
    chunks.copy(offset, length, this.#builder.bytes, at + TCP_HEADER_LENGTH)
    return this.#builder.finishTransport(TCP_HEADER_LENGTH + length, length > mss ? mss : 0)
  }

  #begin(mac: number): number {
    const { remote, guest } = this.#flow
    const at = this.#builder.ip(mac, remote, guest, IP_PROTOCOL.TCP)
    writeTcpHeader(this.#builder.bytes, at, this)
    return at
  }
}
