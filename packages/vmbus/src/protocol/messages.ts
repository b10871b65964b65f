// The messages of the channel protocol as structs. Each begins with the header: the message's number and four bytes of padding.

import { bytes, guid, pad, type StructType, type StructView, struct, u8, u16, u32, u64 } from '@partita/struct'
import { USER_DEFINED_SIZE } from './constants.ts'

/** The beginning of every message; alone it is REQUEST_OFFERS, ALL_OFFERS_DELIVERED, UNLOAD and UNLOAD_COMPLETE. */
export interface MessageHeader extends StructView {
  /** The message's number, one of {@link MESSAGE_TYPE}. */
  messageType: number
}
export const MessageHeader: StructType<MessageHeader> = struct<MessageHeader>({
  messageType: u32,
  _padding: pad(4),
})

/** What messages about one channel begin with. */
export interface ChannelMessage extends MessageHeader {
  /** The channel's number, from its {@link OfferChannel}. */
  relid: number
}

/** OFFER_CHANNEL (1). */
export interface OfferChannel extends MessageHeader {
  /** The kind of device. */
  interfaceId: string
  /** This device. */
  instanceId: string
  /** {@link OFFER_FLAG}. */
  flags: number
  /** MMIO space that the device needs. */
  mmioMegabytes: number
  /** For the driver. */
  userDefined: Uint8Array
  /** 0 for a primary channel. */
  subChannelIndex: number
  /** MMIO space that the device could use. */
  mmioMegabytesOptional: number
  /** The channel's number, and its event flag. */
  relid: number
  /** Where a monitor page is used. */
  monitorId: number
  /** 1 where a monitor page is used. */
  monitorAllocated: number
  /** 1: the client signals `connectionId` and sets no bit in a shared page. */
  isDedicatedInterrupt: number
  /** What the client signals. */
  connectionId: number
}
export const OfferChannel: StructType<OfferChannel> = struct<OfferChannel>({
  messageType: u32,
  _padding: pad(4),
  interfaceId: guid,
  instanceId: guid,
  _reserved: pad(16),
  flags: u16,
  mmioMegabytes: u16,
  userDefined: bytes(USER_DEFINED_SIZE),
  subChannelIndex: u16,
  mmioMegabytesOptional: u16,
  relid: u32,
  monitorId: u8,
  monitorAllocated: u8,
  isDedicatedInterrupt: u16,
  connectionId: u32,
})

/** RESCIND_CHANNEL_OFFER (2). */
export interface RescindChannelOffer extends ChannelMessage {}
export const RescindChannelOffer: StructType<RescindChannelOffer> = struct<RescindChannelOffer>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
})

/** OPEN_CHANNEL (5). */
export interface OpenChannel extends ChannelMessage {
  /** Comes back in the result. */
  openId: number
  /** Both rings. */
  ringGpadlId: number
  /** The virtual processor to interrupt. */
  targetVp: number
  /** First page of the server-to-client ring; the client-to-server ring begins at page 0. */
  downstreamPageOffset: number
  /** For the device. */
  userData: Uint8Array
}
export const OpenChannel: StructType<OpenChannel> = struct<OpenChannel>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
  openId: u32,
  ringGpadlId: u32,
  targetVp: u32,
  downstreamPageOffset: u32,
  userData: bytes(USER_DEFINED_SIZE),
})

/** OPEN_CHANNEL (5) with {@link FEATURE.GUEST_SPECIFIED_SIGNAL_PARAMETERS} or {@link FEATURE.CHANNEL_INTERRUPT_REDIRECTION}. */
export interface OpenChannel2 extends OpenChannel {
  /** What the client signals. */
  connectionId: number
  /** What the server sets. */
  eventFlag: number
  /** 1: redirect the interrupt. */
  flags: number
}
export const OpenChannel2: StructType<OpenChannel2> = struct<OpenChannel2>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
  openId: u32,
  ringGpadlId: u32,
  targetVp: u32,
  downstreamPageOffset: u32,
  userData: bytes(USER_DEFINED_SIZE),
  connectionId: u32,
  eventFlag: u16,
  flags: u16,
})

/** OPEN_CHANNEL_RESULT (6). */
export interface OpenChannelResult extends ChannelMessage {
  /** The request's, by which the client knows it again. */
  openId: number
  /** {@link STATUS}. */
  status: number
}
export const OpenChannelResult: StructType<OpenChannelResult> = struct<OpenChannelResult>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
  openId: u32,
  status: u32,
})

/** CLOSE_CHANNEL (7). It has no reply. */
export interface CloseChannel extends ChannelMessage {}
export const CloseChannel: StructType<CloseChannel> = struct<CloseChannel>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
})

/** GPADL_HEADER (8). Ranges follow: byte count u32, byte offset u32, and a u64 page number for each page that they span. */
export interface GpadlHeader extends ChannelMessage {
  /** Chosen by the client. */
  gpadlId: number
  /** Bytes of all ranges, in this message and the bodies. */
  length: number
  /** How many ranges make the GPADL, at least 1. */
  rangeCount: number
}
export const GpadlHeader: StructType<GpadlHeader> = struct<GpadlHeader>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
  gpadlId: u32,
  length: u16,
  rangeCount: u16,
})

/** GPADL_BODY (9). More of the ranges follow. */
export interface GpadlBody extends MessageHeader {
  /** No client counts it dependably. */
  messageNumber: number
  /** That of the {@link GpadlHeader} that it goes on from. */
  gpadlId: number
}
export const GpadlBody: StructType<GpadlBody> = struct<GpadlBody>({
  messageType: u32,
  _padding: pad(4),
  messageNumber: u32,
  gpadlId: u32,
})

/** GPADL_CREATED (10). */
export interface GpadlCreated extends ChannelMessage {
  /** That of the {@link GpadlHeader}. */
  gpadlId: number
  /** {@link STATUS}. */
  status: number
}
export const GpadlCreated: StructType<GpadlCreated> = struct<GpadlCreated>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
  gpadlId: u32,
  status: u32,
})

/** GPADL_TEARDOWN (11). */
export interface GpadlTeardown extends ChannelMessage {
  /** The GPADL whose pages the client wants back. */
  gpadlId: number
}
export const GpadlTeardown: StructType<GpadlTeardown> = struct<GpadlTeardown>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
  gpadlId: u32,
})

/** GPADL_TORNDOWN (12). */
export interface GpadlTorndown extends MessageHeader {
  /** The GPADL that the server has let go of: its pages are the client's again. */
  gpadlId: number
}
export const GpadlTorndown: StructType<GpadlTorndown> = struct<GpadlTorndown>({
  messageType: u32,
  _padding: pad(4),
  gpadlId: u32,
})

/** REL_ID_RELEASED (13): the answer to a rescind; the number may be used again. */
export interface RelIdReleased extends ChannelMessage {}
export const RelIdReleased: StructType<RelIdReleased> = struct<RelIdReleased>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
})

/** INITIATE_CONTACT (14). From 5.0 on the third field is {@link InitiateContactTarget}. */
export interface InitiateContact extends MessageHeader {
  /** The version that the client proposes. */
  version: number
  /** Where messages for the client go. */
  targetVp: number
  /** Below 5.0. */
  interruptPage: bigint
  /** Guest physical address of the monitor page in which the host would trigger the guest; 0 together with the other page's: no monitor pages. */
  parentToChildMonitorPage: bigint
  /** Guest physical address of the page in which the guest triggers the host, for channels with a `monitorId`; 0: none. */
  childToParentMonitorPage: bigint
}
export const InitiateContact: StructType<InitiateContact> = struct<InitiateContact>({
  messageType: u32,
  _padding: pad(4),
  version: u32,
  targetVp: u32,
  interruptPage: u64,
  parentToChildMonitorPage: u64,
  childToParentMonitorPage: u64,
})

/** INITIATE_CONTACT (14) from 5.0 on. */
export interface InitiateContactTarget extends MessageHeader {
  /** The version that the client proposes, `major << 16 | minor`. */
  version: number
  /** Index of the virtual processor to which messages for the client go. */
  targetVp: number
  /** Where messages for the client go. */
  sint: number
  /** The virtual trust level. */
  vtl: number
  /** What the client could use, from 6.0 on. */
  features: number
  /** As in {@link InitiateContact}. */
  parentToChildMonitorPage: bigint
  /** As in {@link InitiateContact}. */
  childToParentMonitorPage: bigint
}
export const InitiateContactTarget: StructType<InitiateContactTarget> = struct<InitiateContactTarget>({
  messageType: u32,
  _padding: pad(4),
  version: u32,
  targetVp: u32,
  sint: u8,
  vtl: u8,
  _reserved: pad(2),
  features: u32,
  parentToChildMonitorPage: u64,
  childToParentMonitorPage: u64,
})

/** INITIATE_CONTACT (14) with {@link FEATURE.CLIENT_ID}. */
export interface InitiateContact2 extends InitiateContactTarget {
  /** Who the client is. */
  clientId: string
}
export const InitiateContact2: StructType<InitiateContact2> = struct<InitiateContact2>({
  messageType: u32,
  _padding: pad(4),
  version: u32,
  targetVp: u32,
  sint: u8,
  vtl: u8,
  _reserved: pad(2),
  features: u32,
  parentToChildMonitorPage: u64,
  childToParentMonitorPage: u64,
  clientId: guid,
})

/** VERSION_RESPONSE (15). */
export interface VersionResponse extends MessageHeader {
  /** 0: propose another one. */
  versionSupported: number
  /** {@link CONNECTION_STATE}. */
  connectionState: number
  /** Where the client posts from now on, from 5.0 on; below, the version. */
  connectionId: number
}
export const VersionResponse: StructType<VersionResponse> = struct<VersionResponse>({
  messageType: u32,
  _padding: pad(4),
  versionSupported: u8,
  connectionState: u8,
  _reserved: pad(2),
  connectionId: u32,
})

/** VERSION_RESPONSE (15) of a version from 6.0 on that is accepted. */
export interface VersionResponse2 extends VersionResponse {
  /** What the server grants. */
  features: number
}
export const VersionResponse2: StructType<VersionResponse2> = struct<VersionResponse2>({
  messageType: u32,
  _padding: pad(4),
  versionSupported: u8,
  connectionState: u8,
  _reserved: pad(2),
  connectionId: u32,
  features: u32,
})

/** TL_CONNECT_REQUEST (21). */
export interface TlConnectRequest extends MessageHeader {
  /** The client's end. */
  endpointId: string
  /** The service it wants. */
  serviceId: string
}
export const TlConnectRequest: StructType<TlConnectRequest> = struct<TlConnectRequest>({
  messageType: u32,
  _padding: pad(4),
  endpointId: guid,
  serviceId: guid,
})

/** TL_CONNECT_RESULT (23). */
export interface TlConnectResult extends MessageHeader {
  /** The request's. */
  endpointId: string
  /** The request's. */
  serviceId: string
  /** {@link STATUS}. */
  status: number
}
export const TlConnectResult: StructType<TlConnectResult> = struct<TlConnectResult>({
  messageType: u32,
  _padding: pad(4),
  endpointId: guid,
  serviceId: guid,
  status: u32,
})

/** MODIFY_CHANNEL (22). */
export interface ModifyChannel extends ChannelMessage {
  /** Index of the virtual processor to interrupt from now on. */
  targetVp: number
}
export const ModifyChannel: StructType<ModifyChannel> = struct<ModifyChannel>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
  targetVp: u32,
})

/** MODIFY_CHANNEL_RESPONSE (24). */
export interface ModifyChannelResponse extends ChannelMessage {
  /** {@link STATUS}. */
  status: number
}
export const ModifyChannelResponse: StructType<ModifyChannelResponse> = struct<ModifyChannelResponse>({
  messageType: u32,
  _padding: pad(4),
  relid: u32,
  status: u32,
})

/** MODIFY_CONNECTION (25): other monitor pages, or none. */
export interface ModifyConnection extends MessageHeader {
  /** As in {@link InitiateContact}; it takes the place of the page that was given there. */
  parentToChildMonitorPage: bigint
  /** As in {@link InitiateContact}. */
  childToParentMonitorPage: bigint
}
export const ModifyConnection: StructType<ModifyConnection> = struct<ModifyConnection>({
  messageType: u32,
  _padding: pad(4),
  parentToChildMonitorPage: u64,
  childToParentMonitorPage: u64,
})

/** MODIFY_CONNECTION_RESPONSE (26). */
export interface ModifyConnectionResponse extends MessageHeader {
  /** {@link CONNECTION_STATE}. */
  connectionState: number
}
export const ModifyConnectionResponse: StructType<ModifyConnectionResponse> = struct<ModifyConnectionResponse>({
  messageType: u32,
  _padding: pad(4),
  connectionState: u8,
})
