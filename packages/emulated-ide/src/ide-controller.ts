// The two channels of a PC's IDE controller with their drives, however a guest comes to them, and what is saved of them.

import {
  type GuestMemory,
  type InterruptLines,
  PartitaError,
  type PortHandler,
  type SavedState,
  type SavedValue,
} from '@partita/interface'
import type { DvdUnit } from '@partita/scsi'
import { AtaDisk, type AtaDiskOptions } from './ata-disk.ts'
import type { BusMasterHost } from './bus-master.ts'
import { type ChannelDrive, IdeChannel } from './ide-channel.ts'
import { IdeError } from './ide-error.ts'
import { PacketDrive, type PacketDriveOptions } from './packet-drive.ts'
import type { ChannelState } from './state.ts'

/** Where the channels of a PC are: first port of the command block, port of the control block, ISA interrupt. */
const CHANNEL_PLACES = [
  { command: 0x1f0, control: 0x3f6, interrupt: 14 },
  { command: 0x170, control: 0x376, interrupt: 15 },
] as const
/** Ports of the command block. */
const COMMAND_PORTS = 8

/** What hangs on a cable. */
export type ConnectedDrive =
  | ({ readonly kind: 'disk' } & Omit<AtaDiskOptions, 'dma'>)
  | ({ readonly kind: 'packet' } & Omit<PacketDriveOptions, 'dma'>)

/** Options of {@link IdeController}. */
export interface IdeControllerOptions {
  readonly memory: GuestMemory
  readonly lines: InterruptLines
  /** Primary master, primary slave, secondary master, secondary slave. */
  readonly drives: readonly (ConnectedDrive | undefined)[]
  /** There is a bus master. */
  readonly dma: boolean
  /** What the bus masters ask of their PCI function, and tell it. */
  readonly busMaster?: Omit<BusMasterHost, 'started'>
}

/** Without a PCI function nobody can start a bus master. */
const NO_BUS: Omit<BusMasterHost, 'started'> = { masterAbort: () => {}, mayTransfer: () => false }

/** Two channels with up to four drives. */
export class IdeController {
  readonly channels: readonly [IdeChannel, IdeChannel]

  constructor({ memory, lines, drives, dma, busMaster = NO_BUS }: IdeControllerOptions) {
    const [primary, secondary] = CHANNEL_PLACES.map(
      ({ interrupt }) => new IdeChannel(memory, lines.line(interrupt), busMaster),
    )
    this.channels = [primary as IdeChannel, secondary as IdeChannel]
    this.channels.forEach((channel, index) => {
      const make = (second: boolean): ChannelDrive | undefined => {
        const connected = drives[2 * index + (second ? 1 : 0)]
        if (connected === undefined) return undefined
        return connected.kind === 'disk'
          ? new AtaDisk({ ...connected, dma }, second, channel)
          : new PacketDrive({ ...connected, dma }, second, channel)
      }
      channel.connect(make(false), make(true))
    })
  }

  /** The drive at a position from 0 to 3. */
  drive(position: number): ChannelDrive | undefined {
    return this.channels[position >> 1]?.drives[position & 1]
  }

  /** The ports of the channels: those of a command block and of a control block. */
  ports(): {
    readonly base: number
    readonly length: number
    readonly handler: PortHandler
    readonly channel: number
  }[] {
    return CHANNEL_PLACES.flatMap(({ command, control }, index) => {
      const channel = this.channels[index] as IdeChannel
      return [
        { base: command, length: COMMAND_PORTS, handler: channel, channel: index },
        { base: control, length: 1, handler: channel.control, channel: index },
      ]
    })
  }

  /** Resolves when nothing is under way at a disk. */
  async settle(): Promise<void> {
    for (const channel of this.channels) await channel.settle()
  }

  reset(): void {
    for (const channel of this.channels) channel.reset()
  }

  /** @throws IdeError `ERR_IDE_BUSY` while something is under way (see {@link IdeController.settle}) */
  save(): { readonly [key: string]: SavedValue }[] {
    if (!this.channels.every((channel) => channel.settled)) {
      throw new IdeError('ERR_IDE_BUSY', 'a drive is busy', { hint: 'Stop the partition before it is saved.' })
    }
    return this.channels.map((channel) => ({
      ...channel.save(),
      busMaster: channel.busMaster.save(),
      drives: channel.drives.map((drive) => drive?.save() ?? null),
    }))
  }

  /** Which kinds of drives there are, by channel. */
  get kinds(): readonly (readonly ('disk' | 'packet' | null)[])[] {
    return this.channels.map(({ drives }) =>
      drives.map((drive) => (drive === undefined ? null : drive instanceof AtaDisk ? 'disk' : 'packet')),
    )
  }

  /** Transfers that have all that they waited for go on. */
  resume(): void {
    for (const channel of this.channels) channel.dmaRequested()
  }

  /**
   * Take over checked states. Nothing is under way before {@link IdeController.resume}.
   * @throws IdeError `ERR_STATE_INVALID` for what only the unit of a CD drive can check; everything is as it was then
   */
  restore(states: readonly ChannelState[]): void {
    this.#restoreUnits(states)
    states.forEach((saved, index) => {
      const channel = this.channels[index]
      saved.drives.forEach((state, position) => {
        const drive = channel?.drives[position]
        if (state?.kind === 'disk' && drive instanceof AtaDisk) drive.restore(state)
        if (state?.kind === 'packet' && drive instanceof PacketDrive) drive.restore(state)
      })
      channel?.busMaster.restore(saved.busMaster)
      channel?.restore(saved)
    })
  }

  #restoreUnits(states: readonly ChannelState[]): void {
    const changed: [DvdUnit, SavedState][] = []
    try {
      states.forEach(({ drives }, index) => {
        drives.forEach((state, position) => {
          const drive = this.channels[index]?.drives[position]
          if (state?.kind !== 'packet' || !(drive instanceof PacketDrive)) return
          changed.push([drive.unit, drive.unit.save()])
          drive.unit.restore(state.unit)
        })
      })
    } catch (cause) {
      for (const [unit, before] of changed) unit.restore(before)
      if (!(cause instanceof PartitaError) || cause.code !== 'ERR_STATE_INVALID') throw cause
      throw new IdeError('ERR_STATE_INVALID', 'this is no saved state of a CD drive', { cause })
    }
  }
}
