// One TCP connection of a guest: the guest's end speaks TCP (RFC 9293) with the gateway, the other end is a socket of the host. What the host's socket has no room for closes the window to
// the guest; what the guest has no room for stops the reading from the socket. Frames between guest and gateway are hardly ever lost, so there is no congestion window; those that are lost are
// sent again from the first that is missing.

import { IP_PROTOCOL } from '@partita/ethernet'
import type { NetworkFrame } from '@partita/interface'
import { ByteChunks } from './byte-chunks.ts'
import type { Flow } from './flow-table.ts'
import { type IpAddress, isIpv4 } from './ip-address.ts'
import type { TcpSocket } from './nat-host.ts'
import type { PacketBuilder } from './packet-builder.ts'
import {
  sequenceAfter,
  sequenceDistance,
  TCP_FLAG,
  TCP_HEADER_LENGTH,
  type TcpSegment,
  writeSynOptions,
  writeTcpHeader,
} from './tcp-segment.ts'

/** Bytes that the host's socket may hold of what the guest sends. */
const RECEIVE_LIMIT = 1024 * 1024
/** Bytes that are held of what the host sends, until the guest has acknowledged them. */
const SEND_LIMIT = 1024 * 1024
/** The gateway's windows are in units of 128 bytes. */
const WINDOW_SCALE = 7
const LARGEST_WINDOW = 0xffff
/** The largest segment, headers included: what fits into an IP packet. */
const LARGEST_PACKET = 65_535
/** RFC 6298, 2.4: not below a second, since a guest may be away for long on a busy host. */
const FIRST_TIME_OUT = 1e9
const LONGEST_TIME_OUT = 10e9
const MAXIMUM_TRIES = 9
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
  /** Bytes more, or fewer, that a connection holds. */
  held(bytes: number): void
  /** An acknowledgement is due at the end of the batch. */
  acknowledgeLater(connection: TcpConnection): void
  /** The port had no room for a frame of it: its turn comes, after those that wait already. */
  blocked(connection: TcpConnection): void
  remove(connection: TcpConnection): void
}

/** Where a connection is. */
export type TcpState = 'connecting' | 'syn-received' | 'syn-sent' | 'established' | 'time-wait' | 'closed'

/** A connection. */
export class TcpConnection implements Flow {
  readonly key: Uint8Array
  next?: this | undefined
  readonly guest: IpAddress
  readonly guestPort: number
  /** The other end, as the guest sees it. */
  readonly remote: IpAddress
  readonly remotePort: number
  readonly #gateway: TcpGateway
  readonly #ipHeaderLength: number
  readonly #chunks: ByteChunks = new ByteChunks()
  #socket: TcpSocket | undefined
  state: TcpState
  guestMac: number | undefined
  /** When the guest or the host last had something to say, nanoseconds. */
  lastUsed: number
  /** When something is to be sent again, or forgotten; infinite for never. */
  deadline: number = Number.POSITIVE_INFINITY
  /** An acknowledgement is in the gateway's list. */
  acknowledging = false
  /** The first sequence number that the guest has not acknowledged, and the next one to send. */
  #una: number
  #nxt: number
  /** The end of a segment that the port had no room for: the guest may have got its beginning. */
  #offered: number
  /** Where sending was when something was found missing: until all before it is acknowledged, what is missing goes again with each acknowledgement (RFC 6582). */
  #recover: number | undefined
  #rcvNxt = 0
  /** The window that the guest has given, bytes, and that it was given: what was advertised is not taken back. */
  #sendWindow = 0
  #sendScale = -1
  #rightEdge = 0
  #mss = 536
  #duplicates = 0
  #timeOut = FIRST_TIME_OUT
  #tries = 0
  #paused = false
  /** The host has ended; FIN is behind the last byte. */
  #ending = false
  #finSent = false
  #finAcknowledged = false
  #finReceived = false

  constructor(
    gateway: TcpGateway,
    flow: { key: Uint8Array; guest: IpAddress; guestPort: number; remote: IpAddress; remotePort: number },
    state: 'connecting' | 'syn-sent',
    initialSequence: number,
  ) {
    this.#gateway = gateway
    this.#ipHeaderLength = isIpv4(flow.remote) ? 20 : 40
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

  /** The host's end. */
  attach(socket: TcpSocket): void {
    this.#socket = socket
  }

  // ── the beginning ──

  /** The guest's SYN has come; the host is connecting. */
  begin(segment: TcpSegment, mac: number): void {
    this.guestMac = mac
    this.#rcvNxt = sequenceAfter(segment.sequence, 1)
    this.#takeSyn(segment)
  }

  #takeSyn(segment: TcpSegment): void {
    const headers = this.#ipHeaderLength + TCP_HEADER_LENGTH
    this.#mss = Math.min(segment.mss, this.#gateway.mtu - headers)
    this.#sendScale = segment.windowScale
    this.#sendWindow = segment.window
    this.#rightEdge = this.#rcvNxt
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
    this.#arm()
    this.guestMac ??= this.#gateway.resolve(this.guest)
    if (this.guestMac === undefined) return
    const answer = this.state === 'syn-received'
    const { builder } = this.#gateway
    const at = builder.ip(this.guestMac, this.remote, this.guest, IP_PROTOCOL.TCP)
    writeTcpHeader(builder.bytes, at, {
      sourcePort: this.remotePort,
      destinationPort: this.guestPort,
      sequence: this.#una,
      acknowledgement: answer ? this.#rcvNxt : 0,
      flags: answer ? TCP_FLAG.SYN | TCP_FLAG.ACK : TCP_FLAG.SYN,
      // The window of a SYN is never scaled.
      window: LARGEST_WINDOW,
    })
    if (answer) this.#rightEdge = sequenceAfter(this.#rcvNxt, LARGEST_WINDOW)
    const scales = !answer || this.#sendScale >= 0
    const mss = this.#gateway.mtu - this.#ipHeaderLength - TCP_HEADER_LENGTH
    const length = writeSynOptions(builder.bytes, at, mss, scales ? WINDOW_SCALE : -1)
    this.#gateway.send(builder.finishTransport(length, 0))
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
    if ((segment.flags & TCP_FLAG.ACK) === 0 || !this.#takeAcknowledgement(segment, payload.length)) return
    if (payload.length > 0 || (segment.flags & TCP_FLAG.FIN) !== 0) this.#takePayload(segment, payload)
    // A probe whether this end is alive.
    else if (segment.sequence !== this.#rcvNxt) this.#acknowledge()
    this.pump()
  }

  #inWindow(sequence: number): boolean {
    return sequenceDistance(sequence, this.#rcvNxt) >= 0 && sequenceDistance(sequence, this.#rightEdge) < 0
  }

  #receiveSynAnswer(segment: TcpSegment): void {
    const acceptable = (segment.flags & TCP_FLAG.ACK) !== 0 && segment.acknowledgement === this.#nxt
    if ((segment.flags & TCP_FLAG.RST) !== 0) {
      if (acceptable) this.abort()
      return
    }
    if (!acceptable || (segment.flags & TCP_FLAG.SYN) === 0) return
    this.#rcvNxt = sequenceAfter(segment.sequence, 1)
    this.#takeSyn(segment)
    this.#una = segment.acknowledgement
    this.#establish()
    this.#acknowledge()
    this.pump()
  }

  #establish(): void {
    this.state = 'established'
    this.#disarm()
    this.#socket?.resume()
  }

  /** False when the segment is not of this connection. */
  #takeAcknowledgement(segment: TcpSegment, length: number): boolean {
    const acknowledged = sequenceDistance(segment.acknowledgement, this.#una)
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
      if (acknowledged !== 1) return false
      this.#una = segment.acknowledgement
      this.#establish()
    } else if (acknowledged > 0) this.#dropAcknowledged(acknowledged)
    const window = segment.window * 2 ** Math.max(0, this.#sendScale)
    if (this.#sendWindow === 0 && outstanding <= 1) this.#tries = 0
    if (acknowledged === 0 && length === 0 && outstanding > 0 && window === this.#sendWindow) {
      // What goes again may itself be known to the guest, and is acknowledged once more: that says nothing.
      if (this.#recover === undefined && ++this.#duplicates === DUPLICATES) this.#sendAgain()
    } else if (acknowledged > 0) this.#duplicates = 0
    this.#sendWindow = window
    return true
  }

  #dropAcknowledged(count: number): void {
    const { length } = this.#chunks
    const data = Math.min(count, length)
    this.#chunks.drop(data)
    this.#gateway.held(-data)
    this.#una = sequenceAfter(this.#una, count)
    this.#tries = 0
    this.#timeOut = FIRST_TIME_OUT
    if (this.#una === this.#nxt) this.#disarm()
    else this.#arm()
    if (this.#recover !== undefined) {
      if (sequenceDistance(this.#una, this.#recover) >= 0) this.#recover = undefined
      else this.#sendAgain()
    }
    if (this.#paused && this.#chunks.length < SEND_LIMIT / 2 && !this.#gateway.crowded) this.readOn()
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
    const room = Math.max(0, sequenceDistance(this.#rightEdge, this.#rcvNxt))
    const fresh = payload.length - before
    const taken = Math.min(fresh, room)
    if (taken > 0) {
      this.#socket?.write(payload.subarray(before, before + taken))
      this.#rcvNxt = sequenceAfter(this.#rcvNxt, taken)
    }
    if ((segment.flags & TCP_FLAG.FIN) !== 0 && taken === fresh) {
      this.#rcvNxt = sequenceAfter(this.#rcvNxt, 1)
      this.#finReceived = true
      this.#socket?.end()
      this.#acknowledge()
      this.#finish()
    } else if (taken < payload.length) this.#acknowledge()
    else this.#gateway.acknowledgeLater(this)
  }

  // ── from the host ──

  /** Data for the guest. */
  hostData(chunk: Uint8Array): void {
    // Nothing follows an end, and nothing is for a connection that is gone.
    if (this.#ending || this.state === 'closed') return
    this.lastUsed = this.#gateway.now
    this.#chunks.push(chunk)
    this.#gateway.held(chunk.length)
    if (!this.#paused && (this.#chunks.length >= SEND_LIMIT || this.#gateway.crowded)) {
      this.#paused = true
      this.#socket?.pause()
    }
    this.pump()
  }

  /** Whether it has stopped reading from the host. */
  get paused(): boolean {
    return this.#paused
  }

  /** Read from the host again. */
  readOn(): void {
    if (!this.#paused || this.#chunks.length >= SEND_LIMIT) return
    this.#paused = false
    this.#socket?.resume()
  }

  /** The host sends nothing more. */
  hostEnded(): void {
    this.#ending = true
    this.pump()
  }

  /** The host's socket has room again. */
  hostDrained(): void {
    // Only a window that has grown much is worth a segment.
    const room = sequenceDistance(this.#rightEdge, this.#rcvNxt)
    if (this.state === 'established' && room < RECEIVE_LIMIT / 4 && this.#window() - room >= 2 * this.#mss) {
      this.#acknowledge()
    }
  }

  /** The host's socket is gone. */
  hostClosed(error: string | undefined): void {
    this.#socket = undefined
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
      const window = this.#sendWindow - outstanding
      const largest = this.#largestSegment()
      const length = Math.min(unsent, window, largest)
      // Less than a segment is worth sending at the end of the data, or when nothing is on its way (RFC 9293, 3.8.6.2.1).
      if (length <= 0 || (length < unsent && length < this.#mss && outstanding > 0)) break
      if (!this.#sendData(outstanding, length, length === unsent)) return false
    }
    if (this.#ending && !this.#finSent && sequenceDistance(this.#nxt, this.#una) === this.#chunks.length) {
      this.#advance(1)
      this.#finSent = true
      this.#sendFin()
    }
    // A closed window is asked about.
    if (this.deadline === Number.POSITIVE_INFINITY && this.#chunks.length > 0) this.#arm()
    return true
  }

  /** Bytes of a segment that the receiver's adapter takes apart again. */
  #largestSegment(): number {
    const room = LARGEST_PACKET - this.#ipHeaderLength - TCP_HEADER_LENGTH
    return room - (room % this.#mss)
  }

  #sendData(offset: number, length: number, push: boolean): boolean {
    const { builder } = this.#gateway
    const at = this.#header(sequenceAfter(this.#una, offset), TCP_FLAG.ACK | (push ? TCP_FLAG.PSH : 0))
    if (at < 0) return true
    this.#chunks.copy(offset, length, builder.bytes, at + TCP_HEADER_LENGTH)
    const frame = builder.finishTransport(TCP_HEADER_LENGTH + length, length > this.#mss ? this.#mss : 0)
    if (!this.#gateway.send(frame)) {
      const end = sequenceAfter(this.#una, offset + length)
      if (sequenceDistance(end, this.#offered) > 0) this.#offered = end
      this.#gateway.blocked(this)
      return false
    }
    const beyond = sequenceDistance(sequenceAfter(this.#una, offset + length), this.#nxt)
    if (beyond > 0) this.#advance(beyond)
    if (this.deadline === Number.POSITIVE_INFINITY) this.#arm()
    return true
  }

  #sendFin(): void {
    const { builder } = this.#gateway
    const at = this.#header(sequenceAfter(this.#nxt, -1), TCP_FLAG.FIN | TCP_FLAG.ACK)
    if (at >= 0) this.#gateway.send(builder.finishTransport(TCP_HEADER_LENGTH, 0))
    this.#arm()
  }

  /** An acknowledgement with the window as it is now. */
  acknowledge(): void {
    this.acknowledging = false
    if (this.state === 'established' || this.state === 'time-wait') this.#acknowledge()
  }

  #acknowledge(): void {
    const at = this.#header(this.#nxt, TCP_FLAG.ACK)
    if (at >= 0) this.#gateway.send(this.#gateway.builder.finishTransport(TCP_HEADER_LENGTH, 0))
  }

  #reset(): void {
    const at = this.#header(this.#nxt, TCP_FLAG.RST | TCP_FLAG.ACK)
    if (at >= 0) this.#gateway.send(this.#gateway.builder.finishTransport(TCP_HEADER_LENGTH, 0))
  }

  /** Begin a segment; returns where its header is, or -1 when the guest's MAC address is not known. */
  #header(sequence: number, flags: number): number {
    if (this.guestMac === undefined) return -1
    // Every segment acknowledges.
    this.acknowledging = false
    const { builder } = this.#gateway
    const at = builder.ip(this.guestMac, this.remote, this.guest, IP_PROTOCOL.TCP)
    writeTcpHeader(builder.bytes, at, {
      sourcePort: this.remotePort,
      destinationPort: this.guestPort,
      sequence,
      acknowledgement: this.#rcvNxt,
      flags,
      window: this.#advertise(),
    })
    return at
  }

  /** Bytes that the host's socket takes. */
  #window(): number {
    return this.#finReceived ? 0 : Math.max(0, RECEIVE_LIMIT - (this.#socket?.buffered ?? 0))
  }

  /** The window field. Its right edge never goes back. */
  #advertise(): number {
    // Windows are scaled when both sides have said so.
    const scale = this.#sendScale >= 0 ? WINDOW_SCALE : 0
    const promised = Math.max(0, sequenceDistance(this.#rightEdge, this.#rcvNxt))
    const window = Math.min(LARGEST_WINDOW, Math.ceil(Math.max(promised, this.#window()) / 2 ** scale))
    this.#rightEdge = sequenceAfter(this.#rcvNxt, window * 2 ** scale)
    return window
  }

  // ── time ──

  #arm(): void {
    this.deadline = this.#gateway.now + this.#timeOut
  }

  #disarm(): void {
    this.deadline = Number.POSITIVE_INFINITY
  }

  /** The deadline has passed. */
  expire(): void {
    if (this.state === 'time-wait') {
      // The host's socket may still be handing over what the guest has sent.
      if (this.#socket === undefined || this.#gateway.now - this.lastUsed > LINGER) this.#close()
      else this.deadline = this.#gateway.now + TIME_WAIT
      return
    }
    if (++this.#tries > MAXIMUM_TRIES) {
      this.resetBoth()
      return
    }
    this.#timeOut = Math.min(LONGEST_TIME_OUT, this.#timeOut * 2)
    this.#arm()
    if (this.state === 'syn-received' || this.state === 'syn-sent') this.#sendSyn()
    else if (this.#una === this.#nxt && this.#chunks.length === 0) this.#disarm()
    else if (this.#sendWindow === 0 && this.#chunks.length > 0) {
      // A guest that keeps its window closed is asked with one byte, and answers while it is alive.
      this.#sendData(0, 1, true)
    } else this.#sendAgain()
  }

  /** Send the first segments that are not acknowledged once more. */
  #sendAgain(): void {
    this.#recover ??= this.#nxt
    const sent = Math.min(sequenceDistance(this.#nxt, this.#una), this.#chunks.length)
    if (sent > 0) this.#sendData(0, Math.min(sent, SEGMENTS_AGAIN * this.#mss, this.#largestSegment()), false)
    else if (this.#finSent) this.#sendFin()
  }

  // ── the end ──

  /** Both sides have ended, and the guest knows it. */
  #finish(): void {
    if (!this.#finReceived || !this.#finAcknowledged) return
    this.state = 'time-wait'
    this.deadline = this.#gateway.now + TIME_WAIT
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
    this.#disarm()
    this.#socket?.abort()
    this.#socket = undefined
    this.#gateway.held(-this.#chunks.length)
    this.#chunks.clear()
    this.#gateway.remove(this)
  }
}
