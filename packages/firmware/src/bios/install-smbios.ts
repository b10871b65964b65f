// Puts SMBIOS structures where an operating system that no firmware has booted finds them: the entry point is in 0xF0000–0xFFFFF, at a multiple of 16 (DSP0134 3.7, 5.2.1).

import type { GuestMemory } from '@partita/interface'
import { checksum } from '../acpi/tables.ts'
import { viewOf } from '../bytes.ts'
import { FirmwareError } from '../firmware-error.ts'
import { SMBIOS_START, TABLES_END } from '../memory-map.ts'
import { clear, store } from '../physical-memory.ts'
import { buildSmbios, type SmbiosConfiguration } from './smbios.ts'

/** Where the structures are, behind the entry point. */
const STRUCTURES = SMBIOS_START + 0x20

/**
 * Write the structures to the upper part of the BIOS area.
 *
 * @throws FirmwareError `ERR_ACPI_CONFIGURATION` for structures that are larger than that, `ERR_MEMORY_TOO_SMALL` where there is no RAM for them
 */
export function installSmbios(memory: GuestMemory, configuration: SmbiosConfiguration): void {
  const { tables, anchor } = buildSmbios(configuration)
  if (STRUCTURES + tables.length > TABLES_END) {
    throw new FirmwareError('ERR_ACPI_CONFIGURATION', 'The SMBIOS structures are larger than their place', {
      data: { length: tables.length, available: TABLES_END - STRUCTURES },
    })
  }
  viewOf(anchor).setUint32(24, STRUCTURES, true)
  // The intermediate entry point has a check sum of its own, so that the whole's follows from the rest.
  anchor[21] = 0
  anchor[21] = checksum(anchor.subarray(16))
  anchor[4] = 0
  anchor[4] = checksum(anchor)
  clear(memory, SMBIOS_START, TABLES_END - SMBIOS_START, 'The BIOS area')
  store(memory, SMBIOS_START, anchor, 'The SMBIOS entry point')
  store(memory, STRUCTURES, tables, 'The SMBIOS structures')
}
