// A configuration space by PCI 3.0, section 6.1 and 6.2: read-only bits, bits that a one clears, base address registers that tell their size.

import { describe, expect, it } from 'vitest'
import { BAR_IO, ConfigSpace, PCI_COMMAND, PCI_CONFIG, RECEIVED_MASTER_ABORT, STATUS_ERRORS } from '../src/index.ts'

const ALL = 0xffff_ffff

function made(written?: (offset: number, value: number) => void): ConfigSpace {
  return new ConfigSpace(
    [
      [PCI_CONFIG.ID, 0x7111_8086, 0],
      [PCI_CONFIG.COMMAND_STATUS, 0x0280_0001, PCI_COMMAND.IO | PCI_COMMAND.BUS_MASTER, STATUS_ERRORS],
      [PCI_CONFIG.BAR0, 0xc000 | BAR_IO, 0xfff0],
    ],
    written,
  )
}

describe('configuration space', () => {
  it('has 64 double words, of which those that are not described are zero and stay so', () => {
    const space = made()
    expect(space.readConfig(PCI_CONFIG.ID)).toBe(0x7111_8086)
    for (let offset = PCI_CONFIG.BAR0 + 4; offset < 256; offset += 4) {
      space.writeConfig(offset, ALL, ALL)
      expect(space.readConfig(offset)).toBe(0)
    }
    space.writeConfig(PCI_CONFIG.ID, 0, ALL)
    expect(space.readConfig(PCI_CONFIG.ID)).toBe(0x7111_8086)
  })

  it.each<[string, readonly number[]]>([
    ['two rows for one double word', [4, 8, 4]],
    ['a row in the middle of one', [6]],
    ['a row behind the end', [0x100]],
    ['a row before the beginning', [-4]],
    ['a row nowhere', [Number.NaN]],
  ])('takes no table with %s', (_name, offsets) => {
    expect(() => new ConfigSpace(offsets.map((offset) => [offset, 1, 0]))).toThrowError(
      expect.objectContaining({ name: 'PciError', code: 'ERR_PCI_REGISTER', data: { offset: offsets.at(-1) } }),
    )
  })

  it('goes by double words, wherever in them an offset points', () => {
    const space = made()
    expect(space.readConfig(PCI_CONFIG.ID + 3)).toBe(0x7111_8086)
    space.writeConfig(PCI_CONFIG.BAR0 + 1, 0x0000_d200, 0x0000_ff00)
    expect(space.readConfig(PCI_CONFIG.BAR0)).toBe(0xd201)
  })

  it('changes what is written and can be, by the byte', () => {
    const space = made()
    space.writeConfig(PCI_CONFIG.COMMAND_STATUS, ALL, 0xff)
    expect(space.readConfig(PCI_CONFIG.COMMAND_STATUS)).toBe(0x0280_0005)
    space.writeConfig(PCI_CONFIG.COMMAND_STATUS, 0, 0xff00)
    expect(space.readConfig(PCI_CONFIG.COMMAND_STATUS)).toBe(0x0280_0005)
  })

  it('tells the size of a base address register to who writes ones', () => {
    const space = made()
    space.writeConfig(PCI_CONFIG.BAR0, ALL, ALL)
    const mask = space.readConfig(PCI_CONFIG.BAR0)
    expect(mask & BAR_IO).toBe(1)
    expect((~(mask & ~3) + 1) & 0xffff).toBe(16)
  })

  it('clears errors by ones, and not by zeros', () => {
    const space = made()
    const register = PCI_CONFIG.COMMAND_STATUS
    space.set(register, space.readConfig(register) | RECEIVED_MASTER_ABORT | 0x8000_0000)
    expect(space.readConfig(register)).toBe(0xa280_0001)
    space.writeConfig(register, 0, 0xffff_0000)
    expect(space.readConfig(register)).toBe(0xa280_0001)
    space.writeConfig(register, RECEIVED_MASTER_ABORT, 0x00ff_0000) // another byte
    expect(space.readConfig(register)).toBe(0xa280_0001)
    space.writeConfig(register, RECEIVED_MASTER_ABORT, 0xffff_0000)
    expect(space.readConfig(register)).toBe(0x8280_0001)
  })

  it('tells who asked about writes that can change something', () => {
    const seen: number[][] = []
    const space = made((offset, value) => void seen.push([offset, value]))
    space.writeConfig(PCI_CONFIG.ID, 0, ALL)
    space.writeConfig(PCI_CONFIG.BAR0 + 2, 0x1230, 0xffff)
    space.set(PCI_CONFIG.BAR0, 0)
    expect(seen).toEqual([[PCI_CONFIG.BAR0, 0x1231]])
  })

  it('is saved and restored, but for bits that no guest can change', () => {
    const space = made()
    space.writeConfig(PCI_CONFIG.BAR0, 0xd000, ALL)
    const saved = structuredClone(space.save())
    space.reset()
    expect(space.readConfig(PCI_CONFIG.BAR0)).toBe(0xc001)
    space.restore(saved)
    expect(space.save()).toEqual(saved)
    space.restore(saved.map(() => ALL))
    expect([0, 4, 0x10, 0x40].map((offset) => space.readConfig(offset))).toEqual([0x7111_8086, 0xfb80_0005, 0xfff1, 0])
    space.restore([])
    expect(space.readConfig(PCI_CONFIG.BAR0)).toBe(0x0001)
  })
})
