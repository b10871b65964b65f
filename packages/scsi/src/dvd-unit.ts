// A DVD drive as a logical unit (MMC-6): a medium that comes and goes, a tray, a lock. What its commands do is in dvd-commands.ts.

import type { Disk, SavedState } from '@partita/interface'
import * as v from 'valibot'
import type { ScsiCommand } from './command.ts'
import { DVD_COMMANDS } from './dvd-commands.ts'
import type { InquiryFacts } from './inquiry.ts'
import { CD_BLOCKS, DVD_BLOCK, PROFILE, type Profile } from './media.ts'
import { fixedPage, MODE_PAGE, type ModeFacts, type ModePage } from './mode.ts'
import { ScsiError } from './scsi-error.ts'
import { SENSE, type Sense } from './sense.ts'
import { baseStateSchema, restoreBase, saveBase } from './state.ts'
import { DEVICE_TYPE, type LogicalUnit, UnitBase } from './unit.ts'

/** Media events (MMC-6, table 264). */
export const MEDIA_EVENT = { NONE: 0, EJECT_REQUEST: 1, NEW_MEDIA: 2, MEDIA_REMOVAL: 3 } as const
/** One of {@link MEDIA_EVENT}. */
export type MediaEvent = (typeof MEDIA_EVENT)[keyof typeof MEDIA_EVENT]

/** Options of {@link DvdUnit}. */
export interface DvdUnitOptions {
  /** Unit serial number, at most 32 characters of ASCII. */
  readonly serial: string
  /** Default: `Msft`, `Virtual DVD-ROM`, `1.0`. */
  readonly vendor?: string
  /** At most 16 characters. */
  readonly product?: string
  /** At most 4 characters. */
  readonly revision?: string
  /** The guest has opened or closed the tray. */
  readonly onTray?: (open: boolean) => void
  /** The first command of an initiator after power-on gets the unit attention POWER ON OCCURRED. Default: false. */
  readonly tellsPowerOn?: boolean
  /** An image that a CD has room for is one. Default: false, all are DVDs. */
  readonly readsCds?: boolean
}

const stateSchema = v.object({
  ...baseStateSchema,
  locked: v.boolean(),
  trayOpen: v.boolean(),
  event: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(3)),
})

/**
 * A drive for ISO images. Its blocks have 2,048 bytes; the disk's sectors may be smaller.
 *
 * @example
 * ```ts
 * const drive = new DvdUnit({ serial: 'dvd0' })
 * await drive.insert(iso)
 * ```
 */
export class DvdUnit implements LogicalUnit {
  readonly base: UnitBase
  readonly removable: boolean = true
  /** Always. */
  readonly readOnly: boolean = true
  /** Whether there are CDs besides DVDs. */
  readonly readsCds: boolean
  #disk: Disk | undefined
  #locked = false
  #trayOpen = false
  #event: MediaEvent = MEDIA_EVENT.NONE
  readonly #onTray: (open: boolean) => void

  /** @throws ScsiError `ERR_STORAGE_DISK` for a disk whose sectors do not divide 2,048 bytes */
  constructor(options: DvdUnitOptions, disk?: Disk) {
    this.base = new UnitBase(
      {
        vendor: options.vendor ?? 'Msft',
        product: options.product ?? 'Virtual DVD-ROM',
        revision: options.revision ?? '1.0',
        serial: options.serial.slice(0, 32),
      },
      options.tellsPowerOn,
    )
    this.#onTray = options.onTray ?? (() => {})
    this.readsCds = options.readsCds ?? false
    if (disk !== undefined) this.#disk = checkMedium(disk)
  }

  /** The medium that commands see: none while the tray is open. */
  get medium(): Disk | undefined {
    return this.#trayOpen ? undefined : this.#disk
  }

  /** What the medium is, as the guest sees it. */
  get profile(): Profile {
    if (this.medium === undefined) return PROFILE.NONE
    return this.readsCds && this.blocks <= CD_BLOCKS ? PROFILE.CD_ROM : PROFILE.DVD_ROM
  }

  /** The guest keeps the medium from being removed. */
  get locked(): boolean {
    return this.#locked
  }

  /** Whether the tray is out. */
  get trayOpen(): boolean {
    return this.#trayOpen
  }

  /** Blocks of the medium; 0 without one. */
  get blocks(): number {
    const disk = this.medium
    return disk === undefined ? 0 : Math.floor(disk.sectorCount / (DVD_BLOCK / disk.sectorSize))
  }

  /**
   * Put a medium in, in place of the one that is there. Resolves with that one, if any, once nothing uses it any more.
   * @throws ScsiError `ERR_STORAGE_DISK`
   */
  async insert(disk: Disk): Promise<Disk | undefined> {
    const previous = this.#disk
    this.#disk = checkMedium(disk)
    this.#trayOpen = false
    this.#event = MEDIA_EVENT.NEW_MEDIA
    this.base.attentions.establishAll(SENSE.MEDIUM_MAY_HAVE_CHANGED)
    await this.base.drain()
    return previous
  }

  /** Take the medium out, locked or not. Resolves with it once nothing uses it any more. */
  async remove(): Promise<Disk | undefined> {
    const previous = this.#disk
    this.#disk = undefined
    if (previous !== undefined) this.#event = MEDIA_EVENT.MEDIA_REMOVAL
    await this.base.drain()
    return previous
  }

  execute(command: ScsiCommand): Promise<void> | undefined {
    return this.base.dispatch(DVD_COMMANDS, this, command)
  }

  /** Somebody presses the button of the drive: the guest is asked to let go of the medium, and to open the tray. */
  requestEject(): void {
    this.#event = MEDIA_EVENT.EJECT_REQUEST
  }

  /** What is wrong with the medium: there is none, or the tray is out. */
  mediumSense(): Sense | undefined {
    if (this.#trayOpen) return SENSE.MEDIUM_NOT_PRESENT_TRAY_OPEN
    return this.#disk === undefined ? SENSE.MEDIUM_NOT_PRESENT : undefined
  }

  /** PREVENT ALLOW MEDIUM REMOVAL. */
  setLocked(locked: boolean): void {
    this.#locked = locked
  }

  /** The guest moves the tray. */
  setTray(open: boolean): void {
    if (this.#trayOpen === open) return
    this.#trayOpen = open
    if (this.#disk !== undefined) {
      this.#event = open ? MEDIA_EVENT.MEDIA_REMOVAL : MEDIA_EVENT.NEW_MEDIA
      if (!open) this.base.attentions.establishAll(SENSE.MEDIUM_MAY_HAVE_CHANGED)
    }
    this.#onTray(open)
  }

  /** The media event that nobody has been told of, once. */
  takeEvent(): MediaEvent {
    const event = this.#event
    this.#event = MEDIA_EVENT.NONE
    return event
  }

  /** What INQUIRY says of the unit. */
  inquiryFacts(): InquiryFacts {
    return { deviceType: DEVICE_TYPE.CD_DVD, removable: true, identity: this.base.identity, pages: new Map() }
  }

  /** What MODE SENSE says of the unit. */
  modeFacts(): ModeFacts {
    return {
      mediumType: 0,
      deviceSpecific: 0,
      blocks: undefined,
      blockLength: DVD_BLOCK,
      pages: [RECOVERY_PAGE, this.#capabilitiesPage],
    }
  }

  /** C/DVD capabilities and mechanical status page (MMC-3, 6.3.11). */
  readonly #capabilitiesPage: ModePage = {
    code: MODE_PAGE.CAPABILITIES,
    defaults: capabilitiesBody(false),
    changeable: new Uint8Array(CAPABILITIES.length),
    current: () => capabilitiesBody(this.#locked),
  }

  powerOn(): void {
    this.#locked = false
    this.#trayOpen = false
    this.#event = MEDIA_EVENT.NONE
    this.base.attentions.reset()
    this.base.reservations.reset()
  }

  save(): SavedState {
    return {
      version: 1,
      data: { ...saveBase(this.base), locked: this.#locked, trayOpen: this.#trayOpen, event: this.#event },
    }
  }

  restore(state: SavedState): void {
    const data = restoreBase(this.base, state, stateSchema)
    this.#locked = data.locked
    this.#trayOpen = data.trayOpen
    this.#event = data.event as MediaEvent
  }
}

function checkMedium(disk: Disk): Disk {
  if (DVD_BLOCK % disk.sectorSize === 0) return disk
  throw new ScsiError('ERR_STORAGE_DISK', `a DVD cannot have sectors of ${disk.sectorSize} bytes`, {
    data: { sectorSize: disk.sectorSize },
  })
}

const RECOVERY_PAGE: ModePage = fixedPage(MODE_PAGE.READ_WRITE_ERROR_RECOVERY, [0, 5, 0, 0, 0, 0, 0, 0, 0, 0])

/** Reads CD-R, CD-RW and DVD-ROM; multi-session; a tray that can be locked and ejects; 40 × 176.4 KB/s. */
const CAPABILITIES: readonly number[] = [
  0x0b, 0x00, 0x70, 0x00, 0x29, 0x00, 0x1b, 0x90, 0x00, 0x00, 0x02, 0x00, 0x1b, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00,
  0x00,
]

function capabilitiesBody(locked: boolean): Uint8Array {
  const body = Uint8Array.from(CAPABILITIES)
  if (locked) body[4] = (body[4] as number) | 0x02 // lock state
  return body
}
