// The bus-master function of a PCI IDE channel ("Programming Interface for Bus Master IDE Controller", revision 1.0): eight registers, and the walk through the
// table of physical region descriptors in guest memory.

import type { AccessSize, GuestMemory } from '@partita/interface'

/** Offsets of the registers of one channel. */
const REGISTER = { COMMAND: 0, STATUS: 2, PRD: 4 } as const
const COMMAND = { START: 0x01, TO_MEMORY: 0x08 } as const
const STATUS = { ACTIVE: 0x01, ERROR: 0x02, INTERRUPT: 0x04, CAPABLE: 0x60 } as const
const END_OF_TABLE = 0x8000_0000
/** A table does not cross 64 KiB. */
const MAXIMUM_ENTRIES = 8192
const ENTRY_SIZE = 8

/** Memory for a part of a transfer. */
export interface DmaPiece {
  /** Guest memory, or buffers that are copied to it by {@link BusMaster.commit}. */
  readonly segments: Uint8Array[]
  readonly addresses: number[]
  /** Buffers among the segments, by index. */
  readonly buffered: Set<number>
  readonly bytes: number
}

/** A saved bus master. */
export interface BusMasterState {
  readonly command: number
  readonly status: number
  readonly table: number
  readonly entry: number
  readonly offset: number
  readonly ended: boolean
}

/** Registers and table walk of one channel. `onStart` is called when the guest starts it. */
export class BusMaster {
  readonly #memory: GuestMemory
  readonly #onStart: () => void
  #command = 0
  #status: number = STATUS.CAPABLE
  #table = 0
  /** The next entry, and how far into it the transfer has come. */
  #entry = 0
  #offset = 0
  /** The last entry has been used up. */
  #ended = false

  constructor(memory: GuestMemory, onStart: () => void) {
    this.#memory = memory
    this.#onStart = onStart
  }

  get started(): boolean {
    return (this.#status & STATUS.ACTIVE) !== 0
  }

  read(offset: number, size: AccessSize): number {
    let value = 0
    for (let i = 0; i < size; i++) value |= this.#readByte(offset + i) << (8 * i)
    return value >>> 0
  }

  #readByte(offset: number): number {
    if (offset >= REGISTER.PRD) return (this.#table >>> (8 * (offset - REGISTER.PRD))) & 0xff
    if (offset === REGISTER.COMMAND) return this.#command
    return offset === REGISTER.STATUS ? this.#status : 0
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff)
  }

  #writeByte(offset: number, value: number): void {
    if (offset >= REGISTER.PRD) {
      const shift = 8 * (offset - REGISTER.PRD)
      this.#table = (((this.#table & ~(0xff << shift)) | (value << shift)) & ~3) >>> 0
    } else if (offset === REGISTER.COMMAND) this.#writeCommand(value)
    else if (offset === REGISTER.STATUS) {
      // Error and interrupt are cleared by ones; the capability bits are the driver's scratch.
      const cleared = value & (STATUS.ERROR | STATUS.INTERRUPT)
      this.#status = (this.#status & ~cleared & ~STATUS.CAPABLE) | (value & STATUS.CAPABLE)
    }
  }

  #writeCommand(value: number): void {
    const rising = (value & ~this.#command & COMMAND.START) !== 0
    this.#command = value & (COMMAND.START | COMMAND.TO_MEMORY)
    if ((value & COMMAND.START) === 0) this.#status &= ~STATUS.ACTIVE
    if (!rising) return
    this.#status |= STATUS.ACTIVE
    this.#entry = 0
    this.#offset = 0
    this.#ended = false
    this.#onStart()
  }

  /** The drive's interrupt has come through. */
  interrupt(): void {
    this.#status |= STATUS.INTERRUPT
  }

  /**
   * The next at most `limit` bytes of memory that the table names; fewer when the table ends. Undefined, with the error bit set, when the table or what it names is not
   * RAM.
   */
  take(limit: number, toMemory: boolean): DmaPiece | undefined {
    const piece = { segments: [] as Uint8Array[], addresses: [] as number[], buffered: new Set<number>(), bytes: 0 }
    while (piece.bytes < limit && !this.#ended) {
      const at = this.#table + this.#entry * ENTRY_SIZE
      const base = this.#memory.readU32(at)
      const control = this.#memory.readU32(at + 4)
      if (base === undefined || control === undefined || this.#entry >= MAXIMUM_ENTRIES) return this.fail()
      const length = control & 0xfffe || 0x1_0000
      const address = (base & ~1) >>> 0
      // The guest may have made the entry shorter since.
      const count = Math.min(length - this.#offset, limit - piece.bytes)
      if (count > 0) {
        const segment = this.#segment(address + this.#offset, count, toMemory, piece)
        if (segment === undefined) return this.fail()
        piece.segments.push(segment)
        piece.addresses.push(address + this.#offset)
        piece.bytes += count
        this.#offset += count
      }
      if (this.#offset < length) continue
      this.#offset = 0
      this.#entry++
      if ((control & END_OF_TABLE) !== 0) this.#ended = true
    }
    return piece
  }

  #segment(address: number, length: number, toMemory: boolean, piece: DmaPiece): Uint8Array | undefined {
    const view = this.#memory.view(address, length, toMemory ? 'write' : 'read')
    if (view !== undefined) return view
    if (!this.#memory.isRam(address, length)) return undefined
    const buffer = new Uint8Array(length)
    if (!toMemory && !this.#memory.read(address, buffer)) return undefined
    piece.buffered.add(piece.segments.length)
    return buffer
  }

  /** What was read into a piece is in guest memory afterwards, and the processor knows. False when some of it could not be written. */
  commit(piece: DmaPiece): boolean {
    let written = true
    piece.segments.forEach((segment, index) => {
      const address = piece.addresses[index] as number
      if (!piece.buffered.has(index)) this.#memory.written(address, segment.length)
      else if (!this.#memory.write(address, segment)) written = false
    })
    return written
  }

  /** The drive is done: inactive if the table is used up; a longer table leaves it active (section 3.1). */
  finish(): void {
    if (this.#ended) this.#status &= ~STATUS.ACTIVE
  }

  /** Stop with the error bit. */
  fail(): undefined {
    this.#status = (this.#status & ~STATUS.ACTIVE) | STATUS.ERROR
    return undefined
  }

  reset(): void {
    this.#command = 0
    this.#status = STATUS.CAPABLE
    this.#table = 0
    this.#entry = 0
    this.#offset = 0
    this.#ended = false
  }

  save(): BusMasterState & { readonly [key: string]: number | boolean } {
    return {
      command: this.#command,
      status: this.#status,
      table: this.#table,
      entry: this.#entry,
      offset: this.#offset,
      ended: this.#ended,
    }
  }

  restore(state: BusMasterState): void {
    this.#command = state.command & (COMMAND.START | COMMAND.TO_MEMORY)
    this.#status = state.status & (STATUS.ACTIVE | STATUS.ERROR | STATUS.INTERRUPT | STATUS.CAPABLE)
    this.#table = (state.table & ~3) >>> 0
    this.#entry = state.entry
    this.#offset = state.offset
    this.#ended = state.ended
  }
}
