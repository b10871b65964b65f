// Paging (SDM vol. 3, chapter 4): page walks, access rights, accessed and dirty bits, and the software TLBs that generated code reads.

import { GPA_ACCESS } from '@partita/interface'
import { GPA_CODE, GPA_PAGES, type SoftwareMemory } from './memory.ts'
import { CONTEXT, FILE, JUMP_ENTRIES, SEGMENT, STATE, TLB_ENTRIES } from './state-layout.ts'

/** Bits of CR0, CR4 and EFER that paging looks at. */
export const CR0 = {
  PE: 1, MP: 2, EM: 4, TS: 8, ET: 0x10, NE: 0x20, WP: 0x10000, AM: 0x40000, NW: 0x20000000, CD: 0x40000000, PG: -0x80000000,
} as const
export const CR4 = {
  VME: 1, PVI: 2, TSD: 4, DE: 8, PSE: 0x10, PAE: 0x20, MCE: 0x40, PGE: 0x80, PCE: 0x100, OSFXSR: 0x200, OSXMMEXCPT: 0x400, UMIP: 0x800,
  FSGSBASE: 0x10000, PCIDE: 0x20000, OSXSAVE: 0x40000, SMEP: 0x100000, SMAP: 0x200000,
} as const
export const EFER = { SCE: 1, LME: 0x100, LMA: 0x400, NXE: 0x800 } as const

/** Page-fault error code (SDM vol. 3, 4.7). */
const PF = { P: 1, W: 2, U: 4, RSVD: 8, I: 16 } as const

/** Kinds of access. */
export const ACCESS = { READ: 0, WRITE: 1, EXECUTE: 2 } as const

/** Bits of a paging-structure entry. */
const ENTRY = { P: 1, W: 2, U: 4, A: 0x20, D: 0x40, PS: 0x80, G: 0x100 } as const

/** Supervisor, supervisor with access to user pages, user, user with alignment checks. */
export const CONTEXTS = 4

/** Flags of TLB and jump cache entries: a global page, a part of a page of 2 or 4 MiB, of 1 GiB. */
const GLOBAL = 1
const LARGE = 2
const HUGE = 4
/** Sets of regions and pages are emptied, with all else, when they have so many members. */
const MAXIMUM_REGIONS = 8192

/** Jump targets are kept by RIP, which is a linear address only where this is 0. */
const CS_BASE = STATE.FILE + FILE.SEGMENT_BASE + SEGMENT.CS * 8

/** Numbers of pages and regions of the linear address space. */
const pageKey = (lo: number, hi: number): number => hi * 0x100000 + (lo >>> 12)
const largeKey = (lo: number, hi: number): number => hi * 0x800 + (lo >>> 21)
const hugeKey = (lo: number, hi: number): number => hi * 4 + (lo >>> 30)

/** What a walk finds, in fields to be read at once. */
export class Mmu {
  readonly #memory: SoftwareMemory
  readonly #i32: Int32Array
  readonly #base: number
  readonly #contexts: number

  /** Result of the last {@link Mmu.walk}: GPA page, or -1. */
  page = -1
  /** Error code of a page fault that the last walk found. */
  errorCode = 0
  /** Whether the last walk's page may be written with no further check (dirty set). */
  writable = false
  global = false
  /** Size of the last walk's page: 0 4 KiB, LARGE 2 or 4 MiB, HUGE 1 GiB. */
  pageSize = 0
  /** Reserved bits of the upper half: physical addresses have 40 bits. */
  readonly #reservedHigh = 0x000fff00

  /** Entries filled since the last flush, as offsets, for flushes that cost what was used. */
  readonly #filled: Int32Array = new Int32Array(1 << 15)
  #filledCount = 0
  /** Regions of which large pages have entries, and pages of which code has: what INVLPG need not look for elsewhere. A superset. */
  readonly #largeRegions = new Set<number>()
  readonly #hugeRegions = new Set<number>()
  readonly #codePages = new Set<number>()

  constructor(memory: SoftwareMemory, base: number, contexts: number) {
    this.#memory = memory
    this.#i32 = memory.i32
    this.#base = base >> 2
    this.#contexts = contexts
    this.#clearAll()
  }

  #state(field: number): number {
    return this.#i32[this.#base + (field >> 2)] as number
  }

  /** Whether the present context checks alignment. */
  get checksAlignment(): boolean {
    return this.#state(STATE.CONTEXT) === this.context(3)
  }

  /** Offset of a context. */
  context(number: number): number {
    return this.#contexts + number * CONTEXT.SIZE
  }

  /** The context for the present CPL, CR4.SMAP and EFLAGS.AC. */
  currentContext(): number {
    if (this.#state(STATE.CPL) === 3) {
      // with alignment checks every access takes the slow path: that context is never filled
      return this.context(this.#state(STATE.FLAGS_REST) & 0x40000 && this.#state(STATE.CR0) & CR0.AM ? 3 : 2)
    }
    return this.context(this.#state(STATE.CR4) & CR4.SMAP && !(this.#state(STATE.FLAGS_REST) & 0x40000) ? 0 : 1)
  }

  /** The context for implicit accesses: supervisor rights, and no EFLAGS.AC. */
  supervisorContext(): number {
    return this.context(this.#state(STATE.CR4) & CR4.SMAP ? 0 : 1)
  }

  #clearAll(): void {
    const i32 = this.#i32
    for (let c = 0; c < CONTEXTS; c++) {
      const start = this.context(c)
      for (let i = 0; i < TLB_ENTRIES; i++) {
        this.#invalidate((start + CONTEXT.TLB_READ + i * 16) >> 2, i)
        this.#invalidate((start + CONTEXT.TLB_WRITE + i * 16) >> 2, i)
      }
      for (let i = 0; i < JUMP_ENTRIES; i++) {
        const at = (start + CONTEXT.JUMP + i * 16) >> 2
        // a RIP whose place in the cache is another
        i32[at] = i === 0 ? 1 : 0
        i32[at + 1] = 0
        i32[at + 2] = 0
      }
    }
    this.#filledCount = 0
    this.#largeRegions.clear()
    this.#hugeRegions.clear()
    this.#codePages.clear()
  }
  /** A page whose place in the TLB is another. */
  #invalidate(at: number, index: number): void {
    this.#i32[at] = ((index + 1) & (TLB_ENTRIES - 1)) << 12
    this.#i32[at + 1] = 0
    this.#i32[at + 2] = 0
  }

  #remember(offset: number): void {
    if (this.#filledCount < this.#filled.length) this.#filled[this.#filledCount++] = offset
    else this.#filledCount = this.#filled.length + 1
  }

  /** Forget all translations and jump targets. Global ones stay unless `all`. */
  flush(all: boolean): void {
    if (this.#filledCount > this.#filled.length) {
      this.#clearAll()
      return
    }
    const filled = this.#filled
    let kept = 0
    for (let n = 0; n < this.#filledCount; n++) {
      const offset = filled[n] as number
      const at = offset >> 2
      if (!all && (this.#i32[at + 3] as number) & GLOBAL) {
        filled[kept++] = offset
        continue
      }
      this.#drop(offset)
    }
    this.#filledCount = kept
  }
  #drop(offset: number): void {
    const within = (offset - this.#contexts) % CONTEXT.SIZE
    const at = offset >> 2
    if (within >= CONTEXT.JUMP) {
      this.#i32[at] = within === CONTEXT.JUMP ? 1 : 0
      this.#i32[at + 1] = 0
      this.#i32[at + 2] = 0
      this.#i32[at + 3] = 0
    } else {
      this.#invalidate(at, (within >> 4) & (TLB_ENTRIES - 1))
      this.#i32[at + 3] = 0
    }
  }

  /**
   * INVLPG: forget one page in all contexts, and the jump targets in it. Of a large page that has the address, all goes: it was entered in pieces.
   */
  invalidatePage(lo: number, hi: number): void {
    const index = (lo >>> 12) & (TLB_ENTRIES - 1)
    const page = lo & ~0xfff
    const i32 = this.#i32
    for (let c = 0; c < CONTEXTS; c++) {
      const at = (this.context(c) + index * 16) >> 2
      if (i32[at] === page && i32[at + 1] === hi) this.#invalidate(at, index)
      const write = at + (CONTEXT.TLB_WRITE >> 2)
      if (i32[write] === page && i32[write + 1] === hi) this.#invalidate(write, index)
    }
    if (this.#state(CS_BASE) | this.#state(CS_BASE + 4)) this.flushJumps()
    else if (this.#codePages.delete(pageKey(lo, hi))) {
      this.#dropJumps((at) => ((i32[at] as number) & ~0xfff) === page && i32[at + 1] === hi)
    }
    if (this.#largeRegions.has(largeKey(lo, hi))) this.#dropRegion(LARGE, 21, lo, hi)
    if (this.#hugeRegions.has(hugeKey(lo, hi))) this.#dropRegion(HUGE, 30, lo, hi)
  }
  #dropRegion(size: number, shift: number, lo: number, hi: number): void {
    if (this.#filledCount > this.#filled.length) {
      this.#clearAll()
      return
    }
    const i32 = this.#i32
    const filled = this.#filled
    let kept = 0
    for (let n = 0; n < this.#filledCount; n++) {
      const offset = filled[n] as number
      const at = offset >> 2
      if ((i32[at + 3] as number) & size && i32[at + 1] === hi && (i32[at] as number) >>> shift === lo >>> shift) this.#drop(offset)
      else filled[kept++] = offset
    }
    this.#filledCount = kept
  }
  /** The flags of a new entry for the last walk's page; notes where it is. */
  #entryFlags(lo: number, hi: number): number {
    if (this.pageSize === LARGE) {
      if (this.#largeRegions.size >= MAXIMUM_REGIONS) this.#clearAll()
      this.#largeRegions.add(largeKey(lo, hi))
    } else if (this.pageSize === HUGE) this.#hugeRegions.add(hugeKey(lo, hi))
    return (this.global ? GLOBAL : 0) | this.pageSize
  }
  #dropJumps(which: (at: number) => boolean): void {
    let kept = 0
    if (this.#filledCount > this.#filled.length) {
      this.#clearAll()
      return
    }
    for (let n = 0; n < this.#filledCount; n++) {
      const offset = this.#filled[n] as number
      if ((offset - this.#contexts) % CONTEXT.SIZE >= CONTEXT.JUMP && which(offset >> 2)) this.#drop(offset)
      else this.#filled[kept++] = offset
    }
    this.#filledCount = kept
  }
  /** Forget all jump targets: the code mode or the code cache changed. */
  flushJumps(): void {
    this.#dropJumps(() => true)
  }
  /** Forget the direct write access to a GPA page that now holds code, or all access when the map changed. */
  protectPage(gpaPage: number): void {
    const entry = this.#memory.gpaMap[gpaPage] as number
    const host = (entry & ~0xfff) | 0
    const i32 = this.#i32
    for (let n = 0; n < Math.min(this.#filledCount, this.#filled.length); n++) {
      const offset = this.#filled[n] as number
      const within = (offset - this.#contexts) % CONTEXT.SIZE
      if (within >= CONTEXT.TLB_WRITE && within < CONTEXT.JUMP && i32[(offset >> 2) + 2] === host) {
        this.#invalidate(offset >> 2, (within >> 4) & (TLB_ENTRIES - 1))
      }
    }
    if (this.#filledCount > this.#filled.length) this.#clearAll()
  }

  /** Keep every access on the slow path: data breakpoints are enabled. */
  watching = false

  /** Enter a translation of the last walk in a context. */
  fill(lo: number, hi: number, context: number, access: number): void {
    if (this.watching || context === this.context(3)) return
    const entry = this.#memory.gpaMap[this.page] as number
    const i32 = this.#i32
    const index = (lo >>> 12) & (TLB_ENTRIES - 1)
    const flags = this.#entryFlags(lo, hi)
    const put = (tlb: number): void => {
      const offset = context + tlb + index * 16
      const at = offset >> 2
      const empty = i32[at] === ((index + 1) & (TLB_ENTRIES - 1)) << 12 && i32[at + 2] === 0
      i32[at] = lo & ~0xfff
      i32[at + 1] = hi
      i32[at + 2] = entry & ~0xfff
      i32[at + 3] = flags
      if (empty) this.#remember(offset)
    }
    if (entry & GPA_ACCESS.READ) put(CONTEXT.TLB_READ)
    if (access === ACCESS.WRITE && (entry & (GPA_ACCESS.WRITE | GPA_CODE)) === GPA_ACCESS.WRITE) put(CONTEXT.TLB_WRITE)
  }

  /** Enter a jump target in a context. */
  fillJump(lo: number, hi: number, context: number, record: number): void {
    const i32 = this.#i32
    if (this.#codePages.size >= MAXIMUM_REGIONS) this.#clearAll()
    this.#codePages.add(pageKey(lo, hi))
    const flags = this.#entryFlags(lo, hi)
    const offset = context + CONTEXT.JUMP + ((lo ^ (lo >>> 12)) & (JUMP_ENTRIES - 1)) * 16
    const at = offset >> 2
    const empty = i32[at + 2] === 0
    i32[at] = lo
    i32[at + 1] = hi
    i32[at + 2] = record
    i32[at + 3] = flags
    if (empty) this.#remember(offset)
  }

  /** The host offset of a paging-structure entry, or -1. */
  #entryAt(lo: number, hi: number, index: number, size: number): number {
    if (hi & 0xfffff) return -1
    const page = lo >>> 12
    if (page >= GPA_PAGES) return -1
    const entry = this.#memory.gpaMap[page] as number
    if ((entry & GPA_ACCESS.READ) === 0) return -1
    return (((entry & ~0xfff) >>> 0) + index * size) >>> 2
  }
  /** Set bits of a paging-structure entry. */
  #mark(at: number, bits: number): void {
    this.#i32[at] = (this.#i32[at] as number) | bits
  }

  /**
   * Translate a linear address (halves `lo`, `hi`) for an access by `user` code or with supervisor rights, `explicitAc` allowing user pages under SMAP.
   * Returns true with {@link Mmu.page} set, or false with {@link Mmu.errorCode} of the page fault.
   */
  walk(lo: number, hi: number, access: number, user: boolean, allowUserData: boolean): boolean {
    const cr0 = this.#state(STATE.CR0)
    this.global = false
    this.pageSize = 0
    if (!(cr0 & CR0.PG)) {
      this.page = lo >>> 12
      this.writable = true
      return true
    }
    const cr4 = this.#state(STATE.CR4)
    const efer = this.#state(STATE.EFER)
    const noExecute = (efer & EFER.NXE) !== 0
    const fault =
      (access === ACCESS.WRITE ? PF.W : 0) |
      (user ? PF.U : 0) |
      (access === ACCESS.EXECUTE && (noExecute || cr4 & CR4.SMEP) ? PF.I : 0)
    const i32 = this.#i32
    const reservedHigh = this.#reservedHigh | (noExecute ? 0 : 0x80000000)

    let rights = ENTRY.W | ENTRY.U
    let executeDisable = 0
    let leafAt: number
    let leaf: number
    let page: number
    if (cr4 & CR4.PAE) {
      const long = (efer & EFER.LMA) !== 0
      let tableLo = this.#state(STATE.CR3)
      let tableHi = this.#state(STATE.CR3 + 4)
      let level: number
      if (long) {
        level = 4
        tableHi &= 0x000fffff
      } else {
        // the four PDPTEs; their W/U bits are reserved and do not take part
        const at = this.#entryAt(tableLo & ~0x1f, 0, 0, 8)
        const pdpte = at < 0 ? -1 : at + (((tableLo & 0xfe0) >> 2) & 0x3ff) + (lo >>> 30) * 2
        if (pdpte < 0 || !((i32[pdpte] as number) & ENTRY.P)) {
          this.errorCode = fault
          return false
        }
        tableLo = i32[pdpte] as number
        tableHi = i32[pdpte + 1] as number
        level = 2
      }
      for (;;) {
        const index =
          level === 4 ? (hi >>> 7) & 0x1ff
          : level === 3 ? ((hi << 2) | (lo >>> 30)) & 0x1ff
          : level === 2 ? (lo >>> 21) & 0x1ff
          : (lo >>> 12) & 0x1ff
        const at = this.#entryAt(tableLo & ~0xfff, tableHi, index, 8)
        const entry = at < 0 ? 0 : (i32[at] as number)
        const entryHi = at < 0 ? 0 : (i32[at + 1] as number)
        if (!(entry & ENTRY.P)) {
          this.errorCode = fault
          return false
        }
        const large = (entry & ENTRY.PS) !== 0 && (level === 2 || level === 3)
        if (
          entryHi & reservedHigh ||
          (level === 4 && entry & ENTRY.PS) ||
          (large && entry & (level === 2 ? 0x001fe000 : 0x3fffe000)) ||
          (!long && entryHi & 0x7ff00000)
        ) {
          this.errorCode = fault | PF.P | PF.RSVD
          return false
        }
        rights &= entry
        executeDisable |= entryHi
        if (level === 1 || large) {
          if (large) this.pageSize = level === 2 ? LARGE : HUGE
          leafAt = at
          leaf = entry
          page =
            level === 1 ? (entry >>> 12) | ((entryHi & 0xff) << 20)
            : level === 2 ? ((entry >>> 21) << 9) | ((entryHi & 0xff) << 20) | ((lo >>> 12) & 0x1ff)
            : ((entry >>> 30) << 18) | ((entryHi & 0xff) << 20) | ((lo >>> 12) & 0x3ffff)
          break
        }
        if (!(entry & ENTRY.A)) this.#mark(at, ENTRY.A)
        tableLo = entry
        tableHi = entryHi & 0x000fffff
        level--
      }
    } else {
      const at = this.#entryAt(this.#state(STATE.CR3) & ~0xfff, 0, lo >>> 22, 4)
      const directory = at < 0 ? 0 : (i32[at] as number)
      if (!(directory & ENTRY.P)) {
        this.errorCode = fault
        return false
      }
      rights &= directory
      if (directory & ENTRY.PS && cr4 & CR4.PSE) {
        // PSE-36 with 40 bits: 20:13 are address bits 39:32, 21 is reserved
        if (directory & 0x200000) {
          this.errorCode = fault | PF.P | PF.RSVD
          return false
        }
        this.pageSize = LARGE
        leafAt = at
        leaf = directory
        page = ((directory >>> 22) << 10) | ((lo >>> 12) & 0x3ff) | (((directory >>> 13) & 0xff) << 20)
      } else {
        if (!(directory & ENTRY.A)) this.#mark(at, ENTRY.A)
        leafAt = this.#entryAt(directory & ~0xfff, 0, (lo >>> 12) & 0x3ff, 4)
        leaf = leafAt < 0 ? 0 : (i32[leafAt] as number)
        if (!(leaf & ENTRY.P)) {
          this.errorCode = fault
          return false
        }
        rights &= leaf
        page = leaf >>> 12
      }
    }

    // rights (SDM vol. 3, 4.6.1)
    let allowed: boolean
    const userPage = (rights & ENTRY.U) !== 0
    if (user) {
      allowed = userPage && (access !== ACCESS.WRITE || (rights & ENTRY.W) !== 0)
    } else {
      allowed = access !== ACCESS.WRITE || (rights & ENTRY.W) !== 0 || !(cr0 & CR0.WP)
      if (userPage) {
        if (access === ACCESS.EXECUTE) {
          if (cr4 & CR4.SMEP) allowed = false
        } else if (cr4 & CR4.SMAP && !allowUserData) allowed = false
      }
    }
    if (access === ACCESS.EXECUTE && noExecute && executeDisable < 0) allowed = false
    if (!allowed) {
      this.errorCode = fault | PF.P
      return false
    }
    const wanted = ENTRY.A | (access === ACCESS.WRITE ? ENTRY.D : 0)
    if ((leaf & wanted) !== wanted) this.#mark(leafAt, wanted)
    this.page = page < GPA_PAGES ? page : GPA_PAGES
    this.writable = (rights & ENTRY.W) !== 0
    this.global = (leaf & ENTRY.G) !== 0 && (cr4 & CR4.PGE) !== 0
    return true
  }
}
