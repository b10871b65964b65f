// Neighbour discovery (RFC 4861): the gateway is the router of its prefix, and answers for its own addresses. With it guests make addresses of their own (RFC 4862), and learn the name server (RFC 8106).

import { IP_PROTOCOL, isMulticast, putU16, putU32, writeMacAddress } from '@partita/ethernet'
import type { Timer } from '@partita/interface'
import { ICMP6 } from './icmp.ts'
import { type IpAddress, parseIpAddress, sameAddress } from './ip-address.ts'
import type { NatGatewayServices } from './nat-gateway.ts'
import type { Ipv6Addresses } from './nat-options.ts'
import type { GuestPacket } from './packet.ts'

const OPTION = { SOURCE_LINK_ADDRESS: 1, TARGET_LINK_ADDRESS: 2, PREFIX: 3, MTU: 5, NAME_SERVERS: 25 } as const
const HOP_LIMIT = 255
const ALL_NODES = parseIpAddress('ff02::1') as IpAddress
const ALL_NODES_MAC = 0x3333_0000_0001
/** Router lifetime, seconds; advertisements come three times in it (RFC 4861, 6.2.1). */
const ROUTER_LIFETIME = 1800
const ADVERTISEMENT_INTERVAL = 600e9
const VALID_SECONDS = 86_400
const PREFERRED_SECONDS = 14_400
/** Router flag "other configuration": there is DHCPv6 for names; addresses come either way. */
const OTHER_CONFIGURATION = 0x40
const PREFIX_FLAGS = { ON_LINK: 0x80, AUTONOMOUS: 0x40 } as const
const NEIGHBOUR_FLAGS = { ROUTER: 0x80, SOLICITED: 0x40, OVERRIDE: 0x20 } as const

/** The router. */
export class NeighbourDiscovery {
  readonly #services: NatGatewayServices
  readonly #addresses: Ipv6Addresses
  readonly #timer: Timer

  constructor(services: NatGatewayServices, addresses: Ipv6Addresses) {
    this.#services = services
    this.#addresses = addresses
    this.#timer = services.clock.createTimer(() => {
      this.#advertiseRouter(ALL_NODES_MAC, ALL_NODES)
      services.flush()
    })
  }

  /** A message of ICMPv6 that is not an echo. */
  receive(packet: GuestPacket): void {
    const { bytes, headers } = packet
    const at = headers.transport
    // What came through a router is not to be believed (6.1.1, 7.1.1).
    if (bytes[headers.network + 7] !== HOP_LIMIT || bytes[at + 1] !== 0) return
    if (bytes[at] === ICMP6.ROUTER_SOLICITATION) {
      const unspecified = packet.source.every((byte) => byte === 0)
      this.#advertiseRouter(unspecified ? ALL_NODES_MAC : packet.sourceMac, unspecified ? ALL_NODES : packet.source)
    } else if (bytes[at] === ICMP6.NEIGHBOUR_SOLICITATION && headers.packetEnd - at >= 24)
      this.#answerSolicitation(packet)
  }

  #answerSolicitation(packet: GuestPacket): void {
    const { bytes, headers } = packet
    const target = bytes.slice(headers.transport + 8, headers.transport + 24)
    const { gateway, gatewayLinkLocal, nameServer } = this.#addresses
    if (![gateway, gatewayLinkLocal, nameServer].some((own) => sameAddress(own, target))) return
    const unspecified = packet.source.every((byte) => byte === 0)
    const to = unspecified ? ALL_NODES : packet.source
    const { builder, mac } = this.#services
    const at = builder.ip(unspecified ? ALL_NODES_MAC : packet.sourceMac, target, to, IP_PROTOCOL.ICMPV6)
    builder.setHopLimit(HOP_LIMIT)
    builder.bytes.fill(0, at, at + 32)
    builder.bytes[at] = ICMP6.NEIGHBOUR_ADVERTISEMENT
    builder.bytes[at + 4] =
      NEIGHBOUR_FLAGS.ROUTER | NEIGHBOUR_FLAGS.OVERRIDE | (unspecified ? 0 : NEIGHBOUR_FLAGS.SOLICITED)
    builder.bytes.set(target, at + 8)
    builder.bytes[at + 24] = OPTION.TARGET_LINK_ADDRESS
    builder.bytes[at + 25] = 1
    writeMacAddress(builder.bytes, at + 26, mac)
    this.#services.send(builder.finishIcmp(32))
  }

  #advertiseRouter(mac: number, to: IpAddress): void {
    const { builder, mtu, clock } = this.#services
    const { bytes } = builder
    const at = builder.ip(mac, this.#addresses.gatewayLinkLocal, to, IP_PROTOCOL.ICMPV6)
    builder.setHopLimit(HOP_LIMIT)
    bytes.fill(0, at, at + 16 + 8 + 8 + 32 + 24)
    bytes[at] = ICMP6.ROUTER_ADVERTISEMENT
    bytes[at + 4] = 64
    bytes[at + 5] = OTHER_CONFIGURATION
    putU16(bytes, at + 6, ROUTER_LIFETIME)
    let place = at + 16
    const option = (type: number, length: number): number => {
      const value = place
      bytes[value] = type
      bytes[value + 1] = length / 8
      place += length
      return value + 2
    }
    writeMacAddress(bytes, option(OPTION.SOURCE_LINK_ADDRESS, 8), this.#services.mac)
    putU32(bytes, option(OPTION.MTU, 8) + 2, mtu)
    const prefix = option(OPTION.PREFIX, 32)
    bytes[prefix] = 64
    bytes[prefix + 1] = PREFIX_FLAGS.ON_LINK | PREFIX_FLAGS.AUTONOMOUS
    putU32(bytes, prefix + 2, VALID_SECONDS)
    putU32(bytes, prefix + 6, PREFERRED_SECONDS)
    bytes.set(this.#addresses.subnet.address.subarray(0, 8), prefix + 14)
    const servers = option(OPTION.NAME_SERVERS, 24)
    putU32(bytes, servers + 2, ROUTER_LIFETIME)
    bytes.set(this.#addresses.nameServer, servers + 6)
    this.#services.send(builder.finishIcmp(place - at))
    if (this.#timer.deadline === Number.POSITIVE_INFINITY || isMulticast(mac)) {
      this.#timer.arm(clock.now() + ADVERTISEMENT_INTERVAL)
    }
  }

  [Symbol.dispose](): void {
    this.#timer.cancel()
  }
}
