// How a network adapter is set up and asked, against Linux' sequences byte by byte and what others' bug reports warn of.

import { describe, expect, it } from 'vitest'
import { OID } from '../src/protocol.ts'
import { frameFor, MAC } from './frames.ts'
import { LinuxGuest, NVSP_SIZE } from './linux-guest.ts'
import { Machine } from './machine.ts'

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
    // Hyper-V's own list for NDIS 6.30, as OpenVMM has it.
    for (const oid of [
      0x10101, 0x10102, 0x10103, 0x10104, 0x10105, 0x1010f, 0x10106, 0x10111, 0x1010a, 0x1010b, 0x10107, 0x10108,
      0x10109, 0x1010c, 0x1010d, 0x10116, 0x10110, 0x1010e, 0x10112, 0x10113, 0x10114, 0x10115, 0x10118, 0x20216,
      0x1010101, 0x1010102, 0x1010103, 0x1010104, 0x1020101, 0x1020102, 0x1020103, 0xfd010101, 0xfd010102, 0x1021b,
      0x10208, 0x10207, 0x10206, 0x20219, 0x2021a, 0xfc01020c, 0x101010a, 0xfc01020d, 0xfc01020b, 0x1010208, 0x1010209,
      0x10203, 0x10204,
    ])
      expect(list, oid.toString(16)).toContain(oid)
    // And all others that have a name, but for the capabilities of power management.
    const named: number[] = Object.values(OID).filter((oid) => oid !== OID.PNP_CAPABILITIES)
    expect(list.toSorted((one, other) => one - other)).toEqual(named.toSorted((one, other) => one - other))
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

  it('of power: each state is possible, and the adapter is none that sleeps by itself', async () => {
    const guest = await new LinuxGuest().up()
    for (const state of [1, 2, 3, 4]) {
      const { status, info } = await guest.query(0xfd010102, Uint8Array.of(state, 0, 0, 0))
      expect([status, info.byteLength]).toEqual([0, 0])
      expect(await guest.set(0xfd010101, Uint8Array.of(state, 0, 0, 0))).toBe(0)
    }
    for (const state of [0, 5]) expect(await guest.set(0xfd010101, Uint8Array.of(state, 0, 0, 0))).toBe(0xc0010015)
    expect(await guest.set(0xfd010101, new Uint8Array(2))).toBe(0xc0010014)
    expect((await guest.query(0xfd010100)).status).toBe(0xc00000bb)
  })

  it('of encapsulation: Ethernet, and nothing else', async () => {
    const guest = await new LinuxGuest().up()
    const object = (type: number, ...words: readonly number[]): Uint8Array =>
      new Uint8Array(Uint32Array.from([type | (1 << 8) | (28 << 16), ...words]).buffer)
    const { status, info } = await guest.query(0x101010a, object(0xa8, 0, 0, 0, 0, 0, 0))
    const words = Array.from({ length: info.byteLength / 4 }, (_, at) => info.getUint32(at * 4, true))
    expect([status, ...words]).toEqual([0, 0x1c01a8, 1, 2, 14, 1, 2, 14])
    for (const [taken, ...value] of [
      [0, 1, 2, 14, 1, 2, 14],
      [0, 1, 2, 14, 2, 0, 0],
      [0xc00000bb, 1, 4, 14, 1, 2, 14],
      [0xc00000bb, 1, 2, 14, 1, 2, 18],
    ] as const)
      expect(await guest.set(0x101010a, object(0xa8, ...value))).toBe(taken)
    expect(await guest.set(0x101010a, object(0xa7, 1, 2, 14, 1, 2, 14))).toBe(0xc0010015)
    expect(await guest.set(0x101010a, object(0xa8, 1, 2, 14))).toBe(0xc0010014)
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
