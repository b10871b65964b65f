// SMART of a disk (ATA/ATAPI-7 volume 1, section 6.54): what it counts, the logs of errors and self-tests, and the pages that tell of them.

import { REGISTER } from './ata.ts'
import { sumOf } from './identify-words.ts'
import type { TaskFile } from './task-file.ts'

/** Subcommands, in the features register. */
const SMART = {
  READ_DATA: 0xd0,
  READ_THRESHOLDS: 0xd1,
  AUTOSAVE: 0xd2,
  SAVE: 0xd3,
  EXECUTE_OFFLINE: 0xd4,
  READ_LOG: 0xd5,
  ENABLE: 0xd8,
  DISABLE: 0xd9,
  RETURN_STATUS: 0xda,
} as const
/** What LBA mid and high hold with every subcommand: C2h and 4Fh. */
export const SMART_KEY = { MID: 0x4f, HIGH: 0xc2 } as const
/** How a self-test ended (table 53). */
export const SELF_TEST_STATUS = { PASSED: 0x0, READ_FAILURE: 0x7 } as const

const LOG = { DIRECTORY: 0x00, SUMMARY_ERROR: 0x01, SELF_TEST: 0x06 } as const
const ERROR_ENTRIES = 5
const ERROR_LENGTH = 90
const TEST_ENTRIES = 21
const TEST_LENGTH = 24
const PAGE = 512

/** A saved {@link Smart}. */
export interface SmartState {
  readonly enabled: boolean
  readonly counters: readonly number[]
  readonly errorCount: number
  readonly testCount: number
  readonly errors: Uint8Array
  readonly tests: Uint8Array
}

/** What is counted since power-on. */
export const COUNTER = { READ_ERRORS: 0, WRITE_ERRORS: 1, SECTORS_WRITTEN: 2, SECTORS_READ: 3 } as const
export const COUNTERS = 4

/** Attributes: id, flags (pre-failure, collected online, …), threshold, and the counter behind the raw value. */
const ATTRIBUTES: readonly (readonly [id: number, flags: number, threshold: number, counter: number | undefined])[] = [
  [1, 0x000b, 16, COUNTER.READ_ERRORS], // raw read error rate
  [5, 0x0033, 10, undefined], // reallocated sectors: none ever
  [200, 0x000a, 0, COUNTER.WRITE_ERRORS], // write error rate
  [241, 0x0032, 0, COUNTER.SECTORS_WRITTEN],
  [242, 0x0032, 0, COUNTER.SECTORS_READ],
]
const GOOD_VALUE = 100

/** The SMART state of a disk. Nothing of it outlives the machine: there is no place for it on the disk. */
export class Smart {
  enabled = true
  readonly counters: Float64Array = new Float64Array(COUNTERS)
  #errorCount = 0
  #testCount = 0
  /** Entries of the logs, in the logs' formats; rings. */
  readonly #errors: Uint8Array = new Uint8Array(ERROR_ENTRIES * ERROR_LENGTH)
  readonly #tests: Uint8Array = new Uint8Array(TEST_ENTRIES * TEST_LENGTH)

  reset(): void {
    this.enabled = true
    this.counters.fill(0)
    this.#errorCount = 0
    this.#testCount = 0
    this.#errors.fill(0)
    this.#tests.fill(0)
  }

  /**
   * Begin a subcommand: it is done, its page is in `page`, a self-test is to be run, or there is none like that.
   */
  begin(subcommand: number, address: number, sectors: number, page: Uint8Array): 'done' | 'page' | 'test' | 'refused' {
    if (!this.enabled && subcommand !== SMART.ENABLE) return 'refused'
    switch (subcommand) {
      case SMART.ENABLE:
      case SMART.DISABLE:
        this.enabled = subcommand === SMART.ENABLE
        return 'done'
      case SMART.AUTOSAVE:
      case SMART.SAVE:
      case SMART.RETURN_STATUS: // no attribute is below its threshold: LBA mid and high stay as they are
        return 'done'
      case SMART.READ_DATA:
        this.#data(page)
        return 'page'
      case SMART.READ_THRESHOLDS:
        this.#thresholds(page)
        return 'page'
      case SMART.READ_LOG:
        return this.#log(address, sectors, page) ? 'page' : 'refused'
      case SMART.EXECUTE_OFFLINE:
        return 'test'
      default:
        return 'refused'
    }
  }

  /** Add to the summary error log (section A.2): `input` are features, count, LBA low, mid, high and device as the command found them, `after` those that it leaves. */
  recordError(input: Uint8Array, command: number, after: TaskFile, error: number, status: number): void {
    const at = (this.#errorCount % ERROR_ENTRIES) * ERROR_LENGTH
    const entry = this.#errors.subarray(at, at + ERROR_LENGTH)
    entry.fill(0)
    // The last of five command data structures, and the error data structure.
    entry.set(input, 49)
    entry[55] = command
    entry[61] = error
    for (let register: number = REGISTER.COUNT; register <= REGISTER.LBA_HIGH; register++)
      entry[60 + register] = after.get(register)
    entry[66] = after.device
    entry[67] = status
    entry[87] = 0x03 // active or idle
    this.#errorCount++
  }

  /** Add to the self-test log (section A.3). */
  recordTest(number: number, status: number, failedLba: number): void {
    const at = (this.#testCount % TEST_ENTRIES) * TEST_LENGTH
    const entry = this.#tests.subarray(at, at + TEST_LENGTH)
    entry.fill(0)
    entry[0] = number
    entry[1] = status << 4
    for (let i = 0; i < 4; i++) entry[5 + i] = Math.floor(failedLba / 2 ** (8 * i)) & 0xff
    this.#testCount++
  }

  /** The status of the latest self-test. */
  get #testStatus(): number {
    if (this.#testCount === 0) return 0
    return this.#tests[((this.#testCount - 1) % TEST_ENTRIES) * TEST_LENGTH + 1] as number
  }

  /** READ DATA (section 6.54.6, table 50). */
  #data(target: Uint8Array): void {
    target.fill(0, 0, PAGE)
    target[0] = 0x10
    ATTRIBUTES.forEach(([id, flags, , counter], index) => {
      const at = 2 + 12 * index
      target[at] = id
      target[at + 1] = flags & 0xff
      target[at + 2] = flags >> 8
      target[at + 3] = GOOD_VALUE
      target[at + 4] = GOOD_VALUE
      const raw = counter === undefined ? 0 : (this.counters[counter] as number)
      for (let i = 0; i < 6; i++) target[at + 5 + i] = Math.floor(raw / 2 ** (8 * i)) & 0xff
    })
    target[363] = this.#testStatus
    target[364] = 1 // seconds of the off-line routine
    target[367] = 0x11 // EXECUTE OFF-LINE IMMEDIATE, self-tests
    target[368] = 0x03
    target[370] = 0x01 // error log
    target[372] = 1 // minutes of the self-tests
    target[373] = 1
    seal(target)
  }

  /** READ THRESHOLDS. */
  #thresholds(target: Uint8Array): void {
    target.fill(0, 0, PAGE)
    target[0] = 0x10
    ATTRIBUTES.forEach(([id, , threshold], index) => {
      target[2 + 12 * index] = id
      target[3 + 12 * index] = threshold
    })
    seal(target)
  }

  /** READ LOG. False where there is no such log, or none of so many sectors. */
  #log(address: number, sectors: number, target: Uint8Array): boolean {
    if (sectors !== 1) return false
    target.fill(0, 0, PAGE)
    switch (address) {
      case LOG.DIRECTORY:
        target[0] = 1
        target[2 * LOG.SUMMARY_ERROR] = 1
        target[2 * LOG.SELF_TEST] = 1
        return true
      case LOG.SUMMARY_ERROR:
        target[0] = 1
        target[1] = this.#errorCount === 0 ? 0 : ((this.#errorCount - 1) % ERROR_ENTRIES) + 1
        target.set(this.#errors, 2)
        target[452] = Math.min(this.#errorCount, 0xffff) & 0xff
        target[453] = Math.min(this.#errorCount, 0xffff) >> 8
        break
      case LOG.SELF_TEST:
        target[0] = 1
        target.set(this.#tests, 2)
        target[508] = this.#testCount === 0 ? 0 : ((this.#testCount - 1) % TEST_ENTRIES) + 1
        break
      default:
        return false
    }
    seal(target)
    return true
  }

  save(): SmartState & { readonly [key: string]: boolean | number | readonly number[] | Uint8Array } {
    return {
      enabled: this.enabled,
      counters: [...this.counters],
      errorCount: this.#errorCount,
      testCount: this.#testCount,
      errors: this.#errors.slice(),
      tests: this.#tests.slice(),
    }
  }

  restore(state: SmartState): void {
    this.enabled = state.enabled
    this.counters.set(state.counters)
    this.#errorCount = state.errorCount
    this.#testCount = state.testCount
    this.#errors.set(state.errors)
    this.#tests.set(state.tests)
  }
}

/** Lengths of the arrays in a {@link SmartState}. */
export const SMART_LENGTHS: { readonly errors: number; readonly tests: number } = {
  errors: ERROR_ENTRIES * ERROR_LENGTH,
  tests: TEST_ENTRIES * TEST_LENGTH,
}

/** The checksum in the last byte. */
function seal(page: Uint8Array): void {
  page[511] = -sumOf(page, 511) & 0xff
}
