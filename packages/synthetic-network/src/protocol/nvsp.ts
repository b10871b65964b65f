// NVSP: what is in the packets of a network adapter's channels. Every message begins with its type; the structs here include it.

import { pad, type StructType, type StructView, struct, u8, u16, u32 } from '@partita/struct'

/** The interface of network adapters. */
export const NETWORK_INTERFACE_ID = 'f8615163-df3e-46c5-913f-f2d2f965ed0e'

/** Protocol versions, `major << 16 | minor`. The first has a number of its own. */
export const NVSP_VERSION = {
  V1: 0x0000_0002,
  V2: 0x0003_0002,
  V4: 0x0004_0000,
  V5: 0x0005_0000,
  V6: 0x0006_0000,
  V61: 0x0006_0001,
} as const

/** Types of messages. */
export const NVSP_MESSAGE = {
  NONE: 0,
  INIT: 1,
  INIT_COMPLETE: 2,
  SEND_NDIS_VERSION: 100,
  SEND_RECEIVE_BUFFER: 101,
  SEND_RECEIVE_BUFFER_COMPLETE: 102,
  REVOKE_RECEIVE_BUFFER: 103,
  SEND_SEND_BUFFER: 104,
  SEND_SEND_BUFFER_COMPLETE: 105,
  REVOKE_SEND_BUFFER: 106,
  SEND_RNDIS_PACKET: 107,
  SEND_RNDIS_PACKET_COMPLETE: 108,
  SEND_NDIS_CONFIG: 125,
  SEND_VF_ASSOCIATION: 128,
  SWITCH_DATA_PATH: 129,
  OID_QUERY_EX: 131,
  OID_QUERY_EX_COMPLETE: 132,
  SUB_CHANNEL: 133,
  SEND_INDIRECTION_TABLE: 134,
  PD_API: 135,
} as const

/** Status of an answer. */
export const NVSP_STATUS = {
  SUCCESS: 1,
  FAILURE: 2,
  PROTOCOL_TOO_NEW: 3,
  PROTOCOL_TOO_OLD: 4,
  INVALID_RNDIS_PACKET: 5,
  BUSY: 6,
  PROTOCOL_UNSUPPORTED: 7,
} as const

/** Bytes of a packet before 6.1: the largest message. Both sides send no shorter ones. */
export const PACKET_SIZE_V1 = 0x1c
/** Bytes of a packet in 6.1. */
export const PACKET_SIZE_V61 = 0x28

/** Bytes of a packet in `version`. */
export function packetSize(version: number): number {
  return version >= NVSP_VERSION.V61 ? PACKET_SIZE_V61 : PACKET_SIZE_V1
}

/** Which way an RNDIS message belongs to. */
export const RNDIS_CHANNEL = { DATA: 0, CONTROL: 1 } as const

/** No section of the send buffer: everything is in the packet's pages. */
export const NO_SEND_SECTION = 0xffff_ffff

/** Capabilities in SEND_NDIS_CONFIG, low word. */
export const NDIS_CONFIG_CAPABILITY = {
  VMQ: 0x01,
  CHIMNEY: 0x02,
  SRIOV: 0x04,
  IEEE_8021Q: 0x08,
  CORRELATION_ID: 0x10,
  TEAMING: 0x20,
  VIRTUAL_SUBNET_ID: 0x40,
  RSC: 0x80,
} as const

/** The only operation of SUB_CHANNEL. */
export const SUB_CHANNEL_ALLOCATE = 1
/** Entries of the table of SEND_INDIRECTION_TABLE. */
export const SEND_TABLE_SIZE = 16

/** INIT. */
export interface NvspInit extends StructView {
  /** INIT of {@link NVSP_MESSAGE}. */
  messageType: number
  /** The oldest of {@link NVSP_VERSION} that the guest takes. */
  minimumVersion: number
  /** The newest; guests ask for one version at a time, so both are the same. */
  maximumVersion: number
}
export const NvspInit: StructType<NvspInit> = struct<NvspInit>({
  messageType: u32,
  minimumVersion: u32,
  maximumVersion: u32,
})

/** INIT_COMPLETE. */
export interface NvspInitComplete extends StructView {
  /** INIT_COMPLETE of {@link NVSP_MESSAGE}. */
  messageType: number
  /** The version that is agreed on; 0 where it is not. */
  version: number
  /** In how many pieces the guest's memory for a packet may lie. No guest looks at it. */
  maximumMdlChainLength: number
  /** One of {@link NVSP_STATUS}. */
  status: number
}
export const NvspInitComplete: StructType<NvspInitComplete> = struct<NvspInitComplete>({
  messageType: u32,
  version: u32,
  maximumMdlChainLength: u32,
  status: u32,
})

/** SEND_NDIS_VERSION. */
export interface NvspNdisVersion extends StructView {
  /** SEND_NDIS_VERSION of {@link NVSP_MESSAGE}. */
  messageType: number
  /** The version of NDIS that the guest's driver speaks: 6. */
  major: number
  /** 1 below NVSP 5, and 30 from it on, as Linux has it; decides on revisions of NDIS objects. */
  minor: number
}
export const NvspNdisVersion: StructType<NvspNdisVersion> = struct<NvspNdisVersion>({
  messageType: u32,
  major: u32,
  minor: u32,
})

/** SEND_NDIS_CONFIG. */
export interface NvspNdisConfig extends StructView {
  /** SEND_NDIS_CONFIG of {@link NVSP_MESSAGE}. */
  messageType: number
  /** Bytes of the longest frame, Ethernet header included. */
  mtu: number
  /** {@link NDIS_CONFIG_CAPABILITY}. */
  capabilities: number
}
export const NvspNdisConfig: StructType<NvspNdisConfig> = struct<NvspNdisConfig>({
  messageType: u32,
  mtu: u32,
  _reserved: pad(4),
  capabilities: u32,
  _capabilitiesHigh: pad(4),
})

/** SEND_RECEIVE_BUFFER and SEND_SEND_BUFFER. */
export interface NvspSendBuffer extends StructView {
  /** SEND_RECEIVE_BUFFER or SEND_SEND_BUFFER of {@link NVSP_MESSAGE}. */
  messageType: number
  /** The GPADL of the buffer's memory. */
  gpadlId: number
  /** The guest's number for the buffer, by which it is revoked; that of the receive buffer is the page set of packets to the guest. */
  id: number
}
export const NvspSendBuffer: StructType<NvspSendBuffer> = struct<NvspSendBuffer>({
  messageType: u32,
  gpadlId: u32,
  id: u16,
})

/** SEND_RECEIVE_BUFFER_COMPLETE, with the one section of equal parts that there ever was. */
export interface NvspReceiveBufferComplete extends StructView {
  /** SEND_RECEIVE_BUFFER_COMPLETE of {@link NVSP_MESSAGE}. */
  messageType: number
  /** One of {@link NVSP_STATUS}. */
  status: number
  /** 1; 0 where the buffer was refused. */
  sectionCount: number
  /** Where the section begins in the buffer: 0. */
  sectionOffset: number
  /** Bytes of a part, which holds one frame with its headers. */
  subAllocationSize: number
  /** How many parts there are. */
  subAllocationCount: number
  /** Where the section ends in the buffer. */
  endOffset: number
}
export const NvspReceiveBufferComplete: StructType<NvspReceiveBufferComplete> = struct<NvspReceiveBufferComplete>({
  messageType: u32,
  status: u32,
  sectionCount: u32,
  sectionOffset: u32,
  subAllocationSize: u32,
  subAllocationCount: u32,
  endOffset: u32,
})

/** SEND_SEND_BUFFER_COMPLETE. */
export interface NvspSendBufferComplete extends StructView {
  /** SEND_SEND_BUFFER_COMPLETE of {@link NVSP_MESSAGE}. */
  messageType: number
  /** One of {@link NVSP_STATUS}. */
  status: number
  /** Bytes of the sections that the guest is to divide the buffer into. */
  sectionSize: number
}
export const NvspSendBufferComplete: StructType<NvspSendBufferComplete> = struct<NvspSendBufferComplete>({
  messageType: u32,
  status: u32,
  sectionSize: u32,
})

/** REVOKE_RECEIVE_BUFFER and REVOKE_SEND_BUFFER. */
export interface NvspRevokeBuffer extends StructView {
  /** REVOKE_RECEIVE_BUFFER or REVOKE_SEND_BUFFER of {@link NVSP_MESSAGE}. */
  messageType: number
  /** The number that the guest gave to the buffer. */
  id: number
}
export const NvspRevokeBuffer: StructType<NvspRevokeBuffer> = struct<NvspRevokeBuffer>({ messageType: u32, id: u16 })

/** SEND_RNDIS_PACKET, both ways. */
export interface NvspRndisPacket extends StructView {
  /** SEND_RNDIS_PACKET of {@link NVSP_MESSAGE}. */
  messageType: number
  /** {@link RNDIS_CHANNEL}. */
  channelType: number
  /** {@link NO_SEND_SECTION}, or where the first part of the message is. */
  sendSectionIndex: number
  /** Bytes of the message in that section; the rest is in the packet's pages. */
  sendSectionSize: number
}
export const NvspRndisPacket: StructType<NvspRndisPacket> = struct<NvspRndisPacket>({
  messageType: u32,
  channelType: u32,
  sendSectionIndex: u32,
  sendSectionSize: u32,
})

/** SEND_RNDIS_PACKET_COMPLETE, both ways; other answers that are no more than a status have its shape. */
export interface NvspStatusMessage extends StructView {
  /** SEND_RNDIS_PACKET_COMPLETE of {@link NVSP_MESSAGE}, or another answer's; NONE answers what makes no sense. */
  messageType: number
  /** One of {@link NVSP_STATUS}. */
  status: number
}
export const NvspStatusMessage: StructType<NvspStatusMessage> = struct<NvspStatusMessage>({
  messageType: u32,
  status: u32,
})

/** SUB_CHANNEL: a request has the operation in the status' place. */
export interface NvspSubChannel extends StructView {
  /** SUB_CHANNEL of {@link NVSP_MESSAGE}. */
  messageType: number
  /** {@link SUB_CHANNEL_ALLOCATE}, or one of {@link NVSP_STATUS}. */
  operationOrStatus: number
  /** Sub-channels that the guest wants; in the answer, how many it gets. */
  count: number
}
export const NvspSubChannel: StructType<NvspSubChannel> = struct<NvspSubChannel>({
  messageType: u32,
  operationOrStatus: u32,
  count: u32,
})

/** SEND_INDIRECTION_TABLE; the table's words begin at `tableOffset` of the message. */
export interface NvspSendTable extends StructView {
  /** SEND_INDIRECTION_TABLE of {@link NVSP_MESSAGE}. */
  messageType: number
  /** Entries of the table, {@link SEND_TABLE_SIZE}: channels by hash, for what the guest sends. */
  count: number
  /** From the beginning of the message. */
  tableOffset: number
}
export const NvspSendTable: StructType<NvspSendTable> = struct<NvspSendTable>({
  messageType: u32,
  count: u32,
  tableOffset: u32,
})

/** The beginning of PD_API, and of its answer to the question for support. */
export interface NvspPdApi extends StructView {
  /** PD_API of {@link NVSP_MESSAGE}. */
  messageType: number
  /** What is asked for; 1: whether there is PacketDirect. */
  operation: number
  /** In an answer: one of {@link NVSP_STATUS}. */
  status: number
  /** Of an answer: queues of PacketDirect. */
  queueCount: number
  /** Of an answer: how many of them take part in receive-side scaling. */
  rssQueueCount: number
  /** Of an answer: 1, there is PacketDirect. Partita's provider says 0. */
  isSupported: number
  /** Of an answer: 1, it is switched on. */
  isEnabled: number
}
export const NvspPdApi: StructType<NvspPdApi> = struct<NvspPdApi>({
  messageType: u32,
  operation: u32,
  status: u32,
  queueCount: u16,
  rssQueueCount: u8,
  isSupported: u8,
  isEnabled: u8,
})
