// How long something may take: in processor time of this process, which other programs on the machine do not stretch. A guest that waits for ever uses none, so there is
// an end by the clock as well, much later.

const PATIENCE = 20

/** Rejects when the time is up. */
export interface Deadline extends Disposable {
  readonly late: Promise<never>
}

/** @param message what is said when `seconds` are over */
export function deadline(seconds: number, message: () => string): Deadline {
  const { promise, reject } = Promise.withResolvers<never>()
  const begin = performance.now()
  const used = process.cpuUsage()
  const timer = setInterval(() => {
    const { user, system } = process.cpuUsage(used)
    if (user + system > seconds * 1e6 || performance.now() - begin > seconds * 1000 * PATIENCE)
      reject(new Error(message()))
  }, 500)
  promise.catch(() => {})
  return { late: promise, [Symbol.dispose]: () => clearInterval(timer) }
}
