/**
 * Makes the default guest ahead of its first use, and says where it is.
 *
 * Usage: `node --conditions=@partita/source tools/guest/make-guest.ts [--update] [--test-image] [--generic] [--cache DIRECTORY]`
 *
 * With `--test-image` the root disk is larger and has fio, e2fsprogs and more; with `--generic` the kernel is that of `linux-image-amd64`.
 *
 * Standard output gets one JSON object: `kernel`, `initrd`, `rootDisk`, `version` and words for the command line;
 * progress and errors go to standard error. Exit status: 0, 1 on failure, 2 on misuse, 130 on SIGINT.
 */
import { parseArgs } from 'node:util'
import {
  createProgressReporter,
  DefaultGuestError,
  ensureDefaultGuest,
} from '../../packages/cli/src/default-guest/index.ts'

async function main(): Promise<number> {
  let values: { update?: boolean; 'test-image'?: boolean; generic?: boolean; cache?: string }
  try {
    values = parseArgs({
      options: {
        update: { type: 'boolean' },
        'test-image': { type: 'boolean' },
        generic: { type: 'boolean' },
        cache: { type: 'string' },
      },
    }).values
  } catch (error) {
    console.error(
      `${(error as Error).message}\nUsage: make-guest.ts [--update] [--test-image] [--generic] [--cache DIRECTORY]`,
    )
    return 2
  }
  const abort = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => abort.abort(new Error(name)))
  const reporter = createProgressReporter(process.stderr)
  try {
    const guest = await ensureDefaultGuest({
      cacheDirectory: values.cache,
      update: values.update,
      variant: values['test-image'] === true ? 'test' : 'default',
      kernel: values.generic === true ? 'generic' : 'cloud',
      progress: reporter.report,
      signal: abort.signal,
    })
    reporter.clear()
    console.log(JSON.stringify(guest, undefined, 2))
    return 0
  } catch (error) {
    reporter.clear()
    if (abort.signal.aborted) return 130
    if (!(error instanceof DefaultGuestError)) throw error
    console.error(`${error.message} (${error.code})${error.hint === undefined ? '' : `\n${error.hint}`}`)
    return 1
  }
}

process.exitCode = await main()
