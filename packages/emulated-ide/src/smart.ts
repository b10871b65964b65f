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
/** What LBA mid and high hold with every subcommand. */
export const SMART_KEY = { MID: 0x4f, HIGH: 0xc2 } as const
/** And what the drive puts there when a threshold is exceeded (RETURN STATUS), or a captive self-test has failed. */
export const SMART_FAILING = { MID: 0xf4, HIGH: 0x2c } as const
/** How a self-test ended (table 53). */
export const SELF_TEST_STATUS = { PASSED: 0x0, READ_FAILURE: 0x7 } as const

const LOG = { DIRECTORY: 0x00, SUMMARY_ERROR: 0x01, SELF_TEST: 0x06 } as const
const ERROR_ENTRIES = 5
const ERROR_LENGTH = 90
/** An error's entry has the commands up to the one that failed, the last one last, and the registers afterwards behind them. */
const LOGGED_COMMANDS = 5
const COMMAND_LENGTH = 12
const COMMANDS_LENGTH = LOGGED_COMMANDS * COMMAND_LENGTH
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
  readonly commands: Uint8Array
}

/** What is counted since power-on. */
export const COUNTER = { READ_ERRORS: 0, WRITE_ERRORS: 1, SECTORS_WRITTEN: 2, SECTORS_READ: 3 } as const
export const COUNTERS = 4

/** Flags of attributes: a value at the threshold says that the drive is about to fail; collected online; a rate of errors; a count; kept by the drive itself. */
const FLAG = { PRE_FAILURE: 0x01, ONLINE: 0x02, ERROR_RATE: 0x08, EVENT_COUNT: 0x10, SELF_PRESERVING: 0x20 } as const
const ERRORS: number = FLAG.PRE_FAILURE | FLAG.ONLINE | FLAG.ERROR_RATE
const EVENTS: number = FLAG.ONLINE | FLAG.EVENT_COUNT | FLAG.SELF_PRESERVING

/** An attribute (SFF-8035i): its raw value is a counter. Its value begins at 100 and loses a point with each error; at the threshold, or below, it is exceeded. */
interface Attribute {
  readonly id: number
  readonly flags: number
  readonly threshold: number
  readonly counter?: number
}

const ATTRIBUTES: readonly Attribute[] = [
  { id: 1, flags: ERRORS, threshold: 50, counter: COUNTER.READ_ERRORS }, // raw read error rate
  { id: 5, flags: EVENTS | FLAG.PRE_FAILURE, threshold: 10 }, // reallocated sectors: none ever
  { id: 200, flags: ERRORS, threshold: 50, counter: COUNTER.WRITE_ERRORS }, // write error rate
  { id: 241, flags: EVENTS, threshold: 0, counter: COUNTER.SECTORS_WRITTEN },
  { id: 242, flags: EVENTS, threshold: 0, counter: COUNTER.SECTORS_READ },
]
const BEST_VALUE = 100
const WORST_VALUE = 1

/** The SMART state of a disk. Nothing of it outlives the machine: there is no place for it on the disk. */
export class Smart {
  enabled = true
  readonly #counters: Float64Array = new Float64Array(COUNTERS)
  #errorCount = 0
  #testCount = 0
  /** Entries of the logs, in the logs' formats; rings. */
  readonly #errors: Uint8Array = new Uint8Array(ERROR_ENTRIES * ERROR_LENGTH)
  readonly #tests: Uint8Array = new Uint8Array(TEST_ENTRIES * TEST_LENGTH)
  /** The latest commands, in the log's format. */
  readonly #commands: Uint8Array = new Uint8Array(COMMANDS_LENGTH)

  reset(): void {
    this.enabled = true
    this.#counters.fill(0)
    this.#errorCount = 0
    this.#testCount = 0
    this.#errors.fill(0)
    this.#tests.fill(0)
    this.#commands.fill(0)
  }

  /** Add to one of {@link COUNTER}. */
  count(counter: number, by: number): void {
    this.#counters[counter] = Math.min(this.#counterOf(counter) + by, Number.MAX_SAFE_INTEGER)
  }

  #counterOf(counter: number): number {
    return this.#counters[counter] as number
  }

  #valueOf({ flags, counter }: Attribute): number {
    if (counter === undefined || (flags & FLAG.ERROR_RATE) === 0) return BEST_VALUE
    return Math.max(WORST_VALUE, BEST_VALUE - this.#counterOf(counter))
  }

  /** Whether an attribute that foretells a failure has come down to its threshold. */
  get failing(): boolean {
    return ATTRIBUTES.some(
      (attribute) => (attribute.flags & FLAG.PRE_FAILURE) !== 0 && this.#valueOf(attribute) <= attribute.threshold,
    )
  }

  /**
   * Begin a subcommand: it is done, its page is in `page`, a self-test is to be run, {@link Smart.failing} is asked for, or there is none like that.
   */
  begin(
    subcommand: number,
    address: number,
    sectors: number,
    page: Uint8Array,
  ): 'done' | 'page' | 'test' | 'status' | 'refused' {
    if (!this.enabled && subcommand !== SMART.ENABLE) return 'refused'
    switch (subcommand) {
      case SMART.ENABLE:
      case SMART.DISABLE:
        this.enabled = subcommand === SMART.ENABLE
        return 'done'
      case SMART.AUTOSAVE:
      case SMART.SAVE:
        return 'done'
      case SMART.RETURN_STATUS:
        return 'status'
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

  /** A command begins, with these registers. */
  noteCommand(file: TaskFile, code: number): void {
    const commands = this.#commands
    commands.copyWithin(0, COMMAND_LENGTH)
    const at = COMMANDS_LENGTH - COMMAND_LENGTH
    for (let register: number = REGISTER.FEATURES; register <= REGISTER.LBA_HIGH; register++)
      commands[at + register] = file.get(register)
    commands[at + 6] = file.device
    commands[at + 7] = code
  }

  /** Add the failure of the latest command to the summary error log (section A.2): `file`, `error` and `status` are what the command leaves. */
  recordError(file: TaskFile, error: number, status: number): void {
    const at = (this.#errorCount % ERROR_ENTRIES) * ERROR_LENGTH
    const entry = this.#errors.subarray(at, at + ERROR_LENGTH)
    entry.fill(0)
    entry.set(this.#commands)
    entry[61] = error
    for (let register: number = REGISTER.COUNT; register <= REGISTER.LBA_HIGH; register++)
      entry[60 + register] = file.get(register)
    entry[66] = file.device
    entry[67] = status
    entry[87] = 0x03 // active or idle
    this.#errorCount = Math.min(this.#errorCount + 1, Number.MAX_SAFE_INTEGER)
  }

  /** Add to the self-test log (section A.3). */
  recordTest(number: number, status: number, failedLba: number): void {
    const at = (this.#testCount % TEST_ENTRIES) * TEST_LENGTH
    const entry = this.#tests.subarray(at, at + TEST_LENGTH)
    entry.fill(0)
    entry[0] = number
    entry[1] = status << 4
    for (let i = 0; i < 4; i++) entry[5 + i] = Math.floor(failedLba / 2 ** (8 * i)) & 0xff
    this.#testCount = Math.min(this.#testCount + 1, Number.MAX_SAFE_INTEGER)
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
    ATTRIBUTES.forEach((attribute, index) => {
      const { id, flags, counter } = attribute
      const at = 2 + 12 * index
      target[at] = id
      target[at + 1] = flags
      target[at + 3] = this.#valueOf(attribute)
      target[at + 4] = this.#valueOf(attribute) // the worst so far: counters never go back
      const raw = counter === undefined ? 0 : this.#counterOf(counter)
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
    ATTRIBUTES.forEach(({ id, threshold }, index) => {
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
      counters: [...this.#counters],
      errorCount: this.#errorCount,
      testCount: this.#testCount,
      errors: this.#errors.slice(),
      tests: this.#tests.slice(),
      commands: this.#commands.slice(),
    }
  }

  restore(state: SmartState): void {
    this.enabled = state.enabled
    this.#counters.set(state.counters)
    this.#errorCount = state.errorCount
    this.#testCount = state.testCount
    this.#errors.set(state.errors)
    this.#tests.set(state.tests)
    this.#commands.set(state.commands)
  }
}

/** Lengths of the arrays in a {@link SmartState}. */
export const SMART_LENGTHS: { readonly errors: number; readonly tests: number; readonly commands: number } = {
  errors: ERROR_ENTRIES * ERROR_LENGTH,
  tests: TEST_ENTRIES * TEST_LENGTH,
  commands: COMMANDS_LENGTH,
}

/** The checksum in the last byte. */
function seal(page: Uint8Array): void {
  page[511] = -sumOf(page, 511) & 0xff
}
