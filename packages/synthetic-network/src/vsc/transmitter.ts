// Frames on their way to the provider: small ones in sections of the send buffer, large ones in buffers of their own. Both are free again when the provider says so.

import { MAXIMUM_FRAME_LENGTH, type NetworkFrame, VMBUS_COMPLETION_REQUESTED } from '@partita/interface'
import type { ClientChannel, DmaBuffer, VscDevice } from '@partita/vmbus/client'
import { NO_SEND_SECTION, NVSP_MESSAGE, NvspRndisPacket, PACKET_SIZE_V61, RNDIS_CHANNEL } from '../protocol/nvsp.ts'
import { LONGEST_TX_HEADERS, MessageBuilder } from './data-messages.ts'

/** Large frames have transaction ids from here on, sections of the send buffer from 1. */
const LARGE_TRANSACTION = 0x4000_0000
const LARGE_BYTES: number = MAXIMUM_FRAME_LENGTH + LONGEST_TX_HEADERS

/** Sends frames. */
export class Transmitter {
  /** The send buffer, for the provider. */
  readonly buffer: DmaBuffer
  readonly #device: VscDevice
  readonly #large: readonly DmaBuffer[]
  readonly #builder: MessageBuilder = new MessageBuilder()
  readonly #message: Uint8Array = new Uint8Array(PACKET_SIZE_V61)
  readonly #packet: NvspRndisPacket = new NvspRndisPacket(new DataView(this.#message.buffer))
  #freeSections: number[] = []
  #freeLarge: number[] = []
  #sectionSize = 0
  #sections = 0

  constructor(device: VscDevice, sendBytes: number, largeFrames: number) {
    this.#device = device
    this.buffer = device.allocate(sendBytes)
    this.#large = Array.from({ length: largeFrames }, () => device.allocate(LARGE_BYTES))
  }

  /** The provider divides the send buffer into sections of so many bytes. False: that cannot be. */
  divide(sectionSize: number): boolean {
    if (sectionSize <= LONGEST_TX_HEADERS || sectionSize > this.buffer.bytes.length) return false
    this.#sectionSize = sectionSize
    this.#sections = Math.floor(this.buffer.bytes.length / sectionSize)
    this.#freeSections = Array.from({ length: this.#sections }, (_, section) => section)
    this.#freeLarge = this.#large.map((_, index) => index)
    return true
  }

  /** Frames that the provider has. */
  get pending(): number {
    return this.#sectionSize === 0
      ? 0
      : this.#sections - this.#freeSections.length + this.#large.length - this.#freeLarge.length
  }

  /** Send a frame. False: no room now. */
  send(channel: ClientChannel, frame: NetworkFrame): boolean {
    const headers = this.#builder.build(frame)
    const length = headers + frame.end - frame.start
    return length <= this.#sectionSize
      ? this.#sendSection(channel, frame, headers, length)
      : this.#sendLarge(channel, frame, headers, length)
  }

  /** The provider is done with a frame. False: it has none of that id. */
  completed(transaction: number): boolean {
    if (transaction >= LARGE_TRANSACTION) {
      const index = transaction - LARGE_TRANSACTION
      if (index >= this.#large.length || this.#freeLarge.includes(index)) return false
      this.#freeLarge.push(index)
      return true
    }
    const section = transaction - 1
    if (section < 0 || section >= this.#sections || this.#freeSections.includes(section)) return false
    this.#freeSections.push(section)
    return true
  }

  /** A control message in memory of the driver's. False: no room in the ring. */
  sendControl(channel: ClientChannel, bytes: Uint8Array, transaction: number): boolean {
    this.#fill(RNDIS_CHANNEL.CONTROL, NO_SEND_SECTION, 0)
    return channel.sendGpaDirect(this.#device.rangesOf(bytes) ?? [], this.#message, transaction)
  }

  #sendSection(channel: ClientChannel, frame: NetworkFrame, headers: number, length: number): boolean {
    const section = this.#freeSections.pop()
    if (section === undefined) return false
    this.#copy(this.buffer.bytes, section * this.#sectionSize, headers, frame)
    this.#fill(RNDIS_CHANNEL.DATA, section, length)
    if (channel.send(this.#message, section + 1, 0, VMBUS_COMPLETION_REQUESTED)) return true
    this.#freeSections.push(section)
    return false
  }

  #sendLarge(channel: ClientChannel, frame: NetworkFrame, headers: number, length: number): boolean {
    const index = this.#freeLarge.pop()
    if (index === undefined) return false
    const { bytes } = this.#large[index] as DmaBuffer
    this.#copy(bytes, 0, headers, frame)
    this.#fill(RNDIS_CHANNEL.DATA, NO_SEND_SECTION, 0)
    const ranges = this.#device.rangesOf(bytes.subarray(0, length)) ?? []
    if (channel.sendGpaDirect(ranges, this.#message, LARGE_TRANSACTION + index)) return true
    this.#freeLarge.push(index)
    return false
  }

  #copy(target: Uint8Array, at: number, headers: number, frame: NetworkFrame): void {
    target.set(this.#builder.bytes.subarray(0, headers), at)
    target.set(frame.bytes.subarray(frame.start, frame.end), at + headers)
  }

  #fill(channelType: number, section: number, size: number): void {
    const packet = this.#packet
    packet.messageType = NVSP_MESSAGE.SEND_RNDIS_PACKET
    packet.channelType = channelType
    packet.sendSectionIndex = section
    packet.sendSectionSize = size
  }
}
