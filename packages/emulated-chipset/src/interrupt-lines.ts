// Interrupt wiring of the chipset: a global system interrupt (ACPI 6.5, section 5.2.13) goes to the 8259A pair (0–15) and to the I/O APIC. ISA interrupt 0
// is wired to pin 2 of the I/O APIC, as on every PC with one (the interrupt source override in the MADT says so); input 2 of the 8259A is the cascade.
// Each caller of line() gets an output of its own; outputs on one wire are ORed, so that level-triggered devices may share it.

import {
  definePlugin,
  type InterruptLine,
  type InterruptLines,
  interruptLinesToken,
  type Plugin,
} from '@partita/interface'
import * as v from 'valibot'
import { ChipsetError, checkState } from './chipset-error.ts'
import { type InterruptController, ioApicToken, picToken } from './tokens.ts'

/** Wires, as many as the I/O APIC has pins. */
export const GSI_COUNT = 24
/** The pin of the I/O APIC that ISA interrupt 0 (the 8254) is wired to. */
export const TIMER_PIN = 2

class Wire {
  readonly #pic: InterruptController | undefined
  readonly #ioApic: InterruptController | undefined
  readonly #picInput: number
  readonly #ioApicInput: number
  #sources = 0

  constructor(gsi: number, pic: InterruptController | undefined, ioApic: InterruptController | undefined) {
    // GSI 2 is the cascade on the one side and taken by ISA interrupt 0 on the other: a device there reaches nobody.
    this.#pic = gsi < 16 && gsi !== 2 ? pic : undefined
    this.#ioApic = gsi === 2 ? undefined : ioApic
    this.#picInput = gsi
    this.#ioApicInput = gsi === 0 ? TIMER_PIN : gsi
  }

  change(by: 1 | -1): void {
    const before = this.#sources
    this.#sources = before + by
    const asserted = this.#sources > 0
    if (asserted === before > 0) return
    this.#pic?.setInput(this.#picInput, asserted)
    this.#ioApic?.setInput(this.#ioApicInput, asserted)
  }
}

class Output implements InterruptLine {
  readonly #wire: Wire
  #asserted = false

  constructor(wire: Wire) {
    this.#wire = wire
  }

  set(asserted: boolean): void {
    if (asserted === this.#asserted) return
    this.#asserted = asserted
    this.#wire.change(asserted ? 1 : -1)
  }
}

/** The wires between devices and the two interrupt controllers. */
export class ChipsetInterruptLines implements InterruptLines {
  readonly #wires: readonly Wire[]

  constructor(pic: InterruptController | undefined, ioApic: InterruptController | undefined) {
    this.#wires = Array.from({ length: GSI_COUNT }, (_, gsi) => new Wire(gsi, pic, ioApic))
  }

  /**
   * A new output on the wire of `gsi`.
   * @throws ChipsetError `ERR_INTERRUPT_LINE` when there is no such wire
   */
  line(gsi: number): InterruptLine {
    const wire = this.#wires[gsi]
    if (wire === undefined) {
      throw new ChipsetError('ERR_INTERRUPT_LINE', `there is no interrupt line ${gsi}`, {
        hint: `Choose one of 0–${GSI_COUNT - 1}.`,
        data: { gsi },
      })
    }
    return new Output(wire)
  }
}

/** Options of `@partita/emulated-chipset/interrupt-lines`: none. */
export type InterruptLinesOptions = Record<string, never>

const NAME = '@partita/emulated-chipset/interrupt-lines'

/** The plug-in: provides `interruptLinesToken`. */
const plugin: Plugin<InterruptLinesOptions> = definePlugin<InterruptLinesOptions>({
  name: NAME,
  kind: 'emulated-device',
  contract: 1,
  description: 'The interrupt wires between devices and the interrupt controllers',
  options: v.strictObject({}),
  needs: [],
  uses: [picToken, ioApicToken],
  provides: [interruptLinesToken],
  create: (context) => ({
    services: {
      [interruptLinesToken.name]: new ChipsetInterruptLines(context.find(picToken), context.find(ioApicToken)),
    },
    // The level of a wire is what its devices drive; each of them drives it again when it is restored or reset.
    save: () => ({ version: 1, data: {} }),
    restore: (state) => void checkState(NAME, state, 1, v.strictObject({})),
    async [Symbol.asyncDispose]() {},
  }),
})

export default plugin
