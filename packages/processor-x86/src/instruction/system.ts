// System instructions: those that are rare or touch the processor's system state are TypeScript functions, called by interpreter and translator alike.

import type { Cpu } from '../cpu.ts'
import type { Semantics } from './definition.ts'

/**
 * What a system instruction does. `record` is the offset of its decoded record (RECORD). Lazy flags and registers are in STATE. A guest fault is thrown with
 * `cpu.fault(...)`, before anything has changed. Returns one of STATUS; with JUMP or EXIT, STATE.RIP is set.
 */
export interface SystemSemantics {
  readonly execute: (cpu: Cpu, record: number, form: import('./definition.ts').InstructionForm) => number
  /**
   * Emits the usual case, which ends with {@link InstructionEmitter.complete} or {@link InstructionEmitter.jump}. When the code runs to its end instead, nothing has
   * changed, and `execute` is called.
   */
  readonly usual?: Semantics
}

export function system(execute: SystemSemantics['execute'], usual?: Semantics): SystemSemantics {
  return usual ? { execute, usual } : { execute }
}
