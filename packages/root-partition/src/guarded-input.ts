// What sits in front of a machine, with a guard around the plug-in that emulates it: a keyboard that fails loses what is typed.

import type { A20Gate, KeyboardInput, KeyboardLeds, MouseInput } from '@partita/interface'
import { linkedSignals } from './linked-signal.ts'
import type { PluginGuard } from './plugin-guard.ts'

const DARK: KeyboardLeds = { scrollLock: false, numLock: false, capsLock: false }

/** The keyboard that a plug-in provides to the plug-in of `user` (or the host). */
export function guardedKeyboard(
  keyboard: KeyboardInput,
  provider: PluginGuard,
  user: PluginGuard | undefined,
): KeyboardInput {
  const linked = linkedSignals(provider)
  let shown: KeyboardInput['onLeds']
  return {
    key: (code, pressed) =>
      typeof code === 'string' && provider.call('in a key', false, () => keyboard.key(code, pressed)) === true,
    async drained(signal) {
      const where = 'when its buffer was waited for'
      if (provider.failed) return
      try {
        const own = signal && linked(signal)
        await provider.answers(user, provider.scope.call(keyboard.drained, keyboard, own, undefined, undefined))
      } catch (error) {
        // The signal's reason belongs to whoever gave the signal.
        if (signal?.aborted === true) throw error
        provider.threw(where, error)
      }
    },
    get leds() {
      const where = 'when it was asked for its lamps'
      const leds: unknown = provider.call(where, DARK, () => keyboard.leds)
      if (typeof leds === 'object' && leds !== null) return leds as KeyboardLeds
      provider.returned(where, leds, 'no lamps')
      return DARK
    },
    get onLeds() {
      return shown
    },
    set onLeds(callback) {
      shown = callback
      const guarded =
        callback === undefined || user === undefined
          ? callback
          : (leds: KeyboardLeds) => user.call('when lamps changed', undefined, callback, undefined, leds)
      provider.call('when somebody asked to be told of its lamps', undefined, () => {
        keyboard.onLeds = guarded
      })
    },
  }
}

/** The mouse that a plug-in provides. */
export function guardedMouse(mouse: MouseInput, provider: PluginGuard): MouseInput {
  const number = (value: number): number => {
    if (typeof value === 'number') return value
    throw new TypeError('what a mouse is told is no number')
  }
  return {
    move(dx, dy) {
      const [x, y] = [number(dx), number(dy)]
      provider.call('in a movement', undefined, () => mouse.move(x, y))
    },
    wheel(detents) {
      const turn = number(detents)
      provider.call('in a turn of the wheel', undefined, () => mouse.wheel(turn))
    },
    button(button, pressed) {
      const which = number(button)
      provider.call('in a button', undefined, () => mouse.button(which, pressed))
    },
  }
}

/** The gate that a plug-in provides. It reads as set where nobody is there. */
export function guardedA20(gate: A20Gate, provider: PluginGuard): A20Gate {
  return {
    get enabled() {
      return provider.call('when its gate was read', true, () => gate.enabled)
    },
    set enabled(enabled) {
      provider.call('when its gate was set', undefined, () => {
        gate.enabled = enabled
      })
    },
  }
}
