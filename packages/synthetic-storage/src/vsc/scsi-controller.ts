// A SCSI controller under its driver: keeps the list of units, spreads requests over sub-channels, and holds requests back while it sleeps.

import type { SavedValue } from '@partita/interface'
import type { ClientOffer, DeviceChild, DmaBuffer, GpaRange, VscDevice, VscInstance } from '@partita/vmbus/client'
import { StorageError } from '../storage-error.ts'
import { DEVICE_TYPE, inquire, reportLuns, ScsiDisk, type UnitDescription } from './scsi-disk.ts'
import { StorageClient, type StorageProperties, type StorageRequest, type StorageResult } from './storage-client.ts'
import type { ScsiInitiator } from './transfer.ts'

const RING_BYTES = 128 * 1024

/** A unit that is no disk. */
interface OtherUnit {
  readonly description: UnitDescription
}

/**
 * The controller. Its disks stay the same objects while it sleeps, and are found by their LUNs.
 *
 * @example
 * ```ts
 * const controller = await guest.device(storageDriver)
 * const disk = controller.disk(0)
 * ```
 */
export class ScsiController implements ScsiInitiator, VscInstance {
  #device: VscDevice
  #client: StorageClient
  #properties: StorageProperties
  readonly #units = new Map<number, ScsiDisk | OtherUnit>()
  /** While the controller sleeps. */
  #awake: PromiseWithResolvers<void> | undefined
  /** The last look at the units; `again` asks for another one. */
  #scan: Promise<void> | undefined
  #scanAgain = false
  readonly #listeners = new Set<() => void>()

  private constructor(device: VscDevice, client: StorageClient, properties: StorageProperties) {
    this.#device = device
    this.#client = client
    this.#properties = properties
    this.#listen()
  }

  /** Open the controller of `device`, and look for its units. @throws StorageError; VmbusError */
  static async open(device: VscDevice): Promise<ScsiController> {
    const { client, properties } = await connect(device)
    const controller = new ScsiController(device, client, properties)
    await controller.#spread()
    await controller.rescan()
    return controller
  }

  /** Go on with the controller of a saved state, whose channels are open. */
  static async restore(device: VscDevice, saved: SavedValue | undefined): Promise<ScsiController> {
    const state = saved as unknown as {
      readonly properties: StorageProperties
      readonly transaction: number
      readonly disks: readonly SavedValue[]
      readonly others: readonly { readonly lun: number; readonly description: UnitDescription }[]
    }
    const [primary, ...subChannels] = device.channels
    if (primary === undefined) throw new StorageError('ERR_STATE_INVALID', 'the controller has no channel')
    const client = new StorageClient(primary)
    for (const channel of subChannels) client.addChannel(channel)
    client.resume(state.properties.version, state.transaction)
    const controller = new ScsiController(device, client, state.properties)
    for (const facts of state.disks) {
      const disk = ScsiDisk.restore(controller, facts)
      controller.#units.set(disk.lun, disk)
    }
    for (const { lun, description } of state.others) controller.#units.set(lun, { description })
    return controller
  }

  save(): SavedValue {
    const units = [...this.#units]
    return {
      properties: { ...this.#properties },
      transaction: this.#client.lastTransaction,
      disks: this.disks.map((disk) => disk.save()),
      others: units.flatMap(([lun, unit]) =>
        unit instanceof ScsiDisk ? [] : [{ lun, description: { ...unit.description } }],
      ),
    }
  }

  /** Version of the protocol, and what the controller allows. */
  get properties(): StorageProperties {
    return this.#properties
  }

  /** Channels that requests are spread over. */
  get channelCount(): number {
    return this.#client.channelCount
  }

  /** Disks and DVD drives in the order of their LUNs. */
  get disks(): readonly ScsiDisk[] {
    const disks = [...this.#units.values()].filter((unit) => unit instanceof ScsiDisk)
    return disks.sort((one, other) => one.lun - other.lun)
  }

  /** The disk at `lun`. @throws StorageError `ERR_STORAGE_LUN` when none is there */
  disk(lun: number): ScsiDisk {
    const unit = this.#units.get(lun)
    if (unit instanceof ScsiDisk) return unit
    throw new StorageError('ERR_STORAGE_LUN', `there is no disk at LUN ${lun}`, {
      data: { lun, disks: this.disks.map((disk) => disk.lun) },
    })
  }

  /** Resolves when a disk is at `lun`. `signal` ends the wait. @throws the signal's reason; StorageError `ERR_STORAGE_CLOSED` */
  async waitForDisk(lun: number, { signal }: { readonly signal?: AbortSignal } = {}): Promise<ScsiDisk> {
    const { promise, resolve, reject } = Promise.withResolvers<ScsiDisk>()
    const gone = this.#device.signal
    const look = (): void => {
      const unit = this.#units.get(lun)
      if (unit instanceof ScsiDisk) resolve(unit)
      else if (signal?.aborted) reject(signal.reason)
      else if (gone.aborted && this.#awake === undefined)
        reject(new StorageError('ERR_STORAGE_CLOSED', 'the controller is gone', { cause: gone.reason }))
    }
    this.#listeners.add(look)
    signal?.addEventListener('abort', look)
    gone.addEventListener('abort', look)
    look()
    try {
      return await promise
    } finally {
      this.#listeners.delete(look)
      signal?.removeEventListener('abort', look)
      gone.removeEventListener('abort', look)
    }
  }

  /** Look for units that have come or gone. The provider says when there is reason to. */
  async rescan(): Promise<void> {
    this.#scanAgain = true
    this.#scan ??= this.#scanAll().finally(() => {
      this.#scan = undefined
    })
    await this.#scan
  }

  // --- as an initiator

  /** Execute a SCSI command, when the controller is awake. As {@link StorageClient.execute}. */
  async execute(request: StorageRequest): Promise<StorageResult> {
    try {
      while (this.#awake !== undefined) await this.#awake.promise
      request.signal?.throwIfAborted()
    } catch (error) {
      request.released?.()
      throw error
    }
    return await this.#client.execute(request)
  }

  rangesOf(bytes: Uint8Array): GpaRange[] | undefined {
    return this.#device.rangesOf(bytes)
  }

  /** Pages of the partition's memory: reads and writes with them need no copy. They go when the controller goes. */
  allocate(byteLength: number): DmaBuffer {
    return this.#device.allocate(byteLength)
  }

  // --- as a driver's instance

  /** Complete what is under way; what comes waits. */
  async suspend(): Promise<void> {
    this.#awake = Promise.withResolvers<void>()
    this.#awake.promise.catch(() => undefined)
    await this.#scan?.catch(() => undefined)
    await this.#client.drained()
  }

  /** Open the controller again. */
  async resume(device: VscDevice): Promise<void> {
    this.#device = device
    const { client, properties } = await connect(device)
    this.#client = client
    this.#properties = properties
    this.#listen()
    await this.#spread()
    const awake = this.#awake
    this.#awake = undefined
    awake?.resolve()
    await this.rescan()
  }

  stop(): void {
    this.#client.stop()
    this.#awake?.reject(new StorageError('ERR_STORAGE_CLOSED', 'the controller is closed'))
    this.#awake = undefined
    for (const disk of this.disks) disk.gone()
    this.#units.clear()
    this.#changed()
  }

  children(): readonly DeviceChild[] {
    return [...this.#units]
      .sort(([one], [other]) => one - other)
      .map(([lun, unit]) => ({ id: `lun${lun}`, description: describe(unit) }))
  }

  #changed(): void {
    this.#device.changed()
    for (const look of [...this.#listeners]) look()
  }

  #listen(): void {
    this.#client.onBusChange = () => void this.rescan().catch(() => undefined)
  }

  /** One sub-channel for each further processor, as they are offered. */
  async #spread(): Promise<void> {
    const device = this.#device
    const count = Math.min(this.#properties.maximumSubChannels, device.processorCount - 1)
    if (count < 1) return
    const client = this.#client
    const use = async (offer: ClientOffer): Promise<void> => {
      client.addChannel(await device.openSubChannel(offer, { ringBytes: RING_BYTES }))
    }
    // A controller whose sub-channels fail does without.
    device.onSubChannel = (offer) => void use(offer).catch(() => undefined)
    await client.createSubChannels(count)
  }

  async #scanAll(): Promise<void> {
    while (this.#scanAgain) {
      this.#scanAgain = false
      const luns = new Set(await reportLuns(this))
      for (const [lun, unit] of this.#units) {
        if (luns.has(lun)) continue
        if (unit instanceof ScsiDisk) unit.gone()
        this.#units.delete(lun)
      }
      for (const lun of luns) if (!this.#units.has(lun)) await this.#addUnit(lun)
      this.#changed()
    }
  }

  /** A unit that cannot be looked at is left out: the others are none the worse. */
  async #addUnit(lun: number): Promise<void> {
    try {
      const description = await inquire(this, lun)
      if (description === undefined) return
      const { deviceType } = description
      const hasBlocks = deviceType === DEVICE_TYPE.DISK || deviceType === DEVICE_TYPE.DVD
      const { maximumTransferBytes } = this.#properties
      this.#units.set(
        lun,
        hasBlocks ? await ScsiDisk.open(this, lun, description, maximumTransferBytes) : { description },
      )
    } catch (error) {
      if (error instanceof StorageError && error.code === 'ERR_STORAGE_SCSI') return
      throw error
    }
  }
}

async function connect(device: VscDevice): Promise<{ client: StorageClient; properties: StorageProperties }> {
  const client = new StorageClient(await device.open({ ringBytes: RING_BYTES }))
  return { client, properties: await client.connect() }
}

function describe(unit: ScsiDisk | OtherUnit): string {
  const { vendor, product } = unit.description
  if (!(unit instanceof ScsiDisk)) return `${vendor} ${product}`
  const size = unit.blockCount === 0 ? 'no medium' : `${unit.byteLength / 2 ** 20} MiB`
  return `${vendor} ${product}, ${size}${unit.readOnly && unit.blockCount > 0 ? ', read-only' : ''}`
}
