// User-mode NAT: the gateway of a network, an adapter at a port of a switch. It answers ARP, neighbour discovery, DHCP and echo requests itself; TCP and UDP of guests go on through sockets of the host, so
// it needs no privilege. What a guest sends is bounded in every way: connections, sockets, bytes, timers.

import {
  BROADCAST,
  checksumOf,
  ETHER_TYPE,
  formatMacAddress,
  getU16,
  IP_PROTOCOL,
  isMulticast,
  putU16,
  readMacAddress,
  sumWords,
  transportChecksumIsRight,
  writeMacAddress,
} from '@partita/ethernet'
import {
  type Clock,
  FRAME_FLAG,
  type Logger,
  type NetworkAdapter,
  type NetworkFrame,
  type NetworkPort,
  silentLogger,
  type Timer,
} from '@partita/interface'
import { DHCP_PORT, DhcpServer } from './dhcp.ts'
import { DHCP6_PORT, Dhcp6Server } from './dhcp6.ts'
import { ICMP, ICMP6, NatIcmp } from './icmp.ts'
import {
  formatIpAddress,
  type IpAddress,
  IpPrefix,
  isGroup,
  isIpv4,
  parseIpAddress,
  readIpAddress,
  sameAddress,
  writeIpAddress,
} from './ip-address.ts'
import { MemoryBudget } from './memory-budget.ts'
import type { NatHost } from './nat-host.ts'
import {
  checkNatOptions,
  type NatAddresses,
  type NatOptions,
  natAddresses,
  type PortForward,
  parseNameServer,
} from './nat-options.ts'
import { NeighbourDiscovery } from './neighbour-discovery.ts'
import { OwnAddresses } from './own-addresses.ts'
import { GuestPacket } from './packet.ts'
import { PacketBuilder } from './packet-builder.ts'
import { Policy } from './policy.ts'
import { Reassembly } from './reassembly.ts'
import { Shortages } from './shortages.ts'
import { NatTcp } from './tcp.ts'
import { NatUdp } from './udp.ts'

/** Locally administered. */
const GATEWAY_MAC = 0x0250_4152_0002
const TICK = 100e6
const DNS_PORT = 53
const ARP = { REQUEST: 1, REPLY: 2, LENGTH: 28, ETHERNET: 1 } as const
const MAXIMUM_NEIGHBOURS = 256
const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const
const GSO: number = FRAME_FLAG.GSO_TCP4 | FRAME_FLAG.GSO_TCP6

/** An address and a port, in the host's words. */
interface HostPort {
  readonly address: string
  readonly port: number
}

/** Where something of a guest goes. */
export interface NatTarget extends HostPort {
  /** The guest knows it by another name: the gateway's, or the name server's. */
  readonly renamed: boolean
}

/** What the gateway's parts have of it. */
export interface NatGatewayServices {
  readonly clock: Clock
  readonly host: NatHost
  readonly addresses: NatAddresses
  readonly builder: PacketBuilder
  readonly mac: number
  readonly mtu: number
  /** Send a frame to the guests. False: no room. */
  send(frame: NetworkFrame): boolean
  /** What was sent from an event of the host is a batch, which ends here. */
  flush(): void
  /** The MAC address of a guest, or `undefined` after asking for it. */
  resolve(address: IpAddress): number | undefined
  /** Where a guest's packet goes; `undefined`: nowhere, it may not. `attempt` counts up where no answer came. */
  target(address: IpAddress, port: number, protocol: 'tcp' | 'udp' | 'icmp', attempt?: number): NatTarget | undefined
  isGateway(address: IpAddress): boolean
  unreachable(guest: IpAddress, mac: number, packet: Uint8Array, error: string): void
  /** There is something now that ends with time. */
  timeMatters(): void
}

/** What a gateway is made of. */
export interface NatGatewayWiring {
  /** Time for what is sent again, and for what ends with time. */
  readonly clock: Clock
  /** The network behind it. */
  readonly host: NatHost
  /** Its settings. */
  readonly options: NatOptions
  /** Silent where omitted. */
  readonly logger?: Logger
}

/** Numbers for people and tests. */
export interface NatReport {
  /** Connections of guests and to forwarded ports, those that are ending too. */
  readonly tcpConnections: number
  /** Sockets of the host that stand for guests' ports. */
  readonly udpSockets: number
  /** Bytes of memory for data that waits for guests to take and acknowledge it, for the host to take it, or for the rest of its packet. */
  readonly heldBytes: number
  /** Guests whose MAC address is known. */
  readonly neighbours: number
}

/** The gateway. Connect it to a switch with `spoofing: true`, since it speaks for the whole world. What is for its own parts is internal. */
export class NatGateway implements NetworkAdapter, NatGatewayServices, AsyncDisposable {
  readonly name = 'nat'
  /** @internal */
  readonly mac: number = GATEWAY_MAC
  readonly macAddress: string = formatMacAddress(GATEWAY_MAC)
  readonly accepts: number =
    FRAME_FLAG.CHECKSUM_PARTIAL | FRAME_FLAG.CHECKSUM_VALID | FRAME_FLAG.GSO_TCP4 | FRAME_FLAG.GSO_TCP6
  /** @internal */
  readonly clock: Clock
  /** @internal */
  readonly host: NatHost
  /** @internal */
  readonly addresses: NatAddresses
  /** @internal */
  readonly builder: PacketBuilder = new PacketBuilder(GATEWAY_MAC)
  readonly #options: NatOptions
  readonly #logger: Logger
  readonly #policy: Policy
  readonly #toHost: MemoryBudget
  readonly #tcp: NatTcp
  readonly #udp: NatUdp
  readonly #icmp: NatIcmp
  readonly #dhcp: DhcpServer
  readonly #dhcp6: Dhcp6Server | undefined
  readonly #discovery: NeighbourDiscovery | undefined
  readonly #reassembly: Reassembly
  readonly #packet: GuestPacket = new GuestPacket()
  readonly #neighbours: Map<string, number> = new Map()
  readonly #timer: Timer
  readonly #forwards: AsyncDisposableStack = new AsyncDisposableStack()
  #port: NetworkPort | undefined
  #sending = false
  /** A frame came while one was being sent. */
  #refused = false

  /** @throws SwitchError `ERR_NETWORK_OPTIONS` */
  constructor({ clock, host, options, logger = silentLogger }: NatGatewayWiring) {
    this.clock = clock
    this.host = host
    this.#options = options
    this.#logger = logger
    this.addresses = natAddresses(options)
    const { subnet, ipv6: own6 } = this.addresses
    const own = new OwnAddresses(clock, host)
    this.#policy = new Policy({
      ...options,
      networks: own6 === undefined ? [subnet] : [subnet, own6.subnet],
      isHost: options.hostLoopback ? undefined : (address) => own.has(address),
    })
    checkNatOptions(options, this.addresses)
    this.#toHost = new MemoryBudget(Math.floor(options.maximumHeldBytes / 2))
    this.#tcp = new NatTcp(this, options.maximumConnections, this.#toHost, new Shortages(clock, logger))
    this.#udp = new NatUdp(this, options.maximumUdpSockets, this.#toHost)
    this.#icmp = new NatIcmp(this)
    this.#dhcp = new DhcpServer(this.addresses, clock)
    const { ipv6 } = this.addresses
    if (ipv6 !== undefined) {
      const mac = new Uint8Array(6)
      writeMacAddress(mac, 0, GATEWAY_MAC)
      this.#dhcp6 = new Dhcp6Server(ipv6, mac)
      this.#discovery = new NeighbourDiscovery(this, ipv6)
    }
    this.#reassembly = new Reassembly(clock, this.#toHost, () => this.timeMatters())
    this.#timer = clock.createTimer(() => this.#tick())
  }

  /**
   * Take a port, and listen at the host's ports that lead to guests.
   * @throws SwitchError `ERR_NETWORK_FORWARD` for a port that cannot be listened at
   */
  async start(port: NetworkPort): Promise<void> {
    this.#port = port
    if (this.#nameServers().length === 0) {
      this.#logger.log('warn', 'guests have no names: there is no name server, or the rules permit none')
    }
    for (const forward of this.#options.forwards) await this.#listen(forward)
  }

  async #listen(forward: PortForward): Promise<void> {
    const { hostAddress, hostPort, guestPort } = forward
    const fixed = forward.guestAddress === undefined ? undefined : parseIpAddress(forward.guestAddress)
    const guest = (): IpAddress => fixed ?? this.#dhcp.firstGuest
    if (forward.protocol === 'tcp') {
      this.#forwards.use(
        await this.host.listenTcp(hostAddress, hostPort, (socket) => {
          const events = this.#tcp.accept(socket, guest(), guestPort, this.addresses.gateway)
          if (events !== undefined) return events
          socket.abort()
          return NO_EVENTS
        }),
      )
      return
    }
    const socket = await this.host.listenUdp(hostAddress, hostPort, (data, address, port) =>
      this.#udp.fromOutside(udpForward, data, address, port),
    )
    const udpForward = { socket, guest, guestPort }
    this.#forwards.defer(() => socket.close())
  }

  /** Largest IP packet. */
  get mtu(): number {
    return this.#port?.mtu ?? 1500
  }

  /** How much there is of what is bounded. */
  report(): NatReport {
    return {
      tcpConnections: this.#tcp.size,
      udpSockets: this.#udp.size,
      heldBytes: this.#tcp.heldBytes + this.#toHost.held,
      neighbours: this.#neighbours.size,
    }
  }

  // ── the port ──

  /** @internal */
  send(frame: NetworkFrame): boolean {
    if (this.#port === undefined) return true
    this.#sending = true
    try {
      return this.#port.send(frame)
    } finally {
      this.#sending = false
    }
  }

  /** @internal */
  flush(): void {
    this.#port?.sendEnd()
    if (!this.#refused) return
    this.#refused = false
    this.#port?.resume()
  }

  receive(frame: NetworkFrame): boolean {
    if (this.#sending) {
      // An answer from inside of the sending: its turn comes when the frame that is being sent needs its buffer no more.
      this.#refused = true
      return false
    }
    const { bytes, start, end } = frame
    const destination = readMacAddress(bytes, start)
    if (destination !== GATEWAY_MAC && !isMulticast(destination)) return true
    this.#packet.sourceMac = readMacAddress(bytes, start + 6)
    const { headers } = this.#packet
    const ip = headers.parse(bytes, start, end)
    if (headers.etherType === ETHER_TYPE.ARP) this.#receiveArp(bytes, headers.network, end)
    else if (ip) this.#receiveIp(bytes, start, frame.flags)
    return true
  }

  receiveEnd(): void {
    this.#tcp.batchEnd()
    this.flush()
  }

  writable(): void {
    this.#tcp.pump()
    this.flush()
  }

  portChanged(): void {}

  // ── packets ──

  #receiveIp(bytes: Uint8Array, start: number, flags: number): void {
    const packet = this.#packet
    const { headers } = packet
    const { network } = headers
    const version = packet.version
    packet.bytes = bytes
    if (version === 4 && (flags & GSO) === 0 && !headerIsRight(bytes, network)) return
    if (headers.fragment) {
      const whole = this.#reassembly.add(bytes, start, network, version, headers.packetEnd)
      if (whole === undefined || !headers.parse(whole, 0, whole.length)) return
      packet.bytes = whole
      this.#dispatch(packet, 0)
    } else this.#dispatch(packet, flags)
  }

  #dispatch(packet: GuestPacket, flags: number): void {
    const { bytes, headers, version } = packet
    const at = headers.network
    readIpAddress(bytes, version === 4 ? at + 12 : at + 8, version, packet.source)
    readIpAddress(bytes, version === 4 ? at + 16 : at + 24, version, packet.destination)
    const checked = (flags & (FRAME_FLAG.CHECKSUM_PARTIAL | FRAME_FLAG.CHECKSUM_VALID)) !== 0
    const { protocol } = headers
    if ((protocol === IP_PROTOCOL.TCP || protocol === IP_PROTOCOL.UDP) && headers.payload > 0) {
      // Nobody is at port 0, and systems refuse to send there.
      if (packet.sourcePort === 0 || packet.destinationPort === 0) return
      if (!checked && !transportChecksumIsRight(bytes, headers)) return
    }
    if (version === 4) this.#dispatch4(packet)
    else if (this.addresses.ipv6 !== undefined) this.#dispatch6(packet)
  }

  #dispatch4(packet: GuestPacket): void {
    const { headers, destination, source } = packet
    const { protocol } = headers
    if (protocol === IP_PROTOCOL.UDP && headers.payload > 0 && packet.destinationPort === DHCP_PORT.SERVER) {
      this.#receiveDhcp(packet)
      return
    }
    // Only guests have business here, and only with what is outside or the gateway's own.
    if (!this.addresses.subnet.contains(source)) return
    this.#learn(source, packet.sourceMac)
    if (isGroup(destination) || (this.addresses.subnet.contains(destination) && !this.isGateway(destination))) return
    if (protocol === IP_PROTOCOL.TCP) this.#tcp.receive(packet)
    else if (protocol === IP_PROTOCOL.UDP) this.#udp.receive(packet)
    else if (
      protocol === IP_PROTOCOL.ICMP &&
      icmpIsRight(packet) &&
      packet.bytes[headers.transport] === ICMP.ECHO_REQUEST
    ) {
      this.#icmp.receiveEcho(packet)
    }
  }

  #dispatch6(packet: GuestPacket): void {
    const { headers, destination, source, bytes } = packet
    const { ipv6 } = this.addresses
    const { protocol, transport } = headers
    if (ipv6 === undefined || transport === 0) return
    // An IPv4 address is no address of a packet of IPv6 (RFC 4038, 4.2), and would be taken for one of IPv4.
    if (isIpv4(source) || isIpv4(destination)) return
    if (protocol === IP_PROTOCOL.ICMPV6) {
      if (!icmp6IsRight(packet)) return
      if (bytes[transport] !== ICMP6.ECHO_REQUEST) this.#discovery?.receive(packet)
      // By its link-local address a guest reaches the gateway alone.
      else if (this.isGateway(destination) || ipv6.subnet.contains(source)) this.#icmp.receiveEcho(packet)
      return
    }
    if (protocol === IP_PROTOCOL.UDP && headers.payload > 0 && packet.destinationPort === DHCP6_PORT.SERVER) {
      this.#receiveDhcp6(packet)
      return
    }
    // A guest whose address is tentative still, or that has none, reaches its neighbours: the gateway itself.
    if (!ipv6.subnet.contains(source) && !(LINK_LOCAL?.contains(source) && this.isGateway(destination))) return
    if (isGroup(destination) || (ipv6.subnet.contains(destination) && !this.isGateway(destination))) return
    if (protocol === IP_PROTOCOL.TCP) this.#tcp.receive(packet)
    else if (protocol === IP_PROTOCOL.UDP) this.#udp.receive(packet)
  }

  #receiveDhcp(packet: GuestPacket): void {
    const { bytes, headers } = packet
    const { gateway } = this.addresses
    const at = this.builder.ip(BROADCAST, gateway, ALL_ONES, IP_PROTOCOL.UDP)
    const answer = this.#dhcp.receive(bytes, headers.payload, headers.packetEnd, this.mtu, this.builder.bytes, at + 8)
    if (answer === undefined) return
    const { broadcast, address, length } = answer
    this.builder.ip(broadcast ? BROADCAST : packet.sourceMac, gateway, broadcast ? ALL_ONES : address, IP_PROTOCOL.UDP)
    this.#sendUdpHeader(at, DHCP_PORT.SERVER, DHCP_PORT.CLIENT, length)
  }

  #receiveDhcp6(packet: GuestPacket): void {
    const { bytes, headers } = packet
    const { ipv6 } = this.addresses
    if (ipv6 === undefined) return
    const at = this.builder.ip(packet.sourceMac, ipv6.gatewayLinkLocal, packet.source, IP_PROTOCOL.UDP)
    const length =
      this.#dhcp6?.receive(bytes, headers.payload, headers.packetEnd, packet.sourceMac, this.builder.bytes, at + 8) ?? 0
    if (length > 0) this.#sendUdpHeader(at, DHCP6_PORT.SERVER, DHCP6_PORT.CLIENT, length)
  }

  #sendUdpHeader(at: number, from: number, to: number, length: number): void {
    const { bytes } = this.builder
    putU16(bytes, at, from)
    putU16(bytes, at + 2, to)
    putU16(bytes, at + 4, length + 8)
    this.send(this.builder.finishTransport(length + 8, 0))
  }

  // ── neighbours (RFC 826) ──

  #receiveArp(bytes: Uint8Array, at: number, end: number): void {
    if (end - at < ARP.LENGTH || getU16(bytes, at) !== ARP.ETHERNET || getU16(bytes, at + 2) !== ETHER_TYPE.IPV4) return
    const operation = getU16(bytes, at + 6)
    const sender = ADDRESS_A
    const target = ADDRESS_B
    readIpAddress(bytes, at + 14, 4, sender)
    readIpAddress(bytes, at + 24, 4, target)
    if (this.addresses.subnet.contains(sender) && !this.isGateway(sender))
      this.#learn(sender, readMacAddress(bytes, at + 8))
    if (operation !== ARP.REQUEST || !this.isGateway(target)) return
    this.#sendArp(ARP.REPLY, this.#packet.sourceMac, target, sender)
  }

  #sendArp(operation: number, mac: number, source: IpAddress, target: IpAddress): void {
    const { builder } = this
    const { bytes } = builder
    const at = builder.ethernet(mac, ETHER_TYPE.ARP)
    putU16(bytes, at, ARP.ETHERNET)
    putU16(bytes, at + 2, ETHER_TYPE.IPV4)
    bytes[at + 4] = 6
    bytes[at + 5] = 4
    putU16(bytes, at + 6, operation)
    writeMacAddress(bytes, at + 8, GATEWAY_MAC)
    writeIpAddress(bytes, at + 14, source)
    writeMacAddress(bytes, at + 18, operation === ARP.REQUEST ? 0 : mac)
    writeIpAddress(bytes, at + 24, target)
    this.send(builder.finishEthernet(ARP.LENGTH))
  }

  #learn(address: IpAddress, mac: number): void {
    if (sameAddress(address, this.#lastLearned) && this.#lastMac === mac) return
    this.#lastLearned.set(address)
    this.#lastMac = mac
    const text = formatIpAddress(address)
    const known = this.#neighbours.get(text)
    if (known === mac) return
    if (known === undefined && this.#neighbours.size === MAXIMUM_NEIGHBOURS) {
      const [oldest] = this.#neighbours.keys()
      if (oldest !== undefined) this.#neighbours.delete(oldest)
    }
    this.#neighbours.set(text, mac)
    if (known === undefined) this.#tcp.neighbourKnown(address, mac)
  }

  readonly #lastLearned: IpAddress = new Uint8Array(16)
  #lastMac = -1

  /** @internal */
  resolve(address: IpAddress): number | undefined {
    const mac = this.#neighbours.get(formatIpAddress(address))
    if (mac === undefined) this.#sendArp(ARP.REQUEST, BROADCAST, this.addresses.gateway, address)
    return mac
  }

  // ── where things go ──

  /** Whether an address is one of the gateway’s own. @internal */
  isGateway(address: IpAddress): boolean {
    const { gateway, nameServer, ipv6 } = this.addresses
    return (
      sameAddress(address, gateway) ||
      sameAddress(address, nameServer) ||
      (ipv6 !== undefined &&
        (sameAddress(address, ipv6.gateway) ||
          sameAddress(address, ipv6.nameServer) ||
          sameAddress(address, ipv6.gatewayLinkLocal)))
    )
  }

  /** @internal */
  target(address: IpAddress, port: number, protocol: 'tcp' | 'udp' | 'icmp', attempt = 0): NatTarget | undefined {
    if (!this.isGateway(address)) {
      return this.#policy.permits(address, port)
        ? { address: formatIpAddress(address), port, renamed: false }
        : undefined
    }
    const { gateway, ipv6 } = this.addresses
    if (sameAddress(address, gateway) || (ipv6 !== undefined && sameAddress(address, ipv6.gateway))) {
      if (!this.#options.hostLoopback || protocol === 'icmp') return undefined
      const loopback = { address: LOOPBACK[sameAddress(address, gateway) ? 4 : 6], port }
      const names = ipv6 === undefined ? [gateway] : [gateway, ipv6.gateway]
      return this.#isPermitted(names, port, loopback) ? { ...loopback, renamed: true } : undefined
    }
    if (port !== DNS_PORT) return undefined
    const servers = this.#nameServers()
    const server = servers[attempt % servers.length]
    return server && { ...server, renamed: true }
  }

  /** Those that guests may ask. */
  #nameServers(): HostPort[] {
    const { nameServer, ipv6 } = this.addresses
    const names = ipv6 === undefined ? [nameServer] : [nameServer, ipv6.nameServer]
    const servers = this.#options.nameServers ?? this.host.nameServers()
    return servers.flatMap((text) => {
      const server = parseNameServer(text)
      return server !== undefined && this.#isPermitted(names, DNS_PORT, server) ? [server] : []
    })
  }

  #isPermitted(names: readonly IpAddress[], port: number, target: HostPort): boolean {
    const there = parseIpAddress(target.address)
    return there !== undefined && this.#policy.permitsBehindGateway(names, port, there, target.port)
  }

  /** Tell the guest by ICMP that a packet of its cannot be delivered. @internal */
  unreachable(guest: IpAddress, mac: number, packet: Uint8Array, error: string): void {
    this.#icmp.unreachable(guest, mac, packet, error)
  }

  // ── time ──

  /** @internal */
  timeMatters(): void {
    if (this.#timer.deadline === Number.POSITIVE_INFINITY) this.#timer.arm(this.clock.now() + TICK)
  }

  #tick(): void {
    const now = this.clock.now()
    this.#tcp.tick(now)
    this.#udp.tick(now)
    this.#reassembly.tick(now)
    this.flush()
    if (this.#tcp.size > 0 || !this.#udp.idle || this.#reassembly.size > 0) this.timeMatters()
  }

  /** The guests begin anew, and know of nothing that there was. */
  reset(): void {
    this.#endAll()
  }

  #endAll(): void {
    this.#tcp.resetAll()
    this.#udp.closeAll()
    this.#reassembly.clear()
    this.flush()
  }

  /** All connections end, guests are told, and the host's ports are free again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer.cancel()
    this.#discovery?.[Symbol.dispose]()
    this.#endAll()
    await this.#forwards.disposeAsync()
    await this.#port?.[Symbol.asyncDispose]()
    this.#port = undefined
    this.#logger.log('debug', 'the NAT has ended')
  }
}

const ADDRESS_A: IpAddress = new Uint8Array(16)
const ADDRESS_B: IpAddress = new Uint8Array(16)
/** 255.255.255.255. */
const ALL_ONES: IpAddress = new Uint8Array(16).fill(0xff, 10)
const LINK_LOCAL: IpPrefix | undefined = IpPrefix.parse('fe80::/10')
const NO_EVENTS = { connected() {}, data() {}, ended() {}, drained() {}, closed() {} } as const

function headerIsRight(bytes: Uint8Array, network: number): boolean {
  const length = ((bytes[network] as number) & 0xf) * 4
  return checksumOf(sumWords(bytes, network, network + length)) === 0
}

/** The checksum of ICMP (RFC 792). */
function icmpIsRight({ bytes, headers: { transport, packetEnd } }: GuestPacket): boolean {
  return transport > 0 && checksumOf(sumWords(bytes, transport, packetEnd)) === 0
}

/** The checksum of ICMPv6 (RFC 4443, 2.3). */
function icmp6IsRight({ bytes, headers }: GuestPacket): boolean {
  const length = headers.packetEnd - headers.transport
  const pseudo = sumWords(bytes, headers.network + 8, headers.network + 40, IP_PROTOCOL.ICMPV6 + length)
  return length >= 8 && checksumOf(sumWords(bytes, headers.transport, headers.packetEnd, pseudo)) === 0
}
