import { describe, expect, it } from 'vitest'
import { VmbusClient } from '../src/client.ts'
import { MESSAGE_TYPE, OfferChannel } from '../src/protocol.ts'
import { VmbusPair } from '../src/testing.ts'
import { EchoDevice, INSTANCES } from './devices.ts'

const PAYLOAD = new Uint8Array(16).fill(9)
const PARENT_TO_CHILD = 24
const CHILD_TO_PARENT = 32

/** An echo device that may be signalled by the monitor page, and a guest with such a page, where `page` is not 0. */
async function monitored(page?: number, devices = [new EchoDevice()]) {
  const pair = new VmbusPair()
  const monitorPage = page ?? (pair.memory.allocatePages(1)[0] as number) * 4096
  for (const device of devices) Object.assign(device.offer, { monitored: true })
  for (const device of devices) pair.server.offer(device)
  const client = new VmbusClient({
    memory: pair.memory,
    postMessage: (_connectionId, payload) => {
      const message = payload.slice()
      const view = new DataView(message.buffer)
      // The other page of the pair is not looked at.
      for (const offset of [PARENT_TO_CHILD, CHILD_TO_PARENT])
        if (message[0] === MESSAGE_TYPE.INITIATE_CONTACT) view.setBigUint64(offset, BigInt(monitorPage), true)
      return pair.server.receiveMessage(message)
    },
    // A process in the guest: it cannot make hypercalls.
    signalEvent: () => undefined,
  })
  const offers: OfferChannel[] = []
  const receive = client.receiveMessage.bind(client)
  client.receiveMessage = (payload) => {
    if (payload[0] === MESSAGE_TYPE.OFFER_CHANNEL) offers.push(new OfferChannel(new DataView(payload.slice().buffer)))
    return receive(payload)
  }
  await pair.run(client.connect(), client)
  const [offer] = await pair.run(client.requestOffers(), client)
  const open = () => pair.run(client.open(offer as never, pair.rings(2, 2)), client)
  const setBit = (id: number) => {
    const gpa = monitorPage + 8 + (id >> 5) * 8
    pair.memory.writeU32(gpa, ((pair.memory.readU32(gpa) as number) | (1 << (id & 31))) >>> 0)
  }
  return { pair, client, offers, open, setBit, monitorPage, device: devices[0] as EchoDevice }
}

describe('the monitor page', () => {
  it('stands for the signal of a guest that makes no hypercalls', async () => {
    const { pair, client, offers, open, setBit, monitorPage } = await monitored()
    expect(offers).toEqual([expect.objectContaining({ monitorAllocated: 1, monitorId: 0, isDedicatedInterrupt: 1 })])
    const channel = await open()
    const answers: number[] = []
    channel.onPacket = (packet) => answers.push(packet.transactionLow)
    channel.send(PAYLOAD, 5)
    await pair.settle(client)
    expect(answers).toEqual([])
    expect(pair.polling).toBe(true)
    pair.server.pollMonitors()
    await pair.settle(client)
    expect(answers).toEqual([])
    setBit(0)
    pair.server.pollMonitors()
    await pair.settle(client)
    expect(answers).toEqual([5])
    expect(pair.memory.readU32(monitorPage + 8)).toBe(0)
    await pair.run(channel.close(), client)
    expect(pair.polling).toBe(false)
  })

  it('has a bit for each of 128 channels; bits of nobody are nothing', async () => {
    const devices = Array.from({ length: 130 }, (_, index) => {
      const device = new EchoDevice()
      const instanceId = `${INSTANCES[0]?.slice(0, -3)}${index.toString(16).padStart(3, '0')}`
      return Object.assign(device, { offer: { ...device.offer, instanceId } })
    })
    const { pair, offers, open, setBit } = await monitored(undefined, devices)
    const ids = offers.filter(({ monitorAllocated }) => monitorAllocated === 1).map(({ monitorId }) => monitorId)
    expect(ids).toEqual(Array.from({ length: 128 }, (_, id) => id))
    expect(offers).toHaveLength(130)
    await open()
    for (let id = 0; id < 128; id++) setBit(id)
    pair.server.pollMonitors()
    expect(pair.server.channels().reduce((sum, { counters }) => sum + counters.signalsIn, 0)).toBe(1)
  })

  it.each([
    ['none', 0],
    ['one that is no page', 0x1234],
    ['one outside of memory', 2 ** 40],
    ['one outside of everything', 2 ** 60],
  ])('is not used where the guest gives %s', async (_, page) => {
    const { pair, offers, open, monitorPage } = await monitored(page)
    expect(offers).toEqual([expect.objectContaining({ monitorAllocated: 0 })])
    expect(monitorPage).toBe(page)
    await open()
    expect(pair.polling).toBe(false)
    expect(() => pair.server.pollMonitors()).not.toThrow()
    pair.server.stop()
    expect(() => pair.migrate([new EchoDevice()])).not.toThrow()
  })

  it('is looked at in another process after a restore', async () => {
    const { pair, client, open, setBit } = await monitored()
    const channel = await open()
    const answers: number[] = []
    channel.onPacket = (packet) => answers.push(packet.transactionLow)
    pair.server.stop()
    expect(pair.polling).toBe(false)
    pair.migrate([new EchoDevice()])
    expect(pair.polling).toBe(true)
    await pair.settle(client)
    channel.send(PAYLOAD, 6)
    setBit(0)
    pair.server.pollMonitors()
    await pair.settle(client)
    expect(answers).toEqual([6])
    await pair.run(client.unload(), client)
    expect(pair.polling).toBe(false)
  })
})
