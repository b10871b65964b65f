// A parallel ATA channel: two drives on one cable, the command block and control block ports, and the bus master that moves their data.

import type { AccessSize, GuestMemory, InterruptLine, PortHandler } from '@partita/interface'
import { CONTROL, DEVICE, REGISTER, SHARED_COMMAND, STATUS } from './ata.ts'
import type { AtaDisk } from './ata-disk.ts'
import { BusMaster, type BusMasterHost } from './bus-master.ts'
import type { DriveChannel } from './drive.ts'
import { PacketDrive } from './packet-drive.ts'

/** What can be on a channel. */
export type ChannelDrive = AtaDisk | PacketDrive
/** What is read of drive 0 where drive 1 is alone: nobody answers for it, and of the lines that float DD7 alone is pulled, down, so that it does not look busy (ATA/ATAPI-7 volume 2). */
const FLOATING = 0x7f
/** What is read of a channel without drives: the same as where there are no ports, so that nobody waits for any. */
const NO_DRIVES = 0xff

/** A channel. The handler of its eight command block ports; {@link IdeChannel.control} is the control block's. */
export class IdeChannel implements PortHandler, DriveChannel {
  readonly #line: InterruptLine
  readonly busMaster: BusMaster
  #drives: readonly [ChannelDrive | undefined, ChannelDrive | undefined] = [undefined, undefined]
  /** Index of the drive that the device register selects. */
  #selected: 0 | 1 = 0
  #deviceControl = 0
  #intrq = false
  /** Alternate status and device control, at 0x3F6 or 0x376. */
  readonly control: PortHandler

  constructor(memory: GuestMemory, line: InterruptLine, host: Omit<BusMasterHost, 'started'>) {
    this.#line = line
    this.busMaster = new BusMaster(memory, { ...host, started: () => this.dmaRequested() })
    this.control = {
      read: (_offset, size) =>
        (size === 1 ? this.#status() : this.#status() | (size === 2 ? 0xff00 : 0xffff_ff00)) >>> 0,
      write: (_offset, _size, value) => this.#writeControl(value & 0xff),
    }
  }

  /** Plug the drives in; once. */
  connect(first: ChannelDrive | undefined, second: ChannelDrive | undefined): void {
    this.#drives = [first, second]
    this.interruptChanged()
  }

  get drives(): readonly [ChannelDrive | undefined, ChannelDrive | undefined] {
    return this.#drives
  }

  get #drive(): ChannelDrive | undefined {
    return this.#drives[this.#selected]
  }

  /** SRST is set: drives are busy, and take nothing, until it is cleared. */
  get #inReset(): boolean {
    return (this.#deviceControl & CONTROL.SRST) !== 0
  }

  get #empty(): boolean {
    return this.#drives[0] === undefined && this.#drives[1] === undefined
  }

  // ── ports ──

  read(offset: number, size: AccessSize): number {
    if (offset === REGISTER.DATA) {
      const drive = this.#drive
      if (drive === undefined) return size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff
      if (size === 2) return drive.readData()
      if (size === 1) return drive.readData() & 0xff
      const last = drive.atLastWord
      const low = drive.readData()
      return last ? low : (low | (drive.readData() << 16)) >>> 0
    }
    let value = 0
    for (let i = 0; i < size; i++) value |= this.#readRegister(offset + i) << (8 * i)
    return value >>> 0
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset === REGISTER.DATA) {
      const drive = this.#drive
      const last = drive?.atLastWord
      drive?.writeData(value & 0xffff)
      if (size === 4 && last === false) drive?.writeData(value >>> 16)
      return
    }
    for (let i = 0; i < size; i++) this.#writeRegister(offset + i, (value >>> (8 * i)) & 0xff)
  }

  #readRegister(offset: number): number {
    if (this.#empty) return NO_DRIVES
    if (offset === REGISTER.STATUS) {
      const status = this.#status()
      this.#drive?.acknowledge()
      return status
    }
    // Drive 0 answers for a drive 1 that is not there, a packet device with zeros (ATA/ATAPI-7 volume 2, single drive configurations).
    const drive = this.#drive ?? this.#drives[0]
    if (drive === undefined) return FLOATING
    if (this.#drive === undefined && drive instanceof PacketDrive && offset !== REGISTER.DEVICE) return 0
    if (offset === REGISTER.DEVICE)
      return (drive.device & ~DEVICE.SECOND) | DEVICE.FIXED | (this.#selected === 1 ? DEVICE.SECOND : 0)
    return drive.readRegister(offset, (this.#deviceControl & CONTROL.HOB) !== 0)
  }

  #status(): number {
    if (this.#empty) return NO_DRIVES
    const drive = this.#drive
    if (drive !== undefined) return this.#inReset ? STATUS.BSY : drive.status
    return this.#selected === 1 ? 0 : FLOATING
  }

  #writeRegister(offset: number, value: number): void {
    if (this.#inReset) return
    // A write to the command block ends the look at the previous contents.
    this.#deviceControl &= ~CONTROL.HOB
    if (offset === REGISTER.COMMAND) {
      this.#command(value)
      return
    }
    // Both drives take what is written; the device register says to which of them it is meant.
    const [first, second] = this.#drives
    if (offset === REGISTER.DEVICE) {
      if (first !== undefined) first.device = value
      if (second !== undefined) second.device = value
      this.#selected = (value & DEVICE.SECOND) !== 0 ? 1 : 0
      this.interruptChanged()
      this.dmaRequested()
    } else {
      first?.writeRegister(offset, value)
      second?.writeRegister(offset, value)
    }
  }

  #command(code: number): void {
    if (code === SHARED_COMMAND.DEVICE_RESET && this.#drive instanceof PacketDrive) {
      this.#drive.deviceReset()
      return
    }
    if (code !== SHARED_COMMAND.EXECUTE_DEVICE_DIAGNOSTIC) {
      this.#drive?.command(code)
      return
    }
    // Both drives execute it, and drive 0 reports. One that is in the middle of a transfer does not take it, and keeps its interrupt.
    const [first, second] = this.#drives
    this.#selected = 0
    first?.command(code)
    if (second?.command(code) === true && first !== undefined) second.acknowledge()
    // Drive 0 is selected now, whether it took the command or waits for the host to go on with another one.
    this.interruptChanged()
    this.dmaRequested()
  }

  #writeControl(value: number): void {
    const before = this.#deviceControl
    this.#deviceControl = value & (CONTROL.NIEN | CONTROL.SRST | CONTROL.HOB)
    if ((value & ~before & CONTROL.SRST) !== 0) {
      this.#selected = 0
      for (const drive of this.#drives) drive?.softReset()
    }
    this.interruptChanged()
  }

  // ── the drives' side ──

  interruptChanged(): void {
    const intrq = (this.#drive?.interrupt ?? false) && (this.#deviceControl & CONTROL.NIEN) === 0
    if (intrq && !this.#intrq) this.busMaster.interrupt()
    this.#intrq = intrq
    this.#line.set(intrq)
  }

  /** Moves data when both sides are ready: the drive has a DMA command, and the guest has started the bus master, and lets it use the bus. */
  dmaRequested(): void {
    const drive = this.#drive
    if (drive?.waitsForDma === true && this.busMaster.started) drive.runDma(this.busMaster)
  }

  // ── the partition's side ──

  /** Resolves when nothing is under way at a disk. */
  async settle(): Promise<void> {
    for (const drive of this.#drives) while (drive?.job !== undefined) await drive.job
  }

  get settled(): boolean {
    return this.#drives.every((drive) => drive?.job === undefined)
  }

  reset(): void {
    this.#selected = 0
    this.#deviceControl = 0
    this.busMaster.reset()
    for (const drive of this.#drives) drive?.reset()
    this.interruptChanged()
  }

  /** The selected drive and the device control register, for a saved state. */
  save(): { selected: number; deviceControl: number } {
    return { selected: this.#selected, deviceControl: this.#deviceControl }
  }

  /** After the drives and the bus master have been restored. */
  restore(state: { readonly selected: number; readonly deviceControl: number }): void {
    this.#selected = state.selected === 1 ? 1 : 0
    this.#deviceControl = state.deviceControl & (CONTROL.NIEN | CONTROL.SRST | CONTROL.HOB)
    this.#intrq = (this.#drive?.interrupt ?? false) && (this.#deviceControl & CONTROL.NIEN) === 0
    this.#line.set(this.#intrq)
  }
}
