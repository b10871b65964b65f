// Disk images of `--disk`: raw files, opened, checked and locked before the VM is made, and the controllers that they hang on.

import { DiskError, openRawDisk } from '@partita/disk-images/node'
import { type Disk, disksToken } from '@partita/interface'
import type { PluginConfiguration } from '@partita/root-partition'
import { CliError } from './cli-error.ts'
import { IdeDrives } from './ide-drives.ts'
import type { DiskOption, HypervisorOption } from './option-values.ts'

/** The synthetic SCSI controllers. */
const SCSI_CONTROLLERS = '@partita/synthetic-storage/vsp'
const WRITE_PROTECTED = ['EACCES', 'EROFS', 'EPERM']

/** The disks of a VM: what its configuration gets, and the services behind it. */
export interface OpenDisks extends AsyncDisposable {
  /** The controllers with these disks; they take the place of a default device of the same name. */
  readonly devices: readonly PluginConfiguration[]
  readonly services: ReadonlyMap<string, unknown>
}

/**
 * Open the images of `options` as `disk0`, `disk1`, … on the synthetic SCSI controllers, or on the IDE controller where the option says so or the machine has no
 * other; `usual` is where they are without a word. Disks on the IDE controller are offered over the VMBus, too, where there is one. Those that are write-protected are opened for reading alone.
 * @throws CliError `ERR_USAGE` for disks that there is no place for; DiskError `ERR_DISK_OPEN`, `ERR_DISK_FORMAT`, `ERR_DISK_LOCKED`
 */
export async function openDisks(
  options: readonly DiskOption[],
  hypervisor: HypervisorOption,
  usual: 'ide' | 'scsi' = hypervisor === 'none' ? 'ide' : 'scsi',
): Promise<OpenDisks> {
  const places = placeDisks(options, hypervisor, usual)
  await using opening = new AsyncDisposableStack()
  const disks = new Map<string, Disk>()
  for (const { path, readOnly } of options) disks.set(`disk${disks.size}`, opening.use(await openDisk(path, readOnly)))
  const stack = opening.move()
  return {
    devices: places,
    services: new Map([[disksToken.name, disks]]),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

interface Lun {
  readonly disk: string
  readonly lun?: number
  readonly dvd?: boolean
}

/** The configuration of the controllers. */
function placeDisks(
  options: readonly DiskOption[],
  hypervisor: HypervisorOption,
  usual: 'ide' | 'scsi',
): PluginConfiguration[] {
  const drives = new IdeDrives()
  const controllers: { readonly luns: Lun[] }[] = []
  for (const [index, option] of options.entries()) {
    const disk = `disk${index}`
    const { bus = usual, controller = 0, lun, dvd } = option
    if (hypervisor === 'none' && bus === 'scsi') {
      throw new CliError('ERR_USAGE', `${option.path} cannot be on a SCSI controller without the Hyper-V interface`, {
        hint: 'Leave out --hypervisor none, or the word scsi.',
      })
    }
    if (bus === 'ide') drives.add(disk, option, hypervisor)
    else {
      while (controllers.length <= controller) controllers.push({ luns: [] })
      controllers[controller]?.luns.push({ disk, ...(lun !== undefined && { lun }), ...(dvd && { dvd }) })
    }
  }
  const { offered } = drives
  const synthetic = {
    ...(controllers.length > 0 && { controllers }),
    ...(offered.length > 0 && { ide: offered }),
  }
  return [
    ...drives.devices(),
    ...(Object.keys(synthetic).length === 0 ? [] : [{ plugin: SCSI_CONTROLLERS, options: synthetic }]),
  ]
}

async function openDisk(path: string, readOnly: boolean): Promise<Disk> {
  try {
    return await openRawDisk(path, { readOnly })
  } catch (error) {
    const { code } = ((error as DiskError).cause ?? {}) as { code?: unknown }
    if (readOnly || !(error instanceof DiskError) || !WRITE_PROTECTED.includes(String(code))) throw error
    return openRawDisk(path, { readOnly: true })
  }
}
