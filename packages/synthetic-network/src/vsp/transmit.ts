// The way out of the guest: the RNDIS data messages of a packet are copied, checked on the copy, and become frames for the network. Nothing is allocated for a frame.

import {
  ETHER_TYPE,
  Frame,
  FrameConversion,
  FrameHeaders,
  foldSum,
  IP_PROTOCOL,
  pseudoHeaderSum,
  putU16,
  readMacAddress,
  storeIpv4Checksum,
} from '@partita/ethernet'
import {
  ETHERNET_HEADER_LENGTH,
  FRAME_FLAG,
  type GuestBuffer,
  type GuestMemory,
  MAXIMUM_FRAME_LENGTH,
  type NetworkPort,
} from '@partita/interface'
import { NO_SEND_SECTION, NVSP_STATUS } from '../protocol/nvsp.ts'
import {
  LARGE_SEND_IPV6,
  LARGE_SEND_MSS_MASK,
  LARGE_SEND_V2,
  PER_PACKET_INFO,
  PER_PACKET_INFO_SIZE,
  RNDIS_HEADER_SIZE,
  RNDIS_MESSAGE,
  RNDIS_PACKET_SIZE,
  TX_CHECKSUM,
} from '../protocol/rndis.ts'
import type { BufferMap } from './buffer-map.ts'
import { MAXIMUM_TRANSFER } from './control.ts'
import { count, type NetworkStatistics } from './statistics.ts'

/** Returned for a packet whose frames the network does not all take now. */
export const STALLED = 0

/** A smaller MSS would make one packet of the guest thousands of frames. TCP's least is 48. */
const MINIMUM_MSS = 32
const VLAN_TAG = 4
const NO_INFO = -1
/** Room for a tag before the first message. */
const MARGIN = 16

/** Where a packet's messages are: a section of the send buffer, followed by pages of its own. */
export interface TransmitSource {
  readonly sectionIndex: number
  readonly sectionSize: number
  readonly buffer: GuestBuffer
}

/** Turns packets into frames. One serves all channels of an adapter. */
export class TransmitPath {
  /** Frames of the packet before that the network has taken. */
  sent = 0
  readonly #copy: Uint8Array = new Uint8Array(MARGIN + MAXIMUM_TRANSFER)
  readonly #view: DataView = new DataView(this.#copy.buffer)
  readonly #frame: Frame = new Frame()
  readonly #headers: FrameHeaders = new FrameHeaders()
  readonly #conversion: FrameConversion = new FrameConversion()
  readonly #memory: GuestMemory
  #skip = 0
  // Of the message under way.
  #checksum = 0
  #largeSend = 0
  #vlan = 0

  constructor(memory: GuestMemory) {
    this.#memory = memory
  }

  /**
   * Send the frames of a packet, without the first `skip`, which the network took before. Returns an NVSP status, or STALLED: then `sent` is what to skip next time.
   */
  transmit(
    source: TransmitSource,
    skip: number,
    sendBuffer: BufferMap | undefined,
    sendSectionSize: number,
    port: NetworkPort | undefined,
    statistics: NetworkStatistics,
  ): number {
    this.sent = 0
    this.#skip = skip
    const length = this.#fetch(source, sendBuffer, sendSectionSize)
    if (length < 0) {
      statistics.transmitErrors++
      return NVSP_STATUS.INVALID_RNDIS_PACKET
    }
    const end = MARGIN + length
    for (let at = MARGIN; end - at >= RNDIS_HEADER_SIZE; ) {
      const size = this.#view.getUint32(at + 4, true)
      if (size < RNDIS_HEADER_SIZE || size > end - at) {
        statistics.transmitErrors++
        return NVSP_STATUS.INVALID_RNDIS_PACKET
      }
      if (this.#view.getUint32(at, true) === RNDIS_MESSAGE.PACKET) {
        if (!this.#parse(at, size)) {
          statistics.transmitErrors++
          return NVSP_STATUS.INVALID_RNDIS_PACKET
        }
        if (!this.#send(port, statistics)) return STALLED
      }
      at += size
    }
    return NVSP_STATUS.SUCCESS
  }

  /** Copy a packet's bytes. Returns how many, or -1 when they are not all there. */
  #fetch(source: TransmitSource, sendBuffer: BufferMap | undefined, sendSectionSize: number): number {
    const { sectionIndex, buffer } = source
    let at = MARGIN
    if (sectionIndex !== NO_SEND_SECTION) {
      const { sectionSize } = source
      if (sendBuffer === undefined || sectionSize > sendSectionSize) return -1
      const place = sectionIndex * sendSectionSize
      if (place + sectionSize > sendBuffer.byteLength) return -1
      sendBuffer.read(place, this.#copy, at, sectionSize)
      at += sectionSize
    }
    const rest = buffer.byteLength
    if (at + rest > this.#copy.length) return -1
    if (rest > 0) {
      const target = new Uint8Array(this.#copy.buffer, at, rest)
      if (!buffer.read(this.#memory, 0, target)) return -1
    }
    return at + rest - MARGIN
  }

  /** Make a frame of the data message of `size` bytes at `at`. False: it makes no sense. */
  #parse(at: number, size: number): boolean {
    if (size < RNDIS_HEADER_SIZE + RNDIS_PACKET_SIZE) return false
    const view = this.#view
    const body = at + RNDIS_HEADER_SIZE
    const limit = size - RNDIS_HEADER_SIZE
    const dataOffset = view.getUint32(body, true)
    const dataLength = view.getUint32(body + 4, true)
    if (dataLength < ETHERNET_HEADER_LENGTH || dataLength > MAXIMUM_FRAME_LENGTH || dataOffset + dataLength > limit)
      return false
    if (!this.#parseInfo(body, limit)) return false
    const start = body + dataOffset
    const frame = this.#frame.plain(this.#copy, start, start + dataLength)
    if (this.#vlan !== NO_INFO) {
      const info = this.#vlan
      frame.flags = FRAME_FLAG.VLAN
      frame.vlan = ((info & 7) << 13) | ((info & 8) << 9) | ((info >>> 4) & 0xfff)
    }
    if (this.#largeSend !== 0) return this.#prepareLargeSend(frame, this.#largeSend)
    if (this.#checksum !== 0) this.#prepareChecksum(frame, this.#checksum)
    return true
  }

  #parseInfo(body: number, limit: number): boolean {
    this.#checksum = 0
    this.#largeSend = 0
    this.#vlan = NO_INFO
    const view = this.#view
    const length = view.getUint32(body + 24, true)
    if (length === 0) return true
    const offset = view.getUint32(body + 20, true)
    if (offset + length > limit) return false
    let at = body + offset
    for (const end = at + length; at < end; ) {
      if (end - at < PER_PACKET_INFO_SIZE) return false
      const size = view.getUint32(at, true)
      const type = view.getUint32(at + 4, true)
      const value = view.getUint32(at + 8, true)
      if (size < PER_PACKET_INFO_SIZE || size > end - at) return false
      if (value + 4 <= size) {
        const info = view.getUint32(at + value, true)
        if (type === PER_PACKET_INFO.CHECKSUM) this.#checksum = info
        else if (type === PER_PACKET_INFO.LARGE_SEND) this.#largeSend = info
        else if (type === PER_PACKET_INFO.IEEE_8021Q) this.#vlan = info & 0xffff
      }
      at += size
    }
    return true
  }

  /**
   * The driver leaves the checksum to us. What it has put into its field is not looked at: the sum of the pseudo header is made here. A frame that is not what it
   * says goes out as it is.
   */
  #prepareChecksum(frame: Frame, info: number): void {
    const { bytes, start, end } = frame
    const headers = this.#headers
    if (!headers.parse(bytes, start, end)) return
    if (headers.ipVersion === 4 && (info & TX_CHECKSUM.IP_HEADER) !== 0)
      storeIpv4Checksum(bytes, headers.network, ((bytes[headers.network] as number) & 0x0f) * 4)
    const wanted = headers.protocol === IP_PROTOCOL.TCP ? TX_CHECKSUM.TCP : TX_CHECKSUM.UDP
    if (headers.payload === 0 || headers.fragment || (info & wanted) === 0) return
    // Padding behind the packet is no part of it, and nobody needs it.
    frame.end = headers.packetEnd
    this.#makePartial(frame)
  }

  #makePartial(frame: Frame): void {
    const headers = this.#headers
    const { bytes, start } = frame
    const field = headers.transport + headers.checksumField
    putU16(bytes, field, foldSum(pseudoHeaderSum(bytes, headers, headers.packetEnd - headers.transport)))
    frame.flags |= FRAME_FLAG.CHECKSUM_PARTIAL
    frame.checksumStart = headers.transport - start
    frame.checksumOffset = field - start
  }

  /** Linux leaves out the lengths, the IP header's checksum, and the length in the pseudo header: all are made anew. */
  #prepareLargeSend(frame: Frame, info: number): boolean {
    const { bytes, start, end } = frame
    const headers = this.#headers
    headers.parse(bytes, start, end)
    const at = headers.network
    const length = end - at
    if (headers.etherType === ETHER_TYPE.IPV4) {
      const headerLength = ((bytes[at] as number) & 0x0f) * 4
      if (length > 0xffff || length < headerLength || headerLength < 20) return false
      putU16(bytes, at + 2, length)
      storeIpv4Checksum(bytes, at, headerLength)
    } else if (headers.etherType === ETHER_TYPE.IPV6) {
      if (length - 40 > 0xffff || length < 40) return false
      putU16(bytes, at + 4, length - 40)
    } else return false
    if (!headers.parse(bytes, start, end) || headers.protocol !== IP_PROTOCOL.TCP) return false
    if (headers.payload === 0 || headers.fragment) return false
    // Version 1 knows IPv4 alone.
    const version6 = (info & LARGE_SEND_V2) !== 0 && (info & LARGE_SEND_IPV6) !== 0
    if (version6 !== (headers.ipVersion === 6)) return false
    const mss = info & LARGE_SEND_MSS_MASK
    this.#makePartial(frame)
    if (end - headers.payload <= mss) return true
    if (mss < MINIMUM_MSS || mss > 0xffff) return false
    frame.flags |= headers.ipVersion === 4 ? FRAME_FLAG.GSO_TCP4 : FRAME_FLAG.GSO_TCP6
    frame.gsoSize = mss
    return true
  }

  /** Give the frame to the network. False: it does not take all of it now. */
  #send(port: NetworkPort | undefined, statistics: NetworkStatistics): boolean {
    const frame = this.#frame
    const { bytes, start, end, gsoSize } = frame
    const longest = (port?.mtu ?? 0) + ETHERNET_HEADER_LENGTH + VLAN_TAG
    const length = gsoSize === 0 ? end - start : this.#headers.payload - start + gsoSize
    if (port === undefined || !port.linkUp || length > longest) {
      if (this.#skip > 0) this.#skip--
      else statistics.transmitDiscards++
      this.sent++
      return true
    }
    const first = this.#skip
    const parts = this.#conversion.begin(frame, port.accepts, first)
    this.#skip = Math.max(0, first - parts)
    this.sent += Math.min(first, parts)
    for (let part = this.#conversion.next(); part !== undefined; part = this.#conversion.next()) {
      if (!port.send(part)) return false
      this.sent++
    }
    // A frame that had gone out before the packet was turned away was counted then.
    if (first < parts) {
      count(statistics.transmitted, readMacAddress(bytes, start), end - start)
      if (gsoSize > 0) statistics.largeSends++
    }
    return true
  }
}
