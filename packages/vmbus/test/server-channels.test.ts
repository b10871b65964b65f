// How channels of the bus open, carry packets and close.

import { describe, expect, it } from 'vitest'
import { contiguousRange } from '../src/client.ts'
import { MESSAGE_TYPE, NO_TARGET_VP, STATUS, VMBUS_VERSION } from '../src/protocol.ts'
import { VmbusPair } from '../src/testing.ts'
import { connected, hello, message, roundTrip } from './connected.ts'
import { EchoDevice, INSTANCES, INTERFACE } from './devices.ts'

describe('channels', () => {
  it('carry packets both ways after an open, and none after a close', async () => {
    const { pair, device, open } = await connected()
    const channel = await open()
    expect(device.log).toEqual(['open 0'])
    expect(await roundTrip(pair, channel, hello)).toHaveLength(1)
    await pair.run(channel.close())
    expect(device.log).toEqual(['open 0', 'close 0'])
    expect(pair.hasPort(1)).toBe(false)
    expect(pair.server.gpadlCount).toBe(0)
    expect(pair.server.channels()).toMatchObject([
      { state: 'closed', counters: { packetsIn: 1, packetsOut: 1, opens: 1 } },
    ])
    // Sending into a closed channel does nothing.
    expect(device.opened[0]?.send(hello)).toBe(true)
    expect(device.opened[0]?.isOpen).toBe(false)
  })

  it('open again after a close, and while the close is under way', async () => {
    const { pair, device, open, offer, client } = await connected()
    const channel = await open()
    const slow = Promise.withResolvers<void>()
    device.closing = slow.promise
    const closing = channel.close()
    await pair.settle()
    expect(pair.server.channels()).toMatchObject([{ state: 'closing' }])
    const reopening = client.open(offer, pair.rings(2, 2))
    await pair.settle()
    expect(device.log).toEqual(['open 0', 'close 0'])
    device.closing = undefined
    slow.resolve()
    await pair.run(closing)
    expect(await roundTrip(pair, await pair.run(reopening), hello)).toHaveLength(1)
    expect(device.log).toEqual(['open 0', 'close 0', 'open 0'])
  })

  it('answer a re-open that is closed before its turn', async () => {
    const { pair, device, open, offer, client } = await connected()
    const channel = await open()
    const slow = Promise.withResolvers<void>()
    device.closing = slow.promise
    void channel.close()
    await pair.settle()
    const reopening = client.open(offer, pair.rings(2, 2))
    await pair.settle()
    pair.server.receiveMessage(message(MESSAGE_TYPE.CLOSE_CHANNEL, 1))
    slow.resolve()
    await expect(pair.run(reopening)).rejects.toMatchObject({ code: 'ERR_VMBUS_CLIENT' })
    expect(pair.server.channels()).toMatchObject([{ state: 'closed' }])
  })

  it('have their event port before the device opens, and lose no early signal', async () => {
    const { pair, device, open } = await connected()
    let early = false
    device.onOpen = (channel) => {
      early = pair.hasPort(1)
      // The guest's writer is quick: its packet and signal come before the device is ready.
      expect(channel.isOpen).toBe(true)
      pair.signal(0x2001)
    }
    const seen: number[] = []
    device.onPacket = (packet) => seen.push(packet.payloadLength)
    const channel = await open()
    expect(early).toBe(true)
    expect(seen).toEqual([])
    channel.send(hello)
    await pair.settle()
    expect(seen).toEqual([16])
  })

  it('send no interrupt before the result of the open is out', async () => {
    const { pair, device, client, offer } = await connected()
    device.onOpen = (channel) => {
      channel.send(hello)
      channel.send(hello)
    }
    pair.clientAsleep = true
    // Another message holds the slot, so that the result has to wait.
    pair.server.offer(new EchoDevice(INSTANCES[1]))
    const gpadl = client.createGpadl(1, [contiguousRange(0x1000, 0x1000)])
    const opening = client.open(offer, pair.rings(2, 2))
    await pair.settle()
    pair.takeMessage()
    for (let type = 0; type !== MESSAGE_TYPE.GPADL_CREATED; ) {
      const created = pair.takeMessage()
      if (created === undefined) throw new Error('no message')
      client.receiveMessage(created)
      type = created[0] as number
    }
    client.receiveMessage(pair.takeMessage() as Uint8Array)
    await gpadl
    // A message in front of the result.
    pair.server.offer(new EchoDevice(INSTANCES[2]))
    await pair.settle()
    expect(device.log).toEqual(['open 0'])
    expect(pair.interrupts).toBe(0)
    pair.takeMessage()
    expect(pair.interrupts).toBe(1)
    expect(pair.takeMessage()).toEqual(message(MESSAGE_TYPE.OPEN_CHANNEL_RESULT, 1, 1, STATUS.SUCCESS))
    void opening.catch(() => undefined)
  })

  it('are refused for a GPADL that is no ring', async () => {
    const { pair, client, offer } = await connected()
    const { pages } = pair.rings(2, 2)
    const refused = async (options: { pages: number[]; downstreamPageOffset: number }) =>
      await expect(pair.run(client.open(offer, options))).rejects.toMatchObject({ code: 'ERR_VMBUS_CLIENT' })
    // The client refuses these itself, so the server is asked directly.
    const good = await pair.run(client.createGpadl(1, [{ byteOffset: 0, byteCount: 6 * 4096, pages }]))
    const partial = await pair.run(client.createGpadl(1, [{ byteOffset: 8, byteCount: 6 * 4096 - 8, pages }]))
    const ask = (gpadl: number, split: number) => {
      pair.server.receiveMessage(message(MESSAGE_TYPE.OPEN_CHANNEL, 1, 9, gpadl, 0, split, ...new Array(30).fill(0)))
      return new DataView((pair.takeMessage() as Uint8Array).buffer).getUint32(16, true)
    }
    for (const split of [0, 1, 5, 6, 7, 0xffff_ffff]) expect(ask(good, split)).not.toBe(0)
    expect(ask(partial, 3)).not.toBe(0)
    expect(ask(12345, 3)).not.toBe(0)
    // A pointer that is none.
    pair.memory.writeU32((pages[3] as number) * 4096, 7)
    expect(ask(good, 3)).not.toBe(0)
    pair.memory.writeU32((pages[3] as number) * 4096, 0)
    expect(ask(good, 3)).toBe(0)
    expect(ask(good, 3)).not.toBe(0)
    await refused({ pages: [1, 2], downstreamPageOffset: 1 })
  })

  it('are refused when the device does not want them, and can be asked again', async () => {
    const { pair, device, client, offer, open } = await connected()
    device.refuse = true
    await expect(pair.run(client.open(offer, pair.rings(1, 1)))).rejects.toMatchObject({ data: { relid: 1 } })
    expect(pair.hasPort(1)).toBe(false)
    expect(pair.server.gpadlCount).toBe(0)
    device.refuse = false
    expect(await roundTrip(pair, await open(), hello)).toHaveLength(1)
  })

  it('follow a modification to another processor, acknowledged from 5.3 on', async () => {
    const { pair, client, open } = await connected()
    const channel = await open()
    await pair.run(client.modify(1, 3))
    await roundTrip(pair, channel, hello)
    expect(pair.interruptedVp.get(1)).toBe(3)
    await pair.run(client.modify(1, NO_TARGET_VP))
    const before = pair.interrupts
    await roundTrip(pair, channel, hello)
    expect(pair.interrupts).toBe(before)
    await expect(pair.run(client.modify(2, 0))).rejects.toMatchObject({ code: 'ERR_VMBUS_CLIENT' })

    const older = await connected(new EchoDevice(), VMBUS_VERSION.V5_2)
    const second = await older.open()
    await older.pair.run(older.client.modify(1, 2))
    expect(older.client.ignored).toBe(0)
    await roundTrip(older.pair, second, hello)
    expect(older.pair.interruptedVp.get(1)).toBe(2)
  })

  it('stop when the ring is broken, and work again after the guest closes and opens them', async () => {
    const { pair, device, open, offer, client } = await connected()
    const rings = pair.rings(2, 2)
    const channel = await pair.run(client.open(offer, rings))
    pair.memory.writeU32((rings.pages[0] as number) * 4096, 12)
    pair.signal(0x2001)
    await pair.settle()
    expect(device.log).toEqual(['open 0', 'close 0'])
    expect(pair.server.channels()).toMatchObject([{ state: 'failed' }])
    pair.signal(0x2001)
    await expect(open()).rejects.toMatchObject({ code: 'ERR_VMBUS_CLIENT' })
    await pair.run(channel.close())
    expect(await roundTrip(pair, await open(), hello)).toHaveLength(1)
  })

  it('are taken away with a device that throws; others live', async () => {
    const failures: unknown[] = []
    const pair = new VmbusPair({ onDeviceError: (_, error) => failures.push(error) })
    const bad = new EchoDevice(INSTANCES[0])
    bad.onPacket = () => {
      throw new Error('out of order')
    }
    const good = new EchoDevice(INSTANCES[1])
    pair.server.offer(bad)
    pair.server.offer(good)
    const { client } = pair
    await pair.run(client.connect())
    const [first, second] = await pair.run(client.requestOffers())
    const rescinded: number[] = []
    client.onRescind = ({ relid }) => rescinded.push(relid)
    const one = await pair.run(client.open(first as never, pair.rings(1, 1)))
    const two = await pair.run(client.open(second as never, pair.rings(1, 1)))
    one.send(hello)
    await pair.settle()
    expect(failures).toEqual([new Error('out of order')])
    expect(rescinded).toEqual([1])
    expect(await roundTrip(pair, two, hello)).toHaveLength(1)
  })
})

describe('sub-channels', () => {
  async function withSubChannels(count: number) {
    const device = new EchoDevice()
    device.onOpen = (channel) => {
      if (channel.subChannelIndex === 0) expect(channel.offerSubChannels(count)).toBe(count)
    }
    const all = await connected(device)
    const messages: string[] = []
    all.client.onOffer = ({ relid, subChannelIndex }) => messages.push(`offer ${relid} ${subChannelIndex}`)
    all.client.onRescind = ({ relid, subChannelIndex }) => {
      messages.push(`rescind ${relid} ${subChannelIndex}`)
      all.client.release(relid)
    }
    return { ...all, messages }
  }

  it('are offered with the primary’s GUIDs, and opened by the same device', async () => {
    const { pair, client, device, open, messages } = await withSubChannels(2)
    await open()
    expect(messages).toEqual(['offer 2 1', 'offer 3 2'])
    const sub = client.offers.find(({ relid }) => relid === 3)
    expect(sub).toMatchObject({ interfaceId: INTERFACE, instanceId: INSTANCES[0] })
    const channel = await pair.run(client.open(sub as never, pair.rings(1, 1)))
    expect(device.log).toEqual(['open 0', 'open 2'])
    expect(await roundTrip(pair, channel, hello)).toHaveLength(1)
  })

  it('go when the primary is closed, and come anew', async () => {
    const { pair, client, device, open, messages } = await withSubChannels(2)
    const primary = await open()
    await pair.run(client.open(client.offers[1] as never, pair.rings(1, 1)))
    messages.length = 0
    await pair.run(primary.close())
    expect(messages).toEqual(['rescind 2 1', 'rescind 3 2'])
    expect(device.log).toEqual(['open 0', 'open 1', 'close 1', 'close 0'])
    messages.length = 0
    await open()
    expect(messages).toEqual(['offer 2 1', 'offer 3 2'])
  })

  it('are rescinded before their primary', async () => {
    const { pair, open, offered, messages } = await withSubChannels(2)
    await open()
    messages.length = 0
    await pair.run(offered[Symbol.asyncDispose]())
    expect(messages).toEqual(['rescind 2 1', 'rescind 3 2', 'rescind 1 0'])
    expect(pair.server.channels()).toEqual([])
  })

  it('have none themselves', async () => {
    const { pair, client, device, open } = await withSubChannels(1)
    await open()
    const sub = client.offers.find(({ subChannelIndex }) => subChannelIndex === 1)
    await pair.run(client.open(sub as never, pair.rings(1, 1)))
    expect(device.opened[1]?.offerSubChannels(4)).toBe(0)
  })
})
