// Expected bytes: Intel's ASL compiler (iasl 20200925) for the ASL in the comments.

import { expect, test } from 'vitest'
import * as aml from '../src/acpi/aml.ts'

const hex = (bytes: Uint8Array): string => bytes.toHex()

test('names (ACPI 6.5, 20.2.2)', () => {
  expect(hex(aml.nameString('\\'))).toBe('5c00')
  expect(hex(aml.nameString('COM1'))).toBe('434f4d31')
  expect(hex(aml.nameString('\\_S5'))).toBe('5c5f53355f')
  expect(hex(aml.nameString('\\_SB.PCI0'))).toBe('5c2e5f53425f50434930')
  expect(hex(aml.nameString('^^A.B.C'))).toBe('5e5e2f03415f5f5f425f5f5f435f5f5f')
})

test.each([[''], ['com1'], ['TOOLONG'], ['1ABC'], ['A..B'], ['A B']])('%j is no name', (name) => {
  expect(() => aml.nameString(name)).toThrow(expect.objectContaining({ code: 'ERR_ACPI_CONFIGURATION' }))
})

test('integers have their shortest form (20.2.3)', () => {
  expect([0, 1, 2, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000].map((n) => hex(aml.integer(n)))).toEqual([
    '00',
    '01',
    '0a02',
    '0aff',
    '0b0001',
    '0bffff',
    '0c00000100',
    '0cffffffff',
    '0e0000000001000000',
  ])
  expect(hex(aml.integer(0xffff_ffff_ffff_ffffn))).toBe('0effffffffffffffff')
})

test('EISA identifiers (19.3.4)', () => {
  // EisaId ("PNP0501"), EisaId ("PNP0A03")
  expect(hex(aml.eisaId('PNP0501'))).toBe('0c41d00501')
  expect(hex(aml.eisaId('PNP0A03'))).toBe('0c41d00a03')
  expect(() => aml.eisaId('PNP050')).toThrow(expect.objectContaining({ code: 'ERR_ACPI_CONFIGURATION' }))
})

test('lengths of 1, 2, 3 and 4 bytes count themselves (20.2.4)', () => {
  const lead = (size: number): string => hex(aml.buffer(new Uint8Array(size))).slice(0, 14)
  // 1 + 2 + 60 = 63 = 0x3F is the last that fits in one byte.
  expect(lead(60).slice(0, 4)).toBe('113f')
  expect(lead(61).slice(0, 6)).toBe('114104')
  // 2 + 3 + 4090 = 0xFFF.
  expect(lead(4090).slice(0, 6)).toBe('114fff')
  expect(lead(4091).slice(0, 8)).toBe('11810001')
  expect(lead(0x20_0000).slice(0, 10)).toBe('11c9000002')
})

test('a device with a method', () => {
  // Device (DEV0) { Name (_HID, "ABCD0001") Method (_STA, 0, NotSerialized) { Return (0x0F) } }
  const device = aml.device(
    'DEV0',
    aml.name('_HID', aml.string('ABCD0001')),
    aml.method('_STA', 0, false, aml.returns(aml.integer(0xf))),
  )
  expect(hex(device)).toBe('5b821e44455630085f4849440d414243443030303100' + '14095f53544100a40a0f')
})
