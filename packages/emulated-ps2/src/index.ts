/**
 * The PS/2 keyboard and mouse of a PC as a plug-in: the default export. Options: `keyboard` and `mouse`, whether they are plugged in. Whoever embeds the machine uses them through
 * `keyboardInputToken` and `mouseInputToken`.
 *
 * @example
 * ```ts
 * import ps2 from '@partita/emulated-ps2'
 *
 * const devices = [{ plugin: '@partita/emulated-chipset/reset', options: { keyboardController: false } }, { plugin: ps2.name }]
 * ```
 * @packageDocumentation
 */

import {
  type A20Gate,
  a20GateToken,
  clockToken,
  definePlugin,
  interruptLinesToken,
  keyboardInputToken,
  mouseInputToken,
  type Plugin,
  type PluginInstance,
  portIoToken,
  powerControlToken,
  type SavedState,
} from '@partita/interface'
import * as v from 'valibot'
import { I8042 } from './i8042.ts'
import { I8042_PORT } from './i8042-registers.ts'
import { NO_DEVICE } from './no-device.ts'
import { checkState, STATE_VERSION } from './ps2-error.ts'
import { Ps2Keyboard } from './ps2-keyboard.ts'
import { Ps2Mouse } from './ps2-mouse.ts'

export { I8042, type I8042Wiring } from './i8042.ts'
export { NO_DEVICE } from './no-device.ts'
export type { Ps2Device } from './ps2-device.ts'
export { Ps2Error } from './ps2-error.ts'
export { Ps2Keyboard } from './ps2-keyboard.ts'
export { Ps2Mouse } from './ps2-mouse.ts'
export { KEY_TYPE, KEYS, type Key, type KeyType } from './scan-codes.ts'
export { type Stroke, type TypeOptions, typeText, US_LAYOUT } from './us-layout.ts'

/** Options of `@partita/emulated-ps2`. */
export interface Ps2Options {
  /** Whether a keyboard is plugged in. Default: true. */
  readonly keyboard: boolean
  /** Whether a mouse is plugged in. Default: true. */
  readonly mouse: boolean
}

const options: v.GenericSchema<unknown, Ps2Options> = v.strictObject({
  keyboard: v.optional(v.boolean(), true),
  mouse: v.optional(v.boolean(), true),
})

const unit: v.GenericSchema<unknown, SavedState> = v.strictObject({
  version: v.number(),
  data: v.custom<SavedState['data']>((value) => typeof value === 'object' && value !== null, 'expected an object'),
})
const stateSchema = v.strictObject({ controller: unit, keyboard: unit, mouse: unit })

/** The plug-in: an 8042 with a keyboard and a mouse. */
const plugin: Plugin<Ps2Options> = definePlugin<Ps2Options>({
  name: '@partita/emulated-ps2',
  kind: 'emulated-device',
  contract: 1,
  description: 'A PS/2 keyboard and mouse behind an 8042 controller',
  options,
  needs: [portIoToken, interruptLinesToken, clockToken, powerControlToken],
  uses: [a20GateToken],
  provides: [keyboardInputToken, mouseInputToken],
  create: (context): PluginInstance => {
    const clock = context.get(clockToken)
    const lines = context.get(interruptLinesToken)
    const ports = context.get(portIoToken)
    const a20: A20Gate = context.find(a20GateToken) ?? { enabled: true }
    using owning = new DisposableStack()
    const keyboard = owning.use(new Ps2Keyboard(clock))
    const mouse = owning.use(new Ps2Mouse(clock))
    const controller = new I8042({
      keyboardLine: lines.line(1),
      auxiliaryLine: lines.line(12),
      keyboard: context.options.keyboard ? keyboard : NO_DEVICE,
      mouse: context.options.mouse ? mouse : NO_DEVICE,
      resetProcessor: () => context.get(powerControlToken).request({ type: 'reset' }),
      a20,
    })
    owning.use(controller)
    owning.use(ports.claim(I8042_PORT.DATA, 1, controller.dataPort))
    owning.use(ports.claim(I8042_PORT.COMMAND, 1, controller.commandPort))
    const owned = owning.move()
    return {
      services: { [keyboardInputToken.name]: keyboard, [mouseInputToken.name]: mouse },
      save: () => ({
        version: STATE_VERSION,
        data: {
          controller: { ...controller.save() },
          keyboard: { ...keyboard.save() },
          mouse: { ...mouse.save() },
        },
      }),
      restore: (state) => {
        const data = checkState(state, stateSchema)
        // All of it is checked before any of it is taken over.
        const units = [
          keyboard.prepareRestore(data.keyboard),
          mouse.prepareRestore(data.mouse),
          controller.prepareRestore(data.controller),
        ]
        for (const takeOver of units) takeOver()
      },
      reset: () => {
        keyboard.reset()
        mouse.reset()
        controller.reset()
      },
      async [Symbol.asyncDispose]() {
        owned.dispose()
      },
    }
  },
})

export default plugin
