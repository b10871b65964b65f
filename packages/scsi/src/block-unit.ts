// A disk as a logical unit: a direct-access block device (SBC-3). What its commands do is in block-commands.ts.

import type { Disk, SavedState } from '@partita/interface'
import * as v from 'valibot'
import { BLOCK_COMMANDS } from './block-commands.ts'
import { putBe16, putBe32, putBe64 } from './bytes.ts'
import type { ScsiCommand } from './command.ts'
import { type InquiryFacts, VPD } from './inquiry.ts'
import { MAXIMUM_UNMAP_BLOCKS, MAXIMUM_UNMAP_DESCRIPTORS, MAXIMUM_WRITE_SAME_BLOCKS } from './limits.ts'
import { fixedPage, MODE_PAGE, type ModeFacts, type ModePage } from './mode.ts'
import { ScsiError } from './scsi-error.ts'
import { SENSE, type Sense } from './sense.ts'
import { baseStateSchema, restoreBase, saveBase } from './state.ts'
import { DEVICE_TYPE, type LogicalUnit, UnitBase, type UnitIdentity } from './unit.ts'

/** Options of {@link BlockUnit}. */
export interface BlockUnitOptions {
  /** Unit serial number, at most 32 characters of ASCII: by it and the vendor a guest knows the disk again. */
  readonly serial: string
  /**
   * Default: `Msft`, `Virtual Disk`, `1.0`, as Hyper-V has it. Guests look at it: Linux corrects what it believes of a disk by vendor (storvsc_device_configure).
   */
  readonly vendor?: string
  /** At most 16 characters. */
  readonly product?: string
  /** At most 4 characters. */
  readonly revision?: string
  /** Refuse writes although the disk takes them. Default: false. */
  readonly readOnly?: boolean
  /** The first command of an initiator after power-on gets the unit attention POWER ON OCCURRED. Default: false. */
  readonly tellsPowerOn?: boolean
}

const WCE = 0x04
const stateSchema = v.object({ ...baseStateSchema, writeCache: v.boolean(), started: v.boolean() })

/**
 * A disk behind SCSI.
 *
 * @example
 * ```ts
 * const unit = new BlockUnit(new MemoryDisk(65_536), { serial: 'disk0' })
 * await unit.execute(command)
 * ```
 */
export class BlockUnit implements LogicalUnit {
  readonly base: UnitBase
  readonly removable: boolean = false
  /** What stands behind it. It is the owner's to dispose of. */
  readonly disk: Disk
  /** Writes end with DATA PROTECT, and the mode parameter header says WP. */
  readonly readOnly: boolean
  /** The write cache is on (WCE). Off, each write is flushed before it completes. */
  writeCache = true
  /** False after START STOP UNIT has stopped it. */
  started = true

  /** @throws ScsiError `ERR_STORAGE_DISK` for a disk without sectors */
  constructor(disk: Disk, options: BlockUnitOptions) {
    if (disk.sectorCount === 0) throw new ScsiError('ERR_STORAGE_DISK', 'the disk has no sectors')
    this.disk = disk
    this.readOnly = disk.readOnly || options.readOnly === true
    const identity: UnitIdentity = {
      vendor: options.vendor ?? 'Msft',
      product: options.product ?? 'Virtual Disk',
      revision: options.revision ?? '1.0',
      serial: options.serial.slice(0, 32),
    }
    this.base = new UnitBase(identity, options.tellsPowerOn)
  }

  /** Whether blocks can be given back. */
  get unmaps(): boolean {
    return this.disk.discard !== undefined && !this.readOnly
  }

  execute(command: ScsiCommand): Promise<void> | undefined {
    return this.base.dispatch(BLOCK_COMMANDS, this, command)
  }

  /** What is wrong with the medium; a disk’s is always there. */
  mediumSense(): Sense | undefined {
    return this.started ? undefined : SENSE.INITIALIZING_COMMAND_REQUIRED
  }

  /** The disk has another size now: everyone who uses the unit is told. */
  capacityChanged(): void {
    this.base.attentions.establishAll(SENSE.CAPACITY_DATA_HAS_CHANGED)
  }

  /** What INQUIRY says of the unit. */
  inquiryFacts(): InquiryFacts {
    return {
      deviceType: DEVICE_TYPE.DIRECT_ACCESS,
      removable: false,
      identity: this.base.identity,
      pages: new Map([
        [VPD.BLOCK_LIMITS, this.#blockLimits()],
        [VPD.BLOCK_DEVICE_CHARACTERISTICS, characteristics()],
        [VPD.LOGICAL_BLOCK_PROVISIONING, this.#provisioning()],
      ]),
    }
  }

  /** Physical blocks in logical ones. */
  #granularity(): number {
    return Math.max(1, this.disk.physicalSectorSize / this.disk.sectorSize)
  }

  /** VPD page B0h (SBC-3, 6.6.4). */
  #blockLimits(): Uint8Array {
    const data = new Uint8Array(0x3c)
    data[0] = 0x01 // WSNZ: WRITE SAME of zero blocks is refused
    putBe16(data, 2, Math.min(this.#granularity(), 0xffff))
    if (this.unmaps) {
      putBe32(data, 16, MAXIMUM_UNMAP_BLOCKS)
      putBe32(data, 20, MAXIMUM_UNMAP_DESCRIPTORS)
      putBe32(data, 24, this.#granularity())
      putBe32(data, 28, 0x8000_0000) // UGAVALID, alignment 0
    }
    putBe64(data, 32, MAXIMUM_WRITE_SAME_BLOCKS)
    return data
  }

  /** VPD page B2h (SBC-3, 6.6.6). */
  #provisioning(): Uint8Array {
    const data = new Uint8Array(4)
    if (this.unmaps) {
      data[1] = 0xe0 // LBPU, LBPWS, LBPWS10
      data[2] = 0x02 // thin provisioned
    } else data[2] = 0x00
    return data
  }

  /** What MODE SENSE says of the unit. */
  modeFacts(): ModeFacts {
    return {
      mediumType: 0,
      deviceSpecific: (this.readOnly ? 0x80 : 0) | 0x10, // WP, DPOFUA
      blocks: this.disk.sectorCount,
      blockLength: this.disk.sectorSize,
      pages: [RECOVERY_PAGE, this.#cachingPage, CONTROL_PAGE, EXCEPTIONS_PAGE],
    }
  }

  /** Caching mode page (SBC-3, 6.5.5). */
  readonly #cachingPage: ModePage = {
    code: MODE_PAGE.CACHING,
    defaults: cachingBody(true),
    changeable: cachingBody(true),
    current: () => cachingBody(this.writeCache),
  }

  /** Take over what MODE SELECT changed. */
  applyMode(code: number, body: Uint8Array): void {
    if (code === MODE_PAGE.CACHING) this.writeCache = ((body[0] as number) & WCE) !== 0
  }

  powerOn(): void {
    this.writeCache = true
    this.started = true
    this.base.attentions.reset()
    this.base.reservations.reset()
  }

  save(): SavedState {
    return {
      version: 1,
      data: { ...saveBase(this.base), writeCache: this.writeCache, started: this.started },
    }
  }

  restore(state: SavedState): void {
    const data = restoreBase(this.base, state, stateSchema)
    this.writeCache = data.writeCache
    this.started = data.started
  }
}

function cachingBody(writeCache: boolean): Uint8Array {
  const body = new Uint8Array(18)
  if (writeCache) body[0] = WCE
  return body
}

/** VPD page B1h (SBC-3, 6.6.3): nothing rotates. */
function characteristics(): Uint8Array {
  const data = new Uint8Array(0x3c)
  putBe16(data, 0, 1)
  return data
}

const RECOVERY_PAGE: ModePage = fixedPage(MODE_PAGE.READ_WRITE_ERROR_RECOVERY, [0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
/** Control mode page (SPC-4, 7.5.8): unrestricted reordering; the initiator gets fixed-format sense data. */
const CONTROL_PAGE: ModePage = fixedPage(MODE_PAGE.CONTROL, [0x02, 0x10, 0, 0, 0, 0, 0, 0, 0, 0])
const EXCEPTIONS_PAGE: ModePage = fixedPage(MODE_PAGE.INFORMATIONAL_EXCEPTIONS, [0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0])
