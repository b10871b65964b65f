// What the hypervisor adds to one virtual processor: its SynIC, its four synthetic timers and its assist page (TLFS, "Virtual Processors").

import type { Clock, SavedValue, VirtualProcessor } from '@partita/interface'
import type { OverlayPage } from '../overlay-page.ts'
import { pageAddress } from './msr.ts'
import { stateArray, stateBytes, stateObject, stateU64 } from './saved-values.ts'
import { Synic, type SynicOptions } from './synic.ts'
import { TIMER_COUNT } from './synic-pages.ts'
import { SyntheticTimer } from './synthetic-timer.ts'

export interface SyntheticProcessorOptions extends Omit<SynicOptions, 'localApic'> {
  readonly vp: VirtualProcessor
  readonly clock: Clock
  readonly assistPage: OverlayPage
}

export class SyntheticProcessor {
  readonly vp: VirtualProcessor
  readonly synic: Synic
  readonly timers: readonly SyntheticTimer[]
  readonly #assistPage: OverlayPage
  #assist = 0n

  constructor(options: SyntheticProcessorOptions) {
    const { vp, clock } = options
    this.vp = vp
    this.#assistPage = options.assistPage
    const synic = new Synic({ ...options, localApic: vp.localApic })
    this.synic = synic
    this.timers = Array.from(
      { length: TIMER_COUNT },
      (_, index) =>
        new SyntheticTimer({
          index,
          clock,
          raise: (vector) => options.raise(vector),
          message: (sint, expirationTime) => synic.postTimerMessage(sint, index, expirationTime),
          cancelMessage: () => synic.cancelTimerMessage(index),
        }),
    )
  }

  /** HV_X64_MSR_VP_ASSIST_PAGE. Of the page the EOI assist is in use, while the guest sees it. */
  get assist(): bigint {
    return this.#assist
  }

  writeAssist(value: bigint): boolean {
    this.#assist = value
    const page = this.#assistPage
    page.place(pageAddress(value))
    this.vp.localApic.setEoiAssist(page.gpa === undefined ? undefined : page)
    return true
  }

  reset(): void {
    this.writeAssist(0n)
    this.#assistPage.set(new Uint8Array(0))
    for (const timer of this.timers) timer.reset()
    this.synic.reset()
  }

  save(): SavedValue {
    return {
      assist: this.#assist,
      assistPage: this.#assistPage.bytes.slice(),
      synic: this.synic.save(),
      timers: this.timers.map((timer) => timer.save()),
    }
  }

  /** @throws HypervisorError `ERR_STATE_INVALID` */
  restore(saved: SavedValue | undefined): void {
    const state = stateObject(saved, 'processor')
    const timers = stateArray(state['timers'], 'processor.timers', TIMER_COUNT)
    const assist = stateU64(state['assist'], 'processor.assist')
    this.#assistPage.set(stateBytes(state['assistPage'], 'processor.assistPage', 4096))
    this.writeAssist(assist)
    this.synic.restore(state['synic'])
    this.timers.forEach((timer, index) => {
      timer.restore(timers[index])
    })
  }
}
