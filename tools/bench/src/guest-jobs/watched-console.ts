// The console of a machine whose guest prints marks.

import type { CharacterBackend } from '@partita/interface'
import { BEGIN, END } from './marks.ts'

/** Passes everything on, and looks for the marks in what the guest prints. */
export class WatchedConsole implements CharacterBackend {
  readonly #inner: CharacterBackend
  readonly #onMark: (mark: string) => void
  readonly #decoder = new TextDecoder('latin1')
  #line = ''

  constructor(inner: CharacterBackend, onMark: (mark: string) => void) {
    this.#inner = inner
    this.#onMark = onMark
  }

  get onReady(): (() => void) | undefined {
    return this.#inner.onReady
  }
  set onReady(callback: (() => void) | undefined) {
    this.#inner.onReady = callback
  }

  write(data: Uint8Array): boolean {
    const lines = (this.#line + this.#decoder.decode(data)).split(/[\r\n]+/)
    this.#line = lines.pop() as string
    for (const line of lines) {
      // The shell's prompt may stand before it.
      const mark = [BEGIN, END].find((text) => line.endsWith(text))
      if (mark !== undefined) this.#onMark(mark)
    }
    return this.#inner.write(data)
  }

  read(target: Uint8Array): number {
    return this.#inner.read(target)
  }
}
