// Puts the ACPI tables into a partition's memory.

import type { GuestMemory } from '@partita/interface'
import { FirmwareError } from '../firmware-error.ts'
import { SMBIOS_START, TABLES_START } from '../memory-map.ts'
import { clear, store } from '../physical-memory.ts'
import { type AcpiConfiguration, completeAcpiConfiguration } from './configuration.ts'
import { buildAcpiTables } from './tables.ts'

/**
 * Write the tables to the lower part of the BIOS area, 0xE0000–0xF7FFF, where a guest that is not told finds the RSDP by searching.
 *
 * @returns the guest physical address of the RSDP
 * @throws FirmwareError `ERR_ACPI_CONFIGURATION`, also for tables that are larger than the area
 */
export function installAcpiTables(memory: GuestMemory, configuration: AcpiConfiguration = {}): number {
  const { rsdp, tables, end } = buildAcpiTables(completeAcpiConfiguration(configuration, memory.ramSize), TABLES_START)
  if (end > SMBIOS_START) {
    throw new FirmwareError('ERR_ACPI_CONFIGURATION', 'The ACPI tables are larger than the BIOS area', {
      data: { length: end - TABLES_START, available: SMBIOS_START - TABLES_START },
    })
  }
  clear(memory, TABLES_START, SMBIOS_START - TABLES_START, 'The BIOS area')
  for (const { address, bytes } of tables) store(memory, address, bytes, 'An ACPI table')
  return rsdp
}
