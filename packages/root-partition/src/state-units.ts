// State units: the started plug-ins as things that start, stop, reset, save and restore together, in order of need or its reverse.

import type { SavedState } from '@partita/interface'
import { RootPartitionError } from './error.ts'
import { pluginFailure, type StartedPlugin } from './plugin-host.ts'

/** Drives the units of one VM. */
export class StateUnits {
  readonly #units: readonly StartedPlugin[]
  #running = false

  /** `units` in order of need. */
  constructor(units: readonly StartedPlugin[]) {
    this.#units = units
  }

  /** Start all, in order of need. When one fails, those before it are stopped again. */
  async start(): Promise<void> {
    if (this.#running) return
    const started: StartedPlugin[] = []
    for (const unit of this.#units) {
      try {
        await unit.instance.start?.()
      } catch (cause) {
        for (const { instance } of started.reverse()) await Promise.resolve(instance.stop?.()).catch(() => {})
        throw pluginFailure(unit.id, 'could not be started', cause)
      }
      started.push(unit)
    }
    this.#running = true
  }

  /** Stop all, in reverse order. All are stopped even when one fails; the first failure is thrown. */
  async stop(): Promise<void> {
    if (!this.#running) return
    this.#running = false
    let failure: unknown
    for (const { id, instance } of this.#units.toReversed()) {
      try {
        await instance.stop?.()
      } catch (cause) {
        failure ??= pluginFailure(id, 'could not be stopped', cause)
      }
    }
    if (failure !== undefined) throw failure
  }

  /** Bring all to the power-on state, in order of need. */
  reset(): void {
    for (const { id, instance } of this.#units) {
      try {
        instance.reset?.()
      } catch (cause) {
        throw pluginFailure(id, 'could not be reset', cause)
      }
    }
  }

  /** The state of each unit that has one, by id. */
  save(): Record<string, SavedState> {
    const saved: Record<string, SavedState> = {}
    for (const { id, instance } of this.#units) {
      if (instance.save !== undefined) saved[id] = instance.save()
    }
    return saved
  }

  /**
   * Give each unit its state, in order of need. Ids are checked before any unit is touched.
   * @throws RootPartitionError `ERR_STATE_INVALID` when the state is of other units; PartitaError `ERR_STATE_INVALID` of a unit
   */
  restore(saved: Readonly<Record<string, SavedState>>): void {
    const saveable = this.#units.filter(({ instance }) => instance.restore !== undefined)
    const own = new Set(saveable.map(({ id }) => id))
    const strange = Object.keys(saved).find((id) => !own.has(id)) ?? [...own].find((id) => saved[id] === undefined)
    if (strange !== undefined) {
      throw new RootPartitionError('ERR_STATE_INVALID', `The saved state and this VM differ in the device ${strange}`, {
        data: { id: strange },
      })
    }
    for (const { id, instance } of saveable) {
      try {
        instance.restore?.(saved[id] as SavedState)
      } catch (cause) {
        throw pluginFailure(id, 'could not be restored', cause)
      }
    }
  }
}
