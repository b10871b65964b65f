// A synthetic SCSI controller: the device on the VMBus, its target, its channels, and what is saved of them.

import type {
  Logger,
  Saveable,
  SavedState,
  SavedValue,
  VmbusChannel,
  VmbusChannelHandler,
  VmbusDevice,
  VmbusOffer,
} from '@partita/interface'
import { silentLogger } from '@partita/interface'
import { type ScsiCommand, ScsiTarget, senseOfDiskError } from '@partita/scsi'
import * as v from 'valibot'
import { IDE_INTERFACE_ID, PACKET_SIZE, SCSI_INTERFACE_ID } from '../protocol.ts'
import { StorageError } from '../storage-error.ts'
import { type Negotiation, PHASE, type Phase, startNegotiation } from './negotiation.ts'
import { type ChannelHost, type PendingCompletion, StorageChannel } from './storage-channel.ts'

/** Logical units of a controller. */
export const CONTROLLER_LUNS = 64

/** The place of a disk on an emulated IDE controller. */
export interface IdePlace {
  /** 0: the primary channel. */
  readonly channel: number
  /** 0: the master. */
  readonly device: number
}

/** Options of {@link StorageController}. */
export interface StorageControllerOptions {
  /** GUID of this controller; stable over the life of the VM. Needed but for {@link StorageControllerOptions.ide}. */
  readonly instanceId?: string
  /**
   * Be the fast path to the disk at this place of an emulated IDE controller in place of a SCSI controller: one unit, at LUN 0 of whatever address, and no
   * sub-channels. Linux takes the number of the target out of the instance's GUID (storvsc_probe).
   */
  readonly ide?: IdePlace
  /** Position among the controllers. Default: 0. */
  readonly order?: number
  /** Sub-channels that the guest may open. Default: 4. */
  readonly subChannels?: number
  /** Most bytes of one request. Default: 512 KiB. */
  readonly maximumTransferBytes?: number
  /** Requests of one channel in service at a time; the rest waits in the ring. Default: 256. */
  readonly queueDepth?: number
  /** The I_T nexus by which units know this controller. Default: 0. */
  readonly initiator?: number
  /** Told of faults of disks. Silent where omitted. */
  readonly logger?: Logger
}

/** The GUID by which guests find the place: the channel, then the device. */
function ideInstanceId({ channel, device }: IdePlace): string {
  return `${channel.toString(16).padStart(8, '0')}-${device.toString(16).padStart(4, '0')}-8899-0000-000000000000`
}

const u32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff))
const stateSchema = v.object({
  phase: v.picklist(Object.values(PHASE)),
  version: u32,
  subChannels: u32,
  enumerate: v.boolean(),
  pending: v.array(
    v.object({
      channel: u32,
      completions: v.array(v.object({ transactionLow: u32, transactionHigh: u32, bytes: v.instance(Uint8Array) })),
    }),
  ),
  target: v.object({ version: v.number(), data: v.record(v.string(), v.any()) }),
})

/**
 * A controller with {@link CONTROLLER_LUNS} LUNs.
 *
 * @example
 * ```ts
 * const controller = new StorageController({ instanceId })
 * controller.target.attach(0, new BlockUnit(disk, { serial: 'disk0' }))
 * vmbus.offer(controller)
 * ```
 */
export class StorageController implements VmbusDevice, Saveable {
  readonly offer: VmbusOffer
  /** The units. Attach and detach them at any time: the guest is told. */
  readonly target: ScsiTarget
  readonly #nothing: ScsiTarget = new ScsiTarget({ luns: 0 })
  readonly #options: StorageControllerOptions
  readonly #logger: Logger
  readonly #channels: Map<number, StorageChannel> = new Map()
  readonly #restoredPending: Map<number, readonly PendingCompletion[]> = new Map()
  /** Faults that were logged, so that each is logged once. */
  readonly #logged: Set<string> = new Set()
  #negotiation: Negotiation = startNegotiation()
  #stopped = false
  /** The guest is to be told of another list of units. */
  #enumerate = false

  constructor(options: StorageControllerOptions) {
    this.#options = options
    this.#logger = options.logger ?? silentLogger
    const { ide, instanceId = ide === undefined ? '' : ideInstanceId(ide), order = 0 } = options
    this.offer = { interfaceId: ide === undefined ? SCSI_INTERFACE_ID : IDE_INTERFACE_ID, instanceId, order }
    this.target = new ScsiTarget({ luns: ide === undefined ? CONTROLLER_LUNS : 1, onChange: () => this.#changed() })
  }

  /** How far the guest's driver has set the protocol up (`phase`), the protocol's `version` (0 until it is agreed on), and how many `subChannels` the guest asked for. */
  get state(): { readonly phase: Phase; readonly version: number; readonly subChannels: number } {
    return this.#negotiation
  }

  /** Requests in service. */
  get inFlight(): number {
    let count = 0
    for (const channel of this.#channels.values()) count += channel.inFlight
    return count
  }

  open(channel: VmbusChannel): VmbusChannelHandler | undefined {
    // A ring that cannot take an answer would stand still for ever.
    if (channel.maxPayload < PACKET_SIZE) return undefined
    const index = channel.subChannelIndex
    if (index > this.#host.maximumSubChannels) return undefined
    if (index === 0 && !channel.restored) {
      this.#negotiation = startNegotiation()
      this.#enumerate = false
    }
    const serving = new StorageChannel(this.#host, channel)
    this.#channels.set(index, serving)
    const pending = this.#restoredPending.get(index)
    if (pending !== undefined && channel.restored) serving.restorePending(pending)
    this.#restoredPending.delete(index)
    return {
      receive: (packet) => serving.receive(packet),
      writable: () => {
        serving.writable()
        this.#announce()
      },
      batchEnd: () => this.#announce(),
      close: () => serving.close(),
    }
  }

  readonly #host: ChannelHost = this.#makeHost()

  #makeHost(): ChannelHost {
    const controller = this
    return {
      get negotiation() {
        return controller.#negotiation
      },
      get target() {
        return controller.target
      },
      get nothing() {
        return controller.#nothing
      },
      get initiator() {
        return controller.#options.initiator ?? 0
      },
      get maximumSubChannels() {
        return controller.#options.ide === undefined ? (controller.#options.subChannels ?? 4) : 0
      },
      get isIde() {
        return controller.#options.ide !== undefined
      },
      get maximumTransferBytes() {
        return controller.#options.maximumTransferBytes ?? 0x8_0000
      },
      get queueDepth() {
        return controller.#options.queueDepth ?? 256
      },
      get stopped() {
        return controller.#stopped
      },
      fault: (lun, command) => this.#fault(lun, command),
      closed: (channel) => this.#closed(channel),
    }
  }

  #closed(channel: StorageChannel): void {
    if (this.#channels.get(channel.index) === channel) this.#channels.delete(channel.index)
    if (channel.index === 0) this.#negotiation = startNegotiation()
  }

  #changed(): void {
    this.#enumerate = true
    this.#announce()
  }

  /** Tell the guest to look at the list of units, if that is due and there is room. */
  #announce(): void {
    if (!this.#enumerate || this.#stopped) return
    const primary = this.#channels.get(0)
    if (primary === undefined || this.#negotiation.phase !== PHASE.READY) {
      // Whoever is still to come, or to finish the set-up, looks at the list anyway.
      this.#enumerate = false
      return
    }
    if (primary.enumerateBus()) this.#enumerate = false
  }

  #fault(lun: number, command: ScsiCommand): void {
    const error = command.fault as
      | { readonly code?: unknown; readonly message?: unknown; readonly hint?: unknown }
      | undefined
    const code = String(error?.code ?? 'unknown')
    const key = `${lun} ${code}`
    if (this.#logged.has(key) || this.#logged.size > 8 * CONTROLLER_LUNS) return
    this.#logged.add(key)
    const sense = senseOfDiskError(command.fault, false)
    this.#logger.log('error', `disk at LUN ${lun}: ${String(error?.message ?? code)}`, {
      controller: this.offer.instanceId,
      lun,
      code,
      senseKey: sense.key,
      ...(typeof error?.hint === 'string' && { hint: error.hint }),
    })
  }

  /** The VM runs (again). */
  start(): void {
    this.#stopped = false
    for (const channel of this.#channels.values()) channel.start()
    this.#announce()
  }

  /** The VM stands: resolves when nothing is in service. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all([...this.#channels.values()].map((channel) => channel.drain()))
  }

  /** As after power-on: the units too. The bus closes the channels. */
  reset(): void {
    this.#negotiation = startNegotiation()
    this.#enumerate = false
    this.#restoredPending.clear()
    this.#logged.clear()
    this.target.powerOn()
  }

  /** The controller is stopped. */
  save(): SavedState {
    const { phase, version, subChannels } = this.#negotiation
    const target = this.target.save()
    return {
      version: 1,
      data: {
        phase,
        version,
        subChannels,
        enumerate: this.#enumerate,
        pending: [...this.#channels].map(([channel, serving]) => ({
          channel,
          completions: serving.savePending().map((completion): SavedValue => ({ ...completion })),
        })),
        target: { version: target.version, data: target.data },
      },
    }
  }

  /** Before or after the bus opens its channels again. @throws StorageError `ERR_STATE_INVALID` */
  restore(state: SavedState): void {
    const checked = v.safeParse(stateSchema, state.data)
    if (state.version !== 1 || !checked.success) {
      throw new StorageError('ERR_STATE_INVALID', 'this is no saved state of a SCSI controller', {
        data: { version: state.version, problem: checked.issues?.[0].message ?? '' },
      })
    }
    const { phase, version, subChannels, enumerate, pending, target } = checked.output
    this.target.restore(target as SavedState)
    this.#negotiation = { phase, version, subChannels }
    this.#enumerate = enumerate
    this.#restoredPending.clear()
    for (const { channel, completions } of pending) {
      const serving = this.#channels.get(channel)
      if (serving === undefined) this.#restoredPending.set(channel, completions)
      else serving.restorePending(completions)
    }
  }
}
