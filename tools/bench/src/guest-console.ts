// The host's end of a guest's console, for benchmarks: waits for text.

import type { CharacterBackend } from '@partita/interface'

/** What the default guest's shell asks with. */
export const PROMPT = 'partita:/root# '

export class GuestConsole implements CharacterBackend {
  onReady: (() => void) | undefined
  text = ''
  readonly #decoder = new TextDecoder()
  #wanted: { readonly text: string; readonly resolve: () => void } | undefined

  write(data: Uint8Array): boolean {
    this.text += this.#decoder.decode(data, { stream: true })
    if (this.#wanted && this.text.includes(this.#wanted.text)) this.#wanted.resolve()
    return true
  }
  read(): number {
    return 0
  }

  /** Resolves when `text` has been printed. */
  waitFor(text: string): Promise<void> {
    if (this.text.includes(text)) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wanted = { text, resolve }
    return promise
  }
}
