// What drivers stand on: requests with completions, and devices with their channels and memory.

import type { VmbusChannel, VmbusDevice, VmbusPacket } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { ChannelRequests, type ClientChannel, VscDevice } from '../src/client.ts'
import { VmbusPair } from '../src/testing.ts'

const OFFER = {
  interfaceId: '3c1d1b50-0000-4000-8000-000000000001',
  instanceId: '3c1d1b50-0000-4000-8000-000000000002',
}

/** A device that does what the test says. */
class Scripted implements VmbusDevice {
  readonly offer = OFFER
  readonly channels: VmbusChannel[] = []
  readonly received: { low: number; high: number; payload: Uint8Array; channel: VmbusChannel }[] = []
  /** Complete everything at once. */
  prompt = true

  open(channel: VmbusChannel) {
    this.channels.push(channel)
    return { receive: (packet: VmbusPacket) => this.#receive(channel, packet) }
  }

  #receive(channel: VmbusChannel, packet: VmbusPacket): boolean {
    const { transactionLow: low, transactionHigh: high } = packet
    if (this.prompt) return channel.complete(low, high, packet.payload())
    this.received.push({ low, high, payload: packet.payload().slice(), channel })
    return true
  }
}

async function device(ringBytes = 4096) {
  const pair = new VmbusPair({ ramSize: 4 * 2 ** 20, processorCount: 3 })
  const host = new Scripted()
  const offered = pair.server.offer(host)
  const { client, transport } = pair
  await pair.run(client.connect())
  const [offer] = await pair.run(client.requestOffers())
  if (offer === undefined) throw new Error('no offer')
  const vsc = new VscDevice({ client, transport, offer })
  client.onRescind = () => vsc.rescinded()
  client.onOffer = (subChannel) => vsc.addSubChannel(subChannel)
  const channel = await pair.run(vsc.open({ ringBytes }))
  const requests = new ChannelRequests(channel)
  return { pair, host, offered, vsc, channel, requests }
}

const bytes = (value: number, length = 8): Uint8Array => new Uint8Array(length).fill(value)

describe('requests', () => {
  it('get their own completions, in whatever order these come', async () => {
    const { pair, host, requests } = await device()
    host.prompt = false
    const answers = [1, 2, 3].map((value) => requests.send(bytes(value)))
    await pair.settle()
    expect(requests.pending).toBe(3)
    for (const { low, channel, payload } of [...host.received].reverse()) channel.complete(low, 0, payload)
    // Ids that answer nothing, or the wrong half, or answer twice.
    const [first] = host.received
    host.channels[0]?.complete(999, 0)
    host.channels[0]?.complete(first?.low ?? 0, 1)
    host.channels[0]?.complete(first?.low ?? 0, 0, bytes(9))
    expect(await pair.run(Promise.all(answers))).toEqual([bytes(1), bytes(2), bytes(3)])
    expect(requests.pending).toBe(0)
  })

  it('wait for room in the ring, all in order', async () => {
    const { pair, requests } = await device()
    const answers = Array.from({ length: 300 }, (_, i) => requests.send(bytes(i & 0xff, 64)))
    const all = await pair.run(Promise.all(answers))
    expect(all.every((answer, i) => answer[63] === (i & 0xff))).toBe(true)
  })

  it('that can never fit fail, and are in nobody’s way', async () => {
    const { pair, requests } = await device()
    let released = 0
    const large = requests.send(bytes(0, 8192), { released: () => void released++ })
    const small = requests.send(bytes(5))
    await expect(pair.run(large)).rejects.toMatchObject({ code: 'ERR_VMBUS_PACKET' })
    expect(await pair.run(small)).toEqual(bytes(5))
    expect(released).toBe(1)
  })

  it('are given up by a signal; the ranges are the host’s until it is done', async () => {
    const { pair, host, requests, vsc } = await device()
    host.prompt = false
    const over = new AbortController()
    const order: string[] = []
    const memory = vsc.allocate(100)
    const ranges = vsc.rangesOf(memory.bytes) ?? []
    const waiting = requests.send(bytes(1), {
      ranges,
      signal: over.signal,
      released: () => void order.push('released'),
    })
    await pair.settle()
    over.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    expect([order, requests.pending]).toEqual([[], 1])
    host.channels[0]?.complete(host.received[0]?.low ?? 0, 0)
    await pair.run(requests.drained())
    expect(order).toEqual(['released'])
    await expect(requests.send(bytes(1), { signal: over.signal })).rejects.toThrow('enough')
    expect(vsc.rangesOf(new Uint8Array(4))).toBeUndefined()
    expect(ranges).toEqual([{ byteOffset: 0, byteCount: 100, pages: [memory.gpa / 4096] }])
  })

  it('give packets that nobody asked for to the driver', async () => {
    const { pair, host, requests } = await device()
    const seen: number[][] = []
    requests.onPacket = (packet) => void seen.push([...packet.payload()])
    host.channels[0]?.send(bytes(7))
    await pair.settle()
    expect(seen).toEqual([[7, 7, 7, 7, 7, 7, 7, 7]])
  })

  it('fail when the device goes, and its memory comes back when the host has let go', async () => {
    const { pair, host, offered, requests, vsc } = await device()
    host.prompt = false
    vsc.allocate(4096)
    const waiting = requests.send(bytes(1))
    await pair.settle()
    const gone = offered[Symbol.asyncDispose]()
    await expect(pair.run(waiting)).rejects.toMatchObject({ code: 'ERR_VMBUS_GONE' })
    expect(vsc.signal.reason).toMatchObject({ code: 'ERR_VMBUS_GONE' })
    await expect(requests.send(bytes(1))).rejects.toMatchObject({ code: 'ERR_VMBUS_GONE' })
    await expect(vsc.open()).rejects.toMatchObject({ code: 'ERR_VMBUS_GONE' })
    expect(pair.memory.allocations).toBe(2)
    await pair.run(vsc.close())
    expect(pair.memory.allocations).toBe(0)
    pair.client.release(vsc.offer.relid)
    await pair.run(gone)
  })

  it('fail when the host breaks a ring', async () => {
    const { pair, host, requests, channel } = await device()
    host.prompt = false
    const waiting = requests.send(bytes(1))
    await pair.settle()
    const control = channel.reader.memory.control
    Atomics.store(control, 0, 5)
    channel.signalled()
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_VMBUS_RING' })
    expect(requests.pending).toBe(0)
  })
})

describe('a device', () => {
  it('lends memory until it is closed, or before', async () => {
    const { pair, vsc } = await device()
    const one = vsc.allocate(3 * 4096)
    const two = vsc.allocate(100)
    const first = await pair.run(vsc.createGpadl(one.bytes))
    const second = await pair.run(vsc.createGpadl(two.bytes))
    expect(second).not.toBe(first)
    expect(pair.server.gpadlCount).toBe(3)
    await pair.run(vsc.teardownGpadl(first))
    await pair.run(vsc.teardownGpadl(first))
    expect(pair.server.gpadlCount).toBe(2)
    one[Symbol.dispose]()
    one[Symbol.dispose]()
    await expect(pair.run(vsc.createGpadl(new Uint8Array(8)))).rejects.toMatchObject({ code: 'ERR_VMBUS_CLIENT' })
    const late = vsc.createGpadl(two.bytes)
    const closing = vsc.close()
    await expect(pair.run(late)).rejects.toMatchObject({ code: 'ERR_VMBUS_GONE' })
    await pair.run(closing)
    expect([pair.server.gpadlCount, pair.memory.allocations]).toEqual([0, 0])
    await expect(vsc.createGpadl(two.bytes)).rejects.toMatchObject({ code: 'ERR_VMBUS_GONE' })
  })
})

describe('sub-channels', () => {
  it('take turns with the primary, and what waits on one fails with it', async () => {
    const { pair, host, requests, vsc } = await device()
    host.channels[0]?.offerSubChannels(2)
    await pair.settle()
    expect(vsc.subChannels.map(({ subChannelIndex }) => subChannelIndex)).toEqual([1, 2])
    const opened: ClientChannel[] = []
    for (const offer of [...vsc.subChannels])
      opened.push(await pair.run(vsc.openSubChannel(offer, { ringBytes: 4096 })))
    for (const channel of opened) requests.addChannel(channel)
    expect(host.channels.map(({ targetVp }) => targetVp)).toEqual([0, 1, 2])
    host.prompt = false
    const answers = [1, 2, 3].map((value) => requests.send(bytes(value)))
    await pair.settle()
    expect(host.received.map(({ channel }) => channel.subChannelIndex).sort()).toEqual([0, 1, 2])
    const [, sub] = vsc.channels
    const closing = sub?.close()
    const results = Promise.allSettled(answers)
    for (const { channel, low } of host.received) channel.complete(low, 0)
    await pair.run(Promise.resolve(closing))
    expect((await pair.run(results)).filter(({ status }) => status === 'rejected')).toHaveLength(1)
    await pair.run(vsc.close())
    expect(pair.memory.allocations).toBe(0)
    expect(vsc.channels).toEqual([])
  })
})
