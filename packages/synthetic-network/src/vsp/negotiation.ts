// NVSP's set-up: what driver and adapter have agreed on, and which version an INIT gets.

import { ETHERNET_HEADER_LENGTH } from '@partita/interface'
import { NVSP_STATUS, NVSP_VERSION } from '../protocol/nvsp.ts'

const VERSIONS: readonly number[] = Object.values(NVSP_VERSION).sort((left, right) => right - left)

/** The frame of a driver that names none: Ethernet's own. */
const DEFAULT_LARGEST_FRAME = 1514
/** An IPv6 packet's least MTU would be 1,280; an IPv4 link may have less. */
const SMALLEST_FRAME: number = ETHERNET_HEADER_LENGTH + 68
const LARGEST_FRAME: number = ETHERNET_HEADER_LENGTH + 65_535

/** Where the set-up stands. */
export interface Negotiation {
  /** 0 until it is agreed on. */
  version: number
  /** Bytes of the largest frame of the driver. */
  largestFrame: number
  /** Capabilities of the driver: NDIS_CONFIG_CAPABILITY. */
  capabilities: number
  /** Sub-channels that the guest asked for. */
  subChannels: number
}

/** The state before the first packet. */
export function startNegotiation(): Negotiation {
  return { version: 0, largestFrame: DEFAULT_LARGEST_FRAME, capabilities: 0, subChannels: 0 }
}

/** The newest version from `minimum` to `maximum` that is not newer than `newest`; 0 when there is none. */
export function chooseVersion(minimum: number, maximum: number, newest: number): number {
  return VERSIONS.find((version) => version >= minimum && version <= maximum && version <= newest) ?? 0
}

/** Why no version was found. */
export function refusal(minimum: number, newest: number): number {
  return minimum > newest ? NVSP_STATUS.PROTOCOL_TOO_NEW : NVSP_STATUS.PROTOCOL_UNSUPPORTED
}

/** The driver's largest frame, within reason. */
export function clampFrame(bytes: number): number {
  return Math.min(LARGEST_FRAME, Math.max(SMALLEST_FRAME, bytes))
}
