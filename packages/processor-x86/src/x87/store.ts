// The values that FST, FIST, FISTTP and FBSTP store: ST(0) converted. Exceptions are left in STATE.X87_FLAGS, to be raised after the store.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { i32, i64 } from '../wasm/expression.ts'
import { x87ToDouble, x87ToInteger, x87ToSingle } from './convert.ts'
import { X87Code, zero32, zero64 } from './emit.ts'
import { X87 } from './format.ts'

const STACK_UNDERFLOW = i32.const(X87.IE | X87.SF)

function storeFloat(name: string, convert: HelperFunction, indefinite: bigint): HelperFunction {
  return helperFunction(name, [], 'i64', (e, _, context) => {
    const x = new X87Code(e, context)
    const register = x.registerAt(zero32)
    e.if(x.isEmpty(register), () => {
      x.store(STATE.X87_FLAGS, STACK_UNDERFLOW)
      e.return(i64.const(indefinite))
    })
    e.return(x.call(convert, x.significand(register), x.signExponent(register)))
  })
}
export const x87StoreSingle: HelperFunction = storeFloat('x87StoreSingle', x87ToSingle, 0xffc00000n)
export const x87StoreDouble: HelperFunction = storeFloat('x87StoreDouble', x87ToDouble, 0xfff8000000000000n)

/** `(limit, rounding)`: the integer, as {@link x87ToInteger} gives it. */
export const x87StoreInteger: HelperFunction = helperFunction(
  'x87StoreInteger',
  ['i64', 'i32'],
  'i64',
  (e, [limit, rounding], context) => {
    const x = new X87Code(e, context)
    const register = x.registerAt(zero32)
    e.if(x.isEmpty(register), () => {
      x.store(STATE.X87_FLAGS, STACK_UNDERFLOW)
      e.return(i64.sub(i64.const(-1), limit!))
    })
    e.return(x.call(x87ToInteger, x.significand(register), x.signExponent(register), limit!, rounding!))
  },
)

/** `()`: the magnitude to be stored as packed BCD, or -1 when it has more than 18 digits or there is no number. */
export const x87StoreBcd: HelperFunction = helperFunction('x87StoreBcd', [], 'i64', (e, _, context) => {
  const x = new X87Code(e, context)
  const value = x.variable(x.call(x87StoreInteger, i64.const((1n << 63n) - 1n), x.rounding()))
  e.if(i64.lt_s(value.value, zero64), () => (value.value = i64.sub(zero64, value.value)))
  e.if(i64.ge_u(value.value, i64.const(10n ** 18n)), () => {
    e.if(i32.eqz(i32.and(x.load(STATE.X87_FLAGS), i32.const(X87.IE))), () =>
      x.store(STATE.X87_FLAGS, i32.const(X87.IE)),
    )
    e.return(i64.const(-1))
  })
  e.return(value.value)
})
