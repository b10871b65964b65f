// What an adapter counts: for OIDs, and for whoever looks at it from the host.

import { BROADCAST, isMulticast } from '@partita/ethernet'

/** One way's counters, by the kind of the destination's address. */
export interface Traffic {
  /** Frames to one station. */
  directedFrames: number
  /** Bytes of those, from the Ethernet header on. */
  directedBytes: number
  /** Frames to a group. */
  multicastFrames: number
  /** Bytes of those. */
  multicastBytes: number
  /** Frames to all. */
  broadcastFrames: number
  /** Bytes of those. */
  broadcastBytes: number
}

/** Counters since power-on. "Transmitted" is from the guest. */
export interface NetworkStatistics {
  /** What the guest has sent, and the network taken. */
  readonly transmitted: Traffic
  /** What the guest has got. */
  readonly received: Traffic
  /** Frames of the guest that made no sense. */
  transmitErrors: number
  /** Frames of the guest that the network, or nobody, took. */
  transmitDiscards: number
  /** Frames that the guest cannot take. */
  receiveErrors: number
  /** Frames that the guest does not want. */
  receiveFiltered: number
  /** Times that a frame had to wait for a section of the receive buffer. */
  receiveNoBuffer: number
  /** Large sends of the guest. */
  largeSends: number
  /** Packets in several parts. */
  coalesced: number
}

function traffic(): Traffic {
  return {
    directedFrames: 0,
    directedBytes: 0,
    multicastFrames: 0,
    multicastBytes: 0,
    broadcastFrames: 0,
    broadcastBytes: 0,
  }
}

/** All zero. */
export function createStatistics(): NetworkStatistics {
  return {
    transmitted: traffic(),
    received: traffic(),
    transmitErrors: 0,
    transmitDiscards: 0,
    receiveErrors: 0,
    receiveFiltered: 0,
    receiveNoBuffer: 0,
    largeSends: 0,
    coalesced: 0,
  }
}

/** Count a frame. */
export function count(traffic: Traffic, destination: number, bytes: number): void {
  if (!isMulticast(destination)) {
    traffic.directedFrames++
    traffic.directedBytes += bytes
  } else if (destination === BROADCAST) {
    traffic.broadcastFrames++
    traffic.broadcastBytes += bytes
  } else {
    traffic.multicastFrames++
    traffic.multicastBytes += bytes
  }
}

/** Frames of all kinds. */
export function frames(traffic: Traffic): number {
  return traffic.directedFrames + traffic.multicastFrames + traffic.broadcastFrames
}

/** Bytes of all kinds. */
export function bytes(traffic: Traffic): number {
  return traffic.directedBytes + traffic.multicastBytes + traffic.broadcastBytes
}
