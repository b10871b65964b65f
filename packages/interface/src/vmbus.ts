// Devices on the VMBus: what a provider in the root partition implements, and what the bus gives it. The bus itself is `@partita/vmbus`.

import type { GuestMemory } from './guest-memory.ts'
import { type ServiceToken, serviceToken } from './plugin.ts'

/** What a device offers to the guest. GUIDs are text in lower case. */
export interface VmbusOffer {
  /** The kind of device: the guest chooses its driver by it. */
  readonly interfaceId: string
  /** This device. Keep it stable over the life of the VM. */
  readonly instanceId: string
  /** Position among the offers of one interface. Default: 0. */
  readonly order?: number
  /** Offer flags. Default: 1 (enumerate the interface). */
  readonly flags?: number
  /** MMIO space that the device needs, MiB. Default: 0. */
  readonly mmioMegabytes?: number
  /**
   * The driver may set a bit in a page of its memory in place of a signal, as one in a process of the guest has to, which can make no hypercall (Linux's
   * `uio_hv_generic` takes no other device). Each such signal is seen up to a millisecond late. Default: false.
   */
  readonly monitored?: boolean
  /** At most 120 bytes for the driver. Default: zeros. */
  readonly userDefined?: Uint8Array
}

/**
 * A device with one primary channel and, where it asks for them, sub-channels.
 *
 * @example
 * ```ts
 * const echo: VmbusDevice = {
 *   offer: { interfaceId: '…', instanceId: '…' },
 *   open: (channel) => ({
 *     receive: (packet) => channel.send(packet.payload()),
 *   }),
 * }
 * vmbus.offer(echo)
 * ```
 */
export interface VmbusDevice {
  /** What the guest is told of the device. It stays as it is. */
  readonly offer: VmbusOffer
  /**
   * The guest opens a channel ({@link VmbusChannel.subChannelIndex} 0 is the primary). Returns who serves it, or `undefined` to refuse. After a restore it is
   * called for each channel that was open, with {@link VmbusChannel.restored}.
   */
  open(channel: VmbusChannel): VmbusChannelHandler | undefined
}

/** Who serves an open channel. Nothing is called before the guest knows that the channel is open, nor after {@link VmbusChannelHandler.close}. */
export interface VmbusChannelHandler {
  /**
   * A packet. It is valid until this returns. True: taken. False: keep it (a reply found no room, say); it comes again when the outgoing ring has room
   * after a send failed, and after {@link VmbusChannel.resume}.
   */
  receive(packet: VmbusPacket): boolean
  /** The batch of packets is over. What is sent here still goes out with the batch's signal. */
  batchEnd?(): void
  /** After a send failed: the outgoing ring has room again. */
  writable?(): void
  /** The guest takes back a GPADL that it gave to this channel. Stop using it; when that takes time, resolve when it is done. */
  gpadlTeardown?(gpadlId: number): void | Promise<void>
  /** The channel is closed. Use neither it nor the guest's buffers any longer; resolve when nothing is in flight. */
  close?(): void | Promise<void>
}

/** Kinds of packets in a ring. */
export const VMBUS_PACKET = { IN_BAND: 6, TRANSFER_PAGES: 7, GPA_DIRECT: 9, CANCEL: 10, COMPLETION: 11 } as const

/** Flag of a packet: the receiver is to send a completion with the same transaction id. */
export const VMBUS_COMPLETION_REQUESTED = 1

/** A packet that came out of a ring: a private copy that the guest cannot change. One object serves all packets of a channel. */
export interface VmbusPacket {
  /** One of {@link VMBUS_PACKET}. */
  readonly type: number
  /** {@link VMBUS_COMPLETION_REQUESTED}, or 0. */
  readonly flags: number
  /** Low half of the transaction id, by which the sender knows its completion. Unsigned. */
  readonly transactionLow: number
  /** High half of the transaction id. */
  readonly transactionHigh: number
  /** The private copy. The payload is `[payloadOffset, payloadOffset + payloadLength)` of it, and padded to a multiple of 8. */
  readonly bytes: Uint8Array
  /** The private copy again, for numbers of more than one byte. */
  readonly view: DataView
  /** Where the payload begins in {@link VmbusPacket.bytes}; a multiple of 8. */
  readonly payloadOffset: number
  /** Bytes of payload, with its padding: a multiple of 8. */
  readonly payloadLength: number
  /** The payload as a window on the copy (allocates a small object). */
  payload(): Uint8Array
  /** The ranges of guest memory of a GPA-direct packet, one after the other; empty for other packets. Valid as long as the packet: `copyFrom` keeps it. */
  readonly buffer: GuestBuffer
  /** Of a transfer-pages packet: the page set that its ranges are in, a number that the two sides' protocol has agreed on. */
  readonly transferPageSet: number
  /** Of a transfer-pages packet: how many ranges; 0 for other packets. */
  readonly transferRangeCount: number
  /** Of a transfer-pages packet: where range `index` begins in the page set. */
  transferRangeOffset(index: number): number
  /** Of a transfer-pages packet: bytes of range `index`. */
  transferRangeLength(index: number): number
}

/**
 * Bytes of guest memory that lie scattered: a list of pieces, of which none is empty, and neighbours are merged. The guest can change them at any time.
 */
export interface GuestBuffer {
  /** Bytes in all. */
  readonly byteLength: number
  /** How many pieces there are. They are numbered from 0. */
  readonly pieceCount: number
  /** Guest physical address of a piece. */
  gpa(piece: number): number
  /** Bytes of a piece. */
  length(piece: number): number
  /** Become a copy of another list. */
  copyFrom(other: GuestBuffer): void
  /** Copy bytes from `offset` to `target`. False when they are not all there. */
  read(memory: GuestMemory, offset: number, target: Uint8Array): boolean
  /** Copy `source` to the bytes from `offset`. False when they are not all there; part may then be written. */
  write(memory: GuestMemory, offset: number, source: Uint8Array): boolean
}

/** Counters of a channel since it was offered. */
export interface VmbusCounters {
  /** Packets from the guest that were taken. */
  packetsIn: number
  /** Packets to the guest. */
  packetsOut: number
  /** Bytes of their payloads, not of the memory that they point to. */
  bytesIn: number
  /** Bytes of their payloads. */
  bytesOut: number
  /** Signals from the guest. */
  signalsIn: number
  /** Signals to the guest. */
  signalsOut: number
  /** Batches that needed no signal to the guest. */
  signalsSpared: number
  /** Packets that found no room in the outgoing ring. */
  ringFull: number
  /** Times that the channel was opened. */
  opens: number
}

/**
 * An open channel. Sending inside of a handler's callback is collected, and signalled once after it; sending at another time is signalled at once, unless the
 * channel is corked. When the channel is closed, sending does nothing and returns true.
 */
export interface VmbusChannel {
  /** The device's. */
  readonly offer: VmbusOffer
  /** 0 for the primary channel. */
  readonly subChannelIndex: number
  /** What the driver passed on opening: 120 bytes. */
  readonly openData: Uint8Array
  /** VMBus version, `major << 16 | minor`. */
  readonly version: number
  /** The virtual processor that gets the channel's interrupts. */
  readonly targetVp: number
  /** The channel was open in the state that was restored: its handler's own state follows. */
  readonly restored: boolean
  /** False as soon as the guest has closed the channel, or the device was taken away. */
  readonly isOpen: boolean
  /** The guest's memory, for what the device's protocol points to. */
  readonly memory: GuestMemory
  /** What has passed since the channel was offered. */
  readonly counters: Readonly<VmbusCounters>
  /** Largest payload of an in-band packet that the outgoing ring can ever take. */
  readonly maxPayload: number
  /**
   * Send an in-band packet: `payload` from `start` to `end`. False: no room now; nothing was sent and {@link VmbusChannelHandler.writable} will tell.
   * @throws PartitaError `ERR_VMBUS_PACKET` when the payload is larger than {@link VmbusChannel.maxPayload}
   */
  send(
    payload: Uint8Array,
    start?: number,
    end?: number,
    transactionLow?: number,
    transactionHigh?: number,
    flags?: number,
  ): boolean
  /** Send the completion of a packet that asked for one. As {@link VmbusChannel.send}. */
  complete(transactionLow: number, transactionHigh: number, payload?: Uint8Array, start?: number, end?: number): boolean
  /**
   * Send a transfer-pages packet. `ranges` holds pairs of length and offset within the GPADL that the page set means. As {@link VmbusChannel.send}.
   */
  sendTransferPages(
    pageSet: number,
    ranges: Uint32Array,
    payload: Uint8Array,
    transactionLow?: number,
    transactionHigh?: number,
    flags?: number,
  ): boolean
  /** Collect what is sent until as many {@link VmbusChannel.uncork}. */
  cork(): void
  /** Send out what was collected, once it was called as often as {@link VmbusChannel.cork}. */
  uncork(): void
  /** Deliver packets again after `receive` returned false. */
  resume(): void
  /** A GPADL that the guest gave to this channel. */
  gpadl(gpadlId: number): GuestBuffer | undefined
  /** An empty list to keep a packet's buffer in. Make few of them and use them again. */
  createBuffer(): GuestBuffer
  /**
   * Offer sub-channels, so that there are `count` besides the primary. Returns how many there are. They go when the primary is closed.
   */
  offerSubChannels(count: number): number
  /** The guest broke the device's protocol beyond repair: the channel stops. The guest may close it and open it again. */
  fail(reason: string): void
}

/** A channel as an inspector sees it. */
export interface VmbusChannelInfo {
  /** The kind of device, as {@link VmbusOffer.interfaceId}. */
  readonly interfaceId: string
  /** The device, as {@link VmbusOffer.instanceId}. */
  readonly instanceId: string
  /** 0 for the primary channel. */
  readonly subChannelIndex: number
  /** 0: the guest has no number for it. */
  readonly relid: number
  /** `closed`, `open`, `closing` or `failed`. */
  readonly state: string
  /** The offer is taken back, and the guest has not let go of it yet. */
  readonly revoked: boolean
  /** What has passed so far. */
  readonly counters: Readonly<VmbusCounters>
}

/** A device that is offered. Disposing of it rescinds the offer; it resolves when the device is closed. */
export interface VmbusOffered extends AsyncDisposable {
  /** The device's offer, as the guest sees it. */
  readonly offer: VmbusOffer
}

/** A hypervisor socket that the guest wants to connect to the host (TL_CONNECT_REQUEST). */
export interface VmbusConnectRequest {
  /** GUID that names the guest's end of the connection. */
  readonly endpointId: string
  /** GUID of the service that the guest wants, which is what a host's listener is known by. */
  readonly serviceId: string
}

/** The VMBus of a partition, as devices see it. */
export interface Vmbus {
  /**
   * Offer a device; the guest sees it at once when it runs, or with its first enumeration.
   * @throws PartitaError `ERR_VMBUS_OFFER` when the offer is malformed, or a device with these GUIDs is there
   */
  offer(device: VmbusDevice): VmbusOffered
  /** Who answers connection requests of hypervisor sockets: true when it will offer a channel for it. One at a time. */
  onConnectRequest(callback: (request: VmbusConnectRequest) => boolean): Disposable
  /** The channels as they are now. */
  channels(): readonly VmbusChannelInfo[]
}

/** The partition's VMBus. */
export const vmbusServerToken: ServiceToken<Vmbus> = serviceToken('partita/vmbus-server')
