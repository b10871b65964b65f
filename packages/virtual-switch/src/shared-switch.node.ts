// The meeting of several processes at a Unix socket: whoever can listen there is the hub, the others connect to it.

import { randomBytes } from 'node:crypto'
import { link, lstat, rename, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import type { Network, NetworkAdapter, NetworkConnection } from '@partita/interface'
import { SocketAdapter } from './socket-adapter.node.ts'
import { SwitchError } from './switch-error.ts'

/** Milliseconds after which a process that has lost the others tries again. */
const RETRY = 500
/** Milliseconds between two looks of the hub at whether it is still found. */
const CHECK = 1000
const MAXIMUM_NEIGHBOURS = 64
/** An adapter that is connected for nothing but to see whether it can be. */
const NOBODY: NetworkAdapter = {
  name: 'socket',
  macAddress: '00:00:00:00:00:00',
  accepts: 0,
  receive: () => true,
  receiveEnd: () => {},
  writable: () => {},
  portChanged: () => {},
}

/** One process's part. */
export class SharedSwitch implements AsyncDisposable {
  readonly #network: Network
  readonly #connection: NetworkConnection
  readonly #path: string
  readonly #warn: (message: string) => void
  readonly #links: Set<Disposable> = new Set()
  #server: Server | undefined
  #timer: NodeJS.Timeout | undefined
  #check: NodeJS.Timeout | undefined
  /** The identity of the hub's socket. */
  #own: string | undefined
  #ended = false

  /** `warn` hears of a neighbour that is lost; `connection` is how each of them is connected. */
  constructor(
    network: Network,
    path: string,
    warn: (message: string) => void,
    connection: NetworkConnection = { port: { spoofing: true, vlan: { mode: 'trunk' } } },
  ) {
    this.#connection = connection
    this.#network = network
    this.#path = path
    this.#warn = warn
  }

  /**
   * Meet the others, or be the first.
   * @throws SwitchError `ERR_NETWORK_SHARED` when the path can neither be listened at nor connected to
   * @throws PartitaError what `connect` of the network throws
   */
  async start(): Promise<void> {
    // A port that cannot be had is to be known now, and not when the first neighbour comes.
    const { network, port } = this.#connection
    await this.#network.connect(NOBODY, { network, port: { ...port, capture: false } })[Symbol.asyncDispose]()
    // Two that begin at once: one of them listens, the other finds it at its second try.
    for (let tries = 0; ; tries++) {
      const joined = await this.#join()
      const error = typeof joined === 'string' ? await this.#listen(joined) : joined
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

  /** `undefined` when that is done; a text when nobody is there: the identity of the file that is, empty for none. */
  async #join(): Promise<undefined | string | NodeJS.ErrnoException> {
    const before = await identity(this.#path)
    const socket = connect(this.#path)
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      socket.once('error', resolve).once('connect', () => resolve(undefined))
    })
    socket.removeAllListeners('error')
    if (error === undefined) {
      this.#link(socket)
      return undefined
    }
    if (error.code === 'ENOENT') return ''
    // A socket was left behind by a process that was killed. Any other file is nobody's to take away.
    return error.code === 'ECONNREFUSED' && before?.socket === true ? before.text : error
  }

  /**
   * Be the first. The socket gets its name when there is none, or in the place of one that nobody listens at any more: never in the place of one whose owner was quicker, but for a moment between
   * looking and renaming, after which that one finds itself gone and joins.
   */
  async #listen(stale: string): Promise<NodeJS.ErrnoException | undefined> {
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      if (this.#links.size < MAXIMUM_NEIGHBOURS) this.#link(socket)
      else socket.destroy()
    })
    const name = join(dirname(this.#path), `.${randomBytes(4).toString('hex')}`)
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      server.once('error', resolve).listen(name, () => resolve(undefined))
    })
    if (error !== undefined) return error
    server.removeAllListeners('error').on('error', () => {})
    const own = await identity(name)
    try {
      if (stale === '') {
        await link(name, this.#path)
        await unlink(name)
      } else if ((await identity(this.#path))?.text === stale) await rename(name, this.#path)
      else throw Object.assign(new Error('another process was quicker'), { code: 'EEXIST' })
    } catch (cause) {
      // With its name, which is the temporary one still.
      server.close()
      const failure = cause as NodeJS.ErrnoException
      return failure.code === 'EEXIST' ? Object.assign(failure, { code: 'EADDRINUSE' }) : failure
    }
    this.#server = server
    this.#own = own?.text
    this.#check = setInterval(() => void this.#isFound(), CHECK)
    this.#check.unref()
    return undefined
  }

  /** Whether the others still find this hub; if not, it joins them. */
  async #isFound(): Promise<void> {
    const found = await identity(this.#path)
    if (found?.text === this.#own || this.#server === undefined) return
    this.#warn(`another process has taken ${this.#path}`)
    await this.#leave()
    if (!this.#ended) this.#retry()
  }

  /** Be the hub no more. */
  #leave(): Promise<void> {
    clearInterval(this.#check)
    const server = this.#server
    this.#server = undefined
    this.#own = undefined
    for (const link of [...this.#links]) {
      this.#links.delete(link)
      link[Symbol.dispose]()
    }
    return new Promise((resolve) => (server === undefined ? resolve() : server.close(() => resolve())))
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
    const port = this.#network.connect(adapter, this.#connection)
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
    // First the name, so that nobody finds a socket without a listener.
    if (this.#own !== undefined && (await identity(this.#path))?.text === this.#own) {
      await unlink(this.#path).catch(() => {})
    }
    await this.#leave()
  }
}

/** Which file a path names, as a text; `undefined` for none. */
async function identity(path: string): Promise<{ readonly text: string; readonly socket: boolean } | undefined> {
  const file = await lstat(path, { bigint: true }).catch(() => undefined)
  return file && { text: `${file.dev} ${file.ino}`, socket: file.isSocket() }
}
