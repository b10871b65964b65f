// A watchdog timer as a plug-in. The guest writes milliseconds to its port and has to do so again before they are over; 0 switches it off.
// Reading gives the milliseconds that are left.

import {
  type AccessSize,
  type Clock,
  clockToken,
  definePlugin,
  PartitaError,
  type Plugin,
  type PluginInstance,
  type PortHandler,
  type PowerControl,
  portIoToken,
  powerControlToken,
  type SavedState,
  type Timer,
} from '@partita/interface'
import * as v from 'valibot'

const NANOSECONDS = 1e6

/** The device: registers and a timer, and nothing of the machine around it. */
class Watchdog implements PortHandler {
  readonly #clock: Clock
  readonly #timer: Timer

  constructor(clock: Clock, power: PowerControl) {
    this.#clock = clock
    this.#timer = clock.createTimer(() => power.request({ type: 'reset' }))
  }

  read(offset: number, size: AccessSize): number {
    const { deadline } = this.#timer
    if (offset !== 0 || size !== 4 || deadline === Infinity) return 0
    return Math.min(Math.ceil(Math.max(deadline - this.#clock.now(), 0) / NANOSECONDS), 0xffff_ffff)
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset !== 0 || size !== 4) return
    if (value === 0) this.reset()
    else this.#timer.arm(this.#clock.now() + value * NANOSECONDS)
  }

  reset(): void {
    this.#timer.cancel()
  }

  save(): SavedState {
    const { deadline } = this.#timer
    return { version: 1, data: { deadline: deadline === Infinity ? null : deadline } }
  }

  restore({ version, data }: SavedState): void {
    const state = v.safeParse(v.strictObject({ deadline: v.nullable(v.pipe(v.number(), v.finite())) }), data)
    if (version !== 1 || !state.success) throw new PartitaError('ERR_STATE_INVALID', 'Not a state of the watchdog')
    this.#timer.arm(state.output.deadline ?? Infinity)
  }
}

/** Options in a VM's configuration. */
interface WatchdogOptions {
  /** First of four ports. Default: 0x510. */
  readonly base: number
}

const plugin: Plugin<WatchdogOptions> = definePlugin<WatchdogOptions>({
  name: 'example-watchdog',
  kind: 'emulated-device',
  contract: 1,
  description: 'A watchdog timer on one port',
  options: v.strictObject({
    base: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xfffc)), 0x510),
  }),
  needs: [portIoToken, clockToken, powerControlToken],
  provides: [],
  create(context): PluginInstance {
    const watchdog = new Watchdog(context.get(clockToken), context.get(powerControlToken))
    const claim = context.get(portIoToken).claim(context.options.base, 4, watchdog)
    return {
      reset: () => watchdog.reset(),
      save: () => watchdog.save(),
      restore: (state) => watchdog.restore(state),
      async [Symbol.asyncDispose]() {
        claim[Symbol.dispose]()
        watchdog.reset()
      },
    }
  },
})

export default plugin
