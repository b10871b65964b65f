// The provider against Linux' sequences byte by byte, what others' bug reports warn of, and the way of the frames.

import { Frame, FrameHeaders, foldSum, sumWords, transportChecksumIsRight } from '@partita/ethernet'
import { FRAME_FLAG } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { makePartial, packet } from '../../ethernet/test/packets.ts'
import { LinuxGuest, NVSP_SIZE } from './linux-guest.ts'
import { Machine } from './machine.ts'

const MAC = [2, 0, 0, 0, 0, 1]
const data = (length: number, seed = 3): Uint8Array => Uint8Array.from({ length }, (_, at) => (at * 7 + seed) & 255)
/** A frame to the guest, of an unknown protocol. */
const frameFor = (length: number, to: readonly number[] = MAC): Uint8Array => {
  const bytes = data(length)
  bytes.set(to)
  bytes.set([2, 0, 0, 0, 0, 9, 0x88, 0xb5], 6)
  return bytes
}
const headersOf = (bytes: Uint8Array): FrameHeaders => {
  const headers = new FrameHeaders()
  if (!headers.parse(bytes, 0, bytes.length)) throw new Error('no IP packet')
  return headers
}

describe('setting up', () => {
  it('offers the network interface', async () => {
    const { machine } = await new LinuxGuest().open()
    expect(machine.pair.client.offers[0]?.interfaceId).toBe('f8615163-df3e-46c5-913f-f2d2f965ed0e')
  })

  it('goes as netvsc_connect_vsp has it, in every version', async () => {
    for (const version of [2, 0x30002, 0x40000, 0x50000, 0x60000, 0x60001]) {
      const guest = await new LinuxGuest().open()
      const { init, receive, send } = await guest.connect(version)
      // 28 bytes: a ring counts in units of 8.
      expect([init.bytes.length, init.view.getUint32(0, true)]).toEqual([32, 2])
      // netvsc_init_buf: one section, from 0, that does not overflow the buffer; at 6.1 packets are 40 bytes.
      const size = version === 0x60001 ? NVSP_SIZE : 32
      expect([receive.bytes.length, receive.view.getUint32(0, true), receive.view.getUint32(4, true)]).toEqual([
        size,
        102,
        1,
      ])
      expect([receive.view.getUint32(8, true), receive.view.getUint32(12, true)]).toEqual([1, 0])
      expect(guest.sectionSize).toBe(1728)
      expect(guest.sectionCount).toBe(Math.floor((64 * 4096) / 1728))
      expect(receive.view.getUint32(24, true)).toBe(guest.sectionSize * guest.sectionCount)
      expect([send.bytes.length, send.view.getUint32(0, true), send.view.getUint32(4, true)]).toEqual([size, 105, 1])
      expect(guest.sendSectionSize).toBe(6144)
      expect(guest.device.version).toBe(version)
    }
  })

  it('refuses unknown versions, and newer ones than it is allowed', async () => {
    const guest = await new LinuxGuest(new Machine({ maximumVersion: 0x50000 })).open()
    for (const version of [0x60001, 0x60000, 0x70000, 0, 0x30001, 0xffffffff])
      expect((await guest.init(version)).view.getUint32(12, true)).not.toBe(1)
    expect((await guest.init(0x50000)).view.getUint32(12, true)).toBe(1)
    // A second INIT is none.
    expect((await guest.init(0x40000)).view.getUint32(12, true)).toBe(2)
    expect(guest.device.version).toBe(0x50000)
  })

  it('takes the newest of a range of versions', async () => {
    const guest = await new LinuxGuest().open()
    const init = guest.message(1, (view) => {
      view.setUint32(4, 2, true)
      view.setUint32(8, 0x50005, true)
    })
    expect((await guest.ask(init)).view.getUint32(12, true)).toBe(1)
    expect(guest.device.version).toBe(0x50000)
  })

  it('answers what comes out of order or makes no sense, and goes on', async () => {
    const guest = await new LinuxGuest().open()
    for (const type of [100, 101, 103, 104, 125, 129, 131, 133, 135, 0, 2, 99, 0xffffffff])
      expect((await guest.ask(guest.message(type))).view.getUint32(4, true)).toBe(2)
    for (const size of [0, 3, 4, 11]) await guest.ask(new Uint8Array(size).fill(1))
    await guest.connect()
    // A second receive buffer, a GPADL that is none, sub-channels that are too many.
    for (const type of [101, 104]) expect((await guest.ask(guest.message(type))).view.getUint32(4, true)).toBe(2)
    const many = guest.message(133, (view) => {
      view.setUint32(4, 1, true)
      view.setUint32(8, 64, true)
    })
    expect((await guest.ask(many)).view.getUint32(4, true)).toBe(2)
    expect((await guest.initialize()).getUint32(12, true)).toBe(0)
  })

  it('answers the data path, OID_QUERY_EX and PacketDirect, which it does not have', async () => {
    const guest = await new LinuxGuest().open()
    await guest.connect()
    expect((await guest.ask(guest.message(129))).bytes.length).toBe(0)
    const oid = await guest.ask(guest.message(131))
    expect([oid.view.getUint32(0, true), oid.view.getUint32(4, true)]).toEqual([132, 0xc00000bb])
    const pd = await guest.ask(guest.message(135, (view) => view.setUint32(4, 1, true)))
    expect([pd.view.getUint32(0, true), pd.view.getUint32(8, true), pd.view.getUint8(15)]).toEqual([135, 1, 0])
  })

  it('announces no virtual function', async () => {
    const guest = await new LinuxGuest().up()
    expect(guest.answers.some(({ type, view }) => type === 6 && view.getUint32(0, true) === 128)).toBe(false)
  })

  it('makes sections as large as the MTU asks for', async () => {
    for (const mtu of [68, 1500, 4000, 9000, 65_521]) {
      const guest = await new LinuxGuest().open()
      await guest.connect(0x60001, { mtu })
      expect(guest.sectionSize).toBeGreaterThanOrEqual(Math.max(mtu, 1500) + 14 + 128 + 36)
      await guest.initialize()
      expect((await guest.query(0x10106)).info.getUint32(0, true)).toBe(mtu)
    }
  })

  it('makes larger ones in a large buffer of a guest that coalesces', async () => {
    for (const [version, pages, size] of [
      [0x60000, 1024, 1728],
      [0x60001, 1024, 8192],
      [0x60001, 256, 8192],
      [0x60001, 255, 1728],
    ] as const) {
      const guest = await new LinuxGuest().open()
      await guest.connect(version, { receivePages: pages })
      expect([guest.sectionSize, guest.sectionCount]).toEqual([size, Math.floor((pages * 4096) / size)])
    }
  })
})

describe('OIDs', () => {
  it('as Linux asks for them when it probes', async () => {
    const guest = await new LinuxGuest().open()
    await guest.connect()
    const init = await guest.initialize()
    // rndis_filter_init_device: status, packets in a message, alignment.
    expect([init.getUint32(0, true), init.byteLength, init.getUint32(12, true)]).toEqual([0x80000002, 52, 0])
    expect([init.getUint32(32, true), init.getUint32(40, true)]).toEqual([8, 3])
    expect((await guest.query(0x10106)).info.getUint32(0, true)).toBe(1500)
    const address = (await guest.query(0x1010101)).info
    expect([...new Uint8Array(address.buffer, address.byteOffset, address.byteLength)]).toEqual(MAC)
    const name = (await guest.query(0x20216)).info
    expect(name.byteLength).toBeLessThanOrEqual(512)
    expect(name.getUint16(0, true)).toBe('N'.charCodeAt(0))
    const question = Uint8Array.from([0xa7, 3, 156, 0, ...new Uint8Array(152)])
    const { status, info } = await guest.query(0xfc01020d, question)
    expect([status, info.byteLength, info.getUint8(0), info.getUint8(1), info.getUint16(2, true)]).toEqual([
      0, 156, 0xa7, 3, 156,
    ])
    expect(info.getUint32(8, true) & 0x14).toBe(0x14) // NDIS_TXCSUM_ALL_TCP4
    expect(info.getUint32(8, true) & 0x40).toBe(0x40) // UDP4
    expect(info.getUint32(24, true) & 0x15).toBe(0x15) // NDIS_TXCSUM_ALL_TCP6
    expect([info.getUint32(80, true), info.getUint32(92, true), info.getUint32(104, true) & 5]).toEqual([2, 2, 5])
    expect(info.getUint32(84, true)).toBeGreaterThan(60_000)
    expect([info.getUint8(144), info.getUint8(145)]).toEqual([1, 1]) // receive coalescing
    const parameters = Uint8Array.from([
      0x80, 3, 28, 0, 1, 4, 4, 4, 4, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0,
    ])
    expect(await guest.set(0xfc01020c, parameters)).toBe(0)
    expect((await guest.query(0x10114)).info.getUint32(0, true)).toBe(0)
    expect((await guest.query(0x10107)).info.getUint32(0, true)).toBe(100_000_000)
    const rss = (await guest.query(0x10203, Uint8Array.from([0x88, 2, 18, 0, ...new Uint8Array(14)]))).info
    expect([rss.byteLength, rss.getUint8(0), rss.getUint32(12, true), rss.getUint16(16, true)]).toEqual([
      18, 0x88, 4, 128,
    ])
  })

  it('of older drivers are shorter', async () => {
    for (const [version, size] of [
      [0x40000, 144],
      [0x30002, 144],
    ] as const) {
      const guest = await new LinuxGuest().open()
      await guest.connect(version)
      await guest.initialize()
      expect((await guest.query(0xfc01020d)).info.byteLength).toBe(size)
      const asked = await guest.query(0xfc01020d, Uint8Array.from([0xa7, 1, 112, 0, ...new Uint8Array(108)]))
      expect([asked.info.byteLength, asked.info.getUint8(1)]).toEqual([112, 1])
      // 22 bytes, as Linux sends them to version 4.
      const parameters = Uint8Array.from([0x80, 3, 22, 0, 1, 4, 0, 4, 0, 0, 0, 2, 2, ...new Uint8Array(9)])
      expect(await guest.set(0xfc01020c, parameters)).toBe(0)
    }
  })

  it('are all answered that are in the list of them', async () => {
    const guest = await new LinuxGuest().up()
    const { info } = await guest.query(0x10101)
    const list = Array.from({ length: info.byteLength / 4 }, (_, at) => info.getUint32(at * 4, true))
    // What FreeBSD's hn and Windows ask for beyond Linux' questions.
    for (const oid of [
      0x10103, 0x10104, 0x1010d, 0x1010e, 0x10111, 0x10113, 0x10202, 0x10207, 0x20101, 0x20204, 0x1010102, 0x1010103,
      0x1010104, 0xfc01020b,
    ])
      expect(list).toContain(oid)
    let settable = 0
    for (const oid of list) {
      const { status } = await guest.query(oid)
      if (status === 0xc00000bb) settable++
      else expect(status).toBe(0)
    }
    expect(settable).toBeGreaterThan(3)
    expect((await guest.query(0x12345)).status).toBe(0xc00000bb)
    expect(await guest.set(0x12345, new Uint8Array(4))).toBe(0xc00000bb)
    expect(await guest.set(0x10106, new Uint8Array(4))).toBe(0xc00000bb)
    expect(await guest.set(0x1010e, new Uint8Array(2))).toBe(0xc0010014)
    expect((await guest.query(0x20102)).info.byteLength).toBe(8)
  })

  it('before INITIALIZE and after HALT are not answered with values', async () => {
    const guest = await new LinuxGuest().open()
    await guest.connect()
    expect((await guest.query(0x10106)).status).toBe(0xc0010011)
    await guest.initialize()
    expect((await guest.query(0x10106)).status).toBe(0)
    const [range] = guest.place(Uint8Array.from([3, 0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0]))
    await guest.ask(guest.rndisMessage(1), range === undefined ? [] : [range])
    expect((await guest.query(0x10106)).status).toBe(0xc0010011)
    // A version of RNDIS that is not there.
    expect((await guest.rndis(2, [2, 0, 0x4000])).getUint32(12, true)).toBe(0xc0010004)
  })

  it('KEEPALIVE, RESET and SET_EX have their answers', async () => {
    const guest = await new LinuxGuest().up()
    const keepalive = await guest.rndis(8, [])
    expect([keepalive.getUint32(0, true), keepalive.getUint32(12, true)]).toEqual([0x80000008, 0])
    const reset = await guest.rndis(6, [])
    expect([reset.getUint32(0, true), reset.getUint32(8, true), reset.byteLength]).toEqual([0x80000006, 0, 16])
    expect((await guest.rndis(9, [1, 0, 0, 0])).getUint32(0, true)).toBe(0x80000009)
  })

  it('change the MAC address, as rndis_filter_set_device_mac does', async () => {
    const parameter = (name: string, value: string): Uint8Array => {
      const bytes = new Uint8Array(20 + 2 * name.length + 2 * value.length)
      const view = new DataView(bytes.buffer)
      for (const [at, word] of [20, 2 * name.length, 2, 20 + 2 * name.length, 2 * value.length].entries())
        view.setUint32(at * 4, word, true)
      for (const [at, char] of [...(name + value)].entries()) view.setUint16(20 + 2 * at, char.charCodeAt(0), true)
      return bytes
    }
    const guest = await new LinuxGuest().up()
    const { network } = guest.machine
    expect(await guest.set(0x1021b, parameter('NetworkAddress', '0a1b2c3d4e5f'))).toBe(0)
    expect(network.adapter.macAddress).toBe('0a:1b:2c:3d:4e:5f')
    expect(network.changes).toBe(1)
    expect(network.deliver(frameFor(60, [0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f]))).toBe(true)
    expect(network.deliver(frameFor(60))).toBe(true)
    await guest.machine.pair.settle()
    expect(guest.answers.filter(({ type }) => type === 7)).toHaveLength(1)
    expect((await guest.query(0x1010102)).info.getUint8(0)).toBe(0x0a)
    expect((await guest.query(0x1010101)).info.getUint8(0)).toBe(2)
    for (const wrong of ['0a1b2c3d4e', 'xxxxxxxxxxxx', '010000000000', '000000000000'])
      expect(await guest.set(0x1021b, parameter('NetworkAddress', wrong))).toBe(0xc0010015)
    expect(await guest.set(0x1021b, parameter('Other', '0a1b2c3d4e5f'))).toBe(0xc00000bb)
    const fixed = await new LinuxGuest(new Machine({ addressChange: false })).up()
    expect(await fixed.set(0x1021b, parameter('NetworkAddress', '0a1b2c3d4e5f'))).toBe(0xc00000bb)
  })
})

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

describe('pressure', () => {
  it('of frames when the guest has all sections: the network waits, and goes on', async () => {
    const guest = await new LinuxGuest().up(0x60001, { receivePages: 16 })
    const { network, pair } = guest.machine
    guest.lazy = true
    let taken = 0
    while (network.deliver(frameFor(60)) && taken < 1000) taken++
    // Some are kept for the control channel, which goes on.
    expect(taken).toBe(guest.sectionCount - (guest.sectionCount >> 2))
    await pair.settle()
    expect((await guest.query(0x10106)).status).toBe(0)
    expect(guest.device.statistics.receiveNoBuffer).toBe(1)
    expect(network.resumes).toBe(0)
    for (const { type, transaction } of guest.answers) if (type === 7) guest.giveBack(transaction)
    await pair.settle()
    expect(network.resumes).toBe(1)
    expect(network.deliver(frameFor(60))).toBe(true)
  })

  it('of frames and answers when the ring to the guest is full', async () => {
    const guest = new LinuxGuest()
    await guest.open(1)
    await guest.connect(0x60001, { receivePages: 256 })
    await guest.initialize()
    await guest.set(0x1010e, Uint8Array.of(0x0d, 0, 0, 0))
    const { network, pair } = guest.machine
    guest.lazy = true
    // The guest does not look at its ring.
    const signalled = guest.channel.signalled.bind(guest.channel)
    guest.channel.signalled = () => undefined
    let taken = 0
    while (network.deliver(frameFor(60)) && taken < 5000) taken++
    expect(taken).toBeGreaterThan(20)
    // Packets of the guest wait as well, in their ring: no answer has room.
    let sent = 0
    const frame = guest.place(guest.dataMessage(frameFor(60)))
    try {
      for (; sent < 200; sent++) guest.send(guest.rndisMessage(0), frame)
    } catch {
      // full
    }
    await pair.settle()
    expect(sent).toBeGreaterThan(10)
    expect(network.sent.length).toBeLessThan(sent)
    guest.channel.signalled = signalled
    signalled()
    await pair.settle()
    expect(network.sent).toHaveLength(sent)
    expect(guest.answers.filter(({ type }) => type === 11)).toHaveLength(sent)
    expect(guest.answers.filter(({ type }) => type === 7).flatMap(({ ranges }) => ranges)).toHaveLength(taken)
    for (const { type, transaction } of guest.answers) if (type === 7) guest.giveBack(transaction)
    await pair.settle()
    expect(guest.device.sectionsInFlight).toBe(0)
    expect(network.resumes).toBeGreaterThan(0)
  })

  it('of the network: packets wait for it, complete later, in order, and nothing is lost or sent twice', async () => {
    const guest = await new LinuxGuest().up()
    const { network, pair } = guest.machine
    network.room = 3
    const three = (from: number): Uint8Array =>
      Uint8Array.from([0, 1, 2].flatMap((n) => [...guest.dataMessage(frameFor(60 + from + n))]))
    for (const from of [0, 3, 6]) guest.send(guest.rndisMessage(0), guest.place(three(from)))
    await pair.settle()
    const done = (): number => guest.answers.filter(({ type }) => type === 11).length
    expect([network.sent.length, done(), guest.device.waiting]).toEqual([3, 1, 2])
    for (const [room, frames, completed] of [
      [1, 4, 1],
      [2, 6, 2],
      [2, 8, 2],
      [9, 9, 3],
    ] as const) {
      network.room = room
      network.adapter.writable()
      await pair.settle()
      expect([network.sent.length, done()]).toEqual([frames, completed])
    }
    expect(network.sent.map(({ bytes }) => bytes.length)).toEqual([60, 61, 62, 63, 64, 65, 66, 67, 68])
    expect(guest.device.waiting).toBe(0)
  })

  it('of the network in the middle of a large send', async () => {
    const guest = await new LinuxGuest().up()
    const { network, pair } = guest.machine
    const payload = data(10_000)
    const made = packet({ version: 4, protocol: 'tcp', payload })
    network.room = 4
    guest.send(guest.rndisMessage(0), guest.place(guest.dataMessage(made.bytes, [[2, 1000 | (34 << 20)]])))
    await pair.settle()
    expect(network.sent).toHaveLength(4)
    network.room = 100
    network.adapter.writable()
    await pair.settle()
    expect(Uint8Array.from(network.sent.flatMap(({ bytes }) => [...bytes.subarray(54)]))).toEqual(payload)
    expect(guest.device.statistics.largeSends).toBe(1)
  })

  it('of a network that never has room: what is too much is lost, and the guest is not held up', async () => {
    const guest = await new LinuxGuest().up()
    const { network, pair } = guest.machine
    network.room = 0
    const frame = guest.place(guest.dataMessage(frameFor(60)))
    for (let round = 0; round < 10; round++) {
      for (let sent = 0; sent < 100; sent++) guest.send(guest.rndisMessage(0), frame)
      await pair.settle()
    }
    expect(guest.device.waiting).toBe(256)
    expect(guest.device.statistics.transmitDiscards).toBe(1000 - 256)
    expect(guest.answers.filter(({ type }) => type === 11)).toHaveLength(1000 - 256)
    // Completions of received frames are not behind them.
    network.deliver(frameFor(60))
    await pair.settle()
    expect(guest.device.sectionsInFlight).toBe(0)
  })

  it('of control messages: more than a few at a time are busy', async () => {
    const guest = await new LinuxGuest().up(0x60001, { receivePages: 8 })
    const { pair } = guest.machine
    guest.lazy = true
    const request = new Uint8Array(28)
    new DataView(request.buffer).setUint32(0, 4, true)
    request.set([28], 4)
    const pages = guest.place(request)
    for (let sent = 0; sent < 60; sent++) guest.send(guest.rndisMessage(1), pages)
    await pair.settle()
    const statuses = guest.answers.filter(({ type }) => type === 11).map(({ view }) => view.getUint32(4, true))
    expect(statuses).toHaveLength(60)
    expect(statuses.filter((status) => status === 6).length).toBe(60 - 16 - guest.sectionCount - 1)
    const huge = { byteOffset: 0, byteCount: 9000, pages: [1, 2, 3] }
    expect((await guest.ask(guest.rndisMessage(1), [huge])).view.getUint32(4, true)).toBe(5)
  })
})

describe('the link', () => {
  it('changes are told, once the driver is up', async () => {
    const guest = await new LinuxGuest().open()
    const { network, pair } = guest.machine
    network.linkUp = false
    network.adapter.portChanged()
    await guest.connect()
    await guest.initialize()
    expect((await guest.query(0x10114)).info.getUint32(0, true)).toBe(1)
    const told = async (): Promise<number[][]> => {
      await pair.settle()
      return guest.answers
        .splice(0)
        .filter(({ type }) => type === 7)
        .map((answer) => {
          const view = guest.rangeOf(answer, 0)
          return [
            answer.view.getUint32(4, true),
            view.getUint32(0, true),
            view.getUint32(8, true),
            ...(view.byteLength > 20 ? [view.getUint32(20, true)] : []),
          ]
        })
    }
    network.adapter.portChanged()
    expect(await told()).toEqual([])
    network.linkUp = true
    network.adapter.portChanged()
    expect(await told()).toEqual([[1, 7, 0x4001000b]])
    network.linkUp = false
    network.linkSpeed = 1e9
    network.adapter.portChanged()
    expect(await told()).toEqual([
      [1, 7, 0x40010013, 10_000_000],
      [1, 7, 0x4001000c],
    ])
  })
})
