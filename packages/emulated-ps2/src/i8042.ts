// The 8042: the controller between a keyboard, a mouse and ports 0x60 and 0x64 (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
// Controller"). A byte is at port 0x60 as soon as the guest has read the one before; interrupts are the edges of the ISA lines 1 and 12.
//
// After a reset it is as firmware leaves it: translation on, keyboard on with its interrupt, mouse off, system flag set. Firmware that begins with the self test
// finds what the self test leaves: both devices off.

import type { AccessSize, InterruptLine, PortHandler, SavedState } from '@partita/interface'
import * as v from 'valibot'
import { ByteQueue } from './byte-queue.ts'
import { ANSWER, COMMAND, COMMAND_BYTE, INPUT_PORT, OUTPUT_PORT, STATUS } from './i8042-registers.ts'
import { Password } from './password.ts'
import type { Ps2Device } from './ps2-device.ts'
import { bytesUpTo, checkState, STATE_VERSION, upTo } from './ps2-error.ts'
import { RELEASE } from './scan-codes.ts'
import { translate } from './translation.ts'

const RAM_SIZE = 32
const AFTER_RESET: number =
  COMMAND_BYTE.TRANSLATE | COMMAND_BYTE.DISABLE_AUXILIARY | COMMAND_BYTE.SYSTEM_FLAG | COMMAND_BYTE.KEYBOARD_INTERRUPT
const AFTER_SELF_TEST: number =
  COMMAND_BYTE.TRANSLATE | COMMAND_BYTE.DISABLE_AUXILIARY | COMMAND_BYTE.DISABLE_KEYBOARD | COMMAND_BYTE.SYSTEM_FLAG

/** Who put the byte into the output buffer. */
const SOURCE = { NONE: 0, CONTROLLER: 1, KEYBOARD: 2, AUXILIARY: 3 } as const

/** What an {@link I8042} is wired to. */
export interface I8042Wiring {
  /** ISA interrupt 1. */
  readonly keyboardLine: InterruptLine
  /** ISA interrupt 12. */
  readonly auxiliaryLine: InterruptLine
  /** What is at the keyboard's port. */
  readonly keyboard: Ps2Device
  /** What is at the auxiliary port. */
  readonly mouse: Ps2Device
  /** Pin 0 of the output port went low. */
  readonly resetProcessor: () => void
  /** The gate of address line 20, pin 1 of the output port: `enabled` is what the pin was set to. */
  readonly a20: { enabled: boolean }
}

const stateSchema = v.strictObject({
  ram: v.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length === RAM_SIZE,
    `expected ${RAM_SIZE} bytes`,
  ),
  data: upTo(0xff),
  source: upTo(3),
  answers: bytesUpTo(4),
  command: upTo(0xff),
  lastWasCommand: v.boolean(),
  released: v.boolean(),
  polled: v.nullable(upTo(0xff)),
  auxiliaryTurn: v.boolean(),
  password: bytesUpTo(8),
  passwordMatched: upTo(8),
  locked: v.boolean(),
})

/** The controller. {@link I8042.dataPort} and {@link I8042.commandPort} are the handlers of its ports. */
export class I8042 implements Disposable {
  readonly #wiring: I8042Wiring
  readonly #ram: Uint8Array = new Uint8Array(RAM_SIZE)
  readonly #answers: ByteQueue = new ByteQueue(4)
  readonly #password: Password = new Password()
  #data = 0
  #source: number = SOURCE.NONE
  /** The command whose parameter comes next at port 0x60; 0 for none. */
  #command = 0
  #lastWasCommand = false
  /** Translation has seen the prefix of a release. */
  #released = false
  /** Bits 4–7 of the status while the input port is polled. */
  #polled: number | undefined
  /** It is the mouse's turn when both devices have something. */
  #auxiliaryTurn = false
  #filling = false
  /** Port 0x60. */
  readonly dataPort: PortHandler = bytePort(
    () => this.#readData(),
    (value) => this.#writeData(value),
  )
  /** Port 0x64. */
  readonly commandPort: PortHandler = bytePort(
    () => this.#readStatus(),
    (value) => this.#writeCommand(value),
  )

  constructor(wiring: I8042Wiring) {
    this.#wiring = wiring
    this.reset()
    wiring.keyboard.onWaiting = () => this.#fill()
    wiring.mouse.onWaiting = () => this.#fill()
  }

  get #commandByte(): number {
    return this.#ram[0] ?? 0
  }

  // ── ports ──

  #readData(): number {
    const value = this.#data
    if (this.#source === SOURCE.NONE) return value
    this.#source = SOURCE.NONE
    // The lines fall before they rise again for the next byte: its interrupt is an edge.
    this.#updateLines()
    this.#fill()
    return value
  }

  #readStatus(): number {
    const source = this.#source
    const status =
      (source === SOURCE.NONE ? 0 : STATUS.OUTPUT_BUFFER_FULL) |
      ((this.#commandByte & COMMAND_BYTE.SYSTEM_FLAG) === 0 ? 0 : STATUS.SYSTEM_FLAG) |
      (this.#lastWasCommand ? STATUS.COMMAND : 0)
    if (this.#polled !== undefined) return status | this.#polled
    return (
      status | (this.#password.locked ? 0 : STATUS.UNLOCKED) | (source === SOURCE.AUXILIARY ? STATUS.AUXILIARY_DATA : 0)
    )
  }

  #writeData(value: number): void {
    const command = this.#command
    this.#lastWasCommand = false
    this.#polled = undefined
    this.#command = 0
    if (command !== 0) this.#parameter(command, value)
    else {
      this.#setCommandByte(this.#commandByte & ~COMMAND_BYTE.DISABLE_KEYBOARD)
      this.#wiring.keyboard.receive(value)
    }
    this.#fill()
  }

  #writeCommand(value: number): void {
    this.#lastWasCommand = true
    this.#polled = undefined
    this.#command = 0
    this.#execute(value)
    this.#fill()
  }

  #parameter(command: number, value: number): void {
    switch (command) {
      case COMMAND.LOAD_PASSWORD:
        if (this.#password.load(value)) this.#command = command
        break
      case COMMAND.WRITE_OUTPUT_PORT:
        this.#wiring.a20.enabled = (value & OUTPUT_PORT.A20) !== 0
        if ((value & OUTPUT_PORT.NO_RESET) === 0) this.#wiring.resetProcessor()
        break
      case COMMAND.WRITE_KEYBOARD_OUTPUT:
        this.#put(value, SOURCE.KEYBOARD)
        break
      case COMMAND.WRITE_AUXILIARY_OUTPUT:
        this.#put(value, SOURCE.AUXILIARY)
        break
      case COMMAND.WRITE_AUXILIARY:
        this.#setCommandByte(this.#commandByte & ~COMMAND_BYTE.DISABLE_AUXILIARY)
        this.#wiring.mouse.receive(value)
        break
      default: {
        const location = command & (RAM_SIZE - 1)
        if (location === 0) this.#setCommandByte(value)
        else this.#ram[location] = value
      }
    }
  }

  #execute(value: number): void {
    if (value >= COMMAND.PULSE_OUTPUT_PORT) {
      if ((value & OUTPUT_PORT.NO_RESET) === 0) this.#wiring.resetProcessor()
      return
    }
    if ((value & ~(RAM_SIZE - 1)) === COMMAND.READ_RAM) {
      this.#answer(this.#ram[value & (RAM_SIZE - 1)] ?? 0)
      return
    }
    if ((value & ~(RAM_SIZE - 1)) === COMMAND.WRITE_RAM) {
      this.#command = value
      return
    }
    const commandByte = this.#commandByte
    switch (value) {
      case COMMAND.TEST_PASSWORD:
        this.#answer(this.#password.installed ? ANSWER.PASSWORD_INSTALLED : ANSWER.NO_PASSWORD)
        break
      case COMMAND.LOAD_PASSWORD:
        this.#password.clear()
        this.#command = value
        break
      case COMMAND.ENABLE_PASSWORD:
        this.#password.enable()
        break
      case COMMAND.DISABLE_AUXILIARY:
        this.#setCommandByte(commandByte | COMMAND_BYTE.DISABLE_AUXILIARY)
        break
      case COMMAND.ENABLE_AUXILIARY:
        this.#setCommandByte(commandByte & ~COMMAND_BYTE.DISABLE_AUXILIARY)
        break
      case COMMAND.TEST_AUXILIARY:
      case COMMAND.TEST_KEYBOARD:
        this.#answer(ANSWER.INTERFACE_TEST_PASSED)
        break
      case COMMAND.SELF_TEST:
        this.#setCommandByte(AFTER_SELF_TEST)
        this.#released = false
        this.#answers.clear()
        // What nobody has read is written over.
        this.#source = SOURCE.NONE
        this.#answer(ANSWER.SELF_TEST_PASSED)
        break
      case COMMAND.DISABLE_KEYBOARD:
        this.#setCommandByte(commandByte | COMMAND_BYTE.DISABLE_KEYBOARD)
        break
      case COMMAND.ENABLE_KEYBOARD:
        this.#setCommandByte(commandByte & ~COMMAND_BYTE.DISABLE_KEYBOARD)
        break
      case COMMAND.READ_INPUT_PORT:
        this.#answer(INPUT_PORT)
        break
      case COMMAND.POLL_INPUT_PORT_LOW:
        this.#polled = (INPUT_PORT << 4) & 0xf0
        break
      case COMMAND.POLL_INPUT_PORT_HIGH:
        this.#polled = INPUT_PORT & 0xf0
        break
      case COMMAND.READ_OUTPUT_PORT:
        this.#answer(this.#outputPort())
        break
      case COMMAND.WRITE_OUTPUT_PORT:
      case COMMAND.WRITE_KEYBOARD_OUTPUT:
      case COMMAND.WRITE_AUXILIARY_OUTPUT:
      case COMMAND.WRITE_AUXILIARY:
        this.#command = value
        break
      case COMMAND.DISABLE_A20:
      case COMMAND.ENABLE_A20:
        this.#wiring.a20.enabled = value === COMMAND.ENABLE_A20
        break
      case COMMAND.READ_TEST_INPUTS:
        // T0 is the keyboard's clock, T1 the mouse's: low while the interface is off.
        this.#answer(
          ((commandByte & COMMAND_BYTE.DISABLE_KEYBOARD) === 0 ? 1 : 0) |
            ((commandByte & COMMAND_BYTE.DISABLE_AUXILIARY) === 0 ? 2 : 0),
        )
        break
      default:
      // Reserved: nothing happens.
    }
  }

  #outputPort(): number {
    const commandByte = this.#commandByte
    return (
      OUTPUT_PORT.NO_RESET |
      (this.#wiring.a20.enabled ? OUTPUT_PORT.A20 : 0) |
      OUTPUT_PORT.AUXILIARY_DATA |
      ((commandByte & COMMAND_BYTE.DISABLE_AUXILIARY) === 0 ? 0 : OUTPUT_PORT.AUXILIARY_CLOCK) |
      (this.#keyboardInterrupt ? OUTPUT_PORT.KEYBOARD_INTERRUPT : 0) |
      (this.#auxiliaryInterrupt ? OUTPUT_PORT.AUXILIARY_INTERRUPT : 0) |
      ((commandByte & COMMAND_BYTE.DISABLE_KEYBOARD) === 0 ? OUTPUT_PORT.KEYBOARD_CLOCK : 0) |
      OUTPUT_PORT.KEYBOARD_DATA
    )
  }

  // ── the output buffer ──

  /** An answer goes before what the devices have. */
  #answer(value: number): void {
    this.#answers.push(value)
  }

  #put(value: number, source: number): void {
    this.#data = value
    this.#source = source
    this.#updateLines()
  }

  /** Put the next byte into the output buffer, when it is empty and there is one. */
  #fill(): void {
    // A device that is taken from may have its next byte at once, and calls back.
    if (this.#filling) return
    this.#filling = true
    while (this.#source === SOURCE.NONE && this.#next());
    this.#filling = false
  }

  /** False when there is nothing to take. */
  #next(): boolean {
    if (this.#answers.length > 0) {
      this.#put(this.#answers.shift(), SOURCE.CONTROLLER)
      return true
    }
    const { keyboard, mouse } = this.#wiring
    const commandByte = this.#commandByte
    const fromKeyboard = (commandByte & COMMAND_BYTE.DISABLE_KEYBOARD) === 0 && keyboard.waiting
    const fromMouse = (commandByte & COMMAND_BYTE.DISABLE_AUXILIARY) === 0 && mouse.waiting
    if (!fromKeyboard && !fromMouse) return false
    if (fromMouse && (this.#auxiliaryTurn || !fromKeyboard)) {
      this.#auxiliaryTurn = false
      const value = mouse.take()
      if (!this.#password.locked) this.#put(value, SOURCE.AUXILIARY)
      return true
    }
    this.#auxiliaryTurn = true
    this.#takeScanCode(keyboard.take())
    return true
  }

  #takeScanCode(scanCode: number): void {
    let value = scanCode
    if ((this.#commandByte & COMMAND_BYTE.TRANSLATE) !== 0) {
      if (value === RELEASE) {
        this.#released = true
        return
      }
      value = translate(value) | (this.#released ? 0x80 : 0)
      this.#released = false
    }
    if (this.#password.locked) this.#password.type(value)
    else this.#put(value, SOURCE.KEYBOARD)
  }

  #setCommandByte(value: number): void {
    this.#ram[0] = value
    if ((value & COMMAND_BYTE.TRANSLATE) === 0) this.#released = false
    this.#updateLines()
  }

  get #keyboardInterrupt(): boolean {
    const source = this.#source
    return (
      (this.#commandByte & COMMAND_BYTE.KEYBOARD_INTERRUPT) !== 0 &&
      (source === SOURCE.KEYBOARD || source === SOURCE.CONTROLLER)
    )
  }

  get #auxiliaryInterrupt(): boolean {
    return (this.#commandByte & COMMAND_BYTE.AUXILIARY_INTERRUPT) !== 0 && this.#source === SOURCE.AUXILIARY
  }

  #updateLines(): void {
    this.#wiring.keyboardLine.set(this.#keyboardInterrupt)
    this.#wiring.auxiliaryLine.set(this.#auxiliaryInterrupt)
  }

  // ── the machine ──

  reset(): void {
    this.#ram.fill(0)
    this.#answers.clear()
    this.#password.clear()
    this.#data = 0
    this.#source = SOURCE.NONE
    this.#command = 0
    this.#lastWasCommand = false
    this.#released = false
    this.#polled = undefined
    this.#auxiliaryTurn = false
    this.#setCommandByte(AFTER_RESET)
  }

  save(): SavedState {
    return {
      version: STATE_VERSION,
      data: {
        ram: this.#ram.slice(),
        data: this.#data,
        source: this.#source,
        answers: this.#answers.save(),
        command: this.#command,
        lastWasCommand: this.#lastWasCommand,
        released: this.#released,
        polled: this.#polled ?? null,
        auxiliaryTurn: this.#auxiliaryTurn,
        ...this.#password.save(),
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
    this.#ram.set(data.ram)
    this.#data = data.data
    this.#source = data.source
    this.#answers.restore(data.answers)
    this.#command = data.command
    this.#lastWasCommand = data.lastWasCommand
    this.#released = data.released
    this.#polled = data.polled ?? undefined
    this.#auxiliaryTurn = data.auxiliaryTurn
    this.#password.restore(data)
    this.#updateLines()
  }

  /** Leaves the lines low, and the devices without a controller. */
  [Symbol.dispose](): void {
    this.#wiring.keyboard.onWaiting = undefined
    this.#wiring.mouse.onWaiting = undefined
    this.#wiring.keyboardLine.set(false)
    this.#wiring.auxiliaryLine.set(false)
  }
}

/** An 8-bit register at one port: a wider access reaches it with its low byte, and finds nothing at the ports behind. */
function bytePort(read: () => number, write: (value: number) => void): PortHandler {
  return {
    read(_offset: number, size: AccessSize): number {
      const value = read()
      return size === 1 ? value : size === 2 ? 0xff00 | value : (0xffff_ff00 | value) >>> 0
    },
    write(_offset: number, _size: AccessSize, value: number): void {
      write(value & 0xff)
    },
  }
}
