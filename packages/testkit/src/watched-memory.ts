// Guest memory that can tell what the host does with it: which bytes it stores, where it stores what nobody gave it, and that lets the guest
// change bytes whenever the host looks.

import { SharedMemory } from '@partita/vmbus/testing'

const PAGE = 4096
/** What unused memory is filled with. */
const UNUSED = 0x5a

/** A range of bytes. */
interface Stored {
  readonly gpa: number
  readonly length: number
}

/** A piece of memory that the guest gave for a while. */
export interface GuestBlock {
  readonly gpa: number
  readonly size: number
}

/** RAM at address 0 that is filled with a pattern, given away in blocks with guards around them. */
export class WatchedMemory extends SharedMemory {
  /** Called before each access of the host through the contract: a guest that changes its memory at the wrong moment. */
  onAccess: (() => void) | undefined
  /** What was stored through the contract or announced with `written`, while it is recorded. */
  readonly #stored: Stored[] = []
  readonly #words: Int32Array
  #recording = false
  readonly #free: Map<number, number[]> = new Map()
  /** Pages that somebody has. */
  readonly #used: Set<number> = new Set()

  constructor(ramSize: number) {
    super(ramSize)
    this.bytes.fill(UNUSED)
    this.#words = new Int32Array(this.bytes.buffer)
  }

  override allocatePages(count: number, gap = 1): number[] {
    const pages = super.allocatePages(count, gap)
    for (const page of pages) {
      this.#used.add(page)
      this.bytes.fill(0, page * PAGE, (page + 1) * PAGE)
    }
    return pages
  }

  /** Bytes for a buffer, at `offset` of a page, with guards before and behind it. */
  allocateBlock(size: number, offset = 0): GuestBlock {
    const count = pagesOf({ gpa: offset, size })
    const first = this.#free.get(count)?.pop() ?? (this.allocatePages(count)[0] as number)
    for (let page = first; page < first + count; page++) this.#used.add(page)
    this.bytes.fill(UNUSED, first * PAGE, (first + count) * PAGE)
    return { gpa: first * PAGE + offset, size }
  }

  /** Take a block back: from now on nobody may store there. */
  freeBlock(block: GuestBlock): void {
    const first = Math.floor(block.gpa / PAGE)
    const count = pagesOf(block)
    for (let page = first; page < first + count; page++) this.#used.delete(page)
    this.bytes.fill(UNUSED, first * PAGE, (first + count) * PAGE)
    const list = this.#free.get(count)
    if (list === undefined) this.#free.set(count, [first])
    else list.push(first)
  }

  /** The first byte of a block's pages outside of the block that somebody has changed; `undefined` when all are as they were. */
  guardBroken(block: GuestBlock): number | undefined {
    const { gpa, size } = block
    const start = gpa - (gpa % PAGE)
    const end = start + pagesOf(block) * PAGE
    for (let at = start; at < end; at = at === gpa - 1 ? gpa + size : at + 1)
      if ((at < gpa || at >= gpa + size) && this.bytes[at] !== UNUSED) return at
    return undefined
  }

  /** The first byte of memory that nobody was given and that has changed. */
  strayByte(): number | undefined {
    const pattern = UNUSED * 0x0101_0101
    for (let page = 0; page < this.ramSize / PAGE; page++) {
      if (this.#used.has(page)) continue
      const end = ((page + 1) * PAGE) / 4
      for (let word = (page * PAGE) / 4; word < end; word++)
        if (this.#words[word] !== pattern) {
          const at = this.bytes.subarray(word * 4, word * 4 + 4).findIndex((byte) => byte !== UNUSED)
          return word * 4 + Math.max(0, at)
        }
    }
    return undefined
  }

  /** Record from now on what is stored. */
  record(): void {
    this.#recording = true
    this.#stored.length = 0
  }

  /** Whether the byte at `gpa` was stored through the contract, or announced, since {@link WatchedMemory.record}. */
  wasAnnounced(gpa: number): boolean {
    return this.#stored.some((stored) => gpa >= stored.gpa && gpa < stored.gpa + stored.length)
  }

  /** How many stores the record has; rings apart, none may come while the machine stands. */
  get stores(): number {
    return this.#stored.length
  }

  override isRam(gpa: number, length: number): boolean {
    // The base class asks while it is being made.
    this.onAccess?.()
    return super.isRam(gpa, length)
  }

  override write(gpa: number, source: Uint8Array): boolean {
    this.#note(gpa, source.length)
    return super.write(gpa, source)
  }

  override fill(gpa: number, length: number, value: number): boolean {
    this.#note(gpa, length)
    return super.fill(gpa, length, value)
  }

  override writeU8(gpa: number, value: number): boolean {
    this.#note(gpa, 1)
    return super.writeU8(gpa, value)
  }

  override writeU16(gpa: number, value: number): boolean {
    this.#note(gpa, 2)
    return super.writeU16(gpa, value)
  }

  override writeU32(gpa: number, value: number): boolean {
    this.#note(gpa, 4)
    return super.writeU32(gpa, value)
  }

  override writeU64(gpa: number, value: bigint): boolean {
    this.#note(gpa, 8)
    return super.writeU64(gpa, value)
  }

  override written(gpa: number, length: number): void {
    super.written(gpa, length)
    this.#note(gpa, length)
  }

  #note(gpa: number, length: number): void {
    if (this.#recording && this.#stored.length < 100_000) this.#stored.push({ gpa, length })
  }
}

/** Whole pages of a block, with one more behind it. */
function pagesOf({ gpa, size }: GuestBlock): number {
  return Math.ceil(((gpa % PAGE) + size) / PAGE) + 1
}
