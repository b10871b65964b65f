// A console on which tests type commands for the default guest's shell, and read what it says.

import type { CharacterBackend } from '@partita/interface'

/** The output of a command stands between these, each with its number. */
const BEGIN = 'BEGIN-OF-OUTPUT'
const END = 'END-OF-OUTPUT'

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

  /**
   * Let the shell run a command: what it printed, and its exit status.
   *
   * What counts as its output stands between two marks: prompts, echoes, and what was under way before it, do not.
   */
  async run(command: string): Promise<{ output: string; status: number }> {
    const number = ++this.#commands
    const begin = `${BEGIN} ${number} .`
    const end = `${END} ${number} `
    const from = this.text.length
    // In quotes, so that an echo of the line is no mark; on one line, so that no prompt is between them.
    const separator = command.trimEnd().endsWith('&') ? ' ' : '; '
    this.type(`echo "${BEGIN}" "${number}" .; ${command.trim()}${separator}echo "${END}" "${number}" $? .`)
    await this.saw(end, from)
    const at = this.text.indexOf(end, from)
    await this.saw(' .', at + end.length)
    return {
      output: this.text
        .slice(this.text.indexOf(begin, from) + begin.length, at)
        .replaceAll('\r', '')
        .replace('\n', '')
        // Of a command of several lines.
        .replaceAll(/^(partita:\S*# )+/gm, ''),
      status: Number(this.text.slice(at + end.length).split(' ')[0]),
    }
  }
}
