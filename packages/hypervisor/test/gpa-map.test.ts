import { GPA_ACCESS } from '@partita/interface'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GpaMap, HypervisorError } from '../src/index.ts'
import { FakeMemory } from './fakes.ts'

const MIB = 2 ** 20

function pcMap(): { map: GpaMap; memory: FakeMemory } {
  const memory = new FakeMemory(2 * MIB)
  const map = new GpaMap(memory)
  map.map(0, 0xa0000, memory.ramOffset)
  map.map(0xc0000, 2 * MIB - 0xc0000, memory.ramOffset + 0xc0000)
  return { map, memory }
}

describe('GpaMap', () => {
  it('reads back what it writes, in bytes and little-endian elements, at the bytes that the store is mapped to', () => {
    const { map, memory } = pcMap()
    expect(map.write(0x1234, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))).toBe(true)
    expect(map.readU8(0x1235)).toBe(2)
    expect(map.readU16(0x1234)).toBe(0x0201)
    expect(map.readU32(0x1234)).toBe(0x04030201)
    expect(map.readU64(0x1234)).toBe(0x0807060504030201n)
    expect(new Uint8Array(memory.buffer)[memory.ramOffset + 0x1234]).toBe(1)
    expect(
      map.writeU16(0x2000, 0xbeef) && map.writeU32(0x2002, 0xdeadc0de) && map.writeU64(0x2006, 0xfedcba9876543210n),
    ).toBe(true)
    const bytes = new Uint8Array(14)
    expect(map.read(0x2000, bytes)).toBe(true)
    expect([...bytes].map((byte) => byte.toString(16)).join(' ')).toBe('ef be de c0 ad de 10 32 54 76 98 ba dc fe')
  })

  it('tells the processor of every host write, with its range', () => {
    const { map, memory } = pcMap()
    map.writeU8(5, 1)
    map.writeU16(6, 1)
    map.writeU32(8, 1)
    map.writeU64(16, 1n)
    map.write(0x3000, new Uint8Array(100))
    map.fill(0x4000, 0x200, 7)
    map.written(0x5000, 3)
    map.write(0x6000, new Uint8Array(0))
    expect(memory.writes).toEqual([
      { gpa: 5, length: 1 },
      { gpa: 6, length: 2 },
      { gpa: 8, length: 4 },
      { gpa: 16, length: 8 },
      { gpa: 0x3000, length: 100 },
      { gpa: 0x4000, length: 0x200 },
      { gpa: 0x5000, length: 3 },
    ])
  })

  it('has no memory in the video hole and beyond RAM, and writes nothing of a range that is partly outside', () => {
    const { map, memory } = pcMap()
    expect(map.isRam(0, 0xa0000)).toBe(true)
    expect(map.isRam(0, 0xa0001)).toBe(false)
    expect(map.readU8(0xa0000)).toBeUndefined()
    expect(map.readU8(0xbffff)).toBeUndefined()
    expect(map.readU8(0xc0000)).toBe(0)
    expect(map.readU32(0x9fffe)).toBeUndefined()
    expect(map.readU64(2 * MIB)).toBeUndefined()
    expect(map.readU16(2 * MIB - 1)).toBeUndefined()
    expect(map.write(0x9fffe, Uint8Array.of(1, 2, 3, 4))).toBe(false)
    expect(map.writeU32(0x9fffe, 1)).toBe(false)
    expect(map.readU16(0x9fffe)).toBe(0)
    expect(map.fill(0x9ff00, 0x200, 1)).toBe(false)
    expect(map.view(0x9ff00, 0x200)).toBeUndefined()
    expect(memory.writes).toEqual([])
  })

  it('refuses addresses that are no addresses', () => {
    const { map } = pcMap()
    for (const gpa of [-1, Number.NaN, Infinity, 2 ** 63, -4096]) {
      expect(map.isRam(gpa, 1)).toBe(false)
      expect(map.readU32(gpa)).toBeUndefined()
      expect(map.write(gpa, new Uint8Array(1))).toBe(false)
      expect(map.view(gpa, 1)).toBeUndefined()
    }
    expect(map.isRam(0, -1)).toBe(false)
    expect(map.isRam(0, Number.NaN)).toBe(false)
    expect(() => map.map(1, 4096, 0)).toThrow(HypervisorError)
    expect(() => map.map(0, 100, 0)).toThrow(expect.objectContaining({ code: 'ERR_GPA_RANGE' }))
    expect(() => map.map(0, 4096, 12)).toThrow(expect.objectContaining({ code: 'ERR_GPA_RANGE' }))
    expect(() => map.unmap(-4096, 4096)).toThrow(expect.objectContaining({ code: 'ERR_GPA_RANGE' }))
  })

  it('reads and writes over pages that are not contiguous in the store', () => {
    const { map, memory } = pcMap()
    const overlay = memory.allocateOverlay()
    map.map(0x10000, 0x1000, overlay)
    expect(map.write(0xfffe, Uint8Array.of(1, 2, 3, 4))).toBe(true)
    const bytes = new Uint8Array(memory.buffer)
    expect([...bytes.subarray(overlay, overlay + 2)]).toEqual([3, 4])
    expect([...bytes.subarray(memory.ramOffset + 0xfffe, memory.ramOffset + 0x10002)]).toEqual([1, 2, 0, 0])
    expect(map.readU32(0xfffe)).toBe(0x04030201)
    expect(map.writeU64(0x10ffc, 0x1122334455667788n)).toBe(true)
    expect(map.readU64(0x10ffc)).toBe(0x1122334455667788n)
    expect(map.writeU16(0x10fff, 0xabcd) && map.writeU32(0x10ffe, 0x12345678)).toBe(true)
    expect(map.readU16(0x10fff)).toBe(0x3456)
    expect(map.view(0xfffe, 4)).toBeUndefined()
    expect(map.fill(0xffff, 0x1002, 0x5a)).toBe(true)
    expect([map.readU8(0xfffe), map.readU8(0xffff), map.readU8(0x11000), map.readU8(0x11001)]).toEqual([
      1, 0x5a, 0x5a, 0x12,
    ])
  })

  it('brings the page below an overlay back, and merges what is contiguous', () => {
    const { map, memory } = pcMap()
    map.writeU8(0x10000, 9)
    map.map(0x10000, 0x1000, memory.allocateOverlay())
    expect(map.readU8(0x10000)).toBe(0)
    expect(map.ranges().length).toBe(4)
    map.map(0x10000, 0x1000, memory.ramOffset + 0x10000)
    expect(map.readU8(0x10000)).toBe(9)
    expect(map.ranges()).toEqual([
      { gpa: 0, length: 0xa0000, access: GPA_ACCESS.ALL },
      { gpa: 0xc0000, length: 2 * MIB - 0xc0000, access: GPA_ACCESS.ALL },
    ])
    map.unmap(0x10000, 0x2000)
    expect(map.isRam(0x10000, 1)).toBe(false)
    expect(map.isRam(0x12000, 1)).toBe(true)
    expect(memory.translate(0x11000, GPA_ACCESS.READ)).toBe(-1)
    expect(map.readU8(0x12000)).toBe(0)
  })

  it('keeps read-only pages from being written', () => {
    const { map, memory } = pcMap()
    map.map(0xf0000, 0x1000, memory.ramOffset + 0xf0000, GPA_ACCESS.READ | GPA_ACCESS.EXECUTE)
    expect(map.readU8(0xf0000)).toBe(0)
    expect(map.writeU8(0xf0000, 1)).toBe(false)
    expect(map.write(0xeffff, Uint8Array.of(1, 1))).toBe(false)
    expect(map.view(0xf0000, 1, 'write')).toBeUndefined()
    expect(map.view(0xf0000, 1)).toBeDefined()
  })

  it('gives windows on the bytes themselves', () => {
    const { map } = pcMap()
    const window = map.view(0x1000, 16, 'write')
    window?.set([1, 2, 3], 4)
    expect(map.readU32(0x1004)).toBe(0x00030201)
  })
})

describe('Overlays of the GPA map', () => {
  it('cover RAM, the processor’s map included, and give it back', () => {
    const { map, memory } = pcMap()
    const overlay = memory.allocateOverlay()
    map.writeU32(0x5000, 1)
    map.writeU32(0x6000, 2)
    map.cover(0x5000, overlay, GPA_ACCESS.READ)
    expect(memory.pages.get(5)).toEqual({ offset: overlay, access: 1 })
    expect([map.readU32(0x5000), map.readU32(0x6000)]).toEqual([0, 2])
    expect(map.writeU32(0x5000, 9)).toBe(false)
    expect(map.view(0x4000, 0x2000)).toBeUndefined()
    const across = new Uint8Array(0x3000)
    expect(map.read(0x4000, across)).toBe(true)
    expect([across[0x1000], across[0x2000]]).toEqual([0, 2])
    expect(map.baseView(0x4000, 0x3000)?.[0x1000]).toBe(1)
    expect(map.ranges().length).toBe(2)
    map.uncover(0x5000, overlay)
    expect(memory.pages.get(5)).toEqual({ offset: memory.ramOffset + 0x5000, access: 7 })
    expect(map.readU32(0x5000)).toBe(1)
    expect(map.view(0x4000, 0x2000)?.length).toBe(0x2000)
    map.uncover(0x5000, overlay)
    expect(map.readU32(0x5000)).toBe(1)
  })

  it('can be where nothing is, and vanish without a trace', () => {
    const { map, memory } = pcMap()
    const overlay = memory.allocateOverlay()
    map.cover(0xf0000000, overlay, GPA_ACCESS.ALL)
    expect(map.writeU32(0xf0000ffc, 5)).toBe(true)
    expect(map.isRam(0xf0000000, 4096)).toBe(true)
    // Devices may still claim the addresses: the overlay covers them.
    expect(map.overlaps(0xf0000000, 4096)).toBe(false)
    map.uncover(0xf0000000, overlay)
    expect(map.readU32(0xf0000ffc)).toBeUndefined()
    expect(memory.pages.has(0xf0000)).toBe(false)
  })

  it('refuse addresses that are not pages', () => {
    const { map, memory } = pcMap()
    expect(() => map.cover(0x5001, memory.allocateOverlay(), 7)).toThrow(HypervisorError)
  })

  it('agree with a model, whatever is mapped, unmapped, covered and uncovered', () => {
    const PAGES = 8
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.record({ kind: fc.constant('cover' as const), page: fc.nat(PAGES - 1), overlay: fc.nat(2) }),
            fc.record({ kind: fc.constant('uncover' as const), page: fc.nat(PAGES - 1), overlay: fc.nat(2) }),
            fc.record({
              kind: fc.constant('map' as const),
              page: fc.nat(PAGES - 1),
              count: fc.integer({ min: 1, max: 3 }),
            }),
            fc.record({
              kind: fc.constant('unmap' as const),
              page: fc.nat(PAGES - 1),
              count: fc.integer({ min: 1, max: 3 }),
            }),
          ),
        ),
        (steps) => {
          const memory = new FakeMemory(MIB)
          const map = new GpaMap(memory)
          const overlays = [memory.allocateOverlay(), memory.allocateOverlay(), memory.allocateOverlay()]
          const base: (number | undefined)[] = Array(PAGES + 3).fill(undefined)
          const stacks: number[][] = Array.from({ length: PAGES + 3 }, () => [])
          for (const step of steps) {
            const gpa = step.page * 4096
            if (step.kind === 'cover') {
              map.cover(gpa, overlays[step.overlay] as number, 1)
              stacks[step.page]?.push(overlays[step.overlay] as number)
            } else if (step.kind === 'uncover') {
              const stack = stacks[step.page] as number[]
              const index = stack.indexOf(overlays[step.overlay] as number)
              map.uncover(gpa, overlays[step.overlay] as number)
              if (index >= 0) stack.splice(index, 1)
            } else {
              if (step.kind === 'map') map.map(gpa, step.count * 4096, memory.ramOffset + gpa)
              else map.unmap(gpa, step.count * 4096)
              for (let page = step.page; page < step.page + step.count; page++)
                base[page] = step.kind === 'map' ? memory.ramOffset + page * 4096 : undefined
            }
            for (let page = 0; page < base.length; page++) {
              const expected = stacks[page]?.at(-1) ?? base[page]
              expect(memory.pages.get(page)?.offset).toBe(expected)
              const view = map.view(page * 4096, 4096)
              expect(view?.byteOffset).toBe(expected)
            }
          }
        },
      ),
      { numRuns: 200 },
    )
  })
})
