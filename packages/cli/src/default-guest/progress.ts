// Tells a waiting user how the making of the default guest goes: a bar on a terminal, plain lines elsewhere.

/** What is being done. */
type GuestPhase = 'index' | 'download' | 'unpack' | 'build'

interface GuestProgress {
  readonly phase: GuestPhase
  /** How much of this phase is done, 0 to 1. */
  readonly fraction: number
  /** What a reader should see, one line without a period. */
  readonly text: string
}

/** Called often; must not throw. */
export type GuestProgressCallback = (progress: GuestProgress) => void

/** What {@link createProgressReporter} writes to, e.g. `process.stderr`. */
interface ProgressStream {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

interface ProgressReporter {
  readonly report: GuestProgressCallback
  /** Takes the bar off the terminal. Harmless when nothing was reported, and when called twice. */
  clear(): void
}

const BAR_WIDTH = 24
const ERASE_LINE = '\r\x1b[K'

/** Shows progress on `stream`: one line that is redrawn on a terminal, a line per phase otherwise. */
export function createProgressReporter(stream: ProgressStream): ProgressReporter {
  let shown = ''
  if (stream.isTTY !== true) {
    return {
      report({ text }): void {
        if (text === shown) return
        shown = text
        stream.write(`${text}\n`)
      },
      clear(): void {},
    }
  }
  return {
    report({ fraction, text }): void {
      const filled = Math.round(Math.min(Math.max(fraction, 0), 1) * BAR_WIDTH)
      const line = `[${'#'.repeat(filled)}${'-'.repeat(BAR_WIDTH - filled)}] ${text}`.slice(
        0,
        (stream.columns ?? 80) - 1,
      )
      if (line === shown) return
      shown = line
      stream.write(`${ERASE_LINE}${line}`)
    },
    clear(): void {
      if (shown !== '') stream.write(ERASE_LINE)
      shown = ''
    },
  }
}
