// ACPI tables for firmware that puts them where it likes: two files, and the commands that say how to (QEMU's hw/acpi/bios-linker-loader.c has the format): allocate a file, add its address to a pointer, set
// a check sum.

import type { FirmwareConfiguration } from '@partita/interface'
import type { AcpiConfiguration } from '../acpi/configuration.ts'
import { completeAcpiConfiguration } from '../acpi/configuration.ts'
import { type AcpiTable, buildAcpiTables } from '../acpi/tables.ts'
import { viewOf } from '../bytes.ts'

const TABLES_FILE = 'etc/acpi/tables'
const RSDP_FILE = 'etc/acpi/rsdp'
const LOADER_FILE = 'etc/table-loader'
/** Commands of 128 bytes: number (32 bits), operands. File names have 56 bytes. */
const COMMAND = { LENGTH: 128, ALLOCATE: 1, ADD_POINTER: 2, ADD_CHECKSUM: 3 } as const
const FILE_NAME = 56
const ZONE = { HIGH: 1, BIOS_SEGMENT: 2 } as const
/** Where tables have pointers to others: offset and bytes. */
const FADT_POINTERS = [
  [36, 4],
  [40, 4],
  [140, 8],
] as const
const RSDP_POINTERS = [
  [16, 4],
  [24, 8],
] as const
const HEADER_LENGTH = 36
const HEADER_CHECKSUM = 9
const RSDP_CHECKSUMS = [
  { offset: 8, length: 20 },
  { offset: 32, length: 36 },
] as const
const ALIGNMENT = { TABLES: 64, RSDP: 16 } as const
/** Tables start here in their file: 64 bytes after where the RSDP would be. */
const RSDP_ROOM = 64

class LoaderScript {
  readonly #commands: Uint8Array[] = []

  #add(command: number, files: readonly string[], operands: readonly (readonly [value: number, bytes: 1 | 4])[]): void {
    const bytes = new Uint8Array(COMMAND.LENGTH)
    const view = viewOf(bytes)
    view.setUint32(0, command, true)
    let at = 4
    for (const file of files) {
      bytes.set(new TextEncoder().encode(file), at)
      at += FILE_NAME
    }
    for (const [value, size] of operands) {
      if (size === 1) view.setUint8(at, value)
      else view.setUint32(at, value, true)
      at += size
    }
    this.#commands.push(bytes)
  }

  allocate(file: string, alignment: number, zone: number): void {
    this.#add(
      COMMAND.ALLOCATE,
      [file],
      [
        [alignment, 4],
        [zone, 1],
      ],
    )
  }

  addPointer(file: string, target: string, offset: number, size: number): void {
    this.#add(
      COMMAND.ADD_POINTER,
      [file, target],
      [
        [offset, 4],
        [size, 1],
      ],
    )
  }

  addChecksum(file: string, offset: number, start: number, length: number): void {
    this.#add(
      COMMAND.ADD_CHECKSUM,
      [file],
      [
        [offset, 4],
        [start, 4],
        [length, 4],
      ],
    )
  }

  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.#commands.length * COMMAND.LENGTH)
    this.#commands.forEach((command, index) => void bytes.set(command, index * COMMAND.LENGTH))
    return bytes
  }
}

/** Offset and size of the pointers of a table. */
function pointersOf({ signature, bytes }: AcpiTable): (readonly [offset: number, size: number])[] {
  if (signature === 'FACP') return [...FADT_POINTERS]
  const size = signature === 'RSDT' ? 4 : signature === 'XSDT' ? 8 : 0
  if (size === 0) return []
  const pointers: (readonly [number, number])[] = []
  for (let offset = HEADER_LENGTH; offset < bytes.length; offset += size) pointers.push([offset, size])
  return pointers
}

/**
 * Hand the tables for a machine with `ramSize` bytes of RAM to firmware that knows `etc/table-loader`.
 * @throws FirmwareError `ERR_ACPI_CONFIGURATION`
 */
export function giveAcpiTables(target: FirmwareConfiguration, acpi: AcpiConfiguration, ramSize: number): void {
  // Made for an address at which the pointers are offsets in the file.
  const { tables } = buildAcpiTables(completeAcpiConfiguration(acpi, ramSize), -RSDP_ROOM)
  const [rsdp, ...others] = tables
  const length = Math.max(...others.map(({ address, bytes }) => address + bytes.length))
  const file = new Uint8Array(length)
  const script = new LoaderScript()
  script.allocate(TABLES_FILE, ALIGNMENT.TABLES, ZONE.HIGH)
  script.allocate(RSDP_FILE, ALIGNMENT.RSDP, ZONE.BIOS_SEGMENT)
  for (const table of others) {
    file.set(table.bytes, table.address)
    const pointers = pointersOf(table)
    for (const [offset, size] of pointers) script.addPointer(TABLES_FILE, TABLES_FILE, table.address + offset, size)
    // All others are right as they are.
    if (pointers.length > 0)
      script.addChecksum(TABLES_FILE, table.address + HEADER_CHECKSUM, table.address, table.bytes.length)
  }
  for (const [offset, size] of RSDP_POINTERS) script.addPointer(RSDP_FILE, TABLES_FILE, offset, size)
  for (const { offset, length: summed } of RSDP_CHECKSUMS) script.addChecksum(RSDP_FILE, offset, 0, summed)
  target.setFile(TABLES_FILE, file)
  target.setFile(RSDP_FILE, (rsdp as AcpiTable).bytes)
  target.setFile(LOADER_FILE, script.bytes())
}
