// The pair of 8259A interrupt controllers of a PC: master at ports 0x20/0x21, slave at 0xA0/0xA1 behind the master's input 2, edge/level control
// registers at 0x4D0/0x4D1. Drives the boot processor's INTR pin and answers its interrupt acknowledge cycles.

import {
  definePlugin,
  type InterruptMessages,
  interruptMessagesToken,
  type Plugin,
  type PluginInstance,
  type PortIo,
  portIoToken,
  type SavedState,
} from '@partita/interface'
import * as v from 'valibot'
import { ByteRegisters } from './byte-registers.ts'
import { checkState } from './chipset-error.ts'
import { I8259A, type I8259AState, i8259aState } from './i8259a.ts'
import { type InterruptController, picToken } from './tokens.ts'

const NAME = '@partita/emulated-chipset/pic'
const CASCADE = 2
/** 82371AB data sheet, ELCR1 and ELCR2: interrupts 0, 1, 2, 8 and 13 are edge-triggered always. */
const MASTER_ELCR = 0xf8
const SLAVE_ELCR = 0xde

const stateSchema: v.GenericSchema<unknown, { master: I8259AState; slave: I8259AState }> = v.strictObject({
  master: i8259aState,
  slave: i8259aState,
})

class ChipPorts extends ByteRegisters {
  readonly #chip: I8259A

  constructor(chip: I8259A) {
    super()
    this.#chip = chip
  }

  protected override readByte(offset: number): number {
    return offset === 0 ? this.#chip.readCommand() : this.#chip.readData()
  }

  protected override writeByte(offset: number, value: number): void {
    if (offset === 0) this.#chip.writeCommand(value)
    else this.#chip.writeData(value)
  }
}

class EdgeLevelPorts extends ByteRegisters {
  readonly #chips: readonly [I8259A, I8259A]

  constructor(master: I8259A, slave: I8259A) {
    super()
    this.#chips = [master, slave]
  }

  protected override readByte(offset: number): number {
    return (offset === 0 ? this.#chips[0] : this.#chips[1]).edgeLevelControl
  }

  protected override writeByte(offset: number, value: number): void {
    const chip = offset === 0 ? this.#chips[0] : this.#chips[1]
    chip.edgeLevelControl = value
  }
}

/** Master and slave. */
export class PicPair implements InterruptController {
  readonly inputs = 16
  readonly #messages: InterruptMessages
  readonly #master: I8259A
  readonly #slave: I8259A
  #interrupt = false

  constructor(ports: PortIo, messages: InterruptMessages, owned: DisposableStack) {
    this.#messages = messages
    this.#master = new I8259A(MASTER_ELCR, 1 << CASCADE, () => this.#drive())
    this.#slave = new I8259A(SLAVE_ELCR, 0, () => this.#master.setInput(CASCADE, this.#slave.interrupt))
    owned.use(ports.claim(0x20, 2, new ChipPorts(this.#master)))
    owned.use(ports.claim(0xa0, 2, new ChipPorts(this.#slave)))
    owned.use(ports.claim(0x4d0, 2, new EdgeLevelPorts(this.#master, this.#slave)))
    messages.setAcknowledge(() => this.acknowledge())
    this.reset()
  }

  #drive(): void {
    const interrupt = this.#master.interrupt
    if (interrupt === this.#interrupt) return
    this.#interrupt = interrupt
    this.#messages.setExternalInterrupt(interrupt)
  }

  setInput(input: number, asserted: boolean): void {
    if (input >= 8) this.#slave.setInput(input - 8, asserted)
    else if (input !== CASCADE) this.#master.setInput(input, asserted)
  }

  /** The interrupt acknowledge cycle; returns the vector. Without a request it is the spurious interrupt 7 of the chip that was asked. */
  acknowledge(): number {
    const input = this.#master.acknowledge()
    if (input < 0) return this.#master.vector(7)
    if (input !== CASCADE) return this.#master.vector(input)
    const behind = this.#slave.acknowledge()
    return this.#slave.vector(behind < 0 ? 7 : behind)
  }

  reset(): void {
    this.#master.reset()
    this.#slave.reset()
  }

  save(): SavedState {
    return { version: 1, data: { master: this.#master.save(), slave: this.#slave.save() } }
  }

  restore(state: SavedState): void {
    const { master, slave } = checkState(NAME, state, 1, stateSchema)
    this.#slave.restore(slave)
    this.#master.restore(master)
    this.#interrupt = this.#master.interrupt
    this.#messages.setExternalInterrupt(this.#interrupt)
  }
}

/** Options of `@partita/emulated-chipset/pic`: none. */
export type PicOptions = Record<string, never>

/** The plug-in: the pair of 8259A. */
const plugin: Plugin<PicOptions> = definePlugin<PicOptions>({
  name: NAME,
  kind: 'emulated-device',
  contract: 1,
  description: 'Two cascaded 8259A interrupt controllers',
  options: v.strictObject({}),
  needs: [portIoToken, interruptMessagesToken],
  provides: [picToken],
  create: (context): PluginInstance => {
    using owning = new DisposableStack()
    const pic = new PicPair(context.get(portIoToken), context.get(interruptMessagesToken), owning)
    const owned = owning.move()
    return {
      services: { [picToken.name]: pic },
      save: () => pic.save(),
      restore: (state) => pic.restore(state),
      reset: () => pic.reset(),
      async [Symbol.asyncDispose]() {
        owned.dispose()
      },
    }
  },
})

export default plugin
