// Persistent reservations of one logical unit (SPC-4, 5.13 and the PERSISTENT RESERVE IN and OUT commands, 6.15 and 6.16).

import type { SavedValue } from '@partita/interface'
import type { UnitAttentions } from './attentions.ts'
import { be32, be64Exact, putBe16, putBe32, putBe64Exact } from './bytes.ts'
import { SCSI_STATUS, type ScsiCommand } from './command.ts'
import { SENSE, type Sense } from './sense.ts'

/** Types of a persistent reservation (SPC-4, table 206). */
export const RESERVATION_TYPE = {
  WRITE_EXCLUSIVE: 1,
  EXCLUSIVE_ACCESS: 3,
  WRITE_EXCLUSIVE_REGISTRANTS_ONLY: 5,
  EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: 6,
  WRITE_EXCLUSIVE_ALL_REGISTRANTS: 7,
  EXCLUSIVE_ACCESS_ALL_REGISTRANTS: 8,
} as const

/** What a command does to a unit, as far as reservations are concerned (SPC-4, table 66; SBC-3, table 10). */
export const ACCESS = {
  /** Never conflicts. */
  ANY: 0,
  /** Conflicts with a reservation for exclusive access. */
  READ: 1,
  /** Conflicts with every reservation. */
  WRITE: 2,
} as const
/** One of {@link ACCESS}. */
export type Access = (typeof ACCESS)[keyof typeof ACCESS]

const SERVICE_ACTION_IN = { READ_KEYS: 0, READ_RESERVATION: 1, REPORT_CAPABILITIES: 2, READ_FULL_STATUS: 3 } as const
const SERVICE_ACTION_OUT = {
  REGISTER: 0,
  RESERVE: 1,
  RELEASE: 2,
  CLEAR: 3,
  PREEMPT: 4,
  PREEMPT_AND_ABORT: 5,
  REGISTER_AND_IGNORE_EXISTING_KEY: 6,
} as const

/** Registrations that a unit holds. */
const REGISTRATION_LIMIT = 64
const PARAMETER_LIST_LENGTH = 24
const TYPES: ReadonlySet<number> = new Set(Object.values(RESERVATION_TYPE))
/** REPORT CAPABILITIES' type mask (SPC-4, table 187). */
const TYPE_MASK = 0xea01

function isExclusiveAccess(type: number): boolean {
  return (
    type === RESERVATION_TYPE.EXCLUSIVE_ACCESS ||
    type === RESERVATION_TYPE.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY ||
    type === RESERVATION_TYPE.EXCLUSIVE_ACCESS_ALL_REGISTRANTS
  )
}

function isAllRegistrants(type: number): boolean {
  return type >= RESERVATION_TYPE.WRITE_EXCLUSIVE_ALL_REGISTRANTS
}

/** Registrants-only and all-registrants: those who are registered share the access. */
function isShared(type: number): boolean {
  return type >= RESERVATION_TYPE.WRITE_EXCLUSIVE_REGISTRANTS_ONLY
}

/** The state that a unit saves. */
export interface SavedReservations {
  /** PRGENERATION: how often registrations have changed. */
  readonly generation: number
  /** One of {@link RESERVATION_TYPE}, 0 without a reservation. */
  readonly type: number
  /** The initiator that holds the reservation; `null` for none, or for all registrants. */
  readonly holder: number | null
  /** Initiators and their reservation keys. */
  readonly registrations: readonly (readonly [number, bigint])[]
}

/** Registrations and the reservation of one logical unit. They last as long as the unit: APTPL is not offered. */
export class Reservations {
  readonly #attentions: UnitAttentions
  /** Reservation keys by I_T nexus. */
  readonly #keys: Map<number, bigint> = new Map()
  #generation = 0
  /** 0 without a reservation. */
  #type = 0
  #holder: number | undefined

  constructor(attentions: UnitAttentions) {
    this.#attentions = attentions
  }

  /** Whether a command of `initiator` conflicts with the reservation. */
  conflicts(initiator: number, access: Access): boolean {
    if (this.#type === 0 || access === ACCESS.ANY || this.#holds(initiator)) return false
    if (isShared(this.#type) && this.#keys.has(initiator)) return false
    return access === ACCESS.WRITE || isExclusiveAccess(this.#type)
  }

  #holds(initiator: number): boolean {
    return isAllRegistrants(this.#type) ? this.#keys.has(initiator) : this.#type !== 0 && this.#holder === initiator
  }

  // ── PERSISTENT RESERVE IN ──

  /** Serve PERSISTENT RESERVE IN. */
  reportIn(command: ScsiCommand): undefined {
    const allocation = ((command.cdb[7] ?? 0) << 8) | (command.cdb[8] ?? 0)
    switch ((command.cdb[1] ?? 0) & 0x1f) {
      case SERVICE_ACTION_IN.READ_KEYS:
        return command.answer(this.#readKeys(), allocation)
      case SERVICE_ACTION_IN.READ_RESERVATION:
        return command.answer(this.#readReservation(), allocation)
      case SERVICE_ACTION_IN.REPORT_CAPABILITIES:
        return command.answer(this.#capabilities(), allocation)
      case SERVICE_ACTION_IN.READ_FULL_STATUS:
        return command.answer(this.#fullStatus(), allocation)
      default:
        return command.fail(SENSE.INVALID_FIELD_IN_CDB)
    }
  }

  #header(additional: number): Uint8Array {
    const data = new Uint8Array(8 + additional)
    putBe32(data, 0, this.#generation)
    putBe32(data, 4, additional)
    return data
  }

  #readKeys(): Uint8Array {
    const data = this.#header(8 * this.#keys.size)
    let at = 8
    for (const key of this.#keys.values()) {
      putBe64Exact(data, at, key)
      at += 8
    }
    return data
  }

  #readReservation(): Uint8Array {
    if (this.#type === 0) return this.#header(0)
    const data = this.#header(16)
    putBe64Exact(data, 8, this.#reservationKey())
    data[21] = this.#type
    return data
  }

  #reservationKey(): bigint {
    if (isAllRegistrants(this.#type) || this.#holder === undefined) return 0n
    return this.#keys.get(this.#holder) ?? 0n
  }

  #capabilities(): Uint8Array {
    const data = new Uint8Array(8)
    putBe16(data, 0, 8)
    data[2] = 0x04 // ATP_C: ALL_TG_PT is understood, there being one target port
    data[3] = 0x80 // TMV: the type mask is valid
    putBe16(data, 4, TYPE_MASK)
    return data
  }

  #fullStatus(): Uint8Array {
    const descriptor = 24 + 24
    const data = this.#header(descriptor * this.#keys.size)
    let at = 8
    for (const [initiator, key] of this.#keys) {
      putBe64Exact(data, at, key)
      const holds = this.#holds(initiator)
      data[at + 12] = 0x02 | (holds ? 0x01 : 0x00) // ALL_TG_PT, R_HOLDER
      data[at + 13] = holds ? this.#type : 0
      putBe16(data, at + 18, 1)
      putBe32(data, at + 20, 24)
      // TransportID of a parallel SCSI bus (SPC-4, 7.6.4.3): the nexus' number as its address.
      data[at + 24] = 0x01
      putBe16(data, at + 26, initiator & 0xffff)
      putBe16(data, at + 30, 1)
      at += descriptor
    }
    return data
  }

  // ── PERSISTENT RESERVE OUT ──

  /** Serve PERSISTENT RESERVE OUT. */
  reserveOut(command: ScsiCommand): undefined {
    const action = (command.cdb[1] ?? 0) & 0x1f
    const length = be32(command.cdb, 5)
    const scope = (command.cdb[2] ?? 0) >> 4
    const type = (command.cdb[2] ?? 0) & 0x0f
    if (action > SERVICE_ACTION_OUT.REGISTER_AND_IGNORE_EXISTING_KEY) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
    if (length !== PARAMETER_LIST_LENGTH || command.length < length)
      return command.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
    const list = command.copyOut(length)
    const key = be64Exact(list, 0)
    const actionKey = be64Exact(list, 8)
    const flags = list[20] ?? 0
    // SPEC_I_PT and APTPL are not offered; REPORT CAPABILITIES says so.
    if ((flags & 0x09) !== 0) return command.fail(SENSE.INVALID_FIELD_IN_PARAMETER_LIST)
    const needsType =
      action === SERVICE_ACTION_OUT.RESERVE ||
      action === SERVICE_ACTION_OUT.RELEASE ||
      action === SERVICE_ACTION_OUT.PREEMPT ||
      action === SERVICE_ACTION_OUT.PREEMPT_AND_ABORT
    if (needsType && (scope !== 0 || !TYPES.has(type))) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
    const registered = this.#keys.get(command.initiator)
    if (action !== SERVICE_ACTION_OUT.REGISTER && action !== SERVICE_ACTION_OUT.REGISTER_AND_IGNORE_EXISTING_KEY) {
      if (registered === undefined || registered !== key) return command.finish(SCSI_STATUS.RESERVATION_CONFLICT)
    }
    switch (action) {
      case SERVICE_ACTION_OUT.REGISTER:
        if (key !== (registered ?? 0n)) return command.finish(SCSI_STATUS.RESERVATION_CONFLICT)
        return this.#register(command, actionKey)
      case SERVICE_ACTION_OUT.REGISTER_AND_IGNORE_EXISTING_KEY:
        return this.#register(command, actionKey)
      case SERVICE_ACTION_OUT.RESERVE:
        return this.#reserve(command, type)
      case SERVICE_ACTION_OUT.RELEASE:
        return this.#release(command, type)
      case SERVICE_ACTION_OUT.CLEAR:
        return this.#clear(command)
      default:
        return this.#preempt(command, type, actionKey)
    }
  }

  #register(command: ScsiCommand, key: bigint): undefined {
    const initiator = command.initiator
    if (key !== 0n) {
      if (!this.#keys.has(initiator) && this.#keys.size >= REGISTRATION_LIMIT)
        return command.fail(SENSE.INSUFFICIENT_REGISTRATION_RESOURCES)
      this.#keys.set(initiator, key)
      this.#nextGeneration()
    } else if (this.#keys.has(initiator)) {
      this.#unregister(initiator)
      this.#nextGeneration()
    }
    return command.good(PARAMETER_LIST_LENGTH)
  }

  /** Remove a registration; what it holds goes with it (SPC-4, 5.13.11.3). */
  #unregister(initiator: number): void {
    const held = this.#type !== 0 && !isAllRegistrants(this.#type) && this.#holder === initiator
    this.#keys.delete(initiator)
    if (held) {
      const shared = isShared(this.#type)
      this.#type = 0
      this.#holder = undefined
      if (shared) this.#tellRegistered(SENSE.RESERVATIONS_RELEASED, initiator)
    } else if (isAllRegistrants(this.#type) && this.#keys.size === 0) this.#type = 0
  }

  #reserve(command: ScsiCommand, type: number): undefined {
    if (this.#type !== 0) {
      if (!this.#holds(command.initiator) || this.#type !== type)
        return command.finish(SCSI_STATUS.RESERVATION_CONFLICT)
      return command.good(PARAMETER_LIST_LENGTH)
    }
    this.#type = type
    this.#holder = isAllRegistrants(type) ? undefined : command.initiator
    return command.good(PARAMETER_LIST_LENGTH)
  }

  #release(command: ScsiCommand, type: number): undefined {
    if (this.#holds(command.initiator)) {
      if (this.#type !== type) return command.fail(SENSE.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
      const shared = isShared(this.#type)
      this.#type = 0
      this.#holder = undefined
      if (shared) this.#tellRegistered(SENSE.RESERVATIONS_RELEASED, command.initiator)
    }
    return command.good(PARAMETER_LIST_LENGTH)
  }

  #clear(command: ScsiCommand): undefined {
    this.#tellRegistered(SENSE.RESERVATIONS_PREEMPTED, command.initiator)
    this.#keys.clear()
    this.#type = 0
    this.#holder = undefined
    this.#nextGeneration()
    return command.good(PARAMETER_LIST_LENGTH)
  }

  /** PREEMPT and PREEMPT AND ABORT (SPC-4, 5.13.11.5). Commands of others that run are completed, which comes to the same as an abort too late. */
  #preempt(command: ScsiCommand, type: number, victim: bigint): undefined {
    const initiator = command.initiator
    const previous = this.#type
    if (previous !== 0 && isAllRegistrants(previous)) {
      if (victim === 0n) {
        this.#removeWhere(initiator, () => true)
        this.#take(type, initiator)
      } else if (!this.#removeWhere(initiator, (key) => key === victim))
        return command.finish(SCSI_STATUS.RESERVATION_CONFLICT)
    } else if (previous !== 0 && victim === this.#reservationKey()) {
      // Also the holder itself, which so changes the type.
      this.#removeWhere(initiator, (key) => key === victim)
      this.#take(type, initiator)
      if (previous !== type) this.#tellRegistered(SENSE.RESERVATIONS_RELEASED, initiator)
    } else {
      if (victim === 0n) {
        if (previous !== 0) return command.fail(SENSE.INVALID_FIELD_IN_PARAMETER_LIST)
        return command.finish(SCSI_STATUS.RESERVATION_CONFLICT)
      }
      const own = this.#keys.get(initiator) === victim
      if (!this.#removeWhere(initiator, (key) => key === victim) && !own)
        return command.finish(SCSI_STATUS.RESERVATION_CONFLICT)
      if (own) this.#unregister(initiator)
    }
    this.#nextGeneration()
    return command.good(PARAMETER_LIST_LENGTH)
  }

  #take(type: number, initiator: number): void {
    this.#type = type
    this.#holder = isAllRegistrants(type) ? undefined : initiator
  }

  /** Remove the registrations of others that `matches` names, and tell them. Whether there was one. */
  #removeWhere(self: number, matches: (key: bigint) => boolean): boolean {
    let found = false
    for (const [initiator, key] of this.#keys) {
      if (initiator === self || !matches(key)) continue
      this.#keys.delete(initiator)
      this.#attentions.establish(initiator, SENSE.REGISTRATIONS_PREEMPTED)
      found = true
    }
    return found
  }

  #tellRegistered(sense: Sense, except: number): void {
    for (const initiator of this.#keys.keys()) if (initiator !== except) this.#attentions.establish(initiator, sense)
  }

  #nextGeneration(): void {
    this.#generation = (this.#generation + 1) >>> 0
  }

  /** As at power-on. */
  reset(): void {
    this.#keys.clear()
    this.#generation = 0
    this.#type = 0
    this.#holder = undefined
  }

  save(): { readonly [key: string]: SavedValue } {
    return {
      generation: this.#generation,
      type: this.#type,
      holder: this.#holder ?? null,
      registrations: [...this.#keys],
    } satisfies SavedReservations
  }

  /** Take over a state; whoever calls has checked its shape. */
  restore(state: SavedReservations): void {
    this.#keys.clear()
    for (const [initiator, key] of state.registrations) this.#keys.set(initiator, key)
    this.#generation = state.generation
    this.#type = TYPES.has(state.type) ? state.type : 0
    this.#holder = state.holder ?? undefined
  }
}
