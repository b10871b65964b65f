// A PS/2 keyboard with 105 keys and more: scan code sets 1 to 3, lamps, typematic repetition, all commands of the IBM Personal System/2 Hardware Interface Technical
// Reference, "Keyboards". Its buffer holds 16 bytes; what comes then is lost, and the guest reads an overrun code.

import type { Clock, KeyboardInput, KeyboardLeds, SavedState, Timer } from '@partita/interface'
import * as v from 'valibot'
import { ByteQueue } from './byte-queue.ts'
import { KeySequence, type ScanCodeSet } from './key-sequences.ts'
import { type Ps2Device, REPLY } from './ps2-device.ts'
import { bytesUpTo, checkState, STATE_VERSION, upTo } from './ps2-error.ts'
import { KEY_TYPE, KEYS, type Key } from './scan-codes.ts'

/** Commands of the host. */
const KEYBOARD_COMMAND = {
  SET_LEDS: 0xed,
  ECHO: 0xee,
  SCAN_CODE_SET: 0xf0,
  IDENTIFY: 0xf2,
  SET_TYPEMATIC: 0xf3,
  ENABLE: 0xf4,
  DISABLE: 0xf5,
  SET_DEFAULT: 0xf6,
  ALL_TYPEMATIC: 0xf7,
  ALL_MAKE_BREAK: 0xf8,
  ALL_MAKE: 0xf9,
  ALL_TYPEMATIC_MAKE_BREAK: 0xfa,
  KEY_TYPEMATIC: 0xfb,
  KEY_MAKE_BREAK: 0xfc,
  KEY_MAKE: 0xfd,
  RESEND: 0xfe,
  RESET: 0xff,
} as const

/** Bits of the parameter of SET_LEDS. */
const LED = { SCROLL_LOCK: 1, NUM_LOCK: 2, CAPS_LOCK: 4 } as const
/** The answer to IDENTIFY. */
const IDENTIFICATION = [0xab, 0x83] as const
/** 10.9 characters a second after 500 ms. */
const DEFAULT_TYPEMATIC = 0x2b
const BUFFER_SIZE = 16
const OVERRUN = { 1: 0xff, 2: 0x00, 3: 0x00 } as const

const KEY_TYPE_OF_COMMAND: ReadonlyMap<number, number> = new Map([
  [KEYBOARD_COMMAND.ALL_TYPEMATIC, KEY_TYPE.TYPEMATIC],
  [KEYBOARD_COMMAND.ALL_MAKE_BREAK, KEY_TYPE.MAKE_BREAK],
  [KEYBOARD_COMMAND.ALL_MAKE, KEY_TYPE.MAKE_ONLY],
  [KEYBOARD_COMMAND.ALL_TYPEMATIC_MAKE_BREAK, KEY_TYPE.TYPEMATIC_MAKE_BREAK],
  [KEYBOARD_COMMAND.KEY_TYPEMATIC, KEY_TYPE.TYPEMATIC],
  [KEYBOARD_COMMAND.KEY_MAKE_BREAK, KEY_TYPE.MAKE_BREAK],
  [KEYBOARD_COMMAND.KEY_MAKE, KEY_TYPE.MAKE_ONLY],
])

const keyName = v.pipe(
  v.string(),
  v.check((name) => KEYS.has(name), 'expected the name of a key'),
)
const stateSchema = v.strictObject({
  answers: bytesUpTo(4),
  buffer: bytesUpTo(BUFFER_SIZE + 1),
  lastSent: upTo(0xff),
  overrun: v.boolean(),
  command: upTo(0xff),
  scanning: v.boolean(),
  set: v.picklist([1, 2, 3]),
  typematic: upTo(0x7f),
  leds: upTo(7),
  keyTypes: v.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === 256, 'expected 256 bytes'),
  pressed: v.pipe(v.array(keyName), v.maxLength(KEYS.size)),
  repeating: v.nullable(keyName),
  repeatAt: v.pipe(v.number(), v.minValue(0)),
})

function defaultKeyTypes(): Uint8Array {
  const types = new Uint8Array(256)
  for (const { set3, type } of KEYS.values()) if (set3 !== 0) types[set3] = type
  return types
}

/** A keyboard at the first port of the controller. */
export class Ps2Keyboard implements Ps2Device, KeyboardInput {
  readonly #answers: ByteQueue = new ByteQueue(4)
  /** One more than the buffer has, for the overrun code. */
  readonly #buffer: ByteQueue = new ByteQueue(BUFFER_SIZE + 1)
  readonly #sequence: KeySequence = new KeySequence()
  readonly #repeatTimer: Timer
  readonly #clock: Clock
  readonly #pressed: Set<string> = new Set()
  readonly #waiters: Set<() => void> = new Set()
  #keyTypes: Uint8Array = defaultKeyTypes()
  #repeating: string | undefined
  #lastSent = 0
  /** Something was lost, and the overrun code stands at the buffer's end. */
  #overrun = false
  /** The command whose parameter comes next; 0 for none. */
  #command = 0
  #scanning = true
  #set: ScanCodeSet = 2
  #typematic: number = DEFAULT_TYPEMATIC
  #leds = 0
  onWaiting: (() => void) | undefined
  onLeds: ((leds: KeyboardLeds) => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
    this.#repeatTimer = clock.createTimer(() => this.#repeat())
  }

  // ── whoever types ──

  /** The lamps, as the guest has set them. */
  get leds(): KeyboardLeds {
    const leds = this.#leds
    return {
      scrollLock: (leds & LED.SCROLL_LOCK) !== 0,
      numLock: (leds & LED.NUM_LOCK) !== 0,
      capsLock: (leds & LED.CAPS_LOCK) !== 0,
    }
  }

  key(code: string, pressed: boolean): boolean {
    const key = KEYS.get(code)
    if (key === undefined) return false
    if (pressed === this.#pressed.has(code)) return true
    if (pressed) this.#pressed.add(code)
    else this.#pressed.delete(code)
    if (pressed) this.#startRepeating(code, key)
    else if (this.#repeating === code) this.#stopRepeating()
    if (!this.#scanning) return false
    return this.#send(key, pressed ? 'press' : 'release')
  }

  drained(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    if (!this.waiting) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const done = (): void => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }
      const abort = (): void => {
        this.#waiters.delete(done)
        reject(signal?.reason)
      }
      this.#waiters.add(done)
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  #send(key: Key, event: 'press' | 'release' | 'repeat'): boolean {
    const sequence = this.#sequence
    const held = this.#pressed
    sequence.write(
      key,
      event,
      this.#set,
      {
        shiftLeft: held.has('ShiftLeft'),
        shiftRight: held.has('ShiftRight'),
        control: held.has('ControlLeft') || held.has('ControlRight'),
        alt: held.has('AltLeft') || held.has('AltRight'),
        numLock: (this.#leds & LED.NUM_LOCK) !== 0,
      },
      this.#keyTypes[key.set3],
    )
    if (sequence.length === 0) return this.#set !== 3 || key.set3 !== 0
    if (this.#buffer.length + sequence.length > BUFFER_SIZE) {
      if (!this.#overrun) {
        this.#overrun = true
        this.#buffer.push(OVERRUN[this.#set])
        this.onWaiting?.()
      }
      return false
    }
    this.#overrun = false
    for (let i = 0; i < sequence.length; i++) this.#buffer.push(sequence.bytes[i] ?? 0)
    this.onWaiting?.()
    return true
  }

  // ── typematic ──

  #startRepeating(code: string, key: Key): void {
    const repeats =
      this.#set === 3
        ? ((this.#keyTypes[key.set3] ?? 0) & KEY_TYPE.TYPEMATIC) !== 0
        : key.special !== 'pause' && key.special !== 'no-break'
    if (!repeats) {
      this.#stopRepeating()
      return
    }
    this.#repeating = code
    const delay = (1 + (this.#typematic >> 5)) * 250e6
    this.#repeatTimer.arm(this.#clock.now() + delay)
  }

  #stopRepeating(): void {
    this.#repeating = undefined
    this.#repeatTimer.cancel()
  }

  #repeat(): void {
    const key = this.#repeating === undefined ? undefined : KEYS.get(this.#repeating)
    if (key === undefined) return
    // A guest that does not read gets no repetitions, so that the release finds room.
    if (this.#scanning && this.#buffer.length === 0) this.#send(key, 'repeat')
    const period = (8 + (this.#typematic & 7)) * 2 ** ((this.#typematic >> 3) & 3) * 4.17e6
    this.#repeatTimer.arm(this.#clock.now() + period)
  }

  // ── the wire ──

  get waiting(): boolean {
    return this.#answers.length > 0 || this.#buffer.length > 0
  }

  take(): number {
    const value = this.#answers.length > 0 ? this.#answers.shift() : this.#buffer.shift()
    if (value >= 0) this.#lastSent = value
    if (!this.waiting) this.#release()
    return value
  }

  /** All is taken: whoever waited goes on. */
  #release(): void {
    for (const done of this.#waiters) done()
    this.#waiters.clear()
  }

  #answer(...values: number[]): void {
    for (const value of values) this.#answers.push(value)
    this.onWaiting?.()
  }

  receive(value: number): void {
    const command = this.#command
    this.#command = 0
    this.#answers.clear()
    if (command !== 0 && this.#parameter(command, value)) return
    this.#execute(value)
  }

  /** False when `value` is no parameter of `command`, and thus a command itself. */
  #parameter(command: number, value: number): boolean {
    if (value >= KEYBOARD_COMMAND.SET_LEDS) return false
    switch (command) {
      case KEYBOARD_COMMAND.SET_LEDS:
        this.#answer(REPLY.ACKNOWLEDGE)
        this.#setLeds(value & 7)
        return true
      case KEYBOARD_COMMAND.SET_TYPEMATIC:
        this.#typematic = value & 0x7f
        this.#answer(REPLY.ACKNOWLEDGE)
        return true
      case KEYBOARD_COMMAND.SCAN_CODE_SET:
        this.#scanCodeSet(value)
        return true
      default:
        // Scan codes of set 3, until a command comes.
        this.#keyTypes[value] = KEY_TYPE_OF_COMMAND.get(command) ?? 0
        this.#command = command
        this.#answer(REPLY.ACKNOWLEDGE)
        return true
    }
  }

  #scanCodeSet(value: number): void {
    if (value === 0) this.#answer(REPLY.ACKNOWLEDGE, this.#set)
    else if (value === 1 || value === 2 || value === 3) {
      this.#clear()
      this.#set = value
      this.#answer(REPLY.ACKNOWLEDGE)
    } else {
      this.#command = KEYBOARD_COMMAND.SCAN_CODE_SET
      this.#answer(REPLY.RESEND)
    }
  }

  #execute(value: number): void {
    switch (value) {
      case KEYBOARD_COMMAND.SET_LEDS:
      case KEYBOARD_COMMAND.SCAN_CODE_SET:
      case KEYBOARD_COMMAND.SET_TYPEMATIC:
        this.#command = value
        break
      case KEYBOARD_COMMAND.ECHO:
        this.#answer(REPLY.ECHO)
        return
      case KEYBOARD_COMMAND.IDENTIFY:
        this.#answer(REPLY.ACKNOWLEDGE, ...IDENTIFICATION)
        return
      case KEYBOARD_COMMAND.ENABLE:
        this.#clear()
        this.#scanning = true
        break
      case KEYBOARD_COMMAND.DISABLE:
      case KEYBOARD_COMMAND.SET_DEFAULT:
        this.#setDefault()
        if (value === KEYBOARD_COMMAND.DISABLE) this.#scanning = false
        break
      case KEYBOARD_COMMAND.ALL_TYPEMATIC:
      case KEYBOARD_COMMAND.ALL_MAKE_BREAK:
      case KEYBOARD_COMMAND.ALL_MAKE:
      case KEYBOARD_COMMAND.ALL_TYPEMATIC_MAKE_BREAK:
        this.#clear()
        this.#keyTypes.fill(KEY_TYPE_OF_COMMAND.get(value) ?? 0)
        break
      case KEYBOARD_COMMAND.KEY_TYPEMATIC:
      case KEYBOARD_COMMAND.KEY_MAKE_BREAK:
      case KEYBOARD_COMMAND.KEY_MAKE:
        // The keyboard stays off until ENABLE.
        this.#clear()
        this.#scanning = false
        this.#command = value
        break
      case KEYBOARD_COMMAND.RESEND:
        this.#answer(this.#lastSent)
        return
      case KEYBOARD_COMMAND.RESET:
        this.reset()
        this.#answer(REPLY.ACKNOWLEDGE, REPLY.SELF_TEST_PASSED)
        return
      default:
        this.#answer(REPLY.RESEND)
        return
    }
    this.#answer(REPLY.ACKNOWLEDGE)
  }

  #setLeds(leds: number): void {
    if (leds === this.#leds) return
    this.#leds = leds
    this.onLeds?.(this.leds)
  }

  #clear(): void {
    this.#buffer.clear()
    this.#overrun = false
    this.#stopRepeating()
    if (!this.waiting) this.#release()
  }

  #setDefault(): void {
    this.#clear()
    this.#typematic = DEFAULT_TYPEMATIC
    this.#keyTypes = defaultKeyTypes()
  }

  // ── the machine ──

  /** Power-on: set 2, lamps off, scanning. Keys that are down stay so. */
  reset(): void {
    this.#answers.clear()
    this.#setDefault()
    this.#command = 0
    this.#lastSent = 0
    this.#scanning = true
    this.#set = 2
    this.#setLeds(0)
  }

  save(): SavedState {
    return {
      version: STATE_VERSION,
      data: {
        answers: this.#answers.save(),
        buffer: this.#buffer.save(),
        lastSent: this.#lastSent,
        overrun: this.#overrun,
        command: this.#command,
        scanning: this.#scanning,
        set: this.#set,
        typematic: this.#typematic,
        leds: this.#leds,
        keyTypes: this.#keyTypes.slice(),
        pressed: [...this.#pressed],
        repeating: this.#repeating ?? null,
        repeatAt: this.#repeating === undefined ? 0 : this.#repeatTimer.deadline,
      },
    }
  }

  /** @throws Ps2Error `ERR_STATE_INVALID` */
  restore(state: SavedState): void {
    this.prepareRestore(state)()
  }

  /**
   * Check a state; what is returned takes it over, and cannot fail.
   * @throws Ps2Error `ERR_STATE_INVALID`
   */
  prepareRestore(state: SavedState): () => void {
    const data = checkState(state, stateSchema)
    return () => this.#takeOver(data)
  }

  #takeOver(data: v.InferOutput<typeof stateSchema>): void {
    this.#answers.restore(data.answers)
    this.#buffer.restore(data.buffer)
    this.#overrun = data.overrun
    this.#lastSent = data.lastSent
    this.#command = data.command
    this.#scanning = data.scanning
    this.#set = data.set
    this.#typematic = data.typematic
    this.#setLeds(data.leds)
    this.#keyTypes = data.keyTypes.slice()
    this.#pressed.clear()
    for (const code of data.pressed) this.#pressed.add(code)
    this.#stopRepeating()
    if (data.repeating !== null) {
      this.#repeating = data.repeating
      this.#repeatTimer.arm(data.repeatAt)
    }
    if (!this.waiting) this.#release()
  }

  [Symbol.dispose](): void {
    this.#stopRepeating()
    this.#release()
  }
}
