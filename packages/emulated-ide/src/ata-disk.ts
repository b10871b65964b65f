// An ATA disk (ATA/ATAPI-7 volume 1) in front of a Disk: its commands, and how its sectors move.

import { DISK_ERROR, type Disk, type SavedValue } from '@partita/interface'
import {
  DEVICE,
  DIAGNOSTIC_PASSED,
  ERROR,
  LARGEST_LBA28,
  MAXIMUM_TRIM_SECTORS,
  POWER,
  READY,
  REGISTER,
  SECTOR_SIZE,
  STATUS,
} from './ata.ts'
import { COMMANDS, type Command } from './ata-commands.ts'
import type { BusMaster } from './bus-master.ts'
import { DiskSettings } from './disk-settings.ts'
import { BUFFER_SIZE, Drive, type DriveChannel, type DriveNames, failureCode, TRANSFER } from './drive.ts'
import { defaultGeometry, type Geometry, geometry } from './geometry.ts'
import { identifyDisk } from './identify-disk.ts'
import { runSelfTest, SELF_TEST, selfTestPlaces } from './self-test.ts'
import { COUNTER, SELF_TEST_STATUS, SMART_KEY, Smart } from './smart.ts'
import type { AtaDiskState } from './state.ts'
import { trimRanges } from './trim.ts'

/** Bytes that the bus master moves in one operation at the disk. */
const PIECE = 1024 * 1024
const CHUNK_SECTORS: number = BUFFER_SIZE / SECTOR_SIZE

/** What an {@link AtaDisk} is made of. */
export interface AtaDiskOptions {
  readonly disk: Disk
  readonly names: DriveNames
  /** Refuse writes although the disk takes them. */
  readonly readOnly: boolean
  /** There is a bus master. */
  readonly dma: boolean
}

/** A disk. */
export class AtaDisk extends Drive {
  readonly disk: Disk
  readonly readOnly: boolean
  readonly #names: DriveNames
  readonly #dma: boolean
  readonly #smart: Smart = new Smart()
  /** What READ and WRITE BUFFER have. */
  readonly #ownBuffer: Uint8Array = new Uint8Array(SECTOR_SIZE)
  /** The command that is under way, or was. */
  #code = 0
  /** The command before it. */
  #previousCode = 0
  /** The task file as the command found it, for the error log. */
  readonly #input: Uint8Array = new Uint8Array(6)
  #geometry: Geometry
  readonly #settings: DiskSettings = new DiskSettings()
  /** Sectors that the host may address: fewer than there are with SET MAX ADDRESS. */
  #addressable: number
  /** The next sector at the disk, and how many are still to be read from it or written to it. */
  #lba = 0
  #remaining = 0

  constructor(options: AtaDiskOptions, second: boolean, channel: DriveChannel) {
    super(second, channel)
    this.disk = options.disk
    this.readOnly = options.readOnly || options.disk.readOnly
    this.#names = options.names
    this.#dma = options.dma
    this.#addressable = options.disk.sectorCount
    this.#geometry = defaultGeometry(this.#addressable)
    this.reset()
  }

  get #command(): Command | undefined {
    // RECALIBRATE had sixteen codes.
    return COMMANDS.get((this.#code & 0xf0) === 0x10 ? 0x10 : this.#code)
  }

  get #trims(): boolean {
    return this.#dma && this.disk.discard !== undefined && !this.readOnly
  }

  // ── commands ──

  protected override execute(code: number): undefined {
    this.#previousCode = this.#code
    this.#code = code
    this.#remaining = 0
    for (let i = 0; i < 5; i++) this.#input[i] = this.file.get(REGISTER.FEATURES + i)
    this.#input[5] = this.file.device
    const command = this.#command
    if (command === undefined) this.#abort()
    else {
      if (command.usesMedium) this.power = POWER.ACTIVE
      this.#run(command)
    }
  }

  #run(command: Command): undefined {
    switch (command.action) {
      case 'read-sectors':
        return this.#readPio(command, 1)
      case 'read-multiple':
        return this.#readPio(command, this.#settings.multiple)
      case 'write-sectors':
        return this.#writePio(command, 1)
      case 'write-multiple':
        return this.#writePio(command, this.#settings.multiple)
      case 'read-dma':
      case 'write-dma':
        return this.#beginDma(command, command.action === 'read-dma')
      case 'read-verify':
        if (this.#address(command)) this.start(() => this.#verify())
        return
      case 'seek':
        this.#remaining = 1
        if (this.#address(command)) this.complete()
        return
      case 'native-max':
        this.#storeMaximum(this.disk.sectorCount - 1, command)
        return this.complete()
      case 'set-max':
        return this.#setMaximum(command)
      case 'flush':
        return this.start(() => this.#flush())
      case 'identify':
        return this.#identify()
      case 'set-features':
        return this.#setFeatures()
      case 'set-multiple':
        return this.#settings.setMultiple(this.file.get(REGISTER.COUNT)) ? this.complete() : this.#abort()
      case 'initialize-parameters':
        return this.#initializeParameters()
      case 'standby':
        return this.#rest(POWER.STANDBY)
      case 'sleep':
        return this.#rest(POWER.SLEEP)
      case 'idle':
        this.power = POWER.IDLE
        return this.complete()
      case 'check-power':
        this.file.set(REGISTER.COUNT, this.power)
        return this.complete()
      case 'diagnostic':
        this.showSignature()
        return this.setInterrupt(true)
      case 'smart':
        return this.#executeSmart()
      case 'read-log':
        return this.#readLog()
      case 'trim':
        return this.#trim(command)
      case 'read-buffer':
        this.buffer.set(this.#ownBuffer)
        return this.offer(SECTOR_SIZE, SECTOR_SIZE)
      case 'write-buffer':
        return this.expect(SECTOR_SIZE, SECTOR_SIZE, false)
      case 'recalibrate':
        return this.complete()
    }
  }

  #abort(error: number = ERROR.ABRT, fault: number = 0): undefined {
    this.end(error, fault)
    this.#smart.recordError(this.#input, this.#code, this.file, this.error, this.status)
  }

  /** The disk failed, at the sector where the transfer stood. */
  protected override failed(failure: unknown): undefined {
    const code = failureCode(failure)
    const action = this.#command?.action
    const reading = this.transfer === TRANSFER.PIO_IN || this.transfer === TRANSFER.DMA_IN || action === 'read-verify'
    const count = this.#smart.counters
    const kind = reading ? COUNTER.READ_ERRORS : COUNTER.WRITE_ERRORS
    count[kind] = (count[kind] as number) + 1
    this.file.storeSector(this.#lba, this.#command?.ext === true, this.#geometry)
    if (code === DISK_ERROR.RANGE) this.#abort(ERROR.IDNF)
    else if (code === DISK_ERROR.READ_ONLY) this.#abort()
    else if (reading && code !== DISK_ERROR.CLOSED) this.#abort(ERROR.UNC)
    else this.#abort(ERROR.ABRT, STATUS.DF)
  }

  /** Take sector and count from the registers. False, with the command ended, when they are not on the disk. */
  #address(command: Command): boolean {
    if (command.action !== 'seek') this.#remaining = this.file.count(command.ext)
    const lba = this.file.sector(command.ext, this.#geometry)
    if (lba >= 0 && lba + this.#remaining <= this.#addressable) {
      this.#lba = lba
      return true
    }
    this.#abort(ERROR.IDNF)
    return false
  }

  // ── PIO ──

  #readPio(command: Command, blockSectors: number): undefined {
    if (blockSectors === 0) return this.#abort() // it is off
    if (!this.#address(command)) return
    this.blockBytes = blockSectors * SECTOR_SIZE
    this.#fetch()
  }

  /** Fill the buffer from the disk, and offer it. */
  #fetch(): undefined {
    this.transfer = TRANSFER.PIO_IN
    this.start(async () => {
      const count = Math.min(this.#remaining, CHUNK_SECTORS)
      await this.disk.read(this.#lba, [this.buffer.subarray(0, count * SECTOR_SIZE)])
      if (this.aborted) return
      this.#advance(count, COUNTER.SECTORS_READ)
      this.offer(count * SECTOR_SIZE, this.blockBytes)
    })
  }

  protected override taken(): undefined {
    if (this.#remaining > 0) this.#fetch()
    else this.completeQuietly()
  }

  #writePio(command: Command, blockSectors: number): undefined {
    if (blockSectors === 0) return this.#abort()
    if (!this.#address(command)) return
    if (this.readOnly) return this.#abort()
    this.blockBytes = blockSectors * SECTOR_SIZE
    this.#expectSectors(false)
  }

  #expectSectors(interrupt: boolean): undefined {
    this.expect(Math.min(this.#remaining, CHUNK_SECTORS) * SECTOR_SIZE, this.blockBytes, interrupt)
  }

  protected override filled(): undefined {
    if (this.#command?.action === 'write-buffer') {
      this.#ownBuffer.set(this.buffer.subarray(0, SECTOR_SIZE))
      this.complete()
      return
    }
    this.start(async () => {
      const count = this.buffered / SECTOR_SIZE
      await this.disk.write(this.#lba, [this.buffer.subarray(0, this.buffered)])
      if (this.aborted) return
      this.#advance(count, COUNTER.SECTORS_WRITTEN)
      if (this.#remaining === 0) await this.#finishWrite()
      else this.#expectSectors(true)
    })
  }

  #advance(sectors: number, counter: number): undefined {
    this.#lba += sectors
    this.#remaining -= sectors
    this.#smart.counters[counter] = (this.#smart.counters[counter] as number) + sectors
  }

  /** Without write cache, and with forced unit access, a write is on the medium before the command ends. */
  async #settleWrite(): Promise<void> {
    if (!this.#settings.writeCache || this.#command?.durable === true) await this.disk.flush()
  }

  async #finishWrite(): Promise<void> {
    await this.#settleWrite()
    if (!this.aborted) this.complete()
  }

  async #flush(): Promise<void> {
    await this.disk.flush()
    if (!this.aborted) this.complete()
  }

  async #verify(): Promise<void> {
    while (this.#remaining > 0) {
      const count = Math.min(this.#remaining, CHUNK_SECTORS)
      await this.disk.read(this.#lba, [this.buffer.subarray(0, count * SECTOR_SIZE)])
      if (this.aborted) return
      this.#advance(count, COUNTER.SECTORS_READ)
    }
    this.complete()
  }

  // ── DMA ──

  #beginDma(command: Command, toHost: boolean): undefined {
    if (!this.#dma) return this.#abort()
    if (!this.#address(command)) return
    if (!toHost && this.readOnly) return this.#abort()
    this.requestDma(toHost)
  }

  protected override async moveDma(master: BusMaster): Promise<boolean> {
    // Ranges of TRIM go to the buffer, sectors directly between guest memory and the disk.
    if (this.buffered > 0) {
      if (this.moveBuffer(master, false)) await this.#discard(master)
      return false
    }
    const toHost = this.transfer === TRANSFER.DMA_IN
    const piece = master.take(Math.min(this.#remaining * SECTOR_SIZE, PIECE), SECTOR_SIZE, toHost)
    if (piece === undefined || piece.bytes === 0) return false
    if (toHost) {
      await this.disk.read(this.#lba, piece.segments)
      master.commit(piece)
    } else await this.disk.write(this.#lba, piece.segments)
    if (this.aborted) return false
    this.#advance(piece.bytes / SECTOR_SIZE, toHost ? COUNTER.SECTORS_READ : COUNTER.SECTORS_WRITTEN)
    if (this.#remaining > 0) return true
    if (!toHost) await this.#settleWrite()
    if (this.aborted) return false
    master.finish()
    this.complete()
    return false
  }

  #trim(command: Command): undefined {
    const sectors = this.file.count(true)
    const trim = (this.file.get(REGISTER.FEATURES) & 0x01) !== 0
    if (!this.#trims || !trim || sectors > MAXIMUM_TRIM_SECTORS || command.ext) return this.#abort()
    this.position = 0
    this.buffered = sectors * SECTOR_SIZE
    this.requestDma(false)
  }

  async #discard(master: BusMaster): Promise<void> {
    const ranges = trimRanges(this.buffer.subarray(0, this.buffered), this.#addressable)
    if (ranges === undefined) {
      master.finish()
      this.#abort(ERROR.IDNF | ERROR.ABRT)
      return
    }
    for (const { sector, count } of ranges) {
      this.#lba = sector
      await this.disk.discard?.(sector, count)
      if (this.aborted) return
    }
    master.finish()
    this.complete()
  }

  // ── addresses ──

  /** An address for the registers; one that 28 bits cannot carry is all ones (section 6.37). */
  #storeMaximum(lba: number, command: Command): undefined {
    const { device } = this.file
    this.file.device |= DEVICE.LBA
    this.file.storeSector(command.ext ? lba : Math.min(lba, LARGEST_LBA28), command.ext, this.#geometry)
    this.file.device = command.ext ? device : (device & ~DEVICE.HEAD) | (this.file.device & DEVICE.HEAD)
  }

  /** SET MAX ADDRESS (section 6.49): right behind READ NATIVE MAX ADDRESS. Without it the code stands for passwords and locks, which there are not. */
  #setMaximum(command: Command): undefined {
    const before = COMMANDS.get(this.#previousCode)
    const lba = this.file.sector(command.ext, this.#geometry)
    // There is no place where a value could outlive the power: bit 0 of the count asks for that.
    const lasting = (this.file.get(REGISTER.COUNT) & 0x01) !== 0
    if (before?.action !== 'native-max' || before.ext !== command.ext || lasting) return this.#abort()
    if (lba < 0 || lba >= this.disk.sectorCount) return this.#abort(ERROR.IDNF)
    this.#addressable = lba + 1
    this.#geometry = geometry(this.#addressable, this.#geometry.heads, this.#geometry.sectors)
    this.complete()
  }

  #initializeParameters(): undefined {
    const sectors = this.file.get(REGISTER.COUNT)
    if (sectors === 0) return this.#abort()
    this.#geometry = geometry(this.#addressable, (this.file.device & DEVICE.HEAD) + 1, sectors)
    this.complete()
  }

  // ── settings ──

  #identify(): undefined {
    identifyDisk(
      {
        names: this.#names,
        sectorCount: this.#addressable,
        physicalSectorSize: this.disk.physicalSectorSize,
        second: this.second,
        current: this.#geometry,
        settings: this.#settings,
        smart: this.#smart.enabled,
        dma: this.#dma,
        trims: this.#trims,
      },
      this.buffer,
    )
    this.offer(SECTOR_SIZE, SECTOR_SIZE)
  }

  #setFeatures(): undefined {
    const { file } = this
    switch (this.#settings.setFeature(file.get(REGISTER.FEATURES), file.get(REGISTER.COUNT), this.#dma)) {
      case 'done':
        return this.complete()
      case 'flush':
        return this.start(() => this.#flush())
      case 'refused':
        return this.#abort()
    }
  }

  /** STANDBY and SLEEP: what is in the cache goes to the medium first. Timers are taken, and never run out. */
  #rest(power: typeof POWER.STANDBY | typeof POWER.SLEEP): undefined {
    this.start(async () => {
      await this.disk.flush()
      if (this.aborted) return
      this.power = power
      this.complete()
    })
  }

  /**
   * READ LOG EXT (section 6.30): the directory, in which there are no logs; the general purpose logging feature set has more, and is not claimed. Programs read it all the same, hdparm one
   * of them, and complain if it is refused.
   */
  #readLog(): undefined {
    const { file } = this
    const page = file.get(REGISTER.LBA_MID) | file.previous(REGISTER.LBA_MID)
    if (file.get(REGISTER.LBA_LOW) !== 0 || page !== 0 || file.count(true) !== 1) return this.#abort()
    this.buffer.fill(0, 0, SECTOR_SIZE)
    this.buffer[0] = 1 // version
    this.offer(SECTOR_SIZE, SECTOR_SIZE)
  }

  // ── SMART ──

  #executeSmart(): undefined {
    const { file } = this
    const known = file.get(REGISTER.LBA_MID) === SMART_KEY.MID && file.get(REGISTER.LBA_HIGH) === SMART_KEY.HIGH
    if (!known) return this.#abort()
    const address = file.get(REGISTER.LBA_LOW)
    switch (this.#smart.begin(file.get(REGISTER.FEATURES), address, file.get(REGISTER.COUNT), this.buffer)) {
      case 'done':
        return this.complete()
      case 'page':
        return this.offer(SECTOR_SIZE, SECTOR_SIZE)
      case 'test':
        return this.#selfTest(address)
      case 'refused':
        return this.#abort()
    }
  }

  /** Each self-test is over when its command is. */
  #selfTest(number: number): undefined {
    const places = selfTestPlaces(number)
    if (places === 'nothing') return this.complete()
    if (places === 'unknown') return this.#abort()
    this.start(async () => {
      const failed = await runSelfTest(this.disk, places, this.buffer, () => this.aborted)
      if (this.aborted) return
      this.#smart.recordTest(
        number,
        failed === undefined ? SELF_TEST_STATUS.PASSED : SELF_TEST_STATUS.READ_FAILURE,
        failed ?? 0,
      )
      if (failed === undefined || (number & SELF_TEST.CAPTIVE) === 0) return this.complete()
      // The signature of a captive test that has failed.
      this.file.set(REGISTER.LBA_MID, 0xf4)
      this.file.set(REGISTER.LBA_HIGH, 0x2c)
      this.#abort()
    })
  }

  // ── resets ──

  protected override showSignature(): undefined {
    this.statusRegister = READY
    this.error = DIAGNOSTIC_PASSED
    this.file.signature(0, 0)
    this.#remaining = 0
    this.#code = 0
  }

  override softReset(): undefined {
    this.#settings.softReset()
    super.softReset()
  }

  override reset(): undefined {
    this.#addressable = this.disk.sectorCount
    this.#geometry = defaultGeometry(this.#addressable)
    this.#settings.reset()
    this.#smart.reset()
    this.#ownBuffer.fill(0)
    this.#input.fill(0)
    this.#previousCode = 0
    this.#lba = 0
    this.softReset()
  }

  // ── state ──

  override save(): AtaDiskState & { readonly [key: string]: SavedValue } {
    return {
      kind: 'disk',
      ...this.saveDrive(),
      code: this.#code,
      previousCode: this.#previousCode,
      input: this.#input.slice(),
      heads: this.#geometry.heads,
      sectors: this.#geometry.sectors,
      settings: this.#settings.save(),
      addressable: this.#addressable,
      lba: this.#lba,
      remaining: this.#remaining,
      ownBuffer: this.#ownBuffer.slice(),
      smart: this.#smart.save(),
    }
  }

  /** Take over a checked state. */
  restore(state: AtaDiskState): undefined {
    this.restoreDrive(state)
    this.#code = state.code
    this.#previousCode = state.previousCode
    this.#input.set(state.input)
    this.#addressable = Math.min(state.addressable, this.disk.sectorCount)
    this.#geometry = geometry(this.#addressable, state.heads, state.sectors)
    this.#settings.restore(state.settings)
    this.#lba = state.lba
    this.#remaining = state.remaining
    this.#ownBuffer.set(state.ownBuffer)
    this.#smart.restore(state.smart)
  }
}
