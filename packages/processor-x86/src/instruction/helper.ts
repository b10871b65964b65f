// Functions shared by the code of many instructions (128-bit multiplication, soft floating point, …), emitted into a module when first used.

import type { Expr, ResultType, ValueType } from '../wasm/expression.ts'
import type { FunctionEmitter, FunctionReference } from '../wasm/function-emitter.ts'

/** What a helper's body may use beside its parameters. */
export interface HelperContext {
  /** Absolute offset in memory of a STATE field. */
  readonly state: (field: number) => number
  /** Another helper. */
  readonly helper: (helper: HelperFunction) => FunctionReference
}

/** A pure WebAssembly function. Compared by identity: define each once, at module level. */
export interface HelperFunction {
  readonly name: string
  readonly params: readonly ValueType[]
  readonly result: ResultType
  /** Must return its result with `e.return(…)` on every path. */
  readonly body: (e: FunctionEmitter, args: readonly Expr[], context: HelperContext) => void
}

export function helperFunction(
  name: string,
  params: readonly ValueType[],
  result: ResultType,
  body: HelperFunction['body'],
): HelperFunction {
  return { name, params, result, body }
}
