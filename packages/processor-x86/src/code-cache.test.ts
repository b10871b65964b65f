// What becomes of decoded code when there is no room for more of it: blocks that somebody holds stay where they are, and no record leads to another block than before.

import { expect, test } from 'vitest'
import { CodeCache } from './code-cache.ts'
import { Decoder } from './decoder/decoder.ts'
import { MODE } from './decoder/mode.ts'
import { INSTRUCTION_SET } from './instruction-set/index.ts'
import { HANDLER } from './interpreter/handler.ts'
import { SoftwareMemory } from './memory.ts'
import { RECORD } from './state-layout.ts'

const ARENA = 64 * 1024
const PAGES = 256
const PAGE = 4096
/** Offsets in a page of its blocks. */
const STEP = 64

/** A cache with an arena that is soon full, over pages of NOPs with a jump backwards at the end of each block's bytes. */
function smallCache() {
  const memory = new SoftwareMemory(PAGES * PAGE)
  memory.map(0, PAGES, memory.ramOffset, 7)
  const code = memory.u8.subarray(memory.ramOffset, memory.ramOffset + PAGES * PAGE)
  code.fill(0x90)
  // JMP to the beginning of the piece
  for (let at = 0; at < code.length; at += STEP) code.set([0xeb, -10], at + 8)
  const { arena } = memory.allocateVp()
  const held = new Set<number>()
  const dropped: number[] = []
  const events = { resets: 0, reuses: 0 }
  let functions = 0
  const cache = new CodeCache({
    memory,
    decoder: new Decoder(INSTRUCTION_SET, (form) => {
      form.functionIndex = functions++
    }),
    arena,
    arenaEnd: arena + ARENA,
    onReset: () => events.resets++,
    onReuse: () => events.reuses++,
    onDrop: (record) => dropped.push(record),
    isHeld: (record) => held.has(record),
  })
  const decode = (page: number, offset: number): number => cache.decode(page, offset, MODE.LONG, () => -1)
  return { memory, cache, decode, held, dropped, events }
}

test('blocks that are held stay, the others give way', () => {
  const { cache, decode, held, events } = smallCache()
  const kept = new Map<number, number>()
  for (let page = 0; page < PAGES; page++) {
    for (let offset = 0; offset < PAGE; offset += STEP) {
      const record = decode(page, offset)
      if (offset === 0 && page % 16 === 0) {
        kept.set(page, record)
        held.add(record)
      }
      expect(cache.find(page, offset, MODE.LONG)).toBe(record)
    }
  }
  expect(events.resets).toBe(0)
  expect(events.reuses).toBeGreaterThan(10)
  for (const [page, record] of kept) {
    expect(cache.find(page, 0, MODE.LONG)).toBe(record)
    expect(cache.placeOf(record)).toEqual({ page, start: 0, mode: MODE.LONG })
  }
})

test('when all are held, all go', () => {
  const { cache, decode, held, dropped, events } = smallCache()
  const first = decode(0, 0)
  held.add(first)
  for (let page = 1; page < PAGES && events.resets === 0; page++)
    for (let offset = 0; offset < PAGE && events.resets === 0; offset += STEP) held.add(decode(page, offset))
  expect(events.resets).toBe(1)
  expect(dropped).toEqual([])
  expect(cache.find(0, 0, MODE.LONG)).toBe(0)
  expect(cache.placeOf(first)?.page).not.toBe(0)
})

test('room in pieces that are too small is no room', () => {
  const { memory, cache, decode, held, events } = smallCache()
  const code = memory.u8.subarray(memory.ramOffset)
  // blocks of one record, JMP to themselves, as many as there is room for; each other one is held
  const places: { page: number; offset: number }[] = []
  for (let offset = 0; offset < PAGE; offset += STEP) {
    for (let page = 0; page < 15; page++) places.push({ page, offset })
  }
  places.forEach(({ page, offset }, i) => {
    code.set([0xeb, 0xfe], page * PAGE + offset)
    const record = decode(page, offset)
    if (i % 2 === 0) held.add(record)
  })
  expect(events).toEqual({ resets: 0, reuses: 0 })
  // never the same page twice in a row, which would take all of it
  places.forEach(({ page, offset }, i) => {
    if (i % 2 === 1) cache.invalidate(page, offset, offset + 1)
  })
  code.fill(0x90, 100 * PAGE, 101 * PAGE)
  for (let offset = 0; offset < 30 * 48; offset += 48) {
    const record = decode(100, offset)
    expect(record).toBeGreaterThan(0)
    expect(cache.find(100, offset, MODE.LONG)).toBe(record)
  }
  // at most two of the blocks were found room for one by one
  expect(events).toEqual({ resets: 1, reuses: expect.any(Number) })
  expect(events.reuses).toBeLessThan(4)
})

test('pages that lose their blocks and get others do not add up', () => {
  const { cache, decode, events } = smallCache()
  for (let round = 0; round < 20_000; round++) {
    decode(round & 1, 0)
    cache.invalidate(round & 1, 0, 1)
  }
  expect(events.resets).toBe(0)
  expect(events.reuses).toBeGreaterThan(10)
  expect(cache.pagesRemembered).toBeLessThan(1000)
})

test('what was overwritten gives its room first, and its jumps are forgotten', () => {
  const { memory, cache, decode, dropped, events } = smallCache()
  const { view } = memory
  const source = decode(0, 0)
  const target = decode(0, STEP)
  const jump = source + 8 * RECORD.SIZE
  cache.link(jump, target)
  expect(view.getUint32(jump + RECORD.CHAIN, true)).toBe(target)
  cache.invalidate(0, 0, 1)
  expect(dropped).toEqual([source])
  expect(view.getUint16(jump + RECORD.HANDLER, true)).toBe(HANDLER.LOOKUP)
  while (events.reuses < 2) {
    for (let offset = 0; offset < PAGE; offset += STEP) decode(1, offset)
    cache.invalidate(1, 0, PAGE)
  }
  // the block was in nobody's way
  expect(cache.find(0, STEP, MODE.LONG)).toBe(target)
  // the jump is another block's record now, which the end of its old target does not concern
  view.setUint32(jump + RECORD.CHAIN, 4711, true)
  cache.invalidate(0, STEP, STEP + 1)
  expect(view.getUint32(jump + RECORD.CHAIN, true)).toBe(4711)
})
