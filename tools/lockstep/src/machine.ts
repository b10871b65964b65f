// What a comparison needs of a machine that runs programs.

import type { SoftwareVirtualProcessor } from '../../../packages/processor-x86/src/virtual-processor.ts'
import type { PlacedProgram, Program } from './program/unit.ts'

/** Exceptions after which a program ends. */
export const MAXIMUM_EXCEPTIONS = 30

/** What has happened to a program. */
export type Stop =
  | { readonly kind: 'exception'; readonly vector: number; readonly errorCode: number; readonly address: bigint }
  /** It does not end. */
  | { readonly kind: 'runaway' }
  /** The processor has shut down. */
  | { readonly kind: 'shutdown' }

export interface ProgramMachine {
  readonly vp: SoftwareVirtualProcessor
  /** Put a program's memory and registers in place. `contents`: all regions. */
  load(program: Program, placed: PlacedProgram, contents: Uint8Array): void
  /** Run until the next exception. */
  run(): Stop
  /** Go on after it; false where the program has ended. */
  resume(stop: Stop, placed: PlacedProgram): boolean
  /** All pages that are compared. */
  readonly pages: readonly Uint8Array[]
  /** Where byte `offset` of a page lies, for people. */
  addressOf(page: number, offset: number): string
}
