// NDIS objects inside of OIDs: offloads (NDIS_OFFLOAD, NDIS_OFFLOAD_PARAMETERS) and receive-side scaling.

import { pad, type StructType, type StructView, struct, u8, u16, u32 } from '@partita/struct'

/** Types in the header of an object. */
export const NDIS_OBJECT = {
  DEFAULT: 0x80,
  RSS_CAPABILITIES: 0x88,
  RSS_PARAMETERS: 0x89,
  OFFLOAD: 0xa7,
} as const

/** Encapsulation: Ethernet. */
export const NDIS_ENCAPSULATION_8023 = 0x0002

/** Bits of checksum capabilities. */
export const CHECKSUM_CAPABILITY = {
  IP4_OPTIONS: 0x001,
  IP6_EXTENSIONS: 0x001,
  TCP_OPTIONS: 0x004,
  TCP: 0x010,
  UDP: 0x040,
  IP4: 0x100,
} as const

/** NDIS_OFFLOAD. What follows `flags` came with NDIS 6.1, what follows `saCapabilities` with 6.30. */
export interface NdisOffload extends StructView {
  type: number
  revision: number
  size: number
  ip4TxEncapsulation: number
  ip4TxChecksum: number
  ip4RxEncapsulation: number
  ip4RxChecksum: number
  ip6TxEncapsulation: number
  ip6TxChecksum: number
  ip6RxEncapsulation: number
  ip6RxChecksum: number
  lso1Encapsulation: number
  lso1MaximumSize: number
  lso1MinimumSegments: number
  lso1Options: number
  lso2Ip4Encapsulation: number
  lso2Ip4MaximumSize: number
  lso2Ip4MinimumSegments: number
  lso2Ip6Encapsulation: number
  lso2Ip6MaximumSize: number
  lso2Ip6MinimumSegments: number
  lso2Ip6Options: number
  flags: number
  rscIp4: number
  rscIp6: number
}
export const NdisOffload: StructType<NdisOffload> = struct<NdisOffload>({
  type: u8,
  revision: u8,
  size: u16,
  ip4TxEncapsulation: u32,
  ip4TxChecksum: u32,
  ip4RxEncapsulation: u32,
  ip4RxChecksum: u32,
  ip6TxEncapsulation: u32,
  ip6TxChecksum: u32,
  ip6RxEncapsulation: u32,
  ip6RxChecksum: u32,
  lso1Encapsulation: u32,
  lso1MaximumSize: u32,
  lso1MinimumSegments: u32,
  lso1Options: u32,
  _ipsec1: pad(28),
  lso2Ip4Encapsulation: u32,
  lso2Ip4MaximumSize: u32,
  lso2Ip4MinimumSegments: u32,
  lso2Ip6Encapsulation: u32,
  lso2Ip6MaximumSize: u32,
  lso2Ip6MinimumSegments: u32,
  lso2Ip6Options: u32,
  flags: u32,
  _ipsec2: pad(32),
  rscIp4: u8,
  rscIp6: u8,
  _reserved: pad(2),
  _encapsulation: pad(8),
})
/** Bytes of NDIS_OFFLOAD by its revision. */
export const NDIS_OFFLOAD_SIZE: Readonly<Record<1 | 2 | 3, number>> = { 1: 112, 2: 144, 3: NdisOffload.size }

/** Values in NDIS_OFFLOAD_PARAMETERS: of checksums, and of everything else. */
export const OFFLOAD_PARAMETER = { NO_CHANGE: 0, DISABLED: 1, TX: 2, RX: 3, TX_RX: 4 } as const
/** What a guest asks of an offload. */
export const OFFLOAD_SWITCH = { NO_CHANGE: 0, DISABLED: 1, ENABLED: 2 } as const

/** NDIS_OFFLOAD_PARAMETERS. The first 22 bytes are those of NDIS 6.1. */
export interface NdisOffloadParameters extends StructView {
  type: number
  revision: number
  size: number
  ip4Checksum: number
  tcp4Checksum: number
  udp4Checksum: number
  tcp6Checksum: number
  udp6Checksum: number
  lso1: number
  lso2Ip4: number
  lso2Ip6: number
  flags: number
  rscIp4: number
  rscIp6: number
}
export const NdisOffloadParameters: StructType<NdisOffloadParameters> = struct<NdisOffloadParameters>({
  type: u8,
  revision: u8,
  size: u16,
  ip4Checksum: u8,
  tcp4Checksum: u8,
  udp4Checksum: u8,
  tcp6Checksum: u8,
  udp6Checksum: u8,
  lso1: u8,
  _ipsec1: pad(1),
  lso2Ip4: u8,
  lso2Ip6: u8,
  _tcpConnection: pad(2),
  _alignment: pad(1),
  flags: u32,
  _ipsec2: pad(2),
  rscIp4: u8,
  rscIp6: u8,
  _encapsulation: pad(4),
})
/** Bytes of NDIS_OFFLOAD_PARAMETERS up to the checksum and large send settings, and in NDIS 6.1. */
export const NDIS_OFFLOAD_PARAMETERS_SIZE_6_0 = 20
/** Bytes of the parameters in revision 1, without what later ones add. */
export const NDIS_OFFLOAD_PARAMETERS_SIZE_6_1 = 22

/** Bits of the capabilities of receive-side scaling, with the Toeplitz function as the lowest. */
export const RSS_CAPABILITY = {
  TOEPLITZ: 0x0000_0001,
  TCP_IPV4: 0x0000_0100,
  TCP_IPV6: 0x0000_0200,
  TCP_IPV6_EX: 0x0000_0400,
  MESSAGE_SIGNALED_INTERRUPTS: 0x0100_0000,
  CLASSIFICATION_AT_ISR: 0x0200_0000,
  CLASSIFICATION_AT_DPC: 0x0400_0000,
} as const
/** Bits of the hash information. */
export const RSS_HASH = {
  TOEPLITZ: 0x0001,
  IPV4: 0x0100,
  TCP_IPV4: 0x0200,
  IPV6: 0x0400,
  IPV6_EX: 0x0800,
  TCP_IPV6: 0x1000,
  TCP_IPV6_EX: 0x2000,
} as const
/** Flags of NDIS_RECEIVE_SCALE_PARAMETERS. */
export const RSS_FLAG = {
  BASE_CPU_UNCHANGED: 0x01,
  HASH_INFO_UNCHANGED: 0x02,
  TABLE_UNCHANGED: 0x04,
  KEY_UNCHANGED: 0x08,
  DISABLE: 0x10,
} as const
/** Entries of the indirection table, and bytes of the secret key, at most. */
export const RSS_TABLE_SIZE = 128
/** Bytes of the secret key of receive-side scaling. */
export const RSS_KEY_SIZE = 40

/** NDIS_RECEIVE_SCALE_CAPABILITIES. The last field came with revision 2. */
export interface NdisRssCapabilities extends StructView {
  type: number
  revision: number
  size: number
  capabilities: number
  interruptMessages: number
  receiveQueues: number
  tableEntries: number
}
export const NdisRssCapabilities: StructType<NdisRssCapabilities> = struct<NdisRssCapabilities>({
  type: u8,
  revision: u8,
  size: u16,
  capabilities: u32,
  interruptMessages: u32,
  receiveQueues: u32,
  tableEntries: u16,
})
/** Bytes of the capabilities in revision 1. */
export const NDIS_RSS_CAPABILITIES_SIZE_1 = 16

/** NDIS_RECEIVE_SCALE_PARAMETERS. Offsets count from its beginning; the table has entries of 4 bytes. */
export interface NdisRssParameters extends StructView {
  type: number
  revision: number
  size: number
  flags: number
  baseCpu: number
  hashInformation: number
  tableSize: number
  tableOffset: number
  keySize: number
  keyOffset: number
}
export const NdisRssParameters: StructType<NdisRssParameters> = struct<NdisRssParameters>({
  type: u8,
  revision: u8,
  size: u16,
  flags: u16,
  baseCpu: u16,
  hashInformation: u32,
  tableSize: u16,
  _reserved: pad(2),
  tableOffset: u32,
  keySize: u16,
  _reserved2: pad(2),
  keyOffset: u32,
})

/** NDIS_LINK_STATE. */
export interface NdisLinkState extends StructView {
  type: number
  revision: number
  size: number
  mediaConnectState: number
  mediaDuplexState: number
  transmitSpeedLow: number
  transmitSpeedHigh: number
  receiveSpeedLow: number
  receiveSpeedHigh: number
}
export const NdisLinkState: StructType<NdisLinkState> = struct<NdisLinkState>({
  type: u8,
  revision: u8,
  size: u16,
  mediaConnectState: u32,
  mediaDuplexState: u32,
  _alignment: pad(4),
  transmitSpeedLow: u32,
  transmitSpeedHigh: u32,
  receiveSpeedLow: u32,
  receiveSpeedHigh: u32,
  _pause: pad(8),
})

/** The information of GEN_RNDIS_CONFIG_PARAMETER. Offsets count from its beginning; names and strings are UTF-16. */
export interface RndisConfigParameter extends StructView {
  nameOffset: number
  nameLength: number
  type: number
  valueOffset: number
  valueLength: number
}
export const RndisConfigParameter: StructType<RndisConfigParameter> = struct<RndisConfigParameter>({
  nameOffset: u32,
  nameLength: u32,
  type: u32,
  valueOffset: u32,
  valueLength: u32,
})
/** Type of a string parameter. */
export const CONFIG_PARAMETER_STRING = 2
