// The ACPI tables besides the DSDT's contents (ACPI 6.5, section 5.2): RSDP, RSDT, XSDT, FADT, FACS, MADT, WAET. Pure: a configuration and an
// address in, bytes out.

import { alignUp, viewOf } from '../bytes.ts'
import { FirmwareError } from '../firmware-error.ts'
import { concat, littleEndian } from './aml.ts'
import type { AcpiPower, CompleteAcpiConfiguration } from './configuration.ts'
import { buildDsdtBody } from './dsdt.ts'

const HEADER_LENGTH = 36
const RSDP_LENGTH = 36
const FACS_LENGTH = 64
const FADT_LENGTH = 276
const OEM_ID = 'PRTITA'
const OEM_TABLE_ID = 'PARTITA '
const CREATOR_ID = 'PRTA'

/** One table at its place. */
export interface AcpiTable {
  /** What a table begins with: `FACP`, `DSDT`. The RSDP, which is none, is called `RSDP`. */
  readonly signature: string
  /** Guest physical address. */
  readonly address: number
  /** The whole table, with its checksum. */
  readonly bytes: Uint8Array
}

/** A set of tables that point at each other. The first one is the RSDP. */
export interface AcpiTables {
  /** Guest physical address of the RSDP, by which a guest finds all of them. */
  readonly rsdp: number
  /** In order of address. */
  readonly tables: readonly AcpiTable[]
  /** Guest physical address after the last byte. */
  readonly end: number
}

/**
 * Make the tables for addresses from `base` (a multiple of 64) on.
 *
 * @throws FirmwareError `ERR_ACPI_CONFIGURATION` when a value does not fit its field
 */
export function buildAcpiTables(configuration: CompleteAcpiConfiguration, base: number): AcpiTables {
  checkConfiguration(configuration)
  const tables: AcpiTable[] = []
  let end = base + alignUp(RSDP_LENGTH, 64)
  const add = (signature: string, bytes: Uint8Array): number => {
    const address = alignUp(end, 64)
    tables.push({ signature, address, bytes })
    end = address + bytes.length
    return address
  }
  const facs = add('FACS', buildFacs())
  const dsdt = add('DSDT', table('DSDT', 2, buildDsdtBody(configuration)))
  const listed = [
    add('FACP', buildFadt(configuration, facs, dsdt)),
    add('APIC', buildMadt(configuration)),
    ...(configuration.waet ? [add('WAET', buildWaet())] : []),
  ]
  const rsdt = add('RSDT', table('RSDT', 1, concat(...listed.map((address) => littleEndian(address, 4)))))
  const xsdt = add('XSDT', table('XSDT', 1, concat(...listed.map((address) => littleEndian(address, 8)))))
  tables.unshift({ signature: 'RSDP', address: base, bytes: buildRsdp(rsdt, xsdt) })
  return { rsdp: base, tables, end }
}

/** Root system description pointer (5.2.5.3). */
function buildRsdp(rsdt: number, xsdt: number): Uint8Array {
  const rsdp = new Uint8Array(RSDP_LENGTH)
  const view = viewOf(rsdp)
  rsdp.set(ascii('RSD PTR '), 0)
  rsdp.set(ascii(OEM_ID), 9)
  rsdp[15] = 2
  view.setUint32(16, rsdt, true)
  view.setUint32(20, RSDP_LENGTH, true)
  view.setBigUint64(24, BigInt(xsdt), true)
  rsdp[8] = checksum(rsdp.subarray(0, 20))
  rsdp[32] = checksum(rsdp)
  return rsdp
}

/** Firmware ACPI control structure (5.2.10). It has no check sum and no OEM fields. */
function buildFacs(): Uint8Array {
  const facs = new Uint8Array(FACS_LENGTH)
  facs.set(ascii('FACS'), 0)
  facs.set(littleEndian(FACS_LENGTH, 4), 4)
  facs[32] = 2
  return facs
}

const BOOT_FLAG = { LEGACY_DEVICES: 1, KEYBOARD_CONTROLLER: 2, NO_VGA: 4, NO_RTC: 0x20 } as const
const FADT_FLAG = {
  WBINVD: 1 << 0,
  PROC_C1: 1 << 2,
  NO_FIXED_POWER_BUTTON: 1 << 4,
  NO_FIXED_SLEEP_BUTTON: 1 << 5,
  NO_FIXED_RTC_WAKE: 1 << 6,
  TIMER_32_BIT: 1 << 8,
  RESET_REGISTER: 1 << 10,
} as const
/** Latencies above 100 and 1,000 µs: there is no C2 and no C3 through the P_LVL registers. */
const NO_C_STATE = 0xfff
/** CMOS byte of the century. */
const CMOS_CENTURY = 0x32

/** Fixed ACPI description table (5.2.9), revision 6. */
function buildFadt(configuration: CompleteAcpiConfiguration, facs: number, dsdt: number): Uint8Array {
  const { power } = configuration
  const body = new Uint8Array(FADT_LENGTH)
  const view = viewOf(body)
  view.setUint32(36, facs, true)
  view.setUint32(40, dsdt, true)
  view.setUint16(46, power.sciInterrupt, true)
  if (power.smi) {
    view.setUint32(48, power.smi.port, true)
    body[52] = power.smi.enable
    body[53] = power.smi.disable
  }
  view.setUint32(56, power.pm1aEvent, true)
  view.setUint32(64, power.pm1aControl, true)
  view.setUint32(76, power.pmTimer, true)
  view.setUint32(80, power.gpe0?.base ?? 0, true)
  body[88] = 4
  body[89] = 2
  body[91] = 4
  body[92] = power.gpe0?.length ?? 0
  view.setUint16(96, NO_C_STATE, true)
  view.setUint16(98, NO_C_STATE, true)
  body[108] = configuration.rtc ? CMOS_CENTURY : 0
  view.setUint16(109, bootFlags(configuration), true)
  view.setUint32(112, fadtFlags(power), true)
  if (power.reset) {
    body.set(portRegister(power.reset.port, 8), 116)
    body[128] = power.reset.value
  }
  view.setBigUint64(140, BigInt(dsdt), true)
  body.set(portRegister(power.pm1aEvent, 32), 148)
  body.set(portRegister(power.pm1aControl, 16), 172)
  body.set(portRegister(power.pmTimer, 32), 208)
  if (power.gpe0) body.set(portRegister(power.gpe0.base, power.gpe0.length * 8), 220)
  return table('FACP', 6, body.subarray(HEADER_LENGTH))
}

function bootFlags(configuration: CompleteAcpiConfiguration): number {
  return (
    BOOT_FLAG.LEGACY_DEVICES |
    (configuration.keyboardController ? BOOT_FLAG.KEYBOARD_CONTROLLER : 0) |
    (configuration.vga ? 0 : BOOT_FLAG.NO_VGA) |
    (configuration.rtc ? 0 : BOOT_FLAG.NO_RTC)
  )
}

function fadtFlags(power: AcpiPower): number {
  return (
    FADT_FLAG.WBINVD |
    FADT_FLAG.PROC_C1 |
    (power.powerButton ? 0 : FADT_FLAG.NO_FIXED_POWER_BUTTON) |
    FADT_FLAG.NO_FIXED_SLEEP_BUTTON |
    FADT_FLAG.NO_FIXED_RTC_WAKE |
    (power.pmTimer32 ? FADT_FLAG.TIMER_32_BIT : 0) |
    (power.reset ? FADT_FLAG.RESET_REGISTER : 0)
  )
}

/** Generic address structure (5.2.3.2) for I/O ports. The access size is that of the width, at most 32 bits, or a byte for odd widths. */
function portRegister(port: number, bits: number): Uint8Array {
  const accessSize = bits === 16 ? 2 : bits === 32 ? 3 : 1
  return concat([1, bits, 0, accessSize], littleEndian(port, 8))
}

const MADT = {
  LOCAL_APIC: 0,
  IO_APIC: 1,
  SOURCE_OVERRIDE: 2,
  LOCAL_APIC_NMI: 4,
  LOCAL_X2APIC: 9,
  X2APIC_NMI: 10,
} as const
const PCAT_COMPAT = 1
const ALL_PROCESSORS = 0xff
const ALL_PROCESSORS_X2 = 0xffff_ffff
/** MPS INTI flags: as the bus has it; active high and level-triggered. */
const CONFORMS = 0
const ACTIVE_HIGH_LEVEL = 0x0d

/** Multiple APIC description table (5.2.12). */
function buildMadt(configuration: CompleteAcpiConfiguration): Uint8Array {
  const entries: Uint8Array[] = []
  let wide = false
  configuration.processors.forEach(({ apicId, enabled }, uid) => {
    // Enabled, or able to be brought online.
    const flags = littleEndian((enabled ?? true) ? 1 : 2, 4)
    if (apicId < 0xff && uid < 0xff) entries.push(concat([MADT.LOCAL_APIC, 8, uid, apicId], flags))
    else {
      wide = true
      entries.push(concat([MADT.LOCAL_X2APIC, 16, 0, 0], littleEndian(apicId, 4), flags, littleEndian(uid, 4)))
    }
  })
  for (const { id, address, gsiBase } of configuration.ioApics) {
    entries.push(concat([MADT.IO_APIC, 12, id, 0], littleEndian(address, 4), littleEndian(gsiBase, 4)))
  }
  const override = (irq: number, gsi: number, flags: number): Uint8Array =>
    concat([MADT.SOURCE_OVERRIDE, 10, 0, irq], littleEndian(gsi, 4), littleEndian(flags, 2))
  if (configuration.pit) entries.push(override(0, 2, CONFORMS))
  const { sciInterrupt } = configuration.power
  entries.push(override(sciInterrupt, sciInterrupt, ACTIVE_HIGH_LEVEL))
  const LINT1 = 1
  entries.push(concat([MADT.LOCAL_APIC_NMI, 6, ALL_PROCESSORS, 0, 0, LINT1]))
  if (wide) {
    entries.push(concat([MADT.X2APIC_NMI, 12, 0, 0], littleEndian(ALL_PROCESSORS_X2, 4), [LINT1, 0, 0, 0]))
  }
  const flags = configuration.pic ? PCAT_COMPAT : 0
  return table('APIC', 5, concat(littleEndian(configuration.localApicAddress, 4), littleEndian(flags, 4), ...entries))
}

/** Windows ACPI emulated devices table: the PM timer needs to be read only once. */
function buildWaet(): Uint8Array {
  const PM_TIMER_GOOD = 2
  return table('WAET', 1, littleEndian(PM_TIMER_GOOD, 4))
}

/** A table with its header (5.2.6). */
function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = concat(
    ascii(signature),
    littleEndian(HEADER_LENGTH + body.length, 4),
    [revision, 0],
    ascii(OEM_ID),
    ascii(OEM_TABLE_ID),
    littleEndian(1, 4),
    ascii(CREATOR_ID),
    littleEndian(1, 4),
    body,
  )
  bytes[9] = checksum(bytes)
  return bytes
}

/** The byte that makes the sum of all bytes 0, where that byte is 0 now. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0
  for (const byte of bytes) sum += byte
  return -sum & 0xff
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

const MAXIMUM_PROCESSORS = 0x1000
const MAXIMUM_SERIAL_PORTS = 9

function checkConfiguration(configuration: CompleteAcpiConfiguration): void {
  const { processors, power, serialPorts, ioApics, pci, vmbus } = configuration
  const check = (ok: boolean, message: string): void => {
    if (!ok) throw new FirmwareError('ERR_ACPI_CONFIGURATION', message)
  }
  const within = (value: number, limit: number): boolean => Number.isInteger(value) && value >= 0 && value < limit
  const isPort = (port: number, length: number): boolean => within(port, 0x1_0000) && port + length <= 0x1_0000
  check(processors.length > 0 && processors.length <= MAXIMUM_PROCESSORS, 'The number of processors is out of range')
  check(new Set(processors.map(({ apicId }) => apicId)).size === processors.length, 'Two processors have one APIC id')
  check(
    processors.every(({ apicId }) => within(apicId, 0xffff_ffff)),
    'An APIC id is out of range',
  )
  check(
    ioApics.every(
      ({ id, address, gsiBase }) => within(id, 256) && within(address, 2 ** 32) && within(gsiBase, 2 ** 32),
    ),
    'An I/O APIC is out of range',
  )
  check(within(configuration.localApicAddress, 2 ** 32), 'The address of the local APICs is out of range')
  check(serialPorts.length <= MAXIMUM_SERIAL_PORTS, 'There are too many serial ports')
  check(
    serialPorts.every(({ port, interrupt }) => isPort(port, 8) && within(interrupt, 16)),
    'A serial port is out of range',
  )
  check(
    isPort(power.pm1aEvent, 4) && isPort(power.pm1aControl, 2) && isPort(power.pmTimer, 4),
    'A power management port is out of range',
  )
  check(
    power.gpe0 === undefined || (isPort(power.gpe0.base, power.gpe0.length) && within(power.gpe0.length, 32)),
    'The general-purpose event block is out of range',
  )
  check(within(power.sciInterrupt, 16) && within(power.sleepTypeS5, 8), 'A power management value is out of range')
  check(
    power.smi === undefined ||
      (isPort(power.smi.port, 1) && within(power.smi.enable, 256) && within(power.smi.disable, 256)),
    'The SMI command is out of range',
  )
  check(
    power.reset === undefined || (isPort(power.reset.port, 1) && within(power.reset.value, 256)),
    'The reset register is out of range',
  )
  for (const { window32: range } of [pci, vmbus].filter((window) => window !== false)) {
    check(
      !range || (within(range.base, 2 ** 32) && range.length > 0 && range.base + range.length <= 2 ** 32),
      'A memory window under 4 GiB is out of range',
    )
  }
  for (const { window64: range } of [pci, vmbus].filter((window) => window !== false)) {
    check(
      !range || (within(range.base, 2 ** 52) && range.length > 0 && range.base + range.length <= 2 ** 52),
      'A memory window is out of range',
    )
  }
  check(
    !vmbus || vmbus.interrupt === undefined || within(vmbus.interrupt, 16),
    'The interrupt of VMBus is out of range',
  )
}
