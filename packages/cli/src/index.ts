/**
 * The `partita` command as a function.
 *
 * @example
 * ```ts
 * import { runCommandLine } from '@partita/cli'
 *
 * process.exitCode = await runCommandLine(['run', '--kernel', 'test.elf'])
 * ```
 * @packageDocumentation
 */
export { CliError, type CliErrorCode } from './cli-error.ts'
export { type CommandLineHost, runCommandLine } from './command-line.ts'
export { EXIT_STATUS, type ExitStatus } from './exit-status.ts'
