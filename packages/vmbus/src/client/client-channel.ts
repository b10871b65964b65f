// An open channel as a child's driver sees it.

import type { RingPacket } from '../ring/ring-packet.ts'
import { READ, type RingReader } from '../ring/ring-reader.ts'
import { COMMIT, type GpaRange, type RingWriter, WRITE, type WriteResult } from '../ring/ring-writer.ts'
import { VmbusError } from '../vmbus-error.ts'

/** What an open channel needs of its client. */
export interface ClientChannelPort {
  /** Number of the channel, from its offer. */
  readonly relid: number
  /** The GPADL of the rings. */
  readonly gpadl: number
  /** Ring the host's bell. */
  signal(): void
  /** Close the channel, and take the GPADL back. Resolves when the host has let go of it. */
  close(): Promise<void>
}

/** Sends at once; receives in batches when the host signals. On a channel that is closed, sending does nothing and returns true. */
export class ClientChannel {
  /** Called for each packet, which is valid until it returns. */
  onPacket: ((packet: RingPacket) => void) | undefined
  /** Called when the host made room after a send failed. */
  onWritable: (() => void) | undefined
  /** Called once when the channel is closed, or taken away by the host: nothing more comes or goes. */
  onClosed: (() => void) | undefined
  /** Called once when a ring is found to make no sense: nothing more comes or goes. */
  onBroken: ((fault: string) => void) | undefined
  /** The ring from the host. */
  readonly reader: RingReader
  /** The ring to the host. */
  readonly writer: RingWriter
  readonly #port: ClientChannelPort
  #starved = false
  #corks = 0
  #broken = false
  #closed = false
  #closing: Promise<void> | undefined

  /** A client's: {@link VscDevice.open} and {@link VmbusClient.open} make channels. `reader` has the ring from the host, `writer` the ring to it. */
  constructor(port: ClientChannelPort, rings: { reader: RingReader; writer: RingWriter }) {
    this.#port = port
    this.reader = rings.reader
    this.writer = rings.writer
  }

  /** Number of the channel. */
  get relid(): number {
    return this.#port.relid
  }

  /** Number of the GPADL of its rings. */
  get gpadl(): number {
    return this.#port.gpadl
  }

  /** What is wrong with a ring, once something is. */
  get fault(): string | undefined {
    return this.reader.fault ?? this.writer.fault
  }

  /**
   * Send an in-band packet. False: no room; {@link ClientChannel.onWritable} will tell.
   * @throws VmbusError `ERR_VMBUS_PACKET` when it can never fit
   */
  send(payload: Uint8Array, transactionLow = 0, transactionHigh = 0, flags = 0): boolean {
    if (this.#closed) return true
    return this.#sent(this.writer.writeInBand(payload, 0, payload.length, transactionLow, transactionHigh, flags))
  }

  /** Send a packet with ranges of this partition's memory. As {@link ClientChannel.send}. */
  sendGpaDirect(ranges: readonly GpaRange[], payload: Uint8Array, transactionLow = 0, transactionHigh = 0): boolean {
    if (this.#closed) return true
    return this.#sent(this.writer.writeGpaDirect(ranges, payload, transactionLow, transactionHigh))
  }

  /** Send a completion. As {@link ClientChannel.send}. */
  complete(transactionLow: number, transactionHigh: number, payload?: Uint8Array): boolean {
    if (this.#closed) return true
    return this.#sent(this.writer.writeCompletion(transactionLow, transactionHigh, payload))
  }

  /** Collect what is sent until as many {@link ClientChannel.uncork}. */
  cork(): void {
    this.#corks++
  }

  /** Send what was collected. */
  uncork(): void {
    if (this.#corks > 0 && --this.#corks === 0) this.#flush()
  }

  /** The host signalled: take what is there. */
  signalled(): void {
    this.cork()
    if (this.#starved && this.writer.hasRoom()) {
      this.#starved = false
      this.writer.stopWaiting()
      this.onWritable?.()
    }
    let signal = false
    do {
      this.reader.mask()
      while (this.reader.next() === READ.PACKET) this.onPacket?.(this.reader.packet)
      if (this.reader.commit()) signal = true
    } while (this.reader.unmask())
    this.uncork()
    if (signal) this.#port.signal()
    this.#checkFault()
  }

  /** Close the channel, and take its ring back from the host. Resolves when the host has let go of it. */
  close(): Promise<void> {
    this.closed()
    this.#closing ??= this.#port.close()
    return this.#closing
  }

  /** The client's: nothing more comes or goes on this channel. */
  closed(): void {
    if (this.#closed) return
    this.#closed = true
    this.onClosed?.()
  }

  #sent(result: WriteResult): boolean {
    if (result === WRITE.TOO_LARGE) throw new VmbusError('ERR_VMBUS_PACKET', 'The packet does not fit in the ring')
    if (result === WRITE.FULL) this.#starved = true
    if (this.#corks === 0) this.#flush()
    return result === WRITE.OK
  }

  #flush(): void {
    do if (this.writer.commit() === COMMIT.SIGNAL) this.#port.signal()
    while (this.#starved && this.#roomAgain())
    this.#checkFault()
  }

  #checkFault(): void {
    const { fault } = this
    if (fault === undefined || this.#broken) return
    this.#broken = true
    this.onBroken?.(fault)
  }

  /** Wait for room, unless there is some by now. */
  #roomAgain(): boolean {
    if (!this.writer.wait()) return false
    this.#starved = false
    this.onWritable?.()
    return true
  }
}
