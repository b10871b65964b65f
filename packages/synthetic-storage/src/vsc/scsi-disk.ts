// A disk, or a DVD drive, of a controller, as programs use it: blocks that are read and written.

import type { SavedValue } from '@partita/interface'
import { be16, be32, be64, putBe16, putBe32, putBe64 } from '@partita/scsi'
import { SRB_DATA } from '../protocol.ts'
import { StorageError } from '../storage-error.ts'
import { type OperationOptions, type ScsiInitiator, transfer } from './transfer.ts'

/** What INQUIRY says. */
export interface UnitDescription {
  /** Peripheral device type; 0 is a disk, 5 a CD or DVD drive. */
  readonly deviceType: number
  /** The medium can be taken out. */
  readonly removable: boolean
  /** Without padding. */
  readonly vendor: string
  /** Without padding. */
  readonly product: string
  /** Without padding. */
  readonly revision: string
}

/** Peripheral device types that have blocks. */
export const DEVICE_TYPE = { DISK: 0, DVD: 5 } as const

/** Options of {@link ScsiDisk.write}. */
export interface WriteOptions extends OperationOptions {
  /** The blocks are on the medium when it resolves. */
  readonly durable?: boolean
}

const NO_DATA = new Uint8Array(0)
const REPORT_LUNS_BYTES = 8 + 256 * 8
const INQUIRY_BYTES = 96
const DVD_BLOCK_SIZE = 2048

/** The LUNs of a controller that have a unit. @throws StorageError `ERR_STORAGE_SCSI` */
export async function reportLuns(initiator: ScsiInitiator): Promise<number[]> {
  const cdb = new Uint8Array(12)
  cdb[0] = 0xa0
  putBe32(cdb, 6, REPORT_LUNS_BYTES)
  const data = await query(initiator, 0, cdb, REPORT_LUNS_BYTES)
  const count = Math.min(be32(data, 0), Math.max(0, data.length - 8)) >> 3
  return Array.from({ length: count }, (_, i) => be16(data, 8 + 8 * i) & 0x3fff)
}

/** Look at a unit; `undefined` where there is none. @throws StorageError `ERR_STORAGE_SCSI` */
export async function inquire(initiator: ScsiInitiator, lun: number): Promise<UnitDescription | undefined> {
  const data = await query(initiator, lun, Uint8Array.of(0x12, 0, 0, 0, INQUIRY_BYTES, 0), INQUIRY_BYTES)
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

async function query(initiator: ScsiInitiator, lun: number, cdb: Uint8Array, bytes: number): Promise<Uint8Array> {
  const data = new Uint8Array(bytes)
  return data.subarray(0, await transfer(initiator, lun, cdb, data, SRB_DATA.READ))
}

interface DiskFacts {
  readonly lun: number
  readonly description: UnitDescription
  readonly blockSize: number
  readonly blockCount: number
  readonly readOnly: boolean
  readonly canUnmap: boolean
  /** Most blocks of one request. */
  readonly requestBlocks: number
}

/**
 * A disk. Any number of operations may be under way; what overlapping ones leave or see is undefined. Buffers in the partition's own memory go to and from the host as they are;
 * others are copied. A buffer belongs to the disk until the promise settles, and one in the partition's memory whose operation was given up, until the host is done with it.
 *
 * @example
 * ```ts
 * const sector = new Uint8Array(disk.blockSize)
 * await disk.read(0, sector)
 * await disk.write(1, sector, { durable: true })
 * ```
 */
export class ScsiDisk {
  /** Logical unit number. */
  readonly lun: number
  /** What INQUIRY said. */
  readonly description: UnitDescription
  /** Bytes. */
  readonly blockSize: number
  /** Blocks; 0 for a drive without a medium. */
  readonly blockCount: number
  /** Writes fail. */
  readonly readOnly: boolean
  /** {@link ScsiDisk.unmap} is understood. */
  readonly canUnmap: boolean
  readonly #facts: DiskFacts
  readonly #initiator: ScsiInitiator
  #gone = false

  private constructor(initiator: ScsiInitiator, facts: DiskFacts) {
    this.#initiator = initiator
    this.#facts = facts
    this.lun = facts.lun
    this.description = facts.description
    this.blockSize = facts.blockSize
    this.blockCount = facts.blockCount
    this.readOnly = facts.readOnly
    this.canUnmap = facts.canUnmap
  }

  /** Probe the disk at `lun`. `maximumTransferBytes` is the controller's. @throws StorageError `ERR_STORAGE_SCSI` */
  static async open(
    initiator: ScsiInitiator,
    lun: number,
    description: UnitDescription,
    maximumTransferBytes: number,
  ): Promise<ScsiDisk> {
    const facts =
      description.deviceType === DEVICE_TYPE.DVD ? await probeDvd(initiator, lun) : await probeDisk(initiator, lun)
    if (facts.blockSize < 512 || facts.blockSize > 65_536 || (facts.blockSize & (facts.blockSize - 1)) !== 0)
      throw new StorageError('ERR_STORAGE_PROTOCOL', `a disk with blocks of ${facts.blockSize} bytes`, {
        data: { lun },
      })
    const requestBlocks = Math.max(1, Math.floor(maximumTransferBytes / facts.blockSize))
    return new ScsiDisk(initiator, { lun, description, requestBlocks, ...facts })
  }

  /** A disk that was open in a saved state. */
  static restore(initiator: ScsiInitiator, saved: SavedValue): ScsiDisk {
    return new ScsiDisk(initiator, saved as unknown as DiskFacts)
  }

  /** For {@link ScsiDisk.restore}. */
  save(): SavedValue {
    return { ...this.#facts, description: { ...this.description } }
  }

  /** Bytes. */
  get byteLength(): number {
    return this.blockCount * this.blockSize
  }

  /** Read from block `lba` on into `buffer`, which is whole blocks long. @throws StorageError; the signal's reason */
  async read(lba: number, buffer: Uint8Array, options: OperationOptions = {}): Promise<void> {
    const isDvd = this.description.deviceType === DEVICE_TYPE.DVD
    await this.#transfer(lba, buffer, SRB_DATA.READ, options, (at, blocks) =>
      isDvd ? dvdCdb(at, blocks) : blocksCdb(0x88, at, blocks),
    )
  }

  /** Write `buffer`, which is whole blocks long, from block `lba` on. @throws StorageError; the signal's reason */
  async write(lba: number, buffer: Uint8Array, options: WriteOptions = {}): Promise<void> {
    await this.#transfer(lba, buffer, SRB_DATA.WRITE, options, (at, blocks) =>
      blocksCdb(0x8a, at, blocks, options.durable),
    )
  }

  /** Every write that has completed before the call is on the medium when it resolves. @throws StorageError; the signal's reason */
  async flush(options: OperationOptions = {}): Promise<void> {
    this.#check(0, 0)
    await transfer(this.#initiator, this.lun, blocksCdb(0x91, 0, 0), NO_DATA, SRB_DATA.UNKNOWN, options)
  }

  /** The contents of `blocks` are no longer needed. @throws StorageError; the signal's reason */
  async unmap(lba: number, blocks: number, options: OperationOptions = {}): Promise<void> {
    this.#check(lba, blocks)
    const list = new Uint8Array(24)
    putBe16(list, 0, 22)
    putBe16(list, 2, 16)
    putBe64(list, 8, lba)
    putBe32(list, 16, blocks)
    const cdb = new Uint8Array(10)
    cdb[0] = 0x42
    putBe16(cdb, 7, list.length)
    await transfer(this.#initiator, this.lun, cdb, list, SRB_DATA.WRITE, options)
  }

  /** The unit is not there any more. */
  gone(): void {
    this.#gone = true
  }

  /** As many requests as it takes, all at once. */
  async #transfer(
    lba: number,
    buffer: Uint8Array,
    direction: number,
    options: OperationOptions,
    cdb: (lba: number, blocks: number) => Uint8Array,
  ): Promise<void> {
    const { blockSize } = this
    const { requestBlocks } = this.#facts
    const blocks = buffer.length / blockSize
    this.#check(lba, blocks)
    const parts: Promise<void>[] = []
    for (let done = 0; done < blocks; done += requestBlocks) {
      const count = Math.min(blocks - done, requestBlocks)
      const part = buffer.subarray(done * blockSize, (done + count) * blockSize)
      parts.push(this.#part(cdb(lba + done, count), part, direction, options))
    }
    // All have to be over before the buffer is the caller's again.
    const failed = (await Promise.allSettled(parts)).find((part) => part.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  async #part(cdb: Uint8Array, part: Uint8Array, direction: number, options: OperationOptions): Promise<void> {
    const { signal } = options
    const moved = await transfer(this.#initiator, this.lun, cdb, part, direction, { signal })
    if (moved !== part.length)
      throw new StorageError('ERR_STORAGE_PROTOCOL', `only ${moved} of ${part.length} bytes were moved`)
  }

  #check(lba: number, blocks: number): void {
    const { lun, blockCount } = this
    if (this.#gone) throw new StorageError('ERR_STORAGE_CLOSED', `the disk at LUN ${lun} was taken away`)
    const whole = Number.isSafeInteger(lba) && Number.isSafeInteger(blocks)
    if (whole && lba >= 0 && blocks >= 0 && lba + blocks <= blockCount) return
    throw new StorageError('ERR_STORAGE_RANGE', `${blocks} blocks from ${lba} on are not whole blocks of this disk`, {
      data: { lun, lba, blocks, blockCount, blockSize: this.blockSize },
    })
  }
}

type Probed = Pick<DiskFacts, 'blockSize' | 'blockCount' | 'readOnly' | 'canUnmap'>

/** READ CAPACITY (16), and the write protection of MODE SENSE. */
async function probeDisk(initiator: ScsiInitiator, lun: number): Promise<Probed> {
  const cdb = new Uint8Array(16)
  cdb.set([0x9e, 0x10])
  putBe32(cdb, 10, 32)
  const capacity = await query(initiator, lun, cdb, 32)
  const mode = await query(initiator, lun, Uint8Array.of(0x1a, 0x08, 0x3f, 0, 255, 0), 255)
  return {
    blockCount: be64(capacity, 0) + 1,
    blockSize: be32(capacity, 8),
    readOnly: ((mode[2] ?? 0) & 0x80) !== 0,
    canUnmap: ((capacity[14] ?? 0) & 0x80) !== 0,
  }
}

/** READ CAPACITY (10). A drive without a medium says that it is not ready. */
async function probeDvd(initiator: ScsiInitiator, lun: number): Promise<Probed> {
  const facts = { readOnly: true, canUnmap: false }
  try {
    const capacity = await query(initiator, lun, Uint8Array.of(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8)
    return { ...facts, blockCount: be32(capacity, 0) + 1, blockSize: be32(capacity, 4) }
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'ERR_STORAGE_SCSI') throw error
    return { ...facts, blockCount: 0, blockSize: DVD_BLOCK_SIZE }
  }
}

/** READ, WRITE or SYNCHRONIZE CACHE (16). */
function blocksCdb(opcode: number, lba: number, blocks: number, fua = false): Uint8Array {
  const cdb = new Uint8Array(16)
  cdb[0] = opcode
  cdb[1] = fua ? 0x08 : 0
  putBe64(cdb, 2, lba)
  putBe32(cdb, 10, blocks)
  return cdb
}

/** READ (12). */
function dvdCdb(lba: number, blocks: number): Uint8Array {
  const cdb = new Uint8Array(12)
  cdb[0] = 0xa8
  putBe32(cdb, 2, lba)
  putBe32(cdb, 6, blocks)
  return cdb
}
