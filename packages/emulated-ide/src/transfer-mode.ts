// SET FEATURES, subcommand SET TRANSFER MODE (ATA/ATAPI-7 volume 1, section 6.51.3).

import { MAXIMUM_MODE } from './ata.ts'
import { MODE } from './identify-words.ts'

/** Subcommands of SET FEATURES that drives take (section 6.51). */
export const FEATURE = {
  ENABLE_WRITE_CACHE: 0x02,
  SET_TRANSFER_MODE: 0x03,
  DISABLE_LOOK_AHEAD: 0x55,
  KEEP_SETTINGS: 0x66,
  DISABLE_WRITE_CACHE: 0x82,
  ENABLE_LOOK_AHEAD: 0xaa,
  REVERT_SETTINGS: 0xcc,
} as const

/**
 * The mode of DMA after `value` was asked for, `current` before: modes of PIO leave it as it is. Undefined for a mode that there is not.
 */
export function transferMode(value: number, current: number, dma: boolean): number | undefined {
  const mode = value & MODE.NUMBER
  switch (value & MODE.TYPE) {
    case 0x00: // the default mode of PIO, with or without IORDY
      return mode <= 1 ? current : undefined
    case 0x08:
      return mode <= MAXIMUM_MODE.PIO ? current : undefined
    case MODE.MULTIWORD_DMA:
      return dma && mode <= MAXIMUM_MODE.MULTIWORD_DMA ? value : undefined
    case MODE.ULTRA_DMA:
      return dma && mode <= MAXIMUM_MODE.ULTRA_DMA ? value : undefined
    default:
      return undefined
  }
}
