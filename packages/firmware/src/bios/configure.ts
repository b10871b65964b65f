// What SeaBIOS is told (its docs/Runtime_config.md, and QEMU's docs/specs/fw_cfg.rst): memory, processors, ACPI and SMBIOS tables, the console, and what to boot from.

import type { FirmwareConfiguration } from '@partita/interface'
import { concat, littleEndian } from '../acpi/aml.ts'
import type { AcpiConfiguration } from '../acpi/configuration.ts'
import { FirmwareError } from '../firmware-error.ts'
import { E820_TYPE } from '../memory-map.ts'
import { buildSmbios } from './smbios.ts'
import { giveAcpiTables } from './table-loader.ts'

/** Items by number. */
const ITEM = { PROCESSORS: 0x05, BOOT_MENU: 0x0e, MAXIMUM_PROCESSORS: 0x0f, IRQ0_OVERRIDE: 0x8002 } as const
const NO_RETRY = 0xffff_ffff
const ROM_SIZES = [64, 128, 256, 512].map((kibibytes) => kibibytes * 1024)
/** A ROM ends with the processor's first instruction, a jump. */
const RESET_VECTOR = 16
const FAR_JUMP = 0xea

/** The machine that firmware starts on. */
export interface BiosConfiguration {
  /** Bytes of RAM, from address 0 on. */
  readonly ramSize: number
  /** How many processors there are. */
  readonly processors: number
  /** Who the machine says that it is made by; see {@link SmbiosConfiguration}. */
  readonly manufacturer?: string | undefined
  /** ACPI tables; `false` for none. */
  readonly acpi: AcpiConfiguration | false
  /** First port of the serial port that is screen and keyboard of everything that uses the BIOS; `undefined` for none. */
  readonly serialConsole?: number | undefined
  /** What to boot from, the first one first, as device paths: `/pci@i0cf8/ide@7,1/drive@0/disk@0`. The rest follows in the firmware's own order. */
  readonly bootOrder: readonly string[]
}

/** Device path of an IDE drive: 0 and 1 on the first channel, 2 and 3 on the second, of the controller at `device`.`fn`. */
export function ideBootPath(drive: number, device = 7, fn = 1): string {
  return `/pci@i0cf8/ide@${device.toString(16)},${fn}/drive@${drive >> 1}/disk@${drive & 1}`
}

/**
 * Tell firmware about the machine.
 * @throws FirmwareError `ERR_ACPI_CONFIGURATION`; PartitaError `ERR_FIRMWARE_ITEM`
 */
export function configureBios(target: FirmwareConfiguration, machine: BiosConfiguration): void {
  const { ramSize, processors, manufacturer, acpi, serialConsole, bootOrder } = machine
  const text = (value: string): Uint8Array => new TextEncoder().encode(value)
  const ram = concat(littleEndian(0, 8), littleEndian(ramSize, 8), littleEndian(E820_TYPE.RAM, 4))
  const smbios = buildSmbios({ ramSize, processors, manufacturer })
  target.setItem(ITEM.PROCESSORS, littleEndian(processors, 2))
  target.setItem(ITEM.MAXIMUM_PROCESSORS, littleEndian(processors, 2))
  target.setItem(ITEM.BOOT_MENU, littleEndian(0, 2))
  target.setItem(ITEM.IRQ0_OVERRIDE, Uint8Array.of(1))
  target.setFile('etc/e820', ram)
  target.setFile('etc/smbios/smbios-tables', smbios.tables)
  target.setFile('etc/smbios/smbios-anchor', smbios.anchor)
  target.setFile('etc/boot-fail-wait', littleEndian(NO_RETRY, 4))
  target.setFile('etc/sercon-port', serialConsole === undefined ? undefined : littleEndian(serialConsole, 2))
  target.setFile('bootorder', text([...bootOrder, ''].join('\n').concat('\0')))
  if (acpi !== false) giveAcpiTables(target, acpi, ramSize)
}

/**
 * Look whether `rom` can be a PC's firmware.
 * @throws FirmwareError `ERR_FIRMWARE_IMAGE`
 */
export function checkBiosImage(rom: Uint8Array): void {
  if (!ROM_SIZES.includes(rom.length)) {
    throw new FirmwareError('ERR_FIRMWARE_IMAGE', `${rom.length} bytes are not the size of a BIOS image`, {
      hint: 'It has 64, 128, 256 or 512 KiB, as bios-256k.bin of the package seabios has.',
      data: { length: rom.length },
    })
  }
  if (rom[rom.length - RESET_VECTOR] !== FAR_JUMP) {
    throw new FirmwareError('ERR_FIRMWARE_IMAGE', 'The BIOS image does not end with a jump, where the processor starts')
  }
}
