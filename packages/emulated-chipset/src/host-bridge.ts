// Device 0, the host bridge: an 82443BX without AGP (data sheet 290633, chapter 3), as machines of generation 1 have it, or an 82441FX (data sheet 290549, chapter 3), the
// one that SeaBIOS looks for. They have the registers that matter at the same places: PAM0–PAM6 decide where RAM answers from 0xC0000 to 0xFFFFF, and SMRAM whether it does at 0xA0000.
// There is no SMM, so SMRAM does nothing else. What programs DRAM (timing, row boundaries) is not there.

import type { PciFunction, ShadowRam } from '@partita/interface'
import { type ConfigRegister, ConfigSpace, INTEL, PCI_CONFIG, STATUS_ERRORS } from '@partita/pci'

/** Which host bridge. */
export type HostBridgeModel = '440BX' | '440FX'

/** Offset of PAM0; PAM1 to PAM6 follow. */
const PAM0 = 0x59
/** Double words with the PAM registers in them. */
const PAM_LOW = 0x58
const PAM_HIGH = 0x5c
/** The double word with SMRAM in its byte 2. */
const SMRAM = 0x70
const SMRAM_BIT = { G_SMRAME: 0x08, D_LCK: 0x10, D_CLS: 0x20, D_OPEN: 0x40 } as const
/** C_BASE_SEG: SMM's memory is at 0xA0000, and nowhere else. */
const C_BASE_SEG = 0x02
/** Bits of a PAM field. */
const PAM = { READ: 1, WRITE: 2 } as const
const SHADOW_START = 0xc0000
const SEGMENT = 0x4000
const BIOS_SEGMENT = { START: 0xf0000, LENGTH: 0x10000 } as const
const VIDEO_WINDOW = { START: 0xa0000, LENGTH: 0x20000 } as const
/** All fields that there are: PAM0 has no lower one. */
const PAM_WRITABLE_LOW = 0x3333_3000
const PAM_WRITABLE_HIGH = 0x3333_3333

function registers(model: HostBridgeModel, firmware: boolean): readonly ConfigRegister[] {
  const common: readonly ConfigRegister[] = [
    [PAM_LOW, firmware ? 0 : PAM_WRITABLE_LOW, PAM_WRITABLE_LOW],
    [PAM_HIGH, firmware ? 0 : PAM_WRITABLE_HIGH, PAM_WRITABLE_HIGH],
    [SMRAM, C_BASE_SEG << 16, (SMRAM_BIT.G_SMRAME | SMRAM_BIT.D_LCK | SMRAM_BIT.D_CLS | SMRAM_BIT.D_OPEN) << 16],
  ]
  // Memory and bus master are always on (PCICMD). AGP is not there: no capabilities, and no aperture in BAR 0.
  if (model === '440BX') {
    return [
      [PCI_CONFIG.ID, 0x7192_0000 | INTEL, 0],
      [PCI_CONFIG.COMMAND_STATUS, 0x0200_0006, 0x0000_0100, STATUS_ERRORS],
      [PCI_CONFIG.CLASS_REVISION, 0x0600_0003, 0],
      [PCI_CONFIG.HEADER, 0, 0x0000_f800],
      ...common,
    ]
  }
  return [
    [PCI_CONFIG.ID, 0x1237_0000 | INTEL, 0],
    [PCI_CONFIG.COMMAND_STATUS, 0x0280_0006, 0x0000_0140, STATUS_ERRORS],
    [PCI_CONFIG.CLASS_REVISION, 0x0600_0002, 0],
    [PCI_CONFIG.HEADER, 0, 0x0000_f800],
    // What SeaBIOS knows by that it is on a virtual machine that has a configuration for it.
    [PCI_CONFIG.SUBSYSTEM, 0x1100_1af4, 0],
    ...common,
  ]
}

/** The host bridge. */
export class HostBridge implements PciFunction {
  readonly #space: ConfigSpace
  readonly #shadowRam: ShadowRam | undefined

  /** `firmware`: registers are as at power-on, for firmware in a ROM, and else as firmware leaves them, with RAM everywhere. */
  constructor(model: HostBridgeModel, firmware: boolean, shadowRam: ShadowRam | undefined) {
    this.#space = new ConfigSpace(registers(model, firmware), (offset) => this.#written(offset))
    this.#shadowRam = shadowRam
    this.#decodeAll()
  }

  readConfig(offset: number): number {
    return this.#space.readConfig(offset)
  }

  writeConfig(offset: number, value: number, mask: number): void {
    const locked = offset === SMRAM && (this.#smram & SMRAM_BIT.D_LCK) !== 0
    const open = (SMRAM_BIT.D_OPEN | SMRAM_BIT.D_LCK) << 16
    this.#space.writeConfig(offset, value, locked ? mask & ~open : mask)
  }

  get #smram(): number {
    return (this.#space.readConfig(SMRAM) >>> 16) & 0xff
  }

  #written(offset: number): void {
    if (offset === PAM_LOW || offset === PAM_HIGH) this.#decodeShadow()
    else if (offset === SMRAM) {
      // The lock closes.
      if ((this.#smram & SMRAM_BIT.D_LCK) !== 0)
        this.#space.set(SMRAM, this.#space.readConfig(SMRAM) & ~(SMRAM_BIT.D_OPEN << 16))
      this.#decodeVideo()
    }
  }

  #decodeAll(): void {
    this.#decodeShadow()
    this.#decodeVideo()
  }

  #decodeShadow(): void {
    this.#decode(BIOS_SEGMENT.START, BIOS_SEGMENT.LENGTH, this.#pam(0) >> 4)
    for (let segment = 0; segment < 12; segment++) {
      const field = this.#pam(1 + (segment >> 1)) >> ((segment & 1) === 0 ? 0 : 4)
      this.#decode(SHADOW_START + segment * SEGMENT, SEGMENT, field)
    }
  }

  #pam(index: number): number {
    const offset = PAM0 + index
    return (this.#space.readConfig(offset & ~3) >>> (8 * (offset & 3))) & 0xff
  }

  #decode(gpa: number, length: number, field: number): void {
    this.#shadowRam?.decode(gpa, length, { read: (field & PAM.READ) !== 0, write: (field & PAM.WRITE) !== 0 })
  }

  #decodeVideo(): void {
    const open = (this.#smram & SMRAM_BIT.D_OPEN) !== 0
    this.#shadowRam?.decode(VIDEO_WINDOW.START, VIDEO_WINDOW.LENGTH, { read: open, write: open })
  }

  reset(): void {
    this.#space.reset()
    this.#decodeAll()
  }

  /** The registers, for a saved state. */
  save(): number[] {
    return this.#space.save()
  }

  /** Take over what {@link HostBridge.save} gave. */
  restore(values: readonly number[]): void {
    this.#space.restore(values)
    this.#written(SMRAM)
    this.#decodeAll()
  }
}
