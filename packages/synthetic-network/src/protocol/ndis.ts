// NDIS objects inside of OIDs: offloads (NDIS_OFFLOAD, NDIS_OFFLOAD_PARAMETERS) and receive-side scaling.

import { pad, type StructType, type StructView, struct, u8, u16, u32 } from '@partita/struct'

/** Types in the header of an object. */
export const NDIS_OBJECT = {
  DEFAULT: 0x80,
  RSS_CAPABILITIES: 0x88,
  RSS_PARAMETERS: 0x89,
  OFFLOAD: 0xa7,
  OFFLOAD_ENCAPSULATION: 0xa8,
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
  /** OFFLOAD of {@link NDIS_OBJECT}. */
  type: number
  /** 1 to 3, by the version of NDIS: see {@link NDIS_OFFLOAD_SIZE}. */
  revision: number
  /** Bytes of the object in this revision. */
  size: number
  /** Checksums of what the guest sends over IPv4 (`ip4`) and IPv6 (`ip6`): {@link NDIS_ENCAPSULATION_8023}, or 0 for none. */
  ip4TxEncapsulation: number
  /** Which of them: bits of {@link CHECKSUM_CAPABILITY}. */
  ip4TxChecksum: number
  /** The same for checksums of what the guest receives. */
  ip4RxEncapsulation: number
  /** Which of them: bits of {@link CHECKSUM_CAPABILITY}. */
  ip4RxChecksum: number
  ip6TxEncapsulation: number
  ip6TxChecksum: number
  ip6RxEncapsulation: number
  ip6RxChecksum: number
  /** Large sends, version 1 (TCP over IPv4): {@link NDIS_ENCAPSULATION_8023}, or 0 for none. */
  lso1Encapsulation: number
  /** Bytes of the longest large send. */
  lso1MaximumSize: number
  /** Fewer segments than this are not to be sent so. */
  lso1MinimumSegments: number
  /** Bit 0: TCP options are allowed; bit 1: IP options are. */
  lso1Options: number
  /** Large sends, version 2, over IPv4 and IPv6: {@link NDIS_ENCAPSULATION_8023}, or 0 for none. */
  lso2Ip4Encapsulation: number
  /** Bytes of the longest large send. */
  lso2Ip4MaximumSize: number
  /** Fewer segments than this are not to be sent so. */
  lso2Ip4MinimumSegments: number
  lso2Ip6Encapsulation: number
  lso2Ip6MaximumSize: number
  lso2Ip6MinimumSegments: number
  /** IPv6 extension headers and TCP options that are allowed: bits of {@link CHECKSUM_CAPABILITY}. */
  lso2Ip6Options: number
  /** Offloads of connections; 0. */
  flags: number
  /** 1: segments of TCP over IPv4 (`rscIp6`: IPv6) are coalesced on the way to the guest. */
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

/** NDIS_OFFLOAD_ENCAPSULATION: behind which headers a driver's packets are. */
export interface NdisOffloadEncapsulation extends StructView {
  /** OFFLOAD_ENCAPSULATION of {@link NDIS_OBJECT}. */
  type: number
  /** 1. */
  revision: number
  /** Bytes of the object in this revision. */
  size: number
  /** In an answer 1 for "yes, over IPv4"; in what a driver sets one of {@link OFFLOAD_ENCAPSULATION_SWITCH}. */
  ip4Enabled: number
  /** {@link NDIS_ENCAPSULATION_8023}. */
  ip4Encapsulation: number
  /** Bytes before the IP header. */
  ip4HeaderSize: number
  /** The same for IPv6. */
  ip6Enabled: number
  ip6Encapsulation: number
  ip6HeaderSize: number
}
export const NdisOffloadEncapsulation: StructType<NdisOffloadEncapsulation> = struct<NdisOffloadEncapsulation>({
  type: u8,
  revision: u8,
  size: u16,
  ip4Enabled: u32,
  ip4Encapsulation: u32,
  ip4HeaderSize: u32,
  ip6Enabled: u32,
  ip6Encapsulation: u32,
  ip6HeaderSize: u32,
})
/** What a driver sets of {@link NdisOffloadEncapsulation}. */
export const OFFLOAD_ENCAPSULATION_SWITCH = { ON: 1, OFF: 2 } as const

/** NDIS_OFFLOAD_PARAMETERS. The first 22 bytes are those of NDIS 6.1. */
export interface NdisOffloadParameters extends StructView {
  /** DEFAULT of {@link NDIS_OBJECT}. */
  type: number
  /** Grows with the version of NDIS, as the fields do; 3 from 6.30 on. */
  revision: number
  /** Bytes of the object in this revision. */
  size: number
  /** Checksum of IPv4 headers: one of {@link OFFLOAD_PARAMETER}. */
  ip4Checksum: number
  /** Checksum of TCP over IPv4, and over IPv6: one of {@link OFFLOAD_PARAMETER}. */
  tcp4Checksum: number
  /** Checksum of UDP over IPv4, and over IPv6: one of {@link OFFLOAD_PARAMETER}. */
  udp4Checksum: number
  tcp6Checksum: number
  udp6Checksum: number
  /** Large sends, version 1: one of {@link OFFLOAD_SWITCH}. */
  lso1: number
  /** Large sends, version 2, over IPv4, and over IPv6: one of {@link OFFLOAD_SWITCH}. */
  lso2Ip4: number
  lso2Ip6: number
  /** 0. */
  flags: number
  /** Coalescing of received segments over IPv4, and over IPv6: one of {@link OFFLOAD_SWITCH}. */
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
/** Bytes of NDIS_OFFLOAD_PARAMETERS up to the checksum and large send settings. */
export const NDIS_OFFLOAD_PARAMETERS_SIZE_6_0 = 20

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
  /** RSS_CAPABILITIES of {@link NDIS_OBJECT}. */
  type: number
  /** 1, or 2 from NDIS 6.30 on. */
  revision: number
  /** Bytes of the object in this revision. */
  size: number
  /** Bits of {@link RSS_CAPABILITY}. */
  capabilities: number
  /** Interrupts that the adapter has: one a queue. */
  interruptMessages: number
  /** Receive queues, which are channels. */
  receiveQueues: number
  /** Most entries of the indirection table, {@link RSS_TABLE_SIZE}. */
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
  /** RSS_PARAMETERS of {@link NDIS_OBJECT}. */
  type: number
  /** Revision of the object. Not looked at. */
  revision: number
  /** Bytes of the object in this revision, without table and key. */
  size: number
  /** What is not to be changed, and DISABLE: bits of {@link RSS_FLAG}. */
  flags: number
  /** Number of the processor that the table counts from. Not looked at: the table has numbers of queues. */
  baseCpu: number
  /** The hash function and what goes into it: bits of {@link RSS_HASH}; 0 switches scaling off. */
  hashInformation: number
  /** Bytes of the indirection table, whose entries are numbers of queues; a power of two of entries. */
  tableSize: number
  /** Where the table begins. */
  tableOffset: number
  /** Bytes of the hash's secret key, at most {@link RSS_KEY_SIZE}. */
  keySize: number
  /** Where the key begins. */
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
  /** DEFAULT of {@link NDIS_OBJECT}. */
  type: number
  /** 1. */
  revision: number
  /** Bytes of the object in this revision. */
  size: number
  /** 1: the cable is plugged in; 2: it is not. */
  mediaConnectState: number
  /** 2: both ways at once. */
  mediaDuplexState: number
  /** Bits per second from the guest, low word. */
  transmitSpeedLow: number
  /** High word. */
  transmitSpeedHigh: number
  /** Bits per second to the guest, low word. */
  receiveSpeedLow: number
  /** High word. */
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
  /** Where the name begins. `NetworkAddress` is the only one that is known. */
  nameOffset: number
  /** Bytes of the name. */
  nameLength: number
  /** {@link CONFIG_PARAMETER_STRING}, or another type, which is refused. */
  type: number
  /** Where the value begins: a MAC address as text. */
  valueOffset: number
  /** Bytes of the value. */
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
