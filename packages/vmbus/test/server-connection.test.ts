// How a guest and the bus come together and part: versions, contact, disconnection, messages that find no room, the trace.

import { describe, expect, it } from 'vitest'
import { MESSAGE_TYPE, VMBUS_VERSION } from '../src/protocol.ts'
import { VmbusPair } from '../src/testing.ts'
import { connected, hello, message, roundTrip } from './connected.ts'
import { EchoDevice, INSTANCES, INTERFACE } from './devices.ts'

describe('negotiation', () => {
  it.each([
    ['2.4', VMBUS_VERSION.V2_4],
    ['3.0', VMBUS_VERSION.V3_0],
    ['4.0', VMBUS_VERSION.V4_0],
    ['4.1', VMBUS_VERSION.V4_1],
    ['5.0', VMBUS_VERSION.V5_0],
    ['5.1', VMBUS_VERSION.V5_1],
    ['5.2', VMBUS_VERSION.V5_2],
    ['5.3', VMBUS_VERSION.V5_3],
    ['6.0', VMBUS_VERSION.V6_0],
  ])('accepts %s, and carries packets in it', async (_, version) => {
    const { pair, open } = await connected(new EchoDevice(), version)
    expect(pair.server.version).toBe(version)
    expect(await roundTrip(pair, await open(), hello)).toEqual([Uint8Array.of(...hello, 0, 0, 0, 0, 0, 0)])
  })

  it('refuses versions before 2.4 and unknown ones, until the guest finds one', async () => {
    const pair = new VmbusPair()
    const proposed = [0x0006_0001, 0x0005_0009, VMBUS_VERSION.V1_1, VMBUS_VERSION.V0_13, VMBUS_VERSION.V4_0]
    expect(await pair.run(pair.client.connect(proposed))).toBe(VMBUS_VERSION.V4_0)
    await expect(pair.run(pair.client.connect([VMBUS_VERSION.V1_1]))).rejects.toMatchObject({
      code: 'ERR_VMBUS_CLIENT',
    })
    expect(pair.server.version).toBe(0)
  })

  it('accepts no more than it is told to', async () => {
    const pair = new VmbusPair({ versions: [VMBUS_VERSION.V4_0] })
    expect(await pair.run(pair.client.connect())).toBe(VMBUS_VERSION.V4_0)
  })

  it('answers in 16 bytes with a connection id from 5.0 on, as Linux requires', () => {
    const pair = new VmbusPair()
    const contact = message(MESSAGE_TYPE.INITIATE_CONTACT, VMBUS_VERSION.V5_3, 0, 2, 0, 0, 0, 0, 0)
    expect(pair.server.receiveMessage(contact)).toBe(0)
    const answer = pair.takeMessage()
    expect(answer).toEqual(new Uint8Array(Uint32Array.of(15, 0, 1, 4).buffer))
    pair.server.receiveMessage(message(MESSAGE_TYPE.INITIATE_CONTACT, 0x0001_0001, 0, 0, 0, 0, 0, 0, 0))
    expect(pair.takeMessage()).toEqual(new Uint8Array(Uint32Array.of(15, 0, 0, 0).buffer))
  })

  it('refuses a SINT that is not the bus’s, and a trust level, at the place that they name, and keeps the connection', async () => {
    const { pair, open } = await connected()
    const contact = (version: number, place: number): void => {
      pair.server.receiveMessage(message(MESSAGE_TYPE.INITIATE_CONTACT, version, 0, place, 0, 0, 0, 0, 0))
    }
    const refusal = new Uint8Array(Uint32Array.of(15, 0, 0, 0).buffer)
    contact(VMBUS_VERSION.V5_3, 3)
    expect(pair.elsewhere).toEqual([{ sint: 3, payload: refusal }])
    // The trust level is in the second byte, from 5.1 on.
    contact(VMBUS_VERSION.V5_1, 0x0202)
    expect(pair.takeMessage()).toEqual(refusal)
    // No such SINT.
    contact(VMBUS_VERSION.V6_0, 77)
    expect(pair.takeMessage()).toEqual(refusal)
    expect(pair.server.version).toBe(VMBUS_VERSION.V5_3)
    expect(await roundTrip(pair, await open(), new Uint8Array(8))).toHaveLength(1)
    contact(VMBUS_VERSION.V5_0, 0x0202)
    expect(pair.takeMessage()?.[8]).toBe(1)
    // Below 5.0 the field is an address.
    contact(VMBUS_VERSION.V4_1, 3)
    expect(pair.takeMessage()?.[8]).toBe(1)
  })

  it('answers half of a pair of monitor pages with a connection that failed', () => {
    const pair = new VmbusPair()
    for (const pages of [
      [0x1000, 0, 0, 0],
      [0, 0, 0x1000, 0],
    ]) {
      pair.server.receiveMessage(message(MESSAGE_TYPE.INITIATE_CONTACT, VMBUS_VERSION.V5_3, 0, 2, 0, ...pages))
      expect(pair.takeMessage()).toEqual(new Uint8Array(Uint32Array.of(15, 0, 0x0201, 4).buffer))
      expect(pair.server.version).toBe(0)
    }
    pair.server.receiveMessage(
      message(MESSAGE_TYPE.INITIATE_CONTACT, VMBUS_VERSION.V5_3, 0, 2, 0, 0x1000, 0, 0x2000, 0),
    )
    expect(pair.takeMessage()?.[8]).toBe(1)
  })

  it('ignores everything before contact, and what the version does not have', async () => {
    const pair = new VmbusPair()
    for (let type = 0; type < 40; type++)
      if (type !== MESSAGE_TYPE.INITIATE_CONTACT) pair.server.receiveMessage(message(type, ...new Array(40).fill(1)))
    expect(pair.takeMessage()).toBeUndefined()
    expect(pair.server.faults).toBe(39)
    await pair.run(pair.client.connect([VMBUS_VERSION.V4_0]))
    const before = pair.server.faults
    pair.server.receiveMessage(message(MESSAGE_TYPE.MODIFY_CHANNEL, 1, 0))
    expect(pair.server.faults).toBe(before + 1)
  })

  it('ignores messages that are too short for their kind', async () => {
    const { pair } = await connected()
    const before = pair.server.faults
    let count = 0
    for (const type of [5, 7, 8, 9, 11, 13, 14, 21, 22]) {
      pair.server.receiveMessage(message(type))
      count++
    }
    pair.server.receiveMessage(new Uint8Array(0))
    pair.server.receiveMessage(new Uint8Array(7))
    expect(pair.server.faults - before).toBe(count + 2)
    expect(pair.server.version).toBe(VMBUS_VERSION.V5_3)
    expect(pair.takeMessage()).toBeUndefined()
  })
})

describe('disconnection', () => {
  it('by unload closes everything, then says so', async () => {
    const { pair, client, device, open } = await connected()
    await open()
    const slow = Promise.withResolvers<void>()
    device.closing = slow.promise
    let unloaded = false
    const unloading = client.unload().then(() => {
      unloaded = true
    })
    await pair.settle()
    expect(unloaded).toBe(false)
    slow.resolve()
    await pair.run(unloading)
    expect(pair.server.gpadlCount).toBe(0)
    expect(pair.server.version).toBe(0)
    expect(pair.hasPort(1)).toBe(false)
    await pair.run(client.connect())
    expect(await pair.run(client.requestOffers())).toHaveLength(1)
  })

  it('is implied by a new contact: a crash kernel finds a clean bus', async () => {
    const { pair, device, open, trace } = await connected()
    await open()
    // The old kernel left messages that it never took.
    pair.clientAsleep = true
    pair.server.offer(new EchoDevice(INSTANCES[1]))
    pair.server.offer(new EchoDevice(INSTANCES[2]))
    const slow = Promise.withResolvers<void>()
    device.closing = slow.promise
    const next = pair.createClient()
    const connecting = next.connect()
    pair.takeMessage()
    pair.clientAsleep = false
    await pair.settle(next)
    // No answer before the device has let go of the old kernel's memory.
    expect(next.pendingRequests).toBe(1)
    expect(pair.server.version).toBe(0)
    slow.resolve()
    expect(await pair.run(connecting, next)).toBe(VMBUS_VERSION.V6_0)
    const offers = await pair.run(next.requestOffers(), next)
    expect(offers.map(({ relid }) => relid)).toEqual([1, 2, 3])
    expect(pair.server.gpadlCount).toBe(0)
    expect(next.ignored).toBe(0)
    const channel = await pair.run(next.open(offers[0] as never, pair.rings(1, 1)), next)
    channel.send(hello)
    await pair.settle(next)
    expect(trace.some((line) => line.startsWith('in INITIATE_CONTACT version=6.0'))).toBe(true)
  })

  it.each([
    ['6.0', '4.0', VMBUS_VERSION.V6_0, VMBUS_VERSION.V4_0],
    ['5.3', '6.0', VMBUS_VERSION.V5_3, VMBUS_VERSION.V6_0],
    ['2.4', '5.2', VMBUS_VERSION.V2_4, VMBUS_VERSION.V5_2],
    ['5.0', '2.4', VMBUS_VERSION.V5_0, VMBUS_VERSION.V2_4],
  ])('by unload at %s may be followed by a kernel that speaks %s', async (_first, _second, first, second) => {
    for (const unloads of [true, false]) {
      const { pair, client, device, open } = await connected(new EchoDevice(), first)
      await roundTrip(pair, await open(), hello)
      // A kernel that was started by kexec, or after a crash without an unload.
      if (unloads) await pair.run(client.unload())
      const next = pair.createClient()
      expect(await pair.run(next.connect([second]), next)).toBe(second)
      const [offer] = await pair.run(next.requestOffers(), next)
      const channel = await pair.run(next.open(offer as never, pair.rings(2, 2)), next)
      const answers: Uint8Array[] = []
      channel.onPacket = (packet) => answers.push(packet.payload().slice())
      channel.send(hello)
      await pair.settle(next)
      expect(answers).toHaveLength(1)
      expect(device.log).toEqual(['open 0', 'close 0', 'open 0'])
    }
  })

  it('answers only the last of several', async () => {
    const { pair, device, open, client } = await connected()
    await open()
    const slow = Promise.withResolvers<void>()
    device.closing = slow.promise
    void client.unload()
    await pair.settle()
    const next = pair.createClient()
    const connecting = next.connect([VMBUS_VERSION.V5_3])
    slow.resolve()
    await pair.run(connecting, next)
    expect(next.ignored).toBe(0)
    expect(pair.server.version).toBe(VMBUS_VERSION.V5_3)
  })

  it('drops rescinded channels that were not released', async () => {
    const { pair, client, offered } = await connected()
    await pair.run(offered[Symbol.asyncDispose]())
    expect(pair.server.channels()).toHaveLength(1)
    await pair.run(client.connect())
    expect(pair.server.channels()).toHaveLength(0)
  })

  it('by a reset of the machine leaves no trace', async () => {
    const { pair, device, client, open } = await connected()
    await open()
    pair.server.stop()
    pair.server.reset()
    pair.server.start()
    expect(device.log).toEqual(['open 0', 'close 0'])
    expect(pair.server.gpadlCount).toBe(0)
    await pair.run(client.connect())
    expect(await pair.run(client.requestOffers())).toHaveLength(1)
  })
})

describe('back-pressure', () => {
  it('turns a guest away that sends and never looks', async () => {
    const { pair } = await connected()
    pair.clientAsleep = true
    const results: number[] = []
    for (let index = 0; index < 1000; index++)
      results.push(pair.server.receiveMessage(message(MESSAGE_TYPE.GPADL_HEADER, 9, index, 0x0001_0010, 1, 0, 1, 0)))
    expect(new Set(results)).toEqual(new Set([0, 0x13]))
    expect(pair.server.queuedMessages).toBe(64)
    // It can always begin anew.
    expect(
      pair.server.receiveMessage(message(MESSAGE_TYPE.INITIATE_CONTACT, VMBUS_VERSION.V5_3, 0, 2, 0, 0, 0, 0, 0)),
    ).toBe(0)
    expect(pair.server.queuedMessages).toBe(1)
  })

  it('takes no message while it looks at one', async () => {
    const { pair, device, client, offer } = await connected()
    const results: number[] = []
    device.onOpen = () => results.push(pair.server.receiveMessage(message(MESSAGE_TYPE.UNLOAD)))
    await pair.run(client.open(offer, pair.rings(1, 1)))
    expect(results).toEqual([0x13])
  })
})

describe('trace', () => {
  it('shows messages and events in readable form', async () => {
    const { trace, open } = await connected()
    await open()
    expect(trace).toEqual([
      'in INITIATE_CONTACT version=5.3 targetVp=0 sint=2 vtl=0 features=0x0 parentToChildMonitorPage=0x0 childToParentMonitorPage=0x0',
      '0: version 5.3 accepted',
      'out VERSION_RESPONSE versionSupported=1 connectionState=0 connectionId=0x4',
      'in REQUEST_OFFERS',
      `out OFFER_CHANNEL interfaceId=${INTERFACE} instanceId=${INSTANCES[0]} flags=0x1 mmioMegabytes=0 subChannelIndex=0 mmioMegabytesOptional=0 relid=1 isDedicatedInterrupt=1 connectionId=0x2001`,
      'out ALL_OFFERS_DELIVERED',
      'in GPADL_HEADER relid=1 gpadlId=0xe1e10 length=56 rangeCount=1',
      '1: GPADL 0xe1e10: 24576 bytes in 1 pieces',
      'out GPADL_CREATED relid=1 gpadlId=0xe1e10 status=0x0',
      'in OPEN_CHANNEL relid=1 openId=1 ringGpadlId=0xe1e10 targetVp=0 downstreamPageOffset=3',
      '1: open, rings of 8192 and 8192 bytes',
      'out OPEN_CHANNEL_RESULT relid=1 openId=1 status=0x0',
    ])
  })
})
