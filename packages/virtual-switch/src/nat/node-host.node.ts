// The host's network by Node's sockets.

import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { getServers } from 'node:dns'
import { connect, createServer, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { SwitchError } from '../switch-error.ts'
import { ByteChunks } from './byte-chunks.ts'
import { PIECE_COST } from './memory-budget.ts'
import type { NatHost, TcpSocket, TcpSocketEvents, UdpReceiver, UdpSocket } from './nat-host.ts'

/** Seconds that an echo may take. */
const ECHO_TIME_OUT = 3
/** Bytes of datagrams that a socket holds while the system takes none; further ones are lost, as datagrams may be. */
const MAXIMUM_DATAGRAMS = 1024 * 1024
/** Bytes that a socket reads at once. */
const READ_SIZE = 64 * 1024
const NOTHING = (): void => {}

class NodeTcpSocket implements TcpSocket {
  readonly #socket: Socket
  #events: TcpSocketEvents | undefined
  #error: string | undefined
  /** What was written while the system was busy with what had been written before. */
  readonly #waiting: ByteChunks = new ByteChunks()
  /** The system did not take a write at once. */
  #busy = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#error = error.code ?? 'EIO'
    })
  }

  listen(events: TcpSocketEvents): this {
    this.#events = events
    this.#socket
      .on('connect', () => this.#events?.connected())
      .on('data', (chunk: Buffer) => this.#events?.data(chunk))
      .on('end', () => this.#events?.ended())
      .on('close', () => this.#events?.closed(this.#error))
    return this
  }

  /** A socket that reads without a queue of its own brings its data here. */
  data(chunk: Uint8Array): void {
    this.#events?.data(chunk)
  }

  write(data: Uint8Array): void {
    if (this.#socket.writableLength > 0) this.#waiting.push(data.slice())
    else {
      this.#socket.write(data.slice(), this.#written)
      this.#busy = this.#socket.writableLength > 0
    }
  }

  readonly #written = (error?: Error | null): void => {
    if (!this.#busy || (error !== undefined && error !== null)) return
    this.#flush()
    if (this.#socket.writableLength > 0) return
    this.#busy = false
    this.#events?.drained()
  }

  #flush(): void {
    const waiting = this.#waiting
    this.#socket.cork()
    while (waiting.length > 0) {
      const chunk = waiting.shift() as Uint8Array
      this.#socket.write(chunk, waiting.length === 0 ? this.#written : NOTHING)
    }
    this.#socket.uncork()
  }

  get buffered(): number {
    const { writableLength } = this.#socket
    return this.#waiting.cost + writableLength + (writableLength > 0 ? PIECE_COST : 0)
  }

  end(): void {
    this.#flush()
    this.#socket.end()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  abort(): void {
    this.#events = undefined
    this.#waiting.clear()
    this.#socket.resetAndDestroy()
  }
}

class NodeUdpSocket implements UdpSocket {
  readonly #socket: DatagramSocket
  #held = 0

  constructor(socket: DatagramSocket) {
    this.#socket = socket
  }

  send(data: Uint8Array, address: string, port: number): void {
    const cost = data.length + PIECE_COST
    if (this.#held + cost > MAXIMUM_DATAGRAMS) return
    this.#held += cost
    const sent = (): void => {
      this.#held -= cost
    }
    // Errors of single datagrams are lost, as the datagrams are.
    try {
      this.#socket.send(Uint8Array.from(data), port, address, sent)
    } catch {
      sent()
    }
  }

  get buffered(): number {
    return this.#held
  }

  close(): void {
    this.#socket.close()
  }
}

/** The host that this program runs on. */
export class NodeNatHost implements NatHost, Disposable {
  /** Where sockets read to: each takes away what it has read before the next one reads. */
  readonly #shared: Uint8Array = new Uint8Array(READ_SIZE)
  readonly #pings: Set<ChildProcess> = new Set()

  connectTcp(address: string, port: number, events: TcpSocketEvents): TcpSocket {
    // With a buffer of ours a socket that is paused has nothing in a queue.
    const onread = {
      buffer: this.#shared,
      callback: (count: number): boolean => {
        own.data(this.#shared.slice(0, count))
        return true
      },
    }
    const own: NodeTcpSocket = new NodeTcpSocket(connect({ host: address, port, allowHalfOpen: true, onread }))
    return own.listen(events)
  }

  listenTcp(
    address: string,
    port: number,
    accept: (socket: TcpSocket, peer: { readonly address: string; readonly port: number }) => TcpSocketEvents,
  ): Promise<AsyncDisposable> {
    const open = new Set<Socket>()
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      open.add(socket)
      socket.on('close', () => open.delete(socket))
      const own = new NodeTcpSocket(socket)
      own.listen(accept(own, { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 }))
    })
    return new Promise((resolve, reject) => {
      server.once('error', (error) => reject(forwardError('tcp', address, port, error)))
      server.listen({ host: address, port }, () => {
        server.removeAllListeners('error').on('error', NOTHING)
        resolve({
          [Symbol.asyncDispose]: () =>
            new Promise<void>((done) => {
              for (const socket of open) socket.destroy()
              server.close(() => done())
            }),
        })
      })
    })
  }

  openUdp(version: 4 | 6, receive: UdpReceiver): UdpSocket | undefined {
    try {
      const socket = createSocket(version === 4 ? 'udp4' : 'udp6')
      socket.on('error', NOTHING).on('message', (data, { address, port }) => receive(data, address, port))
      return new NodeUdpSocket(socket)
    } catch {
      return undefined
    }
  }

  listenUdp(address: string, port: number, receive: UdpReceiver): Promise<UdpSocket> {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    socket.on('message', (data, peer) => receive(data, peer.address, peer.port))
    return new Promise((resolve, reject) => {
      socket.once('error', (error) => reject(forwardError('udp', address, port, error)))
      socket.bind({ address, port, exclusive: true }, () => {
        socket.removeAllListeners('error').on('error', NOTHING)
        resolve(new NodeUdpSocket(socket))
      })
    })
  }

  nameServers(): readonly string[] {
    return getServers()
  }

  ownAddresses(): readonly string[] {
    return Object.values(networkInterfaces()).flatMap((addresses = []) => addresses.map(({ address }) => address))
  }

  /** Asks the system's `ping`, which may do what a program without privilege may not. */
  echo(address: string): Promise<boolean> {
    return new Promise((resolve) => {
      const ping = spawn('ping', ['-n', '-c', '1', '-W', String(ECHO_TIME_OUT), address], { stdio: 'ignore' })
      this.#pings.add(ping)
      const done = (alive: boolean): void => {
        this.#pings.delete(ping)
        resolve(alive)
      }
      ping.on('error', () => done(false)).on('exit', (code) => done(code === 0))
    })
  }

  /** Whoever is being asked for an echo is not waited for any more. */
  [Symbol.dispose](): void {
    for (const ping of this.#pings) ping.kill()
  }
}

/** Why a port of the host cannot be listened at. */
function forwardError(protocol: string, address: string, port: number, cause: unknown): SwitchError {
  return new SwitchError(
    'ERR_NETWORK_FORWARD',
    `cannot listen at ${protocol} ${address}:${port}: ${(cause as Error).message}`,
    {
      hint: 'Another program may have the port, or the system may keep it for itself. Forward another one.',
      data: { protocol, address, port },
      cause,
    },
  )
}
