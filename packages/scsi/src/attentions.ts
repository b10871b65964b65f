// Unit attention conditions of a logical unit, a queue for each I_T nexus (SAM-5, 5.14).

import type { SavedValue } from '@partita/interface'
import { SENSE, type Sense } from './sense.ts'

/** As many conditions as one nexus can have waiting: the kinds are few, and each waits once. */
const LIMIT = 16
/** As many nexuses as a unit keeps apart. */
const NEXUS_LIMIT = 64

/** The queues of one logical unit. */
export class UnitAttentions {
  readonly #queues: Map<number, Sense[]> = new Map()
  readonly #tellsPowerOn: boolean

  /** @param tellsPowerOn the first thing that who uses the unit is told is that it was switched on (SAM-5, 6.2) */
  constructor(tellsPowerOn = false) {
    this.#tellsPowerOn = tellsPowerOn
  }

  /** Remember that `initiator` uses the unit: from now on it is told what happens to it. */
  introduce(initiator: number): void {
    if (!this.#queues.has(initiator) && this.#queues.size < NEXUS_LIMIT)
      this.#queues.set(initiator, this.#tellsPowerOn ? [SENSE.POWER_ON_OCCURRED] : [])
  }

  /** Tell `initiator`, once. */
  establish(initiator: number, sense: Sense): void {
    this.introduce(initiator)
    const queue = this.#queues.get(initiator)
    if (queue === undefined || queue.length >= LIMIT || queue.includes(sense)) return
    queue.push(sense)
  }

  /** Tell everyone who uses the unit, `except` whoever caused it. */
  establishAll(sense: Sense, except?: number): void {
    for (const initiator of this.#queues.keys()) if (initiator !== except) this.establish(initiator, sense)
  }

  /** The next condition for `initiator`, which is then told. */
  take(initiator: number): Sense | undefined {
    return this.#queues.get(initiator)?.shift()
  }

  /** Drop one kind of condition for `initiator`: it has found out by itself. */
  clear(initiator: number, sense: Sense): void {
    const queue = this.#queues.get(initiator)
    const at = queue?.indexOf(sense) ?? -1
    if (at >= 0) queue?.splice(at, 1)
  }

  /** Forget everything, as at power-on. */
  reset(): void {
    this.#queues.clear()
  }

  save(): SavedValue {
    return [...this.#queues].map(([initiator, queue]) => [
      initiator,
      queue.map((sense) => (sense.key << 16) | (sense.asc << 8) | sense.ascq),
    ])
  }

  /** Take over what {@link UnitAttentions.save} gave; `known` finds the sense with that number. */
  restore(queues: readonly (readonly [number, readonly number[]])[], known: (code: number) => Sense | undefined): void {
    this.#queues.clear()
    for (const [initiator, codes] of queues) {
      if (this.#queues.size < NEXUS_LIMIT) this.#queues.set(initiator, [])
      for (const code of codes) {
        const sense = known(code)
        if (sense !== undefined) this.establish(initiator, sense)
      }
    }
  }
}
