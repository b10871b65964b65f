// This package's own driver on this package's provider: frames of all kinds both ways, under pressure, with several channels, closed and opened again.

import { Frame } from '@partita/ethernet'
import { FRAME_FLAG } from '@partita/interface'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { makePartial, packet } from '../../ethernet/test/packets.ts'
import loopback from '../src/loopback.ts'
import { NVSP_VERSION, OID, PACKET_FILTER } from '../src/protocol.ts'
import { NetworkError } from '../src/vsc.ts'
import { ADDRESS, ALL, Machine } from './machine.ts'

const data = (length: number, seed = 5): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => (at * 13 + seed + (at >> 8)) & 255)
const frameFor = (length: number, seed = 5): Uint8Array => {
  const bytes = data(length, seed)
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 0xb5])
  return bytes
}

describe('the driver', () => {
  it('opens an adapter in every version', async () => {
    for (const version of Object.values(NVSP_VERSION)) {
      const machine = await new Machine().open({ versions: [version] })
      expect(machine.nic.properties).toMatchObject({ version, macAddress: ADDRESS, mtu: 1500 })
      machine.nic.send(frameFor(60))
      machine.network.deliver(frameFor(61))
      await machine.pair.settle()
      expect([machine.network.sent.length, machine.received.length, machine.nic.ignored]).toEqual([1, 1, 0])
    }
  })

  it('goes down to a version that the provider has, and is told when there is none', async () => {
    const machine = await new Machine({ maximumVersion: NVSP_VERSION.V4 }).open()
    expect(machine.nic.properties.version).toBe(NVSP_VERSION.V4)
    const other = new Machine({ maximumVersion: NVSP_VERSION.V4 })
    await expect(other.open({ versions: [NVSP_VERSION.V61] })).rejects.toThrow(NetworkError)
  })

  it('sends and receives frames of all sizes', async () => {
    const machine = await new Machine().open({ mtu: 9000 })
    for (const length of [14, 60, 1514, 5000, 6100, 6144, 6200, 9014]) {
      const frame = frameFor(length)
      expect(machine.nic.send(frame)).toBe(true)
      await machine.pair.settle()
      expect(machine.network.sent.pop()?.bytes).toEqual(frame)
      machine.network.deliver(frame)
      await machine.pair.settle()
      expect(machine.received.pop()?.bytes).toEqual(frame)
    }
    expect([machine.nic.ignored, machine.nic.pending, machine.device.sectionsInFlight]).toEqual([0, 0, 0])
  })

  it('refuses what is no frame', async () => {
    const { nic } = await new Machine().open()
    for (const length of [0, 13, 70_000]) expect(() => nic.send(new Uint8Array(length))).toThrow(NetworkError)
  })

  it('passes on what a sender left to others, for any packet', async () => {
    const machine = await new Machine().open()
    machine.network.accepts = 31
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          version: fc.constantFrom(4 as const, 6 as const),
          protocol: fc.constantFrom('tcp' as const, 'udp' as const),
          payload: fc.uint8Array({ minLength: 1, maxLength: 900 }),
        }),
        fc.integer({ min: 0, max: 0xffff }),
        fc.boolean(),
        async (shape, vlan, tagged) => {
          const made = packet(shape)
          made.bytes.set([2, 0, 0, 0, 0, 1])
          const right = made.bytes.slice()
          makePartial(made, shape.version)
          const frame = new Frame().plain(made.bytes)
          frame.flags = FRAME_FLAG.CHECKSUM_PARTIAL | (tagged ? FRAME_FLAG.VLAN : 0)
          frame.checksumStart = made.transport
          frame.checksumOffset = made.checksum
          frame.vlan = vlan
          machine.nic.send(frame)
          await machine.pair.settle()
          const sent = machine.network.sent.pop()
          expect([sent?.flags, sent?.bytes, sent?.checksumStart, sent?.checksumOffset]).toEqual([
            frame.flags,
            made.bytes,
            made.transport,
            made.checksum,
          ])
          if (tagged) expect(sent?.vlan).toBe(vlan)
          machine.network.adapter.receive(frame)
          machine.network.adapter.receiveEnd()
          await machine.pair.settle()
          const received = machine.received.pop()
          expect([received?.flags, received?.bytes]).toEqual([
            FRAME_FLAG.CHECKSUM_VALID | (tagged ? FRAME_FLAG.VLAN : 0),
            right,
          ])
        },
      ),
      { numRuns: 60 },
    )
  })

  it('sends large frames, and receives them in one piece when it coalesces', async () => {
    const machine = await new Machine().open({ receiveBytes: 1024 * 1024 })
    machine.network.accepts = 31
    await machine.pair.run(machine.nic.setOffloads({ checksums: true, coalescing: true }))
    for (const version of [4, 6] as const) {
      const made = packet({ version, protocol: 'tcp', payload: data(61_000) })
      made.bytes.set([2, 0, 0, 0, 0, 1])
      makePartial(made, version)
      const frame = new Frame().plain(made.bytes)
      frame.flags = FRAME_FLAG.CHECKSUM_PARTIAL | (version === 4 ? FRAME_FLAG.GSO_TCP4 : FRAME_FLAG.GSO_TCP6)
      frame.checksumStart = made.transport
      frame.checksumOffset = made.checksum
      frame.gsoSize = 1400
      machine.nic.send(frame)
      await machine.pair.settle()
      const sent = machine.network.sent.pop()
      expect([sent?.bytes, sent?.gsoSize, sent?.flags]).toEqual([made.bytes, 1400, frame.flags])
      machine.network.adapter.receive(frame)
      machine.network.adapter.receiveEnd()
      await machine.pair.settle()
      expect(machine.received).toHaveLength(1)
      expect(machine.received.pop()?.bytes).toEqual(made.bytes)
    }
    expect(machine.device.statistics.coalesced).toBe(2)
    await machine.pair.run(machine.nic.setOffloads({ checksums: false, coalescing: false }))
    const made = packet({ version: 4, protocol: 'udp', payload: data(100) })
    made.bytes.set([2, 0, 0, 0, 0, 1])
    const frame = new Frame().plain(made.bytes)
    frame.flags = FRAME_FLAG.CHECKSUM_VALID
    machine.network.adapter.receive(frame)
    machine.network.adapter.receiveEnd()
    await machine.pair.settle()
    expect(machine.received.pop()?.flags).toBe(0)
  })

  it('hears of the link and its speed', async () => {
    const machine = await new Machine().open()
    const heard: unknown[] = []
    machine.nic.onLink = (up) => heard.push(up)
    machine.nic.onLinkSpeed = (speed) => heard.push(speed)
    expect(await machine.pair.run(machine.nic.linkUp())).toBe(true)
    machine.network.linkUp = false
    machine.network.adapter.portChanged()
    await machine.pair.settle()
    machine.network.linkUp = true
    machine.network.linkSpeed = 2.5e9
    machine.network.adapter.portChanged()
    await machine.pair.settle()
    expect(heard).toEqual([false, 2.5e9, true])
  })

  it('has errors of OIDs with their status', async () => {
    const { nic, pair } = await new Machine().open()
    await expect(pair.run(nic.query(0x99))).rejects.toMatchObject({
      code: 'ERR_NETWORK_OID',
      data: { oid: 0x99, status: 0xc00000bb },
    })
    await expect(pair.run(nic.set(OID.GEN_CURRENT_PACKET_FILTER, new Uint8Array(1)))).rejects.toThrow(/0xc0010014/)
  })

  it('waits for room and goes on', async () => {
    const machine = await new Machine().open({ sendBytes: 16_384, largeFrames: 1, ringBytes: 8192 })
    const { nic, network, pair } = machine
    network.room = 0
    let sent = 0
    while (nic.send(frameFor(100 + sent, sent))) sent++
    expect(sent).toBe(2)
    let writable = 0
    nic.onWritable = () => {
      writable++
      while (sent < 50 && nic.send(frameFor(100 + sent, sent))) sent++
    }
    await pair.settle()
    network.room = 1000
    network.adapter.writable()
    await pair.settle()
    expect(network.sent.map(({ bytes }) => bytes)).toEqual(
      Array.from({ length: 50 }, (_, at) => frameFor(100 + at, at)),
    )
    expect(writable).toBeGreaterThan(1)
    expect(nic.pending).toBe(0)
  })

  it('closes and opens again, under traffic', async () => {
    const machine = await new Machine().open()
    const { network, pair } = machine
    for (let round = 0; round < 3; round++) {
      network.room = 1
      for (let at = 0; at < 20; at++) machine.nic.send(frameFor(60))
      for (let at = 0; at < 5; at++) network.deliver(frameFor(60))
      const { nic } = machine
      await pair.run(nic.close())
      expect(machine.device.openChannels).toBe(0)
      expect([machine.device.waiting, machine.device.sectionsInFlight, machine.device.initialized]).toEqual([
        0,
        0,
        false,
      ])
      expect(network.deliver(frameFor(60))).toBe(true)
      await expect(nic.query(OID.GEN_LINK_SPEED)).rejects.toMatchObject({ code: 'ERR_NETWORK_CLOSED' })
      network.room = 1000
      network.adapter.writable()
      await machine.open()
      network.sent.length = 0
      machine.received.length = 0
      machine.nic.send(frameFor(99))
      network.deliver(frameFor(98))
      await pair.settle()
      expect([network.sent.length, machine.received.length]).toEqual([1, 1])
    }
  })

  it('takes its buffers back while frames are on their way', async () => {
    const machine = await new Machine().open()
    const { network, pair } = machine
    const channel = pair.client.offers[0]?.relid ?? 0
    network.adapter.receive(new Frame().plain(frameFor(60)))
    // Both buffers' GPADLs: the provider lets go at once.
    for (const gpadl of [0xe1e11, 0xe1e12]) await pair.run(pair.client.teardownGpadl(channel, gpadl))
    expect(network.deliver(frameFor(60))).toBe(true)
    machine.nic.send(frameFor(60))
    await pair.settle()
    expect([machine.received.length, network.sent.length]).toEqual([0, 0])
  })
})

describe('sub-channels', () => {
  const KEY = Uint8Array.from(
    '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa'.match(/../g) ?? [],
    (text) => Number.parseInt(text, 16),
  )
  const flow = (
    source: readonly number[],
    target: readonly number[],
    ports?: readonly [number, number],
  ): Uint8Array => {
    const { bytes } = packet({ version: 4, protocol: ports === undefined ? 'udp' : 'tcp', payload: data(10) })
    bytes.set([2, 0, 0, 0, 0, 1])
    bytes.set(source, 26)
    bytes.set(target, 30)
    if (ports !== undefined) for (const [at, port] of ports.entries()) bytes.set([port >> 8, port & 255], 34 + 2 * at)
    return bytes
  }

  it('carry flows by their hash, which is that of the specification', async () => {
    const machine = await new Machine().open()
    await machine.widen(3)
    expect([...machine.nic.sendTable]).toEqual(Array.from({ length: 16 }, (_, entry) => entry % 4))
    const table = Array.from({ length: 128 }, (_, entry) => entry % 4)
    await machine.pair.run(machine.nic.setReceiveScaling(KEY, table))
    // The vectors of "Verifying the RSS hash calculation": with ports and, for UDP, without.
    const vectors = [
      [[66, 9, 149, 187], [161, 142, 100, 80], [2794, 1766], 0x51ccc178, 0x323e8fc2],
      [[199, 92, 111, 2], [65, 69, 140, 83], [14230, 4739], 0xc626b0ea, 0xd718262a],
      [[24, 19, 198, 95], [12, 22, 207, 184], [12898, 38024], 0x5c2b394a, 0xd2d0a5de],
      [[38, 27, 205, 30], [209, 142, 163, 6], [48228, 2217], 0xafc7327f, 0x82989176],
      [[153, 39, 163, 191], [202, 188, 127, 2], [44251, 1303], 0x10e828a2, 0x5d1809c5],
    ] as const
    for (const [source, target, ports, tcp, ip] of vectors)
      for (const [frame, hash] of [
        [flow(source, target, ports), tcp],
        [flow(source, target), ip],
      ] as const) {
        machine.received.length = 0
        machine.queues.length = 0
        machine.network.deliver(frame)
        await machine.pair.settle()
        expect(machine.received).toHaveLength(1)
        expect(machine.queues).toEqual([(hash & 127) % 4])
      }
    // Everything comes back through the channel that it went through.
    expect(machine.device.sectionsInFlight).toBe(0)
    for (const queue of [0, 1, 2, 3]) machine.nic.send(frameFor(60 + queue), queue)
    await machine.pair.settle()
    expect(machine.network.sent.map(({ bytes }) => bytes.length).sort()).toEqual([60, 61, 62, 63])
  })

  it('refuse tables and keys that are none, and go by the primary until there are some', async () => {
    const machine = await new Machine().open()
    machine.network.deliver(flow([1, 2, 3, 4], [5, 6, 7, 8]))
    await machine.pair.settle()
    expect(machine.queues).toEqual([0])
    await machine.widen(3)
    for (const [key, table] of [
      [KEY, [0, 1, 2]],
      [KEY, [0, 4]],
      [KEY, []],
      [new Uint8Array(41), [0, 1]],
      [KEY, new Array<number>(256).fill(0)],
    ] as const)
      await expect(machine.pair.run(machine.nic.setReceiveScaling(key, table))).rejects.toThrow(NetworkError)
    await machine.pair.run(machine.nic.setReceiveScaling(KEY, [3]))
    machine.network.deliver(flow([1, 2, 3, 4], [5, 6, 7, 8]))
    machine.network.deliver(frameFor(60))
    await machine.pair.settle()
    expect(machine.queues).toEqual([0, 3, 0])
  })

  it('are no more than there may be, and none in old versions', async () => {
    const machine = await new Machine({ queues: 2 }).open()
    await expect(machine.pair.run(machine.nic.createSubChannels(2))).rejects.toThrow(NetworkError)
    await machine.widen(1)
    expect(machine.device.openChannels).toBe(2)
    const old = await new Machine().open({ versions: [NVSP_VERSION.V4] })
    await expect(old.pair.run(old.nic.createSubChannels(1))).rejects.toThrow(NetworkError)
  })

  it('a channel that is closed alone gives back what it has, and its flows come through the primary', async () => {
    const machine = await new Machine().open()
    await machine.widen(1)
    const channel = machine.vsc.channels[1]
    if (channel === undefined) throw new Error('no sub-channel')
    // It keeps what it gets.
    channel.onPacket = undefined
    await machine.pair.run(machine.nic.setReceiveScaling(KEY, [1]))
    const frame = flow([1, 2, 3, 4], [5, 6, 7, 8])
    for (let at = 0; at < 5; at++) machine.network.deliver(frame)
    await machine.pair.settle()
    expect(machine.device.sectionsInFlight).toBe(5)
    await machine.pair.run(channel.close())
    expect(machine.device.sectionsInFlight).toBe(0)
    machine.network.deliver(frame)
    await machine.pair.settle()
    expect(machine.queues).toEqual([0])
  })
})

describe('the loop-back plug', () => {
  it('gives every frame back, whole', async () => {
    const created = await loopback.create({
      options: { mtu: 65_521, linkSpeed: 1e9 },
    } as Parameters<typeof loopback.create>[0])
    const network = Object.values(created.services ?? {})[0] as ConstructorParameters<typeof Machine>[1]
    const machine = new Machine({}, network)
    await machine.open({ mtu: 9000 }, PACKET_FILTER.PROMISCUOUS)
    for (let round = 0; round < 40; round++) {
      while (!machine.nic.send(frameFor(60 + round * 200, round))) await machine.pair.settle()
    }
    await machine.pair.settle()
    expect(machine.received.map(({ bytes }) => bytes)).toEqual(
      Array.from({ length: 40 }, (_, round) => frameFor(60 + round * 200, round)),
    )
    const made = packet({ version: 4, protocol: 'tcp', payload: data(30_000) })
    makePartial(made, 4)
    const frame = new Frame().plain(made.bytes)
    frame.flags = FRAME_FLAG.CHECKSUM_PARTIAL | FRAME_FLAG.GSO_TCP4
    frame.checksumStart = made.transport
    frame.gsoSize = 1448
    machine.received.length = 0
    machine.nic.send(frame)
    await machine.pair.settle()
    expect(Uint8Array.from(machine.received.flatMap(({ bytes }) => [...bytes.subarray(54)]))).toEqual(data(30_000))
    expect(ALL).toBe(13)
  })
})
