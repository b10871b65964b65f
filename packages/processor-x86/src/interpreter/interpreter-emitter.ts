// The InstructionEmitter of the interpreter: operands come from a decoded record. It emits two kinds of handlers: functions of their own
// (record → STATUS), and bodies inside `run`, where lazy flags and the record live in locals.

import type { InstructionForm } from '../instruction/definition.ts'
import { InstructionEmitter, type LazyFlags } from '../instruction/emitter.ts'
import type { HelperFunction } from '../instruction/helper.ts'
import { FILE, RECORD, STATE, STATUS, TLB } from '../state-layout.ts'
import { type Expr, i32, i64, select, type ValueType } from '../wasm/expression.ts'
import type { FunctionReference, Label, Local } from '../wasm/function-emitter.ts'
import { tlbEntry } from './tlb-entry.ts'

/** Functions that handlers call. */
export interface RuntimeFunctions {
  /** (address i64, bytes) → offset in memory, 0 after a fault */
  readonly readSlow: FunctionReference
  /** (address i64, bytes) → not 0 after a fault; the value is in STATE.SCRATCH */
  readonly writeSlow: FunctionReference
  /** (address i64, bytes) → offset in memory or of STATE.SCRATCH, 0 after a fault */
  readonly modifyBegin: FunctionReference
  /** (address i64, bytes): write STATE.SCRATCH back */
  readonly modifyCommit: FunctionReference
  /** (address i64, bytes) → not 0 after a fault */
  readonly probe: FunctionReference
  /** (record, bytes | 0x100 for a write) → linear address i64 of the memory operand */
  readonly linear: FunctionReference
  /** (record) → effective address i64 */
  readonly effective: FunctionReference
  /** (segment, offset i64, bytes | 0x100) → linear address i64 with the legacy checks */
  readonly segment: FunctionReference
  /** () → nanoseconds f64 */
  readonly now: FunctionReference
  readonly helper: (helper: HelperFunction) => FunctionReference
}

/** The locals and labels of `run`, for inline handlers. */
export interface InlineContext {
  readonly flags: Readonly<Record<keyof LazyFlags, Local>>
  readonly context: Local
  /** Where control goes when the block ends. */
  readonly target: Local
  readonly next: Label
  readonly outer: Label
  readonly fault: Label
  readonly link: Label
}

export class InterpreterEmitter extends InstructionEmitter {
  form!: InstructionForm
  readonly #base: number
  readonly #runtime: RuntimeFunctions
  /** The record. */
  record!: Local
  inline: InlineContext | undefined
  /** The form of address the handler is for: 1 base + displacement, 2 full; otherwise the general function. */
  addressKind = 3

  constructor(base: number, runtime: RuntimeFunctions, params: readonly ValueType[] = ['i32']) {
    super(params)
    this.#base = base
    this.#runtime = runtime
    this.record = this.parameter(0)
  }

  stateOffset(field: number): number {
    return this.#base + field
  }

  #u8(field: number): Expr {
    return i32.load8_u(this.get(this.record), field)
  }
  #recordFieldOf(n: number): number {
    switch (this.operand(n).kind) {
      case 'gpr-rm':
      case 'xmm-rm':
      case 'mmx-rm':
        return RECORD.RM
      case 'gpr-vvvv':
        return RECORD.CHAIN
      default:
        return RECORD.REG
    }
  }
  protected fileOffset(n: number): Expr {
    return this.#u8(this.#recordFieldOf(n))
  }
  protected vectorOffset(n: number): Expr {
    return this.#u8(this.#recordFieldOf(n))
  }
  registerNumber(n: number): Expr {
    return this.#u8(this.#recordFieldOf(n))
  }
  modrm(): Expr {
    return this.#u8(RECORD.RM)
  }
  protected immediateField(n: number): Expr {
    const first = this.form.operands.findIndex(
      (operand) => operand.kind === 'immediate' || operand.kind === 'relative' || operand.kind === 'far',
    )
    return n === first || n < 0
      ? i64.load(this.get(this.record), RECORD.IMMEDIATE)
      : i64.load32_s(this.get(this.record), RECORD.DISPLACEMENT)
  }

  #fileValue(field: number): Expr {
    return i64.load(this.#u8(field), this.stateOffset(STATE.FILE))
  }
  #sum(): Expr {
    const base = i64.add(this.#fileValue(RECORD.BASE), i64.load32_s(this.get(this.record), RECORD.DISPLACEMENT))
    if (this.addressKind === 1) return base
    return i64.add(
      base,
      i64.shl(this.#fileValue(RECORD.INDEX), i64.extend_i32_u(i32.and(this.#u8(RECORD.SCALE), i32.const(3)))),
    )
  }
  address(n: number, bytes: number, access: 'read' | 'write'): Expr {
    if (this.operand(n).moffs || this.addressKind === 3) {
      if (this.operand(n).moffs) {
        return this.let(
          this.call(
            this.#runtime.segment,
            this.#instructionSegment(),
            i64.load(this.get(this.record), RECORD.IMMEDIATE),
            i32.const(bytes | (access === 'write' ? 0x100 : 0)),
          ),
        )
      }
      return this.let(
        this.call(this.#runtime.linear, this.get(this.record), i32.const(bytes | (access === 'write' ? 0x100 : 0))),
      )
    }
    if (this.addressKind === 1) return this.let(this.#sum())
    return this.let(i64.add(this.#sum(), this.#fileValue(RECORD.SEGMENT_BASE)))
  }
  effectiveAddress(_n: number): Expr {
    if (this.addressKind === 3) return this.let(this.call(this.#runtime.effective, this.get(this.record)))
    return this.let(this.#sum())
  }
  #instructionSegment(): Expr {
    return i32.and(i32.shr_u(this.#u8(RECORD.FLAGS), i32.const(3)), i32.const(7))
  }
  segmentAddress(segment: number | 'instruction', offset: Expr, bytes: number, access: 'read' | 'write'): Expr {
    const number = segment === 'instruction' ? this.#instructionSegment() : i32.const(segment)
    return this.let(
      this.call(this.#runtime.segment, number, offset, i32.const(bytes | (access === 'write' ? 0x100 : 0))),
    )
  }
  addressMask(): Expr {
    const size = this.let(i32.and(this.#u8(RECORD.FLAGS), i32.const(3)))
    return this.let(
      select(
        i32.eqz(size),
        i64.const(-1),
        select(i32.eq(size, i32.const(1)), i64.const(0xffffffff), i64.const(0xffff)),
      ),
    )
  }

  // --- memory

  #context(): Expr {
    return this.inline ? this.get(this.inline.context) : i32.load(i32.const(0), this.stateOffset(STATE.CONTEXT))
  }
  /** Looks `address` up in a TLB; `hit` gets the offset in memory. */
  #lookup(address: Expr, bytes: number, tlb: number, hit: (host: Expr) => void, miss: () => void): void {
    const entry = this.let(tlbEntry(this.#context(), address))
    const offset = this.let(i64.sub(address, i64.load(entry, tlb)))
    this.if(i64.gt_u(offset, i64.const(4096 - bytes)), miss, () =>
      hit(i32.add(i32.wrap_i64(offset), i32.load(entry, tlb + 8))),
    )
  }
  protected hostRead(address: Expr, bytes: number, load: (host: Expr, offset: number) => Expr): Expr {
    const at = this.let(address)
    const host = this.local('i32')
    this.#lookup(
      at,
      bytes,
      TLB.READ,
      (found) => this.set(host, found),
      () => {
        this.set(host, this.call(this.#runtime.readSlow, at, i32.const(bytes)))
        this.#faultIf(i32.eqz(this.get(host)))
      },
    )
    return this.let(load(this.get(host), 0))
  }
  protected hostWrite(address: Expr, bytes: number, store: (host: Expr, offset: number) => Expr): void {
    const at = this.let(address)
    this.#lookup(
      at,
      bytes,
      TLB.WRITE,
      (found) => this.do(store(found, 0)),
      () => {
        this.do(store(i32.const(0), this.stateOffset(STATE.SCRATCH)))
        this.#faultIf(this.call(this.#runtime.writeSlow, at, i32.const(bytes)))
      },
    )
  }
  protected hostModify(address: Expr, bytes: number, update: (host: Expr) => void): void {
    const at = this.let(address)
    const host = this.local('i32')
    this.#lookup(
      at,
      bytes,
      TLB.WRITE,
      (found) => this.set(host, found),
      () => {
        this.set(host, this.call(this.#runtime.modifyBegin, at, i32.const(bytes)))
        this.#faultIf(i32.eqz(this.get(host)))
      },
    )
    update(this.get(host))
    this.if(i32.eq(this.get(host), i32.const(this.stateOffset(STATE.SCRATCH))), () =>
      this.do(this.call(this.#runtime.modifyCommit, at, i32.const(bytes))),
    )
  }
  /** i32: offset in memory of `address` when its page can be accessed directly up to the page's end, else 0. */
  tryHostRange(address: Expr, access: 'read' | 'write'): Expr {
    const host = this.local('i32')
    this.#lookup(
      this.let(address),
      1,
      access === 'read' ? TLB.READ : TLB.WRITE,
      (found) => this.set(host, found),
      () => this.set(host, i32.const(0)),
    )
    return this.get(host)
  }
  probeWrite(address: Expr, bytes: number): void {
    this.#faultIf(this.call(this.#runtime.probe, address, i32.const(bytes)))
  }

  // --- flags

  protected getLazyFlags(): LazyFlags {
    if (this.inline) {
      const { flags } = this.inline
      return {
        x: this.get(flags.x),
        y: this.get(flags.y),
        s: this.get(flags.s),
        zero: this.get(flags.zero),
        sign: this.get(flags.sign),
      }
    }
    const field = (f: number): Expr => i64.load(i32.const(0), this.stateOffset(f))
    return {
      x: field(STATE.FLAG_X),
      y: field(STATE.FLAG_Y),
      s: field(STATE.FLAG_S),
      zero: field(STATE.FLAG_ZERO),
      sign: field(STATE.FLAG_SIGN),
    }
  }
  protected setLazyFlags(flags: Partial<LazyFlags>): void {
    const fields = {
      x: STATE.FLAG_X,
      y: STATE.FLAG_Y,
      s: STATE.FLAG_S,
      zero: STATE.FLAG_ZERO,
      sign: STATE.FLAG_SIGN,
    } as const
    for (const name of ['x', 'y', 's', 'zero', 'sign'] as const) {
      const value = flags[name]
      if (!value) continue
      if (this.inline) this.set(this.inline.flags[name], value)
      else this.setStateI64(fields[name], value)
    }
  }

  // --- control

  nextRip(): Expr {
    return this.let(
      i64.add(
        this.stateI64(STATE.FILE + FILE.BLOCK_RIP),
        i64.extend_i32_u(i32.add(i32.load16_u(this.get(this.record), RECORD.OFFSET), this.#u8(RECORD.LENGTH))),
      ),
    )
  }
  currentRip(): Expr {
    return this.let(
      i64.add(
        this.stateI64(STATE.FILE + FILE.BLOCK_RIP),
        i64.extend_i32_u(i32.load16_u(this.get(this.record), RECORD.OFFSET)),
      ),
    )
  }
  #faultIf(condition: Expr): void {
    if (this.inline) this.brIf(this.inline.fault, condition)
    else this.if(condition, () => this.return(i32.const(STATUS.FAULT)))
  }
  leaveWithFault(): void {
    if (this.inline) this.br(this.inline.fault)
    else this.return(i32.const(STATUS.FAULT))
  }
  /** Count the block's instructions up to this one. */
  countBlock(): void {
    const budget = this.stateOffset(STATE.BUDGET)
    this.do(
      i32.store(
        i32.const(0),
        i32.sub(i32.load(i32.const(0), budget), i32.load16_u(this.get(this.record), RECORD.COUNT)),
        budget,
      ),
    )
  }
  jump(target: Expr): void {
    if (this.inline) {
      this.set(this.inline.target, target)
      this.countBlock()
      this.br(this.inline.outer)
      return
    }
    this.setStateI64(STATE.RIP, target)
    this.countBlock()
    this.return(i32.const(STATUS.JUMP))
  }
  /** Linked to the target's record when both are in one page; otherwise by the jump cache. */
  jumpRelative(): void {
    if (!this.inline) {
      this.jump(this.#relativeTarget())
      return
    }
    this.countBlock()
    const chain = this.let(i32.load(this.get(this.record), RECORD.CHAIN))
    this.set(this.inline.target, this.#relativeTarget())
    this.brIf(this.inline.outer, i32.eq(chain, i32.const(1)))
    this.brIf(
      this.inline.link,
      i32.or(i32.eqz(chain), i32.lt_s(i32.load(i32.const(0), this.stateOffset(STATE.BUDGET)), i32.const(0))),
    )
    this.setStateI64(STATE.FILE + FILE.BLOCK_RIP, this.get(this.inline.target))
    this.set(this.record, chain)
    this.br(this.inline.next)
  }
  #relativeTarget(): Expr {
    const sum = i64.add(this.stateI64(STATE.FILE + FILE.BLOCK_RIP), i64.load(this.get(this.record), RECORD.IMMEDIATE))
    if (this.form.mode64) return sum
    return i64.and(sum, i64.const(this.form.operandSize === 2 ? 0xffff : 0xffffffff))
  }
  complete(): void {
    if (!this.inline) {
      this.return(i32.const(STATUS.NEXT))
      return
    }
    this.set(this.record, i32.add(this.get(this.record), i32.const(RECORD.SIZE)))
    this.br(this.inline.next)
  }
  clock(): Expr {
    return this.call(this.#runtime.now)
  }
  selectCaches(tlb: Expr, jumps?: Expr): void {
    const kept = this.let(tlb)
    this.setStateI32(STATE.CONTEXT, kept)
    if (this.inline) this.set(this.inline.context, kept)
    if (jumps) this.setStateI32(STATE.JUMPS, jumps)
  }
  repeatInstruction(): void {
    this.jump(this.currentRip())
  }
  helper(helper: HelperFunction, ...args: Expr[]): Expr {
    return this.call(this.#runtime.helper(helper), ...args)
  }
}
