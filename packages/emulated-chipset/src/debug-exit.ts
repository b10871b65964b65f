// The debug-exit device of test kernels (QEMU documentation, "isa-debug-exit"): a write of `value` ends the partition with exit code (value << 1) | 1, so that no
// guest can claim success (0) by accident.

import {
  type AccessSize,
  definePlugin,
  type Plugin,
  type PluginInstance,
  type PortHandler,
  type PowerControl,
  portIoToken,
  powerControlToken,
} from '@partita/interface'
import * as v from 'valibot'
import { checkState, unsigned } from './chipset-error.ts'

const NAME = '@partita/emulated-chipset/debug-exit'

/** Turns a write into a debug-exit event whose `code` is (value << 1) | 1, 32 bits. */
export class DebugExit implements PortHandler {
  readonly #power: PowerControl

  constructor(power: PowerControl) {
    this.#power = power
  }

  read(): number {
    return 0
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    this.#power.request({ type: 'debug-exit', code: ((value << 1) | 1) >>> 0 })
  }
}

/** Options of `@partita/emulated-chipset/debug-exit`. */
export interface DebugExitOptions {
  /** First port. Default: 0xF4. */
  readonly base: number
  /** How many ports. Default: 4. */
  readonly size: number
}

const options: v.GenericSchema<unknown, DebugExitOptions> = v.strictObject({
  base: v.optional(unsigned(16), 0xf4),
  size: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(4)), 4),
})

/** The plug-in: ports on which a test kernel ends its partition. */
const plugin: Plugin<DebugExitOptions> = definePlugin<DebugExitOptions>({
  name: NAME,
  kind: 'emulated-device',
  contract: 1,
  description: 'A port on which a test kernel ends its partition with an exit code',
  options,
  needs: [portIoToken, powerControlToken],
  provides: [],
  create: (context): PluginInstance => {
    const { base, size } = context.options
    const claim = context.get(portIoToken).claim(base, size, new DebugExit(context.get(powerControlToken)))
    return {
      save: () => ({ version: 1, data: {} }),
      restore: (state) => void checkState(NAME, state, 1, v.strictObject({})),
      reset: () => {},
      async [Symbol.asyncDispose]() {
        claim[Symbol.dispose]()
      },
    }
  },
})

export default plugin
