// What SeaBIOS is told: the ACPI tables are put together here as its linker does it (QEMU's hw/acpi/bios-linker-loader.c), and looked at as an operating system finds them.

import type { FirmwareConfiguration } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { buildSmbios, checkBiosImage, configureBios, FirmwareError, ideBootPath } from '../src/index.ts'

const MIB = 2 ** 20

class FakeConfiguration implements FirmwareConfiguration {
  readonly items: Map<number, Uint8Array> = new Map()
  readonly files: Map<string, Uint8Array> = new Map()

  setItem(key: number, data: Uint8Array | undefined): void {
    if (data !== undefined) this.items.set(key, data)
  }
  setFile(name: string, data: Uint8Array | undefined): void {
    if (data !== undefined) this.files.set(name, data)
  }
  file(name: string): Uint8Array {
    const data = this.files.get(name)
    if (data === undefined) throw new Error(`there is no ${name}`)
    return data
  }
}

function configured(more: Partial<Parameters<typeof configureBios>[1]> = {}): FakeConfiguration {
  const target = new FakeConfiguration()
  configureBios(target, { ramSize: 64 * MIB, processors: 2, acpi: {}, serialConsole: 0x3f8, bootOrder: [], ...more })
  return target
}

const textAt = (bytes: Uint8Array, from: number, length: number): string =>
  String.fromCharCode(...bytes.subarray(from, from + length)).replace(/\0.*$/s, '')
const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0)

/** Do what the commands of `etc/table-loader` say, with files from 1 MiB on; memory afterwards, and where each file is. */
function link(target: FakeConfiguration): { memory: Uint8Array; places: Map<string, number> } {
  const memory = new Uint8Array(4 * MIB)
  const view = new DataView(memory.buffer)
  const places = new Map<string, number>()
  const place = (name: string): number => {
    const at = places.get(name)
    if (at === undefined) throw new Error(`${name} is used before it is allocated`)
    return at
  }
  const script = target.file('etc/table-loader')
  const commands = new DataView(script.buffer, script.byteOffset)
  expect(script.length % 128).toBe(0)
  let free = MIB + 0x1234
  for (let at = 0; at < script.length; at += 128) {
    const file = textAt(script, at + 4, 56)
    switch (commands.getUint32(at, true)) {
      case 1: {
        const alignment = commands.getUint32(at + 60, true)
        // The RSDP has to be where it is searched for.
        const base = commands.getUint8(at + 64) === 2 ? 0xf_1230 : (free = Math.ceil(free / alignment) * alignment)
        memory.set(target.file(file), base)
        places.set(file, base)
        free += target.file(file).length
        break
      }
      case 2: {
        const source = place(textAt(script, at + 60, 56))
        const offset = place(file) + commands.getUint32(at + 116, true)
        if (commands.getUint8(at + 120) === 8)
          view.setBigUint64(offset, view.getBigUint64(offset, true) + BigInt(source), true)
        else view.setUint32(offset, view.getUint32(offset, true) + source, true)
        break
      }
      case 3: {
        const base = place(file)
        const [offset = 0, start = 0, length = 0] = [60, 64, 68].map((operand) =>
          commands.getUint32(at + operand, true),
        )
        const bytes = memory.subarray(base + start, base + start + length)
        memory[base + offset] = ((memory[base + offset] ?? 0) - sum(bytes)) & 0xff
        break
      }
      default:
        throw new Error('an unknown command')
    }
  }
  return { memory, places }
}

describe('ACPI tables by way of the linker', () => {
  const { memory, places } = link(configured())
  const view = new DataView(memory.buffer)
  const table = (at: number): Uint8Array => memory.subarray(at, at + view.getUint32(at + 4, true))
  const rsdp = places.get('etc/acpi/rsdp') ?? 0

  it('start with an RSDP whose sums are right', () => {
    expect(textAt(memory, rsdp, 8)).toBe('RSD PTR ')
    expect(sum(memory.subarray(rsdp, rsdp + 20))).toBe(0)
    expect(sum(memory.subarray(rsdp, rsdp + 36))).toBe(0)
  })

  it.each([
    ['RSDT', 16, 4],
    ['XSDT', 24, 8],
  ] as const)('are all found through the %s', (signature, pointer, size) => {
    const root = view.getUint32(rsdp + pointer, true)
    expect(textAt(memory, root, 4)).toBe(signature)
    const entries = table(root)
    expect(sum(entries)).toBe(0)
    const found: string[] = []
    for (let at = 36; at < entries.length; at += size) {
      const child = view.getUint32(root + at, true)
      expect(sum(table(child))).toBe(0)
      found.push(textAt(memory, child, 4))
    }
    expect(found).toEqual(['FACP', 'APIC', 'WAET'])
    const fadt = view.getUint32(root + 36, true)
    expect(textAt(memory, view.getUint32(fadt + 36, true), 4)).toBe('FACS')
    expect(view.getUint32(fadt + 36, true) % 64).toBe(0)
    const dsdt = view.getUint32(fadt + 40, true)
    expect([textAt(memory, dsdt, 4), sum(table(dsdt))]).toEqual(['DSDT', 0])
    expect(view.getBigUint64(fadt + 140, true)).toBe(BigInt(dsdt))
  })

  it('are not there where there is nothing to tell', () => {
    expect(configured({ acpi: false }).files.has('etc/table-loader')).toBe(false)
  })
})

describe('items and files', () => {
  it('tell memory, processors, console and order', () => {
    const target = configured({ bootOrder: [ideBootPath(0), ideBootPath(3)] })
    expect([...(target.items.get(5) ?? [])]).toEqual([2, 0])
    const ram = new DataView(target.file('etc/e820').buffer)
    expect([ram.byteLength, ram.getBigUint64(0, true), ram.getBigUint64(8, true), ram.getUint32(16, true)]).toEqual([
      20,
      0n,
      BigInt(64 * MIB),
      1,
    ])
    expect([...target.file('etc/sercon-port')]).toEqual([0xf8, 3])
    expect(new TextDecoder().decode(target.file('bootorder'))).toBe(
      '/pci@i0cf8/ide@7,1/drive@0/disk@0\n/pci@i0cf8/ide@7,1/drive@1/disk@1\n\0',
    )
    expect(configured({ serialConsole: undefined }).files.has('etc/sercon-port')).toBe(false)
  })
})

describe('SMBIOS', () => {
  it('is a list of structures that the entry point describes', () => {
    const { tables, anchor } = buildSmbios({ ramSize: 512 * MIB, processors: 3, manufacturer: 'Microsoft Corporation' })
    const entry = new DataView(anchor.buffer)
    expect([sum(anchor), sum(anchor.subarray(16))]).toEqual([0, 0])
    expect(entry.getUint16(22, true)).toBe(tables.length)
    const types: number[] = []
    let largest = 0
    for (let at = 0; at < tables.length; ) {
      const start = at
      types.push(tables[at] ?? -1)
      at += tables[at + 1] ?? 0
      while (tables[at] !== 0 || tables[at + 1] !== 0) at++
      at += 2
      largest = Math.max(largest, at - start)
    }
    expect(types).toEqual([1, 3, 4, 4, 4, 16, 17, 19, 32, 127])
    expect([entry.getUint16(28, true), entry.getUint16(8, true)]).toEqual([types.length, largest])
    expect(textAt(tables, 27, 22)).toBe('Microsoft Corporation')
  })
})

describe('an image of firmware', () => {
  it('has the size of a ROM, and a jump where the processor starts', () => {
    const image = (length: number, jump = 0xea): Uint8Array => {
      const bytes = new Uint8Array(length)
      if (length >= 16) bytes[length - 16] = jump
      return bytes
    }
    for (const kibibytes of [64, 128, 256, 512]) checkBiosImage(image(kibibytes * 1024))
    for (const wrong of [image(0), image(1024), image(96 * 1024), image(1024 * 1024), image(128 * 1024, 0x90)])
      expect(() => checkBiosImage(wrong)).toThrow(
        expect.objectContaining({ constructor: FirmwareError, code: 'ERR_FIRMWARE_IMAGE' }),
      )
  })
})
