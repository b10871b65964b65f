// A PS/2 mouse: the standard one with three buttons (IBM Personal System/2 Hardware Interface Technical Reference, "Mouse"), which becomes one with a wheel (id 3) and with five
// buttons (id 4) for drivers that knock with the sample rates of Microsoft's IntelliMouse and IntelliMouse Explorer.
//
// Its sensor gives 8 counts a millimetre, the finest resolution; coarser ones report fewer counts, and keep what remains.

import type { Clock, MouseInput, SavedState, Timer } from '@partita/interface'
import * as v from 'valibot'
import { ByteQueue } from './byte-queue.ts'
import { MouseMotion } from './mouse-motion.ts'
import { type Ps2Device, REPLY } from './ps2-device.ts'
import { bytesUpTo, checkState, STATE_VERSION, upTo } from './ps2-error.ts'

/** Commands of the host. */
const MOUSE_COMMAND = {
  SET_SCALING_1_1: 0xe6,
  SET_SCALING_2_1: 0xe7,
  SET_RESOLUTION: 0xe8,
  STATUS_REQUEST: 0xe9,
  SET_STREAM_MODE: 0xea,
  READ_DATA: 0xeb,
  RESET_WRAP_MODE: 0xec,
  SET_WRAP_MODE: 0xee,
  SET_REMOTE_MODE: 0xf0,
  GET_DEVICE_ID: 0xf2,
  SET_SAMPLE_RATE: 0xf3,
  ENABLE: 0xf4,
  DISABLE: 0xf5,
  SET_DEFAULT: 0xf6,
  RESEND: 0xfe,
  RESET: 0xff,
} as const

/** Answers to GET_DEVICE_ID. */
const DEVICE_ID = { STANDARD: 0, WHEEL: 3, FIVE_BUTTONS: 4 } as const
/** The three sample rates before GET_DEVICE_ID that change the id. */
const KNOCKS: readonly (readonly [id: number, ...rates: readonly number[]])[] = [
  [DEVICE_ID.WHEEL, 200, 100, 80],
  [DEVICE_ID.FIVE_BUTTONS, 200, 200, 80],
]
const SAMPLE_RATES: readonly number[] = [10, 20, 40, 60, 80, 100, 200]
const DEFAULT_SAMPLE_RATE = 100
/** Counts a millimetre: 1, 2, 4, 8. */
const DEFAULT_RESOLUTION = 2
const FINEST_RESOLUTION = 3

/** The first byte of a packet. */
const PACKET = { ALWAYS: 0x08, X_SIGN: 0x10, Y_SIGN: 0x20 } as const
/** A packet's movement has nine bits. The most negative number of them has a low byte of zero, which drivers (Linux' psmouse) take for no movement. */
const MOST_NEGATIVE = -255
const MOST_POSITIVE = 255
/** Bits of the buttons as packets have them, by the number of `MouseEvent.button`. */
const BUTTON_BITS: readonly number[] = [1, 4, 2, 8, 16]
/** Bits of the answer to STATUS_REQUEST. */
const STATUS = { REMOTE: 0x40, ENABLED: 0x20, SCALING_2_1: 0x10, LEFT: 4, MIDDLE: 2, RIGHT: 1 } as const

/** What is reported for a count with scaling 2:1. */
const SCALED: readonly number[] = [0, 1, 1, 3, 6, 9]

function scale(count: number): number {
  const magnitude = Math.abs(count)
  return Math.sign(count) * (SCALED[magnitude] ?? 2 * magnitude)
}

const integer = v.pipe(v.number(), v.integer(), v.minValue(-0xffff), v.maxValue(0xffff))
const stateSchema = v.strictObject({
  output: bytesUpTo(16),
  lastSent: bytesUpTo(5),
  command: upTo(0xff),
  invalid: v.boolean(),
  id: v.picklist([0, 3, 4]),
  rates: v.pipe(v.array(upTo(0xff)), v.length(3)),
  sampleRate: v.picklist(SAMPLE_RATES),
  resolution: upTo(3),
  scaling: v.boolean(),
  enabled: v.boolean(),
  mode: v.picklist(['stream', 'remote', 'wrap']),
  modeBeforeWrap: v.picklist(['stream', 'remote']),
  buttons: upTo(0x1f),
  motion: v.pipe(v.array(integer), v.maxLength(128)),
  remainder: v.pipe(v.array(integer), v.length(2)),
  nextSample: v.pipe(v.number(), v.minValue(0)),
})

/** A mouse at the second port of the controller. */
export class Ps2Mouse implements Ps2Device, MouseInput {
  readonly #clock: Clock
  readonly #sampleTimer: Timer
  readonly #output: ByteQueue = new ByteQueue(16)
  readonly #motion: MouseMotion = new MouseMotion()
  /** What RESEND repeats: the last packet or answer. */
  #lastSent: number[] = []
  #command = 0
  /** The last byte was no valid one: the next such is an error. */
  #invalid = false
  #id: number = DEVICE_ID.STANDARD
  #rates: number[] = [0, 0, 0]
  #sampleRate: number = DEFAULT_SAMPLE_RATE
  #resolution: number = DEFAULT_RESOLUTION
  #scaling = false
  #enabled = false
  #mode: 'stream' | 'remote' | 'wrap' = 'stream'
  #modeBeforeWrap: 'stream' | 'remote' = 'stream'
  #buttons = 0
  /** Counts of the sensor that were too few for one of the resolution. */
  #remainderX = 0
  #remainderY = 0
  /** No report before this time. */
  #nextSample = 0
  onWaiting: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
    this.#sampleTimer = clock.createTimer(() => this.#sample())
  }

  // ── whoever moves it ──

  move(dx: number, dy: number): void {
    const divisor = 2 ** (FINEST_RESOLUTION - this.#resolution)
    const x = clampCounts(dx) + this.#remainderX
    const y = clampCounts(dy) + this.#remainderY
    const countsX = Math.trunc(x / divisor)
    const countsY = Math.trunc(y / divisor)
    this.#remainderX = x - countsX * divisor
    this.#remainderY = y - countsY * divisor
    // Up is positive on the wire.
    if (countsX !== 0 || countsY !== 0) this.#happened(countsX, -countsY, 0)
  }

  wheel(detents: number): void {
    const turned = clampCounts(detents)
    if (turned !== 0 && this.#id !== DEVICE_ID.STANDARD) this.#happened(0, 0, turned)
  }

  button(button: number, pressed: boolean): void {
    const bit = BUTTON_BITS[button]
    if (bit === undefined) return
    const buttons = pressed ? this.#buttons | bit : this.#buttons & ~bit
    if (buttons === this.#buttons) return
    this.#buttons = buttons
    this.#happened(0, 0, 0)
  }

  #happened(dx: number, dy: number, wheel: number): void {
    if (this.#mode === 'stream' && !this.#enabled) return
    this.#motion.add(dx, dy, wheel, this.#buttons)
    this.#schedule()
  }

  // ── reports ──

  /** Have the next report made when its time has come and the one before is with the host. */
  #schedule(): void {
    if (this.#motion.empty || !this.#enabled || this.#mode !== 'stream' || this.#output.length > 0) return
    if (this.#clock.now() >= this.#nextSample) this.#sample()
    else this.#sampleTimer.arm(this.#nextSample)
  }

  #sample(): void {
    if (this.#motion.empty || !this.#enabled || this.#mode !== 'stream' || this.#output.length > 0) return
    this.#nextSample = this.#clock.now() + 1e9 / this.#sampleRate
    this.#send(this.#packet(this.#scaling))
  }

  /** The oldest step as a packet, as far as it fits into one. */
  #packet(scaling: boolean): number[] {
    const motion = this.#motion
    const { id } = this
    const buttons = motion.empty ? this.#buttons : motion.buttons
    let x = 0
    let y = 0
    let wheel = 0
    if (!motion.empty) {
      // With scaling, half of the range, so that the result has nine bits.
      const half = scaling ? 2 : 1
      x = clamp(motion.x, Math.trunc(MOST_NEGATIVE / half), Math.trunc(MOST_POSITIVE / half))
      y = clamp(motion.y, Math.trunc(MOST_NEGATIVE / half), Math.trunc(MOST_POSITIVE / half))
      // One detent in each packet of the five-button protocol: drivers (Linux' psmouse) take more for a second wheel.
      wheel = id === DEVICE_ID.FIVE_BUTTONS ? clamp(motion.wheel, -1, 1) : clamp(motion.wheel, -8, 7)
      motion.take(x, y, wheel)
      if (scaling) {
        x = scale(x)
        y = scale(y)
      }
    }
    const first = PACKET.ALWAYS | (buttons & 7) | (x < 0 ? PACKET.X_SIGN : 0) | (y < 0 ? PACKET.Y_SIGN : 0)
    const packet = [first, x & 0xff, y & 0xff]
    if (id === DEVICE_ID.WHEEL) packet.push(wheel & 0xff)
    else if (id === DEVICE_ID.FIVE_BUTTONS) packet.push((wheel & 0xf) | ((buttons & 0x18) << 1))
    return packet
  }

  /** What GET_DEVICE_ID answers: 0, or 3 with a wheel, or 4 with five buttons. */
  get id(): number {
    return this.#id
  }

  // ── the wire ──

  get waiting(): boolean {
    return this.#output.length > 0
  }

  take(): number {
    const value = this.#output.shift()
    if (this.#output.length === 0) this.#schedule()
    return value
  }

  #send(bytes: readonly number[]): void {
    this.#lastSent = [...bytes]
    for (const value of bytes) this.#output.push(value)
    this.onWaiting?.()
  }

  #acknowledge(...values: number[]): void {
    this.#send([REPLY.ACKNOWLEDGE, ...values])
  }

  receive(value: number): void {
    // What was on its way when the command came is not sent any more.
    this.#output.clear()
    if (this.#mode === 'wrap' && value !== MOUSE_COMMAND.RESET_WRAP_MODE && value !== MOUSE_COMMAND.RESET) {
      this.#send([value])
      return
    }
    const command = this.#command
    this.#command = 0
    const valid = command === 0 ? this.#execute(value) : this.#parameter(command, value)
    if (!valid) this.#send([this.#invalid ? REPLY.ERROR : REPLY.RESEND])
    if (!valid && !this.#invalid) this.#command = command
    this.#invalid = !valid && !this.#invalid
  }

  #parameter(command: number, value: number): boolean {
    if (command === MOUSE_COMMAND.SET_RESOLUTION) {
      if (value > FINEST_RESOLUTION) return false
      this.#resolution = value
      this.#forget()
    } else {
      if (!SAMPLE_RATES.includes(value)) return false
      this.#sampleRate = value
      this.#rates = [...this.#rates.slice(1), value]
      this.#forget()
    }
    this.#acknowledge()
    return true
  }

  #execute(value: number): boolean {
    switch (value) {
      case MOUSE_COMMAND.SET_SCALING_1_1:
      case MOUSE_COMMAND.SET_SCALING_2_1:
        this.#scaling = value === MOUSE_COMMAND.SET_SCALING_2_1
        break
      case MOUSE_COMMAND.SET_RESOLUTION:
      case MOUSE_COMMAND.SET_SAMPLE_RATE:
        this.#command = value
        break
      case MOUSE_COMMAND.STATUS_REQUEST:
        this.#acknowledge(this.#status(), this.#resolution, this.#sampleRate)
        return true
      case MOUSE_COMMAND.SET_STREAM_MODE:
      case MOUSE_COMMAND.SET_REMOTE_MODE:
        this.#mode = value === MOUSE_COMMAND.SET_STREAM_MODE ? 'stream' : 'remote'
        this.#forget()
        break
      case MOUSE_COMMAND.READ_DATA:
        this.#acknowledge(...this.#packet(false))
        return true
      case MOUSE_COMMAND.SET_WRAP_MODE:
        if (this.#mode !== 'wrap') this.#modeBeforeWrap = this.#mode
        this.#mode = 'wrap'
        this.#forget()
        break
      case MOUSE_COMMAND.RESET_WRAP_MODE:
        if (this.#mode === 'wrap') this.#mode = this.#modeBeforeWrap
        this.#forget()
        break
      case MOUSE_COMMAND.GET_DEVICE_ID:
        this.#knock()
        this.#acknowledge(this.#id)
        return true
      case MOUSE_COMMAND.ENABLE:
      case MOUSE_COMMAND.DISABLE:
        this.#enabled = value === MOUSE_COMMAND.ENABLE
        this.#forget()
        break
      case MOUSE_COMMAND.SET_DEFAULT:
        this.#setDefault()
        break
      case MOUSE_COMMAND.RESEND:
        this.#send(this.#lastSent)
        return true
      case MOUSE_COMMAND.RESET:
        this.reset()
        this.#acknowledge(REPLY.SELF_TEST_PASSED, DEVICE_ID.STANDARD)
        return true
      default:
        return false
    }
    this.#acknowledge()
    return true
  }

  #knock(): void {
    for (const [id, ...rates] of KNOCKS) {
      if (rates.every((rate, i) => rate === this.#rates[i])) this.#id = id
    }
    this.#rates = [0, 0, 0]
  }

  #status(): number {
    return (
      (this.#mode === 'remote' ? STATUS.REMOTE : 0) |
      (this.#enabled ? STATUS.ENABLED : 0) |
      (this.#scaling ? STATUS.SCALING_2_1 : 0) |
      ((this.#buttons & 1) !== 0 ? STATUS.LEFT : 0) |
      ((this.#buttons & 4) !== 0 ? STATUS.MIDDLE : 0) |
      ((this.#buttons & 2) !== 0 ? STATUS.RIGHT : 0)
    )
  }

  /** The counters start from nothing. */
  #forget(): void {
    this.#motion.clear()
    this.#remainderX = 0
    this.#remainderY = 0
    this.#sampleTimer.cancel()
  }

  #setDefault(): void {
    this.#forget()
    this.#sampleRate = DEFAULT_SAMPLE_RATE
    this.#resolution = DEFAULT_RESOLUTION
    this.#scaling = false
    this.#enabled = false
    this.#mode = 'stream'
  }

  // ── the machine ──

  /** Power-on: a standard mouse that does not report. Buttons that are down stay so. */
  reset(): void {
    this.#setDefault()
    this.#output.clear()
    this.#lastSent = []
    this.#command = 0
    this.#invalid = false
    this.#id = DEVICE_ID.STANDARD
    this.#rates = [0, 0, 0]
    this.#nextSample = 0
  }

  save(): SavedState {
    return {
      version: STATE_VERSION,
      data: {
        output: this.#output.save(),
        lastSent: Uint8Array.from(this.#lastSent),
        command: this.#command,
        invalid: this.#invalid,
        id: this.#id,
        rates: [...this.#rates],
        sampleRate: this.#sampleRate,
        resolution: this.#resolution,
        scaling: this.#scaling,
        enabled: this.#enabled,
        mode: this.#mode,
        modeBeforeWrap: this.#modeBeforeWrap,
        buttons: this.#buttons,
        motion: this.#motion.save(),
        remainder: [this.#remainderX, this.#remainderY],
        nextSample: this.#nextSample,
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
    this.#sampleTimer.cancel()
    this.#output.restore(data.output)
    this.#lastSent = [...data.lastSent]
    this.#command = data.command
    this.#invalid = data.invalid
    this.#id = data.id
    this.#rates = [...data.rates]
    this.#sampleRate = data.sampleRate
    this.#resolution = data.resolution
    this.#scaling = data.scaling
    this.#enabled = data.enabled
    this.#mode = data.mode
    this.#modeBeforeWrap = data.modeBeforeWrap
    this.#buttons = data.buttons
    this.#motion.restore(data.motion)
    this.#remainderX = data.remainder[0] ?? 0
    this.#remainderY = data.remainder[1] ?? 0
    this.#nextSample = data.nextSample
    // Not before the controller is restored, too.
    if (!this.#motion.empty) this.#sampleTimer.arm(Math.max(this.#nextSample, this.#clock.now()))
  }

  [Symbol.dispose](): void {
    this.#sampleTimer.cancel()
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value))
}

/** Whole counts that no counter overflows with. */
function clampCounts(value: number): number {
  return Number.isFinite(value) ? clamp(Math.trunc(value), -0x7fff, 0x7fff) : 0
}
