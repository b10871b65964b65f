// Decoded code: blocks of records by guest physical address, so that one decoding serves every mapping of a page. A write to decoded bytes makes
// the records of the blocks concerned stale in place, so that even the block that is running sees it at its next instruction.

import { BLOCK_HEADER, BlockArena, HEADER_SIZE, MODE_BITS } from './block-arena.ts'
import type { Decoder } from './decoder/decoder.ts'
import { DECODED } from './decoder/decoder.ts'
import type { Mode } from './decoder/mode.ts'
import { FLOW_AFTER } from './decoder/opcode-map.ts'
import { HANDLER } from './interpreter/handler.ts'
import { GPA_PAGES, MAP_PAGES, type SoftwareMemory } from './memory.ts'
import { RECORD } from './state-layout.ts'

const MAXIMUM_BLOCK = 48
/** With the one that closes it. */
const MAXIMUM_RECORDS: number = MAXIMUM_BLOCK + 1
/** Part of the arena that must be free again when it was full, a power of 2 as a shift; else blocks go that nobody holds. */
const FREE_SHIFT = 2
/** Part of it that must have been given out since it was full before, likewise. */
const GAIN_SHIFT = 4
/** Writes that hit a page's code in a row, after which all of it goes. */
const OVERWRITES = 4
const PAGE = 4096

/** Members of the table of blocks at first. It grows when half of them are taken. */
const TABLE_LOG2 = 17
/** A record lies at a multiple of its size: the low bits of a member are the mode, and whether the page is one behind those of {@link GPA_PAGES}. */
const TAG = RECORD.SIZE - 1
const TAG_HIGH = 8
/** A member that was dropped. */
const DROPPED = 16

function tagOf(page: number, mode: Mode): number {
  return page < GPA_PAGES ? mode : mode | TAG_HIGH
}

/** What of a page is decoded, for translation. */
export interface DecodedPage {
  /** Offsets of blocks, and their records. */
  readonly starts: Uint16Array
  readonly records: Int32Array
  /** Where control may go on outside the page, by direct jumps, calls and the end of the page. */
  readonly far: readonly number[]
}

/** Where a block is. */
export interface BlockPlace {
  readonly page: number
  /** Offset in the page. */
  readonly start: number
  readonly mode: Mode
}

/** Which pieces of 128 bytes bytes `[start, end)` of a page lie in: a bit each. */
function granules(start: number, end: number): number {
  return (2 << ((end - 1) >> 7)) - (1 << (start >> 7))
}

/** What decoding a block came to. */
export const BLOCK = { OK: 0, UNDEFINED: -1, FETCH: -2, TOO_LONG: -3 } as const

export class CodeCache {
  readonly #memory: SoftwareMemory
  readonly #view: DataView
  readonly #i32: Int32Array
  readonly #decoder: Decoder
  readonly #arena: BlockArena
  /** Where a block is decoded before it has its place. */
  readonly #scratch: number
  readonly #onReset: () => void
  readonly #onReuse: () => void
  readonly #onDrop: (record: number) => void
  readonly #isHeld: (record: number) => boolean
  /** Records given out since the arena was full. */
  #allocated = 0
  /** How often in a row it was full again soon. */
  #broken = 0
  /** The blocks by place, open addressing: pairs of a place and a record with its tag. */
  #table: Int32Array = new Int32Array(2 << TABLE_LOG2)
  #tableShift: number = 32 - TABLE_LOG2
  /** Members that are or were in use. */
  #tableUsed = 0
  /** The first block with bytes of a page, 0 none; and which granules of it have any, a superset. */
  readonly #heads: Int32Array = new Int32Array(MAP_PAGES)
  readonly #granules: Int32Array = new Int32Array(MAP_PAGES)
  /** The pages that have blocks, and some that had. */
  #pages: number[] = []
  /** Records of direct jumps that are linked to a block, by the block's record. */
  readonly #links = new Map<number, number[]>()
  blocksDecoded = 0
  /** The page that lost blocks by the last write that hit any, and by how many such writes in a row with nothing decoded between them. */
  #overwritten = -1
  #overwrites = 0

  // the block that is being decoded
  #host = 0
  #start = 0
  /** The page behind, -2 when nobody has asked, -1 when there is none. */
  #following = -2
  #crossed = false
  #nextPage: () => number = () => -1
  /** A byte that is not in the page. */
  readonly #beyond = (position: number): number => {
    const { gpaMap, u8 } = this.#memory
    const at = this.#start + position
    if (at < PAGE) return u8[this.#host + at] as number
    if (this.#following === -2) this.#following = this.#nextPage()
    if (this.#following < 0) return -1
    this.#crossed = true
    return u8[(((gpaMap[this.#following] as number) & ~0xfff) >>> 0) + at - PAGE] as number
  }

  constructor(options: {
    memory: SoftwareMemory
    decoder: Decoder
    arena: number
    arenaEnd: number
    /** All blocks were dropped: jump caches hold none of their records any more. */
    onReset: () => void
    /** Records of dropped blocks are used again: jump caches hold none of them any more. */
    onReuse: () => void
    /** A block is no more: nothing leads to its record. */
    onDrop: (record: number) => void
    /** Whether the block with a record shall stay when there is no room for all. */
    isHeld: (record: number) => boolean
  }) {
    this.#memory = options.memory
    this.#view = options.memory.view
    this.#i32 = options.memory.i32
    this.#decoder = options.decoder
    this.#scratch = options.arenaEnd - MAXIMUM_RECORDS * RECORD.SIZE
    this.#arena = new BlockArena(this.#i32, options.arena, this.#scratch, MAXIMUM_RECORDS)
    this.#onReset = options.onReset
    this.#onReuse = options.onReuse
    this.#onDrop = options.onDrop
    this.#isHeld = options.isHeld
  }

  #field(record: number, field: number): number {
    return this.#i32[((record - HEADER_SIZE) >> 2) + field] as number
  }
  #setField(record: number, field: number, value: number): void {
    this.#i32[((record - HEADER_SIZE) >> 2) + field] = value
  }
  #modeOf(record: number): Mode {
    return (this.#field(record, BLOCK_HEADER.COUNT) & MODE_BITS) as Mode
  }

  // --- the table

  /** Where the search for a place begins. */
  #slotOf(place: number): number {
    return Math.imul(place, 0x9e3779b1) >>> this.#tableShift
  }
  /** The record of the block at `offset` of GPA page `page`, if it is decoded, else 0. */
  find(page: number, offset: number, mode: Mode): number {
    const place = (page << 12) | offset
    const tag = tagOf(page, mode)
    const table = this.#table
    const mask = (table.length >> 1) - 1
    for (let slot = this.#slotOf(place); ; slot = (slot + 1) & mask) {
      const value = table[slot * 2 + 1] as number
      if (value === 0) return 0
      if (table[slot * 2] === place && (value & TAG) === tag) return value & ~TAG
    }
  }
  #enter(page: number, offset: number, mode: Mode, record: number): void {
    if (++this.#tableUsed > this.#table.length >> 2) this.#rehash()
    this.#put((page << 12) | offset, record | tagOf(page, mode))
  }
  #put(place: number, value: number): void {
    const table = this.#table
    const mask = (table.length >> 1) - 1
    let slot = this.#slotOf(place)
    while (table[slot * 2 + 1] !== 0) slot = (slot + 1) & mask
    table[slot * 2] = place
    table[slot * 2 + 1] = value
  }
  #forget(page: number, offset: number, record: number): void {
    const place = (page << 12) | offset
    const table = this.#table
    const mask = (table.length >> 1) - 1
    let slot = this.#slotOf(place)
    while (((table[slot * 2 + 1] as number) & ~TAG) !== record) slot = (slot + 1) & mask
    table[slot * 2 + 1] = DROPPED
  }
  /** Twice the members, or as many as before where those that were dropped had taken them. */
  #rehash(): void {
    const old = this.#table
    let used = 0
    for (let at = 1; at < old.length; at += 2) if ((old[at] as number) > DROPPED) used++
    if (used > old.length >> 3) {
      this.#tableShift--
      this.#table = new Int32Array(old.length * 2)
    } else this.#table = new Int32Array(old.length)
    this.#tableUsed = used + 1
    for (let at = 0; at < old.length; at += 2) {
      const value = old[at + 1] as number
      if (value > DROPPED) this.#put(old[at] as number, value)
    }
  }

  // --- what is known of blocks

  /** Where the block with a record is; undefined when there is none. */
  placeOf(record: number): BlockPlace | undefined {
    if (record <= this.#arena.start || record >= this.#scratch) return undefined
    const page = this.#field(record, BLOCK_HEADER.PAGE)
    const start = this.#field(record, BLOCK_HEADER.START)
    const mode = this.#modeOf(record)
    // what is there may be something else by now
    if (page < 0 || page >= MAP_PAGES || start < 0 || start >= PAGE) return undefined
    return this.find(page, start, mode) === record ? { page, start, mode } : undefined
  }
  /** The blocks of a mode in a page. */
  decodedPage(page: number, mode: Mode): DecodedPage {
    const starts: number[] = []
    const records: number[] = []
    const far = new Set<number>()
    for (let block = this.#head(page); block !== 0; block = this.#next(block, page)) {
      if (this.#field(block, BLOCK_HEADER.PAGE) !== page || this.#modeOf(block) !== mode) continue
      starts.push(this.#field(block, BLOCK_HEADER.START))
      records.push(block)
      const place = this.#field(block, BLOCK_HEADER.FAR)
      if (place !== 0) far.add(place)
    }
    return { starts: Uint16Array.from(starts), records: Int32Array.from(records), far: [...far] }
  }
  /** The page that the last instruction of the block with a record crosses into, or -1. */
  nextPageOf(record: number): number {
    return this.#field(record, BLOCK_HEADER.NEXT_PAGE)
  }
  /** Whether decoded instructions have bytes of `[start, end)` of a page. */
  covers(page: number, start: number, end: number): boolean {
    if (!this.#mayCover(page, start, end)) return false
    for (let block = this.#head(page); block !== 0; block = this.#next(block, page))
      if (this.#overlaps(block, page, start, end)) return true
    return false
  }
  #mayCover(page: number, start: number, end: number): boolean {
    if (end <= start) return false
    return ((this.#granules[page] as number) & granules(start, end)) !== 0
  }
  #overlaps(block: number, page: number, start: number, end: number): boolean {
    const blockEnd = this.#field(block, BLOCK_HEADER.END)
    const own =
      this.#field(block, BLOCK_HEADER.PAGE) === page &&
      this.#field(block, BLOCK_HEADER.START) < end &&
      Math.min(blockEnd, PAGE) > start
    return own || (this.#field(block, BLOCK_HEADER.NEXT_PAGE) === page && start < blockEnd - PAGE)
  }
  #head(page: number): number {
    return this.#heads[page] as number
  }
  /** The block after another one in the list of a page. */
  #next(block: number, page: number): number {
    return this.#field(
      block,
      this.#field(block, BLOCK_HEADER.PAGE) === page ? BLOCK_HEADER.NEXT : BLOCK_HEADER.NEXT_CROSSING,
    )
  }

  /** Let the direct jump of a record go to a block from now on. */
  link(record: number, target: number): void {
    this.#view.setUint32(record + RECORD.CHAIN, target, true)
    const links = this.#links.get(target)
    if (links) links.push(record)
    else this.#links.set(target, [record])
  }

  /** Pages in the list of those that have blocks, for tests. */
  get pagesRemembered(): number {
    return this.#pages.length
  }

  /** Drop everything. */
  reset(): void {
    this.#arena.clear()
    this.#table.fill(0)
    this.#tableUsed = 0
    this.#links.clear()
    for (const page of this.#pages) {
      if (this.#heads[page] === 0) continue
      this.#heads[page] = 0
      this.#granules[page] = 0
      this.#memory.dropCodePage(page)
    }
    this.#pages = []
    this.#onReset()
  }

  /** Room for the records of a block. */
  #allocate(records: number): number {
    this.#allocated += records + 1
    const first = this.#arena.allocate(records)
    if (first !== 0) return first
    // little was given out since it was full before: what is free is in pieces that are too small for most
    this.#broken = this.#allocated * RECORD.SIZE < this.#arena.size >> GAIN_SHIFT ? this.#broken + 1 : 0
    this.#allocated = 0
    this.#onReuse()
    const reclaimed = this.#broken > 0 ? 0 : this.#reclaim(records)
    if (reclaimed !== 0) return reclaimed
    this.#dropOthers()
    const emptied = this.#broken > 1 ? 0 : this.#reclaim(records)
    if (emptied !== 0) return emptied
    this.#broken = 0
    this.reset()
    return this.#arena.allocate(records)
  }
  /** Room among what dropped blocks had; 0 where that is too little to go on with. */
  #reclaim(records: number): number {
    this.#forgetDropped()
    return this.#arena.reclaim() < this.#arena.size >> FREE_SHIFT ? 0 : this.#arena.allocate(records)
  }
  /** Jumps and pages of dropped blocks are of no interest any more. */
  #forgetDropped(): void {
    for (const [target, links] of this.#links) {
      const alive = links.filter((record) => this.#view.getUint16(record + RECORD.HANDLER, true) !== HANDLER.LOOKUP)
      if (alive.length === 0) this.#links.delete(target)
      else if (alive.length < links.length) this.#links.set(target, alive)
    }
    // a page is there again each time it had no blocks and got one
    this.#pages = [...new Set(this.#pages)].filter((page) => this.#head(page) !== 0)
  }
  /** Drop the blocks that nobody holds: those that are still of use are decoded again. */
  #dropOthers(): void {
    for (const page of this.#pages) {
      let before = 0
      for (let block = this.#head(page); block !== 0; ) {
        const next = this.#next(block, page)
        if (this.#isHeld(block)) before = block
        else this.#drop(block, page, before)
        block = next
      }
    }
  }

  /**
   * Decode a block. `nextPage` gives the GPA page that follows in linear memory, or -1.
   * @returns its record, or one of {@link BLOCK} when the first instruction cannot be decoded
   */
  decode(page: number, offset: number, mode: Mode, nextPage: () => number, limit: number = MAXIMUM_BLOCK): number {
    const single = limit === 1
    const { u8, gpaMap } = this.#memory
    const host = ((gpaMap[page] as number) & ~0xfff) >>> 0
    this.#host = host
    this.#following = -2
    this.#nextPage = nextPage
    let start = offset
    let crossed = false
    const decoder = this.#decoder
    const view = this.#view
    const scratch = this.#scratch
    let record = scratch
    let count = 0
    let ended = false
    let far = 0
    while (count < limit && start < PAGE) {
      this.#crossed = false
      this.#start = start
      const result = decoder.decode(mode, this.#beyond, view, record, start - offset, u8, host + start, PAGE - start)
      crossed = this.#crossed
      if (result !== DECODED.OK) {
        if (count > 0) break
        return result === DECODED.UNDEFINED ? BLOCK.UNDEFINED : result === DECODED.FETCH ? BLOCK.FETCH : BLOCK.TOO_LONG
      }
      const decoded = decoder.form
      if (!decoded) throw new Error('decoded without a form')
      // an instruction that crosses a page stands alone, so that all others depend on one page
      if (crossed && count > 0) break
      count++
      const kind = decoder.addressKind
      const inline = kind === 2 ? decoded.inlineFull : kind <= 1 ? decoded.inlineSimple : -1
      const handler = inline >= 0 ? inline : HANDLER.CALL
      view.setInt32(record + RECORD.HANDLER, handler | (decoded.functionIndex << 16), true)
      view.setInt32(record + RECORD.OFFSET, (start - offset) | (count << 16), true)
      const next = start + decoder.length
      if (decoder.isRelative) {
        // linked only inside the page, where no mapping can come between
        const target = next + decoder.relative
        const inside = target >= 0 && target < PAGE
        view.setUint32(record + RECORD.CHAIN, !single && !crossed && inside ? 0 : 1, true)
        if (!inside) far = target
      }
      record += RECORD.SIZE
      start = next
      if (decoded.after !== FLOW_AFTER.NEXT) {
        ended = decoded.after === FLOW_AFTER.END
        break
      }
      if (crossed) break
    }
    if (!ended && start >= PAGE) far = start
    if (!ended) {
      view.setUint16(record + RECORD.HANDLER, HANDLER.CONTINUE, true)
      view.setInt32(record + RECORD.OFFSET, (start - offset) | (count << 16), true)
      record += RECORD.SIZE
    }
    if (single) return scratch
    this.#overwritten = -1
    this.blocksDecoded++
    const first = this.#allocate((record - scratch) / RECORD.SIZE)
    this.#i32.copyWithin(first >> 2, scratch >> 2, record >> 2)
    const following = start > PAGE ? this.#following : -1
    this.#setField(first, BLOCK_HEADER.PAGE, page)
    this.#setField(first, BLOCK_HEADER.START, offset)
    this.#setField(first, BLOCK_HEADER.END, start)
    this.#setField(first, BLOCK_HEADER.NEXT_PAGE, following)
    this.#setField(first, BLOCK_HEADER.COUNT, (((record - scratch) / RECORD.SIZE) << 2) | mode)
    this.#setField(first, BLOCK_HEADER.FAR, far)
    this.#setField(first, BLOCK_HEADER.NEXT, this.#cover(page, first, offset, Math.min(start, PAGE)))
    let crossing = 0
    // a page may follow itself
    if (following === page) this.#addGranules(page, 0, start - PAGE)
    else if (following >= 0) crossing = this.#cover(following, first, 0, start - PAGE)
    this.#setField(first, BLOCK_HEADER.NEXT_CROSSING, crossing)
    this.#enter(page, offset, mode, first)
    return first
  }

  /** A block with bytes `[start, end)` of a page: it becomes the first of the page's list. Returns the one that was. */
  #cover(page: number, block: number, start: number, end: number): number {
    const head = this.#head(page)
    if (head === 0) {
      this.#pages.push(page)
      this.#memory.addCodePage(page)
    }
    this.#heads[page] = block
    this.#addGranules(page, start, end)
    return head
  }
  #addGranules(page: number, start: number, end: number): void {
    this.#granules[page] = (this.#granules[page] as number) | granules(start, end)
  }

  /** Bytes `[start, end)` of a page have changed: blocks with decoded bytes there are stale. */
  invalidate(page: number, start: number, end: number): void {
    if (!this.#mayCover(page, start, end)) return
    let before = 0
    let dropped = false
    for (let block = this.#head(page); block !== 0; ) {
      const next = this.#next(block, page)
      if (this.#overlaps(block, page, start, end)) {
        this.#drop(block, page, before)
        dropped = true
      } else before = block
      block = next
    }
    if (!dropped) return
    // memory that had code and has other use now is written from one end to the other: its last block makes writes cheap again
    if (page !== this.#overwritten) this.#overwrites = 0
    this.#overwritten = page
    if (++this.#overwrites < OVERWRITES) return
    this.#overwritten = -1
    this.invalidate(page, 0, PAGE)
  }

  /** Drop a block; `before` is the one before it in the list of `listed`, 0 none. */
  #drop(block: number, listed: number, before: number): void {
    const page = this.#field(block, BLOCK_HEADER.PAGE)
    const nextPage = this.#field(block, BLOCK_HEADER.NEXT_PAGE)
    const count = this.#field(block, BLOCK_HEADER.COUNT) >> 2
    for (let i = 0; i < count; i++) this.#view.setUint16(block + i * RECORD.SIZE, HANDLER.LOOKUP, true)
    const links = this.#links.get(block)
    if (links) {
      for (const record of links) this.#view.setUint32(record + RECORD.CHAIN, 0, true)
      this.#links.delete(block)
    }
    this.#forget(page, this.#field(block, BLOCK_HEADER.START), block)
    this.#onDrop(block)
    this.#uncover(listed, block, before)
    const other = listed === page ? nextPage : page
    if (other >= 0 && other !== listed) this.#uncover(other, block, this.#before(other, block))
    this.#setField(block, BLOCK_HEADER.PAGE, -1)
  }
  /** The block before another one in a page's list, 0 none. */
  #before(page: number, block: number): number {
    let before = 0
    for (let at = this.#head(page); at !== block; at = this.#next(at, page)) before = at
    return before
  }
  /** Take a block out of a page's list. */
  #uncover(page: number, block: number, before: number): void {
    const next = this.#next(block, page)
    if (before !== 0) {
      const own = this.#field(before, BLOCK_HEADER.PAGE) === page
      this.#setField(before, own ? BLOCK_HEADER.NEXT : BLOCK_HEADER.NEXT_CROSSING, next)
      return
    }
    this.#heads[page] = next
    if (next !== 0) return
    this.#granules[page] = 0
    this.#memory.dropCodePage(page)
  }
}
