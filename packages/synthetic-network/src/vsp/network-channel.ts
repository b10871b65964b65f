// One channel of an adapter: the packets of the guest, their completions, and frames on their way to the guest.

import {
  type GuestBuffer,
  VMBUS_COMPLETION_REQUESTED,
  VMBUS_PACKET,
  type VmbusChannel,
  type VmbusPacket,
} from '@partita/interface'
import {
  NVSP_MESSAGE,
  NVSP_STATUS,
  NvspRndisPacket,
  NvspStatusMessage,
  PACKET_SIZE_V61,
  packetSize,
  RNDIS_CHANNEL,
} from '../protocol/nvsp.ts'
import { CompletionQueue } from './completion-queue.ts'
import { OutgoingPacket } from './outgoing-packet.ts'
import type { ReceiveBuffer } from './receive-buffer.ts'
import { STALLED, type TransmitSource } from './transmit.ts'

/** Packets of one channel that wait for the network; frames of further ones are lost. */
const QUEUE_DEPTH = 256

/** Bytes in a section of the send buffer up to which a packet is small: its completion waits for company. */
const SMALL_PACKET = 512
/** Completions that wait for company, at most. */
const HELD_COMPLETIONS = 8

/** What a channel needs of its adapter. */
export interface ChannelHost {
  readonly version: number
  readonly receiveBuffer: ReceiveBuffer | undefined
  /** The VM stands: take nothing new. */
  readonly stopped: boolean
  /** Something of the adapter keeps it from sending now: it is in the middle of another packet. */
  readonly transmitting: boolean
  /** Send a packet's frames. Returns an NVSP status or STALLED; then `sentFrames` is what to skip next time. */
  transmit(source: TransmitSource, skip: number): number
  readonly sentFrames: number
  /** A packet's frames are lost. */
  discarded(): void
  /** A control message of the guest. Returns an NVSP status. */
  control(packet: VmbusPacket, source: TransmitSource): number
  /** Completions wait for company from now on: call `release` before long. False: there is no clock. */
  hold(): boolean
  /** A message of another kind. True: taken. */
  message(channel: NetworkChannel, packet: VmbusPacket, type: number): boolean
}

/** A packet that waits for the network. */
class WaitingPacket implements TransmitSource {
  sectionIndex = 0
  sectionSize = 0
  transactionLow = 0
  transactionHigh = 0
  flags = 0
  /** Frames that the network took before. */
  sent = 0
  readonly buffer: GuestBuffer

  constructor(buffer: GuestBuffer) {
    this.buffer = buffer
  }
}

/** Serves a channel. */
export class NetworkChannel {
  readonly channel: VmbusChannel
  readonly #host: ChannelHost
  /** Packets that wait for the network, oldest first, and objects for more. */
  readonly #waiting: WaitingPacket[] = []
  readonly #idle: WaitingPacket[] = []
  readonly #completions: CompletionQueue = new CompletionQueue()
  readonly #request: NvspRndisPacket
  readonly #scratch: Uint8Array = new Uint8Array(PACKET_SIZE_V61)
  readonly #answer: NvspStatusMessage = new NvspStatusMessage(new DataView(this.#scratch.buffer))
  /** The packet that is looked at, as a source. */
  readonly #source: { sectionIndex: number; sectionSize: number; buffer: GuestBuffer }
  #outgoing: OutgoingPacket | undefined
  #refused = false
  /** Completions that are written, but neither shown to the guest nor signalled. */
  #held = 0
  #aged = false

  constructor(host: ChannelHost, channel: VmbusChannel) {
    this.#host = host
    this.channel = channel
    this.#request = new NvspRndisPacket(new DataView(this.#scratch.buffer))
    this.#source = { sectionIndex: 0, sectionSize: 0, buffer: channel.createBuffer() }
  }

  get index(): number {
    return this.channel.subChannelIndex
  }

  /** Packets that wait for the network. */
  get waiting(): number {
    return this.#waiting.length
  }

  // ── from the guest ──

  receive(packet: VmbusPacket): boolean {
    if (packet.type === VMBUS_PACKET.COMPLETION) {
      // Completions of received messages; what they say is of no use.
      if (packet.transactionHigh === 0) this.#host.receiveBuffer?.complete(packet.transactionLow - 1, this.index)
      return true
    }
    if (packet.type !== VMBUS_PACKET.IN_BAND && packet.type !== VMBUS_PACKET.GPA_DIRECT) return true
    // Completions go out in order; and what comes in while they wait would only make more of them.
    if (this.#host.stopped || this.#completions.length > 0) return this.refuse()
    if (packet.payloadLength < 4) return this.#reject(packet)
    const type = packet.view.getUint32(packet.payloadOffset, true)
    if (type !== NVSP_MESSAGE.SEND_RNDIS_PACKET) {
      this.release()
      return this.#host.message(this, packet, type) || this.refuse()
    }
    if (packet.payloadLength < NvspRndisPacket.size) return this.#reject(packet)
    return this.#rndis(packet)
  }

  /** Keep the packet in the ring. */
  refuse(): false {
    this.#refused = true
    return false
  }

  #reject(packet: VmbusPacket): true {
    this.#complete(packet.transactionLow, packet.transactionHigh, packet.flags, NVSP_STATUS.FAILURE)
    return true
  }

  #rndis(packet: VmbusPacket): true {
    const request = this.#request.attach(packet.view, packet.payloadOffset)
    const source = this.#source
    const { transactionLow, transactionHigh, flags } = packet
    source.sectionIndex = request.sendSectionIndex
    source.sectionSize = request.sendSectionSize
    source.buffer = packet.buffer
    if (request.channelType === RNDIS_CHANNEL.CONTROL) {
      this.release()
      const status = this.index === 0 ? this.#host.control(packet, source) : NVSP_STATUS.FAILURE
      this.#complete(transactionLow, transactionHigh, flags, status)
      return true
    }
    let sent = 0
    if (this.#waiting.length === 0 && !this.#host.transmitting) {
      const status = this.#host.transmit(source, 0)
      if (status !== STALLED) {
        const small = source.sectionSize > 0 && source.sectionSize <= SMALL_PACKET
        if (small && (this.#held > 0 || this.#host.hold())) this.#hold()
        else this.release()
        this.#complete(transactionLow, transactionHigh, flags, status)
        if (this.#held === HELD_COMPLETIONS) this.release()
        return true
      }
      sent = this.#host.sentFrames
    }
    if (this.#waiting.length >= QUEUE_DEPTH) {
      this.#host.discarded()
      this.#complete(transactionLow, transactionHigh, flags, NVSP_STATUS.SUCCESS)
      return true
    }
    const waiting = this.#idle.pop() ?? new WaitingPacket(this.channel.createBuffer())
    waiting.sectionIndex = source.sectionIndex
    waiting.sectionSize = source.sectionSize
    waiting.transactionLow = transactionLow
    waiting.transactionHigh = transactionHigh
    waiting.flags = flags
    waiting.sent = sent
    waiting.buffer.copyFrom(packet.buffer)
    this.#waiting.push(waiting)
    return true
  }

  /** Send what waits for the network. False: it does not take everything. */
  transmitWaiting(): boolean {
    let done = 0
    for (const waiting of this.#waiting) {
      const status = this.#host.transmit(waiting, waiting.sent)
      if (status === STALLED) {
        waiting.sent = this.#host.sentFrames
        break
      }
      this.#complete(waiting.transactionLow, waiting.transactionHigh, waiting.flags, status)
      this.#idle.push(waiting)
      done++
    }
    if (done > 0) this.#waiting.splice(0, done)
    return this.#waiting.length === 0
  }

  /** What waits for the network is lost: the VM stops, or the network is gone. */
  discardWaiting(): void {
    for (const waiting of this.#waiting) {
      this.#host.discarded()
      this.#complete(waiting.transactionLow, waiting.transactionHigh, waiting.flags, NVSP_STATUS.SUCCESS)
      this.#idle.push(waiting)
    }
    this.#waiting.length = 0
  }

  #complete(low: number, high: number, flags: number, status: number): void {
    if ((flags & VMBUS_COMPLETION_REQUESTED) === 0) return
    if (this.#completions.length > 0 || !this.#sendCompletion(low, high, status))
      this.#completions.push(low, high, status)
  }

  /**
   * The guest has no hurry to hear that a small packet is sent: the answer to it comes soon, in most cases, and one interrupt does for both.
   */
  #hold(): void {
    if (this.#held++ > 0) return
    this.#aged = false
    this.channel.cork()
  }

  /** Time has passed: signal what has waited since the last time. True: something waits still. */
  age(): boolean {
    if (this.#aged) this.release()
    this.#aged = true
    return this.#held > 0
  }

  /** Signal what waits for company. */
  release(): void {
    if (this.#held === 0) return
    this.#held = 0
    this.channel.uncork()
  }

  #sendCompletion(low: number, high: number, status: number): boolean {
    this.#scratch.fill(0)
    this.#answer.messageType = NVSP_MESSAGE.SEND_RNDIS_PACKET_COMPLETE
    this.#answer.status = status
    const sent = this.channel.complete(low, high, this.#scratch, 0, packetSize(this.#host.version))
    // What is in the ring makes room only when the guest knows of it.
    if (!sent) this.release()
    return sent
  }

  /** Send the completions that wait, and take packets again. */
  flushCompletions(): void {
    const completions = this.#completions
    while (completions.length > 0) {
      if (!this.#sendCompletion(completions.low, completions.high, completions.status)) return
      completions.shift()
    }
    this.resume()
  }

  /** Take packets again that were refused. */
  resume(): void {
    if (!this.#refused || this.#host.stopped || this.#completions.length > 0) return
    this.#refused = false
    this.channel.resume()
  }

  // ── to the guest ──

  /** The packet under way, for messages in `buffer`. */
  outgoing(buffer: ReceiveBuffer): OutgoingPacket {
    this.#outgoing ??= new OutgoingPacket(this.channel, buffer, this.#host.version, () => this.release())
    return this.#outgoing
  }

  /** Send what waits for the guest. False: no room in the ring. */
  flushOutgoing(): boolean {
    return this.#outgoing?.flush() ?? true
  }

  /** Frames on their way to the guest are lost. */
  discardOutgoing(): void {
    this.#outgoing?.discard()
  }

  /** The receive buffer is another one, or none: nothing refers to the old one any longer. */
  forgetOutgoing(): void {
    this.#outgoing = undefined
  }

  // ── saved state ──

  saveCompletions(): number[] {
    return this.#completions.save()
  }

  restoreCompletions(words: readonly number[]): void {
    for (let at = 0; at + 2 < words.length; at += 3)
      this.#completions.push(words[at] as number, words[at + 1] as number, words[at + 2] as number)
  }
}
