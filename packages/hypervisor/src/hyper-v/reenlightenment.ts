// Notification of a migration, and emulation of the TSC after one (TLFS, "Live Migration Notification", "TSC Emulation"). A restored state is a migration. Time-stamp
// counters of a partition count at the same frequency wherever it runs, so that none is ever emulated.

import type { SavedValue } from '@partita/interface'
import { HV_MSR } from './msr.ts'
import { stateObject, stateU64 } from './saved-values.ts'
import { FIRST_VECTOR } from './synic-pages.ts'

/** HV_REENLIGHTENMENT_CONTROL. */
const CONTROL = { VECTOR: 0xffn, ENABLED: 0x1_0000n, TARGET_SHIFT: 32n, RESERVED: 0xfffe_ff00n } as const
/** HV_TSC_EMULATION_CONTROL. */
const EMULATION_ENABLED = 1n

export class Reenlightenment {
  #control = 0n
  #emulation = 0n

  read(index: number): bigint {
    if (index === HV_MSR.REENLIGHTENMENT_CONTROL) return this.#control
    // None is in progress.
    return index === HV_MSR.TSC_EMULATION_CONTROL ? this.#emulation : 0n
  }

  /** False for #GP. */
  write(index: number, value: bigint): boolean {
    switch (index) {
      case HV_MSR.REENLIGHTENMENT_CONTROL: {
        const vector = Number(value & CONTROL.VECTOR)
        if ((value & CONTROL.RESERVED) !== 0n || ((value & CONTROL.ENABLED) !== 0n && vector < FIRST_VECTOR))
          return false
        this.#control = value
        return true
      }
      case HV_MSR.TSC_EMULATION_CONTROL:
        if ((value & ~EMULATION_ENABLED) !== 0n) return false
        this.#emulation = value
        return true
      default:
        // A guest ends the emulation by a zero; it is at its end.
        return true
    }
  }

  reset(): void {
    this.#control = this.#emulation = 0n
  }

  save(): SavedValue {
    return { control: this.#control, emulation: this.#emulation }
  }

  /** `raise` interrupts a processor. @throws HypervisorError `ERR_STATE_INVALID` */
  restore(saved: SavedValue | undefined, raise: (vpIndex: number, vector: number) => void): void {
    const state = stateObject(saved, 'reenlightenment')
    const control = stateU64(state['control'], 'reenlightenment.control')
    this.#emulation = stateU64(state['emulation'], 'reenlightenment.emulation')
    this.#control = control
    if ((control & CONTROL.ENABLED) !== 0n)
      raise(Number(control >> CONTROL.TARGET_SHIFT), Number(control & CONTROL.VECTOR))
  }
}
