// Makes the frames that the gateway sends: Ethernet, IPv4 or IPv6, and what is in them. One buffer serves all of them; a frame is lent to the port, and gone with the next one.

import {
  checksumOf,
  ETHER_TYPE,
  Frame,
  foldSum,
  IP_PROTOCOL,
  putU16,
  putU32,
  storeIpv4Checksum,
  sumWords,
  writeMacAddress,
} from '@partita/ethernet'
import { ETHERNET_HEADER_LENGTH, FRAME_FLAG, MAXIMUM_FRAME_LENGTH, type NetworkFrame } from '@partita/interface'
import { type IpAddress, isIpv4, writeIpAddress } from './ip-address.ts'

const HOP_LIMIT = 64
/** Don't fragment (RFC 791, 3.1). */
const DONT_FRAGMENT = 0x4000
const MORE_FRAGMENTS = 0x2000
const NETWORK = ETHERNET_HEADER_LENGTH

/** Builds one packet at a time. */
export class PacketBuilder {
  readonly bytes: Uint8Array = new Uint8Array(MAXIMUM_FRAME_LENGTH)
  readonly #frame: Frame = new Frame()
  readonly #fragment: Uint8Array = new Uint8Array(2048)
  readonly #source: number
  #version: 4 | 6 = 4
  #protocol = 0
  #identification = 0
  /** Where the transport header begins. */
  transport = 0

  /** `source`: the gateway's MAC address. */
  constructor(source: number) {
    this.#source = source
  }

  /** Begin an Ethernet frame; returns where its payload begins. */
  ethernet(destination: number, etherType: number): number {
    writeMacAddress(this.bytes, 0, destination)
    writeMacAddress(this.bytes, 6, this.#source)
    putU16(this.bytes, 12, etherType)
    return NETWORK
  }

  /** Begin an IP packet; returns where the transport header begins. */
  ip(destinationMac: number, source: IpAddress, destination: IpAddress, protocol: number): number {
    const { bytes } = this
    this.#protocol = protocol
    if (isIpv4(source)) {
      this.#version = 4
      this.ethernet(destinationMac, ETHER_TYPE.IPV4)
      bytes[NETWORK] = 0x45
      bytes[NETWORK + 1] = 0
      putU16(bytes, NETWORK + 6, DONT_FRAGMENT)
      bytes[NETWORK + 8] = HOP_LIMIT
      bytes[NETWORK + 9] = protocol
      writeIpAddress(bytes, NETWORK + 12, source)
      writeIpAddress(bytes, NETWORK + 16, destination)
      this.transport = NETWORK + 20
    } else {
      this.#version = 6
      this.ethernet(destinationMac, ETHER_TYPE.IPV6)
      putU32(bytes, NETWORK, 0x6000_0000)
      bytes[NETWORK + 6] = protocol
      bytes[NETWORK + 7] = HOP_LIMIT
      writeIpAddress(bytes, NETWORK + 8, source)
      writeIpAddress(bytes, NETWORK + 24, destination)
      this.transport = NETWORK + 40
    }
    return this.transport
  }

  /** Neighbour discovery has hop limit 255 (RFC 4861). */
  setHopLimit(limit: number): void {
    this.bytes[NETWORK + (this.#version === 4 ? 8 : 7)] = limit
  }

  /** The IP header for `length` bytes behind it. */
  #finishIp(length: number): void {
    const { bytes } = this
    if (this.#version === 6) {
      putU16(bytes, NETWORK + 4, length)
      return
    }
    putU16(bytes, NETWORK + 2, 20 + length)
    this.#identification = (this.#identification + 1) & 0xffff
    putU16(bytes, NETWORK + 4, this.#identification)
    storeIpv4Checksum(bytes, NETWORK, 20)
  }

  /** The sum of the pseudo header. */
  #pseudoSum(length: number): number {
    const addresses = this.#version === 4 ? NETWORK + 12 : NETWORK + 8
    return sumWords(this.bytes, addresses, this.transport, this.#protocol + length)
  }

  /** An Ethernet frame without IP, `length` bytes of payload. */
  finishEthernet(length: number): NetworkFrame {
    return this.#frame.plain(this.bytes, 0, NETWORK + length)
  }

  /** An ICMP or ICMPv6 message of `length` bytes, with its checksum. */
  finishIcmp(length: number): NetworkFrame {
    this.#storeIcmpChecksum(length)
    this.#finishIp(length)
    return this.#frame.plain(this.bytes, 0, this.transport + length)
  }

  #storeIcmpChecksum(length: number): void {
    const { bytes, transport } = this
    putU16(bytes, transport + 2, 0)
    const sum = this.#protocol === IP_PROTOCOL.ICMPV6 ? this.#pseudoSum(length) : 0
    putU16(bytes, transport + 2, checksumOf(sumWords(bytes, transport, transport + length, sum)))
  }

  /**
   * A segment of TCP or a datagram of UDP, `length` bytes with its header. The checksum stays partial. `gsoSize`: bytes of payload in each segment of one that is larger, 0 for none.
   */
  finishTransport(length: number, gsoSize: number): NetworkFrame {
    const { bytes, transport } = this
    const field = this.#protocol === IP_PROTOCOL.UDP ? 6 : 16
    putU16(bytes, transport + field, foldSum(this.#pseudoSum(length)))
    this.#finishIp(length)
    const frame = this.#frame.plain(bytes, 0, transport + length)
    frame.flags = FRAME_FLAG.CHECKSUM_PARTIAL
    frame.checksumStart = transport
    frame.checksumOffset = transport + field
    if (gsoSize > 0) {
      frame.flags |= this.#version === 4 ? FRAME_FLAG.GSO_TCP4 : FRAME_FLAG.GSO_TCP6
      frame.gsoSize = gsoSize
    }
    return frame
  }

  /** A UDP datagram that is larger than the MTU, as fragments. `send` is called for each. */
  fragmentUdp(length: number, mtu: number, send: (frame: NetworkFrame) => void): void {
    const { bytes, transport } = this
    putU16(bytes, transport + 6, 0)
    const checksum = checksumOf(sumWords(bytes, transport, transport + length, this.#pseudoSum(length)))
    putU16(bytes, transport + 6, checksum === 0 ? 0xffff : checksum)
    this.#fragments(length, mtu, send)
  }

  /** An ICMP or ICMPv6 message that is larger than the MTU, as fragments. `send` is called for each. */
  fragmentIcmp(length: number, mtu: number, send: (frame: NetworkFrame) => void): void {
    this.#storeIcmpChecksum(length)
    this.#fragments(length, mtu, send)
  }

  /** Fragments of what is complete behind the IP header (RFC 791, 3.2; RFC 8200, 4.5). */
  #fragments(length: number, mtu: number, send: (frame: NetworkFrame) => void): void {
    const { bytes, transport } = this
    const header = this.#version === 4 ? 20 : 48
    const target = this.#fragment
    const room = (Math.min(mtu, target.length - NETWORK) - header) & ~7
    this.#identification = (this.#identification + 1) & 0xffff
    for (let offset = 0; offset < length; offset += room) {
      const size = Math.min(room, length - offset)
      const more = offset + size < length
      target.set(bytes.subarray(0, transport))
      if (this.#version === 4) {
        putU16(target, NETWORK + 2, 20 + size)
        putU16(target, NETWORK + 4, this.#identification)
        putU16(target, NETWORK + 6, (more ? MORE_FRAGMENTS : 0) | (offset >> 3))
        storeIpv4Checksum(target, NETWORK, 20)
      } else {
        putU16(target, NETWORK + 4, 8 + size)
        target[NETWORK + 6] = IP_PROTOCOL.FRAGMENT
        target[transport] = this.#protocol
        target[transport + 1] = 0
        putU16(target, transport + 2, offset | (more ? 1 : 0))
        putU32(target, transport + 4, this.#identification)
      }
      target.set(bytes.subarray(transport + offset, transport + offset + size), NETWORK + header)
      send(this.#frame.plain(target, 0, NETWORK + header + size))
    }
  }
}
