// The bus-master function of a PCI IDE channel ("Programming Interface for Bus Master IDE Controller", revision 1.0): eight registers, and the walk through the
// table of physical region descriptors in guest memory.

import type { AccessSize, GuestMemory } from '@partita/interface'

/** Offsets of the registers of one channel. */
const REGISTER = { COMMAND: 0, STATUS: 2, PRD: 4 } as const
const COMMAND = { START: 0x01, TO_MEMORY: 0x08 } as const
const STATUS = { ACTIVE: 0x01, ERROR: 0x02, INTERRUPT: 0x04, CAPABLE: 0x60 } as const
const END_OF_TABLE = 0x8000_0000
const ENTRY_SIZE = 8
/** Neither a region nor the table crosses a boundary of this (sections 1.2 and 2.0). */
const BOUNDARY = 0x1_0000

/** Memory for a part of a transfer. */
export interface DmaPiece {
  /** Guest memory, or buffers that are copied to it by {@link BusMaster.commit}. */
  readonly segments: Uint8Array[]
  readonly addresses: number[]
  /** Buffers among the segments, by index. */
  readonly buffered: Set<number>
  bytes: number
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

/** What a bus master tells its channel. */
export interface BusMasterHost {
  /** The guest has started it. */
  started(): void
  /** An address that nothing answers at (a PCI master abort). */
  masterAbort(): void
  /** Whether the function may use the PCI bus (bit 2 of PCICMD). Who changes that asks the channels again. */
  mayTransfer(): boolean
}

/** Registers and table walk of one channel. */
export class BusMaster {
  readonly #memory: GuestMemory
  readonly #host: BusMasterHost
  #command = 0
  #status: number = STATUS.CAPABLE
  #table = 0
  /** The next entry, and how far into it the transfer has come. */
  #entry = 0
  #offset = 0
  /** The last entry has been used up. */
  #ended = false

  constructor(memory: GuestMemory, host: BusMasterHost) {
    this.#memory = memory
    this.#host = host
  }

  /** The guest has started it, and lets it use the bus. */
  get started(): boolean {
    return (this.#status & STATUS.ACTIVE) !== 0 && this.#host.mayTransfer()
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
    this.#host.started()
  }

  /** The drive's interrupt has come through. */
  interrupt(): void {
    this.#status |= STATUS.INTERRUPT
  }

  /**
   * The next at most `limit` bytes of memory that the table names, a multiple of `granule`. None are left when the table is used up: the bus master is then inactive, without error
   * and without interrupt, and the drive waits (section 3.1); so it is for a limit of 0. Undefined, with the error bit set, for a table or a region that is not RAM or crosses 64 KiB, and for the wrong
   * direction.
   */
  take(limit: number, granule: number, toMemory: boolean): DmaPiece | undefined {
    const piece: DmaPiece = { segments: [], addresses: [], buffered: new Set(), bytes: 0 }
    if (toMemory !== ((this.#command & COMMAND.TO_MEMORY) !== 0)) return this.#fail()
    // A table has at most 8,192 entries, so that a piece of tiny regions stays small, too.
    while (piece.bytes < limit && !this.#ended) {
      const at = this.#table + this.#entry * ENTRY_SIZE
      if (Math.floor(at / BOUNDARY) !== Math.floor(this.#table / BOUNDARY)) return this.#fail()
      const base = this.#memory.readU32(at)
      const control = this.#memory.readU32(at + 4)
      if (base === undefined || control === undefined) return this.#masterAbort()
      const length = control & 0xfffe || BOUNDARY
      const address = (base & ~1) >>> 0
      if ((address % BOUNDARY) + length > BOUNDARY) return this.#fail()
      // The guest may have made the entry shorter since.
      const count = Math.min(length - this.#offset, limit - piece.bytes)
      if (count > 0) {
        const segment = this.#segment(address + this.#offset, count, toMemory, piece)
        if (segment === undefined) return this.#masterAbort()
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
    if (piece.bytes === limit && limit > 0) return piece
    this.#trim(piece, piece.bytes % granule)
    if (piece.bytes === 0) this.#status &= ~STATUS.ACTIVE
    return piece
  }

  /** A table that ends inside of a sector: what is there of that sector is not used. */
  #trim(piece: DmaPiece, surplus: number): void {
    let left = surplus
    while (left > 0) {
      const last = piece.segments.length - 1
      const segment = piece.segments[last] as Uint8Array
      const cut = Math.min(left, segment.length)
      if (cut === segment.length) {
        piece.segments.pop()
        piece.addresses.pop()
        piece.buffered.delete(last)
      } else piece.segments[last] = segment.subarray(0, segment.length - cut)
      left -= cut
      piece.bytes -= cut
    }
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

  /**
   * The first `bytes` that were read into a piece are in guest memory afterwards, and the processor knows. Memory that cannot be written is left as it is, with the error bit. Where the drive had a window on memory, what
   * is behind those bytes may be anything: the drive may have failed there.
   */
  commit(piece: DmaPiece, bytes: number): void {
    let left = bytes
    piece.segments.forEach((segment, index) => {
      const address = piece.addresses[index] as number
      if (!piece.buffered.has(index)) this.#memory.written(address, segment.length)
      else if (left > 0 && !this.#memory.write(address, segment.subarray(0, left))) this.#masterAbort()
      left -= segment.length
    })
  }

  /** The drive is done: inactive if the table is used up; a longer table leaves it active (section 3.1). */
  finish(): void {
    if (this.#ended) this.#status &= ~STATUS.ACTIVE
  }

  /** Stop with the error bit. */
  #fail(): undefined {
    this.#status = (this.#status & ~STATUS.ACTIVE) | STATUS.ERROR
    return undefined
  }

  #masterAbort(): undefined {
    this.#host.masterAbort()
    return this.#fail()
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
