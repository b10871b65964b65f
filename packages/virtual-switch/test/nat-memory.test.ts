// How much the NAT holds: whatever guests and servers do, it is no more than it says, and all goes on when there is room again.

import { storeIpv4Checksum } from '@partita/ethernet'
import { describe, expect, it } from 'vitest'
import { F, NatGuest, type TestTcpSocket } from './nat-guest.ts'

const CHUNK = 65_536
const CHUNK_COST = CHUNK + 512
const MIB = 2 ** 20

/** A server that sends as long as it is read. */
function serve(socket: TestTcpSocket, chunks: number): number {
  let sent = 0
  while (sent < chunks && !socket.paused) {
    socket.events.data(Buffer.alloc(CHUNK, 'x'))
    sent++
  }
  return sent
}

describe('what the host sends', () => {
  it('is bounded before the guest has answered, and after', async () => {
    await using guest = await NatGuest.start()
    guest.tcp('192.0.2.7', 80, { flags: F.SYN, sequence: 999, options: [2, 4, 5, 180, 1, 3, 3, 7] })
    const socket = guest.host.tcp.at(-1) as TestTcpSocket
    socket.events.connected()
    const remote = ((guest.segments()[0]?.sequence ?? 0) + 1) >>> 0
    expect(serve(socket, 100)).toBe(16)
    // The guest is there, and takes nothing.
    for (let i = 0; i < 20; i++) {
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: 1000, acknowledgement: remote, window: 0 })
      serve(socket, 100)
      guest.clock.advance(1e9)
    }
    expect(socket.paused).toBe(true)
    expect(guest.gateway.report().heldBytes).toBe(16 * CHUNK_COST)
    // A byte more while it is paused, as a system may have read it already, is no reason to read on.
    socket.paused = false
    socket.events.data(Buffer.from('y'))
    expect(socket.paused).toBe(true)
  })

  it('in small pieces costs not much more than its bytes', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote, window: 0 })
    for (let i = 0; i < 50_000; i++) socket.events.data(Buffer.from([97 + (i % 26)]))
    expect(guest.gateway.report().heldBytes).toBeLessThan(65_000)
    let received = ''
    for (let rounds = 0; received.length < 50_000 && rounds < 100; rounds++) {
      for (const { sequence, payload } of guest.segments())
        if (sequence === (remote + received.length) >>> 0) received += payload
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine,
        acknowledgement: remote + received.length,
        window: 100,
      })
    }
    expect(received).toBe(Array.from({ length: 50_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join(''))
    expect(guest.gateway.report().heldBytes).toBe(0)
  })

  it('is bounded for all connections together, which read on in turns', async () => {
    await using guest = await NatGuest.start({ maximumHeldBytes: 4 * MIB })
    const bound = 2 * MIB + CHUNK_COST
    const count = 100
    const each = 8
    const connections = Array.from({ length: count }, (_, i) => ({
      ...guest.connect('192.0.2.7', 80, 40_000 + i),
      port: 40_000 + i,
      left: each,
      acknowledged: 0,
    }))
    const round = (): void => {
      for (const connection of connections) {
        connection.left -= serve(connection.socket, Math.min(connection.left, 2))
        expect(guest.gateway.report().heldBytes).toBeLessThanOrEqual(bound)
      }
    }
    for (const { guest: mine, remote, port } of connections)
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote, window: 0 }, port)
    round()
    expect(guest.gateway.report().heldBytes).toBeGreaterThan(2 * MIB)
    expect(connections.every(({ socket }) => socket.paused)).toBe(true)
    // The guest takes all of it in the end, and nobody is forgotten.
    for (
      let rounds = 0;
      connections.some(({ left, acknowledged }) => left > 0 || acknowledged < each * CHUNK);
      rounds++
    ) {
      expect(rounds).toBeLessThan(1000)
      guest.adapter.received.length = 0
      for (const connection of connections) {
        const { guest: mine, remote, port } = connection
        guest.tcp(
          '192.0.2.7',
          80,
          { flags: F.ACK, sequence: mine, acknowledgement: remote + connection.acknowledged, window: 1024 },
          port,
        )
        for (const { sequence, payload } of guest.segments())
          if (sequence === (remote + connection.acknowledged) >>> 0) connection.acknowledged += payload.length
      }
      round()
      guest.clock.advance(100e6)
    }
    for (const { guest: mine, remote, port } of connections)
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote + each * CHUNK }, port)
    expect(guest.gateway.report().heldBytes).toBe(0)
    guest.clock.advance(500e6)
    expect(connections.every(({ socket }) => !socket.paused)).toBe(true)
  })
})

describe('what guests send', () => {
  it('is bounded for all connections together, and goes on when the host takes it', async () => {
    await using guest = await NatGuest.start({ maximumHeldBytes: 2 * MIB })
    const connections = Array.from({ length: 40 }, (_, i) => ({
      ...guest.connect('192.0.2.7', 80, 40_000 + i),
      port: 40_000 + i,
      sent: 0,
    }))
    const payload = 'x'.repeat(1400)
    const send = (connection: (typeof connections)[number]): void => {
      const { guest: mine, remote, port, socket } = connection
      const sequence = mine + connection.sent
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence, acknowledgement: remote, window: 512, payload }, port)
      guest.settle()
      guest.segments()
      connection.sent = socket.written.length
    }
    for (const { socket } of connections) socket.stuck = true
    for (let round = 0; round < 50; round++) for (const connection of connections) send(connection)
    const held = connections.reduce((sum, { socket }) => sum + socket.buffered, 0)
    expect(held).toBe(MIB)
    expect(guest.gateway.report().heldBytes).toBe(MIB)
    for (const { socket } of connections) {
      socket.stuck = false
      socket.buffered = 0
    }
    guest.clock.advance(200e6)
    expect(guest.gateway.report().heldBytes).toBe(0)
    for (const connection of connections) {
      const { sent } = connection
      send(connection)
      expect(connection.sent).toBe(sent + payload.length)
    }
  })

  it('a guest whose window was closed is told when there is room', async () => {
    await using guest = await NatGuest.start({ maximumHeldBytes: 2 * MIB })
    const { socket, guest: mine, remote } = guest.connect()
    socket.stuck = true
    let window = 1
    for (let i = 0; window > 0 && i < 2000; i++) {
      const sequence = mine + socket.written.length
      const payload = 'x'.repeat(1400)
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence, acknowledgement: remote, window: 512, payload })
      guest.settle()
      window = guest.segments().at(-1)?.window ?? 1
    }
    expect(window).toBe(0)
    guest.clock.advance(1e9)
    expect(guest.segments()).toEqual([])
    socket.buffered = 0
    guest.clock.advance(200e6)
    expect(guest.segments()).toMatchObject([{ acknowledgement: mine + socket.written.length, window: 1024 }])
  })
})

describe('fragments of packets that are not whole', () => {
  /** The first fragment of a packet, of eight bytes. */
  const fragment = (guest: NatGuest, id: number, offset = 0): void => {
    const packet = new Uint8Array(28)
    packet.set([0x45, 0, 0, 28, 0, id, 0x20, offset, 64, 17, 0, 0, 10, 0, 2, 15, 192, 0, 2, 7])
    storeIpv4Checksum(packet, 0, 20)
    guest.raw(0x0800, packet)
  }
  /** Ethernet and IP header, the longest payload, and what a piece costs. */
  const COST = 34 + 65_535 + 512

  it('are held within the limit for all, sixteen at a time, and each for 30 seconds', async () => {
    await using guest = await NatGuest.start()
    const held = (): number => guest.gateway.report().heldBytes
    fragment(guest, 0)
    expect(held()).toBe(COST)
    guest.clock.advance(10e9)
    for (let id = 1; id < 40; id++) fragment(guest, id)
    expect(held()).toBe(16 * COST)
    // Nothing else comes, and they go nevertheless.
    guest.clock.advance(29e9)
    expect(held()).toBe(16 * COST)
    guest.clock.advance(1.1e9)
    expect(held()).toBe(0)
    expect(guest.clock.armedTimers).toBe(0)
    // One that overlaps ends its packet.
    fragment(guest, 1)
    fragment(guest, 1)
    expect(held()).toBe(0)
  })

  it('make room for each other, but not for more than there is', async () => {
    await using guest = await NatGuest.start({ maximumHeldBytes: MIB })
    for (let id = 0; id < 40; id++) fragment(guest, id)
    expect(guest.gateway.report().heldBytes).toBe(7 * COST)
    guest.udp('192.0.2.7', 9, 'x')
    const [socket] = guest.host.udp
    if (socket !== undefined) socket.buffered = MIB / 2 - 7 * COST
    guest.udp('192.0.2.7', 9, 'x')
    fragment(guest, 100)
    expect(guest.gateway.report().heldBytes).toBe(MIB / 2)
    guest.clock.advance(31e9)
    fragment(guest, 101)
    expect(guest.gateway.report().heldBytes).toBe(MIB / 2 - 7 * COST + COST)
  })

  it('are forgotten when the machine is reset', async () => {
    await using guest = await NatGuest.start()
    fragment(guest, 1)
    guest.gateway.reset()
    expect(guest.gateway.report().heldBytes).toBe(0)
    // What would have been the rest of it is no packet of the guest that has begun anew.
    const rest = new Uint8Array(28)
    rest.set([0x45, 0, 0, 28, 0, 1, 0, 1, 64, 17, 0, 0, 10, 0, 2, 15, 192, 0, 2, 7])
    storeIpv4Checksum(rest, 0, 20)
    guest.raw(0x0800, rest)
    expect(guest.host.udp).toEqual([])
    expect(guest.gateway.report().heldBytes).toBe(COST)
  })
})
