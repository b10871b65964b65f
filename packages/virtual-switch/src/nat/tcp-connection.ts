// One TCP connection of a guest: the guest's end speaks TCP (RFC 9293) with the gateway, the other end is a socket of the host. What the host's socket has no room for closes the window to
// the guest; what the guest has no room for stops the reading from the socket. Frames between guest and gateway are hardly ever lost, so there is no congestion window; those that are lost are
// sent again from the first that is missing.

import type { NetworkFrame } from '@partita/interface'
import { ByteChunks } from './byte-chunks.ts'
import type { Flow } from './flow-table.ts'
import type { IpAddress } from './ip-address.ts'
import type { TcpSocket } from './nat-host.ts'
import type { PacketBuilder } from './packet-builder.ts'
import { LARGEST_WINDOW, ReceiveWindow, WINDOW_SCALE } from './receive-window.ts'
import { RetransmissionTimer } from './retransmission-timer.ts'
import { SegmentWriter, type TcpFlow } from './segment-writer.ts'
import { sequenceAfter, sequenceDistance, TCP_FLAG, type TcpSegment } from './tcp-segment.ts'

/** Bytes that the host's socket may hold of what the guest sends. */
const RECEIVE_LIMIT = 1024 * 1024
/** A window is no more than this part of the room that there is for all: it has to do for others, too. */
const SHARE = 1 / 8
/** Bytes that are held of what the host sends, until the guest has acknowledged them. */
const SEND_LIMIT = 1024 * 1024
/** As much as the host's socket reads at once: more follows. */
const FULL_CHUNK = 64 * 1024
/** Segments that are acknowledged at once after one whose acknowledgement has waited for nothing. */
const PROMPT_SEGMENTS = 16
/** How long the end of a connection that the host ended first is remembered, for a FIN that comes again. */
const TIME_WAIT = 2e9
/** How long the host's socket may take after that to hand over what the guest has sent. */
const LINGER = 300e9
/** Segments that acknowledge nothing new, after which the first missing one is sent again (RFC 5681, 3.2). */
const DUPLICATES = 3
/** Full segments that go again at a time. */
const SEGMENTS_AGAIN = 10

/** What a connection needs of the gateway. */
export interface TcpGateway {
  readonly builder: PacketBuilder
  readonly mtu: number
  readonly now: number
  /** False: no room now; {@link TcpConnection.pump} is called when there is. */
  send(frame: NetworkFrame): boolean
  /** The MAC address of a guest, or `undefined` after asking for it. */
  resolve(address: IpAddress): number | undefined
  /** Whether all connections together hold so much that none should read on. */
  readonly crowded: boolean
  /** Bytes of memory more, or fewer, that a connection holds for its guest. */
  held(bytes: number): void
  /** Bytes of memory that the host's sockets may still hold, and how many more, or fewer, one holds now. */
  readonly room: number
  buffered(bytes: number): void
  /** It reads from the host no more: its turn comes when there is room. */
  waitToRead(connection: TcpConnection): void
  /** An acknowledgement is due at the end of the batch, or a little later while the connection is {@link TcpConnection.patient}. */
  acknowledgeLater(connection: TcpConnection): void
  /** The port had no room for a frame of it: its turn comes, after those that wait already. */
  blocked(connection: TcpConnection): void
  remove(connection: TcpConnection): void
}

/** Where a connection is. */
export type TcpState = 'connecting' | 'syn-received' | 'syn-sent' | 'established' | 'time-wait' | 'closed'

/** A connection. */
export class TcpConnection implements Flow, TcpFlow {
  readonly key: Uint8Array
  next?: this | undefined
  readonly guest: IpAddress
  readonly guestPort: number
  readonly remote: IpAddress
  readonly remotePort: number
  readonly #gateway: TcpGateway
  readonly #writer: SegmentWriter
  readonly #chunks: ByteChunks = new ByteChunks()
  #socket: TcpSocket | undefined
  state: TcpState
  guestMac: number | undefined
  /** When the guest or the host last had something to say, nanoseconds. */
  lastUsed: number
  /** An acknowledgement is due, at this time at the latest; and whether the gateway has it in its lists: of the batch, and of what is put off. The gateway's own. */
  acknowledging = false
  acknowledgeBy = 0
  inBatch = false
  delayed = false
  /** The first sequence number that the guest has not acknowledged, and the next one to send. */
  #una: number
  #nxt: number
  /** The end of a segment that the port had no room for: the guest may have got its beginning. */
  #offered: number
  /** Where sending was when something was found missing: until all before it is acknowledged, what is missing goes again with each acknowledgement (RFC 6582). */
  #recover: number | undefined
  #rcvNxt = 0
  /** The window that the guest has given, bytes, and the numbers of the segment that it stood in. */
  #sendWindow = 0
  #sendScale = -1
  #windowSequence = 0
  #windowAcknowledgement = 0
  readonly #window: ReceiveWindow = new ReceiveWindow()
  readonly #timer: RetransmissionTimer = new RetransmissionTimer()
  #mss = 536
  #duplicates = 0
  /** Bytes that came since the last acknowledgement, and how many segments more are acknowledged at once. */
  #unacknowledged = 0
  #prompt = 0
  #paused = false
  /** Bytes that the host's socket held when it was last looked at. */
  #buffered = 0
  /** The guest was given less of a window than it may have. */
  #short = false
  /** The host sends as fast as it is read: what is less than a segment waits for what follows. */
  #bulk = false
  /** The host has ended; FIN is behind the last byte. */
  #ending = false
  #finSent = false
  #finAcknowledged = false
  #finReceived = false

  constructor(
    gateway: TcpGateway,
    flow: TcpFlow & { readonly key: Uint8Array },
    state: 'connecting' | 'syn-sent',
    initialSequence: number,
  ) {
    this.#gateway = gateway
    this.#writer = new SegmentWriter(gateway.builder, flow)
    this.key = flow.key
    this.guest = flow.guest
    this.guestPort = flow.guestPort
    this.remote = flow.remote
    this.remotePort = flow.remotePort
    this.state = state
    this.#una = initialSequence
    this.#nxt = initialSequence
    this.#offered = initialSequence
    this.lastUsed = gateway.now
  }

  /** When something is to be sent again, or forgotten; infinite for never. */
  get deadline(): number {
    return this.#timer.deadline
  }

  /** Both ends know that it is over: nothing is lost with it. */
  get over(): boolean {
    return this.state === 'time-wait' && this.#socket === undefined
  }

  /** The host's end. */
  attach(socket: TcpSocket): void {
    this.#socket = socket
    if (this.#gateway.crowded) this.pause()
  }

  // ── the beginning ──

  /** The guest's SYN has come; the host is connecting. */
  begin(segment: TcpSegment, mac: number): void {
    this.guestMac = mac
    this.#rcvNxt = sequenceAfter(segment.sequence, 1)
    this.#takeSyn(segment)
  }

  #takeSyn(segment: TcpSegment): void {
    this.#mss = Math.min(segment.mss, this.#writer.mss(this.#gateway.mtu))
    this.#sendScale = segment.windowScale
    this.#sendWindow = segment.window
    this.#windowSequence = segment.sequence
    this.#windowAcknowledgement = segment.acknowledgement
    this.#window.open(this.#rcvNxt, 0)
  }

  /** The host is connected: answer the guest's SYN. */
  connected(): void {
    if (this.state !== 'connecting') return
    this.state = 'syn-received'
    this.#advance(1)
    this.#sendSyn()
  }

  /** Begin a connection to the guest. */
  open(): void {
    this.#advance(1)
    this.#sendSyn()
  }

  /** That many sequence numbers more are sent. */
  #advance(count: number): void {
    this.#nxt = sequenceAfter(this.#nxt, count)
    if (sequenceDistance(this.#nxt, this.#offered) > 0) this.#offered = this.#nxt
  }

  #sendSyn(): void {
    this.#timer.arm(this.#gateway.now)
    this.guestMac ??= this.#gateway.resolve(this.guest)
    if (this.guestMac === undefined) return
    const answer = this.state === 'syn-received'
    const writer = this.#writer
    writer.sequence = this.#una
    writer.acknowledgement = answer ? this.#rcvNxt : 0
    writer.flags = answer ? TCP_FLAG.SYN | TCP_FLAG.ACK : TCP_FLAG.SYN
    // The window of a SYN is never scaled.
    writer.window = LARGEST_WINDOW
    if (answer) this.#window.open(this.#rcvNxt, LARGEST_WINDOW)
    const { mtu } = this.#gateway
    const scales = !answer || this.#sendScale >= 0
    this.#gateway.send(writer.syn(this.guestMac, writer.mss(mtu), scales ? WINDOW_SCALE : -1))
  }

  /** The guest's MAC address has become known. */
  neighbourKnown(mac: number): void {
    if (this.guestMac !== undefined) return
    this.guestMac = mac
    if (this.state === 'syn-sent') this.#sendSyn()
  }

  // ── from the guest ──

  /** A segment with a payload that is lent. */
  receive(segment: TcpSegment, payload: Uint8Array, mac: number): void {
    this.lastUsed = this.#gateway.now
    this.guestMac = mac
    if (this.state === 'connecting') {
      if ((segment.flags & TCP_FLAG.RST) !== 0) this.abort()
      return
    }
    if (this.state === 'syn-sent') {
      this.#receiveSynAnswer(segment)
      return
    }
    if ((segment.flags & TCP_FLAG.RST) !== 0) {
      // Only in the window: RFC 5961.
      if (segment.sequence === this.#rcvNxt) this.abort()
      else if (this.#inWindow(segment.sequence)) this.#acknowledge()
      return
    }
    if ((segment.flags & TCP_FLAG.SYN) !== 0) {
      if (this.state === 'syn-received') this.#sendSyn()
      else this.#acknowledge()
      return
    }
    const fin = (segment.flags & TCP_FLAG.FIN) !== 0
    if (!this.#isAcceptable(segment.sequence, payload.length + (fin ? 1 : 0))) {
      // Among others a probe whether this end is alive.
      this.#acknowledge()
      return
    }
    if ((segment.flags & TCP_FLAG.ACK) === 0 || !this.#takeAcknowledgement(segment, payload.length)) return
    if (payload.length > 0 || fin) this.#takePayload(segment, payload)
    else if (segment.sequence !== this.#rcvNxt) this.#acknowledge()
    this.pump()
  }

  #inWindow(sequence: number): boolean {
    const distance = sequenceDistance(sequence, this.#rcvNxt)
    return distance >= 0 && distance < this.#window.promised(this.#rcvNxt)
  }

  /** RFC 9293, 3.10.7.4: something of it is new, or it stands where the next one does. At the end of the window what it acknowledges counts. */
  #isAcceptable(sequence: number, length: number): boolean {
    const distance = sequenceDistance(sequence, this.#rcvNxt)
    return distance + length >= 0 && distance <= this.#window.promised(this.#rcvNxt)
  }

  #receiveSynAnswer(segment: TcpSegment): void {
    const acceptable = (segment.flags & TCP_FLAG.ACK) !== 0 && segment.acknowledgement === this.#nxt
    if ((segment.flags & TCP_FLAG.RST) !== 0) {
      if (acceptable) this.abort()
      return
    }
    if (!acceptable) {
      // Of a connection that was before (RFC 9293, 3.10.7.3).
      if ((segment.flags & TCP_FLAG.ACK) !== 0) this.#sendEmpty(segment.acknowledgement, TCP_FLAG.RST)
      return
    }
    if ((segment.flags & TCP_FLAG.SYN) === 0) return
    this.#rcvNxt = sequenceAfter(segment.sequence, 1)
    this.#takeSyn(segment)
    this.#una = segment.acknowledgement
    this.#establish()
    this.#acknowledge()
    this.pump()
  }

  #establish(): void {
    this.state = 'established'
    this.#timer.established()
    // The host may have sent as much as there is room for before the guest has answered.
    if (!this.#paused) this.#socket?.resume()
  }

  /** False when the segment is not of this connection. */
  #takeAcknowledgement(segment: TcpSegment, length: number): boolean {
    const acknowledged = sequenceDistance(segment.acknowledgement, this.#una)
    if (this.state === 'syn-received' && acknowledged !== 1) {
      // RFC 9293, 3.10.7.4: not of this connection.
      this.#sendEmpty(segment.acknowledgement, TCP_FLAG.RST)
      return false
    }
    if (
      sequenceDistance(segment.acknowledgement, this.#nxt) > 0 &&
      sequenceDistance(segment.acknowledgement, this.#offered) <= 0
    )
      this.#nxt = segment.acknowledgement
    const outstanding = sequenceDistance(this.#nxt, this.#una)
    if (acknowledged > outstanding) {
      this.#acknowledge()
      return false
    }
    if (acknowledged < 0) return true
    if (this.state === 'syn-received') {
      this.#una = segment.acknowledgement
      this.#establish()
    } else if (acknowledged > 0) this.#dropAcknowledged(acknowledged)
    const window = segment.window * 2 ** Math.max(0, this.#sendScale)
    if (this.#sendWindow === 0 && outstanding <= 1) this.#timer.answered()
    if (acknowledged === 0 && length === 0 && outstanding > 0 && window === this.#sendWindow) {
      // What goes again may itself be known to the guest, and is acknowledged once more: that says nothing.
      if (this.#recover === undefined && ++this.#duplicates === DUPLICATES) this.#sendAgain()
    } else if (acknowledged > 0) this.#duplicates = 0
    this.#takeWindow(segment, window)
    return true
  }

  /** A segment that is older than another says nothing of the window (RFC 9293, 3.10.7.4). */
  #takeWindow({ sequence, acknowledgement }: TcpSegment, window: number): void {
    const later = sequenceDistance(sequence, this.#windowSequence)
    if (later < 0 || (later === 0 && sequenceDistance(acknowledgement, this.#windowAcknowledgement) < 0)) return
    this.#sendWindow = window
    this.#windowSequence = sequence
    this.#windowAcknowledgement = acknowledgement
  }

  #dropAcknowledged(count: number): void {
    const { length } = this.#chunks
    const data = Math.min(count, length)
    const { cost } = this.#chunks
    this.#chunks.drop(data)
    this.#gateway.held(this.#chunks.cost - cost)
    this.#una = sequenceAfter(this.#una, count)
    const { now } = this.#gateway
    this.#timer.acknowledged(this.#una, now)
    if (this.#una === this.#nxt) this.#timer.disarm()
    else this.#timer.arm(now)
    if (this.#recover !== undefined) {
      if (sequenceDistance(this.#una, this.#recover) >= 0) this.#recover = undefined
      else this.#sendAgain()
    }
    if (this.#paused && this.#chunks.cost < SEND_LIMIT / 2) {
      if (this.#gateway.crowded) this.#gateway.waitToRead(this)
      else this.readOn()
    }
    if (count > data) {
      // FIN counts as one.
      this.#finSent = true
      this.#finAcknowledged = true
      this.#finish()
    }
  }

  #takePayload(segment: TcpSegment, payload: Uint8Array): void {
    const before = sequenceDistance(this.#rcvNxt, segment.sequence)
    if (before < 0 || this.#finReceived || before > payload.length) {
      // Something before it is missing, or all of it is known.
      this.#acknowledge()
      return
    }
    const room = this.#window.promised(this.#rcvNxt)
    const fresh = payload.length - before
    // Where memory is short, what comes is as good as lost, and comes again.
    const taken = Math.min(fresh, room, this.#gateway.room)
    if (taken > 0) {
      this.#socket?.write(payload.subarray(before, before + taken))
      this.#count()
      this.#rcvNxt = sequenceAfter(this.#rcvNxt, taken)
      this.#unacknowledged += taken
    }
    if ((segment.flags & TCP_FLAG.FIN) !== 0 && taken === fresh) {
      this.#rcvNxt = sequenceAfter(this.#rcvNxt, 1)
      this.#finReceived = true
      this.#socket?.end()
      if (this.#finAcknowledged) this.#acknowledge()
      else this.#gateway.acknowledgeLater(this)
      this.#finish()
    } else if (taken < payload.length) this.#acknowledge()
    else this.#gateway.acknowledgeLater(this)
  }

  /** Whether the acknowledgement may wait for something to go with it: for less than a segment, unless that was in vain a short while ago. */
  get patient(): boolean {
    return this.#prompt === 0 && this.#unacknowledged < this.#mss
  }

  /** An acknowledgement has waited for as long as it may (RFC 5681, 4.2). */
  acknowledgeOverdue(): void {
    this.acknowledge()
    this.#prompt = PROMPT_SEGMENTS
  }

  // ── from the host ──

  /** Data for the guest. */
  hostData(chunk: Uint8Array): void {
    // Nothing follows an end, and nothing is for a connection that is gone.
    if (this.#ending || this.state === 'closed') return
    this.lastUsed = this.#gateway.now
    this.#bulk = chunk.length >= FULL_CHUNK
    const { cost } = this.#chunks
    this.#chunks.push(chunk)
    if (this.#chunks.cost >= SEND_LIMIT) {
      this.#paused = true
      this.#socket?.pause()
    }
    this.#gateway.held(this.#chunks.cost - cost)
    this.pump()
  }

  /** Read no more from the host, until its turn comes. */
  pause(): void {
    if (this.#ending || this.#socket === undefined) return
    this.#gateway.waitToRead(this)
    this.#paused = true
    this.#socket.pause()
  }

  /** Whether it has stopped reading from the host. */
  get paused(): boolean {
    return this.#paused
  }

  /** Read from the host again. */
  readOn(): void {
    if (!this.#paused || this.#chunks.cost >= SEND_LIMIT) return
    this.#paused = false
    if (this.state !== 'syn-sent') this.#socket?.resume()
  }

  /** The host sends nothing more. */
  hostEnded(): void {
    this.#ending = true
    this.pump()
  }

  /** What the host's socket holds has changed. */
  #count(): void {
    const buffered = this.#socket?.buffered ?? 0
    this.#gateway.buffered(buffered - this.#buffered)
    this.#buffered = buffered
  }

  /** The host's socket, or all of them together, may have room again. */
  hostDrained(): void {
    this.#count()
    // Only a window that has grown much is worth a segment.
    const room = this.#window.promised(this.#rcvNxt)
    const space = this.#sendScale >= 0 ? this.#space() : Math.min(LARGEST_WINDOW, this.#space())
    if (this.state === 'established' && room < RECEIVE_LIMIT / 4 && space - room >= 2 * this.#mss) this.#acknowledge()
  }

  /** Now and then: where the guest was told of less than all the room that there can be, or the host's socket holds something, there may be more. */
  look(): void {
    if (this.#buffered > 0 || this.#short) this.hostDrained()
  }

  /** The host's socket is gone. */
  hostClosed(error: string | undefined): void {
    this.#socket = undefined
    this.#count()
    if (error === undefined) {
      this.hostEnded()
      return
    }
    if (this.state !== 'connecting' && this.state !== 'time-wait') this.#reset()
    this.#close()
  }

  // ── to the guest ──

  /** Send what there is to send. False when the port has no room for it. */
  pump(): boolean {
    if (this.state !== 'established') return true
    for (;;) {
      const outstanding = sequenceDistance(this.#nxt, this.#una)
      const unsent = this.#chunks.length - outstanding + (this.#finSent && !this.#finAcknowledged ? 1 : 0)
      if (unsent <= 0) break
      const largest = this.#writer.largest(this.#mss)
      let length = Math.min(unsent, this.#sendWindow - outstanding, largest)
      if (length <= 0) break
      const last = length === unsent && (this.#ending || !this.#bulk)
      if (!last && outstanding > 0) {
        // Little is worth sending at the end of the data, or when nothing is on its way (RFC 9293, 3.8.6.2.1 and 3.7.4).
        const worthwhile = this.#bulk ? Math.min(largest, this.#sendWindow) / 2 : 0
        if (length < Math.max(this.#mss, worthwhile)) break
        length -= length % this.#mss
      }
      if (!this.#sendData(outstanding, length, length === unsent)) return false
    }
    if (this.#ending && !this.#finSent && sequenceDistance(this.#nxt, this.#una) === this.#chunks.length) {
      this.#advance(1)
      this.#finSent = true
      this.#sendFin()
    }
    // A closed window is asked about.
    if (this.deadline === Number.POSITIVE_INFINITY && this.#chunks.length > 0) this.#timer.arm(this.#gateway.now)
    return true
  }

  #sendData(offset: number, length: number, push: boolean): boolean {
    const { guestMac } = this
    if (guestMac === undefined) return true
    this.#prepare(sequenceAfter(this.#una, offset), TCP_FLAG.ACK | (push ? TCP_FLAG.PSH : 0))
    const frame = this.#writer.data(guestMac, this.#chunks, offset, length, this.#mss)
    if (!this.#gateway.send(frame)) {
      const end = sequenceAfter(this.#una, offset + length)
      if (sequenceDistance(end, this.#offered) > 0) this.#offered = end
      this.#gateway.blocked(this)
      return false
    }
    const beyond = sequenceDistance(sequenceAfter(this.#una, offset + length), this.#nxt)
    if (beyond > 0) {
      this.#advance(beyond)
      this.#timer.sent(this.#nxt, this.#gateway.now)
    }
    if (this.deadline === Number.POSITIVE_INFINITY) this.#timer.arm(this.#gateway.now)
    return true
  }

  #sendFin(): void {
    this.#sendEmpty(sequenceAfter(this.#nxt, -1), TCP_FLAG.FIN | TCP_FLAG.ACK)
    this.#timer.arm(this.#gateway.now)
  }

  /** An acknowledgement with the window as it is now. */
  acknowledge(): void {
    if (this.state === 'established' || this.state === 'time-wait') this.#acknowledge()
    this.acknowledging = false
  }

  #acknowledge(): void {
    this.#sendEmpty(this.#nxt, TCP_FLAG.ACK)
  }

  #reset(): void {
    this.#sendEmpty(this.#nxt, TCP_FLAG.RST | TCP_FLAG.ACK)
  }

  #sendEmpty(sequence: number, flags: number): void {
    if (this.guestMac === undefined) return
    this.#prepare(sequence, flags)
    this.#gateway.send(this.#writer.empty(this.guestMac))
  }

  /** What stands in the header of the next segment. Every one acknowledges. */
  #prepare(sequence: number, flags: number): void {
    if (this.#prompt > 0 && this.acknowledging) this.#prompt--
    this.acknowledging = false
    this.#unacknowledged = 0
    const writer = this.#writer
    writer.sequence = sequence
    writer.acknowledgement = this.#rcvNxt
    writer.flags = flags
    // Windows are scaled when both sides have said so.
    const space = this.#space()
    this.#short = space < RECEIVE_LIMIT
    writer.window = this.#window.field(this.#rcvNxt, space, this.#mss, this.#sendScale >= 0)
  }

  /** Bytes that the host's socket takes. */
  #space(): number {
    if (this.#finReceived) return 0
    const room = Math.floor(this.#gateway.room * SHARE)
    return Math.max(0, Math.min(RECEIVE_LIMIT - (this.#socket?.buffered ?? 0), room))
  }

  // ── time ──

  /** The deadline has passed. */
  expire(): void {
    const { now } = this.#gateway
    if (this.state === 'time-wait') {
      // The host's socket may still be handing over what the guest has sent.
      if (this.#socket === undefined || now - this.lastUsed > LINGER) this.#close()
      else this.#timer.deadline = now + TIME_WAIT
      return
    }
    if (!this.#timer.expired(now)) {
      this.resetBoth()
      return
    }
    if (this.state === 'syn-received' || this.state === 'syn-sent') this.#sendSyn()
    else if (this.#una === this.#nxt && this.#chunks.length === 0) this.#timer.disarm()
    else if (this.#sendWindow === 0 && this.#chunks.length > 0) {
      // A guest that keeps its window closed is asked with one byte, and answers while it is alive.
      this.#sendData(0, 1, true)
    } else this.#sendAgain()
  }

  /** Send the first segments that are not acknowledged once more. */
  #sendAgain(): void {
    this.#recover ??= this.#nxt
    this.#timer.sentAgain()
    const sent = Math.min(sequenceDistance(this.#nxt, this.#una), this.#chunks.length)
    if (sent > 0) this.#sendData(0, Math.min(sent, SEGMENTS_AGAIN * this.#mss, this.#writer.largest(this.#mss)), false)
    else if (this.#finSent) this.#sendFin()
  }

  // ── the end ──

  /** Both sides have ended, and the guest knows it. */
  #finish(): void {
    if (!this.#finReceived || !this.#finAcknowledged) return
    this.state = 'time-wait'
    this.#timer.deadline = this.#gateway.now + TIME_WAIT
  }

  /** Away with both ends. */
  abort(): void {
    this.#close()
  }

  /** Away with both ends, and tell the guest. */
  resetBoth(): void {
    if (this.state !== 'connecting') this.#reset()
    this.#close()
  }

  #close(): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.#timer.disarm()
    this.#socket?.abort()
    this.#socket = undefined
    this.#count()
    const { cost } = this.#chunks
    this.#chunks.clear()
    this.#gateway.remove(this)
    this.#gateway.held(-cost)
  }
}
