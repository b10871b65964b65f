/**
 * An emulated IDE controller, the PIIX4's or one on legacy ports alone, as a plug-in: the default export. Its option `drives` names up to four disks of the service
 * `disksToken`, and CD drives.
 *
 * @example
 * ```ts
 * import ide from '@partita/emulated-ide'
 *
 * const disks = { plugin: ide.name, options: { drives: ['disk0', null, { disk: 'iso', dvd: true }] } }
 * ```
 * @packageDocumentation
 */

import {
  type Disk,
  definePlugin,
  disksToken,
  guestMemoryToken,
  interruptLinesToken,
  type Plugin,
  type PluginContext,
  type PluginInstance,
  pciBusToken,
  portIoToken,
} from '@partita/interface'
import { DvdUnit } from '@partita/scsi'
import { SECTOR_SIZE } from './ata.ts'
import { controlOf, type IdeControl, ideControlToken } from './control.ts'
import type { ConnectedDrive } from './ide-controller.ts'
import { IdeError } from './ide-error.ts'
import { LegacyController } from './legacy-controller.ts'
import { type DriveOptions, type IdeOptions, ideOptions } from './options.ts'
import { Piix4Function } from './piix4-function.ts'

export { type IdeControl, type IdeMediaState, ideControlToken } from './control.ts'
export { IdeError } from './ide-error.ts'
export type { DriveOptions, IdeOptions } from './options.ts'

const FIRMWARE = '1.0'

/** @throws IdeError `ERR_IDE_DISK_UNKNOWN`, `ERR_IDE_SECTOR_SIZE` */
function connect(
  { disk: name, dvd, readOnly, serial }: DriveOptions,
  position: number,
  disks: ReadonlyMap<string, Disk> | undefined,
): ConnectedDrive {
  const disk = name === null ? undefined : disks?.get(name)
  if (name !== null && disk === undefined) {
    throw new IdeError('ERR_IDE_DISK_UNKNOWN', `there is no disk named ${name}`, {
      hint: `Known disks: ${[...(disks?.keys() ?? [])].join(', ') || 'none'}.`,
      data: { name },
    })
  }
  const own = serial ?? (name ?? `cd${position}`).slice(0, 20)
  if (dvd === true || disk === undefined) {
    const unit = new DvdUnit({ serial: own, product: 'Virtual CD/ROM', tellsPowerOn: true, readsCds: true }, disk)
    return { kind: 'packet', unit, names: { model: 'Partita Virtual DVD-ROM', serial: own, firmware: FIRMWARE } }
  }
  if (disk.sectorSize !== SECTOR_SIZE) {
    throw new IdeError(
      'ERR_IDE_SECTOR_SIZE',
      `${name} has sectors of ${disk.sectorSize} bytes, an IDE disk has ${SECTOR_SIZE}`,
      { data: { name, sectorSize: disk.sectorSize } },
    )
  }
  return {
    kind: 'disk',
    disk,
    readOnly: readOnly === true,
    names: { model: 'Partita Virtual Disk', serial: own, firmware: FIRMWARE },
  }
}

/** @throws IdeError `ERR_IDE_NO_PCI` */
function createController(
  context: PluginContext<IdeOptions>,
  drives: readonly (ConnectedDrive | undefined)[],
): Piix4Function | LegacyController {
  const wiring = {
    ports: context.get(portIoToken),
    memory: context.get(guestMemoryToken),
    lines: context.get(interruptLinesToken),
  }
  if (!context.options.pci) return new LegacyController(wiring, drives)
  const pci = context.find(pciBusToken)
  if (pci === undefined) {
    throw new IdeError('ERR_IDE_NO_PCI', 'the machine has no PCI bus for the IDE controller', {
      hint: 'Set its option pci to false: it then has the legacy ports alone.',
    })
  }
  return new Piix4Function(context.options, { ...wiring, pci }, drives)
}

/** The plug-in: an IDE controller. */
const plugin: Plugin<IdeOptions> = definePlugin<IdeOptions>({
  name: '@partita/emulated-ide',
  kind: 'emulated-device',
  contract: 1,
  description: 'A PIIX4 IDE controller with up to four disks and CD drives',
  options: ideOptions,
  needs: [portIoToken, interruptLinesToken, guestMemoryToken],
  uses: [disksToken, pciBusToken],
  provides: [ideControlToken],
  create: (context): PluginInstance => {
    const disks = context.find(disksToken)
    const drives = context.options.drives.map((drive, position) =>
      drive === null ? undefined : connect(drive, position, disks),
    )
    const ide = createController(context, drives)
    return {
      services: { [ideControlToken.name]: controlOf(ide.controller) satisfies IdeControl },
      save: () => ide.save(),
      restore: (state) => ide.restore(state),
      reset: () => ide.reset(),
      stop: () => ide.controller.settle(),
      [Symbol.asyncDispose]: () => ide[Symbol.asyncDispose](),
    }
  },
})

export default plugin
