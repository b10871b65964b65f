// Watches the guest's console for a Linux kernel's panic message, and remembers the last lines. A stock cloud kernel has no driver that would tell the
// host of a panic in another way. What it keeps is bounded, whatever the guest writes.

/** Lines that are kept. */
const LINES = 30
/** Bytes of a line that are kept. */
const LINE_LENGTH = 240

const PANIC = /(?:^|\] ?)Kernel panic - not syncing/
const NEWLINE = 0x0a
/** CSI … final byte. */
const ESCAPE_SEQUENCE = new RegExp(`${String.fromCharCode(0x1b)}\\[[0-?]*[ -/]*[@-~]`, 'g')

/** Follows a console's output. */
export class PanicWatcher {
  readonly #lines: string[] = []
  readonly #line = new Uint8Array(LINE_LENGTH)
  readonly #decoder = new TextDecoder()
  #length = 0
  #panicked = false
  #panicLine = ''
  /** Called at the end of a line with a panic message. */
  onPanic: (() => void) | undefined

  /** Whether the last thing of note that happened on the console is a panic. */
  get panicked(): boolean {
    return this.#panicked
  }

  /** Bytes from the guest. */
  output(data: Uint8Array): void {
    let start = 0
    while (start < data.length) {
      const newline = data.indexOf(NEWLINE, start)
      const end = newline < 0 ? data.length : newline
      const room = LINE_LENGTH - this.#length
      const taken = Math.min(room, end - start)
      if (taken > 0) {
        this.#line.set(data.subarray(start, start + taken), this.#length)
        this.#length += taken
      }
      if (newline < 0) return
      this.#endLine()
      start = newline + 1
    }
  }

  /** The guest has read input: whatever was on its console, it lives. */
  input(): void {
    this.#panicked = false
  }

  /** The last lines, oldest first; before them the line with the panic's reason, if a long trace came after it. */
  lastLines(): string[] {
    const rest = this.#text()
    const reason = this.#panicked && !this.#lines.includes(this.#panicLine) ? [this.#panicLine] : []
    return [...reason, ...this.#lines, ...(rest === '' ? [] : [rest])]
  }

  #endLine(): void {
    const text = this.#text()
    this.#length = 0
    if (text === '') return
    this.#lines.push(text)
    if (this.#lines.length > LINES) this.#lines.shift()
    if (!PANIC.test(text)) return
    this.#panicked = true
    this.#panicLine = text
    this.onPanic?.()
  }

  /** Without control characters, which would act on the terminal that they are shown on. */
  #text(): string {
    const text = this.#decoder.decode(this.#line.subarray(0, this.#length))
    return text
      .replace(ESCAPE_SEQUENCE, '')
      .replace(/\p{Cc}/gu, '')
      .trimEnd()
  }
}
