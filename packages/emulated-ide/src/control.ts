// Media that come and go while the machine runs: what the host may do with CD drives.

import { type Disk, type ServiceToken, serviceToken } from '@partita/interface'
import type { IdeController } from './ide-controller.ts'
import { IdeError } from './ide-error.ts'
import { PacketDrive } from './packet-drive.ts'

/** A CD drive as the host sees it. */
export interface IdeMediaState {
  /** The guest has opened the tray. */
  readonly trayOpen: boolean
  /** The guest keeps the medium in. */
  readonly locked: boolean
  /** The medium that the guest sees: none while the tray is open. */
  readonly medium: Disk | undefined
}

/**
 * Media of CD drives. Positions are 0 to 3: primary master, primary slave, secondary master, secondary slave.
 *
 * @example
 * ```ts
 * const previous = await vm.find(ideControlToken)?.insert(2, iso)
 * await previous?.[Symbol.asyncDispose]()
 * ```
 */
export interface IdeControl {
  /** How the drive stands; undefined where there is none, or a disk. */
  media(position: number): IdeMediaState | undefined
  /**
   * Put a medium in, in place of the one that is there, and close the tray. The guest is told by unit attention and event. Resolves with the medium before, once nothing reads from it.
   * @throws IdeError `ERR_IDE_DRIVE`; ScsiError `ERR_STORAGE_DISK` for sectors that do not divide 2,048 bytes
   */
  insert(position: number, medium: Disk): Promise<Disk | undefined>
  /**
   * Take the medium out, whether the guest has locked it or not. Resolves with it once nothing reads from it.
   * @throws IdeError `ERR_IDE_DRIVE`
   */
  remove(position: number): Promise<Disk | undefined>
  /**
   * Press the button: the guest is asked to let go of the medium, and opens the tray when it does.
   * @throws IdeError `ERR_IDE_DRIVE`
   */
  requestEject(position: number): void
}

/** The service by which media come and go. */
export const ideControlToken: ServiceToken<IdeControl> = serviceToken('partita/ide-control')

/** The service for `controller`. */
export function controlOf(controller: IdeController): IdeControl {
  const find = (position: number): PacketDrive => {
    const drive = controller.drive(position)
    if (drive instanceof PacketDrive) return drive
    throw new IdeError('ERR_IDE_DRIVE', `there is no CD drive at position ${position}`, {
      hint: 'Positions are 0 to 3: primary master and slave, secondary master and slave.',
      data: { position },
    })
  }
  return {
    media: (position) => {
      const drive = controller.drive(position)
      if (!(drive instanceof PacketDrive)) return undefined
      const { trayOpen, locked, medium } = drive.unit
      return { trayOpen, locked, medium }
    },
    insert: async (position, medium) => find(position).unit.insert(medium),
    remove: async (position) => find(position).unit.remove(),
    requestEject: (position) => find(position).unit.requestEject(),
  }
}
