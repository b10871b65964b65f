// How much the NAT holds: whatever guests and servers do, it is no more than it says, and all goes on when there is room again.

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
