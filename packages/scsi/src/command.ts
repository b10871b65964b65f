// One SCSI command on its way through a logical unit (SAM-5, 5.1: Execute Command). An object is used again for command after command.

import { DISK_ERROR } from '@partita/interface'
import { FIXED_SENSE_LENGTH, SENSE, type Sense, writeFixedSense } from './sense.ts'

/** Longest CDB that is served. */
export const MAXIMUM_CDB_LENGTH = 16

/** Status codes (SAM-5, table 43). */
export const SCSI_STATUS = {
  GOOD: 0x00,
  CHECK_CONDITION: 0x02,
  BUSY: 0x08,
  RESERVATION_CONFLICT: 0x18,
  TASK_ABORTED: 0x40,
} as const
/** One of {@link SCSI_STATUS}. */
export type ScsiStatus = (typeof SCSI_STATUS)[keyof typeof SCSI_STATUS]

/** Which way the initiator's buffer is for. */
export const DIRECTION = {
  /** From the initiator. */
  OUT: 0,
  /** To the initiator. */
  IN: 1,
  /** Not said. */
  ANY: 2,
} as const
/** One of {@link DIRECTION}. */
export type Direction = (typeof DIRECTION)[keyof typeof DIRECTION]

const MEDIUM_ERRORS: Readonly<Record<string, Sense>> = {
  [DISK_ERROR.FULL]: SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT,
  [DISK_ERROR.READ_ONLY]: SENSE.WRITE_PROTECTED,
  [DISK_ERROR.RANGE]: SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE,
  [DISK_ERROR.CLOSED]: SENSE.MEDIUM_NOT_PRESENT,
}

/** The sense of a disk's error; one that the disk does not name is the medium's. */
export function senseOfDiskError(error: unknown, writing: boolean): Sense {
  const code = (error as { readonly code?: unknown } | null | undefined)?.code
  const known = typeof code === 'string' ? MEDIUM_ERRORS[code] : undefined
  return known ?? (writing ? SENSE.WRITE_ERROR : SENSE.UNRECOVERED_READ_ERROR)
}

/**
 * A command and what became of it. The initiator's side fills in `cdb`, `initiator`, `direction`, `segments` and `length`; a logical unit fills in `status`,
 * `transferred`, `sense` and `senseLength`.
 *
 * @example
 * ```ts
 * const command = new ScsiCommand()
 * command.cdb.set([0x12, 0, 0, 0, 36, 0])
 * command.segments = [buffer]
 * command.length = buffer.length
 * command.direction = DIRECTION.IN
 * await target.execute(lun, command)
 * ```
 */
export class ScsiCommand {
  /** The command, from its operation code on. What follows a shorter one is not looked at. */
  readonly cdb: Uint8Array = new Uint8Array(MAXIMUM_CDB_LENGTH)
  /** Names the I_T nexus: reservations and unit attentions are kept by it. */
  initiator = 0
  /** Which way the initiator lets data go. A command whose data goes the other way is refused. */
  direction: Direction = DIRECTION.ANY
  /** The data buffer, in order. Windows on guest memory as a rule, so that they may change at any time. */
  segments: Uint8Array[] = []
  /** Bytes of the data buffer: of `segments` together. */
  length = 0

  /** How it ended. */
  status: ScsiStatus = SCSI_STATUS.GOOD
  /** Bytes that were moved. */
  transferred = 0
  /** Fixed-format sense data, where `senseLength` is not 0. */
  readonly sense: Uint8Array = new Uint8Array(FIXED_SENSE_LENGTH)
  /** Bytes of sense data: 18 after CHECK CONDITION, else 0. */
  senseLength = 0
  /** The disk's error that `status` comes from, for the host's log. */
  fault: unknown = undefined

  #expected = 0
  readonly #readDone: () => void = () => this.good(this.#expected)
  readonly #readFailed: (error: unknown) => void = (error) => this.failDisk(error, false)
  readonly #writeFailed: (error: unknown) => void = (error) => this.failDisk(error, true)

  /** Complete with GOOD; `transferred` bytes were moved. */
  good(transferred: number): undefined {
    this.status = SCSI_STATUS.GOOD
    this.transferred = transferred
    this.senseLength = 0
    this.fault = undefined
  }

  /** Complete with CHECK CONDITION. Nothing counts as transferred. */
  fail(sense: Sense, information?: number): undefined {
    this.status = SCSI_STATUS.CHECK_CONDITION
    this.transferred = 0
    writeFixedSense(this.sense, sense, information)
    this.senseLength = FIXED_SENSE_LENGTH
    this.fault = undefined
  }

  /** Complete with what a disk's error is to an initiator. */
  failDisk(error: unknown, writing: boolean): undefined {
    this.fail(senseOfDiskError(error, writing))
    this.fault = error
  }

  /** Complete without sense data. */
  finish(status: ScsiStatus): undefined {
    this.status = status
    this.transferred = 0
    this.senseLength = 0
    this.fault = undefined
  }

  /** Complete when a read of `bytes` does, which may be now. */
  awaitRead(operation: Promise<void> | undefined, bytes: number): Promise<void> | undefined {
    if (operation === undefined) return this.good(bytes)
    this.#expected = bytes
    return operation.then(this.#readDone, this.#readFailed)
  }

  /** Complete when an operation that changes the medium does, which may be now; `bytes` came from the buffer. */
  awaitWrite(operation: Promise<void> | undefined, bytes: number): Promise<void> | undefined {
    if (operation === undefined) return this.good(bytes)
    this.#expected = bytes
    return operation.then(this.#readDone, this.#writeFailed)
  }

  /** The first `bytes` of the buffer; `bytes` is at most `length`. */
  window(bytes: number): readonly Uint8Array[] {
    if (bytes === this.length) return this.segments
    const cut: Uint8Array[] = []
    let left = bytes
    for (const segment of this.segments) {
      if (left === 0) break
      cut.push(segment.length <= left ? segment : segment.subarray(0, left))
      left -= Math.min(left, segment.length)
    }
    return cut
  }

  /** Answer with `data`, cut to `allocation` bytes and to the buffer (SPC-4, 4.2.5.6). */
  answer(data: Uint8Array, allocation: number): undefined {
    const count = Math.min(data.length, allocation, this.length)
    this.fill(data.subarray(0, count))
    this.good(count)
  }

  /** Store `data` in the buffer from `offset` on, as far as it reaches. */
  fill(data: Uint8Array, offset = 0): void {
    let skip = offset
    let done = 0
    for (const segment of this.segments) {
      if (done >= data.length) break
      if (skip >= segment.length) {
        skip -= segment.length
        continue
      }
      const part = Math.min(segment.length - skip, data.length - done)
      segment.set(data.subarray(done, done + part), skip)
      done += part
      skip = 0
    }
  }

  /** Copy what the buffer has from `offset` on to `target`. False when the buffer ends before. */
  read(offset: number, target: Uint8Array): boolean {
    if (offset + target.length > this.length) return false
    let skip = offset
    let done = 0
    for (const segment of this.segments) {
      if (done === target.length) break
      if (skip >= segment.length) {
        skip -= segment.length
        continue
      }
      const part = Math.min(segment.length - skip, target.length - done)
      target.set(segment.subarray(skip, skip + part), done)
      done += part
      skip = 0
    }
    return done === target.length
  }

  /** A copy of the first `bytes` of the buffer: what is validated and used, whatever the initiator does to the original. */
  copyOut(bytes: number): Uint8Array {
    const copy = new Uint8Array(Math.min(bytes, this.length))
    this.read(0, copy)
    return copy
  }
}
