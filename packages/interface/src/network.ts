// A network as its devices see it: a network has ports, and an adapter (the synthetic network adapter of a guest, say) is connected to one. Frames go both
// ways as calls, one frame each, several to a batch; whoever has no room says so and takes the frame later. What stands behind a port (a virtual switch,
// user-mode NAT, a host's interface) is a plug-in of kind `network-backend`.

import { type ServiceToken, serviceToken } from './plugin.ts'

/** What is known of a frame, and what its sender left to others. */
export const FRAME_FLAG = {
  /**
   * The TCP or UDP checksum is incomplete: the two bytes at {@link NetworkFrame.checksumOffset} hold the sum of the pseudo header alone (folded, not inverted),
   * and the inverted sum of everything from {@link NetworkFrame.checksumStart} to the end belongs there.
   */
  CHECKSUM_PARTIAL: 1,
  /** The TCP or UDP checksum was verified by whoever sent the frame, or made by him: nobody needs to look again. Never together with CHECKSUM_PARTIAL. */
  CHECKSUM_VALID: 2,
  /** The frame has the 802.1Q tag {@link NetworkFrame.vlan}, which is not among its bytes. */
  VLAN: 4,
  /**
   * TCP over IPv4, longer than the network's MTU: segments with {@link NetworkFrame.gsoSize} bytes of payload. The headers are those of one large packet, whole and
   * right; CHECKSUM_PARTIAL is set, and {@link NetworkFrame.checksumStart} is where the TCP header begins.
   */
  GSO_TCP4: 8,
  /** As GSO_TCP4, over IPv6. */
  GSO_TCP6: 16,
} as const

/** The bytes of the longest frame: an IPv6 packet with the largest payload length and its Ethernet header. Without GSO, frames are as long as the MTU allows. */
export const MAXIMUM_FRAME_LENGTH: number = 14 + 40 + 65_535

/** Bytes of an Ethernet header. They do not count for the MTU. */
export const ETHERNET_HEADER_LENGTH = 14

/**
 * An Ethernet frame on its way: from the destination's address on, without check sequence, and without padding to 60 bytes. The IPv4 header checksum is always right.
 *
 * It is lent for the time of one call: whoever needs it longer takes a copy, and nobody but its sender stores into its bytes. One object serves many frames.
 */
export interface NetworkFrame {
  /** Memory of the host (never of a guest) that the frame lies in, from `start` to `end`. */
  readonly bytes: Uint8Array
  /** Index in {@link NetworkFrame.bytes} of the frame's first byte. */
  readonly start: number
  /** Index behind its last byte. */
  readonly end: number
  /** Bits of {@link FRAME_FLAG}. */
  readonly flags: number
  /** Bytes from `start` to the beginning of the TCP or UDP header, where CHECKSUM_PARTIAL is set. */
  readonly checksumStart: number
  /** Bytes from `start` to the checksum, where CHECKSUM_PARTIAL is set. */
  readonly checksumOffset: number
  /** Bytes of payload in each segment but the last, where a GSO flag is set. */
  readonly gsoSize: number
  /** Tag control information of 802.1Q where VLAN is set: priority in bits 15–13, drop eligible 12, VLAN 11–0. */
  readonly vlan: number
}

/**
 * The side of the adapter. The network calls it; where it lives in another thread, from the adapter's thread.
 *
 * Any of its methods may be called while the adapter is in a call of {@link NetworkPort.send} or {@link NetworkPort.sendEnd}: a network may answer at once.
 */
export interface NetworkAdapter {
  /** For logs, captures and counters: the id of its plug-in. */
  readonly name: string
  /** Its address now, as text: `02:15:5d:00:00:01`. The guest may change it ({@link NetworkPort.adapterChanged}). */
  readonly macAddress: string
  /** Bits of {@link FRAME_FLAG} that received frames may have. The network does the work of others beforehand, or drops the frame. */
  readonly accepts: number
  /**
   * A frame for the guest. True: taken (or dropped, by the guest's own wish). False: no room; {@link NetworkPort.resume} will tell. Whoever cannot keep a frame so
   * long drops it.
   */
  receive(frame: NetworkFrame): boolean
  /** The batch is over: now the guest is told of its frames. To be called after one or more of `receive`, before control goes back to the event loop. */
  receiveEnd(): void
  /** After {@link NetworkPort.send} returned false: there is room again. */
  writable(): void
  /** The port's link, speed or MTU has changed. */
  portChanged(): void
}

/** The network's side: one adapter's way in. When it is disposed of, nothing is called any more. */
export interface NetworkPort extends AsyncDisposable {
  /** Bits of {@link FRAME_FLAG} that sent frames may have. The adapter does the work of others beforehand. */
  readonly accepts: number
  /** Bytes of the largest packet, Ethernet header and 802.1Q tag not counted. At least 1,280. */
  readonly mtu: number
  /** The cable is plugged in. */
  readonly linkUp: boolean
  /** Bits per second. */
  readonly linkSpeed: number
  /**
   * A frame from the guest. True: taken (or lost, as on any network). False: no room, {@link NetworkAdapter.writable} will tell; the frame comes again then. A network
   * that can slow its senders down that way loses nothing.
   */
  send(frame: NetworkFrame): boolean
  /** The batch is over. Called after one or more of `send`. */
  sendEnd(): void
  /** After {@link NetworkAdapter.receive} returned false: there is room again. The network may call `receive` at once. */
  resume(): void
  /** The adapter's address has changed. */
  adapterChanged(): void
}

/** What an adapter asks for when it is connected. */
export interface NetworkConnection {
  /** Name of one network, where the backend has several. Default: the backend's only or first one. */
  readonly network?: string | undefined
  /** What the backend may know more of this port (VLAN, rate, protection): plain data from the adapter's options, checked by the backend. */
  readonly port?: Readonly<Record<string, unknown>> | undefined
}

/**
 * Networks to which adapters can be connected.
 *
 * @example
 * ```ts
 * // Gives every frame back to its sender.
 * const echo: Network = {
 *   connect: (adapter) => ({
 *     accepts: 0, mtu: 1500, linkUp: true, linkSpeed: 10e9,
 *     send: (frame) => adapter.receive(frame),
 *     sendEnd: () => adapter.receiveEnd(),
 *     resume: () => adapter.writable(),
 *     adapterChanged: () => {},
 *     [Symbol.asyncDispose]: async () => {},
 *   }),
 * }
 * ```
 */
export interface Network {
  /**
   * Give an adapter a port.
   * @throws PartitaError `ERR_NETWORK_UNKNOWN` for a network that there is not, `ERR_NETWORK_PORT` for a port that cannot be made as asked for
   */
  connect(adapter: NetworkAdapter, connection: NetworkConnection): NetworkPort
}

/** The networks of a VM: provided by a plug-in of kind `network-backend`, or by whoever embeds the VM. */
export const networkToken: ServiceToken<Network> = serviceToken('partita/network')
