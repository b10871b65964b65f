// What an instruction in a region has for its operands: general registers, vector registers and lazy flags live in locals. Flags are kept as expressions for as long as control is
// straight: they are computed where they are used, where paths meet, and on the cold branches. The same holds for the count of instructions. Here is also how a region
// is left, because what is pending must be written then.

import { MODE } from '../decoder/mode.ts'
import type { InstructionForm } from '../instruction/definition.ts'
import { InstructionEmitter, type LazyFlags, signExtend, zeroExtend } from '../instruction/emitter.ts'
import { RECORD, STATE } from '../state-layout.ts'
import { type Distance, doubleOf, type Expr, i32, i64, singleOf } from '../wasm/expression.ts'
import type { Gap, Label, Local } from '../wasm/function-emitter.ts'
import { simd, v128 } from '../wasm/simd.ts'
import { type FlagSource, simpleCondition } from './flag-source.ts'
import { type Known, NO_DISTANCES, NO_PAGES, nothing } from './known.ts'
import type { Region, RegionInstruction } from './region.ts'
import { type Registers, RegisterTraffic, Segment } from './register-traffic.ts'

/** How a region is left. The first two are those of {@link REFUSED}. */
export const EXIT = { FAULT: 0, LEAVE: 1, BUDGET: 2, CHAIN: 3 } as const

export const FLAG_NAMES = ['x', 'y', 's', 'zero', 'sign'] as const
export const FLAG_FIELDS: Readonly<Record<keyof LazyFlags, number>> = {
  x: STATE.FLAG_X,
  y: STATE.FLAG_Y,
  s: STATE.FLAG_S,
  zero: STATE.FLAG_ZERO,
  sign: STATE.FLAG_SIGN,
}

/** An instruction sets flags on some of its ways only: they must be in their locals before it. */
export class FlagsOnSomeWays extends Error {}

/** Code by register. */
export interface RegisterCode {
  readonly load: readonly Uint8Array[]
  readonly store: readonly Uint8Array[]
}
/** By the offset of the state area. */
const REGISTER_CODES = new Map<number, RegisterCode>()
export function fill(gap: Gap, code: readonly Uint8Array[], registers: Registers): void {
  for (let left = registers; left !== 0; left &= left - 1) {
    gap.code.push(code[31 - Math.clz32(left & -left)] as Uint8Array)
  }
}

/** Locals, registers and flags of a region. */
export abstract class RegionOperands extends InstructionEmitter {
  form!: InstructionForm
  protected readonly base: number
  protected readonly region: Region
  readonly #registers: readonly Local[]
  readonly #vectors: readonly Local[]
  protected readonly flags: Readonly<Record<keyof LazyFlags, Local>>
  protected readonly rip: Local
  protected readonly context: Local
  protected readonly budget: Local
  protected readonly out: Local
  protected readonly how: Local
  /** The record of the block that control goes to, where it is known. */
  protected readonly next: Local
  protected readonly registerCode: RegisterCode
  protected readonly traffic: RegisterTraffic = new RegisterTraffic()
  /** Where instructions load registers. */
  protected readonly loads: { readonly gap: Gap; registers: Registers }[] = []
  /** Where the instruction begins, and what it loads there. */
  protected begins = 0
  protected loading: { readonly gap: Gap; registers: Registers } | undefined
  /** Where everything leaves, and what leaves with the flags that it came with. */
  protected exit!: Label
  protected exitUnchanged!: Label
  protected instruction!: RegionInstruction
  /** Control depth between instructions. */
  protected base0 = 0
  protected known: Known = { ...nothing(new Segment(true)), unchanged: true }
  /** Locals that what is pending may refer to. */
  protected held: Local[] = []

  constructor(region: Region, base: number) {
    super(['i32'])
    this.base = base
    this.region = region
    this.#registers = Array.from({ length: 16 }, () => this.local('i64'))
    this.#vectors = Array.from({ length: 16 }, () => this.local('v128'))
    // the same in each region: these are the first locals
    let code = REGISTER_CODES.get(base)
    if (!code) {
      code = this.#makeCode()
      REGISTER_CODES.set(base, code)
    }
    this.registerCode = code
    this.flags = {
      x: this.local('i64'),
      y: this.local('i64'),
      s: this.local('i64'),
      zero: this.local('i64'),
      sign: this.local('i64'),
    }
    this.rip = this.local('i64')
    this.out = this.local('i64')
    this.context = this.local('i32')
    this.budget = this.local('i32')
    this.how = this.local('i32')
    this.next = this.local('i32')
  }

  protected field32(field: number): Expr {
    return i32.load(i32.const(0), this.stateOffset(field))
  }

  protected field64(field: number): Expr {
    return i64.load(i32.const(0), this.stateOffset(field))
  }

  /** What loads and stores each register, in the numbers of {@link Registers}. */
  #makeCode(): RegisterCode {
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

  /** Load what is needed at the beginning of a segment. */
  protected enter(segment: Segment): void {
    const gap = this.gap()
    this.traffic.edge(this.known.way, segment, (registers) => fill(gap, this.registerCode.load, registers))
  }

  /** Store what was changed. */
  protected storeChanged(): void {
    const gap = this.gap()
    this.traffic.exit(this.known.way, (registers) => fill(gap, this.registerCode.store, registers))
  }

  /** Leave the region: `extra` instructions have been completed beside those counted. */
  protected leave(rip: Expr, how: Expr, extra: number): void {
    this.settle(extra)
    this.storeChanged()
    this.set(this.out, rip)
    this.set(this.how, how)
    this.br(this.known.unchanged ? this.exitUnchanged : this.exit)
  }

  /** Where ways meet, flags are in locals. */
  protected loadFlags(): void {
    if (!this.known.unchanged) return
    for (const name of FLAG_NAMES) this.set(this.flags[name], this.field64(FLAG_FIELDS[name]))
  }

  /** Emit what is pending, which stays pending for other ways. */
  protected settle(extra: number): void {
    for (const name of FLAG_NAMES) {
      const value = this.known.pending[name]
      if (value) this.set(this.flags[name], value)
    }
    const count = this.known.count + extra
    if (count > 0) this.set(this.budget, i32.sub(this.get(this.budget), i32.const(count)))
  }

  /** Nothing is pending or known: other ways lead here. */
  protected forget(segment: Segment): void {
    this.known = nothing(segment)
    this.release(this.held)
    this.held = []
  }

  /** Keep the locals that something pending refers to; others are free. */
  protected holdPending(taken: readonly Local[]): void {
    const candidates = [...this.held, ...taken]
    if (candidates.length === 0) return
    const used = new Set<number>()
    const note = (expr: Expr): void => this.eachLocal(expr, (index) => used.add(index))
    for (const name of FLAG_NAMES) {
      const value = this.known.pending[name]
      if (value) note(value)
    }
    for (const { host, place } of this.known.pages) used.add(host.index).add(place.index)
    const { source } = this.known
    if (source) {
      note(source.r)
      if (source.kind !== 'bitwise') {
        note(source.a)
        note(source.b)
      }
    }
    this.held = candidates.filter(({ index }) => used.has(index))
    this.release(candidates.filter(({ index }) => !used.has(index)))
  }

  /** Locals of parts of an instruction may be pending flags: they are free when it is done. */
  override scope(body: () => void): void {
    body()
  }

  protected byte(field: number): number {
    return this.region.view.getUint8(this.instruction.record + field)
  }

  stateOffset(field: number): number {
    return this.base + field
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
    return i32.const(this.byte(this.#recordFieldOf(n)))
  }

  protected vectorOffset(n: number): Expr {
    return i32.const(this.byte(this.#recordFieldOf(n)))
  }

  registerNumber(n: number): Expr {
    return i32.const(this.byte(this.#recordFieldOf(n)))
  }

  modrm(): Expr {
    return i32.const(this.byte(RECORD.RM))
  }

  protected immediateField(n: number): Expr {
    const first = this.form.operands.findIndex(
      (operand) => operand.kind === 'immediate' || operand.kind === 'relative' || operand.kind === 'far',
    )
    const { view } = this.region
    const { record } = this.instruction
    return n === first || n < 0
      ? i64.const(view.getBigInt64(record + RECORD.IMMEDIATE, true))
      : i64.const(view.getInt32(record + RECORD.DISPLACEMENT, true))
  }

  /** Registers are read, or written on some ways only: they must be in their locals. */
  #fetch(registers: Registers): void {
    const { way } = this.known
    if ((way.held & registers) === registers) return
    if (!way.segment.entry) {
      way.segment.read |= registers
      return
    }
    if (!this.loading) {
      this.loading = { gap: this.gap(this.begins), registers: 0 }
      this.loads.push(this.loading)
    }
    this.loading.registers |= registers
    this.known = { ...this.known, way: { ...way, held: way.held | registers } }
  }

  #change(registers: Registers): void {
    if (this.depth > this.base0) this.#fetch(registers)
    const { way } = this.known
    const held = way.held | registers
    const changed = way.changed | registers
    if (held !== way.held || changed !== way.changed) {
      this.known = { ...this.known, way: { segment: way.segment, held, changed } }
    }
  }

  protected readGpr(register: number): Expr {
    this.#fetch(1 << register)
    let distance = this.known.distances[register]
    if (!distance) {
      distance = { root: {}, bytes: 0 }
      this.#measure(register, distance)
    }
    return { ...this.get(this.#registers[register] as Local), distance }
  }

  #write(register: number, value: Expr): void {
    this.#change(1 << register)
    this.set(this.#registers[register] as Local, value)
    this.#measure(register, this.depth > this.base0 ? undefined : value.distance)
  }

  #measure(register: number, distance: Distance | undefined): void {
    const distances = this.known.distances.slice()
    distances[register] = distance
    this.known = { ...this.known, distances }
  }

  /** A loop of the region's own control flow. */
  protected regionLoop(body: (label: Label) => void): void {
    super.loop(body)
  }
  /** In a loop of an instruction registers change behind the emitter's back. */
  override loop(body: (label: Label) => void): void {
    this.known = { ...this.known, distances: NO_DISTANCES, pages: NO_PAGES }
    const first = this.traffic.exits
    super.loop(body)
    this.traffic.comesRound(first, this.known.way.changed)
    this.known = { ...this.known, distances: NO_DISTANCES, pages: NO_PAGES }
  }

  override gpr(register: number, size: number = 8, signed = false): Expr {
    const value = this.readGpr(register)
    return this.let(signed ? signExtend(value, size) : zeroExtend(value, size))
  }

  override setGpr(register: number, value: Expr, size: number = 8): void {
    if (size === 8) this.#write(register, value)
    else if (size === 4) this.#write(register, zeroExtend(value, 4))
    else {
      const mask = (1n << BigInt(size * 8)) - 1n
      this.#write(register, i64.or(i64.and(this.readGpr(register), i64.const(~mask)), zeroExtend(value, size)))
    }
  }

  override highByte(register: number): Expr {
    return this.let(i64.and(i64.shr_u(this.readGpr(register), i64.const(8)), i64.const(0xff)))
  }

  override setHighByte(register: number, value: Expr): void {
    const placed = i64.shl(zeroExtend(value, 1), i64.const(8))
    this.#write(register, i64.or(i64.and(this.readGpr(register), i64.const(~0xff00)), placed))
  }

  protected override readRegister(n: number, size: number, signed: boolean): Expr {
    const offset = this.byte(this.#recordFieldOf(n))
    if (!(offset & 1)) return this.gpr(offset >> 3, size, signed)
    const high = this.highByte(offset >> 3)
    return signed ? this.let(signExtend(high, 1)) : high
  }

  protected override writeRegister(n: number, size: number, value: Expr): void {
    const offset = this.byte(this.#recordFieldOf(n))
    if (offset & 1) this.setHighByte(offset >> 3, value)
    else this.setGpr(offset >> 3, value, size)
  }

  protected override modifyRegister(n: number, signed: boolean, update: (old: Expr) => Expr): void {
    const { kind, size, value = 0 } = this.operand(n)
    if (kind === 'gpr-fixed') this.setGpr(value, update(this.gpr(value, size, signed)), size)
    else this.writeRegister(n, size, update(this.readRegister(n, size, signed)))
  }

  override xmm(register: number): Expr {
    this.#fetch(0x10000 << register)
    return this.let(this.get(this.#vectors[register] as Local))
  }

  override setXmm(register: number, value: Expr): void {
    this.#change(0x10000 << register)
    this.set(this.#vectors[register] as Local, value)
  }

  #vectorOf(n: number): number {
    return this.byte(this.#recordFieldOf(n)) >> 4
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

  /** i64: RIP of a place of the region. */
  protected ripOf(at: number): Expr {
    const rip = i64.add(this.get(this.rip), i64.const(at))
    return this.legacy ? zeroExtend(rip, 4) : rip
  }

  /** i64: RIP `bytes` behind the instruction's start. */
  protected ripAt(bytes: number): Expr {
    return this.ripOf(this.instruction.at + bytes)
  }

  protected get legacy(): boolean {
    return this.region.mode !== MODE.LONG
  }

  protected getLazyFlags(): LazyFlags {
    const { pending, unchanged } = this.known
    const flag = (name: keyof LazyFlags): Expr =>
      pending[name] ?? (unchanged ? this.field64(FLAG_FIELDS[name]) : this.get(this.flags[name]))
    return { x: flag('x'), y: flag('y'), s: flag('s'), zero: flag('zero'), sign: flag('sign') }
  }

  protected setLazyFlags(flags: Partial<LazyFlags>): void {
    const { pending, unchanged } = this.known
    if (this.depth > this.base0) {
      if (unchanged) throw new FlagsOnSomeWays()
      for (const name of FLAG_NAMES) if (pending[name]) throw new FlagsOnSomeWays()
      for (const name of FLAG_NAMES) {
        const value = flags[name]
        if (value) this.set(this.flags[name], value)
      }
      this.known = { ...this.known, source: undefined }
      return
    }
    const next = { ...pending }
    for (const name of FLAG_NAMES) {
      const value = flags[name]
      if (value) next[name] = this.isStable(value) ? value : this.let(value)
      else if (unchanged) next[name] = this.let(this.field64(FLAG_FIELDS[name]))
    }
    this.known = { ...this.known, unchanged: false, pending: next, source: undefined }
  }

  #cameFrom(source: FlagSource): void {
    if (this.depth === this.base0) this.known = { ...this.known, source }
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
    const { source } = this.known
    const simple = source && simpleCondition(source, cc >> 1)
    if (!simple) return super.condition(cc)
    return this.let(cc & 1 ? i32.eqz(simple) : simple)
  }
}
