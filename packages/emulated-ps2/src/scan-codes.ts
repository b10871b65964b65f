// Scan codes of the 101- to 105-key keyboard, with the keys of Japanese, Korean and multimedia keyboards: IBM Personal System/2 Hardware Interface Technical Reference,
// "Keyboards", and Microsoft's Keyboard Scan Code Specification 1.3a. Keys are named as `KeyboardEvent.code` (UI Events) names them.

/** Prefix of the keys that the 84-key keyboard of the AT did not have. */
export const EXTENDED = 0xe0
/** Prefix of a release in sets 2 and 3. */
export const RELEASE = 0xf0

/** How a key of set 3 reports: a release or none, a repetition or none. */
export const KEY_TYPE = { MAKE_ONLY: 0, MAKE_BREAK: 1, TYPEMATIC: 2, TYPEMATIC_MAKE_BREAK: 3 } as const
/** One of {@link KEY_TYPE}. */
export type KeyType = (typeof KEY_TYPE)[keyof typeof KEY_TYPE]

/** One key. */
export interface Key {
  /** Code in set 2, without prefix. */
  readonly set2: number
  /** Whether sets 1 and 2 put `EXTENDED` in front. */
  readonly extended: boolean
  /** Code in set 3; 0 for a key that set 3 does not have. */
  readonly set3: number
  /** What the key is in set 3 after the defaults were set. */
  readonly type: KeyType
  /** `grey`: one of the six keys and arrows between the main field and the keypad, or the keypad's slash, that undo Shift or Num Lock for old software. */
  readonly special?: 'grey' | 'divide' | 'print-screen' | 'pause' | 'no-break'
}

const { MAKE_ONLY: M, MAKE_BREAK: B, TYPEMATIC: T } = KEY_TYPE

/** [code, set 2, set 3, type in set 3] */
type Row = readonly [code: string, set2: number, set3: number, type: KeyType]

const MAIN: readonly Row[] = [
  ['Escape', 0x76, 0x08, M],
  ['F1', 0x05, 0x07, M],
  ['F2', 0x06, 0x0f, M],
  ['F3', 0x04, 0x17, M],
  ['F4', 0x0c, 0x1f, M],
  ['F5', 0x03, 0x27, M],
  ['F6', 0x0b, 0x2f, M],
  ['F7', 0x83, 0x37, M],
  ['F8', 0x0a, 0x3f, M],
  ['F9', 0x01, 0x47, M],
  ['F10', 0x09, 0x4f, M],
  ['F11', 0x78, 0x56, M],
  ['F12', 0x07, 0x5e, M],
  ['F13', 0x08, 0, M],
  ['F14', 0x10, 0, M],
  ['F15', 0x18, 0, M],
  ['F16', 0x20, 0, M],
  ['F17', 0x28, 0, M],
  ['F18', 0x30, 0, M],
  ['F19', 0x38, 0, M],
  ['F20', 0x40, 0, M],
  ['F21', 0x48, 0, M],
  ['F22', 0x50, 0, M],
  ['F23', 0x57, 0, M],
  ['F24', 0x5f, 0, M],
  ['ScrollLock', 0x7e, 0x5f, M],
  ['Backquote', 0x0e, 0x0e, T],
  ['Digit1', 0x16, 0x16, T],
  ['Digit2', 0x1e, 0x1e, T],
  ['Digit3', 0x26, 0x26, T],
  ['Digit4', 0x25, 0x25, T],
  ['Digit5', 0x2e, 0x2e, T],
  ['Digit6', 0x36, 0x36, T],
  ['Digit7', 0x3d, 0x3d, T],
  ['Digit8', 0x3e, 0x3e, T],
  ['Digit9', 0x46, 0x46, T],
  ['Digit0', 0x45, 0x45, T],
  ['Minus', 0x4e, 0x4e, T],
  ['Equal', 0x55, 0x55, T],
  ['Backspace', 0x66, 0x66, T],
  ['Tab', 0x0d, 0x0d, T],
  ['KeyQ', 0x15, 0x15, T],
  ['KeyW', 0x1d, 0x1d, T],
  ['KeyE', 0x24, 0x24, T],
  ['KeyR', 0x2d, 0x2d, T],
  ['KeyT', 0x2c, 0x2c, T],
  ['KeyY', 0x35, 0x35, T],
  ['KeyU', 0x3c, 0x3c, T],
  ['KeyI', 0x43, 0x43, T],
  ['KeyO', 0x44, 0x44, T],
  ['KeyP', 0x4d, 0x4d, T],
  ['BracketLeft', 0x54, 0x54, T],
  ['BracketRight', 0x5b, 0x5b, T],
  ['Backslash', 0x5d, 0x5c, T],
  ['CapsLock', 0x58, 0x14, B],
  ['KeyA', 0x1c, 0x1c, T],
  ['KeyS', 0x1b, 0x1b, T],
  ['KeyD', 0x23, 0x23, T],
  ['KeyF', 0x2b, 0x2b, T],
  ['KeyG', 0x34, 0x34, T],
  ['KeyH', 0x33, 0x33, T],
  ['KeyJ', 0x3b, 0x3b, T],
  ['KeyK', 0x42, 0x42, T],
  ['KeyL', 0x4b, 0x4b, T],
  ['Semicolon', 0x4c, 0x4c, T],
  ['Quote', 0x52, 0x52, T],
  ['Enter', 0x5a, 0x5a, T],
  ['ShiftLeft', 0x12, 0x12, B],
  ['IntlBackslash', 0x61, 0x13, T],
  ['KeyZ', 0x1a, 0x1a, T],
  ['KeyX', 0x22, 0x22, T],
  ['KeyC', 0x21, 0x21, T],
  ['KeyV', 0x2a, 0x2a, T],
  ['KeyB', 0x32, 0x32, T],
  ['KeyN', 0x31, 0x31, T],
  ['KeyM', 0x3a, 0x3a, T],
  ['Comma', 0x41, 0x41, T],
  ['Period', 0x49, 0x49, T],
  ['Slash', 0x4a, 0x4a, T],
  ['ShiftRight', 0x59, 0x59, B],
  ['ControlLeft', 0x14, 0x11, B],
  ['AltLeft', 0x11, 0x19, B],
  ['Space', 0x29, 0x29, T],
  ['IntlRo', 0x51, 0x51, T],
  ['IntlYen', 0x6a, 0x5d, T],
  ['KanaMode', 0x13, 0x87, M],
  ['Convert', 0x64, 0x86, M],
  ['NonConvert', 0x67, 0x85, M],
  ['Lang3', 0x63, 0, M],
  ['Lang4', 0x62, 0, M],
  ['NumLock', 0x77, 0x76, M],
  ['NumpadMultiply', 0x7c, 0x7e, M],
  ['NumpadSubtract', 0x7b, 0x84, M],
  ['NumpadAdd', 0x79, 0x7c, T],
  ['NumpadDecimal', 0x71, 0x71, M],
  ['Numpad0', 0x70, 0x70, M],
  ['Numpad1', 0x69, 0x69, M],
  ['Numpad2', 0x72, 0x72, M],
  ['Numpad3', 0x7a, 0x7a, M],
  ['Numpad4', 0x6b, 0x6b, M],
  ['Numpad5', 0x73, 0x73, M],
  ['Numpad6', 0x74, 0x74, M],
  ['Numpad7', 0x6c, 0x6c, M],
  ['Numpad8', 0x75, 0x75, M],
  ['Numpad9', 0x7d, 0x7d, M],
  ['NumpadEqual', 0x0f, 0, M],
  ['NumpadComma', 0x6d, 0x7b, M],
]

/** With `EXTENDED` in sets 1 and 2. */
const EXTENDED_KEYS: readonly Row[] = [
  ['ControlRight', 0x14, 0x58, M],
  ['AltRight', 0x11, 0x39, M],
  ['MetaLeft', 0x1f, 0x8b, M],
  ['MetaRight', 0x27, 0x8c, M],
  ['ContextMenu', 0x2f, 0x8d, M],
  ['NumpadEnter', 0x5a, 0x79, M],
  ['Power', 0x37, 0, M],
  ['Sleep', 0x3f, 0, M],
  ['WakeUp', 0x5e, 0, M],
  ['MediaTrackNext', 0x4d, 0, M],
  ['MediaTrackPrevious', 0x15, 0, M],
  ['MediaStop', 0x3b, 0, M],
  ['MediaPlayPause', 0x34, 0, M],
  ['MediaSelect', 0x50, 0, M],
  ['AudioVolumeMute', 0x23, 0, M],
  ['AudioVolumeUp', 0x32, 0, M],
  ['AudioVolumeDown', 0x21, 0, M],
  ['LaunchMail', 0x48, 0, M],
  ['LaunchApp1', 0x40, 0, M],
  ['LaunchApp2', 0x2b, 0, M],
  ['BrowserSearch', 0x10, 0, M],
  ['BrowserHome', 0x3a, 0, M],
  ['BrowserBack', 0x38, 0, M],
  ['BrowserForward', 0x30, 0, M],
  ['BrowserStop', 0x28, 0, M],
  ['BrowserRefresh', 0x20, 0, M],
  ['BrowserFavorites', 0x18, 0, M],
]

const GREY_KEYS: readonly Row[] = [
  ['Insert', 0x70, 0x67, M],
  ['Home', 0x6c, 0x6e, M],
  ['PageUp', 0x7d, 0x6f, M],
  ['Delete', 0x71, 0x64, T],
  ['End', 0x69, 0x65, M],
  ['PageDown', 0x7a, 0x6d, M],
  ['ArrowUp', 0x75, 0x63, T],
  ['ArrowLeft', 0x6b, 0x61, T],
  ['ArrowDown', 0x72, 0x60, T],
  ['ArrowRight', 0x74, 0x6a, T],
]

function entry([code, set2, set3, type]: Row, extended: boolean, special?: Key['special']): [string, Key] {
  return [code, { set2, extended, set3, type, ...(special && { special }) }]
}

/** All keys, by `KeyboardEvent.code`. */
export const KEYS: ReadonlyMap<string, Key> = new Map([
  ...MAIN.map((row) => entry(row, false)),
  ...EXTENDED_KEYS.map((row) => entry(row, true)),
  ...GREY_KEYS.map((row) => entry(row, true, 'grey')),
  entry(['NumpadDivide', 0x4a, 0x77, M], true, 'divide'),
  entry(['PrintScreen', 0x7c, 0x57, M], true, 'print-screen'),
  entry(['Pause', 0x77, 0x62, M], false, 'pause'),
  // Hangul and Hanja of Korean keyboards send the code of their translation, and no release.
  entry(['Lang1', 0xf2, 0, M], false, 'no-break'),
  entry(['Lang2', 0xf1, 0, M], false, 'no-break'),
])
