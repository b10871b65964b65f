// A channel without a ring: packets wait in a list, and the guest has room for a few. What the provider does with it is checked on the way.

import {
  type GuestBuffer,
  VMBUS_PACKET,
  type VmbusChannel,
  type VmbusChannelHandler,
  type VmbusPacket,
} from '@partita/interface'
import { PieceList } from '@partita/vmbus/ring'
import type { SharedMemory } from '@partita/vmbus/testing'

/** Problems that an input has shown. */
export class FuzzFailure extends Error {}

/** Packets that the guest's ring has room for. */
export const RING = 20

export interface Sent {
  readonly type: number
  readonly flags: number
  readonly low: number
  readonly high: number
  readonly payload: Uint8Array
  readonly pieces: readonly (readonly [number, number])[]
}

/** What a channel tells of. */
export interface ChannelWitness {
  /** The buffer that a GPADL is. */
  gpadl(id: number): GuestBuffer | undefined
  offered(count: number): number
  /** The provider gives a part of the receive buffer to the guest. */
  transferred(
    channel: FakeChannel,
    transaction: number,
    pageSet: number,
    ranges: Uint32Array,
    payload: Uint8Array,
  ): void
  answered(payload: Uint8Array): void
}

export class FakeChannel implements VmbusChannel {
  readonly offer: VmbusChannel['offer'] = { interfaceId: '', instanceId: '' }
  readonly openData: Uint8Array = new Uint8Array(120)
  readonly version = 0x50003
  readonly targetVp = 0
  restored = false
  isOpen = true
  readonly memory: SharedMemory
  readonly counters = {} as VmbusChannel['counters']
  readonly maxPayload = 4096
  readonly subChannelIndex: number
  handler: VmbusChannelHandler | undefined
  readonly incoming: Sent[] = []
  room: number = RING
  starved = false
  held = false
  serving = false
  /** Transactions that wait for a completion. */
  readonly asked: Set<number> = new Set()
  readonly #witness: ChannelWitness
  #corks = 0
  /** Half milliseconds since the first cork. */
  #unsignalled = 0

  constructor(witness: ChannelWitness, memory: SharedMemory, index: number) {
    this.#witness = witness
    this.memory = memory
    this.subChannelIndex = index
  }

  send(payload: Uint8Array, start = 0, end: number = payload.length): boolean {
    if (end - start > 200) throw new FuzzFailure(`a packet of ${end - start} bytes`)
    if (!this.#take()) return false
    this.#witness.answered(payload.subarray(start, end))
    return true
  }

  complete(low: number, high: number, payload?: Uint8Array, start = 0, end: number = payload?.length ?? 0): boolean {
    if (!this.#take()) return false
    if (!this.isOpen) return true
    if (!this.asked.delete(low) || high !== 7)
      throw new FuzzFailure(`transaction ${low}/${high} is completed and was not open`)
    if (end - start !== 0 && end - start !== 28 && end - start !== 40)
      throw new FuzzFailure(`a completion of ${end - start} bytes`)
    this.#witness.answered((payload ?? new Uint8Array(0)).subarray(start, end))
    return true
  }

  sendTransferPages(pageSet: number, ranges: Uint32Array, payload: Uint8Array, low = 0, high = 0, flags = 0): boolean {
    if (high !== 0 || flags !== 1) throw new FuzzFailure('transfer pages that nobody can give back')
    if (!this.#take()) return false
    if (this.isOpen) this.#witness.transferred(this, low, pageSet, ranges, payload)
    return true
  }

  #take(): boolean {
    if (!this.isOpen) return true
    if (this.room === 0) {
      this.starved = true
      return false
    }
    this.room--
    return true
  }

  cork(): void {
    if (this.#corks++ === 0) this.#unsignalled = 0
  }
  uncork(): void {
    if (this.#corks === 0) throw new FuzzFailure('a cork is taken out twice')
    this.#corks--
  }

  /** Half a millisecond has passed. */
  tick(): void {
    if (this.#corks > 0 && this.isOpen && ++this.#unsignalled > 2)
      throw new FuzzFailure('the guest is not told what is in its ring')
  }
  resume(): void {
    this.held = false
    this.serve()
  }
  gpadl(id: number): GuestBuffer | undefined {
    return this.#witness.gpadl(id)
  }
  createBuffer(): GuestBuffer {
    return new PieceList()
  }
  offerSubChannels(count: number): number {
    return this.#witness.offered(count)
  }
  fail(reason: string): void {
    throw new FuzzFailure(`the channel fails: ${reason}`)
  }

  /** The guest takes what is in its ring. */
  consume(): void {
    this.room = RING
    if (!this.starved) return
    this.starved = false
    this.held = false
    this.handler?.writable?.()
    this.serve()
  }

  serve(): void {
    if (this.serving) return
    this.serving = true
    let taken = false
    while (this.isOpen && !this.held) {
      const sent = this.incoming[0]
      if (sent === undefined) break
      const bytes = new Uint8Array(16 + sent.payload.length)
      bytes.set(sent.payload, 16)
      const buffer = new PieceList()
      for (const [gpa, length] of sent.pieces) buffer.add(gpa, length)
      const packet: VmbusPacket = {
        type: sent.type,
        flags: sent.flags,
        transactionLow: sent.low,
        transactionHigh: sent.high,
        bytes,
        view: new DataView(bytes.buffer),
        payloadOffset: 16,
        payloadLength: sent.payload.length,
        payload: () => bytes.subarray(16),
        buffer,
        transferPageSet: 0,
        transferRangeCount: 0,
        transferRangeOffset: () => 0,
        transferRangeLength: () => 0,
      }
      if (this.handler?.receive(packet) === false) this.held = true
      else {
        this.incoming.shift()
        taken = true
      }
    }
    if (taken) this.handler?.batchEnd?.()
    this.serving = false
  }

  /** Take completions back that the provider has not seen. */
  forgetCompletions(): void {
    for (let at = this.incoming.length - 1; at >= 0; at--)
      if (this.incoming[at]?.type === VMBUS_PACKET.COMPLETION) this.incoming.splice(at, 1)
  }

  /** Put a packet into the ring to the host. */
  push(sent: Sent): void {
    // A ring is not endless.
    if (this.incoming.length >= 3 * RING) return
    if ((sent.flags & 1) !== 0 && sent.type !== VMBUS_PACKET.COMPLETION) this.asked.add(sent.low)
    this.incoming.push(sent)
  }
}
