// Messages on their way to the guest through one channel: collected in sections, sent as one packet of transfer pages. A packet that finds no room in the ring stays,
// and nothing is added to it.

import { VMBUS_COMPLETION_REQUESTED, type VmbusChannel } from '@partita/interface'
import { NO_SEND_SECTION, NVSP_MESSAGE, NvspRndisPacket, PACKET_SIZE_V61, packetSize } from '../protocol/nvsp.ts'
import { NO_SECTION, type ReceiveBuffer } from './receive-buffer.ts'

/** Messages of a packet. Drivers of NDIS 6 take up to 375. */
const CAPACITY = 320
/** With so many a packet is sent without waiting for the end of the batch. */
const ENOUGH = 64

/** The packet under way. */
export class OutgoingPacket {
  readonly capacity: number = CAPACITY
  readonly #channel: VmbusChannel
  readonly #index: number
  readonly #buffer: ReceiveBuffer
  readonly #onSent: () => void
  /** Pairs of length and offset, as the packet has them, and windows on the first of them. */
  readonly #ranges: Uint32Array = new Uint32Array(2 * CAPACITY)
  readonly #windows: Uint32Array[] = []
  readonly #message: Uint8Array = new Uint8Array(PACKET_SIZE_V61)
  readonly #payload: Uint8Array
  readonly #header: NvspRndisPacket
  #count = 0
  #first = NO_SECTION
  #last = NO_SECTION

  /** `onSent`: called when a packet is in the ring. */
  constructor(channel: VmbusChannel, buffer: ReceiveBuffer, version: number, onSent: () => void) {
    this.#onSent = onSent
    this.#channel = channel
    this.#index = channel.subChannelIndex
    this.#buffer = buffer
    this.#payload = this.#message.subarray(0, packetSize(version))
    this.#header = new NvspRndisPacket(new DataView(this.#message.buffer))
    this.#header.messageType = NVSP_MESSAGE.SEND_RNDIS_PACKET
    this.#header.sendSectionIndex = NO_SEND_SECTION
  }

  /** Messages that wait. */
  get count(): number {
    return this.#count
  }

  /** Make room for so many messages more. False: the ring has none. */
  reserve(messages: number): boolean {
    if (this.#count > 0 && (this.#count >= ENOUGH || this.#count + messages > CAPACITY)) return this.flush()
    return true
  }

  /** Add the message of `length` bytes in a section. */
  add(section: number, length: number): void {
    this.#ranges[2 * this.#count] = length
    this.#ranges[2 * this.#count + 1] = this.#buffer.place(section)
    if (this.#count === 0) this.#first = section
    else this.#buffer.link(this.#last, section)
    this.#last = section
    this.#count++
  }

  /** Send what there is. False: no room in the ring. */
  flush(): boolean {
    if (this.#count === 0) return true
    this.#header.channelType = 0
    if (!this.#send(this.#window(this.#count), this.#first)) return false
    this.#count = 0
    this.#first = NO_SECTION
    this.#last = NO_SECTION
    return true
  }

  /** Send one control message from a section of its own. False: no room in the ring; the section is the caller's still. */
  sendControl(section: number, length: number): boolean {
    // A control message overtakes frames that wait: a range of its own.
    this.#header.channelType = 1
    return this.#send(Uint32Array.of(length, this.#buffer.place(section)), section)
  }

  #send(ranges: Uint32Array, first: number): boolean {
    const flags = VMBUS_COMPLETION_REQUESTED
    // A transaction id is never 0.
    if (!this.#channel.sendTransferPages(this.#buffer.id, ranges, this.#payload, first + 1, 0, flags)) return false
    this.#buffer.sent(first, this.#index)
    this.#onSent()
    return true
  }

  #window(count: number): Uint32Array {
    return (this.#windows[count] ??= this.#ranges.subarray(0, 2 * count))
  }

  /** Forget what waits. */
  discard(): void {
    if (this.#count > 0) this.#buffer.release(this.#first)
    this.#count = 0
    this.#first = NO_SECTION
    this.#last = NO_SECTION
  }
}
