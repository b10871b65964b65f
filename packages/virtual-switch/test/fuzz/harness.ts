// Runs one input of the fuzzer: bytes become frames of a guest (right ones, nearly right ones, and noise), events of the host's sockets, room and no room, and time. Whatever they are, nothing
// throws, every table keeps its bound, and every frame that reaches the guest is one: whole, with right checksums, no longer than the MTU.

import { FrameHeaders, IP_PROTOCOL, transportChecksumIsRight } from '@partita/ethernet'
import { F, NatGuest, type TestTcpSocket } from '../nat-guest.ts'

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
const ERRORS = ['ECONNREFUSED', 'ECONNRESET', 'ENETUNREACH', 'ETIMEDOUT', undefined] as const
const MAXIMUM_CONNECTIONS = 8
const MAXIMUM_UDP = 4
const MTU = 1500

/** What came of an input. */
export interface Outcome {
  readonly steps: number
  /** Frames that the guest got. */
  readonly answers: number
}

function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

/** Run an input. Throws when something does not hold. */
export async function runInput(input: Uint8Array): Promise<Outcome> {
  const guest = await NatGuest.start({
    maximumConnections: MAXIMUM_CONNECTIONS,
    maximumUdpSockets: MAXIMUM_UDP,
    hostLoopback: true,
    forwards: [
      { hostPort: 2222, guestPort: 22 },
      { protocol: 'udp', hostPort: 5353, guestPort: 53 },
    ],
  })
  let at = 0
  let steps = 0
  let answers = 0
  /** The last numbers that the gateway sent, so that segments are often of a connection. */
  const seen = { sequence: 0, acknowledgement: 0 }
  const next = (): number => input[at++] ?? 0
  const address = (): string => ADDRESSES[next() % ADDRESSES.length] ?? ADDRESSES[0]
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

  const look = (): void => {
    for (const { bytes } of guest.adapter.received.splice(0)) {
      answers++
      must(bytes.length <= MTU + 14, `a frame of ${bytes.length} bytes`)
      const headers = new FrameHeaders()
      const ip = headers.parse(bytes, 0, bytes.length)
      must(ip || headers.etherType === 0x0806, `a frame of type ${headers.etherType}`)
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
        else if (what === 1) socket.events.data(noise(next()))
        else if (what === 2) socket.events.data(new Uint8Array(next() * 512))
        else if (what === 3) socket.events.ended()
        else if (what === 4) socket.events.drained()
        else if (what === 5) socket.buffered = next() * 8192
        else {
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
      default: {
        const payload = noise(operation >> 3)
        const type = [58, 17, 6, 44][operation >> 6] ?? 58
        guest.raw(
          0x86dd,
          Uint8Array.from([
            0x60,
            0,
            0,
            0,
            0,
            payload.length,
            type,
            255,
            ...new Array(15).fill(0xfe),
            next(),
            0xff,
            2,
            ...new Array(13).fill(0),
            2,
            ...payload,
          ]),
        )
      }
    }
    look()
    const report = guest.gateway.report()
    must(report.tcpConnections <= MAXIMUM_CONNECTIONS, `${report.tcpConnections} connections`)
    must(report.udpSockets <= MAXIMUM_UDP, `${report.udpSockets} UDP sockets`)
    must(report.neighbours <= 256, `${report.neighbours} neighbours`)
    must(report.heldBytes >= 0 && report.heldBytes <= 64 * 2 ** 20 + 2 ** 20, `${report.heldBytes} bytes are held`)
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
  return { steps, answers }
}
