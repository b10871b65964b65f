// A guest with many connections at a time, whose NAT has real sockets of this host. Time stands still for the NAT unless it is told otherwise.

import { setImmediate } from 'node:timers/promises'
import type { Logger, LogLevel } from '@partita/interface'
import * as v from 'valibot'
import { NatGateway } from '../src/nat/nat-gateway.ts'
import { natOptionsSchema } from '../src/nat/nat-options.ts'
import { NodeNatHost } from '../src/nat.node.ts'
import { F, NatGuest, type Segment } from './nat-guest.ts'

/** With `hostLoopback` this is the host. */
const GATEWAY = '10.0.2.2'
const FIRST_PORT = 10_000
const FIRST_SEQUENCE = 999
/** MSS 1,460 and a window scale of 7. */
const SYN_OPTIONS = [2, 4, 5, 180, 1, 3, 3, 7]
/** So many begin at a time: servers have a queue. */
const WAVE = 250

/** The guest's end of a connection. */
export class GuestConnection {
  readonly #guest: NatGuest
  readonly #port: number
  readonly #server: number
  /** The next sequence number to send, and the next to come. */
  #next = FIRST_SEQUENCE
  #expected = 0
  state: 'opening' | 'open' | 'refused' | 'reset' = 'opening'
  /** The server has nothing more to say. */
  ended = false
  text = ''

  constructor(guest: NatGuest, port: number, server: number) {
    this.#guest = guest
    this.#port = port
    this.#server = server
    this.#send(F.SYN)
    this.#next++
  }

  #send(flags: number, payload = ''): void {
    const acknowledgement = { acknowledgement: this.#expected }
    const options = flags === F.SYN ? { options: SYN_OPTIONS } : acknowledgement
    this.#guest.tcp(
      GATEWAY,
      this.#server,
      { flags, sequence: this.#next, payload, window: 512, ...options },
      this.#port,
    )
  }

  send(text: string): void {
    this.#send(F.ACK | F.PSH, text)
    this.#next += text.length
  }

  /** Nothing more is sent. */
  end(): void {
    this.#send(F.ACK | F.FIN)
    this.#next++
  }

  receive({ flags, sequence, payload }: Segment): void {
    if ((flags & F.RST) !== 0) {
      this.state = this.state === 'opening' ? 'refused' : 'reset'
      return
    }
    if ((flags & F.SYN) !== 0) {
      this.state = 'open'
      this.#expected = (sequence + 1) >>> 0
    } else if (sequence === this.#expected) {
      this.text += payload
      this.ended ||= (flags & F.FIN) !== 0
      this.#expected = (this.#expected + payload.length + (flags & F.FIN)) >>> 0
      if (payload.length === 0 && (flags & F.FIN) === 0) return
    } else return
    this.#send(F.ACK)
  }
}

/** The guest, and its NAT. */
export class ManyConnections implements AsyncDisposable {
  readonly #guest: NatGuest = new NatGuest()
  readonly #host: NodeNatHost = new NodeNatHost()
  readonly #server: number
  readonly gateway: NatGateway
  readonly connections: Map<number, GuestConnection> = new Map()
  /** What the user of the machine sees. */
  readonly notices: string[] = []

  /** `server`: the port of a server on this host's loopback that sends back what it gets. */
  constructor(server: number, options: Record<string, unknown> = {}) {
    this.#server = server
    const logger: Logger = {
      log: (level: LogLevel, message: string) => {
        if (level === 'error') this.notices.push(message)
      },
      child: () => logger,
    }
    this.gateway = new NatGateway({
      clock: this.#guest.clock,
      host: this.#host,
      options: v.parse(natOptionsSchema, { hostLoopback: true, ...options }),
      logger,
    })
  }

  async start(): Promise<void> {
    await this.gateway.start(this.#guest.network.connect(this.gateway, { port: { spoofing: true } }))
  }

  /** So many connections more, which are open or refused when this resolves. */
  async open(count: number): Promise<readonly GuestConnection[]> {
    const opened: GuestConnection[] = []
    while (opened.length < count) {
      const wave = Array.from({ length: Math.min(WAVE, count - opened.length) }, () => {
        const port = FIRST_PORT + this.connections.size
        const connection = new GuestConnection(this.#guest, port, this.#server)
        this.connections.set(port, connection)
        return connection
      })
      await this.until(() => wave.every(({ state }) => state !== 'opening'))
      opened.push(...wave)
    }
    return opened
  }

  /** Take what comes, and answer it, until something is so. */
  async until(condition: () => boolean): Promise<void> {
    const { adapter } = this.#guest
    for (;;) {
      for (const segment of this.#guest.segments()) this.connections.get(segment.destinationPort)?.receive(segment)
      if (condition()) return
      if (adapter.received.length > 0) continue
      // Answers of the NAT come while a frame is being sent; those of the host in other turns.
      await new Promise<void>((resolve) => {
        adapter.onReceive = resolve
      })
      adapter.onReceive = undefined
    }
  }

  /** Let seconds pass. */
  pass(seconds: number): void {
    this.#guest.clock.advance(seconds * 1e9)
  }

  /** Let time pass until the NAT has forgotten all connections but so many: their sockets have turns of their own to close. */
  async forgotten(but = 0): Promise<void> {
    while (this.gateway.report().tcpConnections > but) {
      this.pass(1)
      await setImmediate()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateway[Symbol.asyncDispose]()
    this.#host[Symbol.dispose]()
  }
}
