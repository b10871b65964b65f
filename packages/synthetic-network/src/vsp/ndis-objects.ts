// NDIS objects that OIDs carry: the offloads that the adapter has, what a guest sets of them, and the capabilities of receive-side scaling.

import { ETHERNET_HEADER_LENGTH } from '@partita/interface'
import {
  CHECKSUM_CAPABILITY,
  NDIS_ENCAPSULATION_8023,
  NDIS_OBJECT,
  NDIS_OFFLOAD_PARAMETERS_SIZE_6_0,
  NDIS_OFFLOAD_SIZE,
  NDIS_RSS_CAPABILITIES_SIZE_1,
  NdisOffload,
  NdisOffloadEncapsulation,
  NdisOffloadParameters,
  NdisRssCapabilities,
  OFFLOAD_ENCAPSULATION_SWITCH,
  OFFLOAD_PARAMETER,
  OFFLOAD_SWITCH,
  RSS_CAPABILITY,
  RSS_TABLE_SIZE,
} from '../protocol/ndis.ts'
import { RNDIS_STATUS } from '../protocol/rndis.ts'
import { type AdapterState, RX_OFFLOAD } from './adapter-state.ts'

/** Bytes of the longest large send that a guest may make; Hyper-V's number. */
const MAXIMUM_LARGE_SEND = 62_780
const TCP4_CHECKSUMS = CHECKSUM_CAPABILITY.TCP | CHECKSUM_CAPABILITY.TCP_OPTIONS
const IP4_CHECKSUMS =
  CHECKSUM_CAPABILITY.IP4 | CHECKSUM_CAPABILITY.IP4_OPTIONS | CHECKSUM_CAPABILITY.UDP | TCP4_CHECKSUMS
const IP6_CHECKSUMS = CHECKSUM_CAPABILITY.IP6_EXTENSIONS | CHECKSUM_CAPABILITY.UDP | TCP4_CHECKSUMS

/** The newest revision of NDIS_OFFLOAD that a driver of this version of NDIS knows. */
function offloadRevision(major: number, minor: number): 1 | 2 | 3 {
  if (major > 6 || (major === 6 && minor >= 30)) return 3
  return major === 6 && minor >= 1 ? 2 : 1
}

/**
 * NDIS_OFFLOAD at `at`: what the adapter can do, or with `current` what is switched on. `asked` is the revision in the question, 0 without one. Returns its length.
 */
export function writeOffload(state: AdapterState, view: DataView, at: number, asked: number, current: boolean): number {
  const newest = offloadRevision(state.ndisMajor, state.ndisMinor)
  const revision = (asked >= 1 && asked < newest ? asked : newest) as 1 | 2 | 3
  const size = NDIS_OFFLOAD_SIZE[revision]
  for (let byte = 0; byte < size; byte++) view.setUint8(at + byte, 0)
  const { checksumOffload, largeSendOffload } = state.features
  // The last fields are behind the end of older revisions; what is stored there is not sent.
  const offload = new NdisOffload(view, at)
  offload.type = NDIS_OBJECT.OFFLOAD
  offload.revision = revision
  offload.size = size
  if (checksumOffload) {
    offload.ip4TxEncapsulation = NDIS_ENCAPSULATION_8023
    offload.ip4TxChecksum = IP4_CHECKSUMS
    offload.ip6TxEncapsulation = NDIS_ENCAPSULATION_8023
    offload.ip6TxChecksum = IP6_CHECKSUMS
    const rx = current ? state.rxOffload : RX_OFFLOAD.ALL
    offload.ip4RxEncapsulation = NDIS_ENCAPSULATION_8023
    offload.ip4RxChecksum =
      ((rx & RX_OFFLOAD.IP4) !== 0 ? CHECKSUM_CAPABILITY.IP4 | CHECKSUM_CAPABILITY.IP4_OPTIONS : 0) |
      ((rx & RX_OFFLOAD.TCP4) !== 0 ? TCP4_CHECKSUMS : 0) |
      ((rx & RX_OFFLOAD.UDP4) !== 0 ? CHECKSUM_CAPABILITY.UDP : 0)
    offload.ip6RxEncapsulation = NDIS_ENCAPSULATION_8023
    offload.ip6RxChecksum =
      ((rx & RX_OFFLOAD.TCP6) !== 0 ? CHECKSUM_CAPABILITY.IP6_EXTENSIONS | TCP4_CHECKSUMS : 0) |
      ((rx & RX_OFFLOAD.UDP6) !== 0 ? CHECKSUM_CAPABILITY.UDP : 0)
  }
  if (largeSendOffload) {
    offload.lso1Encapsulation = NDIS_ENCAPSULATION_8023
    offload.lso1MaximumSize = MAXIMUM_LARGE_SEND
    offload.lso1MinimumSegments = 2
    // TCP and IP options.
    offload.lso1Options = 3
    offload.lso2Ip4Encapsulation = NDIS_ENCAPSULATION_8023
    offload.lso2Ip4MaximumSize = MAXIMUM_LARGE_SEND
    offload.lso2Ip4MinimumSegments = 2
    offload.lso2Ip6Encapsulation = NDIS_ENCAPSULATION_8023
    offload.lso2Ip6MaximumSize = MAXIMUM_LARGE_SEND
    offload.lso2Ip6MinimumSegments = 2
    offload.lso2Ip6Options = CHECKSUM_CAPABILITY.IP6_EXTENSIONS | CHECKSUM_CAPABILITY.TCP_OPTIONS
  }
  if (revision === 3 && state.features.receiveCoalescing && state.coalescingAgreed) {
    offload.rscIp4 = !current || state.coalesceIp4 ? 1 : 0
    offload.rscIp6 = !current || state.coalesceIp6 ? 1 : 0
  }
  return size
}

/** NDIS_OFFLOAD_PARAMETERS in `length` bytes at `at`. Returns an RNDIS status. */
export function setOffloadParameters(state: AdapterState, view: DataView, at: number, length: number): number {
  if (length < NDIS_OFFLOAD_PARAMETERS_SIZE_6_0) return RNDIS_STATUS.INVALID_LENGTH
  if (view.getUint8(at) !== NDIS_OBJECT.DEFAULT) return RNDIS_STATUS.INVALID_DATA
  const parameters = new NdisOffloadParameters(view, at)
  const checksum = (value: number, bit: number): void => {
    if (value === OFFLOAD_PARAMETER.NO_CHANGE) return
    if (value === OFFLOAD_PARAMETER.RX || value === OFFLOAD_PARAMETER.TX_RX) state.rxOffload |= bit
    else state.rxOffload &= ~bit
  }
  checksum(parameters.ip4Checksum, RX_OFFLOAD.IP4)
  checksum(parameters.tcp4Checksum, RX_OFFLOAD.TCP4)
  checksum(parameters.udp4Checksum, RX_OFFLOAD.UDP4)
  checksum(parameters.tcp6Checksum, RX_OFFLOAD.TCP6)
  checksum(parameters.udp6Checksum, RX_OFFLOAD.UDP6)
  // What a driver sends is as it asks for in each frame: there is nothing to keep of the ways out.
  if (length < NdisOffloadParameters.offsets.rscIp6 + 1) return RNDIS_STATUS.SUCCESS
  const able = state.features.receiveCoalescing && state.coalescingAgreed
  if (parameters.rscIp4 !== OFFLOAD_SWITCH.NO_CHANGE)
    state.coalesceIp4 = able && parameters.rscIp4 === OFFLOAD_SWITCH.ENABLED
  if (parameters.rscIp6 !== OFFLOAD_SWITCH.NO_CHANGE)
    state.coalesceIp6 = able && parameters.rscIp6 === OFFLOAD_SWITCH.ENABLED
  return RNDIS_STATUS.SUCCESS
}

/** NDIS_OFFLOAD_ENCAPSULATION at `at`: Ethernet, for both versions of IP. Returns its length. */
export function writeOffloadEncapsulation(view: DataView, at: number): number {
  const encapsulation = new NdisOffloadEncapsulation(view, at)
  encapsulation.type = NDIS_OBJECT.OFFLOAD_ENCAPSULATION
  encapsulation.revision = 1
  encapsulation.size = NdisOffloadEncapsulation.size
  encapsulation.ip4Enabled = 1
  encapsulation.ip4Encapsulation = NDIS_ENCAPSULATION_8023
  encapsulation.ip4HeaderSize = ETHERNET_HEADER_LENGTH
  encapsulation.ip6Enabled = 1
  encapsulation.ip6Encapsulation = NDIS_ENCAPSULATION_8023
  encapsulation.ip6HeaderSize = ETHERNET_HEADER_LENGTH
  return NdisOffloadEncapsulation.size
}

/** NDIS_OFFLOAD_ENCAPSULATION in `length` bytes at `at`: nothing but Ethernet headers can be before the packets. Returns an RNDIS status. */
export function setOffloadEncapsulation(view: DataView, at: number, length: number): number {
  if (length < NdisOffloadEncapsulation.size) return RNDIS_STATUS.INVALID_LENGTH
  const encapsulation = new NdisOffloadEncapsulation(view, at)
  if (encapsulation.type !== NDIS_OBJECT.OFFLOAD_ENCAPSULATION) return RNDIS_STATUS.INVALID_DATA
  const possible = (enabled: number, type: number, headerSize: number): boolean =>
    enabled !== OFFLOAD_ENCAPSULATION_SWITCH.ON ||
    (type === NDIS_ENCAPSULATION_8023 && headerSize === ETHERNET_HEADER_LENGTH)
  const { ip4Enabled, ip4Encapsulation, ip4HeaderSize, ip6Enabled, ip6Encapsulation, ip6HeaderSize } = encapsulation
  return possible(ip4Enabled, ip4Encapsulation, ip4HeaderSize) && possible(ip6Enabled, ip6Encapsulation, ip6HeaderSize)
    ? RNDIS_STATUS.SUCCESS
    : RNDIS_STATUS.NOT_SUPPORTED
}

/** NDIS_RECEIVE_SCALE_CAPABILITIES at `at`; `asked` as for {@link writeOffload}. Returns its length. */
export function writeRssCapabilities(state: AdapterState, view: DataView, at: number, asked: number): number {
  const capabilities = new NdisRssCapabilities(view, at)
  const revision = asked === 1 || offloadRevision(state.ndisMajor, state.ndisMinor) < 3 ? 1 : 2
  const size = revision === 1 ? NDIS_RSS_CAPABILITIES_SIZE_1 : NdisRssCapabilities.size
  capabilities.type = NDIS_OBJECT.RSS_CAPABILITIES
  capabilities.revision = revision
  capabilities.size = size
  capabilities.capabilities =
    RSS_CAPABILITY.TOEPLITZ |
    RSS_CAPABILITY.TCP_IPV4 |
    RSS_CAPABILITY.TCP_IPV6 |
    RSS_CAPABILITY.TCP_IPV6_EX |
    RSS_CAPABILITY.MESSAGE_SIGNALED_INTERRUPTS |
    RSS_CAPABILITY.CLASSIFICATION_AT_ISR |
    RSS_CAPABILITY.CLASSIFICATION_AT_DPC
  capabilities.interruptMessages = state.features.queues
  capabilities.receiveQueues = state.features.queues
  capabilities.tableEntries = RSS_TABLE_SIZE
  return size
}
