// What every drive on a channel has, disk or packet device: status, interrupt, the buffer of PIO transfers, work that is under way, resets (ATA/ATAPI-7 volume 2, section 9).

import { DISK_ERROR, PartitaError, type SavedValue } from '@partita/interface'
import { POWER, type Power, READY, REGISTER, STATUS } from './ata.ts'
import type { BusMaster } from './bus-master.ts'
import { TaskFile } from './task-file.ts'

/** Bytes of the buffer of PIO transfers, a multiple of every block size. */
export const BUFFER_SIZE = 0x1_0000

/** What is under way. */
export const TRANSFER = { NONE: 0, PIO_IN: 1, PIO_OUT: 2, DMA_IN: 3, DMA_OUT: 4 } as const
export type Transfer = (typeof TRANSFER)[keyof typeof TRANSFER]

/** What has become of a transfer by DMA: more can be moved at once; the bus master has stopped before the drive was done; the command has ended, or a reset has ended it. */
export const MOVED = { MORE: 0, WAITS: 1, ENDED: 2 } as const
export type DmaProgress = (typeof MOVED)[keyof typeof MOVED]

/** In the place of work that has just begun. */
const STARTING: Promise<void> = Promise.resolve()

/** What a drive asks of its channel. */
export interface DriveChannel {
  /** Its INTRQ may have changed. */
  interruptChanged(): void
  /** It waits for data by DMA. */
  dmaRequested(): void
}

/** The part of a saved drive that all have. */
export interface DriveState {
  readonly status: number
  readonly error: number
  readonly interrupt: boolean
  /** The task file, and the device register behind it. */
  readonly registers: Uint8Array
  readonly power: number
  readonly transfer: number
  readonly position: number
  readonly blockEnd: number
  readonly blockBytes: number
  /** What is in the buffer. */
  readonly buffer: Uint8Array
}

/** Names that a drive tells of itself. */
export interface DriveNames {
  readonly model: string
  readonly serial: string
  readonly firmware: string
}

/** One drive on a channel. */
export abstract class Drive {
  /** Device 1 of its channel. */
  readonly second: boolean
  protected readonly channel: DriveChannel
  protected readonly file: TaskFile = new TaskFile()
  protected readonly buffer: Uint8Array = new Uint8Array(BUFFER_SIZE)
  protected error = 0
  protected power: Power = POWER.ACTIVE
  protected transfer: Transfer = TRANSFER.NONE
  /** The next byte in the buffer, the end of the block that is being transferred, the end of the buffer's contents, and the bytes of a whole block. */
  protected position = 0
  protected buffered = 0
  protected blockBytes = 512
  #blockEnd = 0
  #status: number = READY
  #interrupt = false
  #job: Promise<void> | undefined
  /** A reset came while something was under way; it takes place when that is done. */
  #resetPending = false

  constructor(second: boolean, channel: DriveChannel) {
    this.second = second
    this.channel = channel
  }

  // ── registers ──

  get interrupt(): boolean {
    return this.#interrupt
  }

  get status(): number {
    return this.#status
  }

  protected set statusRegister(value: number) {
    this.#status = value
  }

  protected setInterrupt(interrupt: boolean): undefined {
    this.#interrupt = interrupt
    this.channel.interruptChanged()
  }

  /** Reading the status register takes the interrupt back; reading the alternate one does not. */
  acknowledge(): undefined {
    if (this.#interrupt) this.setInterrupt(false)
  }

  /** Neither registers nor commands are taken while this is so. */
  get #occupied(): boolean {
    return (this.#status & (STATUS.BSY | STATUS.DRQ)) !== 0
  }

  readRegister(offset: number, previous: boolean): number {
    if (offset === REGISTER.ERROR) return this.error
    return previous ? this.file.previous(offset) : this.file.get(offset)
  }

  /** Registers 1–5. */
  writeRegister(offset: number, value: number): undefined {
    if (!this.#occupied) this.file.push(offset, value)
  }

  get device(): number {
    return this.file.device
  }

  set device(value: number) {
    if (!this.#occupied) this.file.device = value
  }

  // ── commands ──

  /** A write to the command register. False where the drive does not take it. */
  command(code: number): boolean {
    if (this.#occupied || this.power === POWER.SLEEP) return false
    this.acknowledge()
    this.error = 0
    this.#status = READY
    this.transfer = TRANSFER.NONE
    this.position = 0
    this.buffered = 0
    this.execute(code)
    this.channel.interruptChanged()
    return true
  }

  /** Begin a command. */
  protected abstract execute(code: number): undefined

  /** DEVICE RESET, which packet devices take at any time. */
  deviceReset(): undefined {}

  /** The command is done, with success. */
  protected complete(): undefined {
    this.transfer = TRANSFER.NONE
    this.#status = READY
    this.setInterrupt(true)
  }

  /** The command is done, without an interrupt: the host has just read its last block. That may have been {@link offerLast}'s. */
  protected completeQuietly(): undefined {
    this.transfer = TRANSFER.NONE
    this.#status = READY | (this.#status & STATUS.ERR)
  }

  /** The command has failed. */
  protected end(error: number, fault: number = 0): undefined {
    this.transfer = TRANSFER.NONE
    this.error = error
    this.#status = READY | STATUS.ERR | fault
    this.setInterrupt(true)
  }

  /** The command has failed, and the host reads a block of `length` bytes all the same. */
  protected offerLast(length: number): undefined {
    this.offer(length, length)
    this.#status |= STATUS.ERR
  }

  // ── work that takes time ──

  get busy(): boolean {
    return (this.#status & STATUS.BSY) !== 0
  }

  /** What is under way, or undefined. Never rejects. */
  get job(): Promise<void> | undefined {
    return this.#job
  }

  /** Whether a reset came meanwhile, so that what comes back is of no interest any more. */
  protected get aborted(): boolean {
    return this.#resetPending
  }

  /** Do something with BSY; it ends the command, or begins its next step, by itself when it succeeds. */
  protected start(operation: () => Promise<void>): undefined {
    this.#status = STATUS.BSY
    // Until the operation returns, too: data for the bus master that it comes to at once moves when it is over.
    this.#job = STARTING
    const job = operation()
      .catch((failure: unknown) => {
        if (!this.#resetPending) this.failed(failure)
      })
      .then(() => {
        // The host may have given the next command as soon as this one had ended: what is under way is that one's.
        if (this.#job !== job) return
        this.#job = undefined
        if (this.#resetPending) this.#finishReset()
        // What came of it may be data for the bus master, which has been started already.
        else if (this.waitsForDma) this.channel.dmaRequested()
      })
    this.#job = job
  }

  /** The disk behind the drive has failed. */
  protected abstract failed(failure: unknown): undefined

  // ── PIO ──

  /** The first `length` bytes of the buffer are for the host, in blocks of `blockBytes`, each with an interrupt. */
  protected offer(length: number, blockBytes: number): undefined {
    this.transfer = TRANSFER.PIO_IN
    this.position = 0
    this.buffered = length
    this.blockBytes = blockBytes
    this.#openBlock()
    this.setInterrupt(true)
  }

  /** The host is to fill the first `length` bytes of the buffer in blocks of `blockBytes`, the first of them without an interrupt unless that is asked for. */
  protected expect(length: number, blockBytes: number, interrupt: boolean): undefined {
    this.transfer = TRANSFER.PIO_OUT
    this.position = 0
    this.buffered = length
    this.blockBytes = blockBytes
    this.#openBlock()
    if (interrupt) this.setInterrupt(true)
  }

  #openBlock(): undefined {
    this.#blockEnd = Math.min(this.position + this.blockBytes, this.buffered)
    this.#status = READY | STATUS.DRQ
    this.blockOpened(this.#blockEnd - this.position)
  }

  /** A block of `length` bytes is open. */
  protected blockOpened(_length: number): undefined {}
  /** The host has all that was offered. */
  protected abstract taken(): undefined
  /** The host has filled what was expected. */
  protected abstract filled(): undefined

  /** A word from the data register. */
  readData(): number {
    if (this.transfer !== TRANSFER.PIO_IN || (this.#status & STATUS.DRQ) === 0) return 0
    const at = this.position
    const low = this.buffer[at] as number
    const high = at + 1 < this.#blockEnd ? (this.buffer[at + 1] as number) : 0
    this.position = at + 2
    if (this.position >= this.#blockEnd) this.#blockRead()
    return low | (high << 8)
  }

  /** A word to the data register. */
  writeData(value: number): undefined {
    if (this.transfer !== TRANSFER.PIO_OUT || (this.#status & STATUS.DRQ) === 0) return
    const at = this.position
    this.buffer[at] = value & 0xff
    if (at + 1 < this.#blockEnd) this.buffer[at + 1] = value >> 8
    this.position = at + 2
    if (this.position >= this.#blockEnd) this.#blockWritten()
  }

  /** Whether the next word is the last one of its block: what follows it in the same access of the host finds no data, and takes none of the next block. */
  get atLastWord(): boolean {
    return this.position + 2 >= this.#blockEnd
  }

  #blockRead(): undefined {
    this.position = this.#blockEnd
    if (this.position < this.buffered) {
      this.#openBlock()
      this.setInterrupt(true)
    } else this.taken()
  }

  #blockWritten(): undefined {
    this.position = this.#blockEnd
    if (this.position < this.buffered) {
      this.#openBlock()
      this.setInterrupt(true)
    } else this.filled()
  }

  // ── DMA ──

  /** Ask the bus master to move data. */
  protected requestDma(toHost: boolean): undefined {
    this.transfer = toHost ? TRANSFER.DMA_IN : TRANSFER.DMA_OUT
    this.#status = READY | STATUS.DRQ
    this.channel.dmaRequested()
  }

  /** The DMA transfer that waits for the bus master. */
  get waitsForDma(): boolean {
    if (this.#job !== undefined || (this.#status & STATUS.DRQ) === 0) return false
    return this.transfer === TRANSFER.DMA_IN || this.transfer === TRANSFER.DMA_OUT
  }

  /** Move data by DMA until the command ends, or the bus master does. */
  runDma(master: BusMaster): undefined {
    this.start(async () => {
      let progress: DmaProgress = MOVED.MORE
      while (progress === MOVED.MORE) {
        progress = master.started ? await this.moveDma(master) : MOVED.WAITS
        // The host may be about the next command by now, and what came while the drive was reset is dropped.
        if (progress === MOVED.ENDED || this.#resetPending) return
      }
      // It waits until the bus master is started again.
      this.#status = READY | STATUS.DRQ
    })
  }

  /** Move a piece. The drive is busy until this ends the command, or resolves. */
  protected abstract moveDma(master: BusMaster): Promise<DmaProgress>

  /** Move what is in the buffer from {@link position} on, or into it. False when the table ends before the buffer does. */
  protected moveBuffer(master: BusMaster, toHost: boolean): boolean {
    while (this.position < this.buffered) {
      const piece = master.take(this.buffered - this.position, 1, toHost)
      if (piece === undefined || piece.bytes === 0) return false
      for (const segment of piece.segments) {
        const part = this.buffer.subarray(this.position, this.position + segment.length)
        if (toHost) segment.set(part)
        else part.set(segment)
        this.position += segment.length
      }
      if (toHost) master.commit(piece, piece.bytes)
    }
    return true
  }

  // ── resets ──

  /** SRST: busy until what is under way has come back. */
  softReset(): undefined {
    this.setInterrupt(false)
    if (this.#job !== undefined) {
      this.#resetPending = true
      this.#status = STATUS.BSY
    } else this.#finishReset()
  }

  #finishReset(): undefined {
    this.#resetPending = false
    this.transfer = TRANSFER.NONE
    this.power = POWER.ACTIVE
    this.position = 0
    this.buffered = 0
    this.blockBytes = 512
    this.#blockEnd = 0
    this.showSignature()
  }

  /** After a reset or diagnostic: registers and status say what kind of drive it is (section 9.12). Settings follow {@link softReset}'s rules. */
  protected abstract showSignature(): undefined

  /** Power-on. */
  abstract reset(): void

  // ── state ──

  protected saveDrive(): DriveState & { readonly [key: string]: SavedValue } {
    return {
      status: this.#status,
      error: this.error,
      interrupt: this.#interrupt,
      registers: Uint8Array.from([...this.file.registers, this.file.device]),
      power: this.power,
      transfer: this.transfer,
      position: this.position,
      blockEnd: this.#blockEnd,
      blockBytes: this.blockBytes,
      buffer: this.buffer.slice(0, this.transfer === TRANSFER.NONE ? 0 : this.buffered),
    }
  }

  /** Take over a checked state (see state.ts, which makes sure that positions are within the buffer). */
  protected restoreDrive(state: DriveState): undefined {
    this.#status = state.status
    this.error = state.error
    this.#interrupt = state.interrupt
    this.file.registers.set(state.registers.subarray(0, 16))
    this.file.device = state.registers[16] ?? 0
    this.power = state.power as Power
    this.transfer = state.transfer as Transfer
    this.position = state.position
    this.#blockEnd = state.blockEnd
    this.blockBytes = state.blockBytes
    this.buffer.set(state.buffer)
    this.buffered = state.buffer.length
  }

  abstract save(): { readonly [key: string]: SavedValue }
}

/** The code of a disk's failure. */
export function failureCode(failure: unknown): string {
  return failure instanceof PartitaError ? failure.code : DISK_ERROR.IO
}
