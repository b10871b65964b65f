// Turns a frame into one or more for a receiver that cannot do what its sender left to others: segments it, finishes its checksum, puts its tag into its bytes.

import { FRAME_FLAG, MAXIMUM_FRAME_LENGTH, type NetworkFrame } from '@partita/interface'
import { finishedChecksum, putU16 } from './checksum.ts'
import { Frame } from './frame.ts'
import { ETHER_TYPE } from './headers.ts'
import { Segmenter } from './segmenter.ts'

const GSO = FRAME_FLAG.GSO_TCP4 | FRAME_FLAG.GSO_TCP6
/** Bytes of both addresses, behind which a tag stands. */
const ADDRESSES = 12
const TAG = 4

/**
 * A conversion under way. A frame that needs none is passed on as it is; otherwise the result lies in a buffer of the conversion's own, until the next one.
 *
 * @example
 * ```ts
 * conversion.begin(frame, port.accepts)
 * for (let part = conversion.next(); part !== undefined; part = conversion.next()) port.send(part)
 * ```
 */
export class FrameConversion {
  readonly #segmenter: Segmenter = new Segmenter()
  readonly #buffer: Uint8Array = new Uint8Array(MAXIMUM_FRAME_LENGTH + TAG)
  readonly #result: Frame = new Frame()
  #frame: NetworkFrame = this.#result
  #accepts = 0
  #segments = false
  #left = 0

  /**
   * Begin to make `frame` fit for one who accepts the flags `accepts`. Returns how many frames it becomes; 0: it is not what its flags say, and cannot be passed on.
   * `first`: how many of them to leave out.
   */
  begin(frame: NetworkFrame, accepts: number, first = 0): number {
    this.#frame = frame
    this.#accepts = accepts
    this.#segments = (frame.flags & GSO & ~accepts) !== 0
    const count = this.#segments ? this.#segmenter.begin(frame, first) : 1
    this.#left = Math.max(0, count - first)
    return count
  }

  /** The next frame, or `undefined` after the last one. */
  next(): NetworkFrame | undefined {
    if (this.#left === 0) return undefined
    this.#left--
    const frame = this.#frame
    const tag = (frame.flags & FRAME_FLAG.VLAN & ~this.#accepts) !== 0
    if (this.#segments) {
      this.#segmenter.next()
      return this.#segment(frame, tag)
    }
    const sum = (frame.flags & FRAME_FLAG.CHECKSUM_PARTIAL & ~this.#accepts) !== 0
    if (!tag && !sum) return frame
    return this.#copy(frame, tag, sum)
  }

  #segment(frame: NetworkFrame, tag: boolean): NetworkFrame {
    const { header, headerLength, payloadStart, payloadEnd } = this.#segmenter
    const buffer = this.#buffer
    const payload = TAG + headerLength
    buffer.set(header.subarray(0, headerLength), TAG)
    buffer.set(frame.bytes.subarray(payloadStart, payloadEnd), payload)
    const result = this.#result.plain(buffer, TAG, payload + payloadEnd - payloadStart)
    result.flags = FRAME_FLAG.CHECKSUM_VALID | (tag ? 0 : frame.flags & FRAME_FLAG.VLAN)
    result.vlan = frame.vlan
    if (tag) result.start = insertVlanTag(buffer, TAG, frame.vlan)
    return result
  }

  #copy(frame: NetworkFrame, tag: boolean, sum: boolean): NetworkFrame {
    const buffer = this.#buffer
    buffer.set(frame.bytes.subarray(frame.start, frame.end), TAG)
    const result = this.#result.like(frame)
    result.bytes = buffer
    result.start = TAG
    result.end = TAG + frame.end - frame.start
    if (sum) {
      putU16(buffer, TAG + frame.checksumOffset, finishedChecksum(frame))
      result.flags = (result.flags & ~FRAME_FLAG.CHECKSUM_PARTIAL) | FRAME_FLAG.CHECKSUM_VALID
    }
    if (tag) {
      result.flags &= ~FRAME_FLAG.VLAN
      result.start = insertVlanTag(buffer, TAG, frame.vlan)
      result.checksumStart += TAG
      result.checksumOffset += TAG
    }
    return result
  }
}

/** Put an 802.1Q tag into the frame that begins at `start`, 4 bytes into the room before it. Returns where it begins now. */
export function insertVlanTag(bytes: Uint8Array, start: number, tci: number): number {
  const begin = start - TAG
  bytes.copyWithin(begin, start, start + ADDRESSES)
  putU16(bytes, begin + ADDRESSES, ETHER_TYPE.VLAN)
  putU16(bytes, begin + ADDRESSES + 2, tci)
  return begin
}
