// Small things that the x87 helper functions are written with: variables, access to the x87 state, storing of results.

import type { HelperContext, HelperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { type Expr, i32, i64, type ValueType } from '../wasm/expression.ts'
import type { FunctionEmitter, Local } from '../wasm/function-emitter.ts'
import { INDEFINITE_SE, INDEFINITE_SIGNIFICAND, X87 } from './format.ts'

/** A local that changes. */
export class Variable {
  readonly #emitter: FunctionEmitter
  readonly #local: Local

  constructor(emitter: FunctionEmitter, initial: Expr) {
    this.#emitter = emitter
    this.#local = emitter.local(initial.type as ValueType)
    emitter.set(this.#local, initial)
  }
  get value(): Expr {
    return this.#emitter.get(this.#local)
  }
  set value(value: Expr) {
    this.#emitter.set(this.#local, value)
  }
}

export const zero32: Expr = i32.const(0)
export const zero64: Expr = i64.const(0)
const base = i32.const(0)

/** A helper's body with the x87 state at hand. */
export class X87Code {
  readonly e: FunctionEmitter
  readonly #context: HelperContext

  constructor(e: FunctionEmitter, context: HelperContext) {
    this.e = e
    this.#context = context
  }
  variable(initial: Expr): Variable {
    return new Variable(this.e, initial)
  }
  call(helper: HelperFunction, ...args: Expr[]): Expr {
    return this.e.call(this.#context.helper(helper), ...args)
  }
  load(field: number): Expr {
    return i32.load(base, this.#context.state(field))
  }
  store(field: number, value: Expr): void {
    this.e.do(i32.store(base, value, this.#context.state(field)))
  }
  load64(field: number): Expr {
    return i64.load(base, this.#context.state(field))
  }
  store64(field: number, value: Expr): void {
    this.e.do(i64.store(base, value, this.#context.state(field)))
  }
  control(): Expr {
    return this.load(STATE.X87_CONTROL)
  }
  status(): Expr {
    return this.load(STATE.X87_STATUS)
  }
  /** i32: rounding control, 0–3. */
  rounding(): Expr {
    return i32.and(i32.shr_u(this.control(), i32.const(10)), i32.const(3))
  }
  clearC1(): void {
    this.store(STATE.X87_STATUS, i32.and(this.status(), i32.const(~X87.C1)))
  }
  /** i32: offset of ST(index) to use with the functions below: 16 × physical register. */
  registerAt(index: Expr): Expr {
    return this.e.let(i32.shl(i32.and(i32.add(this.load(STATE.X87_TOP), index), i32.const(7)), i32.const(4)))
  }
  significand(register: Expr): Expr {
    return i64.load(register, this.#context.state(STATE.X87))
  }
  signExponent(register: Expr): Expr {
    return i32.load16_u(register, this.#context.state(STATE.X87 + 8))
  }
  /** i32: the tag bit of a register. */
  tagBit(register: Expr): Expr {
    return i32.shl(i32.const(1), i32.shr_u(register, i32.const(4)))
  }
  isEmpty(register: Expr): Expr {
    return i32.eqz(i32.and(this.load(STATE.X87_TAGS), this.tagBit(register)))
  }
  /** Store a value; nothing else changes. */
  put(register: Expr, significand: Expr, signExponent: Expr): void {
    this.e.do(i64.store(register, significand, this.#context.state(STATE.X87)))
    this.e.do(i32.store16(register, signExponent, this.#context.state(STATE.X87 + 8)))
  }
  putIndefinite(register: Expr): void {
    this.put(register, i64.const(INDEFINITE_SIGNIFICAND), i32.const(INDEFINITE_SE))
  }
  markUsed(register: Expr): void {
    this.store(STATE.X87_TAGS, i32.or(this.load(STATE.X87_TAGS), this.tagBit(register)))
  }
  /** Store an exact result, clear C1 and return 0. */
  finish(register: Expr, significand: Expr, signExponent: Expr): void {
    this.put(register, significand, signExponent)
    this.clearC1()
    this.e.return(zero32)
  }
}

/** `value` shifted right by `count` (1–63), bits lost kept in the lowest. */
export function shiftRightJam(value: Expr, count: Expr): Expr {
  return i64.or(i64.shr_u(value, count), i64.extend_i32_u(i64.ne(i64.shl(value, i64.sub(zero64, count)), zero64)))
}
