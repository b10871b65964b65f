// Paging (SDM vol. 3, chapter 4): page walks, access rights, accessed and dirty bits; which of the caches that generated code reads is in use, and what
// invalidates their entries (4.10.4).

import { GPA_ACCESS } from '@partita/interface'
import { GPA_CODE, GPA_PAGES, MAP_PAGES, type SoftwareMemory } from './memory.ts'
import { CACHES, CONTEXT_SETS, FILE, SEGMENT, STATE, STATE_AREA } from './state-layout.ts'
import { CodeTlb, ENTRY, JumpCache, TlbCache } from './translation-cache.ts'

/** Bits of CR0, CR4 and EFER that paging looks at. */
export const CR0 = {
  PE: 1,
  MP: 2,
  EM: 4,
  TS: 8,
  ET: 0x10,
  NE: 0x20,
  WP: 0x10000,
  AM: 0x40000,
  NW: 0x20000000,
  CD: 0x40000000,
  PG: -0x80000000,
} as const
export const CR4 = {
  VME: 1,
  PVI: 2,
  TSD: 4,
  DE: 8,
  PSE: 0x10,
  PAE: 0x20,
  MCE: 0x40,
  PGE: 0x80,
  PCE: 0x100,
  OSFXSR: 0x200,
  OSXMMEXCPT: 0x400,
  UMIP: 0x800,
  FSGSBASE: 0x10000,
  PCIDE: 0x20000,
  OSXSAVE: 0x40000,
  SMEP: 0x100000,
  SMAP: 0x200000,
} as const
export const EFER = { SCE: 1, LME: 0x100, LMA: 0x400, NXE: 0x800 } as const

/** Page-fault error code (SDM vol. 3, 4.7). */
const PF = { P: 1, W: 2, U: 4, RSVD: 8, I: 16 } as const

/** Kinds of access. */
export const ACCESS = { READ: 0, WRITE: 1, EXECUTE: 2 } as const

/** Bits of a paging-structure entry. */
const PTE = { P: 1, W: 2, U: 4, A: 0x20, D: 0x40, PS: 0x80, G: 0x100 } as const

/** Address line 20 in a page number. */
const ADDRESS_LINE_20 = 1 << 8

/** Jump targets are kept by RIP, which is a linear address only where this is 0. */
const CS_BASE = STATE.FILE + FILE.SEGMENT_BASE + SEGMENT.CS * 8

/** Translations of one process context (SDM vol. 3, 4.10.1) that those of others are kept beside. */
interface ContextSet {
  /** -1: none. */
  pcid: number
  /** When it was selected last. */
  used: number
  readonly access: TlbCache
  readonly user: TlbCache
  readonly jumps: JumpCache
  readonly code: CodeTlb
}

/** What a walk finds, in fields to be read at once. */
export class Mmu {
  readonly #memory: SoftwareMemory
  readonly #i32: Int32Array
  readonly #base: number

  /** Result of the last {@link Mmu.walk}: GPA page as {@link SoftwareMemory.mapPage} numbers it. */
  page = -1
  /** Error code of a page fault that the last walk found. */
  errorCode = 0
  /** Whether the last walk's page may be written with no further check (dirty set). */
  writable = false
  global = false
  /** Size of the last walk's page: 0 4 KiB, ENTRY.LARGE 2 or 4 MiB, ENTRY.HUGE 1 GiB. */
  pageSize = 0
  /** Reserved bits of the upper half: physical addresses have 40 bits. */
  readonly #reservedHigh = 0x000fff00

  readonly #supervisor: TlbCache
  readonly #supervisorJumps: JumpCache
  readonly #supervisorCode = new CodeTlb()
  readonly #sets: readonly ContextSet[]
  /** The set of the present PCID. */
  #set: ContextSet
  #time = 0
  /** A TLB that never holds anything: with alignment checks every access takes the slow path. */
  readonly #unused: number
  /** A bit for each GPA page that a TLB may allow writes to. */
  readonly #written: Int32Array = new Int32Array(MAP_PAGES / 32)

  constructor(memory: SoftwareMemory, base: number) {
    this.#memory = memory
    const { i32 } = memory
    this.#i32 = i32
    this.#base = base >> 2
    const caches = base + STATE_AREA
    this.#supervisor = new TlbCache(i32, caches + CACHES.SUPERVISOR)
    this.#supervisorJumps = new JumpCache(i32, caches + CACHES.SUPERVISOR_JUMPS)
    this.#unused = new TlbCache(i32, caches + CACHES.UNUSED).offset
    this.supervisor = this.#supervisor.offset
    this.#sets = Array.from({ length: CONTEXT_SETS }, (_, n) => {
      const set = caches + CACHES.SETS + n * CACHES.SET.SIZE
      return {
        pcid: -1,
        used: 0,
        access: new TlbCache(i32, set + CACHES.SET.ACCESS),
        user: new TlbCache(i32, set + CACHES.SET.USER),
        jumps: new JumpCache(i32, set + CACHES.SET.USER_JUMPS),
        code: new CodeTlb(),
      }
    })
    this.#set = this.#sets[0] as ContextSet
    this.#set.pcid = 0
  }

  #state(field: number): number {
    return this.#i32[this.#base + (field >> 2)] as number
  }
  #setState(field: number, value: number): void {
    this.#i32[this.#base + (field >> 2)] = value
  }

  /** Offset of the TLB for implicit accesses: supervisor rights, and no EFLAGS.AC. */
  readonly supervisor: number

  /** Whether every access is checked for alignment now. */
  get checksAlignment(): boolean {
    return this.#state(STATE.CONTEXT) === this.#unused
  }

  /** Choose the caches for the present PCID, CPL, CR4.SMAP, CR0.AM and EFLAGS.AC. */
  select(): void {
    const { access, user, jumps } = this.#set
    const supervisor = this.#supervisor.offset
    const privileged = this.#state(STATE.CR4) & CR4.SMAP ? access.offset : supervisor
    this.#setState(STATE.CONTEXT_ACCESS, privileged)
    this.#setState(STATE.CONTEXT_USER, user.offset)
    this.#setState(STATE.JUMPS_USER, jumps.offset)
    const check = this.#state(STATE.FLAGS_REST) & 0x40000
    if (this.#state(STATE.CPL) === 3) {
      this.#setState(STATE.CONTEXT, check && this.#state(STATE.CR0) & CR0.AM ? this.#unused : user.offset)
      this.#setState(STATE.JUMPS, jumps.offset)
    } else {
      this.#setState(STATE.CONTEXT, check ? privileged : supervisor)
      this.#setState(STATE.JUMPS, this.#supervisorJumps.offset)
    }
  }

  // --- invalidation (SDM vol. 3, 4.10.4)

  #flushSet(set: ContextSet, all: boolean): void {
    if (all) {
      set.access.flushAll()
      set.user.flushAll()
      set.jumps.flushAll()
      set.code.flushAll()
    } else {
      set.access.flushLocal()
      set.user.flushLocal()
      set.jumps.flushLocal()
      set.code.flushLocal()
    }
  }
  /** Forget all translations and jump targets of all PCIDs. Global ones stay unless `all`. */
  flush(all: boolean): void {
    for (const set of this.#sets) if (set.pcid >= 0) this.#flushSet(set, all)
    if (!all) {
      this.#flushSupervisor()
      return
    }
    this.#supervisor.flushAll()
    this.#supervisorJumps.flushAll()
    this.#supervisorCode.flushAll()
    // CR3 or CR4.PCIDE may have changed
    for (const set of this.#sets) set.pcid = -1
    this.#set.pcid = this.#state(STATE.CR4) & CR4.PCIDE ? this.#state(STATE.CR3) & 0xfff : 0
  }
  #flushSupervisor(): void {
    this.#supervisor.flushLocal()
    this.#supervisorJumps.flushLocal()
    this.#supervisorCode.flushLocal()
  }
  /** Forget the translations of one PCID but for global ones: INVPCID type 1. */
  flushContext(pcid: number): void {
    if (this.#set.pcid === pcid) this.#flushSupervisor()
    for (const set of this.#sets) if (set.pcid === pcid) this.#flushSet(set, false)
  }
  /** MOV CR3: `pcid` is 0 without CR4.PCIDE; `keep` when the translations of the PCID are still good. */
  switchContext(pcid: number, keep: boolean): void {
    // the supervisor's local translations are those of the present PCID
    if (!keep || pcid !== this.#set.pcid) this.#flushSupervisor()
    if (pcid !== this.#set.pcid) this.#set = this.#find(pcid)
    if (!keep) this.#flushSet(this.#set, false)
    this.#set.used = ++this.#time
    this.select()
  }
  /** The set of a PCID: the one that was not used for the longest time, emptied, when there is none. */
  #find(pcid: number): ContextSet {
    let oldest = this.#set
    for (const set of this.#sets) {
      if (set.pcid === pcid) return set
      if (set.used < oldest.used) oldest = set
    }
    if (oldest.pcid >= 0) this.#flushSet(oldest, true)
    oldest.pcid = pcid
    return oldest
  }

  /**
   * INVLPG and INVPCID type 0: forget one page for a PCID, the present one unless it is given, and global translations of it for all, and the jump targets in it.
   * Of a large page that has the address, all goes: it was entered in pieces.
   */
  invalidatePage(lo: number, hi: number, pcid: number = this.#set.pcid): void {
    const based = (this.#state(CS_BASE) | this.#state(CS_BASE + 4)) !== 0
    if (based) this.flushJumps()
    this.#supervisor.invalidatePage(lo, hi)
    this.#supervisorJumps.invalidatePage(lo, hi)
    this.#supervisorCode.invalidatePage(lo, hi)
    for (const set of this.#sets) {
      if (set.pcid < 0) continue
      const own = set.pcid === pcid
      if (own || set.access.mayHaveGlobal(hi)) set.access.invalidatePage(lo, hi)
      if (own || set.user.mayHaveGlobal(hi)) set.user.invalidatePage(lo, hi)
      if (own || set.jumps.mayHaveGlobal(hi)) set.jumps.invalidatePage(lo, hi)
      if (own || set.code.mayHaveGlobal(hi)) set.code.invalidatePage(lo, hi)
    }
  }
  /** Forget all jump targets: the code mode or the code cache changed. */
  flushJumps(): void {
    this.#supervisorJumps.flushAll()
    for (const { pcid, jumps } of this.#sets) if (pcid >= 0) jumps.flushAll()
  }
  /** Forget the direct write access to a GPA page that now holds code. */
  protectPage(gpaPage: number): void {
    const bit = 1 << (gpaPage & 31)
    const word = this.#written[gpaPage >>> 5] as number
    if (!(word & bit)) return
    this.#written[gpaPage >>> 5] = word & ~bit
    const host = ((this.#memory.gpaMap[gpaPage] as number) & ~0xfff) | 0
    this.#supervisor.protect(host)
    for (const { pcid, access, user } of this.#sets) {
      if (pcid < 0) continue
      access.protect(host)
      user.protect(host)
    }
  }

  /** Translations that no TLB had. */
  walks = 0

  /** Keep every access on the slow path: data breakpoints are enabled. */
  watching = false

  /** Bits of a page number that reach the bus: all, or all but address line 20. */
  #pageMask = -1

  /** The A20M# pin (SDM vol. 3, 23.33.1 has why PCs have it). */
  setAddressLine20(connected: boolean): void {
    const mask = connected ? -1 : ~ADDRESS_LINE_20
    if (mask === this.#pageMask) return
    this.#pageMask = mask
    this.flush(true)
  }

  /** The flags of an entry for the last walk's page. */
  #entryFlags(): number {
    return (this.global ? ENTRY.GLOBAL : 0) | this.pageSize
  }
  /** Enter the last walk's page in the TLB in use, or in that of implicit accesses. */
  fill(lo: number, hi: number, access: number, implicit: boolean): void {
    if (this.watching) return
    const context = implicit ? this.supervisor : this.#state(STATE.CONTEXT)
    const tlb =
      context === this.supervisor
        ? this.#supervisor
        : context === this.#set.user.offset
          ? this.#set.user
          : context === this.#set.access.offset
            ? this.#set.access
            : undefined
    if (!tlb) return
    const { page } = this
    const entry = this.#memory.gpaMap[page] as number
    const flags = this.#entryFlags()
    if (entry & GPA_ACCESS.READ) tlb.fillRead(lo, hi, entry & ~0xfff, flags)
    if (access === ACCESS.WRITE && (entry & (GPA_ACCESS.WRITE | GPA_CODE)) === GPA_ACCESS.WRITE) {
      tlb.fillWrite(lo, hi, entry & ~0xfff, flags)
      this.#written[page >>> 5] = (this.#written[page >>> 5] as number) | (1 << (page & 31))
    }
  }

  /** {@link Mmu.walk} for fetching code at the present privilege, without the walk where it was made before. */
  walkCode(lo: number, hi: number): boolean {
    const user = this.#state(STATE.CPL) === 3
    const code = user ? this.#set.code : this.#supervisorCode
    const at = code.find(lo, hi)
    if (at >= 0) {
      const flags = code.flagsAt(at)
      this.page = code.pageAt(at)
      this.global = (flags & ENTRY.GLOBAL) !== 0
      this.pageSize = flags & (ENTRY.LARGE | ENTRY.HUGE)
      return true
    }
    if (!this.walk(lo, hi, ACCESS.EXECUTE, user, false)) return false
    code.fill(lo, hi, this.page, this.#entryFlags())
    return true
  }

  /** Enter a jump target of the last walk's page. */
  fillJump(lo: number, hi: number, record: number): void {
    const jumps = this.#state(STATE.CPL) === 3 ? this.#set.jumps : this.#supervisorJumps
    jumps.fill(lo, hi, record, this.#entryFlags())
  }

  /** The host offset of a paging-structure entry, or -1. */
  #entryAt(lo: number, hi: number, index: number, size: number): number {
    const page = (lo >>> 12) & this.#pageMask
    const entry =
      this.#memory.gpaMap[hi & 0xfffff ? this.#memory.mapPage(page + (hi & 0xfffff) * GPA_PAGES) : page] ?? 0
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
    this.walks++
    const cr0 = this.#state(STATE.CR0)
    this.global = false
    this.pageSize = 0
    if (!(cr0 & CR0.PG)) {
      this.page = (lo >>> 12) & this.#pageMask
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

    let rights = PTE.W | PTE.U
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
        if (pdpte < 0 || !((i32[pdpte] as number) & PTE.P)) {
          this.errorCode = fault
          return false
        }
        tableLo = i32[pdpte] as number
        tableHi = i32[pdpte + 1] as number
        level = 2
      }
      for (;;) {
        const index =
          level === 4
            ? (hi >>> 7) & 0x1ff
            : level === 3
              ? ((hi << 2) | (lo >>> 30)) & 0x1ff
              : level === 2
                ? (lo >>> 21) & 0x1ff
                : (lo >>> 12) & 0x1ff
        const at = this.#entryAt(tableLo & ~0xfff, tableHi, index, 8)
        const entry = at < 0 ? 0 : (i32[at] as number)
        const entryHi = at < 0 ? 0 : (i32[at + 1] as number)
        if (!(entry & PTE.P)) {
          this.errorCode = fault
          return false
        }
        const large = (entry & PTE.PS) !== 0 && (level === 2 || level === 3)
        if (
          entryHi & reservedHigh ||
          (level === 4 && entry & PTE.PS) ||
          (large && entry & (level === 2 ? 0x001fe000 : 0x3fffe000)) ||
          (!long && entryHi & 0x7ff00000)
        ) {
          this.errorCode = fault | PF.P | PF.RSVD
          return false
        }
        rights &= entry
        executeDisable |= entryHi
        if (level === 1 || large) {
          if (large) this.pageSize = level === 2 ? ENTRY.LARGE : ENTRY.HUGE
          leafAt = at
          leaf = entry
          page =
            level === 1
              ? (entry >>> 12) | ((entryHi & 0xff) << 20)
              : level === 2
                ? ((entry >>> 21) << 9) | ((entryHi & 0xff) << 20) | ((lo >>> 12) & 0x1ff)
                : ((entry >>> 30) << 18) | ((entryHi & 0xff) << 20) | ((lo >>> 12) & 0x3ffff)
          break
        }
        if (!(entry & PTE.A)) this.#mark(at, PTE.A)
        tableLo = entry
        tableHi = entryHi & 0x000fffff
        level--
      }
    } else {
      const at = this.#entryAt(this.#state(STATE.CR3) & ~0xfff, 0, lo >>> 22, 4)
      const directory = at < 0 ? 0 : (i32[at] as number)
      if (!(directory & PTE.P)) {
        this.errorCode = fault
        return false
      }
      rights &= directory
      if (directory & PTE.PS && cr4 & CR4.PSE) {
        // PSE-36 with 40 bits: 20:13 are address bits 39:32, 21 is reserved
        if (directory & 0x200000) {
          this.errorCode = fault | PF.P | PF.RSVD
          return false
        }
        this.pageSize = ENTRY.LARGE
        leafAt = at
        leaf = directory
        page = ((directory >>> 22) << 10) | ((lo >>> 12) & 0x3ff) | (((directory >>> 13) & 0xff) << 20)
      } else {
        if (!(directory & PTE.A)) this.#mark(at, PTE.A)
        leafAt = this.#entryAt(directory & ~0xfff, 0, (lo >>> 12) & 0x3ff, 4)
        leaf = leafAt < 0 ? 0 : (i32[leafAt] as number)
        if (!(leaf & PTE.P)) {
          this.errorCode = fault
          return false
        }
        rights &= leaf
        page = leaf >>> 12
      }
    }

    // rights (SDM vol. 3, 4.6.1)
    let allowed: boolean
    const userPage = (rights & PTE.U) !== 0
    if (user) {
      allowed = userPage && (access !== ACCESS.WRITE || (rights & PTE.W) !== 0)
    } else {
      allowed = access !== ACCESS.WRITE || (rights & PTE.W) !== 0 || !(cr0 & CR0.WP)
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
    const wanted = PTE.A | (access === ACCESS.WRITE ? PTE.D : 0)
    if ((leaf & wanted) !== wanted) this.#mark(leafAt, wanted)
    page &= this.#pageMask
    this.page = page < GPA_PAGES ? page : this.#memory.mapPage(page)
    this.writable = (rights & PTE.W) !== 0
    this.global = (leaf & PTE.G) !== 0 && (cr4 & CR4.PGE) !== 0
    return true
  }
}
