// An ATA disk (ATA/ATAPI-7 volume 1): its command block registers, PIO data transfers and commands, in front of a Disk. DMA data goes past it, between the disk and
// the channel's bus master.

import { DISK_ERROR, type Disk, PartitaError, type SavedValue } from '@partita/interface'
import {
  COMMANDS,
  type Command,
  DEVICE,
  DIAGNOSTIC_PASSED,
  ERROR,
  FEATURE,
  MAXIMUM_MODE,
  MAXIMUM_MULTIPLE,
  READY,
  REGISTER,
  SECTOR_SIZE,
  STATUS,
} from './ata.ts'
import { defaultGeometry, type Geometry, geometry, identify } from './identify.ts'

/** Sectors that a PIO transfer reads or writes at the disk at a time; a multiple of every block size. */
const CHUNK_SECTORS = 128
const LARGEST_LBA28 = 0x0fff_ffff

/** What is under way. */
export const TRANSFER = { NONE: 0, PIO_IN: 1, PIO_OUT: 2, DMA_IN: 3, DMA_OUT: 4 } as const
export type Transfer = (typeof TRANSFER)[keyof typeof TRANSFER]

/** What a drive asks of its channel. */
export interface DriveChannel {
  /** Its INTRQ may have changed. */
  interruptChanged(): void
  /** It waits for data by DMA. */
  dmaRequested(): void
}

/** Names in the IDENTIFY data. */
export interface DriveNames {
  readonly model: string
  readonly serial: string
  readonly firmware: string
}

/** A saved drive. */
export interface DriveState {
  readonly status: number
  readonly error: number
  readonly interrupt: boolean
  readonly registers: Uint8Array
  readonly heads: number
  readonly sectors: number
  readonly multiple: number
  readonly writeCache: boolean
  readonly dmaMode: number
  readonly transfer: number
  readonly lba: number
  readonly remaining: number
  readonly blockSectors: number
  readonly position: number
  readonly blockEnd: number
  readonly buffer: Uint8Array
}

/** One disk on a channel. */
export class AtaDrive {
  readonly disk: Disk
  readonly second: boolean
  readonly #channel: DriveChannel
  readonly #names: DriveNames
  readonly #buffer: Uint8Array = new Uint8Array(CHUNK_SECTORS * SECTOR_SIZE)
  #status: number = READY
  #error = DIAGNOSTIC_PASSED
  #interrupt = false
  /** Features, count, LBA low, mid and high by register number; 8 higher, what they held before the last write (HOB). */
  readonly #registers: Uint8Array = new Uint8Array(16)
  #device = 0
  #geometry: Geometry
  #multiple = 0
  #writeCache = true
  #dmaMode = 0
  #transfer: Transfer = TRANSFER.NONE
  /** The next sector at the disk, and how many are still to be read from it or written to it. */
  #lba = 0
  #remaining = 0
  #blockSectors = 1
  /** PIO: the next byte in the buffer, the end of the block that the host transfers, the end of the buffer's contents. */
  #position = 0
  #blockEnd = 0
  #buffered = 0
  /** What is under way at the disk. */
  #job: Promise<void> | undefined
  /** A reset came while something was under way; it takes place when that is done. */
  #resetPending = false

  constructor(disk: Disk, second: boolean, names: DriveNames, channel: DriveChannel) {
    this.disk = disk
    this.second = second
    this.#names = names
    this.#channel = channel
    this.#geometry = defaultGeometry(disk.sectorCount)
    this.reset()
  }

  // ── registers ──

  get interrupt(): boolean {
    return this.#interrupt
  }

  get busy(): boolean {
    return (this.#status & STATUS.BSY) !== 0
  }

  /** What is under way at the disk, or undefined. Never rejects. */
  get job(): Promise<void> | undefined {
    return this.#job
  }

  #setInterrupt(interrupt: boolean): void {
    this.#interrupt = interrupt
    this.#channel.interruptChanged()
  }

  /** Reading the status register takes the interrupt back; reading the alternate one does not. */
  acknowledge(): void {
    if (this.#interrupt) this.#setInterrupt(false)
  }

  get status(): number {
    return this.#status
  }

  readRegister(offset: number, previous: boolean): number {
    if (offset === REGISTER.ERROR) return this.#error
    return this.#registers[previous ? offset + 8 : offset] ?? 0
  }

  /** Registers 1–5. They are not taken while the drive is busy or has data to transfer. */
  writeRegister(offset: number, value: number): void {
    if ((this.#status & (STATUS.BSY | STATUS.DRQ)) !== 0) return
    this.#registers[offset + 8] = this.#registers[offset] ?? 0
    this.#registers[offset] = value
  }

  #register(index: number): number {
    return this.#registers[index] ?? 0
  }

  // ── commands ──

  /** A write to the command register. */
  command(code: number): void {
    if ((this.#status & (STATUS.BSY | STATUS.DRQ)) !== 0) return
    this.acknowledge()
    this.#error = 0
    this.#status = READY
    this.#transfer = TRANSFER.NONE
    // RECALIBRATE had sixteen codes.
    const command = COMMANDS.get((code & 0xf0) === 0x10 ? 0x10 : code)
    if (command === undefined) this.#abort()
    else this.#execute(command)
    this.#channel.interruptChanged()
  }

  #execute(command: Command): void {
    switch (command.action) {
      case 'read-sectors':
        this.#beginPio(command, TRANSFER.PIO_IN, 1)
        break
      case 'read-multiple':
        this.#beginPio(command, TRANSFER.PIO_IN, this.#multiple)
        break
      case 'write-sectors':
        this.#beginPio(command, TRANSFER.PIO_OUT, 1)
        break
      case 'write-multiple':
        this.#beginPio(command, TRANSFER.PIO_OUT, this.#multiple)
        break
      case 'read-dma':
        this.#beginDma(command, TRANSFER.DMA_IN)
        break
      case 'write-dma':
        this.#beginDma(command, TRANSFER.DMA_OUT)
        break
      case 'read-verify':
        if (this.#address(command)) this.#start(() => this.#verify())
        break
      case 'seek':
        this.#remaining = 1
        if (this.#address(command)) this.complete()
        break
      case 'native-max':
        this.#storeAddress(
          Math.min(this.disk.sectorCount, command.ext ? this.disk.sectorCount : LARGEST_LBA28) - 1,
          command.ext,
        )
        this.complete()
        break
      case 'flush':
        this.#start(() => this.#flush())
        break
      case 'identify':
        this.#identify()
        break
      case 'set-features':
        this.#setFeatures()
        break
      case 'set-multiple':
        this.#setMultiple(this.#register(REGISTER.COUNT))
        break
      case 'initialize-parameters':
        this.#initializeParameters()
        break
      case 'check-power':
        this.#registers[REGISTER.COUNT] = 0xff // active or idle
        this.complete()
        break
      case 'diagnostic':
        this.#signature()
        this.#setInterrupt(true)
        break
      case 'nothing':
        this.complete()
        break
    }
  }

  /** The command is done, with success. */
  complete(): void {
    this.#transfer = TRANSFER.NONE
    this.#status = READY
    this.#setInterrupt(true)
  }

  #abort(error: number = ERROR.ABRT, fault: number = 0): void {
    this.#transfer = TRANSFER.NONE
    this.#error = error
    this.#status = READY | STATUS.ERR | fault
    this.#setInterrupt(true)
  }

  /** The command failed at the disk, at the sector where the transfer stood. */
  fail(failure: unknown): void {
    const reading = this.#transfer === TRANSFER.PIO_IN || this.#transfer === TRANSFER.DMA_IN
    const code = failure instanceof PartitaError ? failure.code : DISK_ERROR.IO
    this.#storeAddress(this.#lba, this.#lba > LARGEST_LBA28)
    if (code === DISK_ERROR.RANGE) this.#abort(ERROR.IDNF)
    else if (code === DISK_ERROR.READ_ONLY) this.#abort()
    else if (reading && code !== DISK_ERROR.CLOSED) this.#abort(ERROR.UNC)
    else this.#abort(ERROR.ABRT, STATUS.DF)
  }

  /** The bus master could not do its part. */
  failDma(): void {
    this.#abort(ERROR.ICRC | ERROR.ABRT)
  }

  /** Run an operation at the disk with BSY. */
  #start(operation: () => Promise<void>): void {
    this.#status = STATUS.BSY
    this.track(operation())
  }

  /** Follow an operation that ends the command itself when it succeeds. */
  track(operation: Promise<void>): void {
    const job = operation
      .catch((failure: unknown) => {
        if (!this.#resetPending) this.fail(failure)
      })
      .then(() => {
        if (this.#job === job) this.#job = undefined
        if (this.#resetPending) this.#finishReset()
      })
    this.#job = job
  }

  /** Whether an operation that has come back is of no interest any more. */
  get aborted(): boolean {
    return this.#resetPending
  }

  // ── addresses ──

  /** Take sector and count from the registers. False, with the command ended, when they are not on the disk. */
  #address(command: Command): boolean {
    const count = this.#register(REGISTER.COUNT)
    if (command.ext) this.#remaining = (this.#register(REGISTER.COUNT + 8) << 8) | count || 0x1_0000
    else if (command.action !== 'seek') this.#remaining = count || 0x100
    const lba = this.#sector(command.ext)
    if (lba >= 0 && lba + this.#remaining <= this.disk.sectorCount) {
      this.#lba = lba
      return true
    }
    this.#abort(ERROR.IDNF)
    return false
  }

  #sector(ext: boolean): number {
    const [low, mid, high] = [
      this.#register(REGISTER.LBA_LOW),
      this.#register(REGISTER.LBA_MID),
      this.#register(REGISTER.LBA_HIGH),
    ]
    if (ext) {
      const upper =
        this.#register(REGISTER.LBA_LOW + 8) |
        (this.#register(REGISTER.LBA_MID + 8) << 8) |
        (this.#register(REGISTER.LBA_HIGH + 8) << 16)
      return upper * 0x100_0000 + (low | (mid << 8) | (high << 16))
    }
    const head = this.#device & DEVICE.HEAD
    if ((this.#device & DEVICE.LBA) !== 0) return low | (mid << 8) | (high << 16) | (head << 24)
    // Cylinder, head, sector; sectors count from 1.
    const cylinder = mid | (high << 8)
    if (low === 0 || low > this.#geometry.sectors || head >= this.#geometry.heads) return -1
    return (cylinder * this.#geometry.heads + head) * this.#geometry.sectors + low - 1
  }

  #storeAddress(lba: number, ext: boolean): void {
    this.#registers[REGISTER.LBA_LOW] = lba & 0xff
    this.#registers[REGISTER.LBA_MID] = Math.floor(lba / 0x100) & 0xff
    this.#registers[REGISTER.LBA_HIGH] = Math.floor(lba / 0x1_0000) & 0xff
    const upper = Math.floor(lba / 0x100_0000)
    if (!ext) {
      this.#device = (this.#device & ~DEVICE.HEAD) | (upper & DEVICE.HEAD)
      return
    }
    this.#registers[REGISTER.LBA_LOW + 8] = upper & 0xff
    this.#registers[REGISTER.LBA_MID + 8] = Math.floor(upper / 0x100) & 0xff
    this.#registers[REGISTER.LBA_HIGH + 8] = Math.floor(upper / 0x1_0000) & 0xff
  }

  /** The device register. */
  get device(): number {
    return this.#device
  }

  set device(value: number) {
    if ((this.#status & (STATUS.BSY | STATUS.DRQ)) === 0) this.#device = value
  }

  // ── PIO ──

  #beginPio(command: Command, transfer: Transfer, blockSectors: number): void {
    if (blockSectors === 0) {
      this.#abort() // READ or WRITE MULTIPLE before SET MULTIPLE MODE
      return
    }
    if (!this.#address(command)) return
    this.#transfer = transfer
    this.#blockSectors = blockSectors
    if (transfer === TRANSFER.PIO_IN) this.#start(() => this.#fetch())
    else if (this.disk.readOnly) this.#abort()
    else {
      this.#expect()
      this.#openBlock()
    }
  }

  /** Fill the buffer from the disk, and offer its first block. */
  async #fetch(): Promise<void> {
    const count = Math.min(this.#remaining, CHUNK_SECTORS)
    await this.disk.read(this.#lba, [this.#buffer.subarray(0, count * SECTOR_SIZE)])
    if (this.#resetPending) return
    this.#lba += count
    this.#remaining -= count
    this.#position = 0
    this.#buffered = count * SECTOR_SIZE
    this.#openBlock()
    this.#setInterrupt(true)
  }

  /** Make room in the buffer for what the host will write. */
  #expect(): void {
    this.#position = 0
    this.#buffered = Math.min(this.#remaining, CHUNK_SECTORS) * SECTOR_SIZE
  }

  #openBlock(): void {
    this.#blockEnd = Math.min(this.#position + this.#blockSectors * SECTOR_SIZE, this.#buffered)
    this.#status = READY | STATUS.DRQ
  }

  /** A word from the data register. */
  readData(): number {
    if (this.#transfer !== TRANSFER.PIO_IN || (this.#status & STATUS.DRQ) === 0) return 0
    const at = this.#position
    const value = (this.#buffer[at] as number) | ((this.#buffer[at + 1] as number) << 8)
    this.#position = at + 2
    if (this.#position >= this.#blockEnd) this.#endBlockIn()
    return value
  }

  /** A word to the data register. */
  writeData(value: number): void {
    if (this.#transfer !== TRANSFER.PIO_OUT || (this.#status & STATUS.DRQ) === 0) return
    const at = this.#position
    this.#buffer[at] = value & 0xff
    this.#buffer[at + 1] = value >> 8
    this.#position = at + 2
    if (this.#position >= this.#blockEnd) this.#endBlockOut()
  }

  #endBlockIn(): void {
    if (this.#position < this.#buffered) {
      this.#openBlock()
      this.#setInterrupt(true)
    } else if (this.#remaining > 0) this.#start(() => this.#fetch())
    else {
      // The last block of data to the host ends the command without an interrupt.
      this.#transfer = TRANSFER.NONE
      this.#status = READY
    }
  }

  #endBlockOut(): void {
    if (this.#position < this.#buffered) {
      this.#openBlock()
      this.#setInterrupt(true)
    } else this.#start(() => this.#store())
  }

  async #store(): Promise<void> {
    const count = this.#buffered / SECTOR_SIZE
    await this.disk.write(this.#lba, [this.#buffer.subarray(0, this.#buffered)])
    if (this.#resetPending) return
    this.#lba += count
    this.#remaining -= count
    if (this.#remaining === 0) {
      await this.settleWrites()
      if (!this.#resetPending) this.complete()
      return
    }
    this.#expect()
    this.#openBlock()
    this.#setInterrupt(true)
  }

  /** Without write cache a write is on the medium before the command ends. */
  async settleWrites(): Promise<void> {
    if (!this.#writeCache) await this.disk.flush()
  }

  async #flush(): Promise<void> {
    await this.disk.flush()
    if (!this.#resetPending) this.complete()
  }

  async #verify(): Promise<void> {
    this.#transfer = TRANSFER.PIO_IN
    while (this.#remaining > 0) {
      const count = Math.min(this.#remaining, CHUNK_SECTORS)
      await this.disk.read(this.#lba, [this.#buffer.subarray(0, count * SECTOR_SIZE)])
      if (this.#resetPending) return
      this.#lba += count
      this.#remaining -= count
    }
    this.complete()
  }

  // ── DMA ──

  #beginDma(command: Command, transfer: Transfer): void {
    if (!this.#address(command)) return
    if (transfer === TRANSFER.DMA_OUT && this.disk.readOnly) {
      this.#abort()
      return
    }
    this.#transfer = transfer
    this.#status = READY | STATUS.DRQ
    this.#channel.dmaRequested()
  }

  /** The DMA transfer that waits for the bus master, or undefined. */
  get waitingDma(): 'in' | 'out' | undefined {
    if (this.#job !== undefined || (this.#status & STATUS.DRQ) === 0) return undefined
    if (this.#transfer === TRANSFER.DMA_IN) return 'in'
    return this.#transfer === TRANSFER.DMA_OUT ? 'out' : undefined
  }

  /** Where a DMA transfer goes on: sector, and how many are left. */
  get dmaSector(): number {
    return this.#lba
  }

  get dmaRemaining(): number {
    return this.#remaining
  }

  /** While the bus master moves data. */
  beginDmaPiece(): void {
    this.#status = STATUS.BSY
  }

  /** `sectors` have been moved; the drive wants more or waits to be completed. */
  endDmaPiece(sectors: number): void {
    this.#lba += sectors
    this.#remaining -= sectors
    this.#status = READY | STATUS.DRQ
  }

  // ── other commands ──

  #identify(): void {
    identify(
      {
        ...this.#names,
        sectorCount: this.disk.sectorCount,
        physicalSectorSize: this.disk.physicalSectorSize,
        second: this.second,
        current: this.#geometry,
        multiple: this.#multiple,
        writeCache: this.#writeCache,
        dmaMode: this.#dmaMode,
      },
      this.#buffer,
    )
    this.#transfer = TRANSFER.PIO_IN
    this.#remaining = 0
    this.#blockSectors = 1
    this.#position = 0
    this.#buffered = SECTOR_SIZE
    this.#openBlock()
    this.#setInterrupt(true)
  }

  #setFeatures(): void {
    switch (this.#register(REGISTER.FEATURES)) {
      case FEATURE.ENABLE_WRITE_CACHE:
        this.#writeCache = true
        break
      case FEATURE.DISABLE_WRITE_CACHE:
        this.#writeCache = false
        this.#start(() => this.#flush())
        return
      case FEATURE.SET_TRANSFER_MODE:
        if (!this.#setTransferMode(this.#register(REGISTER.COUNT))) {
          this.#abort()
          return
        }
        break
      case FEATURE.ENABLE_LOOK_AHEAD:
      case FEATURE.DISABLE_LOOK_AHEAD:
      case FEATURE.KEEP_SETTINGS:
      case FEATURE.REVERT_SETTINGS:
        break
      default:
        this.#abort()
        return
    }
    this.complete()
  }

  /** Section 6.51.3: the type in bits 7–3, the mode in bits 2–0. */
  #setTransferMode(value: number): boolean {
    const mode = value & 7
    switch (value & 0xf8) {
      case 0x00:
        return mode <= 1 // default PIO mode, with or without IORDY
      case 0x08:
        return mode <= MAXIMUM_MODE.PIO
      case 0x20:
        if (mode > MAXIMUM_MODE.MULTIWORD_DMA) return false
        break
      case 0x40:
        if (mode > MAXIMUM_MODE.ULTRA_DMA) return false
        break
      default:
        return false
    }
    this.#dmaMode = value
    return true
  }

  #setMultiple(count: number): void {
    const powerOfTwo = (count & (count - 1)) === 0
    if (count > MAXIMUM_MULTIPLE || !powerOfTwo) {
      this.#multiple = 0
      this.#abort()
      return
    }
    this.#multiple = count
    this.complete()
  }

  #initializeParameters(): void {
    const sectors = this.#register(REGISTER.COUNT)
    if (sectors === 0) {
      this.#abort()
      return
    }
    this.#geometry = geometry(this.disk.sectorCount, (this.#device & DEVICE.HEAD) + 1, sectors)
    this.complete()
  }

  /** Section 9.12: the signature of an ATA device, and the diagnostic code. */
  #signature(): void {
    this.#transfer = TRANSFER.NONE
    this.#status = READY
    this.#error = DIAGNOSTIC_PASSED
    this.#registers.fill(0)
    this.#registers[REGISTER.COUNT] = 1
    this.#registers[REGISTER.LBA_LOW] = 1
    this.#device = 0
  }

  // ── resets ──

  /** SRST: busy until what is under way at the disk has come back. */
  softReset(): void {
    this.#setInterrupt(false)
    if (this.#job !== undefined) {
      this.#resetPending = true
      this.#status = STATUS.BSY
    } else this.#finishReset()
  }

  #finishReset(): void {
    this.#resetPending = false
    this.#signature()
    this.#multiple = 0
    this.#lba = 0
    this.#remaining = 0
    this.#blockSectors = 1
    this.#position = 0
    this.#blockEnd = 0
  }

  /** Power-on. */
  reset(): void {
    this.#geometry = defaultGeometry(this.disk.sectorCount)
    this.#writeCache = true
    this.#dmaMode = 0
    this.softReset()
  }

  // ── state ──

  save(): DriveState & { readonly [key: string]: SavedValue } {
    const held = this.#transfer === TRANSFER.PIO_IN || this.#transfer === TRANSFER.PIO_OUT ? this.#buffered : 0
    return {
      status: this.#status,
      error: this.#error,
      interrupt: this.#interrupt,
      registers: Uint8Array.from([...this.#registers, this.#device]),
      heads: this.#geometry.heads,
      sectors: this.#geometry.sectors,
      multiple: this.#multiple,
      writeCache: this.#writeCache,
      dmaMode: this.#dmaMode,
      transfer: this.#transfer,
      lba: this.#lba,
      remaining: this.#remaining,
      blockSectors: this.#blockSectors,
      position: this.#position,
      blockEnd: this.#blockEnd,
      buffer: this.#buffer.slice(0, held),
    }
  }

  /** Take over a checked state (see state.ts, which makes sure that positions are within the buffer). */
  restore(state: DriveState): void {
    this.#status = state.status
    this.#error = state.error
    this.#interrupt = state.interrupt
    this.#registers.set(state.registers.subarray(0, 16))
    this.#device = state.registers[16] ?? 0
    this.#geometry = geometry(this.disk.sectorCount, state.heads, state.sectors)
    this.#multiple = state.multiple
    this.#writeCache = state.writeCache
    this.#dmaMode = state.dmaMode
    this.#transfer = state.transfer as Transfer
    this.#lba = state.lba
    this.#remaining = state.remaining
    this.#blockSectors = state.blockSectors
    this.#position = state.position
    this.#blockEnd = state.blockEnd
    this.#buffer.set(state.buffer)
    this.#buffered = state.buffer.length
  }
}
