// The crash enlightenment (TLFS, "Partition Crash Enlightenment"): five parameters, and a message that the guest leaves when it cannot go on.

import type { GuestMemory, SavedValue } from '@partita/interface'
import { stateArray, stateU64 } from './saved-values.ts'

/** HV_CRASH_CTL_REG_CONTENTS. */
const CONTROL = { NOTIFY: 1n << 63n, MESSAGE: 1n << 62n } as const
const PARAMETER_COUNT = 5
/** Which parameters say where the message is, and how long. */
const MESSAGE_ADDRESS = 3
const MESSAGE_LENGTH = 4
const MESSAGE_MAXIMUM = 4096

/** What a guest told of its end. */
export interface GuestCrash {
  readonly type: 'guest-crash'
  /** P0 to P4. */
  readonly parameters: readonly bigint[]
  /** The end of the guest's log, where it gave one. Text of the guest's: do not trust it. */
  readonly message?: string
}

export class CrashRegisters {
  readonly #memory: GuestMemory
  readonly #notify: (crash: GuestCrash) => void
  readonly #parameters: BigUint64Array = new BigUint64Array(PARAMETER_COUNT)

  constructor(memory: GuestMemory, notify: (crash: GuestCrash) => void) {
    this.#memory = memory
    this.#notify = notify
  }

  readParameter(index: number): bigint {
    return this.#parameters[index] as bigint
  }

  writeParameter(index: number, value: bigint): boolean {
    this.#parameters[index] = value
    return true
  }

  /** What can be asked for. */
  readControl(): bigint {
    return CONTROL.NOTIFY | CONTROL.MESSAGE
  }

  writeControl(value: bigint): boolean {
    if ((value & CONTROL.NOTIFY) === 0n) return true
    const message = (value & CONTROL.MESSAGE) === 0n ? undefined : this.#message()
    this.#notify({ type: 'guest-crash', parameters: [...this.#parameters], ...(message !== undefined && { message }) })
    return true
  }

  #message(): string | undefined {
    const address = this.#parameters[MESSAGE_ADDRESS] as bigint
    const length = this.#parameters[MESSAGE_LENGTH] as bigint
    if (length === 0n || address > BigInt(Number.MAX_SAFE_INTEGER)) return undefined
    const bytes = new Uint8Array(length < BigInt(MESSAGE_MAXIMUM) ? Number(length) : MESSAGE_MAXIMUM)
    if (!this.#memory.read(Number(address), bytes)) return undefined
    const end = bytes.indexOf(0)
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
  }

  reset(): void {
    this.#parameters.fill(0n)
  }

  save(): SavedValue {
    return [...this.#parameters]
  }

  /** @throws HypervisorError `ERR_STATE_INVALID` */
  restore(saved: SavedValue | undefined): void {
    this.#parameters.set(stateArray(saved, 'crash', PARAMETER_COUNT).map((value) => stateU64(value, 'crash')))
  }
}
