// Rings with anything in them: the reader has to see what the model sees, and the writer to leave alone what is not its own.

import { CONTROL, READ, RingMemory, RingReader, RingWriter, WRITE } from '../../src/ring.ts'
import { Input } from './input.ts'
import { readModel } from './ring-model.ts'

const PAGE = 4096

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`invariant: ${what}`)
}

/** Run one input; returns how many packets were looked at, and what they were. */
export function runRingInput(program: Uint8Array): { steps: number; features: ReadonlySet<string> } {
  const input = new Input(program)
  const features = new Set<string>()
  // Two rings' pages in turn, so that what goes past the end of a piece shows.
  const pages = input.pick([2, 3, 4])
  const backing = new Uint8Array(2 * pages * PAGE).fill(0xa5)
  const scattered = input.below(2) === 1
  const views = Array.from({ length: pages }, (_, page) => {
    const place = (scattered ? 2 * page : page) * PAGE
    backing.fill(0, place, place + PAGE)
    return backing.subarray(place, place + PAGE)
  })
  const memory = RingMemory.fromPages(views)
  if (memory === undefined) throw new Error('no ring')
  const data = (): Uint8Array => Uint8Array.from(views.slice(1).flatMap((view) => [...view]))
  const start = input.below(memory.size / 8) * 8
  memory.control[CONTROL.IN] = start
  memory.control[CONTROL.OUT] = start
  let steps = 0

  for (let round = 0; round < 4 && !input.done; round++) {
    const writer = RingWriter.open(memory)
    const reader = RingReader.open(memory)
    if (writer === undefined || reader === undefined) break
    for (let count = input.below(6); count > 0; count--) {
      const free = writer.free
      const result = write(writer, input)
      check(result !== WRITE.OK || writer.free < free, 'a packet that takes no room')
      check(writer.free >= 0 || result !== WRITE.OK, 'a ring that is over full')
    }
    writer.commit()
    corrupt(memory, views, input)
    steps += compare(memory, reader, data(), features)
  }
  for (let page = 0; scattered && page < pages; page++)
    check(
      backing[(2 * page + 1) * PAGE] === 0xa5 && backing[(2 * page + 2) * PAGE - 1] === 0xa5,
      'a store outside of the ring',
    )
  return { steps: steps + 1, features }
}

function write(writer: RingWriter, input: Input): number {
  const payload = input.bytes(input.pick([0, 5, 16, 40])).slice()
  const big = new Uint8Array(input.pick([0, 0, 300, 2000, 5000]))
  switch (input.below(4)) {
    case 0:
      return writer.writeInBand(big.length > 0 ? big : payload, 0, undefined, input.u8(), input.u8(), input.below(2))
    case 1:
      return writer.writeTransferPages(
        1,
        Uint32Array.from({ length: 2 * input.below(4) }, () => input.u8()),
        payload,
      )
    case 2:
      return writer.writeCompletion(input.u32(), input.u32(), payload)
    default: {
      const byteOffset = input.pick([0, 8, 4095])
      const byteCount = input.pick([0, 1, 4096, 9000])
      const pages = Array.from({ length: Math.ceil((byteOffset + byteCount) / PAGE) }, () => input.below(20))
      return writer.writeGpaDirect([{ byteOffset, byteCount, pages }], payload)
    }
  }
}

function corrupt(memory: RingMemory, views: readonly Uint8Array[], input: Input): void {
  for (let count = input.below(4); count > 0; count--) {
    const near = (memory.control[CONTROL.OUT] as number) + input.below(64)
    const at = near % memory.size
    const view = views[1 + Math.floor(at / PAGE)] as Uint8Array
    view[at % PAGE] = input.pick([0, 1, 2, 3, 4, 6, 7, 9, 11, 255, input.u8()])
  }
  if (input.below(5) === 0)
    memory.control[CONTROL.IN] = input.pick([input.u32(), input.u16() % memory.size, 8 * input.u8()])
}

/** Read until there is nothing more, next to the model. */
function compare(memory: RingMemory, reader: RingReader, data: Uint8Array, features: Set<string>): number {
  let steps = 0
  for (;;) {
    steps++
    const at = (memory.control[CONTROL.IN] as number) >>> 0
    const expected = readModel(data, at, reader.position)
    const found = reader.next()
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
  return steps
}

function covers(
  buffer: { pieceCount: number; gpa(piece: number): number; length(piece: number): number },
  gpa: number,
): boolean {
  for (let piece = 0; piece < buffer.pieceCount; piece++)
    if (gpa >= buffer.gpa(piece) && gpa < buffer.gpa(piece) + buffer.length(piece)) return true
  return false
}
