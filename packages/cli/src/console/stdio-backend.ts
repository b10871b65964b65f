// The console on standard input and output: a terminal in raw mode with an escape key, or a pipe.

import type { Readable, Writable } from 'node:stream'
import type { ConsoleBackend } from './backend.ts'
import { InputQueue } from './input-queue.ts'
import { flushed, patiently } from './patience.ts'
import { ReadyMark } from './ready-mark.ts'

/** Ctrl-]. */
export const ESCAPE_KEY = 0x1d

/** Options of {@link StdioBackend}. */
export interface StdioBackendOptions {
  readonly input: Readable
  readonly output: Writable
  /** Input is a terminal: watch for the escape key. */
  readonly interactive: boolean
  readonly onEscape: () => void
  /** Nothing is given to the guest before it has said something. */
  readonly waitForOutput?: boolean | undefined
  /** Nothing is given to the guest before it has said this, which is not shown. It begins with a character that is not in it again. */
  readonly readyMark?: string | undefined
  /** Given to the guest when a pipe's end is reached. */
  readonly endOfInput?: ((lastByte: number | undefined) => Uint8Array) | undefined
  /** Aborts when the run is ended from outside. A guest that ended by itself has all of its output read, however slow the reader is. */
  readonly ending?: AbortSignal | undefined
}

/** Guest output goes to `output` as it is, and nothing else does. */
export class StdioBackend implements ConsoleBackend {
  onReady: (() => void) | undefined
  onClosed: (() => void) | undefined
  lost = false
  readonly #options: StdioBackendOptions
  readonly #queue = new InputQueue()
  #lastByte: number | undefined
  #closed = false
  /** Input waits. */
  #holding: boolean
  #mark: ReadyMark | undefined

  constructor(options: StdioBackendOptions) {
    this.#options = options
    const { input, output } = options
    this.#mark = options.readyMark === undefined ? undefined : new ReadyMark(options.readyMark)
    this.#holding = this.#mark !== undefined || (options.waitForOutput ?? false)
    this.#queue.source = input
    output.on('drain', this.#onDrain)
    output.on('error', this.#onOutputError)
    output.on('close', this.#onOutputError)
    input.on('error', this.#onEnd)
    input.on('end', this.#onEnd)
    input.on('data', this.#onData)
  }

  write(data: Uint8Array): boolean {
    const shown = this.#mark === undefined ? data : this.#mark.remove(data)
    if (this.#holding && this.#mark?.seen !== false) {
      this.#holding = false
      this.#mark = undefined
      queueMicrotask(() => this.onReady?.())
    }
    if (this.#closed) return true
    // The device uses its buffer again.
    return this.#options.output.write(shown.slice())
  }

  read(target: Uint8Array): number {
    return this.#holding ? 0 : this.#queue.read(target)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { input, output } = this.#options
    input.off('data', this.#onData)
    input.off('end', this.#onEnd)
    input.pause()
    const rest = this.#mark?.rest()
    if (rest !== undefined && !this.#closed) output.write(rest)
    if (!this.#closed) this.lost = !(await patiently(flushed(output), this.#options.ending))
    output.off('drain', this.#onDrain)
  }

  readonly #onData = (chunk: Uint8Array): void => {
    if (this.#options.interactive && chunk.includes(ESCAPE_KEY)) {
      this.#options.onEscape()
      return
    }
    this.#lastByte = chunk.at(-1) ?? this.#lastByte
    this.#queue.push(chunk)
    this.onReady?.()
  }

  readonly #onEnd = (): void => {
    // A terminal that ends has been closed.
    if (this.#options.interactive) {
      this.#onOutputError()
      return
    }
    const rest = this.#options.endOfInput?.(this.#lastByte)
    if (rest === undefined) return
    this.#queue.push(rest)
    this.onReady?.()
  }

  readonly #onDrain = (): void => {
    this.onReady?.()
  }

  readonly #onOutputError = (): void => {
    if (this.#closed) return
    this.#closed = true
    this.onReady?.()
    this.onClosed?.()
  }
}
