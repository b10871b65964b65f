// How long the end of a run waits for those who read what it said.

import type { Writable } from 'node:stream'

/** Milliseconds that unread output may take when the run is ended from outside. */
const FLUSH_LIMIT = 2000

/**
 * Waits for `read`: as long as it takes, and two seconds from the moment at which `ending` aborts.
 * @returns whether `read` was settled
 */
export async function patiently(read: Promise<unknown>, ending: AbortSignal | undefined): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  let timer: NodeJS.Timeout | undefined
  const hurry = (): void => {
    timer = setTimeout(resolve, FLUSH_LIMIT, false)
  }
  if (ending?.aborted === true) hurry()
  else ending?.addEventListener('abort', hurry, { once: true })
  const settled = (): void => resolve(true)
  read.then(settled, settled)
  const inTime = await promise
  clearTimeout(timer)
  ending?.removeEventListener('abort', hurry)
  return inTime
}

/** Resolves when the system has taken all that was written so far, or the reader has gone. (`drain` is not emitted for less than the high-water mark.) */
export function flushed(stream: Writable): Promise<void> {
  if (stream.destroyed || stream.writableLength === 0) return Promise.resolve()
  return new Promise((resolve) => stream.write('', () => resolve()))
}
