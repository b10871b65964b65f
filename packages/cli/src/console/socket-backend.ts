// The console on a Unix domain socket: one client at a time; what the guest says while there is none is lost, as on a serial cable that leads nowhere.

import { lstatSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { CliError, systemMessage } from '../cli-error.ts'
import type { ConsoleBackend } from './backend.ts'
import { InputQueue } from './input-queue.ts'

/** Listens on a socket, and removes it at the end. */
export class SocketBackend implements ConsoleBackend {
  onReady: (() => void) | undefined
  onClosed: (() => void) | undefined
  readonly #server: Server
  readonly #queue = new InputQueue()
  #client: Socket | undefined

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket) => this.#accept(socket))
    server.unref()
  }

  /** @throws CliError `ERR_SERIAL` */
  static async open(path: string): Promise<SocketBackend> {
    await removeStale(path)
    const server = createServer()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.once('error', reject)
    server.listen(path, resolve)
    try {
      await promise
    } catch (cause) {
      throw serialError(path, systemMessage(cause), cause)
    }
    server.off('error', reject)
    server.on('error', () => {})
    return new SocketBackend(server)
  }

  write(data: Uint8Array): boolean {
    return this.#client?.write(data.slice()) ?? true
  }

  read(target: Uint8Array): number {
    return this.#queue.read(target)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#client?.destroySoon()
    // Closing removes the socket from the file system.
    this.#server.close(() => resolve())
    await promise
  }

  #accept(socket: Socket): void {
    if (this.#client !== undefined) {
      socket.end('partita: another client is connected\r\n')
      socket.on('error', () => {})
      return
    }
    this.#client = socket
    this.#queue.source = socket
    socket.on('data', (chunk: Uint8Array) => {
      this.#queue.push(chunk)
      this.onReady?.()
    })
    socket.on('drain', () => this.onReady?.())
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#client = undefined
      this.#queue.source = undefined
      this.onReady?.()
    })
  }
}

/** A socket that a killed process left behind is in the way; one that is in use, or anything else, stays. */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket()) throw serialError(path, 'there is a file that is no socket')
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const probe = connect(path, () => resolve(true))
  probe.on('error', () => resolve(false))
  const used = await promise
  probe.destroy()
  if (used) throw serialError(path, 'another process is using it')
  unlinkSync(path)
}

function serialError(path: string, why: string, cause?: unknown): CliError {
  return new CliError('ERR_SERIAL', `The socket ${path} cannot be made: ${why}`, {
    hint: 'Choose another path for --serial unix:F.',
    cause,
  })
}
