// Shadow RAM: who answers in the first megabyte, for reads and for writes, and what becomes of the contents.

import { GPA_ACCESS } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { Partition } from '../src/index.ts'
import { FakeHost, FakeProcessor, type FakeProcessorVp } from './fakes.ts'

const MIB = 2 ** 20
const SEGMENT = 0xe8000

function machine() {
  const host = new FakeHost()
  const processor = new FakeProcessor(() => 'halt')
  const partition = new Partition({ processor, ramSize: 2 * MIB, hostTime: host, eventLoop: host })
  const { intercepts } = processor.processors[0] as FakeProcessorVp
  const { memory, shadowRam } = partition
  /** As a processor accesses it: through the map, or by an intercept. */
  const read = (gpa: number): number => memory.readU8(gpa) ?? intercepts.mmioRead(0, gpa, 1)
  const write = (gpa: number, value: number): void => {
    if (!memory.writeU8(gpa, value)) intercepts.mmioWrite(0, gpa, 1, value)
  }
  return { partition, memory, shadowRam, intercepts, read, write }
}

/** A ROM of 256 KiB whose bytes are the numbers of their pages. */
const rom = (): Uint8Array => Uint8Array.from({ length: 256 * 1024 }, (_, at) => at >> 12)

describe('decoding', () => {
  it('RAM answers from 0xC0000 on at power-on, and not in the video window', () => {
    const { memory } = machine()
    expect(memory.isRam(0xc0000, 0x40000)).toBe(true)
    expect(memory.isRam(0xbffff, 1)).toBe(false)
  })

  it.each([
    ['reads and writes', { read: true, write: true }, 0x55, 0x77],
    ['reads alone', { read: true, write: false }, 0x55, 0x55],
    ['writes alone', { read: false, write: true }, 0x28, 0x77],
    ['nothing', { read: false, write: false }, 0x28, 0x55],
  ])('%s, in front of a ROM', (_, decoding, seen, kept) => {
    const { shadowRam, read, write } = machine()
    shadowRam.setRom(rom())
    write(SEGMENT, 0x55)
    shadowRam.decode(SEGMENT, 0x4000, decoding)
    expect(read(SEGMENT)).toBe(seen)
    write(SEGMENT, 0x77)
    expect(read(SEGMENT)).toBe(decoding.read ? kept : 0x28)
    shadowRam.decode(SEGMENT, 0x4000, { read: true, write: true })
    expect(read(SEGMENT)).toBe(kept)
    expect(read(SEGMENT - 1)).toBe(0)
    expect(read(SEGMENT + 0x4000)).toBe(0)
  })

  it('ones come where neither RAM nor a ROM answers, and wide writes reach hidden RAM', () => {
    const { shadowRam, memory, intercepts } = machine()
    shadowRam.decode(0xd0000, 0x4000, { read: false, write: true })
    expect(memory.isRam(0xd0000, 1)).toBe(false)
    expect(intercepts.mmioRead(0, 0xd0000, 4)).toBe(0xffff_ffff)
    intercepts.mmioWrite(0, 0xd0004, 4, 0x8765_4321)
    intercepts.mmioWrite(0, 0xd0008, 2, 0x1234)
    shadowRam.decode(0xd0000, 0x4000, { read: true, write: false })
    expect([memory.readU32(0xd0004), memory.readU32(0xd0008)]).toEqual([0x8765_4321, 0x1234])
    intercepts.mmioWrite(0, 0xd0004, 4, 0)
    expect(memory.writeU32(0xd0004, 0)).toBe(false)
    expect(memory.readU32(0xd0004)).toBe(0x8765_4321)
  })

  it('opens the video window for firmware that puts something there', () => {
    const { shadowRam, memory } = machine()
    shadowRam.decode(0xa0000, 0x20000, { read: true, write: true })
    expect(memory.writeU32(0xa0000, 0x1234_5678)).toBe(true)
    shadowRam.decode(0xa0000, 0x20000, { read: false, write: false })
    expect(memory.readU32(0xa0000)).toBeUndefined()
    expect([...memory.ramView(0xa0000, 4)]).toEqual([0x78, 0x56, 0x34, 0x12])
  })

  it('refuses ranges that are none of its own', () => {
    const { shadowRam } = machine()
    for (const [gpa, length] of [
      [0x90000, 0x1000],
      [0xff000, 0x2000],
      [0xc0800, 0x1000],
      [0xc0000, 0],
    ] as const)
      expect(() => shadowRam.decode(gpa, length, { read: true, write: true })).toThrow(
        expect.objectContaining({ code: 'ERR_GPA_RANGE' }),
      )
    expect(() => shadowRam.decode(0xa0000, 0x1000, { read: true, write: false })).toThrow(
      expect.objectContaining({ code: 'ERR_GPA_RANGE' }),
    )
  })
})

describe('the ROM', () => {
  it('stands under 4 GiB and behind the end of the first megabyte, and is not written to', () => {
    const { shadowRam, memory, read, write } = machine()
    shadowRam.setRom(rom())
    expect(memory.ranges().at(-1)).toMatchObject({
      gpa: 2 ** 32 - 0x40000,
      access: GPA_ACCESS.READ | GPA_ACCESS.EXECUTE,
    })
    expect([read(0xfffc_0000), read(0xffff_ffff)]).toEqual([0, 63])
    write(0xffff_fff0, 1)
    expect(read(0xffff_fff0)).toBe(63)
    // RAM is in front of it.
    expect(read(0xf0000)).toBe(0)
    shadowRam.decode(0xe0000, 0x20000, { read: false, write: false })
    expect([read(0xdffff), read(0xe0000), read(0xfffff)]).toEqual([0, 32, 63])
  })

  it('can be another one of its size', () => {
    const { shadowRam, read } = machine()
    shadowRam.setRom(rom())
    shadowRam.setRom(rom().fill(9))
    expect(read(0xffff_ffff)).toBe(9)
    for (const length of [0, 4096, 100_000, 64 * 1024, 1024 * 1024])
      expect(() => shadowRam.setRom(new Uint8Array(length))).toThrow(expect.objectContaining({ code: 'ERR_GPA_RANGE' }))
  })
})
