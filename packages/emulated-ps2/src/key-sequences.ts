// The bytes that a keyboard sends for a key in each scan code set, with what the 101-key keyboard adds so that software for the 84-key one understands it
// (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboards", tables of scan code sets 1 to 3; Microsoft Keyboard Scan Code Specification 1.3a, notes 1 to 4).

import { EXTENDED, KEY_TYPE, type Key, RELEASE } from './scan-codes.ts'
import { translate } from './translation.ts'

/** One of the three scan code sets. */
export type ScanCodeSet = 1 | 2 | 3

/** The longest sequence: Pause, or a grey key while both Shift keys are down. */
const LONGEST_SEQUENCE = 9

/** What changes the bytes of a key: other keys that are down, and a lamp. */
export interface Modifiers {
  readonly shiftLeft: boolean
  readonly shiftRight: boolean
  readonly control: boolean
  readonly alt: boolean
  readonly numLock: boolean
}

const SHIFT_LEFT = 0x12
const SHIFT_RIGHT = 0x59
const PRINT_SCREEN = 0x7c
const SYS_RQ = 0x84
const BREAK = 0x7e
/** Pause is Control and Num Lock with a prefix of its own. */
const EXTENDED_1 = 0xe1
const CONTROL = 0x14
const NUM_LOCK = 0x77

/** Writes sequences to a buffer that is used again for the next. */
export class KeySequence {
  readonly bytes: Uint8Array = new Uint8Array(LONGEST_SEQUENCE + 3)
  length = 0
  #set: ScanCodeSet = 2

  /** Fill with the bytes of `key`: none where the key reports no such event. `repeat` is a press of a key that is down already. */
  write(
    key: Key,
    event: 'press' | 'release' | 'repeat',
    set: ScanCodeSet,
    modifiers: Modifiers,
    set3Type: number = key.type,
  ): void {
    this.length = 0
    this.#set = set
    const release = event === 'release'
    if (set === 3) this.#writeSet3(key, event, set3Type)
    else if (key.special === undefined) this.#code(key.set2, key.extended, release)
    else if (key.special === 'print-screen') this.#writePrintScreen(event, modifiers)
    else if (key.special === 'pause') this.#writePause(event, modifiers)
    else if (key.special === 'no-break') {
      if (event === 'press') this.#byte(key.set2)
    } else this.#writeGrey(key, event, modifiers)
  }

  #writeSet3(key: Key, event: 'press' | 'release' | 'repeat', type: number): void {
    if (key.set3 === 0) return
    if (event === 'release') {
      if ((type & KEY_TYPE.MAKE_BREAK) === 0) return
      this.#byte(RELEASE)
    } else if (event === 'repeat' && (type & KEY_TYPE.TYPEMATIC) === 0) return
    this.#byte(key.set3)
  }

  /** Navigation keys and the keypad's slash pretend that Shift is the way that their place on the keypad would need. */
  #writeGrey(key: Key, event: 'press' | 'release' | 'repeat', modifiers: Modifiers): void {
    const shifted = modifiers.shiftLeft || modifiers.shiftRight
    const lifts = shifted && (key.special === 'divide' || !modifiers.numLock)
    const presses = key.special === 'grey' && modifiers.numLock && !shifted
    if (event === 'release') {
      this.#code(key.set2, true, true)
      if (presses) this.#code(SHIFT_LEFT, true, true)
      if (lifts) this.#shifts(modifiers, false)
      return
    }
    if (event === 'press') {
      if (presses) this.#code(SHIFT_LEFT, true, false)
      if (lifts) this.#shifts(modifiers, true)
    }
    this.#code(key.set2, true, false)
  }

  #shifts(modifiers: Modifiers, release: boolean): void {
    if (modifiers.shiftLeft) this.#code(SHIFT_LEFT, true, release)
    if (modifiers.shiftRight) this.#code(SHIFT_RIGHT, true, release)
  }

  #writePrintScreen(event: 'press' | 'release' | 'repeat', modifiers: Modifiers): void {
    const release = event === 'release'
    if (modifiers.alt) {
      this.#code(SYS_RQ, false, release)
      return
    }
    const alone = !(modifiers.control || modifiers.shiftLeft || modifiers.shiftRight)
    if (alone && event === 'press') this.#code(SHIFT_LEFT, true, false)
    this.#code(PRINT_SCREEN, true, release)
    if (alone && release) this.#code(SHIFT_LEFT, true, true)
  }

  /** All at the press; there is no release and no repetition. With Control it is Break. */
  #writePause(event: 'press' | 'release' | 'repeat', modifiers: Modifiers): void {
    if (event !== 'press') return
    if (modifiers.control) {
      this.#code(BREAK, true, false)
      this.#code(BREAK, true, true)
      return
    }
    this.#byte(EXTENDED_1)
    this.#code(CONTROL, false, false)
    this.#code(NUM_LOCK, false, false)
    this.#byte(EXTENDED_1)
    this.#code(CONTROL, false, true)
    this.#code(NUM_LOCK, false, true)
  }

  #code(set2: number, extended: boolean, release: boolean): void {
    if (extended) this.#byte(EXTENDED)
    if (this.#set === 1) this.#byte(translate(set2) | (release ? 0x80 : 0))
    else {
      if (release) this.#byte(RELEASE)
      this.#byte(set2)
    }
  }

  #byte(value: number): void {
    this.bytes[this.length++] = value
  }
}
