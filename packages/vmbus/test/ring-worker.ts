// One thread of the tests with two: writes, reads, or scribbles on a ring.

import { parentPort, workerData } from 'node:worker_threads'
import { COMMIT, READ, RingMemory, RingReader, RingWriter, WRITE } from '../src/ring.ts'

interface Task {
  role: 'writer' | 'reader' | 'scribbler'
  buffer: SharedArrayBuffer
  /** A counter of signals to the reader and one to the writer. */
  bells: SharedArrayBuffer
  count: number
}

const { role, buffer, bells, count } = workerData as Task
const bell = new Int32Array(bells)
const READER = 0
const WRITER = 1
/** A lost signal shows as this wait ending by itself. The other thread may begin late. */
const PATIENCE = 60_000

const memory = RingMemory.fromBuffer(buffer) as RingMemory
let signals = 0
let faults = 0

function ring(which: number): void {
  signals++
  Atomics.add(bell, which, 1)
  Atomics.notify(bell, which)
}

/** Sleep until the bell has rung since `heard`. */
function sleep(which: number, heard: number): void {
  if (Atomics.wait(bell, which, heard, PATIENCE) === 'timed-out') throw new Error('a signal was lost')
}

function write(): void {
  const writer = RingWriter.open(memory) as RingWriter
  const payload = new Uint8Array(400)
  const view = new DataView(payload.buffer)
  for (let packet = 0; packet < count; ) {
    view.setUint32(0, packet, true)
    const heard = Atomics.load(bell, WRITER)
    const result = writer.writeInBand(payload, 0, 8 + (packet % 393))
    if (result === WRITE.OK) {
      packet++
      writer.stopWaiting()
      // Batches of different sizes.
      if (packet % 7 !== 0 && packet % 3 !== 0 && packet !== count) continue
    } else if (result !== WRITE.FULL) throw new Error(writer.fault)
    if (writer.commit() === COMMIT.SIGNAL) ring(READER)
    if (result === WRITE.FULL && !writer.wait()) sleep(WRITER, heard)
  }
  parentPort?.postMessage({ packets: count, signals, faults })
}

function read(): void {
  const reader = RingReader.open(memory) as RingReader
  let packets = 0
  while (packets < count) {
    const heard = Atomics.load(bell, READER)
    do {
      reader.mask()
      for (;;) {
        const result = reader.next()
        if (result === READ.BROKEN) throw new Error(reader.fault)
        if (result === READ.EMPTY) break
        const { packet } = reader
        const expected = (8 + (packets % 393) + 7) & ~7
        if (packet.view.getUint32(packet.payloadOffset, true) !== packets || packet.payloadLength !== expected) faults++
        packets++
        if (packets % 5 === 0 && reader.commit()) ring(WRITER)
      }
      if (reader.commit()) ring(WRITER)
    } while (reader.unmask())
    if (packets < count) sleep(READER, heard)
  }
  parentPort?.postMessage({ packets, signals, faults })
}

function scribble(): void {
  const words = new Uint32Array(buffer)
  const halves = new Uint16Array(buffer)
  let seed = 1
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return (seed >>> 8) % limit
  }
  parentPort?.postMessage('ready')
  for (;;) {
    // Descriptors that are nearly right, and pointers that mostly are.
    for (let place = 0; place < 64; place++) {
      const start = 2048 + place * 4
      halves[start] = [6, 7, 9, 11][random(4)] as number
      halves[start + 1] = 2 + random(4)
      halves[start + 2] = 2 + random(8)
      halves[start + 3] = random(2)
    }
    words[0] = random(50) === 0 ? random(0xffff_ffff) : random(64) * 8
  }
}

if (role === 'writer') write()
else if (role === 'reader') read()
else scribble()
