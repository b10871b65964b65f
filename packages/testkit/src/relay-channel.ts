// A channel between a device and its bus that holds back what the device sends: whoever tests a driver gives it to the driver late, twice, changed, or never.

import type { GuestBuffer, VmbusChannel, VmbusChannelHandler, VmbusPacket } from '@partita/interface'
import type { FakeHost } from './fake-host.ts'

/** Something that a device has sent. */
export interface HeldReply {
  /** What it is: the completion of a packet, a packet of its own, or one with transfer pages. */
  readonly kind: 'completion' | 'packet' | 'transfer-pages'
  /** A copy of what the device said. */
  readonly payload: Uint8Array
  /** Low half of the transaction id. */
  readonly transactionLow: number
  /** High half of the transaction id. */
  readonly transactionHigh: number
  /** Put it into the ring, or another payload in its place. False: no room; it goes when there is some. */
  deliver(payload?: Uint8Array): boolean
}

/** Implements VmbusChannel for the device; what the bus does with it comes in by `RelayChannel.handler`. */
export class RelayChannel implements VmbusChannel {
  readonly #host: FakeHost
  readonly #channel: VmbusChannel
  #inner: VmbusChannelHandler | undefined
  /** Replies that found no room. */
  readonly #backlog: (() => boolean)[] = []

  constructor(host: FakeHost, channel: VmbusChannel) {
    this.#host = host
    this.#channel = channel
  }

  /** What the bus calls for the device's handler. */
  handler(inner: VmbusChannelHandler): VmbusChannelHandler {
    this.#inner = inner
    return {
      receive: (packet: VmbusPacket): boolean => !this.#host.deaf && inner.receive(packet),
      batchEnd: () => inner.batchEnd?.(),
      writable: () => this.#flush(),
      gpadlTeardown: (id) => inner.gpadlTeardown?.(id),
      close: () => {
        this.#backlog.length = 0
        this.#host.channelClosed(this)
        return inner.close?.()
      },
    }
  }

  #flush(): void {
    while (this.#backlog[0]?.() === true) this.#backlog.shift()
    if (this.#backlog.length === 0) this.#inner?.writable?.()
  }

  #later(send: () => boolean): boolean {
    if (this.#backlog.length === 0 && send()) return true
    this.#backlog.push(send)
    return false
  }

  #reply(
    kind: HeldReply['kind'],
    payload: Uint8Array,
    low: number,
    high: number,
    send: (payload: Uint8Array) => boolean,
  ): boolean {
    if (!this.#channel.isOpen) return true
    if (this.#host.replies === 'pass') return this.#backlog.length === 0 && send(payload)
    const copy = payload.slice()
    this.#host.hold({
      kind,
      payload: copy,
      transactionLow: low,
      transactionHigh: high,
      deliver: (other = copy) => this.#later(() => send(other)),
    })
    return true
  }

  send(payload: Uint8Array, start = 0, end: number = payload.length, low = 0, high = 0, flags = 0): boolean {
    const part = payload.subarray(start, end)
    return this.#reply('packet', part, low, high, (bytes) =>
      this.#channel.send(bytes, 0, bytes.length, low, high, flags),
    )
  }

  complete(low: number, high: number, payload?: Uint8Array, start = 0, end: number = payload?.length ?? 0): boolean {
    const part = payload?.subarray(start, end) ?? new Uint8Array(0)
    return this.#reply('completion', part, low, high, (bytes) => this.#channel.complete(low, high, bytes))
  }

  sendTransferPages(pageSet: number, ranges: Uint32Array, payload: Uint8Array, low = 0, high = 0, flags = 0): boolean {
    const kept = ranges.slice()
    return this.#reply('transfer-pages', payload, low, high, (bytes) =>
      this.#channel.sendTransferPages(pageSet, kept, bytes, low, high, flags),
    )
  }

  /** A packet or completion that the device knows nothing of. */
  inject(kind: 'completion' | 'packet', payload: Uint8Array, low: number, high: number): boolean {
    return this.#later(() =>
      kind === 'packet'
        ? this.#channel.send(payload, 0, payload.length, low, high)
        : this.#channel.complete(low, high, payload),
    )
  }

  get offer(): VmbusChannel['offer'] {
    return this.#channel.offer
  }
  get subChannelIndex(): number {
    return this.#channel.subChannelIndex
  }
  get openData(): Uint8Array {
    return this.#channel.openData
  }
  get version(): number {
    return this.#channel.version
  }
  get targetVp(): number {
    return this.#channel.targetVp
  }
  get restored(): boolean {
    return this.#channel.restored
  }
  get isOpen(): boolean {
    return this.#channel.isOpen
  }
  get memory(): VmbusChannel['memory'] {
    return this.#channel.memory
  }
  get counters(): VmbusChannel['counters'] {
    return this.#channel.counters
  }
  get maxPayload(): number {
    return this.#channel.maxPayload
  }
  cork(): void {
    this.#channel.cork()
  }
  uncork(): void {
    this.#channel.uncork()
  }
  resume(): void {
    this.#channel.resume()
  }
  gpadl(gpadlId: number): GuestBuffer | undefined {
    return this.#channel.gpadl(gpadlId)
  }
  createBuffer(): GuestBuffer {
    return this.#channel.createBuffer()
  }
  offerSubChannels(count: number): number {
    return this.#channel.offerSubChannels(count)
  }
  fail(reason: string): void {
    this.#channel.fail(reason)
  }
}
