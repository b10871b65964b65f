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
/** One of {@link NVSP_VERSION}. */
export type NvspVersion = (typeof NVSP_VERSION)[keyof typeof NVSP_VERSION]

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
/** One of {@link NVSP_STATUS}. */
export type NvspStatus = (typeof NVSP_STATUS)[keyof typeof NVSP_STATUS]

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
  messageType: number
  minimumVersion: number
  maximumVersion: number
}
export const NvspInit: StructType<NvspInit> = struct<NvspInit>({
  messageType: u32,
  minimumVersion: u32,
  maximumVersion: u32,
})

/** INIT_COMPLETE. */
export interface NvspInitComplete extends StructView {
  messageType: number
  version: number
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
  messageType: number
  major: number
  minor: number
}
export const NvspNdisVersion: StructType<NvspNdisVersion> = struct<NvspNdisVersion>({
  messageType: u32,
  major: u32,
  minor: u32,
})

/** SEND_NDIS_CONFIG. */
export interface NvspNdisConfig extends StructView {
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
  messageType: number
  gpadlId: number
  id: number
}
export const NvspSendBuffer: StructType<NvspSendBuffer> = struct<NvspSendBuffer>({
  messageType: u32,
  gpadlId: u32,
  id: u16,
})

/** SEND_RECEIVE_BUFFER_COMPLETE, with the one section of equal parts that there ever was. */
export interface NvspReceiveBufferComplete extends StructView {
  messageType: number
  status: number
  sectionCount: number
  sectionOffset: number
  subAllocationSize: number
  subAllocationCount: number
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
  messageType: number
  status: number
  sectionSize: number
}
export const NvspSendBufferComplete: StructType<NvspSendBufferComplete> = struct<NvspSendBufferComplete>({
  messageType: u32,
  status: u32,
  sectionSize: u32,
})

/** REVOKE_RECEIVE_BUFFER and REVOKE_SEND_BUFFER. */
export interface NvspRevokeBuffer extends StructView {
  messageType: number
  id: number
}
export const NvspRevokeBuffer: StructType<NvspRevokeBuffer> = struct<NvspRevokeBuffer>({ messageType: u32, id: u16 })

/** SEND_RNDIS_PACKET, both ways. */
export interface NvspRndisPacket extends StructView {
  messageType: number
  /** {@link RNDIS_CHANNEL}. */
  channelType: number
  /** {@link NO_SEND_SECTION}, or where the first part of the message is. */
  sendSectionIndex: number
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
  messageType: number
  status: number
}
export const NvspStatusMessage: StructType<NvspStatusMessage> = struct<NvspStatusMessage>({
  messageType: u32,
  status: u32,
})

/** SUB_CHANNEL: a request has the operation in the status' place. */
export interface NvspSubChannel extends StructView {
  messageType: number
  /** {@link SUB_CHANNEL_ALLOCATE}, or one of {@link NVSP_STATUS}. */
  operationOrStatus: number
  count: number
}
export const NvspSubChannel: StructType<NvspSubChannel> = struct<NvspSubChannel>({
  messageType: u32,
  operationOrStatus: u32,
  count: u32,
})

/** SEND_INDIRECTION_TABLE; the table's words begin at `tableOffset` of the message. */
export interface NvspSendTable extends StructView {
  messageType: number
  count: number
  tableOffset: number
}
export const NvspSendTable: StructType<NvspSendTable> = struct<NvspSendTable>({
  messageType: u32,
  count: u32,
  tableOffset: u32,
})

/** The beginning of PD_API, and of its answer to the question for support. */
export interface NvspPdApi extends StructView {
  messageType: number
  operation: number
  status: number
  queueCount: number
  rssQueueCount: number
  isSupported: number
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
