// Requests and their completions on one channel or on several: transaction ids, waiting for room in the ring, cancellation. What most drivers need.

import { VMBUS_COMPLETION_REQUESTED, VMBUS_PACKET } from '@partita/interface'
import type { RingPacket } from '../ring/ring-packet.ts'
import type { GpaRange } from '../ring/ring-writer.ts'
import { VmbusError } from '../vmbus-error.ts'
import type { ClientChannel } from './client-channel.ts'

/** How to send a request. */
export interface RequestOptions {
  /** Ranges of this partition's memory for data; the device reads or writes them until the request is settled. */
  readonly ranges?: readonly GpaRange[]
  /** One of the channels. Default: each in turn. */
  readonly channel?: ClientChannel | undefined
  /** Gives up the wait. The device is not told: its completion is dropped when it comes, and until then the ranges are the device's. */
  readonly signal?: AbortSignal | undefined
  /**
   * Called when the device is done with the ranges: it completed the request, or never got it. Not called when the channel is closed before; the ranges are then the
   * driver's again when the device is closed.
   */
  released?(): void
}

interface Waiting {
  readonly channel: ClientChannel
  readonly settle: PromiseWithResolvers<Uint8Array>
  readonly options: RequestOptions
  readonly abort: () => void
}

interface Outgoing {
  readonly transaction: number
  readonly payload: Uint8Array
  readonly ranges: readonly GpaRange[]
}

/** Ids are 32 bits wide, and 0 is for packets that nobody asked for. */
const LAST_TRANSACTION = 0xffff_ffff

/**
 * The requests of a driver.
 *
 * @example
 * ```ts
 * const requests = new ChannelRequests(await device.open())
 * requests.onPacket = (packet) => console.log('the device says', packet.payload())
 * const answer = await requests.send(Uint8Array.of(1, 2, 3))
 * ```
 */
export class ChannelRequests {
  /** Packets that are no completions: what the device sends of its own accord. Valid until it returns. */
  onPacket: ((packet: RingPacket, channel: ClientChannel) => void) | undefined
  readonly #channels: ClientChannel[] = []
  readonly #waiting: Map<number, Waiting> = new Map()
  readonly #queues: Map<ClientChannel, Outgoing[]> = new Map()
  #nextTransaction = 1
  #nextChannel = 0
  #failure: Error | undefined
  #drained: PromiseWithResolvers<void> | undefined

  /** Take over `channels`: their callbacks are this object's. */
  constructor(...channels: readonly ClientChannel[]) {
    for (const channel of channels) this.addChannel(channel)
  }

  /** Requests whose completion has not come, given up ones included. */
  get pending(): number {
    return this.#waiting.size
  }

  /** The channels, the first one first. */
  get channels(): readonly ClientChannel[] {
    return this.#channels
  }

  /** The transaction id that was given out last. */
  get lastTransaction(): number {
    return this.#nextTransaction
  }

  /** Give out ids beyond `last`: completions of requests before a saved state may be under way still. */
  skipTransactions(last: number): void {
    this.#nextTransaction = last
  }

  /** Use one more channel. */
  addChannel(channel: ClientChannel): void {
    this.#channels.push(channel)
    this.#queues.set(channel, [])
    channel.onPacket = (packet) => this.#receive(packet, channel)
    channel.onWritable = () => this.#flush(channel)
    channel.onClosed = () => this.#closed(channel)
    channel.onBroken = (reason) => this.fail(new VmbusError('ERR_VMBUS_RING', `The host broke a ring: ${reason}`))
  }

  /**
   * Send `payload`, and resolve with the payload of its completion. Any number may be under way; what finds no room in the ring waits.
   * @throws VmbusError `ERR_VMBUS_PACKET` (too large for the ring), `ERR_VMBUS_GONE`, `ERR_VMBUS_RING`; the signal's reason
   */
  send(payload: Uint8Array, options: RequestOptions = {}): Promise<Uint8Array> {
    const { signal } = options
    const channel = options.channel ?? this.#channels[this.#nextChannel++ % this.#channels.length]
    const queue = channel && this.#queues.get(channel)
    if (this.#failure !== undefined || signal?.aborted || channel === undefined || queue === undefined) {
      options.released?.()
      const closed = (): Error => new VmbusError('ERR_VMBUS_GONE', 'There is no channel to send on')
      return Promise.reject(this.#failure ?? (signal?.aborted ? signal.reason : closed()))
    }
    const transaction = this.#transaction()
    const settle = Promise.withResolvers<Uint8Array>()
    // The completion is still to come, and finds the request by its transaction.
    const abort = (): void => settle.reject(signal?.reason)
    signal?.addEventListener('abort', abort)
    this.#waiting.set(transaction, { channel, settle, options, abort })
    queue.push({ transaction, payload, ranges: options.ranges ?? [] })
    if (queue.length === 1) this.#flush(channel)
    return settle.promise
  }

  /** Everything that waits fails with `error`, and so does what comes after. */
  fail(error: Error): void {
    this.#failure ??= error
    for (const queue of this.#queues.values()) queue.length = 0
    for (const transaction of [...this.#waiting.keys()]) this.#settle(transaction, (settle) => settle.reject(error))
  }

  /** Resolves when no request is under way, given up ones included: what they were given is free. */
  async drained(): Promise<void> {
    if (this.#waiting.size === 0) return
    this.#drained ??= Promise.withResolvers<void>()
    await this.#drained.promise
  }

  /** What waits on a channel that is closed fails; the others go on, unless it was the first: the device is gone with it. */
  #closed(channel: ClientChannel): void {
    const gone = new VmbusError('ERR_VMBUS_GONE', 'The channel was closed')
    if (channel === this.#channels[0]) {
      this.fail(gone)
      return
    }
    this.#channels.splice(this.#channels.indexOf(channel), 1)
    this.#queues.delete(channel)
    for (const [transaction, waiting] of [...this.#waiting])
      if (waiting.channel === channel) this.#settle(transaction, (settle) => settle.reject(gone))
  }

  #transaction(): number {
    do this.#nextTransaction = this.#nextTransaction >= LAST_TRANSACTION ? 1 : this.#nextTransaction + 1
    while (this.#waiting.has(this.#nextTransaction))
    return this.#nextTransaction
  }

  #flush(channel: ClientChannel): void {
    const queue = this.#queues.get(channel) ?? []
    channel.cork()
    try {
      for (let next = queue[0]; next !== undefined; next = queue[0]) {
        if (!this.#sendNow(channel, next)) return
        queue.shift()
      }
    } finally {
      channel.uncork()
    }
  }

  /** False: no room. What can never be sent fails, and is out of the way. */
  #sendNow(channel: ClientChannel, { transaction, payload, ranges }: Outgoing): boolean {
    try {
      return ranges.length > 0
        ? channel.sendGpaDirect(ranges, payload, transaction)
        : channel.send(payload, transaction, 0, VMBUS_COMPLETION_REQUESTED)
    } catch (error) {
      this.#waiting.get(transaction)?.options.released?.()
      this.#settle(transaction, (settle) => settle.reject(error))
      return true
    }
  }

  #receive(packet: RingPacket, channel: ClientChannel): void {
    if (packet.type !== VMBUS_PACKET.COMPLETION) {
      this.onPacket?.(packet, channel)
      return
    }
    // A completion that answers nothing, or comes on another channel, is the host's mistake.
    const { transactionLow, transactionHigh } = packet
    if (transactionHigh !== 0 || this.#waiting.get(transactionLow)?.channel !== channel) return
    const payload = packet.payload().slice()
    this.#waiting.get(transactionLow)?.options.released?.()
    this.#settle(transactionLow, (settle) => settle.resolve(payload))
  }

  #settle(transaction: number, settle: (request: PromiseWithResolvers<Uint8Array>) => void): void {
    const waiting = this.#waiting.get(transaction)
    if (waiting === undefined) return
    this.#waiting.delete(transaction)
    waiting.options.signal?.removeEventListener('abort', waiting.abort)
    settle(waiting.settle)
    if (this.#waiting.size > 0) return
    this.#drained?.resolve()
    this.#drained = undefined
  }
}
