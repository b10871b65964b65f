// A console on which tests type commands for the default guest's shell, and read what it says.

import type { CharacterBackend } from '@partita/interface'

/** Ends of output that tests wait for are these, with a number. */
const MARK = 'END-OF-COMMAND'

export class GuestConsole implements CharacterBackend {
  text = ''
  onReady: (() => void) | undefined
  readonly #input: number[] = []
  #waiting: { text: string; from: number; resolve: () => void }[] = []
  #commands = 0

  write(data: Uint8Array): boolean {
    this.text += new TextDecoder().decode(data)
    const seen = this.#waiting.filter(({ text, from }) => this.text.includes(text, from))
    this.#waiting = this.#waiting.filter((waiter) => !seen.includes(waiter))
    for (const { resolve } of seen) resolve()
    return true
  }

  read(target: Uint8Array): number {
    const bytes = this.#input.splice(0, target.length)
    target.set(bytes)
    return bytes.length
  }

  /** Type a line. */
  type(line: string): void {
    this.#input.push(...new TextEncoder().encode(`${line}\n`))
    this.onReady?.()
  }

  /** Resolves when `text` has been printed, from `from` on. */
  saw(text: string, from = 0): Promise<void> {
    if (this.text.includes(text, from)) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ text, from, resolve }))
  }

  /** Let the shell run a command: what it printed, and its exit status. */
  async run(command: string): Promise<{ output: string; status: number }> {
    const mark = `${MARK} ${++this.#commands} `
    const from = this.text.length
    this.type(`${command}\necho "${MARK}" "${this.#commands}" $? .`)
    await this.saw(mark, from)
    const at = this.text.indexOf(mark, from)
    // The prompt, too, which would be the beginning of the next command's output.
    await this.saw('# ', at)
    return {
      output: this.text
        .slice(from, at)
        .replaceAll('\r', '')
        .replaceAll(/^(partita:\S*# )+/gm, ''),
      status: Number(this.text.slice(at + mark.length).split(' ')[0]),
    }
  }
}
