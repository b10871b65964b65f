// A channel as the server's state machine keeps it: plain state, from the offer to its release.

import type { VmbusChannelHandler, VmbusCounters, VmbusDevice } from '@partita/interface'
import type { ChannelIo } from './channel-io.ts'

/**
 * Where a channel stands.
 *
 * - `closed`: not open; the guest may open it when it is offered
 * - `open`: rings are set up and the device serves it
 * - `closing`: the device finishes what is in flight; a re-open can be waiting
 * - `failed`: the device or the ring broke; nothing moves until the guest closes it
 */
type ChannelState = 'closed' | 'open' | 'closing' | 'failed'

/** What the guest asked for in OPEN_CHANNEL. */
export interface OpenRequest {
  readonly openId: number
  readonly gpadlId: number
  readonly downstreamPageOffset: number
  readonly userData: Uint8Array
  /** What the guest signals. */
  readonly connectionId: number
  /** What the server sets in the guest. */
  readonly eventFlag: number
  targetVp: number
}

/** One channel. */
export interface Channel {
  readonly device: VmbusDevice
  readonly subChannelIndex: number
  readonly key: string
  /** The primary channel of a sub-channel. */
  readonly primary: Channel | undefined
  readonly subChannels: Channel[]
  readonly counters: VmbusCounters
  /** The number under which the guest knows it, 0 while it does not. */
  relid: number
  /** Its bit in the monitor page, where it has one. */
  monitorId: number | undefined
  /** The offer is taken back; the number is kept until the guest releases it. */
  revoked: boolean
  /** The guest released the number of an offer that stands: it is not offered again on this connection. */
  declined: boolean
  state: ChannelState
  /** Between a successful open and the guest's close: it may send no other open. */
  guestOpen: boolean
  /** The request that opened it, while it is open or closing. */
  request: OpenRequest | undefined
  /** A request that came while it was closing. */
  reopen: OpenRequest | undefined
  io: ChannelIo | undefined
  handler: VmbusChannelHandler | undefined
  port: Disposable | undefined
  /** Resolved when a revoked channel is closed on the host's side. */
  readonly gone: PromiseWithResolvers<void>
}

/** A channel that is not offered yet. */
export function createChannel(device: VmbusDevice, key: string, subChannelIndex = 0, primary?: Channel): Channel {
  return {
    device,
    subChannelIndex,
    key,
    primary,
    subChannels: [],
    counters: {
      packetsIn: 0,
      packetsOut: 0,
      bytesIn: 0,
      bytesOut: 0,
      signalsIn: 0,
      signalsOut: 0,
      signalsSpared: 0,
      ringFull: 0,
      opens: 0,
    },
    relid: 0,
    monitorId: undefined,
    revoked: false,
    declined: false,
    state: 'closed',
    guestOpen: false,
    request: undefined,
    reopen: undefined,
    io: undefined,
    handler: undefined,
    port: undefined,
    gone: Promise.withResolvers<void>(),
  }
}
