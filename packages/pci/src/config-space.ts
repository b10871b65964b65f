// The 256 bytes of configuration space of a PCI function with a header of type 0 (PCI 3.0, section 6.1), as a table of registers: what they hold at power-on, and which bits a guest can
// change.

import type { PciFunction } from '@partita/interface'
import { PciError } from './pci-error.ts'

/** Registers of configuration header type 0. */
export const PCI_CONFIG = {
  ID: 0x00,
  COMMAND_STATUS: 0x04,
  CLASS_REVISION: 0x08,
  HEADER: 0x0c,
  BAR0: 0x10,
  SUBSYSTEM: 0x2c,
  INTERRUPT: 0x3c,
} as const

/** Vendor id of Intel. */
export const INTEL = 0x8086
/** In the register {@link PCI_CONFIG.HEADER}: there are more functions than 0. */
export const MULTI_FUNCTION = 0x0080_0000
/** In the lower half of {@link PCI_CONFIG.COMMAND_STATUS}, the command register: what a function answers at, and whether it is a bus master (section 6.2.2). */
export const PCI_COMMAND = { IO: 0x0001, MEMORY: 0x0002, BUS_MASTER: 0x0004 } as const
/** In its upper half, the status register (section 6.2.3): a transfer that nothing answered. */
export const RECEIVED_MASTER_ABORT = 0x2000_0000
/** All bits of the status register that a guest clears with ones: parity and system errors, aborts. */
export const STATUS_ERRORS = 0xf900_0000
/** In a base address register: it is for ports. */
export const BAR_IO = 0x01

/** A register of 32 bits: offset, power-on value and the bits that a guest can change; bits that it clears by writing ones to them, such as errors in a status register. */
export type ConfigRegister = readonly [offset: number, value: number, writable: number, clearable?: number]

/**
 * A configuration space made of 64 double words. What is not described reads as zero.
 *
 * @example
 * ```ts
 * const space = new ConfigSpace([[PCI_CONFIG.ID, 0x7192_8086, 0], [PCI_CONFIG.COMMAND_STATUS, 0x0006, 0x0106]])
 * ```
 */
export class ConfigSpace implements PciFunction {
  readonly #initial: Uint32Array = new Uint32Array(64)
  readonly #writable: Uint32Array = new Uint32Array(64)
  readonly #clearable: Uint32Array = new Uint32Array(64)
  readonly #values: Uint32Array
  readonly #written: ((offset: number, value: number) => void) | undefined

  /**
   * `written` is told of each register that a guest has written, with its offset and what it holds now.
   * @throws PciError `ERR_PCI_REGISTER` where an offset is none of a double word in the 256 bytes, or stands in the table twice
   */
  constructor(registers: readonly ConfigRegister[], written?: (offset: number, value: number) => void) {
    const described = new Set<number>()
    for (const [offset, value, writable, clearable = 0] of registers) {
      if (!Number.isInteger(offset / 4) || offset < 0 || offset > 0xfc || described.has(offset)) {
        throw new PciError('ERR_PCI_REGISTER', `a table of PCI registers cannot have one at 0x${offset.toString(16)}`, {
          hint: 'A row is for a whole double word: its offset is a multiple of 4 below 256, and in no other row.',
          data: { offset },
        })
      }
      described.add(offset)
      this.#initial[offset >> 2] = value
      this.#writable[offset >> 2] = writable
      this.#clearable[offset >> 2] = clearable
    }
    this.#values = this.#initial.slice()
    this.#written = written
  }

  /** The double word that the byte at `offset` is in: what is read of a register at an offset that is no multiple of 4 is shifted by who asks. */
  readConfig(offset: number): number {
    return this.#values[(offset >> 2) & 63] ?? 0
  }

  /**
   * A guest's write to the double word that the byte at `offset` is in. Both `value` and `mask` are of that double word: bits of `mask` are ones where the guest writes, 0x0000_ff00 for its second byte. Other bits
   * stay as they are, as do those that a guest cannot change. Who asked to be told of writes is told, unless there was nothing to change.
   */
  writeConfig(offset: number, value: number, mask: number): void {
    const index = (offset >> 2) & 63
    const writable = (this.#writable[index] ?? 0) & mask
    const cleared = (this.#clearable[index] ?? 0) & mask & value
    if (writable === 0 && cleared === 0) return
    const next = (((this.#values[index] ?? 0) & ~writable & ~cleared) | (value & writable)) >>> 0
    this.#values[index] = next
    this.#written?.(index * 4, next)
  }

  /** Set a register to what the hardware makes of it. Tells nobody. */
  set(offset: number, value: number): void {
    this.#values[(offset >> 2) & 63] = value
  }

  /** The values of power-on. Tells nobody: what hangs on them is for the caller to put right. */
  reset(): void {
    this.#values.set(this.#initial)
  }

  /** The 64 double words, for a saved state. */
  save(): number[] {
    return [...this.#values]
  }

  /** Take over what {@link ConfigSpace.save} gave; bits that a guest cannot change keep their power-on values. Tells nobody. */
  restore(values: readonly number[]): void {
    for (let index = 0; index < 64; index++) {
      const changeable = (this.#writable[index] ?? 0) | (this.#clearable[index] ?? 0)
      this.#values[index] = ((this.#initial[index] ?? 0) & ~changeable) | ((values[index] ?? 0) & changeable)
    }
  }
}
