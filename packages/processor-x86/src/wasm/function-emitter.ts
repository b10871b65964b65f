// Emits the body of one WebAssembly function: statements, structured control (Core Specification 2.0, section 5.4.1) and locals.

import { type Expr, i32, type ResultType, unsignedLeb, VALUE_TYPE, type ValueType } from './expression.ts'
import { v128 } from './simd.ts'

/** A growing buffer of bytes. */
export class ByteWriter {
  bytes: Uint8Array = new Uint8Array(1024)
  length = 0

  #reserve(extra: number): void {
    if (this.length + extra <= this.bytes.length) return
    const next = new Uint8Array(Math.max(this.bytes.length * 2, this.length + extra))
    next.set(this.bytes.subarray(0, this.length))
    this.bytes = next
  }
  u8(value: number): void {
    this.#reserve(1)
    this.bytes[this.length++] = value
  }
  append(values: ArrayLike<number>): void {
    const { length } = values
    this.#reserve(length)
    if (length > 16) {
      this.bytes.set(values, this.length)
      this.length += length
      return
    }
    const { bytes } = this
    for (let i = 0; i < length; i++) bytes[this.length++] = values[i] as number
  }
  result(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }
}

/** How a branch usually goes, for the custom section `metadata.code.branch_hint` (proposal Branch Hinting, phase 4). */
export interface BranchHint {
  /** Of the branch instruction, from the start of the function's body (its declaration of locals). */
  readonly offset: number
  readonly likely: boolean
}
/** A place to go back to with {@link FunctionEmitter.rollBack}. */
export interface Checkpoint {
  readonly length: number
  readonly depth: number
  readonly hints: number
  readonly gaps: number
}
/** A place in the body where straight-line code is put in later, when it is known what. */
export interface Gap {
  readonly position: number
  /** Pieces of code: see {@link FunctionEmitter.assemble}. */
  readonly code: Uint8Array[]
}

/** A local variable or parameter. */
export interface Local {
  readonly index: number
  readonly type: ValueType
}

/** The target of a branch: an enclosing block (branch leaves it) or loop (branch starts it again). */
export interface Label {
  readonly depth: number
}

/** A function of the same module: its type and its index, known when the module is built. */
export interface FunctionReference {
  readonly name: string
  readonly params: readonly ValueType[]
  readonly result: ResultType
  readonly index: number
}

/** A function type by its index in the module's type section, for `call_indirect`. */
export interface TypeReference {
  readonly index: number
  readonly params: readonly ValueType[]
  readonly result: ResultType
}

/** Opcodes that can trap: integer divisions, conversions that do not saturate. */
const TRAPS: ReadonlySet<number> = new Set([
  0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82, 0xa8, 0xa9, 0xaa, 0xab, 0xae, 0xaf, 0xb0, 0xb1,
])
const LOCAL_GET = 0x20
const LOCAL_SET = 0x21
const BLOCK_VOID = 0x40

const NO_ARGUMENTS: readonly Expr[] = []
interface LocalCodes {
  readonly get: readonly number[]
  readonly set: readonly number[]
}
/** By index, for the locals that functions of ordinary size have. */
const LOCAL_CODES: LocalCodes[] = []
const LOCAL_CODES_KEPT = 4096

export class FunctionEmitter {
  #writer = new ByteWriter()
  #hints: BranchHint[] = []
  readonly #gaps: Gap[] = []
  readonly #locals: ValueType[] = []
  readonly #parameterCount: number
  readonly #free: Record<ValueType, Local[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] }
  #taken: Local[] | undefined
  #depth = 0

  constructor(params: readonly ValueType[] = []) {
    this.#locals.push(...params)
    this.#parameterCount = params.length
  }

  /** The parameter at `index`. */
  parameter(index: number): Local {
    const type = this.#locals[index]
    if (type === undefined || index >= this.#parameterCount) throw new RangeError(`no parameter ${index}`)
    return { index, type }
  }

  /** A new local; inside {@link FunctionEmitter.scope} it is free again at the scope's end. Its initial value is unspecified. */
  local(type: ValueType): Local {
    const free = this.#free[type].pop()
    const local = free ?? { index: this.#locals.push(type) - 1, type }
    this.#taken?.push(local)
    return local
  }

  /** Locals made inside are reused after it. */
  scope(body: () => void): void {
    this.release(this.taking(body))
  }
  /** The locals made inside, which stay taken. */
  protected taking(body: () => void): Local[] {
    const outer = this.#taken
    const taken: Local[] = []
    this.#taken = taken
    try {
      body()
    } finally {
      this.#taken = outer
    }
    return taken
  }
  /** Let locals be used for something else. */
  protected release(locals: readonly Local[]): void {
    for (const local of locals) this.#free[local.type].push(local)
  }

  get(local: Local): Expr {
    return { type: local.type, args: NO_ARGUMENTS, code: this.#codes(local.index).get }
  }
  /** The bytes that read and write a local. */
  #codes(index: number): LocalCodes {
    let codes = LOCAL_CODES[index]
    if (codes === undefined) {
      const number = unsignedLeb(index)
      codes = { get: [LOCAL_GET, ...number], set: [LOCAL_SET, ...number] }
      if (index < LOCAL_CODES_KEPT) LOCAL_CODES[index] = codes
    }
    return codes
  }

  set(local: Local, value: Expr): void {
    if (value.type !== local.type) throw new TypeError(`local is ${local.type}, value ${value.type}`)
    this.#emit(value)
    this.#writer.append(this.#codes(local.index).set)
  }

  /** Evaluate `value` now and keep it: the expression returned may be used any number of times. Constants are not copied. */
  let(value: Expr): Expr {
    if (value.constant !== undefined) return value
    if (value.type === 'void') throw new TypeError('no value')
    if (value.code[0] === LOCAL_GET && value.args.length === 0 && this.#frozen.has(value)) return value
    const local = this.local(value.type)
    this.set(local, value)
    const read = this.get(local)
    const kept = value.distance === undefined ? read : { ...read, distance: value.distance }
    this.#frozen.add(kept)
    return kept
  }
  readonly #frozen = new WeakSet<Expr>()
  /** Whether an expression's value depends on nothing but constants and what {@link FunctionEmitter.let} gave, and evaluating it has no effect. At most `budget` nodes are looked at. */
  protected isStable(expr: Expr, budget: number = 24): boolean {
    return this.#measure(expr, budget) >= 0
  }
  #measure(expr: Expr, budget: number): number {
    if (expr.constant !== undefined) return budget - 1
    const opcode = expr.code[0] as number
    if (opcode === LOCAL_GET) return this.#frozen.has(expr) ? budget - 1 : -1
    // select, comparisons, arithmetic and conversions have no effect; divisions can trap
    if (opcode !== 0x1b && (opcode < 0x45 || opcode > 0xc4 || TRAPS.has(opcode))) return -1
    let left = budget - 1
    for (const arg of expr.args) {
      if (left < 0) return -1
      left = this.#measure(arg, left)
    }
    return left
  }
  /** Calls `found` with each local that an expression reads. */
  protected eachLocal(expr: Expr, found: (index: number) => void): void {
    if (expr.code[0] === LOCAL_GET && expr.args.length === 0) {
      let index = 0
      for (let i = 1, shift = 0; i < expr.code.length; i++, shift += 7)
        index |= ((expr.code[i] as number) & 0x7f) << shift
      found(index)
    }
    for (const arg of expr.args) this.eachLocal(arg, found)
  }

  protected get depth(): number {
    return this.#depth
  }
  protected checkpoint(): Checkpoint {
    return {
      length: this.#writer.length,
      depth: this.#depth,
      hints: this.#hints.length,
      gaps: this.#gaps.length,
    }
  }
  /** Forget what was emitted since. */
  protected rollBack(to: Checkpoint): void {
    this.#writer.length = to.length
    this.#depth = to.depth
    this.#hints.length = to.hints
    this.#gaps.length = to.gaps
  }
  /** Leave a gap: here, or at a place that control came through. */
  protected gap(at: number = this.#writer.length): Gap {
    const gap: Gap = { position: at, code: [] }
    this.#gaps.push(gap)
    return gap
  }
  /** Straight-line code for a gap. */
  protected assemble(body: () => void): Uint8Array {
    const outside = this.#writer
    this.#writer = new ByteWriter()
    body()
    const code = this.#writer.result().slice()
    this.#writer = outside
    return code
  }

  /** Evaluate for its effect. */
  do(statement: Expr): void {
    this.#emit(statement)
    if (statement.type !== 'void') this.#writer.u8(0x1a)
  }

  #emit(expr: Expr): void {
    for (const arg of expr.args) this.#emit(arg)
    this.#writer.append(expr.code)
  }

  #structured(opcode: number, body: (label: Label) => void): void {
    this.#writer.u8(opcode)
    this.#writer.u8(BLOCK_VOID)
    this.#depth++
    body({ depth: this.#depth })
    this.#depth--
    this.#writer.u8(0x0b)
  }
  block(body: (label: Label) => void): void {
    this.#structured(0x02, body)
  }
  loop(body: (label: Label) => void): void {
    this.#structured(0x03, body)
  }
  /** `likely`: whether the condition usually holds, where that is known. */
  if(condition: Expr, then: () => void, otherwise?: () => void, likely?: boolean): void {
    if (condition.type !== 'i32') throw new TypeError('condition must be i32')
    if (condition.constant !== undefined) {
      if (condition.constant) then()
      else otherwise?.()
      return
    }
    this.#emit(condition)
    if (likely !== undefined) this.#hints.push({ offset: this.#writer.length, likely })
    this.#structured(0x04, () => {
      then()
      if (otherwise) {
        this.#writer.u8(0x05)
        otherwise()
      }
    })
  }
  br(label: Label): void {
    this.#writer.u8(0x0c)
    this.#writer.append(unsignedLeb(this.#depth - label.depth))
  }
  brIf(label: Label, condition: Expr, likely?: boolean): void {
    this.#emit(condition)
    if (likely !== undefined) this.#hints.push({ offset: this.#writer.length, likely })
    this.#writer.u8(0x0d)
    this.#writer.append(unsignedLeb(this.#depth - label.depth))
  }
  brTable(index: Expr, labels: readonly Label[], fallback: Label): void {
    this.#emit(index)
    this.#writer.u8(0x0e)
    this.#writer.append(unsignedLeb(labels.length))
    for (const label of labels) this.#writer.append(unsignedLeb(this.#depth - label.depth))
    this.#writer.append(unsignedLeb(this.#depth - fallback.depth))
  }
  return(value?: Expr): void {
    if (value) this.#emit(value)
    this.#writer.u8(0x0f)
  }
  unreachable(): void {
    this.#writer.u8(0x00)
  }

  /** A call as an expression. */
  call(target: FunctionReference, ...args: Expr[]): Expr {
    target.params.forEach((type, i) => {
      if (args[i]?.type !== type) throw new TypeError(`${target.name}: argument ${i} is ${args[i]?.type}, not ${type}`)
    })
    return { type: target.result, args, code: [0x10, ...unsignedLeb(target.index)] }
  }
  /** A call through table 0. */
  callIndirect(type: TypeReference, index: Expr, ...args: Expr[]): Expr {
    return { type: type.result, args: [...args, index], code: [0x11, ...unsignedLeb(type.index), 0] }
  }
  /** Calls in tail position: the function's result is theirs. */
  returnCall(target: FunctionReference, ...args: Expr[]): void {
    for (const arg of args) this.#emit(arg)
    this.#writer.u8(0x12)
    this.#writer.append(unsignedLeb(target.index))
  }
  returnCallIndirect(type: TypeReference, index: Expr, ...args: Expr[]): void {
    for (const arg of args) this.#emit(arg)
    this.#emit(index)
    this.#writer.u8(0x13)
    this.#writer.append(unsignedLeb(type.index))
    this.#writer.u8(0)
  }
  /** `memory.copy`: non-overlapping or overlapping, as memmove. */
  memoryCopy(target: Expr, source: Expr, length: Expr): void {
    this.do({ type: 'void', args: [target, source, length], code: [0xfc, 10, 0, 0] })
  }
  memoryFill(target: Expr, value: Expr, length: Expr): void {
    this.do({ type: 'void', args: [target, value, length], code: [0xfc, 11, 0] })
  }

  /** A value that is one of two, only one of which is evaluated. */
  choose(condition: Expr, then: () => Expr, otherwise: () => Expr, type: ValueType): Expr {
    const result = this.local(type)
    this.if(
      condition,
      () => this.set(result, then()),
      () => this.set(result, otherwise()),
    )
    return this.settled(result)
  }
  /** The value of a local that is not set any more, as {@link FunctionEmitter.let} gives one. */
  protected settled(local: Local): Expr {
    const kept = this.get(local)
    this.#frozen.add(kept)
    return kept
  }

  /** The zero of a type. */
  zero(type: ValueType): Expr {
    if (type === 'i32') return i32.const(0)
    if (type === 'v128') return v128.const([])
    if (type === 'i64') return { type, args: [], code: [0x42, 0], constant: 0n }
    return {
      type,
      args: [],
      code: [type === 'f32' ? 0x43 : 0x44, ...new Array<number>(type === 'f32' ? 4 : 8).fill(0)],
      constant: 0,
    }
  }

  /** The branch hints of what {@link FunctionEmitter.finish} gave. */
  hints: readonly BranchHint[] = []

  /** The function's code for the code section (5.5.13): locals, body, end. */
  finish(): Uint8Array {
    const out = new ByteWriter()
    const declared = this.#locals.slice(this.#parameterCount)
    const runs: [number, ValueType][] = []
    for (const type of declared) {
      const last = runs.at(-1)
      if (last?.[1] === type) last[0]++
      else runs.push([1, type])
    }
    out.append(unsignedLeb(runs.length))
    for (const [count, type] of runs) {
      out.append(unsignedLeb(count))
      out.u8(VALUE_TYPE[type])
    }
    const body = this.#writer.result()
    const gaps = this.#gaps.filter(({ code }) => code.length > 0).sort((a, b) => a.position - b.position)
    const hints: BranchHint[] = []
    let [done, hint] = [0, 0]
    for (let n = 0; n <= gaps.length; n++) {
      const end = gaps[n]?.position ?? body.length
      const moved = out.length - done
      // a hint is at its branch, and so behind a gap at the same place
      for (let next = this.#hints[hint]; next && (next.offset < end || n === gaps.length); next = this.#hints[++hint])
        hints.push({ offset: next.offset + moved, likely: next.likely })
      out.append(body.subarray(done, end))
      for (const code of gaps[n]?.code ?? []) out.append(code)
      done = end
    }
    this.hints = hints
    out.u8(0x0b)
    return out.result()
  }
}
