// UDP of guests: a socket of the host for each address and port that a guest sends from (two where a name server is not of the guest's version of IP), closed when nothing went through it for
// a while. A guest hears only from those that it has sent to (RFC 4787: endpoint-independent mapping, address-dependent filtering).

import { IP_PROTOCOL, putU16 } from '@partita/ethernet'
import { type Flow, FlowTable, flowKey } from './flow-table.ts'
import { type IpAddress, isIpv4 } from './ip-address.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { NatGatewayServices } from './nat-gateway.ts'
import type { UdpSocket } from './nat-host.ts'
import type { GuestPacket } from './packet.ts'

const HEADER_LENGTH = 8
const LARGEST_PAYLOAD = 65_507
/** Nanoseconds without a datagram, in either direction (RFC 4787, 4.3, asks for two minutes or more); a question to a name server is answered soon, or never. */
const IDLE_TIME = 120e9
const NAME_IDLE_TIME = 10e9
const NAME_PORT = 53
/** Correspondents of one socket. */
const MAXIMUM_PEERS = 64
/** Ports of the gateway that stand for correspondents of forwarded ports. */
const FIRST_INBOUND = 32_768
const INBOUND_PORTS = 4096
const ANY: IpAddress = new Uint8Array(16)

interface UdpFlow extends Flow {
  readonly guest: IpAddress
  readonly guestPort: number
  mac: number
  readonly socket: UdpSocket
  /** Host addresses that it has sent to, and what the guest calls them. */
  readonly peers: Map<string, { readonly remote: IpAddress; readonly remotePort: number | undefined }>
  deadline: number
  /** Bytes that the socket held when it was last looked at. */
  buffered: number
  /** Datagrams to a name server by this socket since the last answer: after one, the next server is asked. */
  unanswered: number
}

/** A port of the host that leads to a guest. */
export interface UdpForward {
  readonly socket: UdpSocket
  readonly guest: () => IpAddress
  readonly guestPort: number
}

/** A correspondent of a forwarded port. */
interface Inbound {
  readonly forward: UdpForward
  readonly address: string
  readonly port: number
  /** The gateway's port that stands for it. */
  readonly number: number
  deadline: number
}

/** The sockets of UDP. */
export class NatUdp {
  readonly #services: NatGatewayServices
  readonly #maximum: number
  readonly #flows: FlowTable<UdpFlow> = new FlowTable()
  readonly #key: Uint8Array = new Uint8Array(36)
  /** Correspondents of forwarded ports, by the port of the gateway that stands for each. */
  readonly #inbound: Map<number, Inbound> = new Map()
  readonly #inboundByPeer: Map<UdpForward, Map<string, Inbound>> = new Map()
  #nextInbound: number = Math.floor(Math.random() * INBOUND_PORTS)
  readonly #toHost: MemoryBudget

  /** `maximum`: sockets. `toHost` is shared with others. */
  constructor(services: NatGatewayServices, maximum: number, toHost: MemoryBudget) {
    this.#services = services
    this.#maximum = maximum
    this.#toHost = toHost
  }

  /** Sockets at this time. */
  get size(): number {
    return this.#flows.size
  }

  // ── from guests ──

  receive(packet: GuestPacket): void {
    if (packet.headers.payload === 0) return
    const { destination, destinationPort, source, sourcePort } = packet
    if (this.#answerInbound(packet)) return
    const attempt = this.#services.isGateway(destination) ? this.#unanswered(source, sourcePort) : 0
    const target = this.#services.target(destination, destinationPort, 'udp', attempt)
    if (target === undefined) {
      this.#services.unreachable(source, packet.sourceMac, packetCopy(packet), 'EACCES')
      return
    }
    const version = target.address.includes(':') ? 6 : 4
    const flow = this.#find(source, sourcePort, version) ?? this.#open(packet, version)
    if (flow === undefined) return
    flow.mac = packet.sourceMac
    this.#used(flow, destinationPort)
    if (target.renamed) flow.unanswered++
    const peer = target.renamed ? `${target.address} ${target.port}` : target.address
    if (!flow.peers.has(peer)) {
      if (flow.peers.size === MAXIMUM_PEERS) {
        const [oldest] = flow.peers.keys()
        if (oldest !== undefined) flow.peers.delete(oldest)
      }
      flow.peers.set(peer, {
        remote: destination.slice(),
        remotePort: target.renamed ? destinationPort : undefined,
      })
    }
    if (this.#toHost.room === 0) return
    flow.socket.send(packet.payload, target.address, target.port)
    this.#count(flow, flow.socket.buffered)
  }

  /** A datagram went to or came from a port: nothing that was used before ends sooner for it. */
  #used(flow: UdpFlow, port: number): void {
    const time = port === NAME_PORT ? NAME_IDLE_TIME : IDLE_TIME
    flow.deadline = Math.max(flow.deadline, this.#services.clock.now() + time)
  }

  #count(flow: UdpFlow, buffered: number): void {
    this.#toHost.change(buffered - flow.buffered)
    flow.buffered = buffered
  }

  /** The socket of a guest's port that reaches addresses of a version. */
  #find(guest: IpAddress, port: number, version: 4 | 6): UdpFlow | undefined {
    return this.#flows.find(flowKey(guest, port, ANY, version, this.#key))
  }

  /** How often a guest's port has asked for names since the last answer. Name servers may be of both versions. */
  #unanswered(guest: IpAddress, port: number): number {
    return (this.#find(guest, port, 4)?.unanswered ?? 0) + (this.#find(guest, port, 6)?.unanswered ?? 0)
  }

  #open({ source, sourcePort, sourceMac }: GuestPacket, version: 4 | 6): UdpFlow | undefined {
    if (this.#flows.size >= this.#maximum) this.#evict()
    const socket = this.#services.host.openUdp(version, (data, address, port) =>
      this.#fromHost(flow, data, address, port),
    )
    if (socket === undefined) return undefined
    const flow: UdpFlow = {
      key: flowKey(source, sourcePort, ANY, version),
      guest: source.slice(),
      guestPort: sourcePort,
      mac: sourceMac,
      socket,
      peers: new Map(),
      deadline: 0,
      buffered: 0,
      unanswered: 0,
    }
    this.#flows.add(flow)
    this.#services.timeMatters()
    return flow
  }

  #evict(): void {
    let first: UdpFlow | undefined
    for (const flow of this.#flows) if (first === undefined || flow.deadline < first.deadline) first = flow
    if (first !== undefined) this.#close(first)
  }

  #close(flow: UdpFlow): void {
    this.#flows.remove(flow)
    this.#count(flow, 0)
    flow.socket.close()
  }

  // ── from the host ──

  #fromHost(flow: UdpFlow, data: Uint8Array, address: string, port: number): void {
    const peer = flow.peers.get(address) ?? flow.peers.get(`${address} ${port}`)
    if (peer === undefined) return
    for (const version of [4, 6] as const) {
      const own = this.#find(flow.guest, flow.guestPort, version)
      if (own !== undefined) own.unanswered = 0
    }
    this.#used(flow, peer.remotePort ?? port)
    this.send(flow.mac, peer.remote, peer.remotePort ?? port, flow.guest, flow.guestPort, data)
    this.#services.flush()
  }

  /** Send a datagram to a guest. */
  send(
    mac: number,
    source: IpAddress,
    sourcePort: number,
    guest: IpAddress,
    guestPort: number,
    data: Uint8Array,
  ): void {
    if (data.length > LARGEST_PAYLOAD || isIpv4(source) !== isIpv4(guest)) return
    const { builder, mtu } = this.#services
    const at = builder.ip(mac, source, guest, IP_PROTOCOL.UDP)
    const length = HEADER_LENGTH + data.length
    putU16(builder.bytes, at, sourcePort)
    putU16(builder.bytes, at + 2, guestPort)
    putU16(builder.bytes, at + 4, length)
    builder.bytes.set(data, at + HEADER_LENGTH)
    const header = isIpv4(source) ? 20 : 40
    if (length + header <= mtu) this.#services.send(builder.finishTransport(length, 0))
    else builder.fragmentUdp(length, mtu, (frame) => void this.#services.send(frame))
  }

  // ── forwarded ports ──

  /** A datagram from outside for a forwarded port. */
  fromOutside(forward: UdpForward, data: Uint8Array, address: string, port: number): void {
    // There is nobody to answer to.
    if (port === 0) return
    const guest = forward.guest()
    const mac = this.#services.resolve(guest)
    // The first datagram makes the gateway ask for the guest, and is lost, as any may be.
    const number = mac === undefined ? undefined : this.#inboundPort(forward, address, port)
    if (mac !== undefined && number !== undefined) {
      this.send(mac, this.#services.addresses.gateway, number, guest, forward.guestPort, data)
    }
    this.#services.flush()
  }

  /** The gateway's port that stands for a correspondent; `undefined` when all stand for others that are not silent yet. */
  #inboundPort(forward: UdpForward, address: string, port: number): number | undefined {
    const deadline = this.#services.clock.now() + IDLE_TIME
    const text = `${address} ${port}`
    let peers = this.#inboundByPeer.get(forward)
    if (peers === undefined) {
      peers = new Map()
      this.#inboundByPeer.set(forward, peers)
    }
    const known = peers.get(text)
    if (known !== undefined) {
      known.deadline = deadline
      return known.number
    }
    if (this.#inbound.size === INBOUND_PORTS) return undefined
    let number: number
    do number = FIRST_INBOUND + (this.#nextInbound++ % INBOUND_PORTS)
    while (this.#inbound.has(number))
    const peer: Inbound = { forward, address, port, number, deadline }
    this.#inbound.set(number, peer)
    peers.set(text, peer)
    this.#services.timeMatters()
    return number
  }

  /** True for an answer of a guest to someone outside. */
  #answerInbound(packet: GuestPacket): boolean {
    if (!this.#services.isGateway(packet.destination)) return false
    const peer = this.#inbound.get(packet.destinationPort)
    if (peer === undefined || peer.forward.guestPort !== packet.sourcePort) return false
    peer.deadline = this.#services.clock.now() + IDLE_TIME
    if (this.#toHost.room > 0) peer.forward.socket.send(packet.payload, peer.address, peer.port)
    return true
  }

  // ── time ──

  tick(now: number): void {
    const expired: UdpFlow[] = []
    for (const flow of this.#flows) {
      if (flow.buffered > 0) this.#count(flow, flow.socket.buffered)
      if (flow.deadline <= now) expired.push(flow)
    }
    for (const flow of expired) this.#close(flow)
    for (const [number, { deadline, forward, address, port }] of this.#inbound) {
      if (deadline > now) continue
      this.#inbound.delete(number)
      this.#inboundByPeer.get(forward)?.delete(`${address} ${port}`)
    }
  }

  /** Whether there is anything that ends with time. */
  get idle(): boolean {
    return this.#flows.size === 0 && this.#inbound.size === 0
  }

  closeAll(): void {
    for (const flow of [...this.#flows]) this.#close(flow)
    this.#inbound.clear()
    this.#inboundByPeer.clear()
  }
}

function packetCopy({ bytes, headers }: GuestPacket): Uint8Array {
  return bytes.slice(headers.network, Math.min(headers.packetEnd, headers.transport + HEADER_LENGTH))
}
