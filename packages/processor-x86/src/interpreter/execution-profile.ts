// Counts how often each instruction form is executed, inside `run` and as a function of its own, and how often generated code calls out: what the choice of
// inline forms rests on. Only a processor that is asked for a profile has the counting code.

import type { DecodedForm } from '../decoder/opcode-map.ts'
import type { SoftwareMemory } from '../memory.ts'
import { RECORD } from '../state-layout.ts'
import { type Expr, i32, i64 } from '../wasm/expression.ts'
import type { FunctionEmitter, Local } from '../wasm/function-emitter.ts'

/** Function numbers that there can be. */
const FUNCTIONS_LOG2 = 14
/** Bytes: an i64 for each function number, out of line and then inline. */
export const PROFILE_SIZE: number = (2 << FUNCTIONS_LOG2) * 8

/** What one form has to show. */
export interface FormProfile {
  /** Mnemonic, opcode row, operand codes, then operand size in bytes, `m` or `r`, and `l` for legacy modes; see the decoder. */
  readonly key: string
  readonly inline: number
  readonly outOfLine: number
}

/** Emit the counting of one record. Handlers below `call` are no instructions; `call` is that of functions. */
export function emitCount(e: FunctionEmitter, record: Local, counters: number, call: number): void {
  const handler: Expr = i32.load16_u(e.get(record), RECORD.HANDLER)
  e.if(i32.ge_u(handler, i32.const(call)), () => {
    const inline = i32.shl(i32.gt_u(handler, i32.const(call)), i32.const(FUNCTIONS_LOG2))
    const at = e.let(i32.shl(i32.or(i32.load16_u(e.get(record), RECORD.FUNCTION), inline), i32.const(3)))
    e.do(i64.store(at, i64.add(i64.load(at, counters), i64.const(1)), counters))
  })
}

export class ExecutionProfile {
  /** Where the counters lie in the partition's memory. */
  readonly counters: number
  /** Calls from generated code, by the import's name. */
  readonly calls: Record<string, number> = {}
  readonly #memory: SoftwareMemory

  /** Counters take {@link PROFILE_SIZE} bytes from `counters`, a multiple of 8. */
  constructor(memory: SoftwareMemory, counters: number) {
    this.#memory = memory
    this.counters = counters
    memory.u8.fill(0, counters, counters + PROFILE_SIZE)
  }

  /** The imports, counted. */
  count<T extends object>(imports: T): T {
    const counted: Record<string, unknown> = {}
    for (const [name, value] of Object.entries(imports) as [string, (...values: number[]) => unknown][]) {
      this.calls[name] = 0
      counted[name] = (...values: number[]): unknown => {
        this.calls[name] = (this.calls[name] as number) + 1
        return value(...values)
      }
    }
    return counted as T
  }

  /** The forms that were executed, most often out of line first. */
  forms(forms: readonly DecodedForm[]): FormProfile[] {
    const read = (index: number): number => Number(this.#memory.u64[this.counters / 8 + index])
    return forms
      .filter((decoded) => decoded.functionIndex >= 0)
      .map((decoded) => ({
        key: decoded.form.key,
        outOfLine: read(decoded.functionIndex),
        inline: read(decoded.functionIndex + (1 << FUNCTIONS_LOG2)),
      }))
      .filter(({ inline, outOfLine }) => inline + outOfLine > 0)
      .sort((a, b) => b.outOfLine - a.outOfLine || b.inline - a.inline)
  }
}
