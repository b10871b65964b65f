import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VmbusClient } from '../src/client.ts'
import { MESSAGE_RULES, MESSAGE_TYPE, STATUS, VMBUS_VERSION } from '../src/protocol.ts'
import { SharedMemory, VmbusPair } from '../src/testing.ts'
import { EchoDevice } from './devices.ts'

/** A client whose host is the test. */
function alone() {
  const memory = new SharedMemory(1024 * 1024)
  const posted: { connectionId: number; payload: Uint8Array }[] = []
  const host = { status: 0 }
  const client = new VmbusClient({
    memory,
    postMessage: (connectionId, payload) => {
      if (host.status === 0) posted.push({ connectionId, payload })
      return host.status
    },
    signalEvent: () => {},
  })
  return { memory, posted, host, client }
}

function message(type: number, ...words: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.of(type, 0, ...words).buffer)
}

describe('the client', () => {
  it('posts to connection 4 and names the SINT from 5.0 on, and to connection 1 below', async () => {
    const { client, posted } = alone()
    const connecting = client.connect([VMBUS_VERSION.V5_0, VMBUS_VERSION.V4_1])
    expect(posted[0]).toMatchObject({ connectionId: 4 })
    expect(posted[0]?.payload[16]).toBe(2)
    client.receiveMessage(message(MESSAGE_TYPE.VERSION_RESPONSE, 0, 0))
    await Promise.resolve()
    expect(posted[1]).toMatchObject({ connectionId: 1 })
    expect(posted[1]?.payload[16]).toBe(0)
    client.receiveMessage(message(MESSAGE_TYPE.VERSION_RESPONSE, 1, 0))
    expect(await connecting).toBe(VMBUS_VERSION.V4_1)
  })

  it('uses the connection that the host names', async () => {
    const { client, posted } = alone()
    const connecting = client.connect([VMBUS_VERSION.V5_3])
    client.receiveMessage(message(MESSAGE_TYPE.VERSION_RESPONSE, 1, 77))
    await connecting
    void client.requestOffers()
    expect(posted.at(-1)).toEqual({ connectionId: 77, payload: message(MESSAGE_TYPE.REQUEST_OFFERS) })
  })

  it('tries again what the host has no buffers for, in order', () => {
    const { client, posted, host } = alone()
    host.status = 0x13
    void client.connect()
    client.release(3)
    client.release(4)
    expect(posted).toEqual([])
    host.status = 0
    client.retry()
    expect(posted.map(({ payload }) => payload[0])).toEqual([14, 13, 13])
  })

  it('refuses pages that are no rings, and a request that waits already', async () => {
    const pair = new VmbusPair()
    pair.server.offer(new EchoDevice())
    const { client } = pair
    await pair.run(client.connect())
    const [offer] = await pair.run(client.requestOffers())
    for (const options of [
      { pages: [1, 2, 3], downstreamPageOffset: 2 },
      { pages: [1, 2, 3, 2 ** 30], downstreamPageOffset: 2 },
      { pages: [], downstreamPageOffset: 0 },
    ])
      await expect(client.open(offer as never, options)).rejects.toMatchObject({ code: 'ERR_VMBUS_CLIENT' })
    void client.modify(1, 0).catch(() => undefined)
    await expect(client.modify(1, 0)).rejects.toMatchObject({ code: 'ERR_VMBUS_CLIENT' })
  })

  it('fails the requests of an offer that is taken back', async () => {
    const { client } = alone()
    const offer = new Uint8Array(196)
    const view = new DataView(offer.buffer)
    view.setUint32(0, MESSAGE_TYPE.OFFER_CHANNEL, true)
    view.setUint32(184, 9, true)
    view.setUint32(192, 0x2009, true)
    client.receiveMessage(offer)
    expect(client.offers).toMatchObject([{ relid: 9, connectionId: 0x2009 }])
    const gpadl = client.createGpadl(9, [{ byteOffset: 0, byteCount: 1, pages: [1] }])
    const teardown = client.teardownGpadl(9, 5)
    client.receiveMessage(message(MESSAGE_TYPE.RESCIND_CHANNEL_OFFER, 9))
    await expect(gpadl).rejects.toMatchObject({ data: { relid: 9 } })
    expect(client.offers).toEqual([])
    // Its memory is the host's until it says otherwise.
    const late = client.teardownGpadl(9, 6)
    expect(client.pendingRequests).toBe(2)
    for (const id of [5, 6]) client.receiveMessage(message(MESSAGE_TYPE.GPADL_TORNDOWN, id))
    await Promise.all([teardown, late])
    client.release(9)
    // Nothing is left to do for a channel that is gone.
    await client.teardownGpadl(9, 7)
    expect(client.pendingRequests).toBe(0)
  })

  it('stands any message of any host', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...MESSAGE_RULES.keys(), 0, 18, 99), fc.uint8Array({ maxLength: 240 })), {
          maxLength: 60,
        }),
        (messages) => {
          const { client } = alone()
          const settled = [client.connect(), client.requestOffers(), client.unload()]
          for (const request of settled) request.catch(() => undefined)
          for (const [type, bytes] of messages) {
            if (bytes.length >= 4) new DataView(bytes.buffer).setUint32(0, type, true)
            client.receiveMessage(bytes)
            client.eventFlag(type)
          }
          expect(client.offers.length).toBeLessThanOrEqual(messages.length)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('stops at a ring that the host broke', async () => {
    const pair = new VmbusPair()
    pair.server.offer(new EchoDevice())
    const { client } = pair
    await pair.run(client.connect())
    const [offer] = await pair.run(client.requestOffers())
    const rings = pair.rings(1, 1)
    const channel = await pair.run(client.open(offer as never, rings))
    // Too large is the caller's mistake, a broken ring is not.
    expect(() => channel.send(new Uint8Array(4096))).toThrow(expect.objectContaining({ code: 'ERR_VMBUS_PACKET' }))
    let packets = 0
    channel.onPacket = () => packets++
    pair.memory.writeU32((rings.pages[2] as number) * 4096, 4)
    channel.signalled()
    expect(channel.fault).toBeTypeOf('string')
    channel.signalled()
    expect(packets).toBe(0)
    pair.memory.writeU32((rings.pages[0] as number) * 4096 + 4, 1)
    expect(channel.send(new Uint8Array(8))).toBe(true)
    expect(channel.send(new Uint8Array(8))).toBe(false)
    await expect(pair.run(client.createGpadl(44, [{ byteOffset: 0, byteCount: 1, pages: [1] }]))).rejects.toMatchObject(
      {
        data: { status: STATUS.INVALID_PARAMETER },
      },
    )
  })
})
