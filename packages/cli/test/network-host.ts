// A host on the guest's network, for tests: answers ARP, neighbour solicitations and pings, takes what is sent to its TCP port 9, and sends a known text from port 19, as
// large frames where it is told to. What it receives is checked byte by byte.

import { createHash } from 'node:crypto'
import {
  ETHER_TYPE,
  Frame,
  FrameHeaders,
  foldSum,
  getU16,
  getU32,
  IP_PROTOCOL,
  pseudoHeaderSum,
  putU16,
  putU32,
  storeIpv4Checksum,
  sumWords,
  transportChecksum,
  transportChecksumIsRight,
} from '@partita/ethernet'
import { FRAME_FLAG, type Network, type NetworkAdapter, type NetworkFrame, type NetworkPort } from '@partita/interface'

const ADDRESS = [2, 0, 0, 0, 0, 0xaa]
const IPV4 = [10, 9, 8, 1]
const IPV6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
const FIN = 0x01
const SYN = 0x02
const ACK = 0x10
const WINDOW = 60_000
/** Milliseconds of quiet until the guest's data is acknowledged. */
const QUIET = 40

/** The text of port 19. */
export function chargen(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => 32 + ((at * 7 + (at >> 10)) % 95))
}

interface Connection {
  readonly port: number
  /** Ours, and the peer's next. */
  sequence: number
  next: number
  mss: number
  readonly data: Uint8Array
  sent: number
  acknowledged: number
  window: number
  shift: number
  finished: boolean
  timer: NodeJS.Timeout | undefined
}

/** What the host has seen, and the port of one adapter. */
export class NetworkHost implements Network, NetworkPort {
  accepts = 0
  mtu = 9000
  linkUp = true
  linkSpeed = 10e9
  /** Send port 19's text in frames of up to 60,000 bytes. */
  large = false
  /** Bytes that port 19 sends. */
  text = 200_000
  pings = 0
  frames = 0
  longestFrame = 0
  /** 802.1Q tags that frames had. */
  readonly tags: Set<number> = new Set()
  /** What was wrong with frames of the guest. */
  readonly problems: string[] = []
  /** Hashes of what port 9 got, one for each connection. */
  readonly taken: string[] = []
  adapter!: NetworkAdapter
  readonly #headers: FrameHeaders = new FrameHeaders()
  readonly #connections: Map<number, Connection> = new Map()
  readonly #hashes: Map<number, ReturnType<typeof createHash>> = new Map()
  readonly #waiting: Frame[] = []
  #tag: number | undefined

  connect(adapter: NetworkAdapter): NetworkPort {
    this.adapter = adapter
    return this
  }

  send(frame: NetworkFrame): boolean {
    this.frames++
    this.longestFrame = Math.max(this.longestFrame, frame.end - frame.start)
    if ((frame.flags & FRAME_FLAG.VLAN) !== 0) this.tags.add(frame.vlan & 0xfff)
    this.#tag = (frame.flags & FRAME_FLAG.VLAN) !== 0 ? frame.vlan : undefined
    const bytes = frame.bytes.slice(frame.start, frame.end)
    const headers = this.#headers
    if (!headers.parse(bytes, 0, bytes.length)) {
      if (headers.etherType === ETHER_TYPE.ARP) this.#arp(bytes)
      else this.problems.push(`a frame of type 0x${headers.etherType.toString(16)}`)
      return true
    }
    this.#check(frame, bytes)
    if (headers.protocol === IP_PROTOCOL.TCP) this.#tcp(bytes)
    else if (headers.protocol === IP_PROTOCOL.ICMP) this.#icmp(bytes)
    else if (headers.protocol === IP_PROTOCOL.ICMPV6) this.#icmp6(bytes)
    return true
  }

  sendEnd(): void {
    this.#deliver()
  }

  resume(): void {
    this.#deliver()
  }

  adapterChanged(): void {}

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Everything that the offloads leave to be seen has to add up. */
  #check(frame: NetworkFrame, bytes: Uint8Array): void {
    const headers = this.#headers
    if (headers.ipVersion === 4 && foldSum(sumWords(bytes, headers.network, headers.network + 20)) !== 0xffff)
      this.problems.push('a wrong IP header checksum')
    if (headers.payload === 0) return
    const partial = (frame.flags & FRAME_FLAG.CHECKSUM_PARTIAL) !== 0
    const field = headers.transport + headers.checksumField
    if (
      partial &&
      getU16(bytes, field) !== foldSum(pseudoHeaderSum(bytes, headers, headers.packetEnd - headers.transport))
    )
      this.problems.push('a wrong partial checksum')
    if (!partial && !transportChecksumIsRight(bytes, headers)) this.problems.push('a wrong checksum')
  }

  #queue(bytes: Uint8Array, fill?: (frame: Frame) => void): void {
    const frame = new Frame().plain(bytes)
    fill?.(frame)
    if (this.#tag !== undefined) {
      frame.flags |= FRAME_FLAG.VLAN
      frame.vlan = this.#tag
    }
    this.#waiting.push(frame)
  }

  #deliver(): void {
    let sent = 0
    for (let first = this.#waiting[0]; first !== undefined && this.adapter.receive(first); first = this.#waiting[0]) {
      this.#waiting.shift()
      sent++
    }
    if (sent > 0) this.adapter.receiveEnd()
  }

  #turnAround(bytes: Uint8Array): void {
    bytes.copyWithin(0, 6, 12)
    bytes.set(ADDRESS, 6)
  }

  #arp(bytes: Uint8Array): void {
    if (getU16(bytes, 20) !== 1 || !IPV4.every((byte, at) => bytes[38 + at] === byte)) return
    const answer = bytes.slice(0, 42)
    this.#turnAround(answer)
    putU16(answer, 20, 2)
    answer.copyWithin(32, 22, 32)
    answer.set([...ADDRESS, ...IPV4], 22)
    this.#queue(answer)
  }

  #swapAddresses(bytes: Uint8Array): void {
    const at = this.#headers.network + (this.#headers.ipVersion === 4 ? 12 : 8)
    const size = this.#headers.ipVersion === 4 ? 4 : 16
    const source = bytes.slice(at, at + size)
    bytes.copyWithin(at, at + size, at + 2 * size)
    bytes.set(source, at + size)
  }

  #icmp(bytes: Uint8Array): void {
    const { transport, packetEnd, fragment } = this.#headers
    if (fragment || transport === 0 || bytes[transport] !== 8) return
    this.pings++
    this.#turnAround(bytes)
    this.#swapAddresses(bytes)
    bytes[transport] = 0
    putU16(bytes, transport + 2, 0)
    putU16(bytes, transport + 2, foldSum(sumWords(bytes, transport, packetEnd)) ^ 0xffff)
    this.#queue(bytes)
  }

  #icmp6(bytes: Uint8Array): void {
    const { transport, packetEnd, network } = this.#headers
    const type = bytes[transport]
    if (type === 135 && IPV6.every((byte, at) => bytes[transport + 8 + at] === byte)) {
      const answer = new Uint8Array(14 + 40 + 32)
      answer.set(bytes.subarray(0, 54))
      this.#turnAround(answer)
      putU16(answer, network + 4, 32)
      answer.set(IPV6, network + 8)
      answer.set(bytes.subarray(network + 8, network + 24), network + 24)
      answer.set([136, 0, 0, 0, 0x60, 0, 0, 0, ...IPV6, 2, 1, ...ADDRESS], 54)
      this.#sumIcmp6(answer, 54, 32)
      this.#queue(answer)
    } else if (type === 128) {
      this.pings++
      this.#turnAround(bytes)
      this.#swapAddresses(bytes)
      bytes[transport] = 129
      this.#sumIcmp6(bytes, transport, packetEnd - transport)
      this.#queue(bytes)
    }
  }

  #sumIcmp6(bytes: Uint8Array, at: number, length: number): void {
    putU16(bytes, at + 2, 0)
    const sum = sumWords(bytes, at - 32, at, IP_PROTOCOL.ICMPV6 + length)
    putU16(bytes, at + 2, foldSum(sumWords(bytes, at, at + length, sum)) ^ 0xffff)
  }

  // ── TCP, without losses, for the guest alone ──

  #tcp(bytes: Uint8Array): void {
    const headers = this.#headers
    const at = headers.transport
    const port = getU16(bytes, at)
    const flags = bytes[at + 13] as number
    const payload = bytes.subarray(headers.payload, headers.packetEnd)
    if ((flags & SYN) !== 0) {
      const length = getU16(bytes, at + 2) === 19 ? this.text : 0
      let mss = 536
      let shift = 0
      for (let option = at + 20; option < headers.payload && bytes[option] !== 0; ) {
        if (bytes[option] === 2) mss = getU16(bytes, option + 2)
        if (bytes[option] === 3) shift = bytes[option + 2] as number
        option += bytes[option] === 1 ? 1 : (bytes[option + 1] as number)
      }
      this.#hashes.set(port, createHash('sha256'))
      this.#connections.set(port, {
        port: getU16(bytes, at + 2),
        sequence: 1000,
        next: (getU32(bytes, at + 4) + 1) >>> 0,
        mss,
        data: chargen(length),
        sent: 0,
        acknowledged: 0,
        window: getU16(bytes, at + 14),
        shift,
        finished: false,
        timer: undefined,
      })
    }
    const connection = this.#connections.get(port)
    if (connection === undefined) return
    if ((flags & SYN) !== 0) {
      this.#reply(bytes, connection, SYN | ACK, 1000, new Uint8Array(0))
      connection.sequence = 1001
      return
    }
    if (getU32(bytes, at + 4) !== connection.next) {
      this.#reply(bytes, connection, ACK, this.#sequence(connection), new Uint8Array(0))
      return
    }
    if (payload.length > 0) this.#hashes.get(port)?.update(payload)
    connection.next = (connection.next + payload.length) >>> 0
    connection.window = getU16(bytes, at + 14) << connection.shift
    connection.acknowledged = Math.max(connection.acknowledged, getU32(bytes, at + 8) - 1001)
    const fin = (flags & FIN) !== 0
    if (fin) {
      connection.next = (connection.next + 1) >>> 0
      if (connection.port === 9) this.taken.push(this.#hashes.get(port)?.digest('hex') ?? '')
    }
    const before = this.#sequence(connection)
    this.#sendText(bytes, connection)
    // Whoever sends nothing has nothing more to send when the guest has not.
    if (fin && connection.data.length === 0) {
      this.#reply(bytes, connection, ACK | FIN, this.#sequence(connection), new Uint8Array(0))
      connection.finished = true
    } else if (fin || (payload.length > 0 && this.#sequence(connection) === before)) {
      clearTimeout(connection.timer)
      if (fin) this.#reply(bytes, connection, ACK, this.#sequence(connection), new Uint8Array(0))
      else this.#acknowledgeLater(bytes, connection)
    }
  }

  /** When the guest has been quiet for a while: its window is full by then, and it has something to put together. */
  #acknowledgeLater(bytes: Uint8Array, connection: Connection): void {
    clearTimeout(connection.timer)
    connection.timer = setTimeout(() => {
      this.#headers.parse(bytes, 0, bytes.length)
      this.#reply(bytes, connection, ACK, this.#sequence(connection), new Uint8Array(0))
      this.#deliver()
    }, QUIET)
  }

  #sequence(connection: Connection): number {
    return 1001 + connection.sent + (connection.finished ? 1 : 0)
  }

  #sendText(bytes: Uint8Array, connection: Connection): void {
    const { data } = connection
    const largest = this.large ? 60_000 : connection.mss
    while (connection.sent < data.length) {
      const room = connection.acknowledged + connection.window - connection.sent
      const length = Math.min(largest, room, data.length - connection.sent)
      if (length <= 0) return
      const from = connection.sent
      this.#reply(bytes, connection, ACK, 1001 + from, data.subarray(from, from + length))
      connection.sent += length
    }
    if (data.length > 0 && !connection.finished) {
      this.#reply(bytes, connection, ACK | FIN, 1001 + data.length, new Uint8Array(0))
      connection.finished = true
    }
  }

  #reply(bytes: Uint8Array, connection: Connection, flags: number, sequence: number, payload: Uint8Array): void {
    const { network, transport, ipVersion } = this.#headers
    const options = (flags & SYN) === 0 ? [] : [2, 4, ...[1460 >> 8, 1460 & 255], 3, 3, 0, 0]
    const answer = new Uint8Array(transport + 20 + options.length + payload.length)
    answer.set(bytes.subarray(0, transport + 20))
    answer.set(options, transport + 20)
    answer.set(payload, transport + 20 + options.length)
    this.#turnAround(answer)
    this.#swapAddresses(answer)
    putU16(answer, transport, getU16(bytes, transport + 2))
    putU16(answer, transport + 2, getU16(bytes, transport))
    putU32(answer, transport + 4, sequence)
    putU32(answer, transport + 8, connection.next)
    answer[transport + 12] = ((20 + options.length) / 4) << 4
    answer[transport + 13] = flags
    putU16(answer, transport + 14, WINDOW)
    if (ipVersion === 4) {
      putU16(answer, network + 2, answer.length - network)
      storeIpv4Checksum(answer, network, transport - network)
    } else putU16(answer, network + 4, answer.length - network - 40)
    const headers = new FrameHeaders()
    headers.parse(answer, 0, answer.length)
    const gso = payload.length > connection.mss
    this.#queue(answer, (frame) => {
      if (!gso) {
        putU16(answer, transport + 16, transportChecksum(answer, headers))
        frame.flags = FRAME_FLAG.CHECKSUM_VALID
        return
      }
      putU16(answer, transport + 16, foldSum(pseudoHeaderSum(answer, headers, headers.packetEnd - transport)))
      frame.flags = FRAME_FLAG.CHECKSUM_PARTIAL | (ipVersion === 4 ? FRAME_FLAG.GSO_TCP4 : FRAME_FLAG.GSO_TCP6)
      frame.checksumStart = transport
      frame.checksumOffset = transport + 16
      frame.gsoSize = connection.mss
    })
  }
}
