// RNDIS (MS-RNDIS, with what Hyper-V adds): control messages, data messages, per-packet information.

import { type StructType, type StructView, struct, u32 } from '@partita/struct'

/** Types of messages. */
export const RNDIS_MESSAGE = {
  PACKET: 0x0000_0001,
  INITIALIZE: 0x0000_0002,
  INITIALIZE_COMPLETE: 0x8000_0002,
  HALT: 0x0000_0003,
  QUERY: 0x0000_0004,
  QUERY_COMPLETE: 0x8000_0004,
  SET: 0x0000_0005,
  SET_COMPLETE: 0x8000_0005,
  RESET: 0x0000_0006,
  RESET_COMPLETE: 0x8000_0006,
  INDICATE_STATUS: 0x0000_0007,
  KEEPALIVE: 0x0000_0008,
  KEEPALIVE_COMPLETE: 0x8000_0008,
  SET_EX: 0x0000_0009,
  SET_EX_COMPLETE: 0x8000_0009,
} as const

/** Status of an answer, or what an indication is about: NDIS_STATUS. */
export const RNDIS_STATUS = {
  SUCCESS: 0,
  MEDIA_CONNECT: 0x4001_000b,
  MEDIA_DISCONNECT: 0x4001_000c,
  LINK_SPEED_CHANGE: 0x4001_0013,
  NETWORK_CHANGE: 0x4001_0018,
  FAILURE: 0xc000_0001,
  NOT_SUPPORTED: 0xc000_00bb,
  BAD_VERSION: 0xc001_0004,
  MULTICAST_FULL: 0xc001_0009,
  ADAPTER_NOT_READY: 0xc001_0011,
  INVALID_LENGTH: 0xc001_0014,
  INVALID_DATA: 0xc001_0015,
} as const

/** The version of RNDIS. */
export const RNDIS_MAJOR_VERSION = 1
/** Minor version of the protocol. */
export const RNDIS_MINOR_VERSION = 0
/** DeviceFlags of INITIALIZE_COMPLETE: connectionless. */
export const RNDIS_CONNECTIONLESS = 1

/** Bytes of type and length, from whose end on offsets in messages count. */
export const RNDIS_HEADER_SIZE = 8
/** Bytes of a data message's own fields behind the header. */
export const RNDIS_PACKET_SIZE = 36
/** Bytes of the header of per-packet information. */
export const PER_PACKET_INFO_SIZE = 12

/** Kinds of per-packet information. */
export const PER_PACKET_INFO = {
  CHECKSUM: 0,
  LARGE_SEND: 2,
  IEEE_8021Q: 6,
  HASH_VALUE: 8,
  HASH_INFO: 9,
  /** Which parts make up a packet; the highest bit is set in the types that VMBus adds. */
  PACKET_ID: 0x8000_0001,
} as const

/** Bits of the checksum information of a frame to send; bits 16–25 are the offset of the TCP header. */
export const TX_CHECKSUM = { IPV4: 0x01, IPV6: 0x02, TCP: 0x04, UDP: 0x08, IP_HEADER: 0x10 } as const
/** Bits of the checksum information of a frame that is received. */
export const RX_CHECKSUM = {
  TCP_FAILED: 0x01,
  UDP_FAILED: 0x02,
  IP_FAILED: 0x04,
  TCP_SUCCEEDED: 0x08,
  UDP_SUCCEEDED: 0x10,
  IP_SUCCEEDED: 0x20,
  LOOPBACK: 0x40,
  TCP_VALUE_INVALID: 0x80,
  IP_VALUE_INVALID: 0x100,
} as const
/** Large send information: MSS in bits 0–19, offset of the TCP header in 20–29; bit 30: version 2, and then bit 31: IPv6. */
export const LARGE_SEND_V2 = 0x4000_0000
/** In the large-send information: the packet is IPv6. */
export const LARGE_SEND_IPV6 = 0x8000_0000
/** In the large-send information: largest segment. */
export const LARGE_SEND_MSS_MASK = 0x000f_ffff

/** Flags of a part of a packet, the second byte of its PACKET_ID information; the first is the version, 1. */
export const PACKET_PART = { SUB_ALLOCATION: 0x01, FIRST: 0x02, LAST: 0x04 } as const
/** Version of the per-packet information that names a packet. */
export const PACKET_ID_VERSION = 1

/** The beginning of every message. */
export interface RndisHeader extends StructView {
  /** One of {@link RNDIS_MESSAGE}. */
  messageType: number
  /** Bytes of the whole message. */
  messageLength: number
}
export const RndisHeader: StructType<RndisHeader> = struct<RndisHeader>({ messageType: u32, messageLength: u32 })

/** A data message. Offsets count from the end of the header. */
export interface RndisPacket extends StructView {
  /** PACKET of {@link RNDIS_MESSAGE}. */
  messageType: number
  /** Bytes of the whole message, frame and padding included. */
  messageLength: number
  /** Where the frame begins. */
  dataOffset: number
  /** Bytes of the frame. */
  dataLength: number
  /** Where out-of-band data begin; 0, there never are any. */
  oobDataOffset: number
  /** Bytes of them. */
  oobDataLength: number
  /** How many they are. */
  oobDataElements: number
  /** Where the information on the frame ({@link PER_PACKET_INFO}) begins; 0 for none. */
  perPacketInfoOffset: number
  /** Bytes of it. */
  perPacketInfoLength: number
  /** For connection-oriented media; 0. */
  vcHandle: number
  /** 0. */
  reserved: number
}
export const RndisPacket: StructType<RndisPacket> = struct<RndisPacket>({
  messageType: u32,
  messageLength: u32,
  dataOffset: u32,
  dataLength: u32,
  oobDataOffset: u32,
  oobDataLength: u32,
  oobDataElements: u32,
  perPacketInfoOffset: u32,
  perPacketInfoLength: u32,
  vcHandle: u32,
  reserved: u32,
})

/** INITIALIZE. */
export interface RndisInitialize extends StructView {
  /** INITIALIZE of {@link RNDIS_MESSAGE}. */
  messageType: number
  /** Bytes of the whole message. */
  messageLength: number
  /** The guest's number for the request, which its answer repeats. */
  requestId: number
  /** {@link RNDIS_MAJOR_VERSION}. */
  majorVersion: number
  /** {@link RNDIS_MINOR_VERSION}. */
  minorVersion: number
  /** Bytes of the longest message that the guest takes. */
  maximumTransferSize: number
}
export const RndisInitialize: StructType<RndisInitialize> = struct<RndisInitialize>({
  messageType: u32,
  messageLength: u32,
  requestId: u32,
  majorVersion: u32,
  minorVersion: u32,
  maximumTransferSize: u32,
})

/** INITIALIZE_COMPLETE. */
export interface RndisInitializeComplete extends StructView {
  /** INITIALIZE_COMPLETE of {@link RNDIS_MESSAGE}. */
  messageType: number
  /** Bytes of the whole message. */
  messageLength: number
  /** The request's. */
  requestId: number
  /** One of {@link RNDIS_STATUS}: SUCCESS or BAD_VERSION. */
  status: number
  /** {@link RNDIS_MAJOR_VERSION}. */
  majorVersion: number
  /** {@link RNDIS_MINOR_VERSION}. */
  minorVersion: number
  /** {@link RNDIS_CONNECTIONLESS}. */
  deviceFlags: number
  /** 0: Ethernet (NDIS_MEDIUM 802.3). */
  medium: number
  /** Data messages that the guest may put into one packet of the channel. */
  maximumPacketsPerMessage: number
  /** Bytes of the longest message that the host takes. */
  maximumTransferSize: number
  /** Data messages in one packet begin at multiples of 2 to the power of this. */
  packetAlignmentFactor: number
  /** List of address families; 0, there is none. */
  afListOffset: number
  /** Bytes of that list. */
  afListSize: number
}
export const RndisInitializeComplete: StructType<RndisInitializeComplete> = struct<RndisInitializeComplete>({
  messageType: u32,
  messageLength: u32,
  requestId: u32,
  status: u32,
  majorVersion: u32,
  minorVersion: u32,
  deviceFlags: u32,
  medium: u32,
  maximumPacketsPerMessage: u32,
  maximumTransferSize: u32,
  packetAlignmentFactor: u32,
  afListOffset: u32,
  afListSize: u32,
})

/** QUERY, SET and SET_EX. The information's offset counts from the end of the header. */
export interface RndisRequest extends StructView {
  /** QUERY, SET or SET_EX of {@link RNDIS_MESSAGE}. */
  messageType: number
  /** Bytes of the whole message. */
  messageLength: number
  /** The guest's number for the request, which its answer repeats. */
  requestId: number
  /** What is asked for or set: one of {@link OID}. */
  oid: number
  /** Bytes of the value, or of what goes with the question. */
  informationLength: number
  /** Where they begin. */
  informationOffset: number
  /** For connection-oriented media; 0. */
  deviceVcHandle: number
}
export const RndisRequest: StructType<RndisRequest> = struct<RndisRequest>({
  messageType: u32,
  messageLength: u32,
  requestId: u32,
  oid: u32,
  informationLength: u32,
  informationOffset: u32,
  deviceVcHandle: u32,
})

/** QUERY_COMPLETE and SET_EX_COMPLETE; SET_COMPLETE and KEEPALIVE_COMPLETE end with the status. */
export interface RndisComplete extends StructView {
  /** QUERY_COMPLETE or another answer of {@link RNDIS_MESSAGE}. */
  messageType: number
  /** Bytes of the whole message. */
  messageLength: number
  /** The request's. */
  requestId: number
  /** One of {@link RNDIS_STATUS}. */
  status: number
  /** Bytes of the value that was asked for. */
  informationLength: number
  /** Where it begins, from the end of the header; 0 for none. */
  informationOffset: number
}
export const RndisComplete: StructType<RndisComplete> = struct<RndisComplete>({
  messageType: u32,
  messageLength: u32,
  requestId: u32,
  status: u32,
  informationLength: u32,
  informationOffset: u32,
})
/** Bytes of an answer that is a status alone. */
export const RNDIS_STATUS_COMPLETE_SIZE = 16

/** RESET_COMPLETE. */
export interface RndisResetComplete extends StructView {
  /** RESET_COMPLETE of {@link RNDIS_MESSAGE}. */
  messageType: number
  /** Bytes of the whole message. */
  messageLength: number
  /** One of {@link RNDIS_STATUS}. */
  status: number
  /** 1: the guest has to set filter and multicast addresses again. */
  addressingReset: number
}
export const RndisResetComplete: StructType<RndisResetComplete> = struct<RndisResetComplete>({
  messageType: u32,
  messageLength: u32,
  status: u32,
  addressingReset: u32,
})

/** INDICATE_STATUS. */
export interface RndisIndicateStatus extends StructView {
  /** INDICATE_STATUS of {@link RNDIS_MESSAGE}. */
  messageType: number
  /** Bytes of the whole message. */
  messageLength: number
  /** What has happened: one of {@link RNDIS_STATUS}. */
  status: number
  /** Bytes of what there is to tell of it: the new speed, for LINK_SPEED_CHANGE. */
  statusBufferLength: number
  /** Where they begin, from the end of the header; 0 for none. */
  statusBufferOffset: number
}
export const RndisIndicateStatus: StructType<RndisIndicateStatus> = struct<RndisIndicateStatus>({
  messageType: u32,
  messageLength: u32,
  status: u32,
  statusBufferLength: u32,
  statusBufferOffset: u32,
})
