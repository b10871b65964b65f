// A device on the VMBus as its driver sees it: the offer, its channels, and memory for them. All that a driver takes here goes back when the device is closed.

import type { SavedValue } from '@partita/interface'
import { PAGE_SIZE } from '../protocol/constants.ts'
import { contiguousRange, type GpaRange } from '../ring/ring-writer.ts'
import { VmbusError } from '../vmbus-error.ts'
import type { ClientChannel } from './client-channel.ts'
import type { DmaBuffer, VmbusTransport } from './transport.ts'
import type { ClientOffer, VmbusClient } from './vmbus-client.ts'

/** How to open a channel. */
export interface ChannelOptions {
  /** Bytes of data in each ring, whole pages. Default: 65536. */
  readonly ringBytes?: number
  /** The virtual processor that gets the channel's interrupts. Default: 0 for the primary channel, each in turn for sub-channels. */
  readonly targetVp?: number
  /** At most 120 bytes for the device. */
  readonly userData?: Uint8Array
}

/** What a device is made of. */
export interface VscDeviceOptions {
  /** The connection that the offer came on. */
  readonly client: VmbusClient
  /** Memory and signals. */
  readonly transport: VmbusTransport
  /** The primary channel's. */
  readonly offer: ClientOffer
  /** The driver says that the device's children are others now. */
  changed?(): void
}

interface Opened {
  readonly offer: ClientOffer
  readonly channel: ClientChannel
  readonly rings: DmaBuffer
}

const DEFAULT_RING_BYTES = 65_536

/**
 * One device.
 *
 * @example
 * ```ts
 * const channel = await device.open({ ringBytes: 16_384 })
 * channel.onPacket = (packet) => console.log(packet.payload())
 * channel.send(Uint8Array.of(1, 2, 3))
 * ```
 */
export class VscDevice {
  /** The primary channel's. */
  readonly offer: ClientOffer
  /** Called for a sub-channel that the host offers after {@link VscDevice.subChannels} was looked at. */
  onSubChannel: ((offer: ClientOffer) => void) | undefined
  readonly #options: VscDeviceOptions
  readonly #opened: Opened[] = []
  readonly #subChannels: ClientOffer[] = []
  readonly #buffers: Set<DmaBuffer> = new Set()
  readonly #gpadls: Set<number> = new Set()
  readonly #gone = new AbortController()

  /** A device that is not open. */
  constructor(options: VscDeviceOptions) {
    this.#options = options
    this.offer = options.offer
  }

  /** This partition's memory. */
  get memory(): VmbusTransport['memory'] {
    return this.#options.transport.memory
  }

  /** Virtual processors: so many channels can be served at once. */
  get processorCount(): number {
    return this.#options.transport.processorCount
  }

  /** Aborts when the device is taken away or closed, with a VmbusError `ERR_VMBUS_GONE`. */
  get signal(): AbortSignal {
    return this.#gone.signal
  }

  /** The channels that are open, the primary one first. */
  get channels(): readonly ClientChannel[] {
    return this.#opened.map(({ channel }) => channel)
  }

  /** Sub-channels that the host offers and that are not open. */
  get subChannels(): readonly ClientOffer[] {
    return this.#subChannels
  }

  /**
   * Open the primary channel, with rings of its own.
   * @throws VmbusError `ERR_VMBUS_CLIENT` (the host refuses), `ERR_VMBUS_GONE`, `ERR_VMBUS_MEMORY`
   */
  open(options: ChannelOptions = {}): Promise<ClientChannel> {
    return this.#open(this.offer, { targetVp: 0, ...options })
  }

  /** Open a sub-channel. As {@link VscDevice.open}. */
  async openSubChannel(offer: ClientOffer, options: ChannelOptions = {}): Promise<ClientChannel> {
    const targetVp = offer.subChannelIndex % this.processorCount
    const channel = await this.#open(offer, { targetVp, ...options })
    const index = this.#subChannels.indexOf(offer)
    if (index >= 0) this.#subChannels.splice(index, 1)
    return channel
  }

  /** Pages for data. They go back when the device is closed, or before. */
  allocate(byteLength: number): DmaBuffer {
    return this.#own(this.#options.transport.allocate(byteLength))
  }

  #own(buffer: DmaBuffer): DmaBuffer {
    const owned: DmaBuffer = {
      gpa: buffer.gpa,
      bytes: buffer.bytes,
      [Symbol.dispose]: () => {
        if (this.#buffers.delete(owned)) buffer[Symbol.dispose]()
      },
    }
    this.#buffers.add(owned)
    return owned
  }

  /** The ranges of a window on this partition's memory, for a packet; `undefined` for bytes that are elsewhere: copy those through {@link VscDevice.allocate}. */
  rangesOf(bytes: Uint8Array): GpaRange[] | undefined {
    const gpa = this.#options.transport.addressOf(bytes)
    return gpa === undefined ? undefined : bytes.length === 0 ? [] : [contiguousRange(gpa, bytes.length)]
  }

  /** Give memory to the device until it is closed (a GPADL). Resolves with its id. @throws VmbusError `ERR_VMBUS_CLIENT`, `ERR_VMBUS_GONE` */
  async createGpadl(bytes: Uint8Array): Promise<number> {
    this.signal.throwIfAborted()
    const ranges = this.rangesOf(bytes)
    if (ranges === undefined || ranges.length === 0)
      throw new VmbusError('ERR_VMBUS_CLIENT', 'These bytes are not in memory of the partition')
    const id = await this.#options.client.createGpadl(this.offer.relid, ranges)
    this.#gpadls.add(id)
    // It was closed meanwhile.
    if (this.signal.aborted) await this.teardownGpadl(id)
    this.signal.throwIfAborted()
    return id
  }

  /** Take a GPADL back before. Resolves when the host has let go of it. */
  async teardownGpadl(id: number): Promise<void> {
    if (this.#gpadls.delete(id)) await this.#options.client.teardownGpadl(this.offer.relid, id)
  }

  /** The device's children are others now. */
  changed(): void {
    this.#options.changed?.()
  }

  // --- the bus's side

  /** A sub-channel is offered. */
  addSubChannel(offer: ClientOffer): void {
    this.#subChannels.push(offer)
    this.onSubChannel?.(offer)
  }

  /** The host takes a sub-channel away. Resolves when it has let go of its rings. */
  async removeSubChannel(offer: ClientOffer): Promise<void> {
    const waiting = this.#subChannels.indexOf(offer)
    if (waiting >= 0) this.#subChannels.splice(waiting, 1)
    const index = this.#opened.findIndex((opened) => opened.offer === offer)
    for (const { channel, rings } of index < 0 ? [] : this.#opened.splice(index, 1)) {
      await channel.close()
      rings[Symbol.dispose]()
    }
  }

  /** The host takes the device away: what waits fails, and nothing can be opened. {@link VscDevice.close} is still to come. */
  rescinded(): void {
    this.#abort('The host took the device away')
  }

  /** Close all channels, sub-channels first, and give back the memory. Resolves when the host has let go of it. */
  async close(): Promise<void> {
    this.#abort('The device is closed')
    for (const { channel, rings } of this.#opened.splice(0).reverse()) {
      await channel.close()
      rings[Symbol.dispose]()
    }
    for (const id of [...this.#gpadls]) await this.teardownGpadl(id)
    for (const buffer of this.#buffers) buffer[Symbol.dispose]()
  }

  /** The open channels, and the memory that is in use: plain data for {@link VscDevice.restore}. */
  save(): SavedValue {
    return {
      opened: this.#opened.map(({ offer, channel, rings }) => ({
        relid: offer.relid,
        gpadl: channel.gpadl,
        rings: saveBuffer(rings),
      })),
      subChannels: this.#subChannels.map(({ relid }) => relid),
      buffers: [...this.#buffers].map(saveBuffer),
      gpadls: [...this.#gpadls],
    }
  }

  /** The device of a saved state, whose client and memory are restored already. @throws VmbusError `ERR_VMBUS_CLIENT` */
  static restore(options: VscDeviceOptions, saved: SavedValue): VscDevice {
    const state = saved as unknown as SavedDevice
    const { client, transport } = options
    const device = new VscDevice(options)
    const offerOf = (relid: number): ClientOffer => {
      const offer = client.offers.find((each) => each.relid === relid)
      if (offer === undefined) throw new VmbusError('ERR_VMBUS_CLIENT', 'There is no such offer', { data: { relid } })
      return offer
    }
    for (const { relid, gpadl, rings: place } of state.opened) {
      const rings = transport.adopt(place.gpa, place.byteLength)
      const offer = offerOf(relid)
      const channel = client.adoptChannel(offer, ringPages(rings), gpadl)
      device.#opened.push({ offer, channel, rings })
    }
    for (const relid of state.subChannels) device.#subChannels.push(offerOf(relid))
    for (const { gpa, byteLength } of state.buffers) device.#own(transport.adopt(gpa, byteLength))
    for (const id of state.gpadls) device.#gpadls.add(id)
    return device
  }

  #abort(reason: string): void {
    const { relid, interfaceId, instanceId } = this.offer
    if (!this.#gone.signal.aborted)
      this.#gone.abort(new VmbusError('ERR_VMBUS_GONE', reason, { data: { relid, interfaceId, instanceId } }))
  }

  async #open(offer: ClientOffer, options: ChannelOptions & { readonly targetVp: number }): Promise<ClientChannel> {
    this.signal.throwIfAborted()
    const pages = Math.max(1, Math.ceil((options.ringBytes ?? DEFAULT_RING_BYTES) / PAGE_SIZE)) + 1
    const rings = this.#options.transport.allocate(2 * pages * PAGE_SIZE)
    try {
      const channel = await this.#options.client.open(offer, {
        ...ringPages(rings),
        targetVp: options.targetVp,
        ...(options.userData && { userData: options.userData }),
      })
      this.#opened.push({ offer, channel, rings })
      return channel
    } catch (error) {
      rings[Symbol.dispose]()
      this.signal.throwIfAborted()
      throw error
    }
  }
}

interface SavedBuffer {
  readonly gpa: number
  readonly byteLength: number
}

interface SavedDevice {
  readonly opened: readonly { readonly relid: number; readonly gpadl: number; readonly rings: SavedBuffer }[]
  readonly subChannels: readonly number[]
  readonly buffers: readonly SavedBuffer[]
  readonly gpadls: readonly number[]
}

function saveBuffer({ gpa, bytes }: DmaBuffer): { gpa: number; byteLength: number } {
  return { gpa, byteLength: bytes.length }
}

/** Half of the pages are for each ring: a control page, and data. */
function ringPages({ gpa, bytes }: DmaBuffer): { pages: number[]; downstreamPageOffset: number } {
  const count = bytes.length / PAGE_SIZE
  return {
    pages: Array.from({ length: count }, (_, index) => gpa / PAGE_SIZE + index),
    downstreamPageOffset: count / 2,
  }
}
