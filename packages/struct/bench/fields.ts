/** How long reading a field takes, against a bare DataView. Usage: `npm run bench`, after `npm run build`. */
import { bench, do_not_optimize, run, summary } from 'mitata'

const { struct, u16, u32, u64 } = (await import('../dist/index.js' as string)) as typeof import('../src/index.ts')

const Packet = struct<never>({
  type: u16,
  offset8: u16,
  length8: u16,
  flags: u16,
  transactionId: u64,
  word: u32,
} as never)
interface PacketView {
  type: number
  offset8: number
  length8: number
  flags: number
  moveTo(offset: number): PacketView
}

const view = new DataView(new SharedArrayBuffer(64 * 1024))
const packet = new Packet(view) as unknown as PacketView
const COUNT = 1000

summary(() => {
  bench(`${4 * COUNT} fields through a struct`, () => {
    let sum = 0
    for (let at = 0; at < COUNT; at++) {
      packet.moveTo(at * 32)
      sum += packet.type + packet.offset8 + packet.length8 + packet.flags
    }
    do_not_optimize(sum)
  })
  bench(`${4 * COUNT} fields through a DataView`, () => {
    let sum = 0
    for (let at = 0; at < COUNT; at++) {
      const base = at * 32
      sum +=
        view.getUint16(base, true) +
        view.getUint16(base + 2, true) +
        view.getUint16(base + 4, true) +
        view.getUint16(base + 6, true)
    }
    do_not_optimize(sum)
  })
})

await run()
