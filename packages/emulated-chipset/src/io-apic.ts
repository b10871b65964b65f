// The Intel 82093AA I/O APIC (data sheet 290566-001): 24 pins, memory-mapped at 0xFEC00000. Its version register says 0x20 and not 0x11, with the EOI register
// at offset 0x40 that later parts have (Intel ICH data sheets, EOIR), so that a guest may end an interrupt without a broadcast.

import {
  type AccessSize,
  DELIVERY_MODE,
  type DeliveryMode,
  definePlugin,
  type InterruptMessages,
  interruptMessagesToken,
  type Mmio,
  type MmioHandler,
  mmioToken,
  type Plugin,
  type PluginInstance,
  type SavedState,
} from '@partita/interface'
import * as v from 'valibot'
import { checkState, unsigned } from './chipset-error.ts'
import { type InterruptController, ioApicToken } from './tokens.ts'

const NAME = '@partita/emulated-chipset/io-apic'
/** Pins of the 82093AA. */
export const IO_APIC_PINS = 24
const VERSION = 0x20

/** Offsets of the memory-mapped registers. */
const MMIO_REGISTER = { IOREGSEL: 0x00, IOWIN: 0x10, EOI: 0x40 } as const
/** Indices in IOREGSEL. */
const INDEX = { IOAPICID: 0x00, IOAPICVER: 0x01, IOAPICARB: 0x02, IOREDTBL: 0x10 } as const
/** Low double word of a redirection table entry (data sheet, IOREDTBL). */
const ENTRY = {
  VECTOR: 0xff,
  DELIVERY_MODE_SHIFT: 8,
  LOGICAL: 1 << 11,
  DELIVERY_STATUS: 1 << 12,
  REMOTE_IRR: 1 << 14,
  LEVEL: 1 << 15,
  MASK: 1 << 16,
} as const
/** Bits 0–16 without delivery status and remote IRR. */
const ENTRY_WRITABLE = 0x1_afff

const dwords = v.pipe(v.array(unsigned(32)), v.length(IO_APIC_PINS))
const stateSchema: v.GenericSchema<
  unknown,
  { id: number; select: number; inputs: number; low: readonly number[]; high: readonly number[] }
> = v.strictObject({ id: unsigned(4), select: unsigned(8), inputs: unsigned(24), low: dwords, high: dwords })

/** The delivery modes that a redirection table entry may have; 3 and 6 are reserved. */
function deliveryMode(bits: number): DeliveryMode | undefined {
  switch (bits) {
    case DELIVERY_MODE.FIXED:
    case DELIVERY_MODE.LOWEST_PRIORITY:
    case DELIVERY_MODE.SMI:
    case DELIVERY_MODE.NMI:
    case DELIVERY_MODE.INIT:
    case DELIVERY_MODE.EXT_INT:
      return bits
    default:
      return undefined
  }
}

/** The I/O APIC. */
export class IoApic implements InterruptController, MmioHandler {
  readonly inputs: number = IO_APIC_PINS
  readonly #messages: InterruptMessages
  readonly #initialId: number
  readonly #low: Uint32Array = new Uint32Array(IO_APIC_PINS)
  readonly #high: Uint32Array = new Uint32Array(IO_APIC_PINS)
  #levels = 0
  #id = 0
  #select = 0

  constructor(mmio: Mmio, messages: InterruptMessages, options: IoApicOptions, owned: DisposableStack) {
    this.#messages = messages
    this.#initialId = options.id
    owned.use(mmio.claim(options.address, 0x1000, this))
    owned.use(messages.onEndOfInterrupt((vector) => this.#endOfInterrupt(vector)))
    this.reset()
  }

  setInput(input: number, asserted: boolean): void {
    const bit = 1 << input
    const before = (this.#levels & bit) !== 0
    if (asserted === before) return
    this.#levels ^= bit
    if (!asserted) return
    const low = this.#low[input] ?? ENTRY.MASK
    // An edge at a masked pin is not held pending (data sheet, I/O redirection table, bit 16).
    if ((low & ENTRY.MASK) === 0) this.#deliver(input, low)
  }

  #deliver(pin: number, low: number): void {
    const level = (low & ENTRY.LEVEL) !== 0
    if (level && (low & ENTRY.REMOTE_IRR) !== 0) return
    const mode = deliveryMode((low >> ENTRY.DELIVERY_MODE_SHIFT) & 7)
    if (mode === undefined) return
    // Only these two are ended by an EOI that comes back here.
    const ended = mode === DELIVERY_MODE.FIXED || mode === DELIVERY_MODE.LOWEST_PRIORITY
    if (level && ended) this.#low[pin] = low | ENTRY.REMOTE_IRR
    this.#messages.send({
      vector: low & ENTRY.VECTOR,
      deliveryMode: mode,
      destination: (this.#high[pin] ?? 0) >>> 24,
      logical: (low & ENTRY.LOGICAL) !== 0,
      level: level && ended,
    })
  }

  #endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < IO_APIC_PINS; pin++) {
      const low = this.#low[pin] ?? 0
      if ((low & ENTRY.VECTOR) !== vector || (low & ENTRY.REMOTE_IRR) === 0) continue
      this.#low[pin] = low & ~ENTRY.REMOTE_IRR
      this.#sendLevel(pin)
    }
  }

  /** A level that is still (or already) there is an interrupt as soon as nothing holds it back. */
  #sendLevel(pin: number): void {
    const low = this.#low[pin] ?? ENTRY.MASK
    if ((low & (ENTRY.MASK | ENTRY.LEVEL)) === ENTRY.LEVEL && (this.#levels & (1 << pin)) !== 0) this.#deliver(pin, low)
  }

  read(offset: number, size: AccessSize): number {
    // Registers are double words at 16-byte steps; narrower reads get their bytes.
    const value = this.#readRegister(offset & ~3)
    if (size === 4) return value
    return (value >>> (8 * (offset & 3))) & (size === 1 ? 0xff : 0xffff)
  }

  #readRegister(offset: number): number {
    switch (offset) {
      case MMIO_REGISTER.IOREGSEL:
        return this.#select
      case MMIO_REGISTER.IOWIN:
        return this.#readWindow()
      default:
        return 0
    }
  }

  #readWindow(): number {
    switch (this.#select) {
      case INDEX.IOAPICID:
      case INDEX.IOAPICARB:
        return (this.#id << 24) >>> 0
      case INDEX.IOAPICVER:
        return VERSION | ((IO_APIC_PINS - 1) << 16)
      default: {
        const index = this.#select - INDEX.IOREDTBL
        const pin = index >> 1
        if (index < 0 || pin >= IO_APIC_PINS) return 0
        return ((index & 1) === 0 ? this.#low[pin] : this.#high[pin]) ?? 0
      }
    }
  }

  write(offset: number, _size: AccessSize, value: number): void {
    switch (offset) {
      case MMIO_REGISTER.IOREGSEL:
        this.#select = value & 0xff
        break
      case MMIO_REGISTER.IOWIN:
        this.#writeWindow(value)
        break
      case MMIO_REGISTER.EOI:
        this.#endOfInterrupt(value & 0xff)
        break
    }
  }

  #writeWindow(value: number): void {
    if (this.#select === INDEX.IOAPICID) {
      this.#id = (value >>> 24) & 0xf
      return
    }
    const index = this.#select - INDEX.IOREDTBL
    const pin = index >> 1
    if (index < 0 || pin >= IO_APIC_PINS) return
    if ((index & 1) !== 0) {
      this.#high[pin] = value & 0xff00_0000
      return
    }
    let low = ((this.#low[pin] ?? 0) & ENTRY.REMOTE_IRR) | (value & ENTRY_WRITABLE)
    // Remote IRR has no meaning for edges; guests turn a pin to edge and back to clear it.
    if ((low & ENTRY.LEVEL) === 0) low &= ~ENTRY.REMOTE_IRR
    this.#low[pin] = low
    this.#sendLevel(pin)
  }

  reset(): void {
    this.#low.fill(ENTRY.MASK)
    this.#high.fill(0)
    this.#id = this.#initialId
    this.#select = 0
  }

  save(): SavedState {
    return {
      version: 1,
      data: { id: this.#id, select: this.#select, inputs: this.#levels, low: [...this.#low], high: [...this.#high] },
    }
  }

  restore(state: SavedState): void {
    const data = checkState(NAME, state, 1, stateSchema)
    this.#id = data.id
    this.#select = data.select
    this.#levels = data.inputs
    for (let pin = 0; pin < IO_APIC_PINS; pin++) {
      this.#low[pin] = (data.low[pin] ?? ENTRY.MASK) & (ENTRY_WRITABLE | ENTRY.REMOTE_IRR)
      this.#high[pin] = (data.high[pin] ?? 0) & 0xff00_0000
    }
  }
}

/** Options of `@partita/emulated-chipset/io-apic`. */
export interface IoApicOptions {
  /** Guest physical address of its page. Default: 0xFEC00000. */
  readonly address: number
  /** APIC id after reset, 0–15. Default: 0. */
  readonly id: number
}

const options: v.GenericSchema<unknown, IoApicOptions> = v.strictObject({
  address: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.multipleOf(0x1000)), 0xfec0_0000),
  id: v.optional(unsigned(4), 0),
})

/** The plug-in: an I/O APIC. */
const plugin: Plugin<IoApicOptions> = definePlugin<IoApicOptions>({
  name: NAME,
  kind: 'emulated-device',
  contract: 1,
  description: 'An 82093AA I/O APIC with 24 pins',
  options,
  needs: [mmioToken, interruptMessagesToken],
  provides: [ioApicToken],
  create: (context): PluginInstance => {
    using owning = new DisposableStack()
    const ioApic = new IoApic(context.get(mmioToken), context.get(interruptMessagesToken), context.options, owning)
    const owned = owning.move()
    return {
      services: { [ioApicToken.name]: ioApic },
      save: () => ioApic.save(),
      restore: (state) => ioApic.restore(state),
      reset: () => ioApic.reset(),
      async [Symbol.asyncDispose]() {
        owned.dispose()
      },
    }
  },
})

export default plugin
