// A disk of a controller, for a child's file systems: probing, reading, writing, flushing, giving back.

import type { GuestMemory } from '@partita/interface'
import { contiguousRange, type GpaRange } from '@partita/vmbus/client'
import { SRB_DATA, SRB_STATUS } from '../protocol.ts'
import { be16, be32, be64, putBe16, putBe32, putBe64 } from '../scsi/bytes.ts'
import { SCSI_STATUS } from '../scsi/command.ts'
import { SENSE_KEY } from '../scsi/sense.ts'
import { StorageError } from '../storage-error.ts'
import type { StorageClient, StorageResult } from './storage-client.ts'

/** A page of this partition's memory for short answers. */
export interface ScratchPage {
  readonly memory: GuestMemory
  /** Address of 4,096 bytes that nothing else uses meanwhile. */
  readonly gpa: number
}

const SCRATCH_SIZE = 4096
/** How often a command is sent again after a unit attention: each such condition is told once. */
const ATTENTIONS = 8

/** Run a command with data in the scratch page. @throws StorageError `ERR_STORAGE_SCSI` */
async function query(client: StorageClient, lun: number, scratch: ScratchPage, cdb: Uint8Array): Promise<Uint8Array> {
  scratch.memory.fill(scratch.gpa, SCRATCH_SIZE, 0)
  const { transferred } = await run(client, lun, cdb, [contiguousRange(scratch.gpa, SCRATCH_SIZE)], SRB_DATA.READ)
  const data = new Uint8Array(transferred)
  scratch.memory.read(scratch.gpa, data)
  return data
}

/** Run a command, again where a unit attention came in its way. @throws StorageError `ERR_STORAGE_SCSI` */
async function run(
  client: StorageClient,
  lun: number,
  cdb: Uint8Array,
  ranges: readonly GpaRange[],
  direction: number,
): Promise<StorageResult> {
  for (let attempt = 0; ; attempt++) {
    const result = await client.execute({ lun, cdb, ranges, direction })
    if (result.srbStatus === SRB_STATUS.SUCCESS && result.scsiStatus === SCSI_STATUS.GOOD) return result
    const key = (result.sense?.[2] ?? 0) & 0x0f
    if (key === SENSE_KEY.UNIT_ATTENTION && attempt < ATTENTIONS) continue
    const asc = result.sense?.[12] ?? 0
    const ascq = result.sense?.[13] ?? 0
    throw new StorageError('ERR_STORAGE_SCSI', `command 0x${(cdb[0] ?? 0).toString(16)} failed at LUN ${lun}`, {
      data: { lun, srbStatus: result.srbStatus, scsiStatus: result.scsiStatus, senseKey: key, asc, ascq },
    })
  }
}

/** The LUNs of a controller that have a unit. @throws StorageError `ERR_STORAGE_SCSI` */
export async function reportLuns(client: StorageClient, scratch: ScratchPage): Promise<number[]> {
  const cdb = new Uint8Array(12)
  cdb[0] = 0xa0
  putBe32(cdb, 6, SCRATCH_SIZE)
  const data = await query(client, 0, scratch, cdb)
  const count = Math.min(be32(data, 0), Math.max(0, data.length - 8)) >> 3
  return Array.from({ length: count }, (_, i) => be16(data, 8 + 8 * i) & 0x3fff)
}

/** What INQUIRY says. */
export interface UnitDescription {
  /** Peripheral device type; 0 is a disk, 5 a CD or DVD drive. */
  readonly deviceType: number
  readonly removable: boolean
  readonly vendor: string
  readonly product: string
  readonly revision: string
}

/** Look at a unit; `undefined` where there is none. @throws StorageError `ERR_STORAGE_SCSI` */
export async function inquire(
  client: StorageClient,
  lun: number,
  scratch: ScratchPage,
): Promise<UnitDescription | undefined> {
  const data = await query(client, lun, scratch, Uint8Array.of(0x12, 0, 0, 0, 96, 0))
  if (data.length < 36 || (data[0] as number) >> 5 !== 0) return undefined
  const text = (at: number, length: number): string => String.fromCharCode(...data.subarray(at, at + length)).trimEnd()
  return {
    deviceType: (data[0] as number) & 0x1f,
    removable: ((data[1] as number) & 0x80) !== 0,
    vendor: text(8, 8),
    product: text(16, 16),
    revision: text(32, 4),
  }
}

/**
 * A disk behind a controller. Blocks are moved to and from ranges of this partition's memory.
 *
 * @example
 * ```ts
 * const disk = await ScsiDisk.open(client, 0, { memory, gpa: page * 4096 })
 * await disk.read(0, 8, [contiguousRange(buffer, 4096)])
 * ```
 */
export class ScsiDisk {
  readonly lun: number
  readonly blockSize: number
  readonly blocks: number
  readonly readOnly: boolean
  /** UNMAP is understood. */
  readonly unmaps: boolean
  readonly #client: StorageClient
  readonly #scratch: ScratchPage

  private constructor(
    client: StorageClient,
    scratch: ScratchPage,
    facts: { lun: number; blockSize: number; blocks: number; readOnly: boolean; unmaps: boolean },
  ) {
    this.#client = client
    this.#scratch = scratch
    this.lun = facts.lun
    this.blockSize = facts.blockSize
    this.blocks = facts.blocks
    this.readOnly = facts.readOnly
    this.unmaps = facts.unmaps
  }

  /** Probe the disk at `lun`. @throws StorageError `ERR_STORAGE_SCSI` */
  static async open(client: StorageClient, lun: number, scratch: ScratchPage): Promise<ScsiDisk> {
    const capacityCdb = new Uint8Array(16)
    capacityCdb.set([0x9e, 0x10])
    putBe32(capacityCdb, 10, 32)
    const capacity = await query(client, lun, scratch, capacityCdb)
    const mode = await query(client, lun, scratch, Uint8Array.of(0x1a, 0x08, 0x3f, 0, 255, 0))
    return new ScsiDisk(client, scratch, {
      lun,
      blocks: be64(capacity, 0) + 1,
      blockSize: be32(capacity, 8),
      readOnly: ((mode[2] ?? 0) & 0x80) !== 0,
      unmaps: ((capacity[14] ?? 0) & 0x80) !== 0,
    })
  }

  /** Read `blocks` from `lba` on. @throws StorageError `ERR_STORAGE_SCSI` */
  async read(lba: number, blocks: number, ranges: readonly GpaRange[]): Promise<void> {
    await run(this.#client, this.lun, transferCdb(0x88, lba, blocks, false), ranges, SRB_DATA.READ)
  }

  /** Write `blocks` from `lba` on; with `durable` they are on the medium then. @throws StorageError `ERR_STORAGE_SCSI` */
  async write(lba: number, blocks: number, ranges: readonly GpaRange[], durable = false): Promise<void> {
    await run(this.#client, this.lun, transferCdb(0x8a, lba, blocks, durable), ranges, SRB_DATA.WRITE)
  }

  /** Everything written before is on the medium. @throws StorageError `ERR_STORAGE_SCSI` */
  async flush(): Promise<void> {
    await run(this.#client, this.lun, transferCdb(0x91, 0, 0, false), [], SRB_DATA.UNKNOWN)
  }

  /** Give `blocks` back. @throws StorageError `ERR_STORAGE_SCSI` */
  async unmap(lba: number, blocks: number): Promise<void> {
    const list = new Uint8Array(24)
    putBe16(list, 0, 22)
    putBe16(list, 2, 16)
    putBe64(list, 8, lba)
    putBe32(list, 16, blocks)
    this.#scratch.memory.write(this.#scratch.gpa, list)
    const cdb = new Uint8Array(10)
    cdb[0] = 0x42
    putBe16(cdb, 7, list.length)
    const ranges = [contiguousRange(this.#scratch.gpa, list.length)]
    await run(this.#client, this.lun, cdb, ranges, SRB_DATA.WRITE)
  }
}

/** READ, WRITE or SYNCHRONIZE CACHE (16). */
function transferCdb(opcode: number, lba: number, blocks: number, fua: boolean): Uint8Array {
  const cdb = new Uint8Array(16)
  cdb[0] = opcode
  cdb[1] = fua ? 0x08 : 0
  putBe64(cdb, 2, lba)
  putBe32(cdb, 10, blocks)
  return cdb
}
