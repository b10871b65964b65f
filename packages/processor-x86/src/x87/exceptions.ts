// x87 exceptions (SDM vol. 1, 8.4–8.6): sticky flags, masked responses, the pending summary.
//
// Helpers return, as i32, the exceptions raised that were not masked: 0 when the instruction is complete. After an unmasked invalid operation, denormal
// operand or division by zero nothing was stored.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { i32, i64, select } from '../wasm/expression.ts'
import { X87Code, zero32, zero64 } from './emit.ts'
import { CLASS, QUIET_BIT, WAS_DENORMAL, X87 } from './format.ts'

/** `(flags)`: record exceptions, and C1 as given in `flags`. */
export const x87Raise: HelperFunction = helperFunction('x87Raise', ['i32'], 'i32', (e, [flags], context) => {
  const x = new X87Code(e, context)
  const status = e.let(i32.or(i32.and(x.status(), i32.const(~X87.C1)), flags))
  const unmasked = e.let(i32.and(i32.and(flags, i32.const(X87.EXCEPTIONS)), i32.xor(x.control(), i32.const(-1))))
  e.if(unmasked, () => {
    x.store(STATE.X87_STATUS, i32.or(status, i32.const(X87.ES | X87.B)))
    e.return(unmasked)
  })
  x.store(STATE.X87_STATUS, status)
  e.return(zero32)
})

/** `(register)`: invalid operation; the masked result is the real indefinite. */
export const x87Invalid: HelperFunction = helperFunction('x87Invalid', ['i32'], 'i32', (e, [register], context) => {
  const x = new X87Code(e, context)
  const unmasked = e.let(x.call(x87Raise, i32.const(X87.IE)))
  e.if(i32.eqz(unmasked), () => x.putIndefinite(register))
  e.return(unmasked)
})

/** `(register)`: stack underflow of an instruction whose result goes to `register`. */
export const x87Underflow: HelperFunction = helperFunction('x87Underflow', ['i32'], 'i32', (e, [register], context) => {
  const x = new X87Code(e, context)
  const unmasked = e.let(x.call(x87Raise, i32.const(X87.IE | X87.SF)))
  e.if(i32.eqz(unmasked), () => {
    x.putIndefinite(register)
    x.markUsed(register)
  })
  e.return(unmasked)
})

/** `(significand, se)`: a CLASS. */
export const x87Class: HelperFunction = helperFunction('x87Class', ['i64', 'i32'], 'i32', (e, [significand, se]) => {
  const exponent = e.let(i32.and(se, i32.const(0x7fff)))
  e.if(i32.and(se, i32.const(WAS_DENORMAL)), () => e.return(i32.const(CLASS.DENORMAL)))
  e.if(i32.eqz(exponent), () =>
    e.return(select(i64.eqz(significand), i32.const(CLASS.ZERO), i32.const(CLASS.DENORMAL))),
  )
  e.if(i64.ge_s(significand, zero64), () => e.return(i32.const(CLASS.UNSUPPORTED)))
  e.if(i32.ne(exponent, i32.const(0x7fff)), () => e.return(i32.const(CLASS.NORMAL)))
  const fraction = e.let(i64.shl(significand, i64.const(1)))
  e.if(i64.eqz(fraction), () => e.return(i32.const(CLASS.INFINITY)))
  e.return(select(i64.lt_s(fraction, zero64), i32.const(CLASS.QUIET), i32.const(CLASS.SIGNALING)))
})

/**
 * `(register, aSignificand, aSe, aClass, bSignificand, bSe, bClass)`, of which one class is `QUIET` or above: the NaN that the operation gives (SDM vol. 1,
 * table 4-7): a quiet NaN wins over a signaling one, the larger significand over the smaller, plus over minus.
 */
const x87PropagateNan: HelperFunction = helperFunction(
  'x87PropagateNan',
  ['i32', 'i64', 'i32', 'i32', 'i64', 'i32', 'i32'],
  'i32',
  (e, [register, aSignificand, aSe, aClass, bSignificand, bSe, bClass], context) => {
    const x = new X87Code(e, context)
    const is = (which: typeof aClass, value: number) => i32.eq(which!, i32.const(value))
    e.if(i32.or(is(aClass, CLASS.UNSUPPORTED), is(bClass, CLASS.UNSUPPORTED)), () =>
      e.return(x.call(x87Invalid, register)),
    )
    const signaling = e.let(i32.or(is(aClass, CLASS.SIGNALING), is(bClass, CLASS.SIGNALING)))
    e.if(signaling, () => {
      const unmasked = e.let(x.call(x87Raise, i32.const(X87.IE)))
      e.if(unmasked, () => e.return(unmasked))
    })
    const chooseA = x.variable(i32.ge_u(aClass, i32.const(CLASS.QUIET)))
    e.if(i32.and(chooseA.value, i32.ge_u(bClass, i32.const(CLASS.QUIET))), () => {
      e.if(
        i32.eq(aClass, bClass),
        () => {
          e.if(
            i64.eq(aSignificand, bSignificand),
            () => (chooseA.value = i32.lt_u(aSe, bSe)),
            () => (chooseA.value = i64.gt_u(aSignificand, bSignificand)),
          )
        },
        () => (chooseA.value = is(aClass, CLASS.QUIET)),
      )
    })
    x.put(
      register,
      i64.or(select(chooseA.value, aSignificand, bSignificand), i64.const(QUIET_BIT)),
      select(chooseA.value, aSe, bSe),
    )
    e.if(i32.eqz(signaling), () => x.clearC1())
    e.return(zero32)
  },
)

/** `(register, aSignificand, aSe, bSignificand, bSe)`: -1 when both operands are numbers, else the outcome of {@link x87PropagateNan}. */
export const x87NanOperands: HelperFunction = helperFunction(
  'x87NanOperands',
  ['i32', 'i64', 'i32', 'i64', 'i32'],
  'i32',
  (e, [register, aSignificand, aSe, bSignificand, bSe], context) => {
    const x = new X87Code(e, context)
    const a = e.let(x.call(x87Class, aSignificand, aSe))
    const b = e.let(x.call(x87Class, bSignificand, bSe))
    e.if(i32.or(i32.ge_u(a, i32.const(CLASS.QUIET)), i32.ge_u(b, i32.const(CLASS.QUIET))), () =>
      e.return(x.call(x87PropagateNan, register, aSignificand, aSe, a, bSignificand, bSe, b)),
    )
    e.return(i32.const(-1))
  },
)

/** `(register, significand, se)`: the same for one operand. */
export const x87NanOperand: HelperFunction = helperFunction(
  'x87NanOperand',
  ['i32', 'i64', 'i32'],
  'i32',
  (e, [register, significand, se], context) => {
    const x = new X87Code(e, context)
    e.return(x.call(x87NanOperands, register, significand, se, zero64, zero32))
  },
)
