// The Intel 8259A programmable interrupt controller (data sheet 231468-003), MCS-86 mode, with the edge/level control register that PCI chipsets add
// (82371AB data sheet, ELCR1 and ELCR2). One chip; pic.ts makes the pair of a PC of two.

import * as v from 'valibot'
import { type StateData, unsigned } from './chipset-error.ts'

const ICW1 = { IC4: 0x01, SNGL: 0x02, LTIM: 0x08, SELECT: 0x10 } as const
const ICW4 = { AEOI: 0x02, SFNM: 0x10 } as const
const OCW3 = { RIS: 0x01, RR: 0x02, POLL: 0x04, SELECT: 0x08, SMM: 0x20, ESMM: 0x40 } as const
/** OCW2, bits 7–5 (R, SL, EOI). */
const OCW2 = {
  ROTATE_IN_AEOI_CLEAR: 0,
  NON_SPECIFIC_EOI: 1,
  SPECIFIC_EOI: 3,
  ROTATE_IN_AEOI_SET: 4,
  ROTATE_ON_NON_SPECIFIC_EOI: 5,
  SET_PRIORITY: 6,
  ROTATE_ON_SPECIFIC_EOI: 7,
} as const
const POLL_INTERRUPT = 0x80

const byte = unsigned(8)
const level = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(7))

/** Shape of a saved chip. */
export const i8259aState: v.GenericSchema<unknown, I8259AState> = v.strictObject({
  inputs: byte,
  edges: byte,
  mask: byte,
  inService: byte,
  edgeLevelControl: byte,
  vectorBase: byte,
  lowestPriority: level,
  initStep: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(4)),
  icw1: byte,
  icw4: byte,
  readInService: v.boolean(),
  poll: v.boolean(),
  specialMask: v.boolean(),
  rotateInAeoi: v.boolean(),
})

/** A saved chip. */
export interface I8259AState {
  readonly inputs: number
  readonly edges: number
  readonly mask: number
  readonly inService: number
  readonly edgeLevelControl: number
  readonly vectorBase: number
  readonly lowestPriority: number
  readonly initStep: number
  readonly icw1: number
  readonly icw4: number
  readonly readInService: boolean
  readonly poll: boolean
  readonly specialMask: boolean
  readonly rotateInAeoi: boolean
}

/** One 8259A. {@link I8259A.interrupt} is its INT output; `onChange` is called after anything that may have changed it. */
export class I8259A {
  readonly #onChange: () => void
  /** Bits of the edge/level control register that can be set. */
  readonly #elcrMask: number
  /** Inputs that are the INT of a slave: never latched, and open to their own slave in special fully nested mode. */
  readonly #slaves: number
  #inputs = 0
  #edges = 0
  #mask = 0
  #inService = 0
  #elcr = 0
  #vectorBase = 0
  #lowestPriority = 7
  /** The ICW that the next write to A0=1 is: 2, 3, 4, or 0 when initialised. */
  #initStep = 0
  #icw1 = 0
  #icw4 = 0
  #readInService = false
  #poll = false
  #specialMask = false
  #rotateInAeoi = false

  constructor(elcrMask: number, slaves: number, onChange: () => void) {
    this.#elcrMask = elcrMask
    this.#slaves = slaves
    this.#onChange = onChange
  }

  /** The edge/level control register: ones are level-triggered inputs. */
  get edgeLevelControl(): number {
    return this.#elcr
  }

  set edgeLevelControl(value: number) {
    this.#elcr = value & this.#elcrMask
    this.#onChange()
  }

  /** Interrupt requests: latched edges, and level inputs as they are. */
  get #requests(): number {
    const levels = (this.#icw1 & ICW1.LTIM) !== 0 ? 0xff : this.#elcr | this.#slaves
    return (this.#edges & ~levels) | (this.#inputs & levels)
  }

  setInput(input: number, asserted: boolean): void {
    const bit = 1 << input
    if (asserted) {
      if ((this.#inputs & bit) === 0) this.#edges |= bit
      this.#inputs |= bit
    } else {
      // An input that goes low before it is acknowledged takes its request back (data sheet, "IR triggering timing": the default IR7).
      this.#inputs &= ~bit
      this.#edges &= ~bit
    }
    this.#onChange()
  }

  /** The request with the highest priority that nothing in service holds back, or -1. */
  #pending(): number {
    const requests = this.#requests & ~this.#mask
    if (requests === 0) return -1
    const blocking = this.#specialMask ? this.#inService & ~this.#mask : this.#inService
    const open = (this.#icw4 & ICW4.SFNM) !== 0 ? this.#slaves : 0
    for (let i = 1; i <= 8; i++) {
      const input = (this.#lowestPriority + i) & 7
      const bit = 1 << input
      if ((requests & bit) !== 0 && ((blocking & bit) === 0 || (open & bit) !== 0)) return input
      if ((blocking & bit) !== 0) return -1
    }
    return -1
  }

  /** The INT output. */
  get interrupt(): boolean {
    return this.#pending() >= 0
  }

  /**
   * The two INTA pulses: puts the request in service and returns its input. Without a request it is -1, for which the chip puts vector 7 on
   * the bus with nothing in service (spurious interrupt).
   */
  acknowledge(): number {
    const input = this.#pending()
    if (input >= 0) this.#takeInService(input)
    this.#onChange()
    return input
  }

  /** The vector for an input. */
  vector(input: number): number {
    return this.#vectorBase | input
  }

  #takeInService(input: number): void {
    const bit = 1 << input
    this.#edges &= ~bit
    if ((this.#icw4 & ICW4.AEOI) === 0) this.#inService |= bit
    else if (this.#rotateInAeoi) this.#lowestPriority = input
  }

  /** A0 = 0. */
  readCommand(): number {
    if (this.#poll) return this.#pollWord()
    return this.#readInService ? this.#inService : this.#requests
  }

  /** A0 = 1. */
  readData(): number {
    return this.#poll ? this.#pollWord() : this.#mask
  }

  #pollWord(): number {
    this.#poll = false
    const input = this.acknowledge()
    return input < 0 ? 0 : POLL_INTERRUPT | input
  }

  /** A0 = 0: ICW1, OCW2 or OCW3. */
  writeCommand(value: number): void {
    if ((value & ICW1.SELECT) !== 0) this.#initialize(value)
    else if ((value & OCW3.SELECT) !== 0) this.#writeOcw3(value)
    else this.#writeOcw2(value >> 5, value & 7)
    this.#onChange()
  }

  /** A0 = 1: ICW2–4 during initialisation, OCW1 afterwards. */
  writeData(value: number): void {
    switch (this.#initStep) {
      case 2:
        this.#vectorBase = value & 0xf8
        if ((this.#icw1 & ICW1.SNGL) === 0) this.#initStep = 3
        else this.#initStep = (this.#icw1 & ICW1.IC4) !== 0 ? 4 : 0
        break
      case 3:
        // Which input a slave is on is the wiring's matter.
        this.#initStep = (this.#icw1 & ICW1.IC4) !== 0 ? 4 : 0
        break
      case 4:
        this.#icw4 = value
        this.#initStep = 0
        break
      default:
        this.#mask = value
        break
    }
    this.#onChange()
  }

  /** Data sheet, "Initialization command words 1 and 2": what ICW1 does at once. */
  #initialize(value: number): void {
    this.#icw1 = value
    this.#icw4 = 0
    this.#edges = 0
    this.#mask = 0
    this.#inService = 0
    this.#lowestPriority = 7
    this.#specialMask = false
    this.#readInService = false
    this.#poll = false
    this.#rotateInAeoi = false
    this.#initStep = 2
  }

  #writeOcw3(value: number): void {
    if ((value & OCW3.POLL) !== 0) this.#poll = true
    else if ((value & OCW3.RR) !== 0) this.#readInService = (value & OCW3.RIS) !== 0
    if ((value & OCW3.ESMM) !== 0) this.#specialMask = (value & OCW3.SMM) !== 0
  }

  #writeOcw2(command: number, input: number): void {
    switch (command) {
      case OCW2.ROTATE_IN_AEOI_CLEAR:
      case OCW2.ROTATE_IN_AEOI_SET:
        this.#rotateInAeoi = command === OCW2.ROTATE_IN_AEOI_SET
        break
      case OCW2.NON_SPECIFIC_EOI:
      case OCW2.ROTATE_ON_NON_SPECIFIC_EOI: {
        const ended = this.#highestInService()
        if (ended < 0) break
        this.#inService &= ~(1 << ended)
        if (command === OCW2.ROTATE_ON_NON_SPECIFIC_EOI) this.#lowestPriority = ended
        break
      }
      case OCW2.SPECIFIC_EOI:
        this.#inService &= ~(1 << input)
        break
      case OCW2.ROTATE_ON_SPECIFIC_EOI:
        this.#inService &= ~(1 << input)
        this.#lowestPriority = input
        break
      case OCW2.SET_PRIORITY:
        this.#lowestPriority = input
        break
    }
  }

  /** What a non-specific EOI ends. In special mask mode, masked levels are left alone (data sheet, "End of interrupt"). */
  #highestInService(): number {
    const inService = this.#specialMask ? this.#inService & ~this.#mask : this.#inService
    for (let i = 1; i <= 8; i++) {
      const input = (this.#lowestPriority + i) & 7
      if ((inService & (1 << input)) !== 0) return input
    }
    return -1
  }

  /** Power-on. The chip itself has no reset pin; a PC's firmware finds it uninitialised and masks everything. The inputs stay as they are driven. */
  reset(): void {
    this.#initialize(0)
    this.#mask = 0xff
    this.#vectorBase = 0
    this.#initStep = 0
    this.#elcr = 0
    this.#onChange()
  }

  save(): StateData & I8259AState {
    return {
      inputs: this.#inputs,
      edges: this.#edges,
      mask: this.#mask,
      inService: this.#inService,
      edgeLevelControl: this.#elcr,
      vectorBase: this.#vectorBase,
      lowestPriority: this.#lowestPriority,
      initStep: this.#initStep,
      icw1: this.#icw1,
      icw4: this.#icw4,
      readInService: this.#readInService,
      poll: this.#poll,
      specialMask: this.#specialMask,
      rotateInAeoi: this.#rotateInAeoi,
    }
  }

  /** Takes over a checked state. The caller drives the INT output afterwards. */
  restore(state: I8259AState): void {
    this.#inputs = state.inputs
    this.#edges = state.edges
    this.#mask = state.mask
    this.#inService = state.inService
    this.#elcr = state.edgeLevelControl & this.#elcrMask
    this.#vectorBase = state.vectorBase & 0xf8
    this.#lowestPriority = state.lowestPriority
    this.#initStep = state.initStep === 1 ? 0 : state.initStep
    this.#icw1 = state.icw1
    this.#icw4 = state.icw4
    this.#readInService = state.readInService
    this.#poll = state.poll
    this.#specialMask = state.specialMask
    this.#rotateInAeoi = state.rotateInAeoi
  }
}
