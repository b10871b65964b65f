// How an ATA disk moves sectors between a Disk and its host: by PIO in blocks, by DMA, or to look at them alone; and what becomes of a command with sectors that cannot be moved (ATA/ATAPI-7 volume 1, section 6;
// volume 2, sections 9.5 to 9.7). Which commands there are is in ata-disk.ts.

import { DISK_ERROR, type Disk } from '@partita/interface'
import { Addressing } from './addressing.ts'
import { ERROR, SECTOR_SIZE, STATUS } from './ata.ts'
import type { Command } from './ata-commands.ts'
import type { BusMaster, DmaPiece } from './bus-master.ts'
import { DiskSettings } from './disk-settings.ts'
import { BUFFER_SIZE, type DmaProgress, Drive, type DriveChannel, failureCode, MOVED, TRANSFER } from './drive.ts'
import { accessSectors } from './sector-access.ts'
import { COUNTER, Smart } from './smart.ts'

/** Bytes that the bus master moves in one operation at the disk. */
const PIECE = 1024 * 1024
const CHUNK_SECTORS: number = BUFFER_SIZE / SECTOR_SIZE

/** The part of a disk that moves sectors. */
export abstract class SectorDrive extends Drive {
  readonly disk: Disk
  readonly readOnly: boolean
  /** There is a bus master. */
  protected readonly dma: boolean
  protected readonly addressing: Addressing
  protected readonly settings: DiskSettings = new DiskSettings()
  protected readonly smart: Smart = new Smart()
  /** The next sector at the disk, and how many are still to be read from it or written to it. */
  protected lba = 0
  protected remaining = 0
  readonly #stopped = (): boolean => this.aborted

  constructor(disk: Disk, readOnly: boolean, dma: boolean, second: boolean, channel: DriveChannel) {
    super(second, channel)
    this.disk = disk
    this.readOnly = readOnly || disk.readOnly
    this.dma = dma
    this.addressing = new Addressing(disk.sectorCount)
  }

  /** The command that is under way, or was. */
  protected abstract get current(): Command | undefined
  /** The ranges of DATA SET MANAGEMENT are in the buffer. */
  protected abstract discard(): Promise<void>

  // ── failures ──

  /** The host has asked for what there is not. */
  protected refuse(error: number = ERROR.ABRT): undefined {
    this.end(error)
  }

  /**
   * The disk failed. A command that names sectors leaves the address of the first one that it could not do its work with; where that is not known (what was written did not get out of the cache) and in other commands the address
   * registers stay as they are. In the log of errors is what failed, and never what was refused (section 6.54.6.8.2.3).
   */
  protected override failed(failure: unknown): undefined {
    const code = failureCode(failure)
    const { access, ext = false } = this.current ?? {}
    if (access !== undefined) {
      this.smart.count(access === 'read' ? COUNTER.READ_ERRORS : COUNTER.WRITE_ERRORS, 1)
      if (this.remaining > 0) this.addressing.store(this.file, this.lba, ext)
    }
    if (code === DISK_ERROR.RANGE) this.end(ERROR.IDNF)
    else if (code === DISK_ERROR.READ_ONLY) this.end(ERROR.ABRT)
    else if (access === 'read' && code !== DISK_ERROR.CLOSED) this.end(ERROR.UNC)
    else this.end(ERROR.ABRT, STATUS.DF)
    this.smart.recordError(this.file, this.error, this.status)
  }

  // ── sectors ──

  /** Take sector and count from the registers. False, with the command ended, when they are not on the disk. */
  protected address({ ext }: Command, count: number = this.file.count(ext)): boolean {
    const lba = this.addressing.find(this.file, ext, count)
    if (lba === undefined) {
      this.refuse(ERROR.IDNF)
      return false
    }
    this.lba = lba
    this.remaining = count
    return true
  }

  #advance(sectors: number, counter: number): undefined {
    this.lba += sectors
    this.remaining -= sectors
    this.smart.count(counter, sectors)
  }

  /** Read the next sectors into `segments`, or write them. False when a reset has come. @throws the disk's failure, with the sectors before that one moved */
  async #move(direction: 'read' | 'write', segments: readonly Uint8Array[]): Promise<boolean> {
    const { sectors, failure } = await accessSectors(this.disk, direction, this.lba, segments, this.#stopped)
    if (this.aborted) return false
    this.#advance(sectors, direction === 'read' ? COUNTER.SECTORS_READ : COUNTER.SECTORS_WRITTEN)
    if (failure !== undefined) throw failure
    return true
  }

  /** READ VERIFY. */
  protected verify(command: Command): undefined {
    if (!this.address(command)) return
    this.start(async () => {
      while (this.remaining > 0) {
        const count = Math.min(this.remaining, CHUNK_SECTORS)
        if (!(await this.#move('read', [this.buffer.subarray(0, count * SECTOR_SIZE)]))) return
      }
      this.complete()
    })
  }

  // ── PIO ──

  /** Read in blocks of so many sectors; with none of them, blocks are off. */
  protected readPio(command: Command, blockSectors: number): undefined {
    if (blockSectors === 0) return this.refuse()
    if (!this.address(command)) return
    this.blockBytes = blockSectors * SECTOR_SIZE
    this.#fetch()
  }

  /** Fill the buffer from the disk, and offer it. Of what cannot be read as a whole, the host gets the blocks before the bad one first. */
  #fetch(): undefined {
    this.transfer = TRANSFER.PIO_IN
    this.start(async () => {
      const chunk = this.buffer.subarray(0, Math.min(this.remaining, CHUNK_SECTORS) * SECTOR_SIZE)
      const { sectors, failure } = await accessSectors(this.disk, 'read', this.lba, [chunk], this.#stopped)
      if (this.aborted) return
      const whole = failure === undefined ? sectors : sectors - (sectors % (this.blockBytes / SECTOR_SIZE))
      if (whole === 0) return this.#failBlock(sectors, failure)
      this.#advance(whole, COUNTER.SECTORS_READ)
      this.offer(whole * SECTOR_SIZE, this.blockBytes)
    })
  }

  /**
   * The block that is to come next has `sectors` good ones before a bad one. READ MULTIPLE tells so at the beginning of the block, which the host reads all the same (ATA/ATAPI-6, section 8.34); other commands end without it.
   */
  #failBlock(sectors: number, failure: unknown): undefined {
    const length = Math.min(this.blockBytes, this.remaining * SECTOR_SIZE)
    this.#advance(sectors, COUNTER.SECTORS_READ)
    this.failed(failure)
    if (this.current?.action !== 'read-multiple' || this.error !== ERROR.UNC) return
    this.remaining = 0
    this.buffer.fill(0, sectors * SECTOR_SIZE, length)
    this.offerLast(length)
  }

  protected override taken(): undefined {
    if (this.remaining > 0) this.#fetch()
    else this.completeQuietly()
  }

  /** Write in blocks of so many sectors. */
  protected writePio(command: Command, blockSectors: number): undefined {
    if (blockSectors === 0) return this.refuse()
    if (!this.address(command)) return
    if (this.readOnly) return this.refuse()
    this.blockBytes = blockSectors * SECTOR_SIZE
    this.#expectSectors(false)
  }

  #expectSectors(interrupt: boolean): undefined {
    this.expect(Math.min(this.remaining, CHUNK_SECTORS) * SECTOR_SIZE, this.blockBytes, interrupt)
  }

  protected override filled(): undefined {
    // A machine may go on, in the midst of a write, with a disk that takes none any more.
    if (this.readOnly) return this.refuse()
    this.start(async () => {
      if (!(await this.#move('write', [this.buffer.subarray(0, this.buffered)]))) return
      if (this.remaining > 0) return this.#expectSectors(true)
      await this.#settleWrite()
      if (!this.aborted) this.complete()
    })
  }

  /** Without write cache, and with forced unit access, a write is on the medium before the command ends. */
  async #settleWrite(): Promise<void> {
    if (!this.settings.writeCache || this.current?.durable === true) await this.disk.flush()
  }

  // ── DMA ──

  protected beginDma(command: Command, toHost: boolean): undefined {
    if (!this.dma) return this.refuse()
    if (!this.address(command)) return
    if (!toHost && this.readOnly) return this.refuse()
    this.requestDma(toHost)
  }

  protected override async moveDma(master: BusMaster): Promise<DmaProgress> {
    // Ranges of TRIM go to the buffer, sectors directly between guest memory and the disk.
    if (this.buffered > 0) {
      if (!this.moveBuffer(master, false)) return MOVED.WAITS
      master.finish()
      await this.discard()
      return MOVED.ENDED
    }
    return this.transfer === TRANSFER.DMA_IN ? this.#readDma(master) : this.#writeDma(master)
  }

  #take(master: BusMaster, toHost: boolean): DmaPiece | undefined {
    const piece = master.take(Math.min(this.remaining * SECTOR_SIZE, PIECE), SECTOR_SIZE, toHost)
    return piece === undefined || piece.bytes === 0 ? undefined : piece
  }

  async #readDma(master: BusMaster): Promise<DmaProgress> {
    const piece = this.#take(master, true)
    if (piece === undefined) return MOVED.WAITS
    const { sectors, failure } = await accessSectors(this.disk, 'read', this.lba, piece.segments, this.#stopped)
    master.commit(piece, sectors * SECTOR_SIZE)
    if (this.aborted) return MOVED.ENDED
    this.#advance(sectors, COUNTER.SECTORS_READ)
    if (failure !== undefined) throw failure
    if (this.remaining > 0) return MOVED.MORE
    master.finish()
    this.complete()
    return MOVED.ENDED
  }

  async #writeDma(master: BusMaster): Promise<DmaProgress> {
    if (this.readOnly) {
      this.refuse()
      return MOVED.ENDED
    }
    const piece = this.#take(master, false)
    if (piece === undefined) return MOVED.WAITS
    const last = piece.bytes === this.remaining * SECTOR_SIZE
    // However it ends: the drive has all of the data then.
    const moved = await this.#move('write', piece.segments).finally(() => {
      if (last) master.finish()
    })
    if (!moved) return MOVED.ENDED
    if (!last) return MOVED.MORE
    await this.#settleWrite()
    if (!this.aborted) this.complete()
    return MOVED.ENDED
  }
}
