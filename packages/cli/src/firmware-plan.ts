// `--firmware`: what boots a machine that starts as a PC does.

import { CliError } from './cli-error.ts'
import type { Firmware, FirmwareOptions } from './default-guest/index.ts'
import { createProgressReporter } from './default-guest/progress.ts'
import { readInputFile } from './input-file.ts'
import type { RunOptions } from './run-command.ts'

/** Options that say something to a kernel that is loaded directly, or to the default guest, and the value that they have when nothing was said. */
const FOR_KERNELS = ['kernel', 'initrd', 'append', 'root'] as const

/** The option that says something of the default guest's root disk, as it was written. */
export function rootOption({ root }: Pick<RunOptions, 'root'>): 'root' | 'no-root' {
  return root === false ? 'no-root' : 'root'
}

/**
 * The image of the firmware: the file that the option names, or Debian's.
 * @throws CliError `ERR_USAGE` for options that go with a kernel, `ERR_FILE_UNREADABLE`; DefaultGuestError where Debian's cannot be had
 */
export async function planFirmware(
  options: RunOptions,
  ensureFirmware: (options: FirmwareOptions) => Promise<Firmware>,
  stderr: NodeJS.WriteStream,
  signal: AbortSignal,
): Promise<{ readonly image: string; readonly name: string }> {
  const given = FOR_KERNELS.find((name) => options[name] !== undefined)
  const wrong =
    given === 'root'
      ? rootOption(options)
      : (given ?? (options.guestFiles.length > 0 ? 'guest-file' : options.modules.length > 0 ? 'module' : undefined))
  if (wrong !== undefined) {
    throw new CliError('ERR_USAGE', `--${wrong} does not go with --firmware`, {
      hint: 'Firmware boots what is on the disks; a kernel that is given is loaded without it.',
    })
  }
  if (options.machine === 'gen2') {
    throw new CliError('ERR_USAGE', '--firmware bios needs a machine of generation 1', {
      hint: 'Leave out --machine gen2.',
    })
  }
  const { path } = options.firmware ?? {}
  if (path !== undefined) {
    await readInputFile(path, 'firmware')
    return { image: path, name: path }
  }
  const reporter = createProgressReporter(stderr)
  const { image, version } = await ensureFirmware({ progress: reporter.report, signal }).finally(() => reporter.clear())
  return { image, name: `SeaBIOS ${version}` }
}
