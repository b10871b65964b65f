import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { COMMIT, CONTROL, contiguousRange, READ, RingMemory, RingReader, RingWriter, WRITE } from '../src/ring.ts'
import { SharedMemory } from '../src/testing.ts'

interface Ends {
  memory: RingMemory
  reader: RingReader
  writer: RingWriter
  words: Int32Array
}

function ends(memory: RingMemory | undefined): Ends {
  if (memory === undefined) throw new Error('no ring')
  const writer = RingWriter.open(memory)
  const reader = RingReader.open(memory)
  if (writer === undefined || reader === undefined) throw new Error('no ends')
  return { memory, reader, writer, words: memory.control }
}

/** A ring of `pages` pages of data in one piece. */
function ring(pages = 1): Ends & { data: DataView } {
  const buffer = new SharedArrayBuffer((pages + 1) * 4096)
  return { ...ends(RingMemory.fromBuffer(buffer)), data: new DataView(buffer, 4096) }
}

/** A ring whose pages lie in the order of `order`. */
function scattered(order: readonly number[]): Ends {
  const buffer = new SharedArrayBuffer(order.length * 4096)
  return ends(RingMemory.fromPages(order.map((page) => new Uint8Array(buffer, page * 4096, 4096))))
}

function bytes(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 7 + seed) & 0xff)
}

/** Everything that there is to read. */
function drain(reader: RingReader): Uint8Array[] {
  const payloads: Uint8Array[] = []
  while (reader.next() === READ.PACKET) payloads.push(reader.packet.payload().slice())
  return payloads
}

/** Put a packet into the ring by hand, as 16-bit words of the descriptor and 32-bit words behind it, and publish it. */
function forge(
  { data, words }: { data: DataView; words: Int32Array },
  descriptor: readonly number[],
  rest: readonly number[],
  end: number,
) {
  for (const [index, word] of descriptor.entries()) data.setUint16(index * 2, word, true)
  for (const [index, word] of rest.entries()) data.setUint32(16 + index * 4, word, true)
  Atomics.store(words, CONTROL.IN, end)
}

describe('packets', () => {
  it('lie in the ring as the specification has them', () => {
    const { writer, data, words } = ring()
    expect(writer.writeInBand(Uint8Array.of(0xa, 0xb, 0xc), 0, 3, 0x1234_5678, 0x9abc_def0, 1)).toBe(WRITE.OK)
    // Nothing is visible before it is committed.
    expect(words[CONTROL.IN]).toBe(0)
    expect(writer.commit()).toBe(COMMIT.SIGNAL)
    expect(words[CONTROL.IN]).toBe(32)
    expect(Array.from({ length: 4 }, (_, index) => data.getUint16(index * 2, true))).toEqual([6, 2, 3, 1])
    expect(data.getBigUint64(8, true)).toBe(0x9abc_def0_1234_5678n)
    expect([...new Uint8Array(data.buffer, 4096 + 16, 8)]).toEqual([0xa, 0xb, 0xc, 0, 0, 0, 0, 0])
    expect([data.getUint32(24, true), data.getUint32(28, true)]).toEqual([0, 0])
    writer.writeCompletion(7, 0)
    writer.commit()
    expect(words[CONTROL.IN]).toBe(56)
    expect(Array.from({ length: 4 }, (_, index) => data.getUint16(32 + index * 2, true))).toEqual([11, 2, 2, 0])
    expect([data.getUint32(48, true), data.getUint32(52, true)]).toEqual([0, 32])
  })

  it('say what they are', () => {
    const { writer, reader } = ring()
    writer.writeInBand(bytes(5), 1, 4, 1, 2, 1)
    writer.writeTransferPages(0xcafe, Uint32Array.of(60, 0, 1514, 4096), bytes(8), 9)
    writer.writeGpaDirect([contiguousRange(0x1234_5678_9f80, 0x1100), contiguousRange(0x5000, 16)], bytes(4))
    writer.writeCompletion(0xffff_ffff, 0xffff_ffff, bytes(9), 8)
    writer.commit()
    const { packet } = reader

    expect(reader.next()).toBe(READ.PACKET)
    expect(packet).toMatchObject({
      type: 6,
      flags: 1,
      transactionLow: 1,
      transactionHigh: 2,
      completionRequested: true,
    })
    expect([...packet.payload()]).toEqual([...bytes(5).subarray(1, 4), 0, 0, 0, 0, 0])
    expect(packet.buffer.pieceCount).toBe(0)

    expect(reader.next()).toBe(READ.PACKET)
    expect(packet).toMatchObject({ type: 7, transferPageSet: 0xcafe, transferRangeCount: 2, transactionId: 9n })
    expect([packet.transferRangeLength(1), packet.transferRangeOffset(1)]).toEqual([1514, 4096])
    expect(() => packet.transferRangeLength(2)).toThrow(RangeError)
    expect(packet.payload()).toEqual(bytes(8))

    expect(reader.next()).toBe(READ.PACKET)
    expect(packet.type).toBe(9)
    expect(packet.transferRangeCount).toBe(0)
    expect(packet.buffer).toMatchObject({ byteLength: 0x1110, pieceCount: 2 })
    expect([packet.buffer.gpa(0), packet.buffer.length(0)]).toEqual([0x1234_5678_9f80, 0x1100])
    expect([packet.buffer.gpa(1), packet.buffer.length(1)]).toEqual([0x5000, 16])
    expect(() => packet.buffer.gpa(2)).toThrow(RangeError)

    expect(reader.next()).toBe(READ.PACKET)
    expect(packet).toMatchObject({ type: 11, transactionId: 0xffff_ffff_ffff_ffffn, payloadLength: 8 })
    expect(reader.next()).toBe(READ.EMPTY)
  })

  it('come out as they went in, in any size, over the end and over scattered pages', () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 3 }),
        fc.array(fc.tuple(fc.nat(2000), fc.nat(255), fc.boolean()), { maxLength: 200 }),
        (order, steps) => {
          const { reader, writer } = scattered(order.map((page) => order.toSorted().indexOf(page)))
          const sent: Uint8Array[] = []
          for (const [length, seed, drainNow] of steps) {
            const payload = bytes(length, seed)
            const result = writer.writeInBand(payload)
            if (result === WRITE.OK) sent.push(Uint8Array.of(...payload, ...new Array(-length & 7).fill(0)))
            else expect(result).toBe(WRITE.FULL)
            writer.commit()
            if (drainNow || result === WRITE.FULL) {
              expect(drain(reader)).toEqual(sent.splice(0))
              reader.commit()
            }
          }
          expect(drain(reader)).toEqual(sent)
          expect(reader.fault).toBeUndefined()
        },
      ),
      { numRuns: 200 },
    )
  })

  it('longer than the loop of words are copied over the end, too', () => {
    const { reader, writer } = scattered([3, 1, 2, 0])
    for (let round = 0; round < 50; round++) {
      const payload = bytes(4000 + round * 8, round)
      expect(writer.writeInBand(payload)).toBe(WRITE.OK)
      writer.commit()
      expect(drain(reader)).toEqual([payload])
      reader.commit()
    }
  })

  it('come out of rings that are read in several copies, packets that are longer than one among them', () => {
    const pages = 120
    const order = Array.from({ length: pages }, (_, page) => (page * 7) % pages)
    const { reader, writer } = scattered(order)
    let seed = 0
    for (let round = 0; round < 6; round++) {
      const sent: Uint8Array[] = []
      // 4 KiB packets around one of 100,000 bytes, up to the end of the ring.
      for (let count = 0; ; count++) {
        const payload = bytes(count === 9 ? 100_000 : 4096 + 8 * (seed % 40), ++seed)
        if (writer.writeInBand(payload) !== WRITE.OK) break
        sent.push(payload)
      }
      writer.commit()
      expect(sent.length).toBeGreaterThan(30)
      // The first again and again, as for a device that does not take it.
      for (let again = 0; again < 3; again++) {
        expect(reader.peek()).toBe(READ.PACKET)
        expect(Buffer.compare(reader.packet.payload(), sent[0] as Uint8Array)).toBe(0)
      }
      for (const payload of sent) {
        expect(reader.next()).toBe(READ.PACKET)
        expect(Buffer.compare(reader.packet.payload(), payload)).toBe(0)
      }
      expect(reader.next()).toBe(READ.EMPTY)
      reader.commit()
    }
  })

  it('that come while others are read are seen behind them', () => {
    const { reader, writer } = scattered([2, 0, 1, 3])
    let written = 0
    let read = 0
    for (let step = 0; step < 500; step++) {
      for (let count = step % 4; count > 0; count--) {
        const payload = bytes(8 + 8 * (written % 60), written)
        if (writer.writeInBand(payload) === WRITE.OK) written++
        writer.commit()
      }
      for (let count = (step * 3) % 5; count > 0 && reader.next() === READ.PACKET; count--) {
        expect(reader.packet.payload()).toEqual(bytes(8 + 8 * (read % 60), read))
        read++
      }
      reader.commit()
    }
    expect(read).toBeGreaterThan(500)
    expect(written - read).toBe(drain(reader).length)
  })

  it('announce what they stored, without the free bytes', () => {
    const { memory, reader, writer } = ring()
    const stored: [number, number][] = []
    memory.onStored = (offset, length) => stored.push([offset, length])
    writer.writeInBand(bytes(2000))
    writer.writeInBand(bytes(1000))
    writer.commit()
    drain(reader)
    reader.commit()
    writer.writeInBand(bytes(1496))
    expect(stored).toEqual([
      [0, 2024],
      [2024, 1024],
      [3048, 1048],
      [0, 472],
    ])
  })
})

describe('a ring of pages', () => {
  it('merges neighbours', () => {
    const buffer = new SharedArrayBuffer(6 * 4096)
    const page = (index: number) => new Uint8Array(buffer, index * 4096, 4096)
    expect(RingMemory.fromPages([0, 1, 2, 3].map(page))?.segments).toBe(1)
    expect(RingMemory.fromPages([0, 1, 2, 4].map(page))?.segments).toBe(2)
    expect(RingMemory.fromPages([5, 3, 2, 1].map(page))?.segments).toBe(3)
    expect(RingMemory.fromPages([page(0), page(1), new Uint8Array(new SharedArrayBuffer(4096))])?.segments).toBe(2)
  })

  it('needs whole pages, a control page and one of data', () => {
    const page = new Uint8Array(4096)
    expect(RingMemory.fromPages([])).toBeUndefined()
    expect(RingMemory.fromPages([page])).toBeUndefined()
    expect(RingMemory.fromPages([page, new Uint8Array(4095)])).toBeUndefined()
    expect(RingMemory.fromPages([new Uint8Array(new ArrayBuffer(5000), 2, 4096), page])).toBeUndefined()
    expect(RingMemory.fromBuffer(new SharedArrayBuffer(8191))).toBeUndefined()
    expect(RingMemory.fromPages(new Array(0x1_0001).fill(page))).toBeUndefined()
  })

  it('opens only with pointers that are places in it', () => {
    for (const [word, value] of [
      [CONTROL.IN, 4],
      [CONTROL.IN, 4096],
      [CONTROL.OUT, -8],
      [CONTROL.OUT, 0x7fff_fff8],
    ] as const) {
      const memory = RingMemory.fromBuffer(new SharedArrayBuffer(8192)) as RingMemory
      memory.control[word] = value
      expect(RingReader.open(memory)).toBeUndefined()
      expect(RingWriter.open(memory)).toBeUndefined()
    }
  })
})

describe('room', () => {
  it('is never used up: a full ring would look empty', () => {
    const { writer, reader, words } = ring()
    expect(writer.maxPayload).toBe(4096 - 8 - 8 - 16)
    expect(writer.writeInBand(bytes(writer.maxPayload + 1))).toBe(WRITE.TOO_LARGE)
    expect(writer.writeInBand(bytes(writer.maxPayload))).toBe(WRITE.OK)
    expect(writer.free).toBe(0)
    expect(writer.writeCompletion(0, 0)).toBe(WRITE.FULL)
    writer.commit()
    expect(words[CONTROL.IN]).toBe(4088)
    expect(drain(reader)).toHaveLength(1)
    expect(writer.writeCompletion(0, 0)).toBe(WRITE.FULL)
    reader.commit()
    expect(writer.writeCompletion(0, 0)).toBe(WRITE.OK)
  })

  it('has packets of at most 65,535 units of 8 bytes', () => {
    const { writer } = ring(256)
    expect(writer.maxPayload).toBe(0xffff * 8 - 16)
    expect(writer.writeInBand(bytes(writer.maxPayload + 1))).toBe(WRITE.TOO_LARGE)
  })
})

describe('signals of the writer', () => {
  it('are due exactly when the ring was empty and the reader does not read', () => {
    const { writer, reader } = ring()
    const send = () => {
      writer.writeInBand(bytes(8))
      return writer.commit()
    }
    expect(writer.commit()).toBe(COMMIT.NOTHING)
    expect(send()).toBe(COMMIT.SIGNAL)
    expect(send()).toBe(COMMIT.SPARED)
    drain(reader)
    expect(reader.uncommittedBytes).toBe(64)
    // The reader has taken everything, but not said so: it will look again.
    expect(send()).toBe(COMMIT.SPARED)
    reader.commit()
    expect(send()).toBe(COMMIT.SPARED)
    drain(reader)
    reader.commit()
    expect(send()).toBe(COMMIT.SIGNAL)
    drain(reader)
    reader.commit()
    reader.mask()
    expect(send()).toBe(COMMIT.SPARED)
    expect(reader.unmask()).toBe(true)
    drain(reader)
    reader.commit()
    expect(reader.unmask()).toBe(false)
    expect(send()).toBe(COMMIT.SIGNAL)
  })

  it('are one for a batch', () => {
    const { writer, reader } = ring()
    for (let count = 0; count < 10; count++) writer.writeInBand(bytes(8))
    expect(writer.uncommitted).toBe(true)
    expect(writer.commit()).toBe(COMMIT.SIGNAL)
    expect(drain(reader)).toHaveLength(10)
  })
})

describe('signals of the reader', () => {
  /** A ring that a writer found full with a packet of `size` bytes in all. */
  function full(size: number) {
    const all = ring()
    while (all.writer.writeInBand(bytes(100)) === WRITE.OK);
    all.writer.commit()
    expect(all.writer.writeInBand(bytes(size - 24))).toBe(WRITE.FULL)
    expect(all.writer.wait()).toBe(false)
    expect(all.words[CONTROL.PENDING_SEND_SIZE]).toBe(size)
    return all
  }

  it('are due when the free bytes pass what the writer waits for, and then once', () => {
    const { reader, writer, words } = full(1024)
    const signals: number[] = []
    for (let packet = 1; reader.next() === READ.PACKET; packet++) if (reader.commit()) signals.push(packet)
    // 31 packets of 128 bytes leave 128 free; 1,024 bytes fit, with 8 to spare, after eight are gone.
    expect(signals).toEqual([8])
    expect(writer.writeInBand(bytes(1000))).toBe(WRITE.OK)
    writer.stopWaiting()
    expect(words[CONTROL.PENDING_SEND_SIZE]).toBe(0)
  })

  it('are one for a batch that passes it', () => {
    const { reader } = full(1024)
    expect(drain(reader).length).toBeGreaterThan(8)
    expect(reader.commit()).toBe(true)
    expect(reader.commit()).toBe(false)
  })

  it('are not sent to a side that does not announce to wait so', () => {
    const { reader, words } = full(1024)
    words[CONTROL.FEATURE_BITS] = 0
    drain(reader)
    expect(reader.commit()).toBe(false)
  })

  it('are not needed when there is room by the time that the writer waits', () => {
    const { reader, writer } = ring()
    while (writer.writeInBand(bytes(100)) === WRITE.OK);
    writer.commit()
    drain(reader)
    // The reader's last look at the pending size was before the writer set it.
    expect(reader.commit()).toBe(false)
    expect(writer.hasRoom()).toBe(true)
    expect(writer.wait()).toBe(true)
  })
})

describe('a malformed ring', () => {
  it.each([
    ['in that is no multiple of 8', 12],
    ['in behind the end', 4096],
    ['in far behind the end', -8],
    ['in within the first packet', 16],
  ])('breaks for good: %s', (_, value) => {
    const { reader, writer, words } = ring()
    writer.writeInBand(bytes(8))
    writer.commit()
    Atomics.store(words, CONTROL.IN, value)
    expect(reader.next()).toBe(READ.BROKEN)
    expect(reader.fault).toBeTypeOf('string')
    Atomics.store(words, CONTROL.IN, 32)
    expect(reader.next()).toBe(READ.BROKEN)
    expect(reader.commit()).toBe(false)
    expect(reader.unmask()).toBe(false)
  })

  it.each([
    ['a length beyond what there is', [6, 2, 4, 0], []],
    ['a length of nothing', [6, 0, 0, 0], []],
    ['data within the descriptor', [6, 1, 3, 0], []],
    ['data behind the packet', [6, 4, 3, 0], []],
    ['a type that is none', [0, 2, 3, 0], []],
    ['a type that is not for rings', [8, 2, 3, 0], []],
    ['a GPA-direct packet without a header of its own', [9, 2, 3, 0], [0, 1]],
    ['a transfer-pages packet without a header of its own', [7, 2, 3, 0], [0, 1]],
    ['GPA ranges that are not there', [9, 3, 3, 0], [0, 1]],
    ['transfer ranges that are not there', [7, 3, 3, 0], [0, 1]],
    ['transfer ranges without number', [7, 3, 3, 0], [0, 0x2000_0001]],
  ])('breaks with %s', (_, descriptor, rest) => {
    const all = ring()
    forge(all, descriptor, rest, 32)
    expect(all.reader.next()).toBe(READ.BROKEN)
  })

  it.each([
    ['whose pages are not all there', 4097, 0],
    ['that begins behind its first page', 8, 4096],
    ['that has no end', 0xffff_ffff, 0],
    ['that has no end, and begins late', 0xffff_ffff, 4095],
  ])('breaks with a range %s', (_, byteCount, byteOffset) => {
    const all = ring()
    forge(all, [9, 5, 5, 0], [0, 1, byteCount, byteOffset, 7, 0], 48)
    expect(all.reader.next()).toBe(READ.BROKEN)
  })

  it('breaks for the writer when out is no place', () => {
    const { writer, words } = ring()
    while (writer.writeInBand(bytes(100)) === WRITE.OK);
    words[CONTROL.OUT] = 3
    expect(writer.writeInBand(bytes(100))).toBe(WRITE.BROKEN)
    expect(writer.commit()).toBe(COMMIT.NOTHING)
    expect(writer.wait()).toBe(false)
    expect(writer.hasRoom()).toBe(false)
    const other = ring()
    other.writer.writeInBand(bytes(8))
    other.words[CONTROL.OUT] = 4096
    expect(other.writer.commit()).toBe(COMMIT.SPARED)
    expect(other.writer.fault).toBeTypeOf('string')
  })

  it('does not move the pointers that are this side’s own', () => {
    const { reader, writer, words } = ring()
    words[CONTROL.OUT] = 2048
    words[CONTROL.IN] = 0
    writer.writeInBand(bytes(8))
    words[CONTROL.IN] = 1024
    writer.commit()
    expect(words[CONTROL.IN]).toBe(32)
    expect(drain(reader)).toHaveLength(1)
    reader.commit()
    expect(words[CONTROL.OUT]).toBe(32)
  })

  it('looks at each byte once, though it is copied in parts', () => {
    const pages = 40
    const buffer = new SharedArrayBuffer(pages * 4096)
    const { memory, reader, writer } = ends(RingMemory.fromBuffer(buffer))
    for (let count = 0; count < 30; count++) writer.writeInBand(bytes(4096, count))
    writer.commit()
    for (let count = 0; count < 15; count++) expect(reader.next()).toBe(READ.PACKET)
    // The 16th began in the first copy and goes on in the second: its beginning is not read again.
    const start = 15 * (4096 + 24)
    expect(start + 4120).toBeGreaterThan(65536)
    new Uint8Array(buffer, 4096 + start, 1024).fill(0xff)
    expect(reader.next()).toBe(READ.PACKET)
    expect(reader.packet.type).toBe(6)
    expect(reader.packet.payload().subarray(0, 1008)).toEqual(bytes(4096, 15).subarray(0, 1008))
    expect(memory.size).toBe((pages - 1) * 4096)
  })

  it('gives a packet that the other side cannot change any more', () => {
    const { reader, writer, data } = ring()
    writer.writeGpaDirect([contiguousRange(0x3000, 100)], bytes(16))
    writer.commit()
    expect(reader.next()).toBe(READ.PACKET)
    for (let at = 0; at < 4096; at++) data.setUint8(at, 0xff)
    expect(reader.packet.payload()).toEqual(bytes(16))
    expect(reader.packet).toMatchObject({ payloadLength: 16, payloadOffset: 40, type: 9 })
    expect(reader.packet.view.getUint32(20, true)).toBe(1)
    expect(reader.packet.buffer.gpa(0)).toBe(0x3000)
  })
})

describe('guest buffers', () => {
  it('read and write scattered pieces, and refuse what is not there', () => {
    const memory = new SharedMemory(16 * 4096)
    const { reader, writer } = ring()
    const ranges = [
      { byteOffset: 4000, byteCount: 200, pages: [3, 9] },
      { byteOffset: 104, byteCount: 10, pages: [9] },
      { byteOffset: 0, byteCount: 0, pages: [] },
      { byteOffset: 5, byteCount: 3, pages: [1] },
    ]
    writer.writeGpaDirect(ranges, new Uint8Array(0))
    writer.commit()
    expect(reader.next()).toBe(READ.PACKET)
    const { buffer } = reader.packet
    // The second range goes on where the first one ends.
    expect(Array.from({ length: buffer.pieceCount }, (_, piece) => [buffer.gpa(piece), buffer.length(piece)])).toEqual([
      [3 * 4096 + 4000, 96],
      [9 * 4096, 114],
      [4096 + 5, 3],
    ])
    const data = bytes(213)
    expect(buffer.write(memory, 0, data)).toBe(true)
    expect(memory.bytes[3 * 4096 + 4000]).toBe(data[0])
    expect(memory.bytes[9 * 4096]).toBe(data[96])
    expect(memory.bytes[4096 + 7]).toBe(data[212])
    const back = new Uint8Array(150)
    expect(buffer.read(memory, 60, back)).toBe(true)
    expect(back).toEqual(data.subarray(60, 210))
    expect(buffer.read(memory, 64, back)).toBe(false)
    expect(buffer.read(memory, -1, back)).toBe(false)
  })

  it('of pages that are no memory fail, and touch nothing else', () => {
    const memory = new SharedMemory(16 * 4096)
    const { reader, writer } = ring()
    writer.writeGpaDirect([{ byteOffset: 0, byteCount: 8192, pages: [2 ** 52 - 1, 3] }], new Uint8Array(0))
    writer.commit()
    expect(reader.next()).toBe(READ.PACKET)
    expect(reader.packet.buffer.read(memory, 0, new Uint8Array(10))).toBe(false)
    expect(reader.packet.buffer.write(memory, 0, bytes(8192))).toBe(false)
    expect(reader.packet.buffer.read(memory, 4096, new Uint8Array(10))).toBe(true)
  })
})

describe('saved state', () => {
  it('is the place of each end', () => {
    const { memory, reader, writer } = ring()
    for (let index = 0; index < 5; index++) writer.writeInBand(bytes(8, index))
    writer.commit()
    reader.next()
    reader.next()
    // Neither has told the other yet.
    writer.writeInBand(bytes(8, 5))
    const [out, at] = [reader.position, writer.position]
    const restored = RingReader.open(memory, out) as RingReader
    const writing = RingWriter.open(memory, at) as RingWriter
    expect(drain(restored)).toEqual([2, 3, 4, 5].map((seed) => bytes(8, seed)))
    expect(memory.control[CONTROL.OUT]).toBe(out)
    expect(writing.writeInBand(bytes(8))).toBe(WRITE.OK)
  })
})

describe('two threads', () => {
  it('lose no packet and no signal', async () => {
    // A ring of one page, so that either side often has to wait for the other.
    const buffer = new SharedArrayBuffer(8192)
    const bells = new SharedArrayBuffer(8)
    const count = 30_000
    const start = (role: string) =>
      new Worker(new URL('./ring-worker.ts', import.meta.url), {
        workerData: { role, buffer, bells, count },
        execArgv: ['--conditions=@partita/source'],
      })
    const workers = [start('writer'), start('reader')]
    const results = await Promise.all(workers.map((worker) => once(worker, 'message')))
    expect(results.map(([result]) => result.faults)).toEqual([0, 0])
    expect(results[1]?.[0].packets).toBe(count)
    // Signals are spared: one for each packet would be no test of the rules.
    expect(results[0]?.[0].signals).toBeLessThan(count)
    await Promise.all(workers.map((worker) => worker.terminate()))
  })

  it('break a ring that one of them scribbles on, and nothing else', async () => {
    const buffer = new SharedArrayBuffer(8192)
    const worker = new Worker(new URL('./ring-worker.ts', import.meta.url), {
      workerData: { role: 'scribbler', buffer, bells: new SharedArrayBuffer(8), count: 0 },
      execArgv: ['--conditions=@partita/source'],
    })
    await once(worker, 'message')
    const found: Record<number, number> = { [READ.PACKET]: 0, [READ.BROKEN]: 0, [READ.EMPTY]: 0 }
    const memory = RingMemory.fromBuffer(buffer) as RingMemory
    const start = performance.now()
    // The other thread may get its first turn late.
    for (
      let time = 0;
      time < 500 || ((!found[READ.PACKET] || !found[READ.BROKEN]) && time < 100_000);
      time = performance.now() - start
    ) {
      const reader = RingReader.open(memory, 0)
      if (reader === undefined) continue
      for (let packets = 0; packets < 100; packets++) {
        const result = reader.next()
        found[result] = (found[result] ?? 0) + 1
        if (result !== READ.PACKET) break
        const { packet } = reader
        expect(packet.payloadOffset + packet.payloadLength).toBeLessThanOrEqual(4096)
        expect(packet.payloadOffset).toBeGreaterThanOrEqual(16)
        expect(packet.payload().length).toBe(packet.payloadLength)
        for (let range = 0; range < packet.transferRangeCount; range++) packet.transferRangeLength(range)
        reader.commit()
      }
    }
    await worker.terminate()
    expect(found[READ.PACKET]).toBeGreaterThan(0)
    expect(found[READ.BROKEN]).toBeGreaterThan(0)
  })
})
