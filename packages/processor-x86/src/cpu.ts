// The state of one logical processor and its access to memory: what system instructions, exception delivery and generated code's slow paths are written with.

import { GPA_ACCESS, type Intercepts } from '@partita/interface'
import type { CodeCache } from './code-cache.ts'
import { GuestFault } from './cpu-error.ts'
import { MODE, type Mode } from './decoder/mode.ts'
import { VECTOR } from './instruction/emitter.ts'
import type { LocalApic } from './local-apic.ts'
import { GPA_CODE, type SoftwareMemory } from './memory.ts'
import { ACCESS, CR0, CR4, EFER, Mmu } from './mmu.ts'
import type { ModelSpecificRegisters } from './msr.ts'
import { FILE, RECORD, REFUSED, SEGMENT, STATE, STATUS, TLB, TLB_ENTRIES } from './state-layout.ts'

/** EFLAGS bits (SDM vol. 1, 3.4.3). */
export const FLAG = {
  CF: 1,
  FIXED: 2,
  PF: 4,
  AF: 0x10,
  ZF: 0x40,
  SF: 0x80,
  TF: 0x100,
  IF: 0x200,
  DF: 0x400,
  OF: 0x800,
  IOPL: 0x3000,
  NT: 0x4000,
  RF: 0x10000,
  VM: 0x20000,
  AC: 0x40000,
  VIF: 0x80000,
  VIP: 0x100000,
  ID: 0x200000,
} as const
const STATUS_FLAGS = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.OF
/** What STATE.FLAGS_REST holds. */
export const REST_FLAGS: number =
  FLAG.TF | FLAG.IF | FLAG.IOPL | FLAG.NT | FLAG.RF | FLAG.VM | FLAG.AC | FLAG.VIF | FLAG.VIP | FLAG.ID

const PAGE = 4096

/** Why the processor is not executing. */
export const ACTIVITY = { RUNNING: 0, HALTED: 1, WAIT_FOR_SIPI: 2, SHUTDOWN: 3 } as const
export type Activity = (typeof ACTIVITY)[keyof typeof ACTIVITY]

/** Takes a linear address apart. */
const halves: BigUint64Array<ArrayBuffer> = new BigUint64Array(1)
const words: Int32Array = new Int32Array(halves.buffer)

export class Cpu {
  readonly index: number
  readonly memory: SoftwareMemory
  /** Offset of the state area. */
  readonly base: number
  readonly u8: Uint8Array
  readonly i32: Int32Array
  readonly u32: Uint32Array
  readonly i64: BigInt64Array
  readonly u64: BigUint64Array
  readonly view: DataView
  readonly mmu: Mmu
  readonly intercepts: Intercepts
  /** Set by the virtual processor when it is put together. */
  code!: CodeCache
  apic!: LocalApic
  msrs!: ModelSpecificRegisters

  activity: Activity = ACTIVITY.RUNNING
  /** Interrupts are held off until the next instruction has completed (STI, MOV SS, POP SS). */
  interruptShadow = false
  /** The instruction took a software interrupt or cleared TF as SYSCALL does: no single-step trap follows it. */
  trapSuppressed = false
  /** NMIs are blocked until IRET. */
  nmiBlocked = false
  /** Instructions taken from the budget to make `run` return early. */
  stolenBudget = 0
  /** The processor waits for another one: its turn ends. */
  turnOver = false

  readonly #fault = new GuestFault()
  /** A non-canonical address was used: #GP or #SS by the segment of the instruction. */
  nonCanonical = false
  readonly #scratch: number

  constructor(index: number, memory: SoftwareMemory, base: number, intercepts: Intercepts) {
    this.index = index
    this.memory = memory
    this.base = base
    this.u8 = memory.u8
    this.i32 = memory.i32
    this.u32 = memory.u32
    this.i64 = memory.i64
    this.u64 = memory.u64
    this.view = memory.view
    this.intercepts = intercepts
    this.mmu = new Mmu(memory, base)
    this.#scratch = base + STATE.SCRATCH
  }

  // --- state fields

  get32(field: number): number {
    return this.i32[(this.base + field) >> 2] as number
  }
  set32(field: number, value: number): void {
    this.i32[(this.base + field) >> 2] = value
  }
  get64(field: number): bigint {
    return this.u64[(this.base + field) >> 3] as bigint
  }
  set64(field: number, value: bigint): void {
    this.u64[(this.base + field) >> 3] = value
  }
  gpr(register: number): bigint {
    return this.get64(STATE.FILE + register * 8)
  }
  setGpr(register: number, value: bigint): void {
    this.set64(STATE.FILE + register * 8, value)
  }
  /** Low 32 bits of a general register, unsigned. */
  gpr32(register: number): number {
    return this.u32[(this.base + STATE.FILE + register * 8) >> 2] as number
  }
  /** Write 32 bits, clearing the upper half. */
  setGpr32(register: number, value: number): void {
    const at = (this.base + STATE.FILE + register * 8) >> 2
    this.i32[at] = value
    this.i32[at + 1] = 0
  }
  get cpl(): number {
    return this.get32(STATE.CPL)
  }
  get mode(): Mode {
    return this.get32(STATE.MODE) as Mode
  }
  /** EFER.LMA: IA-32e mode, compatibility mode included. */
  get longMode(): boolean {
    return (this.get32(STATE.EFER) & EFER.LMA) !== 0
  }
  get protectedMode(): boolean {
    return (this.get32(STATE.CR0) & CR0.PE) !== 0
  }
  get virtual8086(): boolean {
    return (this.get32(STATE.FLAGS_REST) & FLAG.VM) !== 0
  }
  /** RIP of the instruction with this record, as it was fetched. */
  ripOf(record: number): bigint {
    return BigInt.asUintN(
      64,
      this.get64(STATE.FILE + FILE.BLOCK_RIP) + BigInt(this.view.getUint16(record + RECORD.OFFSET, true)),
    )
  }
  /** RIP of the instruction after the record's, wrapped for the mode. */
  nextRipOf(record: number): bigint {
    const next = this.ripOf(record) + BigInt(this.u8[record + RECORD.LENGTH] as number)
    return this.mode === MODE.LONG ? BigInt.asUintN(64, next) : next & 0xffffffffn
  }
  /** Set STATE.RIP to `bytes` behind the start of the record's instruction, wrapped for the mode. */
  setRip(record: number, bytes: number): void {
    const from = (this.base + STATE.FILE + FILE.BLOCK_RIP) >> 2
    const to = (this.base + STATE.RIP) >> 2
    const low = (this.u32[from] as number) + this.view.getUint16(record + RECORD.OFFSET, true) + bytes
    this.i32[to] = low
    this.i32[to + 1] = this.mode === MODE.LONG ? (this.i32[from + 1] as number) + (low > 0xffffffff ? 1 : 0) : 0
  }
  /** Go on at `rip`; returns STATUS.JUMP for a system instruction to return. */
  jump(rip: bigint): number {
    this.set64(STATE.RIP, rip)
    return STATUS.JUMP
  }

  // --- flags

  /** EFLAGS with RF and VM. */
  get flags(): number {
    const { i32 } = this
    const at = this.base >> 2
    const x = at + (STATE.FLAG_X >> 2)
    const y = at + (STATE.FLAG_Y >> 2)
    const s = at + (STATE.FLAG_S >> 2)
    const zero = at + (STATE.FLAG_ZERO >> 2)
    const sign = at + (STATE.FLAG_SIGN >> 2)
    // bits 63 and 4 of the words, by halves
    const xh = i32[x + 1] as number
    const yh = i32[y + 1] as number
    const sh = i32[s + 1] as number
    let flags = this.get32(STATE.FLAGS_REST) | FLAG.FIXED
    if (((xh & yh) | ((xh | yh) & ~sh)) < 0) flags |= FLAG.CF
    if (((xh ^ sh) & (yh ^ sh)) < 0) flags |= FLAG.OF
    flags |= ((i32[x] as number) ^ (i32[y] as number) ^ (i32[s] as number)) & FLAG.AF
    if (((i32[zero] as number) | (i32[zero + 1] as number)) === 0) flags |= FLAG.ZF
    if ((i32[sign + 1] as number) < 0) flags |= FLAG.SF
    let parity = (i32[sign] as number) & 0xff
    parity ^= parity >> 4
    if (!((0x6996 >> (parity & 15)) & 1)) flags |= FLAG.PF
    if (this.get32(STATE.DIRECTION)) flags |= FLAG.DF
    return flags
  }
  set flags(value: number) {
    this.setStatusFlags(value)
    this.set32(STATE.DIRECTION, value & FLAG.DF ? 1 : 0)
    const before = this.get32(STATE.FLAGS_REST)
    this.set32(STATE.FLAGS_REST, value & REST_FLAGS)
    if ((before ^ value) & FLAG.AC) this.updateContext()
  }
  setStatusFlags(value: number): void {
    const { i32 } = this
    const at = this.base >> 2
    const top = 0x80000000 | 0
    const carry = value & FLAG.CF ? top : 0
    const put = (field: number, low: number, high: number): void => {
      i32[at + (field >> 2)] = low
      i32[at + (field >> 2) + 1] = high
    }
    put(STATE.FLAG_X, 0, carry)
    put(STATE.FLAG_Y, 0, carry)
    put(STATE.FLAG_S, value & FLAG.AF, !(value & FLAG.CF) !== !(value & FLAG.OF) ? top : 0)
    put(STATE.FLAG_ZERO, value & FLAG.ZF ? 0 : 1, 0)
    put(STATE.FLAG_SIGN, value & FLAG.PF ? 0 : 1, value & FLAG.SF ? top : 0)
  }
  static readonly STATUS_FLAGS: number = STATUS_FLAGS

  // --- modes

  /** To be called when CR0, EFER, CS or EFLAGS.VM changed: the code mode, and what depends on it. */
  updateMode(): void {
    const cs = this.segmentAttributes(SEGMENT.CS)
    let mode: Mode
    if (!this.protectedMode || this.virtual8086) mode = MODE.REAL
    else if (this.longMode && cs & 0x2000) mode = MODE.LONG
    else mode = cs & 0x4000 ? MODE.CODE32 : MODE.CODE16
    // a real-mode CS with the D bit (unreal mode) runs 32-bit code
    if (mode === MODE.REAL && cs & 0x4000 && !this.virtual8086) mode = MODE.CODE32
    if (mode !== this.mode) {
      this.set32(STATE.MODE, mode)
      this.mmu.flushJumps()
    }
    this.set32(STATE.STACK_MASK, this.segmentAttributes(SEGMENT.SS) & 0x4000 ? -1 : 0xffff)
    this.updateContext()
  }
  /** To be called when CR0.EM, CR0.TS or CR4.OSFXSR changed (SDM vol. 3, table 13-1). */
  updateUnits(): void {
    const cr0 = this.get32(STATE.CR0)
    const undefinedNow = (cr0 & CR0.EM) !== 0 || !(this.get32(STATE.CR4) & CR4.OSFXSR)
    this.set32(STATE.SSE_FAULT, undefinedNow ? VECTOR.UD : cr0 & CR0.TS ? VECTOR.NM : 0)
  }
  updateContext(): void {
    this.mmu.select()
  }
  setCpl(cpl: number): void {
    this.set32(STATE.CPL, cpl)
    this.updateContext()
  }

  // --- segments

  segmentSelector(segment: number): number {
    return this.get32(STATE.SEGMENTS + segment * 16)
  }
  /** Access byte in bits 0–7, AVL L D/B G in 12–15, unusable in 16. */
  segmentAttributes(segment: number): number {
    return this.get32(STATE.SEGMENTS + segment * 16 + 4)
  }
  segmentLimit(segment: number): number {
    return this.get32(STATE.SEGMENTS + segment * 16 + 8) >>> 0
  }
  segmentBase(segment: number): bigint {
    if (segment === SEGMENT.LDTR) return this.get64(STATE.LDTR_BASE)
    if (segment === SEGMENT.TR) return this.get64(STATE.TR_BASE)
    return this.get64(STATE.FILE + FILE.SEGMENT_BASE + segment * 8)
  }
  setSegmentBase(segment: number, base: bigint): void {
    if (segment === SEGMENT.LDTR) this.set64(STATE.LDTR_BASE, base)
    else if (segment === SEGMENT.TR) this.set64(STATE.TR_BASE, base)
    else {
      if (segment === SEGMENT.CS && base !== this.segmentBase(SEGMENT.CS)) this.mmu.flushJumps()
      this.set64(STATE.FILE + FILE.SEGMENT_BASE + segment * 8, base)
    }
  }
  /** Load a segment register's hidden part. Call {@link Cpu.updateMode} after CS or SS. */
  setSegment(segment: number, selector: number, base: bigint, limit: number, attributes: number): void {
    this.set32(STATE.SEGMENTS + segment * 16, selector)
    this.set32(STATE.SEGMENTS + segment * 16 + 4, attributes)
    this.set32(STATE.SEGMENTS + segment * 16 + 8, limit | 0)
    this.setSegmentBase(segment, base)
  }
  /** The same with a base below 4 GiB, and for neither LDTR nor TR. */
  setLowSegment(segment: number, selector: number, base: number, limit: number, attributes: number): void {
    this.set32(STATE.SEGMENTS + segment * 16, selector)
    this.set32(STATE.SEGMENTS + segment * 16 + 4, attributes)
    this.set32(STATE.SEGMENTS + segment * 16 + 8, limit | 0)
    const { i32 } = this
    const at = (this.base + STATE.FILE + FILE.SEGMENT_BASE + segment * 8) >> 2
    if (segment === SEGMENT.CS && (i32[at] !== (base | 0) || i32[at + 1] !== 0)) this.mmu.flushJumps()
    i32[at] = base
    i32[at + 1] = 0
  }

  // --- faults

  /** Raise an exception of the guest. */
  fault(vector: number, errorCode = 0, address = 0n): never {
    this.#fault.vector = vector
    this.#fault.errorCode = errorCode
    this.#fault.address = address
    throw this.#fault
  }
  /** Note an exception for generated code to leave with. */
  setFault(vector: number, errorCode: number, address: bigint = 0n): void {
    this.set32(STATE.FAULT_VECTOR, vector)
    this.set32(STATE.FAULT_ERROR, errorCode)
    this.set64(STATE.FAULT_ADDRESS, address)
  }
  /** Note a page fault for generated code to leave with. */
  setPageFault(errorCode: number, lo: number, hi: number): void {
    this.set32(STATE.FAULT_VECTOR, VECTOR.PF)
    this.set32(STATE.FAULT_ERROR, errorCode)
    this.set32(STATE.FAULT_ADDRESS, lo)
    this.set32(STATE.FAULT_ADDRESS + 4, hi)
  }
  /** Turn what was thrown into a pending exception; anything else is a defect of the host and goes on. */
  catchFault(thrown: unknown): void {
    if (thrown !== this.#fault) throw thrown
    this.setFault(this.#fault.vector, this.#fault.errorCode, this.#fault.address)
  }
  /** Make `run` return soon. */
  requestExit(): void {
    const budget = this.get32(STATE.BUDGET)
    if (budget < 0) return
    this.stolenBudget += budget + 1
    this.set32(STATE.BUDGET, -1)
  }

  // --- memory: translation

  /**
   * The GPA of a linear address, or -1 with a fault pending.
   * `user` and AC as for the present instruction unless `supervisor` (descriptor tables, task state, exception stacks).
   */
  #translate(lo: number, hi: number, access: number, supervisor: boolean): boolean {
    const user = !supervisor && this.cpl === 3
    const allowUserData = !supervisor && (this.get32(STATE.FLAGS_REST) & FLAG.AC) !== 0
    if (this.mmu.walk(lo, hi, access, user, allowUserData)) {
      const protectedPage = GPA_ACCESS.PROTECTED
      if (
        access !== ACCESS.WRITE ||
        ((this.memory.gpaMap[this.mmu.page] ?? 0) & (protectedPage | GPA_ACCESS.WRITE)) !== protectedPage
      )
        return true
      this.setFault(VECTOR.GP, 0)
      return false
    }
    this.setPageFault(this.mmu.errorCode, lo, hi)
    return false
  }

  /** Offset in memory for an access inside one page, or -1: MMIO (page in mmu.page), or -2: fault pending. */
  #host(lo: number, hi: number, access: number, supervisor: boolean): number {
    if (!this.#translate(lo, hi, access, supervisor)) return -2
    const entry = this.memory.gpaMap[this.mmu.page] ?? 0
    const need = access === ACCESS.WRITE ? GPA_ACCESS.WRITE : GPA_ACCESS.READ
    if ((entry & need) === 0) return -1
    if (!supervisor) this.mmu.fill(lo, hi, access, false)
    return ((entry & ~0xfff) >>> 0) + (lo & 0xfff)
  }

  /** Faults of the address itself, before paging. True when one is pending. */
  #badAddress(hi: number, lo: number, bytes: number): boolean {
    const vector = this.get32(STATE.SEGMENT_FAULT)
    if (vector !== 0) {
      this.set32(STATE.SEGMENT_FAULT, 0)
      this.setFault(vector, 0)
      return true
    }
    if (this.mode === MODE.LONG && !canonical(hi, lo, bytes)) {
      this.nonCanonical = true
      this.setFault(VECTOR.GP, 0)
      return true
    }
    if (this.mmu.checksAlignment && isMisaligned(lo, bytes)) {
      this.setFault(VECTOR.AC, 0)
      return true
    }
    return false
  }
  /** High half of the address of the next page. */
  #nextHigh(lo: number, hi: number): number {
    // compatibility mode reads system tables above 4 GiB; its own addresses wrap there
    if (this.mode !== MODE.LONG && hi === 0) return 0
    return (lo >>> 0) + PAGE > 0xffffffff ? (hi + 1) | 0 : hi
  }

  /** DR6 bits of data breakpoints met by the present instruction. */
  debugHits = 0
  /** Note data breakpoints (SDM vol. 3, 17.2.5) that an access touches. */
  #watch(lo: number, hi: number, bytes: number, write: boolean): void {
    const dr7 = this.get32(STATE.DR7)
    const start = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)
    for (let n = 0; n < 4; n++) {
      if (!((dr7 >> (n * 2)) & 3)) continue
      const kind = (dr7 >>> (16 + n * 4)) & 3
      if (kind === 0 || kind === 2 || (kind === 1 && !write)) continue
      const length = [1n, 2n, 8n, 4n][(dr7 >>> (18 + n * 4)) & 3] as bigint
      const at = this.get64(STATE.DR0 + n * 8) & ~(length - 1n)
      if (start < at + length && start + BigInt(bytes) > at) this.debugHits |= 1 << n
    }
  }

  /** Note I/O breakpoints (CR4.DE) that an access to `size` ports touches. */
  watchPorts(port: number, size: number): void {
    const dr7 = this.get32(STATE.DR7)
    if (!(dr7 & 0xff) || !(this.get32(STATE.CR4) & CR4.DE)) return
    for (let n = 0; n < 4; n++) {
      if (!((dr7 >> (n * 2)) & 3) || ((dr7 >>> (16 + n * 4)) & 3) !== 2) continue
      const length = [1, 2, 8, 4][(dr7 >>> (18 + n * 4)) & 3] as number
      const at = Number(this.get64(STATE.DR0 + n * 8) & 0xffffn) & ~(length - 1)
      if (port < at + length && port + size > at) this.debugHits |= 1 << n
    }
  }

  // --- memory: slow paths of generated code

  /** Bytes to read: an offset in memory, perhaps of a copy in STATE.SCRATCH; 0 after a fault. */
  readSlow(lo: number, hi: number, bytes: number): number {
    if (this.#badAddress(hi, lo, bytes)) return 0
    if (this.mmu.watching) this.#watch(lo, hi, bytes, false)
    const within = PAGE - (lo & 0xfff)
    if (within >= bytes) {
      const host = this.#host(lo, hi, ACCESS.READ, false)
      if (host >= 0) return host | 0
      if (host === -2) return 0
      this.#mmioRead(this.mmu.page, lo & 0xfff, bytes, this.#scratch)
      return this.#scratch
    }
    return this.#copyCrossing(lo, hi, bytes, within, ACCESS.READ) ? this.#scratch : 0
  }
  /** Both parts of a page-crossing access are translated before either is read. */
  #copyCrossing(lo: number, hi: number, bytes: number, within: number, access: number): boolean {
    if (!this.#translate(lo, hi, access, false)) return false
    const first = this.mmu.page
    const nextLo = (lo & ~0xfff) + PAGE
    if (!this.#translate(nextLo | 0, this.#nextHigh(lo, hi), access, false)) return false
    const second = this.mmu.page
    this.#copyFromPage(first, lo & 0xfff, within, this.#scratch)
    this.#copyFromPage(second, 0, bytes - within, this.#scratch + within)
    return true
  }
  #copyFromPage(page: number, offset: number, bytes: number, target: number): void {
    const entry = this.memory.gpaMap[page] ?? 0
    if (entry & GPA_ACCESS.READ) {
      const host = ((entry & ~0xfff) >>> 0) + offset
      for (let i = 0; i < bytes; i++) this.u8[target + i] = this.u8[host + i] as number
    } else this.#mmioRead(page, offset, bytes, target)
  }
  #copyToPage(page: number, offset: number, bytes: number, source: number): void {
    const entry = this.memory.gpaMap[page] ?? 0
    if (entry & GPA_ACCESS.WRITE) {
      const host = ((entry & ~0xfff) >>> 0) + offset
      for (let i = 0; i < bytes; i++) this.u8[host + i] = this.u8[source + i] as number
      if (entry & GPA_CODE) this.memory.codeWritten(page, offset, offset + bytes)
    } else this.#mmioWrite(page, offset, bytes, source)
  }

  /** Store `bytes` from STATE.SCRATCH; not 0 after a fault. */
  writeSlow(lo: number, hi: number, bytes: number): number {
    if (this.#badAddress(hi, lo, bytes)) return 1
    if (this.mmu.watching) this.#watch(lo, hi, bytes, true)
    const within = PAGE - (lo & 0xfff)
    if (within >= bytes) {
      if (!this.#translate(lo, hi, ACCESS.WRITE, false)) return 1
      const { page } = this.mmu
      if (((this.memory.gpaMap[page] ?? 0) & (GPA_ACCESS.WRITE | GPA_CODE)) === GPA_ACCESS.WRITE) {
        this.mmu.fill(lo, hi, ACCESS.WRITE, false)
      }
      this.#copyToPage(page, lo & 0xfff, bytes, this.#scratch)
      return 0
    }
    if (!this.#translate(lo, hi, ACCESS.WRITE, false)) return 1
    const first = this.mmu.page
    if (!this.#translate(((lo & ~0xfff) + PAGE) | 0, this.#nextHigh(lo, hi), ACCESS.WRITE, false)) return 1
    const second = this.mmu.page
    this.#copyToPage(first, lo & 0xfff, within, this.#scratch)
    this.#copyToPage(second, 0, bytes - within, this.#scratch + within)
    return 0
  }
  /** Offset in memory of bytes that may be read and written, STATE.SCRATCH with a copy (then modifyCommit follows), 0 after a fault. */
  modifyBegin(lo: number, hi: number, bytes: number): number {
    if (this.#badAddress(hi, lo, bytes)) return 0
    if (this.mmu.watching) this.#watch(lo, hi, bytes, true)
    const within = PAGE - (lo & 0xfff)
    if (within >= bytes) {
      const host = this.#host(lo, hi, ACCESS.WRITE, false)
      if (host === -2) return 0
      if (host >= 0 && !((this.memory.gpaMap[this.mmu.page] as number) & GPA_CODE)) return host | 0
      this.#copyFromPage(this.mmu.page, lo & 0xfff, bytes, this.#scratch)
      return this.#scratch
    }
    return this.#copyCrossing(lo, hi, bytes, within, ACCESS.WRITE) ? this.#scratch : 0
  }
  modifyCommit(lo: number, hi: number, bytes: number): void {
    this.writeSlow(lo, hi, bytes)
  }
  /** Not 0 after a fault. */
  probe(lo: number, hi: number, bytes: number): number {
    if (this.#badAddress(hi, lo, bytes)) return 1
    if (!this.#translate(lo, hi, ACCESS.WRITE, false)) return 1
    if ((lo & 0xfff) + bytes <= PAGE) return 0
    return this.#translate(((lo & ~0xfff) + PAGE) | 0, this.#nextHigh(lo, hi), ACCESS.WRITE, false) ? 0 : 1
  }

  // --- the same for translated code: what a device would see and what changes decoded code is left to the interpreter, which is exact about both

  /** Offset in memory of one access, or {@link REFUSED}. Code that the access would change counts as refused. */
  #regionHost(lo: number, hi: number, bytes: number, access: number): number {
    if (!this.#translate(lo, hi, access, false)) return REFUSED.FAULT
    const { page } = this.mmu
    const entry = this.memory.gpaMap[page] ?? 0
    if (access === ACCESS.WRITE) {
      if (!(entry & GPA_ACCESS.WRITE)) return REFUSED.LEAVE
      const offset = lo & 0xfff
      if (entry & GPA_CODE && this.hasCode(page, offset, offset + bytes)) return REFUSED.LEAVE
    } else if (!(entry & GPA_ACCESS.READ)) return REFUSED.LEAVE
    return (entry & ~0xfff) | (lo & 0xfff) | 0
  }
  /** Whether bytes `[start, end)` of a page are decoded or translated. Set by the virtual processor when it is put together. */
  hasCode: (page: number, start: number, end: number) => boolean = () => false

  /** Offset in memory, perhaps of STATE.SCRATCH with a copy, or {@link REFUSED}. */
  regionRead(lo: number, hi: number, bytes: number): number {
    return this.#regionAccess(lo, hi, bytes, ACCESS.READ)
  }
  /** As {@link Cpu.modifyBegin}, or {@link REFUSED}. */
  regionModify(lo: number, hi: number, bytes: number): number {
    return this.#regionAccess(lo, hi, bytes, ACCESS.WRITE)
  }
  #regionAccess(lo: number, hi: number, bytes: number, access: number): number {
    if (this.#badAddress(hi, lo, bytes)) return REFUSED.FAULT
    const within = PAGE - (lo & 0xfff)
    if (within >= bytes) {
      const host = this.#regionHost(lo, hi, bytes, access)
      if (host === REFUSED.FAULT || host === REFUSED.LEAVE) return host
      this.mmu.fill(lo, hi, access, false)
      if (access === ACCESS.WRITE && (this.memory.gpaMap[this.mmu.page] as number) & GPA_CODE) {
        // others may have decoded what lies there: the copy goes back by way of modifyCommit
        for (let i = 0; i < bytes; i++) this.u8[this.#scratch + i] = this.u8[(host >>> 0) + i] as number
        return this.#scratch
      }
      return host
    }
    const first = this.#regionHost(lo, hi, within, access)
    if (first === REFUSED.FAULT) return first
    this.mmu.fill(lo, hi, access, false)
    const nextLo = ((lo & ~0xfff) + PAGE) | 0
    const nextHi = this.#nextHigh(lo, hi)
    const second = this.#regionHost(nextLo, nextHi, bytes - within, access)
    if (second === REFUSED.FAULT) return second
    this.mmu.fill(nextLo, nextHi, access, false)
    if (first === REFUSED.LEAVE || second === REFUSED.LEAVE) return REFUSED.LEAVE
    for (let i = 0; i < bytes; i++) {
      this.u8[this.#scratch + i] = this.u8[i < within ? (first >>> 0) + i : (second >>> 0) + i - within] as number
    }
    return this.#scratch
  }
  /** As {@link Cpu.writeSlow}: 0, or 1 more than {@link REFUSED}. */
  regionWrite(lo: number, hi: number, bytes: number): number {
    if (this.#badAddress(hi, lo, bytes)) return REFUSED.FAULT + 1
    const within = Math.min(bytes, PAGE - (lo & 0xfff))
    const first = this.#regionHost(lo, hi, within, ACCESS.WRITE)
    if (first === REFUSED.FAULT) return REFUSED.FAULT + 1
    if (within < bytes) {
      this.mmu.fill(lo, hi, ACCESS.WRITE, false)
      const nextLo = ((lo & ~0xfff) + PAGE) | 0
      const nextHi = this.#nextHigh(lo, hi)
      const second = this.#regionHost(nextLo, nextHi, bytes - within, ACCESS.WRITE)
      if (second === REFUSED.FAULT) return REFUSED.FAULT + 1
      this.mmu.fill(nextLo, nextHi, ACCESS.WRITE, false)
      if (second === REFUSED.LEAVE) return REFUSED.LEAVE + 1
    }
    return first === REFUSED.LEAVE ? REFUSED.LEAVE + 1 : this.writeSlow(lo, hi, bytes)
  }

  // --- MMIO: split into aligned accesses of at most four bytes

  #mmioRead(page: number, offset: number, bytes: number, target: number): void {
    const gpa = this.memory.gpaPage(page) * PAGE + offset
    for (let done = 0; done < bytes; ) {
      const size = accessSize(gpa + done, bytes - done)
      const value = this.apic.contains(gpa + done)
        ? this.apic.readMmio(gpa + done, size)
        : this.intercepts.mmioRead(this.index, gpa + done, size)
      if (size === 4) this.view.setUint32(target + done, value, true)
      else if (size === 2) this.view.setUint16(target + done, value, true)
      else this.u8[target + done] = value
      done += size
    }
  }
  #mmioWrite(page: number, offset: number, bytes: number, source: number): void {
    const gpa = this.memory.gpaPage(page) * PAGE + offset
    for (let done = 0; done < bytes; ) {
      const size = accessSize(gpa + done, bytes - done)
      const value =
        size === 4
          ? this.view.getUint32(source + done, true)
          : size === 2
            ? this.view.getUint16(source + done, true)
            : (this.u8[source + done] as number)
      if (this.apic.contains(gpa + done)) this.apic.writeMmio(gpa + done, size, value)
      else this.intercepts.mmioWrite(this.index, gpa + done, size, value)
      done += size
    }
  }

  // --- memory for system instructions: linear addresses as unsigned bigint; faults are thrown

  /** Offset in memory of `bytes` at a linear address when a TLB has them for this access, or -1. `supervisor` for implicit accesses. */
  cached(lo: number, hi: number, bytes: number, write: boolean, supervisor: boolean): number {
    return this.#cached(lo, hi, bytes, write ? TLB.WRITE : TLB.READ, supervisor)
  }
  /** As {@link Cpu.cached}; a translation that the TLB does not have is entered, if it is one of RAM that can be accessed like that. */
  reachable(lo: number, hi: number, bytes: number, write: boolean, supervisor: boolean): number {
    const cached = this.cached(lo, hi, bytes, write, supervisor)
    if (cached >= 0 || (lo & 0xfff) + bytes > PAGE || this.mmu.watching) return cached
    if (!supervisor && this.mmu.checksAlignment) return -1
    if (this.mode === MODE.LONG && !canonical(hi, lo, bytes)) return -1
    const user = !supervisor && this.cpl === 3
    const allowUserData = !supervisor && (this.get32(STATE.FLAGS_REST) & FLAG.AC) !== 0
    if (!this.mmu.walk(lo, hi, write ? ACCESS.WRITE : ACCESS.READ, user, allowUserData)) return -1
    this.#fill(lo, hi, write ? ACCESS.WRITE : ACCESS.READ, supervisor)
    return this.cached(lo, hi, bytes, write, supervisor)
  }
  #cached(lo: number, hi: number, bytes: number, tlb: number, supervisor: boolean): number {
    if ((lo & 0xfff) + bytes > PAGE) return -1
    const context = supervisor ? this.mmu.supervisor : this.get32(STATE.CONTEXT)
    const at = (context + tlb + ((lo >>> 8) & ((TLB_ENTRIES - 1) << 4))) >> 2
    const { i32 } = this
    if (i32[at] !== (lo & ~0xfff) || i32[at + 1] !== hi) return -1
    return ((i32[at + 2] as number) >>> 0) + (lo & 0xfff)
  }
  /** Offset in memory of `bytes` (at most 64) at `linear`, or of a copy in STATE.SCRATCH. */
  #fetch(linear: bigint, bytes: number, supervisor: boolean): number {
    halves[0] = linear
    const lo = words[0] as number
    const hi = words[1] as number
    const cached = this.#cached(lo, hi, bytes, TLB.READ, supervisor)
    if (cached >= 0) return cached
    this.#checkCanonical(lo, hi, bytes)
    if (!supervisor) this.#checkExplicit(lo, hi, bytes, false)
    const within = Math.min(bytes, PAGE - (lo & 0xfff))
    if (!this.#translate(lo, hi, ACCESS.READ, supervisor)) this.#rethrow()
    const first = this.mmu.page
    this.#fill(lo, hi, ACCESS.READ, supervisor)
    if (within < bytes) {
      if (!this.#translate(((lo & ~0xfff) + PAGE) | 0, this.#nextHigh(lo, hi), ACCESS.READ, supervisor)) this.#rethrow()
      this.#copyFromPage(this.mmu.page, 0, bytes - within, this.#scratch + within)
    }
    this.#copyFromPage(first, lo & 0xfff, within, this.#scratch)
    return this.#scratch
  }
  #fill(lo: number, hi: number, access: number, supervisor: boolean): void {
    this.mmu.fill(lo, hi, access, supervisor)
  }
  /** Offset in memory where `bytes` can be stored directly, or that of STATE.SCRATCH: then {@link Cpu.#store} follows. */
  #target(linear: bigint, bytes: number, supervisor: boolean): number {
    halves[0] = linear
    const cached = this.#cached(words[0] as number, words[1] as number, bytes, TLB.WRITE, supervisor)
    return cached >= 0 ? cached : this.#scratch
  }
  #store(linear: bigint, bytes: number, supervisor: boolean): void {
    halves[0] = linear
    const lo = words[0] as number
    const hi = words[1] as number
    this.#checkCanonical(lo, hi, bytes)
    if (!supervisor) this.#checkExplicit(lo, hi, bytes, true)
    const within = Math.min(bytes, PAGE - (lo & 0xfff))
    if (!this.#translate(lo, hi, ACCESS.WRITE, supervisor)) this.#rethrow()
    const first = this.mmu.page
    this.#fill(lo, hi, ACCESS.WRITE, supervisor)
    if (within < bytes) {
      if (!this.#translate(((lo & ~0xfff) + PAGE) | 0, this.#nextHigh(lo, hi), ACCESS.WRITE, supervisor))
        this.#rethrow()
      this.#copyToPage(this.mmu.page, 0, bytes - within, this.#scratch + within)
    }
    this.#copyToPage(first, lo & 0xfff, within, this.#scratch)
  }
  /** Alignment checks and data breakpoints of an access that the program makes itself. No TLB has a page while either is on. */
  #checkExplicit(lo: number, hi: number, bytes: number, write: boolean): void {
    if (this.mmu.checksAlignment && isMisaligned(lo, bytes)) this.fault(VECTOR.AC, 0)
    if (this.mmu.watching) this.#watch(lo, hi, bytes, write)
  }
  #checkCanonical(lo: number, hi: number, bytes: number): void {
    const vector = this.get32(STATE.SEGMENT_FAULT)
    if (vector !== 0) {
      this.set32(STATE.SEGMENT_FAULT, 0)
      this.fault(vector, 0)
    }
    if (this.mode === MODE.LONG && !canonical(hi, lo, bytes)) {
      this.nonCanonical = true
      this.fault(VECTOR.GP, 0)
    }
  }
  #rethrow(): never {
    this.fault(this.get32(STATE.FAULT_VECTOR), this.get32(STATE.FAULT_ERROR), this.get64(STATE.FAULT_ADDRESS))
  }
  /** Integer reads at a linear address, unsigned. `supervisor` for implicit accesses. */
  readU8(linear: bigint, supervisor = false): number {
    return this.u8[this.#fetch(linear, 1, supervisor)] as number
  }
  readU16(linear: bigint, supervisor = false): number {
    return this.view.getUint16(this.#fetch(linear, 2, supervisor), true)
  }
  readU32(linear: bigint, supervisor = false): number {
    return this.view.getUint32(this.#fetch(linear, 4, supervisor), true)
  }
  readU64(linear: bigint, supervisor = false): bigint {
    return this.view.getBigUint64(this.#fetch(linear, 8, supervisor), true)
  }
  writeU8(linear: bigint, value: number, supervisor = false): void {
    const at = this.#target(linear, 1, supervisor)
    this.u8[at] = value
    if (at === this.#scratch) this.#store(linear, 1, supervisor)
  }
  writeU16(linear: bigint, value: number, supervisor = false): void {
    const at = this.#target(linear, 2, supervisor)
    this.view.setUint16(at, value, true)
    if (at === this.#scratch) this.#store(linear, 2, supervisor)
  }
  writeU32(linear: bigint, value: number, supervisor = false): void {
    const at = this.#target(linear, 4, supervisor)
    this.view.setUint32(at, value, true)
    if (at === this.#scratch) this.#store(linear, 4, supervisor)
  }
  writeU64(linear: bigint, value: bigint, supervisor = false): void {
    const at = this.#target(linear, 8, supervisor)
    this.view.setBigUint64(at, value, true)
    if (at === this.#scratch) this.#store(linear, 8, supervisor)
  }
  /** Check that `[linear, linear + length)` may be written, and throw the fault if not. */
  probeWrite(linear: bigint, length: number, supervisor = false): void {
    for (let done = 0; done < length; ) {
      halves[0] = done === 0 ? linear : linear + BigInt(done)
      const lo = words[0] as number
      const hi = words[1] as number
      const here = Math.min(length - done, PAGE - (lo & 0xfff))
      if (this.#cached(lo, hi, here, TLB.WRITE, supervisor) >= 0) {
        done += here
        continue
      }
      this.#checkCanonical(lo, hi, 1)
      if (done === 0 && !supervisor && this.mmu.checksAlignment && isMisaligned(lo, length)) this.fault(VECTOR.AC, 0)
      if (!this.#translate(lo, hi, ACCESS.WRITE, supervisor)) this.#rethrow()
      done += PAGE - (lo & 0xfff)
    }
  }
  /** Copy from linear memory, faulting before anything is returned. */
  readBytes(linear: bigint, length: number): Uint8Array {
    const out = new Uint8Array(length)
    for (let done = 0; done < length; done += 32) {
      const size = Math.min(32, length - done)
      const at = this.#fetch(BigInt.asUintN(64, linear + BigInt(done)), size, false)
      out.set(this.u8.subarray(at, at + size), done)
    }
    return out
  }
  /** Copy to linear memory; all of it is checked first. */
  writeBytes(linear: bigint, bytes: Uint8Array): void {
    this.probeWrite(linear, bytes.length)
    for (let done = 0; done < bytes.length; done += 32) {
      const size = Math.min(32, bytes.length - done)
      this.u8.set(bytes.subarray(done, done + size), this.#scratch)
      this.#store(BigInt.asUintN(64, linear + BigInt(done)), size, false)
    }
  }

  /** Effective address of the record's memory operand, truncated to the address size. */
  effectiveAddress(record: number): bigint {
    const { u8 } = this
    const file = (field: number): bigint => this.get64(STATE.FILE + (u8[record + field] as number))
    const sum =
      file(RECORD.BASE) +
      (file(RECORD.INDEX) << BigInt((u8[record + RECORD.SCALE] as number) & 3)) +
      BigInt(this.view.getInt32(record + RECORD.DISPLACEMENT, true))
    const size = (u8[record + RECORD.FLAGS] as number) & 3
    return BigInt.asUintN(size === 0 ? 64 : size === 1 ? 32 : 16, sum)
  }
  /** Segment that the record's memory operand is in. */
  segmentOf(record: number): number {
    return ((this.u8[record + RECORD.FLAGS] as number) >> 3) & 7
  }
  /** Linear address of the record's memory operand; limits and types are checked in legacy modes. */
  linearAddress(record: number, bytes: number, access: 'read' | 'write'): bigint {
    return this.segmentAddress(this.segmentOf(record), this.effectiveAddress(record), bytes, access)
  }
  /** Linear address of `offset` in a segment. */
  segmentAddress(segment: number, offset: bigint, bytes: number, access: 'read' | 'write'): bigint {
    if (this.mode === MODE.LONG) {
      return segment >= SEGMENT.FS ? BigInt.asUintN(64, offset + this.segmentBase(segment)) : offset
    }
    const attributes = this.segmentAttributes(segment)
    const vector = segment === SEGMENT.SS ? VECTOR.SS : VECTOR.GP
    if (attributes & 0x10000) this.fault(vector, 0)
    const code = (attributes & 8) !== 0
    if (access === 'write' ? code || !(attributes & 2) : code && !(attributes & 2)) this.fault(vector, 0)
    const limit = BigInt(this.segmentLimit(segment))
    const last = offset + BigInt(bytes - 1)
    if ((attributes & 0xc) === 4) {
      if (offset <= limit || last > (attributes & 0x4000 ? 0xffffffffn : 0xffffn)) this.fault(vector, 0)
    } else if (last > limit) this.fault(vector, 0)
    return (offset + this.segmentBase(segment)) & 0xffffffffn
  }
}

/** Whether an access at the address lies in canonical addresses: bits 63–47 are equal. */
export function canonical(hi: number, lo: number, bytes: number): boolean {
  if ((hi << 16) >> 16 !== hi) return false
  if ((lo >>> 0) + bytes - 1 <= 0xffffffff) return true
  const next = (hi + 1) | 0
  return (next << 16) >> 16 === next
}

/**
 * What alignment checks refuse (SDM vol. 3, table 6-7): integers and numbers of SSE are aligned to their size, 80-bit numbers to 8. Sixteen bytes of an instruction that does
 * not ask for alignment itself may be checked or not (SDM vol. 2, MOVDQU); processors do.
 */
function isMisaligned(lo: number, bytes: number): boolean {
  if (bytes === 2 || bytes === 4 || bytes === 8 || bytes === 16) return (lo & (bytes - 1)) !== 0
  return bytes === 10 && (lo & 7) !== 0
}

/** Largest naturally aligned access of at most 4 bytes. */
function accessSize(gpa: number, left: number): 1 | 2 | 4 {
  if (left >= 4 && gpa % 4 === 0) return 4
  if (left >= 2 && gpa % 2 === 0) return 2
  return 1
}

export { ACCESS, CR0, CR4, EFER }
