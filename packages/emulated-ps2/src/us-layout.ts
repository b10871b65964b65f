// Which keys of a US keyboard type a character, and a helper that types a text.

import type { KeyboardInput } from '@partita/interface'
import { Ps2Error } from './ps2-error.ts'

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'
/** [code, character, character with Shift] */
const OTHERS: readonly (readonly [code: string, plain: string, shifted?: string])[] = [
  ['Backquote', '`', '~'],
  ['Digit1', '1', '!'],
  ['Digit2', '2', '@'],
  ['Digit3', '3', '#'],
  ['Digit4', '4', '$'],
  ['Digit5', '5', '%'],
  ['Digit6', '6', '^'],
  ['Digit7', '7', '&'],
  ['Digit8', '8', '*'],
  ['Digit9', '9', '('],
  ['Digit0', '0', ')'],
  ['Minus', '-', '_'],
  ['Equal', '=', '+'],
  ['BracketLeft', '[', '{'],
  ['BracketRight', ']', '}'],
  ['Backslash', '\\', '|'],
  ['Semicolon', ';', ':'],
  ['Quote', "'", '"'],
  ['Comma', ',', '<'],
  ['Period', '.', '>'],
  ['Slash', '/', '?'],
  ['Space', ' '],
  ['Tab', '\t'],
  ['Enter', '\n'],
  ['Backspace', '\b'],
  ['Escape', '\x1b'],
]

/** One key stroke. */
export interface Stroke {
  /** The key, as {@link Ps2Keyboard.key} takes it. */
  readonly code: string
  /** Whether Shift is held meanwhile. */
  readonly shift: boolean
}

/** The strokes of a US keyboard, by character. */
export const US_LAYOUT: ReadonlyMap<string, Stroke> = new Map([
  ...[...LETTERS].flatMap((letter): [string, Stroke][] => {
    const code = `Key${letter.toUpperCase()}`
    return [
      [letter, { code, shift: false }],
      [letter.toUpperCase(), { code, shift: true }],
    ]
  }),
  ...OTHERS.flatMap(([code, plain, shifted]): [string, Stroke][] => [
    [plain, { code, shift: false }],
    ...(shifted === undefined ? [] : [[shifted, { code, shift: true }] satisfies [string, Stroke]]),
  ]),
])

/** How {@link typeText} types. */
export interface TypeOptions {
  /** Default: {@link US_LAYOUT}. It must be the one that the guest thinks it has. */
  readonly layout?: ReadonlyMap<string, Stroke>
  /** Ends the typing. Keys are up then. */
  readonly signal?: AbortSignal
}

/**
 * Type a text, as fast as the guest takes it; nothing is lost to a full buffer. The guest's Caps Lock is to be off.
 *
 * @throws Ps2Error `ERR_KEYBOARD_CHARACTER` before anything is typed, when the layout has no key for a character
 * @throws the signal's reason when it is aborted; keys are up then
 *
 * @example
 * ```ts
 * import { typeText } from '@partita/emulated-ps2'
 * import { keyboardInputToken } from '@partita/interface'
 *
 * const keyboard = vm.find(keyboardInputToken)
 * if (keyboard) await typeText(keyboard, 'root\n')
 * ```
 */
export async function typeText(keyboard: KeyboardInput, text: string, options: TypeOptions = {}): Promise<void> {
  const { layout = US_LAYOUT, signal } = options
  const strokes = [...text].map((character) => {
    const stroke = layout.get(character)
    if (stroke !== undefined) return stroke
    throw new Ps2Error('ERR_KEYBOARD_CHARACTER', `no key types ${JSON.stringify(character)}`, { data: { character } })
  })
  let shifted = false
  const shift = (pressed: boolean): void => {
    if (shifted === pressed) return
    shifted = pressed
    keyboard.key('ShiftLeft', pressed)
  }
  try {
    for (const stroke of strokes) {
      await keyboard.drained(signal)
      shift(stroke.shift)
      keyboard.key(stroke.code, true)
      keyboard.key(stroke.code, false)
    }
    await keyboard.drained(signal)
  } finally {
    shift(false)
  }
}
