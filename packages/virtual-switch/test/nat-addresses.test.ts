// The NAT's addresses against the RFCs that it implements: ARP, DHCP, echo, IPv6. A guest and a host are in the test's hands.

import { checksumOf, getU16, IP_PROTOCOL, putU16, storeIpv4Checksum, sumWords } from '@partita/ethernet'
import { describe, expect, it } from 'vitest'
import { arp, NatGuest } from './nat-guest.ts'

const BROADCAST = 'ff:ff:ff:ff:ff:ff'

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
    putU16(message, 2, checksumOf(sumWords(message, 0, message.length)))
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

  it('an address that was declined is offered to nobody for a while; what has no type is not answered', async () => {
    await using guest = await NatGuest.start()
    const exchange = (message: Uint8Array): Uint8Array | undefined => {
      guest.udp('255.255.255.255', 67, message, 68, { from: '0.0.0.0', mac: BROADCAST })
      return guest.datagrams()[0]?.payload
    }
    const offered = (): number | undefined => exchange(dhcp(1))?.[19]
    expect(offered()).toBe(15)
    expect(exchange(dhcp(4, [50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]))).toBeUndefined()
    expect(offered()).toBe(16)
    exchange(dhcp(7))
    expect(offered()).toBe(16)
    exchange(dhcp(7))
    guest.clock.advance(3601e9)
    expect(offered()).toBe(15)
    // All of them are declined: the guest is served nevertheless.
    for (let i = 0; i < 300; i++) {
      expect(offered()).toBeGreaterThanOrEqual(15)
      exchange(dhcp(4))
    }
    const bootp = dhcp(1)
    bootp[240] = 61
    expect(exchange(bootp)).toBeUndefined()
  })

  it('echo: so many a second go outside, and only those whose checksum is right', async () => {
    await using guest = await NatGuest.start()
    let asked = 0
    guest.host.echo = async () => {
      asked++
      return true
    }
    const echoes = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        guest.ip(IP_PROTOCOL.ICMP, '192.0.2.1', Uint8Array.of(8, 0, 0, 0, 0, 1, 0, i))
        for (let turn = 0; turn < 5; turn++) await Promise.resolve()
      }
    }
    await echoes(30)
    expect(asked).toBe(10)
    guest.clock.advance(300e6)
    await echoes(30)
    expect(asked).toBe(13)
    guest.packets()
    const wrong = Uint8Array.of(8, 0, 1, 2, 0, 1, 0, 1)
    const packet = new Uint8Array(28)
    packet.set([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2])
    storeIpv4Checksum(packet, 0, 20)
    packet.set(wrong, 20)
    guest.raw(0x0800, packet)
    expect(guest.packets()).toEqual([])
    putU16(packet, 22, 0)
    putU16(packet, 22, checksumOf(sumWords(packet, 20, 28)))
    guest.raw(0x0800, packet)
    expect(guest.packets()).toHaveLength(1)
  })

  it('options that cannot work are refused', async () => {
    const refused = [
      { nameServers: ['1.2.3.4:99999'] },
      { nameServers: ['1.2.3.4:0'] },
      { nameServers: ['ns.example'] },
      ...['fd50:6172:7469::15', '192.0.2.7', '10.0.2.2', '10.0.2.3', '10.0.2.0', '10.0.2.255'].map((guestAddress) => ({
        forwards: [{ hostPort: 2222, guestPort: 22, guestAddress }],
      })),
    ]
    for (const options of refused) {
      await expect(NatGuest.start(options), JSON.stringify(options)).rejects.toMatchObject({
        code: 'ERR_NETWORK_OPTIONS',
      })
    }
    await using guest = await NatGuest.start({
      nameServers: ['1.2.3.4:53', '1.2.3.4', 'fd00::1', '[fd00::1]:5353'],
      forwards: [{ hostPort: 2222, guestPort: 22, guestAddress: '10.0.2.77' }],
    })
    expect(guest.host.listeners.size).toBe(1)
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
    const ALL_SERVERS = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]
    const server = [0, 2, 0, 10, 0, 3, 0, 1, 0x02, 0x50, 0x41, 0x52, 0, 2]
    const ask = (type: number, options: number[]): Uint8Array | undefined => {
      const body = [type, 1, 2, 3, 0, 1, 0, 4, 9, 9, 9, 9, ...options]
      packet(17, ALL_SERVERS, [0x02, 0x22, 0x02, 0x23, 0, 8 + body.length, 0, 0, ...body])
      return guest.datagrams()[0]?.payload
    }
    const association = (address: number[]): number[] => [
      ...[0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24],
      ...address,
      ...[0, 0, 0, 0, 0, 0, 0, 0],
    ]
    const own = [0xfd, 0x50, 0x61, 0x72, 0x74, 0x69, 0, 0, 0, 1, 2, 0x15, 0x5d, 0, 0, 1]
    const foreign = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0x15, 0x5d, 0, 0, 1]
    // The status comes behind both ids.
    const status = (answer: Uint8Array | undefined): number[] => [...(answer?.subarray(26, 32) ?? [])]
    expect(status(ask(4, association(own)))).toEqual([0, 13, 0, 2, 0, 0])
    expect(status(ask(4, association(foreign)))).toEqual([0, 13, 0, 2, 0, 4])
    expect(ask(4, [])).toBeUndefined()
    expect(ask(1, association(own))?.[0]).toBe(2)
    for (const type of [1, 4, 6]) expect(ask(type, [...server, ...association(own)])).toBeUndefined()
    expect(ask(3, [...server, ...association(own)])?.[0]).toBe(7)
    // An address of IPv4 in a packet of IPv6 is not taken for one.
    const sockets = guest.host.udp.length
    packet(17, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7], datagram)
    packet(17, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 2, 3], [0x13, 0x89, ...datagram.slice(2)])
    expect(guest.host.udp).toHaveLength(sockets)
  })
})
