// Rounding of results to the format (SDM vol. 1, 4.8.4, 8.1.5.2, 8.5.4–8.5.6): precision control, rounding control, overflow, underflow, C1.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import { shiftRightJam, X87Code, zero32, zero64 } from './emit.ts'
import { x87Raise } from './exceptions.ts'
import { EXPONENT_ADJUSTMENT, EXPONENT_MAX, INTEGER_BIT, ROUND, X87 } from './format.ts'

/**
 * i32, not 0: a magnitude whose kept part is odd or even and whose rest is `extra` (a fraction of 2^64, sticky in its lowest bit) is rounded up.
 * `rounding` is 0–3, `sign` not 0 for minus.
 */
export function roundsUp(rounding: Expr, sign: Expr, odd: Expr, extra: Expr): Expr {
  const nearest = i32.and(i64.lt_s(extra, zero64), i32.or(odd, i64.ne(i64.shl(extra, i64.const(1)), zero64)))
  const directed = i32.and(
    i64.ne(extra, zero64),
    i32.eq(rounding, select(sign, i32.const(ROUND.DOWN), i32.const(ROUND.UP))),
  )
  return select(rounding, directed, nearest)
}

/** i32 0 or 1: the lowest bit of `value`. */
const odd = (value: Expr): Expr => i32.and(i32.wrap_i64(value), i32.const(1))

/**
 * `(register, sign, exponent, significand, extra, drop)`: round (-1)^sign × significand.extra × 2^(exponent - bias - 63) to 64 - `drop` bits, store it, raise what
 * it raises. `sign` is 0 or 0x8000, `exponent` may be out of range, `significand` is normalised, `extra` is a fraction with a sticky lowest bit.
 */
export const x87Round: HelperFunction = helperFunction(
  'x87Round',
  ['i32', 'i32', 'i32', 'i64', 'i64', 'i64'],
  'i32',
  (e, [register, sign, exponent, significand, extra, drop], context) => {
    const x = new X87Code(e, context)
    const control = e.let(x.control())
    const rounding = e.let(x.rounding())
    const unit = e.let(i64.shl(i64.const(1), drop))
    const exp = x.variable(exponent)
    const sig = x.variable(significand)
    const rest = x.variable(extra)
    const flags = x.variable(zero32)
    const tiny = x.variable(zero32)

    // Move what is below the precision into `rest`.
    const cut = (): void =>
      e.if(i32.wrap_i64(drop), () => {
        rest.value = i64.or(
          i64.shl(sig.value, i64.sub(zero64, drop)),
          i64.or(
            i64.shr_u(rest.value, drop),
            i64.extend_i32_u(i64.ne(i64.shl(rest.value, i64.sub(zero64, drop)), zero64)),
          ),
        )
        sig.value = i64.and(sig.value, i64.sub(zero64, unit))
      })
    const up = (): Expr => roundsUp(rounding, sign, odd(i64.shr_u(sig.value, drop)), rest.value)

    e.if(i32.le_s(exp.value, zero32), () => {
      // Tiny is what is tiny after rounding with an unlimited exponent.
      tiny.value = i32.const(1)
      e.if(i32.eqz(exp.value), () => {
        cut()
        e.if(i32.and(i32.ne(up(), zero32), i64.eqz(i64.add(sig.value, unit))), () => (tiny.value = zero32))
        sig.value = significand
        rest.value = extra
      })
      e.if(i32.and(tiny.value, i32.eqz(i32.and(control, i32.const(X87.UE)))), () => {
        exp.value = i32.add(exp.value, i32.const(EXPONENT_ADJUSTMENT))
        flags.value = i32.const(X87.UE)
        tiny.value = zero32
      })
      e.if(i32.le_s(exp.value, zero32), () => {
        const shift = e.let(i64.extend_i32_u(i32.sub(i32.const(1), exp.value)))
        e.if(
          i64.lt_u(shift, i64.const(64)),
          () => {
            rest.value = i64.or(i64.shl(sig.value, i64.sub(zero64, shift)), shiftRightJam(rest.value, shift))
            sig.value = i64.shr_u(sig.value, shift)
          },
          () => {
            rest.value = select(
              i64.eq(shift, i64.const(64)),
              i64.or(sig.value, i64.extend_i32_u(i64.ne(rest.value, zero64))),
              i64.const(1),
            )
            sig.value = zero64
          },
        )
        exp.value = zero32
      })
    })
    cut()
    e.if(i64.ne(rest.value, zero64), () => {
      flags.value = i32.or(flags.value, select(tiny.value, i32.const(X87.PE | X87.UE), i32.const(X87.PE)))
      e.if(up(), () => {
        flags.value = i32.or(flags.value, i32.const(X87.C1))
        sig.value = i64.add(sig.value, unit)
        e.if(i64.eqz(sig.value), () => {
          sig.value = i64.const(INTEGER_BIT)
          exp.value = i32.add(exp.value, i32.const(1))
        })
      })
    })
    e.if(i32.and(i32.eqz(exp.value), i64.lt_s(sig.value, zero64)), () => (exp.value = i32.const(1)))
    e.if(i32.ge_s(exp.value, i32.const(EXPONENT_MAX)), () => {
      e.if(
        i32.and(control, i32.const(X87.OE)),
        () => {
          flags.value = i32.const(X87.OE | X87.PE)
          exp.value = i32.const(EXPONENT_MAX - 1)
          sig.value = i64.sub(zero64, unit)
          // To infinity: to nearest, or in the direction of the sign.
          e.if(
            i32.or(i32.eqz(rounding), i32.eq(rounding, select(sign, i32.const(ROUND.DOWN), i32.const(ROUND.UP)))),
            () => {
              flags.value = i32.const(X87.OE | X87.PE | X87.C1)
              exp.value = i32.const(EXPONENT_MAX)
              sig.value = i64.const(INTEGER_BIT)
            },
          )
        },
        () => {
          exp.value = i32.sub(exp.value, i32.const(EXPONENT_ADJUSTMENT))
          flags.value = i32.or(flags.value, i32.const(X87.OE))
        },
      )
    })
    x.put(register, sig.value, i32.or(sign, exp.value))
    e.return(x.call(x87Raise, flags.value))
  },
)

/** `(register, sign, exponent, significand, extra)`: {@link x87Round} by precision control, with a short way for ordinary results of 64 bits. */
export const x87RoundResult: HelperFunction = helperFunction(
  'x87RoundResult',
  ['i32', 'i32', 'i32', 'i64', 'i64'],
  'i32',
  (e, [register, sign, exponent, significand, extra], context) => {
    const x = new X87Code(e, context)
    const precision = e.let(i32.and(i32.shr_u(x.control(), i32.const(8)), i32.const(3)))
    // Precision 01 is reserved, and rounds to 64 bits.
    const whole = e.let(i32.and(precision, i32.const(1)))
    e.if(i32.and(whole, i32.lt_u(i32.sub(exponent, i32.const(1)), i32.const(EXPONENT_MAX - 2))), () => {
      e.if(i64.eqz(extra), () => x.finish(register, significand, i32.or(sign, exponent)))
      const up = e.let(i32.ne(roundsUp(x.rounding(), sign, odd(significand), extra), zero32))
      const rounded = e.let(i64.add(significand, i64.extend_i32_u(up)))
      const carried = e.let(i64.eqz(rounded))
      x.put(register, select(carried, i64.const(INTEGER_BIT), rounded), i32.or(sign, i32.add(exponent, carried)))
      const flags = e.let(i32.or(i32.const(X87.PE), i32.shl(up, i32.const(9))))
      e.if(i32.eqz(i32.and(x.control(), i32.const(X87.PE))), () => e.return(x.call(x87Raise, flags)))
      x.store(STATE.X87_STATUS, i32.or(i32.and(x.status(), i32.const(~X87.C1)), flags))
      e.return(zero32)
    })
    const drop = select(whole, zero64, select(precision, i64.const(11), i64.const(40)))
    e.return(x.call(x87Round, register, sign, exponent, significand, extra, drop))
  },
)
