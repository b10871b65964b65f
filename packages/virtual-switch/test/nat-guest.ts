// A guest behind the NAT, in a few lines: an adapter that makes packets and takes them apart. And a host whose sockets a test holds in its hands.

import {
  checksumOf,
  Frame,
  FrameHeaders,
  getU16,
  getU32,
  IP_PROTOCOL,
  parseMacAddress,
  putU16,
  putU32,
  storeIpv4Checksum,
  sumWords,
  transportChecksum,
  transportChecksumIsRight,
  writeMacAddress,
} from '@partita/ethernet'
import { FakeClock } from '@partita/testkit'
import * as v from 'valibot'
import { type SwitchPort, VirtualSwitch } from '../src/index.ts'
import { parseIpAddress, writeIpAddress } from '../src/nat/ip-address.ts'
import { NatGateway } from '../src/nat/nat-gateway.ts'
import type { NatHost, TcpSocket, TcpSocketEvents, UdpReceiver, UdpSocket } from '../src/nat/nat-host.ts'
import { natOptionsSchema } from '../src/nat/nat-options.ts'
import { TestAdapter } from './adapter.ts'

export const GUEST_MAC = '02:15:5d:00:00:01'
export const GATEWAY_MAC = '02:50:41:52:00:02'

/** An ARP packet of the guest. */
export function arp(operation: number, sender: number[], target: number[]): Uint8Array {
  const hardware = [2, 0x15, 0x5d, 0, 0, 1]
  return Uint8Array.from([0, 1, 8, 0, 6, 4, 0, operation, ...hardware, ...sender, 0, 0, 0, 0, 0, 0, ...target])
}

/** A socket in a test's hands. */
export class TestTcpSocket implements TcpSocket {
  readonly address: string
  readonly port: number
  events: TcpSocketEvents
  readonly written: number[] = []
  buffered = 0
  ended = false
  aborted = false
  paused = false
  /** Nobody reads what is written. */
  stuck = false

  constructor(address: string, port: number, events: TcpSocketEvents) {
    this.address = address
    this.port = port
    this.events = events
  }

  write(data: Uint8Array): void {
    this.written.push(...data)
    if (this.stuck) this.buffered += data.length
  }

  end(): void {
    this.ended = true
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  abort(): void {
    this.aborted = true
  }

  get text(): string {
    return String.fromCharCode(...this.written)
  }
}

/** A UDP socket in a test's hands. */
export interface TestUdpSocket extends UdpSocket {
  readonly version: 4 | 6
  readonly receive: UdpReceiver
  readonly sent: { readonly text: string; readonly address: string; readonly port: number }[]
  closed: boolean
  buffered: number
}

/** A host that only remembers. */
export class TestHost implements NatHost {
  readonly tcp: TestTcpSocket[] = []
  readonly udp: TestUdpSocket[] = []
  readonly listeners: Map<string, Parameters<NatHost['listenTcp']>[2]> = new Map()
  servers: string[] = ['192.0.2.53', '192.0.2.54:5353']
  /** Hears of each connection, datagram and echo. */
  onEgress: ((kind: 'tcp' | 'udp' | 'echo', address: string, port: number) => void) | undefined
  interfaces: string[] = ['127.0.0.1', '::1', '192.0.2.100', '2001:db8::100']

  connectTcp(address: string, port: number, events: TcpSocketEvents): TcpSocket {
    if (!(port >= 0 && port <= 65_535)) throw new RangeError(`port ${port}`)
    const socket = new TestTcpSocket(address, port, events)
    this.onEgress?.('tcp', address, port)
    this.tcp.push(socket)
    return socket
  }

  async listenTcp(...[address, port, accept]: Parameters<NatHost['listenTcp']>): Promise<AsyncDisposable> {
    this.listeners.set(`${address}:${port}`, accept)
    return { [Symbol.asyncDispose]: async () => void this.listeners.delete(`${address}:${port}`) }
  }

  openUdp(version: 4 | 6, receive: UdpReceiver): UdpSocket {
    return this.#udpSocket(version, receive, (address, port) => this.onEgress?.('udp', address, port))
  }

  #udpSocket(version: 4 | 6, receive: UdpReceiver, onSend?: (address: string, port: number) => void): UdpSocket {
    const socket: TestUdpSocket = {
      version,
      receive,
      sent: [],
      closed: false,
      buffered: 0,
      send: (data, address, port) => {
        // As Node does.
        if (!(port >= 1 && port <= 65_535)) throw new RangeError(`port ${port}`)
        // The system says EINVAL, and nobody hears of it.
        if (address.includes(':') !== (version === 6)) throw new RangeError(`${address} by a socket of IPv${version}`)
        onSend?.(address, port)
        socket.sent.push({ text: new TextDecoder().decode(data), address, port })
      },
      close: () => {
        socket.closed = true
      },
    }
    this.udp.push(socket)
    return socket
  }

  async listenUdp(_address: string, _port: number, receive: UdpReceiver): Promise<UdpSocket> {
    // What it sends are answers to those who have sent to it.
    const peers = new Set<string>()
    return this.#udpSocket(
      4,
      (data, address, port) => {
        peers.add(`${address} ${port}`)
        receive(data, address, port)
      },
      (address, port) => {
        if (!peers.has(`${address} ${port}`)) throw new Error(`an answer to ${address} ${port}, who has not asked`)
      },
    )
  }

  nameServers(): readonly string[] {
    return this.servers
  }

  ownAddresses(): readonly string[] {
    return this.interfaces
  }

  async echo(address: string): Promise<boolean> {
    this.onEgress?.('echo', address, 0)
    return address === '192.0.2.1'
  }
}

/** A TCP segment that the guest has got. */
export interface Segment {
  readonly from: string
  readonly sourcePort: number
  readonly destinationPort: number
  readonly sequence: number
  readonly acknowledgement: number
  readonly flags: number
  readonly window: number
  readonly payload: string
}

/** Bits of a segment. */
export const F = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const

/** The guest. */
export class NatGuest {
  readonly clock: FakeClock = new FakeClock()
  readonly host: TestHost = new TestHost()
  readonly network: VirtualSwitch = new VirtualSwitch({ clock: this.clock })
  readonly adapter: TestAdapter = new TestAdapter('guest', GUEST_MAC)
  readonly port: SwitchPort = this.network.connect(this.adapter)
  readonly gateway: NatGateway
  address = '10.0.2.15'
  address6 = 'fd50:6172:7469::15'

  constructor(options: Record<string, unknown> = {}) {
    this.gateway = new NatGateway({
      clock: this.clock,
      host: this.host,
      options: v.parse(natOptionsSchema, options),
    })
  }

  static async start(options: Record<string, unknown> = {}): Promise<NatGuest> {
    const guest = new NatGuest(options)
    await guest.gateway.start(guest.network.connect(guest.gateway, { port: { spoofing: true } }))
    return guest
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateway[Symbol.asyncDispose]()
  }

  /** Let acknowledgements come that wait for something to go with them. */
  settle(): void {
    this.clock.advance(10e6)
  }

  /** Send an Ethernet frame. */
  raw(etherType: number, payload: Uint8Array, to: string = GATEWAY_MAC): boolean {
    const bytes = new Uint8Array(14 + payload.length)
    writeMacAddress(bytes, 0, parseMacAddress(to) ?? 0)
    writeMacAddress(bytes, 6, parseMacAddress(GUEST_MAC) ?? 0)
    putU16(bytes, 12, etherType)
    bytes.set(payload, 14)
    const taken = this.port.send(new Frame().plain(bytes))
    this.port.sendEnd()
    return taken
  }

  /** Send an IPv6 packet, its checksum right for TCP, UDP and ICMPv6; from {@link address6} where no other is given. */
  ip6(
    protocol: number,
    to: string,
    transport: Uint8Array,
    options: { from?: string | undefined; mac?: string; hops?: number } = {},
  ): void {
    const packet = new Uint8Array(40 + transport.length)
    packet[0] = 0x60
    putU16(packet, 4, transport.length)
    packet[6] = protocol
    packet[7] = options.hops ?? 64
    packet.set(parseIpAddress(options.from ?? this.address6) as Uint8Array, 8)
    packet.set(parseIpAddress(to) as Uint8Array, 24)
    packet.set(transport, 40)
    const field = { [IP_PROTOCOL.ICMPV6]: 2, [IP_PROTOCOL.UDP]: 6, [IP_PROTOCOL.TCP]: 16 }[protocol]
    if (field !== undefined && transport.length >= field + 2) {
      putU16(packet, 40 + field, 0)
      const checksum = checksumOf(sumWords(packet, 8, packet.length, protocol + transport.length))
      putU16(packet, 40 + field, checksum === 0 && protocol === IP_PROTOCOL.UDP ? 0xffff : checksum)
    }
    this.raw(0x86dd, packet, options.mac)
  }

  /** Send an IP packet, of the version that `to` has. */
  ip(protocol: number, to: string, transport: Uint8Array, options: { from?: string; mac?: string } = {}): void {
    if (to.includes(':')) {
      this.ip6(protocol, to, transport, options)
      return
    }
    const packet = new Uint8Array(20 + transport.length)
    packet[0] = 0x45
    putU16(packet, 2, packet.length)
    packet[8] = 64
    packet[9] = protocol
    writeIpAddress(packet, 12, parseIpAddress(options.from ?? this.address) as Uint8Array)
    writeIpAddress(packet, 16, parseIpAddress(to) as Uint8Array)
    packet.set(transport, 20)
    storeIpv4Checksum(packet, 0, 20)
    if (protocol === IP_PROTOCOL.ICMP) {
      putU16(packet, 22, 0)
      putU16(packet, 22, checksumOf(sumWords(packet, 20, packet.length)))
    }
    if (protocol === IP_PROTOCOL.TCP || protocol === IP_PROTOCOL.UDP) {
      const framed = new Uint8Array(14 + packet.length)
      putU16(framed, 12, 0x0800)
      framed.set(packet, 14)
      const headers = new FrameHeaders()
      headers.parse(framed, 0, framed.length)
      putU16(packet, 20 + headers.checksumField, transportChecksum(framed, headers))
    }
    this.raw(0x0800, packet, options.mac)
  }

  udp(
    to: string,
    port: number,
    text: string | Uint8Array,
    from = 5000,
    options: { from?: string; mac?: string } = {},
  ): void {
    const payload = typeof text === 'string' ? new TextEncoder().encode(text) : text
    const datagram = new Uint8Array(8 + payload.length)
    putU16(datagram, 0, from)
    putU16(datagram, 2, port)
    putU16(datagram, 4, datagram.length)
    datagram.set(payload, 8)
    this.ip(IP_PROTOCOL.UDP, to, datagram, options)
  }

  tcp(
    to: string,
    port: number,
    segment: {
      flags: number
      sequence: number
      acknowledgement?: number
      payload?: string
      window?: number
      options?: number[]
    },
    from = 40_000,
  ): void {
    const payload = new TextEncoder().encode(segment.payload ?? '')
    const options = segment.options ?? []
    const bytes = new Uint8Array(20 + options.length + payload.length)
    putU16(bytes, 0, from)
    putU16(bytes, 2, port)
    putU32(bytes, 4, segment.sequence)
    putU32(bytes, 8, segment.acknowledgement ?? 0)
    bytes[12] = ((20 + options.length) / 4) << 4
    bytes[13] = segment.flags
    putU16(bytes, 14, segment.window ?? 65_535)
    bytes.set(options, 20)
    bytes.set(payload, 20 + options.length)
    this.ip(IP_PROTOCOL.TCP, to, bytes)
  }

  /** The IP packets that came, each checked to be right. */
  packets(): { readonly headers: FrameHeaders; readonly bytes: Uint8Array }[] {
    return this.adapter.received.splice(0).flatMap(({ bytes }) => {
      const headers = new FrameHeaders()
      if (!headers.parse(bytes, 0, bytes.length)) return []
      if (headers.payload > 0 && !headers.fragment && !transportChecksumIsRight(bytes, headers)) {
        throw new Error('a checksum is wrong')
      }
      return [{ headers, bytes }]
    })
  }

  /** The TCP segments that came. */
  segments(): Segment[] {
    return this.packets()
      .filter(({ headers }) => headers.protocol === IP_PROTOCOL.TCP)
      .map(({ headers, bytes }) => ({
        from: bytes.subarray(headers.network + 12, headers.network + 16).join('.'),
        sourcePort: getU16(bytes, headers.transport),
        destinationPort: getU16(bytes, headers.transport + 2),
        sequence: getU32(bytes, headers.transport + 4),
        acknowledgement: getU32(bytes, headers.transport + 8),
        flags: bytes[headers.transport + 13] as number,
        window: getU16(bytes, headers.transport + 14),
        payload: new TextDecoder().decode(bytes.subarray(headers.payload, headers.packetEnd)),
      }))
  }

  /** The UDP datagrams that came: from, ports, text. */
  datagrams(): {
    readonly from: string
    readonly ports: readonly [number, number]
    readonly text: string
    readonly payload: Uint8Array
  }[] {
    return this.packets()
      .filter(({ headers }) => headers.protocol === IP_PROTOCOL.UDP && headers.payload > 0)
      .map(({ headers, bytes }) => {
        const payload = bytes.slice(headers.payload, headers.packetEnd)
        return {
          from: bytes.subarray(headers.network + 12, headers.network + 16).join('.'),
          ports: [getU16(bytes, headers.transport), getU16(bytes, headers.transport + 2)],
          text: new TextDecoder().decode(payload),
          payload,
        }
      })
  }

  /** A connection of the guest that is established: the host's socket, and the numbers that come next. */
  connect(to = '192.0.2.7', port = 80, from = 40_000): { socket: TestTcpSocket; guest: number; remote: number } {
    this.tcp(to, port, { flags: F.SYN, sequence: 999, options: [2, 4, 5, 180, 1, 3, 3, 7] }, from)
    const socket = this.host.tcp.at(-1) as TestTcpSocket
    socket.events.connected()
    const [answer] = this.segments()
    const remote = ((answer?.sequence ?? 0) + 1) >>> 0
    this.tcp(to, port, { flags: F.ACK, sequence: 1000, acknowledgement: remote, window: 512 }, from)
    this.segments()
    return { socket, guest: 1000, remote }
  }
}
