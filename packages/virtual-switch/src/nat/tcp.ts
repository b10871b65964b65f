// All TCP connections of a NAT: guests connect through sockets of the host, and ports of the host lead to guests. Their number is bounded; when it is reached, the one that was idle longest goes.

import { IP_PROTOCOL } from '@partita/ethernet'
import type { Timer } from '@partita/interface'
import { FlowTable as Flows, type FlowTable, flowKey } from './flow-table.ts'
import { formatIpAddress, type IpAddress } from './ip-address.ts'
import { MemoryBudget, PIECE_COST } from './memory-budget.ts'
import type { NatGatewayServices } from './nat-gateway.ts'
import type { TcpSocket, TcpSocketEvents } from './nat-host.ts'
import type { GuestPacket } from './packet.ts'
import type { Shortages } from './shortages.ts'
import { TcpConnection, type TcpGateway } from './tcp-connection.ts'
import { sequenceAfter, TCP_FLAG, TCP_HEADER_LENGTH, TcpSegment, writeTcpHeader } from './tcp-segment.ts'

/** What a socket of the host gives at once. */
const CHUNK_COST = 64 * 1024 + PIECE_COST
/** Below this part of what may be held for guests, connections that were stopped read on. */
const READ_ON = 3 / 4
/** How long an acknowledgement may wait for something that goes to the guest anyway (RFC 9293, 3.8.6.3: less than half a second). */
const ACKNOWLEDGEMENT_DELAY = 10e6
/** An idle connection is not evicted before this, so that new ones cannot push out those in use. */
const SHORTEST_LIFE = 5e9
/** The process, or the system, has no more files. */
const NO_FILES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE'])
const FIRST_EPHEMERAL = 49_152
const EPHEMERAL_PORTS = 16_384

/** The connections. */
export class NatTcp implements TcpGateway {
  readonly #services: NatGatewayServices
  readonly #maximum: number
  readonly #shortages: Shortages
  readonly #connections: FlowTable<TcpConnection> = new Flows()
  /** Whose acknowledgements are due at the end of the batch, and whose when the timer fires. */
  readonly #batch: TcpConnection[] = []
  readonly #delayed: TcpConnection[] = []
  readonly #delay: Timer
  /** Those that wait for room at the port, the first of them first. */
  readonly #blocked: Set<TcpConnection> = new Set()
  readonly #segment: TcpSegment = new TcpSegment()
  readonly #key: Uint8Array = new Uint8Array(36)
  /** Those that were stopped since all together hold too much, the first of them first. */
  readonly #stopped: Set<TcpConnection> = new Set()
  /** What waits for guests, and what waits for the host. */
  readonly #toGuests: MemoryBudget
  readonly #toHost: MemoryBudget
  #crowded = false
  // Nobody outside should know which port comes next (RFC 6056).
  #ephemeral: number = Math.floor(Math.random() * EPHEMERAL_PORTS)

  /** `maximum`: connections. `toHost` is shared with others; as much may wait for guests. */
  constructor(services: NatGatewayServices, maximum: number, toHost: MemoryBudget, shortages: Shortages) {
    this.#services = services
    this.#maximum = maximum
    this.#shortages = shortages
    this.#toHost = toHost
    this.#toGuests = new MemoryBudget(toHost.limit)
    this.#delay = services.clock.createTimer(() => this.#acknowledgeOverdue())
  }

  /** Connections at this time. */
  get size(): number {
    return this.#connections.size
  }

  /** Bytes of memory for what waits for guests. */
  get heldBytes(): number {
    return this.#toGuests.held
  }

  // ── for connections ──

  get builder(): TcpGateway['builder'] {
    return this.#services.builder
  }

  get mtu(): number {
    return this.#services.mtu
  }

  get now(): number {
    return this.#services.clock.now()
  }

  get crowded(): boolean {
    return this.#crowded
  }

  send(frame: Parameters<TcpGateway['send']>[0]): boolean {
    return this.#services.send(frame)
  }

  resolve(address: IpAddress): number | undefined {
    return this.#services.resolve(address)
  }

  get room(): number {
    return this.#toHost.room
  }

  buffered(bytes: number): void {
    this.#toHost.change(bytes)
  }

  held(bytes: number): void {
    const budget = this.#toGuests
    budget.change(bytes)
    if (bytes < 0) this.#readOn()
    else if (budget.room === 0 && !this.#crowded) {
      this.#crowded = true
      // One that goes on to read would have a chunk more for each of them.
      for (const connection of this.#connections) connection.pause()
    }
  }

  waitToRead(connection: TcpConnection): void {
    this.#stopped.add(connection)
  }

  /** As many of those that were stopped read on as there is room for what they read at once. */
  #readOn(): void {
    const { held, limit } = this.#toGuests
    if (held >= limit * READ_ON) return
    this.#crowded = false
    let left = Math.max(1, Math.floor((limit - held) / CHUNK_COST))
    for (const connection of this.#stopped) {
      if (left-- === 0) return
      this.#stopped.delete(connection)
      connection.readOn()
    }
  }

  acknowledgeLater(connection: TcpConnection): void {
    if (!connection.acknowledging) {
      connection.acknowledging = true
      connection.acknowledgeBy = this.now + ACKNOWLEDGEMENT_DELAY
    }
    if (connection.inBatch) return
    connection.inBatch = true
    this.#batch.push(connection)
  }

  blocked(connection: TcpConnection): void {
    this.#blocked.add(connection)
  }

  remove(connection: TcpConnection): void {
    this.#blocked.delete(connection)
    this.#stopped.delete(connection)
    this.#connections.remove(connection)
  }

  // ── from guests ──

  receive(packet: GuestPacket): void {
    const { headers, bytes } = packet
    if (headers.payload === 0) return
    const segment = this.#segment
    segment.parse(bytes, headers.transport, headers.payload, packet.version)
    const key = flowKey(packet.source, packet.sourcePort, packet.destination, packet.destinationPort, this.#key)
    const connection = this.#connections.find(key)
    const syn = (segment.flags & (TCP_FLAG.SYN | TCP_FLAG.ACK | TCP_FLAG.RST)) === TCP_FLAG.SYN
    if (connection !== undefined && !(syn && connection.state === 'time-wait')) {
      connection.receive(segment, packet.payload, packet.sourceMac)
      return
    }
    connection?.abort()
    if (syn) this.#connect(packet, segment)
    else if ((segment.flags & TCP_FLAG.RST) === 0) this.#refuse(packet, segment)
  }

  #connect(packet: GuestPacket, segment: TcpSegment): void {
    const target = this.#services.target(packet.destination, packet.destinationPort, 'tcp')
    if (target === undefined || !this.#makeRoom()) {
      this.#refuse(packet, segment)
      return
    }
    const connection = this.#add(
      packet.source,
      packet.sourcePort,
      packet.destination,
      packet.destinationPort,
      'connecting',
    )
    connection.begin(segment, packet.sourceMac)
    connection.attach(this.#services.host.connectTcp(target.address, target.port, this.#events(connection, packet)))
  }

  #add(
    guest: IpAddress,
    guestPort: number,
    remote: IpAddress,
    remotePort: number,
    state: 'connecting' | 'syn-sent',
  ): TcpConnection {
    const flow = { guest: guest.slice(), guestPort, remote: remote.slice(), remotePort }
    const connection = new TcpConnection(
      this,
      { key: flowKey(guest, guestPort, remote, remotePort), ...flow },
      state,
      Math.floor(Math.random() * 2 ** 32),
    )
    this.#connections.add(connection)
    this.#services.timeMatters()
    return connection
  }

  /** What the host's socket does to a connection; each call ends with its frames sent. */
  #events(connection: TcpConnection, syn?: GuestPacket): TcpSocketEvents {
    const flush = (): void => this.#services.flush()
    const refusal = syn === undefined ? undefined : copyOfSyn(syn)
    return {
      connected: () => {
        connection.connected()
        flush()
      },
      data: (chunk) => {
        connection.hostData(chunk)
        flush()
      },
      ended: () => {
        connection.hostEnded()
        flush()
      },
      drained: () => {
        connection.hostDrained()
        flush()
      },
      closed: (error) => {
        const failed = connection.state === 'connecting' && error !== undefined
        const { guestMac } = connection
        connection.hostClosed(error)
        if (failed && refusal !== undefined && guestMac !== undefined) {
          if (NO_FILES.has(error)) this.#shortages.refused(`the system has no socket for another one (${error})`)
          if (error === 'ECONNREFUSED' || error === 'ECONNRESET' || NO_FILES.has(error))
            this.#sendReset(connection, guestMac, refusal)
          else this.#services.unreachable(connection.guest, guestMac, refusal.packet, error)
        }
        flush()
      },
    }
  }

  /** A guest's segment for no connection, or one that may not be (RFC 9293, 3.5.2). */
  #refuse(packet: GuestPacket, segment: TcpSegment): void {
    const length =
      packet.payload.length +
      ((segment.flags & TCP_FLAG.SYN) === 0 ? 0 : 1) +
      ((segment.flags & TCP_FLAG.FIN) === 0 ? 0 : 1)
    const acknowledged = (segment.flags & TCP_FLAG.ACK) !== 0
    this.#writeReset(
      packet.sourceMac,
      packet.source,
      packet.sourcePort,
      packet.destination,
      packet.destinationPort,
      acknowledged ? segment.acknowledgement : 0,
      acknowledged ? undefined : sequenceAfter(segment.sequence, length),
    )
  }

  #sendReset(connection: TcpConnection, mac: number, { sequence }: SynCopy): void {
    const { guest, guestPort, remote, remotePort } = connection
    this.#writeReset(mac, guest, guestPort, remote, remotePort, 0, sequenceAfter(sequence, 1))
  }

  #writeReset(
    mac: number,
    guest: IpAddress,
    guestPort: number,
    remote: IpAddress,
    remotePort: number,
    sequence: number,
    acknowledgement: number | undefined,
  ): void {
    const { builder } = this.#services
    const at = builder.ip(mac, remote, guest, IP_PROTOCOL.TCP)
    writeTcpHeader(builder.bytes, at, {
      sourcePort: remotePort,
      destinationPort: guestPort,
      sequence,
      acknowledgement: acknowledgement ?? 0,
      flags: acknowledgement === undefined ? TCP_FLAG.RST : TCP_FLAG.RST | TCP_FLAG.ACK,
      window: 0,
    })
    this.#services.send(builder.finishTransport(TCP_HEADER_LENGTH, 0))
  }

  // ── from the host ──

  /** A connection from outside to a guest. Returns what its socket tells. */
  accept(socket: TcpSocket, guest: IpAddress, guestPort: number, remote: IpAddress): TcpSocketEvents | undefined {
    const port = this.#freePort(guest, guestPort, remote)
    if (port === undefined || !this.#makeRoom()) return undefined
    const connection = this.#add(guest, guestPort, remote, port, 'syn-sent')
    connection.attach(socket)
    connection.open()
    this.#services.flush()
    return this.#events(connection)
  }

  #freePort(guest: IpAddress, guestPort: number, remote: IpAddress): number | undefined {
    for (let tries = 0; tries < EPHEMERAL_PORTS; tries++) {
      const port = FIRST_EPHEMERAL + (this.#ephemeral++ % EPHEMERAL_PORTS)
      if (this.#connections.find(flowKey(guest, guestPort, remote, port, this.#key)) === undefined) return port
    }
    return undefined
  }

  // ── time and room ──

  /** Room for one more connection: where there is none, the one that was idle longest goes. */
  #makeRoom(): boolean {
    if (this.#connections.size < this.#maximum) return true
    let idle: TcpConnection | undefined
    for (const connection of this.#connections) {
      if (connection.over) {
        connection.abort()
        return true
      }
      if (idle === undefined || connection.lastUsed < idle.lastUsed) idle = connection
    }
    if (idle === undefined || this.now - idle.lastUsed < SHORTEST_LIFE) {
      this.#shortages.refused(`${this.#maximum} are in use, which is maximumConnections`)
      return false
    }
    idle.resetBoth()
    return true
  }

  /** A guest's MAC address has become known. */
  neighbourKnown(address: IpAddress, mac: number): void {
    const text = formatIpAddress(address)
    for (const connection of this.#connections) {
      if (connection.guestMac === undefined && formatIpAddress(connection.guest) === text)
        connection.neighbourKnown(mac)
    }
  }

  /** The guest's batch is over: send what was put off. */
  batchEnd(): void {
    for (const connection of this.#batch) {
      connection.inBatch = false
      // What was sent meanwhile has acknowledged it.
      if (!connection.acknowledging) continue
      if (!connection.patient) connection.acknowledge()
      else if (!connection.delayed) {
        connection.delayed = true
        this.#delayed.push(connection)
        if (this.#delay.deadline === Number.POSITIVE_INFINITY) this.#delay.arm(connection.acknowledgeBy)
      }
    }
    this.#batch.length = 0
  }

  #acknowledgeOverdue(): void {
    const { now } = this
    const delayed = this.#delayed
    let kept = 0
    let next = Number.POSITIVE_INFINITY
    for (const connection of delayed) {
      if (connection.acknowledging && connection.acknowledgeBy > now) {
        delayed[kept++] = connection
        next = Math.min(next, connection.acknowledgeBy)
        continue
      }
      connection.delayed = false
      if (connection.acknowledging) connection.acknowledgeOverdue()
    }
    delayed.length = kept
    if (kept > 0) this.#delay.arm(next)
    this.#services.flush()
  }

  /** The port has room again. */
  pump(): void {
    for (const connection of this.#blocked) {
      // Whoever has to wait again waits behind the others.
      this.#blocked.delete(connection)
      if (!connection.pump()) return
    }
  }

  /** Time has passed. */
  tick(now: number): void {
    // What expires may leave the table.
    const expired: TcpConnection[] = []
    for (const connection of this.#connections) {
      connection.look()
      if (connection.deadline <= now) expired.push(connection)
    }
    for (const connection of expired) connection.expire()
    // Those whose turn it was may have had nothing to read.
    this.#readOn()
  }

  /** All connections end; the guests' sides are told. */
  resetAll(): void {
    for (const connection of [...this.#connections]) connection.resetBoth()
    this.#delay.cancel()
    this.#delayed.length = 0
  }
}

/** What is needed to refuse a connection later. */
interface SynCopy {
  readonly sequence: number
  /** The IP header and the beginning of the transport header, as ICMP gives them back. */
  readonly packet: Uint8Array
}

function copyOfSyn({ bytes, headers }: GuestPacket): SynCopy {
  const end = Math.min(headers.packetEnd, headers.transport + 20)
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return { sequence: view.getUint32(headers.transport + 4), packet: bytes.slice(headers.network, end) }
}
