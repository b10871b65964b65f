// The guest's receive buffer: equal sections that are given to it with received messages and come back with their completions. A packet's sections form a chain; its
// transaction id is its first section's number, so that nothing has to be looked up.

import type { BufferMap } from './buffer-map.ts'

/** The end of a chain. */
export const NO_SECTION = -1
/** Sections that data leaves to answers of the control channel, which would otherwise wait for the guest's whole backlog. */
const CONTROL_RESERVE = 16
/** Bytes that stay unused at the end of each section: Windows' driver may write there. */
const FOOTER = 36
/** Room for the headers of a message with all its per-packet information. */
const HEADER_ROOM = 128
const VLAN_TAG = 4
/** No MTU makes sections smaller than this: answers have to fit in one. */
const SMALLEST_MTU = 1514

/** A section for parts of large packets, and how many of them a buffer must have at least. */
const COALESCING_SECTION = 8192
const COALESCING_SECTIONS = 128

/** Bytes of a section for frames of `mtu` bytes, Ethernet header included. */
export function sectionSizeOf(mtu: number): number {
  return Math.ceil((Math.max(mtu, SMALLEST_MTU) + VLAN_TAG + HEADER_ROOM + FOOTER) / 64) * 64
}

/** The same for a guest that takes large packets in parts: each part is work for it, so that it gets larger ones where its buffer of `byteLength` bytes has enough of them. */
export function coalescingSectionSizeOf(mtu: number, byteLength: number): number {
  const size = sectionSizeOf(mtu)
  return byteLength < COALESCING_SECTION * COALESCING_SECTIONS ? size : Math.max(size, COALESCING_SECTION)
}

/** A packet that the guest has, as saved state. */
export interface PacketInFlight {
  readonly channel: number
  readonly sections: readonly number[]
}

/** Account of the sections. */
export class ReceiveBuffer {
  readonly map: BufferMap
  readonly gpadlId: number
  /** The guest's number for it, which packets name as their page set. */
  readonly id: number
  readonly sectionSize: number
  readonly sectionCount: number
  /** Bytes of a message that fit in a section. */
  readonly capacity: number
  readonly #free: Int32Array
  #freeCount: number
  /** The next section of the same packet. */
  readonly #next: Int32Array
  /** Of the first section of a packet that the guest has: 1 + the channel that it was sent on. */
  readonly #sentOn: Int16Array
  readonly #reserve: number

  constructor(map: BufferMap, gpadlId: number, id: number, sectionSize: number) {
    this.map = map
    this.gpadlId = gpadlId
    this.id = id
    this.sectionSize = sectionSize
    this.sectionCount = Math.floor(map.byteLength / sectionSize)
    this.capacity = sectionSize - FOOTER
    this.#free = new Int32Array(this.sectionCount)
    // The first ones on top.
    for (let at = 0; at < this.sectionCount; at++) this.#free[at] = this.sectionCount - 1 - at
    this.#freeCount = this.sectionCount
    this.#next = new Int32Array(this.sectionCount).fill(NO_SECTION)
    this.#sentOn = new Int16Array(this.sectionCount)
    this.#reserve = Math.min(CONTROL_RESERVE, this.sectionCount >>> 2)
  }

  /** Sections that received frames may take now. */
  get available(): number {
    return Math.max(0, this.#freeCount - this.#reserve)
  }

  /** Sections that nothing is in. */
  get freeCount(): number {
    return this.#freeCount
  }

  /** Take a section; NO_SECTION when there is none. For frames, look at `available` before. */
  take(): number {
    if (this.#freeCount === 0) return NO_SECTION
    const section = this.#free[--this.#freeCount] as number
    this.#next[section] = NO_SECTION
    return section
  }

  /** Put a section behind the last one of a chain. */
  link(last: number, section: number): void {
    this.#next[last] = section
  }

  /** A packet goes to the guest: its chain is in flight. */
  sent(first: number, channel: number): void {
    this.#sentOn[first] = channel + 1
  }

  /** Give a chain back that is not in flight. */
  release(first: number): void {
    for (let section = first; section !== NO_SECTION; ) {
      const next = this.#next[section] as number
      this.#next[section] = NO_SECTION
      this.#free[this.#freeCount++] = section
      section = next
    }
  }

  /** The guest has completed a packet. False: it has none with that first section from that channel. */
  complete(first: number, channel: number): boolean {
    if (!(first >= 0 && first < this.sectionCount) || this.#sentOn[first] !== channel + 1) return false
    this.#sentOn[first] = 0
    this.release(first)
    return true
  }

  /** The guest closed a channel: what it has from it is free. */
  closed(channel: number): void {
    for (let first = 0; first < this.sectionCount; first++) this.complete(first, channel)
  }

  /** Where a section begins in the buffer. */
  place(section: number): number {
    return section * this.sectionSize
  }

  /** The packets that the guest has. */
  saveInFlight(): PacketInFlight[] {
    const packets: PacketInFlight[] = []
    for (let first = 0; first < this.sectionCount; first++) {
      const sentOn = this.#sentOn[first] as number
      if (sentOn === 0) continue
      const sections: number[] = []
      for (let section = first; section !== NO_SECTION; section = this.#next[section] as number) sections.push(section)
      packets.push({ channel: sentOn - 1, sections })
    }
    return packets
  }

  /** Take over what {@link ReceiveBuffer.saveInFlight} gave. False: that cannot be. */
  restoreInFlight(packets: readonly PacketInFlight[]): boolean {
    const taken = new Set<number>()
    for (const { sections } of packets) {
      if (sections.length === 0) return false
      for (const section of sections) {
        if (!(section >= 0 && section < this.sectionCount) || taken.has(section)) return false
        taken.add(section)
      }
    }
    this.#freeCount = 0
    for (let section = this.sectionCount - 1; section >= 0; section--)
      if (!taken.has(section)) this.#free[this.#freeCount++] = section
    for (const { channel, sections } of packets) {
      sections.forEach((section, index) => {
        this.#next[section] = sections[index + 1] ?? NO_SECTION
      })
      this.#sentOn[sections[0] as number] = channel + 1
    }
    return true
  }
}
