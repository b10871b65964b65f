// A CD or DVD drive on an ATA channel (ATA/ATAPI-7 volume 1, sections 4.9 and 6.24; volume 2, 9.8): the PACKET protocol around a drive of @partita/scsi. Data comes in blocks of
// the host's byte count, or by DMA.

import type { SavedValue } from '@partita/interface'
import {
  type BlockRead,
  blockReadOf,
  DIRECTION,
  type DvdUnit,
  FIXED_SENSE_LENGTH,
  partOfBlockRead,
  SCSI_STATUS,
  ScsiCommand,
  SENSE,
  SENSE_KEY,
  type Sense,
  writeFixedSense,
} from '@partita/scsi'
import { DIAGNOSTIC_PASSED, ERROR, POWER, REGISTER, SECTOR_SIZE, SHARED_COMMAND } from './ata.ts'
import type { BusMaster } from './bus-master.ts'
import { BUFFER_SIZE, type DmaProgress, Drive, type DriveChannel, type DriveNames, MOVED, TRANSFER } from './drive.ts'
import { identifyPacket } from './identify-packet.ts'
import { type Moved, moveSectors, partOf } from './sector-access.ts'
import type { PacketDriveState } from './state.ts'
import { FEATURE, transferMode } from './transfer-mode.ts'

const COMMAND = {
  READ_SECTORS: 0x20,
  READ_SECTORS_WITHOUT_RETRY: 0x21,
  PACKET: 0xa0,
  IDENTIFY_PACKET: 0xa1,
  STANDBY_IMMEDIATE: 0xe0,
  IDLE_IMMEDIATE: 0xe1,
  STANDBY: 0xe2,
  IDLE: 0xe3,
  CHECK_POWER: 0xe5,
  SLEEP: 0xe6,
  IDENTIFY_DEVICE: 0xec,
  SET_FEATURES: 0xef,
} as const
/** Signature of packet devices in LBA mid and high (section 9.12). */
const SIGNATURE = { MID: 0x14, HIGH: 0xeb } as const
/** Interrupt reason, in the count register. */
const REASON = { COMMAND: 0x01, TO_HOST: 0x02 } as const
const PACKET_FLAG = { DMA: 0x01, OVERLAP: 0x02 } as const
const PACKET_LENGTH = 12
const SCSI = { REQUEST_SENSE: 0x03, MODE_SELECT_6: 0x15, MODE_SELECT_10: 0x55 } as const

/** What the data of PIO transfers is. */
const PHASE = { NONE: 0, PACKET: 1, DATA: 2, IDENTIFY: 3 } as const
type Phase = (typeof PHASE)[keyof typeof PHASE]

/** What a {@link PacketDrive} is made of. */
export interface PacketDriveOptions {
  readonly unit: DvdUnit
  readonly names: DriveNames
  /** There is a bus master. */
  readonly dma: boolean
}

/** A drive for CDs and DVDs. */
export class PacketDrive extends Drive {
  readonly unit: DvdUnit
  readonly #names: DriveNames
  readonly #dma: boolean
  readonly #scsi: ScsiCommand = new ScsiCommand()
  #dmaMode = 0
  #phase: Phase = PHASE.NONE
  /** The packet that is under way, whether its data goes by DMA, and the most bytes of a block of PIO. */
  readonly #packet: Uint8Array = new Uint8Array(PACKET_LENGTH)
  #byDma = false
  #limit = 0
  /** A read that is larger than the buffer, or goes directly to guest memory: the next block, and how many are left. */
  #lba = 0
  #blocks = 0
  /** Sense data of the last command that failed, until another one is executed. */
  readonly #sense: Uint8Array = new Uint8Array(FIXED_SENSE_LENGTH)
  #senseLength = 0

  constructor(options: PacketDriveOptions, second: boolean, channel: DriveChannel) {
    super(second, channel)
    this.unit = options.unit
    this.#names = options.names
    this.#dma = options.dma
    this.#scsi.direction = DIRECTION.ANY
    this.reset()
  }

  // ── commands ──

  protected override execute(code: number): undefined {
    this.#phase = PHASE.NONE
    this.#blocks = 0
    switch (code) {
      case COMMAND.PACKET:
        return this.#beginPacket()
      case COMMAND.IDENTIFY_PACKET:
        this.#phase = PHASE.IDENTIFY
        identifyPacket({ names: this.#names, second: this.second, dma: this.#dma, dmaMode: this.#dmaMode }, this.buffer)
        return this.offer(SECTOR_SIZE, SECTOR_SIZE)
      case COMMAND.IDENTIFY_DEVICE:
      case COMMAND.READ_SECTORS:
      case COMMAND.READ_SECTORS_WITHOUT_RETRY:
        // Commands of disks that older hosts try first: they are told what this is.
        this.file.signature(SIGNATURE.MID, SIGNATURE.HIGH)
        return this.#abort()
      case SHARED_COMMAND.EXECUTE_DEVICE_DIAGNOSTIC:
        this.showSignature()
        return this.setInterrupt(true)
      case COMMAND.SET_FEATURES:
        return this.#setFeatures()
      case COMMAND.STANDBY_IMMEDIATE:
      case COMMAND.STANDBY:
        this.power = POWER.STANDBY
        return this.complete()
      case COMMAND.IDLE_IMMEDIATE:
      case COMMAND.IDLE:
        this.power = POWER.IDLE
        return this.complete()
      case COMMAND.SLEEP:
        this.power = POWER.SLEEP
        return this.complete()
      case COMMAND.CHECK_POWER:
        this.file.set(REGISTER.COUNT, this.power)
        return this.complete()
      default:
        return this.#abort()
    }
  }

  /** An ATA command that there is not: who asks for sense data, as libata does after each failure, hears why. */
  #abort(): undefined {
    writeFixedSense(this.#sense, SENSE.INVALID_COMMAND_OPERATION_CODE)
    this.#senseLength = FIXED_SENSE_LENGTH
    this.end(ERROR.ABRT)
  }

  #setFeatures(): undefined {
    switch (this.file.get(REGISTER.FEATURES)) {
      case FEATURE.SET_TRANSFER_MODE: {
        const mode = transferMode(this.file.get(REGISTER.COUNT), this.#dmaMode, this.#dma)
        if (mode === undefined) return this.#abort()
        this.#dmaMode = mode
        return this.complete()
      }
      case FEATURE.KEEP_SETTINGS:
      case FEATURE.REVERT_SETTINGS:
        return this.complete()
      default:
        return this.#abort()
    }
  }

  // ── packets ──

  #beginPacket(): undefined {
    const features = this.file.get(REGISTER.FEATURES)
    this.#byDma = (features & PACKET_FLAG.DMA) !== 0
    if ((features & PACKET_FLAG.OVERLAP) !== 0 || (this.#byDma && !this.#dma)) return this.#abort()
    this.#limit = this.file.get(REGISTER.LBA_MID) | (this.file.get(REGISTER.LBA_HIGH) << 8)
    this.#phase = PHASE.PACKET
    this.expect(PACKET_LENGTH, PACKET_LENGTH, false)
  }

  protected override blockOpened(length: number): undefined {
    if (this.#phase === PHASE.PACKET) this.file.set(REGISTER.COUNT, REASON.COMMAND)
    else if (this.#phase === PHASE.DATA) {
      this.file.set(REGISTER.COUNT, this.transfer === TRANSFER.PIO_IN ? REASON.TO_HOST : 0)
      this.file.set(REGISTER.LBA_MID, length & 0xff)
      this.file.set(REGISTER.LBA_HIGH, length >> 8)
    }
  }

  /** The host has written the packet, or the data of a command that takes some. */
  protected override filled(): undefined {
    if (this.#phase !== PHASE.PACKET) return this.start(() => this.#executeOut())
    this.#packet.set(this.buffer.subarray(0, PACKET_LENGTH))
    this.#phase = PHASE.DATA
    this.power = POWER.ACTIVE
    this.buffered = 0
    this.position = 0
    const wanted = parameterLength(this.#packet)
    if (wanted === 0) this.start(() => this.#executeIn())
    else if (this.#byDma) {
      this.buffered = wanted
      this.requestDma(false)
    } else {
      const block = this.#blockLimit(wanted)
      if (block === 0) this.#refuse(SENSE.INVALID_FIELD_IN_CDB)
      else this.expect(wanted, block, true)
    }
  }

  /** The most bytes of a block where `length` are to be moved; even, unless all fit into one. 0: the host has room for none. */
  #blockLimit(length: number): number {
    const limit = this.#limit === 0xffff ? 0xfffe : this.#limit
    return length <= limit ? length : limit & ~1
  }

  /** Run a CDB at the unit, with `segments` of `length` bytes for its data. */
  async #runUnit(cdb: Uint8Array, segments: Uint8Array[], length: number): Promise<void> {
    const command = this.#scsi
    command.cdb.fill(0)
    command.cdb.set(cdb)
    command.segments = segments
    command.length = length
    await this.unit.execute(command)
  }

  /** A command without data from the host. */
  async #executeIn(): Promise<void> {
    const opcode = this.#packet[0]
    if (opcode === SCSI.REQUEST_SENSE && this.#senseLength > 0) {
      const length = Math.min(this.#packet[4] as number, this.#senseLength)
      this.buffer.set(this.#sense)
      this.#senseLength = 0
      return this.#answer(length)
    }
    this.#senseLength = 0
    const read = this.#streamed()
    if (read !== undefined) {
      this.#lba = read.lba
      this.#blocks = read.blocks
      return this.#byDma ? this.#requestDma(true) : this.#fetch(read)
    }
    await this.#runUnit(this.#packet, [this.buffer], BUFFER_SIZE)
    if (this.aborted) return
    if (this.#scsi.status === SCSI_STATUS.GOOD) return this.#answer(this.#scsi.transferred)
    const failed = this.#blockRead()
    if (failed === undefined || !isMediumError(this.#scsi.sense)) return this.#checkCondition(this.#scsi.sense)
    // Some of its blocks may be well.
    this.#lba = failed.lba
    this.#blocks = failed.blocks
    return this.#fetch(failed)
  }

  /** The read that the packet is, where it is within the medium: others fail at the unit. */
  #blockRead(): BlockRead | undefined {
    const read = blockReadOf(this.#packet)
    if (read === undefined || read.blocks <= 0 || read.blockLength === 0 || read.lba < 0) return undefined
    return read.lba + read.blocks <= this.unit.blocks ? read : undefined
  }

  /** The same where it is larger than the buffer, or can go past it. */
  #streamed(): BlockRead | undefined {
    const read = this.#blockRead()
    return read !== undefined && (this.#byDma || read.blocks * read.blockLength > BUFFER_SIZE) ? read : undefined
  }

  /** Read `count` of the blocks of `read` into `segments`. What fails with is sense data, which tells the first block that cannot be read. */
  async #readBlocks(read: BlockRead, count: number, segments: readonly Uint8Array[]): Promise<Moved> {
    const part = new Uint8Array(PACKET_LENGTH)
    const { blockLength } = read
    const moved = await moveSectors(
      count,
      async (first, blocks) => {
        partOfBlockRead(this.#packet, part, this.#lba + first, blocks)
        await this.#runUnit(part, partOf(segments, first * blockLength, blocks * blockLength), blocks * blockLength)
        if (this.#scsi.status !== SCSI_STATUS.GOOD) throw this.#scsi.sense.slice()
      },
      isMediumError,
      () => this.aborted,
    )
    if (moved.sectors < count && isMediumError(moved.failure))
      writeFixedSense(moved.failure, SENSE.UNRECOVERED_READ_ERROR, this.#lba + moved.sectors)
    return moved
  }

  async #executeOut(): Promise<void> {
    this.#senseLength = 0
    await this.#runUnit(this.#packet, [this.buffer.subarray(0, this.buffered)], this.buffered)
    if (this.aborted) return
    if (this.#scsi.status === SCSI_STATUS.GOOD) this.complete()
    else this.#checkCondition(this.#scsi.sense)
  }

  /** `length` bytes in the buffer are for the host. */
  #answer(length: number): undefined {
    if (length === 0) return this.complete()
    this.buffered = length
    this.position = 0
    if (this.#byDma) return this.#requestDma(true)
    const block = this.#blockLimit(length)
    if (block === 0) this.#refuse(SENSE.INVALID_FIELD_IN_CDB)
    else this.offer(length, block)
  }

  /** Read the next blocks of a read into the buffer, and offer them: those before one that cannot be read first. */
  async #fetch(read: BlockRead): Promise<void> {
    const count = Math.min(this.#blocks, Math.floor(BUFFER_SIZE / read.blockLength))
    const { sectors: blocks, failure } = await this.#readBlocks(read, count, [this.buffer])
    if (this.aborted) return
    if (blocks === 0) return this.#checkCondition(failure)
    this.#lba += blocks
    this.#blocks -= blocks
    this.#answer(blocks * read.blockLength)
  }

  /** The host has read what was offered. */
  protected override taken(): undefined {
    if (this.#phase === PHASE.IDENTIFY) return this.completeQuietly()
    const read = this.#blocks > 0 ? blockReadOf(this.#packet) : undefined
    if (read === undefined || read.blockLength === 0) this.complete()
    else this.start(() => this.#fetch(read))
  }

  // ── the end of commands ──

  protected override complete(): undefined {
    this.file.set(
      REGISTER.COUNT,
      this.#phase === PHASE.DATA ? REASON.COMMAND | REASON.TO_HOST : this.file.get(REGISTER.COUNT),
    )
    super.complete()
  }

  /** The unit has said no, with fixed-format sense data. */
  #checkCondition(sense: unknown): undefined {
    if (!(sense instanceof Uint8Array)) return this.#refuse(SENSE.INTERNAL_TARGET_FAILURE)
    this.#sense.set(sense)
    this.#senseLength = FIXED_SENSE_LENGTH
    this.#fail((this.#sense[2] as number) & 0x0f)
  }

  #refuse(sense: Sense): undefined {
    writeFixedSense(this.#sense, sense)
    this.#senseLength = FIXED_SENSE_LENGTH
    this.#fail(sense.key)
  }

  /** The sense key is in the upper half of the error register (section 6.24.6). */
  #fail(key: number): undefined {
    this.file.set(REGISTER.COUNT, REASON.COMMAND | REASON.TO_HOST)
    this.buffered = 0
    this.#blocks = 0
    this.end((key << 4) | (key === SENSE_KEY.ILLEGAL_REQUEST || key === SENSE_KEY.ABORTED_COMMAND ? ERROR.ABRT : 0))
  }

  /** Units never reject; this is for what they should not do. */
  protected override failed(): undefined {
    this.#refuse(SENSE.INTERNAL_TARGET_FAILURE)
  }

  // ── DMA ──

  #requestDma(toHost: boolean): undefined {
    this.file.set(REGISTER.COUNT, toHost ? REASON.TO_HOST : 0)
    this.requestDma(toHost)
  }

  protected override async moveDma(master: BusMaster): Promise<DmaProgress> {
    if (this.#blocks > 0) return this.#moveBlocks(master)
    const toHost = this.transfer === TRANSFER.DMA_IN
    if (!this.moveBuffer(master, toHost)) return MOVED.WAITS
    master.finish()
    if (toHost) this.complete()
    else await this.#executeOut()
    return MOVED.ENDED
  }

  /** Blocks go directly to guest memory. There may be more. */
  async #moveBlocks(master: BusMaster): Promise<DmaProgress> {
    const read = blockReadOf(this.#packet)
    if (read === undefined || read.blockLength === 0) {
      this.#refuse(SENSE.INVALID_FIELD_IN_CDB)
      return MOVED.ENDED
    }
    const most = Math.min(this.#blocks, Math.floor((8 * BUFFER_SIZE) / read.blockLength))
    const piece = master.take(most * read.blockLength, read.blockLength, true)
    if (piece === undefined || piece.bytes === 0) return MOVED.WAITS
    const count = piece.bytes / read.blockLength
    const { sectors: blocks, failure } = await this.#readBlocks(read, count, piece.segments)
    master.commit(piece, blocks * read.blockLength)
    if (this.aborted) return MOVED.ENDED
    this.#lba += blocks
    this.#blocks -= blocks
    if (blocks < count) {
      this.#checkCondition(failure)
      return MOVED.ENDED
    }
    if (this.#blocks > 0) return MOVED.MORE
    master.finish()
    this.complete()
    return MOVED.ENDED
  }

  // ── resets ──

  protected override showSignature(): undefined {
    this.statusRegister = 0
    this.error = DIAGNOSTIC_PASSED
    this.file.signature(SIGNATURE.MID, SIGNATURE.HIGH)
    this.#phase = PHASE.NONE
    this.#blocks = 0
    this.#senseLength = 0
    this.#byDma = false
    this.#limit = 0
    this.#lba = 0
    this.#packet.fill(0)
  }

  override softReset(): undefined {
    this.unit.base.attentions.establishAll(SENSE.RESET_OCCURRED)
    super.softReset()
  }

  /** Section 6.9: at any time, and without an interrupt. */
  override deviceReset(): undefined {
    this.softReset()
  }

  override reset(): undefined {
    this.#dmaMode = 0
    this.unit.powerOn()
    super.softReset()
  }

  // ── state ──

  override save(): PacketDriveState & { readonly [key: string]: SavedValue } {
    const unit = this.unit.save()
    return {
      kind: 'packet',
      ...this.saveDrive(),
      dmaMode: this.#dmaMode,
      phase: this.#phase,
      packet: this.#packet.slice(),
      byDma: this.#byDma,
      limit: this.#limit,
      lba: this.#lba,
      blocks: this.#blocks,
      sense: this.#sense.slice(0, this.#senseLength),
      unit: { version: unit.version, data: unit.data },
    }
  }

  /** Take over a checked state, but for the unit's part of it. */
  restore(state: PacketDriveState): undefined {
    this.restoreDrive(state)
    this.#dmaMode = state.dmaMode
    this.#phase = state.phase as Phase
    this.#packet.set(state.packet)
    this.#byDma = state.byDma
    this.#limit = state.limit
    this.#lba = state.lba
    this.#blocks = state.blocks
    this.#senseLength = state.sense.length
    this.#sense.set(state.sense)
  }
}

/** Whether `sense` is sense data of a block that cannot be read, where others may be. */
function isMediumError(sense: unknown): sense is Uint8Array {
  return sense instanceof Uint8Array && ((sense[2] as number) & 0x0f) === SENSE_KEY.MEDIUM_ERROR
}

/** Bytes that a command wants of the host. */
function parameterLength(packet: Uint8Array): number {
  if (packet[0] === SCSI.MODE_SELECT_6) return packet[4] as number
  if (packet[0] === SCSI.MODE_SELECT_10) return ((packet[7] as number) << 8) | (packet[8] as number)
  return 0
}
