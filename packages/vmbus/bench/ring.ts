/** Packets through a ring against a plain copy of the same bytes. Usage: `npm run build && npm run bench`. */
import { bench, do_not_optimize, run, summary } from 'mitata'

const { COMMIT, READ, RingMemory, RingReader, RingWriter } = (await import(
  '../dist/ring.js' as string
)) as typeof import('../src/ring.ts')

const RING = 256 * 1024 + 4096
const BATCH = 32

for (const bytes of [32, 64, 256, 1024, 4096]) {
  const memory = RingMemory.fromBuffer(new SharedArrayBuffer(RING))
  if (memory === undefined) throw new Error('no ring')
  const writer = RingWriter.open(memory)
  const reader = RingReader.open(memory)
  if (writer === undefined || reader === undefined) throw new Error('no ring')
  const payload = new Uint8Array(bytes).map((_, at) => at)
  const shared = new Uint8Array(new SharedArrayBuffer(RING))
  const target = new Uint8Array(bytes)
  const count = Math.min(BATCH, Math.floor(200_000 / bytes))
  let place = 0

  summary(() => {
    bench(`${bytes} bytes: ${count} packets through a ring`, () => {
      for (let packet = 0; packet < count; packet++) writer.writeInBand(payload, 0, bytes, packet, 0, 1)
      let signals = writer.commit() === COMMIT.SIGNAL ? 1 : 0
      reader.mask()
      let sum = 0
      while (reader.next() === READ.PACKET) sum += reader.packet.bytes[reader.packet.payloadOffset] as number
      if (reader.commit()) signals++
      reader.unmask()
      do_not_optimize(sum + signals)
    })
    bench(`${bytes} bytes: ${count} copies into shared memory and out`, () => {
      for (let packet = 0; packet < count; packet++) {
        place = (place + bytes) % 131072
        shared.set(payload, place)
        target.set(shared.subarray(place, place + bytes))
      }
      do_not_optimize(target)
    })
  })
}

await run()
