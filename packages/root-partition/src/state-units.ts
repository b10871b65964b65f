// State units: the started plug-ins as things that start, stop, reset, save and restore together, in order of need or its reverse.

import type { PluginInstance, SavedState } from '@partita/interface'
import { RootPartitionError } from './error.ts'
import type { PluginGuard } from './plugin-guard.ts'
import { pluginFailure, type StartedPlugin } from './plugin-host.ts'
import { isThenable } from './thrown.ts'

/** Drives the units of one VM. */
export class StateUnits {
  readonly #started: readonly StartedPlugin[]
  #running = false

  /** `units` in order of need. One that fails is none any more. */
  constructor(units: readonly StartedPlugin[]) {
    this.#started = units
  }

  get #units(): readonly StartedPlugin[] {
    return this.#started.filter(({ guard }) => !guard.failed)
  }

  /** Start all, in order of need. One that fails, or is never done, is taken away. */
  async start(): Promise<void> {
    if (this.#running) return
    this.#running = true
    for (const { guard, instance } of this.#units) {
      const where = 'when it was started'
      const starting = guard.callAsync(where, () => instance.start?.(), true)
      if (starting !== undefined) await guard.inTime(where, starting)
    }
  }

  /** Stop all, in reverse order. One that fails, or is never done, is taken away. */
  async stop(): Promise<void> {
    if (!this.#running) return
    this.#running = false
    for (const { guard, instance } of this.#units.toReversed()) {
      const where = 'when it was stopped'
      const stopping = guard.callAsync(where, () => instance.stop?.())
      if (stopping !== undefined) await guard.inTime(where, stopping)
    }
  }

  /** Bring all to the power-on state, in order of need. One that fails is taken away, also later, where it returns a promise, which nobody waits for. */
  reset(): void {
    for (const { guard, instance } of this.#units) void guard.callAsync('when it was reset', () => instance.reset?.())
  }

  /**
   * The state of each unit that has one, by id.
   * @throws PartitaError of a unit; RootPartitionError `ERR_PLUGIN_FAILED`
   */
  save(): Record<string, SavedState> {
    const saved: Record<string, SavedState> = {}
    for (const { id, instance, guard } of this.#units) {
      try {
        const state = guard.scope.call(stateOf, undefined, instance, guard, undefined)
        if (state !== undefined) saved[id] = state
      } catch (cause) {
        throw pluginFailure(id, 'could not be saved', cause)
      }
    }
    return saved
  }

  /**
   * Give each unit its state, in order of need. Ids are checked before any unit is touched.
   * @throws RootPartitionError `ERR_STATE_INVALID` when the state is of other units; PartitaError `ERR_STATE_INVALID` of a unit
   */
  restore(saved: Readonly<Record<string, SavedState>>): void {
    const saveable = this.#units.filter(({ instance, guard }) =>
      guard.call('when it was to be restored', false, () => instance.restore !== undefined),
    )
    const own = new Set(saveable.map(({ id }) => id))
    const strange = Object.keys(saved).find((id) => !own.has(id)) ?? [...own].find((id) => saved[id] === undefined)
    if (strange !== undefined) {
      throw new RootPartitionError('ERR_STATE_INVALID', `The saved state and this VM differ in the device ${strange}`, {
        data: { id: strange },
      })
    }
    for (const { id, instance, guard } of saveable) {
      const restore = (): unknown => instance.restore?.(saved[id] as SavedState)
      try {
        void guard.watch('when it was restored', guard.scope.call(restore, undefined, undefined, undefined, undefined))
      } catch (cause) {
        throw pluginFailure(id, 'could not be restored', cause)
      }
    }
  }
}

/** A copy of the state of a unit, or nothing where it has none. @throws what `save` throws; what is no state, or no plain data */
function stateOf(instance: PluginInstance, guard: PluginGuard): SavedState | undefined {
  if (instance.save === undefined) return undefined
  const state: unknown = instance.save()
  // A promise is none, whatever it comes to.
  if (isThenable(state)) void guard.watch('when it was saved', state)
  if (typeof (state as Partial<SavedState> | undefined | null)?.version !== 'number')
    throw new TypeError('what it returned is no state with a version')
  // What cannot be copied cannot be kept; and what the unit does with it later is its own affair.
  return structuredClone(state as SavedState)
}
