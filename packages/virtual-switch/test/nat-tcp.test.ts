// The life of the NAT's TCP connections against the RFCs that it implements, with a guest and a host in the test's hands.

import { describe, expect, it } from 'vitest'
import { arp, F, GATEWAY_MAC, NatGuest, type TestTcpSocket } from './nat-guest.ts'

describe('TCP connections', () => {
  it('connects when the host is connected, and carries both ways', async () => {
    await using guest = await NatGuest.start()
    guest.tcp('192.0.2.7', 80, { flags: F.SYN, sequence: 999, options: [2, 4, 5, 180, 1, 3, 3, 7] })
    const socket = guest.host.tcp[0] as TestTcpSocket
    expect([socket.address, socket.port]).toEqual(['192.0.2.7', 80])
    expect(guest.segments()).toEqual([])
    socket.events.connected()
    const [answer] = guest.segments()
    expect(answer).toMatchObject({
      from: '192.0.2.7',
      sourcePort: 80,
      destinationPort: 40_000,
      acknowledgement: 1000,
      flags: F.SYN | F.ACK,
    })
    const remote = ((answer?.sequence ?? 0) + 1) >>> 0
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: 1000, acknowledgement: remote, window: 512 })
    guest.tcp('192.0.2.7', 80, {
      flags: F.ACK | F.PSH,
      sequence: 1000,
      acknowledgement: remote,
      window: 512,
      payload: 'GET /',
    })
    expect(socket.text).toBe('GET /')
    // The answer acknowledges.
    expect(guest.segments()).toEqual([])
    socket.events.data(Buffer.from('hello'))
    expect(guest.segments()).toMatchObject([
      { sequence: remote, acknowledgement: 1005, payload: 'hello', flags: F.ACK | F.PSH },
    ])
  })

  it('refused, unreachable, forbidden', async () => {
    await using guest = await NatGuest.start({ deny: ['192.0.2.66'] })
    const attempt = (to: string, error?: string): void => {
      guest.tcp(to, 80, { flags: F.SYN, sequence: 5 })
      if (error !== undefined) guest.host.tcp.at(-1)?.events.closed(error)
    }
    attempt('192.0.2.7', 'ECONNREFUSED')
    expect(guest.segments()).toMatchObject([{ flags: F.RST | F.ACK, acknowledgement: 6 }])
    attempt('192.0.2.7', 'ENETUNREACH')
    const [unreachable] = guest.packets()
    expect([...(unreachable?.bytes.subarray(34, 36) ?? [])]).toEqual([3, 0])
    const sockets = guest.host.tcp.length
    for (const forbidden of ['192.0.2.66', '127.0.0.1', '0.0.0.0', '10.0.2.2', '224.0.0.1', '255.255.255.255']) {
      attempt(forbidden)
      const group = /^(224|255)/.test(forbidden)
      expect(guest.segments(), forbidden).toMatchObject(group ? [] : [{ flags: F.RST | F.ACK, acknowledgement: 6 }])
    }
    expect(guest.host.tcp).toHaveLength(sockets)
    expect(guest.gateway.report().tcpConnections).toBe(0)
  })

  it('the host’s loopback is the gateway, where it is asked for', async () => {
    await using guest = await NatGuest.start({ hostLoopback: true })
    guest.tcp('10.0.2.2', 80, { flags: F.SYN, sequence: 5 })
    guest.tcp('127.0.0.1', 80, { flags: F.SYN, sequence: 5 }, 40_001)
    expect(guest.host.tcp.map(({ address }) => address)).toEqual(['127.0.0.1'])
  })

  it('an allow list is all there is', async () => {
    await using guest = await NatGuest.start({ allow: ['192.0.2.0/28:443'] })
    for (const [to, port] of [
      ['192.0.2.7', 443],
      ['192.0.2.7', 80],
      ['192.0.2.16', 443],
    ] as const) {
      guest.tcp(to, port, { flags: F.SYN, sequence: 5 }, 40_000 + port)
    }
    expect(guest.host.tcp.map(({ address, port }) => `${address}:${port}`)).toEqual(['192.0.2.7:443'])
  })

  it('a guest that is gone: tries end, and the host is told', async () => {
    await using guest = await NatGuest.start()
    const { socket } = guest.connect()
    socket.events.data(Buffer.from('anybody?'))
    guest.clock.advance(100e9)
    expect(socket.aborted).toBe(false)
    guest.clock.advance(30e9)
    expect(socket.aborted).toBe(true)
    expect(guest.gateway.report()).toMatchObject({ tcpConnections: 0, heldBytes: 0 })
    expect(guest.clock.armedTimers).toBe(0)
  })

  it('connections that are over make room at once', async () => {
    await using guest = await NatGuest.start({ maximumConnections: 1 })
    const { socket, guest: mine, remote } = guest.connect()
    guest.tcp('192.0.2.7', 80, { flags: F.FIN | F.ACK, sequence: mine, acknowledgement: remote, window: 512 })
    socket.events.ended()
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine + 1, acknowledgement: remote + 1, window: 512 })
    const again = (): void => guest.tcp('192.0.2.7', 80, { flags: F.SYN, sequence: 5 }, 41_000)
    again()
    // The host's socket has not closed.
    expect(guest.segments().at(-1)).toMatchObject({ flags: F.RST | F.ACK })
    socket.events.closed()
    again()
    expect(guest.host.tcp).toHaveLength(2)
    expect(guest.gateway.report().tcpConnections).toBe(1)
  })

  it('a guest that begins anew has no connections', async () => {
    await using guest = await NatGuest.start()
    const { socket } = guest.connect()
    guest.udp('192.0.2.7', 9, 'x')
    guest.gateway.reset()
    expect([socket.aborted, guest.host.udp[0]?.closed]).toEqual([true, true])
    expect(guest.gateway.report()).toMatchObject({ tcpConnections: 0, udpSockets: 0 })
    guest.clock.advance(1e9)
    expect(guest.clock.armedTimers).toBe(0)
  })

  it('half-closed by the guest: the host may go on, and its end ends it', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    guest.tcp('192.0.2.7', 80, {
      flags: F.FIN | F.ACK,
      sequence: mine,
      acknowledgement: remote,
      window: 512,
      payload: 'bye',
    })
    expect([socket.text, socket.ended]).toEqual(['bye', true])
    guest.settle()
    expect(guest.segments()).toMatchObject([{ acknowledgement: mine + 4 }])
    socket.events.data(Buffer.from('more'))
    socket.events.ended()
    expect(guest.segments()).toMatchObject([{ payload: 'more' }, { flags: F.FIN | F.ACK, sequence: remote + 4 }])
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine + 4, acknowledgement: remote + 5, window: 512 })
    socket.events.closed()
    guest.clock.advance(5e9)
    expect(guest.gateway.report().tcpConnections).toBe(0)
    expect(guest.clock.armedTimers).toBe(0)
  })

  it('half-closed by the host', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    socket.events.ended()
    expect(guest.segments()).toMatchObject([{ flags: F.FIN | F.ACK, sequence: remote }])
    guest.tcp('192.0.2.7', 80, {
      flags: F.ACK,
      sequence: mine,
      acknowledgement: remote + 1,
      window: 512,
      payload: 'still here',
    })
    expect(socket.text).toBe('still here')
    guest.tcp('192.0.2.7', 80, { flags: F.FIN | F.ACK, sequence: mine + 10, acknowledgement: remote + 1, window: 512 })
    expect(socket.ended).toBe(true)
    expect(guest.segments().at(-1)).toMatchObject({ acknowledgement: mine + 11 })
    // A FIN that comes again is acknowledged again.
    guest.tcp('192.0.2.7', 80, { flags: F.FIN | F.ACK, sequence: mine + 10, acknowledgement: remote + 1, window: 512 })
    expect(guest.segments()).toMatchObject([{ acknowledgement: mine + 11, flags: F.ACK }])
    // What the host's socket has not handed over is not taken from it.
    guest.clock.advance(30e9)
    expect(socket.aborted).toBe(false)
    socket.events.closed()
    guest.clock.advance(5e9)
    expect(guest.gateway.report().tcpConnections).toBe(0)
  })

  it('resets, from either side, and for what is no connection', async () => {
    await using guest = await NatGuest.start()
    const one = guest.connect('192.0.2.7', 80, 40_000)
    guest.tcp('192.0.2.7', 80, { flags: F.RST, sequence: one.guest + 77, acknowledgement: one.remote })
    expect([one.socket.aborted, guest.segments().length]).toEqual([false, 1])
    guest.tcp('192.0.2.7', 80, { flags: F.RST, sequence: one.guest, acknowledgement: one.remote })
    expect(one.socket.aborted).toBe(true)
    const two = guest.connect('192.0.2.7', 80, 40_001)
    two.socket.events.closed('ECONNRESET')
    expect(guest.segments()).toMatchObject([{ flags: F.RST | F.ACK, sequence: two.remote }])
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: 7, acknowledgement: 77 }, 40_002)
    expect(guest.segments()).toMatchObject([{ flags: F.RST, sequence: 77 }])
    guest.tcp('192.0.2.7', 80, { flags: F.RST, sequence: 7 }, 40_003)
    expect(guest.segments()).toEqual([])
  })

  it('what acknowledges another connection is reset, and the connection goes on', async () => {
    await using guest = await NatGuest.start({ forwards: [{ hostPort: 2222, guestPort: 22 }] })
    guest.tcp('192.0.2.7', 80, { flags: F.SYN, sequence: 999 })
    const socket = guest.host.tcp[0] as TestTcpSocket
    socket.events.connected()
    const [answer] = guest.segments()
    const remote = ((answer?.sequence ?? 0) + 1) >>> 0
    for (const acknowledgement of [remote + 5, remote - 1]) {
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: 1000, acknowledgement })
      expect(guest.segments()).toMatchObject([{ flags: F.RST, sequence: acknowledgement >>> 0 }])
    }
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: 1000, acknowledgement: remote, payload: 'x' })
    expect(socket.text).toBe('x')
    // The same for a connection to the guest.
    const outside = guest.host.connectTcp('', 0, undefined as never) as TestTcpSocket
    guest.host.listeners.get('127.0.0.1:2222')?.(outside, { address: '127.0.0.1', port: 5 })
    const { sequence = 0, sourcePort = 0 } = guest.segments()[0] ?? {}
    const answerSyn = (acknowledgement: number): void =>
      guest.tcp('10.0.2.2', sourcePort, { flags: F.SYN | F.ACK, sequence: 70, acknowledgement }, 22)
    answerSyn(sequence + 9)
    expect(guest.segments()).toMatchObject([{ flags: F.RST, sequence: (sequence + 9) >>> 0 }])
    answerSyn(sequence + 1)
    expect(guest.segments()).toMatchObject([{ flags: F.ACK, acknowledgement: 71 }])
  })

  it('nobody knows at which port the gateway begins, and a guest has three minutes to answer', async () => {
    const ports = new Set<number>()
    for (let i = 0; i < 8; i++) {
      await using guest = await NatGuest.start({ forwards: [{ hostPort: 2222, guestPort: 22 }] })
      guest.raw(0x0806, arp(2, [10, 0, 2, 15], [10, 0, 2, 2]), GATEWAY_MAC)
      const socket = guest.host.connectTcp('', 0, undefined as never) as TestTcpSocket
      guest.host.listeners.get('127.0.0.1:2222')?.(socket, { address: '127.0.0.1', port: 5 })
      ports.add(guest.segments()[0]?.sourcePort ?? 0)
      guest.clock.advance(180e9)
      expect(socket.aborted).toBe(false)
      guest.clock.advance(10e9)
      expect(socket.aborted).toBe(true)
    }
    expect(ports.size).toBeGreaterThan(1)
  })

  it('a probe of a connection that is idle is answered', async () => {
    await using guest = await NatGuest.start()
    const { guest: mine, remote } = guest.connect()
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine - 1, acknowledgement: remote, window: 512 })
    expect(guest.segments()).toMatchObject([{ acknowledgement: mine, sequence: remote }])
  })

  it('connections are bounded: the one that is idle longest goes', async () => {
    await using guest = await NatGuest.start({ maximumConnections: 3 })
    const sockets = [1, 2, 3].map((i) => {
      guest.clock.advance(10e9)
      return guest.connect('192.0.2.7', 80, 40_000 + i).socket
    })
    guest.tcp('192.0.2.7', 80, { flags: F.SYN, sequence: 5 }, 41_000)
    expect(sockets.map(({ aborted }) => aborted)).toEqual([true, false, false])
    expect(guest.gateway.report().tcpConnections).toBe(3)
  })

  it('a forwarded port leads to the guest, when it is found', async () => {
    await using guest = await NatGuest.start({ forwards: [{ hostPort: 2222, guestPort: 22 }] })
    const accept = guest.host.listeners.get('127.0.0.1:2222')
    const socket = guest.host.connectTcp('', 0, undefined as never) as TestTcpSocket
    const events = accept?.(socket, { address: '127.0.0.1', port: 5 })
    // It asks for the guest first.
    const [question] = guest.adapter.received.splice(0)
    expect([...(question?.bytes.subarray(0, 6) ?? []), ...(question?.bytes.subarray(38, 42) ?? [])]).toEqual([
      255, 255, 255, 255, 255, 255, 10, 0, 2, 15,
    ])
    guest.raw(0x0806, arp(2, [10, 0, 2, 15], [10, 0, 2, 2]), GATEWAY_MAC)
    const [syn] = guest.segments()
    expect(syn).toMatchObject({ from: '10.0.2.2', destinationPort: 22, flags: F.SYN })
    const { sequence = 0, sourcePort = 0 } = syn ?? {}
    events?.data(Buffer.from('early'))
    guest.tcp(
      '10.0.2.2',
      sourcePort,
      { flags: F.SYN | F.ACK, sequence: 70, acknowledgement: sequence + 1, options: [2, 4, 5, 180] },
      22,
    )
    expect(guest.segments()).toMatchObject([
      { flags: F.ACK, acknowledgement: 71 },
      { payload: 'early', sequence: sequence + 1 },
    ])
    guest.tcp(
      '10.0.2.2',
      sourcePort,
      { flags: F.ACK, sequence: 71, acknowledgement: sequence + 6, payload: 'SSH-2.0' },
      22,
    )
    expect(socket.text).toBe('SSH-2.0')
  })

  it('the end of the gateway resets what is open', async () => {
    const guest = await NatGuest.start({ forwards: [{ hostPort: 2222, guestPort: 22 }] })
    const { socket } = guest.connect()
    guest.udp('192.0.2.7', 9, 'x')
    await guest[Symbol.asyncDispose]()
    expect(guest.segments()).toMatchObject([{ flags: F.RST | F.ACK }])
    expect([socket.aborted, guest.host.udp[0]?.closed, guest.host.listeners.size, guest.clock.armedTimers]).toEqual([
      true,
      true,
      0,
      0,
    ])
    expect(guest.network.ports).toHaveLength(1)
  })

  it('another guest’s address is not used for it', async () => {
    await using guest = await NatGuest.start()
    guest.udp('192.0.2.7', 9, 'x', 5000, { from: '172.16.0.1' })
    guest.udp('10.0.2.99', 9, 'to a neighbour')
    expect(guest.host.udp).toEqual([])
  })
})
