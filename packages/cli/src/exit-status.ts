// The exit status of `partita`. Debug-exit codes are odd; Partita's own are even but for those that shells give to signals.

import type { VmOutcome } from '@partita/root-partition'

/** The exit statuses that are not the guest's. */
export const EXIT_STATUS = {
  /** The guest switched itself off. */
  POWER_OFF: 0,
  /** A wrong option, or a file, disk, plug-in or amount of memory that cannot be used. */
  MISUSE: 2,
  /** Something failed on the host's side. */
  HOST_ERROR: 70,
  /** The guest's kernel panicked. */
  GUEST_PANIC: 100,
  /** A virtual processor shut down. */
  TRIPLE_FAULT: 102,
  /** The time of `--timeout` was up. */
  TIMEOUT: 124,
  /** SIGHUP, or standard output was closed. */
  HANGUP: 129,
  /** SIGINT, or the escape key. */
  INTERRUPTED: 130,
  /** SIGTERM. */
  TERMINATED: 143,
} as const

/** One of {@link EXIT_STATUS}. */
export type ExitStatus = (typeof EXIT_STATUS)[keyof typeof EXIT_STATUS]

/** The exit status for the end that a guest came to by itself, with a message where it is not a good one. */
export function statusOf(outcome: VmOutcome, panicked: boolean): { status: number; code?: string; message?: string } {
  switch (outcome.type) {
    case 'power-off':
      return { status: EXIT_STATUS.POWER_OFF }
    case 'debug-exit':
      return { status: outcome.code & 0xff }
    case 'guest-crash':
      return { status: EXIT_STATUS.GUEST_PANIC, code: 'ERR_GUEST_PANIC', message: "the guest's kernel panicked" }
    case 'triple-fault':
      return {
        status: EXIT_STATUS.TRIPLE_FAULT,
        code: 'ERR_GUEST_TRIPLE_FAULT',
        message: `virtual processor ${outcome.vpIndex} shut down (triple fault)`,
      }
    default:
      // A reset ends a run after a panic alone.
      return panicked
        ? { status: EXIT_STATUS.GUEST_PANIC, code: 'ERR_GUEST_PANIC', message: "the guest's kernel panicked" }
        : { status: EXIT_STATUS.HOST_ERROR, code: 'ERR_CLI_OUTCOME', message: `the guest ended with ${outcome.type}` }
  }
}
