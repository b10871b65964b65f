// Configuration spaces of the built-in PCI functions: the 82443BX host bridge (data sheet 290633, chapter 3) without AGP, and of the PIIX4 (82371AB, data sheet
// 290562, chapters 4 and 7) the ISA bridge and the power management function. They hold what a guest identifies the chipset by; the
// devices behind them are plug-ins of their own at fixed addresses.

import type { PciFunction } from '@partita/interface'

/** Registers of configuration header type 0 (PCI 3.0, section 6.1). */
const PCI_CONFIG = {
  ID: 0x00,
  COMMAND_STATUS: 0x04,
  CLASS_REVISION: 0x08,
  HEADER: 0x0c,
  BAR0: 0x10,
  SUBSYSTEM: 0x2c,
  INTERRUPT: 0x3c,
} as const

/**
 * A configuration space made of 64 double words, each with the mask of the bits that a guest can change. What is not described reads as zero.
 *
 * @example
 * ```ts
 * const space = new ConfigSpace([[PCI_CONFIG.ID, 0x7192_8086, 0], [PCI_CONFIG.COMMAND_STATUS, 0x0006, 0x0106]])
 * ```
 */
export class ConfigSpace implements PciFunction {
  readonly #initial: Uint32Array = new Uint32Array(64)
  readonly #writable: Uint32Array = new Uint32Array(64)
  readonly #values: Uint32Array
  readonly #written: ((offset: number, value: number) => void) | undefined

  /** `registers` are triples of offset, power-on value and writable bits; `written` is told of each register that a guest has written. */
  constructor(
    registers: readonly (readonly [offset: number, value: number, writable: number])[],
    written?: (offset: number, value: number) => void,
  ) {
    for (const [offset, value, writable] of registers) {
      this.#initial[offset >> 2] = value
      this.#writable[offset >> 2] = writable
    }
    this.#values = this.#initial.slice()
    this.#written = written
  }

  readConfig(offset: number): number {
    return this.#values[(offset >> 2) & 63] ?? 0
  }

  writeConfig(offset: number, value: number, mask: number): void {
    const index = (offset >> 2) & 63
    const writable = (this.#writable[index] ?? 0) & mask
    if (writable === 0) return
    const next = (((this.#values[index] ?? 0) & ~writable) | (value & writable)) >>> 0
    this.#values[index] = next
    this.#written?.(index * 4, next)
  }

  reset(): void {
    this.#values.set(this.#initial)
  }

  /** The 64 double words, for a saved state. */
  save(): number[] {
    return [...this.#values]
  }

  /** Take over what {@link ConfigSpace.save} gave; bits that a guest cannot change keep their power-on values. */
  restore(values: readonly number[]): void {
    for (let index = 0; index < 64; index++) {
      const writable = this.#writable[index] ?? 0
      this.#values[index] = ((this.#initial[index] ?? 0) & ~writable) | ((values[index] ?? 0) & writable)
    }
  }
}

const INTEL = 0x8086
const MULTI_FUNCTION = 0x0080_0000

/** Device 0: 440BX host bridge, AGP disabled. Memory and bus master are always on (290633, PCICMD). */
export function hostBridge(): ConfigSpace {
  return new ConfigSpace([
    [PCI_CONFIG.ID, 0x7192_0000 | INTEL, 0],
    [PCI_CONFIG.COMMAND_STATUS, 0x0200_0006, 0x0000_0100],
    [PCI_CONFIG.CLASS_REVISION, 0x0600_0003, 0],
  ])
}

/** PIIX4 function 0: ISA bridge. `routed` is told of PIRQRC[A:D], the routes of PIRQA–D to ISA interrupts, one a byte. */
export function isaBridge(routed: (routes: number) => void): ConfigSpace {
  return new ConfigSpace(
    [
      [PCI_CONFIG.ID, 0x7110_0000 | INTEL, 0],
      [PCI_CONFIG.COMMAND_STATUS, 0x0280_0007, 0x0000_0108],
      [PCI_CONFIG.CLASS_REVISION, 0x0601_0001, 0],
      [PCI_CONFIG.HEADER, MULTI_FUNCTION, 0],
      [PIRQ_ROUTES, 0x8080_8080, 0x8f8f_8f8f],
    ],
    (offset, value) => {
      if (offset === PIRQ_ROUTES) routed(value)
    },
  )
}

/** Offset of PIRQRC[A:D] (82371AB data sheet): bit 7 turns a route off, bits 3–0 are the ISA interrupt. */
export const PIRQ_ROUTES = 0x60

/** PIIX4 function 3: power management. Says where the fixed ACPI hardware is; it does not move. */
export function powerManagementFunction(base: number): ConfigSpace {
  return new ConfigSpace([
    [PCI_CONFIG.ID, 0x7113_0000 | INTEL, 0],
    [PCI_CONFIG.COMMAND_STATUS, 0x0280_0001, 0],
    [PCI_CONFIG.CLASS_REVISION, 0x0680_0003, 0],
    // PMBA, and PMREGMISC with PMIOSE: decoded.
    [0x40, base | 1, 0],
    [0x80, 0x0000_0001, 0],
  ])
}
