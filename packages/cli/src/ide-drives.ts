// The drives of the emulated IDE controller: where the disks of the command line are, and which of them the guest also finds on the VMBus, as on Hyper-V.

import type { PluginConfiguration } from '@partita/root-partition'
import { CliError } from './cli-error.ts'
import type { DiskOption, HypervisorOption } from './option-values.ts'

const IDE_CONTROLLER = '@partita/emulated-ide'
/** Two channels with two drives each. */
const CHANNELS = 2
const CHANNEL_DRIVES = 2

interface IdeDrive {
  readonly disk: string
  readonly dvd?: true
}

/** A disk of the IDE controller that the storage provider offers, too. */
interface OfferedDisk {
  readonly channel: number
  readonly device: number
  readonly disk: string
}

/** Drives as options give them places, one after the other. */
export class IdeDrives {
  readonly #drives: (IdeDrive | null)[] = []
  readonly #offered: OfferedDisk[] = []

  /**
   * Put `disk` where `option` says, or at the first free place, and on the VMBus unless it must not be there: CD drives never are, as on Hyper-V.
   * @throws CliError `ERR_USAGE` when there is no such place, or it is taken
   */
  add(disk: string, option: DiskOption, hypervisor: HypervisorOption): void {
    const position = this.#place(option)
    while (this.#drives.length <= position) this.#drives.push(null)
    this.#drives[position] = option.dvd ? { disk, dvd: true } : { disk }
    if (hypervisor === 'none' || option.dvd || option.plain === true) return
    this.#offered.push({ channel: Math.floor(position / CHANNEL_DRIVES), device: position % CHANNEL_DRIVES, disk })
  }

  #place({ path, controller, lun }: DiskOption): number {
    for (let channel = 0; channel < CHANNELS; channel++) {
      for (let device = 0; device < CHANNEL_DRIVES; device++) {
        if ((controller ?? channel) !== channel || (lun ?? device) !== device) continue
        const position = CHANNEL_DRIVES * channel + device
        if ((this.#drives[position] ?? null) === null) return position
      }
    }
    throw new CliError('ERR_USAGE', `${path}: there is no such place on the IDE controller, or it is taken`, {
      hint: 'It has room for four drives: channels (controller=N) 0 and 1, on each the units (lun=N) 0 and 1.',
    })
  }

  /** The configuration of the controller; none without drives. */
  devices(): PluginConfiguration[] {
    return this.#drives.length === 0 ? [] : [{ plugin: IDE_CONTROLLER, options: { drives: this.#drives } }]
  }

  /** For the storage provider's option `ide`. */
  get offered(): readonly OfferedDisk[] {
    return this.#offered
  }
}

/**
 * Words for a Linux kernel: its `ata_piix` leaves the disks of a Hyper-V machine to the VMBus, where those with the word `plain` are not.
 * @throws CliError `ERR_USAGE` for some disks with that word and some without: the driver takes all of them, or none
 */
export function ideWords(options: readonly DiskOption[], hypervisor: HypervisorOption): string {
  if (hypervisor === 'none') return ''
  const disks = options.filter(({ bus, dvd }) => bus === 'ide' && !dvd)
  const plain = disks.filter((disk) => disk.plain === true).length
  if (plain > 0 && plain < disks.length) {
    throw new CliError('ERR_USAGE', 'some disks of the IDE controller are plain and some are not', {
      hint: 'Guests look at the machine to decide whether they use its IDE disks over the VMBus: all of them, or none.',
    })
  }
  return plain > 0 ? 'ata_piix.prefer_ms_hyperv=0' : ''
}
