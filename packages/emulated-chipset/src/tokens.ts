// Services that the parts of the chipset offer one another. A device outside the chipset sees interruptLinesToken and pciBusToken only.

import { type PortHandler, type ServiceToken, serviceToken } from '@partita/interface'

/** Inputs of an interrupt controller. */
export interface InterruptController {
  /** How many inputs it has. */
  readonly inputs: number
  /** Drive input `input`. Asserting an asserted input changes nothing. */
  setInput(input: number, asserted: boolean): void
}

/** The power button of the case. */
export interface PowerButton {
  /** Press and let go: the guest gets a power button event (ACPI 6.5, section 4.8.2.2.1) and may shut down. */
  press(): void
}

/** The ports of the ACPI fixed hardware, which the PIIX4's configuration space places. */
export interface PowerManagementBlock {
  /** Answer from `base` on, or nowhere. Where something else answers already the block is nowhere, too. */
  place(base: number | undefined): void
}

/** The byte-wide reset register inside the address register of PCI configuration mechanism #1. */
export interface ResetRegisterHost {
  /**
   * Let `handler` answer byte accesses to port 0xCF9. `owner` is the id of the plug-in that it belongs to.
   * @throws ChipsetError `ERR_CHIPSET_CONFLICT` when another one does; the message and `data.plugins` name both
   */
  setResetRegister(handler: PortHandler, owner: string): Disposable
}

/** The 8259A pair: inputs 0–15, without 2. */
export const picToken: ServiceToken<InterruptController> = serviceToken('partita/emulated-chipset/pic')
/** The I/O APIC: inputs 0–23. */
export const ioApicToken: ServiceToken<InterruptController> = serviceToken('partita/emulated-chipset/io-apic')
/** The ACPI power button, for whoever embeds the VM. */
export const powerButtonToken: ServiceToken<PowerButton> = serviceToken('partita/emulated-chipset/power-button')
/** The power management block, for the PIIX4. */
export const powerManagementBlockToken: ServiceToken<PowerManagementBlock> = serviceToken(
  'partita/emulated-chipset/power-management-block',
)
/** Where the reset register is put into PCI configuration space's ports. */
export const resetRegisterHostToken: ServiceToken<ResetRegisterHost> = serviceToken(
  'partita/emulated-chipset/reset-register-host',
)
