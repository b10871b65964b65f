// The guest that is booted by everybody alike: the default guest, told to load no drivers, because machines with different devices would do different work.

import { createProgressReporter, ensureDefaultGuest } from '../../../packages/cli/src/default-guest/index.ts'

export interface BenchGuest {
  readonly kernel: string
  readonly initrd: string
  readonly commandLine: string
  /** Of the command line, what `partita run` must be told; the rest it knows. */
  readonly append: string
  readonly version: string
  /** Bytes. */
  readonly memory: number
}

const MEMORY = 512 * 2 ** 20
const APPEND = 'partita_drivers=no'
/** What \`partita run\` says to its default guest in addition to the guest's own words. */
const PANIC = 'panic=-1'

export async function benchGuest(): Promise<BenchGuest> {
  const reporter = createProgressReporter(process.stderr)
  const guest = await ensureDefaultGuest({ progress: reporter.report }).finally(() => reporter.clear())
  return {
    kernel: guest.kernel,
    initrd: guest.initrd,
    version: guest.version,
    commandLine: [guest.commandLine, PANIC, guest.pipedInputWord, APPEND].join(' '),
    append: APPEND,
    memory: MEMORY,
  }
}
