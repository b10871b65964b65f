// The ways to reset a PC: the reset control register at port 0xCF9 (82371AB data sheet, register RC), system control port A at 0x92 (fast A20 and fast reset), and the reset
// pulse of the keyboard controller (command 0xFE at port 0x64). The last one is for machines without a keyboard controller: a PS/2 controller
// brings its own, and then `keyboardController: false` leaves the port to it.

import {
  type A20Gate,
  type AddressLine20,
  a20GateToken,
  addressLine20Token,
  definePlugin,
  type Plugin,
  type PluginInstance,
  type PortHandler,
  type PowerControl,
  portIoToken,
  powerControlToken,
  type SavedState,
} from '@partita/interface'
import * as v from 'valibot'
import { ByteRegisters } from './byte-registers.ts'
import { checkState, unsigned } from './chipset-error.ts'
import { resetRegisterHostToken } from './tokens.ts'

const NAME = '@partita/emulated-chipset/reset'
/** Bits of port 0xCF9. A reset is the change of RST_CPU from 0 to 1; SYS_RST chooses a hard one, which is the only one here. */
const RESET_CONTROL = { SYS_RST: 0x02, RST_CPU: 0x04 } as const
/** Bits of port 0x92. */
const PORT_A = { FAST_RESET: 0x01, A20: 0x02 } as const
/** Keyboard controller commands 0xF0–0xFF pulse output port bits whose command bit is 0; bit 0 is the processor's reset. */
const KEYBOARD_PULSE = 0xf0

const stateSchema: v.GenericSchema<unknown, { resetControl: number; portA: number }> = v.strictObject({
  resetControl: unsigned(8),
  portA: unsigned(8),
})

class ByteRegister extends ByteRegisters {
  readonly #read: () => number
  readonly #write: (value: number) => void

  constructor(read: () => number, write: (value: number) => void) {
    super()
    this.#read = read
    this.#write = write
  }

  protected override readByte(): number {
    return this.#read()
  }

  protected override writeByte(_offset: number, value: number): void {
    this.#write(value)
  }
}

/** The three reset registers, and the A20 gate that is in one of them. */
export class ResetRegisters implements A20Gate {
  readonly #power: PowerControl
  readonly #line20: AddressLine20 | undefined
  #resetControl = 0
  #portA: number = PORT_A.A20
  /** Port 0xCF9. */
  readonly resetControl: PortHandler = new ByteRegister(
    () => this.#resetControl,
    (value) => this.#writeResetControl(value),
  )
  /** Port 0x92. */
  readonly portA: PortHandler = new ByteRegister(
    () => this.#portA,
    (value) => this.#writePortA(value),
  )
  /** Port 0x64 of a machine without keyboard controller: reads as nothing there. */
  readonly keyboardCommand: PortHandler = new ByteRegister(
    () => 0xff,
    (value) => {
      if ((value & KEYBOARD_PULSE) === KEYBOARD_PULSE && (value & 1) === 0) this.#reset()
    },
  )

  /** Without `line20` the gate is a bit that reads back as written. */
  constructor(power: PowerControl, line20?: AddressLine20) {
    this.#power = power
    this.#line20 = line20
  }

  /** The A20 gate, bit 1 of port 0x92. */
  get enabled(): boolean {
    return (this.#portA & PORT_A.A20) !== 0
  }

  set enabled(enabled: boolean) {
    this.#portA = enabled ? this.#portA | PORT_A.A20 : this.#portA & ~PORT_A.A20
    this.#line20?.connect(enabled)
  }

  #reset(): void {
    this.#power.request({ type: 'reset' })
  }

  #writeResetControl(value: number): void {
    const rising = (value & ~this.#resetControl & RESET_CONTROL.RST_CPU) !== 0
    this.#resetControl = value & (RESET_CONTROL.SYS_RST | RESET_CONTROL.RST_CPU)
    if (rising) this.#reset()
  }

  #writePortA(value: number): void {
    const rising = (value & ~this.#portA & PORT_A.FAST_RESET) !== 0
    this.#portA = value & (PORT_A.FAST_RESET | PORT_A.A20)
    this.#line20?.connect(this.enabled)
    if (rising) this.#reset()
  }

  reset(): void {
    this.#resetControl = 0
    this.enabled = true
    this.#portA = PORT_A.A20
  }

  save(): SavedState {
    return { version: 1, data: { resetControl: this.#resetControl, portA: this.#portA } }
  }

  restore(state: SavedState): void {
    const data = checkState(NAME, state, 1, stateSchema)
    this.#resetControl = data.resetControl & (RESET_CONTROL.SYS_RST | RESET_CONTROL.RST_CPU)
    this.#portA = data.portA & (PORT_A.FAST_RESET | PORT_A.A20)
    this.#line20?.connect(this.enabled)
  }
}

/** Options of `@partita/emulated-chipset/reset`. */
export interface ResetOptions {
  /** Whether to answer the keyboard controller's reset command at port 0x64. Default: true. */
  readonly keyboardController: boolean
}

/** The plug-in: the registers that reset the machine. */
const plugin: Plugin<ResetOptions> = definePlugin<ResetOptions>({
  name: NAME,
  kind: 'emulated-device',
  contract: 1,
  description: 'The reset registers of a PC: ports 0xCF9, 0x92 and 0x64',
  options: v.strictObject({ keyboardController: v.optional(v.boolean(), true) }),
  needs: [portIoToken, powerControlToken],
  // Port 0xCF9 is inside the PCI host bridge's address register, where there is one.
  uses: [resetRegisterHostToken, addressLine20Token],
  provides: [a20GateToken],
  create: (context): PluginInstance => {
    const ports = context.get(portIoToken)
    const registers = new ResetRegisters(context.get(powerControlToken), context.find(addressLine20Token))
    using owning = new DisposableStack()
    const host = context.find(resetRegisterHostToken)
    owning.use(
      host === undefined
        ? ports.claim(0xcf9, 1, registers.resetControl)
        : host.setResetRegister(registers.resetControl, context.id),
    )
    owning.use(ports.claim(0x92, 1, registers.portA))
    if (context.options.keyboardController) owning.use(ports.claim(0x64, 1, registers.keyboardCommand))
    const owned = owning.move()
    return {
      services: { [a20GateToken.name]: registers },
      save: () => registers.save(),
      restore: (state) => registers.restore(state),
      reset: () => registers.reset(),
      async [Symbol.asyncDispose]() {
        owned.dispose()
      },
    }
  },
})

export default plugin
