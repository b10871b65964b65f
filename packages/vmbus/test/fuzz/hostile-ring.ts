// Rings with anything in them, and bytes that change between one read and the next: the reader has to see what the model sees in the bytes that it was given, each of which it may read once; and
// the writer to write what it was asked to, and leave alone what is not its own.

import { CONTROL, READ, RingMemory, RingReader, RingWriter, WRITE } from '../../src/ring.ts'
import { Input, Random } from './input.ts'
import { check } from './invariant.ts'
import { observe } from './observed.ts'
import { readModel } from './ring-model.ts'

const PAGE = 4096
/** Of a byte of the ring that nobody has read. */
const FILL = 0xa5

/** What a reader copies at once. */
const COPY_LIMIT = 65_536

/** Run one input; returns how many packets were looked at, and what they were. */
export function runRingInput(program: Uint8Array): { steps: number; features: ReadonlySet<string> } {
  const ring = new HostileRing(program)
  ring.run()
  return { steps: ring.steps, features: ring.features }
}

class HostileRing {
  steps = 1
  readonly features: Set<string> = new Set()
  readonly #input: Input
  readonly #backing: Uint8Array
  /** Where each page begins in the backing. */
  readonly #places: readonly number[]
  /** The control page, as the other side has it. */
  readonly #control: Int32Array
  readonly #size: number
  /** The data as it was when the host read it last, and how often since it read `in`. */
  readonly #seen: Uint8Array
  readonly #reads: Uint8Array
  /** The `in` that the host has read last, and how often in this call. */
  #seenIn = 0
  #readsOfIn = 0
  #readsOfOut = 0
  /** What the other side does to the ring while the host is in it. */
  #tear: (() => void) | undefined

  constructor(program: Uint8Array) {
    const input = new Input(program)
    this.#input = input
    // The largest is more than a reader copies at once, and slow to observe.
    const pages = input.pick([2, 3, 4, 2, 3, 4, 2, 3, 20])
    // Two rings' pages in turn, so that what goes past the end of a piece shows.
    this.#backing = new Uint8Array(2 * pages * PAGE).fill(FILL)
    const scattered = input.below(2) === 1
    this.#places = Array.from({ length: pages }, (_, page) => (scattered ? 2 * page : page) * PAGE)
    for (const place of this.#places) this.#backing.fill(0, place, place + PAGE)
    this.#control = new Int32Array(this.#backing.buffer, 0, PAGE / 4)
    this.#size = (pages - 1) * PAGE
    this.#seen = new Uint8Array(this.#size)
    this.#reads = new Uint8Array(this.#size)
    const start = input.below(this.#size / 8) * 8
    this.#control[CONTROL.IN] = start
    this.#control[CONTROL.OUT] = start
  }

  run(): void {
    using _ = observe(this.#backing.buffer, {
      before: () => this.#tear?.(),
      read: (offset, length) => this.#read(offset, length),
    })
    const memory = RingMemory.fromPages(this.#places.map((at) => new Uint8Array(this.#backing.buffer, at, PAGE)))
    if (memory === undefined) throw new Error('no ring')
    const input = this.#input
    for (let round = 0; round < 4 && !input.done; round++) {
      const writer = RingWriter.open(memory)
      const reader = RingReader.open(memory)
      if (writer === undefined || reader === undefined) break
      const torn = input.below(3)
      this.#tear = torn === 1 ? this.#tearing(() => this.#changeWriters()) : undefined
      for (let count = input.below(6); count > 0; count--) this.#write(writer)
      writer.commit()
      this.#tear = undefined
      if (this.#size > COPY_LIMIT) this.#fill()
      this.#corrupt()
      this.#tear = torn === 2 ? this.#tearing((random) => this.#changeReaders(random)) : undefined
      this.#compare(reader)
      this.#tear = undefined
    }
    for (let page = 0; page < this.#backing.length / PAGE; page++)
      if (!this.#places.includes(page * PAGE))
        check(
          this.#backing.subarray(page * PAGE, (page + 1) * PAGE).every((byte) => byte === FILL),
          'a store outside of the ring',
        )
  }

  /** Change something at every so-and-so-many-th access. The same input does the same. */
  #tearing(change: (random: Random) => void): () => void {
    const random = new Random(this.#input.u16())
    const often = this.#input.pick([1, 2, 3, 7, 20, 200])
    let left = random.below(often) + 1
    // A guest that never ends is another matter, and not one of a ring by itself.
    let changes = 300
    return () => {
      if (--left > 0 || changes-- <= 0) return
      left = 1 + random.below(2 * often)
      this.features.add('torn')
      change(random)
    }
  }

  /** The writer reads `out`, whether the reader wants signals, and nothing else. */
  #changeWriters(): void {
    const input = this.#input
    const word = input.pick([CONTROL.OUT, CONTROL.OUT, CONTROL.IN, CONTROL.INTERRUPT_MASK, CONTROL.PENDING_SEND_SIZE])
    this.#control[word] = input.pick([0, 8 * input.u8(), input.u16() % this.#size, input.u32()])
  }

  #changeReaders(random: Random): void {
    if (random.below(4) === 0) {
      const out = this.#control[CONTROL.OUT] as number
      const pointers = [(out + 8 * random.below(64)) % this.#size, out, 8 * random.below(this.#size / 8), random.u32()]
      this.#control[random.below(3) === 0 ? CONTROL.PENDING_SEND_SIZE : CONTROL.IN] = pointers[
        random.below(4)
      ] as number
      return
    }
    const at = ((this.#control[CONTROL.OUT] as number) + random.below(128)) % this.#size
    this.#backing[this.#place(at)] = [0, 1, 2, 3, 6, 7, 9, 11, 255, random.u32()][random.below(10)] as number
  }

  /** Where a byte of the data is. */
  #place(at: number): number {
    return (this.#places[1 + Math.floor(at / PAGE)] as number) + (at % PAGE)
  }

  #read(offset: number, length: number): void {
    const page = this.#places.indexOf(offset - (offset % PAGE))
    check(page >= 0, 'a read outside of the ring')
    if (page === 0) {
      if (offset === CONTROL.OUT * 4) this.#readsOfOut++
      if (offset !== CONTROL.IN * 4) return
      this.#seenIn = (this.#control[CONTROL.IN] as number) >>> 0
      this.#readsOfIn++
      this.#reads.fill(0)
      return
    }
    const at = (page - 1) * PAGE + (offset % PAGE)
    for (let byte = at; byte < at + length; byte++) {
      this.#seen[byte] = this.#backing[offset + byte - at] as number
      check(++(this.#reads[byte] as number) === 1, `byte ${byte} is read twice`)
    }
  }

  /** The data as it is now. */
  #data(): Uint8Array {
    const data = new Uint8Array(this.#size)
    for (const [page, place] of this.#places.slice(1).entries())
      data.set(this.#backing.subarray(place, place + PAGE), page * PAGE)
    return data
  }

  #write(writer: RingWriter): void {
    const before = writer.position
    const { free } = writer
    this.#readsOfOut = 0
    const { result, payload } = write(writer, this.#input, this.#size > COPY_LIMIT ? 6 : 1)
    check(this.#readsOfOut <= 1, 'out is read twice for one decision')
    check(writer.free < this.#size, 'more room than there is ring')
    if (result !== WRITE.OK) {
      check(writer.position === before, 'something of a packet that was not written')
      return
    }
    check(writer.free >= 0, 'a ring that is over full')
    check(this.#tear !== undefined || writer.free < free, 'a packet that takes no room')
    const found = readModel(this.#data(), writer.position, before)
    check(found.result === 'packet' && found.next === writer.position, 'a packet that is none')
    if (found.result !== 'packet') return
    check(
      found.payload.length === ((payload.length + 7) & ~7) &&
        found.payload.every((byte, index) => byte === (payload[index] ?? 0)),
      'another payload than was to be written',
    )
  }

  /** Packets of one length, more than a reader copies at once, where the writer's were. */
  #fill(): void {
    const input = this.#input
    const length = 16 + 8 * input.u8() * input.pick([1, 4, 20])
    const out = (this.#control[CONTROL.OUT] as number) >>> 0
    let end = out
    for (let left = this.#size - 8; left >= length + 8; left -= length + 8) {
      for (const [index, byte] of [6, 0, 2, 0, (length / 8) & 0xff, length >>> 11, 0, 0].entries())
        this.#backing[this.#place((end + index) % this.#size)] = byte
      end += length + 8
    }
    this.#control[CONTROL.IN] = end % this.#size
  }

  #corrupt(): void {
    const input = this.#input
    for (let count = input.below(4); count > 0; count--) {
      const at = ((this.#control[CONTROL.OUT] as number) >>> 0) + input.below(64)
      this.#backing[this.#place(at % this.#size)] = input.pick([0, 1, 2, 3, 4, 6, 7, 9, 11, 255, input.u8()])
    }
    if (input.below(5) === 0)
      this.#control[CONTROL.IN] = input.pick([input.u32(), input.u16() % this.#size, 8 * input.u8()])
  }

  /** Read until there is nothing more, next to the model, which has the bytes that the reader was given. */
  #compare(reader: RingReader): void {
    const { features } = this
    this.#seenIn = reader.position
    this.#reads.fill(0)
    for (;;) {
      this.steps++
      const { position } = reader
      this.#readsOfIn = 0
      const found = reader.next()
      check(this.#readsOfIn <= 1, 'in is read twice for one decision')
      const expected = readModel(this.#seen, this.#seenIn, position)
      if (expected.result !== 'packet') {
        features.add(reader.fault === undefined ? 'ring empty' : `ring ${reader.fault.replace(/\d+/g, '#')}`)
        check(found === (expected.result === 'empty' ? READ.EMPTY : READ.BROKEN), `${expected.result}, but ${found}`)
        break
      }
      check(found === READ.PACKET, `a packet, but ${reader.fault}`)
      const { packet } = reader
      features.add(
        `ring packet ${packet.type} ${Math.min(packet.buffer.pieceCount, 4)} ${Math.min(packet.transferRangeCount, 4)}`,
      )
      check(packet.type === expected.type && packet.flags === expected.flags, 'type or flags')
      check(packet.transactionId === expected.transaction, 'transaction')
      const payload = packet.payload()
      check(payload.length === expected.payload.length, 'payload length')
      check(
        payload.every((byte, index) => byte === expected.payload[index]),
        'payload',
      )
      check(reader.position === expected.next, 'the next packet')
      const pieces = expected.pieces.flatMap(([gpa, length]) =>
        Array.from({ length: Math.min(length, 2) }, (_, index) => gpa + index * (length - 1)),
      )
      const total = expected.pieces.reduce((sum, [, length]) => sum + length, 0)
      check(packet.buffer.byteLength === total, 'bytes of ranges')
      // Beyond 2^53 addresses are rounded; no memory is there, and every access fails.
      for (const gpa of pieces) if (gpa < 2 ** 53 - 2 ** 20) check(covers(packet.buffer, gpa), 'ranges')
      check(packet.transferRangeCount === expected.transferRanges.length, 'transfer ranges')
      for (const [index, [length, offset]] of expected.transferRanges.entries())
        check(
          packet.transferRangeLength(index) === length && packet.transferRangeOffset(index) === offset,
          'transfer range',
        )
    }
    reader.commit()
  }
}

function write(writer: RingWriter, input: Input, scale: number): { result: number; payload: Uint8Array } {
  const small = input.bytes(input.pick([0, 5, 16, 40])).slice()
  const big = new Uint8Array(scale * input.pick([0, 0, 300, 2000, 5000]))
  switch (input.below(4)) {
    case 0: {
      const payload = big.length > 0 ? big : small
      return { payload, result: writer.writeInBand(payload, 0, undefined, input.u8(), input.u8(), input.below(2)) }
    }
    case 1: {
      const ranges = Uint32Array.from({ length: 2 * input.below(4) }, () => input.u8())
      return { payload: small, result: writer.writeTransferPages(1, ranges, small) }
    }
    case 2:
      return { payload: small, result: writer.writeCompletion(input.u32(), input.u32(), small) }
    default: {
      const byteOffset = input.pick([0, 8, 4095])
      const byteCount = input.pick([0, 1, 4096, 9000])
      const pages = Array.from({ length: Math.ceil((byteOffset + byteCount) / PAGE) }, () => input.below(20))
      return { payload: small, result: writer.writeGpaDirect([{ byteOffset, byteCount, pages }], small) }
    }
  }
}

function covers(
  buffer: { pieceCount: number; gpa(piece: number): number; length(piece: number): number },
  gpa: number,
): boolean {
  for (let piece = 0; piece < buffer.pieceCount; piece++)
    if (gpa >= buffer.gpa(piece) && gpa < buffer.gpa(piece) + buffer.length(piece)) return true
  return false
}
