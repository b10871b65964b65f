// The terminal in raw mode, and back again whatever happens.

import { spawnSync } from 'node:child_process'
import type { ReadStream } from 'node:tty'

/** Plain colours and a visible cursor: a guest that is cut off may have left both otherwise. */
const TIDY = '\x1b[0m\x1b[?25h'

/** Puts a terminal into raw mode until disposed of, also when the process ends by `process.exit` or an uncaught exception. */
export class RawTerminal implements Disposable {
  readonly #input: ReadStream
  readonly #tidy: () => void
  #raw = true

  constructor(input: ReadStream, tidy: (text: string) => void) {
    this.#input = input
    this.#tidy = () => tidy(TIDY)
    input.setRawMode(true)
    // Node leaves the translation of line feeds on, which a guest that positions its cursor with them does not expect. Leaving raw mode
    // brings all settings back.
    spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] })
    process.once('exit', this.#restore)
  }

  [Symbol.dispose](): void {
    this.#restore()
    process.off('exit', this.#restore)
  }

  readonly #restore = (): void => {
    if (!this.#raw) return
    this.#raw = false
    try {
      this.#input.setRawMode(false)
      this.#tidy()
    } catch {
      // The terminal is gone.
    }
  }
}
