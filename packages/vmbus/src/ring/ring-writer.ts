// The writing end of a ring. The pointer `in` is this side's own and kept privately; `out` is the other side's, read once for each
// decision and checked. Packets are written one after the other and become visible together.

import {
  align8,
  CONTROL,
  DESCRIPTOR_SIZE,
  FEATURE_PENDING_SEND_SIZE,
  FOOTER_SIZE,
  GPA_DIRECT_HEADER_SIZE,
  MAX_PACKET_SIZE,
  PACKET_TYPE,
  RING_PAGE,
  TRANSFER_PAGES_HEADER_SIZE,
} from './layout.ts'
import type { RingMemory } from './ring-memory.ts'
import { isPointer } from './ring-reader.ts'

/** What became of a packet. */
export const WRITE = { OK: 0, FULL: 1, BROKEN: 2, TOO_LARGE: 3 } as const
/** One of {@link WRITE}. */
export type WriteResult = (typeof WRITE)[keyof typeof WRITE]

/** What {@link RingWriter.commit} asks for. */
export const COMMIT = { NOTHING: 0, SPARED: 1, SIGNAL: 2 } as const
/** One of {@link COMMIT}. */
export type CommitResult = (typeof COMMIT)[keyof typeof COMMIT]

const EMPTY: Uint8Array = new Uint8Array(0)

/** Ranges of guest memory of a GPA-direct packet: each its offset into the first page, its length, and its pages' numbers. */
export interface GpaRange {
  /** Where the range begins in its first page, 0–4,095. */
  readonly byteOffset: number
  /** Bytes of the range. */
  readonly byteCount: number
  /** Numbers of the pages that the range spans (guest physical address / 4,096), each of which may lie anywhere. */
  readonly pages: readonly number[]
}

/** Writes packets: any number of `write…`, then `commit`. */
export class RingWriter {
  /** The ring that it writes. */
  readonly memory: RingMemory
  readonly #control: Int32Array
  readonly #size: number
  #in: number
  /** The `in` that the other side knows. */
  #published: number
  /** The last `out` that was read. */
  #out: number
  #fault: string | undefined
  /** The size that a packet in vain asked for, 0 when none waits. */
  #pending = 0
  // The packet being written.
  #start = 0
  #at = 0

  private constructor(memory: RingMemory, at: number, out: number) {
    this.memory = memory
    this.#control = memory.control
    this.#size = memory.size
    this.#in = at
    this.#published = at
    this.#out = out
  }

  /**
   * Write on where the control page says, or at `position`, which is then stored there; and announce that this side waits by the pending size. `undefined` when a
   * pointer is no place in the ring.
   */
  static open(memory: RingMemory, position?: number): RingWriter | undefined {
    const { control, size } = memory
    const start = position ?? Atomics.load(control, CONTROL.IN) >>> 0
    const out = Atomics.load(control, CONTROL.OUT) >>> 0
    if (!isPointer(start, size) || !isPointer(out, size)) return undefined
    if (position !== undefined) Atomics.store(control, CONTROL.IN, position)
    Atomics.or(control, CONTROL.FEATURE_BITS, FEATURE_PENDING_SEND_SIZE)
    return new RingWriter(memory, start, out)
  }

  /** What is wrong with the ring, once something is. */
  get fault(): string | undefined {
    return this.#fault
  }

  /** The writer's place, as saved state. Commit first. */
  get position(): number {
    return this.#in
  }

  /** Whether packets are written that {@link RingWriter.commit} has not shown to the other side. */
  get uncommitted(): boolean {
    return this.#in !== this.#published
  }

  /** Bytes that the next packet with its descriptor and footer may take at most, as far as is known without looking at `out` again. */
  get free(): number {
    return this.#room() - 8
  }

  /** The largest payload of an in-band packet that fits into the empty ring. */
  get maxPayload(): number {
    return Math.min(this.#size - 8 - FOOTER_SIZE, MAX_PACKET_SIZE) - DESCRIPTOR_SIZE
  }

  /** An in-band packet (6) with `payload` from `start` to `end`. */
  writeInBand(
    payload: Uint8Array,
    start = 0,
    end: number = payload.length,
    transactionLow = 0,
    transactionHigh = 0,
    flags = 0,
  ): WriteResult {
    return this.#write(PACKET_TYPE.IN_BAND, flags, transactionLow, transactionHigh, payload, start, end)
  }

  /** A completion (11) of the packet with that transaction id. */
  writeCompletion(
    transactionLow: number,
    transactionHigh: number,
    payload: Uint8Array = EMPTY,
    start = 0,
    end: number = payload.length,
  ): WriteResult {
    return this.#write(PACKET_TYPE.COMPLETION, 0, transactionLow, transactionHigh, payload, start, end)
  }

  /** A transfer-pages packet (7). `ranges` holds pairs of length and offset. */
  writeTransferPages(
    pageSet: number,
    ranges: Uint32Array,
    payload: Uint8Array,
    transactionLow = 0,
    transactionHigh = 0,
    flags = 0,
  ): WriteResult {
    const header = TRANSFER_PAGES_HEADER_SIZE + ranges.length * 4
    const result = this.#begin(
      PACKET_TYPE.TRANSFER_PAGES,
      flags,
      header,
      payload.length,
      transactionLow,
      transactionHigh,
    )
    if (result !== WRITE.OK) return result
    this.#pair(pageSet & 0xffff, ranges.length >>> 1)
    for (let index = 0; index < ranges.length; index += 2)
      this.#pair(ranges[index] as number, ranges[index + 1] as number)
    this.#finish(payload, 0, payload.length)
    return WRITE.OK
  }

  /** A GPA-direct packet (9). For clients: it is the guest that gives its memory. */
  writeGpaDirect(
    ranges: readonly GpaRange[],
    payload: Uint8Array,
    transactionLow = 0,
    transactionHigh = 0,
    flags = 1,
  ): WriteResult {
    let header = GPA_DIRECT_HEADER_SIZE
    for (const range of ranges) header += 8 + range.pages.length * 8
    const result = this.#begin(PACKET_TYPE.GPA_DIRECT, flags, header, payload.length, transactionLow, transactionHigh)
    if (result !== WRITE.OK) return result
    this.#pair(0, ranges.length)
    for (const range of ranges) {
      this.#pair(range.byteCount, range.byteOffset)
      for (const page of range.pages) this.#pair(page % 0x1_0000_0000, Math.floor(page / 0x1_0000_0000))
    }
    this.#finish(payload, 0, payload.length)
    return WRITE.OK
  }

  /**
   * Make the packets visible. {@link COMMIT.SIGNAL}: the reader sleeps and is to be signalled; {@link COMMIT.SPARED}: it reads already, or does not want to be
   * disturbed; {@link COMMIT.NOTHING}: there was nothing to show.
   */
  commit(): CommitResult {
    const before = this.#published
    if (this.#in === before || this.#fault !== undefined) return COMMIT.NOTHING
    this.#published = this.#in
    Atomics.store(this.#control, CONTROL.IN, this.#in)
    if (Atomics.load(this.#control, CONTROL.INTERRUPT_MASK) !== 0) return COMMIT.SPARED
    return this.#refresh() && this.#out === before ? COMMIT.SIGNAL : COMMIT.SPARED
  }

  /**
   * After {@link WRITE.FULL}: ask the reader to signal when there is room. True: there is room by now, try again at once.
   */
  wait(): boolean {
    if (this.#pending === 0 || this.#fault !== undefined) return false
    Atomics.store(this.#control, CONTROL.PENDING_SEND_SIZE, this.#pending)
    if (!this.#refresh() || this.#room() <= this.#pending) return false
    this.stopWaiting()
    return true
  }

  /** Whether there is room now for the packet that was turned away. */
  hasRoom(): boolean {
    return this.#fault === undefined && this.#refresh() && this.#room() > this.#pending
  }

  /** No packet waits for room any longer. */
  stopWaiting(): void {
    if (this.#pending === 0) return
    this.#pending = 0
    Atomics.store(this.#control, CONTROL.PENDING_SEND_SIZE, 0)
  }

  #write(
    type: number,
    flags: number,
    low: number,
    high: number,
    payload: Uint8Array,
    start: number,
    end: number,
  ): WriteResult {
    const result = this.#begin(type, flags, DESCRIPTOR_SIZE, end - start, low, high)
    if (result === WRITE.OK) this.#finish(payload, start, end)
    return result
  }

  #begin(type: number, flags: number, header: number, payload: number, low: number, high: number): WriteResult {
    if (this.#fault !== undefined) return WRITE.BROKEN
    const length = header + align8(payload)
    const total = length + FOOTER_SIZE
    if (length > MAX_PACKET_SIZE || total > this.#size - 8) return WRITE.TOO_LARGE
    // The ring is never filled: `in` equal to `out` means empty.
    if (this.#room() <= total) {
      if (!this.#refresh()) return WRITE.BROKEN
      if (this.#room() <= total) {
        this.#pending = total
        return WRITE.FULL
      }
    }
    this.#start = this.#in
    this.#at = this.#in
    this.#pair(type | ((header / 8) << 16), (length / 8) | (flags << 16))
    this.#pair(low, high)
    return WRITE.OK
  }

  #pair(first: number, second: number): void {
    this.memory.storePair(this.#at, first, second)
    const next = this.#at + 8
    this.#at = next === this.#size ? 0 : next
  }

  #finish(payload: Uint8Array, start: number, end: number): void {
    const { memory } = this
    const length = end - start
    const padded = align8(length)
    memory.copyIn(this.#at, payload, start, end)
    memory.clearIn(this.#at + length, padded - length)
    const at = this.#at + padded
    this.#at = at >= this.#size ? at - this.#size : at
    this.#pair(0, this.#start)
    this.#in = this.#at
    if (memory.onStored !== undefined)
      memory.stored(this.#start, this.#in > this.#start ? this.#in - this.#start : this.#size - this.#start + this.#in)
  }

  /** Free bytes by the last known `out`; `in` equal to `out` is all of them. */
  #room(): number {
    const used = this.#in >= this.#out ? this.#in - this.#out : this.#size - this.#out + this.#in
    return this.#size - used
  }

  /** Read `out` anew. False when it makes no sense: it has left the part that holds packets. */
  #refresh(): boolean {
    const out = Atomics.load(this.#control, CONTROL.OUT) >>> 0
    if (!isPointer(out, this.#size)) {
      this.#fault = `out is ${out} in a ring of ${this.#size} bytes`
      return false
    }
    this.#out = out
    return true
  }
}

/** A range over whole or partial pages that follow each other, from `gpa` on. */
export function contiguousRange(gpa: number, byteCount: number): GpaRange {
  const first = Math.floor(gpa / RING_PAGE)
  const byteOffset = gpa % RING_PAGE
  const count = Math.ceil((byteOffset + byteCount) / RING_PAGE)
  return { byteOffset, byteCount, pages: Array.from({ length: count }, (_, page) => first + page) }
}
