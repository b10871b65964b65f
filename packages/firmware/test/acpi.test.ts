import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checksum } from '../src/acpi/tables.ts'
import {
  type AcpiConfiguration,
  type AcpiTables,
  buildAcpiTables,
  completeAcpiConfiguration,
  installAcpiTables,
} from '../src/index.ts'
import { fakePartition } from './fake-partition.ts'

const RAM = 512 * 2 ** 20
const build = (configuration: AcpiConfiguration = {}): AcpiTables =>
  buildAcpiTables(completeAcpiConfiguration(configuration, RAM), 0xe0000)

function tableOf(tables: AcpiTables, signature: string): DataView {
  const { bytes } = tables.tables.find((entry) => entry.signature === signature)!
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

test('the RSDP leads to every table, and each check sum is right', () => {
  const { memory } = fakePartition(RAM)
  const gpa = installAcpiTables(memory)
  expect(gpa % 16).toBe(0)
  const rsdp = memory.bytes(gpa, 36)
  expect(new TextDecoder().decode(rsdp.subarray(0, 8))).toBe('RSD PTR ')
  expect(checksum(rsdp.subarray(0, 20))).toBe(0)
  expect(checksum(rsdp)).toBe(0)
  const read = (at: number): Uint8Array => memory.bytes(at, memory.readU32(at + 4)!)
  const xsdt = Number(memory.readU64(gpa + 24))
  const rsdt = memory.readU32(gpa + 16)!
  const found: string[] = []
  for (let at = 36; at < read(xsdt).length; at += 8) {
    const address = Number(memory.readU64(xsdt + at))
    expect(memory.readU32(rsdt + 36 + ((at - 36) / 8) * 4)).toBe(address)
    const bytes = read(address)
    expect(checksum(bytes)).toBe(0)
    found.push(new TextDecoder().decode(bytes.subarray(0, 4)))
  }
  expect(found).toEqual(['FACP', 'APIC', 'WAET'])
  const fadt = Number(memory.readU64(xsdt + 36))
  const dsdt = Number(memory.readU64(fadt + 140))
  expect(memory.readU32(fadt + 40)).toBe(dsdt)
  expect(checksum(read(dsdt))).toBe(0)
  const facs = memory.readU32(fadt + 36)!
  expect(facs % 64).toBe(0)
  expect(read(facs)).toHaveLength(64)
})

describe('FADT (ACPI 6.5, table 5.9)', () => {
  test('PIIX4 power management at 0x600', () => {
    const fadt = tableOf(build(), 'FACP')
    expect(fadt.getUint16(46, true)).toBe(9)
    expect([48, 56, 64, 76].map((at) => fadt.getUint32(at, true))).toEqual([0xb2, 0x600, 0x604, 0x608])
    expect([52, 53, 88, 89, 91].map((at) => fadt.getUint8(at))).toEqual([0xf1, 0xf0, 4, 2, 4])
    // Reset register: I/O space, 8 bits, port 0xCF9; value 6.
    expect(new Uint8Array(fadt.buffer, fadt.byteOffset + 116, 13).toHex()).toBe('01080001f90c00000000000006')
    expect(fadt.getUint32(112, true) & (1 << 10)).not.toBe(0)
    // 24-bit timer, power button in the fixed hardware.
    expect(fadt.getUint32(112, true) & ((1 << 8) | (1 << 4))).toBe(0)
  })

  test('boot flags follow the devices', () => {
    const flags = (configuration: AcpiConfiguration): number =>
      tableOf(build(configuration), 'FACP').getUint16(109, true)
    expect(flags({})).toBe(0x5)
    expect(flags({ keyboardController: true, vga: true })).toBe(0x3)
    expect(flags({ rtc: false })).toBe(0x25)
  })

  test('a machine that is always in ACPI mode has no SMI command', () => {
    const { power } = completeAcpiConfiguration({}, RAM)
    const fadt = tableOf(build({ power: { ...power, smi: undefined, reset: undefined, pmTimer32: true } }), 'FACP')
    expect(fadt.getUint32(48, true)).toBe(0)
    expect(fadt.getUint32(112, true) & (1 << 10)).toBe(0)
    expect(fadt.getUint32(112, true) & (1 << 8)).not.toBe(0)
  })
})

describe('MADT (ACPI 6.5, 5.2.12)', () => {
  const entries = (view: DataView): string[] => {
    const list: string[] = []
    for (let at = 44; at < view.byteLength; at += view.getUint8(at + 1)) {
      list.push(new Uint8Array(view.buffer, view.byteOffset + at, view.getUint8(at + 1)).toHex())
    }
    return list
  }

  test('one processor', () => {
    const madt = tableOf(build(), 'APIC')
    expect(madt.getUint32(36, true)).toBe(0xfee0_0000)
    expect(madt.getUint32(40, true)).toBe(1)
    expect(entries(madt)).toEqual([
      '0008000001000000', // processor 0, APIC id 0, enabled
      '010c00000000c0fe00000000', // I/O APIC 0 at 0xFEC00000, GSI 0
      '020a0000020000000000', // ISA interrupt 0 is GSI 2
      '020a000909000000' + '0d00', // SCI: GSI 9, level-triggered, active high
      '0406ff000001', // NMI at LINT1 of all processors
    ])
  })

  test('APIC ids from 255 on are x2APIC entries', () => {
    const list = entries(tableOf(build({ processors: [{ apicId: 0 }, { apicId: 256, enabled: false }] }), 'APIC'))
    expect(list).toContain('09100000000100000200000001000000')
    expect(list).toContain('0a0c0000ffffffff01000000')
  })
})

test.each<[string, AcpiConfiguration]>([
  ['no processor', { processors: [] }],
  ['two processors with one APIC id', { processors: [{ apicId: 1 }, { apicId: 1 }] }],
  ['a port out of range', { serialPorts: [{ port: 0xfffc, interrupt: 4 }] }],
  ['an interrupt out of range', { serialPorts: [{ port: 0x3f8, interrupt: 16 }] }],
  [
    'a window that passes 4 GiB',
    { pci: { window32: { base: 0xf000_0000, length: 0x2000_0000 }, interrupt: () => 16 } },
  ],
])('%s is refused', (_, configuration) => {
  expect(() => build(configuration)).toThrow(expect.objectContaining({ code: 'ERR_ACPI_CONFIGURATION' }))
})

test('tables larger than the BIOS area are refused', () => {
  const processors = Array.from({ length: 4096 }, (_, apicId) => ({ apicId }))
  expect(() => installAcpiTables(fakePartition(RAM).memory, { processors })).toThrow(
    expect.objectContaining({ code: 'ERR_ACPI_CONFIGURATION' }),
  )
})

function hasIasl(): boolean {
  try {
    execFileSync('iasl', ['-v'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const iaslFound = hasIasl()
if (!iaslFound)
  console.warn('Skipped: the tables are not read back, because there is no iasl here (apt: acpica-tools).')

describe.skipIf(!iaslFound)("Intel's ASL compiler", () => {
  let directory = ''
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'partita-acpi-'))
  })
  afterAll(() => {
    rmSync(directory, { recursive: true })
  })
  /** Everything that iasl prints; a failure's output too. */
  const iasl = (...parameters: string[]): string => {
    try {
      return execFileSync('sh', ['-c', 'exec iasl "$@" 2>&1', 'iasl', ...parameters], {
        cwd: directory,
        encoding: 'utf8',
      })
    } catch (error) {
      return (error as { stdout: string }).stdout
    }
  }
  const COMPLAINT = /warning|error|remark|invalid|incorrect/i
  const SUMMARY = /^Compilation successful\. 0 Errors, 0 Warnings, 0 Remarks/m

  const machines: [string, AcpiConfiguration][] = [
    ['the built-in machine', {}],
    [
      'four processors, all legacy devices, no PCI',
      {
        processors: [0, 1, 2, 300].map((apicId) => ({ apicId })),
        keyboardController: true,
        vga: true,
        pci: false,
        serialPorts: [
          { port: 0x3f8, interrupt: 4 },
          { port: 0x2f8, interrupt: 3 },
        ],
      },
    ],
    ['neither PIC, PIT, RTC nor serial ports', { pic: false, pit: false, rtc: false, serialPorts: [], waet: false }],
  ]
  test.each(machines)('reads the tables of %s back and compiles them again', (_, configuration) => {
    for (const { signature, bytes } of build(configuration).tables) {
      writeFileSync(join(directory, `${signature}.dat`), bytes)
      expect(iasl('-d', `${signature}.dat`), signature).not.toMatch(COMPLAINT)
      // Of the RSDP there is no source form.
      if (signature === 'RSDP') continue
      expect(iasl('-p', `again-${signature}`, `${signature}.dsl`), signature).toMatch(SUMMARY)
    }
  })

  test('reads the VMBus node back', () => {
    const vmbus = {
      window32: { base: 0xf800_0000, length: 0x6c0_0000 },
      window64: { base: 2 ** 33, length: 2 ** 30 },
      interrupt: 5,
    }
    writeFileSync(
      join(directory, 'vmbus.dat'),
      build({ vmbus }).tables.find(({ signature }) => signature === 'DSDT')!.bytes,
    )
    expect(iasl('-d', 'vmbus.dat')).not.toMatch(COMPLAINT)
    expect(readFileSync(join(directory, 'vmbus.dsl'), 'utf8')).toContain('Name (_HID, "VMBus")')
    // Compiling it has one complaint: the name that guests look for is not one that the specification would give.
    expect(iasl('-p', 'vmbus-again', 'vmbus.dsl')).toMatch(/6033[\s\S]*1 Errors, 0 Warnings, 0 Remarks/)
  })
})
