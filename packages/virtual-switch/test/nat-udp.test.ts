// The NAT's UDP and name server against the RFCs that it implements, with a guest and a host in the test's hands.

import { getU16, putU16 } from '@partita/ethernet'
import { describe, expect, it } from 'vitest'
import { NatGuest } from './nat-guest.ts'

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

  it('names: servers of both versions are asked in turn, each by a socket of its own', async () => {
    await using guest = await NatGuest.start({ nameServers: ['192.0.2.53', '[2001:DB8:0::53]:5353'] })
    const asked = (): string[] =>
      guest.host.udp.flatMap(({ sent, version }) =>
        sent.splice(0).map(({ text, address }) => `${version} ${text} ${address}`),
      )
    for (const text of ['one', 'two', 'three']) guest.udp('10.0.2.3', 53, text)
    expect(asked()).toEqual(['4 one 192.0.2.53', '4 three 192.0.2.53', '6 two 2001:db8::53'])
    guest.host.udp[1]?.receive(Buffer.from('answer'), '2001:db8::53', 5353)
    expect(guest.datagrams().map(({ from, ports, text }) => [from, ports, text])).toEqual([
      ['10.0.2.3', [53, 5000], 'answer'],
    ])
    // The answer begins the turn anew, for both sockets; and the port goes where else it wants.
    guest.udp('10.0.2.3', 53, 'four')
    guest.udp('192.0.2.7', 123, 'time')
    guest.udp('10.0.2.3', 53, 'five')
    expect(asked()).toEqual(['4 four 192.0.2.53', '4 time 192.0.2.7', '6 five 2001:db8::53'])
    // A guest that asks by IPv6 has the same servers.
    guest.udp('fd50:6172:7469::3', 53, 'six')
    guest.udp('fd50:6172:7469::3', 53, 'seven')
    guest.udp('2001:db8::7', 123, 'time')
    expect(asked()).toEqual(['4 six 192.0.2.53', '6 seven 2001:db8::53', '6 time 2001:db8::7'])
    expect(guest.gateway.report().udpSockets).toBe(4)
  })

  it('two minutes from the last datagram of either side; a question to a name server ends nothing sooner', async () => {
    await using guest = await NatGuest.start()
    const closed = (after: number): boolean[] => {
      guest.clock.advance(after)
      return guest.host.udp.map((socket) => socket.closed)
    }
    guest.udp('192.0.2.7', 123, 'x', 5000)
    guest.udp('10.0.2.3', 53, 'x', 5000)
    guest.udp('10.0.2.3', 53, 'x', 5001)
    expect(closed(11e9)).toEqual([false, true])
    expect(closed(99e9)).toEqual([false, true])
    guest.host.udp[0]?.receive(Buffer.from('answer'), '192.0.2.7', 123)
    expect(closed(119e9)).toEqual([false, true])
    expect(closed(2e9)).toEqual([true, true])
  })

  it('nobody is at port 0', async () => {
    await using guest = await NatGuest.start({ forwards: [{ protocol: 'udp', hostPort: 5353, guestPort: 53 }] })
    guest.udp('192.0.2.7', 0, 'x')
    guest.udp('192.0.2.7', 9, 'x', 0)
    guest.tcp('192.0.2.7', 0, { flags: 2, sequence: 5 })
    expect([guest.host.udp.length, guest.host.tcp.length]).toEqual([1, 0])
    expect(guest.packets()).toEqual([])
    guest.host.udp[0]?.receive(Buffer.from('x'), '127.0.0.1', 0)
    expect(guest.packets()).toEqual([])
    // The port works as before.
    guest.udp('192.0.2.7', 9, 'x')
    expect(guest.host.udp[1]?.sent).toHaveLength(1)
  })

  it('a forwarded port has a port of the gateway for each correspondent, and takes none that is in use', async () => {
    await using guest = await NatGuest.start({ forwards: [{ protocol: 'udp', hostPort: 5353, guestPort: 53 }] })
    guest.udp('192.0.2.7', 9, 'x')
    guest.packets()
    const [outside] = guest.host.udp
    const ask = (port: number): number | undefined => {
      outside?.receive(Buffer.from(`${port}`), '127.0.0.1', port)
      return guest.datagrams()[0]?.ports[0]
    }
    const numbers = Array.from({ length: 4096 }, (_, i) => ask(1000 + i))
    expect(new Set(numbers).size).toBe(4096)
    expect(numbers).not.toContain(undefined)
    // There is no other one, and those that there are stay whose they are.
    expect(ask(9000)).toBeUndefined()
    expect(ask(1000)).toBe(numbers[0])
    for (const i of [0, 64, 4095]) guest.udp('10.0.2.2', numbers[i] as number, `to ${1000 + i}`, 53)
    expect(outside?.sent.map(({ text, port }) => [text, port])).toEqual([
      ['to 1000', 1000],
      ['to 1064', 1064],
      ['to 5095', 5095],
    ])
    guest.clock.advance(121e9)
    expect(ask(9000)).toBeDefined()
    expect(guest.host.udp[0]?.closed).toBe(false)
  })

  it('what the host does not take is bounded, for all sockets together', async () => {
    await using guest = await NatGuest.start({ maximumHeldBytes: 2 ** 20 })
    for (let i = 0; i < 4; i++) {
      guest.udp('192.0.2.7', 9, 'x', 5000 + i)
      const socket = guest.host.udp[i]
      if (socket !== undefined) socket.buffered = 200_000
      guest.udp('192.0.2.7', 9, 'x', 5000 + i)
    }
    expect(guest.host.udp.map(({ sent }) => sent.length)).toEqual([2, 2, 2, 0])
    expect(guest.gateway.report().heldBytes).toBe(600_000)
    for (const socket of guest.host.udp) socket.buffered = 0
    guest.clock.advance(200e6)
    guest.udp('192.0.2.7', 9, 'x', 5003)
    expect(guest.host.udp[3]?.sent).toHaveLength(1)
    expect(guest.gateway.report().heldBytes).toBe(0)
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
