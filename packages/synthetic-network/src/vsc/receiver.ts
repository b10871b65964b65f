// What the provider puts into the driver's receive buffer: each message is copied and looked at, frames are put together, and packets are given back.

import type { NetworkFrame, VmbusPacket } from '@partita/interface'
import type { ClientChannel, DmaBuffer } from '@partita/vmbus/client'
import { NVSP_MESSAGE, NVSP_STATUS, NvspRndisPacket, NvspStatusMessage, PACKET_SIZE_V61 } from '../protocol/nvsp.ts'
import { RNDIS_HEADER_SIZE, RNDIS_MESSAGE, RndisComplete } from '../protocol/rndis.ts'
import { ASSEMBLED, FrameAssembler } from './data-messages.ts'

/** The driver's number for its receive buffer. */
export const RECEIVE_BUFFER_ID = 0xcafe

/** Whom the messages are for. */
export interface ReceiverEvents {
  /** A frame, lent. */
  frame(frame: NetworkFrame, queue: number): void
  /** A whole RNDIS message of another type, lent, with room for a request id. */
  message(type: number, bytes: Uint8Array): void
  /** Something made no sense. */
  ignored(): void
}

/** The receive buffer. */
export class Receiver {
  readonly buffer: DmaBuffer
  readonly #events: ReceiverEvents
  /** By sub-channel index. */
  readonly #assemblers: FrameAssembler[] = []
  readonly #completion: Uint8Array = new Uint8Array(PACKET_SIZE_V61)
  /** Completions that found no room: channel and transaction. */
  #owed: { readonly channel: ClientChannel; readonly low: number; readonly high: number }[] = []
  #copy: Uint8Array = new Uint8Array(0)
  #copyView: DataView = new DataView(this.#copy.buffer)

  constructor(buffer: DmaBuffer, events: ReceiverEvents) {
    this.buffer = buffer
    this.#events = events
    const status = new NvspStatusMessage(new DataView(this.#completion.buffer))
    status.messageType = NVSP_MESSAGE.SEND_RNDIS_PACKET_COMPLETE
    status.status = NVSP_STATUS.SUCCESS
  }

  /** The provider divides the buffer. False: that cannot be. */
  divide(sectionSize: number, sections: number): boolean {
    if (sectionSize < RndisComplete.size || sectionSize * sections > this.buffer.bytes.length) return false
    this.#copy = new Uint8Array(sectionSize)
    this.#copyView = new DataView(this.#copy.buffer)
    return true
  }

  /** Deliver the messages of a packet of transfer pages. Then it is to be given back. */
  received(queue: number, packet: VmbusPacket): void {
    const { transferRangeCount, view, payloadOffset } = packet
    const good =
      packet.transferPageSet === RECEIVE_BUFFER_ID &&
      packet.payloadLength >= NvspRndisPacket.size &&
      view.getUint32(payloadOffset, true) === NVSP_MESSAGE.SEND_RNDIS_PACKET
    if (!good) this.#events.ignored()
    for (let range = 0; good && range < transferRangeCount; range++)
      this.#message(queue, packet.transferRangeOffset(range), packet.transferRangeLength(range))
  }

  /** Give a packet back; it is owed when there is no room. */
  giveBack(channel: ClientChannel, low: number, high: number): void {
    if (this.#owed.length > 0 || !channel.complete(low, high, this.#completion)) this.#owed.push({ channel, low, high })
  }

  /** There is room again. */
  flush(): void {
    let done = 0
    for (const { channel, low, high } of this.#owed) {
      if (!channel.complete(low, high, this.#completion)) break
      done++
    }
    this.#owed.splice(0, done)
  }

  /** A channel is closed, or with `undefined` all of them: nothing is owed to it. */
  forget(channel?: ClientChannel): void {
    this.#owed = channel === undefined ? [] : this.#owed.filter((owed) => owed.channel !== channel)
  }

  #message(queue: number, offset: number, length: number): void {
    const { bytes } = this.buffer
    const events = this.#events
    if (length < RNDIS_HEADER_SIZE || length > this.#copy.length || offset + length > bytes.length) {
      events.ignored()
      return
    }
    this.#copy.set(bytes.subarray(offset, offset + length))
    const type = this.#copyView.getUint32(0, true)
    if (type === RNDIS_MESSAGE.PACKET) {
      this.#assemblers[queue] ??= new FrameAssembler()
      const assembler = this.#assemblers[queue]
      const result = assembler.add(this.#copy, this.#copyView, length)
      if (result === ASSEMBLED.FRAME) events.frame(assembler.frame, queue)
      else if (result === ASSEMBLED.BAD) events.ignored()
      return
    }
    const size = this.#copyView.getUint32(4, true)
    if (size > length || size < RNDIS_HEADER_SIZE + 4) events.ignored()
    else events.message(type, this.#copy.subarray(0, size))
  }
}
