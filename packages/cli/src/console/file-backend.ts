// The console in a file: output alone.

import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import { CliError, systemMessage } from '../cli-error.ts'
import type { ConsoleBackend } from './backend.ts'

/** Writes what the guest says to a file, from its beginning. */
export class FileBackend implements ConsoleBackend {
  onReady: (() => void) | undefined
  onClosed: (() => void) | undefined
  readonly #stream: WriteStream
  #failed = false

  private constructor(stream: WriteStream) {
    this.#stream = stream
    stream.on('drain', () => this.onReady?.())
    stream.on('error', () => {
      this.#failed = true
      this.onReady?.()
      this.onClosed?.()
    })
  }

  /** @throws CliError `ERR_SERIAL` */
  static async open(path: string): Promise<FileBackend> {
    const stream = createWriteStream(path)
    try {
      await once(stream, 'open')
    } catch (cause) {
      throw new CliError('ERR_SERIAL', `The file ${path} cannot be written: ${systemMessage(cause)}`, {
        hint: 'Choose another file for --serial file:F.',
        cause,
      })
    }
    return new FileBackend(stream)
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
    await promise
  }
}
