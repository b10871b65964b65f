// What runs the loops: Partita, the host's own processor, QEMU.

import type { LoopProgram } from './programs.ts'

/** One execution of one program. */
export interface LoopResult {
  readonly name: string
  /** Processor time of the program alone, without the start of whatever runs it: other programs on the machine count little. */
  readonly seconds: number
  readonly checksum: number
}

export interface LoopRunner extends AsyncDisposable {
  readonly label: string
  /** Run each program once, in order. */
  run(programs: readonly LoopProgram[]): Promise<LoopResult[]>
}

/** A peer that cannot run here; the message says what to install. */
export class UnavailableError extends Error {
  override readonly name = 'UnavailableError'
}
