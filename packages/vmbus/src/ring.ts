/**
 * Rings of packets in memory that two partitions share: reader, writer, and the rules of who signals whom. Works on any shared memory; knows no VM.
 *
 * @example
 * ```ts
 * import { COMMIT, READ, RingMemory, RingReader, RingWriter } from '@partita/vmbus/ring'
 *
 * const memory = RingMemory.fromBuffer(new SharedArrayBuffer(64 * 1024))!
 * const writer = RingWriter.open(memory)!
 * const reader = RingReader.open(memory)!
 * writer.writeInBand(new TextEncoder().encode('hello'))
 * if (writer.commit() === COMMIT.SIGNAL) wakeReader()
 * while (reader.next() === READ.PACKET) console.log(reader.packet.payload())
 * ```
 * @packageDocumentation
 */
export { CONTROL, FEATURE_PENDING_SEND_SIZE, MAX_PACKET_SIZE, PACKET_TYPE, RING_PAGE } from './ring/layout.ts'
export { PieceList } from './ring/piece-list.ts'
export { RingMemory, type StoredCallback } from './ring/ring-memory.ts'
export { RingPacket } from './ring/ring-packet.ts'
export { READ, type ReadResult, RingReader } from './ring/ring-reader.ts'
export {
  COMMIT,
  type CommitResult,
  contiguousRange,
  type GpaRange,
  RingWriter,
  WRITE,
  type WriteResult,
} from './ring/ring-writer.ts'
