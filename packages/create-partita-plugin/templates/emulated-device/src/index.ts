// The plug-in: what the device is called, which options it takes, what it needs of the machine, and how one is made.

import {
  clockToken,
  definePlugin,
  interruptLinesToken,
  PLUGIN_CONTRACT,
  type Plugin,
  type PluginInstance,
  portIoToken,
} from '@partita/interface'
import * as v from 'valibot'
import { MyDevice, REGISTERS } from './my-device.ts'

export { MyDevice } from './my-device.ts'

/** Options in a VM's configuration. */
export interface MyDeviceOptions {
  /** First of eight I/O ports, a multiple of 8. Default: 0x540. */
  readonly base: number
  /** Global system interrupt. Default: 10. */
  readonly irq: number
}

const options: v.GenericSchema<unknown, MyDeviceOptions> = v.strictObject({
  base: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xfff8), v.multipleOf(8)), 0x540),
  irq: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(23)), 10),
})

const plugin: Plugin<MyDeviceOptions> = definePlugin<MyDeviceOptions>({
  name: '@example/my-device',
  kind: 'emulated-device',
  contract: PLUGIN_CONTRACT,
  description: 'An interval timer with an interrupt',
  options,
  needs: [portIoToken, interruptLinesToken, clockToken],
  provides: [],
  create(context): PluginInstance {
    const { base, irq } = context.options
    const device = new MyDevice(context.get(clockToken), context.get(interruptLinesToken).line(irq))
    const claim = context.get(portIoToken).claim(base, REGISTERS.LENGTH, device)
    return {
      reset: () => device.reset(),
      save: () => device.save(),
      restore: (state) => device.restore(state),
      async [Symbol.asyncDispose]() {
        claim[Symbol.dispose]()
        device.reset()
      },
    }
  },
})

export default plugin
