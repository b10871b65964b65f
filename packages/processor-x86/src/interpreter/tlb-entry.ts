// Where a linear address has its place in a TLB.

import { TLB_ENTRIES } from '../state-layout.ts'
import { type Expr, i32 } from '../wasm/expression.ts'

/** i32: the place for `address` (i64, used once) in the TLB at `tlb` (i32). */
export function tlbEntry(tlb: Expr, address: Expr): Expr {
  return i32.add(tlb, i32.and(i32.shr_u(i32.wrap_i64(address), i32.const(8)), i32.const((TLB_ENTRIES - 1) << 4)))
}
