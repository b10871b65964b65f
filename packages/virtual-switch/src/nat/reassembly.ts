// Puts fragments together (RFC 791, 3.2; RFC 8200, 4.5). A guest has a fixed number of packets under way, within what the NAT may hold, each for 30 seconds at most; fragments that overlap end the
// packet (RFC 5722).

import { getU16, getU32, IP_PROTOCOL, putU16, storeIpv4Checksum } from '@partita/ethernet'
import type { Clock } from '@partita/interface'
import { type MemoryBudget, PIECE_COST } from './memory-budget.ts'

const MAXIMUM_PACKETS = 16
const LIFETIME = 30e9
const LARGEST = 65_535
const MAXIMUM_FRAGMENTS = 64

interface Partial {
  /** Ethernet and IP header, then the payload. */
  readonly bytes: Uint8Array
  readonly headerLength: number
  /** Ranges of the payload that are there. */
  readonly ranges: { readonly from: number; readonly to: number }[]
  /** Bytes of the payload; 0 while the last fragment is missing. */
  total: number
  readonly deadline: number
}

/** Packets under way. */
export class Reassembly {
  readonly #clock: Clock
  readonly #budget: MemoryBudget
  readonly #onBegin: () => void
  readonly #packets: Map<string, Partial> = new Map()

  /** `budget` is shared with others. `onBegin`: there is something that {@link Reassembly.tick} has to end. */
  constructor(clock: Clock, budget: MemoryBudget, onBegin: () => void) {
    this.#clock = clock
    this.#budget = budget
    this.#onBegin = onBegin
  }

  /** How many packets are under way. */
  get size(): number {
    return this.#packets.size
  }

  /**
   * A fragment: the frame in `[start, end)`, whose IP header of `version` begins at `network` and is whole. Returns the frame with the whole packet when this was the last one that was missing.
   */
  add(bytes: Uint8Array, start: number, network: number, version: 4 | 6, packetEnd: number): Uint8Array | undefined {
    const place = version === 4 ? fragment4(bytes, network) : fragment6(bytes, network, packetEnd)
    if (place === undefined) return undefined
    const { offset, more, payload, key, protocol } = place
    const length = packetEnd - payload
    const end = offset + length
    if (length <= 0 || end > LARGEST - (version === 4 ? 20 : 40) || (more && (length & 7) !== 0)) return undefined
    const headerLength = network - start + (version === 4 ? 20 : 40)
    const packet = this.#packets.get(key) ?? this.#begin(key, headerLength)
    if (packet === undefined) return undefined
    if (packet.headerLength !== headerLength || !addRange(packet, offset, end, more)) {
      this.#drop(key)
      return undefined
    }
    if (offset === 0) packet.bytes.set(bytes.subarray(start, start + headerLength))
    packet.bytes.set(bytes.subarray(payload, packetEnd), headerLength + offset)
    const [first] = packet.ranges
    if (packet.total === 0 || packet.ranges.length !== 1 || first?.from !== 0 || first.to !== packet.total) {
      return undefined
    }
    this.#drop(key)
    return finish(packet, network - start, version, protocol)
  }

  /** Time has passed. */
  tick(now: number): void {
    for (const [key, { deadline }] of this.#packets) if (deadline <= now) this.#drop(key)
  }

  /** Forget all of them. */
  clear(): void {
    for (const key of this.#packets.keys()) this.#drop(key)
  }

  /** A packet begins, the oldest making room for it; `undefined` when others hold all that may be held. */
  #begin(key: string, headerLength: number): Partial | undefined {
    const length = headerLength + LARGEST
    for (const oldest of this.#packets.keys()) {
      if (this.#packets.size < MAXIMUM_PACKETS && this.#budget.room >= length + PIECE_COST) break
      this.#drop(oldest)
    }
    if (this.#budget.room < length + PIECE_COST) return undefined
    this.#budget.change(length + PIECE_COST)
    const packet: Partial = {
      bytes: new Uint8Array(length),
      headerLength,
      ranges: [],
      total: 0,
      deadline: this.#clock.now() + LIFETIME,
    }
    this.#packets.set(key, packet)
    this.#onBegin()
    return packet
  }

  #drop(key: string): void {
    const packet = this.#packets.get(key)
    if (packet === undefined) return
    this.#packets.delete(key)
    this.#budget.change(-(packet.bytes.length + PIECE_COST))
  }
}

interface Place {
  readonly offset: number
  readonly more: boolean
  /** Where the fragment's bytes begin. */
  readonly payload: number
  readonly protocol: number
  /** Who sent it to whom, and which packet it is. */
  readonly key: string
}

function fragment4(bytes: Uint8Array, network: number): Place {
  const flags = getU16(bytes, network + 6)
  const protocol = bytes[network + 9] as number
  return {
    offset: (flags & 0x1fff) * 8,
    more: (flags & 0x2000) !== 0,
    payload: network + ((bytes[network] as number) & 0xf) * 4,
    protocol,
    key: `${getU32(bytes, network + 12)} ${getU32(bytes, network + 16)} ${getU16(bytes, network + 4)} ${protocol}`,
  }
}

/** Only a fragment header right behind the fixed one: other extension headers before it are not put together. */
function fragment6(bytes: Uint8Array, network: number, packetEnd: number): Place | undefined {
  const at = network + 40
  if (bytes[network + 6] !== IP_PROTOCOL.FRAGMENT || at + 8 > packetEnd) return undefined
  const flags = getU16(bytes, at + 2)
  return {
    offset: flags & 0xfff8,
    more: (flags & 1) !== 0,
    payload: at + 8,
    protocol: bytes[at] as number,
    key: `${bytes.subarray(network + 8, network + 40).join('.')} ${getU32(bytes, at + 4)}`,
  }
}

/** False for a fragment that overlaps, contradicts, or is one too many. */
function addRange(packet: Partial, from: number, to: number, more: boolean): boolean {
  const { ranges } = packet
  if (!more) {
    if (packet.total !== 0 || ranges.some((range) => range.to > to)) return false
    packet.total = to
  } else if (packet.total !== 0 && to >= packet.total) return false
  if (ranges.length === MAXIMUM_FRAGMENTS || ranges.some((range) => from < range.to && range.from < to)) return false
  const before = ranges.findIndex((range) => range.to === from)
  const after = ranges.findIndex((range) => range.from === to)
  const merged = { from: ranges[before]?.from ?? from, to: ranges[after]?.to ?? to }
  for (const index of [before, after].sort((a, b) => b - a)) if (index >= 0) ranges.splice(index, 1)
  ranges.push(merged)
  return true
}

function finish(
  { bytes, headerLength, total }: Partial,
  network: number,
  version: 4 | 6,
  protocol: number,
): Uint8Array {
  if (version === 4) {
    bytes[network] = 0x45
    putU16(bytes, network + 2, 20 + total)
    putU16(bytes, network + 6, 0)
    storeIpv4Checksum(bytes, network, 20)
  } else {
    putU16(bytes, network + 4, total)
    bytes[network + 6] = protocol
  }
  return bytes.subarray(0, headerLength + total)
}
