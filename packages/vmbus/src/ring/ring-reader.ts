// The reading end of a ring. The pointer `out` is this side's own and kept privately; of the other side's words each is read once and
// checked. A ring that makes no sense breaks for good: the channel is then to be closed.
//
// Packets are not copied one by one: what is in the ring is copied in one go, page after page, and packets are found in the copy. A ring of
// pages that lie apart then costs hardly more than one in a piece, where each packet of a page or more lies on two pages.

import { CONTROL, DESCRIPTOR_SIZE, FEATURE_PENDING_SEND_SIZE, FOOTER_SIZE } from './layout.ts'
import type { RingMemory } from './ring-memory.ts'
import { RingPacket } from './ring-packet.ts'

/** What {@link RingReader.next} found. */
export const READ = { EMPTY: 0, PACKET: 1, BROKEN: 2 } as const
/** One of {@link READ}. */
export type ReadResult = (typeof READ)[keyof typeof READ]

/** Bytes to copy at once, unless a packet is longer. */
const COPY_LIMIT = 65536
/** What every packet has. */
const MINIMUM_PACKET_SIZE = DESCRIPTOR_SIZE + FOOTER_SIZE

/**
 * Reads packets in batches: `mask`, `next` until it is empty, `commit`, `unmask`.
 *
 * @example
 * ```ts
 * reader.mask()
 * do {
 *   while (reader.next() === READ.PACKET) serve(reader.packet)
 *   if (reader.commit()) signal()
 * } while (reader.unmask() && (reader.mask(), true))
 * ```
 */
export class RingReader {
  /** The ring that it reads. */
  readonly memory: RingMemory
  /** The packet that {@link RingReader.next} found, until it is called again. */
  readonly packet: RingPacket = new RingPacket()
  readonly #control: Int32Array
  readonly #size: number
  /** Where the packet begins that `next` looks at. */
  #out: number
  /** Where the packet ends that `next` found, and that place in the copy. */
  #end: number
  #endInCopy = 0
  /** `out` in the copy, and the bytes of the copy. */
  #at = 0
  #copied = 0
  /** The `out` that the other side knows. */
  #published: number
  /** The last `in` that was read. */
  #in: number
  #fault: string | undefined

  private constructor(memory: RingMemory, out: number) {
    this.memory = memory
    this.#control = memory.control
    this.#size = memory.size
    this.#out = out
    this.#end = out
    this.#published = out
    this.#in = out
  }

  /**
   * Read on where the control page says, or from `out`, which is then stored there. `undefined` when that is no place in the ring, or `in` is none.
   */
  static open(memory: RingMemory, out?: number): RingReader | undefined {
    const start = out ?? Atomics.load(memory.control, CONTROL.OUT) >>> 0
    if (!isPointer(start, memory.size) || !isPointer(Atomics.load(memory.control, CONTROL.IN) >>> 0, memory.size))
      return undefined
    if (out !== undefined) Atomics.store(memory.control, CONTROL.OUT, out)
    return new RingReader(memory, start)
  }

  /** What is wrong with the ring, once something is. */
  get fault(): string | undefined {
    return this.#fault
  }

  /** The reader's place, as saved state: of the first packet that is not consumed. */
  get position(): number {
    return this.#out
  }

  /** Whether packets were consumed that {@link RingReader.commit} has not told the other side of. */
  get uncommitted(): boolean {
    return this.#out !== this.#published
  }

  /** Consumed bytes that the writer does not know to be free. */
  get uncommittedBytes(): number {
    const bytes = this.#out - this.#published
    return bytes >= 0 ? bytes : this.#size + bytes
  }

  /**
   * Look for a packet: {@link READ}. It stays the next one until {@link RingReader.consume}.
   */
  peek(): ReadResult {
    if (this.#fault !== undefined) return READ.BROKEN
    const out = this.#out
    if (this.#in === out) {
      const at = Atomics.load(this.#control, CONTROL.IN) >>> 0
      if (!isPointer(at, this.#size)) return this.#break(`in is ${at} in a ring of ${this.#size} bytes`)
      if (at === out) return READ.EMPTY
      this.#in = at
    }
    const available = this.#in > out ? this.#in - out : this.#size - out + this.#in
    if (available < MINIMUM_PACKET_SIZE) return this.#break(`${available} bytes are less than a packet`)
    const { packet } = this
    if (this.#copied - this.#at < MINIMUM_PACKET_SIZE) this.#copy(available, MINIMUM_PACKET_SIZE)
    const word = this.#at >>> 2
    const first = packet.words[word] as number
    const second = packet.words[word + 1] as number
    const dataOffset = (first >>> 16) * 8
    const length = (second & 0xffff) * 8
    if (dataOffset < DESCRIPTOR_SIZE || dataOffset > length || length + FOOTER_SIZE > available)
      return this.#break(`a packet of ${length} bytes with data at ${dataOffset}, in ${available} bytes`)
    if (length + FOOTER_SIZE > this.#copied - this.#at) this.#copy(available, length + FOOTER_SIZE)
    const problem = packet.found(this.#at, first, second)
    if (problem !== undefined) return this.#break(problem)
    const end = out + length + FOOTER_SIZE
    this.#end = end >= this.#size ? end - this.#size : end
    this.#endInCopy = this.#at + length + FOOTER_SIZE
    return READ.PACKET
  }

  /**
   * Have `needed` bytes from `out` on in the copy, and of those behind them, up to `available` in all, as many as are good to copy at once. What is in the copy is not
   * read again.
   */
  #copy(available: number, needed: number): void {
    const length = Math.min(available, Math.max(needed, COPY_LIMIT))
    const kept = this.#copied - this.#at
    const { packet } = this
    packet.move(this.#at, kept, length)
    const from = this.#out + kept
    const { memory } = this
    memory.copyOut(from >= this.#size ? from - this.#size : from, length - kept, packet.words, packet.bytes, kept)
    this.#at = 0
    this.#copied = length
  }

  /** Go past the packet that {@link RingReader.peek} found. The other side hears of it with {@link RingReader.commit}. */
  consume(): void {
    this.#out = this.#end
    this.#at = this.#endInCopy
  }

  /** {@link RingReader.peek}, and {@link RingReader.consume} what it found. */
  next(): ReadResult {
    const result = this.peek()
    if (result === READ.PACKET) this.consume()
    return result
  }

  /** Give the consumed bytes back to the writer. True: it waits for room, has it now, and is to be signalled. */
  commit(): boolean {
    const before = this.#published
    const out = this.#out
    if (out === before || this.#fault !== undefined) return false
    this.#published = out
    Atomics.store(this.#control, CONTROL.OUT, out)
    if ((Atomics.load(this.#control, CONTROL.FEATURE_BITS) & FEATURE_PENDING_SEND_SIZE) === 0) return false
    const pending = Atomics.load(this.#control, CONTROL.PENDING_SEND_SIZE) >>> 0
    if (pending === 0) return false
    // Room is judged by an `in` that was read after the pending size: the writer stores that last.
    const at = Atomics.load(this.#control, CONTROL.IN) >>> 0
    if (!isPointer(at, this.#size)) {
      this.#break(`in is ${at} in a ring of ${this.#size} bytes`)
      return false
    }
    const free = at >= out ? this.#size - (at - out) : out - at
    const read = out >= before ? out - before : this.#size - before + out
    return free > pending && free - read <= pending
  }

  /** Ask for no signals while reading. */
  mask(): void {
    Atomics.store(this.#control, CONTROL.INTERRUPT_MASK, 1)
  }

  /** Ask for signals again. True: something came meanwhile, look again. */
  unmask(): boolean {
    Atomics.store(this.#control, CONTROL.INTERRUPT_MASK, 0)
    return (
      this.#fault === undefined &&
      (this.#in !== this.#out || Atomics.load(this.#control, CONTROL.IN) >>> 0 !== this.#out)
    )
  }

  #break(reason: string): ReadResult {
    this.#fault = reason
    return READ.BROKEN
  }
}

/** Whether `pointer` is a place where a packet can begin in `size` bytes. */
export function isPointer(pointer: number, size: number): boolean {
  return pointer >= 0 && pointer < size && pointer % 8 === 0
}
