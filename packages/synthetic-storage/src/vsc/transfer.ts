// Commands with data, for whoever has bytes and not guest physical addresses: windows on the partition's memory go as they are, other bytes through a copy.

import { SCSI_STATUS, SENSE_KEY } from '@partita/scsi'
import type { DmaBuffer, GpaRange } from '@partita/vmbus/client'
import { SRB_DATA, SRB_STATUS } from '../protocol.ts'
import { StorageError } from '../storage-error.ts'
import type { StorageRequest, StorageResult } from './storage-client.ts'

/** What commands are executed by. */
export interface ScsiInitiator {
  /** As {@link StorageClient.execute}. */
  execute(request: StorageRequest): Promise<StorageResult>
  /** The ranges of a window on the partition's memory. */
  rangesOf(bytes: Uint8Array): GpaRange[] | undefined
  /** Pages of the partition's memory. */
  allocate(byteLength: number): DmaBuffer
}

/** Options of every operation. */
export interface OperationOptions {
  /** Gives up the wait for the operation, which the host goes on with. */
  readonly signal?: AbortSignal | undefined
}

/** How often a command is sent again after a unit attention: each such condition is told once. */
const ATTENTIONS = 8

/**
 * Run a command with `data`, which is read into or written from. Resolves with the bytes that were moved.
 * @throws StorageError `ERR_STORAGE_SCSI`, with what the unit says in `data`; `ERR_STORAGE_CLOSED`, `ERR_STORAGE_PROTOCOL`; the signal's reason
 */
export async function transfer(
  initiator: ScsiInitiator,
  lun: number,
  cdb: Uint8Array,
  data: Uint8Array,
  direction: number,
  options: OperationOptions = {},
): Promise<number> {
  const ranges = data.length === 0 ? [] : initiator.rangesOf(data)
  if (ranges !== undefined) return (await run(initiator, { lun, cdb, ranges, direction, ...options })).transferred
  const copy = initiator.allocate(data.length)
  if (direction === SRB_DATA.WRITE) copy.bytes.set(data)
  const request = { lun, cdb, ranges: initiator.rangesOf(copy.bytes) ?? [], direction, ...options }
  // Of a request that was given up, the host still has the copy.
  let users = 0
  let done = false
  const released = (): void => {
    users--
    if (done && users === 0) copy[Symbol.dispose]()
  }
  const counted: ScsiInitiator = {
    execute: (attempt) => {
      users++
      return initiator.execute({ ...attempt, released })
    },
    rangesOf: (bytes) => initiator.rangesOf(bytes),
    allocate: (byteLength) => initiator.allocate(byteLength),
  }
  try {
    const { transferred } = await run(counted, request)
    if (direction === SRB_DATA.READ) data.set(copy.bytes.subarray(0, transferred))
    return transferred
  } finally {
    done = true
    if (users === 0) copy[Symbol.dispose]()
  }
}

/** Run a command, again where a unit attention came in its way. */
async function run(initiator: ScsiInitiator, request: StorageRequest): Promise<StorageResult> {
  const { lun, cdb } = request
  for (let attempt = 0; ; attempt++) {
    const result = await initiator.execute(request)
    if (result.srbStatus === SRB_STATUS.SUCCESS && result.scsiStatus === SCSI_STATUS.GOOD) return result
    const { srbStatus, scsiStatus, sense } = result
    const senseKey = (sense?.[2] ?? 0) & 0x0f
    if (senseKey === SENSE_KEY.UNIT_ATTENTION && attempt < ATTENTIONS) continue
    const asc = sense?.[12] ?? 0
    const ascq = sense?.[13] ?? 0
    throw new StorageError('ERR_STORAGE_SCSI', `command 0x${(cdb[0] ?? 0).toString(16)} failed at LUN ${lun}`, {
      data: { lun, srbStatus, scsiStatus, senseKey, asc, ascq, ...(sense && { sense }) },
    })
  }
}
