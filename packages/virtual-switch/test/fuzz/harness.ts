// Runs one input of the fuzzer: bytes become frames of a guest (right ones, nearly right ones, and noise), events of the host's sockets, room and no room, and time. Whatever they are, nothing
// throws, every table keeps its bound, what comes out is where it may come out, and every frame that reaches the guest is one: whole, with right checksums, no longer than the MTU.

import { FrameHeaders, getU16, IP_PROTOCOL, putU16, transportChecksumIsRight } from '@partita/ethernet'
import { parseIpAddress } from '../../src/nat/ip-address.ts'
import { F, NatGuest, type TestTcpSocket } from '../nat-guest.ts'
import { Destinations, INTERFACES } from './destinations.ts'

const ADDRESSES = [
  '192.0.2.1',
  '192.0.2.7',
  '10.0.2.2',
  '10.0.2.3',
  '10.0.2.15',
  '10.0.2.77',
  '127.0.0.1',
  '255.255.255.255',
] as const
/** The gateway's, the world's, groups, and what nobody has. */
const ADDRESSES6 = [
  '2001:db8::7',
  '2001:db8::7',
  '2001:db8::7',
  'fd50:6172:7469::2',
  'fd50:6172:7469::3',
  'fe80::2',
  'ff02::1',
  'ff02::2',
  'ff02::1:ff00:2',
  '::ffff:192.0.2.7',
  'fd50:6172:7469::15',
  '2002:7f00:1::1',
  '::1',
] as const
/** The host's own, links', others that rules are about: for inputs that ask for them. */
const MORE = [...ADDRESSES, '192.0.2.100', '192.0.2.53', '169.254.169.254', '198.51.100.1'] as const
const MORE6 = [
  ...ADDRESSES6,
  '2001:db8::100',
  '2001:db8:ffff::1',
  '2002:c000:207::1',
  '2002:c000:264::1',
  '64:ff9b::c000:264',
  '64:ff9b::7f00:1',
  '::7f00:1',
  '::ffff:0:7f00:1',
  'fe80::99',
] as const
const SOURCES6 = ['fd50:6172:7469::15', 'fe80::15:5dff:fe00:1', '::', '2001:db8::99', '::ffff:10.0.2.15'] as const
/** Where DHCPv6 is asked (RFC 8415, 7.1). */
const ALL_SERVERS = 'ff02::1:2'
const PREFIXES = [
  [0xfd, 0x50, 0x61, 0x72, 0x74, 0x69, 0, 0],
  [0xfd, 0x77, 0, 0, 0, 0, 0, 0],
] as const
const ERRORS = ['ECONNREFUSED', 'ECONNRESET', 'ENETUNREACH', 'ETIMEDOUT', undefined] as const
const MAXIMUM_CONNECTIONS = 8
const MAXIMUM_UDP = 4
const MTU = 1500

/** What came of an input. */
export interface Outcome {
  readonly steps: number
  /** Frames that the guest got. */
  readonly answers: number
  /** Kinds of frames that the guest got, and what came to the host. */
  readonly features: ReadonlySet<string>
}

function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

function datagram(from: number, to: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + payload.length)
  putU16(bytes, 0, from)
  putU16(bytes, 2, to)
  putU16(bytes, 4, bytes.length)
  bytes.set(payload, 8)
  return bytes
}

/** What a frame is, in words. */
function kindOf(bytes: Uint8Array, headers: FrameHeaders, ip: boolean): string {
  if (!ip) return 'ARP'
  const { ipVersion, protocol, transport, payload, fragment } = headers
  if (fragment) return `IPv${ipVersion} fragment`
  const first = bytes[transport] ?? 0
  if (protocol === IP_PROTOCOL.ICMP || protocol === IP_PROTOCOL.ICMPV6)
    // An answer has the code of its question.
    return `IPv${ipVersion} ICMP ${first} ${[1, 3].includes(first) ? bytes[transport + 1] : ''}`
  if (protocol === IP_PROTOCOL.TCP) {
    const flags = bytes[transport + 13] ?? 0
    return `IPv${ipVersion} TCP ${flags} ${headers.packetEnd > payload ? 'data' : ''}`
  }
  const port = getU16(bytes, transport)
  const type = port === 547 ? bytes[payload] : port === 67 ? bytes[payload + 242] : ''
  return `IPv${ipVersion} UDP ${[53, 67, 547].includes(port) ? port : ''} ${type}`
}

/** Run an input. Throws when something does not hold. */
export async function runInput(input: Uint8Array): Promise<Outcome> {
  let at = 0
  const next = (): number => input[at++] ?? 0
  const settings = next()
  const destinations = new Destinations(settings)
  const [addresses, addresses6] = (settings & 0x80) === 0 ? [ADDRESSES, ADDRESSES6] : [MORE, MORE6]
  const guest = await NatGuest.start({
    ...destinations.options,
    maximumConnections: MAXIMUM_CONNECTIONS,
    maximumUdpSockets: MAXIMUM_UDP,
    maximumHeldBytes: 2 ** 20,
    forwards: [
      { hostPort: 2222, guestPort: 22 },
      { protocol: 'udp', hostPort: 5353, guestPort: 53 },
    ],
  })
  guest.host.interfaces = [...INTERFACES]
  guest.host.onEgress = (kind, address, port) => {
    // A connection of the host's, to a forwarded port.
    if (address !== '') destinations.see(kind, address, port)
  }
  let steps = 0
  let answers = 0
  const features = new Set<string>()
  /** The last numbers that the gateway sent, so that segments are often of a connection. */
  const seen = { sequence: 0, acknowledgement: 0 }
  const address = (): string => addresses[next() % addresses.length] ?? ADDRESSES[0]
  const sockets = (): TestTcpSocket[] =>
    guest.host.tcp.filter(({ aborted }) => !aborted).slice(-MAXIMUM_CONNECTIONS * 2)
  /** Bytes made of two of the input. */
  const noise = (length: number): Uint8Array => {
    let state = next() | (next() << 8)
    return Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) | 0
      return state >>> 24
    })
  }

  const address6 = (): string => addresses6[next() % addresses6.length] ?? ADDRESSES6[0]
  const source6 = (choice: number): string => SOURCES6[choice % SOURCES6.length] ?? SOURCES6[0]

  /** IPv6 as a guest speaks it, with right checksums. */
  const ipv6 = (kind: number): void => {
    switch (kind) {
      case 0:
      case 1: {
        // Neighbour discovery: whom it asks for, from where, and whether it came through a router.
        const choice = next()
        const target = parseIpAddress(address6()) as Uint8Array
        const type = [135, 133, 136, 134, 137][choice % 5] ?? 135
        const body = type === 133 ? [] : [...target]
        const message = Uint8Array.from([
          type,
          choice >> 7,
          0,
          0,
          0,
          0,
          0,
          0,
          ...body,
          ...noise(8 * ((choice >> 5) & 3)),
        ])
        const hops = (choice & 0x10) === 0 ? 255 : 64
        guest.ip6(IP_PROTOCOL.ICMPV6, address6(), message, { from: source6(next()), hops })
        break
      }
      case 2: {
        const message = Uint8Array.from([128, 0, 0, 0, 0, 1, 0, 1, ...noise(next() * 4)])
        guest.ip6(IP_PROTOCOL.ICMPV6, address6(), message, { from: source6(next()) })
        break
      }
      case 3:
      case 4: {
        // DHCPv6: with a client's id, perhaps the server's, perhaps addresses.
        const choice = next()
        const own = (choice & 1) === 0 ? [2, 0x50, 0x41, 0x52, 0, 2] : [2, 0, 0, 0, 0, next()]
        const interfaceId = [0, 1, 2, 0x15, 0x5d, 0, 0, 1]
        const inner = [0, 5, 0, 24, ...(PREFIXES[(choice >> 6) & 1] ?? []), ...interfaceId, 0, 0, 0, 0, 0, 0, 0, 0]
        const message = [
          ...[next() % 14, 1, 2, 3],
          ...((choice & 2) === 0 ? [0, 1, 0, 4, 9, 9, 9, 9] : []),
          ...((choice & 4) === 0 ? [] : [0, 2, 0, 10, 0, 3, 0, 1, ...own]),
          ...((choice & 8) === 0 ? [0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, ...inner] : []),
          ...((choice & 16) === 0 ? [] : [0, 14, 0, 0]),
          ...((choice & 32) === 0 ? [] : noise(next())),
        ]
        guest.ip6(IP_PROTOCOL.UDP, ALL_SERVERS, datagram(546, 547, Uint8Array.from(message)), {
          from: source6(next() >> 6),
        })
        break
      }
      case 5: {
        const choice = next()
        const port = (choice & 1) === 0 ? 53 : choice
        guest.ip6(IP_PROTOCOL.UDP, address6(), datagram(5000 + (next() & 7), port, noise(choice)), {
          from: source6(next() >> 6),
        })
        break
      }
      case 6:
        guest.tcp(
          address6(),
          (next() & 1) === 0 ? 80 : 53,
          { flags: F.SYN, sequence: next() * 0x101_0101, options: [2, 4, next(), next(), 1, 3, 3, next()] },
          40_000 + (next() & 3),
        )
        break
      case 7:
      case 8: {
        const choice = next()
        const segment = {
          flags: next() & 0x1f,
          sequence: (seen.acknowledgement + ((choice & 1) === 0 ? 0 : next() - 128)) >>> 0,
          acknowledgement: (seen.sequence + ((choice & 2) === 0 ? 1 : next())) >>> 0,
          window: next() * 16,
          payload: 'x'.repeat((choice >> 4) * next()),
        }
        guest.tcp(address6(), (choice & 4) === 0 ? 80 : 53, segment, 40_000 + (next() & 3))
        break
      }
      case 9: {
        // A fragment of a datagram or of an echo.
        const choice = next()
        const payload = noise(8 * (1 + (choice >> 5)))
        const header = [
          (choice & 1) === 0 ? 17 : 58,
          0,
          0,
          ((next() & 15) << 3) | ((choice >> 1) & 1),
          0,
          0,
          0,
          next() & 3,
        ]
        guest.ip6(IP_PROTOCOL.FRAGMENT, address6(), Uint8Array.from([...header, ...payload]))
        break
      }
      case 10:
        // A question to the name server.
        guest.udp((next() & 1) === 0 ? '10.0.2.3' : address(), 53, noise(next()), 5000 + (next() & 7))
        break
      default:
        guest.tcp('10.0.2.3', 53, { flags: F.SYN, sequence: next() }, 40_000 + (next() & 3))
    }
  }

  const look = (): void => {
    for (const { bytes } of guest.adapter.received.splice(0)) {
      answers++
      must(bytes.length <= MTU + 14, `a frame of ${bytes.length} bytes`)
      const headers = new FrameHeaders()
      const ip = headers.parse(bytes, 0, bytes.length)
      must(ip || headers.etherType === 0x0806, `a frame of type ${headers.etherType}`)
      features.add(kindOf(bytes, headers, ip))
      if (!ip || headers.fragment || headers.payload === 0) continue
      must(transportChecksumIsRight(bytes, headers), 'a wrong checksum')
      if (headers.protocol !== IP_PROTOCOL.TCP) continue
      const view = new DataView(bytes.buffer, headers.transport)
      seen.sequence = view.getUint32(4)
      seen.acknowledgement = view.getUint32(8)
    }
  }

  while (at < input.length) {
    steps++
    const operation = next()
    switch (operation & 0xf) {
      case 0:
        guest.raw((next() << 8) | next(), noise(next()))
        break
      case 1:
        guest.raw([0x0800, 0x86dd, 0x0806, 0x8100][operation >> 6] ?? 0, noise(next()))
        break
      case 2:
        guest.raw(
          0x0806,
          Uint8Array.from([
            0,
            1,
            8,
            0,
            6,
            4,
            0,
            1 + (operation >> 7),
            2,
            0x15,
            0x5d,
            0,
            0,
            1,
            10,
            0,
            2,
            next(),
            0,
            0,
            0,
            0,
            0,
            0,
            10,
            0,
            2,
            next(),
          ]),
        )
        break
      case 3: {
        const message = new Uint8Array(300)
        message.set([1, 1, 6, 0, 1, 2, 3, 4])
        message.set([2, 0x15, 0x5d, 0, 0, next()], 28)
        message.set([0x63, 0x82, 0x53, 0x63, 53, 1, next(), ...noise(operation >> 4)], 236)
        guest.udp('255.255.255.255', 67, message, 68, { from: '0.0.0.0', mac: 'ff:ff:ff:ff:ff:ff' })
        break
      }
      case 4:
        guest.udp(address(), (next() << 2) & 0xff, noise(operation >> 2), 5000 + (next() & 7))
        break
      case 5: {
        const message = noise(8 + (operation >> 2))
        message[0] = 8
        guest.ip(IP_PROTOCOL.ICMP, address(), message)
        break
      }
      case 6:
        guest.tcp(
          address(),
          80 + (next() & 1),
          { flags: F.SYN, sequence: next() * 0x101_0101, options: [2, 4, next(), next(), 1, 3, 3, next()] },
          40_000 + (next() & 7),
        )
        break
      case 7:
      case 8: {
        // A segment that is often the next one of a connection.
        const off = (operation & 0x40) === 0 ? 0 : next() - 128
        const segment = {
          flags: next() & 0x1f,
          sequence: (seen.acknowledgement + off) >>> 0,
          acknowledgement: (seen.sequence + ((operation & 0x20) === 0 ? 1 : next())) >>> 0,
          window: next() * 16,
          payload: 'x'.repeat((operation >> 4) * next()),
        }
        guest.tcp(address(), 80 + (next() & 1), segment, 40_000 + (next() & 7))
        break
      }
      case 9: {
        // A fragment of a datagram.
        const packet = new Uint8Array(20 + 8 * (1 + (operation >> 5)))
        packet.set([
          0x45,
          0,
          0,
          packet.length,
          0,
          next() & 3,
          (next() & 0x3f) >> 1,
          next() & 15,
          64,
          17,
          0,
          0,
          10,
          0,
          2,
          15,
          192,
          0,
          2,
          7,
        ])
        let sum = 0
        for (let i = 0; i < 20; i += 2) sum += ((packet[i] ?? 0) << 8) | (packet[i + 1] ?? 0)
        while (sum > 0xffff) sum = (sum >>> 16) + (sum & 0xffff)
        packet[10] = (~sum >> 8) & 0xff
        packet[11] = ~sum & 0xff
        guest.raw(0x0800, packet)
        break
      }
      case 10: {
        const all = sockets()
        const socket = all[next() % Math.max(1, all.length)]
        if (socket === undefined) break
        const what = operation >> 5
        // A host's events after `closed`, or before `connected`, would be a fault of the host.
        if (what === 0) socket.events.connected()
        else if (what === 1 || what === 2) {
          // One that is paused brings nothing.
          const chunk = what === 1 ? noise(next()) : new Uint8Array(next() * 512)
          if (!socket.paused) socket.events.data(chunk)
        } else if (what === 3) socket.events.ended()
        else if (what === 4) socket.events.drained()
        else if (what === 5) {
          socket.stuck = !socket.stuck
          if (!socket.stuck) socket.buffered = 0
        } else {
          socket.aborted = true
          socket.events.closed(ERRORS[next() % ERRORS.length])
        }
        break
      }
      case 11: {
        const udp = guest.host.udp.filter(({ closed }) => !closed)
        udp[next() % Math.max(1, udp.length)]?.receive(new Uint8Array((operation >> 4) * 300), address(), next())
        break
      }
      case 12:
        guest.adapter.room = (operation & 0x80) === 0 ? next() & 3 : Number.POSITIVE_INFINITY
        if (guest.adapter.room > 0) guest.port.resume()
        break
      case 13: {
        const accept = guest.host.listeners.get('127.0.0.1:2222')
        const socket = guest.host.connectTcp('', 0, undefined as never) as TestTcpSocket
        const events = accept?.(socket, { address: '127.0.0.1', port: 1 })
        if (events !== undefined) socket.events = events
        break
      }
      case 14:
        guest.clock.advance(next() * 10e6)
        break
      default:
        if (operation >> 4 >= 4) ipv6((operation >> 4) - 4)
        else {
          const payload = noise(next() >> 2)
          const type = [58, 17, 6, 44][operation >> 4] ?? 58
          const addresses = [...new Array(15).fill(0xfe), next(), 0xff, 2, ...new Array(13).fill(0), 2]
          guest.raw(0x86dd, Uint8Array.from([0x60, 0, 0, 0, 0, payload.length, type, 255, ...addresses, ...payload]))
        }
    }
    look()
    must(destinations.problem === undefined, `what must not come out: ${destinations.problem}`)
    const report = guest.gateway.report()
    must(report.tcpConnections <= MAXIMUM_CONNECTIONS, `${report.tcpConnections} connections`)
    must(report.udpSockets <= MAXIMUM_UDP, `${report.udpSockets} UDP sockets`)
    must(report.neighbours <= 256, `${report.neighbours} neighbours`)
    must(report.heldBytes >= 0 && report.heldBytes <= 2 ** 20 + 2 ** 18, `${report.heldBytes} bytes are held`)
    must(guest.clock.armedTimers <= 8, `${guest.clock.armedTimers} timers`)
    if (guest.host.tcp.length > 256) guest.host.tcp.splice(0, 128)
    if (guest.host.udp.length > 64) guest.host.udp.splice(0, guest.host.udp.length - 16).forEach(() => {})
  }
  guest.adapter.room = Number.POSITIVE_INFINITY
  guest.port.resume()
  await guest[Symbol.asyncDispose]()
  look()
  const { tcpConnections, udpSockets, heldBytes } = guest.gateway.report()
  must(tcpConnections + udpSockets + heldBytes === 0, 'something outlives the gateway')
  must(
    guest.host.udp.every(({ closed }) => closed),
    'a UDP socket stays open',
  )
  await guest.port[Symbol.asyncDispose]()
  must(guest.clock.armedTimers === 0, 'a timer outlives the gateway')
  must(destinations.problem === undefined, `what must not come out: ${destinations.problem}`)
  for (const way of destinations.ways) features.add(way)
  return { steps, answers, features }
}
