// How long the machine waits for what a plug-in does.

/** Milliseconds that a plug-in may take for each step of its life: what is in flight when it stops may wait for a slow disk. */
const PATIENCE = 60_000
/** Milliseconds after which it is said for whom the machine waits. */
const NOTICE = 5000

/** Calls something after so many milliseconds of the host; returns what cancels that. */
export type HostTimer = (milliseconds: number, callback: () => void) => () => void

/** The timer of the JavaScript host. */
export const hostTimer: HostTimer = (milliseconds, callback) => {
  const timer = setTimeout(callback, milliseconds)
  return () => clearTimeout(timer)
}

/** In place of a result: nobody waits any more. */
export const LATE: unique symbol = Symbol('late')

/**
 * What comes of `work`, or {@link LATE}; what comes of it afterwards is lost, also an error.
 * @param onSlow called once when it has taken long
 * @throws what `work` is rejected with in time
 */
export async function inTime<T>(
  work: PromiseLike<T>,
  timer: HostTimer,
  onSlow: () => void = () => {},
): Promise<T | typeof LATE> {
  const late = Promise.withResolvers<typeof LATE>()
  const cancelNotice = timer(NOTICE, onSlow)
  const cancel = timer(PATIENCE, () => late.resolve(LATE))
  try {
    return await Promise.race([work, late.promise])
  } finally {
    cancelNotice()
    cancel()
  }
}

/** Whether `work` settles as soon as nothing is in its way any more. */
export async function settlesNow(work: PromiseLike<unknown>, timer: HostTimer): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const settled = (): void => resolve(true)
  work.then(settled, settled)
  const cancel = timer(NOTICE, () => resolve(false))
  try {
    return await promise
  } finally {
    cancel()
  }
}

/** The error for what is {@link LATE}. */
export function lateError(): Error {
  return new Error(`it was not done after ${PATIENCE / 1000} seconds`)
}

/** The line of a log about what takes long. */
export function slowNotice(id: string, where: string): string {
  return `Waiting for the plug-in ${id} (${where}): not done after ${NOTICE / 1000} seconds, left out after ${PATIENCE / 1000}`
}
