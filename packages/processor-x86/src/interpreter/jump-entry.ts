// Where a RIP has its place in a jump cache.

import { JUMP_ENTRIES, STATE } from '../state-layout.ts'
import { type Expr, i32 } from '../wasm/expression.ts'
import type { FunctionEmitter } from '../wasm/function-emitter.ts'

/** i32: the place in the jump cache in use for a RIP. */
export function jumpEntry(e: FunctionEmitter, base: number, target: Expr): Expr {
  const low = e.let(i32.wrap_i64(target))
  return i32.add(
    i32.load(i32.const(0), base + STATE.JUMPS),
    i32.shl(i32.and(i32.xor(low, i32.shr_u(low, i32.const(12))), i32.const(JUMP_ENTRIES - 1)), i32.const(4)),
  )
}
