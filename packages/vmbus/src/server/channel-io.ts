// An open channel as its device sees it: two rings, the batches of packets, and the signals that they ask for. One object lives from
// an open to the next close.

import type {
  GuestBuffer,
  GuestMemory,
  VmbusChannel,
  VmbusChannelHandler,
  VmbusCounters,
  VmbusOffer,
} from '@partita/interface'
import { PieceList } from '../ring/piece-list.ts'
import { READ, type RingReader } from '../ring/ring-reader.ts'
import { COMMIT, type RingWriter, WRITE, type WriteResult } from '../ring/ring-writer.ts'
import { VmbusError } from '../vmbus-error.ts'

/** Packets in a row, and looks for one, before other work gets its turn. */
const BATCH_LIMIT = 4096

/** What an open channel needs of the server. */
export interface ChannelIoPort {
  readonly memory: GuestMemory
  readonly version: number
  readonly targetVp: number
  readonly counters: VmbusCounters
  signalGuest(): void
  defer(run: () => void): void
  gpadl(id: number): GuestBuffer | undefined
  offerSubChannels(count: number): number
  /** The channel cannot go on. */
  broken(reason: string): void
  /** The device threw. */
  deviceFailed(error: unknown): void
}

/** Implements VmbusChannel. */
export class ChannelIo implements VmbusChannel {
  readonly offer: VmbusOffer
  readonly subChannelIndex: number
  readonly openData: Uint8Array
  readonly restored: boolean
  readonly reader: RingReader
  readonly writer: RingWriter
  readonly #port: ChannelIoPort
  #handler: VmbusChannelHandler | undefined
  #open = true
  /** The guest knows that the channel is open, and the VM runs: packets and signals may flow. */
  #flowing = false
  /** Depth of corks; our own batches are one. */
  #corks = 0
  #serving = false
  /** The handler did not take the first packet. */
  #held = false
  /** A send found no room. */
  #starved = false
  #deferred = false
  /** A signal to the guest came due while nothing could flow. */
  #owesSignal = false

  constructor(
    port: ChannelIoPort,
    place: { offer: VmbusOffer; subChannelIndex: number; openData: Uint8Array; restored: boolean; starved: boolean },
    rings: { reader: RingReader; writer: RingWriter },
  ) {
    this.#port = port
    this.offer = place.offer
    this.subChannelIndex = place.subChannelIndex
    this.openData = place.openData
    this.restored = place.restored
    this.#starved = place.starved
    this.reader = rings.reader
    this.writer = rings.writer
  }

  get version(): number {
    return this.#port.version
  }

  get targetVp(): number {
    return this.#port.targetVp
  }

  get isOpen(): boolean {
    return this.#open
  }

  get memory(): GuestMemory {
    return this.#port.memory
  }

  get counters(): Readonly<VmbusCounters> {
    return this.#port.counters
  }

  get maxPayload(): number {
    return this.writer.maxPayload
  }

  /** Whether the device waits to be told that there is room, as saved state. */
  get starved(): boolean {
    return this.#starved
  }

  /** Who serves the channel. */
  attach(handler: VmbusChannelHandler): void {
    this.#handler = handler
  }

  /** Let packets and signals flow, and catch up. `signal`: interrupt the guest in any case, as after a restore. */
  start(signal = false): void {
    if (!this.#open) return
    this.#flowing = true
    if (signal) this.#owesSignal = true
    this.#serve()
  }

  /** Hold packets and signals back. */
  stop(): void {
    this.#flowing = false
  }

  /** The guest signalled. */
  signalled(): void {
    this.#port.counters.signalsIn++
    this.#serve()
  }

  /** No more packets, no more signals, ever. */
  detach(): void {
    this.#open = false
    this.#flowing = false
    this.#handler = undefined
  }

  send(
    payload: Uint8Array,
    start = 0,
    end: number = payload.length,
    transactionLow = 0,
    transactionHigh = 0,
    flags = 0,
  ): boolean {
    if (!this.#open) return true
    return this.#sent(this.writer.writeInBand(payload, start, end, transactionLow, transactionHigh, flags), end - start)
  }

  complete(
    transactionLow: number,
    transactionHigh: number,
    payload?: Uint8Array,
    start = 0,
    end: number = payload === undefined ? 0 : payload.length,
  ): boolean {
    if (!this.#open) return true
    return this.#sent(this.writer.writeCompletion(transactionLow, transactionHigh, payload, start, end), end - start)
  }

  sendTransferPages(
    pageSet: number,
    ranges: Uint32Array,
    payload: Uint8Array,
    transactionLow = 0,
    transactionHigh = 0,
    flags = 0,
  ): boolean {
    if (ranges.length % 2 !== 0)
      throw new VmbusError('ERR_VMBUS_PACKET', 'Ranges of transfer pages are pairs of length and offset')
    if (!this.#open) return true
    return this.#sent(
      this.writer.writeTransferPages(pageSet, ranges, payload, transactionLow, transactionHigh, flags),
      payload.length,
    )
  }

  cork(): void {
    this.#corks++
  }

  uncork(): void {
    if (this.#corks > 0 && --this.#corks === 0) this.#flush()
  }

  resume(): void {
    if (!this.#held) return
    this.#held = false
    this.#serve()
  }

  gpadl(gpadlId: number): GuestBuffer | undefined {
    return this.#open ? this.#port.gpadl(gpadlId) : undefined
  }

  createBuffer(): GuestBuffer {
    return new PieceList()
  }

  offerSubChannels(count: number): number {
    return this.#open ? this.#port.offerSubChannels(count) : 0
  }

  fail(reason: string): void {
    if (this.#open) this.#port.broken(reason)
  }

  #sent(result: WriteResult, length: number): boolean {
    const { counters } = this.#port
    switch (result) {
      case WRITE.OK:
        counters.packetsOut++
        counters.bytesOut += length
        if (this.#corks === 0) this.#flush()
        return true
      case WRITE.FULL:
        counters.ringFull++
        this.#starved = true
        // What is written makes room only when the guest knows of it.
        if (this.#corks === 0) this.#flush()
        return false
      case WRITE.BROKEN:
        this.#port.broken(this.writer.fault ?? '')
        return true
      default:
        throw new VmbusError('ERR_VMBUS_PACKET', `A packet of ${length} bytes does not fit in the ring`, {
          data: { length, maxPayload: this.maxPayload },
        })
    }
  }

  /** Deliver packets until there are none, and send what that led to. */
  #serve(): void {
    if (this.#serving || !this.#flowing || !this.#open) return
    this.#serving = true
    this.#corks++
    // Packets, and looks at a ring that was empty.
    let count = 0
    // Packets were taken since the device was last told the end of a batch.
    let batch = false
    try {
      this.#checkRoom()
      this.reader.mask()
      while (this.#open && !this.#held) {
        const result = this.reader.peek()
        if (result === READ.PACKET) {
          if (count++ >= BATCH_LIMIT) {
            this.#deferServe()
            break
          }
          const { packet } = this.reader
          const { counters } = this.#port
          const taken = this.#handler?.receive(packet)
          if (!this.#open) break
          if (taken === false) {
            this.#held = true
            break
          }
          this.reader.consume()
          counters.packetsIn++
          counters.bytesIn += packet.payloadLength
          // A guest that writes meanwhile is to find room before the batch is over.
          if (this.reader.uncommittedBytes * 4 > this.reader.memory.size) this.#commitReader()
          batch = true
        } else if (result === READ.EMPTY) {
          if (batch) this.#handler?.batchEnd?.()
          batch = false
          if (!this.#open) break
          this.#commitReader()
          if (!this.reader.unmask()) break
          // A pointer that is another at each look brings no packets and no end.
          if (count++ >= BATCH_LIMIT) {
            this.#deferServe()
            break
          }
          this.reader.mask()
        } else {
          this.#port.broken(this.reader.fault ?? '')
          break
        }
      }
      if (batch) this.#handler?.batchEnd?.()
      if (this.#open) this.#commitReader()
    } catch (error) {
      this.#port.deviceFailed(error)
    } finally {
      this.#serving = false
      this.#corks--
      if (this.#corks === 0) this.#flush()
    }
  }

  #commitReader(): void {
    if (this.reader.commit()) this.#owesSignal = true
  }

  /** Tell a handler that was turned away that there is room again. */
  #checkRoom(): void {
    if (!this.#starved || !this.writer.hasRoom()) return
    this.#starved = false
    this.#held = false
    this.writer.stopWaiting()
    this.#handler?.writable?.()
  }

  /** Show the guest what was written, and signal it once if the rules ask for it. */
  #flush(): void {
    if (!this.#open || !this.#flowing) return
    const result = this.writer.commit()
    if (this.writer.fault !== undefined) {
      this.#port.broken(this.writer.fault)
      return
    }
    if (result === COMMIT.SIGNAL) this.#owesSignal = true
    else if (result === COMMIT.SPARED) this.#port.counters.signalsSpared++
    if (this.#owesSignal) {
      this.#owesSignal = false
      this.#port.counters.signalsOut++
      this.#port.signalGuest()
    }
    if (this.#starved && this.writer.wait()) this.#deferServe()
  }

  #deferServe(): void {
    if (this.#deferred) return
    this.#deferred = true
    this.#port.defer(() => {
      this.#deferred = false
      this.#serve()
    })
  }
}
