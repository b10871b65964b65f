// A signal that goes from one side to another: what listens to it is called as the other side's code, so that an error there is not of whoever aborts.

import type { PluginGuard } from './plugin-guard.ts'

/** A signal for the plug-in of `listener` (or the host) that is aborted when `signal` is, with its reason. */
export function linkedSignal(signal: AbortSignal, listener: PluginGuard | undefined): AbortSignal {
  const controller = new AbortController()
  const abort = (): void => {
    if (listener === undefined) controller.abort(signal.reason)
    else if (!listener.failed)
      listener.scope.call<void, unknown, undefined, undefined>(
        controller.abort,
        controller,
        signal.reason,
        undefined,
        undefined,
      )
  }
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  return controller.signal
}

/** As {@link linkedSignal}, with one signal for each. */
export function linkedSignals(listener: PluginGuard | undefined): (signal: AbortSignal) => AbortSignal {
  const linked = new WeakMap<AbortSignal, AbortSignal>()
  return (signal) => {
    const known = linked.get(signal) ?? linkedSignal(signal, listener)
    linked.set(signal, known)
    return known
  }
}
