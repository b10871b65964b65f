// The partition's reference time for the guest (TLFS, "Timers"): the counter, and the page with which the guest computes it from its time-stamp counter.

import type { Clock, SavedValue } from '@partita/interface'
import type { OverlayPage } from '../overlay-page.ts'
import { pageAddress } from './msr.ts'
import { stateNumber, stateObject, stateU64 } from './saved-values.ts'

/** Nanoseconds of a tick of the reference counter. */
const TICK = 100
const TICKS_PER_SECOND = 10_000_000n
/** Offsets in HV_REFERENCE_TSC_PAGE; the sequence is a double word. */
const PAGE = { SEQUENCE: 0, SCALE: 8, OFFSET: 16, SIZE: 24 } as const
/** This sequence says that the page is not valid, and guests of old took the other for it. */
const SEQUENCE_INVALID = 0
const SEQUENCE_MAXIMUM = 0xfffffffe
/**
 * Reference time and time stamp are read one after the other, and the host may run something else in between. A page that is wrong by that would stay so:
 * a guest whose time lags by a tick finds each timer expired when it sets it. So the closest of several readings is taken, or one that is close.
 */
const READINGS = 32
/** Nanoseconds. */
const CLOSE = 2000

export interface ReferenceTimeOptions {
  readonly clock: Clock
  readonly page: OverlayPage
  /** Hz. */
  readonly timeStampFrequency: number
  /** The time-stamp counter of the boot processor. */
  timeStamp(): bigint
}

export class ReferenceTime {
  readonly #options: ReferenceTimeOptions
  readonly #scale: bigint
  #register = 0n
  #sequence = 0

  constructor(options: ReferenceTimeOptions) {
    this.#options = options
    this.#scale = (TICKS_PER_SECOND << 64n) / BigInt(options.timeStampFrequency)
  }

  /** The reference counter: units of 100 ns since the partition was created. */
  get count(): bigint {
    return BigInt(Math.floor(this.#options.clock.now() / TICK))
  }

  /** HV_X64_MSR_REFERENCE_TSC. */
  get register(): bigint {
    return this.#register
  }

  write(value: bigint): void {
    this.#register = value
    const gpa = pageAddress(value)
    if (gpa !== undefined) this.#fill()
    this.#options.page.place(gpa)
  }

  /** The time-stamp counter has another relation to the reference time. */
  timeStampChanged(): void {
    if (pageAddress(this.#register) !== undefined) this.#fill()
  }

  #fill(): void {
    const { clock, page } = this.#options
    let closest = Infinity
    let offset = 0n
    for (let reading = 0; reading < READINGS && closest > CLOSE; reading++) {
      const before = clock.now()
      const timeStamp = this.#options.timeStamp()
      const after = clock.now()
      if (after - before >= closest) continue
      closest = after - before
      const reference = BigInt(Math.floor((before + after) / 2 / TICK))
      offset = BigInt.asUintN(64, reference - ((timeStamp * this.#scale) >> 64n))
    }
    this.#sequence = this.#sequence >= SEQUENCE_MAXIMUM ? 1 : this.#sequence + 1
    const { words, bytes } = page
    const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE.SIZE)
    Atomics.store(words, PAGE.SEQUENCE, SEQUENCE_INVALID)
    view.setBigUint64(PAGE.SCALE, this.#scale, true)
    view.setBigUint64(PAGE.OFFSET, offset, true)
    Atomics.store(words, PAGE.SEQUENCE, this.#sequence | 0)
    page.written(0, PAGE.SIZE)
  }

  reset(): void {
    this.#register = 0n
    this.#options.page.place(undefined)
    this.#options.page.set(new Uint8Array(0))
  }

  save(): SavedValue {
    return { register: this.#register, sequence: this.#sequence }
  }

  /** The page is made valid anew, with a new sequence. Processors and reference time are restored before. @throws HypervisorError `ERR_STATE_INVALID` */
  restore(saved: SavedValue | undefined): void {
    const { register, sequence } = stateObject(saved, 'referenceTime')
    const value = stateU64(register, 'referenceTime.register')
    const last = stateNumber(sequence, 'referenceTime.sequence', 0, SEQUENCE_MAXIMUM)
    this.reset()
    this.#sequence = last
    this.write(value)
  }
}
