import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { contiguousRange, type GpaRange, gpadlMessages } from '../src/client.ts'
import { type Gpadl, GpadlTable, MAX_PARTIAL_GPADLS, type PartialGpadl } from '../src/server/gpadl.ts'
import { SharedMemory } from '../src/testing.ts'

const RAM = 64 * 1024 * 1024
const memory = new SharedMemory(RAM)

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Give a table all messages; returns what became of the last one. */
function announce(table: GpadlTable, messages: readonly Uint8Array[]) {
  let progress = table.header(view(messages[0] as Uint8Array))
  for (const body of messages.slice(1)) {
    expect(progress.type).toBe('partial')
    progress = table.body(view(body))
  }
  return progress
}

function pieces(ranges: readonly GpaRange[]): [number, number][] {
  const progress = announce(new GpadlTable(memory), gpadlMessages(1, 5, ranges))
  if (progress.type !== 'complete') throw new Error(progress.type)
  const { pieces: list } = progress.gpadl
  return Array.from({ length: list.pieceCount }, (_, piece) => [list.gpa(piece), list.length(piece)])
}

describe('GPADLs', () => {
  it('are of ranges that need not be whole pages', () => {
    expect(pieces([{ byteOffset: 100, byteCount: 10, pages: [7] }])).toEqual([[7 * 4096 + 100, 10]])
    expect(
      pieces([
        { byteOffset: 4095, byteCount: 2, pages: [7, 3] },
        { byteOffset: 0, byteCount: 8192, pages: [8, 9] },
      ]),
    ).toEqual([
      [7 * 4096 + 4095, 1],
      [3 * 4096, 1],
      [8 * 4096, 8192],
    ])
  })

  it('of 16 MiB come in one header and 146 bodies, quickly', () => {
    const messages = gpadlMessages(1, 5, [contiguousRange(0x10_0000, 16 * 1024 * 1024)])
    expect(messages).toHaveLength(147)
    expect(messages.every(({ length }) => length <= 240)).toBe(true)
    const table = new GpadlTable(memory)
    expect(announce(table, messages)).toMatchObject({ type: 'complete', gpadl: { pieces: { byteLength: 2 ** 24 } } })
  })

  it('may come in messages that are padded to the maximum', () => {
    const messages = gpadlMessages(1, 5, [contiguousRange(0x3000, 30 * 4096)]).map((message) => {
      const padded = new Uint8Array(240).fill(0xff)
      padded.set(message)
      return padded
    })
    expect(announce(new GpadlTable(memory), messages)).toMatchObject({
      type: 'complete',
      gpadl: { pieces: { pieceCount: 1, byteLength: 30 * 4096 } },
    })
  })

  it('are looked at when they are complete, not before', () => {
    // The page of the last body is no memory.
    const pages = Array.from({ length: 60 }, (_, page) => page)
    const messages = gpadlMessages(1, 5, [
      { byteOffset: 0, byteCount: 60 * 4096, pages: [...pages.slice(0, 59), 2 ** 30] },
    ])
    const table = new GpadlTable(memory)
    expect(announce(table, messages)).toEqual({ type: 'refused', relid: 1, id: 5, status: 0xc000_000d })
    expect(table.count).toBe(0)
  })

  it.each<[string, (view: DataView) => void]>([
    ['no ranges', (header) => header.setUint16(18, 0, true)],
    ['a length that is no multiple of 8', (header) => header.setUint16(16, 20, true)],
    ['a length that is too short for the ranges', (header) => header.setUint16(16, 8, true)],
    ['more ranges than there is length for', (header) => header.setUint16(18, 2, true)],
    ['an empty range', (header) => header.setUint32(20, 0, true)],
    ['a range that begins behind its page', (header) => header.setUint32(24, 4096, true)],
    ['a range with pages that are not there', (header) => header.setUint32(20, 4097, true)],
    ['a range without end', (header) => header.setUint32(20, 0xffff_ffff, true)],
    ['a page that is no memory', (header) => header.setUint32(28, RAM / 4096, true)],
    ['a page beyond all addresses', (header) => header.setUint32(32, 0xffff_ffff, true)],
  ])('are refused with %s', (_, change) => {
    const [header] = gpadlMessages(1, 5, [contiguousRange(0x3000, 4096)])
    change(view(header as Uint8Array))
    const table = new GpadlTable(memory)
    expect(table.header(view(header as Uint8Array)).type).toBe('refused')
    expect(table.count).toBe(0)
  })

  it('have ids that are not used twice, complete or not', () => {
    const table = new GpadlTable(memory)
    const small = gpadlMessages(1, 5, [contiguousRange(0x3000, 4096)])
    const large = gpadlMessages(1, 6, [contiguousRange(0x3000, 40 * 4096)])
    expect(announce(table, small).type).toBe('complete')
    expect(announce(table, small).type).toBe('refused')
    expect(table.header(view(large[0] as Uint8Array)).type).toBe('partial')
    expect(table.header(view(large[0] as Uint8Array)).type).toBe('refused')
    expect(table.body(view(large[1] as Uint8Array)).type).toBe('complete')
    expect(table.body(view(large[1] as Uint8Array))).toEqual({
      type: 'ignored',
      reason: 'a GPADL body without a header',
    })
  })

  it('are bounded: a guest cannot grow the host', () => {
    const partial = new GpadlTable(memory)
    const results: string[] = []
    for (let id = 0; id < 100; id++)
      results.push(
        partial.header(view(gpadlMessages(1, id, [contiguousRange(0x3000, 40 * 4096)])[0] as Uint8Array)).type,
      )
    expect(results.filter((type) => type === 'partial')).toHaveLength(MAX_PARTIAL_GPADLS)

    // The same page over and over is memory, too.
    const pages = new GpadlTable(memory)
    const range = { byteOffset: 0, byteCount: 8000 * 4096, pages: new Array(8000).fill(3) }
    let accepted = 0
    for (let id = 0; id < 100; id++) if (announceAll(pages, id, [range])) accepted++
    expect(accepted * 8000).toBeLessThanOrEqual(0x1_0000 + 2 * (RAM / 4096))
    expect(accepted).toBeGreaterThan(8)
    pages.delete(0)
    expect(announceAll(pages, 0, [range])).toBe(true)
    expect(announceAll(pages, 200, [range])).toBe(false)
  })

  it('are bounded by what the host keeps of them, which is more than their bytes', () => {
    // A range of one byte in its page takes as much as one of 4,096.
    const ranges = Array.from({ length: 4000 }, (_, page) => ({ byteOffset: 0, byteCount: 1, pages: [page * 2] }))
    const table = new GpadlTable(memory)
    const accepted: number[] = []
    for (let id = 0; id < 100; id++) if (announceAll(table, id, ranges)) accepted.push(id)
    expect(table.limit).toBe(0x1_0000 + 2 * (RAM / 4096))
    // A description is words, half of them pieces: there has to be room for one of them whole.
    expect(accepted).toHaveLength(Math.floor((table.limit - 8000) / 4000) + 1)
    expect(table.kept).toBe(accepted.length * 4000)
    // A GPADL in one piece is little, as long as it may be.
    expect(announceAll(table, 200, [contiguousRange(0, 1024 * 4096)])).toBe(true)
    expect(table.kept).toBe(accepted.length * 4000 + 1)

    // The state that is saved of it is taken again, and no more than that.
    const restored = new GpadlTable(memory)
    for (const gpadl of table.gpadls.values()) expect(restored.restore(gpadl)).toBe(true)
    expect(restored.kept).toBe(table.kept)
    const [first] = [...table.gpadls.values()]
    const again = Array.from({ length: 100 }, (_, index) => restored.restore({ ...(first as Gpadl), id: 1000 + index }))
    expect(again.filter((taken) => taken)).toHaveLength(Math.floor((table.limit - table.kept) / 4000))
    expect(restored.kept).toBeLessThanOrEqual(restored.limit)

    for (const { id } of [...restored.gpadls.values()]) restored.delete(id)
    expect(restored.kept).toBe(0)
    table.clear()
    expect(table.kept).toBe(0)
  })

  it('count while they are incomplete, too: many that began when there was room do not all find it', () => {
    const ranges = Array.from({ length: 4000 }, () => ({ byteOffset: 0, byteCount: 1, pages: [3] }))
    const table = new GpadlTable(memory)
    const [header] = gpadlMessages(1, 0, ranges)
    const types: string[] = []
    for (let id = 0; id < MAX_PARTIAL_GPADLS; id++) {
      const message = (header as Uint8Array).slice()
      view(message).setUint32(12, id, true)
      types.push(table.header(view(message)).type)
    }
    expect(types.filter((type) => type === 'partial')).toHaveLength(Math.floor(table.limit / 8000))
    expect(table.kept).toBe(Math.floor(table.limit / 8000) * 8000)

    const restored = new GpadlTable(memory)
    for (const partial of table.partial.values()) expect(restored.restorePartial(partial)).toBe(true)
    const [first] = [...table.partial.values()]
    expect(restored.restorePartial(first as PartialGpadl)).toBe(false)
    expect(restored.restorePartial({ ...(first as PartialGpadl), id: 1000 })).toBe(false)
    expect(restored.kept).toBe(table.kept)

    table.delete(0)
    expect(table.kept).toBe((Math.floor(table.limit / 8000) - 1) * 8000)
    for (const partial of [...restored.partial.values()]) restored.delete(partial.id)
    expect(restored.kept).toBe(0)
    // One that turns out to be no memory leaves nothing.
    const [first0, ...bodies] = gpadlMessages(1, 7, [
      { byteOffset: 0, byteCount: 40 * 4096, pages: new Array(40).fill(2 ** 30) },
    ])
    restored.header(view(first0 as Uint8Array))
    expect(restored.kept).toBe(41)
    expect(restored.body(view(bodies[0] as Uint8Array)).type).toBe('refused')
    expect(restored.kept).toBe(0)
  })

  it('are what was announced, however it is divided', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(fc.nat(4095), fc.integer({ min: 1, max: 5 * 4096 })).chain(([byteOffset, byteCount]) =>
            fc
              .array(fc.nat(RAM / 4096 - 1), {
                minLength: Math.ceil((byteOffset + byteCount) / 4096),
                maxLength: Math.ceil((byteOffset + byteCount) / 4096),
              })
              .map((pages) => ({ byteOffset, byteCount, pages })),
          ),
          { minLength: 1, maxLength: 20 },
        ),
        (ranges) => {
          const bytes = pieces(ranges)
          const expected: number[] = []
          for (const { byteOffset, byteCount, pages } of ranges)
            for (let at = byteOffset; at < byteOffset + byteCount; at = (Math.floor(at / 4096) + 1) * 4096)
              expected.push((pages[Math.floor(at / 4096)] as number) * 4096 + (at % 4096))
          // Where each page of each range begins is where a piece begins, or inside of one.
          for (const gpa of expected)
            expect(bytes.some(([start, length]) => gpa >= start && gpa < start + length)).toBe(true)
          const total = ranges.reduce((sum, { byteCount }) => sum + byteCount, 0)
          expect(bytes.reduce((sum, [, length]) => sum + length, 0)).toBe(total)
        },
      ),
    )
  })
})

function announceAll(table: GpadlTable, id: number, ranges: readonly GpaRange[]): boolean {
  const [header, ...bodies] = gpadlMessages(1, id, ranges)
  let progress = table.header(view(header as Uint8Array))
  for (const body of bodies) if (progress.type === 'partial') progress = table.body(view(body))
  return progress.type === 'complete'
}
