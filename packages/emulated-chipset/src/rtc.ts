// The real-time clock and CMOS RAM of a PC as a plug-in: ports 0x70 and 0x71, ISA interrupt 8.

import {
  clockToken,
  definePlugin,
  guestMemoryToken,
  interruptLinesToken,
  type Plugin,
  type PluginInstance,
  portIoToken,
} from '@partita/interface'
import * as v from 'valibot'
import { cmosMemory, DEFAULT_LOW_RAM_LIMIT } from './cmos-memory.ts'
import { Mc146818 } from './mc146818.ts'

export { Mc146818 } from './mc146818.ts'

/** Options of `@partita/emulated-chipset/rtc`. */
export interface RtcOptions {
  /** Where RAM below 4 GiB ends, in bytes. Default: 3 GiB. */
  readonly lowRamLimit: number
}

const options: v.GenericSchema<unknown, RtcOptions> = v.strictObject({
  lowRamLimit: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(0x10_0000), v.maxValue(0x1_0000_0000)),
    DEFAULT_LOW_RAM_LIMIT,
  ),
})

/** The plug-in: the real-time clock with its CMOS RAM. */
const plugin: Plugin<RtcOptions> = definePlugin<RtcOptions>({
  name: '@partita/emulated-chipset/rtc',
  kind: 'emulated-device',
  contract: 1,
  description: 'An MC146818 real-time clock with CMOS RAM',
  options,
  needs: [portIoToken, interruptLinesToken, clockToken, guestMemoryToken],
  provides: [],
  create: (context): PluginInstance => {
    const rtc = new Mc146818(
      context.get(clockToken),
      context.get(interruptLinesToken).line(8),
      cmosMemory(context.get(guestMemoryToken).ramSize, context.options.lowRamLimit),
    )
    const claim = context.get(portIoToken).claim(0x70, 2, rtc)
    return {
      save: () => rtc.save(),
      restore: (state) => rtc.restore(state),
      reset: () => rtc.reset(),
      async [Symbol.asyncDispose]() {
        rtc.stop()
        claim[Symbol.dispose]()
      },
    }
  },
})

export default plugin
