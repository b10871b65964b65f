// A packet in a copy of a ring's bytes, and what its header means. Everything is checked on the copy, which the other side cannot change.

import { VMBUS_COMPLETION_REQUESTED, type VmbusPacket } from '@partita/interface'
import { GPA_DIRECT_HEADER_SIZE, PACKET_TYPE, RING_PAGE, TRANSFER_PAGES_HEADER_SIZE } from './layout.ts'
import { PieceList, pagesSpanned } from './piece-list.ts'

/** Implements VmbusPacket. One object serves all packets of a reader. */
export class RingPacket implements VmbusPacket {
  type = 0
  flags = 0
  transactionLow = 0
  transactionHigh = 0
  payloadOffset = 0
  payloadLength = 0
  transferPageSet = 0
  transferRangeCount = 0
  bytes: Uint8Array
  view: DataView
  /** The copy in words of 32 bits. */
  words: Int32Array
  readonly buffer: PieceList = new PieceList(64)
  /** Where it begins in the copy. */
  #start = 0

  constructor(capacity = 1024) {
    const memory = new ArrayBuffer(capacity)
    this.bytes = new Uint8Array(memory)
    this.view = new DataView(memory)
    this.words = new Int32Array(memory)
  }

  /** The transaction id as one number (allocates). */
  get transactionId(): bigint {
    return this.view.getBigUint64(this.#start + 8, true)
  }

  /** Whether the sender wants a completion. */
  get completionRequested(): boolean {
    return (this.flags & VMBUS_COMPLETION_REQUESTED) !== 0
  }

  payload(): Uint8Array {
    return this.bytes.subarray(this.payloadOffset, this.payloadOffset + this.payloadLength)
  }

  /** Bytes of range `index` of a transfer-pages packet. */
  transferRangeLength(index: number): number {
    return this.view.getUint32(this.#transferRange(index), true)
  }

  /** Where range `index` of a transfer-pages packet begins in its page set. */
  transferRangeOffset(index: number): number {
    return this.view.getUint32(this.#transferRange(index) + 4, true)
  }

  #transferRange(index: number): number {
    if (!(index >= 0 && index < this.transferRangeCount)) throw new RangeError(`there is no range ${index}`)
    return this.#start + TRANSFER_PAGES_HEADER_SIZE + index * 8
  }

  /** Move `count` bytes from `at` to the beginning of the copy, and have room for `length` in all. */
  move(at: number, count: number, length: number): void {
    const { bytes } = this
    if (length <= bytes.length) {
      if (count > 0) bytes.copyWithin(0, at, at + count)
      return
    }
    let capacity = bytes.length
    while (capacity < length) capacity *= 2
    const memory = new ArrayBuffer(capacity)
    this.bytes = new Uint8Array(memory)
    this.view = new DataView(memory)
    this.words = new Int32Array(memory)
    this.bytes.set(bytes.subarray(at, at + count))
  }

  /**
   * Be the packet at `start` of the copy, all of which is there. `first` and `second` are the words that it begins with. Returns what is wrong with its header, or
   * `undefined`.
   */
  found(start: number, first: number, second: number): string | undefined {
    const dataOffset = (first >>> 16) * 8
    const word = start >>> 2
    this.#start = start
    this.type = first & 0xffff
    this.flags = second >>> 16
    this.transactionLow = (this.words[word + 2] as number) >>> 0
    this.transactionHigh = (this.words[word + 3] as number) >>> 0
    this.payloadOffset = start + dataOffset
    this.payloadLength = (second & 0xffff) * 8 - dataOffset
    this.buffer.clear()
    this.transferRangeCount = 0
    switch (this.type) {
      case PACKET_TYPE.IN_BAND:
      case PACKET_TYPE.COMPLETION:
      case PACKET_TYPE.CANCEL:
        return undefined
      case PACKET_TYPE.GPA_DIRECT:
        return this.#parseGpaDirect(dataOffset)
      case PACKET_TYPE.TRANSFER_PAGES:
        return this.#parseTransferPages(dataOffset)
      default:
        return `a packet of type ${this.type}`
    }
  }

  #parseGpaDirect(dataOffset: number): string | undefined {
    if (dataOffset < GPA_DIRECT_HEADER_SIZE) return 'a GPA-direct packet without room for its header'
    const { view, buffer } = this
    const end = this.#start + dataOffset
    const count = view.getUint32(this.#start + 20, true)
    let at = this.#start + GPA_DIRECT_HEADER_SIZE
    for (let range = 0; range < count; range++) {
      if (end - at < 8) return `a GPA-direct packet that ends before range ${range} of ${count}`
      const byteCount = view.getUint32(at, true)
      const byteOffset = view.getUint32(at + 4, true)
      if (byteOffset >= RING_PAGE) return `a range that begins ${byteOffset} bytes into its first page`
      const pages = pagesSpanned(byteOffset, byteCount)
      at += 8
      if (pages * 8 > end - at) return `a range of ${pages} pages that does not fit in its packet`
      buffer.addRange(view, at, byteOffset, byteCount)
      at += pages * 8
    }
    return undefined
  }

  #parseTransferPages(dataOffset: number): string | undefined {
    if (dataOffset < TRANSFER_PAGES_HEADER_SIZE) return 'a transfer-pages packet without room for its header'
    const count = this.view.getUint32(this.#start + 20, true)
    if (count * 8 > dataOffset - TRANSFER_PAGES_HEADER_SIZE)
      return `${count} transfer pages that do not fit in their packet`
    this.transferPageSet = this.view.getUint16(this.#start + 16, true)
    this.transferRangeCount = count
    return undefined
  }
}
