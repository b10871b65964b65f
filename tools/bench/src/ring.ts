// `ring`: packets one way through a ring of `@partita/vmbus`, next to plain copies of their payloads into shared memory and out again. Writer and reader are in one
// thread and take turns, batch by batch, as a provider and a guest on one virtual processor do.
//
// A plain copy moves the payload alone, in one piece, from one place to another that is aligned to its size: no ring can do that, since it has descriptors between the
// payloads, and where its pages lie apart, each packet of a page or more lies on two of them. So there is a second measure: the payloads copied to and from where the
// ring has them, piece by piece.

import { COMMIT, READ, RingMemory, RingReader, RingWriter, WRITE } from '@partita/vmbus/ring'
import { median } from './statistics.ts'
import { table } from './table.ts'
import { verdict, verdictAtLeast } from './verdict.ts'

const PAGE = 4096
/** Data of the ring; as much as Linux' storage driver has by default. */
const RING_PAGES = 32
/** Bytes that a batch fills of the ring at most. */
const BATCH_BYTES = 64 * 1024
const BATCH_PACKETS = 128
/** Bytes of payload; the first and the last have targets. */
const SIZES = [32, 256, 1024, 4096] as const
/** Descriptor and footer. */
const OVERHEAD = 24
/** Nanoseconds that one measurement shall take, about. */
const DURATION = 200e6
const WARM_UP_ROUNDS = 5
/** Times of the copies, for 4 KiB. */
const COPY_TARGET = 1.5
/** Small packets a second, in millions. */
const RATE_TARGET = 1

/** How the ring's pages lie in the guest's memory: one behind the other, or each alone. */
const LAYOUTS = { 'one piece': 1, scattered: 2 } as const
type Layout = keyof typeof LAYOUTS

/** Seconds of one measurement. */
interface Sample {
  readonly processor: number
  readonly wall: number
}

/** Something that moves packets of one size. */
interface Mover {
  readonly label: string
  /** Move `batches` batches. */
  move(batches: number): void
}

export async function ring(runs: number): Promise<void> {
  const rows: string[][] = []
  const verdicts: string[] = []
  for (const size of SIZES) {
    for (const layout of Object.keys(LAYOUTS) as Layout[]) {
      const result = measure(size, layout, runs)
      rows.push([`${size} bytes, ${layout}`, ...result.cells])
      if (size === SIZES[0]) {
        verdicts.push(
          verdictAtLeast(`ring, ${size} bytes, ${layout}`, result.rate / 1e6, RATE_TARGET, 'million a second'),
        )
      }
      if (size === SIZES.at(-1)) {
        const name = `ring, ${size} bytes, ${layout}`
        verdicts.push(verdict(name, result.ratio, COPY_TARGET, 'times copies in one piece, in and out'))
        verdicts.push(verdict(name, result.placeRatio, COPY_TARGET, 'times copies at the same places, in and out'))
      }
    }
  }
  console.log(
    `Packets one way through a ring of ${RING_PAGES} pages, by processor time; medians of ${runs} alternating runs`,
  )
  console.log(
    'Copies are of the payloads alone, into shared memory and out: in one piece, and at the places that the ring has',
  )
  const header = [
    'packet',
    '10⁶ packets/s',
    'by the clock',
    'MB/s',
    'ns',
    'one piece, ns',
    'same places, ns',
    'only in, ns',
  ]
  console.log(table([[...header, 'ring/one piece', 'ring/same places', 'ring/only in'], ...rows]))
  for (const line of verdicts) console.log(line)
}

function measure(
  size: number,
  layout: Layout,
  runs: number,
): { cells: string[]; rate: number; ratio: number; placeRatio: number } {
  const count = Math.min(BATCH_PACKETS, Math.floor(BATCH_BYTES / (size + OVERHEAD)))
  const movers = [
    new RingMover(size, count, layout),
    copyInAndOut(size, count),
    copyAtPlaces(size, count, layout),
    copyOnce(size, count),
  ]
  const batches = movers.map((mover) => {
    // Long enough for the engine's best code, and to know how many batches take the time wanted.
    let rounds = 16
    for (let round = 0; round < WARM_UP_ROUNDS; round++) {
      const { wall } = time(mover, rounds)
      rounds = Math.max(16, Math.ceil((rounds * DURATION) / (wall * 1e9)))
    }
    return rounds
  })
  const samples = movers.map((): Sample[] => [])
  for (let run = 0; run < runs; run++) {
    for (const [i, mover] of movers.entries()) {
      const rounds = batches[i] as number
      const { processor, wall } = time(mover, rounds)
      samples[i]?.push({ processor: processor / rounds / count, wall: wall / rounds / count })
    }
  }
  const [own, inAndOut, places, once] = samples as [Sample[], Sample[], Sample[], Sample[]]
  const seconds = median(own.map(({ processor }) => processor))
  // Neighbours in time have the same load on the machine.
  const times = (peer: readonly Sample[]): number =>
    median(own.map(({ processor }, run) => processor / (peer[run] as Sample).processor))
  const nanoseconds = (peer: readonly Sample[]): string =>
    (median(peer.map(({ processor }) => processor)) * 1e9).toFixed(1)
  const ratio = times(inAndOut)
  const placeRatio = times(places)
  return {
    rate: 1 / seconds,
    ratio,
    placeRatio,
    cells: [
      (1e-6 / seconds).toFixed(2),
      (1e-6 / median(own.map(({ wall }) => wall))).toFixed(2),
      (size / seconds / 1e6).toFixed(0),
      nanoseconds(own),
      nanoseconds(inAndOut),
      nanoseconds(places),
      nanoseconds(once),
      ratio.toFixed(2),
      placeRatio.toFixed(2),
      times(once).toFixed(2),
    ],
  }
}

function time(mover: Mover, batches: number): Sample {
  const processorStart = process.threadCpuUsage()
  const start = performance.now()
  mover.move(batches)
  const wall = (performance.now() - start) / 1e3
  const { user, system } = process.threadCpuUsage(processorStart)
  return { processor: (user + system) / 1e6, wall }
}

/** Every packet has its number in the first word, and the reader looks at it. */
class RingMover implements Mover {
  readonly label = 'ring'
  readonly #writer: RingWriter
  readonly #reader: RingReader
  readonly #payload: Uint8Array
  readonly #numbers: Int32Array
  readonly #count: number
  #number = 0

  constructor(size: number, count: number, layout: Layout) {
    const distance = LAYOUTS[layout]
    const pages = (RING_PAGES + 1) * distance
    // As a partition's RAM is: a shared WebAssembly.Memory.
    const { buffer } = new WebAssembly.Memory({ initial: Math.ceil(pages / 16), maximum: 65536, shared: true })
    const memory = RingMemory.fromPages(
      Array.from({ length: RING_PAGES + 1 }, (_, page) => new Uint8Array(buffer, page * distance * PAGE, PAGE)),
    )
    const writer = memory && RingWriter.open(memory)
    const reader = memory && RingReader.open(memory)
    if (writer === undefined || reader === undefined) throw new Error('the ring cannot be opened')
    this.#writer = writer
    this.#reader = reader
    this.#payload = new Uint8Array(size).map((_, at) => at * 7)
    this.#numbers = new Int32Array(this.#payload.buffer)
    this.#count = count
    this.#check()
  }

  move(batches: number): void {
    const writer = this.#writer
    const reader = this.#reader
    const payload = this.#payload
    const numbers = this.#numbers
    const count = this.#count
    let number = this.#number
    for (let batch = 0; batch < batches; batch++) {
      const first = number
      for (let packet = 0; packet < count; packet++) {
        numbers[0] = number
        if (writer.writeInBand(payload, 0, payload.length, number, 0, 0) !== WRITE.OK)
          throw new Error('the ring is full')
        number = (number + 1) | 0
      }
      if (writer.commit() !== COMMIT.SIGNAL) throw new Error('the reader is not woken')
      reader.mask()
      let expected = first
      while (reader.next() === READ.PACKET) {
        const { packet } = reader
        if (packet.words[packet.payloadOffset >>> 2] !== expected) throw new Error(`packet ${expected} is not there`)
        expected = (expected + 1) | 0
      }
      reader.commit()
      reader.unmask()
      if (expected !== number || reader.fault !== undefined) throw new Error(`packets got lost: ${reader.fault}`)
    }
    this.#number = number
  }

  /** Several times around the ring, all bytes compared. */
  #check(): void {
    const size = this.#payload.length
    for (let packet = 0; packet < (4 * RING_PAGES * PAGE) / size; packet++) {
      this.#numbers[0] = packet
      this.#writer.writeInBand(this.#payload)
      this.#writer.commit()
      if (this.#reader.next() !== READ.PACKET || Buffer.compare(this.#reader.packet.payload(), this.#payload) !== 0) {
        throw new Error(`packet ${packet} does not come out as it went in`)
      }
      this.#reader.commit()
    }
  }
}

/** What any ring must do whose reader keeps nothing in shared memory: copy a batch of payloads in, and out again. */
function copyInAndOut(size: number, count: number): Mover {
  const { shared, payload, target } = copyMemory(size)
  const places = Math.floor(shared.length / size)
  return {
    label: 'copied in and out',
    move(batches) {
      let place = 0
      for (let batch = 0; batch < batches; batch++) {
        const first = place
        for (let packet = 0; packet < count; packet++) {
          shared.set(payload, place * size)
          place = place + 1 === places ? 0 : place + 1
        }
        place = first
        for (let packet = 0; packet < count; packet++) {
          target.set(new Uint8Array(shared.buffer, place * size, size))
          place = place + 1 === places ? 0 : place + 1
        }
      }
    },
  }
}

/** The same, at the places of a ring's payloads: one packet behind the other, in pieces where its pages lie apart, and where it begins anew. */
function copyAtPlaces(size: number, count: number, layout: Layout): Mover {
  const distance = LAYOUTS[layout]
  const { buffer } = new WebAssembly.Memory({
    initial: Math.ceil((RING_PAGES * distance) / 16),
    maximum: 65536,
    shared: true,
  })
  const piece = distance === 1 ? RING_PAGES * PAGE : PAGE
  const pieces = Array.from(
    { length: (RING_PAGES * PAGE) / piece },
    (_, index) => new Uint8Array(buffer, index * distance * PAGE, piece),
  )
  const payload = new Uint8Array(size)
  const target = new Uint8Array(size)
  const step = size + OVERHEAD
  const ringSize = RING_PAGES * PAGE
  const each = (
    position: number,
    copy: (shared: Uint8Array, at: number, from: number, length: number) => void,
  ): void => {
    for (let from = 0; from < size; ) {
      const place = (position + from) % ringSize
      const shared = pieces[Math.floor(place / piece)] as Uint8Array
      const length = Math.min(size - from, piece - (place % piece))
      copy(shared, place % piece, from, length)
      from += length
    }
  }
  const into = (shared: Uint8Array, at: number, from: number, length: number): void =>
    shared.set(length === size ? payload : new Uint8Array(payload.buffer, from, length), at)
  const out = (shared: Uint8Array, at: number, from: number, length: number): void =>
    target.set(new Uint8Array(shared.buffer, shared.byteOffset + at, length), from)
  let start = 16
  return {
    label: 'copied at the same places',
    move(batches) {
      for (let batch = 0; batch < batches; batch++) {
        for (let packet = 0; packet < count; packet++) each(start + packet * step, into)
        for (let packet = 0; packet < count; packet++) each(start + packet * step, out)
        start = (start + count * step) % ringSize
      }
    },
  }
}

/** The payload to shared memory, and nobody reads it. */
function copyOnce(size: number, count: number): Mover {
  const { shared, payload } = copyMemory(size)
  const places = Math.floor(shared.length / size)
  return {
    label: 'copied once',
    move(batches) {
      let place = 0
      for (let packet = 0; packet < batches * count; packet++) {
        shared.set(payload, place * size)
        place = place + 1 === places ? 0 : place + 1
      }
    },
  }
}

function copyMemory(size: number): { shared: Uint8Array; payload: Uint8Array; target: Uint8Array } {
  const { buffer } = new WebAssembly.Memory({ initial: RING_PAGES / 16, maximum: 65536, shared: true })
  return { shared: new Uint8Array(buffer), payload: new Uint8Array(size), target: new Uint8Array(size) }
}
