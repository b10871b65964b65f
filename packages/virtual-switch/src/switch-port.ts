// One port of the switch. A frame that its receiver has no room for stays with its sender, who is told when there is room: between adapters nothing is lost that way, and the switch
// keeps nothing. A receiver that takes nothing for a while holds nobody up for longer: what comes for it then is dropped.

import { Frame, FrameConversion, isMulticast, parseMacAddress, readMacAddress } from '@partita/ethernet'
import {
  type Clock,
  ETHERNET_HEADER_LENGTH,
  FRAME_FLAG,
  MAXIMUM_FRAME_LENGTH,
  type NetworkAdapter,
  type NetworkFrame,
  type NetworkPort,
  type Timer,
} from '@partita/interface'
import { noTraffic, type PortCounters } from './port-counters.ts'
import { classify, isMember, isTagged, type PortSettings } from './port-settings.ts'
import { RateLimit } from './rate-limit.ts'

/** Nanoseconds that a receiver without room may hold its senders up. */
export const STALL_TIME = 100e6

const ALL_FLAGS: number =
  FRAME_FLAG.CHECKSUM_PARTIAL | FRAME_FLAG.CHECKSUM_VALID | FRAME_FLAG.VLAN | FRAME_FLAG.GSO_TCP4 | FRAME_FLAG.GSO_TCP6
const GSO: number = FRAME_FLAG.GSO_TCP4 | FRAME_FLAG.GSO_TCP6
/** Ethernet, IPv6 and TCP: what tells one frame of a connection from the next. */
const HEADER_COMPARED = 74
const TAG_LENGTH = 4
const ADDRESSES_LENGTH = 12
const TAG_TYPE = 0x8100

/** What the switch does for its ports. */
export interface SwitchFabric {
  readonly clock: Clock
  readonly mtu: number
  readonly linkSpeed: number
  /** Where frames for an address go; `undefined`: to all. */
  learn(vlan: number, address: number, port: SwitchPort): void
  find(vlan: number, address: number): SwitchPort | undefined
  readonly ports: ReadonlySet<SwitchPort>
  remove(port: SwitchPort): void
}

/** Sees what goes through a port. */
export interface PortObserver {
  /** `inbound`: from the adapter. Frames are as the adapter gave or got them. */
  frame(port: SwitchPort, frame: NetworkFrame, inbound: boolean): void
}

/** A port, with an adapter at it. */
export class SwitchPort implements NetworkPort {
  readonly accepts: number = ALL_FLAGS
  /** What it may do. */
  readonly settings: PortSettings
  /** Who is connected. */
  readonly adapter: NetworkAdapter
  /** What has passed since it was connected. */
  readonly counters: PortCounters = noTraffic()
  readonly #fabric: SwitchFabric
  readonly #observers: Set<PortObserver> = new Set()
  readonly #sendLimit: RateLimit
  readonly #receiveLimit: RateLimit
  readonly #conversion: FrameConversion = new FrameConversion()
  readonly #stallTimer: Timer
  /** Ports whose frame the adapter here had no room for. */
  readonly #waiting: Set<SwitchPort> = new Set()
  /** Ports that got frames from here since the last end of a batch. */
  readonly #reached: Set<SwitchPort> = new Set()
  /** The frame as it is inside of the switch, with its tag beside it. */
  readonly #inside: Frame = new Frame()
  readonly #outside: Frame = new Frame()
  /** For a frame whose tag has to be taken from its bytes. */
  #untagged: Uint8Array | undefined
  #address: number
  #linkUp = true
  /** The adapter has no room and has not said that it has again. */
  #full = false
  /** It has been so for long. */
  #stalled = false
  #delivering = false
  #sending = false
  /** The adapter sent out of turn, and was told to wait. */
  #sentOutOfTurn = false
  /** How many segments of the frame that comes again its one receiver has already, and who that is; how long that frame is, and how it begins. */
  #segmentsTaken = 0
  #segmentsTakenBy: SwitchPort | undefined
  #pendingLength = 0
  readonly #pendingHeader: Uint8Array = new Uint8Array(HEADER_COMPARED)
  #disposed = false

  constructor(fabric: SwitchFabric, adapter: NetworkAdapter, settings: PortSettings) {
    this.#fabric = fabric
    this.adapter = adapter
    this.settings = settings
    this.#address = parseMacAddress(adapter.macAddress) ?? 0
    this.#sendLimit = new RateLimit(fabric.clock, settings.sendLimit, () => this.#wake(this))
    this.#receiveLimit = new RateLimit(fabric.clock, settings.receiveLimit, () => this.#wakeWaiting())
    this.#stallTimer = fabric.clock.createTimer(() => this.#stall())
  }

  get mtu(): number {
    return this.#fabric.mtu
  }

  get linkSpeed(): number {
    const { sendLimit } = this.settings
    return sendLimit === 0 ? this.#fabric.linkSpeed : sendLimit
  }

  get linkUp(): boolean {
    return this.#linkUp
  }

  /** Plug the cable in, or pull it. */
  set linkUp(up: boolean) {
    if (up === this.#linkUp) return
    this.#linkUp = up
    if (!up) this.#wakeWaiting()
    this.adapter.portChanged()
  }

  /** Have `observer` see the frames of this port until the result is disposed of. */
  observe(observer: PortObserver): Disposable {
    this.#observers.add(observer)
    return { [Symbol.dispose]: () => void this.#observers.delete(observer) }
  }

  // ── from the adapter ──

  send(frame: NetworkFrame): boolean {
    if (this.#disposed || !this.#linkUp) return true
    if (this.#sending) {
      // From inside of a frame's delivery: a receiver has answered at once, and this adapter answers that.
      this.#sentOutOfTurn = true
      return false
    }
    this.#sending = true
    let taken: boolean
    try {
      taken = this.#forward(frame)
    } finally {
      this.#sending = false
    }
    if (this.#sentOutOfTurn) {
      this.#sentOutOfTurn = false
      if (taken) this.#wake(this)
    }
    return taken
  }

  #forward(frame: NetworkFrame): boolean {
    const { counters, settings } = this
    const length = frame.end - frame.start
    const longest = (frame.flags & GSO) === 0 ? this.mtu + ETHERNET_HEADER_LENGTH + TAG_LENGTH : MAXIMUM_FRAME_LENGTH
    if (length < ETHERNET_HEADER_LENGTH || length > longest) {
      counters.droppedMalformed++
      return true
    }
    const source = readMacAddress(frame.bytes, frame.start + 6)
    if (isMulticast(source) || (!settings.spoofing && source !== this.#address)) {
      counters.droppedSpoofed++
      return true
    }
    if (!this.#sendLimit.mayPass()) return false
    const inside = this.#classify(frame)
    if (inside === undefined) {
      counters.droppedVlan++
      return true
    }
    const vlan = inside.vlan & 0xfff
    const destination = readMacAddress(frame.bytes, frame.start)
    this.#fabric.learn(vlan, source, this)
    const receiver = isMulticast(destination) ? undefined : this.#fabric.find(vlan, destination)
    if (length !== this.#pendingLength || !this.#isPending(frame)) {
      this.#segmentsTaken = 0
      this.#segmentsTakenBy = undefined
      this.#pendingLength = length
      for (let i = 0; i < HEADER_COMPARED; i++) this.#pendingHeader[i] = frame.bytes[frame.start + i] ?? 0
      // Before it is delivered: a receiver may answer at once. One that comes again was seen.
      for (const observer of this.#observers) observer.frame(this, frame, true)
    }
    if (receiver === undefined) this.#flood(inside, vlan)
    else if (receiver !== this && !receiver.#deliver(inside, vlan, this, true)) return false
    this.#segmentsTaken = 0
    this.#segmentsTakenBy = undefined
    this.#pendingLength = 0
    counters.framesIn++
    counters.bytesIn += length
    this.#sendLimit.spend(length)
    return true
  }

  /** Whether a frame begins as the one that is awaited again. A sender may have thought of something else to send meanwhile. */
  #isPending({ bytes, start }: NetworkFrame): boolean {
    for (let i = 0; i < HEADER_COMPARED; i++) if (this.#pendingHeader[i] !== (bytes[start + i] ?? 0)) return false
    return true
  }

  sendEnd(): void {
    // An adapter that answers at once ends batches of its own meanwhile.
    for (const port of this.#reached) {
      this.#reached.delete(port)
      if (!port.#disposed) port.adapter.receiveEnd()
    }
  }

  resume(): void {
    this.#full = false
    this.#stalled = false
    this.#stallTimer.cancel()
    this.#wakeWaiting()
  }

  adapterChanged(): void {
    // With protection on, the address is the one that the adapter was connected with.
    if (this.settings.spoofing) this.#address = parseMacAddress(this.adapter.macAddress) ?? 0
  }

  /** The frame with its tag beside it, `vlan` always set; `undefined` when this port must not send it. */
  #classify(frame: NetworkFrame): Frame | undefined {
    const inside = this.#inside.like(frame)
    let tci: number | undefined
    if ((frame.flags & FRAME_FLAG.VLAN) !== 0) tci = frame.vlan
    else if (this.#hasTag(frame)) {
      tci = this.#takeTag(frame, inside)
    }
    const vlan = classify(this.settings.vlan, tci)
    if (vlan === undefined) return undefined
    inside.vlan = ((tci ?? 0) & 0xf000) | vlan
    return inside
  }

  #hasTag({ bytes, start, end }: NetworkFrame): boolean {
    const at = start + ADDRESSES_LENGTH
    return (
      (((bytes[at] as number) << 8) | (bytes[at + 1] as number)) === TAG_TYPE &&
      end - start >= ETHERNET_HEADER_LENGTH + TAG_LENGTH
    )
  }

  #takeTag(frame: NetworkFrame, inside: Frame): number {
    const { bytes, start, end } = frame
    this.#untagged ??= new Uint8Array(MAXIMUM_FRAME_LENGTH + TAG_LENGTH)
    const copy = this.#untagged
    copy.set(bytes.subarray(start, start + ADDRESSES_LENGTH))
    copy.set(bytes.subarray(start + ADDRESSES_LENGTH + TAG_LENGTH, end), ADDRESSES_LENGTH)
    inside.bytes = copy
    inside.start = 0
    inside.end = end - start - TAG_LENGTH
    inside.checksumStart -= TAG_LENGTH
    inside.checksumOffset -= TAG_LENGTH
    const at = start + ADDRESSES_LENGTH + 2
    return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
  }

  #flood(frame: NetworkFrame, vlan: number): void {
    for (const port of this.#fabric.ports) {
      if (port !== this && isMember(port.settings.vlan, vlan)) port.#deliver(frame, vlan, this, false)
    }
  }

  // ── to the adapter ──

  /** False: no room, and `sender` will be told. When it `waits` not, the frame is dropped then. */
  #deliver(frame: NetworkFrame, vlan: number, sender: SwitchPort, waits: boolean): boolean {
    if (!this.#linkUp) return true
    if (!isMember(this.settings.vlan, vlan)) {
      this.counters.droppedVlan++
      return true
    }
    if (this.#stalled) {
      this.counters.droppedNoRoom++
      return true
    }
    if (this.#full || this.#delivering || !this.#receiveLimit.mayPass()) return this.#refuse(sender, waits)
    this.#delivering = true
    let taken: boolean
    try {
      taken = this.#handOver(this.#tag(frame, vlan), sender, waits)
    } finally {
      this.#delivering = false
    }
    if (taken) {
      if (!this.#full) this.#wakeWaiting()
      return true
    }
    this.#full = true
    this.#stallTimer.arm(this.#fabric.clock.now() + STALL_TIME)
    return this.#refuse(sender, waits)
  }

  #refuse(sender: SwitchPort, waits: boolean): boolean {
    if (!waits) {
      this.counters.droppedNoRoom++
      return true
    }
    this.#waiting.add(sender)
    return false
  }

  #tag(frame: NetworkFrame, vlan: number): Frame {
    const outside = this.#outside.like(frame)
    const tagged = isTagged(this.settings.vlan, vlan)
    outside.flags = tagged ? frame.flags | FRAME_FLAG.VLAN : frame.flags & ~FRAME_FLAG.VLAN
    return outside
  }

  /** False when the adapter had no room for one of the parts; the next try of a sender that `waits` goes on with that one. */
  #handOver(frame: NetworkFrame, sender: SwitchPort, waits: boolean): boolean {
    const { adapter, counters } = this
    // What another port has of it counts for that port alone.
    const first = waits && sender.#segmentsTakenBy === this ? sender.#segmentsTaken : 0
    if (this.#conversion.begin(frame, adapter.accepts, first) === 0) {
      counters.droppedMalformed++
      return true
    }
    sender.#reached.add(this)
    let taken = first
    for (let part = this.#conversion.next(); part !== undefined; part = this.#conversion.next()) {
      const length = part.end - part.start
      if (!adapter.receive(part)) {
        if (waits) {
          sender.#segmentsTaken = taken
          sender.#segmentsTakenBy = this
        }
        return false
      }
      taken++
      counters.framesOut++
      counters.bytesOut += length
      this.#receiveLimit.spend(length)
      for (const observer of this.#observers) observer.frame(this, part, false)
    }
    return true
  }

  #stall(): void {
    this.#stalled = true
    this.#wakeWaiting()
  }

  #wakeWaiting(): void {
    if (this.#waiting.size === 0) return
    // Who has to wait again meanwhile is not woken again.
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const port of waiting) this.#wake(port)
  }

  #wake(port: SwitchPort): void {
    if (!port.#disposed) port.adapter.writable()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    this.#linkUp = false
    this.#sendLimit[Symbol.dispose]()
    this.#receiveLimit[Symbol.dispose]()
    this.#stallTimer.cancel()
    this.#fabric.remove(this)
    this.#wakeWaiting()
  }
}
