// What plug-ins throw and return: anything, also things that throw themselves when somebody looks at them.

import { PartitaError } from '@partita/interface'
import { RootPartitionError } from './error.ts'

/** Errors that a fault of one plug-in became for others that called it, with the id of the one. */
const FAULTS = new WeakMap<object, string>()
/** An error may be the cause of another that a plug-in makes of it, and so on. */
const LONGEST_CHAIN = 8
/** Characters of a message: logs and terminals are shared with others. */
const LONGEST_MESSAGE = 1000

/** What `look` finds, or nothing where it throws. */
export function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}

/** Note that an error for others is the fault of the plug-in `id`. */
export function markFault<T extends object>(error: T, id: string): T {
  FAULTS.set(error, id)
  return error
}

/** Whose fault `error` is, where it came out of a service of a plug-in that was taken away. */
export function faultOf(error: unknown): string | undefined {
  let cause = error
  for (let i = 0; i < LONGEST_CHAIN && typeof cause === 'object' && cause !== null; i++) {
    const holder = cause
    const id = FAULTS.get(holder)
    if (id !== undefined) return id
    cause = attempt(() => (holder as { cause?: unknown }).cause)
  }
  return undefined
}

/** Whether an error is an answer: it has a code. */
export function isAnswer(error: unknown): error is PartitaError {
  return attempt(() => error instanceof PartitaError) === true
}

/** An error for what a plug-in threw: `message` names it. It has the code of what was thrown, if that has one. */
export function namedError(error: unknown, message: string, id: string): PartitaError {
  if (isAnswer(error)) {
    const named = attempt(() => {
      const { code, hint, data } = error
      return new PartitaError(code, message, {
        ...(hint !== undefined && { hint }),
        data: { ...data, id },
        cause: error,
      })
    })
    if (named !== undefined) return named
  }
  return new RootPartitionError('ERR_PLUGIN_FAILED', message, { cause: error, data: { id } })
}

/**
 * An error whose message begins with a plug-in's id: the error itself, of its class, with its code and its stack, where its message can be set; else one for it with its code, and it for
 * its cause. One of a collision has all names (`data.plugins`) already.
 */
export function nameIn(error: PartitaError, id: string): PartitaError {
  const prefix = `${id}: `
  // Whether it was set shows only when one looks.
  const isNamed = attempt(() => {
    const { plugins } = error.data as { readonly plugins?: unknown }
    if (Array.isArray(plugins) && plugins.includes(id)) return true
    if (!error.message.startsWith(prefix)) error.message = prefix + error.message
    return error.message.startsWith(prefix)
  })
  return isNamed === true ? error : namedError(error, prefix + messageOf(error), id)
}

/** What a thrown value says, in one line of bounded length. */
export function messageOf(error: unknown): string {
  const text = attempt(() => textOf(error)) ?? 'something that cannot be shown'
  const line = text
    .slice(0, LONGEST_MESSAGE + 1)
    .replace(/\s*[\r\n]\s*/g, ' ')
    // Nothing that a terminal obeys.
    .replace(/\p{Cc}/gu, ' ')
  return line.length > LONGEST_MESSAGE ? `${line.slice(0, LONGEST_MESSAGE)}…` : line
}

function textOf(error: unknown): string {
  if (error instanceof Error) return String(error.message || error.name)
  if (typeof error === 'object' && error !== null) return JSON.stringify(error) ?? String(error)
  return error === '' ? 'an empty string' : String(error)
}

/** Where an error was made, where it tells. */
export function stackOf(error: unknown): string | undefined {
  const stack = attempt(() => (error instanceof Error ? error.stack : undefined))
  return typeof stack === 'string' ? stack : undefined
}

/** Whether something is to be awaited. @throws what its getter does */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}
