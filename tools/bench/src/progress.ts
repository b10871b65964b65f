// Tells somebody who waits for a benchmark how far it is, on standard error: a line that is redrawn on a terminal, and a line for each step elsewhere.

const ERASE_LINE = '\r\x1b[K'

interface Progress {
  /** The next of all steps begins. */
  readonly step: (text: string) => void
  readonly clear: () => void
}

export function createProgress(steps: number): Progress {
  const { stderr } = process
  let step = 0
  const next = (text: string): string => `${++step} of ${steps}: ${text}`
  if (!stderr.isTTY) return { step: (text) => void stderr.write(`${next(text)}\n`), clear: () => {} }
  return {
    step: (text) => void stderr.write(ERASE_LINE + next(text).slice(0, stderr.columns - 1)),
    clear: () => void stderr.write(ERASE_LINE),
  }
}
