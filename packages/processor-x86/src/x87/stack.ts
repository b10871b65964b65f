// The register stack as instructions use it (SDM vol. 1, 8.1.2, 8.5.1.1): push, pop, exchange, compare.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { type Expr, i32, i64, select } from '../wasm/expression.ts'
import { x87Compare, x87Examine } from './compare.ts'
import { X87Code, zero32, zero64 } from './emit.ts'
import { x87Class, x87Raise, x87Underflow } from './exceptions.ts'
import { CLASS, CONTROL_FIXED, CONTROL_WRITABLE, QUIET_BIT, WAS_DENORMAL, X87 } from './format.ts'
import { DOUBLE_VALUE, INTEGER_VALUE, type MemoryValue, SINGLE_VALUE } from './memory-value.ts'
import { compareOrdinary, ordinaryRegister, requireNumbers } from './ordinary.ts'

/** `()`: pop the register stack. */
export const x87Pop: HelperFunction = helperFunction('x87Pop', [], 'void', (e, _, context) => {
  const x = new X87Code(e, context)
  const top = e.let(x.load(STATE.X87_TOP))
  const bit = i32.shl(i32.const(1), top)
  x.store(STATE.X87_TAGS, i32.and(x.load(STATE.X87_TAGS), i32.xor(bit, i32.const(-1))))
  x.store(STATE.X87_TOP, i32.and(i32.add(top, i32.const(1)), i32.const(7)))
})

/** `(flags)`: the end of an instruction that has stored ST(0): record exceptions, and pop unless one of them kept the value from being stored. */
export const x87RaiseAndPop: HelperFunction = helperFunction(
  'x87RaiseAndPop',
  ['i32'],
  'i32',
  (e, [flags], context) => {
    const x = new X87Code(e, context)
    const unmasked = e.let(x.call(x87Raise, flags!))
    e.if(i32.eqz(i32.and(unmasked, i32.const(X87.IE | X87.OE | X87.UE))), () => e.do(x.call(x87Pop)))
    e.return(unmasked)
  },
)

/** Decrement TOP; the new top's offset. */
function pushRegister(x: X87Code): Expr {
  const register = x.registerAt(i32.const(7))
  x.store(STATE.X87_TOP, i32.shr_u(register, i32.const(4)))
  x.markUsed(register)
  return register
}

/** Stack overflow unless ST(7) is empty; returns from the helper. */
function checkPush(x: X87Code): void {
  x.e.if(i32.eqz(x.isEmpty(x.registerAt(i32.const(7)))), () => {
    const unmasked = x.e.let(x.call(x87Raise, i32.const(X87.IE | X87.SF | X87.C1)))
    x.e.if(i32.eqz(unmasked), () => x.putIndefinite(pushRegister(x)))
    x.e.return(unmasked)
  })
}

/**
 * `(significand, se)`: push a value: exact, but a NaN is quieted and the use of a denormal of a shorter format is an exception (FLD m32, m64). Values of the
 * format itself (FLD m80, constants) are pushed with {@link x87PushExact}.
 */
const x87Push: HelperFunction = helperFunction('x87Push', ['i64', 'i32'], 'i32', (e, [significand, se], context) => {
  const x = new X87Code(e, context)
  checkPush(x)
  const value = x.variable(significand!)
  const flags = x.variable(zero32)
  e.if(i32.and(se!, i32.const(WAS_DENORMAL)), () => (flags.value = i32.const(X87.DE)))
  e.if(i32.eq(x.call(x87Class, significand!, se!), i32.const(CLASS.SIGNALING)), () => {
    flags.value = i32.const(X87.IE)
    value.value = i64.or(significand!, i64.const(QUIET_BIT))
  })
  const unmasked = e.let(x.call(x87Raise, flags.value))
  // A denormal is pushed even when the exception is not masked.
  e.if(i32.eqz(i32.and(unmasked, i32.const(X87.IE))), () => x.put(pushRegister(x), value.value, se!))
  e.return(unmasked)
})

/** `(significand, se)`. */
export const x87PushExact: HelperFunction = helperFunction(
  'x87PushExact',
  ['i64', 'i32'],
  'i32',
  (e, [significand, se], context) => {
    const x = new X87Code(e, context)
    checkPush(x)
    x.finish(pushRegister(x), significand!, se!)
  },
)

/** `(bits)`: push what they are. Normal numbers and zeros the short way. */
function load(memory: MemoryValue): HelperFunction {
  return helperFunction(`x87Load${memory.name}`, ['i64'], 'i32', (e, [bits], context) => {
    const x = new X87Code(e, context)
    e.block((slow) => {
      const top = e.let(i32.and(i32.add(x.load(STATE.X87_TOP), i32.const(7)), i32.const(7)))
      const tags = e.let(x.load(STATE.X87_TAGS))
      const tag = e.let(i32.shl(i32.const(1), top))
      e.brIf(slow, i32.and(tags, tag), false)
      const register = e.let(i32.shl(top, i32.const(4)))
      e.block((stored) => {
        e.block((special) => {
          const { significand, exponent, sign } = memory.ordinary(x, special, bits!)
          x.put(register, significand, i32.or(sign, exponent))
          e.br(stored)
        })
        e.brIf(slow, i64.ne(i64.shl(bits!, i64.const(64 - memory.sign)), zero64), false)
        const sign = i32.wrap_i64(i64.shl(i64.shr_u(bits!, i64.const(memory.sign)), i64.const(15)))
        x.put(register, zero64, sign)
      })
      x.store(STATE.X87_TOP, top)
      x.store(STATE.X87_TAGS, i32.or(tags, tag))
      x.clearC1()
      e.return(zero32)
    })
    e.return(x.call(x87Push, x.call(memory.significand, bits!), x.call(memory.signExponent, bits!)))
  })
}
export const x87LoadSingle: HelperFunction = load(SINGLE_VALUE)
export const x87LoadDouble: HelperFunction = load(DOUBLE_VALUE)
export const x87LoadInteger: HelperFunction = load(INTEGER_VALUE)

/** `(index)`: FLD ST(i). */
export const x87PushRegister: HelperFunction = helperFunction(
  'x87PushRegister',
  ['i32'],
  'i32',
  (e, [index], context) => {
    const x = new X87Code(e, context)
    const source = x.registerAt(index!)
    e.if(x.isEmpty(source), () => {
      const unmasked = e.let(x.call(x87Raise, i32.const(X87.IE | X87.SF)))
      e.if(i32.eqz(unmasked), () => x.putIndefinite(pushRegister(x)))
      e.return(unmasked)
    })
    checkPush(x)
    const significand = e.let(x.significand(source))
    const se = e.let(x.signExponent(source))
    x.finish(pushRegister(x), significand, se)
  },
)

/** `(index)`: FST ST(i). */
export const x87StoreRegister: HelperFunction = helperFunction(
  'x87StoreRegister',
  ['i32'],
  'i32',
  (e, [index], context) => {
    const x = new X87Code(e, context)
    const source = x.registerAt(zero32)
    const target = x.registerAt(index!)
    e.if(x.isEmpty(source), () => e.return(x.call(x87Underflow, target)))
    x.markUsed(target)
    x.finish(target, x.significand(source), x.signExponent(source))
  },
)

/** `(index)`: FXCH. */
export const x87Exchange: HelperFunction = helperFunction('x87Exchange', ['i32'], 'i32', (e, [index], context) => {
  const x = new X87Code(e, context)
  const a = x.registerAt(zero32)
  const b = x.registerAt(index!)
  const exchange = (): void => {
    const significand = e.let(x.significand(a))
    const se = e.let(x.signExponent(a))
    x.put(a, x.significand(b), x.signExponent(b))
    x.put(b, significand, se)
  }
  const aEmpty = e.let(x.isEmpty(a))
  const bEmpty = e.let(x.isEmpty(b))
  e.if(i32.or(aEmpty, bEmpty), () => {
    const unmasked = e.let(x.call(x87Raise, i32.const(X87.IE | X87.SF)))
    e.if(i32.eqz(unmasked), () => {
      e.if(aEmpty, () => x.putIndefinite(a))
      e.if(bEmpty, () => x.putIndefinite(b))
      x.markUsed(a)
      x.markUsed(b)
      exchange()
    })
    e.return(unmasked)
  })
  exchange()
  x.clearC1()
  e.return(zero32)
})

/** `(index, condition)`: FCMOVcc. The registers must be in use whether it moves or not. */
export const x87ConditionalMove: HelperFunction = helperFunction(
  'x87ConditionalMove',
  ['i32', 'i32'],
  'i32',
  (e, [index, condition], context) => {
    const x = new X87Code(e, context)
    const target = x.registerAt(zero32)
    const source = x.registerAt(index!)
    e.if(i32.or(x.isEmpty(target), x.isEmpty(source)), () => e.return(x.call(x87Underflow, target)))
    e.if(condition!, () => x.put(target, x.significand(source), x.signExponent(source)))
    e.return(zero32)
  },
)

/** `(and, xor)`: FABS and FCHS on the sign and exponent of ST(0). */
export const x87ChangeSign: HelperFunction = helperFunction(
  'x87ChangeSign',
  ['i32', 'i32'],
  'i32',
  (e, [and, xor], context) => {
    const x = new X87Code(e, context)
    const register = x.registerAt(zero32)
    e.if(x.isEmpty(register), () => e.return(x.call(x87Underflow, register)))
    x.finish(register, x.significand(register), i32.xor(i32.and(x.signExponent(register), and!), xor!))
  },
)

// --- comparisons of ST(0)

/** C3, C2 and C0 for operands of which one is missing, with the exception raised. */
function compareEmpty(x: X87Code, condition: Expr): void {
  x.e.if(
    condition,
    () => x.e.return(i32.or(i32.const(X87.C3 | X87.C2 | X87.C0), x.call(x87Raise, i32.const(X87.IE | X87.SF)))),
    undefined,
    false,
  )
}

/** `(index, quiet)`: what {@link x87Compare} returns for ST(0) and ST(index). */
export const x87CompareRegisters: HelperFunction = helperFunction(
  'x87CompareRegisters',
  ['i32', 'i32'],
  'i32',
  (e, [index, quiet], context) => {
    const x = new X87Code(e, context)
    const a = x.registerAt(zero32)
    const b = x.registerAt(index!)
    compareEmpty(x, i32.or(x.isEmpty(a), x.isEmpty(b)))
    e.block((slow) => {
      const values = [ordinaryRegister(x, a), ordinaryRegister(x, b)] as const
      requireNumbers(x, slow, ...values)
      e.return(compareOrdinary(x, ...values))
    })
    e.return(x.call(x87Compare, x.significand(a), x.signExponent(a), x.significand(b), x.signExponent(b), quiet!))
  },
)

/** `(significand, se)`: the same for ST(0) and a value. */
export const x87CompareValue: HelperFunction = helperFunction(
  'x87CompareValue',
  ['i64', 'i32'],
  'i32',
  (e, [significand, se], context) => {
    const x = new X87Code(e, context)
    const a = x.registerAt(zero32)
    compareEmpty(x, x.isEmpty(a))
    e.return(x.call(x87Compare, x.significand(a), x.signExponent(a), significand!, se!, zero32))
  },
)

/** `(compared)`: put C3, C2 and C0 of a comparison into the status word, clear C1; returns the unmasked exceptions. */
export const x87SetCondition: HelperFunction = helperFunction(
  'x87SetCondition',
  ['i32'],
  'i32',
  (e, [compared], context) => {
    const x = new X87Code(e, context)
    x.store(
      STATE.X87_STATUS,
      i32.or(i32.and(x.status(), i32.const(~X87.CONDITION)), i32.and(compared!, i32.const(X87.C3 | X87.C2 | X87.C0))),
    )
    e.return(i32.and(compared!, i32.const(X87.EXCEPTIONS)))
  },
)

/** `()`: FXAM. */
export const x87ExamineTop: HelperFunction = helperFunction('x87ExamineTop', [], 'void', (e, _, context) => {
  const x = new X87Code(e, context)
  const a = x.registerAt(zero32)
  const code = x.call(x87Examine, x.significand(a), x.signExponent(a), x.isEmpty(a))
  x.store(STATE.X87_STATUS, i32.or(i32.and(x.status(), i32.const(~X87.CONDITION)), code))
})

/** `(control)`: FLDCW. Exceptions that lose their mask become pending, and the other way round. */
export const x87LoadControl: HelperFunction = helperFunction(
  'x87LoadControl',
  ['i32'],
  'void',
  (e, [control], context) => {
    const x = new X87Code(e, context)
    const value = e.let(i32.or(i32.and(control!, i32.const(CONTROL_WRITABLE)), i32.const(CONTROL_FIXED)))
    x.store(STATE.X87_CONTROL, value)
    const status = e.let(i32.and(x.status(), i32.const(~(X87.ES | X87.B))))
    const pending = i32.and(i32.and(status, i32.xor(value, i32.const(-1))), i32.const(X87.EXCEPTIONS))
    x.store(STATE.X87_STATUS, i32.or(status, select(pending, i32.const(X87.ES | X87.B), zero32)))
  },
)
