/**
 * The wire structs of synthetic storage (VMSTOR protocol 2.0 to 6.2, as Linux' `storvsc_drv.c` and OpenVMM's `storvsp_protocol` have it). No behaviour.
 *
 * @example
 * ```ts
 * import { PacketHeader, VSTOR_OPERATION } from '@partita/synthetic-storage/protocol'
 *
 * const packet = PacketHeader.allocate(PACKET_SIZE)
 * packet.operation = VSTOR_OPERATION.BEGIN_INITIALIZATION
 * ```
 * @packageDocumentation
 */

import { bytes, pad, type StructType, type StructView, struct, u8, u16, u32 } from '@partita/struct'

/** The interface of SCSI controllers. */
export const SCSI_INTERFACE_ID = 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f'
/** The interface of the fast path to an emulated IDE disk. */
export const IDE_INTERFACE_ID = '32412632-86cb-44a2-9b5c-50d1417354f5'

/** Protocol versions, `major << 8 | minor`. */
export const VMSTOR_VERSION = {
  V2_0: 0x0200,
  V4_2: 0x0402,
  V5_1: 0x0501,
  V6_0: 0x0600,
  V6_2: 0x0602,
} as const
/** One of {@link VMSTOR_VERSION}. */
export type VmstorVersion = (typeof VMSTOR_VERSION)[keyof typeof VMSTOR_VERSION]

/** What a packet asks for. */
export const VSTOR_OPERATION = {
  COMPLETE_IO: 1,
  REMOVE_DEVICE: 2,
  EXECUTE_SRB: 3,
  RESET_LUN: 4,
  RESET_ADAPTER: 5,
  RESET_BUS: 6,
  BEGIN_INITIALIZATION: 7,
  END_INITIALIZATION: 8,
  QUERY_PROTOCOL_VERSION: 9,
  QUERY_PROPERTIES: 10,
  ENUMERATE_BUS: 11,
  FCHBA_DATA: 12,
  CREATE_SUB_CHANNELS: 13,
} as const

/** Packet flag: a completion is wanted. */
export const REQUEST_COMPLETION_FLAG = 0x1

/** Status of a packet: NTSTATUS values. */
export const VSTOR_STATUS = {
  SUCCESS: 0,
  DEVICE_BUSY: 0x8000_0011,
  INVALID_PARAMETER: 0xc000_000d,
  INVALID_DEVICE_REQUEST: 0xc000_0010,
  REVISION_MISMATCH: 0xc000_0059,
  DEVICE_DOES_NOT_EXIST: 0xc000_00c0,
  CANCELLED: 0xc000_0120,
  INVALID_DEVICE_STATE: 0xc000_0184,
  IO_DEVICE_ERROR: 0xc000_0185,
} as const

/** Status of an SRB, and its flags. */
export const SRB_STATUS = {
  PENDING: 0x00,
  SUCCESS: 0x01,
  ABORTED: 0x02,
  ERROR: 0x04,
  BUSY: 0x05,
  INVALID_REQUEST: 0x06,
  DATA_OVERRUN: 0x12,
  INVALID_LUN: 0x20,
  /** Flag: the device's queue is frozen. */
  QUEUE_FROZEN: 0x40,
  /** Flag: the sense data is valid. */
  AUTOSENSE_VALID: 0x80,
} as const
/** The bits of the status without its flags. */
export const SRB_STATUS_MASK = 0x3f

/** Direction of an SRB's data, from the guest's side. */
export const SRB_DATA = { WRITE: 0, READ: 1, UNKNOWN: 2 } as const

/** Flags of an SRB that this protocol's parties look at. */
export const SRB_FLAG = { DISABLE_AUTOSENSE: 0x20, DATA_IN: 0x40, DATA_OUT: 0x80 } as const

/** Bytes of sense data, and of a CDB with its padding. */
export const SENSE_BUFFER_SIZE = 0x14
/** Longest CDB. */
export const CDB_SIZE = 0x10

/** Channel property flag: sub-channels can be made. */
export const SUPPORTS_MULTI_CHANNEL = 0x1
/** Channel property flag: the disk is also that of an emulated IDE controller. */
export const EMULATED_IDE = 0x2

/** The beginning of every packet. */
export interface PacketHeader extends StructView {
  /** One of {@link VSTOR_OPERATION}. */
  operation: number
  /** {@link REQUEST_COMPLETION_FLAG} in a request, 0 in an answer. */
  flags: number
  /** One of {@link VSTOR_STATUS}. */
  status: number
}
export const PacketHeader: StructType<PacketHeader> = struct<PacketHeader>({
  operation: u32,
  flags: u32,
  status: u32,
})

/** A SCSI request and its result, behind the header. What follows `data` came with version 5.1. */
export interface ScsiRequest extends StructView {
  /** Bytes of this struct in the version that was agreed on: without what came with 5.1, or with it. */
  length: number
  /** One of {@link SRB_STATUS}, with flags. */
  srbStatus: number
  /** In a result: the SCSI status, GOOD or CHECK CONDITION for example. */
  scsiStatus: number
  /** The adapter, as the client numbers them. Not looked at. */
  portNumber: number
  /** The bus of the adapter. Units are on bus 0. */
  pathId: number
  /** The target on the bus. Units are at target 0. */
  targetId: number
  /** The logical unit, 0–63. */
  lun: number
  /** Bytes of the CDB, at most {@link CDB_SIZE}. */
  cdbLength: number
  /** Bytes that there are for sense data: {@link SENSE_BUFFER_SIZE}. */
  senseInfoLength: number
  /** One of {@link SRB_DATA}. */
  dataIn: number
  /** Bytes of the data buffer; in a result, those that were moved. */
  dataTransferLength: number
  /** The CDB; in a result, sense data. */
  data: Uint8Array
  /** Tag of a queued command. Not looked at. */
  queueTag: number
  /** How a queued command may be reordered. Not looked at. */
  queueAction: number
  /** Bits of {@link SRB_FLAG}. */
  srbFlags: number
  /** Seconds. */
  timeOutValue: number
  /** Where a queued command stands in the order of an elevator. Not looked at. */
  queueSortKey: number
}
export const ScsiRequest: StructType<ScsiRequest> = struct<ScsiRequest>({
  length: u16,
  srbStatus: u8,
  scsiStatus: u8,
  portNumber: u8,
  pathId: u8,
  targetId: u8,
  lun: u8,
  cdbLength: u8,
  senseInfoLength: u8,
  dataIn: u8,
  _reserved: pad(1),
  dataTransferLength: u32,
  data: bytes(SENSE_BUFFER_SIZE),
  _reserved2: pad(2),
  queueTag: u8,
  queueAction: u8,
  srbFlags: u32,
  timeOutValue: u32,
  queueSortKey: u32,
})

/** QUERY_PROTOCOL_VERSION, behind the header. */
export interface ProtocolVersion extends StructView {
  /** {@link VMSTOR_VERSION}. */
  majorMinor: number
  /** Of the sender's implementation; both sides leave it 0. */
  revision: number
}
export const ProtocolVersion: StructType<ProtocolVersion> = struct<ProtocolVersion>({ majorMinor: u16, revision: u16 })

/** The answer to QUERY_PROPERTIES, behind the header. */
export interface ChannelProperties extends StructView {
  /** How many sub-channels the client may ask for. */
  maximumSubChannelCount: number
  /** {@link SUPPORTS_MULTI_CHANNEL}. */
  flags: number
  /** Most bytes of data of one request. */
  maximumTransferBytes: number
}
export const ChannelProperties: StructType<ChannelProperties> = struct<ChannelProperties>({
  _reserved: pad(4),
  maximumSubChannelCount: u16,
  _reserved2: pad(2),
  flags: u32,
  maximumTransferBytes: u32,
  _reserved3: pad(8),
})

/** CREATE_SUB_CHANNELS, behind the header. */
export interface CreateSubChannels extends StructView {
  /** How many sub-channels the client wants; in the answer, how many are offered. */
  subChannelCount: number
}
export const CreateSubChannels: StructType<CreateSubChannels> = struct<CreateSubChannels>({ subChannelCount: u16 })

/** The answer to FCHBA_DATA, behind the header. */
export interface FibreChannelNames extends StructView {
  /** 1: the primary port is the one in use. */
  primaryActive: number
  /** World wide port name, its most significant byte first. */
  primaryPortName: Uint8Array
  /** World wide node name. */
  primaryNodeName: Uint8Array
  /** World wide port name of the other port. */
  secondaryPortName: Uint8Array
  /** World wide node name of the other port. */
  secondaryNodeName: Uint8Array
}
export const FibreChannelNames: StructType<FibreChannelNames> = struct<FibreChannelNames>({
  primaryActive: u8,
  _reserved: pad(3),
  primaryPortName: bytes(8),
  primaryNodeName: bytes(8),
  secondaryPortName: bytes(8),
  secondaryNodeName: bytes(8),
})

/** Bytes of a request behind the header, below version 5.1. */
export const REQUEST_SIZE_V1 = 0x24
/** Bytes of a request behind the header, from version 5.1 on. */
export const REQUEST_SIZE_V2 = 0x34
/** Bytes of the largest packet: the size of those that set the protocol up, whatever the version. */
export const PACKET_SIZE: number = PacketHeader.size + REQUEST_SIZE_V2

/** Bytes of a request behind the header in `version`. */
export function requestSize(version: number): number {
  return version >= VMSTOR_VERSION.V5_1 ? REQUEST_SIZE_V2 : REQUEST_SIZE_V1
}
