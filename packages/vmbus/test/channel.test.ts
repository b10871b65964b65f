import type { VmbusChannel, VmbusChannelHandler, VmbusDevice, VmbusPacket } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { contiguousRange } from '../src/client.ts'
import { CONTROL, RingMemory, RingWriter } from '../src/ring.ts'
import { VmbusPair } from '../src/testing.ts'
import { EchoDevice, INSTANCES, INTERFACE } from './devices.ts'
import { observe } from './fuzz/observed.ts'

/** A device whose handler is made by the test. */
function device(open: (channel: VmbusChannel) => VmbusChannelHandler): VmbusDevice {
  return { offer: { interfaceId: INTERFACE, instanceId: INSTANCES[0] }, open }
}

async function openWith(served: VmbusDevice, pages = 1) {
  const pair = new VmbusPair()
  pair.server.offer(served)
  const { client } = pair
  await pair.run(client.connect())
  const [offer] = await pair.run(client.requestOffers())
  if (offer === undefined) throw new Error('nothing is offered')
  const rings = pair.rings(pages, pages)
  const channel = await pair.run(client.open(offer, rings))
  const counters = () => pair.server.channels()[0]?.counters
  return { pair, client, offer, channel, rings, counters }
}

const KIBIBYTE = new Uint8Array(1024).fill(1)

describe('flow control', () => {
  it('leaves a guest alone whose pointer moves at each look and brings no packet, and comes back to it', async () => {
    const pair = new VmbusPair()
    const { memory } = pair
    const words = new Int32Array(memory.bytes.buffer)
    const rings = pair.rings(1, 1)
    const at = ((rings.pages[0] as number) * 4096) / 4 + CONTROL.IN
    const limit = 100_000
    let looks = 0
    let moves = true
    using _ = observe(memory.bytes.buffer, {
      before: (offset) => {
        if (!moves || offset !== at * 4) return
        if (++looks > limit) throw new Error('there is no end to it')
        words[at] = words[at] === 0 ? 8 : 0
      },
    })
    const echo = new EchoDevice()
    pair.server.offer(echo)
    const { client } = pair
    await pair.run(client.connect())
    const [offer] = await pair.run(client.requestOffers())
    moves = false
    const channel = await pair.run(client.open(offer as NonNullable<typeof offer>, rings))
    // The look that finds the ring empty is the first of each two.
    moves = true
    words[at] = 8
    pair.signal(0x2001)
    expect(looks).toBeGreaterThan(1000)
    expect(looks).toBeLessThan(limit)
    expect(pair.idle).toBe(false)
    moves = false
    words[at] = 0
    const answers: number[] = []
    channel.onPacket = (packet) => answers.push(packet.transactionLow)
    channel.send(KIBIBYTE, 7)
    await pair.settle()
    expect(answers).toEqual([7])
  })

  it('keeps a packet that the device does not take until it resumes', async () => {
    const seen: number[] = []
    let take = false
    let host: VmbusChannel | undefined
    const { pair, channel, counters } = await openWith(
      device((opened) => {
        host = opened
        return {
          receive: (packet) => {
            seen.push(packet.transactionLow)
            return take
          },
        }
      }),
    )
    channel.send(KIBIBYTE, 1)
    channel.send(KIBIBYTE, 2)
    await pair.settle()
    expect(seen).toEqual([1])
    // Nor does a signal bring it again.
    pair.signal(0x2001)
    expect(seen).toEqual([1])
    take = true
    host?.resume()
    expect(seen).toEqual([1, 1, 2])
    expect(counters()).toMatchObject({ packetsIn: 2, bytesIn: 2048 })
  })

  it('keeps a packet whose reply finds no room, and goes on when the guest makes some', async () => {
    const { pair, channel, counters } = await openWith(new EchoDevice())
    const answers: number[] = []
    channel.onPacket = (packet) => answers.push(packet.transactionLow)
    // The guest sends and does not read: its own ring fills, and then the host's.
    let sent = 0
    const flush = pair.client.eventFlag
    pair.client.eventFlag = () => {}
    for (let idle = 0; idle < 3; idle++) {
      while (channel.send(KIBIBYTE, sent)) {
        sent++
        idle = 0
      }
      await pair.settle()
    }
    pair.client.eventFlag = flush
    expect(answers).toEqual([])
    expect(counters()?.packetsIn).toBe(3)
    expect(counters()?.ringFull).toBeGreaterThan(0)
    expect(sent).toBe(6)
    // Now it reads; the host's pending size makes it signal, and the rest comes.
    channel.signalled()
    await pair.settle()
    expect(answers).toEqual([0, 1, 2, 3, 4, 5])
  })

  it('tells a device that sends by itself when there is room', async () => {
    let host: VmbusChannel | undefined
    let writable = 0
    let sent = 0
    const produce = () => {
      while (sent < 20 && host?.send(KIBIBYTE, 0, 1024, sent)) sent++
    }
    const { pair, channel } = await openWith(
      device((opened) => {
        host = opened
        return {
          receive: () => true,
          writable: () => {
            writable++
            produce()
          },
        }
      }),
    )
    const got: number[] = []
    channel.onPacket = (packet) => got.push(packet.transactionLow)
    produce()
    expect(sent).toBe(3)
    await pair.settle()
    expect(got).toEqual(Array.from({ length: 20 }, (_, index) => index))
    expect(writable).toBeGreaterThan(3)
  })

  it('tells the guest when there is room', async () => {
    const { pair, channel } = await openWith(device(() => ({ receive: () => true })))
    let sent = 0
    const produce = () => {
      while (sent < 50 && channel.send(KIBIBYTE)) sent++
    }
    channel.onWritable = produce
    produce()
    await pair.settle()
    expect(sent).toBe(50)
    expect(pair.server.channels()[0]?.counters.packetsIn).toBe(50)
  })

  it('gives others their turn when a guest fills the ring as fast as it is read', async () => {
    let served = 0
    let refill: (() => void) | undefined
    const { pair, rings } = await openWith(
      device(() => ({
        receive: () => {
          served++
          if (served < 10_000) refill?.()
          return true
        },
      })),
    )
    // Another processor of the guest writes while the host reads.
    const memory = RingMemory.fromBuffer(pair.memory.bytes.buffer, (rings.pages[0] as number) * 4096, 8192)
    const writer = RingWriter.open(memory as RingMemory) as RingWriter
    refill = () => {
      writer.writeInBand(new Uint8Array(8))
      writer.commit()
    }
    refill()
    pair.signal(0x2001)
    // It has stopped by itself, and goes on later.
    expect(served).toBe(4096)
    await pair.settle()
    expect(served).toBe(10_000)
  })
})

describe('signals', () => {
  it('are one for a batch of replies, and none while the guest reads', async () => {
    const { pair, channel, counters } = await openWith(new EchoDevice())
    channel.cork()
    for (let index = 0; index < 3; index++) channel.send(KIBIBYTE, index)
    expect(pair.signals).toBe(0)
    channel.uncork()
    expect(pair.signals).toBe(1)
    expect(pair.interrupts).toBe(1)
    expect(counters()).toMatchObject({ signalsIn: 1, signalsOut: 1, packetsOut: 3, bytesOut: 3072 })
    // The guest has not read yet, so that more need no interrupt.
    channel.send(KIBIBYTE, 3)
    expect(pair.interrupts).toBe(1)
    await pair.settle()
    expect(pair.interrupts).toBe(2)
  })

  it('are sent at once outside of a batch, unless the channel is corked', async () => {
    let host: VmbusChannel | undefined
    const { pair, counters } = await openWith(
      device((opened) => {
        host = opened
        return { receive: () => true }
      }),
    )
    host?.send(new Uint8Array(8))
    expect(pair.interrupts).toBe(1)
    await pair.settle()
    host?.cork()
    host?.cork()
    host?.send(new Uint8Array(8))
    host?.send(new Uint8Array(8))
    host?.uncork()
    expect(pair.interrupts).toBe(1)
    host?.uncork()
    expect(pair.interrupts).toBe(2)
    expect(counters()).toMatchObject({ signalsOut: 2, packetsOut: 3 })
    host?.send(new Uint8Array(8))
    expect(counters()?.signalsSpared).toBe(1)
    host?.uncork()
    expect(() => host?.sendTransferPages(1, Uint32Array.of(8, 0, 8), new Uint8Array(8))).toThrow(
      expect.objectContaining({ code: 'ERR_VMBUS_PACKET' }),
    )
    expect(() => host?.send(new Uint8Array(5000))).toThrow(expect.objectContaining({ code: 'ERR_VMBUS_PACKET' }))
  })

  it('tell a device the end of each batch, in time for its replies to go with it', async () => {
    let batches = 0
    let host: VmbusChannel | undefined
    const { pair, channel } = await openWith(
      device((opened) => {
        host = opened
        return {
          receive: () => true,
          batchEnd: () => {
            batches++
            host?.send(new Uint8Array(8))
            host?.send(new Uint8Array(8))
          },
        }
      }),
    )
    channel.cork()
    channel.send(KIBIBYTE)
    channel.send(KIBIBYTE)
    channel.uncork()
    expect(batches).toBe(1)
    expect(pair.interrupts).toBe(1)
  })
})

describe('packets with memory', () => {
  it('let a device read and write the guest’s ranges, now and later', async () => {
    let kept: ReturnType<VmbusChannel['createBuffer']> | undefined
    let host: VmbusChannel | undefined
    const types: number[] = []
    const { pair, channel } = await openWith(
      device((opened) => {
        host = opened
        kept = opened.createBuffer()
        return {
          receive: (packet: VmbusPacket) => {
            types.push(packet.type)
            kept?.copyFrom(packet.buffer)
            return true
          },
        }
      }),
    )
    const gpa = 0x8_0000 + 4090
    channel.sendGpaDirect([contiguousRange(gpa, 100)], new Uint8Array(8), 5)
    channel.send(new Uint8Array(8))
    await pair.settle()
    expect(types).toEqual([9, 6])
    // The second packet had no ranges, and the list is that of the last one.
    expect(kept?.byteLength).toBe(0)
    channel.sendGpaDirect([contiguousRange(gpa, 100)], new Uint8Array(8), 5)
    await pair.settle()
    expect(kept?.byteLength).toBe(100)
    expect(kept?.write(pair.memory, 4, Uint8Array.of(1, 2, 3))).toBe(true)
    expect([...pair.memory.bytes.subarray(gpa + 4, gpa + 7)]).toEqual([1, 2, 3])
    expect(host?.complete(5, 0)).toBe(true)
  })

  it('refer to GPADLs of their channel, until the device has let go of them', async () => {
    const echo = new EchoDevice()
    const { pair, client, offer } = await openWith(echo)
    const id = await pair.run(client.createGpadl(offer.relid, [contiguousRange(0x9_0000, 10_000)]))
    const [host] = echo.opened
    expect(host?.gpadl(id)).toMatchObject({ byteLength: 10_000 })
    expect(host?.gpadl(id + 1)).toBeUndefined()
    const slow = Promise.withResolvers<void>()
    echo.releasing = slow.promise
    let done = false
    const teardown = client.teardownGpadl(offer.relid, id).then(() => {
      done = true
    })
    await pair.settle()
    expect(echo.log.at(-1)).toBe(`gpadl ${id.toString(16)}`)
    expect(host?.gpadl(id)).toBeUndefined()
    expect(done).toBe(false)
    slow.resolve()
    await pair.run(teardown)
    expect(pair.server.gpadlCount).toBe(1)
  })

  it('that a device lets go of too late do not end a GPADL of the next connection', async () => {
    const echo = new EchoDevice()
    const { pair, client, offer } = await openWith(echo)
    const id = await pair.run(client.createGpadl(offer.relid, [contiguousRange(0x9_0000, 10_000)]))
    const slow = Promise.withResolvers<void>()
    echo.releasing = slow.promise
    void client.teardownGpadl(offer.relid, id)
    await pair.settle()
    const next = pair.createClient()
    await pair.run(next.connect(), next)
    await pair.run(next.requestOffers(), next)
    // The next client counts from the same number.
    for (let count = 0; count < 2; count++)
      await pair.run(next.createGpadl(offer.relid, [contiguousRange(0x9_0000, 10_000)]), next)
    slow.resolve()
    await pair.settle(next)
    expect(pair.server.gpadlCount).toBe(2)
    expect(next.ignored).toBe(0)
  })

  it('go through the processor’s books: every store is announced', async () => {
    const { pair, channel } = await openWith(new EchoDevice(), 3)
    const before = pair.memory.announced
    for (let index = 0; index < 11; index++) {
      channel.send(KIBIBYTE, index)
      await pair.settle()
    }
    expect(pair.memory.announced - before).toBe(11 * (1024 + 24))
  })
})

describe('a device that fails', () => {
  it.each(['open', 'receive', 'writable', 'batchEnd', 'gpadlTeardown', 'close'] as const)(
    'in %s is taken away, and reported',
    async (where) => {
      const failures: unknown[] = []
      const error = new Error(where)
      const fail = (): never => {
        throw error
      }
      const pair = new VmbusPair({ onDeviceError: (_, failure) => failures.push(failure) })
      let host: VmbusChannel | undefined
      pair.server.offer(
        device((channel) => {
          host = channel
          if (where === 'open') fail()
          return { receive: () => true, ...(where === 'receive' ? { receive: fail } : { [where]: fail }) }
        }),
      )
      const { client } = pair
      await pair.run(client.connect())
      const [offer] = await pair.run(client.requestOffers())
      const rescinded: number[] = []
      client.onRescind = ({ relid }) => rescinded.push(relid)
      const opening = client.open(offer as never, pair.rings(1, 1))
      await pair.settle()
      const channel = where === 'open' ? undefined : await opening
      if (where === 'open') await expect(opening).rejects.toMatchObject({ code: 'ERR_VMBUS_CLIENT' })
      if (where === 'receive' || where === 'batchEnd') channel?.send(KIBIBYTE)
      if (where === 'writable') while (host?.send(KIBIBYTE));
      if (where === 'gpadlTeardown') {
        const id = await pair.run(client.createGpadl(1, [contiguousRange(0, 1)]))
        void client.teardownGpadl(1, id)
      }
      if (where === 'close') void channel?.close()
      await pair.settle()
      expect(failures).toEqual([error])
      expect(rescinded).toEqual([1])
      client.release(1)
      expect(pair.server.channels()).toEqual([])
      expect(pair.hasPort(1)).toBe(false)
    },
  )

  it('later, in a promise, too', async () => {
    const failures: unknown[] = []
    const pair = new VmbusPair({ onDeviceError: (_, failure) => failures.push(failure) })
    const echo = new EchoDevice()
    echo.closing = Promise.reject(new Error('late'))
    echo.closing.catch(() => undefined)
    pair.server.offer(echo)
    const { client } = pair
    await pair.run(client.connect())
    const [offer] = await pair.run(client.requestOffers())
    const channel = await pair.run(client.open(offer as never, pair.rings(1, 1)))
    const closing = channel.close()
    await pair.run(closing)
    expect(failures).toHaveLength(1)
    expect(client.offers).toEqual([])
  })

  it('by giving its channel up leaves it closed until the guest opens it anew', async () => {
    const { pair, client, offer, channel } = await openWith(
      device((host) => ({
        receive: (packet) => {
          if (packet.transactionLow === 13) host.fail('thirteen')
          return true
        },
      })),
    )
    channel.send(KIBIBYTE, 13)
    channel.send(KIBIBYTE, 14)
    await pair.settle()
    expect(pair.server.channels()).toMatchObject([{ state: 'failed', counters: { packetsIn: 0 } }])
    await pair.run(channel.close())
    await pair.run(client.open(offer, pair.rings(1, 1)))
    expect(pair.server.channels()).toMatchObject([{ state: 'open' }])
  })
})
