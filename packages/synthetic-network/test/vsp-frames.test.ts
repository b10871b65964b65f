// The way of the frames through a network adapter, against what Linux and Windows send and expect.

import { Frame, foldSum, sumWords, transportChecksumIsRight } from '@partita/ethernet'
import { FRAME_FLAG } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { makePartial, packet } from '../../ethernet/test/packets.ts'
import { data, frameFor, headersOf, MAC } from './frames.ts'
import { LinuxGuest, NVSP_SIZE } from './linux-guest.ts'

describe('frames of the guest', () => {
  it('in a section of the send buffer, several in a packet, with padding between', async () => {
    const guest = await new LinuxGuest().up()
    const { network } = guest.machine
    const frames = [frameFor(60), frameFor(77), frameFor(1514)]
    const messages = frames.map((frame, index) =>
      guest.dataMessage(frame, [], index < 2 ? (8 - ((44 + frame.length) % 8)) % 8 : 0),
    )
    const whole = Uint8Array.from(messages.flatMap((message) => [...message]))
    guest.writeSendBuffer(6144 * 3, whole)
    const completion = await guest.ask(guest.rndisMessage(0, 3, whole.length))
    expect([completion.bytes.length, completion.view.getUint32(0, true), completion.view.getUint32(4, true)]).toEqual([
      NVSP_SIZE,
      108,
      1,
    ])
    expect(network.sent.map(({ bytes }) => bytes)).toEqual(frames)
    expect(network.batches).toBe(1)
    expect(guest.device.statistics.transmitted.directedFrames).toBe(3)
  })

  it('in pages that lie apart, the RNDIS header across two of them', async () => {
    const guest = await new LinuxGuest().up(0x60001, { mtu: 9000 })
    const frame = frameFor(9014)
    for (const start of [0, 4090, 4060, 4053, 4095]) {
      const completion = await guest.ask(guest.rndisMessage(0), guest.place(guest.dataMessage(frame), start))
      expect(completion.view.getUint32(4, true)).toBe(1)
      expect(guest.machine.network.sent.pop()?.bytes).toEqual(frame)
    }
  })

  it('partly in a section and partly in pages, as batches end', async () => {
    const guest = await new LinuxGuest().up()
    const first = guest.dataMessage(frameFor(100))
    const second = guest.dataMessage(frameFor(1400))
    const inSection = Uint8Array.from([...first, ...second.subarray(0, 44)])
    guest.writeSendBuffer(0, inSection)
    await guest.ask(guest.rndisMessage(0, 0, inSection.length), guest.place(second.subarray(44), 100))
    expect(guest.machine.network.sent.map(({ bytes }) => bytes.length)).toEqual([100, 1400])
  })

  it('with checksums left to the adapter: IPv4 and IPv6, TCP and UDP', async () => {
    const guest = await new LinuxGuest().up()
    const { network } = guest.machine
    for (const version of [4, 6] as const)
      for (const protocol of ['tcp', 'udp'] as const)
        for (const accepts of [0, FRAME_FLAG.CHECKSUM_PARTIAL]) {
          network.accepts = accepts
          const made = packet({ version, protocol, payload: data(501) })
          const right = made.bytes.slice()
          makePartial(made, version)
          const bits = (version === 4 ? 1 : 2) | (protocol === 'tcp' ? 4 : 8) | (made.transport << 16)
          await guest.ask(guest.rndisMessage(0), guest.place(guest.dataMessage(made.bytes, [[0, bits]])))
          const sent = network.sent.pop() as Frame
          if (accepts === 0) expect(sent.bytes).toEqual(right)
          else {
            expect(sent.bytes).toEqual(made.bytes)
            expect([sent.flags, sent.checksumStart, sent.checksumOffset]).toEqual([1, made.transport, made.checksum])
          }
        }
  })

  it('with the IP header checksum left to the adapter, as Windows does', async () => {
    const guest = await new LinuxGuest().up()
    const made = packet({ version: 4, protocol: 'udp', payload: data(20) })
    const right = made.bytes.slice()
    made.bytes.set([0, 0], 24)
    makePartial(made, 4)
    await guest.ask(guest.rndisMessage(0), guest.place(guest.dataMessage(made.bytes, [[0, 1 | 8 | 16 | (34 << 16)]])))
    expect(guest.machine.network.sent[0]?.bytes).toEqual(right)
  })

  it('with a VLAN tag, in the bytes or beside them', async () => {
    const guest = await new LinuxGuest().up()
    const { network } = guest.machine
    const frame = frameFor(100)
    // pri 5, cfi 1, vlanid 0x123 in Linux' bit fields.
    const message = guest.dataMessage(frame, [[6, 5 | 8 | (0x123 << 4)]])
    await guest.ask(guest.rndisMessage(0), guest.place(message))
    expect(network.sent[0]?.bytes).toEqual(
      Uint8Array.from([...frame.subarray(0, 12), 0x81, 0, 0xb1, 0x23, ...frame.subarray(12)]),
    )
    network.accepts = FRAME_FLAG.VLAN
    await guest.ask(guest.rndisMessage(0), guest.place(message))
    expect([network.sent[1]?.bytes, network.sent[1]?.flags, network.sent[1]?.vlan]).toEqual([
      frame,
      FRAME_FLAG.VLAN,
      0xb123,
    ])
  })

  it('as large sends, with the lengths and checksums that Linux leaves out', async () => {
    const guest = await new LinuxGuest().up()
    const { network } = guest.machine
    for (const version of [4, 6] as const)
      for (const gso of [false, true]) {
        network.accepts = gso ? FRAME_FLAG.GSO_TCP4 | FRAME_FLAG.GSO_TCP6 | FRAME_FLAG.CHECKSUM_PARTIAL : 0
        network.sent.length = 0
        const payload = data(20_000)
        const made = packet({ version, protocol: 'tcp', payload, tcpOptions: 12 })
        // tot_len, check and the pseudo header without length.
        if (version === 4) made.bytes.set([0, 0], 16)
        if (version === 4) made.bytes.set([0, 0], 24)
        if (version === 6) made.bytes.set([0, 0], 18)
        made.bytes.set([0, 0], made.checksum)
        const info = (1448 | (made.transport << 20) | 0x40000000 | (version === 6 ? 0x80000000 : 0)) >>> 0
        const completion = await guest.ask(
          guest.rndisMessage(0),
          guest.place(guest.dataMessage(made.bytes, [[2, info]]), 50),
        )
        expect(completion.view.getUint32(4, true)).toBe(1)
        if (gso) {
          expect(network.sent).toHaveLength(1)
          const sent = network.sent[0] as Frame
          expect([sent.gsoSize, sent.checksumStart]).toEqual([1448, made.transport])
          const headers = headersOf(sent.bytes)
          expect(headers.packetEnd).toBe(sent.bytes.length)
          if (version === 4) expect(foldSum(sumWords(sent.bytes, 14, 34))).toBe(0xffff)
        } else {
          expect(network.sent).toHaveLength(Math.ceil(20_000 / 1448))
          const parts = network.sent.map(({ bytes }) => {
            const headers = headersOf(bytes)
            expect(transportChecksumIsRight(bytes, headers)).toBe(true)
            expect(bytes.length).toBeLessThanOrEqual(14 + (version === 4 ? 20 : 40) + 32 + 1448)
            return [...bytes.subarray(headers.payload)]
          })
          expect(Uint8Array.from(parts.flat())).toEqual(payload)
        }
      }
    expect(guest.device.statistics.largeSends).toBe(4)
  })

  it('as large sends of version 1, and ones that make no sense', async () => {
    const guest = await new LinuxGuest().up()
    const { network } = guest.machine
    const send = async (made: { bytes: Uint8Array }, info: number): Promise<number> =>
      (
        await guest.ask(guest.rndisMessage(0), guest.place(guest.dataMessage(made.bytes, [[2, info >>> 0]])))
      ).view.getUint32(4, true)
    const tcp4 = packet({ version: 4, protocol: 'tcp', payload: data(3000) })
    expect(await send(tcp4, 1000 | (34 << 20))).toBe(1)
    expect(network.sent).toHaveLength(3)
    expect(await send(tcp4, 1 | (34 << 20))).toBe(5) // an MSS of 1
    expect(await send(packet({ version: 6, protocol: 'tcp', payload: data(3000) }), 1000)).toBe(5)
    expect(await send(packet({ version: 4, protocol: 'udp', payload: data(3000) }), 1000)).toBe(5)
    expect(await send({ bytes: frameFor(2000) }, 1000)).toBe(5)
    // No larger than one segment: an ordinary packet.
    expect(await send(packet({ version: 4, protocol: 'tcp', payload: data(10) }), 1000)).toBe(1)
    expect(network.sent).toHaveLength(4)
    expect(
      transportChecksumIsRight(network.sent[3]?.bytes as Uint8Array, headersOf(network.sent[3]?.bytes as Uint8Array)),
    ).toBe(true)
  })

  it('that make no sense are told so, and leave the adapter alone', async () => {
    const guest = await new LinuxGuest().up()
    const { network } = guest.machine
    const change = (at: number, value: number): Uint8Array => {
      const bytes = guest.dataMessage(frameFor(100), [[0, 0]])
      new DataView(bytes.buffer).setUint32(at, value, true)
      return bytes
    }
    const wrong = [
      change(4, 0), // message length
      change(4, 7),
      change(4, 5000),
      change(8, 0xffffffff), // data offset
      change(12, 0xffffffff), // data length
      change(12, 13),
      change(12, 101),
      change(28, 0xfffffff0), // per-packet information
      change(32, 0xffffffff),
      change(44, 0), // its size
      change(44, 0xffffffff),
      change(44, 11),
    ]
    for (const bytes of wrong)
      expect((await guest.ask(guest.rndisMessage(0), guest.place(bytes))).view.getUint32(4, true)).toBe(5)
    // Sections that are none, pages that are none.
    for (const [section, size] of [
      [1000, 100],
      [0, 6145],
      [0xfffffffe, 1],
    ] as const)
      expect((await guest.ask(guest.rndisMessage(0, section, size))).view.getUint32(4, true)).toBe(5)
    const nowhere = { byteOffset: 0, byteCount: 100, pages: [2 ** 40] }
    expect((await guest.ask(guest.rndisMessage(0), [nowhere])).view.getUint32(4, true)).toBe(5)
    expect((await guest.ask(guest.rndisMessage(1), [nowhere])).view.getUint32(4, true)).toBe(5)
    expect(network.sent).toHaveLength(0)
    expect(guest.device.statistics.transmitErrors).toBe(wrong.length + 4)
    // The rest of a packet after a good message is told, too, and the good one has gone.
    const mixed = Uint8Array.from([...guest.dataMessage(frameFor(60)), ...change(4, 0)])
    expect((await guest.ask(guest.rndisMessage(0), guest.place(mixed))).view.getUint32(4, true)).toBe(5)
    expect(network.sent).toHaveLength(1)
  })

  it('go nowhere without a cable, and when they are longer than the MTU', async () => {
    const guest = await new LinuxGuest().up(0x60001, { mtu: 9000 })
    const { network } = guest.machine
    network.mtu = 1500
    const send = (length: number) => guest.ask(guest.rndisMessage(0), guest.place(guest.dataMessage(frameFor(length))))
    await send(1514)
    await send(1519)
    network.linkUp = false
    await send(100)
    expect(network.sent).toHaveLength(1)
    expect(guest.device.statistics.transmitDiscards).toBe(2)
  })
})

describe('frames for the guest', () => {
  const ranges = (guest: LinuxGuest): DataView[] =>
    guest.answers
      .filter(({ type }) => type === 7)
      .flatMap((answer) => answer.ranges.map((_, range) => guest.rangeOf(answer, range)))
  const frameOf = (view: DataView): Uint8Array =>
    new Uint8Array(
      view.buffer.slice(8 + view.getUint32(8, true), 8 + view.getUint32(8, true) + view.getUint32(12, true)),
    )
  const infosOf = (view: DataView): Map<number, number> => {
    const infos = new Map<number, number>()
    const end = 8 + view.getUint32(28, true) + view.getUint32(32, true)
    for (let at = 8 + view.getUint32(28, true); at < end; at += view.getUint32(at, true))
      infos.set(view.getUint32(at + 4, true), view.getUint32(at + view.getUint32(at + 8, true), true))
    return infos
  }

  it('come in batches, one packet each, and are given back', async () => {
    const guest = await new LinuxGuest().up()
    const { network, pair } = guest.machine
    const frames = [60, 61, 700, 1514].map((length) => frameFor(length))
    for (const frame of frames) expect(network.adapter.receive(new Frame().plain(frame))).toBe(true)
    expect(guest.device.sectionsInFlight).toBe(4)
    network.adapter.receiveEnd()
    await pair.settle()
    const packets = guest.answers.filter(({ type }) => type === 7)
    expect(packets).toHaveLength(1)
    const message = packets[0]?.view as DataView
    expect([message.byteLength, message.getUint32(0, true), message.getUint32(4, true)]).toEqual([NVSP_SIZE, 107, 0])
    expect(ranges(guest).map(frameOf)).toEqual(frames)
    expect(guest.device.sectionsInFlight).toBe(0)
    expect(guest.device.statistics.received.directedBytes).toBe(60 + 61 + 700 + 1514)
  })

  it('are filtered as the guest wants, and a filter of 0 is honoured', async () => {
    const guest = await new LinuxGuest().up()
    const { network, pair } = guest.machine
    const targets = {
      own: MAC,
      other: [2, 0, 0, 0, 0, 2],
      group: [1, 0, 0x5e, 0, 0, 7],
      all: [255, 255, 255, 255, 255, 255],
    }
    const seen = async (filter: number): Promise<string[]> => {
      await guest.set(0x1010e, Uint8Array.of(filter, 0, 0, 0))
      guest.answers.length = 0
      for (const [index, target] of Object.values(targets).entries()) network.deliver(frameFor(60 + index, target))
      await pair.settle()
      return ranges(guest).map((view) => Object.keys(targets)[view.getUint32(12, true) - 60] as string)
    }
    expect(await seen(0)).toEqual([])
    expect(await seen(1)).toEqual(['own'])
    expect(await seen(8)).toEqual(['all'])
    expect(await seen(4)).toEqual(['group'])
    expect(await seen(2)).toEqual([])
    expect(await guest.set(0x1010103, Uint8Array.from(targets.group))).toBe(0)
    expect(await seen(2)).toEqual(['group'])
    expect((await guest.query(0x1010103)).info.byteLength).toBe(6)
    expect(await seen(0x20)).toEqual(['own', 'other', 'group', 'all'])
    expect(await guest.set(0x1010209, Uint8Array.from(targets.group))).toBe(0)
    expect(await seen(2)).toEqual([])
    expect(await guest.set(0x1010103, new Uint8Array(6 * 65).fill(1))).toBe(0xc0010009)
  })

  it('tell of checksums and tags', async () => {
    const guest = await new LinuxGuest().up()
    const { network, pair } = guest.machine
    for (const version of [4, 6] as const)
      for (const protocol of ['tcp', 'udp'] as const) {
        const made = packet({ version, protocol, payload: data(99) })
        const right = made.bytes.slice()
        right.set(MAC)
        made.bytes.set(MAC)
        makePartial(made, version)
        for (const partial of [true, false]) {
          guest.answers.length = 0
          const frame = new Frame().plain(partial ? made.bytes : right)
          frame.flags = FRAME_FLAG.VLAN | (partial ? FRAME_FLAG.CHECKSUM_PARTIAL : FRAME_FLAG.CHECKSUM_VALID)
          frame.checksumStart = made.transport
          frame.checksumOffset = made.checksum
          frame.vlan = 0xb123
          network.adapter.receive(frame)
          network.adapter.receiveEnd()
          await pair.settle()
          const [view] = ranges(guest)
          expect(frameOf(view as DataView)).toEqual(right)
          const infos = infosOf(view as DataView)
          expect(infos.get(6)).toBe(5 | 8 | (0x123 << 4))
          expect(infos.get(0)).toBe((protocol === 'tcp' ? 8 : 16) | (version === 4 ? 32 : 0))
        }
      }
    // Nothing is claimed of a frame that nobody looked at.
    guest.answers.length = 0
    network.deliver(frameFor(100))
    await pair.settle()
    expect(infosOf(ranges(guest)[0] as DataView).size).toBe(0)
  })

  it('that are large come in segments, or in parts to a guest that coalesces', async () => {
    for (const version of [4, 6] as const) {
      const guest = await new LinuxGuest().up()
      const { network, pair } = guest.machine
      const payload = data(20_000)
      const made = packet({ version, protocol: 'tcp', payload })
      made.bytes.set(MAC)
      makePartial(made, version)
      const frame = new Frame().plain(made.bytes)
      frame.flags = FRAME_FLAG.CHECKSUM_PARTIAL | (version === 4 ? FRAME_FLAG.GSO_TCP4 : FRAME_FLAG.GSO_TCP6)
      frame.checksumStart = made.transport
      frame.checksumOffset = made.checksum
      frame.gsoSize = 1460
      const receive = async (): Promise<DataView[]> => {
        guest.answers.length = 0
        expect(network.adapter.receive(frame)).toBe(true)
        network.adapter.receiveEnd()
        await pair.settle()
        return ranges(guest)
      }
      const segments = await receive()
      expect(segments).toHaveLength(Math.ceil(20_000 / 1460))
      expect(
        Uint8Array.from(
          segments.flatMap((view) => {
            const bytes = frameOf(view)
            const headers = headersOf(bytes)
            expect(transportChecksumIsRight(bytes, headers)).toBe(true)
            expect(infosOf(view).get(0) as number & 8).toBeTruthy()
            return [...bytes.subarray(headers.payload)]
          }),
        ),
      ).toEqual(payload)
      const parameters = new Uint8Array(28)
      parameters.set([0x80, 3, 28, 0])
      parameters.set([2, 2], 22)
      expect(await guest.set(0xfc01020c, parameters)).toBe(0)
      const parts = await receive()
      // One packet, each part no larger than a section without the bytes that Windows spoils.
      expect(guest.answers.filter(({ type }) => type === 7)).toHaveLength(1)
      expect(parts.length).toBeGreaterThan(10)
      for (const [index, view] of parts.entries()) {
        expect(view.byteLength).toBeLessThanOrEqual(1728 - 36)
        const id = infosOf(view).get(0x80000001) as number
        expect([id & 0xff, (id >>> 8) & 0xff]).toEqual([
          1,
          1 | (index === 0 ? 2 : 0) | (index === parts.length - 1 ? 4 : 0),
        ])
      }
      expect(Uint8Array.from(parts.flatMap((view) => [...frameOf(view)]))).toEqual(made.bytes)
      expect((infosOf(parts[0] as DataView).get(0) as number) & 8).toBe(8)
      expect(guest.device.sectionsInFlight).toBe(0)
    }
  })

  it('are dropped when they are too long, and come to an adapter with a large MTU', async () => {
    const guest = await new LinuxGuest().up(0x60001, { mtu: 9000 })
    const { network, pair } = guest.machine
    const frame = frameFor(9014)
    network.deliver(frame)
    network.deliver(frameFor(12_000))
    network.deliver(data(13))
    await pair.settle()
    expect(ranges(guest).map(frameOf)).toEqual([frame])
    expect(guest.device.statistics.receiveErrors).toBe(1)
  })
})
