// What every logical unit has: identity, unit attentions, reservations, commands in flight; and the way of a command to its entry in the unit's
// table (SPC-4, 4.2 and 5; SAM-5, 5.14).

import type { SavedState } from '@partita/interface'
import { UnitAttentions } from './attentions.ts'
import { DIRECTION, type Direction, MAXIMUM_CDB_LENGTH, SCSI_STATUS, type ScsiCommand } from './command.ts'
import { type Access, Reservations } from './reservations.ts'
import { SENSE, type Sense } from './sense.ts'

/** Peripheral device types (SPC-4, table 145). */
export const DEVICE_TYPE = { DIRECT_ACCESS: 0x00, CD_DVD: 0x05, UNKNOWN: 0x1f } as const

/** How a unit calls itself. */
export interface UnitIdentity {
  /** T10 vendor identification, at most 8 characters. */
  readonly vendor: string
  /** At most 16 characters. */
  readonly product: string
  /** At most 4 characters. */
  readonly revision: string
  /** Unit serial number, at most 32 characters. The designators of VPD page 83h are made from it. */
  readonly serial: string
}

/** One command that a kind of unit knows: a line of its table. */
export interface CommandEntry<Unit> {
  /** The name in the standard. */
  readonly name: string
  /** First byte of the CDB. */
  readonly opcode: number
  /** What reservations think of it. */
  readonly access: Access
  /** Which way its data goes; `ANY` where it has none. */
  readonly direction: Direction
  /** Served although a unit attention waits (SAM-5, 5.14.5). */
  readonly ignoresAttention?: boolean
  /** Changes the medium: refused on a read-only one. */
  readonly writes?: boolean
  /** Fails while there is no medium. */
  readonly needsMedium?: boolean
  /** Does the work. What it returns settles when the command is complete; it never rejects. */
  readonly run: (unit: Unit, command: ScsiCommand) => Promise<void> | undefined
}

/** A unit's commands by operation code. */
export type CommandTable<Unit> = readonly (CommandEntry<Unit> | undefined)[]

/** Order entries by operation code. */
export function commandTable<Unit>(entries: readonly CommandEntry<Unit>[]): CommandTable<Unit> {
  const table: (CommandEntry<Unit> | undefined)[] = new Array(256).fill(undefined)
  for (const entry of entries) table[entry.opcode] = entry
  return table
}

/** Bytes of a CDB, by the group code of its operation code (SPC-4, 4.2.5.1); 0 for groups that have no fixed length. */
function cdbLength(opcode: number): number {
  switch (opcode >> 5) {
    case 0:
      return 6
    case 1:
    case 2:
      return 10
    case 4:
      return MAXIMUM_CDB_LENGTH
    case 5:
      return 12
    default:
      return 0
  }
}

const NACA = 0x04

/** A logical unit, as a target sees it. */
export interface LogicalUnit {
  /** What it shares with all units. */
  readonly base: UnitBase
  /** True for media that come and go; such a unit is a drive. */
  readonly removable: boolean
  /**
   * Execute `command`, whose results are in it once the returned promise is fulfilled, or at once where there is none. It never rejects.
   * CDB and buffers may be anything: what a guest does wrong is a status.
   */
  execute(command: ScsiCommand): Promise<void> | undefined
  /** Back to the state at power-on. */
  powerOn(): void
  save(): SavedState
  /** @throws ScsiError `ERR_STATE_INVALID` */
  restore(state: SavedState): void
}

/** The commands that began between one {@link UnitBase.drain} and the next. */
class Generation {
  inFlight = 0
  /** Who waits for these commands, and for all before them. */
  readonly waiting: (() => void)[] = []
  /** One of them is complete. */
  readonly finished: () => void

  constructor(ended: () => void) {
    this.finished = () => {
      this.inFlight--
      ended()
    }
  }
}

/** What units share; a part of each. */
export class UnitBase {
  /** Who the unit says that it is. */
  readonly identity: UnitIdentity
  /** What initiators are still to be told. */
  readonly attentions: UnitAttentions
  /** Who may use the unit. */
  readonly reservations: Reservations
  #inFlight = 0
  #epoch = 0
  readonly #ended: () => void = () => this.#end()
  #current: Generation = new Generation(this.#ended)
  /** Those before, of which commands are under way, in order. */
  readonly #earlier: Generation[] = []

  /** @param tellsPowerOn see {@link UnitAttentions} */
  constructor(identity: UnitIdentity, tellsPowerOn = false) {
    this.identity = identity
    this.attentions = new UnitAttentions(tellsPowerOn)
    this.reservations = new Reservations(this.attentions)
  }

  /** Commands under way. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Changes when what is under way is to end: a command of many steps looks after each. */
  get epoch(): number {
    return this.#epoch
  }

  /** Let commands of many steps end early. */
  abort(): void {
    this.#epoch++
  }

  /** Resolves when the commands that are under way now are complete, whatever comes meanwhile: a guest need never pause. */
  drain(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve()
    if (this.#current.inFlight > 0) {
      this.#earlier.push(this.#current)
      this.#current = new Generation(this.#ended)
    }
    return new Promise((resolve) => this.#earlier.at(-1)?.waiting.push(resolve))
  }

  /** Find `command` in `table`, check what holds for every command, and run it. */
  dispatch<Unit extends { readonly readOnly: boolean; mediumSense(): Sense | undefined }>(
    table: CommandTable<Unit>,
    unit: Unit,
    command: ScsiCommand,
  ): Promise<void> | undefined {
    const opcode = command.cdb[0] as number
    this.attentions.introduce(command.initiator)
    const entry = table[opcode]
    if (entry?.ignoresAttention !== true) {
      const attention = this.attentions.take(command.initiator)
      if (attention !== undefined) return fail(command, attention)
    }
    if (entry === undefined) return fail(command, SENSE.INVALID_COMMAND_OPERATION_CODE)
    if (((command.cdb[cdbLength(opcode) - 1] as number) & NACA) !== 0) return fail(command, SENSE.INVALID_FIELD_IN_CDB)
    if (entry.direction !== DIRECTION.ANY && command.length > 0 && isWrongWay(command.direction, entry.direction))
      return fail(command, SENSE.INVALID_FIELD_IN_CDB)
    if (this.reservations.conflicts(command.initiator, entry.access)) {
      command.finish(SCSI_STATUS.RESERVATION_CONFLICT)
      return undefined
    }
    if (entry.needsMedium === true) {
      const sense = unit.mediumSense()
      if (sense !== undefined) return fail(command, sense)
    }
    if (entry.writes === true && unit.readOnly) return fail(command, SENSE.WRITE_PROTECTED)
    let running: Promise<void> | undefined
    try {
      running = entry.run(unit, command)
    } catch (error) {
      // A disk that throws instead of rejecting has failed no less.
      command.failDisk(error, entry.writes === true)
    }
    if (running === undefined) return undefined
    this.#inFlight++
    this.#current.inFlight++
    return running.then(this.#current.finished)
  }

  #end(): void {
    this.#inFlight--
    while (this.#earlier[0]?.inFlight === 0) for (const resolve of this.#earlier.shift()?.waiting ?? []) resolve()
  }
}

function isWrongWay(given: Direction, needed: Direction): boolean {
  return given !== DIRECTION.ANY && given !== needed
}

function fail(command: ScsiCommand, sense: Sense): undefined {
  command.fail(sense)
  return undefined
}
