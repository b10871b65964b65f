// The InstructionEmitter of the translator: one WebAssembly function for a region. General registers and lazy flags live in locals, operands are constants. What leaves the
// region goes through one epilogue that writes the locals back; a fault gets there from a cold branch which says what instruction it was.
//
// Flags are kept as expressions for as long as control is straight: they are computed where they are used, where paths meet, and on the cold branches. The same holds for
// the count of instructions.

import { MODE } from '../decoder/mode.ts'
import type { InstructionForm, Semantics } from '../instruction/definition.ts'
import { InstructionEmitter, type LazyFlags, signExtend, zeroExtend } from '../instruction/emitter.ts'
import type { HelperFunction } from '../instruction/helper.ts'
import { emitUnitCheck } from '../instruction/unit-check.ts'
import { HANDLER } from '../interpreter/handler.ts'
import { jumpEntry } from '../interpreter/jump-entry.ts'
import { tlbEntry } from '../interpreter/tlb-entry.ts'
import { FILE, RECORD, REFUSED, SEGMENT, STATE, STATUS, TLB } from '../state-layout.ts'
import {
  type Distance,
  doubleOf,
  type Expr,
  i32,
  i64,
  near,
  select,
  singleOf,
  type ValueType,
} from '../wasm/expression.ts'
import type { FunctionReference, Gap, Label, Local, TypeReference } from '../wasm/function-emitter.ts'
import { simd, v128 } from '../wasm/simd.ts'
import { controlFlow, type Node } from './control-flow.ts'
import { type FlagSource, simpleCondition } from './flag-source.ts'
import { type Known, type KnownPage, NO_DISTANCES, NO_PAGES, nothing } from './known.ts'
import { FLOW, type Region, type RegionBlock, type RegionInstruction } from './region.ts'
import { type Registers, RegisterTraffic, Segment } from './register-traffic.ts'

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

/** How a region is left. The first two are those of {@link REFUSED}. */
const EXIT = { FAULT: 0, LEAVE: 1, BUDGET: 2, CHAIN: 3 } as const

const FLAG_NAMES = ['x', 'y', 's', 'zero', 'sign'] as const
const FLAG_FIELDS = {
  x: STATE.FLAG_X,
  y: STATE.FLAG_Y,
  s: STATE.FLAG_S,
  zero: STATE.FLAG_ZERO,
  sign: STATE.FLAG_SIGN,
} as const

const NOWHERE = 0x4000_0000
/** More at a time would be too many locals. */
const KNOWN_PAGES = 6
const PAGE = 4096

/** An instruction sets flags on some of its ways only: they must be in their locals before it. */
class FlagsOnSomeWays extends Error {}

/** Code by register. */
interface RegisterCode {
  readonly load: readonly Uint8Array[]
  readonly store: readonly Uint8Array[]
}
/** By the offset of the state area. */
const REGISTER_CODES = new Map<number, RegisterCode>()
function fill(gap: Gap, code: readonly Uint8Array[], registers: Registers): void {
  for (let left = registers; left !== 0; left &= left - 1) {
    gap.code.push(code[31 - Math.clz32(left & -left)] as Uint8Array)
  }
}

export class RegionEmitter extends InstructionEmitter {
  form!: InstructionForm
  readonly #base: number
  readonly #functions: RegionFunctions
  readonly #region: Region
  readonly #nodes: Map<number, Node>

  readonly #registers: readonly Local[]
  readonly #vectors: readonly Local[]
  readonly #flags: Readonly<Record<keyof LazyFlags, Local>>
  readonly #rip: Local
  readonly #context: Local
  readonly #budget: Local
  readonly #out: Local
  readonly #how: Local
  /** The record of the block that control goes to, where it is known. */
  readonly #next: Local
  /** For pages but the entry's: not 0 once control has come there and the mapping was right. */
  readonly #seen = new Map<number, Local>()
  readonly #counter: number | undefined
  readonly #code: RegisterCode
  readonly #traffic = new RegisterTraffic()
  /** Where instructions load registers. */
  readonly #loads: { readonly gap: Gap; registers: Registers }[] = []
  /** Where the instruction begins, and what it loads there. */
  #start = 0
  #load: { readonly gap: Gap; registers: Registers } | undefined
  /** What FS, GS and the region's addresses are measured from. */
  readonly #roots: readonly object[] = Array.from({ length: 7 }, () => ({}))

  /** Where everything leaves, and what leaves with the flags that it came with. */
  #exit!: Label
  #exitUnchanged!: Label
  readonly #labels = new Map<Node, { readonly label: Label; readonly loop: boolean; readonly segment: Segment }>()
  #node!: Node
  #instruction!: RegionInstruction
  /** Control depth between instructions. */
  #base0 = 0
  #known: Known = { ...nothing(new Segment(true)), unchanged: true }
  /** Locals that what is pending may refer to. */
  #held: Local[] = []
  /** Where `complete` goes. */
  #completed: Label | undefined

  /** `counter`: where in memory (i64) the instructions that the region executes are counted, if they are. */
  constructor(region: Region, base: number, functions: RegionFunctions, counter: number | undefined) {
    super(['i32'])
    this.#counter = counter
    this.#base = base
    this.#functions = functions
    this.#region = region
    this.#nodes = controlFlow(region)
    this.#registers = Array.from({ length: 16 }, () => this.local('i64'))
    this.#vectors = Array.from({ length: 16 }, () => this.local('v128'))
    // the same in each region: these are the first locals
    let code = REGISTER_CODES.get(base)
    if (!code) {
      code = this.#registerCode()
      REGISTER_CODES.set(base, code)
    }
    this.#code = code
    this.#flags = {
      x: this.local('i64'),
      y: this.local('i64'),
      s: this.local('i64'),
      zero: this.local('i64'),
      sign: this.local('i64'),
    }
    this.#rip = this.local('i64')
    this.#out = this.local('i64')
    this.#context = this.local('i32')
    this.#budget = this.local('i32')
    this.#how = this.local('i32')
    this.#next = this.local('i32')
    // locals begin as 0
    for (const { page } of region.blocks.values()) {
      if (page !== 0 && !this.#seen.has(page)) this.#seen.set(page, this.local('i32'))
    }
  }

  /** Emit the whole function. */
  emit(): void {
    this.#prologue()
    this.block((unchanged) => {
      this.#exitUnchanged = unchanged
      this.block((exit) => {
        this.#exit = exit
        this.#tree(this.#nodes.get(0) as Node)
      })
      for (const name of FLAG_NAMES) this.setStateI64(FLAG_FIELDS[name], this.get(this.#flags[name]))
    })
    this.#epilogue()
    this.#traffic.solve()
    for (const { gap, registers } of this.#loads) fill(gap, this.#code.load, registers)
  }

  #field32(field: number): Expr {
    return i32.load(i32.const(0), this.stateOffset(field))
  }
  #field64(field: number): Expr {
    return i64.load(i32.const(0), this.stateOffset(field))
  }
  #prologue(): void {
    this.set(this.#rip, this.#field64(STATE.FILE + FILE.BLOCK_RIP))
    this.set(this.#context, this.#field32(STATE.CONTEXT))
    this.set(this.#budget, this.#field32(STATE.RESERVE))
  }
  /** What loads and stores each register, in the numbers of {@link Registers}. */
  #registerCode(): RegisterCode {
    const zero = i32.const(0)
    const [load, store]: Uint8Array[][] = [[], []]
    this.#registers.forEach((local, r) => {
      const offset = this.stateOffset(STATE.FILE + r * 8)
      load.push(this.assemble(() => this.set(local, i64.load(zero, offset))))
      store.push(this.assemble(() => this.do(i64.store(zero, this.get(local), offset))))
    })
    this.#vectors.forEach((local, r) => {
      const offset = this.stateOffset(STATE.XMM + r * 16)
      load.push(this.assemble(() => this.set(local, v128.load(zero, offset))))
      store.push(this.assemble(() => this.do(v128.store(zero, this.get(local), offset))))
    })
    return { load, store }
  }
  #epilogue(): void {
    const zero = i32.const(0)
    if (this.#counter !== undefined) {
      const executed = i32.sub(this.#field32(STATE.RESERVE), this.get(this.#budget))
      const sum = i64.add(i64.load(zero, this.#counter), i64.extend_i32_u(executed))
      this.do(i64.store(zero, sum, this.#counter))
    }
    this.do(i64.store(zero, this.get(this.#out), this.stateOffset(STATE.RIP)))
    this.do(i32.store(zero, this.get(this.#budget), this.stateOffset(STATE.RESERVE)))
    this.if(i32.eq(this.get(this.#how), i32.const(EXIT.CHAIN)), () => this.#chain())
    this.return(
      select(
        i32.eq(this.get(this.#how), i32.const(EXIT.BUDGET)),
        i32.const(STATUS.EXIT),
        select(i32.eq(this.get(this.#how), i32.const(EXIT.FAULT)), i32.const(STATUS.FAULT), i32.const(STATUS.LEAVE)),
      ),
    )
    this.unreachable()
  }

  /** Go on in the region at #out, when the jump cache knows one and the slice is not over. */
  #chain(): void {
    const target = this.get(this.#out)
    const over = i32.lt_s(this.get(this.#budget), i32.const(0))
    this.if(over, () => this.return(i32.const(STATUS.EXIT)), undefined, false)
    const next = this.#next
    this.if(i32.eqz(this.get(next)), () => {
      const entry = this.let(jumpEntry(this, this.#base, target))
      this.if(i64.ne(i64.load(entry), target), () => this.return(i32.const(STATUS.JUMP)), undefined, false)
      this.set(next, i32.load(entry, 8))
    })
    const record = this.settled(next)
    this.if(i32.eq(i32.load16_u(record, RECORD.HANDLER), i32.const(HANDLER.REGION)), () => {
      this.setStateI64(STATE.FILE + FILE.BLOCK_RIP, target)
      this.returnCallIndirect(this.#functions.region, i32.load16_u(record, RECORD.FUNCTION), record)
    })
    this.return(i32.const(STATUS.JUMP))
  }

  // --- control flow

  #tree(node: Node): void {
    const merges = node.children.filter(({ merge }) => merge).sort((a, b) => b.order - a.order)
    if (!node.loop) {
      this.#within(node, merges, 0)
      return
    }
    const segment = new Segment(false)
    this.#settle(0)
    this.#loadFlags()
    this.#enter(segment)
    this.#forget(segment)
    super.loop((label) => {
      this.#labels.set(node, { label, loop: true, segment })
      this.#within(node, merges, 0)
    })
  }
  #within(node: Node, merges: readonly Node[], index: number): void {
    const merge = merges[index]
    if (!merge) {
      this.#block(node)
      return
    }
    const segment = new Segment(false)
    this.block((label) => {
      // a block that is a loop's header, too, gets its label there
      this.#labels.set(merge, { label, loop: false, segment })
      this.#within(node, merges, index + 1)
    })
    this.#forget(segment)
    this.#tree(merge)
  }
  #block(node: Node): void {
    const outer = this.#node
    this.#node = node
    const block = this.#region.blocks.get(node.at) as RegionBlock
    for (const instruction of block.instructions) this.#emitInstruction(instruction)
    if (block.next !== undefined) this.#edge(block.next)
    this.#node = outer
  }
  /** Go to a place in the region, or outside it. What is pending stays so for other ways. */
  #edge(target: number): void {
    const node = this.#node.successors.find(({ at }) => at === target)
    if (!node) {
      const record = this.#region.records(target)
      if (record !== 0) this.set(this.#next, i32.const(record))
      this.#leave(this.#place(target), i32.const(EXIT.CHAIN), 0)
      return
    }
    this.#enterPage(target)
    const place = this.#labels.get(node)
    if (!place || (!node.merge && !place.loop)) {
      this.#tree(node)
      return
    }
    this.#settle(0)
    this.#loadFlags()
    if (place.loop) {
      this.if(
        i32.lt_s(this.get(this.#budget), i32.const(0)),
        () => {
          this.#store()
          this.set(this.#out, this.#place(target))
          this.set(this.#how, i32.const(EXIT.BUDGET))
          this.br(this.#exit)
        },
        undefined,
        false,
      )
    }
    this.#enter(place.segment)
    this.br(place.label)
  }
  /** Load what is needed at the beginning of a segment. */
  #enter(segment: Segment): void {
    const gap = this.gap()
    this.#traffic.edge(this.#known.way, segment, (registers) => fill(gap, this.#code.load, registers))
  }
  /** Store what was changed. */
  #store(): void {
    const gap = this.gap()
    this.#traffic.exit(this.#known.way, (registers) => fill(gap, this.#code.store, registers))
  }
  /** Control comes from one page into another: leave unless that is still the one that the region was made for. */
  #enterPage(target: number): void {
    const { blocks } = this.#region
    const { page, block } = blocks.get(target) as RegionBlock
    const seen = this.#seen.get(page)
    if (!seen || blocks.get(this.#node.at)?.page === page) return
    this.if(
      i32.eqz(this.get(seen)),
      () => {
        const rip = this.let(i64.add(this.get(this.#rip), i64.const(target)))
        const entry = this.let(jumpEntry(this, this.#base, rip))
        const other = i32.or(i64.ne(i64.load(entry), rip), i32.ne(i32.load(entry, 8), i32.const(block)))
        this.if(other, () => this.#leave(rip, i32.const(EXIT.CHAIN), 0), undefined, false)
        this.set(seen, i32.const(1))
      },
      undefined,
      false,
    )
  }
  /** Leave the region: `extra` instructions have been completed beside those counted. */
  #leave(rip: Expr, how: Expr, extra: number): void {
    this.#settle(extra)
    this.#store()
    this.set(this.#out, rip)
    this.set(this.#how, how)
    this.br(this.#known.unchanged ? this.#exitUnchanged : this.#exit)
  }
  /** Where ways meet, flags are in locals. */
  #loadFlags(): void {
    if (!this.#known.unchanged) return
    for (const name of FLAG_NAMES) this.set(this.#flags[name], this.#field64(FLAG_FIELDS[name]))
  }
  /** Emit what is pending, which stays pending for other ways. */
  #settle(extra: number): void {
    for (const name of FLAG_NAMES) {
      const value = this.#known.pending[name]
      if (value) this.set(this.#flags[name], value)
    }
    const count = this.#known.count + extra
    if (count > 0) this.set(this.#budget, i32.sub(this.get(this.#budget), i32.const(count)))
  }
  /** Nothing is pending or known: other ways lead here. */
  #forget(segment: Segment): void {
    this.#known = nothing(segment)
    this.release(this.#held)
    this.#held = []
  }

  // --- instructions

  #emitInstruction(instruction: RegionInstruction): void {
    this.#use(instruction)
    const start = this.checkpoint()
    this.#start = start.length
    this.#load = undefined
    const known = this.#known
    let taken: Local[]
    try {
      taken = this.taking(() => this.#semantics())
    } catch (thrown) {
      if (!(thrown instanceof FlagsOnSomeWays)) throw thrown
      this.rollBack(start)
      this.#load = undefined
      this.#known = known
      this.#settle(0)
      this.#loadFlags()
      this.#known = { ...known, unchanged: false, pending: {}, source: undefined, count: 0 }
      taken = this.taking(() => this.#semantics())
    }
    this.#known = { ...this.#known, count: this.#known.count + 1 }
    this.#hold(taken)
  }
  #use(instruction: RegionInstruction): void {
    this.#instruction = instruction
    this.form = instruction.decoded.form
    this.#base0 = this.depth
  }
  #semantics(): void {
    const { definition } = this.form
    const { semantics, options } = definition
    const { unit } = options
    if (unit && !this.#known.units.has(unit)) {
      emitUnitCheck(this, unit)
      // an MMX instruction looks at the x87 status, which changes
      if (unit !== 'mmx') this.#known = { ...this.#known, units: new Set([...this.#known.units, unit]) }
    }
    if (typeof semantics === 'function') {
      ;(semantics as Semantics)(this)
      return
    }
    // the usual case; the interpreter does the others
    this.block((completed) => {
      this.#completed = completed
      semantics.usual?.(this)
      this.#leave(this.#at(0), i32.const(EXIT.LEAVE), 0)
    })
  }
  /** Keep the locals that something pending refers to; others are free. */
  #hold(taken: readonly Local[]): void {
    const candidates = [...this.#held, ...taken]
    if (candidates.length === 0) return
    const used = new Set<number>()
    const note = (expr: Expr): void => this.eachLocal(expr, (index) => used.add(index))
    for (const name of FLAG_NAMES) {
      const value = this.#known.pending[name]
      if (value) note(value)
    }
    for (const { host, place } of this.#known.pages) used.add(host.index).add(place.index)
    const { source } = this.#known
    if (source) {
      note(source.r)
      if (source.kind !== 'bitwise') {
        note(source.a)
        note(source.b)
      }
    }
    this.#held = candidates.filter(({ index }) => used.has(index))
    this.release(candidates.filter(({ index }) => !used.has(index)))
  }
  /** Locals of parts of an instruction may be pending flags: they are free when it is done. */
  override scope(body: () => void): void {
    body()
  }

  #byte(field: number): number {
    return this.#region.view.getUint8(this.#instruction.record + field)
  }
  stateOffset(field: number): number {
    return this.#base + field
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
    return i32.const(this.#byte(this.#recordFieldOf(n)))
  }
  protected vectorOffset(n: number): Expr {
    return i32.const(this.#byte(this.#recordFieldOf(n)))
  }
  registerNumber(n: number): Expr {
    return i32.const(this.#byte(this.#recordFieldOf(n)))
  }
  modrm(): Expr {
    return i32.const(this.#byte(RECORD.RM))
  }
  protected immediateField(n: number): Expr {
    const first = this.form.operands.findIndex(
      (operand) => operand.kind === 'immediate' || operand.kind === 'relative' || operand.kind === 'far',
    )
    const { view } = this.#region
    const { record } = this.#instruction
    return n === first || n < 0
      ? i64.const(view.getBigInt64(record + RECORD.IMMEDIATE, true))
      : i64.const(view.getInt32(record + RECORD.DISPLACEMENT, true))
  }

  // --- general registers

  /** Registers are read, or written on some ways only: they must be in their locals. */
  #fetch(registers: Registers): void {
    const { way } = this.#known
    if ((way.held & registers) === registers) return
    if (!way.segment.entry) {
      way.segment.read |= registers
      return
    }
    if (!this.#load) {
      this.#load = { gap: this.gap(this.#start), registers: 0 }
      this.#loads.push(this.#load)
    }
    this.#load.registers |= registers
    this.#known = { ...this.#known, way: { ...way, held: way.held | registers } }
  }
  #change(registers: Registers): void {
    if (this.depth > this.#base0) this.#fetch(registers)
    const { way } = this.#known
    const held = way.held | registers
    const changed = way.changed | registers
    if (held !== way.held || changed !== way.changed) {
      this.#known = { ...this.#known, way: { segment: way.segment, held, changed } }
    }
  }
  #read(register: number): Expr {
    this.#fetch(1 << register)
    let distance = this.#known.distances[register]
    if (!distance) {
      distance = { root: {}, bytes: 0 }
      this.#measure(register, distance)
    }
    return { ...this.get(this.#registers[register] as Local), distance }
  }
  #write(register: number, value: Expr): void {
    this.#change(1 << register)
    this.set(this.#registers[register] as Local, value)
    this.#measure(register, this.depth > this.#base0 ? undefined : value.distance)
  }
  #measure(register: number, distance: Distance | undefined): void {
    const distances = this.#known.distances.slice()
    distances[register] = distance
    this.#known = { ...this.#known, distances }
  }
  /** In a loop of an instruction registers change behind the emitter's back. */
  override loop(body: (label: Label) => void): void {
    this.#known = { ...this.#known, distances: NO_DISTANCES, pages: NO_PAGES }
    const first = this.#traffic.exits
    super.loop(body)
    this.#traffic.comesRound(first, this.#known.way.changed)
    this.#known = { ...this.#known, distances: NO_DISTANCES, pages: NO_PAGES }
  }
  override gpr(register: number, size: number = 8, signed = false): Expr {
    const value = this.#read(register)
    return this.let(signed ? signExtend(value, size) : zeroExtend(value, size))
  }
  override setGpr(register: number, value: Expr, size: number = 8): void {
    if (size === 8) this.#write(register, value)
    else if (size === 4) this.#write(register, zeroExtend(value, 4))
    else {
      const mask = (1n << BigInt(size * 8)) - 1n
      this.#write(register, i64.or(i64.and(this.#read(register), i64.const(~mask)), zeroExtend(value, size)))
    }
  }
  override highByte(register: number): Expr {
    return this.let(i64.and(i64.shr_u(this.#read(register), i64.const(8)), i64.const(0xff)))
  }
  override setHighByte(register: number, value: Expr): void {
    const placed = i64.shl(zeroExtend(value, 1), i64.const(8))
    this.#write(register, i64.or(i64.and(this.#read(register), i64.const(~0xff00)), placed))
  }
  protected override readRegister(n: number, size: number, signed: boolean): Expr {
    const offset = this.#byte(this.#recordFieldOf(n))
    if (!(offset & 1)) return this.gpr(offset >> 3, size, signed)
    const high = this.highByte(offset >> 3)
    return signed ? this.let(signExtend(high, 1)) : high
  }
  protected override writeRegister(n: number, size: number, value: Expr): void {
    const offset = this.#byte(this.#recordFieldOf(n))
    if (offset & 1) this.setHighByte(offset >> 3, value)
    else this.setGpr(offset >> 3, value, size)
  }
  protected override modifyRegister(n: number, signed: boolean, update: (old: Expr) => Expr): void {
    const { kind, size, value = 0 } = this.operand(n)
    if (kind === 'gpr-fixed') this.setGpr(value, update(this.gpr(value, size, signed)), size)
    else this.writeRegister(n, size, update(this.readRegister(n, size, signed)))
  }

  // --- vector registers

  override xmm(register: number): Expr {
    this.#fetch(0x10000 << register)
    return this.let(this.get(this.#vectors[register] as Local))
  }
  override setXmm(register: number, value: Expr): void {
    this.#change(0x10000 << register)
    this.set(this.#vectors[register] as Local, value)
  }
  #vectorOf(n: number): number {
    return this.#byte(this.#recordFieldOf(n)) >> 4
  }
  override readVector(n: number): Expr {
    return this.isMemory(n) ? super.readVector(n) : this.xmm(this.#vectorOf(n))
  }
  override writeVector(n: number, value: Expr): void {
    if (this.isMemory(n)) super.writeVector(n, value)
    else this.setXmm(this.#vectorOf(n), value)
  }
  /** The numbers in the low lanes are had as numbers, too. */
  override readVectorLow(n: number, bytes: number): Expr {
    if (this.isMemory(n)) return super.readVectorLow(n, bytes)
    const vector = this.xmm(this.#vectorOf(n))
    switch (bytes) {
      case 1:
        return this.let(i64.extend_i32_u(simd['i8x16.extract_lane_u'](vector, 0)))
      case 2:
        return this.let(i64.extend_i32_u(simd['i16x8.extract_lane_u'](vector, 0)))
      case 4:
        return {
          ...this.let(i64.extend_i32_u(simd['i32x4.extract_lane'](vector, 0))),
          single: simd['f32x4.extract_lane'](vector, 0),
        }
      default:
        return {
          ...this.let(simd['i64x2.extract_lane'](vector, 0)),
          double: simd['f64x2.extract_lane'](vector, 0),
        }
    }
  }
  override writeVectorLow(n: number, bytes: number, value: Expr): void {
    if (this.isMemory(n)) {
      super.writeVectorLow(n, bytes, value)
      return
    }
    const register = this.#vectorOf(n)
    const old = this.xmm(register)
    const double = bytes === 8 ? doubleOf(value) : undefined
    const single = bytes === 4 ? singleOf(value) : undefined
    if (double) this.setXmm(register, simd['f64x2.replace_lane'](old, 0, double))
    else if (single) this.setXmm(register, simd['f32x4.replace_lane'](old, 0, single))
    else if (bytes === 8) this.setXmm(register, simd['i64x2.replace_lane'](old, 0, value))
    else {
      const lane = bytes === 4 ? 'i32x4.replace_lane' : bytes === 2 ? 'i16x8.replace_lane' : 'i8x16.replace_lane'
      this.setXmm(register, simd[lane](old, 0, i32.wrap_i64(value)))
    }
  }
  override readVectorHigh(n: number): Expr {
    return this.let(simd['i64x2.extract_lane'](this.xmm(this.#vectorOf(n)), 1))
  }
  override writeVectorHigh(n: number, value: Expr): void {
    const register = this.#vectorOf(n)
    this.setXmm(register, simd['i64x2.replace_lane'](this.xmm(register), 1, value))
  }

  // --- addresses

  override setStateI64(field: number, value: Expr): void {
    super.setStateI64(field, value)
    const segment = field - (STATE.FILE + FILE.SEGMENT_BASE)
    if (segment >= 0 && segment < 6 * 8) this.#known = { ...this.#known, pages: NO_PAGES }
  }
  /** i64: RIP of a place of the region. */
  #place(at: number): Expr {
    const rip = i64.add(this.get(this.#rip), i64.const(at))
    return this.#legacy ? zeroExtend(rip, 4) : rip
  }
  /** i64: RIP `bytes` behind the instruction's start. */
  #at(bytes: number): Expr {
    return this.#place(this.#instruction.at + bytes)
  }
  #file(offset: number): Expr {
    if (offset < FILE.ZERO) return this.#read(offset >> 3)
    if (offset === FILE.ZERO) return i64.const(0)
    if (offset === FILE.BLOCK_RIP) {
      return { ...this.get(this.#rip), distance: { root: this.#roots[SEGMENT.CS] as object, bytes: 0 } }
    }
    if (offset === FILE.PAGE) return i64.const(4096)
    return this.#field64(STATE.FILE + offset)
  }
  /** The offset in the segment, cut to the address size. */
  #offset(): Expr {
    const index = this.#file(this.#byte(RECORD.INDEX))
    const scaled = i64.shl(index, i64.const(this.#byte(RECORD.SCALE) & 3))
    const displacement = this.#region.view.getInt32(this.#instruction.record + RECORD.DISPLACEMENT, true)
    const base = this.#file(this.#byte(RECORD.BASE))
    const sum = i64.add(
      index.constant !== undefined ? (scaled.constant === 0n ? base : i64.add(base, scaled)) : i64.add(base, scaled),
      i64.const(displacement),
    )
    return this.#cut(sum)
  }
  #cut(value: Expr): Expr {
    const size = this.#byte(RECORD.FLAGS) & 3
    return size === 0 ? value : zeroExtend(value, size === 1 ? 4 : 2)
  }
  get #legacy(): boolean {
    return this.#region.mode !== MODE.LONG
  }
  #inSegment(segment: number, offset: Expr, bytes: number, access: 'read' | 'write'): Expr {
    if (this.#legacy) {
      const kind = i32.const(bytes | (access === 'write' ? 0x100 : 0))
      return this.let(this.call(this.#functions.segment, i32.const(segment), offset, kind))
    }
    if (segment < SEGMENT.FS) return this.let(offset)
    const address = i64.add(offset, this.#field64(STATE.FILE + FILE.SEGMENT_BASE + segment * 8))
    if (offset.constant === undefined) return this.let(address)
    return this.let({ ...address, distance: near(this.#roots[segment] as object, Number(offset.constant)) })
  }
  get #segment(): number {
    return (this.#byte(RECORD.FLAGS) >> 3) & 7
  }
  address(n: number, bytes: number, access: 'read' | 'write'): Expr {
    if (this.operand(n).moffs) {
      const offset = i64.const(this.#region.view.getBigInt64(this.#instruction.record + RECORD.IMMEDIATE, true))
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
    const size = this.#byte(RECORD.FLAGS) & 3
    return i64.const(size === 0 ? -1n : size === 1 ? 0xffffffffn : 0xffffn)
  }

  // --- memory

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
    const entry = this.let(tlbEntry(this.get(this.#context), at))
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
    return this.#known.pages.find(
      (page) =>
        page.distance.root === distance.root &&
        Math.abs(page.distance.bytes - distance.bytes) < PAGE &&
        (page.write || !write),
    )
  }
  /** A page that is known from now on. */
  #newPage(distance: Distance | undefined, write: boolean): KnownPage | undefined {
    if (!distance || this.depth > this.#base0) return undefined
    const page = { distance, write, host: this.local('i32'), place: this.local('i32') }
    this.#known = { ...this.#known, pages: [page, ...this.#known.pages.slice(0, KNOWN_PAGES - 1)] }
    return page
  }
  #refused(condition: Expr, how: Expr): void {
    this.if(condition, () => this.#leave(this.#at(0), how, 0), undefined, false)
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
        const host = this.let(this.call(this.#functions.read, page, distance, i32.const(bytes)))
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
        const answer = this.let(this.call(this.#functions.write, page, distance, i32.const(bytes)))
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
        this.set(place, this.call(this.#functions.modify, page, distance, i32.const(bytes)))
        this.#refused(i32.le_u(this.get(place), i32.const(REFUSED.LEAVE)), this.get(place))
      },
    )
    const host = this.settled(place)
    update(host)
    this.if(
      i32.eq(host, i32.const(this.stateOffset(STATE.SCRATCH))),
      () => this.do(this.call(this.#functions.modifyCommit, at, i32.const(bytes))),
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
    this.#refused(this.call(this.#functions.probe, address, i32.const(bytes)), i32.const(EXIT.FAULT))
  }

  // --- flags

  protected getLazyFlags(): LazyFlags {
    const { pending, unchanged } = this.#known
    const flag = (name: keyof LazyFlags): Expr =>
      pending[name] ?? (unchanged ? this.#field64(FLAG_FIELDS[name]) : this.get(this.#flags[name]))
    return { x: flag('x'), y: flag('y'), s: flag('s'), zero: flag('zero'), sign: flag('sign') }
  }
  protected setLazyFlags(flags: Partial<LazyFlags>): void {
    const { pending, unchanged } = this.#known
    if (this.depth > this.#base0) {
      if (unchanged) throw new FlagsOnSomeWays()
      for (const name of FLAG_NAMES) if (pending[name]) throw new FlagsOnSomeWays()
      for (const name of FLAG_NAMES) {
        const value = flags[name]
        if (value) this.set(this.#flags[name], value)
      }
      this.#known = { ...this.#known, source: undefined }
      return
    }
    const next = { ...pending }
    for (const name of FLAG_NAMES) {
      const value = flags[name]
      if (value) next[name] = this.isStable(value) ? value : this.let(value)
      else if (unchanged) next[name] = this.let(this.#field64(FLAG_FIELDS[name]))
    }
    this.#known = { ...this.#known, unchanged: false, pending: next, source: undefined }
  }
  #cameFrom(source: FlagSource): void {
    if (this.depth === this.#base0) this.#known = { ...this.#known, source }
  }
  override flagsSum(a: Expr, b: Expr, r: Expr, carry?: Expr): void {
    const [x, y, s] = [this.let(a), this.let(b), this.let(r)]
    super.flagsSum(x, y, s)
    if (!carry) this.#cameFrom({ kind: 'sum', a: x, b: y, r: s })
  }
  override flagsDifference(a: Expr, b: Expr, r: Expr, borrow?: Expr): void {
    const [s, y, x] = [this.let(a), this.let(b), this.let(r)]
    super.flagsDifference(s, y, x)
    if (!borrow) this.#cameFrom({ kind: 'difference', a: s, b: y, r: x })
  }
  override flagsBitwise(value: Expr): void {
    const r = this.let(value)
    super.flagsBitwise(r)
    this.#cameFrom({ kind: 'bitwise', r })
  }
  /** As in the general emitter, but nothing is computed yet. */
  protected override flagsStep(a: Expr, r: Expr, overflow: Expr): void {
    const now = this.getLazyFlags()
    const x = this.let(now.x)
    const y = this.let(now.y)
    const s = this.let(now.s)
    const word = i64.or(i64.and(x, y), i64.and(i64.or(x, y), i64.xor(s, i64.const(-1))))
    const carry = i64.and(word, i64.const(-1n << 63n))
    const changed = i64.and(i64.xor(a, r), i64.or(overflow, i64.const(16)))
    this.setLazyFlags({ x: carry, y: carry, s: i64.xor(carry, changed), zero: r, sign: r })
  }
  override condition(cc: number): Expr {
    const { source } = this.#known
    const simple = source && simpleCondition(source, cc >> 1)
    if (!simple) return super.condition(cc)
    return this.let(cc & 1 ? i32.eqz(simple) : simple)
  }
  // --- control

  nextRip(): Expr {
    return this.let(this.#at(this.#instruction.length))
  }
  currentRip(): Expr {
    return this.let(this.#at(0))
  }
  override relativeTarget(_n: number): Expr {
    const target = i64.add(this.get(this.#rip), i64.const(this.#instruction.target))
    return this.let(this.form.mode64 ? target : zeroExtend(target, this.form.operandSize))
  }
  leaveWithFault(): void {
    this.#leave(this.#at(0), i32.const(EXIT.FAULT), 0)
  }
  jump(target: Expr): void {
    if (this.#instruction.flow === FLOW.RETURN) {
      const kept = this.let(target)
      for (const { at } of this.#node.successors) {
        const here = i64.eq(kept, this.#place(at))
        this.if(here, () => this.#branch(at))
      }
      this.#leave(kept, i32.const(EXIT.CHAIN), 1)
      return
    }
    this.#leave(target, i32.const(EXIT.CHAIN), 1)
  }
  jumpRelative(): void {
    this.#branch(this.#instruction.target)
  }
  /** Go to a place from inside an instruction. The way on keeps what it knows. */
  #branch(target: number): void {
    const instruction = this.#instruction
    const known = this.#known
    const held = this.#held
    const depth = this.#base0
    const node = this.#node
    const start = this.#start
    const load = this.#load
    this.#held = []
    this.#known = { ...known, count: known.count + 1 }
    this.#base0 = this.depth
    this.#edge(target)
    this.release(this.#held)
    this.#held = held
    this.#known = known
    this.#node = node
    this.#start = start
    this.#load = load
    this.#use(instruction)
    this.#base0 = depth
  }
  complete(): void {
    if (!this.#completed) throw new Error('nothing to complete')
    this.br(this.#completed)
  }
  clock(): Expr {
    return this.call(this.#functions.now)
  }
  selectCaches(tlb: Expr, jumps?: Expr): void {
    const kept = this.let(tlb)
    this.#known = { ...this.#known, pages: NO_PAGES }
    this.setStateI32(STATE.CONTEXT, kept)
    this.set(this.#context, kept)
    if (jumps) this.setStateI32(STATE.JUMPS, jumps)
  }
  repeatInstruction(): void {
    this.jump(this.currentRip())
  }
  helper(helper: HelperFunction, ...args: Expr[]): Expr {
    return this.call(this.#functions.helper(helper), ...args)
  }
}
