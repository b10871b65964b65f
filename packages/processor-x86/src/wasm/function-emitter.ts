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
    this.#reserve(values.length)
    this.bytes.set(values, this.length)
    this.length += values.length
  }
  result(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }
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

const LOCAL_GET = 0x20
const LOCAL_SET = 0x21
const BLOCK_VOID = 0x40

export class FunctionEmitter {
  readonly #writer = new ByteWriter()
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
    const outer = this.#taken
    this.#taken = []
    body()
    for (const local of this.#taken) this.#free[local.type].push(local)
    this.#taken = outer
  }

  get(local: Local): Expr {
    return { type: local.type, args: [], code: [LOCAL_GET, ...unsignedLeb(local.index)] }
  }

  set(local: Local, value: Expr): void {
    if (value.type !== local.type) throw new TypeError(`local is ${local.type}, value ${value.type}`)
    this.#emit(value)
    this.#writer.u8(LOCAL_SET)
    this.#writer.append(unsignedLeb(local.index))
  }

  /** Evaluate `value` now and keep it: the expression returned may be used any number of times. Constants are not copied. */
  let(value: Expr): Expr {
    if (value.constant !== undefined) return value
    if (value.type === 'void') throw new TypeError('no value')
    if (value.code[0] === LOCAL_GET && value.args.length === 0 && this.#frozen.has(value)) return value
    const local = this.local(value.type)
    this.set(local, value)
    const kept = this.get(local)
    this.#frozen.add(kept)
    return kept
  }
  readonly #frozen = new WeakSet<Expr>()

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
  if(condition: Expr, then: () => void, otherwise?: () => void): void {
    if (condition.type !== 'i32') throw new TypeError('condition must be i32')
    this.#emit(condition)
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
  brIf(label: Label, condition: Expr): void {
    this.#emit(condition)
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
    const kept = this.get(result)
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
    out.append(this.#writer.result())
    out.u8(0x0b)
    return out.result()
  }
}
