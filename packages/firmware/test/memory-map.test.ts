import fc from 'fast-check'
import { expect, test } from 'vitest'
import { buildMemoryMap, E820_TYPE } from '../src/index.ts'
import { lowRamEnd, ramEnd } from '../src/memory-map.ts'

test('512 MiB: conventional memory, BIOS area, RAM from 1 MiB', () => {
  expect(buildMemoryMap(0x2000_0000)).toEqual([
    { base: 0, length: 0xa_0000, type: E820_TYPE.RAM },
    { base: 0xe_0000, length: 0x2_0000, type: E820_TYPE.RESERVED },
    { base: 0x10_0000, length: 0x1ff0_0000, type: E820_TYPE.RAM },
  ])
})

test('8 GiB: 3 GiB below the hole for devices, 5 GiB from 4 GiB', () => {
  expect(buildMemoryMap(8 * 2 ** 30).slice(2)).toEqual([
    { base: 0x10_0000, length: 0xbff0_0000, type: E820_TYPE.RAM },
    { base: 0x1_0000_0000, length: 5 * 2 ** 30, type: E820_TYPE.RAM },
  ])
  expect(lowRamEnd(8 * 2 ** 30)).toBe(0xc000_0000)
  expect(ramEnd(8 * 2 ** 30)).toBe(9 * 2 ** 30)
})

test.each([[0], [-1], [Number.NaN], [0x1f_ffff]])('%d bytes are too small', (size) => {
  expect(() => buildMemoryMap(size)).toThrow(expect.objectContaining({ code: 'ERR_MEMORY_TOO_SMALL' }))
})

test('an impossible size is too large', () => {
  expect(() => buildMemoryMap(2 ** 50)).toThrow(expect.objectContaining({ code: 'ERR_MEMORY_TOO_LARGE' }))
})

test('any map is sorted, does not overlap, and has all whole pages but those of the legacy hole', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0x20_0000, max: 2 ** 40 }), (size) => {
      const map = buildMemoryMap(size)
      let ram = 0
      let end = 0
      for (const entry of map) {
        expect(entry.base).toBeGreaterThanOrEqual(end)
        expect(entry.length).toBeGreaterThan(0)
        end = entry.base + entry.length
        if (entry.type === E820_TYPE.RAM) ram += entry.length
      }
      expect(ram).toBe(size - (size % 4096) - 0x6_0000)
    }),
  )
})
