/**
 * The root side of synthetic storage: SCSI controllers on the VMBus, as a plug-in (the default export) and as a class.
 *
 * @example
 * ```ts
 * import storage from '@partita/synthetic-storage/vsp'
 *
 * const disks = { plugin: storage.name, options: { controllers: [{ luns: [{ disk: 'disk0' }, { disk: 'iso', dvd: true }] }] } }
 * ```
 * @packageDocumentation
 */

import {
  type Disk,
  definePlugin,
  disksToken,
  type Plugin,
  type PluginInstance,
  type SavedState,
  type ServiceToken,
  serviceToken,
  vmbusServerToken,
} from '@partita/interface'
import { BlockUnit, DvdUnit, type LogicalUnit } from '@partita/scsi'
import * as v from 'valibot'
import { StorageError } from './storage-error.ts'
import { CONTROLLER_LUNS, StorageController } from './vsp/controller.ts'

export {
  BlockUnit,
  type BlockUnitOptions,
  DvdUnit,
  type DvdUnitOptions,
  type LogicalUnit,
  ScsiTarget,
  type ScsiTargetOptions,
  type UnitBase,
  type UnitIdentity,
} from '@partita/scsi'
export { StorageError } from './storage-error.ts'
export { CONTROLLER_LUNS, type IdePlace, StorageController, type StorageControllerOptions } from './vsp/controller.ts'
export { PHASE, type Phase } from './vsp/negotiation.ts'

/** A logical unit in the options of the plug-in. */
export interface LunOptions {
  /** Logical unit number. Default: the first that is free. */
  readonly lun?: number | undefined
  /** Name of a disk; a DVD drive may be empty, with null. */
  readonly disk: string | null
  /** Refuse writes. Default: as the disk has it. */
  readonly readOnly?: boolean | undefined
  /** A DVD drive. Default: false, a disk. */
  readonly dvd?: boolean | undefined
  /** Unit serial number. Default: the name of the disk, or of the place. */
  readonly serial?: string | undefined
}

/** A controller in the options of the plug-in. */
export interface ControllerOptions {
  /** What is attached to it at first. */
  readonly luns: readonly LunOptions[]
  /** Default: one that is made from its position. */
  readonly instanceId?: string | undefined
}

/** The fast path to a disk of an emulated IDE controller, in the options of the plug-in. */
export interface IdeDiskOptions {
  /** 0: the primary channel; 1: the secondary. */
  readonly channel: number
  /** 0: the master; 1: the slave. */
  readonly device: number
  /** Name of the disk that is at this place. Guests that know the fast path leave the emulated drive alone. */
  readonly disk: string
  /** Refuse writes. Default: as the disk has it. */
  readonly readOnly?: boolean | undefined
  /** Unit serial number. Default: the name of the disk. */
  readonly serial?: string | undefined
}

/** Options of `@partita/synthetic-storage/vsp`. */
export interface StorageOptions {
  /** Default: one controller without disks. */
  readonly controllers: readonly ControllerOptions[]
  /** Disks of an emulated IDE controller that the guest may also use over the VMBus. Default: none. */
  readonly ide: readonly IdeDiskOptions[]
  /** Sub-channels of each controller. Default: 4. */
  readonly subChannels: number
  /** Most bytes of one request, a multiple of 4096. Default: 524288. */
  readonly maximumTransferBytes: number
}

/** Adding and removing units while the VM runs. */
export interface StorageControl {
  /** In the order of the options. */
  readonly controllers: readonly StorageController[]
  /**
   * Attach a disk that the options did not name. The guest is told. `serial` is its unit serial number. Returns its LUN.
   * @throws StorageError `ERR_STORAGE_LUN`, `ERR_STORAGE_DISK`
   */
  attach(controller: number, disk: Disk, options: Omit<LunOptions, 'disk'> & { readonly serial: string }): number
  /**
   * Take a unit away. The guest is told; resolves with the unit when nothing uses its disk any more.
   * @throws StorageError `ERR_STORAGE_LUN`
   */
  detach(controller: number, lun: number): Promise<LogicalUnit>
}

/** The service by which disks come and go. */
export const storageControlToken: ServiceToken<StorageControl> = serviceToken('partita/storage-control')

const name = v.pipe(v.string(), v.nonEmpty())
const serialNumber = v.pipe(v.string(), v.nonEmpty(), v.maxLength(32))
const lunOptions = v.pipe(
  v.strictObject({
    lun: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(CONTROLLER_LUNS - 1))),
    disk: v.nullable(name),
    readOnly: v.optional(v.boolean()),
    dvd: v.optional(v.boolean()),
    serial: v.optional(serialNumber),
  }),
  v.check((lun) => lun.disk !== null || lun.dvd === true, 'only a DVD drive can be empty'),
)

const options: v.GenericSchema<unknown, StorageOptions> = v.strictObject({
  controllers: v.optional(
    v.pipe(
      v.array(
        v.strictObject({
          luns: v.pipe(v.array(lunOptions), v.maxLength(CONTROLLER_LUNS)),
          instanceId: v.optional(v.pipe(v.string(), v.uuid(), v.toLowerCase())),
        }),
      ),
      v.maxLength(16, 'there can be 16 controllers'),
    ),
    [{ luns: [] }],
  ),
  ide: v.optional(
    v.pipe(
      v.array(
        v.strictObject({
          channel: v.picklist([0, 1]),
          device: v.picklist([0, 1]),
          disk: name,
          readOnly: v.optional(v.boolean()),
          serial: v.optional(serialNumber),
        }),
      ),
      v.check(
        (disks) => new Set(disks.map(({ channel, device }) => 2 * channel + device)).size === disks.length,
        'two disks have the same place',
      ),
    ),
    [],
  ),
  subChannels: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(63)), 4),
  maximumTransferBytes: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(65_536), v.maxValue(4 * 1024 * 1024), v.multipleOf(4096)),
    512 * 1024,
  ),
})

/** The GUID of a controller that has none of its own. */
function instanceIdOf(position: number): string {
  return `9d3f5b1e-6c0a-4e52-8a47-5a70b1c0${position.toString(16).padStart(4, '0')}`
}

/** Controllers, and which disks are behind them. */
class Storage implements StorageControl {
  readonly controllers: readonly StorageController[]
  readonly #disks: Map<LogicalUnit, Disk> = new Map()

  constructor(controllers: readonly StorageController[]) {
    this.controllers = controllers
  }

  attach(controller: number, disk: Disk, lunOptions: Omit<LunOptions, 'disk'> & { readonly serial: string }): number {
    return this.attachUnit(controller, disk, lunOptions)
  }

  /** As {@link Storage.attach}; an empty drive has no disk. */
  attachUnit(
    controller: number,
    disk: Disk | undefined,
    lunOptions: Omit<LunOptions, 'disk'> & { readonly serial: string },
  ): number {
    const target = this.#controller(controller).target
    const free = Array.from({ length: target.size }, (_, lun) => lun).find((lun) => target.unit(lun) === undefined)
    const lun = lunOptions.lun ?? free
    if (lun === undefined) throw new StorageError('ERR_STORAGE_LUN', 'the controller is full', { data: { controller } })
    if (disk !== undefined && !disk.readOnly && [...this.#disks.values()].includes(disk)) {
      throw new StorageError('ERR_STORAGE_DISK', 'the disk is attached already', {
        hint: 'Two units that write to one disk would destroy what is on it.',
        data: { controller, lun },
      })
    }
    const unit = createUnit(disk, lunOptions)
    target.attach(lun, unit)
    if (disk !== undefined) this.#disks.set(unit, disk)
    return lun
  }

  /** Attach the units of the options, by controller. @throws StorageError `ERR_STORAGE_LUN`, `ERR_STORAGE_DISK`, `ERR_STORAGE_DISK_UNKNOWN` */
  attachAll(controllers: readonly (readonly LunOptions[])[], find: (name: string) => Disk): void {
    controllers.forEach((luns, controller) => {
      // Those with numbers first: the others take what is left.
      for (const lun of [...luns].sort((a, b) => Number(a.lun === undefined) - Number(b.lun === undefined))) {
        const disk = lun.disk === null ? undefined : find(lun.disk)
        this.attachUnit(controller, disk, { ...lun, serial: lun.serial ?? lun.disk ?? `dvd-${controller}` })
      }
    })
  }

  async detach(controller: number, lun: number): Promise<LogicalUnit> {
    const unit = await this.#controller(controller).target.detach(lun)
    this.#disks.delete(unit)
    return unit
  }

  #controller(index: number): StorageController {
    const controller = this.controllers[index]
    if (controller !== undefined) return controller
    throw new StorageError('ERR_STORAGE_LUN', `there is no controller ${index}`, { data: { controller: index } })
  }
}

function createUnit(
  disk: Disk | undefined,
  { serial, readOnly, dvd }: Pick<LunOptions, 'readOnly' | 'dvd'> & { readonly serial: string },
): LogicalUnit {
  if (dvd === true || disk === undefined) return new DvdUnit({ serial, tellsPowerOn: true }, disk)
  return new BlockUnit(disk, { serial, readOnly: readOnly ?? false, tellsPowerOn: true })
}

/** The plug-in: synthetic SCSI controllers. */
const plugin: Plugin<StorageOptions> = definePlugin<StorageOptions>({
  name: '@partita/synthetic-storage/vsp',
  kind: 'vsp',
  contract: 1,
  description: 'Synthetic SCSI controllers with disks and DVD drives',
  options,
  needs: [vmbusServerToken],
  uses: [disksToken],
  provides: [storageControlToken],
  create: async (context): Promise<PluginInstance> => {
    const vmbus = context.get(vmbusServerToken)
    const disks = context.find(disksToken)
    const { subChannels, maximumTransferBytes } = context.options
    const controllers = context.options.controllers.map(
      ({ instanceId }, order) =>
        new StorageController({
          instanceId: instanceId ?? instanceIdOf(order),
          order,
          subChannels,
          maximumTransferBytes,
          logger: context.logger,
        }),
    )
    const accelerators = context.options.ide.map(
      ({ channel, device }, order) =>
        new StorageController({ ide: { channel, device }, order, maximumTransferBytes, logger: context.logger }),
    )
    const find = (name: string): Disk => {
      const disk = disks?.get(name)
      if (disk !== undefined) return disk
      throw new StorageError('ERR_STORAGE_DISK_UNKNOWN', `there is no disk named ${name}`, {
        hint: `Known disks: ${[...(disks?.keys() ?? [])].join(', ') || 'none'}.`,
        data: { name },
      })
    }
    // Those who detach and attach see SCSI controllers alone.
    const all = [...controllers, ...accelerators]
    const storage = new Storage(controllers)
    new Storage(accelerators).attachAll(
      context.options.ide.map((place) => [{ ...place, lun: 0 }]),
      find,
    )
    storage.attachAll(
      context.options.controllers.map(({ luns }) => luns),
      find,
    )
    await using offered = new AsyncDisposableStack()
    for (const controller of all) offered.use(vmbus.offer(controller))
    const owned = offered.move()
    return {
      services: { [storageControlToken.name]: storage satisfies StorageControl },
      start: () => {
        for (const controller of all) controller.start()
      },
      stop: async () => {
        await Promise.all(all.map((controller) => controller.stop()))
      },
      reset: () => {
        for (const controller of all) controller.reset()
      },
      save: () => ({
        version: 1,
        data: {
          controllers: all.map((controller) => {
            const { version, data } = controller.save()
            return { version, data }
          }),
        },
      }),
      restore: (state) => restoreControllers(all, state),
      [Symbol.asyncDispose]: async () => {
        for (const controller of all) controller.target.abort()
        await owned.disposeAsync()
        await Promise.all(all.map((controller) => controller.target.drain()))
      },
    }
  },
})

/** @throws StorageError `ERR_STATE_INVALID` */
function restoreControllers(controllers: readonly StorageController[], state: SavedState): void {
  const saved = state.data['controllers']
  if (state.version !== 1 || !Array.isArray(saved) || saved.length !== controllers.length) {
    throw new StorageError('ERR_STATE_INVALID', 'the controllers are not those of the saved state', {
      data: { version: state.version, attached: controllers.length },
    })
  }
  controllers.forEach((controller, i) => {
    controller.restore(saved[i] as SavedState)
  })
}

export default plugin
