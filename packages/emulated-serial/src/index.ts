/**
 * A 16550A serial port as a plug-in: the default export. Options: `base`, `irq`, `backend` (the name of a character back end), `inputRate`.
 *
 * @example
 * ```ts
 * import serial from '@partita/emulated-serial'
 *
 * const com1 = { plugin: serial.name, options: { base: 0x3f8, irq: 4, backend: 'console' } }
 * ```
 * @packageDocumentation
 */

import {
  characterBackendsToken,
  clockToken,
  definePlugin,
  interruptLinesToken,
  type Plugin,
  type PluginInstance,
  portIoToken,
} from '@partita/interface'
import * as v from 'valibot'
import { Uart16550 } from './uart-16550.ts'

export { SerialError } from './serial-error.ts'
export { Uart16550, type Uart16550Wiring } from './uart-16550.ts'

/** Options of `@partita/emulated-serial`. */
export interface SerialOptions {
  /** First of its eight ports. Default: 0x3F8 (COM1). */
  readonly base: number
  /** ISA interrupt. Default: 4. */
  readonly irq: number
  /** Name of the character back end. Default: `console`. Where there is none of that name, output is dropped. */
  readonly backend: string
  /** Characters a second at which input comes; 0 for no limit. Default: 11,520, that is 115,200 baud. */
  readonly inputRate: number
}

const options: v.GenericSchema<unknown, SerialOptions> = v.strictObject({
  base: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xfff8), v.multipleOf(8)), 0x3f8),
  irq: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(23)), 4),
  backend: v.optional(v.pipe(v.string(), v.nonEmpty()), 'console'),
  inputRate: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1e9)), 11_520),
})

/** The plug-in: a 16550A serial port. */
const plugin: Plugin<SerialOptions> = definePlugin<SerialOptions>({
  name: '@partita/emulated-serial',
  kind: 'emulated-device',
  contract: 1,
  description: 'A 16550A serial port',
  options,
  needs: [portIoToken, interruptLinesToken, clockToken],
  uses: [characterBackendsToken],
  provides: [],
  create: (context): PluginInstance => {
    const { base, irq, backend, inputRate } = context.options
    const uart = new Uart16550({
      line: context.get(interruptLinesToken).line(irq),
      clock: context.get(clockToken),
      backend: context.find(characterBackendsToken)?.get(backend),
      inputRate,
    })
    using owning = new DisposableStack()
    owning.defer(() => uart.dispose())
    owning.use(context.get(portIoToken).claim(base, 8, uart))
    const owned = owning.move()
    return {
      save: () => uart.save(),
      restore: (state) => uart.restore(state),
      reset: () => uart.reset(),
      stop: () => uart.stop(),
      async [Symbol.asyncDispose]() {
        owned.dispose()
      },
    }
  },
})

export default plugin
