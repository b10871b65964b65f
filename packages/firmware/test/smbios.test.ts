// SMBIOS structures as a guest finds and reads them (DSP0134 3.7): the search of Linux' dmi_scan_machine, and the walk of dmi_decode_table.

import { describe, expect, it } from 'vitest'
import { buildSmbios, installSmbios } from '../src/index.ts'
import { type FakeMemory, fakePartition } from './fake-partition.ts'

const MIB = 2 ** 20
const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0)
const latin1 = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes)

interface Structure {
  readonly type: number
  readonly area: Uint8Array
  readonly strings: readonly string[]
}

/** The structures in `tables`, up to the one that ends them. */
function walk(tables: Uint8Array): Structure[] {
  const structures: Structure[] = []
  for (let at = 0; at < tables.length; ) {
    const length = tables[at + 1] as number
    let end = at + length
    while (tables[end] !== 0 || tables[end + 1] !== 0) end++
    const strings = latin1(tables.subarray(at + length, end)).split('\0')
    structures.push({ type: tables[at] as number, area: tables.slice(at, at + length), strings })
    at = end + 2
  }
  return structures
}

/** The structures that a guest finds. */
function find(memory: FakeMemory): Structure[] {
  for (let at = 0xf0000; at < 0x100000; at += 16) {
    const anchor = memory.bytes(at, 31)
    if (latin1(anchor.subarray(0, 4)) !== '_SM_' || sum(anchor) !== 0) continue
    expect([latin1(anchor.subarray(16, 21)), sum(anchor.subarray(16))]).toEqual(['_DMI_', 0])
    const view = new DataView(anchor.buffer, anchor.byteOffset)
    const address = view.getUint32(24, true)
    const structures = walk(memory.bytes(address, view.getUint16(22, true)))
    expect(structures).toHaveLength(view.getUint16(28, true))
    return structures
  }
  return []
}

describe('SMBIOS', () => {
  it('is found by a guest without firmware, and says whose machine it is', () => {
    const { memory } = fakePartition(2 * MIB)
    installSmbios(memory, { ramSize: 512 * MIB, processors: 3, manufacturer: 'Microsoft Corporation' })
    const structures = find(memory)
    expect(structures.map(({ type }) => type)).toEqual([1, 3, 4, 4, 4, 16, 17, 19, 32, 127])
    const [system, , processor] = structures
    expect(system?.strings.slice(0, 2)).toEqual(['Microsoft Corporation', 'Virtual Machine'])
    expect([system?.area[4], system?.area[5]]).toEqual([1, 2])
    expect(processor?.strings[0]).toBe('CPU 0')
    const module = structures[6]?.area as Uint8Array
    expect((module[12] as number) | ((module[13] as number) << 8)).toBe(512)
  })

  it('has another maker by default, and room for as many processors as a partition has', () => {
    const { memory } = fakePartition(2 * MIB)
    installSmbios(memory, { ramSize: 64 * MIB, processors: 64 })
    expect(find(memory)[0]?.strings[0]).toBe('Partita')
    expect(() => installSmbios(memory, { ramSize: 64 * MIB, processors: 4096 })).toThrow(
      expect.objectContaining({ code: 'ERR_ACPI_CONFIGURATION' }),
    )
    expect(buildSmbios({ ramSize: 64 * MIB, processors: 1 }).anchor.subarray(24, 28)).toEqual(new Uint8Array(4))
  })
})
