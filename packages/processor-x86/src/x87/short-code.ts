// What the short ways of the transcendental instructions have in common (SDM vol. 1, 8.3.7): results of ordinary operands to some 80 bits in WebAssembly. Where those decide the
// rounding to 64, the result is that of transcendental.ts, which computes with any number of bits; the helpers return 0 and have changed nothing where they do not, and
// for every operand that is not an ordinary number.
//
// Helpers hand each other numbers in STATE.SCRATCH: 128 bits with the top bit set, and an exponent: that of the top bit.

import { STATE } from '../state-layout.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import { X87Code, zero32, zero64 } from './emit.ts'
import { keep, normalise, type Wide } from './fixed.ts'
import { EXPONENT_BIAS, EXPONENT_MAX, INTEGER_BIT, X87 } from './format.ts'
import { roundsUp } from './round.ts'

/** What series are computed to. */
export const PRECISION = 84
/** Results are right to 2^-78 of them at least (measured: 2^-85): 2^49 of the 2^64 parts of a last place. */
export const ERROR: bigint = 1n << 49n

const CR0_EM_TS = 0xc
export const MINUS_ONE: Expr = i32.const(-1)

/** Places in STATE.SCRATCH. */
export const FIRST = 0
export const SECOND = 24
export const SQUARE = 48

export class ShortCode extends X87Code {
  wide(place: number): Wide {
    return keep(this.e, this.load64(STATE.SCRATCH + place), this.load64(STATE.SCRATCH + place + 8))
  }
  setWide(place: number, { high, low }: Wide): void {
    this.store64(STATE.SCRATCH + place, high)
    this.store64(STATE.SCRATCH + place + 8, low)
  }
  exponent(place: number): Expr {
    return this.load(STATE.SCRATCH + place + 16)
  }
  /** A number that may lack its top bit, and the exponent that the bit would have. */
  setNumber(place: number, value: Wide, exponent: Expr): void {
    const { count, ...wide } = normalise(this.e, value)
    this.setWide(place, wide)
    this.store(STATE.SCRATCH + place + 16, i32.sub(exponent, i32.wrap_i64(count)))
  }
  giveUpIf(condition: Expr): void {
    this.e.if(condition, () => this.e.return(zero32), undefined, false)
  }
  /** Not this way unless there is an x87, nothing is pending, and an inexact result is no exception. */
  start(): void {
    this.giveUpIf(
      i32.or(
        i32.or(i32.and(this.load(STATE.CR0), i32.const(CR0_EM_TS)), i32.and(this.status(), i32.const(X87.ES))),
        i32.eqz(i32.and(this.control(), i32.const(X87.PE))),
      ),
    )
  }
  /** Significand, sign and exponent of a register that must have an ordinary number. */
  operand(register: Expr): { significand: Expr; sign: Expr; exponent: Expr } {
    const significand = this.e.let(this.significand(register))
    const se = this.e.let(this.signExponent(register))
    const biased = this.e.let(i32.and(se, i32.const(EXPONENT_MAX)))
    this.giveUpIf(
      i32.or(
        this.isEmpty(register),
        i32.or(i32.ge_u(i32.sub(biased, i32.const(1)), i32.const(EXPONENT_MAX - 1)), i64.ge_s(significand, zero64)),
      ),
    )
    return {
      significand,
      sign: this.e.let(i32.shr_u(se, i32.const(15))),
      exponent: this.e.let(i32.sub(biased, i32.const(EXPONENT_BIAS))),
    }
  }
  /** Give up unless the number rounds in one way only, to an ordinary number. */
  decided(place: number): void {
    const low = this.load64(STATE.SCRATCH + place + 8)
    const half = i64.const((1n << 63n) - 1n)
    this.giveUpIf(
      i32.or(
        i64.lt_u(i64.and(i64.add(low, i64.const(ERROR)), half), i64.const(2n * ERROR)),
        i32.gt_u(i32.add(this.exponent(place), i32.const(EXPONENT_BIAS - 1)), i32.const(EXPONENT_MAX - 4)),
      ),
    )
  }
  /** Round the number into a register; i32, 0 or 1: its size was rounded up. `sign` is 0 or 1. */
  putRounded(register: Expr, place: number, sign: Expr): Expr {
    const { e } = this
    const { high, low } = this.wide(place)
    const odd = i32.and(i32.wrap_i64(high), i32.const(1))
    const up = e.let(i32.ne(roundsUp(this.rounding(), sign, odd, low), zero32))
    const rounded = e.let(i64.add(high, i64.extend_i32_u(up)))
    const carried = e.let(i64.eqz(rounded))
    const exponent = i32.add(i32.add(this.exponent(place), carried), i32.const(EXPONENT_BIAS))
    this.put(register, select(carried, i64.const(INTEGER_BIT), rounded), i32.or(i32.shl(sign, i32.const(15)), exponent))
    return up
  }
  /** The status after an inexact result, less a condition code; returns from the helper: done. */
  finishInexact(up: Expr, clears = 0): void {
    const kept = i32.and(this.status(), i32.const(~(X87.C1 | clears)))
    this.store(STATE.X87_STATUS, i32.or(kept, i32.or(i32.const(X87.PE), i32.shl(up, i32.const(9)))))
    this.e.return(i32.const(1))
  }
}

/** A significand as 128 bits. */
export const fixed = (x: ShortCode, significand: Expr): Wide => keep(x.e, significand, zero64)
/** ST(1) becomes ST(0). */
export function popped(x: ShortCode): void {
  const top = x.e.let(x.load(STATE.X87_TOP))
  const mask = i32.xor(i32.shl(i32.const(1), top), MINUS_ONE)
  x.store(STATE.X87_TAGS, i32.and(x.load(STATE.X87_TAGS), mask))
  x.store(STATE.X87_TOP, i32.and(i32.add(top, i32.const(1)), i32.const(7)))
}
