// ICMP and ICMPv6 (RFC 792, RFC 4443): echo, and the errors that the gateway reports.

import { IP_PROTOCOL, putU32 } from '@partita/ethernet'
import { formatIpAddress, type IpAddress, isIpv4 } from './ip-address.ts'
import type { NatGatewayServices } from './nat-gateway.ts'
import type { GuestPacket } from './packet.ts'

/** Types of messages. */
export const ICMP = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO_REQUEST: 8 } as const
/** Types of messages of ICMPv6, neighbour discovery (RFC 4861) among them. */
export const ICMP6 = {
  UNREACHABLE: 1,
  ECHO_REQUEST: 128,
  ECHO_REPLY: 129,
  ROUTER_SOLICITATION: 133,
  ROUTER_ADVERTISEMENT: 134,
  NEIGHBOUR_SOLICITATION: 135,
  NEIGHBOUR_ADVERTISEMENT: 136,
} as const

/** Codes of "unreachable" of both versions, by what the host's system said. */
const CODES: Readonly<Record<string, readonly [icmp: number, icmp6: number]>> = {
  ENETUNREACH: [0, 0],
  EHOSTUNREACH: [1, 3],
  ECONNREFUSED: [3, 4],
  /** Forbidden by policy. */
  EACCES: [13, 1],
  EPERM: [13, 1],
}
const HOST_UNREACHABLE = [1, 3] as const
const HEADER_LENGTH = 8
/** Echo requests to the outside that wait for their answer. */
const MAXIMUM_ECHOES = 8
/** Each of them may be a process of the host's: so many at once, and one more each so many nanoseconds. */
const ECHO_BURST = 10
const ECHO_INTERVAL = 100e6
/** Of an error's packet, so much is given back. */
const QUOTE = 512

/** Answers echo requests, for itself and for the outside. */
export class NatIcmp {
  readonly #services: NatGatewayServices
  #echoes = 0
  /** When the last of the echoes so far would have gone, had they been spread out. */
  #echoTime: number = Number.NEGATIVE_INFINITY

  constructor(services: NatGatewayServices) {
    this.#services = services
  }

  /** An echo request for the gateway or for the outside. */
  receiveEcho(packet: GuestPacket): void {
    const { bytes, headers } = packet
    const length = headers.packetEnd - headers.transport
    if (headers.transport === 0 || length < HEADER_LENGTH) return
    if (this.#services.isGateway(packet.destination)) {
      this.#reply(
        packet.sourceMac,
        packet.destination,
        packet.source,
        bytes.subarray(headers.transport, headers.packetEnd),
      )
      return
    }
    const { host } = this.#services
    const target = this.#services.target(packet.destination, 0, 'icmp')
    if (target === undefined || host.echo === undefined || this.#echoes === MAXIMUM_ECHOES) return
    const now = this.#services.clock.now()
    const time = Math.max(this.#echoTime, now - ECHO_BURST * ECHO_INTERVAL) + ECHO_INTERVAL
    if (time > now) return
    this.#echoTime = time
    const message = bytes.slice(headers.transport, headers.packetEnd)
    const { sourceMac } = packet
    const from = packet.destination.slice()
    const to = packet.source.slice()
    this.#echoes++
    void host
      .echo(formatIpAddress(from))
      .catch(() => false)
      .then((alive) => {
        this.#echoes--
        if (!alive) return
        this.#reply(sourceMac, from, to, message)
        this.#services.flush()
      })
  }

  #reply(mac: number, source: IpAddress, guest: IpAddress, message: Uint8Array): void {
    const ipv4 = isIpv4(source)
    const { builder, mtu } = this.#services
    const at = builder.ip(mac, source, guest, ipv4 ? IP_PROTOCOL.ICMP : IP_PROTOCOL.ICMPV6)
    builder.bytes.set(message, at)
    builder.bytes[at] = ipv4 ? ICMP.ECHO_REPLY : ICMP6.ECHO_REPLY
    if (message.length + (ipv4 ? 20 : 40) <= mtu) this.#services.send(builder.finishIcmp(message.length))
    else builder.fragmentIcmp(message.length, mtu, (frame) => void this.#services.send(frame))
  }

  /** Tell a guest that what it sent cannot get there. `packet` begins with its IP header. */
  unreachable(guest: IpAddress, mac: number, packet: Uint8Array, error: string): void {
    const { builder, addresses } = this.#services
    const ipv4 = isIpv4(guest)
    const gateway = ipv4 ? addresses.gateway : addresses.ipv6?.gateway
    if (gateway === undefined) return
    const code = (CODES[error] ?? HOST_UNREACHABLE)[ipv4 ? 0 : 1]
    const at = builder.ip(mac, gateway, guest, ipv4 ? IP_PROTOCOL.ICMP : IP_PROTOCOL.ICMPV6)
    const quote = packet.subarray(0, QUOTE)
    builder.bytes[at] = ipv4 ? ICMP.UNREACHABLE : ICMP6.UNREACHABLE
    builder.bytes[at + 1] = code
    putU32(builder.bytes, at + 4, 0)
    builder.bytes.set(quote, at + HEADER_LENGTH)
    this.#services.send(builder.finishIcmp(HEADER_LENGTH + quote.length))
  }
}
