// Signals that end `partita`: the first one ends it in order; a later one, or a hang, at once.

import { EXIT_STATUS } from './exit-status.ts'

const SIGNALS = {
  SIGINT: EXIT_STATUS.INTERRUPTED,
  SIGTERM: EXIT_STATUS.TERMINATED,
  SIGHUP: EXIT_STATUS.HANGUP,
} as const

/** Milliseconds that an orderly end may take. */
const PATIENCE = 5000

/** A signal that comes this soon (milliseconds) is the same one again: timeout(1) signals its child, and then its group. */
const REPETITION = 500

/** Call `end` with the exit status at the first signal, and exit at a later one or when the end takes too long. */
export function watchSignals(end: (status: number, signal: string) => void): Disposable {
  let first: number | undefined
  let timer: NodeJS.Timeout | undefined
  const handlers = Object.entries(SIGNALS).map(([signal, status]) => {
    const handler = (): void => {
      if (first !== undefined) {
        if (performance.now() - first > REPETITION) process.exit(status)
        return
      }
      first = performance.now()
      timer = setTimeout(() => process.exit(status), PATIENCE)
      timer.unref()
      end(status, signal)
    }
    process.on(signal, handler)
    return { signal, handler }
  })
  return {
    [Symbol.dispose](): void {
      clearTimeout(timer)
      for (const { signal, handler } of handlers) process.off(signal, handler)
    },
  }
}
