// An empty socket: what is sent there is lost, and nothing comes.

import type { Ps2Device } from './ps2-device.ts'

/** Nothing is plugged in. */
export const NO_DEVICE: Ps2Device = Object.freeze({
  receive: () => {},
  take: () => -1,
  waiting: false,
  get onWaiting(): (() => void) | undefined {
    return undefined
  },
  set onWaiting(_callback: (() => void) | undefined) {},
})
