// The guest's reading of ACPI: what the firmware builds, and what nobody should.

import { installAcpiTables } from '@partita/firmware'
import { SharedMemory } from '@partita/vmbus/testing'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readNamespace } from '../src/kernel/acpi/namespace.ts'
import { readResources } from '../src/kernel/acpi/resources.ts'
import { readAcpiTables } from '../src/kernel/acpi/tables.ts'

function firmware(): { memory: SharedMemory; rsdp: Uint8Array } {
  const memory = new SharedMemory(2 ** 20)
  const at = installAcpiTables(memory, {
    processors: [{ apicId: 0 }, { apicId: 2 }],
    serialPorts: [{ port: 0x3f8, interrupt: 4 }],
    vmbus: {
      window32: { base: 0xf800_0000, length: 0x600_0000 },
      window64: { base: 0x10_0000_0000, length: 0x1000_0000 },
    },
  })
  const rsdp = new Uint8Array(36)
  memory.read(at, rsdp)
  return { memory, rsdp }
}

describe('ACPI', () => {
  it('has processors, interrupt controllers and devices with their resources', () => {
    const { memory, rsdp } = firmware()
    const tables = readAcpiTables(memory, rsdp)
    expect(tables.signatures).toEqual(expect.arrayContaining(['FACP', 'APIC', 'DSDT']))
    expect(tables.processors).toEqual([0, 2])
    expect(tables.ioApics).toEqual([{ id: expect.any(Number), address: 0xfec0_0000, firstInterrupt: 0 }])
    const byPath = new Map(tables.devices.map((device) => [device.path, device]))
    expect(byPath.get('\\_SB_.C001')).toMatchObject({ hardwareId: 'ACPI0007', uniqueId: 1, resources: [] })
    expect(byPath.get('\\_SB_.PCI0.COM1')).toMatchObject({
      hardwareId: 'PNP0501',
      resources: [
        { type: 'ports', start: 0x3f8, length: 8 },
        { type: 'interrupt', start: 4, length: 1 },
      ],
    })
    expect(byPath.get('\\_SB_.VMOD')?.resources).toEqual([
      { type: 'memory', start: 0xf800_0000, length: 0x600_0000 },
      { type: 'memory', start: 0x10_0000_0000, length: 0x1000_0000 },
    ])
    expect(byPath.get('\\_SB_.VMOD.VMBS')).toMatchObject({ hardwareId: 'VMBus' })
    expect(byPath.get('\\_SB_.PCI0')?.resources).toEqual(
      expect.arrayContaining([
        { type: 'ports', start: 0xcf8, length: 8 },
        { type: 'ports', start: 0xd00, length: 0xf300 },
      ]),
    )
  })

  it('is believed only where checksums are right', () => {
    const { memory, rsdp } = firmware()
    const wrong = rsdp.slice()
    wrong[24] = (wrong[24] ?? 0) ^ 1
    expect(readAcpiTables(memory, wrong).signatures).toEqual([])
    expect(readAcpiTables(memory, undefined).devices).toEqual([])
    // A byte of the DSDT: the other tables stand.
    const text = new TextEncoder().encode('DSDT')
    const at = memory.bytes.findIndex((_, index) => text.every((byte, i) => memory.bytes[index + i] === byte))
    memory.bytes[at + 50] = (memory.bytes[at + 50] ?? 0) ^ 0x40
    const tables = readAcpiTables(memory, rsdp)
    expect(tables.signatures).not.toContain('DSDT')
    expect(tables.processors).toEqual([0, 2])
    expect(tables.devices).toEqual([])
  })

  it('stands any bytes', () => {
    const { memory, rsdp } = firmware()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        readNamespace(bytes)
        readResources(bytes)
      }),
      { numRuns: 500 },
    )
    const whole = new Uint8Array(0x4000)
    memory.read(0xe_0000, whole)
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(0x3fff), fc.nat(255)), { minLength: 1, maxLength: 20 }), (changes) => {
        const other = new SharedMemory(2 ** 20)
        other.write(0xe_0000, whole)
        for (const [offset, value] of changes) other.writeU8(0xe_0000 + offset, value)
        readAcpiTables(other, rsdp)
      }),
      { numRuns: 100 },
    )
  })
})
