// What a case of the guest matrix is: something that is done with the real guest, and checked from both sides.

import type { BootOptions, MatrixGuest } from './machine.ts'

/** What a case gets. */
export interface CaseContext {
  /** An empty directory for images; it is removed after the case. */
  readonly directory: string
  /** Mebibytes for a case that moves many. */
  readonly mebibytes: number
  /** Boot the test image; the guest is at its prompt when this resolves. It is ended after the case, if it has not ended by then. */
  boot(options?: BootOptions): Promise<MatrixGuest>
}

/** One line of the table in `cases/index.ts`. */
export interface GuestCase {
  readonly name: string
  /** What holds when it passes. */
  readonly description: string
  /** Seconds of processor time after which it has failed. Default: 600. */
  readonly timeout?: number
  /** Of a case that moves many bytes, where the command line says nothing else. Default: 1024. */
  readonly mebibytes?: number
  /** Fails by throwing, as `node:assert` does. */
  run(context: CaseContext): Promise<void>
}

/** Thrown by a case that this host cannot run. */
export class Skipped extends Error {}
