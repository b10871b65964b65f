// Guest memory that can tell what the host does with it: which bytes it stores, where it stores what nobody gave it, and that lets the guest
// change bytes whenever the host looks.

import { SharedMemory } from '@partita/vmbus/testing'

const PAGE = 4096
/** What unused memory is filled with. */
const UNUSED = 0x5a
/** Memory is given away in units of this many bytes. */
const UNIT = 256
/** Bytes before and behind a block; no multiple of 8, so that blocks begin at odd places. */
const GUARD = 52

/** A range of bytes. */
interface Stored {
  readonly gpa: number
  readonly length: number
}

/** A piece of memory that the guest gave for a while. */
export interface GuestBlock {
  /** Guest physical address of its first byte; no multiple of 8. */
  readonly gpa: number
  /** Bytes of it. */
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
  /** Units that somebody has. */
  readonly #used: Uint8Array
  #piece: { readonly start: number; readonly end: number } = { start: 0, end: 0 }

  constructor(ramSize: number) {
    super(ramSize)
    this.bytes.fill(UNUSED)
    this.#words = new Int32Array(this.bytes.buffer)
    this.#used = new Uint8Array(ramSize / UNIT)
  }

  override allocatePages(count: number, gap = 1): number[] {
    const pages = super.allocatePages(count, gap)
    for (const page of pages) {
      this.#used.fill(1, (page * PAGE) / UNIT, ((page + 1) * PAGE) / UNIT)
      this.bytes.fill(0, page * PAGE, (page + 1) * PAGE)
    }
    return pages
  }

  /**
   * Bytes for a buffer, with guards before and behind it; it begins anywhere in a page. `undefined` when there is no more memory.
   */
  allocateBlock(size: number): GuestBlock | undefined {
    const units = unitsOf(size)
    const list = this.#free.get(units)
    const start = list?.pop() ?? this.#cut(units)
    if (start === undefined) return undefined
    this.#used.fill(1, start / UNIT, start / UNIT + units)
    return { gpa: start + GUARD, size }
  }

  /** Unused bytes from a piece of fresh pages. */
  #cut(units: number): number | undefined {
    if (this.#piece.end - this.#piece.start < units * UNIT) {
      const count = Math.max(16, Math.ceil((units * UNIT) / PAGE))
      try {
        const first = (this.allocatePages(count)[0] as number) * PAGE
        this.bytes.fill(UNUSED, first, first + count * PAGE)
        this.#used.fill(0, first / UNIT, (first + count * PAGE) / UNIT)
        this.#piece = { start: first, end: first + count * PAGE }
      } catch {
        return undefined
      }
    }
    const { start, end } = this.#piece
    this.#piece = { start: start + units * UNIT, end }
    return start
  }

  /** Take a block back: from now on nobody may store there. */
  freeBlock({ gpa, size }: GuestBlock): void {
    const start = gpa - GUARD
    const units = unitsOf(size)
    this.#used.fill(0, start / UNIT, start / UNIT + units)
    this.bytes.fill(UNUSED, start, start + units * UNIT)
    const list = this.#free.get(units)
    if (list === undefined) this.#free.set(units, [start])
    else list.push(start)
  }

  /** The first byte of a block's guards that somebody has changed; `undefined` when all are as they were. */
  guardBroken({ gpa, size }: GuestBlock): number | undefined {
    const start = gpa - GUARD
    const end = start + unitsOf(size) * UNIT
    for (let at = start; at < end; at++) if ((at < gpa || at >= gpa + size) && this.bytes[at] !== UNUSED) return at
    return undefined
  }

  /** The first byte of memory that nobody was given and that has changed. */
  strayByte(): number | undefined {
    const pattern = UNUSED * 0x0101_0101
    for (let unit = 0; unit < this.#used.length; unit++) {
      if (this.#used[unit] === 1) continue
      const end = ((unit + 1) * UNIT) / 4
      for (let word = (unit * UNIT) / 4; word < end; word++)
        if (this.#words[word] !== pattern) {
          const at = this.bytes.subarray(word * 4, word * 4 + 4).findIndex((byte) => byte !== UNUSED)
          return word * 4 + at
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

/** What a block takes, guards included. */
function unitsOf(size: number): number {
  return Math.ceil((size + 2 * GUARD) / UNIT)
}
