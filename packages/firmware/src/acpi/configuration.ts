// What the ACPI tables tell the guest about its machine, as plain data. The defaults describe the machine that the built-in
// chipset makes: a PC with PIIX4 power management, one I/O APIC, 8259A pair, 8254, RTC and one serial port.

import { alignUp } from '../bytes.ts'
import { HIGH_RAM_BASE, LOW_RAM_LIMIT, ramEnd } from '../memory-map.ts'

/** A range of guest physical addresses or of ports, in bytes or ports. */
export interface AddressRange {
  /** The first address, or port. */
  readonly base: number
  /** How many addresses, or ports. */
  readonly length: number
}

/** One processor of the MADT. */
export interface AcpiProcessor {
  /** Id of its local APIC. From 255 on the entry is one for an x2APIC. */
  readonly apicId: number
  /** False for one that may be added later. Default: true. */
  readonly enabled?: boolean
}

/** I/O APIC. */
export interface AcpiIoApic {
  /** Id of the I/O APIC, by which the MADT means it. */
  readonly id: number
  /** Guest physical address of its registers. */
  readonly address: number
  /** First global system interrupt of its pins. */
  readonly gsiBase: number
}

/** Fixed hardware of power management (ACPI 6.5, section 4.8): ports, the interrupt, sleep type values. */
export interface AcpiPower {
  /** PM1a event block, 4 ports. */
  readonly pm1aEvent: number
  /** PM1a control block, 2 ports. */
  readonly pm1aControl: number
  /** PM timer, 4 ports. */
  readonly pmTimer: number
  /** Whether the timer counts 32 bits, and not 24. */
  readonly pmTimer32: boolean
  /** General-purpose event block 0. */
  readonly gpe0?: AddressRange | undefined
  /** The system control interrupt: ISA interrupt and GSI alike; level-triggered, active high. */
  readonly sciInterrupt: number
  /**
   * SMI command `port`, with the values that turn ACPI mode on (`enable`) and off (`disable`); `undefined` when the machine always is in ACPI mode.
   */
  readonly smi?: { readonly port: number; readonly enable: number; readonly disable: number } | undefined
  /** SLP_TYP value of S5 (soft off). */
  readonly sleepTypeS5: number
  /** Whether there is a power button in the fixed hardware (PWRBTN_STS). */
  readonly powerButton: boolean
  /** The reset register: `port`, and the `value` to write. */
  readonly reset?: { readonly port: number; readonly value: number } | undefined
}

/** A 16550 serial port. */
export interface AcpiSerialPort {
  /** The first of its 8 ports. */
  readonly port: number
  /** ISA interrupt, 0–15. */
  readonly interrupt: number
}

/** The PCI host bridge. */
export interface AcpiPciHost {
  /** Memory window under 4 GiB for the functions' BARs. */
  readonly window32: AddressRange
  /** Memory window above RAM. */
  readonly window64?: AddressRange | undefined
  /** The GSI of INTA–INTD (`pin` 0–3) of device 0–31 on bus 0; level-triggered, active low. */
  readonly interrupt: (device: number, pin: number) => number
  /** The ISA bridge that routes {@link AcpiPciHost.interrupt} 16–19 to ISA interrupts, for guests that use the 8259A; without one they find none there. */
  readonly router?: AcpiInterruptRouter | undefined
}

/** PIRQRC[A:D] of a PIIX (82371AB data sheet): a byte each, the ISA interrupt or 0x80 for none. */
export interface AcpiInterruptRouter {
  /** Where the ISA bridge is, function 0. */
  readonly device: number
  /** Offset of PIRQRC[A] in its configuration space. */
  readonly offset: number
  /** ISA interrupts that a guest may choose. */
  readonly interrupts: readonly number[]
}

/** VMBus: the node that a guest looks for, and where its devices may have memory. */
export interface AcpiVmbus {
  /** Memory window under 4 GiB. */
  readonly window32?: AddressRange | undefined
  /** Memory window above RAM. */
  readonly window64?: AddressRange | undefined
  /** An ISA interrupt for its `_CRS`, which some guests want to see. */
  readonly interrupt?: number | undefined
}

/** Everything that the tables say. Each field that is left out has the default of {@link defaultAcpiConfiguration}, the built-in machine. */
export interface AcpiConfiguration {
  /** Boot processor first. Default: one processor with APIC id 0. */
  readonly processors?: readonly AcpiProcessor[]
  /** Guest physical address of the local APICs. Default: 0xFEE00000. */
  readonly localApicAddress?: number
  /** Default: one at 0xFEC00000, with global system interrupts from 0 on. */
  readonly ioApics?: readonly AcpiIoApic[]
  /** Whether the two 8259A are there. */
  readonly pic?: boolean
  /** Whether the 8254 timer is there. */
  readonly pit?: boolean
  /** Whether the MC146818 clock with CMOS memory is there. */
  readonly rtc?: boolean
  /** Whether the 8042 keyboard controller is there. */
  readonly keyboardController?: boolean
  /** Whether a VGA is there, with its memory at 0xA0000–0xBFFFF. */
  readonly vga?: boolean
  /** Whether a WAET tells that one read of the PM timer is enough. Default: true. */
  readonly waet?: boolean
  /** Default: {@link PIIX4_POWER}. */
  readonly power?: AcpiPower
  /** COM1 first. Default: one at 0x3F8 with interrupt 4. */
  readonly serialPorts?: readonly AcpiSerialPort[]
  /** The PCI host bridge; `false` for a machine without PCI. Default: bus 0 with windows under and above 4 GiB. */
  readonly pci?: AcpiPciHost | false
  /** The VMBus; `false` for a machine without. Default: `false`. */
  readonly vmbus?: AcpiVmbus | false
}

/** An {@link AcpiConfiguration} with nothing left out. */
export type CompleteAcpiConfiguration = Required<AcpiConfiguration>

/** PIIX4 with its power management block at 0x600. */
export const PIIX4_POWER: AcpiPower = {
  pm1aEvent: 0x600,
  pm1aControl: 0x604,
  pmTimer: 0x608,
  pmTimer32: false,
  gpe0: undefined,
  sciInterrupt: 9,
  smi: { port: 0xb2, enable: 0xf1, disable: 0xf0 },
  sleepTypeS5: 0,
  powerButton: true,
  reset: { port: 0xcf9, value: 6 },
}

/** GSIs 16–19, turned by the device number so that neighbours do not share one. */
export function defaultPciInterrupt(device: number, pin: number): number {
  return 16 + ((device + pin - 1) & 3)
}

/** The PIIX4 at device 7. */
export const PIIX4_ROUTER: AcpiInterruptRouter = { device: 7, offset: 0x60, interrupts: [5, 10, 11] }

/** The built-in machine with `ramSize` bytes of RAM. */
export function defaultAcpiConfiguration(ramSize: number): CompleteAcpiConfiguration {
  return {
    processors: [{ apicId: 0 }],
    localApicAddress: 0xfee0_0000,
    ioApics: [{ id: 0, address: 0xfec0_0000, gsiBase: 0 }],
    pic: true,
    pit: true,
    rtc: true,
    keyboardController: false,
    vga: false,
    waet: true,
    power: PIIX4_POWER,
    serialPorts: [{ port: 0x3f8, interrupt: 4 }],
    pci: {
      window32: { base: LOW_RAM_LIMIT, length: 0x3800_0000 },
      window64: windowAboveRam(ramSize),
      interrupt: defaultPciInterrupt,
      router: PIIX4_ROUTER,
    },
    vmbus: false,
  }
}

/** 4 GiB of addresses at the first GiB after RAM, and not below 4 GiB. */
export function windowAboveRam(ramSize: number): AddressRange {
  const GIB = 2 ** 30
  return { base: Math.max(HIGH_RAM_BASE, alignUp(ramEnd(ramSize), GIB)), length: 4 * GIB }
}

/** Fill in what `configuration` leaves out. */
export function completeAcpiConfiguration(
  configuration: AcpiConfiguration,
  ramSize: number,
): CompleteAcpiConfiguration {
  const given = Object.fromEntries(Object.entries(configuration).filter(([, value]) => value !== undefined))
  return { ...defaultAcpiConfiguration(ramSize), ...given }
}
