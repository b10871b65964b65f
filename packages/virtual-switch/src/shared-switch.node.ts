// The meeting of several processes at a Unix socket: whoever can listen there is the hub, the others connect to it.

import { lstat, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { SocketAdapter } from './socket-adapter.node.ts'
import { SwitchError } from './switch-error.ts'
import type { VirtualSwitch } from './virtual-switch.ts'

/** Milliseconds after which a process that has lost the others tries again. */
const RETRY = 500
const MAXIMUM_NEIGHBOURS = 64

/** One process's part. */
export class SharedSwitch implements AsyncDisposable {
  readonly #network: VirtualSwitch
  readonly #path: string
  readonly #warn: (message: string) => void
  readonly #links: Set<Disposable> = new Set()
  #server: Server | undefined
  #timer: NodeJS.Timeout | undefined
  #ended = false

  /** `warn` hears of a neighbour that is lost. */
  constructor(network: VirtualSwitch, path: string, warn: (message: string) => void) {
    this.#network = network
    this.#path = path
    this.#warn = warn
  }

  /**
   * Meet the others, or be the first.
   * @throws SwitchError `ERR_NETWORK_SHARED` when the path can neither be listened at nor connected to
   */
  async start(): Promise<void> {
    // Two that begin at once: one of them listens, the other finds it at its second try.
    for (let tries = 0; ; tries++) {
      const joined = await this.#join()
      const error = joined === null ? await this.#listen() : joined
      if (error === undefined) return
      if (tries === 3 || error.code !== 'EADDRINUSE') {
        throw new SwitchError('ERR_NETWORK_SHARED', `cannot share a switch at ${this.#path}: ${error.message}`, {
          hint: 'Name a socket in a directory that can be written.',
          data: { path: this.#path },
          cause: error,
        })
      }
    }
  }

  /** Whether the others are connected to this process. */
  get hub(): boolean {
    return this.#server !== undefined
  }

  /** Processes that are connected. */
  get neighbours(): number {
    return this.#links.size
  }

  /** `undefined` when that is done, `null` (then listen) when nobody is there. */
  async #join(): Promise<undefined | null | NodeJS.ErrnoException> {
    const socket = connect(this.#path)
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      socket.once('error', resolve).once('connect', () => resolve(undefined))
    })
    socket.removeAllListeners('error')
    if (error === undefined) {
      this.#link(socket)
      return undefined
    }
    // Left behind by a process that was killed.
    if (error.code === 'ECONNREFUSED') {
      const file = await lstat(this.#path).catch(() => undefined)
      if (file?.isSocket() === false) return error
      await unlink(this.#path).catch(() => {})
      return null
    }
    return error.code === 'ENOENT' ? null : error
  }

  async #listen(): Promise<NodeJS.ErrnoException | undefined> {
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      if (this.#links.size < MAXIMUM_NEIGHBOURS) this.#link(socket)
      else socket.destroy()
    })
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      server.once('error', resolve).listen(this.#path, () => resolve(undefined))
    })
    if (error === undefined) {
      this.#server = server
      server.removeAllListeners('error').on('error', () => {})
    }
    return error
  }

  #link(socket: Socket): void {
    const stack = new DisposableStack()
    const adapter = stack.use(
      new SocketAdapter(socket, () => {
        if (!this.#links.delete(stack)) return
        void port[Symbol.asyncDispose]()
        if (!this.hub && !this.#ended) this.#retry()
      }),
    )
    const port = this.#network.connect(adapter, { port: { spoofing: true, vlan: { mode: 'trunk' } } })
    stack.defer(() => void port[Symbol.asyncDispose]())
    this.#links.add(stack)
    adapter.start(port)
  }

  #retry(): void {
    this.#timer = setTimeout(
      () => {
        void this.start().catch((error: SwitchError) => {
          this.#warn(error.message)
          if (!this.#ended) this.#retry()
        })
      },
      RETRY * (0.5 + Math.random()),
    )
    this.#timer.unref()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    clearTimeout(this.#timer)
    for (const link of [...this.#links]) {
      this.#links.delete(link)
      link[Symbol.dispose]()
    }
    const server = this.#server
    this.#server = undefined
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()))
  }
}
