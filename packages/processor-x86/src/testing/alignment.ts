// Two processors on the same program never stop at the same instruction by themselves: one looks at its budget where blocks end, the other where regions do. This brings
// the one that is behind to where the other one is.

import { ACTIVITY } from '../cpu.ts'
import { STATE } from '../state-layout.ts'
import type { SoftwareVirtualProcessor } from '../virtual-processor.ts'
import { sameState } from './architectural-state.ts'

/** Iterations of repeated string instructions are steps too. */
const MAXIMUM_STEPS = 300_000
/** Steps in search of the other one's state when the counts do not tell. */
const SEARCH = 600

/** Two processors and how far their counts of instructions are apart where they are at the same instruction. */
export class Alignment {
  readonly #a: SoftwareVirtualProcessor
  readonly #b: SoftwareVirtualProcessor
  #offset: number

  /** Both are in the same state. */
  constructor(a: SoftwareVirtualProcessor, b: SoftwareVirtualProcessor) {
    this.#a = a
    this.#b = b
    this.#offset = a.instructionCount - b.instructionCount
  }

  /**
   * Step the one that is behind until both are in the same state.
   * @returns false when there is no such state: they differ
   */
  align(): boolean {
    const a = this.#a
    const b = this.#b
    const ahead = a.instructionCount - this.#offset - b.instructionCount
    if (ahead < 0) this.#advance(a, -ahead)
    else this.#advance(b, ahead)
    const aligned =
      sameState(a, b) || this.#search(a, b, 4) || this.#search(b, a, SEARCH) || this.#search(a, b, 3 * SEARCH)
    this.#offset = a.instructionCount - b.instructionCount
    return aligned
  }

  #advance(vp: SoftwareVirtualProcessor, instructions: number): void {
    const { cpu } = vp
    for (
      let left = instructions, steps = 0;
      left > 0 && steps < MAXIMUM_STEPS && cpu.activity === ACTIVITY.RUNNING;
      steps++
    ) {
      const rip = cpu.get64(STATE.RIP)
      const count = vp.instructionCount
      vp.step()
      // an iteration of a repeated instruction, or a fault: neither is an instruction that was completed
      if (cpu.get64(STATE.RIP) !== rip && vp.instructionCount !== count) left--
    }
  }

  /** Step `vp` in search of the state that `other` is in. */
  #search(vp: SoftwareVirtualProcessor, other: SoftwareVirtualProcessor, steps: number): boolean {
    for (let n = 0; n < steps && vp.cpu.activity === ACTIVITY.RUNNING; n++) {
      vp.step()
      if (sameState(vp, other)) return true
    }
    return false
  }
}
