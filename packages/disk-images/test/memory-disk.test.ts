import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryDisk } from '../src/index.ts'

describe('memory disk', () => {
  it('agrees with an array, however the transfers are cut', async () => {
    const operation = fc.record({
      write: fc.boolean(),
      sector: fc.integer({ min: 0, max: 255 }),
      cuts: fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 6 }),
      count: fc.integer({ min: 0, max: 20 }),
      value: fc.integer({ min: 0, max: 255 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (operations) => {
        const disk = new MemoryDisk(256)
        const model = new Uint8Array(256 * 512)
        for (const { write, sector, cuts, count, value } of operations) {
          const length = Math.min(count, 256 - sector) * 512
          const data = Uint8Array.from({ length }, (_, i) => (write ? value + i : 0) & 0xff)
          const segments: Uint8Array[] = []
          let at = 0
          for (const cut of cuts) {
            if (at + cut > length) break
            segments.push(data.subarray(at, (at += cut)))
          }
          segments.push(data.subarray(at))
          if (write) {
            await disk.write(sector, segments)
            model.set(data, sector * 512)
          } else {
            await disk.read(sector, segments)
            expect(data).toEqual(model.subarray(sector * 512, sector * 512 + length))
          }
        }
      }),
    )
  })

  it('takes memory only for what is written, and gives discarded chunks back', async () => {
    const disk = new MemoryDisk(2 ** 31) // 1 TiB
    expect(disk.allocated).toBe(0)
    await disk.write(2 ** 30, [new Uint8Array(512).fill(1)])
    expect(disk.allocated).toBe(65_536)
    await disk.discard(2 ** 30 - 1, 1000)
    expect(disk.allocated).toBe(0)
  })

  it('zeroes any range', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 299 }), fc.integer({ min: 0, max: 300 }), async (first, length) => {
        const count = Math.min(length, 300 - first)
        const disk = new MemoryDisk(300, { contents: new Uint8Array(300 * 512).fill(5) })
        await disk.zero(first, count)
        const data = new Uint8Array(300 * 512)
        await disk.read(0, [data])
        const expected = new Uint8Array(300 * 512).fill(5).fill(0, first * 512, (first + count) * 512)
        expect(Buffer.compare(data, expected)).toBe(0)
      }),
    )
  })

  it('refuses what it cannot do, by code', async () => {
    const disk = new MemoryDisk(10, { readOnly: true, contents: new Uint8Array(512).fill(7) })
    const sector = new Uint8Array(512)
    await expect(disk.read(10, [sector])).rejects.toMatchObject({ code: 'ERR_DISK_RANGE' })
    await expect(disk.read(-1, [sector])).rejects.toMatchObject({ code: 'ERR_DISK_RANGE' })
    await expect(disk.read(0, [new Uint8Array(100)])).rejects.toMatchObject({ code: 'ERR_DISK_RANGE' })
    await expect(disk.write(0, [sector])).rejects.toMatchObject({ code: 'ERR_DISK_READ_ONLY' })
    await disk.read(0, [sector])
    expect(sector[511]).toBe(7)
    await disk[Symbol.asyncDispose]()
    await expect(disk.read(0, [sector])).rejects.toMatchObject({ code: 'ERR_DISK_CLOSED' })
    await expect(disk.flush()).rejects.toMatchObject({ code: 'ERR_DISK_CLOSED' })
  })
})
