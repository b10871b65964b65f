// A SCSI target: logical units by number (SAM-5, 4.8), and what a target answers where there is no unit (SPC-4, 6.6.2 and 6.33).

import type { SavedState, SavedValue } from '@partita/interface'
import { be32, putBe32 } from './bytes.ts'
import type { ScsiCommand } from './command.ts'
import { inquiryOfNothing } from './inquiry.ts'
import { ScsiError } from './scsi-error.ts'
import { FIXED_SENSE_LENGTH, SENSE, type Sense, writeFixedSense } from './sense.ts'
import type { LogicalUnit, UnitIdentity } from './unit.ts'

const OPCODE = { REQUEST_SENSE: 0x03, INQUIRY: 0x12, REPORT_LUNS: 0xa0 } as const

/** Options of {@link ScsiTarget}. */
export interface ScsiTargetOptions {
  /** How many logical unit numbers there are, at most 256. Default: 64. */
  readonly luns?: number
  /** Units have come or gone. */
  readonly onChange?: () => void
}

/** What INQUIRY says where no unit is. */
const IDENTITY: UnitIdentity = { vendor: 'Msft', product: 'Virtual Disk', revision: '1.0', serial: '' }

/**
 * Logical units behind one address.
 *
 * @example
 * ```ts
 * const target = new ScsiTarget()
 * target.attach(0, new BlockUnit(disk, { serial: 'disk0' }))
 * await target.execute(0, command)
 * ```
 */
export class ScsiTarget {
  readonly #units: (LogicalUnit | undefined)[]
  readonly #onChange: () => void

  constructor(options: ScsiTargetOptions = {}) {
    this.#units = new Array(Math.min(256, options.luns ?? 64)).fill(undefined)
    this.#onChange = options.onChange ?? (() => {})
  }

  /** How many logical unit numbers there are. */
  get size(): number {
    return this.#units.length
  }

  /** The unit at `lun`. */
  unit(lun: number): LogicalUnit | undefined {
    return this.#units[lun]
  }

  /** The numbers that have a unit, in order. */
  luns(): number[] {
    return [...this.#units.keys()].filter((lun) => this.#units[lun] !== undefined)
  }

  /**
   * Put `unit` at `lun`.
   * @throws ScsiError `ERR_STORAGE_LUN` when there is no such number, or it is taken
   */
  attach(lun: number, unit: LogicalUnit): void {
    if (!Number.isInteger(lun) || lun < 0 || lun >= this.#units.length) {
      throw new ScsiError('ERR_STORAGE_LUN', `there is no LUN ${lun}`, {
        hint: `LUNs are 0 to ${this.#units.length - 1}.`,
        data: { lun },
      })
    }
    if (this.#units[lun] !== undefined) throw new ScsiError('ERR_STORAGE_LUN', `LUN ${lun} is taken`, { data: { lun } })
    this.#announce()
    this.#units[lun] = unit
    this.#onChange()
  }

  /**
   * Take the unit at `lun` away. From now on commands find nothing there; resolves with it once those under way are complete.
   * @throws ScsiError `ERR_STORAGE_LUN` when there is none
   */
  async detach(lun: number): Promise<LogicalUnit> {
    const unit = this.#units[lun]
    if (unit === undefined) throw new ScsiError('ERR_STORAGE_LUN', `LUN ${lun} is not in use`, { data: { lun } })
    this.#units[lun] = undefined
    this.#announce()
    this.#onChange()
    unit.base.abort()
    await unit.base.drain()
    return unit
  }

  /**
   * Units tell those who use them that the list is another now. Drives with removable media do not: to Linux each unit attention of theirs means another
   * medium, and it would fail the reads under way (scsi_io_completion_action).
   */
  #announce(): void {
    for (const unit of this.#units)
      if (unit !== undefined && !unit.removable) unit.base.attentions.establishAll(SENSE.REPORTED_LUNS_DATA_HAS_CHANGED)
  }

  /** Execute `command` at `lun`. The results are in it once the promise is fulfilled, or at once where there is none. Never rejects. */
  execute(lun: number, command: ScsiCommand): Promise<void> | undefined {
    if (command.cdb[0] === OPCODE.REPORT_LUNS) return this.#reportLuns(command)
    const unit = this.#units[lun]
    return unit === undefined ? this.#absent(command) : unit.execute(command)
  }

  /** REPORT LUNS (SPC-4, 6.33). */
  #reportLuns(command: ScsiCommand): undefined {
    const allocation = be32(command.cdb, 6)
    const select = command.cdb[2] as number
    if (select > 2 || allocation < 16) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
    // There are no well-known logical units, which 01h asks for.
    const luns = select === 1 ? [] : this.luns()
    const data = new Uint8Array(8 + 8 * luns.length)
    putBe32(data, 0, 8 * luns.length)
    luns.forEach((lun, i) => {
      data[9 + 8 * i] = lun // peripheral device addressing (SAM-5, 4.7.7.2)
    })
    for (const unit of this.#units) unit?.base.attentions.clear(command.initiator, SENSE.REPORTED_LUNS_DATA_HAS_CHANGED)
    return command.answer(data, allocation)
  }

  #absent(command: ScsiCommand): undefined {
    switch (command.cdb[0]) {
      case OPCODE.INQUIRY:
        return inquiryOfNothing(IDENTITY, command)
      case OPCODE.REQUEST_SENSE: {
        const data = new Uint8Array(FIXED_SENSE_LENGTH)
        writeFixedSense(data, SENSE.LOGICAL_UNIT_NOT_SUPPORTED)
        return command.answer(data, command.cdb[4] as number)
      }
      default:
        return command.fail(SENSE.LOGICAL_UNIT_NOT_SUPPORTED)
    }
  }

  /** Reset units, or the one at `lun` (SAM-5, 6.3): `sense` tells everyone. Resolves when what was under way is complete. */
  async reset(sense: Sense, lun?: number): Promise<void> {
    const units = lun === undefined ? this.#units : [this.#units[lun]]
    await Promise.all(
      units.map(async (unit) => {
        if (unit === undefined) return
        unit.base.attentions.establishAll(sense)
        unit.base.abort()
        await unit.base.drain()
      }),
    )
  }

  /** As after power-on, reservations included. */
  powerOn(): void {
    for (const unit of this.#units) unit?.powerOn()
  }

  /** Let commands of many steps end early. */
  abort(): void {
    for (const unit of this.#units) unit?.base.abort()
  }

  /** Resolves when the commands that are under way now, at any unit, are complete. */
  async drain(): Promise<void> {
    await Promise.all(this.#units.map((unit) => unit?.base.drain()))
  }

  /** The units' states, by number. */
  save(): SavedState {
    const units: { [lun: string]: SavedValue } = {}
    for (const lun of this.luns()) {
      const state = this.#units[lun]?.save()
      if (state !== undefined) units[lun] = { version: state.version, data: state.data }
    }
    return { version: 1, data: { units } }
  }

  /**
   * Take over the states of units; the same ones have to be attached.
   * @throws ScsiError `ERR_STATE_INVALID`
   */
  restore(state: SavedState): void {
    const units = state.data['units']
    const luns = this.luns()
    if (state.version !== 1 || typeof units !== 'object' || units === null || units instanceof Uint8Array)
      throw new ScsiError('ERR_STATE_INVALID', 'this is no saved state of a SCSI target')
    const saved = units as unknown as Readonly<Record<string, SavedState>>
    if (Object.keys(saved).length !== luns.length || luns.some((lun) => typeof saved[lun]?.data !== 'object')) {
      throw new ScsiError('ERR_STATE_INVALID', 'the disks are not those of the saved state', {
        data: { saved: Object.keys(saved), attached: luns },
      })
    }
    for (const lun of luns) this.#units[lun]?.restore(saved[lun] as SavedState)
  }
}
