/**
 * An emulated IDE controller, the PIIX4's, as a plug-in: the default export. Its option `drives` names up to four disks of the service `disksToken`.
 *
 * @example
 * ```ts
 * import ide from '@partita/emulated-ide'
 *
 * const disks = { plugin: ide.name, options: { drives: ['disk0'] } }
 * ```
 * @packageDocumentation
 */

import {
  definePlugin,
  disksToken,
  guestMemoryToken,
  interruptLinesToken,
  type Plugin,
  type PluginInstance,
  pciBusToken,
  portIoToken,
} from '@partita/interface'
import * as v from 'valibot'
import { SECTOR_SIZE } from './ata.ts'
import { IdeError } from './ide-error.ts'
import { type ConnectedDisk, Piix4Ide } from './piix4-ide.ts'

export { IdeError } from './ide-error.ts'

/** Options of `@partita/emulated-ide`. */
export interface IdeOptions {
  /** Names of disks: primary master, primary slave, secondary master, secondary slave; null for none. Default: none. */
  readonly drives: readonly (string | null)[]
  /** PCI device number. Default: 7, the PIIX4. */
  readonly device: number
  /** PCI function. Default: 1. */
  readonly fn: number
  /** First of the 16 bus-master ports at power-on. Default: 0xFFA0. */
  readonly busMasterBase: number
}

const options: v.GenericSchema<unknown, IdeOptions> = v.strictObject({
  drives: v.optional(
    v.pipe(v.array(v.nullable(v.pipe(v.string(), v.nonEmpty()))), v.maxLength(4, 'there is room for four drives')),
    [],
  ),
  device: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(31)), 7),
  fn: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(7)), 1),
  busMasterBase: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(0x1000), v.maxValue(0xfff0), v.multipleOf(16)),
    0xffa0,
  ),
})

/** The plug-in: a PIIX4 IDE controller. */
const plugin: Plugin<IdeOptions> = definePlugin<IdeOptions>({
  name: '@partita/emulated-ide',
  kind: 'emulated-device',
  contract: 1,
  description: 'A PIIX4 IDE controller with up to four ATA disks',
  options,
  needs: [portIoToken, interruptLinesToken, guestMemoryToken, pciBusToken],
  uses: [disksToken],
  provides: [],
  create: (context): PluginInstance => {
    const disks = context.find(disksToken)
    const connected = context.options.drives.map((name): ConnectedDisk | undefined => {
      if (name === null) return undefined
      const disk = disks?.get(name)
      if (disk === undefined) {
        throw new IdeError('ERR_IDE_DISK_UNKNOWN', `there is no disk named ${name}`, {
          hint: `Known disks: ${[...(disks?.keys() ?? [])].join(', ') || 'none'}.`,
          data: { name },
        })
      }
      if (disk.sectorSize !== SECTOR_SIZE) {
        throw new IdeError(
          'ERR_IDE_SECTOR_SIZE',
          `${name} has sectors of ${disk.sectorSize} bytes, an IDE disk has ${SECTOR_SIZE}`,
          {
            data: { name, sectorSize: disk.sectorSize },
          },
        )
      }
      return { disk, names: { model: 'Partita Virtual Disk', serial: name, firmware: '1.0' } }
    })
    const ide = new Piix4Ide(
      context.options,
      {
        ports: context.get(portIoToken),
        memory: context.get(guestMemoryToken),
        lines: context.get(interruptLinesToken),
        pci: context.get(pciBusToken),
      },
      connected,
    )
    return {
      save: () => ide.save(),
      restore: (state) => ide.restore(state),
      reset: () => ide.reset(),
      stop: () => ide.settle(),
      [Symbol.asyncDispose]: () => ide[Symbol.asyncDispose](),
    }
  },
})

export default plugin
