// The NAT against the RFCs that it implements, with a guest and a host in the test's hands.

import { checksumOf, getU16, IP_PROTOCOL, putU16, storeIpv4Checksum, sumWords } from '@partita/ethernet'
import { describe, expect, it } from 'vitest'
import { F, GATEWAY_MAC, NatGuest, type TestTcpSocket } from './nat-guest.ts'

const BROADCAST = 'ff:ff:ff:ff:ff:ff'

function arp(operation: number, sender: number[], target: number[]): Uint8Array {
  return Uint8Array.from([
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    operation,
    2,
    0x15,
    0x5d,
    0,
    0,
    1,
    ...sender,
    0,
    0,
    0,
    0,
    0,
    0,
    ...target,
  ])
}

function dhcp(type: number, options: number[] = []): Uint8Array {
  const message = new Uint8Array(300)
  message.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef])
  message.set([2, 0x15, 0x5d, 0, 0, 1], 28)
  message.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, ...options, 255], 236)
  return message
}

function option(message: Uint8Array, code: number): number[] {
  for (let at = 240; message[at] !== 255; at += 2 + (message[at + 1] ?? 0)) {
    if (message[at] === code) return [...message.subarray(at + 2, at + 2 + (message[at + 1] ?? 0))]
  }
  return []
}

describe('addresses', () => {
  it('answers ARP for the gateway and the name server, and for nobody else', async () => {
    await using guest = await NatGuest.start()
    guest.raw(0x0806, arp(1, [10, 0, 2, 15], [10, 0, 2, 2]), BROADCAST)
    const [answer] = guest.adapter.received.splice(0)
    expect([...(answer?.bytes.subarray(14) ?? [])]).toEqual([
      ...[0, 1, 8, 0, 6, 4, 0, 2],
      ...[0x02, 0x50, 0x41, 0x52, 0, 2, 10, 0, 2, 2],
      ...[2, 0x15, 0x5d, 0, 0, 1, 10, 0, 2, 15],
    ])
    guest.raw(0x0806, arp(1, [10, 0, 2, 15], [10, 0, 2, 3]), BROADCAST)
    guest.raw(0x0806, arp(1, [10, 0, 2, 15], [10, 0, 2, 77]), BROADCAST)
    expect(guest.adapter.received).toHaveLength(1)
  })

  it('gives leases, the same one again, and refuses another', async () => {
    await using guest = await NatGuest.start({ subnet: '10.9.0.0/16' })
    const exchange = (type: number, options?: number[]): Uint8Array | undefined => {
      guest.udp('255.255.255.255', 67, dhcp(type, options), 68, { from: '0.0.0.0', mac: BROADCAST })
      return guest.datagrams()[0]?.payload
    }
    const offer = exchange(1) as Uint8Array
    expect([...offer.subarray(0, 8)]).toEqual([2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef])
    expect(option(offer, 53)).toEqual([2])
    expect([...offer.subarray(16, 20)]).toEqual([10, 9, 0, 15])
    expect([1, 3, 6, 26, 28, 51, 54].map((code) => option(offer, code))).toEqual([
      [255, 255, 0, 0],
      [10, 9, 0, 2],
      [10, 9, 0, 3],
      [0x05, 0xdc],
      [10, 9, 255, 255],
      [0, 1, 0x51, 0x80],
      [10, 9, 0, 2],
    ])
    const ack = exchange(3, [50, 4, 10, 9, 0, 15, 54, 4, 10, 9, 0, 2]) as Uint8Array
    expect(option(ack, 53)).toEqual([5])
    expect(option(exchange(3, [50, 4, 10, 9, 0, 99, 54, 4, 10, 9, 0, 2]) as Uint8Array, 53)).toEqual([6])
    // Another server was chosen.
    expect(exchange(3, [50, 4, 10, 9, 0, 15, 54, 4, 10, 9, 0, 4])).toBeUndefined()
    expect([...(exchange(1) as Uint8Array).subarray(16, 20)]).toEqual([10, 9, 0, 15])
  })

  it('echo: the gateway answers, and asks outside', async () => {
    await using guest = await NatGuest.start({ deny: ['192.0.2.9'] })
    const echo = (to: string): void => {
      const message = new Uint8Array(64).fill(7, 8)
      message.set([8, 0, 0, 0, 1, 2, 3, 4])
      guest.ip(IP_PROTOCOL.ICMP, to, message)
    }
    echo('10.0.2.2')
    const [{ headers, bytes } = { headers: undefined, bytes: new Uint8Array(0) }] = guest.packets()
    expect(bytes[headers?.transport ?? 0]).toBe(0)
    expect(bytes.subarray(headers?.transport ?? 0).subarray(4, 10)).toEqual(Uint8Array.of(1, 2, 3, 4, 7, 7))
    for (const to of ['192.0.2.1', '192.0.2.2', '192.0.2.9', '127.0.0.1']) echo(to)
    for (let i = 0; i < 10; i++) await Promise.resolve()
    expect(guest.packets().map((packet) => packet.bytes.subarray(26, 30).join('.'))).toEqual(['192.0.2.1'])
  })

  it('echo: a request in fragments is answered in fragments', async () => {
    await using guest = await NatGuest.start()
    const message = Uint8Array.from({ length: 3000 }, (_, index) => (index < 8 ? 0 : index & 0xff))
    message[0] = 8
    const fragment = (from: number, to: number, more: boolean): void => {
      const packet = new Uint8Array(20 + to - from)
      packet.set([0x45, 0, 0, 0, 0, 9, 0, 0, 64, IP_PROTOCOL.ICMP, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2])
      putU16(packet, 2, packet.length)
      putU16(packet, 6, (more ? 0x2000 : 0) | (from >> 3))
      storeIpv4Checksum(packet, 0, 20)
      packet.set(message.subarray(from, to), 20)
      guest.raw(0x0800, packet)
    }
    guest.adapter.received.length = 0
    fragment(0, 1480, true)
    expect(guest.adapter.received).toEqual([])
    fragment(1480, 2960, true)
    fragment(2960, 3000, false)
    const frames = guest.adapter.received.splice(0)
    expect(frames.map(({ bytes }) => getU16(bytes, 20))).toEqual([0x2000, 0x20b9, 0x0172])
    const answer = Buffer.concat(frames.map(({ bytes }) => bytes.subarray(34)))
    expect(answer).toHaveLength(3000)
    expect(answer[0]).toBe(0)
    expect(checksumOf(sumWords(answer, 0, answer.length))).toBe(0)
    expect(answer.subarray(4)).toEqual(Buffer.from(message.subarray(4)))
  })

  it('IPv6: advertises itself, answers for its addresses, and gives the name server', async () => {
    await using guest = await NatGuest.start()
    guest.adapter.accepts = 0
    const packet = (next: number, to: number[], transport: number[], hops = 255): void => {
      const source = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x15, 0x5d, 0xff, 0xfe, 0, 0, 1]
      const bytes = Uint8Array.from([0x60, 0, 0, 0, 0, transport.length, next, hops, ...source, ...to, ...transport])
      let sum = next + transport.length
      for (let at = 8; at < bytes.length; at += 2) sum += getU16(bytes, at)
      while (sum > 0xffff) sum = (sum >>> 16) + (sum & 0xffff)
      putU16(bytes, 40 + (next === 58 ? 2 : 6), ~sum & 0xffff)
      guest.raw(0x86dd, bytes, '33:33:00:00:00:02')
    }
    const ALL_ROUTERS = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    packet(58, ALL_ROUTERS, [133, 0, 0, 0, 0, 0, 0, 0])
    const [advertisement] = guest.packets()
    const message = advertisement?.bytes.subarray(advertisement.headers.transport) ?? new Uint8Array(0)
    expect([message[0], message[4], message[5], getU16(message, 6)]).toEqual([134, 64, 0x40, 1800])
    expect(Buffer.from(message).toString('hex')).toContain('fd506172746900000000000000000003')
    // Hop limit 64: it came through a router.
    packet(58, ALL_ROUTERS, [133, 0, 0, 0, 0, 0, 0, 0], 64)
    expect(guest.packets()).toEqual([])
    const gateway = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    packet(58, gateway, [135, 0, 0, 0, 0, 0, 0, 0, ...gateway])
    const [neighbour] = guest.packets()
    expect(neighbour?.bytes[neighbour.headers.transport]).toBe(136)
    expect([...(neighbour?.bytes.subarray(-6) ?? [])]).toEqual([0x02, 0x50, 0x41, 0x52, 0, 2])
    // By its link-local address a guest reaches the name server at the gateway, and nothing else.
    const datagram = [0x13, 0x88, 0, 53, 0, 9, 0, 0, 81]
    packet(17, [0xfd, 0x50, 0x61, 0x72, 0x74, 0x69, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3], datagram)
    packet(17, [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], datagram)
    expect(guest.host.udp.flatMap(({ sent }) => sent.map(({ text, address }) => `${text} ${address}`))).toEqual([
      'Q 192.0.2.53',
    ])
    guest.host.udp[0]?.receive(Buffer.from('A'), '192.0.2.53', 53)
    expect(guest.datagrams().map(({ ports, text }) => [ports, text])).toEqual([[[53, 5000], 'A']])
    // DHCPv6, information request with a client id.
    packet(
      17,
      [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2],
      [0x02, 0x22, 0x02, 0x23, 0, 20, 0, 0, 11, 1, 2, 3, 0, 1, 0, 4, 9, 9, 9, 9],
    )
    const [reply] = guest.datagrams()
    expect(reply?.ports).toEqual([547, 546])
    expect([...(reply?.payload.subarray(0, 12) ?? [])]).toEqual([7, 1, 2, 3, 0, 1, 0, 4, 9, 9, 9, 9])
    expect(reply?.payload.subarray(-20, -16)).toEqual(Uint8Array.of(0, 23, 0, 16))
  })
})

describe('UDP', () => {
  it('goes out by a socket for each port of the guest, and answers come back from whom was asked', async () => {
    await using guest = await NatGuest.start()
    guest.udp('192.0.2.7', 123, 'one')
    guest.udp('192.0.2.8', 9, 'two')
    guest.udp('192.0.2.7', 123, 'three', 5001)
    expect(guest.host.udp).toHaveLength(2)
    const [first] = guest.host.udp
    expect(first?.sent.map(({ text, address, port }) => `${text} ${address} ${port}`)).toEqual([
      'one 192.0.2.7 123',
      'two 192.0.2.8 9',
    ])
    first?.receive(Buffer.from('answer'), '192.0.2.7', 123)
    first?.receive(Buffer.from('stranger'), '192.0.2.99', 123)
    expect(guest.datagrams().map(({ from, ports, text }) => [from, ports, text])).toEqual([
      ['192.0.2.7', [123, 5000], 'answer'],
    ])
    guest.clock.advance(121e9)
    expect(guest.host.udp.every(({ closed }) => closed)).toBe(true)
    expect(guest.gateway.report().udpSockets).toBe(0)
    expect(guest.clock.armedTimers).toBe(0)
  })

  it('sockets are bounded: the one that would end first goes', async () => {
    await using guest = await NatGuest.start({ maximumUdpSockets: 4 })
    for (let i = 0; i < 10; i++) guest.udp('192.0.2.7', 4000, 'x', 6000 + i)
    expect(guest.gateway.report().udpSockets).toBe(4)
    expect(guest.host.udp.filter(({ closed }) => !closed)).toHaveLength(4)
  })

  it('names: the host’s servers in turn, and the answer is the name server’s', async () => {
    await using guest = await NatGuest.start()
    guest.udp('10.0.2.3', 53, 'query')
    guest.udp('10.0.2.3', 53, 'query')
    const [socket] = guest.host.udp
    expect(socket?.sent.map(({ address, port }) => `${address} ${port}`)).toEqual(['192.0.2.53 53', '192.0.2.54 5353'])
    socket?.receive(Buffer.from('answer'), '192.0.2.54', 5353)
    socket?.receive(Buffer.from('false'), '192.0.2.54', 53)
    expect(guest.datagrams().map(({ from, ports, text }) => [from, ports, text])).toEqual([
      ['10.0.2.3', [53, 5000], 'answer'],
    ])
    // Nothing else of the gateway's is a way to anywhere.
    guest.udp('10.0.2.3', 54, 'x', 5001)
    guest.udp('10.0.2.2', 53, 'x', 5002)
    expect(guest.host.udp).toHaveLength(1)
  })

  it('datagrams that are larger than a packet, both ways', async () => {
    await using guest = await NatGuest.start()
    const text = Array.from({ length: 4000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join('')
    guest.udp('192.0.2.7', 7, '')
    const [socket] = guest.host.udp
    socket?.receive(Buffer.from(text), '192.0.2.7', 7)
    const fragments = guest.adapter.received.splice(0)
    expect(fragments.map(({ bytes }) => getU16(bytes, 20))).toEqual([0x2000, 0x20b9, 0x0172])
    // What came goes back, in another order, and one piece twice: that ends the packet.
    const send = (order: number[]): void => {
      for (const index of order) {
        const bytes = fragments[index]?.bytes.slice(14) ?? new Uint8Array(20)
        const source = bytes.slice(12, 16)
        bytes.set(bytes.subarray(16, 20), 12)
        bytes.set(source, 16)
        guest.raw(0x0800, bytes)
      }
    }
    send([2, 0, 1])
    expect(guest.host.udp[1]?.sent.map((datagram) => datagram.text)).toEqual([text])
    send([0, 0, 1, 2])
    expect(guest.host.udp[1]?.sent).toHaveLength(1)
  })

  it('a checksum that is wrong', async () => {
    await using guest = await NatGuest.start()
    const packet = Uint8Array.from([
      0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 2, 15, 192, 0, 2, 7, 1, 0, 0, 7, 0, 9, 1, 1, 65,
    ])
    let sum = 0
    for (let at = 0; at < 20; at += 2) sum += getU16(packet, at)
    putU16(packet, 10, ~((sum >>> 16) + (sum & 0xffff)) & 0xffff)
    guest.raw(0x0800, packet)
    expect(guest.host.udp).toEqual([])
    putU16(packet, 26, 0)
    guest.raw(0x0800, packet)
    expect(guest.host.udp).toHaveLength(1)
    putU16(packet, 10, 0x1234)
    packet[20] = 2
    guest.raw(0x0800, packet)
    expect(guest.host.udp).toHaveLength(1)
  })
})

describe('TCP', () => {
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

  it('what comes out of order is asked for again, what is known is left out', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    const send = (offset: number, payload: string): void =>
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine + offset, acknowledgement: remote, payload })
    send(5, 'world')
    expect(guest.segments()).toMatchObject([{ acknowledgement: mine }])
    send(0, 'hello')
    send(0, 'hello w')
    expect(socket.text).toBe('hello w')
    send(0, 'hello')
    expect(guest.segments().at(-1)).toMatchObject({ acknowledgement: mine + 7 })
  })

  it('what is lost goes again: at once after three duplicates, and after a time', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    socket.events.data(Buffer.from('one'))
    socket.events.data(Buffer.from('two'))
    guest.segments()
    for (let i = 0; i < 3; i++)
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote, window: 512 })
    expect(guest.segments()).toMatchObject([{ sequence: remote, payload: 'onetwo' }])
    guest.clock.advance(1e9)
    expect(guest.segments().length).toBeGreaterThan(0)
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote + 6, window: 512 })
    guest.clock.advance(100e9)
    expect(guest.segments()).toEqual([])
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

  it('acknowledgements: with an answer, after a short time, or at once where that was in vain', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    let offset = 0
    const send = (payload: string): void => {
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine + offset, acknowledgement: remote, payload })
      offset += payload.length
    }
    send('one')
    guest.clock.advance(9e6)
    socket.events.data(Buffer.from('1'))
    expect(guest.segments()).toMatchObject([{ payload: '1', acknowledgement: mine + 3 }])
    guest.clock.advance(1e9 - 10e6)
    expect(guest.segments()).toEqual([])
    // Nobody answers this.
    send('two')
    guest.clock.advance(9e6)
    expect(guest.segments()).toEqual([])
    guest.clock.advance(1e6)
    expect(guest.segments()).toMatchObject([{ payload: '', acknowledgement: mine + 6 }])
    for (let i = 0; i < 16; i++) {
      send('more')
      expect(guest.segments().at(-1)).toMatchObject({ acknowledgement: mine + offset })
    }
    send('x')
    expect(guest.segments()).toEqual([])
    // As much as a segment waits for nobody.
    send('y'.repeat(1459))
    expect(guest.segments()).toMatchObject([{ acknowledgement: mine + offset }])
    expect(socket.written).toHaveLength(offset)
  })

  it('a window that is closed stays closed for a guest that sends a byte at a time', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    socket.buffered = 1024 * 1024
    let offset = 0
    for (const size of [...new Array<number>(46).fill(1400), ...new Array<number>(3000).fill(1)]) {
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine + offset,
        acknowledgement: remote,
        payload: 'x'.repeat(size),
      })
      guest.settle()
      offset = (guest.segments().at(-1)?.acknowledgement ?? 0) - mine
    }
    // The window of the SYN, and not a byte more.
    expect(socket.written).toHaveLength(65_535)
    expect(offset).toBe(65_535)
  })

  it('a window of an older segment is not taken', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    const send = (offset: number, payload: string, window: number): void =>
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine + offset, acknowledgement: remote, payload, window })
    send(0, 'abc', 10)
    send(3, 'def', 20)
    // It comes once more, as it was: 1,280 bytes.
    send(0, 'abc', 10)
    guest.segments()
    socket.events.data(Buffer.alloc(20_000, 'x'))
    expect(guest.segments().reduce((sum, { payload }) => sum + payload.length, 0)).toBe(2560)
  })

  it('what is outside of the window is answered, and acknowledges nothing', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    socket.events.data(Buffer.from('one'))
    guest.segments()
    for (const sequence of [mine - 5, mine + 3_000_000]) {
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence, acknowledgement: remote + 3, window: 512 })
      expect(guest.segments()).toMatchObject([{ acknowledgement: mine, payload: '' }])
    }
    guest.clock.advance(1e9)
    expect(guest.segments()).toMatchObject([{ sequence: remote, payload: 'one' }])
  })

  it('a host that sends much: whole segments, and the rest when what is on its way has come', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    const received = (): number => guest.segments().reduce((sum, { payload }) => sum + payload.length, 0)
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote, window: 65_535 })
    socket.events.data(Buffer.alloc(65_536, 'x'))
    expect(received()).toBe(44 * 1460)
    socket.events.data(Buffer.alloc(65_536, 'y'))
    expect(received()).toBe(44 * 1460)
    const acknowledge = (bytes: number): void =>
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine,
        acknowledgement: remote + bytes,
        window: 65_535,
      })
    acknowledge(44 * 1460)
    expect(received()).toBe(0)
    acknowledge(88 * 1460)
    expect(received()).toBe(2 * 65_536 - 88 * 1460)
    // A little is not much, and nothing follows an end.
    socket.events.data(Buffer.from('z'))
    expect(received()).toBe(1)
    socket.events.data(Buffer.alloc(65_536, 'x'))
    socket.events.ended()
    expect(received()).toBe(65_536)
  })

  it('segments of the size that the guest wants, as many at once as it has room for', async () => {
    await using guest = await NatGuest.start()
    guest.tcp('192.0.2.7', 80, { flags: F.SYN, sequence: 999, options: [2, 4, 0, 100, 1, 3, 3, 7] })
    const socket = guest.host.tcp.at(-1) as TestTcpSocket
    socket.events.connected()
    const remote = ((guest.segments()[0]?.sequence ?? 0) + 1) >>> 0
    guest.adapter.accepts = 0x1f
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: 1000, acknowledgement: remote, window: 65_535 })
    socket.events.data(Buffer.alloc(60_000, 'x'))
    const sizes = guest.adapter.received.map(({ bytes }) => bytes.length - 54)
    expect(Math.max(...sizes)).toBe(6400)
    expect(sizes.reduce((sum, size) => sum + size)).toBe(60_000)
  })

  it('time-outs follow what is measured, and double', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    let acknowledged = 0
    const times = (until: number): number[] => {
      const begin = guest.clock.now()
      const found: number[] = []
      while (guest.clock.now() - begin < until) {
        guest.clock.advance(100e6)
        if (guest.segments().length > 0) found.push(Math.round((guest.clock.now() - begin) / 1e9))
      }
      return found
    }
    const exchange = (delay: number): void => {
      socket.events.data(Buffer.from('x'))
      guest.clock.advance(delay)
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine,
        acknowledgement: remote + ++acknowledged,
        window: 512,
      })
      guest.segments()
    }
    exchange(1e6)
    socket.events.data(Buffer.from('y'))
    guest.segments()
    expect(times(20e9)).toEqual([1, 3, 7, 15])
    guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote + ++acknowledged, window: 512 })
    // A guest that takes 900 ms has more than a second.
    for (let i = 0; i < 20; i++) exchange(900e6)
    socket.events.data(Buffer.from('z'))
    guest.segments()
    const [first] = times(4e9)
    expect(first).toBeGreaterThanOrEqual(1)
    exchange(900e6)
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

  it('a guest that has room for a part of what comes at once gets all of it, once', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    const text = Array.from({ length: 40_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join('')
    const window = (acknowledged: number): void =>
      guest.tcp('192.0.2.7', 80, { flags: F.ACK, sequence: mine, acknowledgement: remote + acknowledged, window: 512 })
    guest.adapter.room = 3
    socket.events.data(Buffer.from(text))
    let received = ''
    let sent = 0
    for (let rounds = 0; received.length < text.length && rounds < 200; rounds++) {
      for (const { sequence, payload } of guest.segments()) {
        sent += payload.length
        if (sequence - remote === received.length) received += payload
      }
      // More comes from the host while the guest has a part of a segment.
      if (rounds === 2) socket.events.data(Buffer.from(text))
      guest.adapter.room = 3
      if (rounds % 2 === 0) window(received.length)
      guest.port.resume()
    }
    expect(received.slice(0, text.length)).toBe(text)
    expect(sent).toBeLessThan(2.2 * text.length)
  })

  it('a window that is closed is asked about, and never exceeded', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    const window = (bytes: number, acknowledged: number): void =>
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine,
        acknowledgement: remote + acknowledged,
        window: bytes / 128,
      })
    window(1280, 0)
    socket.events.data(Buffer.alloc(5000, 'x'))
    let sent = guest.segments().reduce((sum, { payload }) => sum + payload.length, 0)
    expect(sent).toBe(1280)
    window(0, 1280)
    guest.clock.advance(20e9)
    const probes = guest.segments()
    expect(probes.length).toBeGreaterThan(3)
    expect(probes.every(({ payload, sequence }) => payload.length === 1 && sequence === remote + 1280)).toBe(true)
    // It lives, for as long as it answers.
    for (let i = 0; i < 30; i++) {
      window(0, 1280)
      guest.clock.advance(15e9)
    }
    guest.segments()
    window(65_536, 1280)
    sent = guest.segments().reduce((sum, { payload }) => sum + payload.length, 0)
    expect(sent).toBeGreaterThanOrEqual(5000 - 1280 - 1)
    expect(socket.aborted).toBe(false)
  })

  it('a host that takes nothing closes the window, and one that is ahead is paused', async () => {
    await using guest = await NatGuest.start()
    const { socket, guest: mine, remote } = guest.connect()
    socket.buffered = 1024 * 1024
    let offset = 0
    let window = 1
    for (let i = 0; window > 0 && i < 4000; i++) {
      guest.tcp('192.0.2.7', 80, {
        flags: F.ACK,
        sequence: mine + offset,
        acknowledgement: remote,
        window: 512,
        payload: 'x'.repeat(1400),
      })
      guest.settle()
      const [last] = guest.segments().slice(-1)
      offset = (last?.acknowledgement ?? mine) - mine
      window = last?.window ?? 0
    }
    expect(window).toBe(0)
    expect(socket.written).toHaveLength(offset)
    socket.buffered = 0
    socket.events.drained()
    expect(guest.segments().at(-1)?.window).toBe(8192)
    for (let i = 0; i < 20; i++) socket.events.data(Buffer.alloc(65_536))
    expect(socket.paused).toBe(true)
    expect(guest.gateway.report().heldBytes).toBe(20 * 65_536)
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
