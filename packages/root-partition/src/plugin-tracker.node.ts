// Tells by asynchronous context which plug-in an error of the event loop comes from.

import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import type { PluginScope, PluginTracker } from './plugin-guard.ts'

/**
 * Follows what plug-ins leave to Node's event loop.
 *
 * @example
 * ```ts
 * import { NodePluginTracker } from '@partita/root-partition/node'
 *
 * const tracker = new NodePluginTracker()
 * process.on('uncaughtException', (error) => {
 *   if (!tracker.attribute(error)) throw error
 * })
 * // … and give the tracker to VirtualMachine.create
 * ```
 */
export class NodePluginTracker implements PluginTracker {
  readonly #current = new AsyncLocalStorage<(error: unknown) => void>()

  scope(fail: (error: unknown) => void): PluginScope {
    const resource = this.#current.run(fail, () => new AsyncResource('PartitaPlugin'))
    return { call: (fn, self, a, b, c) => resource.runInAsyncScope(fn, self, a, b, c) }
  }

  /**
   * In a listener of `uncaughtException` or `unhandledRejection`: take away the plug-in that the error comes from.
   * @returns false when it comes from no plug-in
   */
  attribute(error: unknown): boolean {
    const fail = this.#current.getStore()
    fail?.(error)
    return fail !== undefined
  }
}
