// PCI bus 0 behind configuration mechanism #1 (PCI 3.0, section 3.2.2.3.2): CONFIG_ADDRESS at port 0xCF8, CONFIG_DATA at 0xCFC. Plugs in the host bridge
// as device 0 and the PIIX4 as device 7. INTA–INTD of device n are wired to PIRQ[(n + pin - 1) mod 4], as SeaBIOS takes it to be; PIRQA–D are pins 16–19 of the I/O APIC, and are
// routed to ISA interrupts as well where a guest programs the ISA bridge to do so (guests without I/O APIC).

import {
  type AccessSize,
  definePlugin,
  type InterruptLine,
  type InterruptLines,
  interruptLinesToken,
  type PciBus,
  type PciFunction,
  type Plugin,
  type PluginInstance,
  type PortHandler,
  pciBusToken,
  portIoToken,
  type SavedState,
  type ShadowRam,
  shadowRamToken,
} from '@partita/interface'
import type { ConfigSpace } from '@partita/pci'
import * as v from 'valibot'
import { ChipsetError, checkState, unsigned } from './chipset-error.ts'
import { HostBridge, type HostBridgeModel } from './host-bridge.ts'
import { isaBridge, PIRQ_ROUTES, powerManagementBase, powerManagementFunction } from './piix4.ts'
import {
  type PowerManagementBlock,
  powerManagementBlockToken,
  type ResetRegisterHost,
  resetRegisterHostToken,
} from './tokens.ts'

const NAME = '@partita/emulated-chipset/pci'
const DEVICES = 32
const FUNCTIONS = 8
/** The PIIX4's device number. */
export const PIIX4_DEVICE = 7
/** The I/O APIC pin of PIRQA. */
export const FIRST_PCI_GSI = 16
/** CONFIG_ADDRESS: enable, reserved bits, bus, device, function, register. */
const ADDRESS = { ENABLE: 0x8000_0000, WRITABLE: 0x80ff_fffc } as const
const ROUTE_OFF = 0x80
/** ISA interrupts that PIRQRC can name (82371AB data sheet); the others are reserved. */
const ROUTABLE = 0b1101_1110_1111_1000

/** The PIRQ (0–3) of INTA–INTD (`pin` 0–3) of `device`. */
function pirqOf(device: number, pin: number): number {
  return (device + pin - 1) & 3
}

/** The GSI of INTA–INTD (`pin` 0–3) of `device`. The ACPI tables' _PRT says the same. */
export function pciInterruptGsi(device: number, pin: number): number {
  return FIRST_PCI_GSI + pirqOf(device, pin)
}

const dwords = v.pipe(v.array(unsigned(32)), v.length(64))
const stateSchema: v.GenericSchema<
  unknown,
  { address: number; host: readonly number[]; isa: readonly number[]; power: readonly number[] }
> = v.strictObject({ address: unsigned(32), host: dwords, isa: dwords, power: dwords })

/** One PIRQ: an I/O APIC pin, and an ISA interrupt where it is routed to one. */
class Pirq {
  readonly #lines: InterruptLines
  readonly #ioApic: InterruptLine
  #isa: InterruptLine | undefined
  #route = ROUTE_OFF
  #sources = 0

  constructor(lines: InterruptLines, index: number) {
    this.#lines = lines
    this.#ioApic = lines.line(FIRST_PCI_GSI + index)
  }

  change(by: 1 | -1): void {
    this.#sources += by
    this.#ioApic.set(this.#sources > 0)
    this.#isa?.set(this.#sources > 0)
  }

  route(route: number): void {
    if (route === this.#route) return
    this.#route = route
    this.#isa?.set(false)
    const interrupt = route & 0xf
    this.#isa =
      (route & ROUTE_OFF) === 0 && ((ROUTABLE >> interrupt) & 1) !== 0 ? this.#lines.line(interrupt) : undefined
    this.#isa?.set(this.#sources > 0)
  }
}

class PciInterrupt implements InterruptLine {
  readonly #pirq: Pirq
  #asserted = false

  constructor(pirq: Pirq) {
    this.#pirq = pirq
  }

  set(asserted: boolean): void {
    if (asserted === this.#asserted) return
    this.#asserted = asserted
    this.#pirq.change(asserted ? 1 : -1)
  }
}

export type { HostBridgeModel }

/** What the bridges act on. */
export interface PciServices {
  /** Where PIRQA–PIRQD lead. */
  readonly lines: InterruptLines
  /** What the host bridge decodes; a machine without it has RAM everywhere. */
  readonly shadowRam?: ShadowRam | undefined
  /** The ports that the PIIX4 places. */
  readonly powerManagement?: PowerManagementBlock | undefined
}

/** Bus 0 with its host bridge. The handler of ports 0xCF8–0xCFF. */
export class PciHost implements PciBus, PortHandler, ResetRegisterHost {
  readonly #slots: (PciFunction | undefined)[] = new Array<PciFunction | undefined>(DEVICES * FUNCTIONS).fill(undefined)
  readonly #pirqs: readonly Pirq[]
  readonly #host: HostBridge
  readonly #isa: ConfigSpace
  readonly #power: ConfigSpace
  readonly #block: PowerManagementBlock | undefined
  #address = 0
  #resetRegister: PortHandler | undefined
  #resetOwner = ''

  constructor(services: PciServices, options: PciOptions) {
    const { hostBridge, powerManagementBase: base, firmware } = options
    this.#pirqs = [0, 1, 2, 3].map((index) => new Pirq(services.lines, index))
    this.#host = new HostBridge(hostBridge, firmware, services.shadowRam)
    this.#isa = isaBridge((routes) => this.#route(routes))
    this.#block = services.powerManagement
    this.#power = powerManagementFunction(base, firmware, (ports) => this.#block?.place(ports))
    this.#block?.place(powerManagementBase(this.#power))
    this.attach(0, 0, this.#host)
    this.attach(PIIX4_DEVICE, 0, this.#isa)
    this.attach(PIIX4_DEVICE, 3, this.#power)
  }

  #route(routes: number): void {
    for (let index = 0; index < 4; index++) this.#pirqs[index]?.route((routes >>> (8 * index)) & 0xff)
  }

  attach(device: number, fn: number, pciFunction: PciFunction): Disposable {
    if (
      !(
        Number.isInteger(device) &&
        device >= 0 &&
        device < DEVICES &&
        Number.isInteger(fn) &&
        fn >= 0 &&
        fn < FUNCTIONS
      )
    ) {
      throw new ChipsetError('ERR_PCI_CONFLICT', `there is no PCI slot ${device}.${fn}`, { data: { device, fn } })
    }
    const slot = device * FUNCTIONS + fn
    if (this.#slots[slot] !== undefined) {
      throw new ChipsetError('ERR_PCI_CONFLICT', `PCI slot ${device}.${fn} is taken`, {
        hint: 'Choose another device number.',
        data: { device, fn },
      })
    }
    this.#slots[slot] = pciFunction
    return {
      [Symbol.dispose]: () => {
        if (this.#slots[slot] === pciFunction) this.#slots[slot] = undefined
      },
    }
  }

  interrupt(device: number, pin: number): InterruptLine {
    const pirq = this.#pirqs[pirqOf(device, pin)]
    if (pirq === undefined)
      throw new ChipsetError('ERR_INTERRUPT_LINE', `there is no interrupt pin ${pin} of device ${device}`)
    return new PciInterrupt(pirq)
  }

  setResetRegister(handler: PortHandler, owner: string): Disposable {
    if (this.#resetRegister !== undefined) {
      const plugins = [this.#resetOwner, owner]
      throw new ChipsetError('ERR_CHIPSET_CONFLICT', `${plugins.join(' and ')} collide: both want the port 0xcf9`, {
        hint: 'Leave one of them out.',
        data: { plugins },
      })
    }
    this.#resetRegister = handler
    this.#resetOwner = owner
    return {
      [Symbol.dispose]: () => {
        if (this.#resetRegister === handler) this.#resetRegister = undefined
      },
    }
  }

  /** The function that CONFIG_ADDRESS selects. There is one bus. */
  #selected(): PciFunction | undefined {
    const address = this.#address
    if ((address & ADDRESS.ENABLE) === 0 || (address & 0x00ff_0000) !== 0) return undefined
    return this.#slots[(address >>> 8) & 0xff]
  }

  read(offset: number, size: AccessSize): number {
    const ones = size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff
    if (offset >= 4) {
      const selected = this.#selected()
      // An access that crosses the register's end is none of configuration space.
      if (selected === undefined || (offset & 3) + size > 4) return ones
      return ((selected.readConfig(this.#address & 0xfc) >>> (8 * (offset & 3))) & ones) >>> 0
    }
    // Only a double word access is to CONFIG_ADDRESS; narrower ones pass through. The part of one that goes beyond it is an access of its own.
    if (offset === 0 && size === 4) return this.#address
    if (offset + size > 4) {
      const before = 8 * (4 - offset)
      const data = this.#selected()?.readConfig(this.#address & 0xfc) ?? 0xffff_ffff
      return (((data << before) | (2 ** before - 1)) & ones) >>> 0
    }
    if (offset === 1 && size === 1 && this.#resetRegister !== undefined) return this.#resetRegister.read(0, 1)
    return ones
  }

  /** The part of a write that begins before CONFIG_DATA and goes on in it. */
  #writeData(length: number, value: number): void {
    const ones = 2 ** (8 * length) - 1
    this.#selected()?.writeConfig(this.#address & 0xfc, (value & ones) >>> 0, ones)
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset >= 4) {
      if ((offset & 3) + size > 4) return
      const shift = 8 * (offset & 3)
      const ones = size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff
      this.#selected()?.writeConfig(this.#address & 0xfc, (value << shift) >>> 0, (ones << shift) >>> 0)
    } else if (offset === 0 && size === 4) this.#address = (value & ADDRESS.WRITABLE) >>> 0
    else if (offset === 1 && size === 1) this.#resetRegister?.write(0, 1, value)
    else if (offset + size > 4) this.#writeData(offset + size - 4, value >>> (8 * (4 - offset)))
  }

  reset(): void {
    this.#address = 0
    this.#host.reset()
    this.#isa.reset()
    this.#power.reset()
    this.#apply()
  }

  /** What the bridges' registers do outside them. */
  #apply(): void {
    this.#route(this.#isa.readConfig(PIRQ_ROUTES))
    this.#block?.place(powerManagementBase(this.#power))
  }

  save(): SavedState {
    return {
      version: 1,
      data: { address: this.#address, host: this.#host.save(), isa: this.#isa.save(), power: this.#power.save() },
    }
  }

  restore(state: SavedState): void {
    const data = checkState(NAME, state, 1, stateSchema)
    this.#address = (data.address & ADDRESS.WRITABLE) >>> 0
    this.#host.restore(data.host)
    this.#isa.restore(data.isa)
    this.#power.restore(data.power)
    this.#apply()
  }
}

/** Options of `@partita/emulated-chipset/pci`. */
export interface PciOptions {
  /** Where the power management plug-in has its ports, without firmware; the PIIX4's PMBA says so to the guest. Default: 0x600. */
  readonly powerManagementBase: number
  /** The host bridge: `440BX`, as Hyper-V's generation 1 has it, or `440FX`, which is the one that SeaBIOS makes use of. Default: `440BX`. */
  readonly hostBridge: HostBridgeModel
  /** Whether firmware in a ROM sets the machine up. Registers are as at power-on then, and else as firmware leaves them. Default: false. */
  readonly firmware: boolean
}

const options: v.GenericSchema<unknown, PciOptions> = v.strictObject({
  powerManagementBase: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffc0), v.multipleOf(0x40)),
    0x600,
  ),
  hostBridge: v.optional(v.picklist(['440BX', '440FX'] as const), '440BX'),
  firmware: v.optional(v.boolean(), false),
})

/** The plug-in: PCI bus 0 with its bridges; provides `pciBusToken`. */
const plugin: Plugin<PciOptions> = definePlugin<PciOptions>({
  name: NAME,
  kind: 'emulated-device',
  contract: 1,
  description: 'A PCI bus with host bridge and PIIX4',
  options,
  needs: [portIoToken, interruptLinesToken],
  uses: [shadowRamToken, powerManagementBlockToken],
  provides: [pciBusToken, resetRegisterHostToken],
  create: (context): PluginInstance => {
    const services: PciServices = {
      lines: context.get(interruptLinesToken),
      shadowRam: context.find(shadowRamToken),
      powerManagement: context.find(powerManagementBlockToken),
    }
    const host = new PciHost(services, context.options)
    const claim = context.get(portIoToken).claim(0xcf8, 8, host)
    return {
      services: { [pciBusToken.name]: host, [resetRegisterHostToken.name]: host },
      save: () => host.save(),
      restore: (state) => host.restore(state),
      reset: () => host.reset(),
      async [Symbol.asyncDispose]() {
        claim[Symbol.dispose]()
      },
    }
  },
})

export default plugin
