/**
 * Loaders, memory map and ACPI tables for Partita guests: bytes of a kernel in, a partition that is ready to run out. Nothing here knows
 * a file system, a device or a particular processor.
 *
 * @example
 * ```ts
 * import { loadKernel } from '@partita/firmware'
 *
 * const { kind, decompressedBy } = await loadKernel({ memory, vp, kernel, initrd, commandLine: 'console=ttyS0', acpi: {} })
 * ```
 * @packageDocumentation
 */
export {
  type AcpiConfiguration,
  type AcpiInterruptRouter,
  type AcpiIoApic,
  type AcpiPciHost,
  type AcpiPower,
  type AcpiProcessor,
  type AcpiSerialPort,
  type AcpiVmbus,
  type AddressRange,
  type CompleteAcpiConfiguration,
  completeAcpiConfiguration,
  defaultAcpiConfiguration,
  defaultPciInterrupt,
  PIIX4_POWER,
  PIIX4_ROUTER,
  windowAboveRam,
} from './acpi/configuration.ts'
export { installAcpiTables } from './acpi/install.ts'
export { type AcpiTable, type AcpiTables, buildAcpiTables } from './acpi/tables.ts'
export { type BiosConfiguration, checkBiosImage, configureBios, ideBootPath } from './bios/configure.ts'
export { installSmbios } from './bios/install-smbios.ts'
export { buildSmbios, type SmbiosConfiguration, type SmbiosTables } from './bios/smbios.ts'
export { giveAcpiTables } from './bios/table-loader.ts'
export type { BootModule, BootOptions, BootProcessor, Decompression, KernelKind, LoadedKernel } from './boot.ts'
export {
  builtInDecompressors,
  type CompressionFormat,
  type Decompressor,
  type Decompressors,
  detectCompression,
} from './compression/decompress.ts'
export { FirmwareError, type FirmwareErrorCode } from './firmware-error.ts'
export { detectKernel, loadKernel, requiredMemory } from './kernel-image.ts'
export { checkInitrd } from './linux/initrd.ts'
export { loadLinux } from './linux/load-linux.ts'
export {
  buildMemoryMap,
  E820_TYPE,
  type E820Entry,
  type E820Type,
  HIGH_RAM_BASE,
  LOW_RAM_LIMIT,
  type MemoryMapOptions,
  MINIMUM_RAM,
} from './memory-map.ts'
export { loadMultiboot } from './multiboot/load-multiboot.ts'
