// Errors of the command line, and how any error is shown: one line with its code, one with a hint.

import { getSystemErrorMessage } from 'node:util'
import { PartitaError, type PartitaErrorOptions } from '@partita/interface'
import { EXIT_STATUS } from './exit-status.ts'

/** Codes of {@link CliError}. */
export type CliErrorCode =
  /** A command line that cannot be understood. */
  | 'ERR_USAGE'
  /** The configuration is not JSON. */
  | 'ERR_CONFIG_SYNTAX'
  /** The configuration says something that no option takes. */
  | 'ERR_CONFIG_INVALID'
  /** A file that cannot be read. */
  | 'ERR_FILE_UNREADABLE'
  /** The file or the socket of `--serial` cannot be made. */
  | 'ERR_SERIAL'

/** What the user can mend. */
export class CliError extends PartitaError {
  declare readonly code: CliErrorCode

  constructor(code: CliErrorCode, message: string, options?: PartitaErrorOptions) {
    super(code, message, options)
  }
}

/** `partita: CODE: message` and, where there is one, `hint: …`; each ends with a newline. */
export function formatError(error: unknown): string {
  const { code, message, hint } = describe(error)
  return `partita: ${code}: ${oneLine(message)}\n${hint === undefined ? '' : `hint: ${oneLine(hint)}\n`}`
}

/** Errors with codes of these families are about what the user gave. */
const MISUSE =
  /^ERR_(USAGE|CONFIG|FILE|DISK|SERIAL|PLUGIN|VM_CONFIGURATION|MEMORY|KERNEL|INITRD|COMMAND_LINE|GUEST|PARTITION_MEMORY|PROCESSOR_MEMORY|PORT_CONFLICT|MMIO_CONFLICT|PCI_CONFLICT|FIRMWARE|VMBUS_OFFER|INTERRUPT_LINE|CHIPSET_CONFLICT|IDE|STORAGE|NETWORK|ACPI)/

/** The exit status for an error: misuse for what the user gave, else a fault of the host. */
export function statusOfError(error: unknown): number {
  return error instanceof PartitaError && MISUSE.test(error.code) && error.code !== 'ERR_PLUGIN_FAILED'
    ? EXIT_STATUS.MISUSE
    : EXIT_STATUS.HOST_ERROR
}

/** What the system says of a failed call, without code and path: `no such file or directory`. */
export function systemMessage(error: unknown): string {
  const { errno, message } = error as { errno?: unknown; message?: unknown }
  return typeof errno === 'number' ? getSystemErrorMessage(errno) : String(message ?? error)
}

function describe(error: unknown): { code: string; message: string; hint?: string | undefined } {
  if (error instanceof PartitaError) return error
  const message = error instanceof Error ? error.message : String(error)
  const { code } = (error ?? {}) as { code?: unknown }
  return {
    code: typeof code === 'string' ? code : 'ERR_HOST',
    message: error instanceof Error && error.name !== 'Error' ? `${error.name}: ${message}` : message,
    hint: 'This is a fault of Partita or of the host; PARTITA_LOG=debug shows more.',
  }
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ')
}
