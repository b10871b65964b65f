// Finding the headers of a frame: Ethernet II with 802.1Q tags, IPv4 (RFC 791), IPv6 with extension headers (RFC 8200), TCP (RFC 9293), UDP (RFC 768).
// Everything is checked against the frame's end: what was found can be read.

/** Values of the EtherType that are told apart. */
export const ETHER_TYPE = { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd, SERVICE_VLAN: 0x88a8 } as const

/** IP protocols that are told apart, and IPv6's extension headers. */
export const IP_PROTOCOL = {
  HOP_BY_HOP: 0,
  ICMP: 1,
  TCP: 6,
  UDP: 17,
  ROUTING: 43,
  FRAGMENT: 44,
  ICMPV6: 58,
  DESTINATION_OPTIONS: 60,
} as const

/** Extension headers after which nobody looks for the transport header any more. */
const MAXIMUM_EXTENSIONS = 8
/** 802.1Q tags before the EtherType. */
const MAXIMUM_TAGS = 2

/** Where a frame's headers are: indices into its bytes. One object serves many frames. */
export class FrameHeaders {
  /** The EtherType behind the tags; 0 when the frame ends before it. */
  etherType = 0
  /** Where the network header begins: behind the EtherType. */
  network = 0
  /** 4, 6, or 0 for what is no whole IP header. */
  ipVersion: 0 | 4 | 6 = 0
  /** The protocol behind IPv6's extension headers; -1 without an IP header. */
  protocol = -1
  /** A fragment of a packet that is not its first: there is no transport header; or the first one: there is, but checksums are not its own. */
  fragment = false
  /** Where the transport header begins, when it is there: TCP or UDP whole, of other protocols the first byte. 0 when it is not. */
  transport = 0
  /** Where the payload of TCP or UDP begins; 0 without one. */
  payload = 0
  /** Where the packet ends by its IP header: padding of the frame follows. */
  packetEnd = 0

  /** Bytes from the transport header to its checksum. */
  get checksumField(): number {
    return this.protocol === IP_PROTOCOL.UDP ? 6 : 16
  }

  /** Look at the frame in `[start, end)`. False when it is no whole IP packet. */
  parse(bytes: Uint8Array, start: number, end: number): boolean {
    this.etherType = 0
    this.ipVersion = 0
    this.protocol = -1
    this.fragment = false
    this.transport = 0
    this.payload = 0
    this.packetEnd = end
    let at = start + 12
    let type = -1
    for (let tags = 0; ; tags++) {
      if (at + 2 > end) return false
      type = ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
      if ((type !== ETHER_TYPE.VLAN && type !== ETHER_TYPE.SERVICE_VLAN) || tags === MAXIMUM_TAGS) break
      at += 4
    }
    this.etherType = type
    this.network = at + 2
    if (type === ETHER_TYPE.IPV4) return this.#parseIpv4(bytes, end)
    if (type === ETHER_TYPE.IPV6) return this.#parseIpv6(bytes, end)
    return false
  }

  #parseIpv4(bytes: Uint8Array, end: number): boolean {
    const at = this.network
    if (at + 20 > end) return false
    const first = bytes[at] as number
    const headerLength = (first & 0x0f) * 4
    const total = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
    if (first >>> 4 !== 4 || headerLength < 20 || at + headerLength > end || total < headerLength || at + total > end)
      return false
    this.ipVersion = 4
    this.protocol = bytes[at + 9] as number
    this.packetEnd = at + total
    const fragment = ((bytes[at + 6] as number) << 8) | (bytes[at + 7] as number)
    this.fragment = (fragment & 0x3fff) !== 0
    if ((fragment & 0x1fff) === 0) this.#parseTransport(bytes, at + headerLength)
    return true
  }

  #parseIpv6(bytes: Uint8Array, end: number): boolean {
    const at = this.network
    if (at + 40 > end || (bytes[at] as number) >>> 4 !== 6) return false
    const length = ((bytes[at + 4] as number) << 8) | (bytes[at + 5] as number)
    if (at + 40 + length > end) return false
    this.ipVersion = 6
    this.packetEnd = at + 40 + length
    let next = bytes[at + 6] as number
    let place = at + 40
    let later = false
    for (let count = 0; count < MAXIMUM_EXTENSIONS; count++) {
      if (
        next !== IP_PROTOCOL.HOP_BY_HOP &&
        next !== IP_PROTOCOL.ROUTING &&
        next !== IP_PROTOCOL.FRAGMENT &&
        next !== IP_PROTOCOL.DESTINATION_OPTIONS
      ) {
        this.protocol = next
        if (!later) this.#parseTransport(bytes, place)
        return true
      }
      if (place + 8 > this.packetEnd) break
      const fragment = next === IP_PROTOCOL.FRAGMENT
      if (fragment) {
        const offset = ((bytes[place + 2] as number) << 8) | (bytes[place + 3] as number)
        this.fragment = (offset & 0xfff9) !== 0
        if (offset >>> 3 !== 0) later = true
      }
      next = bytes[place] as number
      place += fragment ? 8 : ((bytes[place + 1] as number) + 1) * 8
    }
    this.protocol = next
    return true
  }

  #parseTransport(bytes: Uint8Array, at: number): void {
    const room = this.packetEnd - at
    if (this.protocol === IP_PROTOCOL.TCP) {
      if (room < 20) return
      const length = ((bytes[at + 12] as number) >>> 4) * 4
      if (length < 20 || length > room) return
      this.transport = at
      this.payload = at + length
    } else if (this.protocol === IP_PROTOCOL.UDP) {
      if (room < 8) return
      this.transport = at
      this.payload = at + 8
    } else if (room > 0) this.transport = at
  }
}
