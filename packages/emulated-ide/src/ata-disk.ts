// The commands of an ATA disk (ATA/ATAPI-7 volume 1, section 6): what each of them does, and what is saved of the disk. How sectors move is in sector-drive.ts.

import type { Disk, SavedValue } from '@partita/interface'
import { DEVICE, DIAGNOSTIC_PASSED, ERROR, MAXIMUM_TRIM_SECTORS, POWER, READY, REGISTER, SECTOR_SIZE } from './ata.ts'
import { COMMANDS, type Command } from './ata-commands.ts'
import type { DriveChannel, DriveNames } from './drive.ts'
import { identifyDisk } from './identify-disk.ts'
import { SectorDrive } from './sector-drive.ts'
import { runSelfTest, SELF_TEST, selfTestPlaces } from './self-test.ts'
import { SELF_TEST_STATUS, SMART_FAILING, SMART_KEY } from './smart.ts'
import type { AtaDiskState } from './state.ts'
import { trimRanges } from './trim.ts'

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
export class AtaDisk extends SectorDrive {
  readonly #names: DriveNames
  /** What READ and WRITE BUFFER have. */
  readonly #ownBuffer: Uint8Array = new Uint8Array(SECTOR_SIZE)
  /** The command that is under way, or was. */
  #code = 0
  /** The command before it. */
  #previousCode = 0

  constructor(options: AtaDiskOptions, second: boolean, channel: DriveChannel) {
    super(options.disk, options.readOnly, options.dma, second, channel)
    this.#names = options.names
    this.reset()
  }

  protected override get current(): Command | undefined {
    // RECALIBRATE had sixteen codes.
    return COMMANDS.get((this.#code & 0xf0) === 0x10 ? 0x10 : this.#code)
  }

  get #trims(): boolean {
    return this.dma && this.disk.discard !== undefined && !this.readOnly
  }

  // ── commands ──

  protected override execute(code: number): undefined {
    this.#previousCode = this.#code
    this.#code = code
    this.remaining = 0
    this.smart.noteCommand(this.file, code)
    const command = this.current
    if (command === undefined) this.refuse()
    else {
      if (command.usesMedium) this.power = POWER.ACTIVE
      this.#run(command)
    }
  }

  #run(command: Command): undefined {
    switch (command.action) {
      case 'read-sectors':
        return this.readPio(command, 1)
      case 'read-multiple':
        return this.readPio(command, this.settings.multiple)
      case 'write-sectors':
        return this.writePio(command, 1)
      case 'write-multiple':
        return this.writePio(command, this.settings.multiple)
      case 'read-dma':
      case 'write-dma':
        return this.beginDma(command, command.action === 'read-dma')
      case 'read-verify':
        return this.verify(command)
      case 'seek':
        if (this.address(command, 1)) this.complete()
        return
      case 'native-max':
        this.addressing.storeMaximum(this.file, command.ext)
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
        return this.settings.setMultiple(this.file.get(REGISTER.COUNT)) ? this.complete() : this.refuse()
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
        return this.#trim()
      case 'read-buffer':
        this.buffer.set(this.#ownBuffer)
        return this.offer(SECTOR_SIZE, SECTOR_SIZE)
      case 'write-buffer':
        return this.expect(SECTOR_SIZE, SECTOR_SIZE, false)
      case 'recalibrate':
        return this.complete()
    }
  }

  protected override filled(): undefined {
    if (this.current?.action !== 'write-buffer') return super.filled()
    this.#ownBuffer.set(this.buffer.subarray(0, SECTOR_SIZE))
    this.complete()
  }

  async #flush(): Promise<void> {
    await this.disk.flush()
    if (!this.aborted) this.complete()
  }

  // ── DATA SET MANAGEMENT ──

  #trim(): undefined {
    const sectors = this.file.count(true)
    const trim = (this.file.get(REGISTER.FEATURES) & 0x01) !== 0
    if (!this.#trims || !trim || sectors > MAXIMUM_TRIM_SECTORS) return this.refuse()
    this.position = 0
    this.buffered = sectors * SECTOR_SIZE
    this.requestDma(false)
  }

  protected override async discard(): Promise<void> {
    if (!this.#trims) return this.refuse()
    const ranges = trimRanges(this.buffer.subarray(0, this.buffered), this.addressing.addressable)
    if (ranges === undefined) return this.refuse(ERROR.IDNF | ERROR.ABRT)
    for (const { sector, count } of ranges) {
      await this.disk.discard?.(sector, count)
      if (this.aborted) return
    }
    this.complete()
  }

  // ── addresses ──

  /** SET MAX ADDRESS (section 6.49): right behind READ NATIVE MAX ADDRESS. Without it the code stands for passwords and locks, which there are not. */
  #setMaximum(command: Command): undefined {
    const before = COMMANDS.get(this.#previousCode)
    // There is no place where a value could outlive the power: bit 0 of the count asks for that.
    const lasting = (this.file.get(REGISTER.COUNT) & 0x01) !== 0
    if (before?.action !== 'native-max' || before.ext !== command.ext || lasting) return this.refuse()
    if (this.addressing.setMaximum(this.file, command.ext)) this.complete()
    else this.refuse(ERROR.IDNF)
  }

  #initializeParameters(): undefined {
    const sectors = this.file.get(REGISTER.COUNT)
    if (sectors === 0) return this.refuse()
    this.addressing.setGeometry((this.file.device & DEVICE.HEAD) + 1, sectors)
    this.complete()
  }

  // ── settings ──

  #identify(): undefined {
    identifyDisk(
      {
        names: this.#names,
        sectorCount: this.addressing.addressable,
        physicalSectorSize: this.disk.physicalSectorSize,
        second: this.second,
        current: this.addressing.geometry,
        settings: this.settings,
        smart: this.smart.enabled,
        dma: this.dma,
        trims: this.#trims,
      },
      this.buffer,
    )
    this.offer(SECTOR_SIZE, SECTOR_SIZE)
  }

  #setFeatures(): undefined {
    const { file } = this
    switch (this.settings.setFeature(file.get(REGISTER.FEATURES), file.get(REGISTER.COUNT), this.dma)) {
      case 'done':
        return this.complete()
      case 'flush':
        return this.start(() => this.#flush())
      case 'refused':
        return this.refuse()
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
    if (file.get(REGISTER.LBA_LOW) !== 0 || page !== 0 || file.count(true) !== 1) return this.refuse()
    this.buffer.fill(0, 0, SECTOR_SIZE)
    this.buffer[0] = 1 // version
    this.offer(SECTOR_SIZE, SECTOR_SIZE)
  }

  // ── SMART ──

  #executeSmart(): undefined {
    const { file } = this
    const known = file.get(REGISTER.LBA_MID) === SMART_KEY.MID && file.get(REGISTER.LBA_HIGH) === SMART_KEY.HIGH
    if (!known) return this.refuse()
    const address = file.get(REGISTER.LBA_LOW)
    switch (this.smart.begin(file.get(REGISTER.FEATURES), address, file.get(REGISTER.COUNT), this.buffer)) {
      case 'done':
        return this.complete()
      case 'page':
        return this.offer(SECTOR_SIZE, SECTOR_SIZE)
      case 'test':
        return this.#selfTest(address)
      case 'status':
        if (this.smart.failing) this.#showFailing()
        return this.complete()
      case 'refused':
        return this.refuse()
    }
  }

  /** Each self-test is over when its command is. */
  #selfTest(number: number): undefined {
    const places = selfTestPlaces(number)
    if (places === 'nothing') return this.complete()
    if (places === 'unknown') return this.refuse()
    this.start(async () => {
      const failed = await runSelfTest(this.disk, places, this.buffer, () => this.aborted)
      if (this.aborted) return
      this.smart.recordTest(
        number,
        failed === undefined ? SELF_TEST_STATUS.PASSED : SELF_TEST_STATUS.READ_FAILURE,
        failed ?? 0,
      )
      if (failed === undefined || (number & SELF_TEST.CAPTIVE) === 0) return this.complete()
      this.#showFailing()
      this.refuse()
    })
  }

  #showFailing(): undefined {
    this.file.set(REGISTER.LBA_MID, SMART_FAILING.MID)
    this.file.set(REGISTER.LBA_HIGH, SMART_FAILING.HIGH)
  }

  // ── resets ──

  protected override showSignature(): undefined {
    this.statusRegister = READY
    this.error = DIAGNOSTIC_PASSED
    this.file.signature(0, 0)
    this.remaining = 0
    this.#code = 0
  }

  override softReset(): undefined {
    this.settings.softReset()
    super.softReset()
  }

  override reset(): undefined {
    this.addressing.reset()
    this.settings.reset()
    this.smart.reset()
    this.#ownBuffer.fill(0)
    this.#previousCode = 0
    this.lba = 0
    this.softReset()
  }

  // ── state ──

  override save(): AtaDiskState & { readonly [key: string]: SavedValue } {
    return {
      kind: 'disk',
      ...this.saveDrive(),
      code: this.#code,
      previousCode: this.#previousCode,
      ...this.addressing.save(),
      settings: this.settings.save(),
      lba: this.lba,
      remaining: this.remaining,
      ownBuffer: this.#ownBuffer.slice(),
      smart: this.smart.save(),
    }
  }

  /** Take over a checked state. */
  restore(state: AtaDiskState): undefined {
    this.restoreDrive(state)
    this.#code = state.code
    this.#previousCode = state.previousCode
    this.addressing.restore(state)
    this.settings.restore(state.settings)
    this.lba = state.lba
    this.remaining = state.remaining
    this.#ownBuffer.set(state.ownBuffer)
    this.smart.restore(state.smart)
  }
}
