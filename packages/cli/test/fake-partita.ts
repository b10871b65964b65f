// `partita` with the processor of fake-guest.ts, to be run as a child process. Like main.ts otherwise.

import { runCommandLine } from '../src/command-line.ts'
import { fakeRegistry } from './fake-guest.ts'

process.exit(await runCommandLine(process.argv.slice(2), { registry: fakeRegistry }))
