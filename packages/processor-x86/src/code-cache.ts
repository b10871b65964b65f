// Decoded code: blocks of records by guest physical address, so that one decoding serves every mapping of a page. A write to decoded bytes makes
// the records of the blocks concerned stale in place, so that even the block that is running sees it at its next instruction.

import type { Decoder } from './decoder/decoder.ts'
import { DECODED } from './decoder/decoder.ts'
import type { Mode } from './decoder/mode.ts'
import { HANDLER } from './interpreter/handler.ts'
import type { SoftwareMemory } from './memory.ts'
import { RECORD } from './state-layout.ts'

const MAXIMUM_BLOCK = 48
const PAGE = 4096

/** Members of the table of recent blocks. */
const RECENT_LOG2 = 16
/** Records lie at multiples of their size: the low bits are free for the mode. */
const MODE_BITS = 3

function slotOf(place: number): number {
  return (Math.imul(place, 0x9e3779b1) >>> (32 - RECENT_LOG2)) << 1
}

interface Block {
  readonly key: number
  readonly mode: Mode
  readonly record: number
  /** Records, the closing one included. */
  readonly count: number
  readonly page: number
  /** Bytes `[start, end)` in the page; `end` may be beyond it when the last instruction crosses into `nextPage`. */
  readonly start: number
  readonly end: number
  readonly nextPage: number
  /** Where control may go on outside the page: places counted from its start. */
  readonly far: readonly number[]
}

/** What of a page is decoded, for translation. */
export interface DecodedPage {
  /** Offsets of blocks, and their records. */
  readonly starts: Uint16Array
  readonly records: Int32Array
  /** Where control may go on outside the page, by direct jumps, calls and the end of the page. */
  readonly far: readonly number[]
}
const NO_PLACES: readonly number[] = []

function overlaps(block: Block, page: number, start: number, end: number): boolean {
  if (block.page === page) return block.start < end && Math.min(block.end, PAGE) > start
  return start < block.end - PAGE
}

/** What decoding a block came to. */
export const BLOCK = { OK: 0, UNDEFINED: -1, FETCH: -2, TOO_LONG: -3 } as const

export class CodeCache {
  readonly #memory: SoftwareMemory
  readonly #view: DataView
  readonly #decoder: Decoder
  readonly #arena: number
  readonly #arenaEnd: number
  /** Called when all records are dropped: jump caches hold none of them any more. */
  readonly #onReset: () => void
  readonly #onDrop: (record: number) => void
  #free: number
  readonly #blocks = new Map<number, Block>()
  readonly #byRecord = new Map<number, Block>()
  readonly #pages = new Map<number, Set<Block>>()
  /** Blocks found lately, in front of the map: direct-mapped pairs of a place and a record, the mode in its low bits. A new process asks for all that it executes. */
  readonly #recent = new Int32Array(2 << RECENT_LOG2)
  /** Records of direct jumps that are linked to a block, by the block's record. */
  readonly #links = new Map<number, number[]>()
  /** Pages that code of this cache covers, for other observers of the same page. */
  blocksDecoded = 0

  constructor(options: {
    memory: SoftwareMemory
    decoder: Decoder
    arena: number
    arenaEnd: number
    onReset: () => void
    /** A block is no more: nothing leads to its record. */
    onDrop: (record: number) => void
  }) {
    this.#memory = options.memory
    this.#view = options.memory.view
    this.#decoder = options.decoder
    this.#arena = options.arena
    this.#arenaEnd = options.arenaEnd
    this.#onReset = options.onReset
    this.#onDrop = options.onDrop
    this.#free = options.arena
  }

  /** The record of the block at `offset` of GPA page `page`, if it is decoded, else 0. */
  find(page: number, offset: number, mode: Mode): number {
    const place = (page << 12) | offset
    const slot = slotOf(place)
    const recent = this.#recent[slot + 1] as number
    if (this.#recent[slot] === place && (recent & MODE_BITS) === mode && recent !== 0) return recent & ~MODE_BITS
    const record = this.#blocks.get((page * PAGE + offset) * 4 + mode)?.record ?? 0
    if (record !== 0) {
      this.#recent[slot] = place
      this.#recent[slot + 1] = record | mode
    }
    return record
  }

  /** Where the block with a record is. */
  placeOf(record: number): { readonly page: number; readonly start: number; readonly mode: Mode } | undefined {
    return this.#byRecord.get(record)
  }
  /** The blocks of a mode in a page. */
  decodedPage(page: number, mode: Mode): DecodedPage {
    const starts: number[] = []
    const records: number[] = []
    const far = new Set<number>()
    for (const block of this.#pages.get(page) ?? []) {
      if (block.page !== page || block.mode !== mode) continue
      starts.push(block.start)
      records.push(block.record)
      for (const place of block.far) far.add(place)
    }
    return { starts: Uint16Array.from(starts), records: Int32Array.from(records), far: [...far] }
  }
  /** The page that the last instruction of the block with a record crosses into, or -1. */
  nextPageOf(record: number): number {
    return this.#byRecord.get(record)?.nextPage ?? -1
  }
  /** Whether decoded instructions have bytes of `[start, end)` of a page. */
  covers(page: number, start: number, end: number): boolean {
    for (const block of this.#pages.get(page) ?? []) if (overlaps(block, page, start, end)) return true
    return false
  }

  /** Let the direct jump of a record go to a block from now on. */
  link(record: number, target: number): void {
    this.#view.setUint32(record + RECORD.CHAIN, target, true)
    const links = this.#links.get(target)
    if (links) links.push(record)
    else this.#links.set(target, [record])
  }

  /** Drop everything. */
  reset(): void {
    this.#free = this.#arena
    this.#blocks.clear()
    this.#byRecord.clear()
    this.#links.clear()
    this.#recent.fill(0)
    for (const page of this.#pages.keys()) this.#memory.dropCodePage(page)
    this.#pages.clear()
    this.#onReset()
  }

  /**
   * Decode a block. `nextPage` gives the GPA page that follows in linear memory, or -1.
   * @returns its record, or one of {@link BLOCK} when the first instruction cannot be decoded
   */
  decode(page: number, offset: number, mode: Mode, nextPage: () => number, limit: number = MAXIMUM_BLOCK): number {
    const single = limit === 1
    if (this.#free + (MAXIMUM_BLOCK + 2) * RECORD.SIZE > this.#arenaEnd) this.reset()
    const { u8, gpaMap } = this.#memory
    const host = ((gpaMap[page] as number) & ~0xfff) >>> 0
    let following = -2
    let followingHost = 0
    let start = offset
    let crossed = false
    const fetch = (position: number): number => {
      const at = start + position
      if (at < PAGE) return u8[host + at] as number
      if (following === -2) {
        following = nextPage()
        if (following >= 0) followingHost = ((gpaMap[following] as number) & ~0xfff) >>> 0
      }
      if (following < 0) return -1
      crossed = true
      return u8[followingHost + at - PAGE] as number
    }
    const decoder = this.#decoder
    const view = this.#view
    const first = this.#free
    let record = first
    let count = 0
    let ended = false
    let far: number[] | undefined
    while (count < limit && start < PAGE) {
      crossed = false
      const result = decoder.decode(mode, fetch, view, record, start - offset)
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
      view.setUint16(record + RECORD.HANDLER, inline >= 0 ? inline : HANDLER.CALL, true)
      view.setUint16(record + RECORD.FUNCTION, decoded.functionIndex, true)
      view.setUint16(record + RECORD.OFFSET, start - offset, true)
      view.setUint16(record + RECORD.COUNT, count, true)
      const next = start + decoder.length
      if (decoder.isRelative) {
        // linked only inside the page, where no mapping can come between
        const target = next + decoder.relative
        const inside = target >= 0 && target < PAGE
        view.setUint32(record + RECORD.CHAIN, !single && !crossed && inside ? 0 : 1, true)
        if (!inside) (far ??= []).push(target)
      }
      record += RECORD.SIZE
      start = next
      const { options } = decoded.form.definition
      if (options.ends || typeof decoded.form.definition.semantics !== 'function') {
        ended = options.ends === true
        break
      }
      if (crossed) break
    }
    if (!ended && start >= PAGE) (far ??= []).push(start)
    if (!ended) {
      view.setUint16(record + RECORD.HANDLER, HANDLER.CONTINUE, true)
      view.setUint16(record + RECORD.OFFSET, start - offset, true)
      view.setUint16(record + RECORD.COUNT, count, true)
      record += RECORD.SIZE
    }
    if (single) return first
    this.#free = record
    this.blocksDecoded++
    const block: Block = {
      key: (page * PAGE + offset) * 4 + mode,
      mode,
      record: first,
      count: (record - first) / RECORD.SIZE,
      page,
      start: offset,
      end: start,
      nextPage: start > PAGE ? following : -1,
      far: far ?? NO_PLACES,
    }
    this.#blocks.set(block.key, block)
    this.#byRecord.set(first, block)
    this.#cover(page, block)
    if (block.nextPage >= 0) this.#cover(block.nextPage, block)
    return first
  }

  #cover(page: number, block: Block): void {
    let blocks = this.#pages.get(page)
    if (!blocks) {
      blocks = new Set()
      this.#pages.set(page, blocks)
      this.#memory.addCodePage(page)
    }
    blocks.add(block)
  }

  /** Bytes `[start, end)` of a page have changed: blocks with decoded bytes there are stale. */
  invalidate(page: number, start: number, end: number): void {
    const blocks = this.#pages.get(page)
    if (!blocks) return
    for (const block of blocks) {
      if (overlaps(block, page, start, end)) this.#drop(block)
    }
    // Dropping an instruction that crosses into the page may have seen to it.
    if (blocks.size === 0 && this.#pages.delete(page)) this.#memory.dropCodePage(page)
  }

  #drop(block: Block): void {
    for (let i = 0; i < block.count; i++) this.#view.setUint16(block.record + i * RECORD.SIZE, HANDLER.LOOKUP, true)
    const links = this.#links.get(block.record)
    if (links) {
      for (const record of links) this.#view.setUint32(record + RECORD.CHAIN, 0, true)
      this.#links.delete(block.record)
    }
    this.#blocks.delete(block.key)
    this.#byRecord.delete(block.record)
    this.#onDrop(block.record)
    const slot = slotOf((block.page << 12) | block.start)
    if (((this.#recent[slot + 1] as number) & ~MODE_BITS) === block.record) this.#recent[slot + 1] = 0
    this.#pages.get(block.page)?.delete(block)
    if (block.nextPage >= 0) {
      const other = this.#pages.get(block.nextPage)
      other?.delete(block)
      if (other?.size === 0 && this.#pages.delete(block.nextPage)) this.#memory.dropCodePage(block.nextPage)
    }
  }
}
