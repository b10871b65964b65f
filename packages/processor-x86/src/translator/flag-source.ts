// Conditions from what was compared, without the flags between: a comparison and the jump behind it become one comparison.

import { type Expr, i32, i64 } from '../wasm/expression.ts'

/** What flags came from, for conditions that need no formula. All values are sign-extended. */
export type FlagSource =
  | { readonly kind: 'sum' | 'difference'; readonly a: Expr; readonly b: Expr; readonly r: Expr }
  | { readonly kind: 'bitwise'; readonly r: Expr }

/** i32: condition `pair` of O, B, Z, BE, S, P, L, LE, where the source of the flags tells. */
export function simpleCondition(source: FlagSource, pair: number): Expr | undefined {
  const zero = i64.const(0)
  if (source.kind === 'bitwise') {
    switch (pair) {
      case 0:
      case 1:
        return i32.const(0)
      case 2:
      case 3:
        return i64.eqz(source.r)
      case 4:
      case 6:
        return i64.lt_s(source.r, zero)
      case 7:
        return i64.le_s(source.r, zero)
      default:
        return undefined
    }
  }
  const { a, b, r } = source
  if (source.kind === 'sum') {
    if (pair === 1) return i64.lt_u(r, a)
    return pair === 2 ? i64.eqz(r) : pair === 4 ? i64.lt_s(r, zero) : undefined
  }
  switch (pair) {
    case 1:
      return i64.lt_u(a, b)
    case 2:
      return i64.eq(a, b)
    case 3:
      return i64.le_u(a, b)
    case 4:
      return i64.lt_s(r, zero)
    case 6:
      return i64.lt_s(a, b)
    case 7:
      return i64.le_s(a, b)
    default:
      return undefined
  }
}
