// 128-bit integers for the x87 helpers: WebAssembly multiplies and divides 64 bits only.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { type Expr, f64, i32, i64 } from '../wasm/expression.ts'
import { X87Code, zero64 } from './emit.ts'

const LOW = i64.const(0xffffffffn)
const low32 = (value: Expr): Expr => i64.and(value, LOW)
const high32 = (value: Expr): Expr => i64.shr_u(value, i64.const(32))

/** `(a, b)`: the upper 64 bits of the unsigned product. */
export const x87MultiplyHigh: HelperFunction = helperFunction('x87MultiplyHigh', ['i64', 'i64'], 'i64', (e, [a, b]) => {
  const a0 = e.let(low32(a!))
  const a1 = e.let(high32(a!))
  const b0 = e.let(low32(b!))
  const b1 = e.let(high32(b!))
  const middle = e.let(i64.add(i64.mul(a1, b0), high32(i64.mul(a0, b0))))
  const other = e.let(i64.add(i64.mul(a0, b1), low32(middle)))
  e.return(i64.add(i64.add(i64.mul(a1, b1), high32(middle)), high32(other)))
})

/** `(high, low, divisor)`: the unsigned quotient; `divisor` has its top bit set and is greater than `high`. Schoolbook division with digits of 32 bits. */
export const x87Divide128: HelperFunction = helperFunction(
  'x87Divide128',
  ['i64', 'i64', 'i64'],
  'i64',
  (e, [high, low, divisor], context) => {
    const x = new X87Code(e, context)
    const d1 = e.let(high32(divisor!))
    const d0 = e.let(low32(divisor!))
    const digit = (top: Expr, next: Expr): Expr => {
      const q = x.variable(i64.div_u(top, d1))
      const r = x.variable(i64.sub(top, i64.mul(q.value, d1)))
      e.block((done) => {
        e.loop((again) => {
          e.brIf(
            done,
            i32.and(
              i64.eqz(high32(q.value)),
              i64.le_u(i64.mul(q.value, d0), i64.or(i64.shl(r.value, i64.const(32)), next)),
            ),
          )
          q.value = i64.sub(q.value, i64.const(1))
          r.value = i64.add(r.value, d1)
          e.brIf(again, i64.eqz(high32(r.value)))
        })
      })
      return e.let(q.value)
    }
    const first = digit(high!, e.let(high32(low!)))
    const rest = e.let(i64.sub(i64.or(i64.shl(high!, i64.const(32)), high32(low!)), i64.mul(first, divisor!)))
    const second = digit(rest, e.let(low32(low!)))
    e.return(i64.or(i64.shl(first, i64.const(32)), second))
  },
)

/** `(high, low)`: the integer square root of a number of 127 or 128 bits. */
export const integerSquareRoot: HelperFunction = helperFunction(
  'x87IntegerSquareRoot',
  ['i64', 'i64'],
  'i64',
  (e, [high, low], context) => {
    const x = new X87Code(e, context)
    const twoTo64 = f64.const(2 ** 64)
    // 53 bits from the host, the next by one step of Newton's iteration, the last by trial.
    const root = x.variable(i64.trunc_sat_f64_u(f64.mul(f64.sqrt(f64.convert_i64_u(high!)), f64.const(2 ** 32))))
    const restHigh = x.variable(zero64)
    const restLow = x.variable(zero64)
    const remainder = (): void => {
      const square = e.let(i64.mul(root.value, root.value))
      restLow.value = i64.sub(low!, square)
      restHigh.value = i64.sub(
        i64.sub(high!, x.call(x87MultiplyHigh, root.value, root.value)),
        i64.extend_i32_u(i64.lt_u(low!, square)),
      )
    }
    remainder()
    const correction = i64.trunc_sat_f64_s(
      f64.div(
        f64.add(f64.mul(f64.convert_i64_s(restHigh.value), twoTo64), f64.convert_i64_u(restLow.value)),
        f64.mul(f64.convert_i64_u(root.value), f64.const(2)),
      ),
    )
    const step = e.let(correction)
    const next = e.let(i64.add(root.value, step))
    // Towards 2^64 the step may leave the range.
    e.if(
      i32.and(i64.gt_s(step, zero64), i64.lt_u(next, root.value)),
      () => (root.value = i64.const(-1)),
      () => (root.value = next),
    )
    remainder()
    e.loop((again) => {
      e.if(i64.lt_s(restHigh.value, zero64), () => {
        root.value = i64.sub(root.value, i64.const(1))
        remainder()
        e.br(again)
      })
    })
    e.loop((again) => {
      // remainder > 2 × root: one more (`root` is not 2^64 - 1 then).
      const twice = e.let(i64.shl(root.value, i64.const(1)))
      e.if(
        i32.or(
          i64.gt_s(restHigh.value, i64.const(1)),
          i32.and(i64.eq(restHigh.value, i64.const(1)), i64.gt_u(restLow.value, twice)),
        ),
        () => {
          root.value = i64.add(root.value, i64.const(1))
          remainder()
          e.br(again)
        },
      )
    })
    e.return(root.value)
  },
)
