import { describe, expect, it } from 'vitest'
import { contiguousRange } from '../src/client.ts'
import { formatMessage, MESSAGE_TYPE, NO_TARGET_VP, STATUS, VMBUS_VERSION } from '../src/protocol.ts'
import type { VmbusError } from '../src/server.ts'
import { VmbusPair } from '../src/testing.ts'
import { EchoDevice, INSTANCES, INTERFACE } from './devices.ts'

const KEYBOARD = 'f912ad6d-2b17-48ea-bd65-f927a61c7684'
const NETWORK = 'f8615163-df3e-46c5-913f-f2d2f965ed0e'

/** A message that a client may post, from its number and 32-bit words. */
function message(type: number, ...words: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.of(type, 0, ...words).buffer)
}

async function connected(device = new EchoDevice(), version: number = VMBUS_VERSION.V5_3) {
  const trace: string[] = []
  const pair = new VmbusPair({
    trace: {
      message: (direction, payload) => trace.push(`${direction} ${formatMessage(payload)}`),
      event: (relid, text) => trace.push(`${relid}: ${text}`),
    },
  })
  const offered = pair.server.offer(device)
  const { client } = pair
  await pair.run(client.connect([version]))
  const [offer] = await pair.run(client.requestOffers())
  if (offer === undefined) throw new Error('nothing is offered')
  const open = (target = client) => pair.run(target.open(offer, pair.rings(2, 2)), target)
  return { pair, client, device, offered, offer, open, trace }
}

/** What a client gets back for `payload`. */
async function roundTrip(
  pair: VmbusPair,
  channel: Awaited<ReturnType<VmbusPair['client']['open']>>,
  payload: Uint8Array,
) {
  const answers: Uint8Array[] = []
  channel.onPacket = (packet) => answers.push(packet.payload().slice())
  channel.send(payload, 7, 0, 1)
  await pair.settle()
  return answers
}

const hello = new TextEncoder().encode('hello, bus')

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

describe('offers', () => {
  it('are sorted by interface, order and instance, with numbers from 1 and connection ids of their own', async () => {
    const pair = new VmbusPair()
    pair.server.offer(new EchoDevice(INSTANCES[0], NETWORK, 2))
    pair.server.offer(new EchoDevice(INSTANCES[2], NETWORK, 1))
    pair.server.offer(new EchoDevice(INSTANCES[1], NETWORK, 1))
    pair.server.offer(new EchoDevice(INSTANCES[1], INTERFACE))
    pair.server.offer(new EchoDevice(INSTANCES[1], KEYBOARD))
    await pair.run(pair.client.connect())
    const offers = await pair.run(pair.client.requestOffers())
    expect(offers.map(({ relid, interfaceId, instanceId }) => [relid, interfaceId, instanceId])).toEqual([
      [1, INTERFACE, INSTANCES[1]],
      [2, NETWORK, INSTANCES[1]],
      [3, NETWORK, INSTANCES[2]],
      [4, NETWORK, INSTANCES[0]],
      [5, KEYBOARD, INSTANCES[1]],
    ])
    expect(new Set(offers.map(({ connectionId }) => connectionId)).size).toBe(5)
  })

  it('carry a dedicated interrupt, no monitor page, flags and user data', async () => {
    const pair = new VmbusPair()
    const userDefined = Uint8Array.of(1, 2, 3)
    pair.server.offer({
      offer: { interfaceId: INTERFACE, instanceId: INSTANCES[0], flags: 0x11, mmioMegabytes: 8, userDefined },
      open: () => undefined,
    })
    await pair.run(pair.client.connect())
    pair.server.receiveMessage(message(MESSAGE_TYPE.REQUEST_OFFERS))
    const offer = pair.takeMessage() as Uint8Array
    expect(offer.length).toBe(196)
    const view = new DataView(offer.buffer)
    expect([view.getUint16(56, true), view.getUint16(58, true)]).toEqual([0x11, 8])
    expect([...offer.subarray(60, 64)]).toEqual([1, 2, 3, 0])
    // Monitor id, monitor allocated, dedicated interrupt.
    expect([...offer.subarray(188, 192)]).toEqual([0, 0, 1, 0])
    expect(pair.takeMessage()).toEqual(message(MESSAGE_TYPE.ALL_OFFERS_DELIVERED))
  })

  it('are delivered once per connection', async () => {
    const { pair, client } = await connected()
    const before = pair.server.faults
    pair.server.receiveMessage(message(MESSAGE_TYPE.REQUEST_OFFERS))
    await pair.settle()
    expect(pair.server.faults).toBe(before + 1)
    expect(client.ignored).toBe(0)
  })

  it('come and go in a running guest', async () => {
    const { pair, client } = await connected()
    const seen: number[] = []
    const gone: number[] = []
    client.onOffer = ({ relid }) => seen.push(relid)
    client.onRescind = ({ relid }) => {
      gone.push(relid)
      client.release(relid)
    }
    const offered = pair.server.offer(new EchoDevice(INSTANCES[1]))
    await pair.settle()
    expect(seen).toEqual([2])
    await pair.run(offered[Symbol.asyncDispose]())
    expect(gone).toEqual([2])
    expect(pair.server.channels().map(({ relid }) => relid)).toEqual([1])
    pair.server.offer(new EchoDevice(INSTANCES[2]))
    await pair.settle()
    expect(seen).toEqual([2, 2])
  })

  it('wait for the guest to release the old device of the same name', async () => {
    const { pair, client, offered } = await connected()
    let offers = 0
    client.onOffer = () => offers++
    const dispose = offered[Symbol.asyncDispose]()
    await pair.run(dispose)
    pair.server.offer(new EchoDevice())
    await pair.settle()
    expect(offers).toBe(0)
    client.release(1)
    await pair.settle()
    expect(offers).toBe(1)
  })

  it('are withdrawn without a word when the guest has not seen them', async () => {
    const { pair, client } = await connected()
    pair.clientAsleep = true
    const first = pair.server.offer(new EchoDevice(INSTANCES[1]))
    const second = pair.server.offer(new EchoDevice(INSTANCES[2]))
    await pair.run(second[Symbol.asyncDispose]())
    expect(pair.server.queuedMessages).toBe(0)
    expect(pair.server.channels().length).toBe(2)
    pair.clientAsleep = false
    await pair.settle()
    expect(client.offers.map(({ instanceId }) => instanceId)).toEqual([INSTANCES[0], INSTANCES[1]])
    expect(first.offer.instanceId).toBe(INSTANCES[1])
  })

  it('may be declined by the guest until it connects again', async () => {
    const { pair, client } = await connected()
    client.release(1)
    await pair.settle()
    expect(pair.server.channels()).toMatchObject([{ relid: 0, state: 'closed' }])
    await pair.run(client.connect())
    expect(await pair.run(client.requestOffers())).toHaveLength(1)
  })

  it('are checked', () => {
    const { server } = new VmbusPair()
    const bad = [
      { interfaceId: 'x', instanceId: INSTANCES[0] },
      { interfaceId: INTERFACE, instanceId: '' },
      { interfaceId: INTERFACE, instanceId: INSTANCES[0], order: 0.5 },
      { interfaceId: INTERFACE, instanceId: INSTANCES[0], flags: 0x1_0000 },
      { interfaceId: INTERFACE, instanceId: INSTANCES[0], mmioMegabytes: -1 },
      { interfaceId: INTERFACE, instanceId: INSTANCES[0], userDefined: new Uint8Array(121) },
    ]
    for (const offer of bad)
      expect(() => server.offer({ offer, open: () => undefined })).toThrow(
        expect.objectContaining({ code: 'ERR_VMBUS_OFFER' } satisfies Partial<VmbusError>),
      )
    server.offer(new EchoDevice())
    expect(() => server.offer(new EchoDevice())).toThrow(expect.objectContaining({ code: 'ERR_VMBUS_OFFER' }))
  })

  it('number at most 2,047, and the rest wait', async () => {
    const pair = new VmbusPair()
    for (let index = 0; index < 2050; index++)
      pair.server.offer(new EchoDevice(`00000000-0000-0000-0000-${index.toString(16).padStart(12, '0')}`))
    const { client } = pair
    await pair.run(client.connect())
    const offers = await pair.run(client.requestOffers())
    expect(offers.map(({ relid }) => relid)).toEqual(Array.from({ length: 2047 }, (_, index) => index + 1))
    let late = 0
    client.onOffer = ({ relid, instanceId }) => {
      late++
      expect([relid, instanceId]).toEqual([17, '00000000-0000-0000-0000-0000000007ff'])
    }
    client.release(17)
    await pair.settle()
    expect(late).toBe(1)
  })
})

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

describe('rescind', () => {
  it('closes the channel at once, and keeps the number and GPADLs until the guest releases them', async () => {
    const { pair, client, device, offered, open } = await connected()
    await open()
    const rescinded: number[] = []
    client.onRescind = ({ relid }) => rescinded.push(relid)
    await pair.run(offered[Symbol.asyncDispose]())
    expect(device.log).toEqual(['open 0', 'close 0'])
    expect(rescinded).toEqual([1])
    // Linux, too, closes a channel that is gone, gives it GPADLs, and sends no teardown.
    pair.server.receiveMessage(message(MESSAGE_TYPE.CLOSE_CHANNEL, 1))
    await pair.settle()
    pair.server.receiveMessage(message(MESSAGE_TYPE.GPADL_HEADER, 1, 77, 0x0001_0010, 4096, 0, 5, 0))
    expect(pair.takeMessage()).toEqual(message(MESSAGE_TYPE.GPADL_CREATED, 1, 77, STATUS.SUCCESS))
    expect(pair.server.gpadlCount).toBe(2)
    client.release(1)
    expect(pair.server.gpadlCount).toBe(0)
    expect(pair.server.channels()).toEqual([])
  })

  it('answers an open that crosses it', async () => {
    const { pair, client, offer, offered } = await connected()
    pair.clientAsleep = true
    const opening = client.open(offer, pair.rings(1, 1))
    const gone = offered[Symbol.asyncDispose]()
    pair.clientAsleep = false
    await expect(pair.run(opening)).rejects.toMatchObject({ code: 'ERR_VMBUS_CLIENT' })
    await gone
    expect(client.pendingRequests).toBe(0)
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

describe('hypervisor sockets', () => {
  const ENDPOINT = '11111111-facb-11e6-bd58-64006a7986d3'
  const SERVICE = '00000050-facb-11e6-bd58-64006a7986d3'

  it('are refused where nobody serves them', async () => {
    const { pair, client } = await connected()
    expect(await pair.run(client.connectSocket(ENDPOINT, SERVICE))).toBe(STATUS.CONNECTION_REFUSED)
  })

  it('are passed on to who serves them', async () => {
    const { pair, client } = await connected()
    const requests: unknown[] = []
    const registration = pair.server.onConnectRequest((request) => {
      requests.push(request)
      pair.server.offer({ offer: { interfaceId: SERVICE, instanceId: ENDPOINT, flags: 0x2000 }, open: () => undefined })
      return true
    })
    void client.connectSocket(ENDPOINT, SERVICE)
    await pair.settle()
    expect(requests).toEqual([{ endpointId: ENDPOINT, serviceId: SERVICE }])
    expect(client.offers.at(-1)).toMatchObject({ interfaceId: SERVICE, flags: 0x2000 })
    registration[Symbol.dispose]()
    expect(await pair.run(client.connectSocket(SERVICE, ENDPOINT))).toBe(STATUS.CONNECTION_REFUSED)
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
