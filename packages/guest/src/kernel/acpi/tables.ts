// The ACPI tables (ACPI 6.5, chapter 5): from the RSDP to the XSDT, and from there to the FADT, the MADT and the DSDT. Each has a checksum, and one that is wrong is no table.

import type { GuestMemory } from '@partita/interface'
import type { AcpiDevice } from './namespace.ts'
import { readNamespace } from './namespace.ts'

const HEADER_SIZE = 36
/** The largest table that is believed, bytes. */
const TABLE_MAXIMUM = 0x10_0000
const RSDP = { SIZE: 36, XSDT: 24 } as const
/** Offsets in the FADT. */
const FADT = { DSDT: 40, X_DSDT: 140 } as const
/** Entries of the MADT begin here; their types; flag of a processor. */
const MADT = { ENTRIES: 44, LOCAL_APIC: 0, IO_APIC: 1, LOCAL_X2APIC: 9, ENABLED: 1 } as const

/** What the tables say. */
export interface AcpiTables {
  /** Signatures of the tables that were found. */
  readonly signatures: readonly string[]
  /** APIC ids of the processors, the boot processor's first. */
  readonly processors: readonly number[]
  readonly ioApics: readonly { readonly id: number; readonly address: number; readonly firstInterrupt: number }[]
  readonly devices: readonly AcpiDevice[]
}

const NONE: AcpiTables = { signatures: [], processors: [], ioApics: [], devices: [] }

/** Read all of them, from a copy of the RSDP on. What does not check is left out. */
export function readAcpiTables(memory: GuestMemory, rsdp: Uint8Array | undefined): AcpiTables {
  if (rsdp === undefined || rsdp.length < RSDP.SIZE || !checks(rsdp.subarray(0, RSDP.SIZE))) return NONE
  if (new TextDecoder().decode(rsdp.subarray(0, 8)) !== 'RSD PTR ') return NONE
  const xsdt = readTable(memory, address(viewOf(rsdp), RSDP.XSDT))
  if (xsdt?.signature !== 'XSDT') return NONE
  const tables = new Map<string, Table>()
  for (let at = HEADER_SIZE; at + 8 <= xsdt.bytes.length; at += 8) {
    const table = readTable(memory, address(viewOf(xsdt.bytes), at))
    if (table !== undefined && !tables.has(table.signature)) tables.set(table.signature, table)
  }
  const fadt = tables.get('FACP')
  const dsdt = fadt && readTable(memory, dsdtAddress(viewOf(fadt.bytes)))
  if (dsdt?.signature === 'DSDT') tables.set('DSDT', dsdt)
  return {
    signatures: [...tables.keys()],
    ...readMadt(tables.get('APIC')?.bytes),
    devices: tables.has('DSDT') && dsdt ? readNamespace(dsdt.bytes.subarray(HEADER_SIZE)) : [],
  }
}

interface Table {
  readonly signature: string
  readonly bytes: Uint8Array
}

/** A private copy of the table at `gpa`, if there is one. */
function readTable(memory: GuestMemory, gpa: number): Table | undefined {
  const length = memory.readU32(gpa + 4)
  if (length === undefined || length < HEADER_SIZE || length > TABLE_MAXIMUM) return undefined
  const bytes = new Uint8Array(length)
  if (!memory.read(gpa, bytes) || !checks(bytes)) return undefined
  return { signature: new TextDecoder().decode(bytes.subarray(0, 4)), bytes }
}

function dsdtAddress(fadt: DataView): number {
  const wide = fadt.byteLength >= FADT.X_DSDT + 8 ? address(fadt, FADT.X_DSDT) : 0
  return wide !== 0 ? wide : fadt.byteLength >= FADT.DSDT + 4 ? fadt.getUint32(FADT.DSDT, true) : 0
}

function readMadt(madt: Uint8Array | undefined): Pick<AcpiTables, 'processors' | 'ioApics'> {
  const processors: number[] = []
  const ioApics: AcpiTables['ioApics'][number][] = []
  if (madt === undefined) return { processors, ioApics }
  const view = viewOf(madt)
  for (let at: number = MADT.ENTRIES; at + 2 <= madt.length; ) {
    const type = view.getUint8(at)
    const length = view.getUint8(at + 1)
    if (length < 2 || at + length > madt.length) break
    if (type === MADT.LOCAL_APIC && length >= 8 && (view.getUint32(at + 4, true) & MADT.ENABLED) !== 0)
      processors.push(view.getUint8(at + 3))
    if (type === MADT.LOCAL_X2APIC && length >= 16 && (view.getUint32(at + 8, true) & MADT.ENABLED) !== 0)
      processors.push(view.getUint32(at + 4, true))
    if (type === MADT.IO_APIC && length >= 12)
      ioApics.push({
        id: view.getUint8(at + 2),
        address: view.getUint32(at + 4, true),
        firstInterrupt: view.getUint32(at + 8, true),
      })
    at += length
  }
  return { processors, ioApics }
}

/** All bytes of a table sum up to 0. */
function checks(bytes: Uint8Array): boolean {
  let sum = 0
  for (const byte of bytes) sum += byte
  return (sum & 0xff) === 0
}

/** One beyond what a number holds is no memory's. */
function address(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true))
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
