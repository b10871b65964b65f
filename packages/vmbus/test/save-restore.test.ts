import type { SavedState } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { contiguousRange, gpadlMessages } from '../src/client.ts'
import { VmbusServer } from '../src/server.ts'
import { VmbusPair } from '../src/testing.ts'
import { EchoDevice, INSTANCES } from './devices.ts'

const PAYLOAD = new Uint8Array(64).fill(7)

async function running(device = new EchoDevice()) {
  device.onOpen = (channel) => {
    if (channel.subChannelIndex === 0) channel.offerSubChannels(1)
  }
  const pair = new VmbusPair()
  pair.server.offer(device)
  const { client } = pair
  await pair.run(client.connect())
  const [offer] = await pair.run(client.requestOffers())
  const primary = await pair.run(client.open(offer as never, { ...pair.rings(2, 2), userData: Uint8Array.of(5, 6) }))
  const sub = await pair.run(client.open(client.offers[1] as never, pair.rings(2, 2, 3)))
  const answers: number[] = []
  primary.onPacket = (packet) => answers.push(packet.transactionLow)
  sub.onPacket = (packet) => answers.push(1000 + packet.transactionLow)
  return { pair, client, device, primary, sub, answers }
}

describe('save and restore', () => {
  it('carry channels, sub-channels, GPADLs and packets over to another process', async () => {
    const { pair, client, device, primary, sub, answers } = await running()
    const gpadl = await pair.run(client.createGpadl(1, [contiguousRange(0x1000, 5000)]))
    primary.send(PAYLOAD, 1)
    await pair.settle()
    // The VM stands: packets and signals wait.
    pair.server.stop()
    primary.send(PAYLOAD, 2)
    sub.send(PAYLOAD, 3)
    device.opened[0]?.send(PAYLOAD, 0, 64, 99)
    await pair.settle()
    expect(answers).toEqual([1])
    const next = new EchoDevice()
    pair.migrate([next])
    expect(next.log).toEqual(['open 0 restored', 'open 1 restored'])
    expect(next.opened[0]?.openData.subarray(0, 3)).toEqual(Uint8Array.of(5, 6, 0))
    expect(next.opened[0]?.gpadl(gpadl)).toMatchObject({ byteLength: 5000 })
    expect(next.opened[1]?.gpadl(gpadl)).toBeUndefined()
    await pair.settle()
    expect(answers.toSorted((a, b) => a - b)).toEqual([1, 2, 99, 1003])
    primary.send(PAYLOAD, 4)
    sub.send(PAYLOAD, 5)
    await pair.settle()
    expect(answers.slice(4)).toEqual([4, 1005])
    await pair.run(primary.close())
    expect(next.log.slice(2)).toEqual(['close 1', 'close 0'])
    await pair.run(client.unload())
    expect(pair.server.gpadlCount).toBe(0)
  })

  it('signal the guest, so that neither side waits for a signal that was lost', async () => {
    const { pair, client, primary, answers } = await running()
    // The guest's writer has filled its ring and sleeps.
    pair.server.stop()
    let sent = 0
    while (primary.send(PAYLOAD, sent)) sent++
    let writable = 0
    primary.onWritable = () => writable++
    await pair.settle()
    const before = pair.interrupts
    pair.migrate([new EchoDevice()])
    expect(pair.interrupts).toBeGreaterThan(before)
    await pair.settle()
    expect(answers).toHaveLength(sent)
    expect(writable).toBe(1)
    expect(client.ignored).toBe(0)
  })

  it('tell a device that waits for room, though it waited in another process', async () => {
    const device = new EchoDevice()
    const { pair, primary } = await running(device)
    const got: number[] = []
    primary.onPacket = (packet) => got.push(packet.transactionLow)
    pair.server.stop()
    let sent = 0
    while (device.opened[0]?.send(PAYLOAD, 0, 64, sent)) sent++
    const next = new EchoDevice()
    let writable = 0
    next.onWritable = (channel) => {
      writable++
      if (channel.send(PAYLOAD, 0, 64, 5555)) sent++
    }
    pair.migrate([next])
    await pair.settle()
    expect(writable).toBeGreaterThan(0)
    expect(got).toHaveLength(sent)
    expect(got.at(-1)).toBe(5555)
  })

  it('carry messages that the guest has not taken, and requests that are half done', async () => {
    const { pair, client } = await running()
    const messages = gpadlMessages(1, 0x77, [contiguousRange(0x1000, 40 * 4096)])
    expect(messages).toHaveLength(2)
    pair.server.receiveMessage(messages[0] as Uint8Array)
    pair.clientAsleep = true
    pair.server.offer(new EchoDevice(INSTANCES[1]))
    pair.server.offer(new EchoDevice(INSTANCES[2]))
    expect(pair.server.queuedMessages).toBe(1)
    pair.migrate([new EchoDevice(), new EchoDevice(INSTANCES[1]), new EchoDevice(INSTANCES[2])])
    expect(pair.server.queuedMessages).toBe(1)
    pair.clientAsleep = false
    await pair.settle()
    expect(client.offers.map(({ relid }) => relid)).toEqual([1, 2, 3, 4])
    expect(pair.server.gpadlCount).toBe(3)
    pair.server.receiveMessage(messages[1] as Uint8Array)
    expect(new DataView((pair.takeMessage() as Uint8Array).buffer).getUint32(0, true)).toBe(10)
  })

  it('rescind devices that are missing, and offer new ones', async () => {
    const { pair, client } = await running()
    const gone: number[] = []
    client.onRescind = ({ relid }) => {
      gone.push(relid)
      client.release(relid)
    }
    pair.migrate([new EchoDevice(INSTANCES[2])])
    await pair.settle()
    expect(gone).toEqual([2, 1])
    expect(client.offers).toMatchObject([{ relid: 3, instanceId: INSTANCES[2] }])
    expect(pair.server.channels()).toHaveLength(1)
    expect(pair.server.gpadlCount).toBe(0)
  })

  it('rescind a channel that cannot be opened again', async () => {
    const { pair, client } = await running()
    const gone: number[] = []
    client.onRescind = ({ relid }) => gone.push(relid)
    const device = new EchoDevice()
    device.refuse = true
    pair.migrate([device])
    await pair.settle()
    expect(gone).toEqual([2, 1])
  })

  it('keep the number of a rescinded channel until the guest releases it', async () => {
    const { pair, client } = await running()
    const offered = pair.server.offer(new EchoDevice(INSTANCES[1]))
    await pair.settle()
    await pair.run(offered[Symbol.asyncDispose]())
    pair.migrate([new EchoDevice()])
    expect(pair.server.channels().map(({ relid, revoked }) => [relid, revoked])).toContainEqual([3, true])
    client.release(3)
    expect(pair.server.channels().map(({ relid }) => relid)).not.toContain(3)
  })

  it('finish a disconnection, a teardown and a re-open that were under way', async () => {
    const unloading = await running()
    unloading.device.closing = new Promise(() => {})
    const unloaded = unloading.client.unload()
    await unloading.pair.settle()
    unloading.pair.migrate([new EchoDevice()])
    await unloading.pair.run(unloaded)

    const { pair, client, device, sub } = await running()
    device.closing = new Promise(() => {})
    const closing = sub.close()
    await pair.settle()
    const reopening = client.open(client.offers[1] as never, pair.rings(1, 1))
    await pair.settle()
    const next = new EchoDevice()
    pair.migrate([next])
    await pair.run(closing)
    await pair.run(reopening)
    expect(next.log).toEqual(['open 0 restored', 'open 1'])
  })

  it('refuse what is no state of theirs, and leave the bus usable', async () => {
    const { pair } = await running()
    const state = pair.server.save()
    const broken: SavedState[] = [
      { version: 99, data: state.data },
      { version: 1, data: {} },
      { version: 1, data: { ...state.data, channels: [{ relid: 'x' }] } },
    ]
    const twice = structuredClone(state) as never as { data: { channels: unknown[]; gpadls: { gpas: number[] }[] } }
    twice.data.channels.push(twice.data.channels[0])
    const outside = structuredClone(state) as never as typeof twice
    const [first] = outside.data.gpadls
    if (first !== undefined) first.gpas = first.gpas.map(() => 2 ** 40)
    for (const bad of [...broken, twice, outside]) {
      const server = new VmbusServer(new VmbusPair())
      server.offer(new EchoDevice())
      expect(() => server.restore(bad as SavedState)).toThrow(expect.objectContaining({ code: 'ERR_STATE_INVALID' }))
      expect(server.channels()).toMatchObject([{ relid: 0, state: 'closed' }])
      expect(server.gpadlCount).toBe(0)
    }
  })
})
