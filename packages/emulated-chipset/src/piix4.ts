// Functions 0 and 3 of the PIIX4 (82371AB, data sheet 290562, chapters 4 and 7): the ISA bridge, whose PIRQRC registers route PCI interrupts to ISA ones, and power management, which says
// where the fixed ACPI hardware is. The devices behind the ISA bridge are plug-ins of their own at fixed addresses; there is no SMBus.

import { type ConfigRegister, ConfigSpace, INTEL, MULTI_FUNCTION, PCI_CONFIG, STATUS_ERRORS } from '@partita/pci'

/** Offset of PIRQRC[A:D]: bit 7 turns a route off, bits 3–0 are the ISA interrupt. */
export const PIRQ_ROUTES = 0x60
/** PMBA: the first port of the power management block, a multiple of 64. */
const PMBA = 0x40
const PMBA_ADDRESS = 0xffc0
const DEVACTB = 0x58
/** APMC_EN: a write to port 0xB2 raises an SMI. Firmware sets it when SMM is set up, and does not set it up where it finds it set. */
const APMC_EN = 0x0200_0000
/** PMREGMISC. */
const PMREGMISC = 0x80
/** PMIOSE: the power management block answers. */
const PMIOSE = 0x01

/** Function 0: ISA bridge. I/O, memory and bus master are always on (PCICMD). `routed` is told of PIRQRC[A:D], the routes of PIRQA–D to ISA interrupts, one a byte. */
export function isaBridge(routed: (routes: number) => void): ConfigSpace {
  return new ConfigSpace(
    [
      [PCI_CONFIG.ID, 0x7110_0000 | INTEL, 0],
      [PCI_CONFIG.COMMAND_STATUS, 0x0280_0007, 0x0000_0108, STATUS_ERRORS],
      [PCI_CONFIG.CLASS_REVISION, 0x0601_0001, 0],
      [PCI_CONFIG.HEADER, MULTI_FUNCTION, 0],
      [0x4c, 0x0003_004d, 0x07ff_007f], // IORT, XBCS
      [PIRQ_ROUTES, 0x8080_8080, 0x8f8f_8f8f],
      [0x64, 0x0000_0010, 0x0000_00ff], // SERIRQC
      [0x68, 0x0000_0200, 0x0000_fa00], // TOM
      [0x74, 0x0404_0000, 0x8f8f_0000], // MBDMA
      [0x80, 0x0000_0000, 0x000f_007f], // APICBASE, DLC
      [0x90, 0x0000_0000, 0xffc0_fffb], // PDMACFG, DDMABP
      [0xb0, 0x0000_0000, 0xffff_ffff], // GENCFG
      [0xc8, 0x2100_0000, 0x3d00_0000], // RTCCFG
    ],
    (offset, value) => {
      if (offset === PIRQ_ROUTES) routed(value)
    },
  )
}

/** Registers of function 3 that a guest can set and that make nothing happen here: CNTA to DEVRESJ. */
const INERT: readonly ConfigRegister[] = [
  [0x44, 0, 0xffff_ffff],
  [0x48, 0, 0xffff_ffff],
  [0x4c, 0, 0xffff_ffff],
  [0x50, 0, 0x00ff_ffff],
  [0x54, 0, 0xffff_ffff],
  [0x5c, 0, 0xffff_ffff],
  [0x60, 0, 0xffff_ffff],
  [0x64, 0, 0xffff_ffff],
  [0x68, 0, 0x0017_ffff],
  [0x6c, 0, 0x00ff_ffff],
  [0x70, 0, 0x0017_ffff],
  [0x74, 0, 0x0017_ffff],
  [0x78, 0, 0x0017_ffff],
  [0x7c, 0, 0x0017_ffff],
]

/**
 * Function 3: power management. `place` is told where its block of ports is, or that it is nowhere. Without `firmware` that would put it somewhere, it is at `base` from the start.
 */
export function powerManagementFunction(
  base: number,
  firmware: boolean,
  place: (base: number | undefined) => void,
): ConfigSpace {
  const space: ConfigSpace = new ConfigSpace(
    [
      [PCI_CONFIG.ID, 0x7113_0000 | INTEL, 0],
      [PCI_CONFIG.COMMAND_STATUS, 0x0280_0001, 0x0000_0001, STATUS_ERRORS],
      [PCI_CONFIG.CLASS_REVISION, 0x0680_0003, 0],
      // The SCI is interrupt 9 whatever a guest writes here.
      [PCI_CONFIG.INTERRUPT, 0x0000_0100 | (firmware ? 0 : 9), 0x0000_00ff],
      [PMBA, firmware ? 1 : base | 1, PMBA_ADDRESS],
      [DEVACTB, APMC_EN, 0xffff_ffff],
      [PMREGMISC, firmware ? 0 : PMIOSE, PMIOSE],
      ...INERT,
    ],
    (offset) => {
      if (offset === PMBA || offset === PMREGMISC) place(powerManagementBase(space))
    },
  )
  return space
}

/** Where function 3 has its block of ports now. */
export function powerManagementBase(space: ConfigSpace): number | undefined {
  return (space.readConfig(PMREGMISC) & PMIOSE) === 0 ? undefined : space.readConfig(PMBA) & PMBA_ADDRESS
}
