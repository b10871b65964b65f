// How instructions in a region find memory: linear addresses, the TLB, and pages that are known from an access nearby. A fault leaves by a cold branch which says what instruction it was.

import { zeroExtend } from '../instruction/emitter.ts'
import type { HelperFunction } from '../instruction/helper.ts'
import { tlbEntry } from '../interpreter/tlb-entry.ts'
import { FILE, RECORD, REFUSED, SEGMENT, STATE, TLB } from '../state-layout.ts'
import { type Distance, type Expr, i32, i64, near, type ValueType } from '../wasm/expression.ts'
import type { FunctionReference, Local, TypeReference } from '../wasm/function-emitter.ts'
import { type KnownPage, NO_PAGES } from './known.ts'
import type { Region } from './region.ts'
import { EXIT, RegionOperands } from './region-operands.ts'

/** Functions that regions call. */
export interface RegionFunctions {
  /** (page i64, distance i64, bytes) → offset in memory, or one of REFUSED; the address is page + distance, here and below */
  readonly read: FunctionReference
  /** (page i64, distance i64, bytes) → 0, or 1 + one of REFUSED; the value is in STATE.SCRATCH */
  readonly write: FunctionReference
  /** (page i64, distance i64, bytes) → offset in memory or of STATE.SCRATCH, or one of REFUSED */
  readonly modify: FunctionReference
  /** (address i64, bytes): write STATE.SCRATCH back */
  readonly modifyCommit: FunctionReference
  /** (address i64, bytes) → not 0 after a fault */
  readonly probe: FunctionReference
  /** (segment, offset i64, bytes | 0x100) → linear address i64 with the legacy checks */
  readonly segment: FunctionReference
  /** () → nanoseconds f64 */
  readonly now: FunctionReference
  /** The type of regions: (record) → STATUS. */
  readonly region: TypeReference
  readonly helper: (helper: HelperFunction) => FunctionReference
}

const NOWHERE = 0x4000_0000
/** More at a time would be too many locals. */
const KNOWN_PAGES = 6
const PAGE = 4096

/** Addresses and memory of a region. */
export abstract class RegionMemory extends RegionOperands {
  protected readonly functions: RegionFunctions
  /** What FS, GS and the region's addresses are measured from. */
  readonly #roots: readonly object[] = Array.from({ length: 7 }, () => ({}))

  constructor(region: Region, base: number, functions: RegionFunctions) {
    super(region, base)
    this.functions = functions
  }

  override setStateI64(field: number, value: Expr): void {
    super.setStateI64(field, value)
    const segment = field - (STATE.FILE + FILE.SEGMENT_BASE)
    if (segment >= 0 && segment < 6 * 8) this.known = { ...this.known, pages: NO_PAGES }
  }

  #file(offset: number): Expr {
    if (offset < FILE.ZERO) return this.readGpr(offset >> 3)
    if (offset === FILE.ZERO) return i64.const(0)
    if (offset === FILE.BLOCK_RIP) {
      return { ...this.get(this.rip), distance: { root: this.#roots[SEGMENT.CS] as object, bytes: 0 } }
    }
    if (offset === FILE.PAGE) return i64.const(4096)
    return this.field64(STATE.FILE + offset)
  }

  /** The offset in the segment, cut to the address size. */
  #offset(): Expr {
    const index = this.#file(this.byte(RECORD.INDEX))
    const scaled = i64.shl(index, i64.const(this.byte(RECORD.SCALE) & 3))
    const displacement = this.region.view.getInt32(this.instruction.record + RECORD.DISPLACEMENT, true)
    const base = this.#file(this.byte(RECORD.BASE))
    const sum = i64.add(
      index.constant !== undefined ? (scaled.constant === 0n ? base : i64.add(base, scaled)) : i64.add(base, scaled),
      i64.const(displacement),
    )
    return this.#cut(sum)
  }

  #cut(value: Expr): Expr {
    const size = this.byte(RECORD.FLAGS) & 3
    return size === 0 ? value : zeroExtend(value, size === 1 ? 4 : 2)
  }

  #inSegment(segment: number, offset: Expr, bytes: number, access: 'read' | 'write'): Expr {
    if (this.legacy) {
      const kind = i32.const(bytes | (access === 'write' ? 0x100 : 0))
      return this.let(this.call(this.functions.segment, i32.const(segment), offset, kind))
    }
    if (segment < SEGMENT.FS) return this.let(offset)
    const address = i64.add(offset, this.field64(STATE.FILE + FILE.SEGMENT_BASE + segment * 8))
    if (offset.constant === undefined) return this.let(address)
    return this.let({ ...address, distance: near(this.#roots[segment] as object, Number(offset.constant)) })
  }

  get #segment(): number {
    return (this.byte(RECORD.FLAGS) >> 3) & 7
  }

  address(n: number, bytes: number, access: 'read' | 'write'): Expr {
    if (this.operand(n).moffs) {
      const offset = i64.const(this.region.view.getBigInt64(this.instruction.record + RECORD.IMMEDIATE, true))
      return this.#inSegment(this.#segment, offset, bytes, access)
    }
    return this.#inSegment(this.#segment, this.#offset(), bytes, access)
  }

  effectiveAddress(_n: number): Expr {
    return this.let(this.#offset())
  }

  segmentAddress(segment: number | 'instruction', offset: Expr, bytes: number, access: 'read' | 'write'): Expr {
    return this.#inSegment(segment === 'instruction' ? this.#segment : segment, offset, bytes, access)
  }

  addressMask(): Expr {
    const size = this.byte(RECORD.FLAGS) & 3
    return i64.const(size === 0 ? -1n : size === 1 ? 0xffffffffn : 0xffffn)
  }

  /**
   * Finds where the `bytes` at an address are in memory. `hit` gets an offset and a constant to be added, `miss` a page and a distance that together are the address. What is
   * near to an earlier access is looked for in that one's page first.
   */
  #access(
    address: Expr,
    bytes: number,
    write: boolean,
    hit: (host: Expr, offset: number) => void,
    miss: (page: Expr, distance: Expr) => void,
  ): void {
    const at = this.let(address)
    const known = this.#knownPage(at.distance, write)
    if (known) {
      const moved = (at.distance?.bytes ?? 0) - known.distance.bytes
      this.if(
        i32.gt_u(i32.add(this.get(known.place), i32.const(moved)), i32.const(PAGE - bytes)),
        () => miss(at, i64.const(0)),
        () => hit(this.get(known.host), PAGE + moved),
        false,
      )
      return
    }
    const tlb = write ? TLB.WRITE : TLB.READ
    const entry = this.let(tlbEntry(this.get(this.context), at))
    const page = this.let(i64.load(entry, tlb))
    const distance = this.let(i64.sub(at, page))
    const found = this.#newPage(at.distance, write)
    this.if(
      i64.gt_u(distance, i64.const(PAGE - bytes)),
      () => {
        miss(page, distance)
        if (found) this.set(found.place, i32.const(NOWHERE))
      },
      () => {
        const host = this.let(i32.add(i32.wrap_i64(distance), i32.load(entry, tlb + 8)))
        hit(host, 0)
        if (!found) return
        this.set(found.place, i32.wrap_i64(distance))
        this.set(found.host, i32.sub(host, i32.const(PAGE)))
      },
      false,
    )
  }

  #knownPage(distance: Distance | undefined, write: boolean): KnownPage | undefined {
    if (!distance) return undefined
    return this.known.pages.find(
      (page) =>
        page.distance.root === distance.root &&
        Math.abs(page.distance.bytes - distance.bytes) < PAGE &&
        (page.write || !write),
    )
  }

  /** A page that is known from now on. */
  #newPage(distance: Distance | undefined, write: boolean): KnownPage | undefined {
    if (!distance || this.depth > this.base0) return undefined
    const page = { distance, write, host: this.local('i32'), place: this.local('i32') }
    this.known = { ...this.known, pages: [page, ...this.known.pages.slice(0, KNOWN_PAGES - 1)] }
    return page
  }

  #refused(condition: Expr, how: Expr): void {
    this.if(condition, () => this.leave(this.ripAt(0), how, 0), undefined, false)
  }

  protected hostRead(address: Expr, bytes: number, load: (host: Expr, offset: number) => Expr): Expr {
    let value: Local | undefined
    const keep = (loaded: Expr): void => {
      value ??= this.local(loaded.type as ValueType)
      this.set(value, loaded)
    }
    this.#access(
      address,
      bytes,
      false,
      (host, offset) => keep(load(host, offset)),
      (page, distance) => {
        const host = this.let(this.call(this.functions.read, page, distance, i32.const(bytes)))
        this.#refused(i32.le_u(host, i32.const(REFUSED.LEAVE)), host)
        keep(load(host, 0))
      },
    )
    return this.settled(value as unknown as Local)
  }

  protected hostWrite(address: Expr, bytes: number, store: (host: Expr, offset: number) => Expr): void {
    this.#access(
      address,
      bytes,
      true,
      (host, offset) => this.do(store(host, offset)),
      (page, distance) => {
        this.do(store(i32.const(0), this.stateOffset(STATE.SCRATCH)))
        const answer = this.let(this.call(this.functions.write, page, distance, i32.const(bytes)))
        this.#refused(answer, i32.sub(answer, i32.const(1)))
      },
    )
  }

  protected hostModify(address: Expr, bytes: number, update: (host: Expr) => void): void {
    const at = this.let(address)
    const place = this.local('i32')
    this.#access(
      at,
      bytes,
      true,
      (host, offset) => this.set(place, i32.add(host, i32.const(offset))),
      (page, distance) => {
        this.set(place, this.call(this.functions.modify, page, distance, i32.const(bytes)))
        this.#refused(i32.le_u(this.get(place), i32.const(REFUSED.LEAVE)), this.get(place))
      },
    )
    const host = this.settled(place)
    update(host)
    this.if(
      i32.eq(host, i32.const(this.stateOffset(STATE.SCRATCH))),
      () => this.do(this.call(this.functions.modifyCommit, at, i32.const(bytes))),
      undefined,
      false,
    )
  }

  tryHostRange(address: Expr, access: 'read' | 'write'): Expr {
    const host = this.local('i32')
    this.#access(
      address,
      1,
      access === 'write',
      (found, offset) => this.set(host, i32.add(found, i32.const(offset))),
      () => this.set(host, i32.const(0)),
    )
    return this.settled(host)
  }

  probeWrite(address: Expr, bytes: number): void {
    this.#refused(this.call(this.functions.probe, address, i32.const(bytes)), i32.const(EXIT.FAULT))
  }

  selectCaches(tlb: Expr, jumps?: Expr): void {
    const kept = this.let(tlb)
    this.known = { ...this.known, pages: NO_PAGES }
    this.setStateI32(STATE.CONTEXT, kept)
    this.set(this.context, kept)
    if (jumps) this.setStateI32(STATE.JUMPS, jumps)
  }
}
