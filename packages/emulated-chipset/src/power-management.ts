// ACPI fixed hardware (ACPI specification 6.5, section 4.8) in the layout of the PIIX4's power management function (82371AB data sheet, power management I/O registers): PM1a event
// block at base + 0, PM1a control block at base + 4, PM timer at base + 8; and its APM/SMI command port 0xB2, on which a guest turns ACPI mode on and off. On a machine with PCI the
// PIIX4's function 3 says where the block is.
// The general-purpose events of the PIIX4 (base + 0xC) are not there.

import {
  type AccessSize,
  type Clock,
  clockToken,
  definePlugin,
  type InterruptLine,
  interruptLinesToken,
  type Plugin,
  type PluginInstance,
  type PortHandler,
  type PortIo,
  type PowerControl,
  portIoToken,
  powerControlToken,
  type SavedState,
  type Timer,
} from '@partita/interface'
import * as v from 'valibot'
import { ByteRegisters } from './byte-registers.ts'
import { checkState, unsigned } from './chipset-error.ts'
import { Oscillator } from './frequency.ts'
import { type PowerButton, type PowerManagementBlock, powerButtonToken, powerManagementBlockToken } from './tokens.ts'

const NAME = '@partita/emulated-chipset/power-management'
/** ACPI 6.5, section 4.8.2.1. */
export const PM_TIMER_FREQUENCY = 3_579_545
/** Offsets of the blocks from the base. */
export const PM_OFFSET = { PM1_STS: 0, PM1_EN: 2, PM1_CNT: 4, PM_TMR: 8 } as const
const BLOCK_LENGTH = 12
/** Values of the SMI command port (the FADT's ACPI_ENABLE and ACPI_DISABLE). */
export const SMI_COMMAND = { ACPI_ENABLE: 0xf1, ACPI_DISABLE: 0xf0 } as const
/** SLP_TYP of S5 (soft off): 0, as on the PIIX4 (82371AB data sheet, PMCNTRL, SUS_TYP). The DSDT's _S5 must say so. */
export const SLEEP_TYPE_S5 = 0

const PM1_STS = {
  TMR: 1 << 0,
  BM: 1 << 4,
  GBL: 1 << 5,
  PWRBTN: 1 << 8,
  SLPBTN: 1 << 9,
  RTC: 1 << 10,
  WAK: 1 << 15,
} as const
const PM1_STS_BITS: number =
  PM1_STS.TMR | PM1_STS.BM | PM1_STS.GBL | PM1_STS.PWRBTN | PM1_STS.SLPBTN | PM1_STS.RTC | PM1_STS.WAK
/** Enable bits have the positions of their status bits. */
const PM1_EN_BITS: number = PM1_STS.TMR | PM1_STS.GBL | PM1_STS.PWRBTN | PM1_STS.SLPBTN | PM1_STS.RTC
const PM1_CNT = { SCI_EN: 1 << 0, BM_RLD: 1 << 1, SLP_TYP_SHIFT: 10, SLP_TYP: 7 << 10, SLP_EN: 1 << 13 } as const

const stateSchema: v.GenericSchema<
  unknown,
  { status: number; enable: number; control: number; timerPhase: number; smiCommand: number; smiStatus: number }
> = v.strictObject({
  status: unsigned(16),
  enable: unsigned(16),
  control: unsigned(16),
  timerPhase: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  smiCommand: unsigned(8),
  smiStatus: unsigned(8),
})

/** The SMI command and status ports, 0xB2 and 0xB3 (82371AB data sheet, registers APMC and APMS). There is no SMM: the command takes effect here. */
class SmiPorts extends ByteRegisters {
  readonly #owner: PowerManagement
  command = 0
  status = 0

  constructor(owner: PowerManagement) {
    super()
    this.#owner = owner
  }

  protected override readByte(offset: number): number {
    return offset === 0 ? this.command : this.status
  }

  protected override writeByte(offset: number, value: number): void {
    if (offset === 1) {
      this.status = value
      return
    }
    this.command = value
    if (value === SMI_COMMAND.ACPI_ENABLE) this.#owner.setAcpiMode(true)
    else if (value === SMI_COMMAND.ACPI_DISABLE) this.#owner.setAcpiMode(false)
  }
}

/** PM1a registers, PM timer, power button. */
export class PowerManagement implements PortHandler, PowerButton, PowerManagementBlock {
  readonly #clock: Clock
  readonly #power: PowerControl
  readonly #sci: InterruptLine
  readonly #timer: Timer
  readonly #ports: PortIo
  #place: number | undefined
  #claim: Disposable | undefined
  readonly #oscillator: Oscillator = new Oscillator(PM_TIMER_FREQUENCY)
  readonly #smi: SmiPorts = new SmiPorts(this)
  /** Half the timer's range: TMR_STS is set each time that the highest bit changes. */
  readonly #halfRange: number
  #status = 0
  #enable = 0
  #control = 0
  /** How often the highest bit of the timer had changed when TMR_STS was last looked after. */
  #timerPhase = 0

  /** `ports` are where its blocks are claimed, `sci` is the wire of its interrupt, `clock` drives the PM timer, and `power` takes the guest's wish to be switched off. */
  constructor(
    options: PowerManagementOptions,
    services: { ports: PortIo; sci: InterruptLine; clock: Clock; power: PowerControl },
    owned: DisposableStack,
  ) {
    this.#clock = services.clock
    this.#power = services.power
    this.#sci = services.sci
    this.#halfRange = 2 ** (options.timerBits - 1)
    this.#timer = this.#clock.createTimer(() => this.#update())
    owned.defer(() => this.#timer.cancel())
    owned.defer(() => this.#sci.set(false))
    this.#ports = services.ports
    this.#claim = services.ports.claim(options.base, BLOCK_LENGTH, this)
    this.#place = options.base
    owned.defer(() => this.#claim?.[Symbol.dispose]())
    owned.use(services.ports.claim(0xb2, 2, this.#smi))
    this.reset()
  }

  place(base: number | undefined): void {
    if (base === this.#place) return
    this.#place = base
    this.#claim?.[Symbol.dispose]()
    this.#claim = undefined
    if (base === undefined) return
    try {
      this.#claim = this.#ports.claim(base, BLOCK_LENGTH, this)
    } catch {
      // The guest has put it where something else is: it answers nowhere.
    }
  }

  #ticks(): number {
    return this.#oscillator.ticks(this.#clock.now())
  }

  /** Bring TMR_STS up to date, drive the SCI, and arrange for the next change. */
  #update(): void {
    const phase = Math.floor(this.#ticks() / this.#halfRange)
    if (phase !== this.#timerPhase) {
      this.#timerPhase = phase
      this.#status |= PM1_STS.TMR
    }
    this.#sci.set((this.#status & this.#enable) !== 0 && (this.#control & PM1_CNT.SCI_EN) !== 0)
    if ((this.#enable & PM1_STS.TMR) !== 0) this.#timer.arm(this.#oscillator.nanoseconds((phase + 1) * this.#halfRange))
    else this.#timer.cancel()
  }

  /** What the SMI command port asks for: SCI_EN in PM1_CNT. */
  setAcpiMode(on: boolean): void {
    this.#control = on ? this.#control | PM1_CNT.SCI_EN : this.#control & ~PM1_CNT.SCI_EN
    this.#update()
  }

  press(): void {
    this.#status |= PM1_STS.PWRBTN
    this.#update()
  }

  read(offset: number, size: AccessSize): number {
    // Every guest reads the timer, and reads it often, as a double word.
    if (offset === PM_OFFSET.PM_TMR && size === 4) return this.#readTimer()
    let value = 0
    for (let i = 0; i < size; i++) value |= this.#readByte(offset + i) << (8 * i)
    return value >>> 0
  }

  #readTimer(): number {
    return this.#ticks() % (2 * this.#halfRange)
  }

  #readByte(offset: number): number {
    const shift = 8 * (offset & 1)
    switch (offset & ~1) {
      case PM_OFFSET.PM1_STS:
        this.#update()
        return (this.#status >> shift) & 0xff
      case PM_OFFSET.PM1_EN:
        return (this.#enable >> shift) & 0xff
      case PM_OFFSET.PM1_CNT:
        return (this.#control >> shift) & 0xff
      case PM_OFFSET.PM_TMR:
      case PM_OFFSET.PM_TMR + 2:
        return (this.#readTimer() >>> (8 * (offset & 3))) & 0xff
      default:
        return 0
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) {
      // A word write to the control register takes effect as a whole: SLP_TYP and SLP_EN are in the same byte anyway.
      this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff)
    }
    this.#update()
  }

  #writeByte(offset: number, value: number): void {
    const shift = 8 * (offset & 1)
    const written = value << shift
    switch (offset & ~1) {
      case PM_OFFSET.PM1_STS:
        // Change of the timer's bit up to now is part of what is cleared.
        this.#update()
        this.#status &= ~(written & PM1_STS_BITS)
        break
      case PM_OFFSET.PM1_EN:
        this.#enable = ((this.#enable & ~(0xff << shift)) | written) & PM1_EN_BITS
        break
      case PM_OFFSET.PM1_CNT:
        this.#writeControl((this.#control & ~(0xff << shift)) | written)
        break
    }
  }

  #writeControl(value: number): void {
    // SCI_EN changes through the SMI command port only; SLP_EN and GBL_RLS read as zero.
    this.#control = (this.#control & PM1_CNT.SCI_EN) | (value & (PM1_CNT.BM_RLD | PM1_CNT.SLP_TYP))
    if ((value & PM1_CNT.SLP_EN) === 0) return
    if ((value & PM1_CNT.SLP_TYP) >> PM1_CNT.SLP_TYP_SHIFT === SLEEP_TYPE_S5) this.#power.request({ type: 'power-off' })
    // Other states are not offered in the DSDT; a guest that enters one all the same wakes at once.
    else this.#status |= PM1_STS.WAK
  }

  reset(): void {
    this.#status = 0
    this.#enable = 0
    this.#control = 0
    this.#timerPhase = Math.floor(this.#ticks() / this.#halfRange)
    this.#smi.command = 0
    this.#smi.status = 0
    this.#timer.cancel()
    this.#sci.set(false)
  }

  save(): SavedState {
    return {
      version: 1,
      data: {
        status: this.#status,
        enable: this.#enable,
        control: this.#control,
        timerPhase: this.#timerPhase,
        smiCommand: this.#smi.command,
        smiStatus: this.#smi.status,
      },
    }
  }

  restore(state: SavedState): void {
    const data = checkState(NAME, state, 1, stateSchema)
    this.#status = data.status & PM1_STS_BITS
    this.#enable = data.enable & PM1_EN_BITS
    this.#control = data.control & (PM1_CNT.SCI_EN | PM1_CNT.BM_RLD | PM1_CNT.SLP_TYP)
    this.#timerPhase = data.timerPhase
    this.#smi.command = data.smiCommand
    this.#smi.status = data.smiStatus
    this.#sci.set((this.#status & this.#enable) !== 0 && (this.#control & PM1_CNT.SCI_EN) !== 0)
    if ((this.#enable & PM1_STS.TMR) !== 0)
      this.#timer.arm(this.#oscillator.nanoseconds((this.#timerPhase + 1) * this.#halfRange))
    else this.#timer.cancel()
  }
}

/** Options of `@partita/emulated-chipset/power-management`. */
export interface PowerManagementOptions {
  /** First port of the block (the FADT must say the same). Default: 0x600. */
  readonly base: number
  /** GSI of the system control interrupt. Default: 9. */
  readonly sci: number
  /** Width of the PM timer, 24 or 32 bits. Default: 24. */
  readonly timerBits: 24 | 32
}

const options: v.GenericSchema<unknown, PowerManagementOptions> = v.strictObject({
  base: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xfff0), v.multipleOf(4)), 0x600),
  sci: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(23)), 9),
  timerBits: v.optional(v.picklist([24, 32] as const), 24),
})

/** The plug-in: the ACPI fixed hardware. */
const plugin: Plugin<PowerManagementOptions> = definePlugin<PowerManagementOptions>({
  name: NAME,
  kind: 'emulated-device',
  contract: 1,
  description: 'ACPI power management: PM timer, power-off, power button',
  options,
  needs: [portIoToken, interruptLinesToken, clockToken, powerControlToken],
  provides: [powerButtonToken, powerManagementBlockToken],
  create: (context): PluginInstance => {
    using owning = new DisposableStack()
    const management = new PowerManagement(
      context.options,
      {
        ports: context.get(portIoToken),
        sci: context.get(interruptLinesToken).line(context.options.sci),
        clock: context.get(clockToken),
        power: context.get(powerControlToken),
      },
      owning,
    )
    const owned = owning.move()
    return {
      services: { [powerButtonToken.name]: management, [powerManagementBlockToken.name]: management },
      save: () => management.save(),
      restore: (state) => management.restore(state),
      reset: () => management.reset(),
      async [Symbol.asyncDispose]() {
        owned.dispose()
      },
    }
  },
})

export default plugin
