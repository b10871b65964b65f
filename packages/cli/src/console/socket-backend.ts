// The console on a Unix domain socket: one client at a time; what the guest says while there is none is lost, as on a serial cable that leads nowhere. A client
// that has sent all that it has to say (`nc -N`) stays to hear the answers.

import { lstatSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { CliError, systemMessage } from '../cli-error.ts'
import type { ConsoleBackend } from './backend.ts'
import { InputQueue } from './input-queue.ts'
import { patiently } from './patience.ts'

/** Listens on a socket, and removes it at the end. */
export class SocketBackend implements ConsoleBackend {
  onReady: (() => void) | undefined
  onClosed: (() => void) | undefined
  lost = false
  readonly #server: Server
  readonly #ending: AbortSignal | undefined
  readonly #queue = new InputQueue()
  readonly #sockets = new Set<Socket>()
  #client: Socket | undefined
  #closing = false

  private constructor(server: Server, ending: AbortSignal | undefined) {
    this.#server = server
    this.#ending = ending
    server.on('connection', (socket) => void this.#connect(socket))
    server.unref()
  }

  /**
   * @param ending Aborts when the run is ended from outside
   * @throws CliError `ERR_SERIAL`
   */
  static async open(path: string, ending?: AbortSignal): Promise<SocketBackend> {
    await removeStale(path)
    const server = createServer({ allowHalfOpen: true })
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
    return new SocketBackend(server, ending)
  }

  write(data: Uint8Array): boolean {
    return this.#client?.write(data.slice()) ?? true
  }

  read(target: Uint8Array): number {
    return this.#queue.read(target)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#closing = true
    // Closing removes the socket from the file system.
    this.#server.close(() => resolve())
    if (this.#client !== undefined) leave(this.#client)
    if (await patiently(promise, this.#ending)) return
    this.lost = true
    for (const socket of this.#sockets) socket.destroy()
    await promise
  }

  async #connect(socket: Socket): Promise<void> {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
    if (this.#client !== undefined) await departure(this.#client)
    if (this.#closing) leave(socket)
    else if (this.#client === undefined) this.#accept(socket)
    else {
      socket.write('partita: another client is connected\r\n')
      leave(socket)
    }
  }

  #accept(socket: Socket): void {
    this.#client = socket
    this.#queue.source = socket
    socket.on('data', (chunk: Uint8Array) => {
      if (this.#closing) return
      this.#queue.push(chunk)
      this.onReady?.()
    })
    socket.on('drain', () => this.onReady?.())
    socket.on('close', () => {
      this.#client = undefined
      this.#queue.source = undefined
      this.onReady?.()
    })
  }
}

/** Goes when all has been taken that was written; what the other side still says is not heard. */
function leave(socket: Socket): void {
  socket.resume()
  socket.destroySoon()
}

/**
 * Finds out whether a client that has closed its socket is still taken for one: the system says so when something is written, though it be nothing. Resolves
 * when it has been let go, or when it is there.
 */
async function departure(client: Socket): Promise<void> {
  // One that does not read is there.
  if (client.writableLength > 0) return
  const { promise, resolve } = Promise.withResolvers<void>()
  client.once('close', resolve)
  client.write('', (error) => {
    if (!error) resolve()
  })
  await promise
  client.off('close', resolve)
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
