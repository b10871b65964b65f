// How devices are offered to a guest and taken away.

import { describe, expect, it } from 'vitest'
import { MESSAGE_TYPE, STATUS } from '../src/protocol.ts'
import type { VmbusError } from '../src/server.ts'
import { VmbusPair } from '../src/testing.ts'
import { connected, message } from './connected.ts'
import { EchoDevice, INSTANCES, INTERFACE } from './devices.ts'

const KEYBOARD = 'f912ad6d-2b17-48ea-bd65-f927a61c7684'
const NETWORK = 'f8615163-df3e-46c5-913f-f2d2f965ed0e'

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
