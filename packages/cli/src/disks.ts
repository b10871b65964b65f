// Disk images of `--disk`: raw files, opened, checked and locked before the VM is made.

import { DiskError, openRawDisk } from '@partita/disk-images/node'
import { type Disk, disksToken } from '@partita/interface'
import type { PluginConfiguration } from '@partita/root-partition'
import { CliError } from './cli-error.ts'

/** Two channels with two drives each. */
const MAXIMUM_DISKS = 4
const CONTROLLER = '@partita/emulated-ide'
const WRITE_PROTECTED = ['EACCES', 'EROFS', 'EPERM']

/** The disks of a VM: what its configuration gets, and the services behind it. */
export interface OpenDisks extends AsyncDisposable {
  readonly devices: readonly PluginConfiguration[]
  readonly services: ReadonlyMap<string, unknown>
}

/**
 * Open the images in `paths` as the drives `disk0`, `disk1`, … of the IDE controller; those that are write-protected for reading alone.
 * @throws CliError `ERR_USAGE` for more than four; DiskError `ERR_DISK_OPEN`, `ERR_DISK_FORMAT`, `ERR_DISK_LOCKED`
 */
export async function openDisks(paths: readonly string[]): Promise<OpenDisks> {
  if (paths.length > MAXIMUM_DISKS) {
    throw new CliError('ERR_USAGE', `${paths.length} disks are more than the ${MAXIMUM_DISKS} that there is room for`)
  }
  await using opening = new AsyncDisposableStack()
  const disks = new Map<string, Disk>()
  for (const path of paths) disks.set(`disk${disks.size}`, opening.use(await openDisk(path)))
  const stack = opening.move()
  return {
    devices: disks.size === 0 ? [] : [{ plugin: CONTROLLER, options: { drives: [...disks.keys()] } }],
    services: new Map([[disksToken.name, disks]]),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

async function openDisk(path: string): Promise<Disk> {
  try {
    return await openRawDisk(path)
  } catch (error) {
    const { code } = ((error as DiskError).cause ?? {}) as { code?: unknown }
    if (!(error instanceof DiskError) || !WRITE_PROTECTED.includes(String(code))) throw error
    return openRawDisk(path, { readOnly: true })
  }
}
