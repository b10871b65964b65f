// The console in a file: output alone.

import { once } from 'node:events'
import { constants, createWriteStream, openSync, statSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { CliError, systemMessage } from '../cli-error.ts'
import type { ConsoleBackend } from './backend.ts'
import { patiently } from './patience.ts'

/** Milliseconds between two looks for the reader of a FIFO. */
const READER_INTERVAL = 20

/** Writes what the guest says to a file, from its beginning, or into a FIFO. */
export class FileBackend implements ConsoleBackend {
  onReady: (() => void) | undefined
  onClosed: (() => void) | undefined
  lost = false
  readonly #stream: Writable
  readonly #ending: AbortSignal | undefined
  #failed = false

  private constructor(stream: Writable, ending: AbortSignal | undefined) {
    this.#stream = stream
    this.#ending = ending
    stream.on('drain', () => this.onReady?.())
    stream.on('error', () => {
      this.#failed = true
      this.onReady?.()
      this.onClosed?.()
    })
  }

  /**
   * Waits for the reader of a FIFO.
   * @param ending Aborts when the run is ended from outside
   * @throws CliError `ERR_SERIAL`; the signal's reason
   */
  static async open(path: string, ending?: AbortSignal): Promise<FileBackend> {
    try {
      const isFifo = statSync(path, { throwIfNoEntry: false })?.isFIFO() === true
      return new FileBackend(isFifo ? await openFifo(path, ending) : await openFile(path), ending)
    } catch (cause) {
      ending?.throwIfAborted()
      throw new CliError('ERR_SERIAL', `The file ${path} cannot be written: ${systemMessage(cause)}`, {
        hint: 'Choose another file for --serial file:F.',
        cause,
      })
    }
  }

  write(data: Uint8Array): boolean {
    return this.#failed || this.#stream.write(data.slice())
  }

  read(): number {
    return 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#failed) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#stream.once('error', () => resolve())
    this.#stream.end(resolve)
    if (await patiently(promise, this.#ending)) return
    this.lost = true
    this.#stream.destroy()
  }
}

async function openFile(path: string): Promise<Writable> {
  const stream = createWriteStream(path)
  await once(stream, 'open')
  return stream
}

/** A thread that waits in open() or write() for the other end of a FIFO would keep the process from ending, even by exit(). */
async function openFifo(path: string, ending: AbortSignal | undefined): Promise<Writable> {
  for (;;) {
    try {
      return new Socket({ fd: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK), readable: false })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error
    }
    await delay(READER_INTERVAL, undefined, { ...(ending && { signal: ending }) })
  }
}
