// The caches that generated code reads: translations of linear pages (software TLBs) and places of decoded code by RIP (jump caches). Direct-mapped, in the
// partition's memory; here is what fills and empties them. Each keeps lists of the entries it holds, those of global pages apart (SDM vol. 3, 4.10.2.4), so that
// emptying it costs what was used.

import { JUMP_ENTRIES, TLB, TLB_ENTRIES } from './state-layout.ts'

/** Flags of an entry: a global page, a piece of a page of 2 or 4 MiB, of 1 GiB. */
export const ENTRY = { GLOBAL: 1, LARGE: 2, HUGE: 4 } as const
/** The lists that an entry's slot is on, whatever is in it now. */
const ON_LOCAL = 8
const ON_GLOBAL = 16
const ON_LISTS = ON_LOCAL | ON_GLOBAL

/** Sizes of large pages as shifts of the low half of an address. */
const LARGE_SHIFT = 21
const HUGE_SHIFT = 30
/** Members of the filters, which tell what a cache certainly does not hold. */
const REGIONS_LOG2 = 14
const PAGES = 32768

/** Entries of four words: low and high half of the address, value (0: none), flags. Their memory is new when they are made. */
abstract class TranslationCache {
  protected readonly i32: Int32Array
  /** Place in the partition's memory. */
  readonly offset: number
  protected readonly first: number
  readonly #local: Uint16Array
  readonly #global: Uint16Array
  #locals = 0
  #globals = 0
  /** Regions of large pages that have had entries; a superset. */
  readonly #regions = new Uint8Array(1 << REGIONS_LOG2)
  #large = false
  #huge = false
  /** Whether there may be global entries in the lower and in the upper half of addresses. */
  #globalLow = false
  #globalHigh = false

  constructor(i32: Int32Array, offset: number, entries: number) {
    this.i32 = i32
    this.offset = offset
    this.first = offset >> 2
    this.#local = new Uint16Array(entries)
    this.#global = new Uint16Array(entries)
    // new memory is zero, which is an address whose place is the first
    this.empty(0)
  }

  /** Make a slot hold an address whose place is another. Its flags stay. */
  protected abstract empty(slot: number): void
  /** All entries but global ones were dropped, and there are none of these: forget what filters know. */
  protected forget(): void {
    if (this.#large) this.#regions.fill(0)
    this.#large = false
    this.#huge = false
  }

  protected put(slot: number, lo: number, hi: number, value: number, flags: number): void {
    const { i32 } = this
    const at = this.first + slot * 4
    let lists = (i32[at + 3] as number) & ON_LISTS
    if (flags & ENTRY.GLOBAL) {
      if (hi < 0) this.#globalHigh = true
      else this.#globalLow = true
      if (!(lists & ON_GLOBAL)) {
        this.#global[this.#globals++] = slot
        lists |= ON_GLOBAL
      }
    } else if (!(lists & ON_LOCAL)) {
      this.#local[this.#locals++] = slot
      lists |= ON_LOCAL
    }
    i32[at] = lo
    i32[at + 1] = hi
    i32[at + 2] = value
    i32[at + 3] = flags | lists
    if (flags & ENTRY.LARGE) {
      this.#large = true
      this.#regions[region(lo, hi)] = 1
    } else if (flags & ENTRY.HUGE) this.#huge = true
  }

  protected drop(slot: number): void {
    const at = this.first + slot * 4 + 3
    this.empty(slot)
    this.i32[at] = (this.i32[at] as number) & ON_LISTS
  }

  /** Drop all but global entries. */
  flushLocal(): void {
    const count = this.#locals
    if (count === 0) return
    const { i32, first } = this
    const local = this.#local
    for (let n = 0; n < count; n++) {
      const slot = local[n] as number
      const at = first + slot * 4 + 3
      const flags = i32[at] as number
      if (flags & ENTRY.GLOBAL) i32[at] = flags & ~ON_LOCAL
      else {
        this.empty(slot)
        i32[at] = flags & ON_GLOBAL
      }
    }
    this.#locals = 0
    if (this.#globals === 0) this.forget()
  }

  flushAll(): void {
    const { i32, first } = this
    for (let n = 0; n < this.#globals; n++) {
      const slot = this.#global[n] as number
      this.empty(slot)
      i32[first + slot * 4 + 3] = (i32[first + slot * 4 + 3] as number) & ON_LOCAL
    }
    this.#globals = 0
    this.#globalLow = false
    this.#globalHigh = false
    this.flushLocal()
    this.forget()
  }
  /** From now on an entry that is not global may depend on a global page. */
  protected expectGlobal(): void {
    this.#globalLow = true
    this.#globalHigh = true
  }
  /** Whether a global entry may have an address. */
  mayHaveGlobal(hi: number): boolean {
    return hi < 0 ? this.#globalHigh : this.#globalLow
  }

  /** Drop the entries of some slots in use. An entry may be asked for twice. */
  protected dropWhere(which: (at: number, slot: number) => boolean): void {
    for (let n = 0; n < this.#locals; n++) {
      const slot = this.#local[n] as number
      if (which(this.first + slot * 4, slot)) this.drop(slot)
    }
    for (let n = 0; n < this.#globals; n++) {
      const slot = this.#global[n] as number
      if (which(this.first + slot * 4, slot)) this.drop(slot)
    }
  }

  /** Drop the entries of the large page, if one was entered, that an address is in. */
  protected dropLarge(lo: number, hi: number): void {
    if (this.#large && this.#regions[region(lo, hi)]) this.#dropPieces(ENTRY.LARGE, LARGE_SHIFT, lo, hi)
    if (this.#huge) this.#dropPieces(ENTRY.HUGE, HUGE_SHIFT, lo, hi)
  }
  #dropPieces(size: number, shift: number, lo: number, hi: number): void {
    const { i32 } = this
    this.dropWhere(
      (at) =>
        ((i32[at + 3] as number) & size) !== 0 && i32[at + 1] === hi && (i32[at] as number) >>> shift === lo >>> shift,
    )
  }
}

function region(lo: number, hi: number): number {
  return Math.imul(Math.imul(hi, 0x85ebca6b) ^ (lo >>> LARGE_SHIFT), 0x9e3779b1) >>> (32 - REGIONS_LOG2)
}

/** Translations for reads and, apart, for writes: page address → offset in memory. */
export class TlbCache extends TranslationCache {
  constructor(i32: Int32Array, offset: number) {
    super(i32, offset, TLB_ENTRIES * 2)
    this.empty(TLB_ENTRIES)
  }
  protected empty(slot: number): void {
    const { i32 } = this
    const at = this.first + slot * 4
    i32[at] = (slot & (TLB_ENTRIES - 1)) === 0 ? 0x1000 : 0
    i32[at + 1] = 0
    i32[at + 2] = 0
  }
  fillRead(lo: number, hi: number, host: number, flags: number): void {
    this.put((lo >>> 12) & (TLB_ENTRIES - 1), lo & ~0xfff, hi, host, flags)
  }
  fillWrite(lo: number, hi: number, host: number, flags: number): void {
    this.put(TLB_ENTRIES | ((lo >>> 12) & (TLB_ENTRIES - 1)), lo & ~0xfff, hi, host, flags)
  }
  /** Drop one page, and all of a large page that has the address. */
  invalidatePage(lo: number, hi: number): void {
    const { i32 } = this
    const slot = (lo >>> 12) & (TLB_ENTRIES - 1)
    const page = lo & ~0xfff
    const at = this.first + slot * 4
    const write = at + (TLB.WRITE >> 2)
    if (i32[at] === page && i32[at + 1] === hi) this.empty(slot)
    if (i32[write] === page && i32[write + 1] === hi) this.empty(slot | TLB_ENTRIES)
    this.dropLarge(lo, hi)
  }
  /** Drop the write access to a page of memory. */
  protect(host: number): void {
    const { i32 } = this
    this.dropWhere((at, slot) => slot >= TLB_ENTRIES && i32[at + 2] === host)
  }
}

/** Pages that code is fetched from. */
const CODE_PAGES = 1024

/** Translations for fetching code, which generated code knows nothing of: page address → page, as the GPA map numbers it. */
export class CodeTlb extends TranslationCache {
  constructor() {
    super(new Int32Array(CODE_PAGES * 4), 0, CODE_PAGES)
  }
  #slotOf(lo: number): number {
    return ((lo >>> 12) ^ (lo >>> 22)) & (CODE_PAGES - 1)
  }
  protected empty(slot: number): void {
    const at = slot * 4
    // no page begins there
    this.i32[at] = slot === 0 ? 1 : 0
    this.i32[at + 1] = 0
    this.i32[at + 2] = 0
  }
  /** Where the entry of an address is, for {@link CodeTlb.pageAt} and {@link CodeTlb.flagsAt}; -1 when there is none. */
  find(lo: number, hi: number): number {
    const { i32 } = this
    const at = this.#slotOf(lo) * 4
    return i32[at] === (lo & ~0xfff) && i32[at + 1] === hi ? at : -1
  }
  pageAt(at: number): number {
    return this.i32[at + 2] as number
  }
  flagsAt(at: number): number {
    return this.i32[at + 3] as number
  }
  fill(lo: number, hi: number, page: number, flags: number): void {
    this.put(this.#slotOf(lo), lo & ~0xfff, hi, page, flags)
  }
  invalidatePage(lo: number, hi: number): void {
    if (this.find(lo, hi) >= 0) this.empty(this.#slotOf(lo))
    this.dropLarge(lo, hi)
  }
}

/** Bytes of the longest instruction, less one; and the last offset in a page from where no instruction reaches the next. */
const LONGEST = 14
const LAST_WHOLE = 4096 - 15

/** Records of decoded code: RIP → record. */
export class JumpCache extends TranslationCache {
  /** Pages that code has been entered of; a superset. */
  readonly #pages = new Uint8Array(PAGES)
  #used = false

  constructor(i32: Int32Array, offset: number) {
    super(i32, offset, JUMP_ENTRIES)
  }
  protected empty(slot: number): void {
    const { i32 } = this
    const at = this.first + slot * 4
    i32[at] = slot === 0 ? 1 : 0
    i32[at + 1] = 0
    i32[at + 2] = 0
  }
  protected override forget(): void {
    super.forget()
    if (this.#used) this.#pages.fill(0)
    this.#used = false
  }
  fill(lo: number, hi: number, record: number, flags: number): void {
    this.#used = true
    this.#pages[pageNumber(lo, hi)] = 1
    // its first instruction may end in the next page
    if ((lo & 0xfff) > LAST_WHOLE) {
      this.#pages[pageNumber((lo + LONGEST) | 0, lo >>> 0 > 0xffffffff - LONGEST ? hi + 1 : hi)] = 1
      this.expectGlobal()
    }
    this.put(slotOf(lo), lo, hi, record, flags)
  }
  #dropAt(lo: number, hi: number): void {
    const { i32 } = this
    const slot = slotOf(lo)
    const at = this.first + slot * 4
    if (i32[at] === lo && i32[at + 1] === hi) this.drop(slot)
  }
  /** Drop the code of one page, that which an instruction brings into it, and all of a large page that has the address. */
  invalidatePage(lo: number, hi: number): void {
    if (this.#pages[pageNumber(lo, hi)]) {
      const page = lo & ~0xfff
      for (let offset = 0; offset < 4096; offset++) this.#dropAt(page | offset, hi)
      const beforeHigh = page === 0 ? (hi - 1) | 0 : hi
      for (let back = 1; back <= LONGEST; back++) this.#dropAt((page - back) | 0, beforeHigh)
    }
    this.dropLarge(lo, hi)
  }
}

/** Where generated code looks for a RIP: see `jump-entry.ts`. */
function slotOf(lo: number): number {
  return (lo ^ (lo >>> 12)) & (JUMP_ENTRIES - 1)
}
function pageNumber(lo: number, hi: number): number {
  return ((lo >>> 12) ^ (lo >>> 27) ^ hi) & (PAGES - 1)
}
