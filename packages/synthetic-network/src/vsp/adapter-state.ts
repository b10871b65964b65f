// What a guest's driver has set on its adapter, and what the adapter can do: the data that OIDs ask for and change. All of it survives in saved state.

import { BROADCAST, isMulticast } from '@partita/ethernet'
import { PACKET_FILTER } from '../protocol/oid.ts'
import { ReceiveScaling } from './receive-scaling.ts'
import { createStatistics, type NetworkStatistics } from './statistics.ts'

/** Multicast addresses that a guest may list; for more it asks for all. */
export const MAXIMUM_MULTICAST = 64

/** What an adapter offers, from its options. */
export interface AdapterFeatures {
  /** The MAC address at power-on, as a number of 48 bits whose highest byte is the first. */
  readonly permanentAddress: number
  /** The guest may change its address. */
  readonly addressChange: boolean
  /** What the guest is told for a name of the adapter. */
  readonly friendlyName: string
  /** The guest may leave TCP and UDP checksums to the adapter, both ways. */
  readonly checksumOffload: boolean
  /** The guest may send segments of TCP in one piece. */
  readonly largeSendOffload: boolean
  /** The guest may have segments of TCP in one piece. */
  readonly receiveCoalescing: boolean
  /** Receive queues: the primary channel's, and sub-channels'. */
  readonly queues: number
}

/** The port's side of the adapter, as OIDs see it. */
export interface LinkView {
  /** The cable is plugged in. */
  readonly linkUp: boolean
  /** Bits per second. */
  readonly linkSpeed: number
  /** Bytes of the largest packet that network and guest have agreed on. */
  readonly mtu: number
}

/** Kinds of received frames whose checksum the guest leaves to the adapter, as bits. */
export const RX_OFFLOAD = { IP4: 1, TCP4: 2, UDP4: 4, TCP6: 8, UDP6: 16, ALL: 31 } as const

/** The state behind the OIDs. */
export class AdapterState {
  readonly features: AdapterFeatures
  readonly link: LinkView
  readonly scaling: ReceiveScaling
  statistics: NetworkStatistics = createStatistics()
  /** RNDIS INITIALIZE was answered, and no HALT came since. */
  initialized = false
  currentAddress: number
  /** Bits of PACKET_FILTER; 0: the guest wants nothing. */
  filter = 0
  multicast: readonly number[] = []
  /** Bits of {@link RX_OFFLOAD}. */
  rxOffload: number = RX_OFFLOAD.ALL
  coalesceIp4 = false
  coalesceIp6 = false
  lookahead = 0
  ndisMajor = 6
  ndisMinor = 0
  /** The driver understands packets in several parts. */
  coalescingAgreed = false
  /** Called when the guest has changed its address. */
  onAddress: () => void = () => {}

  constructor(features: AdapterFeatures, link: LinkView) {
    this.features = features
    this.link = link
    this.scaling = new ReceiveScaling(features.queues)
    this.currentAddress = features.permanentAddress
  }

  /** The driver is gone, or begins anew. Its address stays until power-off. */
  halt(): void {
    this.initialized = false
    this.filter = 0
    this.multicast = []
    this.rxOffload = RX_OFFLOAD.ALL
    this.coalesceIp4 = false
    this.coalesceIp6 = false
    this.lookahead = 0
    this.scaling.reset()
  }

  /** As after power-on. */
  reset(): void {
    this.halt()
    this.ndisMajor = 6
    this.ndisMinor = 0
    this.coalescingAgreed = false
    this.setAddress(this.features.permanentAddress)
    this.statistics = createStatistics()
  }

  setAddress(address: number): void {
    if (address === this.currentAddress) return
    this.currentAddress = address
    this.onAddress()
  }

  /** Whether the guest wants frames for `destination`. */
  wants(destination: number): boolean {
    const { filter } = this
    if ((filter & PACKET_FILTER.PROMISCUOUS) !== 0) return true
    if (!isMulticast(destination)) return (filter & PACKET_FILTER.DIRECTED) !== 0 && destination === this.currentAddress
    if (destination === BROADCAST) return (filter & PACKET_FILTER.BROADCAST) !== 0
    if ((filter & PACKET_FILTER.ALL_MULTICAST) !== 0) return true
    return (filter & PACKET_FILTER.MULTICAST) !== 0 && this.multicast.includes(destination)
  }
}
